"""What becomes of an item after its handler: exceptions by which a handler chooses, and what any other means. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pyrq.core.options import check_number, check_seconds

__all__ = ["Backoff", "Bury", "Drop", "Fate", "Retry", "Verdict", "verdict_on"]

_MOST_STEPS = 64


class Retry(Exception):
    """Raised by a handler: deliver the item again, later. It counts as a delivery.

    Attributes:
        after: in how many seconds, or None for what the backoff says.
        reason: why, for the dead letter it may become.
    """

    def __init__(self, after: float | None = None, reason: str = "") -> None:
        """Chooses when.

        Args:
            after: in how many seconds, from 0; None for what the consumer's backoff says.
            reason: why, in a few words.

        Raises:
            TypeError: after is no number.
            ValueError: after is out of range.
        """
        self.after = None if after is None else check_seconds("after", after)
        self.reason = str(reason)
        super().__init__(after, reason)  # what pickle makes it of again

    def __str__(self) -> str:
        return self.reason


class Bury(Exception):
    """Raised by a handler: this item can't be used, so make it a dead letter now.

    Attributes:
        reason: why, as the dead letter says it.
    """

    def __init__(self, reason: str = "") -> None:
        """Says why.

        Args:
            reason: why, in a few words; kept with the dead letter, up to 2,000 bytes.
        """
        self.reason = str(reason)
        super().__init__(self.reason)


class Drop(Exception):
    """Raised by a handler: this item is of no use, so acknowledge it although it was not processed."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """For how long an item is put off after a failed delivery: longer each time, up to a most, and spread by jitter.

    With jitter 0.5, a wait is from half of what it is without to all of it
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/, "equal jitter").

    Attributes:
        first: the wait after the first delivery, in seconds, from 0.
        most: the longest wait, in seconds, from `first`.
        factor: by how much each wait is longer than the one before, 1 to 100.
        jitter: which part of a wait is random, 0 to 1.
    """

    first: float = 1.0
    most: float = 300.0
    factor: float = 2.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        # Kept as the plain numbers that they are: others may not know how to be shown.
        keep = object.__setattr__
        keep(self, "first", check_seconds("first", self.first))
        keep(self, "most", check_seconds("most", self.most))
        keep(self, "factor", check_number("factor", self.factor, least=1, most=100))
        keep(self, "jitter", check_number("jitter", self.jitter, least=0, most=1))
        if self.most < self.first:
            raise ValueError(f"most must be {self.first:g} (first) or more seconds, not {self.most:g}")

    def waits(self, random: float) -> tuple[float, ...]:
        """Gives the waits after the first delivery, the second, and so on; the last one holds for all that follow.

        Args:
            random: a random number from 0 to 1, the same for all of them: it is used for one.

        Returns:
            Seconds; at least one number.
        """
        share = 1 - self.jitter * random
        steps, wait = [min(self.first, self.most)], float(self.first)
        while steps[-1] < self.most and len(steps) < _MOST_STEPS and self.factor > 1 and wait:
            wait = min(self.most, wait * self.factor)
            steps.append(wait)
        return tuple(step * share for step in steps)


class Fate(Enum):
    """What becomes of an item."""

    ACK = "ack"
    DROP = "drop"
    RETRY = "retry"
    BURY = "bury"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done with an item.

    Attributes:
        fate: what.
        reason: why, where it may become a dead letter.
        waits: for a retry: for how many seconds to put it off, as `Backoff.waits` gives them.
    """

    fate: Fate
    reason: str = ""
    waits: tuple[float, ...] = ()


def verdict_on(error: BaseException | None, backoff: Backoff, random: float) -> Verdict:
    """Decides by how a handler ended.

    Args:
        error: what it raised, or None.
        backoff: how long to put off what failed.
        random: a random number from 0 to 1, for its jitter.

    Returns:
        The verdict. Its reason is the exception's class and message, never more of it.
    """
    if error is None:
        return Verdict(Fate.ACK)
    if isinstance(error, Drop):
        return Verdict(Fate.DROP)
    if isinstance(error, Bury):
        return Verdict(Fate.BURY, error.reason or "buried by its handler")
    if isinstance(error, Retry):
        waits = backoff.waits(random) if error.after is None else (error.after,)
        return Verdict(Fate.RETRY, error.reason or "retried by its handler", waits)
    return Verdict(Fate.RETRY, _story(error), backoff.waits(random))


def _story(error: BaseException) -> str:
    kind = type(error).__qualname__
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - an exception of the user's whose text fails has a class at least
        message = ""
    return f"{kind}: {message}" if message else kind
