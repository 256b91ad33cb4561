"""What an arena is: servers, and rounds of load and faults on them; at the end of each its account is balanced."""

from __future__ import annotations

import abc
import contextlib
import random
import re
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pyrq import Queue
from tests.faults.campaign import Row, Trial
from tests.faults.ledger import MARK, Account
from tests.servers import Binary, Server, redis_client, wait_until
from tests.soak.plan import Plan
from tests.soak.vitals import Vitals, bytes_in, forget_sessions, stranded

__all__ = ["Arena", "AtLeastOnce", "Site", "drain", "options_for", "wait_slowly"]

_DISK_LIMIT = 256 << 20
_BATCH = 500
_PATIENCE = 30.0
_EVERY = 0.05


class AtLeastOnce(Account):
    """Counts items of which no two are equal, and which may come out again.

    Attributes:
        again: how many came out that had come out before.
    """

    def __init__(self) -> None:
        super().__init__()
        self.again = 0
        self._handled: set[str] = set()
        self._handling = threading.Lock()

    def acked(self, items: Iterable[str]) -> None:
        """Notes what came out, once."""
        with self._handling:
            for item in items:
                if item in self._handled:
                    self.again += 1
                else:
                    self._handled.add(item)
                    super().acked([item])


@dataclass
class Site:
    """The servers of one program in an arena.

    Attributes:
        binary: the program.
        servers: the servers; the first is the one that is spoken to.
        vitals: how each was in the beginning.
    """

    binary: Binary
    servers: list[Server]
    vitals: list[Vitals] = field(default_factory=list)


class Arena(abc.ABC):
    """Goes on in a thread of its own, round after round, on one server's program after the other.

    Attributes:
        name: how it is called.
        per_hour: how much of what it does in an hour.
        kind_of_account: what a round is accounted for in.
        trial: what it did and what was wrong.
        account: of the round that goes on.
        resting: set while consumers take nothing, so that there is something to be lost.
        stopped: set to end it early.
    """

    name: ClassVar[str]
    per_hour: ClassVar[Mapping[str, int]]
    kind_of_account: ClassVar[type[Account]] = Account

    def __init__(self, seconds: float, seed: int, folder: Path, stopped: threading.Event) -> None:
        self.folder = folder / self.name
        self.folder.mkdir()
        self.trial = Trial(Row(f"soak {self.name}", "", lambda _: None, {}, None), {}, seed, self.folder)
        self.account = self.kind_of_account()
        self.resting = threading.Event()
        self.stopped = stopped
        self.plan = Plan(seconds, self.per_hour)
        self._lock = threading.Lock()
        self._accepted = self._enough = 0
        self._round_ends = 0.0

    # What an arena is

    @abc.abstractmethod
    def open(self, binary: Binary, opened: contextlib.ExitStack) -> Site:
        """Starts the servers of one program, to be stopped by what is put on the stack."""

    @abc.abstractmethod
    def play(self, site: Site, name: str, rng: random.Random) -> None:
        """Plays a round on a queue of this name, to its end: nothing is left in the queue, nobody is there."""

    # What is done

    def done(self) -> dict[str, int]:
        """Gives how much of what is done, the items of this round among them."""
        return dict(self.trial.ledger.figures) | {"items": self._accepted}

    def added(self, items: list[str]) -> None:
        """Notes an add that was answered."""
        self.account.added(items)
        with self._lock:
            self._accepted += len(items)

    def behind(self, figure: str) -> int:
        """Says how much of something must be done now."""
        return 0 if self.stopped.is_set() else self.plan.behind(self.done(), figure)

    def wants_items(self) -> bool:
        """Says whether more items are to be added now."""
        return self.behind("items") > 0 or (self._accepted < self._enough and not self.stopped.is_set())

    def pile_up(self, many: int, enough: int) -> None:
        """Has items added that consumers do not take, ahead of the plan.

        Args:
            many: how many, in the end.
            enough: after how many to come back.
        """
        self.resting.set()
        before = self._accepted
        self._enough = before + many
        wait_until(lambda: self._accepted >= before + enough or self.stopped.is_set(), _PATIENCE)

    def take_up(self) -> None:
        """Has consumers take items again."""
        self._enough = 0
        self.resting.clear()

    def goes_on(self) -> bool:
        """Says whether this round goes on."""
        if self.stopped.is_set() or self.plan.is_over(self.done()):
            return False
        return time.monotonic() < self._round_ends or self.plan.elapsed >= self.plan.seconds

    # The run

    def run(self) -> None:
        """Does all that is to be done, and looks at what is left."""
        # What it starts inherits this: a Ctrl-C on a terminal ends the soak, which then ends its servers and workers.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            with contextlib.ExitStack() as opened:
                sites = [self.open(binary, opened) for binary in self.trial.binaries()]
                for site in sites:
                    site.vitals = [Vitals.of(server) for server in site.servers]
                self._play_all(sites)
                for site in sites:
                    self._check_growth(site)
        except Exception:  # noqa: BLE001 - the other arenas go on, and the ledger says it
            self.trial.blame("failed", 1, f"{self.name} ended by an exception\n{traceback.format_exc()}")

    def _play_all(self, sites: list[Site]) -> None:
        number = 0
        while not self.stopped.is_set() and not self.plan.is_over(self.done()):
            site = sites[number % len(sites)]
            self._round_ends = time.monotonic() + self.plan.round_seconds
            self.play(site, f"{self.name}{number}", self.trial.rng("round", number))
            self._balance(site)
            number += 1
        if not self.stopped.is_set():
            missing = self.plan.missing(self.done())
            self.trial.expect(not missing, f"{self.name} did not get so far in time; missing: {missing}")

    def _balance(self, site: Site) -> None:
        if isinstance(self.account, AtLeastOnce):
            self.trial.count("again", self.account.again)
        self.account.close(self.trial.ledger)
        self.account = self.kind_of_account()
        server = site.servers[0]
        with redis_client(server.url) as client:
            left = stranded(client)
        self.trial.blame("stranded", len(left), f"{self.name}: left behind, with what time to live: {left}")
        for one in site.servers:
            on_disk = bytes_in(Path(one.path).parent)
            self.trial.expect(on_disk <= _DISK_LIMIT, f"{self.name}: {on_disk} bytes of files")

    def _check_growth(self, site: Site) -> None:
        with redis_client(site.servers[0].url) as client:
            forget_sessions(client)
        for server, then in zip(site.servers, site.vitals, strict=True):
            for grown in Vitals.of(server).growth(then):
                self.trial.expect(False, f"{self.name}: {server.binary.name}: {grown}")

    # For rounds

    def limit_repeats(self, most: int, who: str) -> None:
        """Judges what was handled again in this round.

        Args:
            most: how much may have been.
            who: by whom.
        """
        assert isinstance(self.account, AtLeastOnce)
        beyond = max(0, self.account.again - most)
        self.trial.blame("extra", beyond, f"{self.name}: handled again, beyond the {most} that {who}")

    def items(self, rng: random.Random, many: int, prefix: str, copies: float) -> list[str]:
        """Makes items.

        Args:
            rng: chooses.
            many: how many.
            prefix: what those begin with of which no two are equal.
            copies: which part of them is equal to others.
        """
        return [
            f"{MARK} copy {rng.randrange(20)}" if rng.random() < copies else f"{MARK} {prefix} {number}"
            for number in range(many)
        ]


def options_for(binary: Binary) -> tuple[str, ...]:
    """Gives options with which a server's memory holds data only: no histogram of the latency of each command."""
    version = tuple(map(int, re.findall(r"\d+", binary.name)[:2]))
    return ("--latency-tracking", "no") if version >= (7, 0) else ()


def drain(trial: Trial, account: Account, name: str, server: Server) -> None:
    """Takes out all that is left in a queue of which nobody takes any more, and notes it.

    Args:
        trial: is told of what is wrong.
        account: of the queue.
        name: the queue's.
        server: where it is.
    """
    with Queue(name, server.url) as queue, redis_client(server.url) as client:

        def is_empty() -> bool:
            _take_all(trial, account, queue)
            stats = queue.stats()
            # A blocking move that was lost may bring an item until its time is up; a sweep after that forgets it.
            left = stats.waiting + stats.in_flight + stats.delayed + stats.dead
            return not left and not client.exists(f"{name}/consumers")

        with contextlib.suppress(AssertionError):  # what is left is counted
            wait_slowly(is_empty, _PATIENCE)


def wait_slowly(condition: Callable[[], object], timeout: float) -> None:
    """Does as `wait_until`, for conditions that take a server some work: it does not ask as often."""

    def holds() -> bool:
        time.sleep(_EVERY)
        return bool(condition())

    wait_until(holds, timeout)


def _take_all(trial: Trial, account: Account, queue: Queue[str]) -> None:
    while queue.re_enqueue_all_items():
        pass
    queue.dead.redrive()
    while items := queue.get_items(_BATCH, timeout=0.1):
        account.seen(items)
        trial.expect(queue.ack_items(items) == len(items), "an ack counts what this consumer holds")
        account.acked(items)
