"""One builder per operation: from checked arguments to a Call.

Rules of this module: a builder fills exactly the slots that its script's header names, in their order (a unit test
holds this); it takes encoded items and gives bytes and counts, because only facades know codecs; no chunk that it is
given is larger than CHUNK. Where kinds of queues differ, the keys say which script it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pyrq.core import replies
from pyrq.core.call import Call
from pyrq.core.keys import Keys, Kind
from pyrq.core.rollback import Rollbacks
from pyrq.core.script import load
from pyrq.core.session import Held, Identity

__all__ = [
    "CHUNK",
    "ack",
    "add",
    "burn",
    "bury",
    "confirm",
    "count",
    "delete",
    "drop",
    "forget",
    "forget_rollbacks",
    "get",
    "probe",
    "re_enqueue",
    "reject",
    "release",
    "repair",
    "roll_back",
]

CHUNK = 1000
"""How many items a call handles at the most, so that no script holds the server for long."""

_KINDS = (Kind.PLAIN, Kind.UNIQUE)

_ADD = [load("add", kind) for kind in _KINDS]
_GET = [load("get", kind) for kind in _KINDS]
_ACK = load("ack")
_REJECT = [load("reject", kind) for kind in _KINDS]
_BURY = load("bury")
_RELEASE = [load("release", kind) for kind in _KINDS]
_RE_ENQUEUE = [load("re_enqueue", kind) for kind in _KINDS]
_DROP = load("drop")
_DELETE = [load("delete", kind) for kind in _KINDS]
_COUNT = load("count")
_REPAIR = load("repair")
_ROLL_BACK = load("roll_back")
_FORGET_ROLLBACKS = load("forget_rollbacks")
_BURN = load("burn")
_CONFIRM = load("confirm")
_FORGET = load("forget")
_PROBE = [load("probe", kind) for kind in _KINDS]

_MOST_COPIES = 2**53
"""No list is longer, and every server and Lua can read it."""

SERVER_TIME = ""
"""The value of `now` that makes a script read the server's clock."""


def add(keys: Keys, identity: Identity, items: Sequence[bytes]) -> Call[int]:
    """Adds items; gives how many."""
    return Call(
        _ADD[keys.kind],
        (keys.session, keys.queue, *_members(keys)),
        (*identity.args(), *items),
        replies.one_number,
    )


def get(keys: Keys, identity: Identity, held: Held, count: int, now: str = SERVER_TIME) -> Call[list[bytes]]:
    """Takes the oldest waiting items; gives them, oldest first, those of an unconfirmed get before."""
    return Call(
        _GET[keys.kind],
        (keys.session, keys.queue, keys.processing, keys.timeouts, keys.consumers, *_members(keys)),
        (*identity.args(), b"%d" % held.received, keys.consumer, b"%d" % count, now.encode()),
        replies.items,
    )


def ack(keys: Keys, identity: Identity, held: Held, items: Sequence[bytes]) -> Call[int]:
    """Acknowledges items; gives how many were held."""
    return Call(
        _ACK,
        (keys.session, keys.processing, keys.timeouts, keys.consumers),
        (*identity.args(), *_reach(keys, held), *items),
        replies.one_number,
    )


def reject(keys: Keys, identity: Identity, held: Held, items: Sequence[bytes]) -> Call[int]:
    """Gives items back as the next out, in their order; gives how many were held."""
    return Call(
        _REJECT[keys.kind],
        (keys.session, keys.queue, keys.processing, keys.timeouts, keys.consumers, *_members(keys)),
        (*identity.args(), *_reach(keys, held), *items),
        replies.one_number,
    )


def bury(
    keys: Keys, identity: Identity, held: Held, items: Sequence[bytes], reason: str, now: str = SERVER_TIME
) -> Call[int]:
    """Moves items to the dead letters with a reason; gives how many were held."""
    facts = json.dumps({"consumer": keys.client_id, "deliveries": 1, "reason": reason}).encode()
    return Call(
        _BURY,
        (keys.session, keys.processing, keys.timeouts, keys.consumers, keys.dead),
        (*identity.args(), *_reach(keys, held), facts, now.encode(), *items),
        replies.one_number,
    )


def release(keys: Keys, identity: Identity, held: Held) -> Call[tuple[int, int]]:
    """Gives back what was not seen by a caller; gives how many went back and how many are left to."""
    return Call(
        _RELEASE[keys.kind],
        (keys.session, keys.queue, keys.processing, keys.timeouts, keys.consumers, *_members(keys)),
        (*identity.args(), *_reach(keys, held)),
        replies.two_numbers,
    )


def re_enqueue(keys: Keys, identity: Identity, timeout: float | None, now: str = SERVER_TIME) -> Call[tuple[int, int]]:
    """Gives back what silent consumers held (all of them without a timeout); gives how many, and 1 if there is more."""
    return Call(
        _RE_ENQUEUE[keys.kind],
        (keys.session, keys.queue, keys.timeouts, keys.consumers, *_members(keys)),
        (*identity.args(), *_silence(keys, timeout, now)),
        replies.two_numbers,
    )


def drop(keys: Keys, identity: Identity, timeout: float | None, now: str = SERVER_TIME) -> Call[tuple[int, int]]:
    """Deletes what silent consumers held (all of them without a timeout); gives how many, and 1 if there is more."""
    return Call(
        _DROP,
        (keys.session, keys.timeouts, keys.consumers),
        (*identity.args(), *_silence(keys, timeout, now)),
        replies.two_numbers,
    )


def delete(keys: Keys, identity: Identity, items: Sequence[bytes], count: int) -> Call[int]:
    """Removes the newest waiting copies, `count` of each item or all (0); gives how many."""
    return Call(
        _DELETE[keys.kind],
        (keys.session, keys.queue, *_members(keys)),
        (*identity.args(), b"%d" % min(count, _MOST_COPIES), *items),
        replies.one_number,
    )


def count(keys: Keys) -> Call[int]:
    """Gives how many items wait."""
    return Call(_COUNT, (keys.queue,), (), replies.number)


def repair(keys: Keys, identity: Identity) -> Call[int]:
    """Makes the set of what waits anew from the list; gives how many members it gained and lost."""
    return Call(_REPAIR, (keys.session, keys.queue, keys.unique, keys.repair), identity.args(), replies.one_number)


def roll_back(keys: Keys, identity: Identity, item: bytes, now: str = SERVER_TIME) -> Call[Rollbacks]:
    """Counts one more rollback of an item; gives what is known of its rollbacks."""
    return Call(
        _ROLL_BACK,
        (keys.session, keys.retry_count, keys.retry_timeout),
        (*identity.args(), now.encode(), item),
        replies.rollbacks,
    )


def forget_rollbacks(keys: Keys, identity: Identity, item: bytes) -> Call[int]:
    """Forgets the rollbacks of an item; gives 1 if there were any."""
    return Call(
        _FORGET_ROLLBACKS,
        (keys.session, keys.retry_count, keys.retry_timeout),
        (*identity.args(), item),
        replies.one_number,
    )


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


def probe(keys: Keys) -> Call[None]:
    """Tries every command that the scripts use; PermissionDeniedError names those that are refused."""
    return Call(
        _PROBE[keys.kind],
        (
            keys.queue + b"/probe/" + keys.consumer,
            keys.session,
            keys.queue,
            keys.processing,
            keys.timeouts,
            keys.consumers,
            keys.dead,
            keys.retry_count,
            keys.retry_timeout,
            *_members(keys),
            *((keys.repair,) if keys.kind is Kind.UNIQUE else ()),
        ),
        (),
        replies.nothing_refused,
    )


def _members(keys: Keys) -> tuple[bytes, ...]:
    """Gives the keys that a script of this kind of queue has besides."""
    return (keys.unique,) if keys.kind is Kind.UNIQUE else ()


def _reach(keys: Keys, held: Held) -> tuple[bytes, bytes, bytes]:
    return b"%d" % held.received, b"%d" % held.kept, keys.consumer


def _silence(keys: Keys, timeout: float | None, now: str) -> tuple[bytes, bytes, bytes]:
    return b"" if timeout is None else repr(timeout).encode(), keys.prefix, now.encode()
