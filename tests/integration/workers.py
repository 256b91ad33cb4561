"""Consumers in processes of their own: how a test starts, signals, stops and kills them, and what they do there.

`python -m tests.integration.workers '{…}'` is such a process. It notes what its handler does in the books, which are
keys of database 1 of the same server: what is noted there has happened, whatever becomes of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import redis

__all__ = ["KINDS", "Books", "Crew", "Worker"]

KINDS = ("sync", "aio", "thread")
"""Consumers of the sync world, of the aio world, and of that with plain functions for handlers."""
NAP = 0.003


class Books:
    """What workers noted, and a gate that handlers wait for."""

    def __init__(self, url: str) -> None:
        self.client: Any = redis.Redis.from_url(f"{url}?db=1", socket_timeout=10, decode_responses=True)

    def note(self, book: str, item: str) -> None:
        self.client.rpush(book, item)

    def notes(self, book: str) -> list[str]:
        found: list[str] = self.client.lrange(book, 0, -1)
        return found

    @property
    def begun(self) -> list[str]:
        """The items whose handlers began, in that order."""
        return self.notes("begun")

    @property
    def done(self) -> list[str]:
        """The items whose handlers ended well."""
        return self.notes("done")

    def count(self, label: str, item: str) -> None:
        """Counts that a worker handled an item, once more."""
        with self.client.pipeline() as pipeline:
            pipeline.hincrby("seen", item).hincrby("handled", label).execute()

    def seen(self) -> dict[str, int]:
        """Gives how often each item was handled."""
        return {item: int(times) for item, times in self.client.hgetall("seen").items()}

    def handled(self, label: str) -> int:
        """Gives how many items a worker handled."""
        return int(self.client.hget("handled", label) or 0)

    def now(self) -> float:
        """Gives the server's time."""
        seconds, micros = self.client.time()
        return float(seconds + micros / 1e6)

    def open_gate(self) -> None:
        self.client.set("open", 1)

    def is_open(self) -> bool:
        return bool(self.client.exists("open"))


# The side of the test


class Worker:
    """A consumer's process."""

    def __init__(self, label: str, said: Path, options: dict[str, Any]) -> None:
        self.label = label
        self._said = said
        command = [sys.executable, "-m", "tests.integration.workers", json.dumps({"label": label, **options})]
        with said.open("wb") as out:
            self._process = subprocess.Popen(
                command, cwd=Path(__file__).parents[2], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def said(self) -> str:
        """Gives what it logged and printed."""
        return self._said.read_text()

    def has_said(self, text: str) -> bool:
        ended = self._process.poll() is not None
        found = text in self.said()
        assert found or not ended, f"it ended and did not say {text!r}, but:\n{self.said()}"
        return found

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> dict[str, int]:
        """Waits for its end, which must be a good one; gives what it says it has done."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        assert self._process.returncode == 0, f"it ended with {self._process.returncode}, and said:\n{self.said()}"
        totals: dict[str, int] = json.loads(self.said().splitlines()[-1])
        return totals

    def stop(self) -> dict[str, int]:
        """Stops it as an operator does, and gives what it says it has done."""
        self.send(signal.SIGTERM)
        return self.end()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)


class Crew:
    """All workers of a test, and their books; none outlives it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.books = Books(url)
        self._url = url
        self._folder = folder
        self._hired: list[Worker] = []

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._hired:
            worker.kill()
        self.books.client.close()

    def hire(self, kind: str, role: str, **options: Any) -> Worker:
        """Starts a worker of a kind (`KINDS`) whose handler is a method of `Handlers`; see `Orders` for the rest."""
        label = f"w{len(self._hired):03}"
        told = {"kind": kind, "role": role, "url": self._url, **options}
        self._hired.append(Worker(label, self._folder / label, told))
        return self._hired[-1]


# The side of the worker


@dataclass(frozen=True)
class Orders:
    """What a worker is told.

    Attributes:
        kind: one of `KINDS`.
        role: which handler; "pair" for two consumers in one event loop.
        url: the server's.
        label: what its client id begins with.
        shift: by how many seconds its clock goes wrong.
        slice: for how many seconds it blocks at a time, instead of the library's 5.
        wait: the wait after each failed delivery, without jitter.
        loop_signals: for a pair: whether its host takes signals by its event loop.
    """

    kind: str
    role: str
    url: str
    label: str
    name: str = "orders"
    batch: int = 1
    prefetch: int = 0
    concurrency: int = 1
    lease: float = 30.0
    grace: float = 30.0
    max_deliveries: int | None = None
    shift: float = 0.0
    slice: float | None = None
    wait: float = 0.05
    loop_signals: bool = False

    def options(self) -> dict[str, Any]:
        """Gives the options of `consume`."""
        from pyrq import Backoff

        names = ("batch", "concurrency", "lease", "grace", "max_deliveries", "prefetch")
        return {name: getattr(self, name) for name in names} | {"backoff": Backoff(self.wait, self.wait, jitter=0)}


class Handlers:
    """Handlers, as coroutine functions; where a plain function is wanted, their naps block the thread."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._books = Books(orders.url)
        self.over = False

    def chosen(self) -> Callable[[str], Any]:
        """Gives the handler of the worker's role, as its kind wants it."""
        handler: Callable[[str], Coroutine[Any, Any, None]] = getattr(self, self._orders.role)
        return handler if self._orders.kind == "aio" else partial(_drive, handler)

    async def _nap(self) -> None:
        if self._orders.kind == "aio":
            await asyncio.sleep(NAP)
        else:
            time.sleep(NAP)

    def _begin(self, item: str) -> None:
        now = self._books.now()
        self._books.note("begun at", repr(now))
        self._books.note("clock", repr(time.time() - now))
        self._books.note("begun", item)

    async def count(self, item: str) -> None:
        """Counts it."""
        self._books.count(self._orders.label, item)

    async def deadly(self, item: str) -> None:
        """Counts it, but one kills its process."""
        if item == "poison":
            self._begin(item)
            os.kill(os.getpid(), signal.SIGKILL)
        self._books.count(self._orders.label, item)

    async def gate(self, item: str) -> None:
        """Waits for the gate."""
        self._begin(item)
        while not self._books.is_open():
            await self._nap()
        self._books.note("done", item)

    async def watch(self, item: str) -> None:
        """Goes on until its lease is lost."""
        from pyrq import current_lease

        self._begin(item)
        lease = current_lease()
        try:
            while not lease.lost:
                await self._nap()
        except asyncio.CancelledError:
            self._books.note("cancelled", item)
            raise
        finally:
            self._books.note("lost" if lease.lost else "not lost", item)

    async def fail(self, item: str) -> None:
        """Fails."""
        self._begin(item)
        raise ValueError(f"no good: {len(item)}")

    async def stubborn(self, item: str) -> None:
        """Goes on whatever happens, while its consumer runs; for ever in a thread."""
        self._begin(item)
        while not self.over or self._orders.kind != "aio":
            with contextlib.suppress(BaseException):
                await self._nap()


def _drive(handler: Callable[[str], Coroutine[Any, Any, None]], item: str) -> None:
    """Runs a coroutine to its end that blocks instead of waiting."""
    with contextlib.suppress(StopIteration):
        handler(item).send(None)
        raise AssertionError("it waits for something")


def _target(orders: Orders, client: Any) -> Any:
    """Gives where the queue is: a client without a time-out, where long slices are wanted."""
    return orders.url if orders.slice is None else client.from_url(orders.url, socket_timeout=None)


def _work_in_threads(orders: Orders, handlers: Handlers) -> dict[str, int]:
    from pyrq import Queue

    stop = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: stop.set())
    with Queue(orders.name, _target(orders, redis.Redis), client_id=orders.label) as queue:
        return asdict(queue.consume(handlers.chosen(), stop=stop, **orders.options()))


async def _work_in_tasks(orders: Orders, handlers: Handlers) -> dict[str, int]:
    from redis import asyncio as redis_asyncio

    from pyrq.aio import Queue

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, stop.set)
    target = _target(orders, redis_asyncio.Redis)
    async with Queue(orders.name, target, client_id=orders.label) as queue:
        totals = await queue.consume(handlers.chosen(), stop=stop, **orders.options())
    if orders.slice is not None:
        await target.aclose()
    handlers.over = True
    return asdict(totals)


async def _work_as_a_pair(orders: Orders) -> dict[str, int]:
    """Runs two consumers in one loop, in a host with signal handlers of its own; then waits for a signal."""
    from pyrq.aio import Queue

    heard = asyncio.Event()
    loop = asyncio.get_running_loop()

    def host(*_: object) -> None:
        logging.info("the host heard it")
        loop.call_soon_threadsafe(heard.set)

    for each in (signal.SIGTERM, signal.SIGINT):
        if orders.loop_signals:
            loop.add_signal_handler(each, host)
        else:
            signal.signal(each, host)
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    handler = Handlers(Orders("aio", "gate", orders.url, orders.label)).chosen()
    async with Queue("orders", orders.url) as one, Queue("letters", orders.url) as other:
        totals = await asyncio.gather(*(queue.consume(handler, **orders.options()) for queue in (one, other)))
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before
    heard.clear()
    logging.info("both ended")
    await heard.wait()
    return {"acked": sum(each.acked for each in totals)}


def _work(orders: Orders) -> dict[str, int]:
    if orders.role == "pair":
        return asyncio.run(_work_as_a_pair(orders))
    if orders.slice is not None:
        from pyrq.core import waiting

        waiting._LONGEST_SLICE = orders.slice
    handlers = Handlers(orders)
    if orders.kind == "sync":
        return _work_in_threads(orders, handlers)
    return asyncio.run(_work_in_tasks(orders, handlers))


@contextlib.contextmanager
def _wrong_clock(shift: float) -> Iterator[None]:
    """Shifts this process's clock. The library is imported after that."""
    assert "pyrq" not in sys.modules
    right = time.time
    time.time = lambda: right() + shift
    try:
        yield
    finally:
        time.time = right


def main() -> None:
    orders = Orders(**json.loads(sys.argv[1]))
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    with _wrong_clock(orders.shift):
        sys.stdout.write(json.dumps(_work(orders)) + "\n")


if __name__ == "__main__":
    main()
