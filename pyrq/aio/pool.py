"""The pool, for asyncio."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, TypeVar, overload

from pyrq.aio._facade import Facade
from pyrq.core import pool_ops
from pyrq.core.codec import Codec, decode_all, encode
from pyrq.core.member import PoolSetup
from pyrq.core.options import Durability, check_count
from pyrq.core.work import Work

__all__ = ["Pool"]

T = TypeVar("T")

_log = logging.getLogger("pyrq.pool")


class Pool(Facade[T]):
    """An endless ordered set of items that are processed again and again.

    An item is due at some time. Who gets it has it for `ack_ttl` seconds: acknowledged within them, it is due again
    `ack_valid_for` seconds later; else, whatever became of who had it, as soon as they are over. Items are unique.
    Times are whole seconds of the server's clock.

    Tasks of one event loop may share one object. After a fork, a copy or an unpickling, an object is another one. Make
    one object and keep it: its first call also checks the server.

    What is handed out is not bound to who got it: anyone may acknowledge it. A batch that was lost on its way (a lost
    reply, a cancelled call, an error in a later chunk) is due again after `ack_ttl`.

    Every method may raise, besides what it names: ServerGoneError, OutcomeUnknown (sent, and no answer within the
    retry deadline), PermissionDeniedError, ServerTooOldError, ReadOnlyReplicaError, WrongTypeError and the other
    classes of `pyrq.errors`; methods that change something also NotEnoughSyncedSlavesError, where `durability` was
    asked for; every one QueueClosedError after `close`.
    """

    _setup: PoolSetup[T]

    @overload
    def __init__(
        self: Pool[str],
        name: str,
        redis: object = None,
        *,
        chunk_size: int = 100,
        ack_ttl: float = 600,
        ack_valid_for: float = 129600,
        codec: None = None,
        client_id: str | None = None,
        durability: Durability | None = None,
        retry: float | None = None,
        gather: bool | None = None,
        synced_slaves_enabled: bool = False,
        synced_slaves_count: int = 0,
        synced_slaves_timeout: int = 100,
    ) -> None: ...

    @overload
    def __init__(
        self,
        name: str,
        redis: object = None,
        *,
        chunk_size: int = 100,
        ack_ttl: float = 600,
        ack_valid_for: float = 129600,
        codec: Codec[T],
        client_id: str | None = None,
        durability: Durability | None = None,
        retry: float | None = None,
        gather: bool | None = None,
        synced_slaves_enabled: bool = False,
        synced_slaves_count: int = 0,
        synced_slaves_timeout: int = 100,
    ) -> None: ...

    def __init__(
        self,
        name: str,
        redis: object = None,
        *,
        chunk_size: int = 100,
        ack_ttl: float = 600,
        ack_valid_for: float = 129600,
        codec: Codec[Any] | None = None,
        client_id: str | None = None,
        durability: Durability | None = None,
        retry: float | None = None,
        gather: bool | None = None,
        synced_slaves_enabled: bool = False,
        synced_slaves_count: int = 0,
        synced_slaves_timeout: int = 100,
    ) -> None:
        """Makes a pool object; sends nothing yet.

        Args:
            name: the pool's name, by the rule of `Queue`.
            redis: a redis-py asyncio client (Sentinel-managed too) or its connection pool, a URL (`redis:// rediss://
                unix:// valkey:// redis+sentinel:// embedded:///dir memory://name`), or a backend. None is the URL in
                the environment variable PYRQ_URL, else `redis://localhost:6379/0`.
            chunk_size: how many items are handed out in one round trip, from 1; more than 1,000 count as 1,000.
            ack_ttl: for how many seconds an item that is handed out is hidden; whole ones, from 0.
            ack_valid_for: in how many seconds an item that is acknowledged is due again; whole ones, from 0.
            codec: between values and bytes: `JsonCodec()`, `BytesCodec()`, or one of your own. None for text. Items are
                the same if their bytes are.
            client_id: a label to recognise this object by, 1 to 100 bytes without `/` or braces; a unique part is
                always appended. None for `host[pid]`.
            durability: `Replicas` or `Fsync`: what each change waits for, but `get_items`. None for nothing.
            retry: for how many seconds a call is sent again after a lost connection or reply, 0 to 3,600. None for 30;
                a backend has its own.
            gather: whether calls that are made at the same time go out together, in one pipeline, and the adds and the
                gets among them as one call each; what each call means stays the same. None: in asyncio yes, for threads
                no; a backend has its own.
            synced_slaves_enabled: whether each change waits for replicas, as in the older libraries; the same as
                `durability=Replicas(synced_slaves_count, synced_slaves_timeout)`.
            synced_slaves_count: for how many replicas, from 1.
            synced_slaves_timeout: how long, in milliseconds, at least 100 below the client's socket timeout.

        Raises:
            TypeError: an argument is of the wrong type.
            ValueError: an argument is out of range.
            MissingExtraError: the URL needs a part of py-rq that is not installed.
            EmbeddedServerError: the embedded server does not start.
        """
        synced_slaves = (synced_slaves_enabled, synced_slaves_count, synced_slaves_timeout)
        own = (chunk_size, ack_ttl, ack_valid_for)
        self._start(PoolSetup.of(name, codec, client_id, durability, synced_slaves, own), redis, retry, gather)

    # Adding

    @overload
    async def add_item(self: Pool[str], item: object) -> bool: ...

    @overload
    async def add_item(self, item: T) -> bool: ...

    async def add_item(self, item: Any) -> bool:
        """Makes one item due now, whatever it was before.

        Args:
            item: anything but None that the codec accepts; by default bytes as they are, and everything else as text.

        Returns:
            True if it was not in the pool.

        Raises:
            InvalidItemError: None, or a value that the codec refuses.
            ServerFullError: the server's memory is full.
        """
        return await self.add_items((item,)) == 1

    @overload
    async def add_items(self: Pool[str], items: Iterable[object]) -> int: ...

    @overload
    async def add_items(self, items: Iterable[T]) -> int: ...

    async def add_items(self, items: Iterable[Any]) -> int:
        """Makes items due now, whatever they were before: one that is handed out can't be acknowledged any more.

        They go out in chunks of 1,000, each taken in whole or not at all. After an error, its attributes `added`,
        `unknown` and `remaining` say how many were added, sent without an answer, and not tried.

        Args:
            items: any iterable, also one larger than the memory: it is read as it is sent. None of them may be None. A
                single text is refused.

        Returns:
            How many were not in the pool.

        Raises:
            TypeError: not an iterable of items.
            InvalidItemError: None, or a value that the codec refuses; nothing was added if `items` is a sequence, a set
                or a mapping.
            ServerFullError: the server's memory is full.
        """
        work = Work.forward(self._codec, items)
        return await self._run.change_all(
            work, lambda chunk: lambda keys, identity, _: pool_ops.add(keys, identity, chunk)
        )

    # Handing out

    async def get_items(self, count: int) -> list[T]:
        """Hands out items that are due. Each is hidden for `ack_ttl` seconds from now.

        An item that the codec can't decode stays in the pool, hidden like the others, and is not returned.

        Args:
            count: how many at the most, from 0.

        Returns:
            The items, the one due first before the others; an empty list if none is due.

        Raises:
            TypeError: count is no whole number.
            ValueError: count is negative.
        """
        return await self._hand_out(check_count("count", count))

    async def get_all_items(self) -> list[T]:
        """Hands out everything that is due. Each item is hidden for `ack_ttl` seconds from now.

        Returns:
            The items, the one due first before the others; an empty list if none is due.
        """
        return await self._hand_out(None)

    async def _hand_out(self, count: int | None) -> list[T]:
        self._run.member().check_open()
        values: list[T] = []
        due = pool_ops.DUE_NOW
        while count is None or len(values) < count:
            most = self._setup.chunk_size if count is None else min(count - len(values), self._setup.chunk_size)
            # What was due at the first chunk: what becomes due while others come in is for the next call.
            items, due = await self._hand_out_chunk(most, due)
            values += self._decode(items)
            if len(items) < most:
                break
        return values

    async def _hand_out_chunk(self, count: int, due: bytes) -> tuple[list[bytes], bytes]:
        ack_ttl = self._setup.ack_ttl
        return await self._run.hand_out(lambda keys, identity, _: pool_ops.get(keys, identity, count, ack_ttl, due))

    def _decode(self, items: list[bytes]) -> list[T]:
        decoded = decode_all(self._codec, items)
        if decoded.spoilt:
            _log.warning("pool %s: %d items can't be decoded: %s", self.name, len(decoded.spoilt), decoded.reason)
        return decoded.values

    async def ack_item(self, item: T) -> bool:
        """Acknowledges one item that is handed out: it is due again in `ack_valid_for` seconds.

        Args:
            item: the item.

        Returns:
            Whether it was handed out; if not, nothing changed.

        Raises:
            InvalidItemError: None, or a value that the codec refuses.
        """
        return await self.ack_items((item,)) == 1

    async def ack_items(self, items: Iterable[T]) -> int:
        """Acknowledges items that are handed out: they are due again in `ack_valid_for` seconds.

        Args:
            items: any iterable of items.

        Returns:
            How many of them were handed out; nothing changed for the others.

        Raises:
            TypeError: not an iterable of items.
            InvalidItemError: None, or a value that the codec refuses.
        """
        work = Work.forward(self._codec, items)
        seconds = self._setup.ack_valid_for
        return await self._run.change_all(
            work, lambda chunk: lambda keys, identity, _: pool_ops.ack(keys, identity, chunk, seconds)
        )

    # Taking out

    async def remove_item(self, item: T) -> bool:
        """Takes one item that is handed out out of the pool: it is not to be processed any more.

        Args:
            item: the item.

        Returns:
            Whether it was handed out; if not, nothing changed.

        Raises:
            InvalidItemError: None, or a value that the codec refuses.
        """
        return await self.remove_items((item,)) == 1

    async def remove_items(self, items: Iterable[T]) -> int:
        """Takes items that are handed out out of the pool: they are not to be processed any more.

        Args:
            items: any iterable of items.

        Returns:
            How many of them were handed out; nothing changed for the others.

        Raises:
            TypeError: not an iterable of items.
            InvalidItemError: None, or a value that the codec refuses.
        """
        work = Work.forward(self._codec, items)
        return await self._run.change_all(
            work, lambda chunk: lambda keys, identity, _: pool_ops.remove(keys, identity, chunk)
        )

    async def delete_item(self, item: T) -> bool:
        """Takes one item out of the pool, handed out or not.

        Args:
            item: the item.

        Returns:
            Whether it was in the pool.

        Raises:
            InvalidItemError: None, or a value that the codec refuses.
        """
        return await self.delete_items((item,)) == 1

    async def delete_items(self, items: Iterable[T]) -> int:
        """Takes items out of the pool, handed out or not.

        Args:
            items: any iterable of items.

        Returns:
            How many of them were in the pool.

        Raises:
            TypeError: not an iterable of items.
            InvalidItemError: None, or a value that the codec refuses.
        """
        work = Work.forward(self._codec, items)
        return await self._run.change_all(
            work, lambda chunk: lambda keys, identity, _: pool_ops.delete(keys, identity, chunk)
        )

    async def clear_pool(self) -> int:
        """Takes all items out of the pool, in one step, whatever their number.

        Returns:
            How many there were.
        """
        return await self._run.change(lambda keys, identity, _: pool_ops.clear(keys, identity))

    # Looking

    async def is_in_pool(self, item: T) -> bool:
        """Says whether an item is in the pool, due or not, handed out or not.

        Args:
            item: the item.

        Returns:
            Whether it is.

        Raises:
            InvalidItemError: None, or a value that the codec refuses.
        """
        encoded = encode(self._codec, item)
        return await self._run.look(lambda keys: pool_ops.has(keys, encoded))

    async def get_count(self) -> int:
        """Counts the items in the pool.

        Returns:
            How many there are, in any state.
        """
        return await self._run.look(pool_ops.count)

    async def get_count_to_process(self) -> int:
        """Counts the items that are due, also those that were handed out longer than `ack_ttl` seconds ago.

        Returns:
            How many are due.
        """
        return await self._run.look(pool_ops.count_due)
