"""Which charts are drawn of a run: how many items a second each side moves, and how far each target is away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.contest import Row, Sense
from benchmarks.names import ASYNCIO, OURS, THREADS
from benchmarks.report.record import Record
from benchmarks.report.setting import date_of
from benchmarks.report.svg import Bar, Panel, chart

__all__ = ["charts"]

_AIMS = (
    "How near each target is: the mark is the target, a longer bar is better, and what passes the mark has reached it"
)
_RATES = (
    ("adding", "adding", THREADS, "add"),
    ("working", "taking and acknowledging", THREADS, "get + ack"),
    ("tasks", "500 tasks", ASYNCIO, ""),
)
"""For each chart of rates: a name, what it shows, which group's contests, and what their names begin with."""
_MOST = 3.0
"""A target reached this many times over fills the chart; a bar ends there."""
_LONGEST_NAME = 42


def charts(record: Record) -> Iterator[tuple[str, str, str]]:
    """Draws the charts of a run.

    Args:
        record: the run.

    Yields:
        For each: what it is called in names of files, what it shows, and the SVG.
    """
    setting = record.setting
    foot = f"{date_of(setting)}, {setting['machine']}, {setting['server']}"
    rows = [row for row in record.rows if row.comparison.target is not None and row.ratio is not None]
    if rows:
        panel = Panel(_AIMS, [_aim(row) for row in rows])
        yield "targets", "How far each target is away", chart([panel], foot)
    for name, shows, group, begins in _RATES:
        contests = dict.fromkeys(row.name for row in record.rows if row.group == group and row.name.startswith(begins))
        panels = [_rates(contest, record.medians[contest]) for contest in contests]
        if panels:
            yield name, f"Items a second, {shows}", chart(panels, foot)


def _aim(row: Row) -> Bar:
    """Draws a ratio on a scale where each target is 1, and more is better."""
    comparison = row.comparison
    assert row.ratio is not None
    assert comparison.target is not None
    is_speed = comparison.sense is Sense.FASTER
    share = row.ratio / comparison.target if is_speed else comparison.target / max(row.ratio, 1e-9)
    told = f"{row.ratio:.2f} ({'>=' if is_speed else '<='} {comparison.target:g}) {comparison.theirs}"
    return Bar(_short(row.name), min(share, _MOST), told, "ours" if row.reached else "missed", 1.0)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _rates(contest: str, medians: Mapping[str, float]) -> Panel:
    return Panel(f"{contest}: items a second", _ranked(medians))


def _ranked(medians: Mapping[str, float]) -> Sequence[Bar]:
    rates = {side: 1e6 / took for side, took in medians.items()}
    return [
        Bar(side, rate, f"{rate:,.0f}", "ours" if side == OURS else "other")
        for side, rate in sorted(rates.items(), key=lambda each: each[1], reverse=True)
    ]
