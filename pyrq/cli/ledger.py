"""The books of the demo: what went in, what came out, and whether the two agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pyrq.cli.files import FileCount

__all__ = ["Ledger"]


@dataclass(slots=True)
class Ledger:
    """What is known of a run.

    Attributes:
        added: how many paths were added to the queue.
        killed: how many workers were killed.
        reclaimed: how many paths were given back from the dead.
        duplicates: how many results came for a path that had one already.
        results: the first result for each path.
        unequal: the paths with two results that differ, or another than the plain count has.
    """

    added: int = 0
    killed: int = 0
    reclaimed: int = 0
    duplicates: int = 0
    results: dict[bytes, FileCount] = field(default_factory=dict)
    unequal: set[bytes] = field(default_factory=set)

    @property
    def processed(self) -> int:
        """How many paths have a result."""
        return len(self.results)

    @property
    def lost(self) -> int:
        """How many paths were added and have no result."""
        return self.added - self.processed

    def collect(self, counts: Iterable[FileCount]) -> None:
        """Enters results.

        A worker that dies between its report and its ack leaves a result and a path, which somebody counts again: a
        duplicate, which is allowed if it says the same.
        """
        for count in counts:
            first = self.results.setdefault(count.path, count)
            if first is not count:
                self.duplicates += 1
                if first != count:
                    self.unequal.add(count.path)

    def compare(self, plain: Mapping[bytes, FileCount]) -> None:
        """Compares the results with those of a plain count, path by path."""
        paths = self.results.keys() | plain.keys()
        self.unequal |= {path for path in paths if self.results.get(path) != plain.get(path)}

    def status(self) -> int:
        """Gives the exit status: 0 if nothing is lost and all results are equal."""
        return int(self.lost != 0 or bool(self.unequal))

    def line(self, seconds: float) -> str:
        """Gives the last line of the demo; its form is a promise."""
        return (
            f"ledger: added={self.added} processed={self.processed} duplicates={self.duplicates} killed={self.killed} "
            f"reclaimed={self.reclaimed} lost={self.lost} seconds={seconds:.1f}"
        )
