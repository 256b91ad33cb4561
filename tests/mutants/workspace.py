"""A copy of the library and its tests, in which defects are tried out one after another."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.defect import Defect

__all__ = ["LIBRARY", "Run", "Workspace"]

LIBRARY = "pyrq"
_COPIED = (LIBRARY, "tests")
_PLUGIN = "mutants_plugin"
_LEFT_OUT = shutil.ignore_patterns("__pycache__", ".hypothesis")
_SEED = "1"
_SUMMARY = re.compile(r"^(FAILED|ERROR) (.*?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Run:
    """How a run of pytest ended.

    Attributes:
        status: its exit status, or None: its time was up.
        output: what it printed.
    """

    status: int | None
    output: str

    @property
    def failures(self) -> list[tuple[str, str]]:
        """What did not pass: `FAILED`, or `ERROR` outside of the test itself; and the test."""
        return _SUMMARY.findall(self.output)


class Workspace:
    """One copy. No two runs of it go on at a time."""

    def __init__(self, project: Path, folder: Path) -> None:
        """Makes the copy.

        Args:
            project: what has the library and its tests.
            folder: where to put it; must be there.
        """
        self.folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._ended = threading.Event()
        for name in _COPIED:
            shutil.copytree(project / name, folder / name, ignore=_LEFT_OUT)
        shutil.copy(project / "pyproject.toml", folder)
        shutil.copy(Path(__file__).with_name("plugin.py"), folder / f"{_PLUGIN}.py")

    @contextmanager
    def changed(self, defect: Defect) -> Iterator[None]:
        """Has a defect in the copy for a while."""
        path = self.folder / LIBRARY / defect.file
        text = defect.apply(self.folder / LIBRARY)
        original = path.read_bytes()
        try:
            self._write(path, text.encode())
            yield
        finally:
            self._write(path, original)

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        path.write_bytes(data)
        # What is compiled goes by the second and the size: both can be the same although the text is another.
        if path.suffix == ".py":
            Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)

    def run(self, tests: Sequence[str], timeout: float, *options: str) -> Run:
        """Runs tests.

        Args:
            tests: as pytest names them.
            timeout: for how many seconds at the most.
            options: more of pytest's.
        """
        flags = ("-q", "-rfE", "--tb=short", "-p", "no:cacheprovider", "-p", _PLUGIN, *options)
        # What a copy covers is no coverage of the library.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
        environment["PYTHONPATH"] = str(self.folder)
        environment.setdefault("PYRQ_SEED", _SEED)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # all but one file is the same each time
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *flags, *tests],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # so that whatever it started ends with it
        )
        if self._ended.is_set():
            self._kill()
        try:
            output, _ = self._process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self._kill()
            return Run(None, self._process.communicate()[0])
        finally:
            self._kill()
        return Run(self._process.returncode, output)

    def end(self) -> None:
        """Ends what runs, from any thread."""
        self._ended.set()
        self._kill()

    def _kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
