"""aio-py-rq, as released."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

_asynchronous: Any = importlib.import_module("asynchronous")


class Driver(_asynchronous.Tasked):  # type: ignore[misc] # it is found at run time
    """Its queue: `add_item(s)`, `get_items`, `ack_item(s)`."""

    async def _open(self) -> None:
        self._queue = importlib.import_module("aiopyrq").Queue(self._name, self._client)

    async def _fill(self, items: Sequence[str]) -> None:
        await self._client.lpush(self._name, *items)

    async def _add(self, items: Sequence[str], batch: int) -> None:
        for start in range(0, len(items), batch):
            if batch == 1:
                await self._queue.add_item(items[start])
            else:
                await self._queue.add_items(items[start : start + batch])

    async def _work_off(self, batch: int, batches: int) -> None:
        for _ in range(batches):
            items = await self._queue.get_items(batch)
            if len(items) != batch:
                raise LookupError
            if batch == 1:
                await self._queue.ack_item(items[0])
            else:
                await self._queue.ack_items(items)

    async def _add_one(self, item: str) -> None:
        await self._queue.add_item(item)

    async def _work_off_one(self) -> None:
        (item,) = await self._queue.get_items(1)
        await self._queue.ack_item(item)
