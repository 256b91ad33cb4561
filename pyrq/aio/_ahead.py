"""The supply of a consumer that takes ahead of its handlers and acknowledges behind them, for asyncio.

Theory of operation. Workers do not speak to the server. A fetcher takes items while there is room, so that a worker
finds its next job at hand; a courier carries out what workers have decided, in that order, and sends together what has
come in while it was sending. So a handler waits for neither, and what it has decided leaves at once, or as soon as what
left before is answered. What waits for a handler is in hand: its lease is renewed. When the consumer stops, the fetcher
gives it back at once, and the courier carries out what is decided until the last worker has ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from pyrq.aio._supply import Shift
from pyrq.core.ahead import Room, joined
from pyrq.core.consuming import Job
from pyrq.core.errors import QueueClosedError, RqError
from pyrq.core.verdicts import Verdict

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
        self._change = asyncio.Event()
        self._pending: deque[Job[T]] = deque()
        self._room = Room.of(shift.setup, at_a_time)
        self._ended: asyncio.Queue[tuple[Job[T], Verdict] | None] = asyncio.Queue()

    # For workers

    async def next(self) -> Job[T] | None:
        """Gives the next job, or None when there is to be none any more."""
        while not self._shift.is_to_stop():
            if not self._pending:
                await self._change.wait()
                continue
            job = self._pending.popleft()
            self._room.begun(len(job.raw))
            if job.lease.lost:
                self._let_go([job])
                continue
            self._tell_of_room()
            return job
        return None

    async def settle(self, job: Job[T], verdict: Verdict) -> None:
        """Hands a verdict to the courier."""
        self._ended.put_nowait((job, verdict))

    def let_go(self, job: Job[T]) -> None:
        """Lets go of a job about which nothing is to be carried out."""
        self._let_go([job])

    def leave(self) -> None:
        """Tells the courier that a worker has ended."""
        self._ended.put_nowait(None)

    def halt(self) -> None:
        """Wakes who waits for a job, or for room."""
        self._tell()

    def helpers(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Gives what is to run beside the workers, by its role."""
        return {"fetcher": self._fetch, "courier": self._deliver}

    # The fetcher

    async def _fetch(self) -> None:
        """Takes jobs while there is room, until the consumer stops; then gives back what no handler has begun."""
        while wanted := await self._wait_for_room():
            await self._shift.take(wanted, self._put)
        jobs = [job for job in self._pending if not job.lease.lost]
        self._pending.clear()
        await self._shift.give_back(jobs)

    async def _wait_for_room(self) -> int:
        """Gives how many items to take; 0 when there are to be none any more."""
        while not self._shift.stopping.is_set():
            if wanted := self._room.wanted():
                return wanted
            await self._change.wait()
        return 0

    def _put(self, jobs: list[Job[T]]) -> None:
        self._pending.extend(jobs)
        self._room.taken(sum(len(job.raw) for job in jobs))
        self._tell()

    # The courier

    async def _deliver(self) -> None:
        """Carries out what is decided, until no worker is left."""
        workers = self._shift.setup.concurrency
        while workers:
            ended = await self._take_ended()
            for jobs, job, verdict in joined([pair for pair in ended if pair]):
                await self._carry_out(jobs, job, verdict)
            workers -= ended.count(None)

    async def _carry_out(self, jobs: Sequence[Job[T]], job: Job[T], verdict: Verdict) -> None:
        try:
            await self._shift.settle(job, verdict)
        except QueueClosedError:
            raise
        except RqError as error:
            # What else is decided is carried out all the same.
            self._shift.fail(error)
            return
        self._let_go(jobs)

    async def _take_ended(self) -> list[tuple[Job[T], Verdict] | None]:
        """Waits for something to do, and gives all there is."""
        ended = [await self._ended.get()]
        while not self._ended.empty():
            ended.append(self._ended.get_nowait())
        return ended

    def _let_go(self, jobs: Sequence[Job[T]]) -> None:
        """Lets go of jobs."""
        for job in jobs:
            self._shift.hands.let_go(job)
            self._room.ended(len(job.raw))
        self._tell_of_room()

    def _tell_of_room(self) -> None:
        if self._room.wanted():
            self._tell()

    def _tell(self) -> None:
        """Wakes all who wait for a change."""
        self._change.set()
        self._change.clear()
