"""Consumers that take and ack while servers come and go, and note what became of each item."""

from __future__ import annotations

import threading
from typing import Any

from pyrq.errors import NotEnoughSyncedSlavesError, RqError
from tests.faults.campaign import Trial
from tests.faults.ledger import Account

__all__ = ["Taker"]

_PATIENCE = 60.0
_MOST = 10
_WAIT = 0.2


class Taker:
    """Takes some items, waiting for them, and acks most and rejects some, until it is told to stop.

    Attributes:
        acked: how many acks were confirmed.
    """

    def __init__(self, trial: Trial, account: Account, queue: Any, who: str) -> None:
        """Begins to take, in a thread.

        Args:
            trial: is told of what nobody expects.
            account: of the queue.
            queue: from which it takes.
            who: tells its choices from those of others.
        """
        self.acked = 0
        self._trial = trial
        self._account = account
        self._queue = queue
        self._who = who
        self._rng = trial.rng(who)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends it, after the call that it is in."""
        self._stopped.set()
        self._thread.join(_PATIENCE)
        self._trial.expect(not self._thread.is_alive(), f"{self._who} came back from its last call")

    def close(self) -> None:
        """Closes its queue."""
        self._queue.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                items = self._queue.get_items(self._rng.randint(1, _MOST), timeout=_WAIT)
                self._account.seen(items)
                if items:
                    self._settle(items)
            except RqError as error:
                self._trial.caught(error)
                self._trial.blame("failed", 1, f"a taker was given {type(error).__name__}")

    def _settle(self, items: list[str]) -> None:
        """Acks, or rejects: a get that a failover lost is not held any more, and its items come again."""
        is_ack = self._rng.random() < 0.8
        try:
            held = self._queue.ack_items(items) if is_ack else self._queue.reject_items(items)
        except NotEnoughSyncedSlavesError as error:
            self._trial.caught(error)
            if is_ack:
                self._account.perhaps_acked(items)
            return
        if is_ack and held == len(items):
            self._account.acked(items)
            self.acked += held
        elif is_ack:
            self._trial.count("taken_and_lost", len(items) - held)
            self._account.perhaps_acked(items)
