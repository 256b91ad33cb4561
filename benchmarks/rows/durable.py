"""Adds that wait for the disk, on a server with `appendfsync always`: a hundred at a time against one by one.

The server is another embedded one, since the first has `appendfsync everysec`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import redis
from redis import asyncio as redis_asyncio

from benchmarks.contest import Comparison, Contest, Sample, seconds
from benchmarks.peers.peer import Peers
from benchmarks.sides.side import must_be
from benchmarks.site import Site, own_server
from pyrq import Fsync, Queue
from pyrq.aio import Queue as AsyncQueue
from pyrq.errors import MissingExtraError

__all__ = ["contests"]

_GROUP = "Durability"
_TOGETHER, _ALONE = 100, 10
_AT_ONCE, _ONE_BY_ONE = "100 at a time", "one by one"
_TARGET = 20.0


def contests(site: Site, _: Peers) -> Generator[Contest]:
    """Gives the contests."""
    with ExitStack() as stack:
        try:
            url = stack.enter_context(own_server("always"))
        except MissingExtraError:
            absent = dict.fromkeys((_AT_ONCE, _ONE_BY_ONE), "not measured: needs the embedded server")
            yield _contest("asyncio", {}, absent)
            return
        yield from _of_tasks(site, url)
        yield from _of_threads(site, url)


def _contest(world: str, sides: dict[str, Sample], absent: dict[str, str]) -> Contest:
    comparisons = [Comparison(_AT_ONCE, _ONE_BY_ONE, _TARGET)]
    return Contest(_GROUP, f"add_item with Fsync, {world}", sides, comparisons, heavy=True, absent=absent)


def _sample(work: Callable[[], object], count: int) -> Sample:
    return lambda: seconds(work) * 1e6 / count


def _of_tasks(site: Site, url: str) -> Generator[Contest]:
    client: Any = redis_asyncio.Redis.from_url(url, max_connections=_TOGETHER)
    with asyncio.Runner() as runner:
        queue = AsyncQueue(site.name("fsync"), client, durability=Fsync())

        async def at_once() -> None:
            added = await asyncio.gather(*(queue.add_item(item) for item in site.items[:_TOGETHER]))
            must_be(_TOGETHER, sum(added))

        async def one_by_one() -> None:
            for item in site.items[:_ALONE]:
                await queue.add_item(item)

        sides = {
            _AT_ONCE: _sample(lambda: runner.run(at_once()), _TOGETHER),
            _ONE_BY_ONE: _sample(lambda: runner.run(one_by_one()), _ALONE),
        }
        yield _contest("tasks", sides, {})
        runner.run(queue.close())
        runner.run(client.aclose())


def _of_threads(site: Site, url: str) -> Generator[Contest]:
    with (
        redis.Redis.from_url(url, max_connections=_TOGETHER + 1) as client,
        closing(Queue(site.name("fsync"), client, durability=Fsync(), gather=True)) as queue,
        ThreadPoolExecutor(_TOGETHER) as threads,
    ):

        def at_once() -> None:
            must_be(_TOGETHER, sum(threads.map(queue.add_item, site.items[:_TOGETHER])))

        def one_by_one() -> None:
            for item in site.items[:_ALONE]:
                queue.add_item(item)

        sides = {_AT_ONCE: _sample(at_once, _TOGETHER), _ONE_BY_ONE: _sample(one_by_one, _ALONE)}
        yield _contest("threads with gather=True", sides, {})
