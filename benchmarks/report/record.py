"""The record of a run: JSON that a later run compares itself with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.contest import Comparison, Result, Row, Sense

__all__ = ["Record", "load", "record_of", "save"]

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Record:
    """A run.

    Attributes:
        setting: on what it was measured.
        rows: what came of it.
        medians: contest -> side -> the median of its samples; for charts.
        limits: heading -> lines that tell where the time goes.
    """

    setting: Mapping[str, Any]
    rows: Sequence[Row]
    medians: Mapping[str, Mapping[str, float]]
    limits: Mapping[str, Sequence[str]] = field(default_factory=dict)


def record_of(setting: Mapping[str, Any], results: Sequence[Result], limits: Mapping[str, Sequence[str]]) -> Record:
    """Makes the record of what was measured."""
    rows = [row for result in results for row in result.rows()]
    return Record(setting, rows, {result.contest.name: result.medians() for result in results}, limits)


def save(record: Record, path: Path) -> None:
    """Writes a record."""
    rows = [
        {**asdict(row), "comparison": {**asdict(row.comparison), "sense": row.comparison.sense.name}}
        for row in record.rows
    ]
    whole = {
        "format": _FORMAT,
        "setting": dict(record.setting),
        "rows": rows,
        "medians": record.medians,
        "limits": record.limits,
    }
    path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Record:
    """Reads a record.

    Raises:
        ValueError: it is none.
        OSError: it can't be read.
    """
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        if whole["format"] != _FORMAT:
            raise ValueError("it has another format")
        return Record(whole["setting"], [_row(row) for row in whole["rows"]], whole["medians"], whole["limits"])
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name} is not the record of a run: {error}") from None


def _row(told: dict[str, Any]) -> Row:
    comparison = dict(told.pop("comparison"))
    sense = Sense[comparison.pop("sense")]
    return Row(**told, comparison=Comparison(**comparison, sense=sense))
