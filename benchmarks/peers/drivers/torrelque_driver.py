"""torrelque: batches go through its `pipeline=`, and `dequeue(max_tasks=)`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

_asynchronous: Any = importlib.import_module("asynchronous")


class Driver(_asynchronous.Tasked):  # type: ignore[misc] # it is found at run time
    """Its queue: `enqueue`, `dequeue`, `release`."""

    _decodes = False

    async def _open(self) -> None:
        self._queue = importlib.import_module("torrelque").Torrelque(self._client, queue=self._name)

    async def _add(self, items: Sequence[str], batch: int) -> None:
        for start in range(0, len(items), batch):
            if batch == 1:
                await self._queue.enqueue(items[start])
                continue
            async with self._client.pipeline(transaction=True) as pipeline:
                for item in items[start : start + batch]:
                    await self._queue.enqueue(item, pipeline=pipeline)
                await pipeline.execute()

    async def _work_off(self, batch: int, batches: int) -> None:
        for _ in range(batches):
            if batch == 1:
                await self._work_off_one()
                continue
            pairs = await self._queue.dequeue(max_tasks=batch)
            if len(pairs) != batch:
                raise LookupError
            async with self._client.pipeline(transaction=True) as pipeline:
                for task_id, _task in pairs:
                    await self._queue.release(task_id, pipeline=pipeline)
                await pipeline.execute()

    async def _add_one(self, item: str) -> None:
        await self._queue.enqueue(item)

    async def _work_off_one(self) -> None:
        task_id, _ = await self._queue.dequeue()
        await self._queue.release(task_id)
