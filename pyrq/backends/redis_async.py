"""The backend over redis-py, for asyncio."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis import exceptions

from pyrq.backends import _redis
from pyrq.backends.gather_async import Flights
from pyrq.backends.lending_async import Lender
from pyrq.core import session_ops
from pyrq.core.call import Call
from pyrq.core.errors import (
    AsyncNotEnoughSyncedSlavesError,
    NotEnoughSyncedSlavesError,
    OutcomeUnknown,
    RqError,
    ServerBusyError,
)
from pyrq.core.gathering import PATIENCE, Parcel, another, landed, packed_together, room_in_pipeline
from pyrq.core.options import Durability
from pyrq.core.retry import NoAnswer, Tries, Unreached
from pyrq.core.wire import (
    NeedsSource,
    Refusal,
    TryLater,
    check_server,
    commands,
    kill,
    move_commands,
    moved,
    results,
    trial,
    trial_failure,
    unblock,
)

__all__ = ["AsyncRedisBackend"]

_LEAST_WAIT = 0.001
"""To the server, 0 is for ever."""


class AsyncRedisBackend:
    """Runs Calls on connections of a redis-py asyncio pool. See `pyrq.backends.AsyncBackend`."""

    def __init__(self, pool: Any, deadline: float, on_close: Callable[[], Awaitable[None]] | None = None) -> None:
        """Wraps a pool.

        Args:
            pool: a redis-py asyncio ConnectionPool.
            deadline: for how many seconds a call is retried.
            on_close: what to do on `close`; None where the pool is somebody else's.
        """
        self.deadline = deadline
        self.reply_timeout = _redis.reply_timeout(pool)
        self.doubts = 0
        self.gathers = True
        self._pool = pool
        self._on_close = on_close
        self._checked: set[Durability | None] = set()
        self._flights: dict[Durability | None, Flights[Parcel, list[Any]]] = {}
        self._waiting: set[tuple[int, Any]] = set()
        self._lost = _redis.LostMoves()
        self._lender = Lender(pool, deadline, own=on_close is not None)

    async def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        """Runs calls in order, as `AsyncBackend.run` says."""
        now = asyncio.get_running_loop().time
        tries = Tries(now() + self.deadline)
        while True:
            try:
                return await self._attempt(Parcel(calls, tries.in_full), durability)
            except NotEnoughSyncedSlavesError as error:
                raise AsyncNotEnoughSyncedSlavesError(error, lambda: self._confirm(calls, durability)) from None
            except (NeedsSource, TryLater, Unreached, RqError) as failure:
                pause = tries.next(failure, now(), random.random())
                await self._revive(failure)
            await asyncio.sleep(pause)

    async def move(self, source: bytes, target: bytes, seconds: float) -> bool:
        """Moves an item, or waits for one, as `AsyncBackend.move` says."""
        now = asyncio.get_running_loop().time
        until = now() + seconds
        try:
            with self._moving():
                async with self._lender.lend() as connection:
                    left = until - now()
                    if left < _LEAST_WAIT:
                        return False
                    return moved(await self._wait_for_move(connection, move_commands(source, target, left)))
        except _redis.LOST as error:
            raise OutcomeUnknown from _redis.gone(error)
        except TryLater as refused:
            raise refused.error from None
        except Unreached as failure:
            raise failure.error from failure.error.__cause__

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """Leaves at least one place of the pool to others: what waits must not keep those from working that end it."""
        move, moves = object(), _redis.moves_on(self._pool)
        moves.add(move)
        try:
            if self._lender.size and len(moves) >= self._lender.size:
                raise ServerBusyError("No connection of the pool is free to wait on. Give it more connections.")
            yield
        finally:
            moves.discard(move)

    async def _wait_for_move(self, connection: Any, sent: Sequence[tuple[bytes, ...]]) -> Any:
        own: Any = None
        try:
            await self._say(connection, sent)
            told = await self._read(connection)
            if not isinstance(told, int | Refusal):
                raise exceptions.InvalidResponse("The number of the connection can't be read.")
            own = told
            self._waiting.add((os.getpid(), own))
            return await self._read(connection)
        except _redis.REFUSED as error:
            raise _redis.refused(error) from None
        except _redis.LOST:
            # Perhaps the server is another one now, and the number somebody else's.
            self._lost.add(None, asyncio.get_running_loop().time())
            raise
        except BaseException:
            self._lost.add(own, asyncio.get_running_loop().time())
            raise
        finally:
            self._waiting.discard((os.getpid(), own))

    async def wake(self) -> bool:
        """Wakes what waits on this backend, as `AsyncBackend.wake` says."""
        for process, own in list(self._waiting):
            if process == os.getpid() and isinstance(own, int):
                await self._tell(unblock(own))
        for own in self._lost.known(asyncio.get_running_loop().time()):
            if isinstance(await self._tell(kill(own)), int):
                self._lost.settle(own)
        return self._lost.settled(asyncio.get_running_loop().time())

    async def _tell(self, command: tuple[bytes, ...]) -> Any:
        """Says something that may fail: what it is about ends by itself when its time is up."""
        try:
            async with self._lender.lend() as connection:
                return (await self._exchange(connection, [command]))[0]
        except (Unreached, TryLater, RqError):
            self._lost.doubt()
            return None

    async def _attempt(self, parcel: Parcel, durability: Durability | None) -> list[Any]:
        if not self.gathers:
            return await self._send(parcel, durability)
        results: list[Any] = await self._flights_for(durability).go(parcel)
        return results

    def _flights_for(self, durability: Durability | None) -> Flights[Parcel, list[Any]]:
        """Gives the flights of those that wait for the same."""
        flights = self._flights.get(durability)
        if flights is None:
            flights = Flights(
                lambda parcels: self._fly(parcels, durability), room_in_pipeline, PATIENCE, abandoned=self._doubt
            )
            self._flights[durability] = flights
        return flights

    def _doubt(self) -> None:
        self.doubts += 1

    async def _fly(self, parcels: Sequence[Parcel], durability: Durability | None) -> Sequence[Any]:
        if len(parcels) == 1:
            return [await self._send(parcels[0], durability)]
        try:
            return await self._send_together(parcels, durability)
        except (NeedsSource, TryLater, Unreached, RqError) as failure:
            return [failure, *(another(failure) for _ in parcels[1:])]

    async def _send(self, parcel: Parcel, durability: Durability | None) -> list[Any]:
        async with self._lender.lend() as connection:
            if durability not in self._checked:
                await self._check(connection, durability)
            replies = await self._exchange(connection, commands(parcel.calls, durability, in_full=parcel.in_full))
            return results(parcel.calls, durability, replies)

    async def _send_together(self, parcels: Sequence[Parcel], durability: Durability | None) -> list[Any]:
        async with self._lender.lend() as connection:
            if durability not in self._checked:
                await self._check(connection, durability)
            replies = await self._exchange(connection, packed_together(parcels, durability))
            outcomes = landed(parcels, durability, replies)
            if any(isinstance(each, Exception) and not isinstance(each, _redis.KEEPING) for each in outcomes):
                await connection.disconnect(nowait=True)
            return outcomes

    async def _confirm(self, calls: Sequence[Call[Any]], durability: Durability | None) -> None:
        changing = [session_ops.confirm(call) for call in calls if call.script.identified]
        await self.run(changing, durability)

    async def _check(self, connection: Any, durability: Durability | None) -> None:
        """Looks once whether the server can do what will be asked of it."""
        try:
            hello, *rest = await self._exchange(connection, [(b"HELLO",), *([trial(durability)] if durability else [])])
        except NoAnswer as lost:  # nothing was sent but questions
            raise Unreached(lost.error) from lost.error.__cause__
        check_server(hello, durability)
        for reply in rest:
            if isinstance(reply, Refusal):
                raise trial_failure(reply)
        self._checked.add(durability)

    async def _exchange(self, connection: Any, sent: Sequence[tuple[bytes, ...]]) -> list[Any]:
        try:
            await self._say(connection, sent)
            return [await self._read(connection) for _ in sent]
        except _redis.REFUSED as error:
            raise _redis.refused(error) from None
        except _redis.LOST as error:
            self.doubts += 1
            raise NoAnswer(_redis.gone(error)) from None
        except BaseException:
            self.doubts += 1
            raise

    async def _say(self, connection: Any, sent: Sequence[tuple[bytes, ...]]) -> None:
        task = asyncio.current_task()
        cancels = task.cancelling() if task else 0
        await connection.send_packed_command(_redis.packed(connection, sent))
        if task and task.cancelling() > cancels:
            # Python 3.11's wait_for, with which redis-py sends, swallows a cancellation once all is sent.
            raise asyncio.CancelledError

    async def _read(self, connection: Any) -> Any:
        try:
            # It stays open, so that the answers behind a refusal are read as well.
            return await connection.read_response(disable_decoding=True, disconnect_on_error=False)
        except (exceptions.ResponseError, *_redis.REFUSED) as error:
            return _redis.refusal(error)
        except _redis.UNREADABLE:
            # Not chained: its text may quote what could not be read.
            raise exceptions.InvalidResponse("The answer can't be read.") from None

    async def _revive(self, failure: Exception) -> None:
        """Does what may help before the next attempt; for subclasses that manage their server."""

    async def close(self) -> None:
        """Closes the pool if this backend made it."""
        await self._lender.forget()
        if self._on_close is not None:
            await self._on_close()
