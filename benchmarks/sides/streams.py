"""Raw Redis Streams with one consumer group, as one would write it by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.sides.side import chunks, must_be
from benchmarks.site import Site

__all__ = ["JoinedStreams", "Streams"]

_GROUP, _CONSUMER = "group", "consumer"


class Streams:
    """XADD in a pipeline, XREADGROUP, then XACK and XDEL in a pipeline: what was acknowledged must not stay.

    Attributes:
        name: what the names of its keys begin with.
    """

    def __init__(self, site: Site, name: str) -> None:
        self.name = site.name(name)
        self._client = site.client

    def fill(self, items: Sequence[str]) -> None:
        """Lets items wait."""
        self._client.xgroup_create(self.name, _GROUP, id="0", mkstream=True)
        for chunk in chunks(items, 1_000):
            self._add(chunk)

    def add(self, items: Sequence[str], batch: int) -> None:
        """Adds items, so many per pipeline."""
        if batch == 1:
            for item in items:
                self._client.xadd(self.name, {"item": item})
            return
        for chunk in chunks(items, batch):
            self._add(chunk)

    def _add(self, items: Sequence[str]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for item in items:
            pipeline.xadd(self.name, {"item": item})
        pipeline.execute()

    def work_off(self, batch: int, batches: int) -> None:
        """Takes a batch, then acknowledges and deletes it."""
        for _ in range(batches):
            found = self._client.xreadgroup(_GROUP, _CONSUMER, {self.name: ">"}, count=batch)
            pipeline = self._client.pipeline(transaction=False)
            self._settle(pipeline, found, batch)
            must_be(batch, pipeline.execute()[0])

    def _settle(self, pipeline: Any, found: Any, batch: int) -> None:
        ids = _ids(found)
        must_be(batch, len(ids))
        pipeline.xack(self.name, _GROUP, *ids)
        pipeline.xdel(self.name, *ids)


class JoinedStreams(Streams):
    """The same with the next XREADGROUP in the pipeline of the last batch's XACK and XDEL."""

    def work_off(self, batch: int, batches: int) -> None:
        """Acknowledges a batch in the round trip that takes the next one."""
        found = self._client.xreadgroup(_GROUP, _CONSUMER, {self.name: ">"}, count=batch)
        for _ in range(batches):
            pipeline = self._client.pipeline(transaction=False)
            self._settle(pipeline, found, batch)
            pipeline.xreadgroup(_GROUP, _CONSUMER, {self.name: ">"}, count=batch)
            acked, _, found = pipeline.execute()
            must_be(batch, acked)


def _ids(found: Any) -> list[str]:
    """Gives the ids of the entries in an answer of XREADGROUP, which is a mapping in RESP3 and a list in RESP2."""
    if not found:
        return []
    entries = next(iter(found.values()))[0] if isinstance(found, dict) else found[0][1]
    return [entry[0] for entry in entries]
