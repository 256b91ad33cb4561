"""How much is to be done by when. Pure, but for the clock that it is given."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

__all__ = ["Plan"]

_HOUR = 3600.0
_SHORTEST_ROUND, _LONGEST_ROUND = 4.0, 45.0
_ROUNDS = 4
"""In a short run each server is used in two rounds."""
_GRACE = 60.0


class Plan:
    """Amounts that are to be done evenly over the time of a soak.

    Attributes:
        seconds: how long it takes.
        amounts: how much of what is to be done in that time.
        round_seconds: how long a round takes, without its end.
    """

    def __init__(
        self, seconds: float, per_hour: Mapping[str, int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begins now.

        Args:
            seconds: how long it takes.
            per_hour: how much of what is to be done in an hour; of all there is at least one.
            clock: tells the time, in seconds.
        """
        self.seconds = seconds
        self.amounts = {figure: max(1, math.ceil(many * seconds / _HOUR)) for figure, many in per_hour.items()}
        self.round_seconds = min(_LONGEST_ROUND, max(_SHORTEST_ROUND, seconds / _ROUNDS))
        self._clock = clock
        self._began = clock()

    @property
    def elapsed(self) -> float:
        """How many seconds ago it began."""
        return self._clock() - self._began

    def behind(self, done: Mapping[str, int], figure: str) -> int:
        """Says how much of something must be done now; 0 if enough is.

        Args:
            done: how much of what is done.
            figure: of what.
        """
        due = math.ceil(self.amounts[figure] * min(1.0, self.elapsed / self.seconds))
        return max(0, due - done.get(figure, 0))

    def missing(self, done: Mapping[str, int]) -> dict[str, int]:
        """Gives what is still to be done."""
        left = {figure: many - done.get(figure, 0) for figure, many in self.amounts.items()}
        return {figure: many for figure, many in left.items() if many > 0}

    def is_over(self, done: Mapping[str, int]) -> bool:
        """Says whether the time has passed and all is done; or so much time that it will never be."""
        late = self.seconds * 1.25 + _GRACE
        return self.elapsed >= late or (self.elapsed >= self.seconds and not self.missing(done))
