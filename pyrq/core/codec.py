"""Codecs: between the values of a caller and the bytes in a queue."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, cast

from pyrq.core.errors import InvalidItemError

__all__ = [
    "BytesCodec",
    "Codec",
    "Decoded",
    "JsonCodec",
    "TextCodec",
    "decode_all",
    "decode_one",
    "encode",
    "encode_all",
]

T = TypeVar("T")

_BYTES = (bytes, bytearray, memoryview)
_ERRORS = "surrogateescape"


class Codec(Protocol[T]):
    """What turns values into bytes and back. A third party writes its own by these two methods.

    `decode(encode(value))` must equal the value, and equal values must have equal bytes, because items are identified
    by value. `decode` may raise anything for bytes that it can't read: that item is then buried, and its batch lives.
    """

    def encode(self, value: T, /) -> bytes:
        """Gives the bytes of a value; may raise TypeError or ValueError."""
        ...

    def decode(self, data: bytes, /) -> T:
        """Gives the value of the bytes."""
        ...


class TextCodec:
    """Text in, text out, as in the older libraries: bytes go in as they are, everything else as `str(value)`.

    UTF-8 with surrogateescape, so that every byte string comes back as it was (PEP 383).
    """

    def encode(self, value: object, /) -> bytes:
        """Gives the bytes of a value: bytes as they are, everything else as text."""
        if type(value) is str:  # by far the most; a subclass may have a __str__ of its own
            return value.encode("utf-8", _ERRORS)
        if isinstance(value, _BYTES):
            return bytes(value)
        return str(value).encode("utf-8", _ERRORS)

    def decode(self, data: bytes, /) -> str:
        """Gives the text of the bytes; never fails."""
        return data.decode("utf-8", _ERRORS)


class BytesCodec:
    """Bytes in, the same bytes out."""

    def encode(self, value: bytes, /) -> bytes:
        """Gives the bytes themselves; raises TypeError for anything else."""
        if isinstance(value, _BYTES):
            return bytes(value)
        raise TypeError("not bytes")

    def decode(self, data: bytes, /) -> bytes:
        """Gives the bytes themselves."""
        return data


class JsonCodec:
    """JSON values (RFC 8259). Keys are sorted, so that equal values have equal bytes."""

    def encode(self, value: Any, /) -> bytes:
        """Gives the value's JSON; raises TypeError or ValueError for what JSON can't hold (nan and infinity too)."""
        text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return text.encode()

    def decode(self, data: bytes, /) -> Any:
        """Gives the value of the JSON; raises ValueError for what is not JSON."""
        return json.loads(data)


def encode(codec: Codec[T], item: T) -> bytes:
    """Encodes an item for the queue.

    Args:
        codec: how.
        item: anything but None.

    Returns:
        Its bytes.

    Raises:
        InvalidItemError: None, or a value that the codec refuses; without the value in the text.
    """
    if item is None:
        raise InvalidItemError("item must not be None")
    try:
        data = codec.encode(item)
    except Exception as error:  # noqa: BLE001 - a codec is the user's; its message may quote the item, so it is not chained
        raise InvalidItemError(f"item can't be encoded by {type(codec).__name__}: {type(error).__name__}") from None
    if not isinstance(data, bytes):
        raise InvalidItemError(f"{type(codec).__name__}.encode must return bytes, not {type(data).__name__}")
    return data


def _is_default(codec: object) -> bool:
    return type(codec) is TextCodec  # a subclass may do as it likes


def encode_all(codec: Codec[T], items: Sequence[T]) -> list[bytes]:
    """Encodes a chunk of items: all at once, and one by one only to find the one that fails.

    Args:
        codec: how.
        items: anything but None.

    Returns:
        Their bytes, in order.

    Raises:
        InvalidItemError: None, or a value that the codec refuses; without the value in the text.
    """
    try:
        if _is_default(codec) and set(map(type, items)) == {str}:
            # Most batches are this. To ask the codec for each item takes three times as long (measured).
            return [item.encode("utf-8", _ERRORS) for item in cast(Sequence[str], items)]
        data = [codec.encode(item) for item in items if item is not None]
    except Exception:  # noqa: BLE001 - told below, without the item
        data = []
    if len(data) == len(items) and set(map(type, data)) <= {bytes}:
        return data
    return [encode(codec, item) for item in items]


@dataclass(slots=True)
class Decoded(Generic[T]):
    """Items after decoding.

    Attributes:
        values: what could be decoded, in order.
        spoilt: what could not, as it was.
        reason: why the first of these could not; without its content.
    """

    values: list[T] = field(default_factory=list)
    spoilt: list[bytes] = field(default_factory=list)
    reason: str = ""


def decode_all(codec: Codec[T], items: Iterable[bytes]) -> Decoded[T]:
    """Decodes items; one that can't be decoded does not keep the others.

    Args:
        codec: how.
        items: what came from the queue.

    Returns:
        The values, and what could not be decoded.
    """
    if _is_default(codec):
        return Decoded(cast(list[T], [item.decode("utf-8", _ERRORS) for item in items]))  # never fails
    decode = codec.decode
    result: Decoded[T] = Decoded()
    for item in items:
        try:
            if (value := decode(item)) is None:
                raise ValueError("None is no item")  # it could not be acknowledged
            result.values.append(value)
        except Exception as error:  # noqa: BLE001 - a codec is the user's and may raise anything
            result.spoilt.append(item)
            result.reason = result.reason or f"{type(codec).__name__} can't decode it: {type(error).__name__}"
    return result


def decode_one(codec: Codec[T], item: bytes) -> T | None:
    """Decodes an item; gives None if it can't be."""
    values = decode_all(codec, (item,)).values
    return values[0] if values else None
