"""This library."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.sides.side import chunks, must_be
from benchmarks.site import Site
from pyrq import Queue

__all__ = ["Ours", "OursByHand"]


class OursByHand:
    """A queue with a get and an ack for each batch.

    Attributes:
        name: what the names of its keys begin with.
        queue: the queue.
    """

    def __init__(self, site: Site, name: str) -> None:
        self.name = site.name(name)
        self.queue = Queue(self.name, site.client)
        self._client = site.client

    def fill(self, items: Sequence[str]) -> None:
        """Lets items wait."""
        self._client.lpush(self.name, *items)

    def add(self, items: Sequence[str], batch: int) -> None:
        """Adds items, with `add_item` or `add_items`."""
        if batch == 1:
            for item in items:
                self.queue.add_item(item)
            return
        for chunk in chunks(items, batch):
            must_be(batch, self.queue.add_items(chunk))

    def work_off(self, batch: int, batches: int) -> None:
        """Takes with `get_items` and acknowledges with `ack_items`."""
        for _ in range(batches):
            items = self.queue.get_items(batch)
            held = self.queue.ack_item(items[0]) if batch == 1 else self.queue.ack_items(items)
            must_be(batch, held)


class Ours(OursByHand):
    """A queue with a consumer's loop: a batch is acknowledged in the round trip that takes the next one."""

    def work_off(self, batch: int, batches: int) -> None:
        """Takes and acknowledges with `ack_and_get`, the last batch with `ack_items`."""
        items = self.queue.get_items(batch)
        for _ in range(batches - 1):
            must_be(batch, len(items))
            items = self.queue.ack_and_get(items, batch)
        must_be(batch, self.queue.ack_items(items))
