"""One builder per operation: from checked arguments to a Call.

Rules of this module: a builder fills exactly the slots that its script's header names, in their order (a unit test
holds this); it takes encoded items and gives bytes and counts, because only facades know codecs; no chunk that it is
given is larger than CHUNK. Where kinds of queues differ, the keys say which script it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyrq.core import replies
from pyrq.core.call import Call
from pyrq.core.keys import Keys, Kind
from pyrq.core.limits import Limits
from pyrq.core.rollback import Rollbacks
from pyrq.core.script import load
from pyrq.core.session import Held, Identity
from pyrq.core.views import InFlight, Letter, Stats
from pyrq.core.waiting import Found, Wait

__all__ = [
    "CHUNK",
    "ack",
    "ack_all",
    "ack_together",
    "add",
    "add_together",
    "beat",
    "bury",
    "count",
    "dead_count",
    "dead_letters",
    "delete",
    "drop",
    "forget_rollbacks",
    "get",
    "in_flight",
    "is_paused",
    "pause",
    "peek",
    "probe",
    "purge",
    "put_off",
    "re_enqueue",
    "redrive",
    "reject",
    "release",
    "repair",
    "resume",
    "retry",
    "roll_back",
    "stats",
]

CHUNK = 1000
"""How many items a call handles at the most, so that no script holds the server for long."""

_KINDS = (Kind.PLAIN, Kind.UNIQUE)

_ADD = [load("add", kind) for kind in _KINDS]
_ADD_TOGETHER = [load("add_together", kind) for kind in _KINDS]
_GET = [load("get", kind) for kind in _KINDS]
_ACK = load("ack")
_ACK_ALL = load("ack_all")
_ACK_TOGETHER = load("ack_together")
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
_BEAT = load("beat")
_PUT_OFF = load("put_off")
_RETRY = load("retry")
_REDRIVE = [load("redrive", kind) for kind in _KINDS]
_PURGE = load("purge")
_DEAD_COUNT = load("dead_count")
_DEAD_LETTERS = load("dead_letters")
_PAUSE = load("pause")
_RESUME = load("resume")
_IS_PAUSED = load("is_paused")
_STATS = load("stats")
_PEEK = load("peek")
_IN_FLIGHT = load("in_flight")
_PROBE = [load("probe", kind) for kind in _KINDS]

_MOST_COPIES = 2**53
"""No list is longer, and every server and Lua can read it."""

SERVER_TIME = ""
"""The value of `now` that makes a script read the server's clock."""

_SWEPT = b"swept: its consumer fell silent"
_MOST_REASON = 2000
"""So many bytes of a reason are kept."""


def add(keys: Keys, identity: Identity, items: Sequence[bytes], limits: Limits) -> Call[int]:
    """Adds items; gives how many. QueueFull if more would wait than may."""
    return Call(
        _ADD[keys.kind],
        (keys.session, keys.queue, keys.delayed, *_members(keys)),
        (*identity.args(), _number(limits.max_size), *items),
        replies.added,
    )


def add_together(keys: Keys, identity: Identity, groups: Sequence[Sequence[bytes]], limits: Limits) -> Call[list[int]]:
    """Adds items of several callers, 1 to CHUNK in all; gives for each how many, or -1: more would wait than may."""
    return Call(
        _ADD_TOGETHER[keys.kind],
        (keys.session, keys.queue, keys.delayed, *_members(keys)),
        (*identity.args(), _number(limits.max_size), _sizes(groups), *(item for group in groups for item in group)),
        replies.number_each,
    )


def put_off(
    keys: Keys, identity: Identity, items: Sequence[bytes], delay: float, limits: Limits, now: str = SERVER_TIME
) -> Call[int]:
    """Adds items that are to wait from some seconds on; gives how many. QueueFull if more would wait than may."""
    return Call(
        _PUT_OFF,
        (keys.session, keys.queue, keys.delayed),
        (*identity.args(), repr(delay).encode(), _number(limits.max_size), now.encode(), *items),
        replies.added,
    )


def get(keys: Keys, identity: Identity, held: Held, count: int, wait: Wait, now: str = SERVER_TIME) -> Call[Found]:
    """Takes the oldest waiting items, those of an unconfirmed get before; or gets ready to wait for some."""
    return Call(
        _GET[keys.kind],
        (
            keys.session,
            keys.queue,
            keys.processing,
            keys.timeouts,
            keys.consumers,
            keys.landing,
            keys.delayed,
            keys.meta,
            keys.deliveries,
            *_members(keys),
        ),
        (
            *identity.args(),
            b"%d" % held.received,
            keys.consumer,
            b"%d" % count,
            b"" if wait.lease is None else repr(wait.lease).encode(),
            b"%d" % wait.slice_ms,
            b"%d" % wait.blocked,
            now.encode(),
        ),
        replies.found,
    )


def beat(keys: Keys, identity: Identity, lease: float, now: str = SERVER_TIME) -> Call[tuple[int, int]]:
    """Shows that the consumer is alive; gives the tenure that goes on (0: none), and 1 if it is to sweep."""
    return Call(
        _BEAT,
        (keys.session, keys.processing, keys.timeouts, keys.consumers, keys.meta),
        (*identity.args(), keys.consumer, repr(lease).encode(), now.encode()),
        replies.two_numbers,
    )


def ack(keys: Keys, identity: Identity, held: Held, items: Sequence[bytes]) -> Call[int]:
    """Acknowledges items; gives how many were held."""
    return Call(
        _ACK,
        (keys.session, keys.processing, keys.timeouts, keys.consumers, keys.deliveries),
        (*identity.args(), *_reach(keys, held), *items),
        replies.one_number,
    )


def ack_all(keys: Keys, identity: Identity, held: Held, size: int) -> Call[int]:
    """Acknowledges what a get brought, if it is all that is held; gives how many these were, or -1: not proved.

    `size` is how many items the get brought that was last received. Where it is not proved, nothing was done.
    """
    return Call(
        _ACK_ALL,
        (keys.session, keys.processing, keys.timeouts, keys.consumers, keys.deliveries),
        (*identity.args(), *_reach(keys, held), b"%d" % size),
        replies.one_number,
    )


def ack_together(keys: Keys, identity: Identity, held: Held, groups: Sequence[Sequence[bytes]]) -> Call[list[int]]:
    """Acknowledges items of several callers, 1 to CHUNK in all; gives for each how many were held."""
    return Call(
        _ACK_TOGETHER,
        (keys.session, keys.processing, keys.timeouts, keys.consumers, keys.deliveries),
        (*identity.args(), *_reach(keys, held), _sizes(groups), *(item for group in groups for item in group)),
        replies.number_each,
    )


def reject(
    keys: Keys, identity: Identity, held: Held, items: Sequence[bytes], limits: Limits, now: str = SERVER_TIME
) -> Call[int]:
    """Gives items back as the next out, in their order; gives how many were held."""
    return Call(
        _REJECT[keys.kind],
        (
            keys.session,
            keys.queue,
            keys.processing,
            keys.timeouts,
            keys.consumers,
            keys.deliveries,
            keys.dead,
            *_members(keys),
        ),
        (*identity.args(), *_reach(keys, held), *_deaths(limits), b"rejected", now.encode(), *items),
        replies.one_number,
    )


def retry(
    keys: Keys,
    identity: Identity,
    held: Held,
    items: Sequence[bytes],
    reason: str,
    waits: Sequence[float],
    limits: Limits,
    now: str = SERVER_TIME,
) -> Call[tuple[int, int]]:
    """Puts items off, longer after each delivery; gives how many were held, and how many of them are dead letters now.

    `waits` holds at least one number of seconds.
    """
    steps = " ".join(f"{wait:.3f}" for wait in waits).encode()
    return Call(
        _RETRY,
        (
            keys.session,
            keys.processing,
            keys.timeouts,
            keys.consumers,
            keys.deliveries,
            keys.dead,
            keys.delayed,
        ),
        (*identity.args(), *_reach(keys, held), *_deaths(limits), _text(reason), steps, now.encode(), *items),
        replies.two_numbers,
    )


def bury(
    keys: Keys,
    identity: Identity,
    held: Held,
    items: Sequence[bytes],
    reason: str,
    limits: Limits,
    now: str = SERVER_TIME,
) -> Call[int]:
    """Moves items to the dead letters with a reason; gives how many were held."""
    return Call(
        _BURY,
        (keys.session, keys.processing, keys.timeouts, keys.consumers, keys.deliveries, keys.dead),
        (
            *identity.args(),
            *_reach(keys, held),
            _number(limits.dead_max),
            _text(reason),
            now.encode(),
            *items,
        ),
        replies.one_number,
    )


def release(keys: Keys, identity: Identity, held: Held, blocked: int, now: str = SERVER_TIME) -> Call[tuple[int, int]]:
    """Gives back what was not seen by a caller; gives how many went back and how many are left to."""
    return Call(
        _RELEASE[keys.kind],
        (
            keys.session,
            keys.queue,
            keys.processing,
            keys.timeouts,
            keys.consumers,
            keys.landing,
            keys.meta,
            *_members(keys),
        ),
        (*identity.args(), *_reach(keys, held), b"%d" % blocked, now.encode()),
        replies.two_numbers,
    )


def re_enqueue(
    keys: Keys, identity: Identity, timeout: float | None, limits: Limits, now: str = SERVER_TIME
) -> Call[tuple[int, int]]:
    """Gives back what silent consumers held (all of them without a timeout); gives how many, and 1 if there is more."""
    return Call(
        _RE_ENQUEUE[keys.kind],
        (
            keys.session,
            keys.queue,
            keys.timeouts,
            keys.consumers,
            keys.deliveries,
            keys.dead,
            keys.meta,
            *_members(keys),
        ),
        (*identity.args(), *_silence(keys, timeout), *_deaths(limits), _SWEPT, now.encode()),
        replies.two_numbers,
    )


def drop(keys: Keys, identity: Identity, timeout: float | None, now: str = SERVER_TIME) -> Call[tuple[int, int]]:
    """Deletes what silent consumers held (all of them without a timeout); gives how many, and 1 if there is more."""
    return Call(
        _DROP,
        (keys.session, keys.queue, keys.timeouts, keys.consumers, keys.meta),
        (*identity.args(), *_silence(keys, timeout), now.encode()),
        replies.two_numbers,
    )


def delete(keys: Keys, identity: Identity, items: Sequence[bytes], count: int) -> Call[int]:
    """Removes the newest waiting copies, `count` of each item or all (0); gives how many."""
    return Call(
        _DELETE[keys.kind],
        (keys.session, keys.queue, keys.consumers, keys.deliveries, *_members(keys)),
        (*identity.args(), keys.landing_prefix, b"%d" % min(count, _MOST_COPIES), *items),
        replies.one_number,
    )


def redrive(keys: Keys, identity: Identity, count: int) -> Call[int]:
    """Makes items of the oldest dead letters again; gives how many letters there were."""
    return Call(
        _REDRIVE[keys.kind],
        (keys.session, keys.queue, keys.dead, *_members(keys)),
        (*identity.args(), b"%d" % count),
        replies.one_number,
    )


def purge(keys: Keys, identity: Identity) -> Call[int]:
    """Deletes the dead letters; gives how many."""
    return Call(_PURGE, (keys.session, keys.dead), identity.args(), replies.one_number)


def dead_count(keys: Keys) -> Call[int]:
    """Gives how many dead letters there are."""
    return Call(_DEAD_COUNT, (keys.dead,), (), replies.number)


def dead_letters(keys: Keys, count: int) -> Call[list[Letter]]:
    """Shows the oldest dead letters, oldest first."""
    return Call(_DEAD_LETTERS, (keys.dead,), (b"%d" % count,), replies.letters)


def pause(keys: Keys, identity: Identity, now: str = SERVER_TIME) -> Call[int]:
    """Makes consumers stop taking; gives 1 if they did take."""
    return Call(_PAUSE, (keys.session, keys.meta), (*identity.args(), now.encode()), replies.one_number)


def resume(keys: Keys, identity: Identity) -> Call[int]:
    """Lets consumers take again; gives 1 if the queue was paused."""
    return Call(_RESUME, (keys.session, keys.meta), identity.args(), replies.one_number)


def is_paused(keys: Keys) -> Call[bool]:
    """Says whether consumers are to stop taking."""
    return Call(_IS_PAUSED, (keys.meta,), (), replies.flag)


def stats(keys: Keys) -> Call[Stats]:
    """Gives how the queue is doing."""
    return Call(
        _STATS,
        (keys.queue, keys.timeouts, keys.consumers, keys.delayed, keys.dead, keys.meta),
        (keys.prefix, keys.landing_prefix),
        replies.stats,
    )


def peek(keys: Keys, count: int, offset: int) -> Call[list[bytes]]:
    """Shows the oldest waiting items, oldest first."""
    return Call(_PEEK, (keys.queue,), (b"%d" % count, b"%d" % min(offset, _MOST_COPIES)), replies.newest_first)


def in_flight(keys: Keys, now: str = SERVER_TIME) -> Call[list[InFlight]]:
    """Gives who holds how much."""
    return Call(_IN_FLIGHT, (keys.timeouts, keys.consumers), (keys.prefix, now.encode()), replies.in_flight)


def count(keys: Keys) -> Call[int]:
    """Gives how many items wait."""
    return Call(_COUNT, (keys.queue,), (), replies.number)


def repair(keys: Keys, identity: Identity) -> Call[int]:
    """Makes the set of what waits anew from the list; gives how many members it gained and lost."""
    return Call(
        _REPAIR,
        (keys.session, keys.queue, keys.unique, keys.repair, keys.consumers),
        (*identity.args(), keys.landing_prefix),
        replies.one_number,
    )


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
            keys.landing,
            keys.delayed,
            keys.deliveries,
            keys.meta,
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


def _reach(keys: Keys, held: Held) -> tuple[bytes, bytes, bytes, bytes]:
    return b"%d" % held.received, b"%d" % held.kept, b"%d" % held.tenure, keys.consumer


def _silence(keys: Keys, timeout: float | None) -> tuple[bytes, bytes, bytes]:
    return b"" if timeout is None else repr(timeout).encode(), keys.prefix, keys.landing_prefix


def _deaths(limits: Limits) -> tuple[bytes, bytes]:
    return _number(limits.max_deliveries), _number(limits.dead_max)


def _sizes(groups: Sequence[Sequence[bytes]]) -> bytes:
    return b" ".join(b"%d" % len(group) for group in groups)


def _number(bound: int | None) -> bytes:
    return b"" if bound is None else b"%d" % bound


def _text(reason: str) -> bytes:
    return reason.encode("utf-8", "replace")[:_MOST_REASON]
