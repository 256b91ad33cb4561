"""Consumers that take and ack while servers come and go, and note what became of each item."""

from __future__ import annotations

import threading
import traceback
from typing import Any

from pyrq.errors import NotEnoughSyncedSlavesError, RqError
from tests.faults.campaign import Trial
from tests.faults.ledger import Account
from tests.servers import World

__all__ = ["MOST", "Taker"]

_PATIENCE = 60.0
_WAIT = 0.2
MOST = 10
"""How many items a taker has at most at a time."""


class Taker:
    """Takes some items, waiting for them, and acks most and rejects some, until it is told to stop.

    Attributes:
        confirmed: how many acks were confirmed.
        short: the acks that counted, and were answered with "too few confirmed": which item, and that error.
        lost: how many items were not held any more when they were acked: a failover lost the get, and they come again.
        world: what the queue is of.
    """

    def __init__(self, trial: Trial, account: Account, world: World, queue: Any, who: str) -> None:
        """Begins to take, in a thread.

        Args:
            trial: is told of what nobody expects.
            account: of the queue, whose items are all different.
            world: what the queue is of.
            queue: from which it takes.
            who: tells its choices from those of others.
        """
        self.confirmed = 0
        self.short: list[tuple[str, NotEnoughSyncedSlavesError]] = []
        self.lost = 0
        self.world = world
        self._trial = trial
        self._account = account
        self._queue = queue
        self._who = who
        self._rng = trial.rng(who)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name=who)
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
                items = self._queue.get_items(self._rng.randint(1, MOST), timeout=_WAIT)
                self._account.seen(items)
                self._settle(items)
            except RqError as error:
                self._trial.caught(error)
                self._trial.blame("failed", 1, f"a taker was given {type(error).__name__}")
            except Exception:  # noqa: BLE001 - whatever it is, it is told
                self._trial.blame("failed", 1, f"{self._who} was given\n{traceback.format_exc(limit=-4, chain=False)}")
                return

    def _settle(self, items: list[str]) -> None:
        """Acks, or rejects. Acks are made one by one: what they count may be less, and it is to be known for which."""
        if self._rng.random() < 0.8:
            for item in items:
                self._ack(item)
            return
        try:
            if items:
                self._queue.reject_items(items)
        except NotEnoughSyncedSlavesError as error:
            self._trial.caught(error)

    def _ack(self, item: str) -> None:
        try:
            is_held = self._queue.ack_item(item)
        except NotEnoughSyncedSlavesError as error:
            self._trial.caught(error)
            if error.done:
                self.short.append((item, error))
            else:
                self.lost += 1
            return
        if is_held:
            self._account.acked([item])
            self.confirmed += 1
        else:
            self.lost += 1
