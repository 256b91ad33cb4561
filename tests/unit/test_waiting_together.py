"""Threads and tasks that wait for items together, and with others that do not, on a real clock and a fake server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from pyrq import Queue, UniqueQueue, aio
from pyrq.core.errors import QueueClosedError
from tests.conftest import wait_until
from tests.unit.helpers import fresh, raw

LONG = 20.0
"""A time to wait that no test waits for."""
KINDS = pytest.mark.parametrize("kind", [Queue, UniqueQueue])


class Threads:
    """Threads that share a queue object."""

    def __init__(self, url: str, kind: type[Any]) -> None:
        self.queue = kind("orders", url)
        self.queue.get_count()
        self.client = raw(url)
        self._pool = ThreadPoolExecutor(32)

    def begin(self, *args: Any, **options: Any) -> Future[list[str]]:
        """Begins a get in another thread."""
        return self._pool.submit(self.queue.get_items, *args, **options)

    def wait_for_moves(self, count: int) -> None:
        """Waits until so many threads block."""
        moves = self.queue._run.member().session.moves
        wait_until(lambda: moves.count(time.monotonic()) == count)

    def close(self) -> None:
        self.queue.close()
        self._pool.shutdown()
        self.client.close()


@pytest.fixture
def open_threads() -> Iterator[Callable[..., Threads]]:
    opened: list[Threads] = []

    def open_one(kind: type[Any] = Queue, url: str = "") -> Threads:
        opened.append(Threads(url or fresh(), kind))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@KINDS
def test_a_thread_wakes_for_an_item_of_another_object(open_threads: Callable[..., Threads], kind: type[Any]) -> None:
    url = fresh()
    threads = open_threads(kind, url)
    waiting = threads.begin(5, timeout=LONG)
    threads.wait_for_moves(1)
    with kind("orders", url) as producer:
        assert producer.add_item("a") is True
    assert waiting.result(LONG) == ["a"]
    assert threads.queue.ack_item("a") is True


def test_a_thread_wakes_for_an_item_of_this_object(open_threads: Callable[..., Threads]) -> None:
    threads = open_threads()
    waiting = threads.begin(5, timeout=LONG)
    threads.wait_for_moves(1)
    threads.queue.add_item("a")
    assert waiting.result(LONG) == ["a"]


@KINDS
def test_threads_wait_together_with_others_that_get_without_waiting(
    open_threads: Callable[..., Threads], kind: type[Any]
) -> None:
    threads = open_threads(kind)
    waiting = [threads.begin(1, timeout=LONG) for _ in range(8)]
    threads.wait_for_moves(8)
    got = []
    for number in range(8):
        threads.queue.add_item(f"item {number}")
        got += threads.queue.get_items(1)  # comes back at once: the lock is not held while others wait
    threads.queue.add_items([f"item {number}" for number in range(8, 16)])
    for each in waiting:
        got += each.result(LONG)
    got += threads.queue.get_items(99)
    assert sorted(got) == sorted(f"item {number}" for number in range(16))
    assert threads.queue.ack_items(got) == 16
    assert threads.client.exists("orders", threads.queue.processing_queue_name, "orders-timeouts") == 0
    assert threads.queue.get_items(1) == []
    assert threads.client.exists("orders/consumers") == 0


def test_one_item_wakes_one_thread(open_threads: Callable[..., Threads]) -> None:
    threads = open_threads()
    waiting = [threads.begin(1, timeout=LONG) for _ in range(4)]
    threads.wait_for_moves(4)
    threads.queue.add_item("a")
    wait_until(lambda: any(each.done() for each in waiting))
    assert [each.result(0) for each in waiting if each.done()] == [["a"]]
    threads.queue.add_items(["b", "c", "d"])
    assert sorted(item for each in waiting for item in each.result(LONG)) == ["a", "b", "c", "d"]


def test_an_item_that_landed_for_a_thread_is_not_lost_when_another_one_takes_it(
    open_threads: Callable[..., Threads],
) -> None:
    """The landing list is of the object: whichever of its threads asks first takes what is there."""
    threads = open_threads()
    waiting = threads.begin(1, timeout=LONG)
    threads.wait_for_moves(1)
    threads.client.lpush(f"orders/landing/{threads.queue.client_id}", "landed")
    assert threads.queue.get_items(1) == ["landed"]
    threads.queue.add_item("b")
    assert waiting.result(LONG) == ["b"]


def test_a_close_ends_what_waits(open_threads: Callable[..., Threads]) -> None:
    threads = open_threads()
    waiting = [threads.begin(1, timeout=LONG) for _ in range(3)]
    threads.wait_for_moves(3)
    threads.queue.close()
    for each in waiting:
        with pytest.raises(QueueClosedError):
            each.result(LONG)
    assert threads.client.keys("*") == []


def test_a_resume_ends_the_wait_for_a_paused_queue(open_threads: Callable[..., Threads]) -> None:
    threads = open_threads()
    threads.queue.pause()
    threads.queue.add_item("a")
    waiting = threads.begin(1, timeout=LONG)
    assert threads.queue.get_items(1) == []
    assert threads.queue.resume() is True
    assert waiting.result(LONG) == ["a"]


def test_an_item_that_is_put_off_is_waited_for(open_threads: Callable[..., Threads]) -> None:
    threads = open_threads()
    threads.queue.add_item("a", delay=0.3)
    assert threads.queue.get_items(1) == []
    before = time.monotonic()
    assert threads.begin(1, timeout=LONG).result(LONG) == ["a"]
    assert time.monotonic() - before > 0.2


# Tasks


class Tasks:
    """Tasks that share a queue object."""

    def __init__(self, kind: str = "Queue") -> None:
        url = fresh()
        self.queue = getattr(aio, kind)("orders", url)
        self.client = raw(url)

    async def begin(self, count: int = 1, *, blocked: int = 1, **options: Any) -> asyncio.Task[list[str]]:
        """Begins a get in a task, and waits until so many block."""
        task = asyncio.create_task(self.queue.get_items(count, timeout=LONG, **options))
        async with asyncio.timeout(LONG):
            while self.blocked() < blocked:
                await asyncio.sleep(0)
        return task

    def blocked(self) -> int:
        moves: int = self.queue._run.member().session.moves.count(time.monotonic())
        return moves


async def cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()


@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
async def test_tasks_wait_together_with_others_that_get_without_waiting(kind: str) -> None:
    tasks = Tasks(kind)
    waiting = [await tasks.begin(blocked=number) for number in range(1, 9)]
    got = []
    for number in range(8):
        await tasks.queue.add_item(f"item {number}")
        got += await tasks.queue.get_items(1)
    await tasks.queue.add_items([f"item {number}" for number in range(8, 16)])
    for items in await asyncio.gather(*waiting):
        got += items
    got += await tasks.queue.get_items(99)
    assert sorted(got) == sorted(f"item {number}" for number in range(16))
    assert await tasks.queue.ack_items(got) == 16
    await tasks.queue.close()
    assert tasks.client.keys("*") == []


async def test_a_cancelled_wait_loses_nothing_that_landed() -> None:
    tasks = Tasks()
    waiting = await tasks.begin()
    tasks.client.lpush(f"orders/landing/{tasks.queue.client_id}", "landed")
    await cancel(waiting)
    assert tasks.client.hexists("orders/consumers", f"{tasks.queue.client_id}/landing")
    assert await tasks.queue.get_items(1) == ["landed"]
    assert await tasks.queue.ack_item("landed") is True
    await tasks.queue.close()


@pytest.mark.parametrize("end", ["release", "close"])
async def test_what_landed_for_a_cancelled_wait_goes_back(end: str) -> None:
    tasks = Tasks()
    waiting = await tasks.begin()
    tasks.client.lpush(f"orders/landing/{tasks.queue.client_id}", "landed")
    await cancel(waiting)
    await getattr(tasks.queue, end)()
    assert tasks.client.lrange("orders", 0, -1) == [b"landed"]
    await tasks.queue.close()


@pytest.mark.parametrize("turns", range(1, 40, 3))
async def test_a_wait_that_is_cancelled_at_any_time_loses_nothing(turns: int) -> None:
    """An item comes and the task is cancelled so many turns of the loop later, wherever it then stands."""
    tasks = Tasks()
    waiting = await tasks.begin()
    tasks.client.lpush("orders", "a", "b")
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting.cancel()
    try:
        got = await waiting
    except asyncio.CancelledError:
        got = []
    got += await tasks.queue.get_items(9)
    assert sorted(got) == ["a", "b"]
    assert await tasks.queue.ack_items(got) == 2
    await tasks.queue.close()


async def test_a_cancelled_wait_does_not_end_that_of_others() -> None:
    tasks = Tasks()
    first, second = await tasks.begin(), await tasks.begin(blocked=2)
    await cancel(first)
    await tasks.queue.add_item("a")
    assert await second == ["a"]
    await tasks.queue.close()


async def test_a_close_ends_what_tasks_wait_for() -> None:
    tasks = Tasks()
    waiting = await tasks.begin()
    await tasks.queue.close()
    with pytest.raises(QueueClosedError):
        await waiting
    assert tasks.client.keys("*") == []


async def test_a_timeout_around_a_wait_is_one_of_asyncio() -> None:
    tasks = Tasks()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await tasks.queue.get_items(1, timeout=LONG)
    await tasks.queue.add_item("a")
    assert await tasks.queue.get_items(1) == ["a"]
    await tasks.queue.close()


def test_a_thread_that_is_waiting_does_not_hold_up_others(open_threads: Callable[..., Threads]) -> None:
    threads = open_threads()
    waiting = threads.begin(1, timeout=LONG)
    threads.wait_for_moves(1)
    done = threading.Event()

    def use() -> None:
        threads.queue.get_items(1)
        threads.queue.ack_items(["x"])
        threads.queue.stats()
        threads.queue.release()
        done.set()

    threading.Thread(target=use, daemon=True).start()
    assert done.wait(LONG)
    assert not waiting.done()
    threads.queue.add_item("a")
    assert waiting.result(LONG) == ["a"]
