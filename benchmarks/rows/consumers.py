"""What `consume` costs, with a handler that does nothing, beside loops written by hand: ours, and py-rq's way.

The target is that of a consumer's loop at batch 1, as `rows/batches.py` has it for a loop by hand: a consumer that
takes items ahead of its handler does not wait for the network at each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from benchmarks.contest import Comparison, Contest, Sample, seconds
from benchmarks.names import OLDER
from benchmarks.peers.peer import Peers
from benchmarks.sides.older import OlderQueue
from benchmarks.sides.side import must_be
from benchmarks.site import Site
from pyrq import BatchConsumer, Consumer, Queue

__all__ = ["contests"]

_GROUP = "Consumers"
_AHEAD = 200
_TARGET = 2.0
_WITH = f", prefetch={_AHEAD}"
_CONSUME, _CONSUME_BATCHES, _BY_HAND = "consume", "consume_batches", "get and ack by hand"


class _Queue(Protocol):
    """What is used of a queue in a loop by hand."""

    @property
    def name(self) -> str: ...

    def get_items(self, count: int) -> list[str]: ...

    def ack_item(self, item: str) -> bool: ...

    def ack_items(self, items: list[str]) -> int: ...


@dataclass(slots=True)
class _Handler:
    """Does nothing but count.

    Attributes:
        left: how many items are to come.
        stop: what to do when they have come.
    """

    left: int
    stop: Callable[[], None] = lambda: None

    def item(self, _: str) -> None:
        self._see(1)

    def items(self, items: Sequence[str]) -> None:
        self._see(len(items))

    def _see(self, size: int) -> None:
        self.left -= size
        if not self.left:
            self.stop()


@dataclass(frozen=True, slots=True)
class _Work:
    """A queue to be worked off in different ways: microseconds per item, from start to stop."""

    site: Site
    queue: Queue[str]
    theirs: OlderQueue
    batch: int

    def consume(self) -> float:
        handler = self._handler()
        return self._run(handler, Consumer(self.queue, handler.item, batch=self.batch))

    def consume_ahead(self) -> float:
        handler = self._handler()
        return self._run(handler, Consumer(self.queue, handler.item, batch=self.batch, prefetch=_AHEAD))

    def consume_batches(self) -> float:
        handler = self._handler()
        return self._run(handler, BatchConsumer(self.queue, handler.items, batch=self.batch))

    def consume_batches_ahead(self) -> float:
        handler = self._handler()
        return self._run(handler, BatchConsumer(self.queue, handler.items, batch=self.batch, prefetch=_AHEAD))

    def by_hand(self) -> float:
        return self._loop(self.queue, self._one_by_one)

    def batches_by_hand(self) -> float:
        return self._loop(self.queue, self._at_once)

    def older(self) -> float:
        return self._loop(self.theirs, self._one_by_one)

    def older_batches(self) -> float:
        return self._loop(self.theirs, self._at_once)

    def _handler(self) -> _Handler:
        return _Handler(self.site.scale.consumed[self.batch])

    def _run(self, handler: _Handler, consumer: Consumer[str]) -> float:
        handler.stop = consumer.stop
        return self._sample(self.queue, handler, consumer.run)

    def _loop(self, queue: _Queue, settle: Callable[[_Queue, _Handler, list[str]], None]) -> float:
        handler = self._handler()

        def work() -> None:
            while handler.left:
                settle(queue, handler, queue.get_items(self.batch))

        return self._sample(queue, handler, work)

    def _sample(self, queue: _Queue, handler: _Handler, work: Callable[[], object]) -> float:
        count = handler.left
        self.site.client.lpush(queue.name, *self.site.items[:count])
        took = seconds(work)
        must_be(0, handler.left)
        return took * 1e6 / count

    @staticmethod
    def _one_by_one(queue: _Queue, handler: _Handler, items: list[str]) -> None:
        for item in items:
            handler.item(item)
            queue.ack_item(item)

    @staticmethod
    def _at_once(queue: _Queue, handler: _Handler, items: list[str]) -> None:
        handler.items(items)
        queue.ack_items(items)


def contests(site: Site, _: Peers) -> Generator[Contest]:
    """Gives the contests."""
    older = OlderQueue(site.name("consumed-by-older"), site.client)
    with closing(Queue(site.name("consumed"), site.client)) as queue:
        for batch in site.scale.consumed:
            work = _Work(site, queue, older, batch)
            sides = {_CONSUME: work.consume, _CONSUME + _WITH: work.consume_ahead}
            others = {_BY_HAND: work.by_hand, OLDER: work.older}
            yield _contest(f"consume, batch {batch}", sides, others, _TARGET if batch == 1 else None)
        sides = {_CONSUME_BATCHES: work.consume_batches, _CONSUME_BATCHES + _WITH: work.consume_batches_ahead}
        others = {_BY_HAND: work.batches_by_hand, OLDER: work.older_batches}
        yield _contest("consume_batches of 100", sides, others, None)


def _contest(name: str, ours: dict[str, Sample], others: dict[str, Sample], target: float | None) -> Contest:
    best = list(ours)[-1]
    comparisons = [
        Comparison(our, other, target if (our, other) == (best, OLDER) else None) for our in ours for other in others
    ]
    return Contest(_GROUP, name, {**ours, **others}, comparisons, heavy=True)
