"""How replies are read: what a Call's `parse` may be. Each takes a reply without its status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyrq.core.errors import PermissionDeniedError
from pyrq.core.rollback import Rollbacks

__all__ = ["batch", "flag", "items", "nothing", "nothing_refused", "number", "one_number", "rollbacks", "two_numbers"]


def number(reply: int) -> int:
    """Reads a number that stands alone."""
    return reply


def flag(reply: int) -> bool:
    """Reads a 1 or 0 that stands alone."""
    return bool(reply)


def one_number(reply: Sequence[int]) -> int:
    """Reads a number."""
    return reply[0]


def two_numbers(reply: Sequence[int]) -> tuple[int, int]:
    """Reads two numbers."""
    return reply[0], reply[1]


def items(reply: Sequence[list[bytes]]) -> list[bytes]:
    """Reads items."""
    return reply[0]


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
