"""The table: as text for a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from benchmarks.contest import Row, Sense

__all__ = ["markdown_table", "plain_table", "verdict"]

_HEAD = ("what", "ours", "against", "ours takes", "theirs", "unit", "ratio", "target", "")
_NUMBERS = (3, 4, 6, 7)
"""The columns that are aligned to the right."""

Told = Callable[[Row], str]


def verdict(row: Row) -> str:
    """Says whether a row's target is reached; nothing if it has none."""
    if row.comparison.target is None:
        return row.note
    return {True: "reached", False: "MISSED", None: row.note or "not measured"}[row.reached]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.2f}"


def _ratio(row: Row) -> str:
    if row.ratio is None:
        return "-"
    return f"{row.ratio:.2f} {'x' if row.comparison.sense is Sense.FASTER else 'x cost'}"


def _target(row: Row) -> str:
    if row.comparison.target is None:
        return ""
    return f"{'>=' if row.comparison.sense is Sense.FASTER else '<='} {row.comparison.target:g}"


def _cells(row: Row) -> tuple[str, ...]:
    compared = (row.name, row.comparison.ours, row.comparison.theirs)
    return (*compared, _number(row.mine), _number(row.others), row.unit, _ratio(row), _target(row), verdict(row))


def plain_table(rows: Sequence[Row], changed: Told | None) -> str:
    """Aligns the rows for a terminal, a heading before each group.

    Args:
        rows: the rows.
        changed: tells what changed since an earlier run; None if there is none.
    """
    head = _HEAD if changed is None else (*_HEAD, "better by")
    body = [_cells(row) if changed is None else (*_cells(row), changed(row)) for row in rows]
    widths = [max(len(cells[column]) for cells in (head, *body)) for column in range(len(head))]
    lines = [_aligned(head, widths)]
    for heading, row, cells in _grouped(rows, body):
        lines += ["", row.group] if heading else []
        lines.append(_aligned(cells, widths))
    return "\n".join(lines)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.rjust(width) if column in _NUMBERS else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def _grouped(rows: Sequence[Row], body: Sequence[Sequence[str]]) -> Iterator[tuple[bool, Row, Sequence[str]]]:
    """Gives each row with its cells, and whether it begins a group."""
    group = None
    for row, cells in zip(rows, body, strict=True):
        yield row.group != group, row, cells
        group = row.group


def markdown_table(rows: Sequence[Row], changed: Told | None) -> str:
    """Gives the rows in Markdown, a section for each group."""
    head = _HEAD if changed is None else (*_HEAD, "better by")
    body = [_cells(row) if changed is None else (*_cells(row), changed(row)) for row in rows]
    rule = ["---:" if column in _NUMBERS else "---" for column in range(len(head))]
    lines: list[str] = []
    for heading, row, cells in _grouped(rows, body):
        if heading:
            lines += ["", f"## {row.group}", "", _piped(head), _piped(rule)]
        lines.append(_piped(["**MISSED**" if cell == "MISSED" else cell for cell in cells]))
    return "\n".join(lines).strip()


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
