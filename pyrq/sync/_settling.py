"""Carrying out what is decided about the jobs of a consumer, for threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyrq.core import ops
from pyrq.core.consuming import OLD_TIMEOUT, ConsumerSetup, EventKind, Job, settling
from pyrq.core.errors import NotEnoughSyncedSlavesError, RqError
from pyrq.core.verdicts import Fate, Verdict
from pyrq.sync._runner import Runner

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

    def settle(self, job: Job[Any], verdict: Verdict, goes_on: Callable[[RqError], bool]) -> None:
        """Carries out a verdict on what is still held.

        Args:
            job: the items.
            verdict: what is to be done with them.
            goes_on: is told of each failure, and says whether to try again.
        """
        kind = _KINDS.get(verdict.fate, EventKind.RETRIED)
        try:
            held, buried = self._run.insist(lambda *who: settling(job, verdict, self._setup.limits, *who), goes_on)
        except NotEnoughSyncedSlavesError as short:
            self._report(kind, short.done)
            raise
        self._report(kind, held - buried)
        self._report(EventKind.BURIED, buried)
        self._report(EventKind.LOST, len(job.raw) - held)

    def beat(self) -> tuple[int, bool]:
        """Renews the lease; gives the tenure that goes on (0: none), and whether to sweep."""
        tenure, sweep = self._run.hand_out(lambda keys, identity, _: ops.beat(keys, identity, self._setup.lease))
        return tenure, sweep == 1

    def sweep(self) -> None:
        """Gives back what silent consumers held."""
        limits = self._setup.limits
        swept = self._run.repeat(lambda keys, identity, _: ops.re_enqueue(keys, identity, OLD_TIMEOUT, limits))
        self._report(EventKind.SWEPT, swept)

    def retire(self) -> None:
        """Gives back all that the consumer holds, and ends its session in the same breath: nothing is taken after."""
        with self._run.get_lock:
            self._report(EventKind.RETURNED, self._run.retire())
