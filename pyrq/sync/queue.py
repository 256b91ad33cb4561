"""The queue, for threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

from pyrq.core import ops
from pyrq.core.codec import Codec
from pyrq.core.consuming import ConsumerEvent, Totals
from pyrq.core.member import QueueSetup
from pyrq.core.options import Durability, check_seconds
from pyrq.core.verdicts import Backoff
from pyrq.core.work import Work
from pyrq.sync._taking import Taking
from pyrq.sync.consumer import BatchConsumer, Consumer

__all__ = ["Queue"]

T = TypeVar("T")


class Queue(Taking[T]):
    """A reliable queue: what is accepted is never lost, and each call takes effect once.

    Producers add items; a consumer takes a batch, works, and acknowledges or rejects it. What a consumer has taken
    lies in a list of its own on the server until then, and is given back if the consumer falls silent. Equal items are
    separate items. Order is first in, first out.

    Threads may share one object. After a fork, a copy or an unpickling, an object is another consumer. Make one object
    and keep it: its first call also checks the server.

    Every method may raise, besides what it names: ServerGoneError, OutcomeUnknown (sent, and no answer within the
    retry deadline), PermissionDeniedError, ServerTooOldError, ReadOnlyReplicaError, WrongTypeError and the other
    classes of `pyrq.errors`; methods that change something also NotEnoughSyncedSlavesError, where `durability` was
    asked for; every one QueueClosedError after `close`.
    """

    @overload
    def __init__(
        self: Queue[str],
        name: str,
        redis: object = None,
        *,
        codec: None = None,
        client_id: str | None = None,
        durability: Durability | None = None,
        retry: float | None = None,
        gather: bool | None = None,
        synced_slaves_enabled: bool = False,
        synced_slaves_count: int = 0,
        synced_slaves_timeout: int = 100,
        max_retry_rollback: int | None = None,
        max_timeout_in_queue: float | None = None,
        max_deliveries: int | None = None,
        max_size: int | None = None,
        dead_max: int | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        name: str,
        redis: object = None,
        *,
        codec: Codec[T],
        client_id: str | None = None,
        durability: Durability | None = None,
        retry: float | None = None,
        gather: bool | None = None,
        synced_slaves_enabled: bool = False,
        synced_slaves_count: int = 0,
        synced_slaves_timeout: int = 100,
        max_retry_rollback: int | None = None,
        max_timeout_in_queue: float | None = None,
        max_deliveries: int | None = None,
        max_size: int | None = None,
        dead_max: int | None = None,
    ) -> None: ...

    def __init__(
        self,
        name: str,
        redis: object = None,
        *,
        codec: Codec[Any] | None = None,
        client_id: str | None = None,
        durability: Durability | None = None,
        retry: float | None = None,
        gather: bool | None = None,
        synced_slaves_enabled: bool = False,
        synced_slaves_count: int = 0,
        synced_slaves_timeout: int = 100,
        max_retry_rollback: int | None = None,
        max_timeout_in_queue: float | None = None,
        max_deliveries: int | None = None,
        max_size: int | None = None,
        dead_max: int | None = None,
    ) -> None:
        """Makes a queue object; sends nothing yet.

        Args:
            name: the queue's name: 1 to 200 bytes of text without `/`, control characters, unbalanced or empty braces,
                not containing `-processing-`, not ending in `-timeouts`, `-unique`, `-retry-count`, `-retry-timeout`
                or `-processing`.
            redis: a redis-py client (Sentinel-managed too) or its connection pool, a URL (`redis:// rediss:// unix://
                valkey:// redis+sentinel:// embedded:///dir memory://name`), or a backend. None is the URL in the
                environment variable PYRQ_URL, else `redis://localhost:6379/0`.
            codec: between values and bytes: `JsonCodec()`, `BytesCodec()`, or one of your own. None for text.
            client_id: a label to recognise this consumer by, 1 to 100 bytes without `/` or braces; a unique part is
                always appended. None for `host[pid]`.
            durability: `Replicas` or `Fsync`: what each change waits for. None for nothing.
            retry: for how many seconds a call is sent again after a lost connection or reply, 0 to 3,600. None for 30;
                a backend has its own.
            gather: whether calls that are made at the same time go out together, in one pipeline, and the adds and the
                gets among them as one call each; what each call means stays the same. None: in asyncio yes, for threads
                no; a backend has its own.
            synced_slaves_enabled: whether each change waits for replicas, as in the older libraries; the same as
                `durability=Replicas(synced_slaves_count, synced_slaves_timeout)`.
            synced_slaves_count: for how many replicas, from 1.
            synced_slaves_timeout: how long, in milliseconds, at least 100 below the client's socket timeout.
            max_retry_rollback: how many rollbacks `can_rollback_item` allows an item, from 0. None: it is not used.
            max_timeout_in_queue: for how many minutes after its first rollback it allows more. None: it is not used.
            max_deliveries: how often an item is delivered before it becomes a dead letter, from 1; a reject and the
                sweep of a silent consumer count. Items are counted by value: equal ones together. None: no limit, and
                nothing is counted (`consume` has its own).
            max_size: how many items may wait, those that are put off among them, from 1. None: no limit.
            dead_max: how many dead letters are kept, from 1: the oldest are deleted when there are more. None: all.

        Raises:
            TypeError: an argument is of the wrong type.
            ValueError: an argument is out of range.
            MissingExtraError: the URL needs a part of py-rq that is not installed.
            EmbeddedServerError: the embedded server does not start.
        """
        synced_slaves = (synced_slaves_enabled, synced_slaves_count, synced_slaves_timeout)
        rollback = (max_retry_rollback, max_timeout_in_queue)
        limits = (max_deliveries, max_size, dead_max)
        setup = QueueSetup.of(name, codec, client_id, durability, synced_slaves, rollback, limits)
        self._start(setup, redis, retry, gather)

    # Names

    @property
    def processing_queue_name(self) -> str:
        """The key of the list of items that this consumer holds."""
        return self._run.member().keys.processing.decode()

    @property
    def timeouts_hash_name(self) -> str:
        """The key of the hash of last contacts."""
        return self._run.member().keys.timeouts.decode()

    @property
    def retry_count_name(self) -> str:
        """The key of the hash of how often items were rolled back."""
        return self._run.member().keys.retry_count.decode()

    @property
    def retry_timeout_name(self) -> str:
        """The key of the hash of when items were rolled back first."""
        return self._run.member().keys.retry_timeout.decode()

    # Adding

    @overload
    def add_item(self: Queue[str], item: object, delay: float = 0) -> bool: ...

    @overload
    def add_item(self, item: T, delay: float = 0) -> bool: ...

    def add_item(self, item: Any, delay: float = 0) -> bool:
        """Adds one item at the end of the queue.

        Args:
            item: anything but None that the codec accepts; by default bytes as they are, and everything else as text.
            delay: in how many seconds it is to wait, from 0, by the server's clock.

        Returns:
            True: it was added.

        Raises:
            TypeError: delay is no number.
            ValueError: delay is out of range.
            InvalidItemError: None, or a value that the codec refuses.
            QueueFull: the queue has a `max_size`, and it is reached.
            ServerFullError: the server's memory is full.
        """
        return self.add_items((item,), delay) == 1

    @overload
    def add_items(self: Queue[str], items: Iterable[object], delay: float = 0) -> int: ...

    @overload
    def add_items(self, items: Iterable[T], delay: float = 0) -> int: ...

    def add_items(self, items: Iterable[Any], delay: float = 0) -> int:
        """Adds items at the end of the queue, in their order.

        They go out in chunks of 1,000, each added whole or not at all. After an error, its attributes `added`,
        `unknown` and `remaining` say how many were added, sent without an answer, and not tried.

        Args:
            items: any iterable, also one larger than the memory: it is read as it is sent. None of them may be None. A
                single text is refused.
            delay: in how many seconds they are to wait, from 0, by the server's clock. Whoever gets then moves them to
                the end of the queue, in order.

        Returns:
            How many were added.

        Raises:
            TypeError: not an iterable of items, or delay is no number.
            ValueError: delay is out of range.
            InvalidItemError: None, or a value that the codec refuses; nothing was added if `items` is a sequence, a set
                or a mapping.
            QueueFull: the queue has a `max_size`; the chunk that does not fit adds nothing.
            ServerFullError: the server's memory is full.
        """
        seconds, limits = check_seconds("delay", delay), self._setup.limits
        work = Work.forward(self._codec, items)
        if not seconds:
            return self._run.run_all(work, self._add_chunk)
        return self._run.change_all(
            work, lambda chunk: lambda keys, identity, _: ops.put_off(keys, identity, chunk, seconds, limits)
        )

    def _add_chunk(self, chunk: list[bytes]) -> int:
        if self._run.backend.gathers:
            return self._together().add(chunk)
        limits = self._setup.limits
        return self._run.change(lambda keys, identity, _: ops.add(keys, identity, chunk, limits))

    # Settling

    def ack_item(self, item: T) -> bool:
        """Acknowledges one item: it is done with.

        Args:
            item: an item that this consumer took.

        Returns:
            Whether this consumer still held it. False after its lease was lost, or when it never held it.

        Raises:
            InvalidItemError: None, or a value that the codec refuses.
        """
        return self.ack_items((item,)) == 1

    def ack_items(self, items: Iterable[T]) -> int:
        """Acknowledges items: they are done with. Of equal items, one copy for each given, the one taken first.

        Args:
            items: any iterable of items that this consumer took, in any order.

        Returns:
            How many of them this consumer still held.

        Raises:
            TypeError: not an iterable of items.
            InvalidItemError: None, or a value that the codec refuses.
        """
        work = Work.forward(self._codec, items)
        return self._run.run_all(work, self._ack_chunk)

    def reject_item(self, item: T) -> bool:
        """Gives one item back, as the next out.

        Args:
            item: an item that this consumer took.

        Returns:
            Whether this consumer still held it; if not, nothing changed.

        Raises:
            InvalidItemError: None, or a value that the codec refuses.
        """
        return self.reject_items((item,)) == 1

    def reject_items(self, items: Iterable[T]) -> int:
        """Gives items back, as the next out, in the order given.

        Where the queue has `max_deliveries`, an item that was delivered so often becomes a dead letter instead.

        Args:
            items: any iterable of items that this consumer took; read whole.

        Returns:
            How many of them this consumer still held; the others are not added.

        Raises:
            TypeError: not an iterable of items.
            InvalidItemError: None, or a value that the codec refuses.
        """
        limits = self._setup.limits
        work = Work.backward(self._codec, items)
        return self._run.change_all(
            work, lambda chunk: lambda keys, identity, held: ops.reject(keys, identity, held, chunk, limits)
        )

    def revert_item(self, item: T) -> bool:
        """Gives one item back, as the next out: `reject_item` by its older name.

        Args:
            item: an item that this consumer took.

        Returns:
            Whether this consumer still held it; if not, nothing changed.

        Raises:
            InvalidItemError: None, or a value that the codec refuses.
        """
        return self.reject_item(item)

    def revert_items(self, items: Iterable[T]) -> int:
        """Gives items back, as the next out, in the order given: `reject_items` by its older name.

        Args:
            items: any iterable of items that this consumer took; read whole.

        Returns:
            How many of them this consumer still held; the others are not added.

        Raises:
            TypeError: not an iterable of items.
            InvalidItemError: None, or a value that the codec refuses.
        """
        return self.reject_items(items)

    # Consuming

    def consume(
        self,
        handler: Callable[[T], object],
        *,
        batch: int = 1,
        concurrency: int = 1,
        lease: float = 30.0,
        max_deliveries: int | None = None,
        backoff: Backoff = Backoff(),  # noqa: B008 - it is frozen
        stop: threading.Event | None = None,
        grace: float = 10.0,
        on_event: Callable[[ConsumerEvent], object] | None = None,
        prefetch: int = 0,
    ) -> Totals:
        """Calls a handler with each item, and settles it by how that ends.

        Runs until it is stopped: by the stop event or, in the main thread, by SIGTERM or SIGINT. It then takes no more,
        lets running handlers finish for the time of grace, and gives back the rest as the next out, in order; a second
        signal gives back at once. What silent consumers held is swept by itself. See `Consumer`, whose `stop` can be
        called.

        Args:
            handler: a plain function of one item; it runs in a thread. If it returns, the item is acknowledged. If it
                raises, the item is delivered again after a while. `raise Retry(after=…)`, `raise Bury(reason)` and
                `raise Drop()` choose.
            batch: how many items are taken per round trip, 1 to 1,000.
            concurrency: how many handlers run at a time, 1 to 1,000.
            lease: after how many seconds of silence, from 0.1, its items are given to others. It is renewed every third
                of that while something is held, however long a handler runs.
            max_deliveries: how often an item is delivered before it becomes a dead letter, from 1. Items are counted by
                value: equal ones together. None for the queue's, and if that has none, 20.
            backoff: for how long an item is put off after a failed delivery: 1 second at first, twice as long each
                time, 5 minutes at the most, with jitter.
            stop: an event that stops the consumer, or None.
            grace: for how many seconds handlers may finish after a stop, from 0.
            on_event: is called with what happens, a `ConsumerEvent`, in the thread where it happens; or None.
            prefetch: how many items are taken ahead of the handlers, 0 to 10,000, so that these do not wait for the
                server. They are held while they wait, and no other consumer gets them. With it, `batch` says nothing.

        Returns:
            What it has done.

        Raises:
            TypeError: an argument is of the wrong type, or the handler is a coroutine function.
            ValueError: an argument is out of range.
            RqError: a failure of the server that does not pass.
        """
        return Consumer(
            self,
            handler,
            batch=batch,
            concurrency=concurrency,
            lease=lease,
            max_deliveries=max_deliveries,
            backoff=backoff,
            stop=stop,
            grace=grace,
            on_event=on_event,
            prefetch=prefetch,
        ).run()

    def consume_batches(
        self,
        handler: Callable[[list[T]], object],
        *,
        batch: int = 100,
        concurrency: int = 1,
        lease: float = 30.0,
        max_deliveries: int | None = None,
        backoff: Backoff = Backoff(),  # noqa: B008 - it is frozen
        stop: threading.Event | None = None,
        grace: float = 10.0,
        on_event: Callable[[ConsumerEvent], object] | None = None,
        prefetch: int = 0,
    ) -> Totals:
        """Calls a handler with lists of items, and settles each list by how that ends.

        Runs until it is stopped: by the stop event or, in the main thread, by SIGTERM or SIGINT. It then takes no more,
        lets running handlers finish for the time of grace, and gives back the rest as the next out, in order; a second
        signal gives back at once. What silent consumers held is swept by itself. See `Consumer`, whose `stop` can be
        called.

        Args:
            handler: a plain function of a list of items, oldest first; it runs in a thread. If it returns, they are
                acknowledged. If it raises, they are delivered again after a while. `raise Retry(after=…)`,
                `raise Bury(reason)` and `raise Drop()` choose.
            batch: how many items the list has at the most, 1 to 1,000.
            concurrency: how many handlers run at a time, 1 to 1,000.
            lease: after how many seconds of silence, from 0.1, its items are given to others. It is renewed every third
                of that while something is held, however long a handler runs.
            max_deliveries: how often an item is delivered before it becomes a dead letter, from 1. Items are counted by
                value: equal ones together. None for the queue's, and if that has none, 20.
            backoff: for how long an item is put off after a failed delivery: 1 second at first, twice as long each
                time, 5 minutes at the most, with jitter.
            stop: an event that stops the consumer, or None.
            grace: for how many seconds handlers may finish after a stop, from 0.
            on_event: is called with what happens, a `ConsumerEvent`, in the thread where it happens; or None.
            prefetch: how many items are taken ahead of the handlers, 0 to 10,000, so that these do not wait for the
                server; best a multiple of `batch`. They are held while they wait, and no other consumer gets them.

        Returns:
            What it has done.

        Raises:
            TypeError: an argument is of the wrong type, or the handler is a coroutine function.
            ValueError: an argument is out of range.
            RqError: a failure of the server that does not pass.
        """
        return BatchConsumer(
            self,
            handler,
            batch=batch,
            concurrency=concurrency,
            lease=lease,
            max_deliveries=max_deliveries,
            backoff=backoff,
            stop=stop,
            grace=grace,
            on_event=on_event,
            prefetch=prefetch,
        ).run()

    # The end

    def release(self) -> int:
        """Gives back everything that was taken and not returned to a caller, as the next out.

        That is the rest of a larger batch, and the batch of a get whose reply was lost. What a caller has in hand
        stays held until it is acknowledged, rejected, or swept.

        Returns:
            How many items went back.
        """
        self._run.member().check_open()
        with self._run.get_lock:
            return self._run.release(self._run.setup.durability)
