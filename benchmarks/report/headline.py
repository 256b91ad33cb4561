"""The figures that README has; `python -m benchmarks.report.headline` puts those of the latest run there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from benchmarks.contest import Row, Sense
from benchmarks.report.record import Record, load
from benchmarks.report.setting import date_of

__all__ = ["LATEST", "README", "headline", "put"]

_ROOT = Path(__file__).resolve().parents[2]
LATEST, README = _ROOT / "docs" / "benchmarks" / "latest.json", _ROOT / "README.md"

_BEGIN, _END = "<!-- headline: `make bench-readme` writes this -->", "<!-- end of headline -->"
_BLOCK = re.compile(rf"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.DOTALL)

_TOLD = (
    ("add_item: py-rq 7 / py-rq's way", "`add_item`, against the older library's plain LPUSH"),
    ("add_items(1,000): py-rq 7 / py-rq's way", "`add_items` of 1,000, against the older library's way"),
    ("get + ack, batch 1: py-rq 7 / py-rq's way", "taking and acknowledging one item at a time"),
    ("consume, batch 1: consume, prefetch=200 / py-rq's way", "the same with `consume(handler, prefetch=200)`"),
    ("get + ack, batch 100: py-rq 7 / py-rq's way", "taking and acknowledging 100 at a time"),
    ("get + ack, batch 1,000: py-rq 7 / py-rq's way", "1,000 at a time"),
    ("get + ack, batch 1,000: py-rq 7 / raw Streams", "1,000 at a time, against raw Streams"),
    ("500 tasks: add_item: py-rq 7 / aio-py-rq's way", "500 asyncio tasks that add one item each"),
    ("500 tasks: get_items(1), ack_item: py-rq 7 / aio-py-rq's way", "500 that take and acknowledge one each"),
    ("add_item with Fsync, tasks: 100 at a time / one by one", "100 adds with `Fsync` at a time, against one by one"),
    (
        "server CPU, whole cycle, batch 1,000: py-rq 7 / bare commands",
        "server CPU, against bare LPUSH, RPOP, LPUSH, LTRIM",
    ),
    ("server CPU, whole cycle, batch 1,000: py-rq 7 / py-rq's way", "server CPU, against the older library's way"),
    (
        "add, get and ack, batch 100: 10,000,000 wait / 1,000 wait",
        "an item's cost with ten million waiting, against 1,000",
    ),
)
"""The key of a row -> what it is called."""


def headline(record: Record) -> str:
    """Gives the table of the headline figures; a row that was not measured is left out."""
    rows = {row.key: row for row in record.rows}
    lines = [_line(said, rows[key]) for key, said in _TOLD if key in rows and rows[key].ratio is not None]
    setting = record.setting
    where = f"{date_of(setting)}, {setting['machine']}, {setting['server'].split(' (')[0]}, Python {setting['python']}"
    return "\n".join(["| | measured | target |", "|---|---:|---:|", *lines, "", f"`make bench`, {where}."])


def _line(said: str, row: Row) -> str:
    is_speed = row.comparison.sense is Sense.FASTER
    target = row.comparison.target
    wanted = "" if target is None else f"{'>=' if is_speed else '<='} {target:g} x"
    missed = "" if row.reached in (True, None) else " (missed)"
    return f"| {said} | {row.ratio:.2f} x {'as fast' if is_speed else 'the cost'} | {wanted}{missed} |"


def put(page: str, table: str) -> str:
    """Puts a table into a page, in the place of the last one.

    Raises:
        ValueError: the page has no place for it.
    """
    if not _BLOCK.search(page):
        raise ValueError("there is no place for it")
    return _BLOCK.sub(lambda _: f"{_BEGIN}\n{table}\n{_END}", page)


if __name__ == "__main__":
    try:
        README.write_text(put(README.read_text(encoding="utf-8"), headline(load(LATEST))), encoding="utf-8")
    except (OSError, ValueError) as error:
        sys.exit(f"README.md is as it was: {error}")
