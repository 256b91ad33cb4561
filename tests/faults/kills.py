"""Consumers that are killed: nothing is lost, little is handled twice, nothing is left behind."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pyrq import Queue
from tests.faults.campaign import Row, Trial
from tests.faults.ledger import MARK, Account
from tests.integration.leaks import remains
from tests.integration.workers import KINDS, Books, Crew, Worker
from tests.servers import redis_client, running, wait_until

__all__ = ["ROW"]

AT_A_TIME, BATCH = 4, 10
LEASE = 3.0
"""Longer than a worker that lives is ever kept waiting for the processor."""
LONG = 60.0


class _Shift:
    """The workers of one server: four at a time, and those that were killed."""

    def __init__(self, crew: Crew, client: Any, rng: random.Random) -> None:
        self.books: Books = crew.books
        self.killed: list[Worker] = []
        self.were_held = 0
        self._crew, self._client, self._rng = crew, client, rng
        self.living = [self._hire() for _ in range(AT_A_TIME)]

    def _hire(self) -> Worker:
        kind, concurrency = self._rng.choice(KINDS), self._rng.choice([1, 1, 3])
        return self._crew.hire(kind, "count", batch=BATCH, concurrency=concurrency, lease=LEASE)

    def kill_one(self) -> None:
        """Kills a worker after it has handled some items, or while it waits for one, and hires another."""
        victim = self.living.pop(self._rng.randrange(AT_A_TIME))
        wait_until(lambda: self.books.handled(victim.label) or self.registered(victim), LONG)
        enough = self.books.handled(victim.label) + self._rng.randrange(150)
        wait_until(lambda: self.books.handled(victim.label) >= enough or not self._client.llen("orders"), LONG)
        victim.kill()
        self.killed.append(victim)
        self.were_held += sum(self._client.llen(key) for key in self._find(f"orders-processing-{victim.label}-*"))
        self.living.append(self._hire())

    def _find(self, pattern: str) -> list[bytes]:
        return list(self._client.scan_iter(pattern, count=1000))

    def registered(self, worker: Worker) -> set[bytes]:
        """Gives what the server knows of a worker: as a holder, or as one that waits."""
        names = self._client.hkeys("orders/consumers") + self._client.hkeys("orders-timeouts")
        keys = [key for key in self._find(f"orders[-/]*{worker.label}-*") if b"/session/" not in key]
        return {name for name in names if worker.label.encode() in name} | set(keys)

    def is_over(self, queue: Queue[Any]) -> bool:
        """Says whether all is handled, and what the dead held was given back."""
        stats = queue.stats()
        left = stats.waiting + stats.in_flight + stats.delayed
        return not left and not any(self.registered(victim) for victim in self.killed)

    def sessions(self) -> dict[bytes, int]:
        """Gives the sessions that are left, and for how many seconds they will be."""
        return {key: self._client.ttl(key) for key in self._find("orders/session/*")}


def _run(trial: Trial) -> None:
    servers = trial.binaries()
    # Side by side: most of the time goes in waiting until the dead are given up.
    with ThreadPoolExecutor(len(servers)) as threads:
        futures = [threads.submit(_kill_on, trial, which) for which in range(len(servers))]
    for future in futures:
        future.result().close(trial.ledger)


def _kill_on(trial: Trial, which: int) -> Account:
    """Does one server's share of the kills and the items; gives the account of what went in and came out."""
    binary = trial.binaries()[which]
    kills, many = (trial.share(amount, which) for amount in ("kills", "items"))
    items = [f"{MARK}{number}" for number in range(many)]
    folder = trial.folder / binary.name
    folder.mkdir()
    account = Account()
    with running(binary) as server, Crew(server.url, folder) as crew, redis_client(server.url) as client:
        shift = _Shift(crew, client, trial.rng(binary.name))
        with Queue("orders", server.url) as queue:
            for kill in range(kills):
                part = items[kill * len(items) // kills : (kill + 1) * len(items) // kills]
                trial.expect(queue.add_items(part) == len(part), "an add counted wrong")
                account.added(part)
                shift.kill_one()
                trial.count("faults")
                trial.count("kills")
            _await_the_end(trial, lambda: shift.is_over(queue))
            for worker in shift.living:
                worker.stop()
            trial.expect(queue.dead.count() == 0, "items became dead letters")
        _balance(trial, account, shift)
        _look_for_leftovers(trial, shift, client)
    for said in folder.iterdir():
        trial.read("the log of a worker", said.read_text())
    return account


def _await_the_end(trial: Trial, condition: Callable[[], bool]) -> None:
    # What is missing is counted afterwards, and tells more than that it did not end.
    try:
        wait_until(condition, LONG)
    except AssertionError:
        trial.blame("failed", 1, f"items or dead consumers were left after {LONG:g} s")


def _balance(trial: Trial, account: Account, shift: _Shift) -> None:
    """Compares what was handled with what was added; so much may be handled twice as the dead can have held."""
    seen = shift.books.seen()
    account.seen(list(seen))
    account.acked(list(seen))  # each once; what came twice is judged below
    twice = sum(times - 1 for times in seen.values())
    trial.count("duplicates", twice)
    most = len(shift.killed) * BATCH
    trial.blame("extra", max(0, twice - most), f"handled twice, beyond the {most} that the dead can have held")
    trial.count("held", shift.were_held)
    trial.expect(shift.were_held, "no victim held anything")


def _look_for_leftovers(trial: Trial, shift: _Shift, client: Any) -> None:
    for key in remains(client, "orders"):
        trial.blame("stranded", 1, f"left behind: a {client.type(key).decode()} whose name has {len(key)} bytes")
    sessions = shift.sessions()
    owners = {name.split(b"/")[2].partition(b"-")[0].decode() for name in sessions}
    trial.expect(sessions and owners <= {each.label for each in shift.killed}, "sessions of others than the dead")
    trial.expect(all(0 < left <= 120 for left in sessions.values()), "a session that does not expire in time")


ROW = Row(
    "kills",
    "consumers are killed (SIGKILL), four at work at a time",
    _run,
    full={"kills": 60, "items": 20_000},
    quick={"kills": 6, "items": 8_000},
)
