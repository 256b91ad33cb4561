"""How items are accounted for: what went in for sure, what may have, what came out, and what must not be.

The terms are those of Jepsen's queue tests (https://github.com/jepsen-io/jepsen/tree/main/rabbitmq): "lost" is what was
accepted and never came out, "phantom" what came out and was never put in. Here also "extra": what came out more often
than it was put in, and "stranded": what lies where nobody would ever find it. Pure, and the same for every row.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["MARK", "SECRET", "WRONGS", "Account", "Ledger"]

MARK = "Zq7item"
"""Is part of every item of the campaign. No error and no log may contain it."""
SECRET = "Zq7word"
"""Is part of every password of the campaign."""

WRONGS = ("lost", "phantom", "stranded", "extra", "leaked", "failed")
"""What must be 0 at the end; "leaked" are texts that quote an item or a password, "failed" other broken promises."""


@dataclass
class Ledger:
    """What a row did, and what was wrong.

    Attributes:
        figures: how much of what was done: faults, items, kills, …
        wrongs: how much was wrong; all 0 is well.
        reasons: what was wrong, in words, the first few.
    """

    figures: Counter[str] = field(default_factory=Counter)
    wrongs: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(WRONGS, 0)))
    reasons: list[str] = field(default_factory=list)

    def blame(self, wrong: str, many: int, reason: str = "") -> None:
        """Notes that something was wrong, if it was.

        Args:
            wrong: one of `WRONGS`.
            many: how often; 0 for not at all.
            reason: in words; without the items' text.
        """
        assert wrong in WRONGS
        self.wrongs[wrong] += many
        if many and reason and len(self.reasons) < 20:
            self.reasons.append(f"{wrong} {many}: {reason}")

    def add(self, other: Ledger) -> None:
        """Takes in what another one says."""
        self.figures.update(other.figures)
        self.wrongs.update(other.wrongs)
        self.reasons += other.reasons

    @property
    def is_clean(self) -> bool:
        return not any(self.wrongs.values())

    def __str__(self) -> str:
        done = [f"{name}={many}" for name, many in self.figures.items()]
        return " ".join([*done, *(f"{wrong} {self.wrongs[wrong]}" for wrong in WRONGS)])


class Account:
    """Counts by value what goes into a queue and comes out of it. Threads share it.

    Equal items are told apart by nobody, so what must hold is that as many came out as went in. What was answered with
    "unknown" is in between: all of it went in, or none.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in: Counter[str] = Counter()
        self._perhaps_in: Counter[str] = Counter()
        self._out: Counter[str] = Counter()
        self._perhaps_out: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()

    def added(self, items: Iterable[str]) -> None:
        """Notes an add that was answered: these are in."""
        self._note(self._in, items)

    def perhaps_added(self, items: Iterable[str]) -> None:
        """Notes an add whose outcome is unknown, or that was cancelled. Call it for nothing that was refused."""
        self._note(self._perhaps_in, items)

    def seen(self, items: Iterable[str]) -> None:
        """Notes what a consumer was given."""
        self._note(self._seen, items)

    def acked(self, items: Iterable[str]) -> None:
        """Notes what was acknowledged, and counted as such, or was found at the end: these came out."""
        self._note(self._out, items)

    def perhaps_acked(self, items: Iterable[str]) -> None:
        """Notes an ack whose outcome is unknown."""
        self._note(self._perhaps_out, items)

    def _note(self, counts: Counter[str], items: Iterable[str]) -> None:
        with self._lock:
            counts.update(items)

    @property
    def accepted(self) -> int:
        """How many are in for sure."""
        return self._in.total()

    def close(self, ledger: Ledger) -> None:
        """Draws the balance, once everything that was left has been taken out and noted.

        Args:
            ledger: is told of what is lost, extra, and phantom.
        """
        put = self._in + self._perhaps_in
        ledger.figures["items"] += self.accepted
        # An ack whose outcome is unknown excuses one loss of this value, though it may have been another item's.
        if slack := (self._perhaps_out - (self._in - self._out)).total():
            ledger.figures["slack"] += slack
        ledger.blame("lost", (self._in - self._out - self._perhaps_out).total(), "accepted, and never came out")
        ledger.blame("extra", (self._out - put).total(), "came out more often than it was put in")
        strange = [value for value in self._seen | self._out if value not in put]
        ledger.blame("phantom", len(strange), "came out, and was never put in")
