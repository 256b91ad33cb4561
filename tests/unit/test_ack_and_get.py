"""Acknowledging and taking in one round trip, in both worlds."""

from __future__ import annotations

from typing import Any

import pytest

from pyrq import JsonCodec, Replicas
from pyrq.core.errors import (
    InvalidItemError,
    NotEnoughSyncedSlavesError,
    OutcomeUnknown,
    QueueClosedError,
    RqError,
    ServerGoneError,
)
from tests.unit.helpers import BrokenCodec, Fault, nothing_sent
from tests.unit.taking_helpers import Wrist, wear
from tests.unit.worlds import World, dump, numbers, opened

world = pytest.fixture(params=["sync", "aio"])(opened)
KINDS = pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])


@pytest.fixture
def wrist(world: World, monkeypatch: pytest.MonkeyPatch) -> Wrist:
    return wear(monkeypatch, world.module, world.backend)


def runs(world: World, before: int) -> list[list[str]]:
    """Gives the names of the scripts of each run since."""
    return [[call.script.name for call in calls] for calls, _ in world.backend.runs[before:]]


@KINDS
def test_both_go_in_one_round_trip(world: World, kind: str) -> None:
    queue = world.any(kind)
    queue.add_items(numbers(0, 5))
    assert queue.get_items(2) == ["0", "1"]
    before = len(world.backend.runs)
    assert queue.ack_and_get(["0", "1"], 2) == ["2", "3"]
    assert queue.ack_and_get(["3", "2"], 9) == ["4"]
    assert queue.ack_and_get(["4"], 9) == []
    assert runs(world, before) == [["ack", "get"]] * 3
    queue.close()
    assert world.dump() == {}


def test_a_loop_of_it_handles_every_item_once(world: World) -> None:
    queue, handled = world.queue(), []
    queue.add_items(numbers(0, 50))
    batch: list[str] = []
    while True:
        batch = queue.ack_and_get(batch, 7)
        handled += batch
        if not batch:
            break
    assert handled == numbers(0, 50)
    assert queue.stats().in_flight == 0


def test_without_items_it_is_a_get(world: World) -> None:
    queue = world.queue()
    queue.add_item("a")
    before = len(world.backend.runs)
    assert queue.ack_and_get([], 3) == ["a"]
    assert queue.ack_and_get(iter([]), 3) == []
    assert runs(world, before) == [["get"], ["get"]]


def test_to_take_none_it_is_an_ack(world: World) -> None:
    queue = world.queue()
    queue.add_items(["a", "b"])
    queue.get_items(1)
    before = len(world.backend.runs)
    assert queue.ack_and_get(["a"], 0) == []
    assert runs(world, before) == [["ack"]]
    assert queue.ack_item("a") is False
    assert queue.get_count() == 1


def test_what_is_not_held_is_passed_over(world: World) -> None:
    queue, other = world.queue(), world.queue()
    queue.add_items(["a", "b", "c"])
    assert other.get_items(1) == ["a"]
    assert queue.ack_and_get(["a", "b", "never"], 1) == ["b"]
    assert other.ack_item("a") is True
    assert queue.ack_item("b") is True


def test_an_item_that_is_taken_with_it_is_not_acknowledged_by_it(world: World) -> None:
    queue = world.queue()
    queue.add_items(["a", "a", "a"])
    assert queue.get_items(1) == ["a"]
    assert queue.ack_and_get(["a", "a", "a"], 1) == ["a"]
    assert queue.stats() == queue.stats().__class__(1, 1, 0, 0, 1, False)


@pytest.mark.parametrize("size", [999, 1000, 1001, 2500])
def test_more_than_a_chunk_of_both(world: World, size: int) -> None:
    queue = world.queue()
    queue.add_items(numbers(0, 9))
    assert queue.ack_items(queue.get_items(9)) == 9  # the server has the script now
    queue.add_items(numbers(0, 2 * size))
    assert queue.get_items(size) == numbers(0, size)
    before = len(world.backend.runs)
    assert queue.ack_and_get(numbers(0, size), 2 * size) == numbers(size, 2 * size)
    sent = runs(world, before)
    chunks = -(-size // 1000)
    # One batch of one get is acknowledged by proof.
    pair = ["ack_all" if chunks == 1 else "ack", "get"]
    assert sent.count(["ack"]) == chunks - 1
    assert sent.count(pair) == 1
    assert queue.ack_items(numbers(0, 2 * size)) == size


def test_it_waits_behind_the_round_trip(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    queue.add_item("a")
    assert queue.get_items(1) == ["a"]
    before = len(world.backend.runs)
    world.backend.when_moving = [lambda: world.client.lpush("orders", "b")]
    assert queue.ack_and_get(["a"], 1, timeout=60) == ["b"]
    assert runs(world, before) == [["ack", "get"], ["get"], ["get"]]
    assert len(world.backend.moves) == 1
    assert queue.ack_item("a") is False


def test_it_does_not_wait_where_something_is(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    queue.add_items(["a", "b"])
    assert queue.get_items(1) == ["a"]
    assert queue.ack_and_get(["a"], 5, timeout=60) == ["b"]
    assert queue.ack_and_get(["b"], 5, timeout=0) == []
    assert (world.backend.moves, wrist.naps) == ([], [])


def test_what_can_not_be_decoded_is_buried(world: World) -> None:
    queue = world.queue(codec=BrokenCodec())
    queue.add_items(["a", "bad1", "b", "bad2", "c"])
    assert queue.get_items(1) == ["a"]
    assert queue.ack_and_get(["a"], 3) == ["b", "c"]
    assert [letter.raw for letter in queue.dead.peek(9)] == [b"bad1", b"bad2"]
    assert queue.ack_and_get(["b", "c"], 3) == []
    assert queue.stats().in_flight == 0


def test_values_of_a_codec(world: World) -> None:
    queue = world.queue(codec=JsonCodec())
    queue.add_items([{"n": 1}, {"n": 2}])
    assert queue.get_items(1) == [{"n": 1}]
    assert queue.ack_and_get([{"n": 1}], 1) == [{"n": 2}]


# What goes wrong


@pytest.mark.parametrize("executed", [False, True])
def test_a_pair_whose_answer_is_lost_loses_nothing(world: World, executed: bool) -> None:
    queue = world.queue()
    queue.add_items(["a", "b", "a"])
    assert queue.get_items(1) == ["a"]
    world.backend.faults.append(Fault("get", OutcomeUnknown(), executed))
    with pytest.raises(OutcomeUnknown):
        queue.ack_and_get(["a"], 2)
    assert queue.get_items(5) == ["b", "a"]
    assert queue.ack_items(["a", "a"]) == (1 if executed else 2)
    assert queue.ack_item("b") is True
    assert queue.stats().in_flight == 0


def test_a_pair_that_arrives_after_its_caller_gave_up_does_nothing(world: World) -> None:
    queue = world.queue()
    queue.add_items(["a", "b"])
    assert queue.get_items(1) == ["a"]
    world.backend.faults.append(Fault("get", OutcomeUnknown()))
    with pytest.raises(OutcomeUnknown):
        queue.ack_and_get(["a"], 1)
    late = world.backend.runs[-1][0]
    assert queue.ack_item("never") is False
    assert queue.get_items(1) == ["b"]
    before = dump(world.client, but="/session/")
    for call in late:
        with pytest.raises(OutcomeUnknown):
            world.send(call)
    assert dump(world.client, but="/session/") == before
    assert queue.ack_items(["a", "b"]) == 2


def test_what_waits_in_the_object_is_handed_out_first(world: World) -> None:
    queue = world.queue()
    queue.add_items(numbers(0, 6))
    world.backend.faults.append(Fault("get", OutcomeUnknown(), executed=True))
    with pytest.raises(OutcomeUnknown):
        queue.get_items(4)
    assert queue.get_items(1) == ["0"]
    assert queue.ack_and_get(["0"], 2) == ["1", "2"]
    assert queue.ack_and_get(["1", "2"], 9) == ["3", "4", "5"]
    assert queue.ack_items(["3", "4", "5"]) == 3


def test_a_release_without_an_answer_is_settled_before(world: World) -> None:
    queue = world.queue()
    queue.add_items(numbers(0, 4))
    world.backend.faults += [Fault("get", OutcomeUnknown(), executed=True)]
    with pytest.raises(OutcomeUnknown):
        queue.get_items(4)
    assert queue.get_items(1) == ["0"]
    world.backend.faults += [Fault("release", OutcomeUnknown(), executed=True)]
    with pytest.raises(OutcomeUnknown):
        queue.release()
    assert queue.ack_and_get(["0"], 9) == ["1", "2", "3"]


def test_too_few_that_confirm_it(world: World) -> None:
    queue = world.queue(durability=Replicas(1))
    queue.add_items(["a", "b"])
    assert queue.get_items(1) == ["a"]
    world.backend.faults.append(Fault("get", NotEnoughSyncedSlavesError(), executed=True))
    with pytest.raises(NotEnoughSyncedSlavesError):
        queue.ack_and_get(["a"], 1)
    assert world.backend.runs[-1][1] == Replicas(1)
    assert queue.ack_item("a") is False
    assert queue.get_items(1) == ["b"]


@pytest.mark.parametrize(
    ("script", "kind", "tells"),
    [
        ("ack", OutcomeUnknown, (0, 1000, 1500)),
        ("ack", ServerGoneError, (0, 0, 2500)),
        ("get", OutcomeUnknown, (2000, 500, 0)),
        ("get", ServerGoneError, (2000, 0, 500)),
    ],
)
def test_an_error_tells_what_is_known_of_each_item(
    world: World, script: str, kind: type[RqError], tells: tuple[int, int, int]
) -> None:
    queue = world.queue()
    queue.add_items(numbers(0, 2500))
    items = queue.get_items(2500)
    world.backend.faults.append(Fault(script, kind()))
    with pytest.raises(kind) as caught:
        queue.ack_and_get(items, 1)
    assert (caught.value.done, caught.value.unknown, caught.value.remaining) == tells


@pytest.mark.parametrize("kind", [OutcomeUnknown, ServerGoneError])
def test_an_error_after_the_ack_tells_that_it_took_effect(world: World, kind: type[RqError]) -> None:
    queue = world.queue()
    queue.add_items(["a", "b"])
    assert queue.get_items(2) == ["a", "b"]
    world.backend.faults.append(Fault("get", kind(), skip=1))
    with pytest.raises(kind) as caught:
        queue.ack_and_get(["a", "b"], 1, 5)
    assert (caught.value.done, caught.value.unknown, caught.value.remaining) == (2, 0, 0)


# Bad input


@pytest.mark.parametrize(
    ("args", "argument"),
    [
        ((["a"], -1), "count"),
        ((["a"], 1.5), "count"),
        ((["a"], None), "count"),
        ((["a"], True), "count"),
        (("text", 1), "items"),
        ((5, 1), "items"),
        ((None, 1), "items"),
    ],
)
def test_wrong_arguments_are_named_before_anything_is_sent(world: World, args: tuple[Any, ...], argument: str) -> None:
    queue = world.queue()
    with nothing_sent(world.backend), pytest.raises((TypeError, ValueError), match=f"^{argument} must be"):
        queue.ack_and_get(*args)


def test_none_is_no_item_and_nothing_is_sent(world: World) -> None:
    queue = world.queue()
    with nothing_sent(world.backend), pytest.raises(InvalidItemError):
        queue.ack_and_get(["a", None], 1)


@pytest.mark.parametrize("args", [([], 0), (["a"], 1), ([], 1)])
def test_a_closed_queue_says_so(world: World, args: tuple[Any, ...]) -> None:
    queue = world.queue()
    queue.close()
    with nothing_sent(world.backend), pytest.raises(QueueClosedError):
        queue.ack_and_get(*args)
