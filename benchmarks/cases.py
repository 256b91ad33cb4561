"""What is measured: adding, taking with acknowledging, and acknowledging in any order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

from benchmarks.contest import Case, seconds
from benchmarks.older import OlderQueue
from pyrq import Queue

__all__ = ["Arena"]

# Samples are short and taken often, so that both sides of a ratio meet the same machine.
_BATCHES = {1_000: 1, 100: 10, 1: 100}
"""Size of a batch -> how many of them are taken and acknowledged in a sample."""

_CHUNK = 1_000
_IN_FLIGHT = 10_000
_ACKED = 2_000
_SIZE = 100
_OLDER, _BARE = "older way", "bare LPUSH"


class _Side(Protocol):
    """What both queues can do."""

    @property
    def name(self) -> str: ...

    def add_items(self, items: list[str]) -> int: ...

    def get_items(self, count: int) -> list[str]: ...

    def ack_item(self, item: str) -> bool: ...

    def ack_items(self, items: list[str]) -> int: ...

    def drop_all_items(self) -> int: ...


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
        self._ours = Queue(f"pyrq-bench-{seed}-ours", client)
        self._theirs = OlderQueue(f"pyrq-bench-{seed}-theirs", client)
        self._bare = f"pyrq-bench-{seed}-bare"

    def cases(self) -> Iterator[Case]:
        """Gives the cases, in the order of the table."""
        for batch, target in ((1_000, 5.0), (100, 3.0), (1, None)):
            yield self._case(f"get + ack, batch {batch:,}", partial(self._work_off, batch=batch), target)
        yield self._case(f"add_items of {_CHUNK:,}", self._add, 1.2)
        yield Case(f"add_items of {_CHUNK:,}", _BARE, partial(self._add, self._ours), self._push, 0.6)
        yield from self._in_flight(f"ack {_ACKED:,} of {_IN_FLIGHT:,} held")

    def _in_flight(self, name: str) -> Iterator[Case]:
        for shuffled, order in ((False, "in order"), (True, "random order")):
            yield self._case(f"{name}, {order}", partial(self._acknowledge, shuffled=shuffled), heavy=True)
        yield Case(
            f"{name}, random order",
            "ours in order",
            partial(self._acknowledge, self._ours, shuffled=True),
            partial(self._acknowledge, self._ours, shuffled=False),
            heavy=True,
        )

    def _case(
        self, name: str, sample: Callable[[_Side], float], target: float | None = None, *, heavy: bool = False
    ) -> Case:
        return Case(name, _OLDER, partial(sample, self._ours), partial(sample, self._theirs), target, heavy)

    def _work_off(self, side: _Side, batch: int) -> float:
        """Takes and acknowledges batch after batch."""
        batches = _BATCHES[batch]
        self._client.lpush(side.name, *self._items[: batch * batches])

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
            self._client.delete(side.name)

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

    def close(self) -> None:
        """Leaves nothing behind on the server."""
        self._ours.drop_all_items()
        self._client.delete(self._ours.name, self._bare)
        self._ours.close()
        self._theirs.close()


def _per_item(work: Callable[[], None], items: int) -> float:
    return seconds(work) * 1e6 / items


def _must_be(wanted: int, given: int) -> None:
    """Refuses to time work that was not done."""
    if wanted != given:
        raise RuntimeError(f"{given} items were moved, not {wanted}")
