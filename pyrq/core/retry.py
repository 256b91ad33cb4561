"""When to send again: decisions, without a clock and without a die.

A call may be sent again because of its identity: it takes effect once (see `session`). What may be sent again is said
by the kind of failure; for how long, by the deadline.
"""

from __future__ import annotations

from pyrq.core.errors import NotEnoughSyncedSlavesError, OutcomeUnknown, RqError, ServerRefusedError
from pyrq.core.wire import NeedsSource, TryLater

__all__ = ["NoAnswer", "Tries", "Unreached"]

_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 1.0


class Unreached(Exception):
    """No connection could be had; nothing was sent."""

    def __init__(self, error: RqError) -> None:
        super().__init__()
        self.error = error


class NoAnswer(Unreached):
    """Something was sent, and the connection failed before all of the answer came."""


class Tries:
    """The attempts of one run.

    Attributes:
        in_full: whether scripts are to be sent as text, because the server did not have one of them.
    """

    def __init__(self, until: float) -> None:
        """Starts counting.

        Args:
            until: when the deadline passes, on the caller's monotonic clock, in seconds.
        """
        self.in_full = False
        self._until = until
        self._pause = _FIRST_PAUSE
        self._lost = False

    def next(self, failure: Exception, now: float, jitter: float) -> float:
        """Decides what follows a failed attempt.

        Pauses grow and have jitter, so that many clients do not come back together
        (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).

        Args:
            failure: NeedsSource, TryLater, Unreached, NoAnswer or an RqError.
            now: the caller's monotonic clock, in seconds.
            jitter: a random number from 0 to 1.

        Returns:
            For how many seconds to pause before the next attempt.

        Raises:
            RqError: there is no next attempt, because the failure is final or the deadline has passed.
        """
        if isinstance(failure, NeedsSource | TryLater):
            self._lost = self._lost or failure.partly
        if isinstance(failure, NeedsSource) and not self.in_full:
            self.in_full = True
            return 0.0
        if not isinstance(failure, TryLater | Unreached):
            final = self._final(failure if isinstance(failure, RqError) else ServerRefusedError())
            raise final from final.__cause__
        self._lost = self._lost or isinstance(failure, NoAnswer)
        left = self._until - now
        if left <= 0:
            final = self._final(failure.error)
            raise final from final.__cause__
        pause = self._pause * (0.5 + jitter / 2)
        self._pause = min(_LONGEST_PAUSE, self._pause * 2)
        return min(pause, left)

    def _final(self, error: Exception) -> Exception:
        """An earlier attempt without an answer may still run, so nothing that follows says that the call did not."""
        if not self._lost or isinstance(error, OutcomeUnknown | NotEnoughSyncedSlavesError):
            return error
        return OutcomeUnknown.after(error)
