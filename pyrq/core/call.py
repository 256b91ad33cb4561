"""A Call: one operation as a value, ready to be sent, and how to read its answer.

Replies of identified scripts are arrays that begin with a Status; `settle` turns it into an outcome before `parse`
sees the rest. A Call compares equal to another that would do the same, so tests can compare what was asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Generic, TypeVar

from pyrq.core.errors import OutcomeUnknown
from pyrq.core.script import Script

__all__ = ["Call", "Status", "settle", "wrote"]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

Reply = Any
"""What the server answered: int, bytes, None, or a list of these."""


class Status(IntEnum):
    """The first element of an identified script's reply."""

    NOTHING = 0
    """There was nothing to do; nothing was written."""
    DONE = 1
    """Done now."""
    AGAIN = 2
    """Done by an earlier sending of the same call; this is its answer again."""
    STALE = 3
    """A later call of the same lane has run; this one must not and did not."""


_LAST = int(Status.STALE)


@dataclass(frozen=True, slots=True)
class Call(Generic[R_co]):
    """One script call.

    Attributes:
        script: what to run.
        keys: one for each of the script's KEYS; for an identified script the session comes first.
        args: one for each of the script's ARGV.
        parse: a module-level function from the reply (without its status) to bytes and counts.
    """

    script: Script
    keys: tuple[bytes, ...]
    args: tuple[bytes, ...]
    parse: Callable[[Reply], R_co]


def settle(call: Call[R], reply: Reply) -> R:
    """Reads the reply of a call.

    Args:
        call: what was sent.
        reply: what came back; an error reply has been turned into an exception before. Whatever reading a strange one
            raises comes out.

    Returns:
        What the call's `parse` makes of it.

    Raises:
        OutcomeUnknown: the call is stale, so a later one of its lane has run and this one did nothing; whether an
            earlier sending of it took effect is not known.
    """
    if not call.script.identified:
        return call.parse(reply)
    status = reply[0]
    if type(reply) is not list or type(status) is not int or not 0 <= status <= _LAST:
        raise TypeError("no status")
    if status == _LAST:
        raise OutcomeUnknown
    return call.parse(reply[1:])


def wrote(call: Call[Any], reply: Reply) -> bool:
    """Says whether there is something behind a reply that replicas or disks could confirm.

    Args:
        call: what was sent.
        reply: what came back.

    Returns:
        True if the call, or an earlier sending of it, has written.
    """
    return call.script.identified and reply[0] in (Status.DONE, Status.AGAIN)
