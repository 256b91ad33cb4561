from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrq.core.codec import BytesCodec, Codec, Decoded, JsonCodec, TextCodec, decode_all, decode_one, encode
from pyrq.core.errors import InvalidItemError
from tests.unit.helpers import BrokenCodec

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
).filter(lambda value: value is not None)


# Text


@given(st.binary())
def test_every_byte_string_comes_back_through_text(data: bytes) -> None:
    codec = TextCodec()
    text = codec.decode(data)
    assert isinstance(text, str)
    assert codec.encode(text) == data


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back(text: str) -> None:
    assert TextCodec().decode(TextCodec().encode(text)) == text


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (b"a", b"a"),
        (bytearray(b"a"), b"a"),
        (memoryview(b"ab"), b"ab"),
        (memoryview(b"abcd")[::2], b"ac"),
        ("ä", b"\xc3\xa4"),
        ("\udcff", b"\xff"),
        (1, b"1"),
        (1.5, b"1.5"),
        (True, b"True"),
        ("", b""),
    ],
)
def test_bytes_go_in_as_they_are_and_the_rest_as_text(value: object, data: bytes) -> None:
    assert encode(TextCodec(), value) == data


def test_bytes_do_not_become_their_repr() -> None:
    assert encode(TextCodec(), b"a") != str(b"a").encode()


# Bytes


@given(st.binary())
def test_bytes_come_back(data: bytes) -> None:
    assert BytesCodec().decode(BytesCodec().encode(data)) is data
    assert BytesCodec().encode(bytearray(data)) == data  # type: ignore[arg-type]  # allowed at run time
    assert BytesCodec().encode(memoryview(data)) == data  # type: ignore[arg-type]  # allowed at run time


@pytest.mark.parametrize("value", ["a", 1, [1]])
def test_bytes_only(value: Any) -> None:
    with pytest.raises(InvalidItemError, match="can't be encoded by BytesCodec: TypeError"):
        encode(BytesCodec(), value)


# JSON


@given(json_values)
def test_json_values_come_back(value: Any) -> None:
    data = encode(JsonCodec(), value)
    assert JsonCodec().decode(data) == value
    assert json.loads(data) == value


def test_equal_json_values_have_equal_bytes() -> None:
    assert encode(JsonCodec(), {"b": 1, "a": [1, 2]}) == encode(JsonCodec(), {"a": [1, 2], "b": 1})
    assert encode(JsonCodec(), {"b": "ä", "a": [1]}) == '{"a":[1],"b":"ä"}'.encode()


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, [-math.inf], {1, 2}, b"a", object(), "\ud800", {"a": 1, 2: 1}, {(1, 2): 3}]
)
def test_what_json_can_not_hold_is_refused(value: Any) -> None:
    with pytest.raises(InvalidItemError, match="can't be encoded by JsonCodec"):
        encode(JsonCodec(), value)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"secret"])
def test_what_is_no_json_is_spoilt(data: bytes) -> None:
    assert decode_all(JsonCodec(), [data, b"1"]).spoilt == [data]


# Any codec


@pytest.mark.parametrize("codec", [TextCodec(), BytesCodec(), JsonCodec(), BrokenCodec()])
def test_none_is_no_item(codec: Codec[Any]) -> None:
    with pytest.raises(InvalidItemError, match=r"^item must not be None$"):
        encode(codec, None)


def test_an_error_does_not_quote_the_item() -> None:
    with pytest.raises(InvalidItemError) as caught:
        encode(BrokenCodec(), "refused-4111")
    assert str(caught.value) == "item can't be encoded by BrokenCodec: ValueError"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_text_that_utf8_can_not_hold_is_refused_without_being_quoted() -> None:
    with pytest.raises(InvalidItemError) as caught:
        encode(TextCodec(), "secret\ud800")
    assert str(caught.value) == "item can't be encoded by TextCodec: UnicodeEncodeError"


@pytest.mark.parametrize("result", ["text", bytearray(b"x"), None, 1])
def test_a_codec_must_give_bytes(result: Any) -> None:
    class Wrong:
        def encode(self, value: str, /) -> bytes:
            return result  # type: ignore[no-any-return]  # this is the mistake

        def decode(self, data: bytes, /) -> str:
            return ""

    with pytest.raises(InvalidItemError, match=rf"^Wrong.encode must return bytes, not {type(result).__name__}$"):
        encode(Wrong(), "secret")


def test_one_that_can_not_be_decoded_does_not_keep_the_others() -> None:
    assert decode_all(BrokenCodec(), [b"a", b"bad1", b"b", b"bad2", b"a"]) == Decoded(
        values=["a", "b", "a"],
        spoilt=[b"bad1", b"bad2"],
        reason="BrokenCodec can't decode it: LookupError",
    )


def test_the_reason_is_that_of_the_first() -> None:
    class Two(BrokenCodec):
        def decode(self, data: bytes, /) -> str:
            raise (LookupError if data == b"1" else OSError)

    assert decode_all(Two(), [b"1", b"2"]).reason == "Two can't decode it: LookupError"


def test_all_well() -> None:
    assert decode_all(TextCodec(), [b"a"]) == Decoded(["a"], [], "")


def test_an_interrupt_is_not_a_spoilt_item() -> None:
    class Interrupted(BrokenCodec):
        def decode(self, data: bytes, /) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode_all(Interrupted(), [b"a"])


@pytest.mark.parametrize(("data", "value"), [(b"a", "a"), (b"", ""), (b"bad1", None)])
def test_one_item_alone(data: bytes, value: str | None) -> None:
    assert decode_one(BrokenCodec(), data) == value
