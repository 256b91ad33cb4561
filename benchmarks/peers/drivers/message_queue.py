"""redis-message-queue: a message per call; it has no batches."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

_CANNOT: Any = getattr(sys.modules["__main__"], "Cannot", NotImplementedError)
_NO_BATCHES = "it has no batches"


class Driver:
    """Its queue as it comes, without deduplication: `publish`, `process_message`."""

    def __init__(self, url: str, name: str) -> None:
        self._redis: Any = importlib.import_module("redis")
        self._client = self._redis.Redis.from_url(url, decode_responses=True)
        self._queue = importlib.import_module("redis_message_queue").RedisMessageQueue(name, client=self._client)
        self._name = name

    def versions(self) -> str:
        return f"redis-py {self._redis.__version__}"

    def fill(self, items: Sequence[str]) -> None:
        self.add(items, 1)

    def add(self, items: Sequence[str], batch: int) -> None:
        if batch != 1:
            raise _CANNOT(_NO_BATCHES)
        for item in items:
            self._queue.publish(item)

    def work_off(self, batch: int, batches: int) -> None:
        if batch != 1:
            raise _CANNOT(_NO_BATCHES)
        for _ in range(batches):
            with self._queue.process_message() as message:
                if message is None:
                    raise LookupError

    def clear(self) -> None:
        for key in self._client.scan_iter(f"*{self._name}*", count=10_000):
            self._client.delete(key)
