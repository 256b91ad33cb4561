"""Carrying out what is decided about the jobs of a consumer, for asyncio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from pyrq.aio._runner import Runner
from pyrq.core import ops
from pyrq.core.consuming import OLD_TIMEOUT, ConsumerSetup, EventKind, Job, settling
from pyrq.core.errors import NotEnoughSyncedSlavesError, RqError
from pyrq.core.verdicts import Fate, Verdict

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
        self._setup = setup
        self._report = report

    async def settle(self, job: Job[Any], verdict: Verdict, goes_on: Callable[[RqError], Awaitable[bool]]) -> None:
        """Carries out a verdict on what is still held.

        Args:
            job: the items.
            verdict: what is to be done with them.
            goes_on: is told of each failure, and says whether to try again.
        """
        kind = _KINDS.get(verdict.fate, EventKind.RETRIED)
        try:
            held, buried = await self._run.insist(
                lambda *who: settling(job, verdict, self._setup.limits, *who), goes_on
            )
        except NotEnoughSyncedSlavesError as short:
            self._report(kind, short.done)
            raise
        self._report(kind, held - buried)
        self._report(EventKind.BURIED, buried)
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
