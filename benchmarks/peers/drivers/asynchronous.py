"""What the drivers of libraries for asyncio share: a loop, a client, and tasks that take turns."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

CONNECTIONS = 500


class Asynchronous:
    """A driver's awaited half.

    Subclasses write `_open`, `_add` and `_work_off`, and `_fill` where there is a quicker way than adding.
    """

    _decodes = True

    def __init__(self, url: str, name: str) -> None:
        self._redis: Any = importlib.import_module("redis")
        self._loop = asyncio.new_event_loop()
        self._name = name
        self._client: Any = importlib.import_module("redis.asyncio").Redis.from_url(
            url, decode_responses=self._decodes, max_connections=CONNECTIONS
        )
        self._await(self._open())

    def _await(self, coroutine: Coroutine[Any, Any, object]) -> None:
        self._loop.run_until_complete(coroutine)

    async def _open(self) -> None:
        """Makes the library's object, inside the loop."""

    def versions(self) -> str:
        return f"redis-py {self._redis.__version__}"

    def fill(self, items: Sequence[str]) -> None:
        self._await(self._fill(items))

    async def _fill(self, items: Sequence[str]) -> None:
        await self._add(items, 1_000)

    def add(self, items: Sequence[str], batch: int) -> None:
        self._await(self._add(items, batch))

    async def _add(self, items: Sequence[str], batch: int) -> None:
        raise NotImplementedError

    def work_off(self, batch: int, batches: int) -> None:
        self._await(self._work_off(batch, batches))

    async def _work_off(self, batch: int, batches: int) -> None:
        raise NotImplementedError

    def clear(self) -> None:
        self._await(self._clear())

    async def _clear(self) -> None:
        async for key in self._client.scan_iter(f"{self._name}*", count=10_000):
            await self._client.delete(key)


class Tasked(Asynchronous):
    """A driver that also lets many tasks work at a time. Subclasses write `_add_one` and `_work_off_one`."""

    def add_tasks(self, items: Sequence[str], tasks: int) -> None:
        left = iter(items)

        async def turns(_: int) -> None:
            for item in left:
                await self._add_one(item)

        self._await(self._together(turns, tasks))

    def work_tasks(self, tasks: int, each: int) -> None:
        async def turns(_: int) -> None:
            for _turn in range(each):
                await self._work_off_one()

        self._await(self._together(turns, tasks))

    async def _together(self, turns: Callable[[int], Awaitable[None]], tasks: int) -> None:
        await asyncio.gather(*(turns(task) for task in range(tasks)))

    async def _add_one(self, item: str) -> None:
        raise NotImplementedError

    async def _work_off_one(self) -> None:
        raise NotImplementedError
