"""What is sent twice, or late, as redis-py and networks do: one effect, and the same answer. On all classes."""

from __future__ import annotations

from typing import Any

import pytest

from pyrq.errors import OutcomeUnknown
from tests.unit.helpers import Fault
from tests.unit.worlds import HELD, NOW, World, call, dump, numbers, opened, prepared

world = pytest.fixture(params=["sync", "aio"])(opened)
QUEUES = pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
CHANGES: list[tuple[str, tuple[Any, ...]]] = [
    ("add_item", ("new",)),
    ("add_item", ("1",)),
    ("add_items", (["new", "1", "0"],)),
    *((f"{verb}_item", (item,)) for verb in ("ack", "delete") for item in ("0", "1", "none")),
    *((f"{verb}_items", (items,)) for verb in ("ack", "delete") for items in (HELD, numbers(1, 20))),
]
QUEUE_CHANGES = [
    *CHANGES,
    ("get_items", (9,)),
    *(("reject_item", (item,)) for item in ("0", "1", "none")),
    *(("reject_items", (items,)) for items in (HELD, numbers(1, 20))),
    *((f"{verb}_all_items", ()) for verb in ("re_enqueue", "drop")),
    *((f"{verb}_timeout_items", (0,)) for verb in ("re_enqueue", "drop")),
    *((f"{verb}_item", (item,)) for verb in ("can_rollback", "reset_blocked") for item in ("0", "1")),
]
POOL_CHANGES = [
    *CHANGES,
    *(("remove_item", (item,)) for item in ("0", "1", "none")),
    *(("remove_items", (items,)) for items in (HELD, numbers(1, 20))),
    ("clear_pool", ()),
]


def state(world: World, one: Any) -> dict[bytes, Any]:
    """Gives all keys but the sessions', with the object's id taken out."""
    found = dump(world.client, but="/session/")
    me, contact = one.client_id.encode(), b"orders-timeouts"
    return {
        key.replace(me, b"me"): {field.replace(me, b"me"): stamp for field, stamp in value.items()}
        if key == contact
        else value
        for key, value in found.items()
        if key != b"orders/consumers"
    }


def outcome(world: World, kind: str, method: str, args: tuple[Any, ...], twice: bool) -> tuple[Any, dict[bytes, Any]]:
    one = prepared(world, kind)
    world.backend.twice = twice
    result = call(one, method, *args)
    return result, state(world, one)


@pytest.mark.parametrize(
    ("kind", "method", "args"),
    [
        *(("Queue", *change) for change in QUEUE_CHANGES),
        *(("UniqueQueue", *change) for change in [*QUEUE_CHANGES, ("repair", ())]),
        *(("Pool", *change) for change in POOL_CHANGES),
    ],
)
def test_sent_twice_is_done_once(world: World, kind: str, method: str, args: tuple[Any, ...]) -> None:
    once = outcome(world, kind, method, args, twice=False)
    assert outcome(world, kind, method, args, twice=True) == once


@pytest.mark.parametrize(
    ("kind", "method", "args"),
    [
        *(("UniqueQueue", *change) for change in [*QUEUE_CHANGES, ("repair", ())]),
        *(("Pool", *change) for change in POOL_CHANGES),
    ],
)
def test_what_arrives_after_its_caller_gave_up_does_nothing(
    world: World, kind: str, method: str, args: tuple[Any, ...]
) -> None:
    call(prepared(world, kind), method, *args)
    script = world.backend.names[-1]
    one = prepared(world, kind)
    world.backend.faults.append(Fault(script, OutcomeUnknown()))
    with pytest.raises(OutcomeUnknown):
        call(one, method, *args)
    lost = world.backend.calls[-1]
    one.add_item("after")
    after = state(world, one)
    if method == "get_items":
        # A get is not burnt by other calls; it is handed out again by the next one, and late it brings the same.
        world.send(lost)
        assert one.get_items(9) == ["waits", "1", "2", "after"]
        return
    with pytest.raises(OutcomeUnknown):
        world.send(lost)
    assert state(world, one) == after


@QUEUES
def test_a_release_that_is_sent_twice_is_done_once(world: World, kind: str) -> None:
    one = world.any(kind)
    one.add_items(numbers(0, 4))
    world.backend.faults.append(Fault("get", OutcomeUnknown(), executed=True))
    with pytest.raises(OutcomeUnknown):
        one.get_items(4)
    one.add_item("1")
    world.backend.twice = True
    assert one.release() == (4 if kind == "Queue" else 3)
    world.backend.twice = False
    assert one.get_items(9) == (["0", "1", "2", "3", "1"] if kind == "Queue" else ["0", "2", "3", "1"])


@QUEUES
def test_a_large_sweep_that_is_sent_twice_is_done_once(world: World, kind: str) -> None:
    one = world.any(kind)
    one.add_items(numbers(0, 2500))
    one.get_items(2500)
    world.backend.twice = True
    assert one.re_enqueue_all_items() == 2500
    world.backend.twice = False
    assert one.get_items(3000) == numbers(0, 2500)


def test_a_delete_that_changed_only_the_set_is_not_done_again(world: World) -> None:
    queue = world.unique()
    world.client.sadd("orders-unique", "a")
    assert queue.delete_item("a") == 0
    assert world.unique().add_item("a") is True
    assert world.send(world.backend.of("delete")[0]) == 0
    assert queue.get_items(9) == ["a"]


# A pool's gets are not remembered


def test_a_hand_out_that_is_sent_again_hands_out_others(world: World) -> None:
    pool = world.pool()
    pool.add_items(numbers(0, 5))
    assert pool.get_items(2) == ["0", "1"]
    get = world.backend.of("pool_get")[0]
    assert world.send(get) == ([b"2", b"3"], b"%d" % NOW)
    assert world.send(get) == ([b"4"], b"%d" % NOW)
    assert world.send(get) == ([], b"%d" % NOW)
    assert pool.ack_items(numbers(0, 5)) == 5


@pytest.mark.parametrize("method", ["get_items", "add_items", "ack_items", "delete_items"])
def test_a_hand_out_that_is_sent_again_behind_a_later_call_does_nothing(world: World, method: str) -> None:
    pool = world.pool()
    pool.add_items(numbers(0, 5))
    pool.get_items(2)
    get = world.backend.of("pool_get")[0]
    call(pool, method, *([1] if method == "get_items" else [["0", "4"]]))
    before = world.dump()
    with pytest.raises(OutcomeUnknown):
        world.send(get)
    assert world.dump() == before


def test_a_hand_out_that_its_caller_gave_up_hands_out_nothing_late(world: World) -> None:
    pool = world.pool()
    pool.add_items(numbers(0, 5))
    world.backend.faults.append(Fault("pool_get", OutcomeUnknown()))
    with pytest.raises(OutcomeUnknown):
        pool.get_items(2)
    lost = world.backend.of("pool_get")[0]
    pool.get_count()
    pool.add_item("0")
    before = world.dump()
    with pytest.raises(OutcomeUnknown):
        world.send(lost)
    assert world.dump() == before
    assert pool.get_items(9) == numbers(0, 5)
