from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrq.core import ops, pool_ops
from pyrq.core.codec import BytesCodec, JsonCodec, TextCodec
from pyrq.core.errors import QueueClosedError
from pyrq.core.keys import Keys, Kind
from pyrq.core.limits import NO_LIMITS, Limits
from pyrq.core.member import Member, PoolSetup, QueueSetup, Setup, one_name
from pyrq.core.options import Fsync, Replicas
from pyrq.core.rollback import RollbackLimit

OFF = (False, 0, 100)
NONE = (None, None)
UNBOUND = (None, None, None)
TIMES = (100, 600, 129600)

Make = Callable[..., Setup[Any]]


def queue(
    name: Any = "orders", codec: Any = None, label: Any = None, durability: Any = None, synced: Any = OFF
) -> Setup[Any]:
    return QueueSetup.of(name, codec, label, durability, synced, NONE, UNBOUND)


def unique(
    name: Any = "orders", codec: Any = None, label: Any = None, durability: Any = None, synced: Any = OFF
) -> Setup[Any]:
    return QueueSetup.of(name, codec, label, durability, synced, NONE, UNBOUND, kind=Kind.UNIQUE)


def pool(
    name: Any = "orders", codec: Any = None, label: Any = None, durability: Any = None, synced: Any = OFF
) -> Setup[Any]:
    return PoolSetup.of(name, codec, label, durability, synced, TIMES)


every_setup = pytest.mark.parametrize("make", [queue, unique, pool])


# What all have


@every_setup
def test_the_defaults(make: Make) -> None:
    setup = make()
    assert (setup.name, setup.label, setup.durability) == ("orders", None, None)
    assert isinstance(setup.codec, TextCodec)


@every_setup
def test_the_options(make: Make) -> None:
    codec = JsonCodec()
    setup = make(codec=codec, label="me", durability=Fsync())
    assert (setup.codec, setup.label, setup.durability) == (codec, "me", Fsync())
    assert make(synced=(True, 2, 300)).durability == Replicas(2, 300)


def test_what_lies_behind_the_name() -> None:
    assert [make().kind for make in (queue, unique, pool)] == [Kind.PLAIN, Kind.UNIQUE, Kind.POOL]


@every_setup
@pytest.mark.parametrize("codec", [5, "json", object(), lambda value: value])
def test_a_codec_has_two_methods(make: Make, codec: Any) -> None:
    with pytest.raises(TypeError, match=rf"^codec must have encode and decode methods, not be {type(codec).__name__}$"):
        make(codec=codec)


@every_setup
def test_a_codec_is_an_object_and_not_its_class(make: Make) -> None:
    with pytest.raises(TypeError, match=r"^codec must"):
        make(codec=JsonCodec)


@every_setup
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "a/b"}, "^name must be 1 to 200 bytes"),
        ({"label": "a/b"}, "^client_id must be 1 to 100 bytes"),
        ({"synced": (True, 0, 100)}, "^synced_slaves_count must be"),
        ({"synced": (True, 1, 100), "durability": Fsync()}, "^durability and synced_slaves_enabled say the same"),
    ],
)
def test_an_option_out_of_range(make: Make, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**arguments)


@every_setup
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": b"orders"}, "^name must be text"),
        ({"label": 5}, "^client_id must be text"),
        ({"durability": 5}, "^durability must be Replicas, Fsync or None"),
        ({"synced": (1, 1, 100)}, "^synced_slaves_enabled must be True or False"),
    ],
)
def test_an_option_of_the_wrong_type(make: Make, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make(**arguments)


@every_setup
def test_a_setup_is_a_frozen_value(make: Make) -> None:
    codec = BytesCodec()
    setup: Any = make(codec=codec)
    assert setup == make(codec=codec) != make("other", codec)
    for field in fields(setup):
        with pytest.raises(FrozenInstanceError):
            setattr(setup, field.name, None)


@every_setup
def test_a_setup_goes_to_other_processes(make: Make) -> None:
    setup = make(label="me", durability=Replicas(1))
    for other in (pickle.loads(pickle.dumps(setup)), copy.copy(setup)):
        assert type(other) is type(setup)
        assert isinstance(other.codec, TextCodec)
        assert [getattr(other, field.name) for field in fields(other) if field.name != "codec"] == [
            getattr(setup, field.name) for field in fields(setup) if field.name != "codec"
        ]


# Queues


@pytest.mark.parametrize("kind", [Kind.PLAIN, Kind.UNIQUE])
@pytest.mark.parametrize(
    ("rollback", "limit"),
    [
        (NONE, None),
        ((5, None), None),
        ((None, 5), None),
        ((0, 0), RollbackLimit(0, 0)),
        ((5, 2.5), RollbackLimit(5, 2.5)),
    ],
)
def test_a_limit_needs_both_options(kind: Kind, rollback: Any, limit: RollbackLimit | None) -> None:
    setup = QueueSetup.of("orders", None, None, None, OFF, rollback, UNBOUND, kind=kind)
    assert (setup.kind, setup.rollback_limit) == (kind, limit)


@pytest.mark.parametrize(
    ("rollback", "error", "message"),
    [
        ((-1, None), ValueError, "^max_retry_rollback must be a whole number, 0 or more, not -1$"),
        ((None, "5"), TypeError, r"^max_timeout_in_queue must be minutes, from 0 to 1e\+09, not str$"),
    ],
)
def test_one_option_of_a_limit_is_checked_without_the_other(rollback: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        QueueSetup.of("orders", None, None, None, OFF, rollback, UNBOUND)
    with pytest.raises(error, match=message):
        QueueSetup.of("orders", None, None, None, OFF, rollback, UNBOUND, kind=Kind.UNIQUE)


@pytest.mark.parametrize(
    ("names", "chosen"), [(("orders", None), ("queue_name", "orders")), ((None, "orders"), ("name", "orders"))]
)
def test_a_name_by_either_argument(names: tuple[Any, Any], chosen: tuple[str, str]) -> None:
    assert one_name(*names) == chosen


@pytest.mark.parametrize("names", [(None, None), ("orders", "orders"), ("", "orders"), ("orders", "")])
def test_exactly_one_name(names: tuple[Any, Any]) -> None:
    with pytest.raises(TypeError, match=r"^queue_name or name must be given, and not both"):
        one_name(*names)


@pytest.mark.parametrize(("wrong", "error"), [("a/b", ValueError), ("", ValueError), (b"orders", TypeError)])
def test_a_wrong_name_is_called_as_the_caller_did(wrong: Any, error: Any) -> None:
    with pytest.raises(error, match=r"^queue_name must be "):
        QueueSetup.of(wrong, None, None, None, OFF, NONE, UNBOUND, argument="queue_name")


@pytest.mark.parametrize("kind", [Kind.PLAIN, Kind.UNIQUE])
@pytest.mark.parametrize("bounds", [(3, 4, 5), (None, 4, None), (1, 1, 1)])
def test_the_bounds_of_a_queue(kind: Kind, bounds: Any) -> None:
    assert QueueSetup.of("orders", None, None, None, OFF, NONE, bounds, kind=kind).limits == Limits(*bounds)


def test_a_queue_is_unbound_unless_told_otherwise() -> None:
    assert QueueSetup.of("orders", None, None, None, OFF, NONE, UNBOUND).limits == NO_LIMITS


@pytest.mark.parametrize(("place", "argument"), list(enumerate(["max_deliveries", "max_size", "dead_max"])))
def test_a_wrong_bound(place: int, argument: str) -> None:
    bounds: Any = [None, None, None]
    bounds[place] = 0
    with pytest.raises(ValueError, match=rf"^{argument} must be a whole number, 1 or more, not 0$"):
        QueueSetup.of("orders", None, None, None, OFF, NONE, tuple(bounds))


# Pools


def times(*given: Any) -> tuple[int, int, int]:
    setup = PoolSetup.of("orders", None, None, None, OFF, given)
    assert all(type(value) is int for value in (setup.chunk_size, setup.ack_ttl, setup.ack_valid_for))
    return setup.chunk_size, setup.ack_ttl, setup.ack_valid_for


def test_the_times_of_a_pool() -> None:
    assert times(*TIMES) == TIMES
    assert times(1, 0, 0) == (1, 0, 0)
    assert times(7, 600.0, 1e9) == (7, 600, 10**9)


@given(st.integers(1, 10**30))
def test_a_chunk_is_no_larger_than_a_call_may_be(size: int) -> None:
    assert times(size, 600, 600)[0] == min(size, ops.CHUNK)


@pytest.mark.parametrize("size", [0, -1])
def test_a_chunk_has_an_item(size: int) -> None:
    with pytest.raises(ValueError, match=rf"^chunk_size must be a whole number, 1 or more, not {size}$"):
        times(size, 600, 600)


@pytest.mark.parametrize("size", [True, 1.0, "1", None])
def test_the_size_of_a_chunk_is_a_whole_number(size: Any) -> None:
    kind = type(size).__name__
    with pytest.raises(TypeError, match=rf"^chunk_size must be a whole number, 1 or more, not {kind}$"):
        times(size, 600, 600)


@pytest.mark.parametrize("option", ["ack_ttl", "ack_valid_for"])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (-1, ValueError, r"seconds, from 0 to 1e\+09, not -1"),
        (10**9 + 1, ValueError, r"seconds, from 0 to 1e\+09, not 1000000001"),
        (math.nan, ValueError, r"seconds, from 0 to 1e\+09, not nan"),
        (0.5, ValueError, r"whole seconds, not 0\.5"),
        (True, TypeError, r"seconds, from 0 to 1e\+09, not bool"),
        ("600", TypeError, r"seconds, from 0 to 1e\+09, not str"),
        (None, TypeError, r"seconds, from 0 to 1e\+09, not NoneType"),
    ],
)
def test_a_wrong_time(option: str, value: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=f"^{option} must be {message}$"):
        times(100, *((value, 600) if option == "ack_ttl" else (600, value)))


# Members


@pytest.mark.parametrize("kind", Kind)
def test_a_member(kind: Kind) -> None:
    keys = Keys.of("orders", "me-1", kind)
    member = Member(keys, 120, 3)
    assert member.keys is keys
    assert member.session.lease().next().ttl == 120
    assert (member.doubts, member.checked, member.closed) == (3, False, False)
    member.check_open()


def test_members_share_nothing() -> None:
    keys = Keys.of("orders", "me-1")
    assert Member(keys, 120, 0).session is not Member(keys, 120, 0).session


def test_a_closed_member() -> None:
    member = Member(Keys.of("orders", "me-1"), 120, 0)
    member.closed = True
    with pytest.raises(QueueClosedError):
        member.check_open()


def test_what_is_checked_is_what_its_kind_needs() -> None:
    def probe(kind: Kind) -> Any:
        return Member(Keys.of("orders", "me-1", kind), 120, 0).probe()

    assert probe(Kind.PLAIN) == ops.probe(Keys.of("orders", "me-1"))
    assert probe(Kind.UNIQUE) == ops.probe(Keys.of("orders", "me-1", Kind.UNIQUE)) != probe(Kind.PLAIN)
    assert probe(Kind.POOL) == pool_ops.probe(Keys.of("orders", "me-1", Kind.POOL))
