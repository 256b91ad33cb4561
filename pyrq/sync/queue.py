"""The queue, for threads."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, TypeVar, overload

from pyrq.core import ops
from pyrq.core.codec import Codec, decode_all
from pyrq.core.member import QueueSetup
from pyrq.core.options import Durability, check_count
from pyrq.core.session import Held
from pyrq.core.work import Work
from pyrq.sync._upkeep import Upkeep

__all__ = ["Queue"]

T = TypeVar("T")

_log = logging.getLogger("pyrq.queue")


class Queue(Upkeep[T]):
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
        synced_slaves_enabled: bool = False,
        synced_slaves_count: int = 0,
        synced_slaves_timeout: int = 100,
        max_retry_rollback: int | None = None,
        max_timeout_in_queue: float | None = None,
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
        synced_slaves_enabled: bool = False,
        synced_slaves_count: int = 0,
        synced_slaves_timeout: int = 100,
        max_retry_rollback: int | None = None,
        max_timeout_in_queue: float | None = None,
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
        synced_slaves_enabled: bool = False,
        synced_slaves_count: int = 0,
        synced_slaves_timeout: int = 100,
        max_retry_rollback: int | None = None,
        max_timeout_in_queue: float | None = None,
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
            synced_slaves_enabled: whether each change waits for replicas, as in the older libraries; the same as
                `durability=Replicas(synced_slaves_count, synced_slaves_timeout)`.
            synced_slaves_count: for how many replicas, from 1.
            synced_slaves_timeout: how long, in milliseconds, at least 100 below the client's socket timeout.
            max_retry_rollback: how many rollbacks `can_rollback_item` allows an item, from 0. None: it is not used.
            max_timeout_in_queue: for how many minutes after its first rollback it allows more. None: it is not used.

        Raises:
            TypeError: an argument is of the wrong type.
            ValueError: an argument is out of range.
            MissingExtraError: the URL needs a part of py-rq that is not installed.
            EmbeddedServerError: the embedded server does not start.
        """
        synced_slaves = (synced_slaves_enabled, synced_slaves_count, synced_slaves_timeout)
        rollback = (max_retry_rollback, max_timeout_in_queue)
        self._start(QueueSetup.of(name, codec, client_id, durability, synced_slaves, rollback), redis, retry)

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
    def add_item(self: Queue[str], item: object) -> bool: ...

    @overload
    def add_item(self, item: T) -> bool: ...

    def add_item(self, item: Any) -> bool:
        """Adds one item at the end of the queue.

        Args:
            item: anything but None that the codec accepts; by default bytes as they are, and everything else as text.

        Returns:
            True: it was added.

        Raises:
            InvalidItemError: None, or a value that the codec refuses.
            ServerFullError: the server's memory is full.
        """
        return self.add_items((item,)) == 1

    @overload
    def add_items(self: Queue[str], items: Iterable[object]) -> int: ...

    @overload
    def add_items(self, items: Iterable[T]) -> int: ...

    def add_items(self, items: Iterable[Any]) -> int:
        """Adds items at the end of the queue, in their order.

        They go out in chunks of 1,000, each added whole or not at all. After an error, its attributes `added`,
        `unknown` and `remaining` say how many were added, sent without an answer, and not tried.

        Args:
            items: any iterable, also one larger than the memory: it is read as it is sent. None of them may be None. A
                single text is refused.

        Returns:
            How many were added.

        Raises:
            TypeError: not an iterable of items.
            InvalidItemError: None, or a value that the codec refuses; nothing was added if `items` is a sequence, a set
                or a mapping.
            ServerFullError: the server's memory is full.
        """
        work = Work.forward(self._codec, items)
        return self._run.change_all(work, lambda chunk: lambda keys, identity, _: ops.add(keys, identity, chunk))

    # Taking

    def get_items(self, count: int) -> list[T]:
        """Takes the oldest items. They are held by this consumer until they are acknowledged or rejected.

        What an earlier call did not get through to its caller (a lost reply, an error in a later chunk) comes first.
        An item that the codec can't decode is moved to the dead letters, and the others are returned.

        Args:
            count: how many at the most, from 0. More than 1,000 are taken in several round trips.

        Returns:
            The items, oldest first; an empty list if none waits.

        Raises:
            TypeError: count is no whole number.
            ValueError: count is negative.
        """
        count = check_count("count", count)
        self._run.member().check_open()
        if not count:
            return []
        with self._run.get_lock:
            while True:
                items = self._run.take(count)
                inbox = self._run.member().session.inbox
                decoded = decode_all(self._codec, items)
                if not decoded.spoilt:
                    # Only now: what fails before leaves all of it in the inbox.
                    inbox.take(len(decoded.values))
                    return decoded.values
                self._bury(decoded.spoilt, decoded.reason)

    def _bury(self, spoilt: list[bytes], reason: str) -> None:
        inbox = self._run.member().session.inbox
        # First out of the inbox: an ack of another thread must not take them for newer than what it acknowledges.
        inbox.discard(spoilt)
        try:
            self._run.change(lambda keys, identity, held: ops.bury(keys, identity, Held(held.received), spoilt, reason))
        except BaseException:
            inbox.restore(spoilt)
            raise
        _log.warning("queue %s: buried %d items: %s", self.name, len(spoilt), reason)

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
        return self._run.change_all(
            work, lambda chunk: lambda keys, identity, held: ops.ack(keys, identity, held, chunk)
        )

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

        Args:
            items: any iterable of items that this consumer took; read whole.

        Returns:
            How many of them this consumer still held; the others are not added.

        Raises:
            TypeError: not an iterable of items.
            InvalidItemError: None, or a value that the codec refuses.
        """
        work = Work.backward(self._codec, items)
        return self._run.change_all(
            work, lambda chunk: lambda keys, identity, held: ops.reject(keys, identity, held, chunk)
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

    # What waits

    def delete_item(self, item: T, count: int = 0) -> int:
        """Removes copies of an item that wait, the newest first.

        Args:
            item: the item.
            count: how many copies at the most; 0 for all.

        Returns:
            How many were removed.

        Raises:
            TypeError: count is no whole number.
            ValueError: count is negative.
            InvalidItemError: None, or a value that the codec refuses.
        """
        return self.delete_items((item,), count)

    def delete_items(self, items: Iterable[T], count: int = 0) -> int:
        """Removes copies of items that wait, the newest first. Takes time linear in the length of the queue.

        Args:
            items: any iterable of items.
            count: how many copies of each given item at the most; 0 for all.

        Returns:
            How many were removed.

        Raises:
            TypeError: not an iterable of items, or count is no whole number.
            ValueError: count is negative.
            InvalidItemError: None, or a value that the codec refuses.
        """
        most = check_count("count", count)
        work = Work.forward(self._codec, items)
        return self._run.change_all(
            work, lambda chunk: lambda keys, identity, _: ops.delete(keys, identity, chunk, most)
        )

    def get_count(self) -> int:
        """Counts the items that wait; those that consumers hold are not among them.

        Returns:
            How many items wait.
        """
        return self._run.look(ops.count)

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
            return self._run.release()
