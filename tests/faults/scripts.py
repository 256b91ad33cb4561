"""SCRIPT FLUSH and restarts under load: scripts vanish at any time, and nobody is to notice.

Both servers, with appendfsync always. Sync and aio producers and consumers work without a pause on two queues: on one
two consumers share the work, on the other a single one also rejects, so that it must see every producer's items one
after another without a gap. The calls are larger than a chunk now and then.
"""

from __future__ import annotations

import contextlib
import random
import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyrq
from pyrq.errors import RqError
from tests.faults.campaign import Row, Trial
from tests.faults.ledger import MARK, Account
from tests.integration.leaks import leaks
from tests.proxy import ALL
from tests.servers import Server, World, running, wait_until

__all__ = ["ROW"]

SHARED, SINGLE = "orders", "parcels"
PRODUCERS = (("sync", SHARED), ("aio", SHARED), ("sync", SINGLE), ("aio", SINGLE))
CONSUMERS = (("sync", SHARED), ("aio", SHARED), ("aio", SINGLE))
BACKLOG = 10_000
"""Producers rest while so many items are under way."""
SIZES = (1, 1, 7, 7, 40, 40, 300, 300, 2_300)
"""How large calls are: some are cut into chunks."""


class Order:
    """What one consumer saw of each producer."""

    def __init__(self, trial: Trial, *, alone: bool) -> None:
        """Starts with nothing.

        Args:
            trial: is told of what is out of order.
            alone: whether no other consumer takes from the queue, so that there may be no gap.
        """
        self._trial = trial
        self._alone = alone
        self._due: dict[str, int] = {}

    def took(self, items: Sequence[str]) -> None:
        """Looks at a batch."""
        for item in items:
            _, producer, text = item.split()
            number, due = int(text), self._due.get(producer, 0)
            fine = number == due if self._alone else number >= due
            self._trial.expect(fine, "a consumer saw items of one producer out of their order")
            self._due[producer] = number + 1

    def rejected(self, items: Sequence[str]) -> None:
        """Expects the items again."""
        for item in reversed(items):
            _, producer, number = item.split()
            self._due[producer] = int(number)


class Load:
    """Producers and consumers at work on one server."""

    def __init__(self, trial: Trial, server: Server, worlds: dict[str, World]) -> None:
        self._trial = trial
        self._server = server
        self._worlds = worlds
        self._lock = threading.Lock()
        self._under_way = 0
        self.accounts = {SHARED: Account(), SINGLE: Account()}
        self.enough = threading.Event()
        """Producers stop."""
        self.over = threading.Event()
        """Consumers stop as soon as nothing waits."""
        self.calls = 0
        self.misses = 0

    def rng(self, *who: str) -> random.Random:
        return self._trial.rng(self._server.binary.name, *who)

    def produce(self, world: str, name: str) -> None:
        """Adds until it is enough."""
        rng, number = self.rng("produce", world, name), 0
        queue = self._worlds[world].queue(name, self._server.url)
        while not self.enough.is_set():
            if self._under_way > BACKLOG:
                self.enough.wait(0.005)
                continue
            size = rng.choice(SIZES)
            items = [f"{MARK} {world} {each}" for each in range(number, number + size)]
            self._settled("add", items, queue.add_items(items))
            self.accounts[name].added(items)
            self._passed(size)
            number += size

    def consume(self, world: str, name: str) -> None:
        """Gets, acknowledges, and on the queue of a single consumer rejects, until nothing is left."""
        rng, order = self.rng("consume", world, name), Order(self._trial, alone=name == SINGLE)
        queue = self._worlds[world].queue(name, self._server.url)
        while not self.over.is_set() or queue.get_count():
            items = queue.get_items(rng.choice(SIZES))
            order.took(items)
            self.accounts[name].seen(items)
            if name == SINGLE and items and rng.random() < 0.2:
                cut = rng.randrange(len(items))
                items, back = items[:cut], items[cut:]
                self._settled("reject", back, queue.reject_items(back))
                order.rejected(back)
            self._settled("ack", items, queue.ack_items(items))
            self.accounts[name].acked(items)
            self._passed(-len(items))

    def _settled(self, call: str, items: Sequence[str], counted: int) -> None:
        self._trial.expect(counted == len(items), f"{call} of {len(items)} items counted {counted}")

    def _passed(self, came: int) -> None:
        with self._lock:
            self.calls += 1
            self._under_way += came


def run(trial: Trial) -> None:
    """Runs the row on each server."""
    binaries = trial.binaries()
    for which, binary in enumerate(binaries):
        with (
            running(binary, "--appendonly", "yes", "--appendfsync", "always") as server,
            _worlds() as worlds,
            ThreadPoolExecutor(len(PRODUCERS) + len(CONSUMERS)) as threads,
        ):
            load = Load(trial, server, worlds)
            producing = [threads.submit(load.produce, *who) for who in PRODUCERS]
            consuming = [threads.submit(load.consume, *who) for who in CONSUMERS]
            try:
                _disturb(trial, server, load, [*producing, *consuming], which)
            finally:
                load.enough.set()
                try:
                    _end(trial, "producer", producing)
                finally:
                    load.over.set()
                _end(trial, "consumer", consuming)
            _close(trial, server, load)


@contextlib.contextmanager
def _worlds() -> Iterator[dict[str, World]]:
    with contextlib.ExitStack() as opened:
        worlds = {name: World(name) for name in ("sync", "aio")}
        for world in worlds.values():
            opened.callback(world.close)
        yield worlds


def _disturb(trial: Trial, server: Server, load: Load, at_work: Sequence[Future[None]], which: int) -> None:
    """Takes the scripts away, in an order of the seed, each time after some more calls have come through."""
    rng = load.rng("faults")
    plan = ["flush"] * trial.share("flushes", which) + ["restart"] * trial.share("restarts", which)
    rng.shuffle(plan)
    with server.client() as client:
        for fault in plan:
            _await_calls(load, rng.randrange(1, 12), at_work)
            if fault == "flush":
                client.script_flush(rng.choice(("SYNC", "ASYNC")))
                # Some are there again, so that a pipeline may find one of its scripts and not the other.
                for script in rng.sample(ALL, rng.choice((0, 0, 5, 20))):
                    client.script_load(script.source)
            else:
                _count_misses(load, client)
                server.kill()
                server.start()
            trial.count("faults")
            trial.count(fault)
        _count_misses(load, client)


def _await_calls(load: Load, many: int, at_work: Sequence[Future[None]]) -> None:
    """Waits for some more calls to come through, or for somebody to fail."""
    until = load.calls + many
    wait_until(lambda: load.calls >= until or any(future.done() for future in at_work), 60)


def _count_misses(load: Load, client: Any) -> None:
    """Counts how often the server had to say NOSCRIPT since it started."""
    stats = client.info("errorstats").get("errorstat_NOSCRIPT", {"count": 0})
    load.misses += int(re.sub(r"\D", "", str(stats["count"])) or 0)


def _end(trial: Trial, who: str, futures: Sequence[Future[None]]) -> None:
    """Waits for some to end, and notes what reached them: nothing may."""
    for future in futures:
        error = future.exception(120)
        if error is None:
            continue
        if isinstance(error, RqError):
            trial.caught(error)
        trial.blame("failed", 1, f"a {who} was given {type(error).__name__}")


def _close(trial: Trial, server: Server, load: Load) -> None:
    """Takes out what is left, which is something only if somebody failed, and draws the balance."""
    with server.client() as client:
        for name, account in load.accounts.items():
            with pyrq.Queue(name, server.url) as queue:
                left = queue.re_enqueue_all_items() + queue.get_count()
                trial.expect(not left, f"{left} items were left after all consumers had ended")
                while items := queue.get_items(1000):
                    queue.ack_items(items)
                    account.acked(items)
            account.close(trial.ledger)
        trial.blame("stranded", len(leaks(client, *load.accounts)), "keys that ought not to be there")
    trial.count("calls", load.calls)
    trial.count("NOSCRIPT", load.misses)
    trial.expect(load.misses, f"{server.binary.name} never missed a script, so the row has shown nothing there")


ROW = Row(
    "scripts",
    "SCRIPT FLUSH and restarts under load",
    run,
    full={"flushes": 280, "restarts": 20},
    quick={"flushes": 40, "restarts": 2},
)
