"""Looking at a queue, stopping its consumers, putting items off, and its bounds, in both worlds."""

from __future__ import annotations

from typing import Any

import pytest

from pyrq import QueueFull
from pyrq.core.errors import NotEnoughSyncedSlavesError, OutcomeUnknown
from pyrq.core.views import InFlight, Stats
from tests.unit.helpers import BrokenCodec, Fault, nothing_sent
from tests.unit.worlds import World, dump, numbers, opened

world = pytest.fixture(params=["sync", "aio"])(opened)
KINDS = pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])


# Looking


@KINDS
def test_stats_of_nothing(world: World, kind: str) -> None:
    assert world.any(kind).stats() == Stats(0, 0, 0, 0, 0, False)
    assert world.client.keys("*") == []


@KINDS
def test_stats_count_everything(world: World, kind: str) -> None:
    queue, other = world.any(kind), world.any(kind)
    queue.add_items(numbers(0, 9))
    queue.add_items(["later", "still later"], delay=60)
    queue.get_items(2)
    other.get_items(1)
    world.client.lpush("orders/dead", "x", "y", "z")
    queue.pause()
    assert queue.stats() == Stats(waiting=6, in_flight=3, delayed=2, dead=3, consumers=2, paused=True)


def test_what_landed_waits_still(world: World) -> None:
    queue, idle = world.queue(), world.queue()
    idle.get_count()
    world.client.hset("orders/consumers", f"{idle.client_id}/landing", "9e9")
    world.client.lpush(f"orders/landing/{idle.client_id}", "landed")
    assert queue.stats() == Stats(1, 0, 0, 0, 1, False)


def test_a_peek_shows_the_oldest_and_leaves_them(world: World) -> None:
    queue = world.queue()
    queue.add_items(numbers(0, 9))
    before = dump(world.client)
    assert queue.peek(3) == numbers(0, 3)
    assert queue.peek(3, 2) == numbers(2, 5)
    assert queue.peek(3, offset=7) == numbers(7, 9)
    assert queue.peek(3, 9) == queue.peek(3, 10**30) == []
    assert queue.peek(1000) == numbers(0, 9)
    assert dump(world.client) == before


def test_a_peek_leaves_out_what_can_not_be_decoded(world: World) -> None:
    queue = world.queue(codec=BrokenCodec())
    queue.add_items(["a", "bad", "b"])
    assert queue.peek(3) == ["a", "b"]
    assert queue.get_count() == 3


def test_to_peek_at_none_sends_nothing(world: World) -> None:
    queue = world.queue()
    with nothing_sent(world.backend):
        assert queue.peek(0) == []


@KINDS
def test_who_holds_how_much(world: World, kind: str) -> None:
    queue, other = world.any(kind, client_id="one"), world.any(kind, client_id="two")
    assert queue.in_flight() == []
    queue.add_items(numbers(0, 9))
    queue.get_items(4)
    world.backend.at(10)
    other.get_items(2)
    world.backend.at(12.5)
    found = sorted(queue.in_flight(), key=lambda one: one.consumer)
    assert found == [InFlight(queue.client_id, 4, 12.5, None), InFlight(other.client_id, 2, 2.5, None)]
    queue.ack_items(numbers(0, 4))
    assert [one.consumer for one in queue.in_flight()] == [other.client_id]


@pytest.mark.parametrize("name", ["stats", "in_flight", "peek"])
def test_to_look_is_one_round_trip(world: World, name: str) -> None:
    queue = world.queue()
    queue.get_count()
    before = len(world.backend.runs)
    getattr(queue, name)(*([5] if name == "peek" else []))
    assert [[call.script.name for call in calls] for calls, _ in world.backend.runs[before:]] == [[name]]


# Pausing


@KINDS
def test_nothing_is_taken_from_a_paused_queue(world: World, kind: str) -> None:
    queue, other = world.any(kind), world.any(kind)
    queue.add_items(["a", "b", "c"])
    assert other.get_items(1) == ["a"]
    assert (queue.paused, queue.pause(), queue.paused, other.paused, queue.pause()) == (False, True, True, True, False)
    assert queue.get_items(9) == other.get_items(9) == []
    assert other.ack_and_get(["a"], 9) == []
    assert queue.add_items(["d"]) == 1
    assert (other.resume(), other.resume(), queue.paused) == (True, False, False)
    assert queue.get_items(9) == ["b", "c", "d"]


def test_what_is_held_is_settled_while_paused(world: World) -> None:
    queue = world.queue()
    queue.add_items(["a", "b"])
    queue.get_items(2)
    queue.pause()
    assert queue.ack_item("a") is True
    assert queue.reject_item("b") is True
    assert queue.get_count() == 1


def test_a_batch_whose_reply_was_lost_comes_although_it_is_paused(world: World) -> None:
    """It was taken before; nobody else can have it."""
    queue = world.queue()
    queue.add_items(["a", "b"])
    world.backend.faults.append(Fault("get", OutcomeUnknown(), executed=True))
    with pytest.raises(OutcomeUnknown):
        queue.get_items(1)
    queue.pause()
    assert queue.get_items(9) == ["a"]
    assert queue.get_items(9) == []


def test_a_pause_and_its_end_are_done_once(world: World) -> None:
    queue = world.queue()
    world.backend.twice = True
    assert (queue.pause(), queue.resume(), queue.pause()) == (True, True, True)
    queue.resume()
    assert not world.client.exists("orders/meta")


# Putting off


@KINDS
def test_items_that_are_put_off_come_when_they_are_due(world: World, kind: str) -> None:
    queue = world.any(kind)
    assert queue.add_item("late", delay=60) is True
    assert queue.add_items(["soon", "soon too"], delay=2.5) == 2
    assert queue.add_item("now", 0) is True
    assert queue.stats() == Stats(1, 0, 3, 0, 0, False)
    assert queue.get_items(9) == ["now"]
    world.backend.at(2)
    assert queue.get_items(9) == []
    world.backend.at(3)
    assert queue.get_items(9) == ["soon", "soon too"]
    world.backend.at(61)
    assert queue.get_items(9) == ["late"]
    assert not world.client.exists("orders/delayed")


def test_equal_items_that_are_put_off_are_separate(world: World) -> None:
    queue = world.queue()
    assert queue.add_items(["a", "a", "b"], delay=1) == 3
    assert queue.add_item("a", delay=1) is True
    world.backend.at(2)
    assert queue.get_items(9) == ["a", "a", "b", "a"]


def test_unique_items_that_are_put_off_join_once(world: World) -> None:
    queue = world.unique()
    queue.add_item("a")
    assert queue.add_item("a", delay=1) is True
    assert queue.add_items(["b", "b", "c"], delay=1) == 3
    world.backend.at(2)
    assert queue.get_items(9) == ["a", "b", "c"]
    assert queue.get_count() == 0


def test_more_than_a_chunk_that_is_put_off_keeps_its_order(world: World) -> None:
    queue = world.queue()
    assert queue.add_items((str(number) for number in range(2500)), delay=1) == 2500
    assert len(world.backend.of("put_off")) == 3
    world.backend.at(2)
    got = []
    while items := queue.get_items(900):
        got += items
    assert got == numbers(0, 2500)


def test_items_of_any_bytes_can_be_put_off(world: World) -> None:
    queue, items = world.queue(), ["", "\n", "a\nb", "0 0 1 x\ny", "\udcff"]
    queue.add_items(items, delay=1)
    world.backend.at(2)
    assert queue.get_items(9) == items


def test_nothing_becomes_due_while_paused(world: World) -> None:
    queue = world.queue()
    queue.add_item("a", delay=1)
    queue.pause()
    world.backend.at(2)
    assert queue.get_items(1) == []
    assert queue.stats().delayed == 1
    queue.resume()
    assert queue.get_items(1) == ["a"]


def test_an_add_with_a_delay_that_is_sent_twice_is_done_once(world: World) -> None:
    queue = world.queue()
    world.backend.twice = True
    assert queue.add_items(["a", "b"], delay=1) == 2
    assert queue.stats().delayed == 2


@pytest.mark.parametrize("delay", [-1, -0.001, float("nan"), float("inf"), float("-inf"), 1e10, 10**400])
@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
def test_a_delay_out_of_range_is_named_before_anything_is_sent(world: World, kind: str, delay: float) -> None:
    queue = world.any(kind)
    for name, args in (("add_item", ("a",)), ("add_items", (["a"],)), ("add_items", ([],))):
        with nothing_sent(world.backend), pytest.raises(ValueError, match=r"^delay must be seconds, from 0 to 1e"):
            getattr(queue, name)(*args, delay=delay)


@pytest.mark.parametrize("delay", [None, "5", b"5", True, [1], 1j])
def test_a_delay_of_a_wrong_type_is_named_before_anything_is_sent(world: World, delay: Any) -> None:
    for queue in (world.queue(), world.unique()):
        for name, args in (("add_item", ("a",)), ("add_items", (["a"],))):
            with nothing_sent(world.backend), pytest.raises(TypeError, match=r"^delay must be seconds"):
                getattr(queue, name)(*args, delay=delay)


# Bounds


@KINDS
def test_a_full_queue_takes_no_more(world: World, kind: str) -> None:
    queue = world.any(kind, max_size=3)
    assert queue.add_items(["a", "b"]) == 2
    with pytest.raises(QueueFull) as caught:
        queue.add_items(["c", "d"])
    assert (caught.value.added, caught.value.unknown, caught.value.remaining) == (0, 0, 2)
    assert queue.add_item("c") is True
    with pytest.raises(QueueFull, match="max_size"):
        queue.add_item("d")
    with pytest.raises(QueueFull):
        queue.add_item("d", delay=5)
    assert queue.get_items(1) == ["a"]
    assert queue.add_item("d") is True
    assert queue.get_items(9) == ["b", "c", "d"]


def test_what_is_put_off_counts(world: World) -> None:
    queue = world.queue(max_size=3)
    assert queue.add_items(["a", "b"], delay=5) == 2
    with pytest.raises(QueueFull):
        queue.add_items(["c", "d"])
    assert queue.add_item("c") is True
    with pytest.raises(QueueFull):
        queue.add_item("d", delay=1)


def test_what_goes_back_always_fits(world: World) -> None:
    queue = world.queue(max_size=2)
    queue.add_items(["a", "b"])
    assert queue.get_items(2) == ["a", "b"]
    queue.add_items(["c", "d"])
    assert queue.reject_items(["a", "b"]) == 2
    assert queue.get_count() == 4


def test_in_a_full_queue_of_unique_items_those_that_wait_are_no_more(world: World) -> None:
    queue = world.unique(max_size=2)
    assert queue.add_items(["a", "b"]) == 2
    assert queue.add_items(["a", "b", "a"]) == 0
    with pytest.raises(QueueFull):
        queue.add_items(["a", "c"])


@pytest.mark.parametrize("delay", [0, 5])
def test_the_chunk_that_does_not_fit_adds_nothing(world: World, delay: float) -> None:
    queue = world.queue(max_size=2500)
    with pytest.raises(QueueFull) as caught:
        queue.add_items(numbers(0, 3200), delay)
    assert (caught.value.added, caught.value.unknown, caught.value.remaining) == (2000, 0, 1200)
    stats = queue.stats()
    assert stats.waiting + stats.delayed == 2000
    with pytest.raises(QueueFull) as caught:
        queue.add_items((str(number) for number in range(1001)), delay)
    assert (caught.value.added, caught.value.remaining) == (0, None)
    assert queue.add_items(numbers(0, 500), delay) == 500


def test_a_refusal_leaves_nothing_to_burn(world: World) -> None:
    queue = world.queue(max_size=1)
    queue.add_item("a")
    for _ in range(3):
        with pytest.raises(QueueFull):
            queue.add_item("b")
    assert "burn" not in world.backend.names
    assert queue._run.member().session.at_rest()


def test_objects_with_other_bounds_share_a_queue(world: World) -> None:
    small, large = world.queue(max_size=1), world.queue()
    assert large.add_items(["a", "b"]) == 2
    with pytest.raises(QueueFull):
        small.add_item("c")
    assert large.add_item("c") is True


@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
@pytest.mark.parametrize("name", ["max_deliveries", "max_size", "dead_max"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "5", True, float("nan")])
def test_a_wrong_bound_is_named_at_once(world: World, kind: str, name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{name} must be a whole number, 1 or more"):
        world.any(kind, **{name: value})


@pytest.mark.parametrize(
    ("args", "argument"),
    [
        ((-1,), "count"),
        ((1001,), "count"),
        ((2.5,), "count"),
        ((None,), "count"),
        ((1, -1), "offset"),
        ((1, None), "offset"),
        ((0, "x"), "offset"),
    ],
)
def test_a_wrong_peek_is_named_before_anything_is_sent(world: World, args: tuple[Any, ...], argument: str) -> None:
    queue = world.queue()
    with nothing_sent(world.backend), pytest.raises((TypeError, ValueError), match=f"^{argument} must be"):
        queue.peek(*args)


def test_a_delayed_add_that_too_few_confirm_has_taken_effect(world: World) -> None:
    queue = world.queue()
    world.backend.faults.append(Fault("put_off", NotEnoughSyncedSlavesError(), executed=True))
    with pytest.raises(NotEnoughSyncedSlavesError):
        queue.add_item("a", delay=1)
    assert queue.stats().delayed == 1
