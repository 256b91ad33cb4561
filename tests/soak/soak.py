"""All arenas side by side, a live line, and the ledger at the end."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.faults.campaign import Row, Trial, listening
from tests.faults.ledger import Ledger
from tests.soak.arena import Arena
from tests.soak.vitals import descriptors

__all__ = ["FIGURES", "Soak", "ledger_line"]

FIGURES = ("items", "faults", "worker_kills", "server_kills", "promotions")
_EVERY = 5.0
_MEMORY_LIMIT = 512 << 20


class Soak:
    """A soak.

    Attributes:
        stopped: set to end it early.
    """

    def __init__(self, arenas: Sequence[type[Arena]], minutes: float, seed: int) -> None:
        self.stopped = threading.Event()
        self._arenas = arenas
        self._minutes = minutes
        self._seed = seed
        self._began = time.monotonic()
        self._told = Counter[str]()

    def run(self) -> Ledger:
        """Does it all, and prints how it goes.

        Returns:
            What was done and what was wrong.
        """
        before = descriptors(os.getpid())
        with tempfile.TemporaryDirectory(prefix="pyrq-soak-") as folder:
            overall = Trial(Row("soak", "", lambda _: None, {}, None), {}, self._seed, Path(folder))
            with listening(overall):
                arenas = [kind(self._minutes * 60, self._seed, Path(folder), self.stopped) for kind in self._arenas]
                self._run_side_by_side(arenas, overall)
        after = descriptors(os.getpid())
        overall.expect(after <= before, f"file descriptors of this process from {before} to {after}")
        return self._sum([*(arena.trial for arena in arenas), overall])

    def _run_side_by_side(self, arenas: list[Arena], overall: Trial) -> None:
        threads = [threading.Thread(target=arena.run, name=arena.name) for arena in arenas]
        for thread in threads:
            thread.start()
        try:
            self._watch(threads, arenas, overall)
        except BaseException:
            self.stopped.set()
            raise
        finally:
            for thread in threads:
                thread.join()

    def _watch(self, threads: list[threading.Thread], arenas: list[Arena], overall: Trial) -> None:
        while any(thread.is_alive() for thread in threads):
            until = time.monotonic() + _EVERY
            for thread in threads:
                thread.join(max(0.0, until - time.monotonic()))
            self._tell(arenas)
            memory = _memory()
            overall.blame("failed", int(memory > _MEMORY_LIMIT), f"this process uses {memory} bytes")

    def _tell(self, arenas: list[Arena]) -> None:
        """Prints the live line, and what is newly known to be wrong."""
        done, wrongs = Counter[str](), Counter[str]()
        for arena in arenas:
            done.update({figure: many for figure, many in arena.done().items() if figure in FIGURES})
            wrongs.update(arena.trial.ledger.wrongs)
            reasons = list(arena.trial.ledger.reasons)
            for reason in reasons[self._told[arena.name] :]:
                _say(f"    {reason}")
            self._told[arena.name] = len(reasons)
        figures = " ".join(f"{figure}={done[figure]}" for figure in FIGURES)
        wrong = " ".join(f"{name} {many}" for name, many in wrongs.items() if many or name == "lost")
        _say(f"[{time.monotonic() - self._began:6.0f} s] {figures} {wrong} ({_memory() >> 20} MiB)")

    def _sum(self, trials: list[Trial]) -> Ledger:
        total = Ledger(figures=Counter(dict.fromkeys(FIGURES, 0)))
        for trial in trials:
            total.add(trial.ledger)
        return total


def ledger_line(ledger: Ledger, minutes: float, seed: int) -> str:
    """Gives the last line: the figures that were asked for, and what was wrong."""
    short = Ledger(Counter({figure: ledger.figures[figure] for figure in FIGURES}), ledger.wrongs)
    return f"ledger: seed={seed} minutes={minutes:g} {short}"


def _memory() -> int:
    """Gives how much memory this process uses, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
