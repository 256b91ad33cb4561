"""The report of the benchmarks: table, record, comparison, charts, page."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.contest import Row, Sense
from benchmarks.report.charts import charts
from benchmarks.report.compare import Changes
from benchmarks.report.headline import _TOLD, LATEST, README, headline, put
from benchmarks.report.page import write
from benchmarks.report.record import Record, load, save
from benchmarks.report.setting import setting_of, told
from benchmarks.report.table import markdown_table, plain_table, verdict
from benchmarks.site import QUICK, Site, open_site
from tests.unit.bench_rows import SETTING, record, row

ABSENT = row("other", None, 1.0, note="not measured: needs Python 3.12")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("each", "says"),
    [
        (row(ratio=1.5, target=1.5), "reached"),
        (row(ratio=1.49, target=1.5), "MISSED"),
        (row(ratio=1.5, target=1.5, sense=Sense.COST), "reached"),
        (row(ratio=1.51, target=1.5, sense=Sense.COST), "MISSED"),
        (row(target=None), ""),
        (ABSENT, "not measured: needs Python 3.12"),
        (row(ratio=None), "not measured"),
    ],
)
def test_the_table_says_whether_a_target_is_reached(each: Row, says: str) -> None:
    assert verdict(each) == says
    assert plain_table([each], None).endswith(says)


def test_the_columns_of_the_table_are_aligned() -> None:
    head, _, group, first, second = plain_table([row("a"), row("much longer", 1234.5)], None).splitlines()
    assert group == "Threads"
    assert len({line.index("us/item") for line in (first, second)} | {head.index("unit")}) == 1
    assert first.index("2.00 x") + len("2.00 x") == second.index("1234.50 x") + len("1234.50 x")
    assert ">= 1.5" in first


def test_markdown_has_as_many_cells_in_each_line() -> None:
    page = markdown_table([row("a"), row("b", 1.0), ABSENT], lambda _: "1.10")
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {11}
    assert "**MISSED**" in page
    assert page.startswith("## Threads\n")


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    before = record(row("b"), row("a", 3.0, None, Sense.COST), ABSENT)
    save(before, tmp_path / "run.json")
    after = load(tmp_path / "run.json")
    assert after == before
    assert list(after.medians) == ["b", "a", "other"]
    assert list(after.medians["b"]) == list(before.medians["b"])


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "setting": {}, "rows": [{}], "medians": {}}']
)
def test_another_file_is_no_record(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"^run\.json is not the record of a run"):
        load(path)


@pytest.mark.parametrize(
    ("before", "now", "says"),
    [
        (row(ratio=2.0), row(ratio=3.0), "1.50"),
        (row(ratio=3.0), row(ratio=1.5), "0.50"),
        (row(ratio=2.0, sense=Sense.COST), row(ratio=3.0, sense=Sense.COST), "0.67"),
        (row(ratio=3.0, sense=Sense.COST), row(ratio=2.0, sense=Sense.COST), "1.50"),
        (row(ratio=2.0), row(ratio=2.1), "(1.05)"),
        (row(ratio=2.0, spread=0.04), row(ratio=2.1, spread=0.05), "1.05"),
        (row("other"), row(), "new"),
        (row(ratio=None), row(), "new"),
        (row(), row(ratio=None), ""),
    ],
)
def test_a_change_is_a_ratio_of_ratios_and_more_than_1_is_better(before: Row, now: Row, says: str) -> None:
    assert Changes(record(before)).of(now) == says


def test_rows_that_are_gone_are_named() -> None:
    changes = Changes(record(row("kept"), row("gone"), row("never", None)))
    assert changes.gone([row("kept"), row("new")]) == ["gone: py-rq 7 / py-rq's way"]


def test_charts_are_well_formed_and_stand_alone() -> None:
    drawn = list(charts(record(row("add_item"), row("get + ack, batch 1", 0.5), ABSENT)))
    assert [name for name, _, _ in drawn] == ["targets", "adding", "working"]
    for _, _, svg in drawn:
        root = ElementTree.fromstring(svg)
        assert root.tag == f"{SVG}svg"
        assert "prefers-color-scheme: dark" in svg
        assert re.findall(r"(?:href|src|url|@import)\b", svg) == []
        assert "a <processor> & more" in "".join(root.itertext())


def test_a_bar_passes_the_mark_only_if_the_target_is_reached() -> None:
    rows = [row("a", 3.0, 1.5), row("b", 0.5, 1.5), row("c", 1.0, 2.0, Sense.COST), row("d", 4.0, 2.0, Sense.COST)]
    (_, _, svg), *_ = charts(record(*rows))
    root = ElementTree.fromstring(svg)
    bars, marks = root.findall(f"{SVG}rect"), root.findall(f"{SVG}line")
    ends = [float(bar.attrib["x"]) + float(bar.attrib["width"]) for bar in bars]
    passed = [end > float(mark.attrib["x1"]) for end, mark in zip(ends, marks, strict=True)]
    assert passed == [each.reached for each in rows] == [True, False, True, False]
    assert [bar.attrib["class"] for bar in bars] == ["ours", "missed", "ours", "missed"]


def test_nothing_sticks_out_of_a_chart() -> None:
    rows = [row("a", 1e9), row("b", 1e-9), row("c" * 100, 1e-9, 2.0, Sense.COST)]
    for _, _, svg in charts(record(*rows)):
        root = ElementTree.fromstring(svg)
        width, height = map(float, root.attrib["viewBox"].split()[2:])
        for bar in root.findall(f"{SVG}rect"):
            assert float(bar.attrib["x"]) + float(bar.attrib["width"]) <= width
        assert all(float(text.attrib["y"]) < height for text in root.findall(f"{SVG}text"))


def test_our_own_bar_stands_out() -> None:
    drawn = {name: svg for name, _, svg in charts(record(row("add_item")))}
    root = ElementTree.fromstring(drawn["adding"])
    looks = [bar.attrib["class"] for bar in root.findall(f"{SVG}rect")]
    assert looks == ["other", "ours", "other"]  # the quickest first


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_full_run_is_the_latest_too(tmp_path: Path) -> None:
    written = write(record(row(), ABSENT), None, tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    names = {"2026-01-02.md", "2026-01-02.json", "latest.md", "latest.json"}
    assert (
        files(folder) == {path.name for path in written} == names | {"2026-01-02-targets.svg", "2026-01-02-adding.svg"}
    )
    page = (folder / "latest.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\((\S+\.svg)\)", page)) <= files(folder)
    assert all(line in page for line in told(SETTING))


def test_the_page_tells_where_the_time_goes(tmp_path: Path) -> None:
    write(record(row()), None, tmp_path)
    page = (tmp_path / "latest.md").read_text(encoding="utf-8")
    assert "### Client, add_item\n\n```text\n 50.0%    1.0  sendall\n```" in page


def test_a_quick_run_is_not_the_latest(tmp_path: Path) -> None:
    quick = Record({**SETTING, "quick": True}, [row()], {"add_item": {"py-rq 7": 1.0}})
    write(quick, None, tmp_path)
    assert all(name.startswith("2026-01-02-quick") for name in files(tmp_path))


def test_the_page_tells_what_changed(tmp_path: Path) -> None:
    write(record(row(ratio=3.0)), Changes(record(row(ratio=2.0), row("gone"))), tmp_path)
    page = (tmp_path / "latest.md").read_text(encoding="utf-8")
    assert "| 1.50 |" in page
    assert "- gone: py-rq 7 / py-rq's way" in page


@pytest.fixture(scope="module")
def setting() -> dict[str, object]:
    site: Site
    with open_site(None, QUICK, 7) as site:
        return setting_of(site, 7, quick=True)


def test_a_setting_names_versions_but_no_machine(setting: dict[str, object]) -> None:
    text = json.dumps(setting)
    assert re.search(r"Valkey \d+\.\d+", text)
    assert f"Python {platform.python_version()}" in "\n".join(told({**setting, "peers": {}}))
    assert "/" not in text.replace("n/a", "")
    assert not re.search(rf"\b{re.escape(platform.node())}\b", text) or platform.node() in ("", "localhost")


def test_the_readme_shows_what_the_latest_run_measured() -> None:
    readme, table = README.read_text(encoding="utf-8"), headline(load(LATEST))
    assert put(readme, table) == readme
    assert table.count("\n| ") == len(_TOLD)  # a row that was renamed would be missing


def test_the_headline_names_what_is_missed_and_leaves_out_what_was_not_measured() -> None:
    fast = row("get + ack, batch 1", 2.0, 2.0)
    slow = row("get + ack, batch 100", 5.0, 6.0)
    lines = headline(record(fast, slow, row("get + ack, batch 1,000", None, 8.0))).splitlines()
    assert lines[2] == "| taking and acknowledging one item at a time | 2.00 x as fast | >= 2 x |"
    assert lines[3] == "| taking and acknowledging 100 at a time | 5.00 x as fast | >= 6 x (missed) |"
    assert lines[4:] == ["", "`make bench`, 2026-01-02, a <processor> & more, 2 cores, Valkey 9.1.2, Python 3.11.7."]


def test_a_page_without_a_place_is_left_alone() -> None:
    with pytest.raises(ValueError, match="no place"):
        put("# py-rq\n", "table")
