"""What a side can do, and how it is timed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from benchmarks.contest import Sample, seconds
from benchmarks.site import Site

__all__ = ["Side", "adding", "chunks", "must_be", "working"]


class Side(Protocol):
    """A way of moving items.

    Attributes:
        name: what the names of its keys begin with.
    """

    name: str

    def fill(self, items: Sequence[str]) -> None:
        """Lets items wait, by whatever means; is not timed."""

    def add(self, items: Sequence[str], batch: int) -> None:
        """Adds items, so many per call."""

    def work_off(self, batch: int, batches: int) -> None:
        """Takes and acknowledges batch after batch. So many whole ones wait."""


def chunks(items: Sequence[str], batch: int) -> Iterator[Sequence[str]]:
    """Cuts items into batches."""
    for start in range(0, len(items), batch):
        yield items[start : start + batch]


def must_be(wanted: int, given: int) -> None:
    """Refuses to time work that was not done."""
    if wanted != given:
        raise RuntimeError(f"{given} items were moved, not {wanted}")


def adding(site: Site, side: Side, batch: int) -> Sample:
    """Makes a sample of adding: microseconds per item."""
    items = site.items[: batch * site.scale.batches[batch]]

    def sample() -> float:
        took = seconds(lambda: side.add(items, batch))
        site.clear(side.name)
        return took * 1e6 / len(items)

    return sample


def working(site: Site, side: Side, batch: int) -> Sample:
    """Makes a sample of taking and acknowledging: microseconds per item."""
    batches = site.scale.batches[batch]
    items = site.items[: batch * batches]

    def sample() -> float:
        side.fill(items)
        took = seconds(lambda: side.work_off(batch, batches))
        site.clear(side.name)
        return took * 1e6 / len(items)

    return sample
