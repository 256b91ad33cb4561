"""Several ways of doing one thing, timed in turns: noise on the machine meets all, and a ratio is taken per round."""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from statistics import median, quantiles

__all__ = ["LEAST_ROUNDS", "Absent", "Comparison", "Contest", "Result", "Row", "Sense", "hold", "seconds"]

LEAST_ROUNDS = 5
"""So many rounds a median takes at the least."""

Sample = Callable[[], float]
"""Does the thing once; gives what it took, in the contest's unit. Less is better."""


class Absent(Exception):
    """A side can't take part; its text says why. The others go on."""


class Sense(Enum):
    """What the ratio of two sides says.

    Attributes:
        FASTER: how many times as fast ours is: theirs / ours, and a target is the least that will do.
        COST: how many times as much ours takes: ours / theirs, and a target is the most that will do.
    """

    FASTER = "x as fast"
    COST = "x the cost"

    def ratio(self, ours: float, theirs: float) -> float:
        """Gives the ratio of one round."""
        return theirs / ours if self is Sense.FASTER else ours / theirs

    def reached(self, ratio: float, target: float) -> bool:
        """Says whether a ratio reaches a target."""
        return ratio >= target if self is Sense.FASTER else ratio <= target

    def gain(self, before: float, now: float) -> float:
        """Gives by how much a ratio has become better, as a ratio of its own: more than 1 is better."""
        return now / before if self is Sense.FASTER else before / now


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides of a contest, set against each other.

    Attributes:
        ours: the side that is to be good.
        theirs: the one it is compared with.
        target: what the ratio is to reach; None for no target.
        sense: what the ratio says.
    """

    ours: str
    theirs: str
    target: float | None = None
    sense: Sense = Sense.FASTER


@dataclass(frozen=True, slots=True)
class Contest:
    """What is compared.

    Attributes:
        group: the heading that it stands under.
        name: what is done.
        sides: a name and a way of doing it for each that takes part.
        comparisons: the rows that come of it.
        unit: what the samples give.
        heavy: whether a round takes so long that the fewest must do.
        absent: the sides that can't take part, and why.
    """

    group: str
    name: str
    sides: Mapping[str, Sample]
    comparisons: Sequence[Comparison]
    unit: str = "us/item"
    heavy: bool = False
    absent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a comparison.

    Attributes:
        group: the heading that it stands under.
        name: what was done.
        comparison: what was compared.
        unit: of `mine` and `others`.
        mine: the median of our side.
        others: the median of the other one.
        ratio: the median of the rounds' ratios; None if it was not measured.
        low: the lower quartile of these.
        high: the upper one.
        note: why it was not measured.
    """

    group: str
    name: str
    comparison: Comparison
    unit: str
    mine: float | None = None
    others: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def key(self) -> str:
        """What the same row of another run is found by."""
        return f"{self.name}: {self.comparison.ours} / {self.comparison.theirs}"

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None if there is none, or nothing was measured."""
        if self.ratio is None or self.comparison.target is None:
            return None
        return self.comparison.sense.reached(self.ratio, self.comparison.target)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a contest.

    Attributes:
        contest: the contest.
        taken: the samples of each side, a round each; none of a side that fell out.
        absent: the sides that could not take part, and why.
    """

    contest: Contest
    taken: Mapping[str, Sequence[float]]
    absent: Mapping[str, str]

    def medians(self) -> dict[str, float]:
        """Gives the median of each side."""
        return {side: median(samples) for side, samples in self.taken.items()}

    def rows(self) -> list[Row]:
        """Gives a row for each comparison."""
        return [self._row(comparison) for comparison in self.contest.comparisons]

    def _row(self, comparison: Comparison) -> Row:
        contest = self.contest
        for side in (comparison.ours, comparison.theirs):
            if side in self.absent:
                return Row(contest.group, contest.name, comparison, contest.unit, note=self.absent[side])
        mine, others = self.taken[comparison.ours], self.taken[comparison.theirs]
        ratios = [comparison.sense.ratio(ours, theirs) for ours, theirs in zip(mine, others, strict=True)]
        low, middle, high = quantiles(ratios, n=4, method="inclusive")
        return Row(
            contest.group, contest.name, comparison, contest.unit, median(mine), median(others), middle, low, high
        )


def seconds(work: Callable[[], object]) -> float:
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


def hold(contest: Contest, rounds: int) -> Result:
    """Lets all sides of a contest take turns, after a round that does not count.

    Args:
        contest: the contest.
        rounds: how many rounds count; the fewest if it is heavy. Each round begins with another side.

    Returns:
        What they took.
    """
    order = deque(contest.sides)
    taken: dict[str, list[float]] = {side: [] for side in order}
    absent = dict(contest.absent)
    for turn in range((LEAST_ROUNDS if contest.heavy else rounds) + 1):
        for side in [side for side in order if side not in absent]:
            try:
                sample = contest.sides[side]()
            except Absent as why:
                absent[side] = str(why)
                taken.pop(side)
                continue
            if turn:
                taken[side].append(sample)
        order.rotate(-1)
    return Result(contest, taken, absent)
