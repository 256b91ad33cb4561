from __future__ import annotations

import random
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest

from pyrq import BytesCodec, JsonCodec
from pyrq.errors import InvalidItemError, OutcomeUnknown
from tests.unit.helpers import BrokenCodec, Fault
from tests.unit.worlds import World, call, dump, numbers, opened

world = pytest.fixture(params=["sync", "aio"])(opened)
FEW = 9
"""From so many items on, a script looks for them in one pass."""


@pytest.fixture
def queue(world: World) -> Any:
    return world.unique()


def waiting(world: World) -> list[str]:
    """Gives what waits, next out first; set and list must agree, and have each item once."""
    items = [item.decode() for item in reversed(world.client.lrange("orders", 0, -1))]
    assert len(set(items)) == len(items)
    assert {item.decode() for item in world.client.smembers("orders-unique")} == set(items)
    return items


def held(world: World, consumer: Any) -> list[str]:
    """Gives what a consumer holds, oldest first."""
    return [item.decode() for item in reversed(world.client.lrange(consumer.processing_queue_name, 0, -1))]


def abandoned(world: World, consumer: Any, count: int) -> None:
    """Takes a batch whose reply is lost."""
    world.backend.faults.append(Fault("get", OutcomeUnknown(), executed=True))
    with pytest.raises(OutcomeUnknown):
        consumer.get_items(count)


# Adding


def test_what_waits_is_not_added_again(world: World, queue: Any) -> None:
    assert queue.add_item("a") is True
    assert queue.add_item("a") is False
    assert queue.add_items(["b", "a", "c", "b", "b"]) == 2
    assert queue.add_items(["c", "a"]) == 0
    assert queue.get_count() == 3
    assert waiting(world) == ["a", "b", "c"]
    assert queue.get_items(9) == ["a", "b", "c"]


def test_adding_nothing_new_leaves_nothing(world: World, queue: Any) -> None:
    queue.add_item("a")
    before = world.dump()
    assert queue.add_items(["a", "a"]) == 0
    assert world.dump() == before


@pytest.mark.parametrize("kind", [list, iter, lambda items: (item for item in items)])
def test_duplicates_across_the_border_of_a_chunk(world: World, queue: Any, kind: Any) -> None:
    items = [*numbers(0, 1500), *numbers(500, 2500), *numbers(0, 10)]
    assert queue.add_items(kind(items)) == 2500
    assert [len(one.args) for one in world.backend.of("add")] == [1004, 1004, 1004, 514]
    assert waiting(world) == numbers(0, 2500)


def test_any_producer_sees_what_waits(world: World, queue: Any) -> None:
    assert world.unique().add_item("a") is True
    assert queue.add_item("a") is False
    assert queue.add_item(b"a") is False
    assert queue.add_items([1, "1", b"1"]) == 1
    assert waiting(world) == ["a", "1"]


# Taking


def test_what_is_taken_may_be_added_at_once(world: World, queue: Any) -> None:
    queue.add_items(["a", "b", "c"])
    assert queue.get_items(2) == ["a", "b"]
    assert waiting(world) == ["c"]
    assert queue.add_items(["c", "b", "a"]) == 2
    assert waiting(world) == ["c", "b", "a"]
    assert queue.ack_items(["a", "b"]) == 2
    assert waiting(world) == ["c", "b", "a"]


def test_taking_more_than_a_chunk(world: World, queue: Any) -> None:
    queue.add_items(numbers(0, 2500))
    assert queue.get_items(2200) == numbers(0, 2200)
    assert waiting(world) == numbers(2200, 2500)
    assert queue.get_items(5000) == numbers(2200, 2500)
    assert waiting(world) == []
    assert not world.client.exists("orders-unique")


def test_an_abandoned_get_is_handed_out_first_though_its_items_wait_again(world: World, queue: Any) -> None:
    queue.add_items(["a", "b", "c"])
    abandoned(world, queue, 2)
    assert queue.add_items(["b", "c"]) == 1
    assert queue.get_items(9) == ["a", "b", "c", "b"]
    assert queue.ack_items(["b", "b", "a", "c"]) == 4
    assert held(world, queue) == waiting(world) == []


# Giving back


@pytest.mark.parametrize("verb", ["reject", "revert"])
def test_what_waits_again_keeps_its_place(world: World, queue: Any, verb: str) -> None:
    queue.add_items(["a", "b", "c"])
    queue.get_items(2)
    queue.add_items(["d", "a", "e"])
    assert call(queue, f"{verb}_item", "a") is True
    assert waiting(world) == ["c", "d", "a", "e"]
    assert held(world, queue) == ["b"]
    assert call(queue, f"{verb}_items", ["b", "a"]) == 1
    assert waiting(world) == ["b", "c", "d", "a", "e"]
    assert held(world, queue) == []


@pytest.mark.parametrize("size", [3, FEW, 40])
def test_what_does_not_wait_comes_back_in_the_order_given(world: World, queue: Any, size: int) -> None:
    queue.add_items(numbers(0, size + 1))
    queue.get_items(size)
    queue.add_item("1")
    others = ["0", *numbers(2, size)]
    assert queue.reject_items(["1", *reversed(others), "none"]) == size
    assert waiting(world) == [*reversed(others), str(size), "1"]


def test_a_rejected_batch_of_several_chunks(world: World, queue: Any) -> None:
    queue.add_items(numbers(0, 2500))
    queue.get_items(2500)
    assert queue.add_items(numbers(2400, 2600)) == 200
    assert queue.reject_items(numbers(0, 2500)) == 2500
    assert waiting(world) == [*numbers(0, 2400), *numbers(2400, 2600)]
    assert held(world, queue) == []


@pytest.mark.parametrize(
    ("method", "again", "expected"),
    [
        ("ack_items", 2, (2, 0, [], [])),
        ("ack_items", 1, (1, 1, [], ["a"])),
        ("reject_items", 2, (2, 0, ["a"], [])),
        ("reject_items", 1, (1, 1, ["a"], ["a"])),
    ],
)
def test_holding_an_item_twice(
    world: World, queue: Any, method: str, again: int, expected: tuple[int, int, list[str], list[str]]
) -> None:
    for _ in range(2):
        assert queue.add_item("a") is True
        assert queue.get_items(1) == ["a"]
    answered, left, waits, holds = expected
    assert call(queue, method, ["a"] * again) == answered
    assert (waiting(world), held(world, queue)) == (waits, holds)
    assert call(queue, method, ["a", "a"]) == left


def test_one_acknowledged_and_one_rejected(world: World, queue: Any) -> None:
    for _ in range(2):
        queue.add_item("a")
        queue.get_items(1)
    assert queue.ack_item("a") is True
    assert queue.reject_item("a") is True
    assert queue.reject_item("a") is False
    assert waiting(world) == ["a"]


def test_release_drops_what_waits_again(world: World, queue: Any) -> None:
    queue.add_items(numbers(0, 6))
    assert queue.get_items(1) == ["0"]
    abandoned(world, queue, 4)
    assert world.unique().add_items(["3", "6", "1"]) == 2 + 1
    assert queue.release() == 2
    assert waiting(world) == ["2", "4", "5", "3", "6", "1"]
    assert held(world, queue) == ["0"]
    assert queue.release() == 0


def test_close_gives_back_what_was_not_seen_and_drops_what_waits_again(world: World, queue: Any) -> None:
    queue.add_items(numbers(0, 4))
    abandoned(world, queue, 3)
    assert queue.get_items(1) == ["0"]
    queue.add_items(["2", "0"])
    queue.close()
    assert waiting(world) == ["1", "3", "2", "0"]
    assert held(world, queue) == ["0"]


def test_release_of_more_than_a_chunk(world: World, queue: Any) -> None:
    queue.add_items(numbers(0, 3500))
    world.backend.faults.append(Fault("get", OutcomeUnknown(), executed=True, skip=2))
    with pytest.raises(OutcomeUnknown):
        queue.get_items(3000)
    assert queue.add_items(numbers(900, 1100)) == 200
    assert queue.release() == 2800
    assert len(world.backend.of("release")) == 3
    assert waiting(world) == [*numbers(0, 900), *numbers(1100, 3500), *numbers(900, 1100)]


# Sweeps


@pytest.mark.parametrize(("method", "args"), [("re_enqueue_all_items", ()), ("re_enqueue_timeout_items", (60,))])
def test_a_sweep_drops_what_waits_again(world: World, queue: Any, method: str, args: tuple[Any, ...]) -> None:
    silent = world.unique()
    queue.add_items(numbers(0, 6))
    silent.get_items(4)
    queue.add_items(["2", "0"])
    world.backend.at(60)
    assert call(queue, method, *args) == 2
    assert waiting(world) == ["1", "3", "4", "5", "2", "0"]
    assert held(world, silent) == []
    assert silent.ack_items(numbers(0, 4)) == 0
    assert call(queue, method, *args) == 0


def test_a_sweep_leaves_a_consumer_that_was_heard_of_in_time(world: World, queue: Any) -> None:
    queue.add_items(["a", "b"])
    queue.get_items(1)
    world.backend.at(59.99)
    assert queue.re_enqueue_timeout_items(60) == 0
    assert queue.drop_timeout_items(60) == 0
    assert held(world, queue) == ["a"]


def test_what_several_consumers_hold_comes_back_once(world: World, queue: Any) -> None:
    first, second = world.unique(), world.unique()
    queue.add_items(["a", "b"])
    assert first.get_items(2) == ["a", "b"]
    world.backend.at(5)
    queue.add_items(["b", "c"])
    assert second.get_items(2) == ["b", "c"]
    assert queue.re_enqueue_all_items() == 3
    # The oldest contact first; of the equal ones the copy stays that went back first, the one with the latest contact.
    assert waiting(world) == ["a", "b", "c"]
    assert held(world, first) == held(world, second) == []


@pytest.mark.parametrize("size", [1500, 10_000])
def test_a_large_sweep_of_what_waits_again_goes_in_small_calls(world: World, queue: Any, size: int) -> None:
    silent = world.unique()
    queue.add_items(numbers(0, size))
    silent.get_items(size)
    assert queue.add_items(numbers(3, size)) == size - 3
    before = len(world.backend.calls)
    lengths = [size]
    world.backend.after = lambda: lengths.append(
        sum(world.client.llen(key) for key in world.client.scan_iter("orders-processing-*"))
    )
    assert queue.re_enqueue_all_items() == 3
    assert waiting(world) == numbers(0, size)
    assert lengths[-1] == 0
    assert max(earlier - later for earlier, later in pairwise(lengths)) <= 1000
    sweeps = world.backend.calls[before:]
    assert {one.script.name for one in sweeps} == {"re_enqueue"}
    assert size // 1000 <= len(sweeps) <= size // 1000 + 2
    assert not any(b"LREM" in one.script.source for one in sweeps)


@pytest.mark.parametrize(("method", "args"), [("drop_all_items", ()), ("drop_timeout_items", (60,))])
def test_a_drop_leaves_what_waits(world: World, queue: Any, method: str, args: tuple[Any, ...]) -> None:
    queue.add_items(["a", "b", "c"])
    queue.get_items(2)
    queue.add_item("a")
    world.backend.at(60)
    assert call(queue, method, *args) == 2
    assert waiting(world) == ["c", "a"]
    assert held(world, queue) == []


# Deleting

MORE = pytest.mark.parametrize("more", [[], numbers(0, FEW)], ids=["few", "many"])


@MORE
def test_deleting_removes_from_list_and_set(world: World, queue: Any, more: list[str]) -> None:
    queue.add_items(["a", "b", "c", "d"])
    assert queue.delete_items(["c", "x", "a", *more]) == 2
    assert waiting(world) == ["b", "d"]
    assert queue.add_items(["a", "b"]) == 1
    assert waiting(world) == ["b", "d", "a"]


@MORE
@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_all_copies_go_whoever_pushed_them(world: World, queue: Any, count: int, more: list[str]) -> None:
    queue.add_items(["a", "b"])
    world.client.lpush("orders", "a", "c", "a")
    world.client.sadd("orders-unique", "c")
    assert queue.delete_items(["a", *more], count) == 3
    assert waiting(world) == ["b", "c"]


def test_deleting_one_item(world: World, queue: Any) -> None:
    queue.add_items(["a", "b"])
    assert queue.delete_item("a") == 1
    assert queue.delete_item("a", 1) == 0
    world.client.lpush("orders", "b")
    assert queue.delete_item("b", 1) == 2
    assert waiting(world) == []


@MORE
def test_what_only_the_set_has_may_be_added_once_it_is_deleted(world: World, queue: Any, more: list[str]) -> None:
    world.client.sadd("orders-unique", "a")
    assert queue.add_item("a") is False
    assert queue.delete_items(["a", *more]) == 0
    assert queue.add_item("a") is True
    assert waiting(world) == ["a"]


def test_what_is_held_is_not_deleted(world: World, queue: Any) -> None:
    queue.add_item("a")
    queue.get_items(1)
    assert queue.delete_item("a") == 0
    assert queue.ack_item("a") is True


# Repairs


def foreign(world: World, *command: str) -> None:
    world.client.execute_command(*command)


@pytest.mark.parametrize(
    ("commands", "changed"),
    [
        ([], 0),
        (["LPUSH orders x y x a"], 2),
        (["LREM orders 0 a", "RPOP orders"], 2),
        (["SADD orders-unique x y a"], 2),
        (["SREM orders-unique a b x"], 2),
        (["DEL orders-unique"], 3),
        (["DEL orders"], 3),
        (["DEL orders orders-unique"], 0),
        (["SADD orders-unique x", "SREM orders-unique a", "LPUSH orders y"], 3),
    ],
)
def test_a_repair_says_how_many_members_it_changed(world: World, queue: Any, commands: list[str], changed: int) -> None:
    queue.add_items(["a", "b", "c"])
    for command in commands:
        foreign(world, *command.split())
    lined_up = world.client.lrange("orders", 0, -1)
    assert queue.repair() == changed
    assert world.client.lrange("orders", 0, -1) == lined_up
    assert world.client.smembers("orders-unique") == set(lined_up)
    assert queue.repair() == 0
    assert not list(world.client.scan_iter("orders/repair*"))


def test_a_repair_of_nothing(world: World, queue: Any) -> None:
    assert queue.repair() == 0
    assert world.dump() == {}


def test_a_repaired_queue_goes_on_as_before(world: World, queue: Any) -> None:
    world.client.lpush("orders", "x", "y")
    world.client.sadd("orders-unique", "stale")
    assert queue.repair() == 3
    assert queue.add_items(["x", "stale"]) == 1
    assert waiting(world) == ["x", "y", "stale"]
    assert queue.get_items(9) == ["x", "y", "stale"]
    assert waiting(world) == []


def test_a_repair_of_more_than_a_window(world: World, queue: Any) -> None:
    queue.add_items(numbers(0, 2500))
    world.client.srem("orders-unique", *numbers(0, 300), *numbers(1000, 1300), *numbers(2499, 2500))
    world.client.sadd("orders-unique", "x", "y")
    assert queue.repair() == 603
    assert waiting(world) == numbers(0, 2500)
    assert queue.repair() == 0


def test_a_push_of_others_is_an_item_like_any_other(world: World, queue: Any) -> None:
    world.client.lpush("orders", "x", "y", "x")
    assert queue.get_count() == 3
    assert queue.get_items(9) == ["x", "y", "x"]
    assert queue.reject_items(["x", "y", "x"]) == 3
    assert waiting(world) == ["y", "x"]


# What can't be decoded


def test_what_can_not_be_decoded_is_buried_and_may_be_added_again(world: World, queue: Any) -> None:
    queue.add_items(["bad", "a", "b"])
    reader = world.unique(codec=BrokenCodec())
    assert reader.get_items(2) == ["a", "b"]
    assert [letter.endswith(b"bad") for letter in world.client.lrange("orders/dead", 0, -1)] == [True]
    assert waiting(world) == []
    assert held(world, reader) == ["a", "b"]
    assert queue.add_items(["bad", "b"]) == 2
    assert waiting(world) == ["bad", "b"]


def test_items_are_the_same_if_their_bytes_are(world: World) -> None:
    queue = world.unique(codec=JsonCodec())
    assert queue.add_items([{"a": 1, "b": 2}, {"b": 2, "a": 1}, [1], "1", 1]) == 4
    assert queue.add_item({"b": 2, "a": 1}) is False
    assert queue.delete_item({"b": 2, "a": 1}) == 1
    assert queue.get_items(9) == [[1], "1", 1]
    assert queue.ack_items([1, [1]]) == 2
    assert queue.reject_item("1") is True


def test_bytes(world: World) -> None:
    queue = world.unique(codec=BytesCodec())
    assert queue.add_items([b"\xff", b"\x00", b"\xff", b""]) == 3
    assert queue.get_items(9) == [b"\xff", b"\x00", b""]
    assert queue.reject_item(b"\xff") is True
    with pytest.raises(InvalidItemError):
        queue.add_item("text")


# List and set


def test_list_and_set_agree_whatever_is_done(world: World, rng: random.Random) -> None:
    consumers = [world.unique() for _ in range(3)]
    letters = "abcdefghijkl"
    methods = ["add", "add", "get", "get", "ack", "reject", "delete", "sweep", "drop", "abandon", "release", "repair"]
    seen: set[str] = set()
    for _ in range(150):
        consumer, method = rng.choice(consumers), rng.choice(methods)
        some = rng.choices(letters, k=rng.choice([1, 3, FEW + 3]))
        count = rng.randrange(1, 6)
        if method in ("add", "ack", "reject", "delete"):
            call(consumer, f"{method}_items", some)
        elif method == "get":
            consumer.get_items(count)
        elif method == "abandon":
            world.backend.faults = [Fault("get", OutcomeUnknown(), executed=True)]
            with suppress(OutcomeUnknown):  # unless the batch was here already
                consumer.get_items(count)
            world.backend.faults.clear()
        elif method == "release":
            consumer.release()
        elif method == "repair":
            assert consumer.repair() == 0
        else:
            call(consumer, "re_enqueue_all_items" if method == "sweep" else "drop_all_items")
        seen |= set(waiting(world))
    assert seen == set(letters)
    consumers[0].re_enqueue_all_items()
    waits = waiting(world)
    assert consumers[0].ack_items(consumers[0].get_items(99)) == len(waits)
    assert dump(world.client, but="/session/") == {}
