"""The connections of a redis-py pool, lent to one caller at a time, for asyncio."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any

from redis import exceptions

from pyrq.backends import _redis
from pyrq.core.errors import ServerGoneError
from pyrq.core.retry import Unreached

__all__ = ["Lender", "Loan"]


class Loan:
    """A connection for the time of an `async with` block; one that fails there is closed."""

    __slots__ = ("_connection", "_lender")

    def __init__(self, lender: Lender) -> None:
        self._lender = lender

    async def __aenter__(self) -> Any:
        self._connection = await self._lender.take()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._lender.take_back(self._connection, good=kind is None or issubclass(kind, _redis.KEEPING))


class Lender:
    """Lends connections, and has callers wait while the pool is spent.

    A pool looks at each connection it gives out, and keeps books, which costs as much as a small call itself (measured:
    a third of the time of an add). So a connection is kept, and lent again for a moment without asking.
    """

    def __init__(self, pool: Any, patience: float, own: bool) -> None:
        """Begins with nothing lent.

        Args:
            pool: a redis-py asyncio ConnectionPool.
            patience: for how many seconds a caller waits while it is spent, at least 1.
            own: whether nobody else uses it.
        """
        self.size = _redis.pool_size(pool)
        self._pool = pool
        self._patience = max(1.0, patience)
        self._most = _redis.kept_at_most(pool, own)
        self._kept = _redis.kept(pool) if self._most else []
        self._places = asyncio.Semaphore(self.size) if self.size else None

    def lend(self) -> Loan:
        """Gives the context manager that takes a connection, and gives it back."""
        return Loan(self)

    async def take(self) -> Any:
        """Gives a connection.

        Raises:
            Unreached: none could be had.
        """
        await self._take_place()
        try:
            return await self._take_kept() or await self._open()
        except BaseException:
            self._leave_place()
            raise

    async def _take_kept(self) -> Any:
        if not self._kept:
            return None
        connection, since, loop = self._kept.pop()
        recent = time.monotonic() - since < _redis.MOMENT and loop is asyncio.get_running_loop()
        if recent and _redis.is_quiet(connection):
            return connection
        await self._pool.release(connection)
        return None

    async def _open(self) -> Any:
        try:
            return await self._pool.get_connection(*_redis.POOL_ARGS)
        except (exceptions.RedisError, OSError) as error:
            raise _redis.unreached(error) from None
        except (Exception, asyncio.CancelledError) as error:  # not GeneratorExit: nothing can be awaited then
            await _redis.forget_idle(self._pool)
            if isinstance(error, _redis.UNREADABLE):
                raise _redis.misconnected(error) from None
            raise

    async def take_back(self, connection: Any, *, good: bool) -> None:
        """Takes a connection back.

        Args:
            connection: what `take` gave.
            good: whether it is as good as before.
        """
        try:
            if good and len(self._kept) < self._most:
                self._kept.append((connection, time.monotonic(), asyncio.get_running_loop()))
                return
            try:
                if not good:
                    await connection.disconnect(nowait=True)
                    await self.forget()  # what befell it may have befallen the others
            finally:
                await self._pool.release(connection)
        finally:
            self._leave_place()

    async def forget(self) -> None:
        """Gives the pool back what was in use a moment ago."""
        while self._kept:
            connection, *_ = self._kept.pop()
            await self._pool.release(connection)

    async def _take_place(self) -> None:
        if self._places is None:
            return
        if not self._places.locked():
            await self._places.acquire()
            return
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError:
            why = "No connection of the pool became free in time. Give it more connections."
            raise Unreached(ServerGoneError(why)) from None

    def _leave_place(self) -> None:
        if self._places is not None:
            self._places.release()
