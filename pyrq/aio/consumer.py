"""The consumer loop, for asyncio.

Theory of operation. Workers get jobs from a supply, and bring it what their handlers' ends decide: they take turns at
speaking to the server, or others do it for them (`_supply`, `_ahead`). A keeper renews the lease while something is in
hand. The task that called `run` only waits: for a signal, the stop event, or the end of all workers. At the end
everything that is still held goes back in one step.

A consumer has a session of its own, so its lease is about what its handlers have, and nothing else. What it can't know
(an answer that was lost) it asks again by sending the very same call, which takes effect once.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
import threading
from collections.abc import Awaitable, Callable
from copy import copy
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pyrq.aio._ahead import Ahead
from pyrq.aio._settling import Settler
from pyrq.aio._supply import Shift, Supply, Turns
from pyrq.aio._waits import in_thread, telling, wait_for_event
from pyrq.backends.signals import stopped_by_signals
from pyrq.core.consuming import (
    TROUBLE_PAUSE,
    ConsumerEvent,
    ConsumerSetup,
    EventKind,
    Hands,
    Job,
    Lease,
    Stop,
    Totals,
    check_callback,
    check_handler,
    check_stop,
    is_asynchronous,
)
from pyrq.core.errors import QueueClosedError, RqError
from pyrq.core.verdicts import Backoff, verdict_on
from pyrq.core.waiting import WAKE_EVERY

if TYPE_CHECKING:
    from pyrq.aio._taking import Handed
    from pyrq.aio.queue import Queue

__all__ = ["BatchConsumer", "Consumer"]

T = TypeVar("T")

_log = logging.getLogger("pyrq.consumer")


class Consumer(Generic[T]):
    """Takes items from a queue and calls a handler with each, until it is stopped.

    What becomes of an item is decided by how its handler ends: it returns, and the item is acknowledged; it raises, and
    the item is delivered again after a while, until it was delivered `max_deliveries` times and becomes a dead letter.
    `raise Retry(after=…)`, `raise Bury(reason)` and `raise Drop()` choose.

    An acknowledgement takes the next batch along, in one round trip. With `prefetch` a handler does not wait for the
    server at all: so many items are taken before one is free, and what handlers decide is carried out while they go on
    with the next. What was taken ahead is held: it can't be had by other consumers, its lease is renewed, and at a stop
    it goes back at once, in order, which counts as no delivery. If the consumer is killed, a sweep gives it back as if
    a handler had had it, which counts as one for each item: so leave it at 0 where items kill their processes.

    Failures of the server that may pass are waited out; one that can't ends the consumer, which then gives back what it
    holds and raises it.
    """

    def __init__(
        self,
        queue: Queue[T],
        handler: Callable[[T], Awaitable[object]] | Callable[[T], object],
        *,
        batch: int = 1,
        concurrency: int = 1,
        lease: float = 30.0,
        max_deliveries: int | None = None,
        backoff: Backoff = Backoff(),  # noqa: B008 - it is frozen
        stop: asyncio.Event | None = None,
        grace: float = 10.0,
        on_event: Callable[[ConsumerEvent], object] | None = None,
        prefetch: int = 0,
    ) -> None:
        """Makes a consumer; sends nothing yet.

        Args:
            queue: where from. The consumer has a session of its own there.
            handler: a coroutine function of one item, or a plain function, which runs in a thread of its own.
            batch: how many items are taken per round trip, 1 to 1,000; those that wait for a handler are held.
            concurrency: how many handlers run at a time, 1 to 1,000.
            lease: after how many seconds of silence, from 0.1, its items are given to others. It is renewed every third
                of that while something is held, however long a handler runs.
            max_deliveries: how often an item is delivered before it becomes a dead letter, from 1. Items are counted by
                value: equal ones together. None for the queue's, and if that has none, 20.
            backoff: for how long an item is put off after a failed delivery.
            stop: an event that stops the consumer, or None.
            grace: for how many seconds handlers may finish after a stop, from 0.
            on_event: is called with what happens, a `ConsumerEvent`; or None.
            prefetch: how many items are taken ahead of the handlers, 0 to 10,000. They are held while they wait, and no
                other consumer gets them; see `Consumer`. With it, `batch` says nothing.

        Raises:
            TypeError: an argument is of the wrong type, or the handler no function.
            ValueError: an argument is out of range.
        """
        check_handler(handler, may_be_asynchronous=True)
        check_stop(stop, asynchronous=True)
        check_callback(on_event)
        limits = queue._setup.limits
        self._setup = ConsumerSetup.of(limits, batch, concurrency, lease, max_deliveries, backoff, grace, prefetch)
        self._origin = queue
        self._handler: Callable[[Any], Any] = handler
        self._outside = stop
        self._on_event = on_event
        self._totals = Totals()
        self._stop = Stop(self._setup.grace)
        self._asked = asyncio.Event()
        self._stopping = asyncio.Event()
        self._over = asyncio.Event()
        self._hands: Hands[T] = Hands()
        self._failure: BaseException | None = None
        self._workers: list[asyncio.Task[None]] = []

    # From outside

    async def run(self) -> Totals:
        """Consumes until it is stopped: by `stop`, the stop event, or, in the main thread, SIGTERM or SIGINT.

        It then takes no more, lets running handlers finish for the time of grace, and gives back the rest as the next
        out, in order. A second signal, or call of `stop`, gives back at once; so does a cancellation.

        Returns:
            What it has done.

        Raises:
            RuntimeError: it has run before.
            RqError: a failure of the server that does not pass.
        """
        if self._workers:
            raise RuntimeError("a consumer runs once; make a new one")
        self._origin._run.member().check_open()
        self._queue = copy(self._origin)
        self._settler = Settler(self._queue._run, self._setup, self._report)
        self._shift = self._make_shift()
        self._supply = self._make_supply()
        with stopped_by_signals(telling(asyncio.get_running_loop(), self.stop)):
            self._workers = [
                *(asyncio.create_task(self._work()) for _ in range(self._setup.concurrency)),
                *(asyncio.create_task(self._guard(help_out)) for help_out in self._supply.helpers().values()),
            ]
            self._keeper = asyncio.create_task(self._keep())
            try:
                await self._watch()
            finally:
                await self._finish()
        if self._failure is not None:
            raise self._failure
        return self._totals

    def stop(self) -> None:
        """Stops the consumer, from its event loop; called twice, at once. Does not wait for it."""
        self._stop.ask(asyncio.get_running_loop().time())
        self._asked.set()

    # The task that called run

    def _make_shift(self) -> Shift[T]:
        return Shift(
            queue=self._queue,
            setup=self._setup,
            settler=self._settler,
            make_jobs=self._jobs,
            report=self._report,
            fail=self._fail,
            is_to_stop=self._is_to_stop,
            hands=self._hands,
            stopping=self._stopping,
            over=self._over,
        )

    def _make_supply(self) -> Supply[T]:
        return Ahead(self._shift, self._at_a_time()) if self._setup.prefetch else Turns(self._shift)

    def _at_a_time(self) -> int:
        """Gives how many items a handler gets at a time, at the most."""
        return 1

    def _is_to_stop(self) -> bool:
        """Says whether a stop was asked for; the task that called `run` may not have heard it yet."""
        asked = self._stopping.is_set() or self._stop.asked
        return asked or (self._outside is not None and self._outside.is_set())

    def _halt(self) -> None:
        """Nothing is to be taken any more."""
        self._stopping.set()
        self._supply.halt()

    async def _watch(self) -> None:
        """Waits until it is to stop, and then for the handlers."""
        await self._wait_for_stop()
        self._halt()
        _log.info("queue %s: stopping", self._origin.name)
        now = asyncio.get_running_loop().time
        while self._is_working() and (left := self._stop.left(now())):
            await self._queue._run.backend.wake()
            await asyncio.wait(self._workers, timeout=min(WAKE_EVERY, left))

    async def _wait_for_stop(self) -> None:
        events = [self._asked, *([self._outside] if self._outside is not None else [])]
        waits = [asyncio.create_task(event.wait()) for event in events]
        try:
            await asyncio.wait([*waits, *self._workers], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not self._stop.asked:
            self._stop.ask(asyncio.get_running_loop().time())

    def _is_working(self) -> bool:
        return any(not worker.done() for worker in self._workers)

    async def _finish(self) -> None:
        """Gives back what is still held, whoever cancels that, and ends what still runs."""
        self._over.set()
        self._halt()
        end, cancelled = asyncio.create_task(self._end()), False
        while not end.done():
            try:
                await asyncio.wait([end])
            except asyncio.CancelledError:
                cancelled = True
        end.result()
        if cancelled:
            raise asyncio.CancelledError

    async def _end(self) -> None:
        try:
            await self._settler.retire()
        except RqError as error:
            self._failure = self._failure or error
        finally:
            await self._end_tasks()
        _log.info("queue %s: stopped; %s", self._origin.name, self._totals)

    async def _end_tasks(self) -> None:
        for job in self._hands.jobs():
            job.lease.lose()  # what still runs is told that its items went back
        left = [task for task in (*self._workers, self._keeper) if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=TROUBLE_PAUSE)

    # Workers

    async def _work(self) -> None:
        try:
            await self._guard(self._work_on)
        finally:
            self._supply.leave()

    async def _work_on(self) -> None:
        while (job := await self._supply.next()) is not None:
            await self._process(job)

    async def _guard(self, work: Callable[[], Awaitable[None]]) -> None:
        """Does some work to its end; a failure is the end of the consumer."""
        try:
            await work()
        except asyncio.CancelledError:
            raise
        except QueueClosedError:
            return  # it is over, and what was in hand went back
        except BaseException as error:  # noqa: BLE001 - run raises it
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Ends the consumer; `run` raises the first failure."""
        self._halt()
        if self._failure is None:
            self._failure = error
            self.stop()

    def _jobs(self, handed: Handed[T]) -> list[Job[T]]:
        """Makes jobs of what was handed out: one for each item."""
        pairs = zip(handed.values, handed.found.items, strict=True)
        return [Job([item], [raw], handed.found.tenure, Lease(threading.Event())) for item, raw in pairs]

    async def _process(self, job: Job[T]) -> None:
        error = await self._call(job)
        job.done = True
        if job.lease.lost:
            self._supply.let_go(job)
        else:
            await self._supply.settle(job, verdict_on(error, self._setup.backoff, random.random()))
        if error is not None and not isinstance(error, Exception | asyncio.CancelledError):
            raise error  # such as SystemExit: it was a delivery, and it ends the consumer

    async def _call(self, job: Job[T]) -> BaseException | None:
        """Calls the handler in a task of its own; gives what it raised."""
        task = asyncio.create_task(self._handle(job))
        job.end = task.cancel
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task], timeout=TROUBLE_PAUSE)
            raise
        error = asyncio.CancelledError() if task.cancelled() else task.result()
        if error is not None:
            _log.info("queue %s: a handler raised %s", self._origin.name, type(error).__name__)
        return error

    async def _handle(self, job: Job[T]) -> BaseException | None:
        """Calls the handler; gives what it raised. SystemExit raised by a task would end the event loop at once."""
        job.enter()
        try:
            if is_asynchronous(self._handler):
                await self._handler(self._argument(job))
            else:
                result = await in_thread(self._handler, self._argument(job))
                if inspect.isawaitable(result):
                    await result
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - what a handler raises decides about its item
            return error
        return None

    def _argument(self, job: Job[T]) -> T | list[T]:
        """Gives what the handler is called with."""
        return job.items[0]

    # The keeper

    async def _keep(self) -> None:
        """Renews the lease while something is in hand; without that, nothing may go on."""
        try:
            while not await wait_for_event(self._over, self._setup.beat_every):
                if jobs := self._hands.jobs():
                    await self._beat(jobs)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - run raises it
            if not self._over.is_set():
                self._fail(error)
                self.stop()  # at once

    async def _beat(self, jobs: list[Job[T]]) -> None:
        """Renews the lease, and tells handlers if it is lost."""
        try:
            tenure, sweep = await self._settler.beat()
            self._lose(jobs, tenure)
            if sweep:
                await self._settler.sweep()
        except RqError as error:
            self._shift.bear(error)

    def _lose(self, jobs: list[Job[T]], tenure: int) -> None:
        if lost := self._hands.lose(jobs, tenure):
            _log.warning("queue %s: the lease of %d items was lost", self._origin.name, lost)
            self._report(EventKind.LOST, lost)

    # Telling

    def _report(self, kind: EventKind, count: int) -> None:
        if count <= 0:
            return
        event = ConsumerEvent(kind, count)
        self._totals.count(event)
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception as error:  # noqa: BLE001 - a callback that fails must not cost an item
            _log.warning("queue %s: on_event raised %s", self._origin.name, type(error).__name__)


class BatchConsumer(Consumer[T]):
    """Takes items from a queue and calls a handler with each list of them, until it is stopped.

    As `Consumer`, but the handler gets the list that was taken, and how it ends decides about all of it.
    """

    def __init__(
        self,
        queue: Queue[T],
        handler: Callable[[list[T]], Awaitable[object]] | Callable[[list[T]], object],
        *,
        batch: int = 100,
        concurrency: int = 1,
        lease: float = 30.0,
        max_deliveries: int | None = None,
        backoff: Backoff = Backoff(),  # noqa: B008 - it is frozen
        stop: asyncio.Event | None = None,
        grace: float = 10.0,
        on_event: Callable[[ConsumerEvent], object] | None = None,
        prefetch: int = 0,
    ) -> None:
        """Makes a consumer; sends nothing yet.

        Args:
            queue: where from. The consumer has a session of its own there.
            handler: a coroutine function of a list of items, oldest first, or a plain function, which runs in a thread
                of its own.
            batch: how many items the list has at the most, 1 to 1,000.
            concurrency: how many handlers run at a time, 1 to 1,000.
            lease: after how many seconds of silence, from 0.1, its items are given to others. It is renewed every third
                of that while something is held, however long a handler runs.
            max_deliveries: how often an item is delivered before it becomes a dead letter, from 1. Items are counted by
                value: equal ones together. None for the queue's, and if that has none, 20.
            backoff: for how long items are put off after a failed delivery.
            stop: an event that stops the consumer, or None.
            grace: for how many seconds handlers may finish after a stop, from 0.
            on_event: is called with what happens, a `ConsumerEvent`; or None.
            prefetch: how many items are taken ahead of the handlers, 0 to 10,000; best a multiple of `batch`. They are
                held while they wait, and no other consumer gets them; see `Consumer`.

        Raises:
            TypeError: an argument is of the wrong type, or the handler no function.
            ValueError: an argument is out of range.
        """
        one_by_one: Callable[[Any], Any] = handler
        super().__init__(
            queue,
            one_by_one,
            batch=batch,
            concurrency=concurrency,
            lease=lease,
            max_deliveries=max_deliveries,
            backoff=backoff,
            stop=stop,
            grace=grace,
            on_event=on_event,
            prefetch=prefetch,
        )

    def _jobs(self, handed: Handed[T]) -> list[Job[T]]:
        found = handed.found
        return [Job(handed.values, found.items, found.tenure, Lease(threading.Event()))] if handed.values else []

    def _at_a_time(self) -> int:
        return self._setup.batch

    def _argument(self, job: Job[T]) -> T | list[T]:
        return job.items
