"""The connections of a redis-py pool, lent to one caller at a time, for threads."""

from __future__ import annotations

import os
import time
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any

from redis import exceptions

from pyrq.backends import _redis
from pyrq.core.errors import ServerGoneError
from pyrq.core.retry import Unreached

__all__ = ["Lender", "Loan"]


class Loan:
    """A connection for the time of a `with` block; one that fails there is closed."""

    __slots__ = ("_connection", "_lender")

    def __init__(self, lender: Lender) -> None:
        self._lender = lender

    def __enter__(self) -> Any:
        self._connection = self._lender.take()
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lender.take_back(self._connection, good=kind is None or issubclass(kind, _redis.KEEPING))


class Lender:
    """Lends connections, and has callers wait while the pool is spent.

    A pool looks at each connection it gives out, and keeps books, which costs as much as a small call itself (measured:
    a third of the time of an add). So a connection is kept, and lent again for a moment without asking.
    """

    def __init__(self, pool: Any, patience: float, own: bool) -> None:
        """Begins with nothing lent.

        Args:
            pool: a redis-py ConnectionPool.
            patience: for how many seconds a caller waits while it is spent, at least 1.
            own: whether nobody else uses it.
        """
        self.size = _redis.pool_size(pool)
        self._pool = pool
        self._patience = max(1.0, patience)
        self._most = _redis.kept_at_most(pool, own)
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._kept = _redis.kept(self._pool) if self._most else []
        self._places = self._make_places()

    def _make_places(self) -> SimpleQueue[None] | None:
        if not self.size:
            return None
        # Not a semaphore: one that Ctrl-C hits inside keeps its inner lock for ever (measured). This one is in C.
        places: SimpleQueue[None] = SimpleQueue()
        for _ in range(self.size):
            places.put(None)
        return places

    def lend(self) -> Loan:
        """Gives the context manager that takes a connection, and gives it back."""
        return Loan(self)

    def take(self) -> Any:
        """Gives a connection.

        Raises:
            Unreached: none could be had.
        """
        if self._pid != os.getpid():  # a fork may have copied what other threads held
            self._begin()
        self._take_place()
        try:
            return self._take_kept() or self._open()
        except BaseException:
            self._leave_place()
            raise

    def _take_kept(self) -> Any:
        try:
            connection, since = self._kept.pop()
        except IndexError:
            return None
        if time.monotonic() - since < _redis.MOMENT and _redis.is_quiet(connection):
            return connection
        self._pool.release(connection)
        return None

    def _open(self) -> Any:
        try:
            return self._pool.get_connection(*_redis.POOL_ARGS)
        except (exceptions.RedisError, OSError) as error:
            raise _redis.unreached(error) from None
        except BaseException as error:
            _redis.forget_idle(self._pool)
            if isinstance(error, _redis.UNREADABLE):
                raise _redis.misconnected(error) from None
            raise

    def take_back(self, connection: Any, *, good: bool) -> None:
        """Takes a connection back.

        Args:
            connection: what `take` gave.
            good: whether it is as good as before.
        """
        try:
            if good and len(self._kept) < self._most:
                self._kept.append((connection, time.monotonic()))
                return
            try:
                if not good:
                    connection.disconnect()
                    self.forget()  # what befell it may have befallen the others
            finally:
                self._pool.release(connection)
        finally:
            self._leave_place()

    def forget(self) -> None:
        """Gives the pool back what was in use a moment ago."""
        while self._kept:
            try:
                connection, _ = self._kept.pop()
            except IndexError:  # another thread took the last one
                return
            self._pool.release(connection)

    def _take_place(self) -> None:
        if self._places is None:
            return
        try:
            self._places.get(timeout=self._patience)
        except Empty:
            why = "No connection of the pool became free in time. Give it more connections."
            raise Unreached(ServerGoneError(why)) from None

    def _leave_place(self) -> None:
        if self._places is not None:
            self._places.put(None)
