"""What a row of the campaign is, what it is given, and how rows are run one after the other."""

from __future__ import annotations

import logging
import random
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.ledger import MARK, SECRET, Ledger
from tests.servers import Binary, binaries

__all__ = ["Row", "Trial", "listening", "run_rows"]


@dataclass(frozen=True)
class Row:
    """One kind of fault.

    Attributes:
        name: how it is called on the command line, and in the ledger.
        what: what it does, in a line.
        run: does it. It notes in the trial's ledger what it did and what was wrong; whatever it raises is a failure.
        full: how much of what, in `make faults`.
        quick: how much in `make faults-quick`; None leaves it out there.
    """

    name: str
    what: str
    run: Callable[[Trial], None]
    full: Mapping[str, int]
    quick: Mapping[str, int] | None


class Trial:
    """What a row is given. Threads share it.

    Attributes:
        ledger: where a row notes what it did, and what was wrong.
        folder: an empty folder of its own, removed afterwards.
        seed: the campaign's; randomness comes from `rng`.
    """

    def __init__(self, row: Row, amounts: Mapping[str, int], seed: int, folder: Path) -> None:
        self.ledger = Ledger()
        self.folder = folder
        self.seed = seed
        self._row = row
        self._amounts = amounts
        self._lock = threading.Lock()

    def __getitem__(self, amount: str) -> int:
        """How much of something is to be done."""
        return self._amounts[amount]

    def rng(self, *who: object) -> random.Random:
        """Gives randomness of its own to a part of a row, the same for the same seed.

        Args:
            who: which part; two threads must not share one.
        """
        return random.Random(" ".join(map(str, (self.seed, self._row.name, *who))))

    def binaries(self) -> list[Binary]:
        """Gives the servers to test."""
        return binaries()

    def count(self, figure: str, many: int = 1) -> None:
        """Adds to a figure of the ledger."""
        with self._lock:
            self.ledger.figures[figure] += many

    def blame(self, wrong: str, many: int = 1, reason: str = "") -> None:
        """Notes something wrong, as `Ledger.blame`."""
        with self._lock:
            self.ledger.blame(wrong, many, reason)

    def expect(self, condition: object, reason: str) -> None:
        """Notes a broken promise unless a condition holds."""
        self.blame("failed", 0 if condition else 1, reason)

    def caught(self, error: BaseException) -> None:
        """Notes an error that a caller of the library was given: its text must quote nothing.

        Call it for every error of the library that a row catches, expected or not.
        """
        # The lines of the program that a traceback shows are not the library's words.
        texts, seen = [], set()
        told: BaseException | None = error
        while told is not None and id(told) not in seen:
            seen.add(id(told))
            texts += [str(told), repr(told), *map(str, getattr(told, "__notes__", []))]
            told = told.__cause__ or (None if told.__suppress_context__ else told.__context__)
        self.count("errors")
        self.read(type(error).__name__, *texts)

    def read(self, where: str, *texts: str) -> None:
        """Looks for items and passwords in what the library says.

        Args:
            where: what says it.
            texts: what it says.
        """
        if any(mark in text for mark in (MARK, SECRET) for text in texts):
            self.blame("leaked", 1, f"{where} quotes an item or a password")


class _Listener(logging.Handler):
    """Reads what the library logs."""

    def __init__(self, trial: Trial) -> None:
        super().__init__()
        self._trial = trial

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record) if record.exc_info is None else record.getMessage()
        self._trial.read(f"the log of {record.name}", text)


@contextmanager
def listening(trial: Trial) -> Iterator[None]:
    """Looks for items and passwords in what the library logs in a block."""
    library, listener = logging.getLogger("pyrq"), _Listener(trial)
    level = library.level
    library.addHandler(listener)
    library.setLevel(logging.DEBUG)
    propagate, library.propagate = library.propagate, False
    try:
        yield
    finally:
        library.removeHandler(listener)
        library.setLevel(level)
        library.propagate = propagate


def run_rows(rows: Sequence[Row], seed: int, *, quick: bool) -> Ledger:
    """Runs rows one after the other, and prints a line for each.

    Args:
        rows: what to run.
        seed: what all randomness comes from.
        quick: whether to do the smaller amounts.

    Returns:
        What they say together.
    """
    total = Ledger()
    for row in rows:
        amounts = row.quick if quick else row.full
        if amounts is None:
            _say(f"{row.name}: only in the full campaign")
            continue
        began = time.monotonic()
        ledger = _run(row, amounts, seed)
        _say(f"{row.name}: {ledger} ({time.monotonic() - began:.0f} s)")
        for reason in ledger.reasons:
            _say(f"    {reason}")
        total.add(ledger)
    return total


def _run(row: Row, amounts: Mapping[str, int], seed: int) -> Ledger:
    with tempfile.TemporaryDirectory(prefix="pyrq-faults-") as folder:
        trial = Trial(row, amounts, seed, Path(folder))
        try:
            with listening(trial):
                row.run(trial)
        except Exception:  # noqa: BLE001 - the other rows go on
            trial.blame("failed", 1, f"ended by an exception\n{traceback.format_exc()}")
        return trial.ledger


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
