"""Builders of the calls about a session itself, of a queue or a pool. Pure: names and arguments in, a Call out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyrq.core import replies
from pyrq.core.call import Call
from pyrq.core.keys import Keys
from pyrq.core.script import load
from pyrq.core.session import Identity

__all__ = ["burn", "confirm", "forget"]

_BURN = load("burn")
_CONFIRM = load("confirm")
_FORGET = load("forget")


def burn(keys: Keys, lasts: Sequence[Identity]) -> Call[int]:
    """Takes their sequences from calls that may still be under way. `lasts` holds at least one."""
    pairs = [part for last in lasts for part in last.args()[:2]]
    return Call(_BURN, (keys.session,), (lasts[0].args()[2], *pairs), replies.number)


def confirm(call: Call[Any]) -> Call[None]:
    """Asks whether an identified call has taken effect, for a wait behind it; OutcomeUnknown if that is not known."""
    return Call(_CONFIRM, call.keys[:1], call.args[:3], replies.nothing)


def forget(keys: Keys) -> Call[int]:
    """Ends the session."""
    return Call(_FORGET, (keys.session,), (), replies.number)
