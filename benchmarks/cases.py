"""What is measured: adding, taking with acknowledging, acknowledging in any order, in queues and a pool; consumers."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from benchmarks.consuming import Consuming
from benchmarks.contest import Case, seconds
from benchmarks.older import OlderPool, OlderQueue, OlderUniqueQueue
from pyrq import Pool, Queue, UniqueQueue

__all__ = ["Arena"]

# Samples are short and taken often, so that both sides of a ratio meet the same machine.
_BATCHES = {1_000: 1, 100: 10, 1: 100}
"""Size of a batch -> how many of them are taken and acknowledged in a sample."""

_CHUNK = 1_000
_IN_FLIGHT = 10_000
_ACKED = 2_000
_LENT = 500
_SIZE = 100
_OLDER, _BARE = "older way", "bare LPUSH"


class _Lender(Protocol):
    """What queues and pools can do."""

    @property
    def name(self) -> str: ...

    def get_items(self, count: int) -> list[str]: ...

    def ack_items(self, items: list[str]) -> int: ...

    def close(self) -> None: ...


class _Side(_Lender, Protocol):
    """What queues can do."""

    def add_items(self, items: list[str]) -> int: ...

    def ack_item(self, item: str) -> bool: ...

    def drop_all_items(self) -> int: ...


_S = TypeVar("_S", bound=_Lender)


@dataclass(frozen=True, slots=True)
class _Rivals(Generic[_S]):
    """This library's way and the older one's."""

    ours: _S
    theirs: _S

    def meet(
        self, name: str, sample: Callable[[_S], float], target: float | None = None, *, heavy: bool = False
    ) -> Case:
        return Case(name, _OLDER, partial(sample, self.ours), partial(sample, self.theirs), target, heavy)


class Arena:
    """One server, one client, and on it a queue of each kind."""

    def __init__(self, client: Any, seed: int) -> None:
        """Makes the queues and the items.

        Args:
            client: a redis-py client that decodes replies; both sides use its pool.
            seed: what the items and the random orders follow from, and the names of the queues.
        """
        self._client = client
        self._random = random.Random(seed)
        self._items = [f"{number:06d} {self._random.randbytes(_SIZE).hex()}"[:_SIZE] for number in range(_IN_FLIGHT)]
        name = f"pyrq-bench-{seed}"
        self._bare = f"{name}-bare"
        self._queues: _Rivals[_Side] = _Rivals(Queue(f"{name}-ours", client), OlderQueue(f"{name}-theirs", client))
        self._uniques: _Rivals[_Side] = _Rivals(
            UniqueQueue(f"{name}-ours-of-uniques", client), OlderUniqueQueue(f"{name}-theirs-of-unique", client)
        )
        self._pools: _Rivals[_Lender] = _Rivals(
            Pool(f"{name}-our-pool", client), OlderPool(f"{name}-their-pool", client)
        )
        self._consuming = Consuming(client, name, self._items)

    def cases(self) -> Iterator[Case]:
        """Gives the cases, in the order of the table."""
        for batch, target in ((1_000, 5.0), (100, 3.0), (1, None)):
            yield self._queues.meet(f"get + ack, batch {batch:,}", partial(self._work_off, batch=batch), target)
        yield self._queues.meet(f"add_items of {_CHUNK:,}", self._add, 1.2)
        yield Case(f"add_items of {_CHUNK:,}", _BARE, partial(self._add, self._queues.ours), self._push, 0.6)
        yield self._uniques.meet("UniqueQueue get + ack, batch 1,000", partial(self._work_off, batch=1_000), 5.0)
        yield self._uniques.meet(f"UniqueQueue add_items of {_CHUNK:,}", self._add, 5.0)
        yield self._pools.meet(f"Pool ack_items of {_LENT:,}", self._return, 30.0)
        yield from self._consuming.quick()
        yield from self._in_flight(f"ack {_ACKED:,} of {_IN_FLIGHT:,} held")
        yield from self._consuming.heavy()

    def notes(self) -> list[str]:
        """Tells what the table does not show; after all cases were run."""
        return self._consuming.notes()

    def _in_flight(self, name: str) -> Iterator[Case]:
        for shuffled, order in ((False, "in order"), (True, "random order")):
            yield self._queues.meet(f"{name}, {order}", partial(self._acknowledge, shuffled=shuffled), heavy=True)
        yield Case(
            f"{name}, random order",
            "ours in order",
            partial(self._acknowledge, self._queues.ours, shuffled=True),
            partial(self._acknowledge, self._queues.ours, shuffled=False),
            heavy=True,
        )

    def _work_off(self, side: _Side, batch: int) -> float:
        """Takes and acknowledges batch after batch."""
        batches = _BATCHES[batch]
        waiting = self._items[: batch * batches]
        self._client.lpush(side.name, *waiting)
        if side in (self._uniques.ours, self._uniques.theirs):
            self._client.sadd(_set_of(side), *waiting)

        def work() -> None:
            for _ in range(batches):
                items = side.get_items(batch)
                held = side.ack_item(items[0]) if batch == 1 else side.ack_items(items)
                _must_be(batch, held)

        return _per_item(work, batch * batches)

    def _add(self, side: _Side) -> float:
        def work() -> None:
            _must_be(_CHUNK, side.add_items(self._items[:_CHUNK]))

        try:
            return _per_item(work, _CHUNK)
        finally:
            self._client.delete(side.name, _set_of(side))

    def _push(self) -> float:
        def work() -> None:
            self._client.lpush(self._bare, *self._items[:_CHUNK])

        try:
            return _per_item(work, _CHUNK)
        finally:
            self._client.delete(self._bare)

    def _acknowledge(self, side: _Side, *, shuffled: bool) -> float:
        """Acknowledges a part of what is in flight, a chunk at a time."""
        self._client.lpush(side.name, *self._items)
        held = side.get_items(_IN_FLIGHT)
        if shuffled:
            self._random.shuffle(held)
        chunks = [held[start : start + _CHUNK] for start in range(0, _ACKED, _CHUNK)]

        def work() -> None:
            for chunk in chunks:
                _must_be(len(chunk), side.ack_items(chunk))

        try:
            return _per_item(work, _ACKED)
        finally:
            side.drop_all_items()

    def _return(self, pool: _Lender) -> float:
        """Acknowledges what was handed out."""
        self._client.zadd(pool.name, dict.fromkeys(self._items[:_LENT], int(time.time()) - 1))
        items = pool.get_items(_LENT)

        def work() -> None:
            _must_be(_LENT, pool.ack_items(items))

        try:
            return _per_item(work, _LENT)
        finally:
            self._client.delete(pool.name)

    def close(self) -> None:
        """Leaves nothing behind on the server."""
        self._consuming.close()
        for queues in (self._queues, self._uniques):
            queues.ours.drop_all_items()
            self._client.delete(queues.ours.name, _set_of(queues.ours))
            queues.ours.close()
            queues.theirs.close()
        self._client.delete(self._bare, self._pools.ours.name)
        for pool in (self._pools.ours, self._pools.theirs):
            pool.close()


def _set_of(side: _Side) -> str:
    """Gives the key of the set of what waits, where there is one."""
    return f"{side.name}-unique"


def _per_item(work: Callable[[], None], items: int) -> float:
    return seconds(work) * 1e6 / items


def _must_be(wanted: int, given: int) -> None:
    """Refuses to time work that was not done."""
    if wanted != given:
        raise RuntimeError(f"{given} items were moved, not {wanted}")
