"""The backend over redis-py, for asyncio."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from redis import exceptions

from pyrq.backends import _redis
from pyrq.core import ops
from pyrq.core.call import Call
from pyrq.core.errors import (
    AsyncNotEnoughSyncedSlavesError,
    NotEnoughSyncedSlavesError,
    OutcomeUnknown,
    RqError,
    ServerBusyError,
    ServerGoneError,
)
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
        self._pool = pool
        self._on_close = on_close
        self._checked: set[Durability | None] = set()
        self._waiting: set[tuple[int, Any]] = set()
        self._lost = _redis.LostMoves()
        self._size = _redis.pool_size(pool)
        self._places = asyncio.Semaphore(self._size) if self._size else None

    async def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        """Runs calls in order, as `AsyncBackend.run` says."""
        now = asyncio.get_running_loop().time
        tries = Tries(now() + self.deadline)
        while True:
            try:
                return await self._attempt(calls, durability, tries.in_full)
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
                async with self._connection() as connection:
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
            if self._size and len(moves) >= self._size:
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
            async with self._connection() as connection:
                return (await self._exchange(connection, [command]))[0]
        except (Unreached, TryLater, RqError):
            self._lost.doubt()
            return None

    async def _attempt(self, calls: Sequence[Call[Any]], durability: Durability | None, in_full: bool) -> list[Any]:
        async with self._connection() as connection:
            if durability not in self._checked:
                await self._check(connection, durability)
            replies = await self._exchange(connection, commands(calls, durability, in_full=in_full))
            return results(calls, durability, replies)

    async def _confirm(self, calls: Sequence[Call[Any]], durability: Durability | None) -> None:
        changing = [ops.confirm(call) for call in calls if call.script.identified]
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

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """Lends a connection, waiting for one while the pool is spent; one that failed is closed."""
        async with self._place():
            try:
                connection = await self._pool.get_connection(*_redis.POOL_ARGS)
            except (exceptions.RedisError, OSError) as error:
                raise _redis.unreached(error) from None
            except (Exception, asyncio.CancelledError) as error:  # not GeneratorExit: nothing can be awaited then
                await _redis.forget_idle(self._pool)
                if isinstance(error, _redis.UNREADABLE):
                    raise _redis.misconnected(error) from None
                raise
            try:
                yield connection
            except _redis.KEEPING:
                raise
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            finally:
                await self._pool.release(connection)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._places is None:
            yield
            return
        try:
            async with asyncio.timeout(max(1.0, self.deadline)):
                await self._places.acquire()
        except TimeoutError:
            why = "No connection of the pool became free in time. Give it more connections."
            raise Unreached(ServerGoneError(why)) from None
        try:
            yield
        finally:
            self._places.release()

    async def _revive(self, failure: Exception) -> None:
        """Does what may help before the next attempt; for subclasses that manage their server."""

    async def close(self) -> None:
        """Closes the pool if this backend made it."""
        if self._on_close is not None:
            await self._on_close()
