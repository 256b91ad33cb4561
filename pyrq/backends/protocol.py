"""What a backend is. A third party writes one from these docstrings, and checks it with the contract tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from pyrq.core.call import Call
from pyrq.core.options import Durability

__all__ = ["AsyncBackend", "Backend"]

R = TypeVar("R")


class Backend(Protocol):
    """Runs Calls on one server. Threads share it.

    Attributes:
        deadline: for how many seconds a call is retried before it fails.
        reply_timeout: how long an answer is waited for, in seconds; None for ever. A wait for replicas must be shorter.
        doubts: how many sendings so far ended without an answer. It only grows. While it has not moved, no request of
            anybody can still be under way, and a session may be forgotten.
        gathers: whether calls made at the same time go out together; queue objects then join their adds, and gets.
    """

    deadline: float
    reply_timeout: float | None
    doubts: int
    gathers: bool

    def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        """Runs calls in order, in one pipeline on one connection, with a wait for `durability` behind them.

        What `pyrq.core.wire` says is sent, and how it reads the replies is how they are read: it tells what to send
        again, and `pyrq.core.retry` when. A call may be sent any number of times, unchanged: it takes effect once.

        Args:
            calls: what to run; calls that change something are on different lanes.
            durability: what to wait for; None for nothing.

        Returns:
            A result for each call.

        Raises:
            OutcomeUnknown: something was sent, and no answer came until the deadline.
            NotEnoughSyncedSlavesError: all is done; too few confirmed it. Its `confirm` asks again.
            RqError: nothing was done.
        """
        ...

    def move(self, source: bytes, target: bytes, seconds: float) -> bool:
        """Moves the last item of a list to the head of another one; waits for an item if there is none (BLMOVE).

        It is sent once: who loses the answer looks at the target.

        Args:
            source: the list to take from.
            target: the list to put it into.
            seconds: for how long to wait at the most, from 0.005, less than `reply_timeout`. A wait for a connection
                counts: the move must not last longer than the caller has reckoned with.

        Returns:
            Whether an item was moved.

        Raises:
            OutcomeUnknown: it was sent, and no answer came; an item may have been moved, or still be.
            RqError: nothing was moved.
        """
        ...

    def wake(self) -> bool:
        """Ends the moves that wait on this backend, as if their time were up, where the server allows that.

        Returns:
            Whether no move whose answer was lost can bring something any more.
        """
        ...

    def close(self) -> None:
        """Lets go of what this backend made itself; a client that it was given stays open."""
        ...


class AsyncBackend(Protocol):
    """Runs Calls on one server, for asyncio. Tasks of one event loop share it.

    Attributes:
        deadline: for how many seconds a call is retried before it fails.
        reply_timeout: how long an answer is waited for, in seconds; None for ever. A wait for replicas must be shorter.
        doubts: how many sendings so far ended without an answer, those of cancelled tasks included. It only grows.
        gathers: whether calls made at the same time go out together; queue objects then join their adds, and gets.
    """

    deadline: float
    reply_timeout: float | None
    doubts: int
    gathers: bool

    async def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        """Runs calls in order, in one pipeline on one connection, with a wait for `durability` behind them.

        As `Backend.run`. A cancelled run leaves no connection in the middle of an answer, and counts as a doubt.

        Args:
            calls: what to run; calls that change something are on different lanes.
            durability: what to wait for; None for nothing.

        Returns:
            A result for each call.

        Raises:
            OutcomeUnknown: something was sent, and no answer came until the deadline.
            NotEnoughSyncedSlavesError: all is done; too few confirmed it. Its `confirm` asks again.
            RqError: nothing was done.
        """
        ...

    async def move(self, source: bytes, target: bytes, seconds: float) -> bool:
        """Moves the last item of a list to the head of another one; waits for an item if there is none (BLMOVE).

        It is sent once: who loses the answer, or is cancelled, looks at the target.

        Args:
            source: the list to take from.
            target: the list to put it into.
            seconds: for how long to wait at the most, from 0.005, less than `reply_timeout`. A wait for a connection
                counts: the move must not last longer than the caller has reckoned with.

        Returns:
            Whether an item was moved.

        Raises:
            OutcomeUnknown: it was sent, and no answer came; an item may have been moved, or still be.
            RqError: nothing was moved.
        """
        ...

    async def wake(self) -> bool:
        """Ends the moves that wait on this backend, as if their time were up, where the server allows that.

        Returns:
            Whether no move whose answer was lost can bring something any more.
        """
        ...

    async def close(self) -> None:
        """Lets go of what this backend made itself; a client that it was given stays open."""
        ...
