"""Carrying out what is decided about the jobs of a consumer, for asyncio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from pyrq.aio._insisting import Insisting
from pyrq.aio._runner import Runner
from pyrq.aio._sending import Builder
from pyrq.core import ops
from pyrq.core.ahead import parcels, returning
from pyrq.core.consuming import OLD_TIMEOUT, ConsumerSetup, EventKind, Job, acknowledging, settling
from pyrq.core.errors import NotEnoughSyncedSlavesError, RqError
from pyrq.core.verdicts import Fate, Verdict
from pyrq.core.waiting import Found, Wait

__all__ = ["Settler"]

_KINDS = {Fate.ACK: EventKind.ACKED, Fate.DROP: EventKind.DROPPED, Fate.BURY: EventKind.BURIED}


class Settler:
    """What a consumer says to the server, but for taking."""

    def __init__(self, run: Runner, setup: ConsumerSetup, report: Callable[[EventKind, int], None]) -> None:
        """Settles for one consumer.

        Args:
            run: its session.
            setup: its options.
            report: takes what happened to how many items.
        """
        self._run = run
        self._calls = Insisting(run)
        self._setup = setup
        self._report = report

    async def settle(self, job: Job[Any], verdict: Verdict, goes_on: Callable[[RqError], Awaitable[bool]]) -> None:
        """Carries out a verdict on what is still held.

        Args:
            job: the items.
            verdict: what is to be done with them.
            goes_on: is told of each failure, and says whether to try again.
        """
        try:
            settled = await self._calls.insist(self._shortest(job, verdict), goes_on)
            done = await self._settled(job, verdict, settled, goes_on)
        except NotEnoughSyncedSlavesError as short:
            self._tell_short(verdict, short)
            raise
        self._tell(job, verdict, *done)

    async def settle_and_take(
        self, job: Job[Any], verdict: Verdict, count: int, goes_on: Callable[[RqError], Awaitable[bool]]
    ) -> Found:
        """Carries out a verdict on what is still held and takes what waits, in one round trip if that goes well.

        Args:
            job: the items.
            verdict: what is to be done with them.
            count: how many to take at the most.
            goes_on: is told of each failure, and says whether to try again.

        Returns:
            What a get heard; its items are in the inbox.
        """
        # Where both wait for replicas and too few answer, what was not proved must not pass for what was done.
        waits = self._run.setup.durability is not None
        build = self._by_items(job, verdict) if waits else self._shortest(job, verdict)
        try:
            settled, found = await self._calls.insist_and_take(build, count, Wait(self._setup.lease), goes_on)
            done = await self._settled(job, verdict, settled, goes_on)
        except NotEnoughSyncedSlavesError as short:
            self._tell_short(verdict, short)
            raise
        self._tell(job, verdict, *done)
        return found

    def _by_items(self, job: Job[Any], verdict: Verdict) -> Builder[tuple[int, int]]:
        return partial(settling, job, verdict, self._setup.limits)

    def _shortest(self, job: Job[Any], verdict: Verdict) -> Builder[tuple[int, int]]:
        """Gives what carries out a verdict: without the items, where they are to be acknowledged and proved all."""
        done_with = verdict.fate in (Fate.ACK, Fate.DROP)
        proof = self._run.member().session.inbox.prove(job.raw) if done_with else None
        if proof is None:
            return self._by_items(job, verdict)
        # What was proved once is what is sent again: by then the inbox may tell of another get.
        return lambda keys, identity, _: acknowledging(job, proof, keys, identity)

    async def _settled(
        self, job: Job[Any], verdict: Verdict, settled: tuple[int, int], goes_on: Callable[[RqError], Awaitable[bool]]
    ) -> tuple[int, int]:
        """Gives what a verdict came to; where it was not proved that these are all items, it is carried out now."""
        if settled[0] >= 0:
            return settled
        return await self._calls.insist(self._by_items(job, verdict), goes_on)

    def _tell(self, job: Job[Any], verdict: Verdict, held: int, buried: int) -> None:
        self._report(_KINDS.get(verdict.fate, EventKind.RETRIED), held - buried)
        self._report(EventKind.BURIED, buried)
        self._report(EventKind.LOST, len(job.raw) - held)

    def _tell_short(self, verdict: Verdict, short: NotEnoughSyncedSlavesError) -> None:
        self._report(_KINDS.get(verdict.fate, EventKind.RETRIED), short.done)

    async def give_back(self, jobs: Sequence[Job[Any]], goes_on: Callable[[RqError], Awaitable[bool]]) -> None:
        """Gives back jobs that no handler has begun, as the next out, in their order. It counts as no delivery.

        Args:
            jobs: the items, oldest first.
            goes_on: is told of each failure, and says whether to try again.
        """
        for job in parcels(jobs):
            try:
                held = await self._calls.insist(partial(returning, job), goes_on)
            except NotEnoughSyncedSlavesError as short:
                self._report(EventKind.RETURNED, short.done)
                raise
            self._report(EventKind.RETURNED, held)
            if not self._run.member().closed:  # else the end has given it back, and told
                self._report(EventKind.LOST, len(job.raw) - held)

    async def beat(self) -> tuple[int, bool]:
        """Renews the lease; gives the tenure that goes on (0: none), and whether to sweep."""
        tenure, sweep = await self._run.hand_out(lambda keys, identity, _: ops.beat(keys, identity, self._setup.lease))
        return tenure, sweep == 1

    async def sweep(self) -> None:
        """Gives back what silent consumers held."""
        limits = self._setup.limits
        swept = await self._run.repeat(lambda keys, identity, _: ops.re_enqueue(keys, identity, OLD_TIMEOUT, limits))
        self._report(EventKind.SWEPT, swept)

    async def retire(self) -> None:
        """Gives back all that the consumer holds, and ends its session in the same breath: nothing is taken after."""
        async with self._run.get_lock:
            self._report(EventKind.RETURNED, await self._run.retire())
