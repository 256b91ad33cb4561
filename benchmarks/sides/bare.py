"""The bare commands, with no safety: what is lost is lost. The limit of what can be had."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.sides.side import chunks, must_be
from benchmarks.site import Site

__all__ = ["Bare"]


class Bare:
    """A list of what waits and a list of what is held, a command at a time.

    Attributes:
        name: what the names of its keys begin with.
    """

    def __init__(self, site: Site, name: str) -> None:
        self.name = site.name(name)
        self._held = f"{self.name}-held"
        self._client = site.client

    def fill(self, items: Sequence[str]) -> None:
        """Lets items wait."""
        self._client.lpush(self.name, *items)

    def add(self, items: Sequence[str], batch: int) -> None:
        """Adds items: LPUSH."""
        for chunk in chunks(items, batch):
            self._client.lpush(self.name, *chunk)

    def work_off(self, batch: int, batches: int) -> None:
        """Takes with RPOP, remembers with LPUSH, acknowledges with LTRIM."""
        for _ in range(batches):
            items = self._client.rpop(self.name, batch)
            must_be(batch, len(items or ()))
            self._client.lpush(self._held, *items)
            self._client.ltrim(self._held, batch, -1)
