"""How the workers of a consumer come by jobs, and have what they decide carried out, for asyncio.

Theory of operation. Workers take turns at taking: the one that needs a job and finds none at hand gets a batch, or
waits for an item, while the others wait for it; so a consumer has one blocking move under way, whatever its
concurrency. A worker that has nothing but an acknowledgement to send, while nothing is at hand and nobody is taking,
takes in the same round trip. Otherwise it sends that at once, alone: it never waits for an item to come.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from pyrq.aio._settling import Settler
from pyrq.aio._waits import wait_for_event
from pyrq.core.consuming import ENDLESS, TROUBLE_PAUSE, ConsumerSetup, EventKind, Hands, Job, passes
from pyrq.core.errors import NotEnoughSyncedSlavesError, QueueClosedError, RqError
from pyrq.core.verdicts import Fate, Verdict
from pyrq.core.waiting import Found, Patience, Wait

if TYPE_CHECKING:
    from pyrq.aio._taking import Handed
    from pyrq.aio.queue import Queue

__all__ = ["Shift", "Supply", "Turns"]

T = TypeVar("T")

_log = logging.getLogger("pyrq.consumer")


@dataclass(eq=False)
class Shift(Generic[T]):
    """What a consumer and its supply share.

    Attributes:
        queue: where from; of a session of its own.
        setup: the consumer's options.
        settler: says to the server what is not taking.
        make_jobs: makes jobs of what was handed out.
        report: takes what happened to how many items.
        fail: ends the consumer with an error.
        is_to_stop: says whether a stop was asked for, even if nobody has heard it yet.
        hands: what is in hand.
        stopping: set when nothing is to be taken any more.
        over: set when nothing is to be tried again.
        patience: for how long it waits for an item.
    """

    queue: Queue[T]
    setup: ConsumerSetup
    settler: Settler
    make_jobs: Callable[[Handed[T]], list[Job[T]]]
    report: Callable[[EventKind, int], None]
    fail: Callable[[BaseException], None]
    is_to_stop: Callable[[], bool]
    hands: Hands[T]
    stopping: asyncio.Event
    over: asyncio.Event
    patience: Patience = field(init=False)

    def __post_init__(self) -> None:
        self.patience = self.queue._run.patience(ENDLESS, self.setup.lease)

    async def take(self, count: int, put: Callable[[list[Job[T]]], None]) -> None:
        """Gets jobs, or waits for some; to be called by one task at a time.

        Args:
            count: how many items at the most.
            put: takes the jobs, before anything else can fail.
        """
        try:
            handed, _ = await self.queue._wait(count, self.patience, self.setup.lease, self.stopping)
            await self._receive(handed, handed.found.sweep, put)
        except RqError as error:
            await self._pause_on(error)

    async def receive(self, found: Found, put: Callable[[list[Job[T]]], None]) -> None:
        """Makes jobs of what a get has brought to the inbox; to be called by the task that has its turn."""
        try:
            if found.items:
                handed = await self.queue._hand_out(len(found.items), Wait(self.setup.lease))
                await self._receive(handed, found.sweep, put)
            elif found.sweep:
                await self.settler.sweep()
        except RqError as error:
            await self._pause_on(error)

    async def _receive(self, handed: Handed[T], sweep: bool, put: Callable[[list[Job[T]]], None]) -> None:
        jobs = self.make_jobs(handed)
        self.hands.take(jobs)
        put(jobs)
        self.report(EventKind.TAKEN, sum(len(job.raw) for job in jobs))
        if sweep:
            await self.settler.sweep()

    async def settle(self, job: Job[T], verdict: Verdict) -> None:
        """Carries out a verdict; as long as the server can't be asked, again and again."""
        try:
            await self.settler.settle(job, verdict, self.goes_on)
            if verdict.fate is Fate.RETRY:
                # Who waits here for an item has chosen for how long before this one was put off.
                await self.queue._run.backend.wake()
        except RqError as error:
            self._end_settling(error)

    async def settle_and_take(self, job: Job[T], verdict: Verdict, put: Callable[[list[Job[T]]], None]) -> None:
        """Does as `settle`, and takes what is there, in one round trip; for the task that has its turn."""
        try:
            found = await self.settler.settle_and_take(job, verdict, self.setup.batch, self.goes_on)
        except RqError as error:
            self._end_settling(error)
        else:
            await self.receive(found, put)

    async def give_back(self, jobs: Sequence[Job[T]]) -> None:
        """Gives back what no handler has begun; what can't be is given back with all the rest."""
        if self.over.is_set():
            return
        try:
            await self.settler.give_back(jobs, self.goes_on)
        except RqError as error:
            self._end_settling(error)
        else:
            for job in jobs:
                self.hands.let_go(job)

    async def goes_on(self, error: RqError) -> bool:
        """Says after a pause whether to try again."""
        self.bear(error)
        return not await wait_for_event(self.over, TROUBLE_PAUSE)

    def bear(self, error: RqError) -> None:
        """Tells of a failure that passes; raises any other."""
        if isinstance(error, QueueClosedError) or not passes(error):
            raise error
        _log.warning("queue %s: %s", self.queue.name, type(error).__name__)

    async def _pause_on(self, error: RqError) -> None:
        self.bear(error)
        await wait_for_event(self.stopping, TROUBLE_PAUSE)

    def _end_settling(self, error: RqError) -> None:
        """Judges what remains of an attempt to settle; what passes was tried until all was over."""
        if isinstance(error, NotEnoughSyncedSlavesError):
            _log.warning("queue %s: settled, but %s", self.queue.name, type(error).__name__)
        elif not passes(error):
            raise error


class Supply(Protocol[T]):
    """Where workers get jobs from, and bring what they decided. Tasks share it."""

    async def next(self) -> Job[T] | None:
        """Gives the next job, or None when there is to be none any more."""
        ...

    async def settle(self, job: Job[T], verdict: Verdict) -> None:
        """Has a verdict carried out, and lets go of the job then."""
        ...

    def let_go(self, job: Job[T]) -> None:
        """Lets go of a job about which nothing is to be carried out."""
        ...

    def leave(self) -> None:
        """Tells that a worker has ended."""
        ...

    def halt(self) -> None:
        """Tells that the shift is stopping."""
        ...

    def helpers(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Gives what is to run beside the workers, by its role."""
        ...


class Turns(Generic[T]):
    """The supply of workers that take turns at taking."""

    def __init__(self, shift: Shift[T]) -> None:
        """Has nothing at hand.

        Args:
            shift: what is shared with the consumer.
        """
        self._shift = shift
        self._taking = asyncio.Lock()
        self._in_line = 0
        self._pending: deque[Job[T]] = deque()

    async def next(self) -> Job[T] | None:
        """Gives the next job, or None when there is to be none any more."""
        shift = self._shift
        self._in_line += 1
        try:
            async with self._taking:
                while not shift.is_to_stop():
                    if not self._pending:
                        await shift.take(shift.setup.batch, self._pending.extend)
                    elif (job := self._pending.popleft()).lease.lost:
                        shift.hands.let_go(job)
                    else:
                        return job
        finally:
            self._in_line -= 1
        return None

    async def settle(self, job: Job[T], verdict: Verdict) -> None:
        """Carries out a verdict, and lets go of the job; an acknowledgement takes what is next along."""
        if verdict.fate is Fate.ACK and not self._shift.is_to_stop() and await self._begin_turn():
            try:
                await self._shift.settle_and_take(job, verdict, self._pending.extend)
            finally:
                self._taking.release()
        else:
            await self._shift.settle(job, verdict)
        self.let_go(job)

    def let_go(self, job: Job[T]) -> None:
        """Lets go of a job about which nothing is to be carried out."""
        self._shift.hands.let_go(job)

    async def _begin_turn(self) -> bool:
        """Takes the turn if nobody has it and nothing is at hand; waits for neither."""
        # A lock that is open may be promised to one who is in line, and then be waited for.
        if self._pending or self._in_line or self._taking.locked():
            return False
        return await self._taking.acquire()

    def leave(self) -> None:
        """Tells that a worker has ended."""

    def halt(self) -> None:
        """Tells that the shift is stopping."""

    def helpers(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Gives what is to run beside the workers: nothing."""
        return {}
