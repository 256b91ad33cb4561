"""What the tests of the benchmarks make up."""

from __future__ import annotations

from typing import Any

from benchmarks.contest import Comparison, Row, Sense
from benchmarks.report.record import Record

SETTING: dict[str, Any] = {
    "date": "2026-01-02 03:04 UTC",
    "quick": False,
    "seed": 7,
    "rounds": 15,
    "machine": "a <processor> & more, 2 cores",
    "server": "Valkey 9.1.2",
    "python": "3.11.7",
    "client": "redis-py 8.1.0, hiredis 3.5.0",
    "py-rq": "7.0.0",
    "peers": {"bullmq 3.4.4": "redis-py 8.1.0"},
}


def row(
    name: str = "add_item",
    ratio: float | None = 2.0,
    target: float | None = 1.5,
    sense: Sense = Sense.FASTER,
    spread: float = 0.1,
    note: str = "",
) -> Row:
    """Makes a row whose rounds lie so near around its ratio."""
    comparison = Comparison("py-rq 7", "py-rq's way", target, sense)
    if ratio is None:
        return Row("Threads", name, comparison, "us/item", note=note)
    low, high = ratio - spread, ratio + spread
    return Row("Threads", name, comparison, "us/item", 10.0, 10.0 * ratio, ratio, low, high, note)


def record(*rows: Row) -> Record:
    """Makes a record of rows."""
    medians = {each.name: {"py-rq 7": 10.0, "py-rq's way": 20.0, "bare <commands>": 5.0} for each in rows}
    return Record(SETTING, list(rows), medians, {"Client, add_item": [" 50.0%    1.0  sendall"]})
