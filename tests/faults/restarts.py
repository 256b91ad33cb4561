"""Servers that are killed and started again under load, with an append-only file that is synced before each answer.

The load is used by other rows too: producers and consumers, threads and tasks, which ride out whatever happens to the
server by the library's own retries. What they are told must hold: what was accepted comes out, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import pyrq
import pyrq.aio
from pyrq import Fsync, Queue
from pyrq.errors import RqError
from tests.faults.campaign import Row, Trial
from tests.faults.ledger import MARK, Account, Ledger
from tests.integration.leaks import leaks
from tests.servers import Server, running, wait_until

__all__ = ["ALWAYS", "ROW", "Load", "Traffic"]

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")
SIZES = (1, 1, 2, 5, 10, 20, 40)
LONG = 100.0
RETRY = 30.0
"""A start takes 0.1 s; on a machine with other work, longer."""


@dataclass
class Traffic:
    """What goes through one queue.

    Attributes:
        name: the queue's.
        mixed: many items are equal, some are rejected and some delayed: so nothing can be said about the order. Else
            each is different, and each consumer must see those of each producer in their order.
        taken: whether there are consumers before the end.
        durability: what its producers wait for.
        account: what went in and came out.
        wrong: what was answered wrong, each time.
    """

    name: str
    mixed: bool = False
    taken: bool = True
    durability: Fsync | None = None
    account: Account = field(default_factory=Account)
    wrong: list[str] = field(default_factory=list)

    def expect(self, condition: bool, reason: str) -> None:
        if not condition:
            self.wrong.append(reason)

    def batches(self, rng: random.Random, who: str) -> Iterator[tuple[list[str], float]]:
        """Gives what a producer adds, without end, and the delay of each."""
        number = 0
        while True:
            size = 1200 if rng.random() < 0.003 else rng.choice(SIZES)
            delay = rng.choice((0.01, 0.1)) if self.mixed and rng.random() < 0.1 else 0
            if self.mixed:
                yield [f"{MARK}-{rng.randrange(20)}" for _ in range(size)], delay
            else:
                yield [f"{MARK}-{who}-{number + each}" for each in range(size)], delay
            number += size


class _Producer:
    """What a producer notes about each call."""

    def __init__(self, traffic: Traffic, rng: random.Random, who: str, trial: Trial) -> None:
        self.batches = traffic.batches(rng, who)
        self._traffic = traffic
        self._trial = trial

    def answered(self, items: list[str], told: int) -> None:
        self._traffic.expect(told == len(items), "an add counted wrong")
        self._traffic.account.added(items)

    def failed(self, items: list[str], error: RqError) -> None:
        """Notes an error. None is expected: the library's retries last longer than any restart."""
        self._traffic.account.perhaps_added(items)
        self._trial.caught(error)
        self._traffic.expect(False, f"a producer was given {type(error).__name__}")


class _Consumer:
    """What a consumer decides, and notes about each call."""

    def __init__(self, traffic: Traffic, rng: random.Random, trial: Trial) -> None:
        self.rng = rng
        self._traffic = traffic
        self._trial = trial
        self._last: dict[str, int] = {}

    def received(self, items: list[str]) -> bool:
        """Notes what came; says whether to acknowledge it, or to reject it."""
        self._traffic.account.seen(items)
        if self._traffic.mixed:
            return self.rng.random() > 0.1
        for item in items:
            producer, _, number = item.rpartition("-")
            self._traffic.expect(int(number) > self._last.get(producer, -1), "a consumer saw items out of order")
            self._last[producer] = int(number)
        return True

    def acked(self, items: list[str], told: int) -> None:
        self._traffic.expect(told == len(items), "an ack counted wrong, though nobody swept")
        self._traffic.account.acked(items)

    def rejected(self, items: list[str], told: int) -> None:
        self._traffic.expect(told == len(items), "a reject counted wrong, though nobody swept")

    def failed(self, items: list[str], error: RqError) -> None:
        """Notes an error."""
        self._traffic.account.perhaps_acked(items)
        self._trial.caught(error)
        self._traffic.expect(False, f"a consumer was given {type(error).__name__}")


class Load:
    """Producers and consumers on some queues of a server, for the time of a `with` block.

    Each queue has a thread and a task that add, and a thread and a task that take, unless it says otherwise.

    Attributes:
        lost: how many items of which queue, once the balance is drawn.
    """

    def __init__(self, trial: Trial, server: Server, traffics: list[Traffic], *who: object) -> None:
        """Prepares it.

        Args:
            trial: whose errors and randomness these are.
            server: may be killed and started while the block goes on.
            traffics: what goes through which queues.
            who: which load of the row this is, for the randomness.
        """
        self._trial, self._server, self._traffics, self._who = trial, server, traffics, who
        self._stop = threading.Event()
        self._added_all = threading.Event()
        self.lost: Counter[str] = Counter()

    def __enter__(self) -> Load:
        self._threads = ThreadPoolExecutor(2 * len(self._traffics) + 2)
        self._producers = [self._threads.submit(self._produce, traffic) for traffic in self._traffics]
        self._producers.append(self._threads.submit(_run_tasks, self._produce_aio, self._traffics))
        taken = [traffic for traffic in self._traffics if traffic.taken]
        self._consumers = [self._threads.submit(self._consume, traffic) for traffic in taken]
        self._consumers.append(self._threads.submit(_run_tasks, self._consume_aio, taken))
        return self

    def __exit__(self, _: object, error: object, *__: object) -> None:
        """Lets the producers end, and then the consumers, once they find nothing."""
        self._stop.set()
        if error:  # perhaps it is down, and all would retry for long
            with contextlib.suppress(Exception):
                self._server.kill()
                self._server.start()
        try:
            _join(self._producers)
        finally:
            self._added_all.set()
            try:
                _join(self._consumers)
            finally:
                self._threads.shutdown(wait=False)

    @property
    def accepted(self) -> int:
        """How many items were accepted so far."""
        return sum(traffic.account.accepted for traffic in self._traffics)

    def reach(self, many: int) -> None:
        """Waits until so many items were accepted."""

        def is_reached() -> bool:
            for future in [*self._producers, *self._consumers]:
                if future.done():
                    future.result()
            return self.accepted >= many

        wait_until(is_reached, LONG)

    def _rng(self, *who: object) -> random.Random:
        return self._trial.rng(*self._who, *who)

    def _producer(self, traffic: Traffic, world: str) -> _Producer:
        return _Producer(traffic, self._rng("producer", traffic.name, world), world, self._trial)

    def _consumer(self, traffic: Traffic, world: str) -> _Consumer:
        return _Consumer(traffic, self._rng("consumer", traffic.name, world), self._trial)

    # Threads

    def _produce(self, traffic: Traffic) -> None:
        producer = self._producer(traffic, "sync")
        with Queue(traffic.name, self._server.url, durability=traffic.durability, retry=RETRY) as queue:
            for items, delay in producer.batches:
                if self._stop.is_set():
                    return
                try:
                    producer.answered(items, queue.add_items(items, delay))
                except RqError as error:
                    producer.failed(items, error)

    def _consume(self, traffic: Traffic) -> None:
        consumer, items = self._consumer(traffic, "sync"), [""]
        with Queue(traffic.name, self._server.url, retry=RETRY) as queue:
            while items or not self._added_all.is_set():
                items = []
                try:
                    items = queue.get_items(consumer.rng.randint(1, 50), timeout=0.2)
                    if consumer.received(items):
                        consumer.acked(items, queue.ack_items(items))
                    else:
                        consumer.rejected(items, queue.reject_items(items))
                except RqError as error:
                    consumer.failed(items, error)

    # Tasks

    async def _produce_aio(self, traffic: Traffic) -> None:
        producer = self._producer(traffic, "aio")
        durability = traffic.durability
        async with pyrq.aio.Queue(traffic.name, self._server.url, durability=durability, retry=RETRY) as queue:
            for items, delay in producer.batches:
                if self._stop.is_set():
                    return
                try:
                    producer.answered(items, await queue.add_items(items, delay))
                except RqError as error:
                    producer.failed(items, error)

    async def _consume_aio(self, traffic: Traffic) -> None:
        consumer, items = self._consumer(traffic, "aio"), [""]
        async with pyrq.aio.Queue(traffic.name, self._server.url, retry=RETRY) as queue:
            while items or not self._added_all.is_set():
                items = []
                try:
                    items = await queue.get_items(consumer.rng.randint(1, 50), timeout=0.2)
                    if consumer.received(items):
                        consumer.acked(items, await queue.ack_items(items))
                    else:
                        consumer.rejected(items, await queue.reject_items(items))
                except RqError as error:
                    consumer.failed(items, error)

    # The end

    def balance(self) -> Ledger:
        """Takes out what is left, once the block is over; gives what was wrong, all queues together."""
        total = Ledger()
        for traffic in self._traffics:
            ledger = Ledger()
            ledger.blame("stranded", self._drain(traffic), "held by consumers that had been closed")
            traffic.account.close(ledger)
            for reason, many in Counter(traffic.wrong).items():
                ledger.blame("failed", many, f"queue {traffic.name}: {reason}")
            self.lost[traffic.name] = ledger.wrongs["lost"]
            total.add(ledger)
        with self._server.client() as client:
            left = set(leaks(client, *(traffic.name for traffic in self._traffics)))
            left |= {key for key in client.scan_iter(count=1000) if b"/session/" not in key}
        total.blame("stranded", len(left), "keys that were left")
        return total

    def _drain(self, traffic: Traffic) -> int:
        """Takes out all items; gives how many of them did not wait but were held."""
        with Queue(traffic.name, self._server.url) as queue, self._server.client() as client:
            held = queue.re_enqueue_all_items()

            def is_empty() -> bool:
                items = queue.get_items(1000)
                traffic.account.acked(items)
                queue.ack_items(items)
                stats = queue.stats()
                return not stats.waiting + stats.delayed + stats.in_flight

            def is_forgotten() -> bool:
                time.sleep(0.05)
                queue.re_enqueue_all_items()
                return not client.exists(f"{traffic.name}/consumers")

            wait_until(is_empty, LONG)
            # A move whose connection broke is reckoned with for some seconds more; then a sweep forgets who made it.
            wait_until(is_forgotten, LONG)
            return held


def _run_tasks(work: Callable[[Traffic], Awaitable[None]], traffics: list[Traffic]) -> None:
    async def run_all() -> None:
        await asyncio.gather(*map(work, traffics))

    asyncio.run(run_all())


def _join(futures: list[Future[None]]) -> None:
    """Waits until all have ended, but not for ever; then raises what any of them raised."""
    wait(futures, LONG)
    for future in futures:
        future.result(0)


def _run(trial: Trial) -> None:
    servers = range(len(trial.binaries()))
    with ThreadPoolExecutor(len(servers)) as threads:
        futures = [threads.submit(_restart_often, trial, which) for which in servers]
    for future in futures:
        trial.ledger.add(future.result())


def _restart_often(trial: Trial, which: int) -> Ledger:
    """Does one server's share of the restarts and the items; gives what was wrong."""
    binary = trial.binaries()[which]
    restarts, items = trial.share("restarts", which), trial.share("items", which)
    rng = trial.rng("plan", binary.name)
    # The file is rewritten every now and then, so some servers die while they do that.
    with running(binary, *ALWAYS, "--auto-aof-rewrite-min-size", "500kb") as server:
        load = Load(trial, server, [Traffic("orders"), Traffic("letters", mixed=True)], binary.name)
        with load:
            for restart in range(restarts):
                # Some follow at once, while clients have not yet come back.
                if rng.random() > 0.1:
                    load.reach((restart * items + rng.randrange(items)) // restarts)
                server.kill()
                server.start()
                trial.count("faults")
                trial.count("restarts")
            load.reach(items)
        return load.balance()


ROW = Row(
    "restarts",
    "a server with appendfsync always is killed (SIGKILL) and started again under load",
    _run,
    full={"restarts": 240, "items": 120_000},
    quick={"restarts": 16, "items": 6_000},
)
