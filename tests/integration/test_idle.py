"""A thousand consumers that wait: one item wakes one of them, and waiting costs next to nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis import asyncio as redis_asyncio

import pyrq.aio
from pyrq.core import waiting
from tests.integration.leaks import leaks

CONSUMERS = 1000
AT_A_TIME = 100
"""So many consumers begin together: a server accepts about 500 connections at once."""
LONG_LEASE = 3600.0
"""No sweep is due while a test runs, but the first."""
SHORTEST_SLICE = 4.5
"""A slice is 5 s, less up to a tenth of jitter."""


@dataclass
class Crew:
    """Many consumers of one queue in this event loop, and what they have handled."""

    url: str
    client: Any
    handled: list[str] = field(default_factory=list)
    running: list[asyncio.Task[pyrq.aio.Totals]] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, item: str) -> None:
        self.handled.append(item)

    def blocked(self) -> int:
        """How many wait in a blocking move."""
        number: int = self.client.info("clients")["blocked_clients"]
        return number

    async def until(self, condition: Callable[[], object], timeout: float = 60) -> None:
        """Waits until a condition holds, and lets the consumers go on meanwhile."""
        until = time.monotonic() + timeout
        while not condition():
            for task in self.running:
                assert self.stop.is_set() or not task.done(), task.exception()
            assert time.monotonic() < until, f"not within {timeout:g} s: {self.blocked()} blocked, {calls(self.client)}"
            await asyncio.sleep(0.01)

    async def until_handled(self, count: int) -> None:
        await self.until(lambda: len(self.handled) == count)

    async def until_all_wait(self) -> None:
        await self.until(lambda: self.blocked() == len(self.running))


@asynccontextmanager
async def crew(url: str, client: Any) -> AsyncIterator[Crew]:
    """A thousand consumers, all of which wait."""
    # Each that waits needs a connection. No time-out: a test makes the slices longer than any.
    connections = redis_asyncio.Redis.from_url(url, socket_timeout=None, max_connections=2 * CONSUMERS)
    members = Crew(url, client)
    queues = [pyrq.aio.Queue[str]("orders", connections) for _ in range(CONSUMERS)]
    try:
        for first in range(0, CONSUMERS, AT_A_TIME):
            for queue in queues[first : first + AT_A_TIME]:
                consumer = queue.consume(members.handle, lease=LONG_LEASE, stop=members.stop)
                members.running.append(asyncio.create_task(consumer))
            await members.until_all_wait()
        yield members
        members.stop.set()
        totals = await asyncio.gather(*members.running)
        assert sum(each.acked for each in totals) == len(members.handled)
        await asyncio.gather(*(queue.close() for queue in queues))
        assert leaks(client, "orders") == {}
    finally:
        for task in members.running:
            task.cancel()
        await asyncio.gather(*members.running, return_exceptions=True)
        await connections.aclose()


def calls(client: Any) -> dict[str, int]:
    """How many scripts and blocking moves the server has run since its statistics were reset."""
    stats = client.info("commandstats")
    names = ("evalsha", "eval", "blmove")
    return {name: stats[f"cmdstat_{name}"]["calls"] for name in names if f"cmdstat_{name}" in stats}


def now(client: Any) -> float:
    seconds, micros = client.time()
    return int(seconds) + int(micros) / 1e6


async def test_one_item_wakes_one_of_a_thousand(url: str, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # So that no slice ends meanwhile, and every call is due to the item.
    monkeypatch.setattr(waiting, "_LONGEST_SLICE", 600.0)
    async with crew(url, client) as members:
        for number in range(5):
            client.config_resetstat()
            client.lpush("orders", number)
            await members.until_handled(number + 1)
            await members.until_all_wait()
            told = calls(client)
            # The one that was woken takes the item, acknowledges it, and finds nothing more.
            assert told["evalsha"] == 3
            assert told["blmove"] <= 2
        assert members.handled == ["0", "1", "2", "3", "4"]


async def test_many_items_wake_no_more_than_that_many(url: str, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_LONGEST_SLICE", 600.0)
    async with crew(url, client) as members:
        client.config_resetstat()
        async with pyrq.aio.Queue[str]("orders", url) as producer:
            assert await producer.add_items(range(20)) == 20
        await members.until_handled(20)
        await members.until_all_wait()
        assert sorted(members.handled, key=int) == [str(number) for number in range(20)]
        # Three for each item, and the producer's own: its trial, its add and its end.
        assert calls(client)["evalsha"] <= 3 * 20 + 5


async def test_what_waiting_costs(url: str, client: Any) -> None:
    """At most one script and one blocking move for each consumer and slice."""
    async with crew(url, client) as members:
        client.config_resetstat()
        begin = now(client)
        # Twice round: who polled more often would be there sooner.
        await members.until(lambda: calls(client).get("blmove", 0) >= 2 * CONSUMERS)
        told, passed = calls(client), now(client) - begin
        slices = CONSUMERS * (passed / SHORTEST_SLICE + 1)
        assert told["evalsha"] <= slices
        assert told["blmove"] <= slices
        assert members.handled == []


async def test_a_delayed_item_does_not_wake_a_thousand(url: str, client: Any) -> None:
    """While something is put off all look once a second; when it is due, not all at once."""
    async with crew(url, client) as members:
        async with pyrq.aio.Queue[str]("orders", url) as producer:
            assert await producer.add_item("late", delay=7)
        due = client.zrange("orders/delayed", 0, -1, withscores=True)[0][1]
        await members.until(lambda: now(client) >= due - 0.05)
        client.config_resetstat()
        begin = now(client)
        assert members.handled == []
        await members.until_handled(1)
        scripts, passed = calls(client)["evalsha"], now(client) - begin
        # Spread over a second at their own pace, half as much again for luck, and a tenth of them.
        assert scripts <= CONSUMERS * (1.5 * passed + 0.1)
        assert members.handled == ["late"]
        # They were named in the queue's state, and are no more.
        assert client.hget("orders/meta", "waking") is None
