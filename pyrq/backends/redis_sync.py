"""The backend over redis-py, for threads."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis import exceptions

from pyrq.backends import _redis
from pyrq.backends.gather_sync import Flights
from pyrq.backends.lending_sync import Lender
from pyrq.core import session_ops
from pyrq.core.call import Call
from pyrq.core.errors import NotEnoughSyncedSlavesError, OutcomeUnknown, RqError, ServerBusyError, ServerGoneError
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

__all__ = ["RedisBackend"]

_LEAST_WAIT = 0.001
"""To the server, 0 is for ever."""


def _interrupted() -> NoAnswer:
    """Tells a caller that another one, who sent for both, was interrupted: it may be done, or under way."""
    return NoAnswer(ServerGoneError("Another thread, which sent this call with its own, was interrupted."))


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
        self.gathers = False
        self._pool = pool
        self._on_close = on_close
        self._checked: set[Durability | None] = set()
        self._flights: dict[Durability | None, Flights[Parcel, list[Any]]] = {}
        self._waiting: set[tuple[int, Any]] = set()
        self._lost = _redis.LostMoves()
        self._lender = Lender(pool, deadline, own=on_close is not None)
        self._pid = os.getpid()

    def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        """Runs calls in order, as `Backend.run` says."""
        tries = Tries(time.monotonic() + self.deadline)
        while True:
            try:
                return self._attempt(Parcel(calls, tries.in_full), durability)
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
            with self._moving(), self._lender.lend() as connection:
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
            if self._lender.size and len(moves) >= self._lender.size:
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
            with self._lender.lend() as connection:
                return (self._exchange(connection, [command]))[0]
        except (Unreached, TryLater, RqError):
            self._lost.doubt()
            return None

    def _attempt(self, parcel: Parcel, durability: Durability | None) -> list[Any]:
        if not self.gathers:
            return self._send(parcel, durability)
        results: list[Any] = self._flights_for(durability).go(parcel)
        return results

    def _flights_for(self, durability: Durability | None) -> Flights[Parcel, list[Any]]:
        """Gives the flights of those that wait for the same."""
        if self._pid != os.getpid():  # a fork may have copied what other threads held
            self._pid, self._flights = os.getpid(), {}
        flights = self._flights.get(durability)
        if flights is None:
            flights = Flights(lambda parcels: self._fly(parcels, durability), room_in_pipeline, PATIENCE, _interrupted)
            flights = self._flights.setdefault(durability, flights)  # one step, whoever else comes in
        return flights

    def _fly(self, parcels: Sequence[Parcel], durability: Durability | None) -> Sequence[Any]:
        if len(parcels) == 1:
            return [self._send(parcels[0], durability)]
        try:
            return self._send_together(parcels, durability)
        except (NeedsSource, TryLater, Unreached, RqError) as failure:
            return [failure, *(another(failure) for _ in parcels[1:])]

    def _send(self, parcel: Parcel, durability: Durability | None) -> list[Any]:
        with self._lender.lend() as connection:
            if durability not in self._checked:
                self._check(connection, durability)
            replies = self._exchange(connection, commands(parcel.calls, durability, in_full=parcel.in_full))
            return results(parcel.calls, durability, replies)

    def _send_together(self, parcels: Sequence[Parcel], durability: Durability | None) -> list[Any]:
        with self._lender.lend() as connection:
            if durability not in self._checked:
                self._check(connection, durability)
            outcomes = landed(parcels, durability, self._exchange(connection, packed_together(parcels, durability)))
            if any(isinstance(each, Exception) and not isinstance(each, _redis.KEEPING) for each in outcomes):
                connection.disconnect()
            return outcomes

    def _confirm(self, calls: Sequence[Call[Any]], durability: Durability | None) -> None:
        changing = [session_ops.confirm(call) for call in calls if call.script.identified]
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

    def _revive(self, failure: Exception) -> None:
        """Does what may help before the next attempt; for subclasses that manage their server."""

    def close(self) -> None:
        """Closes the pool if this backend made it."""
        self._lender.forget()
        if self._on_close is not None:
            self._on_close()
