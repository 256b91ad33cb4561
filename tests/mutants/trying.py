"""Tries defects out, two at a time, and tells what became of each."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.defect import Defect, DefectError
from tests.mutants.workspace import Run, Workspace

__all__ = ["Outcome", "Report", "Trials", "Verdict", "judge"]

_FOR_ONE = 120.0
_FOR_ALL = 600.0
_FAILED = 1


class Verdict(Enum):
    """What became of a defect."""

    CAUGHT = "caught"
    MISSED = "NOT CAUGHT"
    BROKEN = "BROKEN"
    """The defect is none: it does not fit the library, or breaks it so that any test would fail."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended.

    Attributes:
        defect: what was tried.
        verdict: what became of it.
        why: the test that failed, or what else happened.
        seconds: how long it took.
        output: what pytest printed.
    """

    defect: Defect
    verdict: Verdict
    why: str
    seconds: float = 0.0
    output: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """How all ended.

    Attributes:
        clean: the run of the named tests without any defect.
        outcomes: what became of each.
    """

    clean: Run
    outcomes: list[Outcome]

    @property
    def caught(self) -> int:
        return sum(outcome.verdict is Verdict.CAUGHT for outcome in self.outcomes)

    @property
    def is_well(self) -> bool:
        return self.clean.status == 0 and bool(self.outcomes) and self.caught == len(self.outcomes)


def judge(defect: Defect, run: Run) -> tuple[Verdict, str]:
    """Says what a run with a defect means, and why.

    Only a failure of the named test itself counts. Not a time that is up: a test that waits for ever would see any
    defect; and not an error before or beside the test.
    """
    if run.status is None:
        return Verdict.MISSED, "time is up"
    if run.status == 0:
        return Verdict.MISSED, f"{defect.test} passes"
    if run.status == _FAILED and run.failures:
        kind, test = run.failures[0]
        if kind == "FAILED" and test.partition("[")[0] == defect.test.partition("[")[0]:
            return Verdict.CAUGHT, test
        return Verdict.BROKEN, f"{kind} {test}"
    return Verdict.BROKEN, f"pytest ended with {run.status}"


class Trials:
    """Tries defects of a project out in copies of it."""

    def __init__(self, project: Path, smoke: Sequence[str], say: Callable[[Outcome], object]) -> None:
        """Chooses what to try on.

        Args:
            project: the folder with the library and its tests.
            smoke: tests that pass with every defect, so that none breaks just everything.
            say: is told of each outcome.
        """
        self._project = project
        self._smoke = list(smoke)
        self._say = say
        self._free: SimpleQueue[Workspace] = SimpleQueue()

    def run(self, defects: Sequence[Defect], workers: int = 2) -> Report:
        """Runs the named tests without any defect, and then, if they pass, with each."""
        with ExitStack() as stack:
            spaces = [self._open(stack) for _ in range(workers)]
            tests = dict.fromkeys([*self._smoke, *(defect.test for defect in defects)])
            clean = spaces[0].run(list(tests), _FOR_ALL)
            if clean.status != 0:
                return Report(clean, [])
            for space in spaces:
                self._free.put(space)
            threads = stack.enter_context(ThreadPoolExecutor(workers))
            try:
                return Report(clean, self._all(threads, defects))
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                for space in spaces:
                    space.end()
                raise

    def _open(self, stack: ExitStack) -> Workspace:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mutants-"))
        return Workspace(self._project, Path(folder))

    def _all(self, threads: ThreadPoolExecutor, defects: Sequence[Defect]) -> list[Outcome]:
        outcomes = []
        for future in as_completed([threads.submit(self._one, defect) for defect in defects]):
            outcomes.append(future.result())
            self._say(outcomes[-1])
        return outcomes

    def _one(self, defect: Defect) -> Outcome:
        space, begun = self._free.get(), time.monotonic()
        try:
            with space.changed(defect):
                run = space.run([*self._smoke, defect.test], _FOR_ONE, "-x")
        except DefectError as error:
            return Outcome(defect, Verdict.BROKEN, str(error))
        finally:
            self._free.put(space)
        return Outcome(defect, *judge(defect, run), time.monotonic() - begun, run.output)
