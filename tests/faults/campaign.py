"""What a row of the campaign is, what it is given, and how rows are run one after the other."""

from __future__ import annotations

import gc
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
from typing import Any

from pyrq.errors import RqError
from tests.faults.ledger import MARK, SECRET, Ledger
from tests.servers import Binary, binaries

__all__ = ["Row", "Trial", "listening", "missing_kinds", "run_rows"]


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
        # Collecting garbage may tell of something wrong while this very thread notes something.
        self._lock = threading.RLock()

    def __getitem__(self, amount: str) -> int:
        """How much of something is to be done."""
        return self._amounts[amount]

    def share(self, amount: str, which: int, among: int | None = None) -> int:
        """Gives how much of an amount is one server's; all shares together are the amount.

        Args:
            amount: its name.
            which: the number of the server, from 0.
            among: how many servers there are; None for all.
        """
        return len(range(which, self._amounts[amount], len(self.binaries()) if among is None else among))

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
        self._trial.read(f"the log of {record.name}", record.getMessage())
        if record.exc_info and record.exc_info[1]:
            self._trial.caught(record.exc_info[1])


class _Net:
    """Catches what ends a thread, a task or a destructor, and what nobody else hears of."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial

    def end_of_thread(self, told: threading.ExceptHookArgs) -> None:
        if told.exc_value and not issubclass(told.exc_type, SystemExit):
            self.note(f"the thread {told.thread and told.thread.name} ended", told.exc_value)

    def unraisable(self, told: Any) -> None:
        if told.exc_value:
            self.note(
                f"{told.err_msg or 'Exception ignored'} in {getattr(told.object, '__qualname__', '?')}", told.exc_value
            )

    def note(self, what: str, error: BaseException | None) -> None:
        if isinstance(error, RqError):
            self._trial.caught(error)
        lines = traceback.format_exception(error, limit=-4, chain=False) if error else []
        self._trial.blame("failed", 1, "\n".join([what, "".join(lines)]).rstrip())


class _LoopListener(logging.Handler):
    """Reads what event loops log: tasks that ended with an exception nobody asked for, or that were never awaited."""

    def __init__(self, net: _Net) -> None:
        super().__init__(logging.ERROR)
        self._net = net

    def emit(self, record: logging.LogRecord) -> None:
        self._net.note(
            f"asyncio: {record.getMessage().splitlines()[0]}", record.exc_info[1] if record.exc_info else None
        )


@contextmanager
def listening(trial: Trial) -> Iterator[None]:
    """Looks for items and passwords in what the library logs in a block, and for threads and tasks that die in it."""
    net = _Net(trial)
    hooks = threading.excepthook, sys.unraisablehook
    threading.excepthook, sys.unraisablehook = net.end_of_thread, net.unraisable
    try:
        with _heard("pyrq", _Listener(trial), logging.DEBUG), _heard("asyncio", _LoopListener(net), logging.ERROR):
            try:
                yield
            finally:
                gc.collect()  # tasks that nobody has asked tell so when they are collected
    finally:
        threading.excepthook, sys.unraisablehook = hooks


@contextmanager
def _heard(name: str, listener: logging.Handler, least: int) -> Iterator[None]:
    """Lets a listener hear what a logger says, and nobody else."""
    logger = logging.getLogger(name)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(listener)
    logger.setLevel(least)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
        logger.propagate = propagate


def missing_kinds(found: Sequence[Binary]) -> list[str]:
    """Gives which kinds of servers are not among those found: of Redis and Valkey, each is to be tested."""
    there = {binary.is_valkey for binary in found if binary.path}
    return [name for name, is_valkey in (("Redis", False), ("Valkey", True)) if is_valkey not in there]


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
