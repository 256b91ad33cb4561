from __future__ import annotations

from typing import Any

import pytest

from pyrq.core.codec import JsonCodec, TextCodec
from pyrq.core.errors import QueueClosedError
from pyrq.core.keys import Keys
from pyrq.core.member import Member, Setup
from pyrq.core.options import Fsync, Replicas

OFF = (False, 0, 100)


def test_the_defaults() -> None:
    setup = Setup.of("orders", None, None, None, OFF)
    assert (setup.name, setup.label, setup.durability) == ("orders", None, None)
    assert isinstance(setup.codec, TextCodec)


def test_the_options() -> None:
    codec = JsonCodec()
    assert Setup.of("orders", codec, "me", Fsync(), OFF) == Setup("orders", codec, "me", Fsync())
    assert Setup.of("orders", None, None, None, (True, 2, 300)).durability == Replicas(2, 300)


@pytest.mark.parametrize("codec", [5, "json", object(), lambda value: value])
def test_a_codec_has_two_methods(codec: Any) -> None:
    with pytest.raises(TypeError, match=rf"^codec must have encode and decode methods, not be {type(codec).__name__}$"):
        Setup.of("orders", codec, None, None, OFF)


def test_a_codec_is_an_object_and_not_its_class() -> None:
    codec: Any = JsonCodec
    with pytest.raises(TypeError, match=r"^codec must"):
        Setup.of("orders", codec, None, None, OFF)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a/b", None, None, None, OFF), "^name must be 1 to 200 bytes"),
        (("orders", None, "a/b", None, OFF), "^client_id must be 1 to 100 bytes"),
        (("orders", None, None, None, (True, 0, 100)), "^synced_slaves_count must be"),
    ],
)
def test_an_option_out_of_range(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Setup.of(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((b"orders", None, None, None, OFF), "^name must be text"),
        (("orders", None, 5, None, OFF), "^client_id must be text"),
        (("orders", None, None, 5, OFF), "^durability must be Replicas, Fsync or None"),
    ],
)
def test_an_option_of_the_wrong_type(arguments: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Setup.of(*arguments)


def test_a_member() -> None:
    member = Member("orders", "me-1", 120, 3)
    assert member.keys == Keys.of("orders", "me-1")
    assert member.session.lease().next().ttl == 120
    assert (member.doubts, member.checked, member.closed) == (3, False, False)
    member.check_open()


def test_a_closed_member() -> None:
    member = Member("orders", "me-1", 120, 0)
    member.closed = True
    with pytest.raises(QueueClosedError):
        member.check_open()
