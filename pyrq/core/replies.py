"""How replies are read: what a Call's `parse` may be. Each takes a reply without its status.

A reply that is not what its script gives is refused: by what its types are, no further, for whoever wants to lie can.
What is raised then is none of this library's errors; `wire.results` turns it into one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pyrq.core.errors import PermissionDeniedError, QueueFull
from pyrq.core.rollback import Rollbacks
from pyrq.core.views import InFlight, Letter, Stats, read_letter
from pyrq.core.waiting import Found

__all__ = [
    "added",
    "number_each",
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

_LONGEST_BLOCK_MS = 3_600_000
"""Nobody asks to wait longer at a time; the slices of this library are of 5 s."""
_COMMAND = re.compile(rb"[A-Z]{1,20}")


def _texts(reply: Any) -> list[bytes]:
    """Gives a reply that has to be a list of byte strings."""
    if type(reply) is not list or not set(map(type, reply)) <= {bytes}:
        raise TypeError("no list of byte strings")
    return reply


def number(reply: Any) -> int:
    """Reads a number that stands alone."""
    if type(reply) is not int:  # RESP3's boolean is none
        raise TypeError("no number")
    return reply


def flag(reply: Any) -> bool:
    """Reads a 1 or 0 that stands alone."""
    return bool(number(reply))


def one_number(reply: Sequence[Any]) -> int:
    """Reads a number."""
    return number(reply[0])


def number_and_none(reply: Sequence[Any]) -> tuple[int, int]:
    """Reads a number where others read two."""
    return one_number(reply), 0


def two_numbers(reply: Sequence[Any]) -> tuple[int, int]:
    """Reads two numbers."""
    return number(reply[0]), number(reply[1])


def added(reply: Sequence[Any]) -> int:
    """Reads how many were added.

    Raises:
        QueueFull: none, because more would wait than may.
    """
    many = one_number(reply)
    if many < 0:
        raise QueueFull
    return many


def number_each(reply: Sequence[Any]) -> list[int]:
    """Reads a number for each of several callers."""
    return [number(many) for many in reply]


def found(reply: Sequence[Any]) -> Found:
    """Reads what a get found."""
    items, tenure, sweep, block, whole = reply
    if abs(number(block)) > _LONGEST_BLOCK_MS:
        raise ValueError("too long")
    return Found(
        newest_first(items),
        number(tenure),
        number(sweep) == 1,
        max(0, block) / 1000,
        max(0, -block) / 1000,
        number(whole) == 1,
    )


def newest_first(reply: Any) -> list[bytes]:
    """Reads items that stand newest first; gives them oldest first."""
    return _texts(reply)[::-1]


def letters(reply: Any) -> list[Letter]:
    """Reads dead letters that stand newest first; gives them oldest first."""
    return [read_letter(entry) for entry in newest_first(reply)]


def stats(reply: Sequence[Any]) -> Stats:
    """Reads how a queue is doing."""
    waiting, held, delayed, dead, consumers, paused = map(number, reply)
    return Stats(waiting, held, delayed, dead, consumers, paused == 1)


def in_flight(reply: Sequence[Sequence[Any]]) -> list[InFlight]:
    """Reads who holds how much."""
    return [
        InFlight(consumer.decode("utf-8", "replace"), number(count), float(idle), float(lease) if lease else None)
        for consumer, count, idle, lease in reply
    ]


def batch(reply: Sequence[Any]) -> tuple[list[bytes], bytes]:
    """Reads items, and by when they were due."""
    items, due = reply
    return _texts(items), _texts([due])[0]


def rollbacks(reply: Sequence[Any]) -> Rollbacks:
    """Reads what is known of an item's rollbacks."""
    return Rollbacks(*map(number, reply))


def nothing(reply: object) -> None:
    """Reads nothing: that there is an answer says it all."""


def nothing_refused(reply: Any) -> None:
    """Reads the names of refused commands.

    Raises:
        PermissionDeniedError: there are any; it names them.
    """
    if not _texts(reply):
        return
    if not all(map(_COMMAND.fullmatch, reply)):
        raise ValueError("no names of commands")
    names = ", ".join(sorted({name.decode() for name in reply}))
    raise PermissionDeniedError(f"{PermissionDeniedError._default_message()} Refused: {names}.")
