"""The page of a run, and the files around it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.report.charts import charts
from benchmarks.report.compare import Changes
from benchmarks.report.record import Record, save
from benchmarks.report.setting import date_of, told
from benchmarks.report.table import markdown_table

__all__ = ["write"]

_HOW = """\
`make bench` made this page. All figures are of one run on one server, in alternating rounds; a ratio is the median of
the rounds' ratios. "x" is how many times as fast ours is, "x cost" how many times as much it takes. "py-rq's way" and
"aio-py-rq's way" are the older libraries' algorithms on the same redis-py as ours (aio-py-rq's with a connection for
each task); the released packages, each in an environment of its own, stand beside. The bare commands (LPUSH; RPOP,
LPUSH, LTRIM) have no safety at all: they are the limit. Ours takes and acknowledges with `ack_and_get`."""


def write(record: Record, changes: Changes | None, folder: Path) -> list[Path]:
    """Writes the page, the charts and the record of a run; a full run is `latest` too.

    Args:
        record: the run.
        changes: what changed since an earlier run; None if that was not asked for.
        folder: where to; made if there is none.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = date_of(record.setting) + ("-quick" if record.setting["quick"] else "")
    written, pictures = [], []
    for what, shows, svg in charts(record):
        path = folder / f"{name}-{what}.svg"
        path.write_text(svg, encoding="utf-8")
        pictures.append(f"![{shows}]({path.name})")
        written.append(path)
    page = _page(record, changes, pictures)
    for stem in [name] if record.setting["quick"] else [name, "latest"]:
        (folder / f"{stem}.md").write_text(page, encoding="utf-8")
        save(record, folder / f"{stem}.json")
        written += [folder / f"{stem}.md", folder / f"{stem}.json"]
    return written


def _page(record: Record, changes: Changes | None, pictures: list[str]) -> str:
    setting = "\n".join(f"- {line}" for line in told(record.setting))
    table = markdown_table(record.rows, changes.of if changes else None)
    parts = [f"# Benchmarks, {date_of(record.setting)}", _HOW, setting, "\n\n".join(pictures), table]
    if changes:
        compared = (
            "Under \"better by\" stands this run's ratio by an earlier one's; in brackets what is within the noise."
        )
        gone = [f"- {key}" for key in changes.gone(list(record.rows))]
        parts.append("\n".join([compared, *(["", "Not measured this time:", "", *gone] if gone else [])]))
    parts += [f"### {heading}\n\n```text\n{chr(10).join(lines)}\n```" for heading, lines in record.limits.items()]
    return "\n\n".join(part for part in parts if part) + "\n"
