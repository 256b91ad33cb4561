"""asyncio: 500 tasks that add an item each, or take and acknowledge one each, again and again.

The other side is aio-py-rq's way with a connection for each task. Ours has the same pool, and its defaults: calls of
several tasks go out together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from benchmarks.contest import Comparison, Contest, Sample, seconds
from benchmarks.names import ASYNCIO, OLDER_AIO, OURS
from benchmarks.peers.packages import PACKAGES
from benchmarks.peers.peer import Peers
from benchmarks.sides.older_aio import OlderAsyncQueue
from benchmarks.sides.side import must_be
from benchmarks.site import Site
from pyrq.aio import Queue

__all__ = ["contests"]

_TASKS = 500
_PEERS = ("aio-py-rq",)


class _Queue(Protocol):
    """What a task uses."""

    @property
    def name(self) -> str: ...

    async def add_item(self, item: str) -> bool: ...

    async def get_items(self, count: int) -> list[str]: ...

    async def ack_item(self, item: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Crew:
    """500 tasks on one queue object; each takes so many turns."""

    site: Site
    runner: asyncio.Runner
    queue: _Queue

    def add(self) -> float:
        return self._sample(self._add)

    def work(self) -> float:
        count = _TASKS * self.site.scale.rises
        self.site.client.lpush(self.queue.name, *self.site.items[:count])
        return self._sample(self._work)

    async def _add(self, task: int) -> None:
        for turn in range(self.site.scale.rises):
            must_be(True, bool(await self.queue.add_item(self.site.items[turn * _TASKS + task])))

    async def _work(self, _: int) -> None:
        for _turn in range(self.site.scale.rises):
            (item,) = await self.queue.get_items(1)
            must_be(True, await self.queue.ack_item(item))

    def _sample(self, turns: Callable[[int], Awaitable[None]]) -> float:
        took = seconds(lambda: self.runner.run(_together(turns)))
        self.site.clear(self.queue.name)
        return took * 1e6 / (_TASKS * self.site.scale.rises)


async def _together(turns: Callable[[int], Awaitable[None]]) -> None:
    await asyncio.gather(*(turns(task) for task in range(_TASKS)))


def contests(site: Site, peers: Peers) -> Generator[Contest]:
    """Gives the contests."""
    with asyncio.Runner() as runner:
        clients = [site.async_client(_TASKS) for _ in range(2)]
        queue = Queue(site.name("tasks-ours"), clients[0])
        older = OlderAsyncQueue(site.name("tasks-older"), clients[1])
        ours, theirs = _Crew(site, runner, queue), _Crew(site, runner, older)
        others = partial(peers.samples, _PEERS, batch=_TASKS, batches=site.scale.rises)
        adding = {OURS: ours.add, OLDER_AIO: theirs.add, **others(operation="add_tasks")}
        working = {OURS: ours.work, OLDER_AIO: theirs.work, **others(operation="work_tasks")}
        yield _contest("500 tasks: add_item", adding, 10.0)
        yield _contest("500 tasks: get_items(1), ack_item", working, 5.0)
        runner.run(_close(queue, *clients))


def _contest(name: str, sides: dict[str, Sample], target: float) -> Contest:
    beside = [Comparison(OURS, PACKAGES[peer].label) for peer in _PEERS]
    return Contest(ASYNCIO, name, sides, [Comparison(OURS, OLDER_AIO, target), *beside])


async def _close(queue: Queue[str], *clients: Any) -> None:
    await queue.close()
    for client in clients:
        await client.aclose()
