"""The work of one call in chunks: cutting it up, and telling what is known when it fails. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MappingView, Sequence, Set
from itertools import islice
from typing import TypeVar, cast

from pyrq.core.codec import Codec, encode_all
from pyrq.core.errors import InvalidItemError, NotEnoughSyncedSlavesError, OutcomeUnknown, RqError
from pyrq.core.ops import CHUNK

__all__ = ["Work", "tell"]

T = TypeVar("T")

_REPEATABLE = (Sequence, Set, Mapping, MappingView)
"""What gives its items again when it is asked again, and knows their number. A length alone says neither: a progress
bar around a generator has one."""


class Work:
    """Items on their way to the server, a chunk at a time.

    Attributes:
        done: how many items took effect so far, as the server counted them.
    """

    def __init__(self, chunks: Iterator[list[bytes]], size: int | None) -> None:
        """Starts on some chunks.

        Args:
            chunks: encoded items, at most CHUNK at a time.
            size: how many items there are in all; None if that is not known.
        """
        self.done = 0
        self._chunks = chunks
        self._size = size
        self._sent = 0

    @classmethod
    def forward(cls, codec: Codec[T], items: Iterable[T]) -> Work:
        """Takes items from the first to the last.

        Args:
            codec: how to encode them.
            items: any iterable; read as it is sent, so that it may be larger than the memory. A sequence, set or
                mapping is checked whole before anything is sent; anything else might give its items only once.

        Raises:
            TypeError: not an iterable of items; a single text is refused, since its letters are hardly meant.
            InvalidItemError: an item of a sequence, set or mapping can't be stored.
        """
        if type(items) in (tuple, list) and 0 < len(batch := cast(Sequence[T], items)) <= CHUNK:
            # Most are this. To find out what kind of iterable it is takes as long as a small call's own work.
            return cls(iter((encode_all(codec, batch),)), len(batch))
        _check_items(items)
        length = len(items) if isinstance(items, _REPEATABLE) else None
        if length is not None and length > CHUNK:
            for chunk in _cut(items):
                encode_all(codec, chunk)
        chunks: Iterator[list[bytes]] = (encode_all(codec, chunk) for chunk in _cut(items))
        if length is not None and length <= CHUNK:
            chunks = iter(list(chunks))
        return cls(chunks, length)

    @classmethod
    def backward(cls, codec: Codec[T], items: Iterable[T]) -> Work:
        """Takes the last chunk of items first, for what puts each chunk in front of the one before.

        Args:
            codec: how to encode them.
            items: any iterable; read whole.

        Raises:
            TypeError: not an iterable of items.
            InvalidItemError: an item can't be stored.
        """
        _check_items(items)
        encoded = [encode_all(codec, chunk) for chunk in _cut(items)]
        return cls(reversed(encoded), sum(map(len, encoded)))

    def chunks(self) -> Iterator[list[bytes]]:
        """Gives the chunks in order; not one that is empty."""
        while True:
            try:
                chunk = next(self._chunks, None)
            except InvalidItemError as error:
                self.failed(error, 0)
                raise
            if chunk is None:
                return
            yield chunk
            self._sent += len(chunk)

    def failed(self, error: RqError, size: int) -> None:
        """Writes into an error what is known of the items.

        Args:
            error: why a chunk failed.
            size: how many items that chunk had.
        """
        over = 0
        if isinstance(error, OutcomeUnknown):
            error.unknown = over = size
        elif isinstance(error, NotEnoughSyncedSlavesError):
            self.done += error.done
            over = size
        error.done = self.done
        error.remaining = None if self._size is None else self._size - self._sent - over


def tell(error: RqError, size: int) -> None:
    """Writes into an error what is known of items that went out all together, not by `Work`.

    Args:
        error: why it failed.
        size: how many items these were.
    """
    if isinstance(error, OutcomeUnknown):
        error.unknown = size
    elif not isinstance(error, NotEnoughSyncedSlavesError):
        error.remaining = size


def _check_items(items: object) -> None:
    if isinstance(items, str | bytes | bytearray | memoryview) or not isinstance(items, Iterable):
        raise TypeError(f"items must be an iterable of items, such as a list, not {type(items).__name__}")


def _cut(items: Iterable[T]) -> Iterator[list[T]]:
    source = iter(items)
    while chunk := list(islice(source, CHUNK)):
        yield chunk
