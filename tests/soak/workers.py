"""Worker processes that are killed (SIGKILL) in the middle of their work, and replaced by others."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from pyrq import Queue
from tests.servers import Binary, Server, redis_client, wait_until
from tests.soak.arena import Arena, AtLeastOnce, Site, drain, options_for, wait_slowly
from tests.soak.worker import BOOK, BOOKS, Orders

__all__ = ["Workers"]

_AT_A_TIME, _BATCH = 4, 50
_MOST_AT_ONCE = 2_000
_PATIENCE = 60.0
_LEASE = 3.0
_NAP, _TICK = 0.1, 0.03
_LONGEST_DELAY = 0.1


class _Worker:
    """A worker's process."""

    def __init__(self, orders: Orders, folder: Path) -> None:
        self.label = orders.label
        self.log = folder / orders.label
        command = [sys.executable, "-m", "tests.soak.worker", orders.to_json()]
        with self.log.open("wb") as out:
            # It ends when the pipe does, and so does not outlive this process.
            self._process = subprocess.Popen(
                command, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=out, stderr=out
            )

    def kill(self) -> None:
        self._process.kill()
        self._wait()

    def stop(self) -> int:
        """Stops it as an operator does; gives how its process ended."""
        self._process.send_signal(signal.SIGTERM)
        return self._wait()

    def _wait(self) -> int:
        try:
            return self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait(10)
        finally:
            assert self._process.stdin
            self._process.stdin.close()


class _Crew:
    """The workers of a round, and the book in which they note what they have handled."""

    def __init__(self, arena: Arena, name: str, server: Server, rng: random.Random) -> None:
        self.name = name
        self.killed: list[_Worker] = []
        self._arena, self._server, self._rng, self._hired = arena, server, rng, 0
        self._books: Any = redis_client(f"{server.url}?db={BOOKS}")
        self.client: Any = redis_client(server.url)
        self.living = [self._hire() for _ in range(_AT_A_TIME)]

    def _hire(self) -> _Worker:
        self._hired += 1
        world = self._rng.choice(["sync", "aio"])
        orders = Orders(world, self._server.url, self.name, f"w{self._hired}", _BATCH, _LEASE, _NAP)
        return _Worker(orders, self._arena.folder)

    def replace_one(self, add: Callable[[], None]) -> None:
        """Kills a worker that is at work, or just waits, and hires another.

        Args:
            add: adds items for all workers.
        """
        victim = self.living.pop(self._rng.randrange(_AT_A_TIME))
        wait_slowly(lambda: self.remembers(victim), _PATIENCE)
        add()
        with contextlib.suppress(AssertionError):  # the others have it all
            wait_until(lambda: self._holds(victim), 0.5)
        time.sleep(self._rng.choice([0, self._rng.uniform(0, _LONGEST_DELAY)]))
        victim.kill()
        self._arena.trial.count("held_by_dead", self._holds(victim))
        self.killed.append(victim)
        self.living.append(self._hire())

    def _holds(self, worker: _Worker) -> int:
        """Says how many items a worker holds."""
        keys = self.client.scan_iter(f"{self.name}-processing-{worker.label}-*", count=1000)
        return sum(self.client.llen(key) for key in keys)

    def read_book(self) -> None:
        """Notes what was handled. What is noted there has happened, whatever becomes of the process."""
        for page in self._books.lpop(BOOK, 1000) or []:
            items = json.loads(page)
            self._arena.account.seen(items)
            self._arena.account.acked(items)

    def remembers(self, worker: _Worker) -> bool:
        """Says whether the server knows a worker as one that holds items or waits for some."""
        names = self.client.hkeys(f"{self.name}/consumers") + self.client.hkeys(f"{self.name}-timeouts")
        return any(f"{worker.label}-".encode() in name for name in names)

    def dismiss(self) -> list[int]:
        """Stops those who live, once they have begun, and forgets the book; gives how their processes ended."""
        wait_slowly(lambda: all(self.remembers(worker) for worker in self.living), _PATIENCE)
        ends = [worker.stop() for worker in self.living]
        self.read_book()
        self._books.flushdb()
        return ends

    def close(self) -> None:
        """Ends what there is."""
        for worker in self.living:
            worker.kill()
        self._books.close()
        self.client.close()


class Workers(Arena):
    """Items are unique, and may be handled twice if a worker was killed after it had noted them."""

    name = "workers"
    per_hour: ClassVar = {"items": 2_000_000, "worker_kills": 2_000}
    kind_of_account = AtLeastOnce
    _adds = 0

    def open(self, binary: Binary, opened: contextlib.ExitStack) -> Site:
        server = Server(binary, *options_for(binary))
        opened.callback(server.stop)
        return Site(binary, [server])

    def play(self, site: Site, name: str, rng: random.Random) -> None:
        (server,) = site.servers
        crew = _Crew(self, name, server, rng)
        try:
            with Queue(name, server.url) as queue:
                self._work(crew, queue, rng)
                self._wait_for_the_end(crew, queue)
            self.trial.expect(not any(crew.dismiss()), "a worker that is stopped ends well")
        finally:
            crew.close()
        self.limit_repeats(len(crew.killed) * _BATCH, "the dead can have held")
        drain(self.trial, self.account, name, server)
        self._read_logs()

    def _work(self, crew: _Crew, queue: Queue[Any], rng: random.Random) -> None:
        while self.goes_on():
            if self.behind("worker_kills"):
                crew.replace_one(lambda: self._add(queue, rng))
                self.trial.count("worker_kills")
            elif self.behind("items") > _MOST_AT_ONCE or self.plan.elapsed > self.plan.seconds:
                self._add(queue, rng)
            crew.read_book()
            self.stopped.wait(_TICK)

    def _add(self, queue: Queue[Any], rng: random.Random) -> None:
        """Adds what is due; so much in any case that each worker has something to do."""
        left = min(_MOST_AT_ONCE, max(2 * _AT_A_TIME * _BATCH, self.behind("items")))
        while left > 0:
            many = min(left, rng.randint(100, 500))
            self._adds += 1
            items = self.items(rng, many, f"{queue.name} {self._adds}", copies=0)
            self.trial.expect(queue.add_items(items) == many, "an add counts what it added")
            self.added(items)
            left -= many

    def _wait_for_the_end(self, crew: _Crew, queue: Queue[Any]) -> None:
        def is_over() -> bool:
            crew.read_book()
            stats = queue.stats()
            return not (stats.waiting + stats.in_flight + stats.delayed or any(map(crew.remembers, crew.killed)))

        self._await(is_over, "what the dead held was given back and handled")
        self.trial.expect(queue.dead.count() == 0, "no item became a dead letter")

    def _await(self, condition: Callable[[], bool], promise: str) -> None:
        # What is missing is counted afterwards, and tells more.
        try:
            wait_slowly(condition, _PATIENCE)
        except AssertionError:
            self.trial.expect(False, f"{promise}, within {_PATIENCE:g} s")

    def _read_logs(self) -> None:
        for log in self.folder.iterdir():
            self.trial.read("the log of a worker", log.read_text())
            log.unlink()
