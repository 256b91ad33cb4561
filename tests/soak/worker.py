"""A worker's process: `python -m tests.soak.worker '{…}'` consumes batches.

It notes each in a book before it is settled. It ends by SIGTERM, or with its parent.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import sys
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

import redis

__all__ = ["BOOK", "BOOKS", "Orders"]

BOOK = "book"
"""The list in which is noted what was handled: batches, as JSON."""
BOOKS = 1
"""The database of the book."""


@dataclass(frozen=True)
class Orders:
    """What a worker is told.

    Attributes:
        world: "sync" or "aio".
        url: the server's.
        name: the queue's.
        label: what its client id begins with.
        batch: how many items it takes at a time.
        lease: in seconds.
        nap: for how long it works on a batch at the most, in seconds.
    """

    world: str
    url: str
    name: str
    label: str
    batch: int
    lease: float
    nap: float

    def to_json(self) -> str:
        return json.dumps(asdict(self))


class _Desk:
    """Where batches are handled."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._books: Any = redis.Redis.from_url(f"{orders.url}?db={BOOKS}", socket_timeout=10)

    def options(self) -> dict[str, Any]:
        """Gives the options to consume by."""
        return {"batch": self._orders.batch, "lease": self._orders.lease}

    def nap(self) -> float:
        return random.uniform(0, self._orders.nap / 2)

    def note(self, items: list[str]) -> None:
        self._books.rpush(BOOK, json.dumps(items))

    def handle(self, items: list[str]) -> None:
        time.sleep(self.nap())
        self.note(items)
        time.sleep(self.nap())

    async def handle_async(self, items: list[str]) -> None:
        await asyncio.sleep(self.nap())
        self.note(items)
        await asyncio.sleep(self.nap())


def _work(orders: Orders, desk: _Desk) -> None:
    from pyrq import Queue

    with Queue(orders.name, orders.url, client_id=orders.label) as queue:
        queue.consume_batches(desk.handle, **desk.options())


async def _work_async(orders: Orders, desk: _Desk) -> None:
    from pyrq.aio import Queue

    async with Queue(orders.name, orders.url, client_id=orders.label) as queue:
        await queue.consume_batches(desk.handle_async, **desk.options())


def _end_with_parent() -> None:
    os.read(0, 1)
    os._exit(1)


def main() -> None:
    orders = Orders(**json.loads(sys.argv[1]))
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    desk = _Desk(orders)
    if orders.world == "sync":
        _work(orders, desk)
    else:
        asyncio.run(_work_async(orders, desk))


if __name__ == "__main__":
    main()
