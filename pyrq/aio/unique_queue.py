"""The queue of unique items, for asyncio."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, overload

from pyrq.aio.queue import Queue
from pyrq.core import ops
from pyrq.core.codec import Codec
from pyrq.core.keys import Kind
from pyrq.core.member import QueueSetup, one_name
from pyrq.core.options import Durability, check_count

__all__ = ["UniqueQueue"]

T = TypeVar("T")


class UniqueQueue(Queue[T]):
    """A queue in which each waiting item is there once: adding one that waits is ignored.

    An item that is taken may be added again at once. What goes back (a reject, a release, the sweep of a silent
    consumer) and waits again by then is dropped: the waiting copy keeps its place, and counts for both. All else is as
    in `Queue`.

    Which items wait is kept in a set beside the list, and both change together. Items that others push to the list
    itself are not in the set: see `repair`.
    """

    @overload
    def __init__(
        self: UniqueQueue[str],
        queue_name: str | None = None,
        redis: object = None,
        *,
        name: str | None = None,
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
        queue_name: str | None = None,
        redis: object = None,
        *,
        name: str | None = None,
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
        queue_name: str | None = None,
        redis: object = None,
        *,
        name: str | None = None,
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
            queue_name: the queue's name, by the rule of `Queue`.
            redis: a redis-py asyncio client (Sentinel-managed too) or its connection pool, a URL (`redis:// rediss://
                unix:// valkey:// redis+sentinel:// embedded:///dir memory://name`), or a backend. None is the URL in
                the environment variable PYRQ_URL, else `redis://localhost:6379/0`.
            name: the same as `queue_name`; one of them must be given.
            codec: between values and bytes: `JsonCodec()`, `BytesCodec()`, or one of your own. None for text. Items are
                the same if their bytes are.
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
            TypeError: an argument is of the wrong type, or not exactly one name is given.
            ValueError: an argument is out of range.
            MissingExtraError: the URL needs a part of py-rq that is not installed.
            EmbeddedServerError: the embedded server does not start.
        """
        synced_slaves = (synced_slaves_enabled, synced_slaves_count, synced_slaves_timeout)
        rollback = (max_retry_rollback, max_timeout_in_queue)
        limits = (max_deliveries, max_size, dead_max)
        argument, given = one_name(queue_name, name)
        setup = QueueSetup.of(
            given, codec, client_id, durability, synced_slaves, rollback, limits, kind=Kind.UNIQUE, argument=argument
        )
        self._start(setup, redis, retry, gather)

    @property
    def queue_name(self) -> str:
        """The queue's name, by its older name."""
        return self.name

    @property
    def set_name(self) -> str:
        """The key of the set of what waits."""
        return self._run.member().keys.unique.decode()

    # Adding

    @overload
    async def add_item(self: UniqueQueue[str], item: object, delay: float = 0) -> bool: ...

    @overload
    async def add_item(self, item: T, delay: float = 0) -> bool: ...

    async def add_item(self, item: Any, delay: float = 0) -> bool:
        """Adds one item at the end of the queue, unless it waits already.

        Args:
            item: anything but None that the codec accepts; by default bytes as they are, and everything else as text.
            delay: in how many seconds it is to wait, from 0, by the server's clock. Put off, it is added in any case;
                if it waits already when it is due, it is dropped.

        Returns:
            True if it was added, False if it waits already.

        Raises:
            TypeError: delay is no number.
            ValueError: delay is out of range.
            InvalidItemError: None, or a value that the codec refuses.
            QueueFull: the queue has a `max_size`, and it is reached.
            ServerFullError: the server's memory is full.
        """
        return await self.add_items((item,), delay) == 1

    @overload
    async def add_items(self: UniqueQueue[str], items: Iterable[object], delay: float = 0) -> int: ...

    @overload
    async def add_items(self, items: Iterable[T], delay: float = 0) -> int: ...

    async def add_items(self, items: Iterable[Any], delay: float = 0) -> int:
        """Adds items at the end of the queue, in their order; those that wait already keep their place.

        They go out in chunks of 1,000, each taken in whole or not at all. After an error, its attributes `added`,
        `unknown` and `remaining` say how many were added, sent without an answer, and not tried.

        Args:
            items: any iterable, also one larger than the memory: it is read as it is sent. None of them may be None. A
                single text is refused.
            delay: in how many seconds they are to wait, from 0, by the server's clock. Put off, they are added in any
                case; those that wait already when they are due are dropped.

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
        return await super().add_items(items, delay)

    # What waits

    async def delete_item(self, item: T, count: int = 0) -> int:
        """Removes an item that waits; it may be added again at once.

        Args:
            item: the item.
            count: as in `Queue`; since an item waits once, any count removes it.

        Returns:
            How many were removed: 1 or 0, or more if others pushed it to the list itself.

        Raises:
            TypeError: count is no whole number.
            ValueError: count is negative.
            InvalidItemError: None, or a value that the codec refuses.
        """
        return await self.delete_items((item,), count)

    async def delete_items(self, items: Iterable[T], count: int = 0) -> int:
        """Removes items that wait; they may be added again at once. Takes time linear in the length of the queue.

        Args:
            items: any iterable of items.
            count: as in `Queue`; since an item waits once, any count removes it.

        Returns:
            How many were removed.

        Raises:
            TypeError: not an iterable of items, or count is no whole number.
            ValueError: count is negative.
            InvalidItemError: None, or a value that the codec refuses.
        """
        check_count("count", count)
        # All copies, whoever pushed them: else the set would no longer say what waits.
        return await super().delete_items(items)

    async def repair(self) -> int:
        """Makes the set of what waits anew from the list, for queues that others wrote to.

        It is one step for everybody, and takes time linear in the length of the queue.

        Returns:
            How many members the set gained and lost; 0 if list and set agreed.
        """
        return await self._run.change(lambda keys, identity, _: ops.repair(keys, identity))
