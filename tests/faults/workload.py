"""What is at work while a storm is: callers and consumers of several queues and a pool, in threads and in tasks."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyrq
import pyrq.aio
from pyrq import Backoff, Bury, Drop, Retry, Totals
from tests.faults.callers import Caller, PoolCaller, UniqueCaller
from tests.faults.campaign import Trial
from tests.faults.storm import KINDS, Storm
from tests.faults.traffic import Books, Traffic, finish, open_object
from tests.integration.leaks import leaks
from tests.servers import Server, leftovers, wait_until

__all__ = ["HASTY", "HANDLED", "POOL", "STRICT", "SWEPT", "UNIQUE", "WAITING", "Crew", "Load"]

_BOUND = 300.0
_PART = 3
"""Each queue is to have at least a third of its share of the items."""
_BACKOFF = Backoff(first=0.01, most=0.1)
_BASIC = {
    "add": 8,
    "put_off": 1,
    "get": 8,
    "ack": 8,
    "reject": 3,
    "ack_and_get": 3,
    "use_batch": 3,
    "ack_other": 3,
    "look": 1,
}

STRICT = Traffic("orders", "Queue", {**_BASIC, "delete": 2, "release": 1, "reopen": 1})
"""Every call is answered, so the balance is exact; and nothing is held by anybody who has left."""
WAITING = Traffic("letters", "Queue", {**_BASIC, "release": 1, "reopen": 1}, waits=(None, 0.05, 0.3), backlog=30)
"""Gets wait, with a blocking move whose request and reply get lost, too."""
SWEPT = Traffic(
    "parcels", "Queue", {"add": 8, "get": 8, "ack": 10, "reject": 3, "sweep": 2, "release": 1}, is_swept=True
)
"""Items are given back from those that work on them."""
HASTY = Traffic(
    "notes",
    "Queue",
    {**_BASIC, "release": 1, "reopen": 1},
    retries=(0.02, 0.1, 0.3),
    waits=(None, 0.05),
    cancels=0.2,
    singles=0.5,
    backlog=60,
)
"""Calls are given up soon, or cancelled."""
UNIQUE = Traffic("names", "UniqueQueue", {"add": 2, "add_one": 8, "get": 6, "ack": 6, "reject": 2, "ack_and_get": 2})
POOL = Traffic("sites", "Pool", {"add": 4, "get": 6, "ack": 2, "remove": 6, "add_again": 1, "delete": 1})
HANDLED = Traffic("tasks", "Queue", {"add": 4, "put_off": 1, "look": 1}, has_consumers=True)
"""Its items are taken by consumers."""

_CALLERS: Mapping[str, type[Caller]] = {"Queue": Caller, "UniqueQueue": UniqueCaller, "Pool": PoolCaller}


@dataclass(frozen=True)
class Crew:
    """Who works on a queue.

    Attributes:
        traffic: what they do.
        threads: how many threads share an object.
        own_threads: how many have one of their own.
        tasks: how many tasks share an object.
        own_tasks: how many have one of their own.
        consumers: how many consumers there are, half of them in asyncio.
    """

    traffic: Traffic
    threads: int = 0
    own_threads: int = 0
    tasks: int = 0
    own_tasks: int = 0
    consumers: int = 0


class Load:
    """All who are at work before one storm, and what they have done."""

    def __init__(
        self,
        trial: Trial,
        who: str,
        storm: Storm,
        crews: Sequence[Crew],
        target: Callable[[random.Random, bool], Any],
        leave: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Makes it; nobody works yet.

        Args:
            trial: is told of what is wrong.
            who: tells its randomness from that of others.
            storm: what is between them and the server.
            crews: who works.
            target: gives what an object is made with, a URL or a client, by luck, and by whether it is one of asyncio.
            leave: what is to be done in the event loop of the tasks before it is closed.
        """
        self.books = [Books(trial, crew.traffic) for crew in crews]
        self._trial = trial
        self._who = who
        self._storm = storm
        self._crews = crews
        self._target = target
        self._leave = leave
        self._ended = threading.Event()

    def run(self, faults: int, items: int) -> None:
        """Lets all work until so many faults have hit and so many items were accepted, or anybody fails.

        Besides, everything that is to happen must have happened, and each queue must have had a part of its share.
        """
        least = items // len(self.books) // _PART + 1

        def is_over() -> bool:
            accepted = sum(books.account.accepted for books in self.books)
            is_enough = self._storm.hits >= faults and accepted >= items
            return self._ended.is_set() or (is_enough and not self._lacks(least))

        work = [self._run_tasks, *(each for place in range(len(self._crews)) for each in self._work_of_threads(place))]
        threads = [threading.Thread(target=self._watch, args=[each], daemon=True) for each in work]
        for thread in threads:
            thread.start()
        with contextlib.suppress(AssertionError):
            wait_until(is_over, _BOUND)
        lacks = self._lacks(least)
        self._ended.set()
        for thread in threads:
            thread.join(_BOUND)
        self._trial.expect(not any(thread.is_alive() for thread in threads), "a call never came back")
        self._trial.expect(not lacks, f"{self._who}: so much is missing: {', '.join(lacks)}")

    def _lacks(self, least: int) -> list[str]:
        """Gives what has not happened yet."""
        idle = [f"items of {each.traffic.name}" for each in self.books if each.account.accepted < least]
        kinds = [kind for kind in KINDS if not self._storm.faults[kind]]
        tasks = any(crew.traffic.cancels and crew.tasks + crew.own_tasks for crew in self._crews)
        cancels = ["cancellations"] if tasks and not any(each.cancelled for each in self.books) else []
        sweeps = [f"sweeps of {each.traffic.name}" for each in self.books if each.traffic.is_swept and not each.swept]
        return [*idle, *kinds, *cancels, *sweeps]

    def _goes_on(self) -> bool:
        return not self._ended.is_set()

    def _watch(self, work: Callable[[], None]) -> None:
        """Does somebody's work. What nobody expects ends all of it."""
        try:
            work()
        except BaseException:  # noqa: BLE001 - whatever it is, it is told
            self._ended.set()
            self._trial.blame(
                "failed", 1, f"{self._who}: somebody was given\n{traceback.format_exc(limit=-4, chain=False)}"
            )

    # Threads

    def _work_of_threads(self, place: int) -> list[Callable[[], None]]:
        crew, books = self._crews[place], self.books[place]
        shared = self._open(books, self._rng(books, "sync"), is_aio=False) if crew.threads else None
        work: list[Callable[[], None]] = []
        if crew.threads:
            work.append(lambda: self._share(books, shared, crew.threads))
        own = [self._caller(books, f"own{number}", None, is_aio=False) for number in range(crew.own_threads)]
        consumers = [self._consumer(books, f"consumer{number}") for number in range(crew.consumers // 2)]
        return [*work, *map(self._drive, own), *consumers]

    def _drive(self, caller: Caller) -> Callable[[], None]:
        return lambda: finish(caller.work(self._goes_on))

    def _share(self, books: Books, shared: Any, many: int) -> None:
        """Lets threads share an object, and closes it once all have left it."""
        callers = [self._caller(books, f"thread{number}", shared, is_aio=False) for number in range(many)]
        threads = [threading.Thread(target=self._watch, args=[self._drive(caller)], daemon=True) for caller in callers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        finish(callers[0].close())

    def _consumer(self, books: Books, who: str) -> Callable[[], None]:
        def consume() -> None:
            rng = self._rng(books, who)
            handler = _Handler(books, rng)
            with pyrq.Queue(books.traffic.name, self._target(rng, False)) as queue:
                totals = queue.consume(handler.handle, batch=8, backoff=_BACKOFF, stop=self._ended)
            handler.compare(totals)

        return consume

    # Tasks

    def _run_tasks(self) -> None:
        async def run_all() -> None:
            await asyncio.gather(*(each for place in range(len(self._crews)) for each in self._work_of_tasks(place)))
            if self._leave:
                await self._leave()

        asyncio.run(run_all())

    def _work_of_tasks(self, place: int) -> list[Coroutine[Any, Any, None]]:
        crew, books = self._crews[place], self.books[place]
        work: list[Coroutine[Any, Any, None]] = []
        if crew.tasks:
            work.append(self._share_aio(books, crew.tasks))
        own = [self._caller(books, f"own-task{number}", None, is_aio=True) for number in range(crew.own_tasks)]
        more = crew.consumers - crew.consumers // 2
        consumers = [self._consume_aio(books, f"consumer-task{number}") for number in range(more)]
        return [*work, *(caller.work(self._goes_on) for caller in own), *consumers]

    async def _share_aio(self, books: Books, many: int) -> None:
        shared = self._open(books, self._rng(books, "aio"), is_aio=True)
        callers = [self._caller(books, f"task{number}", shared, is_aio=True) for number in range(many)]
        await asyncio.gather(*(caller.work(self._goes_on) for caller in callers))
        await callers[0].close()

    async def _consume_aio(self, books: Books, who: str) -> None:
        rng, stop = self._rng(books, who), asyncio.Event()
        handler = _Handler(books, rng)

        async def watch() -> None:
            while self._goes_on():
                await asyncio.sleep(0.05)
            stop.set()

        async def handle(item: str) -> None:
            handler.handle(item)

        watching = asyncio.ensure_future(watch())
        async with pyrq.aio.Queue(books.traffic.name, self._target(rng, True)) as queue:
            totals = await queue.consume(handle, batch=8, concurrency=4, backoff=_BACKOFF, stop=stop)
        await watching
        handler.compare(totals)

    # Objects

    def _rng(self, books: Books, who: str) -> random.Random:
        return self._trial.rng(self._who, books.traffic.name, who)

    def _open(self, books: Books, rng: random.Random, *, is_aio: bool) -> Any:
        traffic = books.traffic
        target = self._target(rng, is_aio)
        # Half of them as they come: a sync one does not gather then, one of asyncio does.
        options = {"retry": rng.choice(traffic.retries), "gather": rng.choice((None, not is_aio))}
        return open_object(traffic.kind, traffic.name, target, options, is_aio=is_aio)

    def _caller(self, books: Books, who: str, shared: Any, *, is_aio: bool) -> Caller:
        rng = self._rng(books, who)

        def make() -> Any:
            return self._open(books, rng, is_aio=is_aio)

        return _CALLERS[books.traffic.kind](books, who, rng, make, shared, is_aio=is_aio)

    # The end

    def balance(self, server: Server) -> None:
        """Takes out all that is left, in calm, and draws the balance."""
        self._storm.rate = 0.0
        self._storm.settle()
        with server.client() as client:
            for books in self.books:
                if books.traffic.kind == "Pool":
                    _drain_pool(books, server.url)
                else:
                    _drain(books, server.url)
                books.account.close(self._trial.ledger)
            left = self._left(client, server.url)
        self._trial.blame("stranded", len(left), f"keys that were left: {sorted(left)[:5]}")
        self._trial.count("faults", self._storm.hits)
        for kind in sorted(self._storm.faults):
            self._trial.count(kind, self._storm.faults[kind])

    def _left(self, client: Any, url: str) -> set[bytes]:
        """Gives the keys that are left although nobody is there.

        A move without an answer may bring something for some seconds yet, and so long it is not forgotten who made it.
        Where there is time, that is waited for; else such notes may stay as long as they hold.
        """
        queues = [books.traffic for books in self.books if books.traffic.kind != "Pool"]
        names = [books.traffic.name for books in self.books]

        def find() -> set[bytes]:
            return set(leaks(client, *names)) | leftovers(client)

        def is_forgotten() -> bool:
            for each in queues:
                with getattr(pyrq, each.kind)(each.name, url) as queue:
                    queue.re_enqueue_all_items()
            time.sleep(0.2)
            return not find()

        if self._trial["patience"]:
            with contextlib.suppress(AssertionError):
                wait_until(is_forgotten, self._trial["patience"])
            return find()
        return find() - {key for each in queues for key in _notes_of_moves(client, each.name)}


class _Handler:
    """Handles the items of a consumer, and knows which were done with."""

    def __init__(self, books: Books, rng: random.Random) -> None:
        self._books = books
        self._rng = rng
        self._done = 0

    def handle(self, item: str) -> None:
        """Handles an item, or makes its consumer put it off, bury it, or drop it."""
        self._books.account.seen([item])
        luck = self._rng.random()
        if luck < 0.04:
            raise Retry(after=0.01)
        if luck < 0.08:
            raise ArithmeticError
        if luck < 0.1:
            raise Bury("no good")
        self._books.acked([item])
        self._done += 1
        if luck < 0.12:
            raise Drop

    def compare(self, totals: Totals) -> None:
        """Compares what was handled with what the consumer tells."""
        trial, told = self._books.trial, totals.acked + totals.dropped
        trial.expect(not totals.lost, f"a consumer lost {totals.lost} items to others")
        trial.expect(told == self._done, f"a consumer counted {told} items that were done with, of {self._done}")


def _drain(books: Books, url: str) -> None:
    """Takes out what is left of a queue. Where every call was answered, nobody who has left holds anything."""
    traffic = books.traffic
    with getattr(pyrq, traffic.kind)(traffic.name, url) as queue:
        back = queue.re_enqueue_all_items()
        books.trial.blame("stranded", back if traffic.is_tidy else 0, f"{traffic.name}: held by those who had left")
        books.trial.count("given_back", back)

        def is_empty() -> bool:
            queue.re_enqueue_all_items()
            queue.dead.redrive()
            items = queue.get_items(1000)
            books.account.seen(items)
            books.acked(items[: queue.ack_items(items)])
            stats = queue.stats()
            return not stats.waiting + stats.delayed + stats.in_flight + stats.dead

        wait_until(is_empty, _BOUND)


def _notes_of_moves(client: Any, name: str) -> set[bytes]:
    """Gives the keys that only say until when moves of consumers may bring something, if all of it is to come.

    When the last sweep was is known as long as any such note is there.
    """
    now, notes = client.time()[0], client.hgetall(f"{name}/consumers")
    if not notes or any(not field.endswith(b"/landing") or float(until) <= now for field, until in notes.items()):
        return set()
    fine = {f"{name}/consumers".encode()}
    return fine | ({f"{name}/meta".encode()} if client.hkeys(f"{name}/meta") == [b"swept"] else set())


def _drain_pool(books: Books, url: str) -> None:
    """Takes out what is left of a pool, once it is due."""
    with pyrq.Pool(books.traffic.name, url) as pool:

        def is_empty() -> bool:
            items = pool.get_all_items()
            books.account.seen(items)
            books.acked(items[: pool.remove_items(items)])
            return not pool.get_count()

        wait_until(is_empty, _BOUND)
