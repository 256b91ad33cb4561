"""Calls of several callers in one pipeline: how it is put together, and what each caller hears. Pure.

Each caller's calls are a parcel. A pipeline holds parcels one after another, and one wait for replicas or disks behind
all of them. A parcel's answers are read as if it had been alone: another caller's refusal is none of its business. What
befalls the pipeline as a whole befalls each parcel, and each is sent again by its own caller, who knows its deadline.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from pyrq.core.call import Call
from pyrq.core.errors import RqError
from pyrq.core.ops import CHUNK
from pyrq.core.options import Durability
from pyrq.core.retry import Unreached
from pyrq.core.wire import Command, NeedsSource, TryLater, commands, results

__all__ = [
    "PATIENCE",
    "Parcel",
    "another",
    "another_error",
    "fitting",
    "landed",
    "packed_together",
    "room_in_pipeline",
    "told",
]

PATIENCE = 0.01
"""For how many seconds a caller waits for others' pipeline to come back; then the next one leaves beside it."""
_MOST_COMMANDS = 1000
"""So many commands go in one pipeline at the most, but for a parcel that is larger by itself."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """What one caller sends.

    Attributes:
        calls: what to run, in order.
        in_full: whether to send the scripts' texts (after a NOSCRIPT).
    """

    calls: Sequence[Call[Any]]
    in_full: bool


def packed_together(parcels: Iterable[Parcel], durability: Durability | None) -> list[Command]:
    """Gives the commands of a pipeline.

    Args:
        parcels: what each caller sends.
        durability: what all of them wait for.
    """
    sent = [command for parcel in parcels for command in commands(parcel.calls, None, in_full=parcel.in_full)]
    return sent + commands((), durability, in_full=False)


def landed(parcels: Iterable[Parcel], durability: Durability | None, replies: Sequence[Any]) -> list[Any]:
    """Reads the answers of a pipeline.

    Args:
        parcels: what each caller sent.
        durability: what was waited for.
        replies: an answer for each command.

    Returns:
        For each caller its results, or what its attempt has failed with (see `wire.results`).
    """
    outcomes: list[Any] = []
    waited = replies[-1:] if durability else []
    start = 0
    for parcel in parcels:
        end = start + len(parcel.calls)
        try:
            outcomes.append(results(parcel.calls, durability, [*replies[start:end], *waited]))
        except (NeedsSource, TryLater, RqError) as failure:
            outcomes.append(failure)
        start = end
    return outcomes


def told(outcome: Any) -> Any:
    """Gives a caller what its part of a flight has come to.

    Args:
        outcome: a result, or an exception, which is raised.
    """
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def another(failure: Exception) -> Exception:
    """Gives a failure once more, for another caller: each is told in an exception of its own, and may change it.

    Args:
        failure: what befell a pipeline as a whole.
    """
    if isinstance(failure, Unreached):
        return type(failure)(another_error(failure.error))
    if isinstance(failure, TryLater):
        return TryLater(another_error(failure.error), failure.partly)
    return another_error(failure) if isinstance(failure, RqError) else failure


def another_error(error: RqError) -> RqError:
    """Gives an error once more, for another caller.

    Args:
        error: what was raised.
    """
    twin = copy(error)
    twin.__cause__ = error.__cause__
    return twin


def room_in_pipeline(parcels: Iterable[Parcel]) -> int:
    """Says how many parcels, from the first on, go in one pipeline: at least one."""
    return fitting((len(parcel.calls) for parcel in parcels), _MOST_COMMANDS)


def fitting(sizes: Iterable[int], most: int = CHUNK) -> int:
    """Says how many groups, from the first on, go together: at least one.

    Args:
        sizes: how large each is.
        most: how large they may be in all.
    """
    total = taken = 0
    for size in sizes:
        total += size
        if taken and total > most:
            break
        taken += 1
    return taken
