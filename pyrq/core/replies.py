"""How replies are read: what a Call's `parse` may be. Each takes a reply without its status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyrq.core.errors import PermissionDeniedError, QueueFull
from pyrq.core.rollback import Rollbacks
from pyrq.core.views import InFlight, Letter, Stats, read_letter
from pyrq.core.waiting import Found

__all__ = [
    "added",
    "batch",
    "flag",
    "found",
    "in_flight",
    "letters",
    "newest_first",
    "nothing",
    "nothing_refused",
    "number",
    "number_and_none",
    "one_number",
    "rollbacks",
    "stats",
    "two_numbers",
]


def number(reply: int) -> int:
    """Reads a number that stands alone."""
    return reply


def flag(reply: int) -> bool:
    """Reads a 1 or 0 that stands alone."""
    return bool(reply)


def one_number(reply: Sequence[int]) -> int:
    """Reads a number."""
    return reply[0]


def number_and_none(reply: Sequence[int]) -> tuple[int, int]:
    """Reads a number where others read two."""
    return reply[0], 0


def two_numbers(reply: Sequence[int]) -> tuple[int, int]:
    """Reads two numbers."""
    return reply[0], reply[1]


def added(reply: Sequence[int]) -> int:
    """Reads how many were added.

    Raises:
        QueueFull: none, because more would wait than may.
    """
    if reply[0] < 0:
        raise QueueFull
    return reply[0]


def found(reply: Sequence[Any]) -> Found:
    """Reads what a get found."""
    items, tenure, sweep, block = reply
    return Found(items, tenure, sweep == 1, max(0, block) / 1000, max(0, -block) / 1000)


def newest_first(reply: list[bytes]) -> list[bytes]:
    """Reads items that stand newest first; gives them oldest first."""
    return reply[::-1]


def letters(reply: list[bytes]) -> list[Letter]:
    """Reads dead letters that stand newest first; gives them oldest first."""
    return [read_letter(entry) for entry in reversed(reply)]


def stats(reply: Sequence[int]) -> Stats:
    """Reads how a queue is doing."""
    waiting, held, delayed, dead, consumers, paused = reply
    return Stats(waiting, held, delayed, dead, consumers, paused == 1)


def in_flight(reply: Sequence[Sequence[Any]]) -> list[InFlight]:
    """Reads who holds how much."""
    return [
        InFlight(consumer.decode("utf-8", "replace"), count, float(idle), float(lease) if lease else None)
        for consumer, count, idle, lease in reply
    ]


def batch(reply: Sequence[Any]) -> tuple[list[bytes], bytes]:
    """Reads items, and by when they were due."""
    return reply[0], reply[1]


def rollbacks(reply: Sequence[int]) -> Rollbacks:
    """Reads what is known of an item's rollbacks."""
    return Rollbacks(*reply)


def nothing(reply: object) -> None:
    """Reads nothing: that there is an answer says it all."""


def nothing_refused(reply: Sequence[bytes]) -> None:
    """Reads the names of refused commands.

    Raises:
        PermissionDeniedError: there are any; it names them.
    """
    if not reply:
        return
    names = ", ".join(sorted({name.decode() for name in reply}))
    raise PermissionDeniedError(f"{PermissionDeniedError._default_message()} Refused: {names}.")
