"""Two ways of doing one thing, timed in turns: noise on the machine meets both, and a ratio is taken per round."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

__all__ = ["LEAST_ROUNDS", "Case", "Result", "compare", "rounds_of", "seconds"]

LEAST_ROUNDS = 5
"""So many rounds a median takes at the least."""

Sample = Callable[[], float]
"""Does the thing once; gives how long it took, in microseconds per item."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is compared.

    Attributes:
        name: what is done.
        against: what it is compared with.
        ours: this library's way.
        theirs: the other way.
        target: how many times faster than the other way ours is to be at the least; None if there is no target.
        heavy: whether it takes so long that fewer rounds must do.
    """

    name: str
    against: str
    ours: Sample
    theirs: Sample
    target: float | None = None
    heavy: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a case.

    Attributes:
        case: the case.
        ours: microseconds per item, the median of the rounds.
        theirs: the same of the other way.
        ratio: theirs / ours, the median of the rounds' ratios.
    """

    case: Case
    ours: float
    theirs: float
    ratio: float

    @property
    def verdict(self) -> str:
        """Whether the target is reached."""
        if self.case.target is None:
            return ""
        return "ok" if self.ratio >= self.case.target else "short"


def seconds(work: Callable[[], None]) -> float:
    """Times some work, without pauses for collecting cyclic garbage; it makes none.

    Args:
        work: what to do.

    Returns:
        Seconds.
    """
    gc.disable()
    try:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    finally:
        gc.enable()


def rounds_of(heavy: bool, rounds: int) -> int:
    """Gives how many rounds a case gets: a fifth if it is heavy, but not too few."""
    return max(LEAST_ROUNDS, rounds // 5) if heavy else rounds


def compare(case: Case, rounds: int) -> Result:
    """Times both ways of a case in turns, after a round that does not count.

    Args:
        case: what to compare.
        rounds: how many rounds count (see `rounds_of`); in every other one the other way goes first.

    Returns:
        The medians.
    """
    pairs: list[tuple[float, float]] = []
    for turn in range(rounds_of(case.heavy, rounds) + 1):
        if turn % 2:
            theirs, ours = case.theirs(), case.ours()
        else:
            ours, theirs = case.ours(), case.theirs()
        if turn:
            pairs.append((ours, theirs))
    return Result(
        case=case,
        ours=median(ours for ours, _ in pairs),
        theirs=median(theirs for _, theirs in pairs),
        ratio=median(theirs / ours for ours, theirs in pairs),
    )
