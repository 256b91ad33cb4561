"""The supply of a consumer that takes ahead of its handlers and acknowledges behind them, for threads.

Theory of operation. Workers do not speak to the server. A fetcher takes items while there is room, so that a worker
finds its next job at hand; a courier carries out what workers have decided, in that order, and sends together what has
come in while it was sending. So a handler waits for neither, and what it has decided leaves at once, or as soon as what
left before is answered. What waits for a handler is in hand: its lease is renewed. When the consumer stops, the fetcher
gives it back at once, and the courier carries out what is decided until the last worker has ended.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from pyrq.core.ahead import Room, joined
from pyrq.core.consuming import Job
from pyrq.core.errors import QueueClosedError, RqError
from pyrq.core.verdicts import Verdict
from pyrq.sync._supply import Shift

__all__ = ["Ahead"]

T = TypeVar("T")


class Ahead(Generic[T]):
    """The supply of workers that do not wait for the server."""

    def __init__(self, shift: Shift[T], at_a_time: int) -> None:
        """Has nothing at hand.

        Args:
            shift: what is shared with the consumer.
            at_a_time: how many items a handler gets at a time, at the most; 1 if it gets them one by one.
        """
        self._shift = shift
        self._change = threading.Condition()
        self._pending: deque[Job[T]] = deque()
        self._room = Room.of(shift.setup, at_a_time)
        self._ended: SimpleQueue[tuple[Job[T], Verdict] | None] = SimpleQueue()

    # For workers

    def next(self) -> Job[T] | None:
        """Gives the next job, or None when there is to be none any more."""
        with self._change:
            while not self._shift.is_to_stop():
                if not self._pending:
                    self._change.wait()
                    continue
                job = self._pending.popleft()
                self._room.begun(len(job.raw))
                if job.lease.lost:
                    self._let_go([job])
                    continue
                self._tell_of_room()
                return job
        return None

    def settle(self, job: Job[T], verdict: Verdict) -> None:
        """Hands a verdict to the courier."""
        self._ended.put((job, verdict))

    def let_go(self, job: Job[T]) -> None:
        """Lets go of a job about which nothing is to be carried out."""
        with self._change:
            self._let_go([job])

    def leave(self) -> None:
        """Tells the courier that a worker has ended."""
        self._ended.put(None)

    def halt(self) -> None:
        """Wakes who waits for a job, or for room."""
        with self._change:
            self._tell()

    def helpers(self) -> dict[str, Callable[[], None]]:
        """Gives what is to run beside the workers, by its role."""
        return {"fetcher": self._fetch, "courier": self._deliver}

    # The fetcher

    def _fetch(self) -> None:
        """Takes jobs while there is room, until the consumer stops; then gives back what no handler has begun."""
        while wanted := self._wait_for_room():
            self._shift.take(wanted, self._put)
        with self._change:
            jobs = [job for job in self._pending if not job.lease.lost]
            self._pending.clear()
        self._shift.give_back(jobs)

    def _wait_for_room(self) -> int:
        """Gives how many items to take; 0 when there are to be none any more."""
        with self._change:
            while not self._shift.stopping.is_set():
                if wanted := self._room.wanted():
                    return wanted
                self._change.wait()
        return 0

    def _put(self, jobs: list[Job[T]]) -> None:
        with self._change:
            self._pending.extend(jobs)
            self._room.taken(sum(len(job.raw) for job in jobs))
            self._tell()

    # The courier

    def _deliver(self) -> None:
        """Carries out what is decided, until no worker is left."""
        workers = self._shift.setup.concurrency
        while workers:
            ended = self._take_ended()
            for jobs, job, verdict in joined([pair for pair in ended if pair]):
                self._carry_out(jobs, job, verdict)
            workers -= ended.count(None)

    def _carry_out(self, jobs: Sequence[Job[T]], job: Job[T], verdict: Verdict) -> None:
        try:
            self._shift.settle(job, verdict)
        except QueueClosedError:
            raise
        except RqError as error:
            # What else is decided is carried out all the same.
            self._shift.fail(error)
            return
        with self._change:
            self._let_go(jobs)

    def _take_ended(self) -> list[tuple[Job[T], Verdict] | None]:
        """Waits for something to do, and gives all there is."""
        ended = [self._ended.get()]
        try:
            while True:
                ended.append(self._ended.get_nowait())
        except Empty:
            return ended

    def _let_go(self, jobs: Sequence[Job[T]]) -> None:
        """Lets go of jobs; to be called by who holds the condition."""
        for job in jobs:
            self._shift.hands.let_go(job)
            self._room.ended(len(job.raw))
        self._tell_of_room()

    def _tell_of_room(self) -> None:
        if self._room.wanted():
            self._tell()

    def _tell(self) -> None:
        """Wakes all who wait for a change."""
        self._change.notify_all()
