"""Producers that add while servers come and go, what became of each add, and the drawing of the balance."""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pyrq import Queue
from pyrq.errors import NotEnoughSyncedSlavesError, OutcomeUnknown, RqError
from tests.faults.campaign import Trial
from tests.faults.ledger import MARK, Account
from tests.integration.leaks import leaks
from tests.servers import World, wait_until

__all__ = ["Producer", "answers", "comes_back", "confirmed", "drain", "settle", "short", "wait_for_more"]

T = TypeVar("T")

_PATIENCE = 60.0
_BATCH = 500
_SWEPT_WITHIN = 20.0
_SWEEP_EVERY = 0.2
_PACE = 0.002
"""Between two calls of a producer, in seconds: they are to meet faults, not to be many."""


class Producer:
    """Adds items of which no two are equal, one call after the other, until it is told to stop.

    Attributes:
        confirmed: what was confirmed, or answered where nothing is asked to be confirmed.
        short: what was answered with "written, and too few confirmed", and that error.
        unknown: what was answered with "unknown".
        answers: how many calls were answered.
    """

    def __init__(self, trial: Trial, world: World, queue: Any, who: str) -> None:
        """Begins to add, in a thread.

        Args:
            trial: is told of what nobody expects.
            world: what the queue is of.
            queue: to what it adds.
            who: tells its items from those of others.
        """
        self.confirmed: list[str] = []
        self.short: list[tuple[list[str], NotEnoughSyncedSlavesError]] = []
        self.unknown: list[str] = []
        self.answers = 0
        self.world = world
        self._trial = trial
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
        number = 0
        while not self._stopped.wait(_PACE):
            items = [f"{MARK} {self._who} {number + more}" for more in range(self._rng.choice([1, 1, 3]))]
            number += len(items)
            try:
                self._add(items)
            except Exception:  # noqa: BLE001 - whatever it is, it is told
                self._trial.blame("failed", 1, f"{self._who} was given\n{traceback.format_exc(limit=-4, chain=False)}")
                return
            self.answers += 1

    def _add(self, items: list[str]) -> None:
        try:
            added = self._queue.add_items(items)
            self._trial.expect(added == len(items), "an add says how many it added")
            self.confirmed += items
        except NotEnoughSyncedSlavesError as error:
            self._trial.caught(error)
            self._trial.expect(error.done == len(items), "an add that is not confirmed says how many it added")
            self.short.append((items, error))
        except OutcomeUnknown as error:
            self._trial.caught(error)
            self.unknown += items
        except RqError as error:
            self._trial.caught(error)
            self._trial.blame("failed", 1, f"an add ended with {type(error).__name__}")


def wait_for_more(ones: Sequence[T], count: Callable[[T], int], more: int) -> None:
    """Waits until each of some producers, or takers, has counted so many more than now."""
    enough = [count(one) + more for one in ones]
    wait_until(lambda: all(count(each) >= least for each, least in zip(ones, enough, strict=True)), _PATIENCE)


def confirmed(producer: Producer) -> int:
    return len(producer.confirmed)


def short(producer: Producer) -> int:
    return len(producer.short)


def answers(producer: Producer) -> int:
    return producer.answers


def settle(trial: Trial, account: Account, producer: Producer) -> tuple[set[str], set[str]]:
    """Asks for each add that was not confirmed whether it is now, and notes all that was added.

    Args:
        trial: is told of outcomes that are unknown although there was time to ask again.
        account: of the queue.
        producer: has stopped; its queue speaks to a primary with a replica.

    Returns:
        What was confirmed late, and what the server does not know of: a failover lost it.
    """
    late: set[str] = set()
    lost: set[str] = set()
    for items, error in producer.short:
        (late if comes_back(trial, producer.world, error) else lost).update(items)
    trial.count("confirmed", len(producer.confirmed))
    trial.count("confirmed_late", len(late))
    trial.count("unconfirmed_lost", len(lost))
    trial.blame("failed", len(producer.unknown), "outcomes unknown, although there was time to ask again")
    account.added([*producer.confirmed, *late])
    account.perhaps_added([*producer.unknown, *lost])
    return late, lost


def comes_back(trial: Trial, world: World, error: NotEnoughSyncedSlavesError) -> bool:
    """Says whether confirm() comes back in the end; else it said that the server does not know of the call."""
    answers: list[bool] = []

    def is_answered() -> bool:
        try:
            world.confirm(error)
            answers.append(True)
        except NotEnoughSyncedSlavesError as later:
            trial.caught(later)
        except OutcomeUnknown as unknown:
            trial.caught(unknown)
            answers.append(False)
        return bool(answers)

    wait_until(is_answered, _PATIENCE)
    return answers[0]


def drain(trial: Trial, account: Account, name: str, url: str, client: Any) -> None:
    """Takes out all that is left, closes the account, and looks for what is stranded.

    Args:
        trial: is told of what is wrong.
        account: of the queue.
        name: of the queue; its other objects are closed.
        url: of the server.
        client: of the same server.
    """
    _take_all(trial, account, name, url)
    with contextlib.suppress(AssertionError):
        wait_until(lambda: _is_swept(trial, account, name, url, client), _SWEPT_WITHIN)
    account.close(trial.ledger)
    left = leaks(client, name)
    trial.blame("stranded", len(left), f"left for nobody: {b', '.join(sorted(left)).decode(errors='replace')}")


def _is_swept(trial: Trial, account: Account, name: str, url: str, client: Any) -> bool:
    """Says whether nothing is left; else sweeps: that a consumer waits is only forgotten when its time has passed."""
    if leaks(client, name):
        time.sleep(_SWEEP_EVERY)
        _take_all(trial, account, name, url)
    return not leaks(client, name)


def _take_all(trial: Trial, account: Account, name: str, url: str) -> None:
    with Queue(name, url) as queue:
        while queue.re_enqueue_all_items():
            pass
        while items := queue.get_items(_BATCH):
            account.seen(items)
            trial.expect(queue.ack_items(items) == len(items), "an ack counts what this consumer holds")
            account.acked(items)
