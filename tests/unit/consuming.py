"""Consumers of both worlds, run in one way: each in a thread, on a fake server, with a record of what it sends.

Handlers are written as coroutine functions. Consumers of the sync world, and of the aio world where they are to be
called in threads, get plain functions of them; in these, `passed` blocks the thread.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from pyrq import Backoff, Queue, UniqueQueue, aio, sync
from pyrq.backends import connect, connect_async
from pyrq.core.call import Call
from pyrq.core.options import Durability
from tests.servers import wait_until
from tests.unit.helpers import Fault, fresh, raw

THREADS, TASKS, PLAIN = "threads", "tasks", "plain"
KINDS = (THREADS, TASKS, PLAIN)
"""Consumers of the sync world, of the aio world, and of that with handlers that are plain functions."""
LIMIT = 20.0
"""After so many seconds a test fails that waits for something."""
SOON = Backoff(0.001, 0.001, jitter=0)
LATER = Backoff(1000, 1000, jitter=0)

Handler = Callable[[Any], Coroutine[Any, Any, object]]


def finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine to its end that waits for nothing but blocks its thread."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something")


async def passed(event: threading.Event) -> None:
    """Waits for an event: as a task where there is a loop, else as a thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        assert event.wait(LIMIT)
        return
    until = time.monotonic() + LIMIT
    while not event.is_set():
        assert time.monotonic() < until
        await asyncio.sleep(0.003)


@dataclass
class Hold:
    """Holds up a run of a script (or a `move`) until it may go on.

    Attributes:
        script: its name.
        behind: whether it is held up after it ran, before its answer is there.
        reached: it is held up.
        go: it may go on.
    """

    script: str
    behind: bool = False
    reached: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)


@dataclass
class Wire:
    """What consumers send to a fake server, and what goes wrong on the way. Backends of both worlds share it."""

    url: str = field(default_factory=fresh)
    calls: list[Call[Any]] = field(default_factory=list)
    runs: list[list[str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    moves: int = 0
    durabilities: dict[str, list[Durability | None]] = field(default_factory=dict)
    in_doubt: bool = False
    """Whether sessions may be left, to expire: what was sent has had no answer."""

    def count(self, script: str) -> int:
        """Gives how many calls of a script there were."""
        return sum(call.script.name == script for call in list(self.calls))

    def fail(self, script: str, *errors: BaseException, executed: bool = False) -> None:
        """Lets the next runs of a script fail, one with each error."""
        self.in_doubt = True
        self.faults += [Fault(script, error, executed) for error in errors]

    def hold(self, script: str, behind: bool = False) -> Hold:
        """Holds up the next run of a script."""
        self.holds.append(Hold(script, behind))
        return self.holds[-1]

    async def before(self, *scripts: str) -> Fault | None:
        await self._wait(scripts, behind=False)
        for fault in list(self.faults):
            if fault.script in scripts:
                self.faults.remove(fault)
                return fault
        return None

    async def after(self, fault: Fault | None, *scripts: str) -> None:
        await self._wait(scripts, behind=True)
        if fault:
            raise fault.error

    async def _wait(self, scripts: Sequence[str], behind: bool) -> None:
        for hold in list(self.holds):
            if hold.script in scripts and hold.behind is behind:
                self.holds.remove(hold)
                hold.reached.set()
                await passed(hold.go)


class Tapped:
    """What the backends of both worlds share: a memory backend, and a wire that knows what goes through it."""

    reply_timeout: float | None = 5.0
    deadline = 30.0
    gathers = False

    def __init__(self, wire: Wire, inner: Any) -> None:
        self.wire, self.inner = wire, inner
        self.doubts = 0
        self.gathers = False

    async def _run(
        self, calls: Sequence[Call[Any]], durability: Durability | None, run: Callable[[], Awaitable[list[Any]]]
    ) -> list[Any]:
        self.wire.calls.extend(calls)
        scripts = [call.script.name for call in calls]
        self.wire.runs.append(scripts)
        for script in scripts:
            self.wire.durabilities.setdefault(script, []).append(durability)
        fault = await self.wire.before(*scripts)
        self.doubts += fault is not None
        if fault and not fault.executed:
            raise fault.error
        results = await run()
        await self.wire.after(fault, *scripts)
        return results

    async def _move(self, move: Callable[[], Awaitable[bool]]) -> bool:
        self.wire.moves += 1
        fault = await self.wire.before("move")
        if fault:
            raise fault.error
        moved = await move()
        await self.wire.after(None, "move")
        return moved


class TappedBackend(Tapped):
    """For threads."""

    def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        async def run() -> list[Any]:
            results: list[Any] = self.inner.run(calls)
            return results

        results: list[Any] = finish(self._run(calls, durability, run))
        return results

    def move(self, source: bytes, target: bytes, seconds: float) -> bool:
        async def move() -> bool:
            moved: bool = self.inner.move(source, target, seconds)
            return moved

        return bool(finish(self._move(move)))

    def wake(self) -> bool:
        return bool(self.inner.wake())

    def close(self) -> None:
        self.inner.close()


class AsyncTappedBackend(Tapped):
    """For asyncio."""

    async def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        return await self._run(calls, durability, lambda: self.inner.run(calls))

    async def move(self, source: bytes, target: bytes, seconds: float) -> bool:
        return await self._move(lambda: self.inner.move(source, target, seconds))

    async def wake(self) -> bool:
        return bool(await self.inner.wake())

    async def close(self) -> None:
        await self.inner.close()


class Running:
    """A consumer that runs in a thread.

    Attributes:
        consumer: the library's own object; None before it is made.
        totals: what its run gave.
        error: what it raised.
    """

    def __init__(self, bench: Bench, handler: Handler, class_name: str, options: dict[str, Any]) -> None:
        self.bench = bench
        self.consumer: Any = None
        self.totals: Any = None
        self.error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._made = threading.Event()
        run = self._run_in_loop if bench.is_aio else self._run_in_thread
        self.thread = threading.Thread(target=run, args=(handler, class_name, options), daemon=True)
        self.thread.start()
        assert self._made.wait(LIMIT)

    def _run_in_thread(self, handler: Handler, class_name: str, options: dict[str, Any]) -> None:
        try:
            with self.bench.queue_of_sync() as queue:
                self.consumer = getattr(sync, class_name)(queue, self.bench.fit(handler), **options)
                self._made.set()
                self.totals = self.consumer.run()
        except BaseException as error:  # noqa: BLE001 - a test looks at it
            self.error = error
        self._made.set()

    def _run_in_loop(self, handler: Handler, class_name: str, options: dict[str, Any]) -> None:
        async def run() -> None:
            self._loop = asyncio.get_running_loop()
            backend = AsyncTappedBackend(self.bench.wire, connect_async(self.bench.wire.url))
            try:
                async with self.bench.queue_of_aio(backend) as queue:
                    self.consumer = getattr(aio, class_name)(queue, self.bench.fit(handler), **options)
                    self._task = asyncio.create_task(self.consumer.run())
                    self._made.set()
                    self.totals = await self._task
            finally:
                await backend.close()

        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001 - a test looks at it
            self.error = error
        self._made.set()

    def tell(self, action: Callable[[], object]) -> None:
        """Calls something where the consumer lives."""
        if self._loop is None:
            action()
        else:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(action)

    def stop(self) -> None:
        """Asks it to stop."""
        self.tell(self.consumer.stop)

    def cancel(self) -> None:
        """Cancels the task that awaits it; aio only."""
        assert self._task
        self.tell(self._task.cancel)

    def wait(self) -> None:
        """Waits for its end."""
        self.thread.join(LIMIT)
        assert not self.thread.is_alive()

    def end(self) -> Any:
        """Stops it, waits for its end, and gives what it has done."""
        self.stop()
        return self.result()

    def result(self) -> Any:
        """Waits for its end, and gives what it has done."""
        self.wait()
        if self.error is not None:
            raise self.error
        return self.totals


class Bench:
    """A fake server with a queue, and consumers of one kind."""

    NAME = "orders"

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.is_aio = kind != THREADS
        self.wire = Wire()
        self.url = self.wire.url
        self.client = raw(self.url)
        self.options: dict[str, Any] = {}
        self.queue_class = "Queue"
        self.queue = Queue(self.NAME, self.url, client_id="looker")
        self.events: list[threading.Event] = []
        self.running: list[Running] = []
        self._threads = set(threading.enumerate())
        self._backend = TappedBackend(self.wire, connect(self.url))

    def event(self) -> threading.Event:
        """Gives an event that is set at the end of the test, so that nothing waits for it for ever."""
        self.events.append(threading.Event())
        return self.events[-1]

    def queue_of_sync(self) -> Queue[Any] | UniqueQueue[Any]:
        made: Queue[Any] = getattr(sync, self.queue_class)(self.NAME, self._backend, **self.options)
        return made

    def queue_of_aio(self, backend: object) -> aio.Queue[Any]:
        made: aio.Queue[Any] = getattr(aio, self.queue_class)(self.NAME, backend, **self.options)
        return made

    def fit(self, handler: Handler) -> Callable[[Any], Any]:
        """Makes of a coroutine function what a consumer of this kind is given."""
        return handler if self.kind == TASKS else lambda argument: finish(handler(argument))

    def start(self, handler: Handler, **options: Any) -> Running:
        """Starts a consumer that calls a handler with each item."""
        return self._start(handler, "Consumer", options)

    def start_batches(self, handler: Handler, **options: Any) -> Running:
        """Starts a consumer that calls a handler with lists."""
        return self._start(handler, "BatchConsumer", options)

    def _start(self, handler: Handler, class_name: str, options: dict[str, Any]) -> Running:
        self.running.append(Running(self, handler, class_name, options))
        return self.running[-1]

    def waiting(self) -> list[str]:
        """Gives what waits, oldest first."""
        return self.queue.peek(1000)

    def held(self) -> list[bytes]:
        """Gives what consumers hold, oldest first."""
        keys = sorted(self.client.keys("orders-processing-*"))
        return [item for key in keys for item in self.client.lrange(key, 0, -1)[::-1]]

    def letters(self) -> list[tuple[Any, str, int]]:
        """Gives what each dead letter says: item, reason, deliveries."""
        return [(letter.item, letter.reason, letter.deliveries) for letter in self.queue.dead.peek(100)]

    def idle(self) -> bool:
        """Whether nothing waits and nothing is in hand."""
        stats = self.queue.stats()
        return not stats.waiting and not stats.in_flight and not stats.delayed

    def wait_until_idle(self) -> None:
        wait_until(self.idle, LIMIT)

    def sweep(self) -> int:
        """Takes what all consumers hold away from them, without any limits."""
        return self.queue.re_enqueue_all_items()

    def die(self, name: str, *items: str, ago: float = 1000, lease: str | None = "0.3 5") -> None:
        """Makes a consumer that was last seen some seconds ago, and holds items, the oldest first."""
        key = f"{self.NAME}-processing-{name}"
        self.client.lpush(key, *items)
        self.client.hset(f"{self.NAME}-timeouts", key, f"{time.time() - ago:.6f}")
        if lease:
            self.client.hset(f"{self.NAME}/consumers", f"{name}/lease", lease)

    def close(self) -> None:
        """Ends everything, and looks for what was left behind."""
        for event in [*self.events, *(hold.go for hold in self.wire.holds)]:
            event.set()
        for one in self.running:
            if one.consumer is not None and one.thread.is_alive():
                one.stop()
                one.stop()
        for one in self.running:
            one.wait()
        wait_until(lambda: set(threading.enumerate()) <= self._threads, LIMIT)
        self.queue.close()
        left = self.left_behind()
        assert not left, left
        self._backend.close()
        self.client.close()

    def left_behind(self) -> set[str]:
        """Gives keys, or fields of the queue's state, that hold no items.

        A consumer that was not sure of an answer leaves its session to expire; so may a counter of deliveries.
        """
        held = {"orders", "orders-unique", "orders/dead", "orders/delayed", "orders/deliveries"}
        keys = {key for key in self.key_names() if key not in held}
        if self.wire.in_doubt:
            keys = {key for key in keys if not key.startswith("orders/session/") or self.client.ttl(key) == -1}
        if self.client.ttl("orders/deliveries") == -1:
            keys.add("orders/deliveries")
        state = {f"orders/meta {field.decode()}" for field in self.client.hkeys("orders/meta")}
        may = {"orders/meta paused"} | ({"orders/meta waking"} if self.client.exists("orders/delayed") else set())
        return (keys - {"orders/meta"}) | (state - may)

    def key_names(self) -> set[str]:
        """Gives all keys but the session of this bench's own queue."""
        return {key.decode() for key in self.client.scan_iter() if b"/session/looker" not in key}


def each_kind(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Gives a bench, as a fixture does."""
    bench = Bench(request.param)
    yield bench
    bench.close()
