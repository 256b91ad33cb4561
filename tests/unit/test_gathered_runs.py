"""Runs of several callers on one backend that go out together. In both worlds.

The first run is held while its answer is read, until the others wait; those go together.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from pyrq.backends import _redis, redis_async, redis_sync
from pyrq.backends.redis_async import AsyncRedisBackend
from pyrq.backends.redis_sync import RedisBackend
from pyrq.core import errors, ops, session_ops
from pyrq.core.call import Call
from pyrq.core.limits import NO_LIMITS
from pyrq.core.options import Durability, Replicas
from pyrq.core.session import Identity
from tests.conftest import wait_until
from tests.unit.helpers import KEYS, error_reply
from tests.unit.test_redis_backends import CLOSED, AsyncPool, SyncPool, in_full, named

LONG = 20.0
COUNT = ops.count(KEYS)
ONE, TWO = (ops.add(KEYS, Identity(lane, 1, 120), [b"x"] * many, NO_LIMITS) for lane, many in ((b"1", 1), (b"2", 2)))
NOSCRIPT = error_reply("NOSCRIPT No matching script.")
Runs = Sequence[tuple[Sequence[Call[Any]], Durability | None]]


class Threads:
    def __init__(self, *answers: Any) -> None:
        self.pool = SyncPool(0, *answers)
        self.backend: Any = RedisBackend(self.pool, 30.0)
        self.backend.gathers = True
        self.backend._checked |= {None, REPLICAS}
        self._reading, self._go = threading.Event(), threading.Event()
        self._threads = ThreadPoolExecutor(8)

    def _hold(self) -> None:
        if not self._reading.is_set():
            self._reading.set()
            assert self._go.wait(LONG)

    async def together(self, runs: Runs, durability: Durability | None = None) -> list[Any]:
        """Gives what the runs come to that wait behind the first, exceptions included; all ask for the same."""
        self.pool.when_reading = self._hold
        first = self._threads.submit(self.backend.run, [COUNT], durability)
        assert self._reading.wait(LONG)
        running = [self._follow(calls, durability) for calls, durability in runs]
        self._go.set()
        assert first.result(LONG) == [0]
        return [_outcome(each) for each in running]

    def _follow(self, calls: Sequence[Call[Any]], durability: Durability | None) -> Future[Any]:
        waiting = self.waiting()
        future = self._threads.submit(self.backend.run, calls, durability)
        wait_until(lambda: self.waiting() > waiting or future.done())
        return future

    def waiting(self) -> int:
        return sum(len(flights._waiting) for flights in self.backend._flights.values())

    async def confirm(self, error: Any) -> None:
        error.confirm()

    def close(self) -> None:
        self._go.set()
        self._threads.shutdown()


def _outcome(future: Future[Any]) -> Any:
    try:
        return future.result(LONG)
    except errors.RqError as error:
        return error


class Tasks:
    def __init__(self, *answers: Any) -> None:
        self.pool = AsyncPool(0, *answers, asynchronous=True)
        self.backend: Any = AsyncRedisBackend(self.pool, 30.0)
        self.backend._checked |= {None, REPLICAS}
        self._reading, self._go = asyncio.Event(), asyncio.Event()

    async def _hold(self) -> None:
        if not self._reading.is_set():
            self._reading.set()
            await self._go.wait()

    async def begin(self, runs: Runs, durability: Durability | None = None) -> list[asyncio.Task[Any]]:
        self.pool.when_reading = self._hold
        running = [asyncio.create_task(self.backend.run([COUNT], durability))]
        await self._reading.wait()
        running += [asyncio.create_task(self.backend.run(*run)) for run in runs]
        for _ in range(5):
            await asyncio.sleep(0)
        return running

    async def together(self, runs: Runs, durability: Durability | None = None) -> list[Any]:
        running = await self.begin(runs, durability)
        self._go.set()
        async with asyncio.timeout(LONG):
            first, *others = await asyncio.gather(*running, return_exceptions=True)
        assert first == [0]
        return others

    async def confirm(self, error: Any) -> None:
        await error.confirm()

    def close(self) -> None:
        self._go.set()


REPLICAS = Replicas(1, 50)
WORLDS = pytest.mark.parametrize("opened", [Threads, Tasks], ids=["sync", "aio"], indirect=True)


@pytest.fixture
async def opened(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Any]]:
    worlds: list[Any] = []
    for module in (redis_sync, redis_async):
        monkeypatch.setattr(module, "PATIENCE", LONG)
        monkeypatch.setattr(module.random, "random", lambda: 0.0)
    monkeypatch.setattr(_redis, "_pack", None)

    def open_one(*answers: Any) -> Any:
        worlds.append(request.param(*answers))
        return worlds[-1]

    yield open_one
    for world in worlds:
        world.close()


@WORLDS
async def test_runs_that_wait_go_in_one_pipeline_on_one_connection(opened: Callable[..., Any]) -> None:
    world = opened([1, 1], 7, [1, 2])
    assert await world.together([([ONE], None), ([COUNT, TWO], None)]) == [[1], [7, 2]]
    assert world.pool.pipelines == [1, 3]
    assert world.pool.sent == [named(COUNT), named(ONE), named(COUNT), named(TWO)]
    assert (world.pool.lent, world.pool.disconnected, world.backend.doubts) == (0, 0, 0)


@WORLDS
async def test_one_wait_serves_all_that_ask_for_the_same(opened: Callable[..., Any]) -> None:
    world = opened(1, [1, 1], [1, 2], 1)  # a count is no write: its wait is not looked at
    runs = [([ONE], REPLICAS), ([TWO], REPLICAS)]
    assert await world.together(runs, REPLICAS) == [[1], [2]]
    assert world.pool.pipelines == [2, 3]
    assert world.pool.sent[2:] == [named(ONE), named(TWO), (b"WAIT", b"1", b"50")]


@WORLDS
async def test_each_asks_again_about_what_it_wrote_itself(opened: Callable[..., Any]) -> None:
    world = opened(1, [1, 1], [1, 2], 0, [2], 1)
    runs = [([ONE], REPLICAS), ([TWO], REPLICAS)]
    one, two = await world.together(runs, REPLICAS)
    assert isinstance(one, errors.NotEnoughSyncedSlavesError)
    assert isinstance(two, errors.NotEnoughSyncedSlavesError)
    assert (one.done, two.done) == (1, 2)
    await world.confirm(two)
    confirm = session_ops.confirm(TWO)
    assert world.pool.sent[5:] == [named(confirm), (b"WAIT", b"1", b"50")]


@WORLDS
async def test_a_script_that_is_missing_is_sent_in_full_by_its_own_caller(opened: Callable[..., Any]) -> None:
    world = opened([1, 1], NOSCRIPT, [1, 2])
    assert await world.together([([ONE], None), ([TWO], None)]) == [[1], [2]]
    assert world.pool.pipelines == [1, 2, 1]
    assert world.pool.sent[-1] == in_full(TWO)


@WORLDS
async def test_a_pipeline_without_an_answer_is_sent_again_by_each(opened: Callable[..., Any]) -> None:
    world = opened([1, 1], CLOSED, [2, 1], [1, 2])
    assert sorted(await world.together([([ONE], None), ([TWO], None)])) == [[1], [2]]
    assert world.pool.disconnected == 1
    assert world.backend.doubts == 1


@WORLDS
async def test_the_refusal_of_one_is_raised_to_that_one(opened: Callable[..., Any]) -> None:
    world = opened([1, 1], error_reply("OOM command not allowed"), 4)
    one, two, three = await world.together([([ONE], None), ([TWO], None), ([COUNT], None)])
    assert (one, three) == ([1], [4])
    assert isinstance(two, errors.ServerFullError)
    assert (world.pool.disconnected, world.pool.lent) == (0, 0)


@WORLDS
async def test_a_connection_is_closed_behind_an_answer_that_is_not_understood(opened: Callable[..., Any]) -> None:
    world = opened([1, 1], b"?", 4)
    one, two, three = await world.together([([ONE], None), ([TWO], None), ([COUNT], None)])
    assert (one, three) == ([1], [4])
    assert isinstance(two, errors.OutcomeUnknown)
    assert (world.pool.disconnected, world.pool.lent) == (1, 0)


async def test_a_task_that_is_cancelled_in_a_flight_that_goes_on_is_a_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_async, "PATIENCE", LONG)
    monkeypatch.setattr(_redis, "_pack", None)
    world = Tasks([1, 1], [1, 2])
    first, one, two = await world.begin([([ONE], None), ([TWO], None)])
    reading, go = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        reading.set()
        await go.wait()

    world.pool.when_reading = hold
    world.close()
    assert await first == [0]
    await reading.wait()
    one.cancel()
    await asyncio.wait([one])
    assert (one.cancelled(), world.backend.doubts) == (True, 1)
    go.set()
    assert await two == [2]
    assert (world.pool.disconnected, world.pool.lent) == (0, 0)


async def test_a_task_that_is_cancelled_before_it_leaves_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_async, "PATIENCE", LONG)
    monkeypatch.setattr(_redis, "_pack", None)
    world = Tasks([1, 2])
    first, one, two = await world.begin([([ONE], None), ([TWO], None)])
    one.cancel()
    await asyncio.wait([one])
    world.close()
    assert (await first, await two) == ([0], [2])
    assert (world.backend.doubts, world.pool.sent) == (0, [named(COUNT), named(TWO)])


def test_a_fork_does_not_wait_for_threads_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_redis, "_pack", None)
    world = Threads(5)
    world.pool.answers = [5]
    flights = world.backend._flights_for(None)
    flights._in_air = 1
    flights._lock.acquire()  # as if a thread of the parent were in there
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert world.backend._flights_for(None) is not flights
    assert world.backend.run([COUNT]) == [5]
