"""Taking items from a queue, and waiting for them."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from pyrq.aio._joining import Joined, Share
from pyrq.aio._looking import Looking
from pyrq.aio._waits import wait_for_event
from pyrq.aio.batch import Batch
from pyrq.core import ops
from pyrq.core.codec import BytesCodec, decode_all
from pyrq.core.errors import RqError
from pyrq.core.options import check_count, check_seconds
from pyrq.core.session import Held
from pyrq.core.waiting import NO_WAIT, Found, Patience, Wait
from pyrq.core.work import Work, tell

__all__ = ["Handed", "Taking"]

T = TypeVar("T")

_log = logging.getLogger("pyrq.queue")


@dataclass(slots=True)
class Handed(Generic[T]):
    """What was handed out.

    Attributes:
        values: the items, oldest first.
        found: what the get heard, with their bytes.
        move: what `Moves.begin` gave, if the get said to block.
    """

    values: list[T]
    found: Found
    move: object = None


class Taking(Looking[T]):
    """The part of a queue that hands items out."""

    _joined: Joined | None = None

    async def get_items(self, count: int, timeout: float | None = None) -> list[T]:
        """Takes the oldest items. They are held by this consumer until they are acknowledged or rejected.

        What an earlier call did not get through to its caller (a lost reply, an error in a later chunk) comes first.
        An item that the codec can't decode is moved to the dead letters, and the others are returned.

        With a timeout it waits for the first item, without polling, and takes what is there then. Each waiting call
        needs a connection of its own (https://redis.io/commands/blmove). While the queue is paused, it takes nothing.

        Args:
            count: how many at the most, from 0. More than 1,000 are taken in several round trips.
            timeout: for how many seconds to wait if nothing is there, from 0. None: not at all.

        Returns:
            The items, oldest first; an empty list if none came.

        Raises:
            TypeError: count is no whole number, or timeout no number.
            ValueError: count or timeout is out of range.
        """
        most = check_count("count", count)
        seconds = None if timeout is None else check_seconds("timeout", timeout)
        return (await self._take(most, seconds)).values

    async def ack_and_get(self, items: Iterable[T], count: int, timeout: float | None = None) -> list[T]:
        """Acknowledges items and takes the next ones, in one round trip.

        Of more than 1,000 items the first are acknowledged before. What is not held any more is passed over.

        Args:
            items: any iterable of items that this consumer took, in any order; read whole.
            count: how many to take at the most, from 0.
            timeout: for how many seconds to wait if nothing is there, from 0. None: not at all.

        Returns:
            The items taken, oldest first; an empty list if none came.

        Raises:
            TypeError: not an iterable of items, count is no whole number, or timeout no number.
            ValueError: count or timeout is out of range.
            InvalidItemError: None, or a value that the codec refuses.
        """
        most = check_count("count", count)
        seconds = None if timeout is None else check_seconds("timeout", timeout)
        chunks = list(Work.forward(self._codec, items).chunks())
        last = chunks.pop() if chunks and most else []
        self._run.member().check_open()
        try:
            acked = await self._ack_raw([raw for chunk in chunks for raw in chunk]) if chunks else 0
        except RqError as error:
            error.remaining = (error.remaining or 0) + len(last)
            raise
        if not last:
            return (await self._take(most, seconds)).values
        return (await self._ack_and_hand_out(last, most, seconds, acked)).values

    def batch(self, count: int, timeout: float | None = None) -> AbstractAsyncContextManager[Batch[T]]:
        """Takes items for the time of an `async with` block, which is given them as a `Batch`.

        At the end of the block, what was not settled inside it is acknowledged; after an exception it is rejected, in
        its order, and the exception goes on.

        Args:
            count: how many at the most, from 0.
            timeout: for how many seconds to wait if nothing is there, from 0. None: not at all.

        Returns:
            The context manager.

        Raises:
            TypeError: count is no whole number, or timeout no number.
            ValueError: count or timeout is out of range.
        """
        most = check_count("count", count)
        return self._batch(most, None if timeout is None else check_seconds("timeout", timeout))

    @asynccontextmanager
    async def _batch(self, count: int, timeout: float | None) -> AsyncIterator[Batch[T]]:
        handed = await self._take(count, timeout)
        batch = Batch(handed.values, handed.found.items, self._ack_raw, self._reject_raw)
        try:
            yield batch
        except BaseException as error:
            await batch.fail(error)
            raise
        await batch.finish()

    # What these are made of

    async def _take(self, count: int, timeout: float | None) -> Handed[T]:
        self._run.member().check_open()
        if not count:
            return Handed([], Found([], 0, False, 0.0, 0.0))
        if timeout is None:
            return await self._hand_out(count, NO_WAIT)
        patience = self._run.patience(timeout, None)
        nobody = asyncio.Event()
        while True:
            handed, over = await self._wait(count, patience, None, nobody)
            if handed.values or over:
                return handed

    async def _wait(
        self, count: int, patience: Patience, lease: float | None, stopping: asyncio.Event
    ) -> tuple[Handed[T], bool]:
        """Takes what is there, or waits for a slice of time; says also whether the time is up."""
        asked = time.monotonic()
        slice_ms = patience.slice(asked, random.random())
        handed = await self._hand_out(count, Wait(lease, slice_ms))
        found, pause = handed.found, handed.found.nap
        if found.sweep and handed.move:
            self._run.member().session.moves.end(handed.move)
        elif handed.move:
            pause = await self._run.block(handed.move, found.block, asked)
        if pause:
            await wait_for_event(stopping, patience.nap(time.monotonic(), pause))
        return handed, not slice_ms

    async def _hand_out(self, count: int, wait: Wait) -> Handed[T]:
        if self._run.backend.gathers:
            handed = self._claim(await self._together().get(count, wait))
            if handed is not None:
                return handed
        async with self._run.get_lock:
            return await self._decode(await self._run.take(count, wait), count, wait)

    def _claim(self, share: Share) -> Handed[T] | None:
        """Takes a share; gives None if that can't be done at once. Nothing is awaited: it was promised up to here."""
        session = self._run.member().session
        raw = session.inbox.peek(share.size)
        decoded = decode_all(self._codec, raw)
        if len(decoded.values) == share.size:
            session.inbox.take(share.size)
            return Handed(decoded.values, share.found.giving(raw), share.move)
        if share.move is not None:
            session.moves.end(share.move)
        return None

    def _together(self) -> Joined:
        """Gives what joins the adds, and the gets, of this object in this process."""
        member = self._run.member()
        if self._joined is None or self._joined.member is not member:
            self._joined = Joined(self._run, member, self._setup.limits)
        return self._joined

    async def _ack_and_hand_out(self, raw: list[bytes], count: int, timeout: float | None, acked: int) -> Handed[T]:
        untold = len(raw)
        try:
            async with self._run.get_lock:
                many, found, more = await self._run.ack_and_take(raw, count)
                acked, untold = acked + many, 0
                handed = await self._decode(await self._run.take(count) if more else found, count, NO_WAIT)
            return handed if handed.values or not timeout else await self._take(count, timeout)
        except RqError as error:
            if untold:
                tell(error, untold)
                error.done += acked
            else:
                error.done, error.unknown, error.remaining = acked, 0, 0
            raise

    async def _decode(self, found: Found, count: int, wait: Wait) -> Handed[T]:
        session = self._run.member().session
        while True:
            decoded = decode_all(self._codec, found.items)
            if not decoded.spoilt:
                # Only now: what fails before leaves all of it in the inbox.
                session.inbox.take(len(decoded.values))
                return Handed(decoded.values, found, session.moves.begin() if found.block else None)
            await self._bury(decoded.spoilt, decoded.reason)
            found = await self._run.take(count, wait)

    async def _bury(self, spoilt: list[bytes], reason: str) -> None:
        inbox, limits = self._run.member().session.inbox, self._setup.limits
        # First out of the inbox: an ack of another task must not take them for newer than what it acknowledges.
        inbox.discard(spoilt)
        try:
            await self._run.change(
                lambda keys, identity, held: ops.bury(keys, identity, Held(held.received), spoilt, reason, limits)
            )
        except BaseException:
            inbox.restore(spoilt)
            raise
        _log.warning("queue %s: buried %d items: %s", self.name, len(spoilt), reason)

    async def _ack_raw(self, raw: list[bytes]) -> int:
        return await self._run.run_all(Work.forward(BytesCodec(), raw), self._ack_chunk)

    async def _ack_chunk(self, chunk: list[bytes]) -> int:
        if self._run.backend.gathers:
            return await self._together().ack(chunk)
        return await self._run.acknowledge(chunk)

    async def _reject_raw(self, raw: list[bytes]) -> int:
        limits = self._setup.limits
        return await self._run.change_all(
            Work.backward(BytesCodec(), raw),
            lambda chunk: lambda keys, identity, held: ops.reject(keys, identity, held, chunk, limits),
        )
