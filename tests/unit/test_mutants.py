"""The deliberate defects fit the library as it is, and who tries them out tells what is caught from what is not."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from lupa.lua51 import LuaRuntime

from tests.mutants import __main__ as command
from tests.mutants.defect import Defect, DefectError
from tests.mutants.defects import DEFECTS, SMOKE
from tests.mutants.trying import Outcome, Trials, Verdict, judge
from tests.mutants.workspace import Run, Workspace

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "pyrq"
TEST = "tests/test_it.py::test_it"
ADD = "def add(a, b):\n    return a + b\n"


def change(before: str, after: str, test: str = TEST, times: int = 1) -> Defect:
    return Defect("wrong", "it is wrong", "it.py", before, after, test, times)


# The table


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_defect_fits_the_library_and_breaks_no_syntax(defect: Defect) -> None:
    text = defect.apply(LIBRARY)
    if defect.file.endswith(".py"):
        compile(text, defect.file, "exec")
    else:
        LuaRuntime().compile(text)


@pytest.mark.parametrize("test", [*SMOKE, *(defect.test for defect in DEFECTS)])
def test_the_named_tests_exist(test: str) -> None:
    path, *classes, name = test.split("::")
    text = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"^ *(async )?def {name}\(", text, re.MULTILINE)
    assert all(re.search(rf"^class {each}\b", text, re.MULTILINE) for each in classes)


def test_each_defect_has_a_name_of_its_own_and_says_what_is_wrong() -> None:
    assert [name for name, many in Counter(defect.name for defect in DEFECTS).items() if many > 1] == []
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", defect.name) and defect.what for defect in DEFECTS)
    assert len(DEFECTS) >= 12


@pytest.mark.parametrize(
    ("defect", "why"),
    [
        (change("a - b", "a + b"), r"^wrong: 0 times in it\.py, not 1: 'a - b'$"),
        (change("a", "c"), r"^wrong: 3 times in it\.py, not 1: 'a'$"),
        (change("a + b", "a + b"), r"^wrong: it changes nothing$"),
        (Defect("wrong", "", "other.py", "a", "b", TEST), r"^wrong: there is no other\.py$"),
    ],
)
def test_a_defect_that_does_not_fit_says_so(tmp_path: Path, defect: Defect, why: str) -> None:
    tmp_path.joinpath("it.py").write_text(ADD)
    with pytest.raises(DefectError, match=why):
        defect.apply(tmp_path)


def test_a_defect_may_be_in_several_places(tmp_path: Path) -> None:
    tmp_path.joinpath("it.py").write_text(ADD)
    assert change("a", "c", times=3).apply(tmp_path) == ADD.replace("a", "c")


# What a run means


@pytest.mark.parametrize(
    ("run", "verdict", "why"),
    [
        (Run(1, f"F\nFAILED {TEST}[a - b] - assert 1 == 2\n1 failed\n"), Verdict.CAUGHT, f"{TEST}[a"),
        (Run(1, f"F\nFAILED {TEST}\n1 failed\n"), Verdict.CAUGHT, TEST),
        (Run(0, "1 passed\n"), Verdict.MISSED, f"{TEST} passes"),
        (Run(None, "what it said\n"), Verdict.MISSED, "time is up"),
        (Run(1, f"E\nERROR {TEST} - OSError\n"), Verdict.BROKEN, f"ERROR {TEST}"),
        (
            Run(1, "FAILED tests/test_smoke.py::test_smoke - x\n"),
            Verdict.BROKEN,
            "FAILED tests/test_smoke.py::test_smoke",
        ),
        (Run(1, ""), Verdict.BROKEN, "pytest ended with 1"),
        (Run(2, "ERROR tests/test_it.py\n"), Verdict.BROKEN, "pytest ended with 2"),
        (Run(4, ""), Verdict.BROKEN, "pytest ended with 4"),
        (Run(-9, ""), Verdict.BROKEN, "pytest ended with -9"),
    ],
)
def test_only_a_failure_of_the_named_test_counts(run: Run, verdict: Verdict, why: str) -> None:
    assert judge(change("a", "b"), run) == (verdict, why)


# Trying out

Project = Callable[[str], Path]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Makes a project with a library of one function and tests of some text."""

    def make(tests: str) -> Path:
        for folder in ("pyrq", "tests"):
            (tmp_path / folder).mkdir()
        tmp_path.joinpath("pyrq/__init__.py").write_text("")
        tmp_path.joinpath("pyrq/it.py").write_text(ADD)
        tmp_path.joinpath("tests/test_it.py").write_text(f"import time\nfrom pyrq.it import add\n{tests}")
        tmp_path.joinpath("pyproject.toml").write_text("[tool.pytest.ini_options]\nasyncio_mode = 'auto'\n")
        return tmp_path

    return make


TESTS = """
def test_smoke():
    add(0, 0)

def test_it():
    assert add(2, 2) == 4
"""


def test_what_is_caught_and_what_is_not(project: Project) -> None:
    folder, told = project(TESTS), list[Outcome]()
    defects = {
        "caught": (change("a + b", "a - b"), Verdict.CAUGHT),
        "missed": (change("a + b", "a * b"), Verdict.MISSED),
        "not importable": (change("return", "retrun"), Verdict.BROKEN),
        "not there": (change("a % b", "a - b"), Verdict.BROKEN),
    }
    trials = Trials(folder, ["tests/test_it.py::test_smoke"], told.append)
    report = trials.run([defect for defect, _ in defects.values()])
    assert {id(outcome.defect): outcome.verdict for outcome in report.outcomes} == {
        id(defect): verdict for defect, verdict in defects.values()
    }
    assert (report.clean.status, report.caught, report.is_well) == (0, 1, False)
    assert report.outcomes == told
    assert folder.joinpath("pyrq/it.py").read_text() == ADD, "the project itself is left alone"


def test_all_is_well_if_all_are_caught(project: Project) -> None:
    defects = [change("a + b", "a - b"), change("a + b", "b - a")]
    report = Trials(project(TESTS), [], lambda outcome: None).run(defects)
    assert (report.caught, report.is_well) == (2, True)
    assert {outcome.why for outcome in report.outcomes} == {TEST}


def test_a_change_is_not_taken_for_the_one_before(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python goes by the second and the size of a file: here they are the same."""
    write = Workspace._write

    def write_within_a_second(path: Path, data: bytes) -> None:
        write(path, data)
        os.utime(path, (1, 1))

    monkeypatch.setattr(Workspace, "_write", staticmethod(write_within_a_second))
    defects = [change("a + b", "a - b"), change("a + b", "b + a")]
    report = Trials(project(TESTS), [], lambda outcome: None).run(defects, workers=1)
    assert [outcome.verdict for outcome in report.outcomes] == [Verdict.CAUGHT, Verdict.MISSED]


def test_named_tests_that_fail_without_a_defect_show_nothing(project: Project) -> None:
    folder, told = project("def test_it():\n    assert add(2, 2) == 5\n"), list[Outcome]()
    report = Trials(folder, [], told.append).run([change("a + b", "a - b")])
    assert (report.clean.status, report.outcomes, told, report.is_well) == (1, [], [], False)


def test_a_test_that_does_not_end_has_caught_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.mutants.trying._FOR_ONE", 3.0)
    folder = project("def test_it():\n    while add(2, 2) != 4:\n        time.sleep(0.01)\n")
    (outcome,) = Trials(folder, [], lambda outcome: None).run([change("a + b", "a - b")], workers=1).outcomes
    assert (outcome.verdict, outcome.why) == (Verdict.MISSED, "time is up")


def test_what_is_installed_is_never_tested_instead(project: Project) -> None:
    folder = project(TESTS)
    folder.joinpath("tests/conftest.py").write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n")
    folder.joinpath("pyrq/it.py").unlink()
    folder.joinpath("pyrq/__init__.py").unlink()
    folder.joinpath("pyrq").rmdir()
    folder.joinpath("pyrq").mkdir()
    report = Trials(folder, [], lambda outcome: None).run([])
    assert report.clean.status == 4
    assert "not the copy is imported" in report.clean.output


# The command


def test_the_last_line_counts(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_PROJECT", project(TESTS))
    monkeypatch.setattr(command, "SMOKE", ())
    monkeypatch.setattr(
        command,
        "DEFECTS",
        (
            Defect("minus", "it subtracts", "it.py", "a + b", "a - b", TEST),
            Defect("times", "it multiplies", "it.py", "a + b", "a * b", TEST),
        ),
    )
    assert command.main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "1/2 caught"
    assert any(re.fullmatch(rf"caught: minus: it subtracts; {TEST} \([\d.]+ s\)", line) for line in lines)
    assert any(re.fullmatch(rf"NOT CAUGHT: times: it multiplies; {TEST} passes \([\d.]+ s\)", line) for line in lines)
    assert command.main(["minus"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1/1 caught"
    assert command.main(["none"]) == 2


def test_the_command_fails_if_the_named_tests_do(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_PROJECT", project("def test_it():\n    assert add(2, 2) == 5\n"))
    monkeypatch.setattr(command, "SMOKE", ())
    monkeypatch.setattr(command, "DEFECTS", (change("a + b", "a - b"),))
    assert command.main([]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0/1 caught"
