"""bullmq: adds in bulk; its workers take a job at a time, the next one in the call that completes the last."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

_asynchronous: Any = importlib.import_module("asynchronous")
_TOKEN = "token"


class Driver(_asynchronous.Asynchronous):  # type: ignore[misc] # it is found at run time
    """Its queue, `add` and `addBulk`, and its worker without the loop: the loop would add tasks to each job."""

    async def _open(self) -> None:
        library = importlib.import_module("bullmq")
        options = {"connection": self._client, "prefix": self._name}
        self._options = {"removeOnComplete": True}
        self._queue = library.Queue("queue", options)
        self._worker = library.Worker("queue", None, {**options, "autorun": False})

    async def _add(self, items: Sequence[str], batch: int) -> None:
        for start in range(0, len(items), batch):
            if batch == 1:
                await self._queue.add("job", items[start], self._options)
                continue
            chunk = items[start : start + batch]
            await self._queue.addBulk([{"name": "job", "data": item, "opts": self._options} for item in chunk])

    async def _work_off(self, batch: int, batches: int) -> None:
        job = await self._worker.getNextJob(_TOKEN)
        for left in range(batch * batches, 0, -1):
            if job is None:
                raise LookupError
            found = await job.moveToCompleted(None, _TOKEN, left > 1)
            job = await self._worker.nextJobFromJobData(*found, _TOKEN) if left > 1 else None
