"""The batch of a `with` block, in both worlds: settled at its end, or inside it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pyrq import BytesCodec, JsonCodec, Queue, aio
from pyrq.core.errors import OutcomeUnknown, QueueClosedError, ServerGoneError
from tests.unit.helpers import BrokenCodec, Fault, fresh, nothing_sent
from tests.unit.taking_helpers import wear
from tests.unit.worlds import World, numbers, opened

world = pytest.fixture(params=["sync", "aio"])(opened)


class Interrupt(BaseException):
    """As Ctrl-C."""


def leave(error: BaseException) -> None:
    raise error


def fill(world: World, *items: Any, **options: Any) -> Any:
    """Makes a queue with some items."""
    queue = world.queue(**options)
    queue.add_items(items)
    return queue


def fail(queue: Any, count: int, error: BaseException, inside: Callable[[Any], object] = lambda batch: None) -> None:
    """Takes a batch, does something with it, and fails."""
    with queue.batch(count) as batch:
        inside(batch)
        raise error


# The end of the block


def test_a_batch_is_acknowledged_at_the_end(world: World) -> None:
    queue = fill(world, "a", "b", "c")
    with queue.batch(2) as batch:
        assert list(batch) == ["a", "b"]
        assert (len(batch), batch[0], batch[-1], list(batch[1:])) == (2, "a", "b", ["b"])
        assert queue.stats().in_flight == 2
        assert "ack" not in world.backend.names
    assert (queue.stats().in_flight, queue.get_count()) == (0, 1)
    assert world.backend.names.count("ack") == 1


def test_an_empty_batch_is_no_batch_to_settle(world: World) -> None:
    queue = fill(world)
    with queue.batch(5) as batch:
        assert len(batch) == 0
    with queue.batch(0) as batch:
        assert len(batch) == 0
    with pytest.raises(LookupError):
        fail(queue, 5, LookupError("x"))
    assert set(world.backend.names) == {"probe", "get"}


@pytest.mark.parametrize("error", [LookupError("mine"), Interrupt("mine"), SystemExit(3)], ids=repr)
def test_a_batch_is_rejected_in_its_order_when_the_block_fails(world: World, error: BaseException) -> None:
    queue = fill(world, *numbers(0, 6))
    with pytest.raises(type(error)) as caught:
        fail(queue, 4, error)
    assert caught.value is error
    assert not hasattr(error, "__notes__")
    assert queue.stats().in_flight == 0
    assert queue.get_items(9) == numbers(0, 6)


def test_more_than_a_chunk_keeps_its_order(world: World) -> None:
    queue = fill(world, *numbers(0, 2600))
    with pytest.raises(LookupError):
        fail(queue, 2500, LookupError())
    assert queue.get_items(3000) == numbers(0, 2600)
    queue.release()
    queue.reject_items(numbers(0, 2600))
    with queue.batch(2500) as batch:
        assert list(batch) == numbers(0, 2500)
    assert (queue.stats().in_flight, queue.get_count()) == (0, 100)


def test_nothing_is_taken_before_the_block(world: World) -> None:
    queue = fill(world, "a")
    with nothing_sent(world.backend):
        batch = queue.batch(1)
    with batch as items:
        assert list(items) == ["a"]


def test_it_waits_for_an_item(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wear(monkeypatch, world.module, world.backend)
    queue = fill(world)
    world.backend.when_moving = [lambda: world.client.lpush("orders", "a")]
    with queue.batch(5, timeout=60) as batch:
        assert list(batch) == ["a"]
    with queue.batch(5, 0) as batch:
        assert list(batch) == []
    assert queue.stats().in_flight == 0


# Inside


def test_single_items_are_settled_inside(world: World) -> None:
    queue = fill(world, *numbers(0, 5))
    with queue.batch(5) as batch:
        assert batch.ack("3") is True
        assert batch.reject("1") is True
        assert list(batch) == numbers(0, 5)
        assert (queue.stats().in_flight, queue.get_count()) == (3, 1)
    assert queue.get_items(9) == ["1"]


def test_what_was_settled_inside_is_not_rejected_at_the_end(world: World) -> None:
    queue = fill(world, *numbers(0, 5))
    with pytest.raises(LookupError):
        fail(queue, 5, LookupError(), lambda batch: [batch.ack("0"), batch.ack("3")])
    assert queue.get_items(9) == ["1", "2", "4"]


def test_equal_items_are_separate_items(world: World) -> None:
    queue = fill(world, "a", "a", "b", "a")
    with pytest.raises(LookupError):
        fail(queue, 4, LookupError(), lambda batch: [batch.ack("a"), batch.ack("a")])
    assert queue.get_items(9) == ["b", "a"]


@pytest.mark.parametrize("name", ["ack", "reject"])
def test_each_item_is_settled_once(world: World, name: str) -> None:
    queue = fill(world, "a", "b", "a")
    with queue.batch(2) as batch:
        for item in ("a", "b"):
            assert getattr(batch, name)(item) is True
        wrong: list[Any] = ["a", "b", "never", None, 5]
        for other in wrong:
            with (
                nothing_sent(world.backend),
                pytest.raises(ValueError, match=r"^item must be one of the batch that is not settled yet$"),
            ):
                getattr(batch, name)(other)
    assert queue.stats().in_flight == 0


def test_a_batch_that_was_left_has_nothing_to_settle(world: World) -> None:
    queue = fill(world, "a", "b")
    with queue.batch(2) as batch:
        pass
    with pytest.raises(ValueError, match=r"^item must be"):
        batch.ack("a")


def test_an_item_that_was_lost_meanwhile(world: World) -> None:
    queue, other = fill(world, "a", "b"), world.queue()
    with queue.batch(2) as batch:
        assert other.re_enqueue_all_items() == 2
        assert batch.ack("a") is False
    assert other.get_items(9) == ["a", "b"]


@pytest.mark.parametrize("name", ["ack", "reject"])
def test_what_could_not_be_settled_inside_is_settled_at_the_end(world: World, name: str) -> None:
    queue = fill(world, "a", "b", "c")
    with queue.batch(3) as batch:
        world.backend.faults.append(Fault(name, ServerGoneError()))
        with pytest.raises(ServerGoneError):
            getattr(batch, name)("b")
        assert batch.ack("a") is True
    assert (queue.stats().in_flight, queue.get_count()) == (0, 0)


def test_the_order_holds_for_what_could_not_be_settled_inside(world: World) -> None:
    queue = fill(world, "a", "b", "c")

    def try_one(batch: Any) -> None:
        world.backend.faults.append(Fault("ack", ServerGoneError()))
        with pytest.raises(ServerGoneError):
            batch.ack("a")

    with pytest.raises(LookupError):
        fail(queue, 3, LookupError(), try_one)
    assert queue.get_items(9) == ["a", "b", "c"]


async def test_tasks_settle_items_of_one_batch_at_once() -> None:
    queue = aio.Queue("orders", fresh())
    await queue.add_items(["a", "b", "a", "c", "d"])
    async with queue.batch(5) as batch:
        assert await asyncio.gather(*(batch.ack(item) for item in batch[:4])) == [True] * 4
        assert (await queue.stats()).in_flight == 1
        await batch.reject("d")
    assert await queue.get_items(9) == ["d"]


def test_threads_settle_items_of_one_batch_at_once() -> None:
    queue, told = Queue("orders", fresh()), []
    queue.add_items(numbers(0, 40))
    with queue.batch(40) as batch:
        threads = [threading.Thread(target=lambda item=item: told.append(batch.ack(item))) for item in batch]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert told == [True] * 40
    assert queue.stats().in_flight == 0


# What goes wrong at the end


@pytest.mark.parametrize("executed", [False, True])
def test_a_reject_that_fails_does_not_hide_why_the_block_failed(
    world: World, caplog: pytest.LogCaptureFixture, executed: bool
) -> None:
    queue = fill(world, "secret", "b", "c")
    world.backend.faults.append(Fault("reject", OutcomeUnknown(), executed))
    error = LookupError("mine")
    with caplog.at_level(logging.WARNING, "pyrq.queue"), pytest.raises(LookupError) as caught:
        fail(queue, 2, error)
    assert caught.value is error
    assert error.__notes__ == ["2 items could not be given back, and stay held: OutcomeUnknown"]
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text
    assert queue.stats().in_flight == (0 if executed else 2)


def test_an_ack_that_fails_at_the_end_is_raised(world: World) -> None:
    queue = fill(world, "a", "b")
    world.backend.faults.append(Fault("ack", ServerGoneError()))
    with pytest.raises(ServerGoneError), queue.batch(2):
        pass
    assert queue.ack_items(["a", "b"]) == 2


def test_a_get_that_fails_is_raised_before_the_block(world: World) -> None:
    queue, entered = fill(world, "a"), []
    world.backend.faults.append(Fault("get", OutcomeUnknown(), executed=True))
    with pytest.raises(OutcomeUnknown), queue.batch(1):
        entered.append(1)
    assert entered == []
    with queue.batch(1) as batch:
        assert list(batch) == ["a"]


async def test_a_batch_of_a_cancelled_task_is_rejected() -> None:
    queue = aio.Queue("orders", fresh())
    await queue.add_items(["a", "b", "c"])
    working = asyncio.Event()

    async def work() -> None:
        async with queue.batch(2):
            working.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await working.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await queue.stats()).in_flight == 0
    assert await queue.get_items(9) == ["a", "b", "c"]


# Codecs


@pytest.mark.parametrize(
    ("codec", "items"),
    [
        (JsonCodec(), [{"a": [1, 2]}, [1, "x"], 5, {"a": [1, 2]}]),
        (BytesCodec(), [b"\xff\x00", b"", b"x", b"\xff\x00"]),
        (None, ["ä", "\udcff", "", "ä"]),
    ],
    ids=["json", "bytes", "text"],
)
def test_values_of_a_codec(world: World, codec: Any, items: list[Any]) -> None:
    queue = fill(world, *items, codec=codec)
    with pytest.raises(LookupError):
        fail(queue, 4, LookupError(), lambda batch: batch.ack(items[0]))
    with queue.batch(4) as batch:
        assert list(batch) == items[1:]
        assert batch.reject(items[3]) is True
    assert queue.get_items(9) == [items[3]]


def test_values_that_are_written_in_another_way_elsewhere(world: World) -> None:
    """A batch settles the bytes that it took, not those that its codec would write."""
    queue = world.queue(codec=JsonCodec())
    world.client.lpush("orders", '{"b": 1,  "a": 2}', "1.0")
    with queue.batch(5) as batch:
        assert list(batch) == [{"a": 2, "b": 1}, 1.0]
        assert batch.ack({"a": 2, "b": 1}) is True
    assert queue.stats().in_flight == 0


def test_what_can_not_be_decoded_is_not_in_the_batch(world: World) -> None:
    queue = fill(world, "bad1", "a", "bad2", "b", codec=BrokenCodec())
    with pytest.raises(LookupError):
        fail(queue, 4, LookupError())
    assert queue.dead.count() == 2
    assert queue.get_items(9) == ["a", "b"]


# Bad input


@pytest.mark.parametrize("count", [-1, 1.5, None, "5", True])
def test_a_wrong_count_is_named_at_once(world: World, count: Any) -> None:
    queue = world.queue()
    with nothing_sent(world.backend), pytest.raises((TypeError, ValueError), match=r"^count must be"):
        queue.batch(count)


def test_a_closed_queue_says_so(world: World) -> None:
    queue = fill(world, "a")
    queue.close()
    for count in (0, 1):
        with nothing_sent(world.backend), pytest.raises(QueueClosedError), queue.batch(count):
            pass
