"""The backend over redis-py, for threads."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

from redis import exceptions

from pyrq.backends import _redis
from pyrq.core import ops
from pyrq.core.call import Call
from pyrq.core.errors import NotEnoughSyncedSlavesError, OutcomeUnknown, RqError, ServerBusyError, ServerGoneError
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

__all__ = ["RedisBackend"]

_LEAST_WAIT = 0.001
"""To the server, 0 is for ever."""


class RedisBackend:
    """Runs Calls on connections of a redis-py pool. See `pyrq.backends.Backend`."""

    def __init__(self, pool: Any, deadline: float, on_close: Callable[[], None] | None = None) -> None:
        """Wraps a pool.

        Args:
            pool: a redis-py ConnectionPool.
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
        self._pid = os.getpid()
        self._places = self._make_places()

    def _make_places(self) -> SimpleQueue[None] | None:
        if not self._size:
            return None
        # Not a semaphore: one that Ctrl-C hits inside keeps its inner lock for ever (measured). This one is in C.
        places: SimpleQueue[None] = SimpleQueue()
        for _ in range(self._size):
            places.put(None)
        return places

    def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        """Runs calls in order, as `Backend.run` says."""
        tries = Tries(time.monotonic() + self.deadline)
        while True:
            try:
                return self._attempt(calls, durability, tries.in_full)
            except NotEnoughSyncedSlavesError as error:
                error._confirm = lambda: self._confirm(calls, durability)
                raise
            except (NeedsSource, TryLater, Unreached, RqError) as failure:
                pause = tries.next(failure, time.monotonic(), random.random())
                self._revive(failure)
            time.sleep(pause)

    def move(self, source: bytes, target: bytes, seconds: float) -> bool:
        """Moves an item, or waits for one, as `Backend.move` says."""
        until = time.monotonic() + seconds
        try:
            with self._moving(), self._connection() as connection:
                left = until - time.monotonic()
                if left < _LEAST_WAIT:
                    return False
                return moved(self._wait_for_move(connection, move_commands(source, target, left)))
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

    def _wait_for_move(self, connection: Any, sent: Sequence[tuple[bytes, ...]]) -> Any:
        own: Any = None
        try:
            connection.send_packed_command(_redis.packed(connection, sent))
            told = self._read(connection)
            if not isinstance(told, int | Refusal):
                raise exceptions.InvalidResponse("The number of the connection can't be read.")
            own = told
            self._waiting.add((os.getpid(), own))
            return self._read(connection)
        except _redis.REFUSED as error:
            raise _redis.refused(error) from None
        except _redis.LOST:
            # Perhaps the server is another one now, and the number somebody else's.
            self._lost.add(None, time.monotonic())
            raise
        except BaseException:
            self._lost.add(own, time.monotonic())
            raise
        finally:
            self._waiting.discard((os.getpid(), own))

    def wake(self) -> bool:
        """Wakes what waits on this backend, as `Backend.wake` says."""
        for process, own in list(self._waiting):
            if process == os.getpid() and isinstance(own, int):
                self._tell(unblock(own))
        for own in self._lost.known(time.monotonic()):
            if isinstance(self._tell(kill(own)), int):
                self._lost.settle(own)
        return self._lost.settled(time.monotonic())

    def _tell(self, command: tuple[bytes, ...]) -> Any:
        """Says something that may fail: what it is about ends by itself when its time is up."""
        try:
            with self._connection() as connection:
                return (self._exchange(connection, [command]))[0]
        except (Unreached, TryLater, RqError):
            self._lost.doubt()
            return None

    def _attempt(self, calls: Sequence[Call[Any]], durability: Durability | None, in_full: bool) -> list[Any]:
        with self._connection() as connection:
            if durability not in self._checked:
                self._check(connection, durability)
            replies = self._exchange(connection, commands(calls, durability, in_full=in_full))
            return results(calls, durability, replies)

    def _confirm(self, calls: Sequence[Call[Any]], durability: Durability | None) -> None:
        changing = [ops.confirm(call) for call in calls if call.script.identified]
        self.run(changing, durability)

    def _check(self, connection: Any, durability: Durability | None) -> None:
        """Looks once whether the server can do what will be asked of it."""
        try:
            hello, *rest = self._exchange(connection, [(b"HELLO",), *([trial(durability)] if durability else [])])
        except NoAnswer as lost:  # nothing was sent but questions
            raise Unreached(lost.error) from lost.error.__cause__
        check_server(hello, durability)
        for reply in rest:
            if isinstance(reply, Refusal):
                raise trial_failure(reply)
        self._checked.add(durability)

    def _exchange(self, connection: Any, sent: Sequence[tuple[bytes, ...]]) -> list[Any]:
        try:
            connection.send_packed_command(_redis.packed(connection, sent))
            return [self._read(connection) for _ in sent]
        except _redis.REFUSED as error:
            raise _redis.refused(error) from None
        except _redis.LOST as error:
            self.doubts += 1
            raise NoAnswer(_redis.gone(error)) from None
        except BaseException:
            self.doubts += 1
            raise

    def _read(self, connection: Any) -> Any:
        try:
            # It stays open, so that the answers behind a refusal are read as well.
            return connection.read_response(disable_decoding=True, disconnect_on_error=False)
        except (exceptions.ResponseError, *_redis.REFUSED) as error:
            return _redis.refusal(error)
        except _redis.UNREADABLE:
            # Not chained: its text may quote what could not be read.
            raise exceptions.InvalidResponse("The answer can't be read.") from None

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """Lends a connection, waiting for one while the pool is spent; one that failed is closed."""
        with self._place():
            try:
                connection = self._pool.get_connection(*_redis.POOL_ARGS)
            except (exceptions.RedisError, OSError) as error:
                raise _redis.unreached(error) from None
            except BaseException as error:
                _redis.forget_idle(self._pool)
                if isinstance(error, _redis.UNREADABLE):
                    raise _redis.misconnected(error) from None
                raise
            try:
                yield connection
            except _redis.KEEPING:
                raise
            except BaseException:
                connection.disconnect()
                raise
            finally:
                self._pool.release(connection)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._pid != os.getpid():  # a fork may have copied a semaphore that other threads held
            self._pid, self._places = os.getpid(), self._make_places()
        places = self._places
        if places is None:
            yield
            return
        try:
            places.get(timeout=max(1.0, self.deadline))
        except Empty:
            why = "No connection of the pool became free in time. Give it more connections."
            raise Unreached(ServerGoneError(why)) from None
        try:
            yield
        finally:
            places.put(None)

    def _revive(self, failure: Exception) -> None:
        """Does what may help before the next attempt; for subclasses that manage their server."""

    def close(self) -> None:
        """Closes the pool if this backend made it."""
        if self._on_close is not None:
            self._on_close()
