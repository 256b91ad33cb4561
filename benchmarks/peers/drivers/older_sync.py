"""py-rq, as released."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any


class Driver:
    """Its queue: `add_item(s)`, `get_items`, `ack_item(s)`."""

    def __init__(self, url: str, name: str) -> None:
        self._redis: Any = importlib.import_module("redis")
        self._client = self._redis.Redis.from_url(url, decode_responses=True)
        self._queue = importlib.import_module("pyrq").Queue(name, self._client)
        self._name = name

    def versions(self) -> str:
        return f"redis-py {self._redis.__version__}"

    def fill(self, items: Sequence[str]) -> None:
        self._client.lpush(self._name, *items)

    def add(self, items: Sequence[str], batch: int) -> None:
        for start in range(0, len(items), batch):
            if batch == 1:
                self._queue.add_item(items[start])
            else:
                self._queue.add_items(items[start : start + batch])

    def work_off(self, batch: int, batches: int) -> None:
        for _ in range(batches):
            items = self._queue.get_items(batch)
            if len(items) != batch:
                raise LookupError
            if batch == 1:
                self._queue.ack_item(items[0])
            else:
                self._queue.ack_items(items)

    def clear(self) -> None:
        for key in self._client.scan_iter(f"{self._name}*", count=10_000):
            self._client.delete(key)
