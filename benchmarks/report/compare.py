"""A run beside an earlier one: by how much each row's ratio has become better."""

from __future__ import annotations

from benchmarks.contest import Row
from benchmarks.report.record import Record

__all__ = ["Changes"]


class Changes:
    """What changed since an earlier run; what was measured in one of the two only is said to be new, or gone."""

    def __init__(self, before: Record) -> None:
        self._before = {row.key: row for row in before.rows if row.ratio is not None}

    def of(self, row: Row) -> str:
        """Tells about one row: a ratio of ratios, more than 1 being better.

        A change that is smaller than the spread of the rounds, in both runs, is put in brackets.
        """
        before = self._before.get(row.key)
        if row.ratio is None:
            return ""
        if before is None or before.ratio is None:
            return "new"
        gain = f"{row.comparison.sense.gain(before.ratio, row.ratio):.2f}"
        return f"({gain})" if _overlap(before, row) else gain

    def gone(self, rows: list[Row]) -> list[str]:
        """Gives the keys of the earlier run's rows that were not measured now."""
        now = {row.key for row in rows if row.ratio is not None}
        return [key for key in self._before if key not in now]


def _overlap(before: Row, now: Row) -> bool:
    """Says whether the middle halves of two rows' rounds overlap."""
    if before.low is None or before.high is None or now.low is None or now.high is None:
        return False
    return before.low <= now.high and now.low <= before.high
