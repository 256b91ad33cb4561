"""What a consumer decides that takes and acknowledges in one breath, or takes ahead of its handlers. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

from pyrq.core import ops
from pyrq.core.call import Call
from pyrq.core.consuming import ConsumerSetup, Job
from pyrq.core.keys import Keys
from pyrq.core.limits import NO_LIMITS
from pyrq.core.session import Held, Identity
from pyrq.core.verdicts import Fate, Verdict

__all__ = ["Room", "joined", "parcels", "returning"]

T = TypeVar("T")

_REFILL = 2
"""Items are taken ahead when half of them are used up, so that each get brings many."""


@dataclass(slots=True)
class Room:
    """How much a consumer that takes ahead may take. To be used by one thread at a time.

    Attributes:
        prefetch: how many items may wait for a handler.
        most: how many may be in hand in all: with a handler, waiting for one, or for their end to be carried out.
        at_once: how many a get may bring.
        waiting: how many wait for a handler now.
        held: how many are in hand now.
    """

    prefetch: int
    most: int
    at_once: int
    waiting: int = 0
    held: int = 0

    @classmethod
    def of(cls, setup: ConsumerSetup, at_a_time: int) -> Room:
        """Makes the room of a consumer.

        Args:
            setup: its options.
            at_a_time: how many items a handler gets at a time, at the most; 1 if it gets them one by one.
        """
        at_once = ops.CHUNK if at_a_time == 1 else at_a_time
        return cls(setup.prefetch, setup.concurrency * at_a_time + setup.prefetch, at_once)

    def wanted(self) -> int:
        """Gives how many items to take now, 0 for none."""
        if self.waiting > self.prefetch // _REFILL:
            return 0
        return max(0, min(self.at_once, self.most - self.held))

    def taken(self, count: int) -> None:
        """Counts items that were taken; they wait for a handler."""
        self.waiting += count
        self.held += count

    def begun(self, count: int) -> None:
        """Counts items that do not wait any more."""
        self.waiting -= count

    def ended(self, count: int) -> None:
        """Counts items that are not in hand any more."""
        self.held -= count


def joined(ended: Sequence[tuple[Job[T], Verdict]]) -> Iterator[tuple[list[Job[T]], Job[T], Verdict]]:
    """Joins acknowledgements that follow each other, up to 1,000 items in one.

    Args:
        ended: jobs whose handlers have ended, and what is to be done with each, in this order.

    Returns:
        Some of the jobs, all of them as one, and what is to be done with that; one after the other.
    """
    for (fate, tenure), pairs in groupby(ended, lambda pair: (pair[1].fate, pair[0].tenure)):
        same = list(pairs)
        if fate is not Fate.ACK:
            yield from (([job], job, verdict) for job, verdict in same)
            continue
        for jobs in _cut([job for job, _ in same]):
            yield jobs, _as_one(jobs, tenure), same[0][1]


def parcels(jobs: Sequence[Job[T]]) -> Iterator[Job[T]]:
    """Makes few jobs of many, of up to 1,000 items each, the newest first: each goes back in front of the one before.

    Args:
        jobs: the jobs, oldest first.

    Returns:
        Jobs with the same items.
    """
    for tenure, of_tenure in groupby(reversed(jobs), lambda job: job.tenure):
        for newest_first in _cut(list(of_tenure)):
            yield _as_one(newest_first[::-1], tenure)


def _cut(jobs: Sequence[Job[T]]) -> Iterator[list[Job[T]]]:
    """Cuts up a list so that no part has more items than a call may handle; a job is at most that large."""
    part: list[Job[T]] = []
    size = 0
    for job in jobs:
        if part and size + len(job.raw) > ops.CHUNK:
            yield part
            part, size = [], 0
        part.append(job)
        size += len(job.raw)
    if part:
        yield part


def _as_one(jobs: Sequence[Job[T]], tenure: int) -> Job[T]:
    if len(jobs) == 1:
        return jobs[0]
    return Job(
        [item for job in jobs for item in job.items], [raw for job in jobs for raw in job.raw], tenure, jobs[0].lease
    )


def returning(job: Job[Any], keys: Keys, identity: Identity, held: Held) -> Call[int]:
    """Builds the call that gives back a job no handler has begun; gives how many items were held.

    Without a limit, nothing is counted.
    """
    return ops.reject(keys, identity, Held(held.received, held.kept, job.tenure), job.raw, NO_LIMITS)
