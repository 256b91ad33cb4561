"""Waiting for an item without polling: what a get says and hears about it, and for how long to block. Pure.

A get that finds nothing registers its consumer's landing list and says for how long to block; the consumer then asks
for a blocking move to that list, which the server answers when there is an item (it wakes one consumer for each), or
when the time is up. Then comes the next get, which takes what has landed. So a lost reply, a cancelled wait and a dead
consumer leave an item where the next get, or a sweep, finds it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyrq.core import errors

__all__ = [
    "LATEST_START",
    "NOTHING_FOUND",
    "NO_WAIT",
    "WAKE_EVERY",
    "WAKE_TRIES",
    "Found",
    "Patience",
    "Wait",
    "pause_after",
]

_LONGEST_SLICE = 5.0
_PART_OF_REPLY_TIMEOUT = 0.8
_TICK = 0.1
"""A blocking move must be answered before the socket times out, and servers end it up to a tenth of a second late."""
_SHORTEST_SLICE = 0.005
_JITTER = 0.1
"""Consumers that began together do not stay together."""

FULL_FOR = 1.0
"""For how many seconds to wait when a full server refuses the move."""
LOST_FOR = 0.1
"""For how many seconds to wait after a move that failed."""
WAKE_EVERY = 0.05
"""Every how many seconds what still waits for an item is woken, when it is to stop."""
WAKE_TRIES = 20
"""How often: then it is left to a sweep."""
LATEST_START = 2.0
"""A move must begin at most so many seconds after its get was sent: the registration of its landing list reckons with
that (`MARGIN` of `lua/lib/idle.lua`, which is longer)."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What a get says about waiting.

    Attributes:
        lease: after how many seconds of silence this consumer is to be swept; None for the sweeper's timeout.
        slice_ms: for how many milliseconds it is going to block if nothing is found, at the most; 0 for not at all.
        blocked: how many other moves of this consumer may still bring something.
    """

    lease: float | None = None
    slice_ms: int = 0
    blocked: int = 0


NO_WAIT = Wait()


@dataclass(frozen=True, slots=True)
class Found:
    """What a get hears.

    Attributes:
        items: the items, oldest first.
        tenure: to which tenure of the consumer they belong.
        sweep: whether this consumer is to sweep.
        block: for how many seconds to block; 0.0 for not at all.
        nap: for how many seconds to wait where blocking is of no use; 0.0 for not at all.
        whole: whether these items are all that this consumer holds.
    """

    items: list[bytes]
    tenure: int
    sweep: bool
    block: float
    nap: float
    whole: bool = False

    def giving(self, items: list[bytes]) -> Found:
        """Gives the same with other items. (`dataclasses.replace` takes four times as long, once for each get.)"""
        return Found(items, self.tenure, self.sweep, self.block, self.nap)


NOTHING_FOUND = Found([], 0, False, 0.0, 0.0)


class Patience:
    """For how long one caller is still going to wait, and in which slices."""

    def __init__(self, timeout: float, now: float, reply_timeout: float | None, lease: float | None) -> None:
        """Begins to wait.

        Args:
            timeout: for how many seconds.
            now: the caller's monotonic clock, in seconds.
            reply_timeout: for how many seconds the client waits for an answer, None for ever.
            lease: the consumer's lease in seconds, or None. It must show up in every half of it.
        """
        self._until = now + timeout
        longest = _LONGEST_SLICE
        if reply_timeout is not None:
            longest = min(longest, reply_timeout * _PART_OF_REPLY_TIMEOUT - _TICK)
        if lease is not None:
            longest = min(longest, lease / 2)
        self._longest = longest

    def slice(self, now: float, jitter: float) -> int:
        """Gives for how many milliseconds to block next, at the most.

        Args:
            now: the caller's monotonic clock.
            jitter: a random number from 0 to 1.

        Returns:
            Milliseconds; 0 when the time is up.
        """
        left = self._until - now
        if left <= 0:
            return 0
        spread = self._longest * (1 - _JITTER * jitter)
        return max(1, round(max(_SHORTEST_SLICE, min(left, spread)) * 1000))

    def nap(self, now: float, seconds: float) -> float:
        """Gives for how many seconds to wait where blocking is of no use.

        Args:
            now: the caller's monotonic clock.
            seconds: for how many at the most.

        Returns:
            Seconds; 0 when the time is up.
        """
        return max(0.0, min(seconds, self._until - now))


def pause_after(error: errors.RqError) -> float | None:
    """Says what follows a move that failed.

    Args:
        error: why.

    Returns:
        For how many seconds to wait before the next get, which tells more; None if the error is final.
    """
    if isinstance(error, errors.ServerFullError):
        return FULL_FOR
    final = (
        errors.PermissionDeniedError,
        errors.AuthenticationError,
        errors.WrongTypeError,
        errors.ServerTooOldError,
        errors.ServerRefusedError,
    )
    return None if isinstance(error, final) else LOST_FOR
