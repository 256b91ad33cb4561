"""What the documentation promises to be there is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MIGRATING = ROOT.joinpath("docs/migrating.md").read_text(encoding="utf-8")
SHORT = "D::"
LONG = "tests/interop/test_differences.py::"
SHOWN_BY = sorted({name.replace(SHORT, LONG) for name in re.findall(r"`([\w/.]+::test_\w+)`", MIGRATING)})


def rows(heading: str) -> list[list[str]]:
    """Gives the cells of the table below a heading, without its head."""
    section = MIGRATING.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def test_each_repair_has_a_test() -> None:
    repaired = rows("What was repaired")
    assert len(repaired) >= 20
    assert [row for row in repaired if len(row) != 4 or "::test_" not in row[3]] == []


@pytest.mark.parametrize("name", SHOWN_BY)
def test_the_tests_that_show_a_repair_exist(name: str) -> None:
    path, test = name.split("::")
    assert re.search(rf"^(async )?def {test}\(", ROOT.joinpath(path).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/migrating.md"])
def test_the_files_that_a_page_names_exist(page: str) -> None:
    text = ROOT.joinpath(page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:docs|pyrq|tests|benchmarks)/[\w/]+(?:\.\w+)?/?)[:`]", text)
    assert [path for path in named if not ROOT.joinpath(path).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/migrating.md"])
def test_the_targets_of_make_that_a_page_names_exist(page: str) -> None:
    makefile = ROOT.joinpath("Makefile").read_text(encoding="utf-8")
    named = re.findall(r"\bmake ([a-z][a-z-]*)[`\n]", ROOT.joinpath(page).read_text(encoding="utf-8"))
    assert [target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
