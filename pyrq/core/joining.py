"""Adds, acks and gets of several callers that become one call: which go together, and who hears what. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pyrq.core.errors import QueueFull
from pyrq.core.gathering import fitting
from pyrq.core.waiting import Found, Wait

__all__ = ["Get", "heard_by", "one_each", "room_for_gets", "room_for_items", "wait_of"]


@dataclass(frozen=True, slots=True)
class Get:
    """What one caller wants.

    Attributes:
        count: how many items at the most.
        wait: what it says about waiting.
    """

    count: int
    wait: Wait


def room_for_items(groups: Sequence[list[bytes]]) -> int:
    """Says how many callers' items, from the first on, go in one call: those of at least one."""
    return fitting(map(len, groups))


def one_each(counts: Sequence[int]) -> list[Any]:
    """Gives each caller's outcome: how many items its call was about, or QueueFull.

    Args:
        counts: as `replies.number_each` gives them.
    """
    return [QueueFull() if many < 0 else many for many in counts]


def room_for_gets(gets: Sequence[Get]) -> int:
    """Says how many gets, from the first on, go in one call: at least one. They are of one lease."""
    leases = [get.wait.lease for get in gets]
    alike = next((place for place, lease in enumerate(leases) if lease != leases[0]), len(gets))
    return fitting(get.count for get in gets[:alike])


def wait_of(gets: Sequence[Get]) -> Wait:
    """Gives what to say about waiting for all: none blocks for longer than it asked for."""
    slices = [get.wait.slice_ms for get in gets if get.wait.slice_ms]
    return replace(gets[0].wait, slice_ms=min(slices, default=0))


def heard_by(get: Get, found: Found, first: bool) -> Found:
    """Gives what one caller hears of a get for all.

    Args:
        get: what it wanted.
        found: what the get heard.
        first: whether it is the first of them: only one is to sweep.
    """
    waits = get.wait.slice_ms > 0
    return replace(
        found, sweep=found.sweep and first, block=found.block if waits else 0.0, nap=found.nap if waits else 0.0
    )
