"""Dead letters, in both worlds: where they come from, looking at them, and giving them another life."""

from __future__ import annotations

from typing import Any

import pytest

from pyrq import JsonCodec
from pyrq.core.errors import OutcomeUnknown, ServerGoneError
from pyrq.core.views import DeadLetter
from tests.unit.helpers import BrokenCodec, Fault, nothing_sent
from tests.unit.worlds import NOW, World, numbers, opened

world = pytest.fixture(params=["sync", "aio"])(opened)
KINDS = pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])


def bury(world: World, *items: str) -> None:
    """Writes letters that have no story, as anybody may."""
    world.client.lpush("orders/dead", *items)


def die(queue: Any, *items: str) -> None:
    """Makes dead letters of items, by one reject."""
    queue.add_items(items)
    assert queue.get_items(len(items)) == list(items)
    assert queue.reject_items(items) == len(items)


def items_of(letters: list[DeadLetter[Any]]) -> list[Any]:
    return [letter.item for letter in letters]


# max_deliveries


@KINDS
def test_an_item_that_was_delivered_too_often_is_dead(world: World, kind: str) -> None:
    queue = world.any(kind, max_deliveries=3)
    queue.add_items(["a", "b"])
    for turn in range(3):
        assert queue.dead.count() == 0
        assert queue.get_items(1) == ["a"], turn
        assert queue.reject_item("a") is True
    assert queue.get_items(9) == ["b"]
    assert queue.dead.peek(9) == [DeadLetter("a", b"a", "rejected", NOW + 0.75, 3, queue.client_id)]


def test_without_a_bound_nothing_is_counted(world: World) -> None:
    queue = world.queue()
    queue.add_item("a")
    for _ in range(50):
        assert queue.get_items(1) == ["a"]
        queue.reject_item("a")
    assert not world.client.exists("orders/deliveries", "orders/dead")


def test_an_ack_forgets_how_often_an_item_was_delivered(world: World) -> None:
    queue = world.queue(max_deliveries=2)
    for _ in range(3):
        queue.add_item("a")
        for again in (True, False):
            assert queue.get_items(1) == ["a"]
            assert (queue.reject_item if again else queue.ack_item)("a") is True
    assert queue.dead.count() == 0
    assert not world.client.exists("orders/deliveries")


def test_some_of_a_rejected_batch_are_dead_and_the_others_keep_their_order(world: World) -> None:
    queue = world.queue(max_deliveries=2)
    queue.add_items(["b", "d"])
    queue.reject_items(queue.get_items(9))
    queue.add_items(["a", "c", "e"])
    queue.get_items(9)
    assert queue.reject_items(["a", "b", "c", "d", "e"]) == 5
    assert items_of(queue.dead.peek(9)) == ["b", "d"]
    assert queue.get_items(9) == ["a", "c", "e"]


def test_a_sweep_counts_as_a_delivery(world: World) -> None:
    queue, other = world.queue(max_deliveries=2), world.queue(max_deliveries=2)
    queue.add_items(["kills", "its consumer"])
    for back in (2, 0):
        assert queue.get_items(9) == ["kills", "its consumer"]
        assert other.re_enqueue_all_items() == back
    letters = other.dead.peek(9)
    assert items_of(letters) == ["kills", "its consumer"]
    assert {(letter.deliveries, letter.consumer) for letter in letters} == {(2, queue.client_id)}
    assert letters[0].reason == "swept: its consumer fell silent"


def test_a_batch_that_fails_counts_as_a_delivery(world: World) -> None:
    queue = world.queue(max_deliveries=1)
    queue.add_items(["a", "b"])

    def work() -> None:
        with queue.batch(2):
            raise LookupError

    with pytest.raises(LookupError):
        work()
    assert items_of(queue.dead.peek(9)) == ["a", "b"]


def test_a_reject_that_is_sent_twice_counts_once(world: World) -> None:
    queue = world.queue(max_deliveries=2)
    queue.add_item("a")
    queue.get_items(1)
    world.backend.twice = True
    assert queue.reject_item("a") is True
    assert queue.dead.count() == 0
    world.backend.twice = False
    assert queue.get_items(1) == ["a"]
    world.backend.twice = True
    assert queue.reject_item("a") is True
    assert queue.dead.count() == 1


def test_the_oldest_letters_go_where_there_is_a_bound(world: World) -> None:
    queue = world.queue(max_deliveries=1, dead_max=3)
    die(queue, *numbers(0, 5))
    assert items_of(queue.dead.peek(9)) == ["2", "3", "4"]
    die(queue, "5")
    assert items_of(queue.dead.peek(9)) == ["3", "4", "5"]


# Looking


def test_there_are_none(world: World) -> None:
    dead = world.queue().dead
    assert (dead.count(), dead.peek(9), dead.redrive(), dead.redrive(5), dead.purge()) == (0, [], 0, 0, 0)
    assert world.client.keys("*") == []


def test_a_peek_shows_the_oldest_and_leaves_them(world: World) -> None:
    queue = world.queue(max_deliveries=1)
    die(queue, "a", "b")
    world.backend.at(60)
    die(queue, "c")
    before = world.dump()
    assert items_of(queue.dead.peek(2)) == ["a", "b"]
    assert [letter.when for letter in queue.dead.peek(1000)] == [NOW + 0.75, NOW + 0.75, NOW + 60.75]
    assert queue.dead.count() == 3
    assert world.dump() == before


def test_to_peek_at_none_sends_nothing(world: World) -> None:
    dead = world.queue().dead
    with nothing_sent(world.backend):
        assert dead.peek(0) == []


def test_a_letter_that_can_not_be_decoded_shows_its_bytes(world: World) -> None:
    reader = world.queue(codec=BrokenCodec())
    reader.add_items(["bad", "fine"])
    assert reader.get_items(2) == ["fine"]
    bury(world, "bad too", "good")
    letters = reader.dead.peek(9)
    assert [(letter.item, letter.raw) for letter in letters] == [
        (None, b"bad"),
        (None, b"bad too"),
        ("good", b"good"),
    ]
    assert letters[0].reason.startswith("BrokenCodec can't decode it")
    assert "secret" not in letters[0].reason
    assert (letters[1].reason, letters[1].when, letters[1].deliveries, letters[1].consumer) == ("", 0.0, 0, "")


def test_values_of_a_codec(world: World) -> None:
    queue = world.queue(codec=JsonCodec(), max_deliveries=1)
    queue.add_item({"a": 1})
    queue.reject_items(queue.get_items(1))
    assert items_of(queue.dead.peek(9)) == [{"a": 1}]


# Another life


def test_a_redrive_makes_items_of_the_oldest(world: World) -> None:
    queue = world.queue(max_deliveries=1)
    die(queue, *numbers(0, 5))
    queue.add_item("waits")
    assert queue.dead.redrive(2) == 2
    assert items_of(queue.dead.peek(9)) == ["2", "3", "4"]
    assert queue.dead.redrive(0) == 0
    assert queue.dead.redrive() == 3
    assert queue.dead.count() == 0
    assert queue.get_items(9) == ["waits", *numbers(0, 5)]


def test_what_was_planted_is_redriven_as_it_stands(world: World) -> None:
    queue = world.queue()
    for planted in ("1 1 40 40\nabc", "no letter"):
        world.client.lpush(f"{queue.name}/dead", planted)
    assert [letter.item for letter in queue.dead.peek(9)] == ["1 1 40 40\nabc", "no letter"]
    assert queue.dead.redrive() == 2
    assert queue.get_items(9) == ["1 1 40 40\nabc", "no letter"]


def test_what_is_redriven_is_as_new(world: World) -> None:
    queue = world.queue(max_deliveries=2)
    queue.add_item("a")
    for _ in range(2):
        queue.reject_items(queue.get_items(1))
    assert queue.dead.redrive() == 1
    assert queue.get_items(1) == ["a"]
    assert queue.reject_item("a") is True
    assert queue.dead.count() == 0


def test_a_redrive_does_not_mind_a_full_queue(world: World) -> None:
    queue = world.queue(max_deliveries=1, max_size=2)
    die(queue, "a", "b")
    queue.add_items(["c", "d"])
    assert queue.dead.redrive() == 2
    assert queue.get_count() == 4


def test_a_redrive_drops_what_waits_where_items_are_unique(world: World) -> None:
    queue = world.unique(max_deliveries=1)
    die(queue, "a", "b")
    queue.add_item("a")
    assert queue.dead.redrive() == 2
    assert queue.get_items(9) == ["a", "b"]


def test_letters_of_any_bytes_come_back_as_they_were(world: World) -> None:
    queue = world.queue(max_deliveries=1)
    items = [b"", b"\n", b"1700000000.5 1 2 3\nabcdef", b"\xff\x00 1 2\n", b"x" * 5000]
    queue.add_items(items)
    queue.reject_items(queue.get_items(9))
    assert [letter.raw for letter in queue.dead.peek(9)] == items
    assert queue.dead.redrive() == 5
    assert world.client.lrange("orders", 0, -1)[::-1] == items


@pytest.mark.parametrize(("asked", "moved"), [(None, 2500), (1001, 1001), (5000, 2500), (1000, 1000)])
def test_more_than_a_chunk_of_letters(world: World, asked: int | None, moved: int) -> None:
    bury(world, *numbers(0, 2500))
    queue = world.queue()
    assert queue.dead.redrive(asked) == moved
    assert queue.dead.count() == 2500 - moved
    assert queue.get_items(5000) == numbers(0, moved)
    assert max(int(call.args[3]) for call in world.backend.of("redrive")) == 1000


def test_a_redrive_that_fails_says_how_many_it_moved(world: World) -> None:
    bury(world, *numbers(0, 2500))
    queue = world.queue()
    world.backend.faults.append(Fault("redrive", ServerGoneError(), skip=2))
    with pytest.raises(ServerGoneError) as caught:
        queue.dead.redrive()
    assert caught.value.done == 2000
    assert queue.dead.redrive() == 500
    assert queue.get_items(3000) == numbers(0, 2500)


@pytest.mark.parametrize("name", ["redrive", "purge"])
def test_what_is_sent_twice_is_done_once(world: World, name: str) -> None:
    bury(world, *numbers(0, 3))
    queue = world.queue()
    world.backend.twice = True
    assert (queue.dead.redrive(2) if name == "redrive" else queue.dead.purge()) == (2 if name == "redrive" else 3)
    assert queue.get_count() == (2 if name == "redrive" else 0)


@pytest.mark.parametrize("executed", [False, True])
def test_a_redrive_whose_answer_is_lost_moves_each_once(world: World, executed: bool) -> None:
    bury(world, *numbers(0, 4))
    queue = world.queue()
    world.backend.faults.append(Fault("redrive", OutcomeUnknown(), executed))
    with pytest.raises(OutcomeUnknown):
        queue.dead.redrive(2)
    assert queue.dead.redrive() == (2 if executed else 4)
    assert queue.get_items(9) == numbers(0, 4)


def test_a_purge_deletes_them(world: World) -> None:
    bury(world, *numbers(0, 1500))
    queue = world.queue()
    assert queue.dead.purge() == 1500
    assert (queue.dead.purge(), queue.dead.count()) == (0, 0)
    assert not world.client.exists("orders/dead")


# Bad input


@pytest.mark.parametrize(
    ("name", "value"),
    [("peek", -1), ("peek", 1001), ("peek", 1.5), ("peek", None), ("redrive", -1), ("redrive", "5"), ("redrive", True)],
)
def test_a_wrong_number_is_named_before_anything_is_sent(world: World, name: str, value: Any) -> None:
    dead = world.queue().dead
    with nothing_sent(world.backend), pytest.raises((TypeError, ValueError), match=r"^n must be a whole number"):
        getattr(dead, name)(value)
