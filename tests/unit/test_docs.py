"""What the documentation promises to be there is there."""

from __future__ import annotations

import inspect
import itertools
import re
from dataclasses import fields
from pathlib import Path

import pytest

from pyrq import Backoff, Pool, Queue, UniqueQueue
from pyrq.core.consuming import DEFAULT_DELIVERIES, OLD_TIMEOUT
from pyrq.core.keys import Keys, Kind
from pyrq.sync.dead_letters import DeadLetters
from tests.faults.rows import ROWS

ROOT = Path(__file__).parents[2]
README = ROOT.joinpath("README.md").read_text(encoding="utf-8")
CONTRIBUTING = ROOT.joinpath("CONTRIBUTING.md").read_text(encoding="utf-8")
MIGRATING = ROOT.joinpath("docs/migrating.md").read_text(encoding="utf-8")
GUARANTEES = ROOT.joinpath("docs/guarantees.md").read_text(encoding="utf-8")
SHORT = {"D::": "tests/interop/test_differences.py::", "F::": "tests/integration/test_faults.py::"}
PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/migrating.md", "docs/guarantees.md"]
SHOWN_BY = sorted(
    {
        re.sub(r"^\w::", lambda found: SHORT[found[0]], name)
        for name in re.findall(r"`([\w/.]+::test_\w+)`", MIGRATING + GUARANTEES)
    }
)


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
def test_the_tests_that_a_page_names_exist(name: str) -> None:
    path, test = name.split("::")
    assert re.search(rf"^(async )?def {test}\(", ROOT.joinpath(path).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_the_files_that_a_page_names_exist(page: str) -> None:
    text = ROOT.joinpath(page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:docs|pyrq|tests|benchmarks|examples)/[\w/]*(?:\.\w+)?/?)[:`]", text)
    assert [path for path in named if not ROOT.joinpath(path).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_targets_of_make_that_a_page_names_exist(page: str) -> None:
    makefile = ROOT.joinpath("Makefile").read_text(encoding="utf-8")
    named = re.findall(r"\bmake ([a-z][a-z-]*)[`\n]", ROOT.joinpath(page).read_text(encoding="utf-8"))
    assert [target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def promises() -> list[list[str]]:
    """Gives the cells of each row of a table of promises."""
    found: list[list[str]] = []
    for table in GUARANTEES.split("| promise | held by |\n|---|---|\n")[1:]:
        lines = itertools.takewhile(lambda line: line.startswith("|"), table.splitlines())
        found += [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return found


def test_each_promise_has_a_test_or_a_row_of_the_campaign() -> None:
    assert len(promises()) >= 25
    lonely = [
        promise for promise, held_by in promises() if not re.search(r"::test_\w+`|\*\*\w+\*\*|every row", held_by)
    ]
    assert lonely == []


def test_the_guarantees_name_every_row_of_the_campaign_and_no_other() -> None:
    assert set(re.findall(r"\*\*(\w+)\*\*", GUARANTEES)) == {row.name for row in ROWS}


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize("kind", [Queue, UniqueQueue, Pool])
def test_the_readme_names_every_method(kind: type) -> None:
    names = set(re.findall(r"`(?:dead\.)?(\w+)[(`]", README.split("## Method by method\n")[1]))
    names |= {f"revert_{what}" for what in ("item", "items")} | {f"reject_{what}" for what in ("item", "items")}
    names |= {"dead"}
    assert public(kind) - names == set()


def test_the_readme_names_every_method_of_the_dead_letters() -> None:
    assert [name for name in public(DeadLetters) if f"`dead.{name}(" not in README] == []


def test_the_readme_knows_the_defaults_of_consume() -> None:
    section = README.split("## Consume\n")[1].split("\n## ")[0]
    defaults = {name: each.default for name, each in inspect.signature(Queue.consume).parameters.items()}
    assert f"`lease={defaults['lease']:g}`" in section
    assert f"`grace={defaults['grace']:g}`" in section
    assert f"({DEFAULT_DELIVERIES}, unless you say so)" in section
    assert f"given {OLD_TIMEOUT:,.0f} s" in section
    backoff = Backoff()
    assert (backoff.first, backoff.factor, backoff.most) == (1, 2, 300)
    assert "1 s, then twice as long each\ntime, 5 minutes at the most".replace("\n", " ") in section
    kept = ROOT.joinpath("pyrq/core/lua/lib/deliveries.lua").read_text(encoding="utf-8")
    assert "COUNTS_KEPT = 604800" in kept
    assert "7 days after the" in README


def test_the_table_of_keys_has_every_key_of_this_library() -> None:
    keys = Keys.of("NAME", "CLIENT", Kind.UNIQUE)
    values = [getattr(keys, each.name) for each in fields(keys)]
    told = {value.decode() for value in values if isinstance(value, bytes) and value.startswith(b"NAME/")}
    table = CONTRIBUTING.split("## What lies under")[1].split("\n## ")[0].replace("<name>", "NAME")
    client_id = keys.consumer.decode()
    shown = [key.replace(client_id, "<client id>") for key in told]
    assert len(shown) >= 7
    assert [key for key in shown if f"`{key}`" not in table and f"`{key}<client id>`" not in table] == []
