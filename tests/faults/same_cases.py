"""Cases for the comparison of the fake with servers: each script, called on keys in many states.

Items are bytes of all sorts. A call is made twice, so that it also meets what it left itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pyrq.core.call import Call
from pyrq.core.keys import Keys, Kind
from pyrq.core.limits import Limits
from pyrq.core.session import Held
from pyrq.core.waiting import Wait
from tests.faults.ledger import MARK
from tests.unit.builders import ANY_BUILDERS, POOL_BUILDERS, QUEUE_BUILDERS, Builder, fill, keys_of

__all__ = ["NOW", "Case", "cases"]

NOW = 1_700_000_000
"""What time it is, half a second later."""
X, Y, Z = (f"{MARK}-{letter}".encode() for letter in "xyz")
BINARY = MARK.encode() + bytes(range(256))
ALL = [X, Y, BINARY, X, Z]
MANY = [b"%s %d" % (X, number) for number in range(1001)]
OTHERS = "far-2", "near-3", "leased-4"

Prepare = Callable[[Any, Keys], object]
"""Puts keys into a state, by commands."""


@dataclass(frozen=True)
class Case:
    """A call on keys in some state.

    Attributes:
        name: what is special about it.
        call: the call.
        prepare: brings about the state, given a client.
        is_timed: whether the server's clock is read.
    """

    name: str
    call: Call[Any]
    prepare: Callable[[Any], object]
    is_timed: bool = False


ARGUMENTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "open": {
        "held": Held(received=3, kept=0, tenure=0),
        "limits": Limits(max_deliveries=None, max_size=None, dead_max=None),
        "wait": Wait(lease=None, slice_ms=0, blocked=0),
        "items": ALL,
        "item": BINARY,
        "count": 1000,
        "timeout": None,
        "waits": [0.5],
        "due": b"",
        "offset": 1,
    },
    "waiting": {
        "held": Held(received=4, kept=1, tenure=9),
        "limits": Limits(max_deliveries=1, max_size=2, dead_max=1),
        "wait": Wait(lease=None, slice_ms=2000, blocked=0),
        "items": [BINARY],
        "item": X,
        "count": 2,
        "timeout": 0.5,
        "due": b"%d" % (NOW + 9),
    },
    "large": {"held": Held(received=3, kept=0, tenure=9), "items": MANY[:1000], "count": 1000, "offset": 999},
}
"""Ways to call, besides the samples of the unit tests: other values for a builder's parameters."""


# States. What is in them is what the library leaves, or others may.


def _empty(client: Any, keys: Keys) -> None:
    """There is nothing."""


def _waiting(client: Any, keys: Keys, items: list[bytes] = ALL) -> None:
    entries = list(dict.fromkeys(items)) if keys.kind is Kind.UNIQUE else items
    client.lpush(keys.queue, *entries)
    if keys.kind is Kind.UNIQUE:
        client.sadd(keys.unique, *entries)


def _held(client: Any, keys: Keys, items: list[bytes] = ALL) -> None:
    """The consumer has a lease, and received what it holds."""
    client.lpush(keys.processing, *items)
    client.hset(keys.timeouts, keys.processing, f"{NOW - 5}.25")
    client.hset(keys.consumers, mapping={keys.consumer: f"3 {min(3, len(items))}", keys.consumer + b"/lease": "30.0 9"})


def _busy(client: Any, keys: Keys) -> None:
    _waiting(client, keys)
    _held(client, keys)


def _unseen(client: Any, keys: Keys) -> None:
    """The reply of the last get was lost."""
    _busy(client, keys)
    client.hset(keys.consumers, keys.consumer, "4 2")


def _void(client: Any, keys: Keys) -> None:
    """An older library swept the list."""
    _busy(client, keys)
    client.hset(keys.consumers, keys.consumer, "4 99")


def _many(client: Any, keys: Keys) -> None:
    _waiting(client, keys, MANY)
    _held(client, keys, MANY)
    other = Keys.of(keys.name, OTHERS[0], keys.kind)
    client.lpush(other.processing, *MANY)
    client.hset(keys.timeouts, other.processing, "1")


def _others(client: Any, keys: Keys) -> None:
    """Others hold something: one is silent, one is not, one has a lease that is over. Somebody planted fields."""
    _busy(client, keys)
    far, near, leased = (Keys.of(keys.name, other, keys.kind) for other in OTHERS)
    client.rpush(far.processing, X, BINARY)
    client.rpush(near.processing, Y)
    client.rpush(leased.processing, *[Z] * 3)
    client.hset(keys.timeouts, mapping={far.processing: f"{NOW - 8000}", near.processing: f"{NOW}.125"})
    client.hset(keys.timeouts, mapping={leased.processing: f"{NOW - 31}", "elsewhere": "1", keys.prefix: "1"})
    client.hset(
        keys.consumers, mapping={leased.consumer: "7 3", leased.consumer + b"/lease": "30.0 7", "gone-5": "1 1"}
    )


def _odd(client: Any, keys: Keys) -> None:
    """Somebody wrote what is no number where there should be one."""
    _busy(client, keys)
    stamps = ["", "nan", "inf", "-inf", "0x10", "1e3", " 12 ", "12abc", "-5", "1.", "9" * 30, "1_0", "\u0661"]
    for number, stamp in enumerate(stamps):
        key = keys.prefix + b"odd-%d" % number
        client.rpush(key, X)
        client.hset(keys.timeouts, key, stamp)
        client.hset(keys.consumers, f"odd-{number}/landing", stamp)
    client.hset(keys.meta, mapping={"swept": "soon", "waking": "//"})
    client.hset(keys.deliveries, mapping={X: "some", Y: "", BINARY: "2.5 swept"})


def _delayed(client: Any, keys: Keys) -> None:
    """Some of what was put off is due; somebody else added a member without a head."""
    _busy(client, keys)
    client.zadd(keys.delayed, {b"1 1 1 s\n" + X: NOW - 1, b"1 2 1 s\n" + BINARY: NOW + 0.5, b"2 1 1 s\n" + Y: NOW + 2})
    client.zadd(keys.delayed, {Z: NOW - 3.75})
    client.hset(keys.meta, mapping={"waking": f"{NOW + 2}/other-9", "swept": f"{NOW - 100}"})


def _put_off(client: Any, keys: Keys) -> None:
    """Nothing waits, and something will."""
    client.zadd(keys.delayed, {b"2 1 1 s\n" + BINARY: NOW + 1.123456})


def _landed(client: Any, keys: Keys) -> None:
    """Something has landed, for this consumer and for others; one of them is silent."""
    _busy(client, keys)
    client.rpush(keys.landing, *([b"l1", b"l2"]))
    for number, (other, until) in enumerate(zip(OTHERS, (NOW - 9, NOW + 9, NOW), strict=True)):
        client.rpush(keys.landing_prefix + other.encode(), BINARY + b"%d" % number, b"l%d" % (number + 3))
        client.hset(keys.consumers, f"{other}/landing", f"{until}.500000")
    client.hset(keys.consumers, keys.consumer + b"/landing", f"{NOW + 3}.000000")
    if keys.kind is Kind.UNIQUE:
        landed = [BINARY + b"%d" % number for number in range(3)]
        client.sadd(keys.unique, "l1", "l2", *landed)


def _failed(client: Any, keys: Keys) -> None:
    """Items were delivered in vain, and died; one is suspect."""
    _others(client, keys)
    client.hset(keys.deliveries, mapping={X: "2", Y: "1 swept", BINARY: "2 swept", "other": "7"})
    letters = [b"%d.25 3 2 3\nc1why" % NOW + item for item in ALL]
    client.lpush(keys.dead, *letters, "no letter at all", b"1 2 3\n", b"1 2 30 30\n" + X)


def _paused(client: Any, keys: Keys) -> None:
    _delayed(client, keys)
    client.hset(keys.meta, "paused", f"{NOW - 7}.25")


def _rolled(client: Any, keys: Keys) -> None:
    _busy(client, keys)
    client.hset(keys.retry_count, mapping={X: "2", BINARY: "7"})
    client.hset(keys.retry_timeout, mapping={X: f"{NOW // 60 - 60}", BINARY: f"{NOW // 60}"})


def _apart(client: Any, keys: Keys) -> None:
    """List and set do not agree."""
    _waiting(client, keys)
    client.sadd(keys.unique, "stale", BINARY + b"stale")
    client.srem(keys.unique, X)


def _all(client: Any, keys: Keys) -> None:
    fill(client, keys.kind)


def _pooled(client: Any, keys: Keys) -> None:
    """A pool with items in all states: overdue, due, handed out and over, handed out, not due."""
    seconds = {X: NOW - 10.0, Y: float(NOW), Z: NOW - 700 + 0.1, BINARY: NOW + 300 + 0.1, b"": NOW + 50.0, b"w": 1.5}
    client.zadd(keys.queue, seconds)


def _pool_of_many(client: Any, keys: Keys) -> None:
    client.zadd(keys.queue, {item: NOW - 500 + number // 2 + 0.1 * (number % 2) for number, item in enumerate(MANY)})


STATES: tuple[Prepare, ...] = (
    *(_empty, _waiting, _held, _busy, _unseen, _void, _many, _others, _odd, _delayed, _put_off, _landed, _failed),
    *(_paused, _rolled, _all),
)
POOL_STATES: tuple[Prepare, ...] = (_empty, _pooled, _pool_of_many, _all)
LANES = {"has run": "5 3", "was burnt": "5 burnt", "is stale": "6 1", "is new": "4 1", "has an odd record": "none"}


def cases() -> Iterator[Case]:
    """Gives all cases."""
    for builder in (*QUEUE_BUILDERS, *POOL_BUILDERS, *ANY_BUILDERS):
        yield from _in_states(builder)
        yield from _on_lanes(builder)
        yield from _of_wrong_types(builder)


def _in_states(builder: Builder) -> Iterator[Case]:
    states = POOL_STATES if builder.kind is Kind.POOL else STATES
    for state in states if builder.kind is not Kind.UNIQUE else (*states, _apart):
        for way, call in _ways(builder).items():
            yield _case(builder, f"{state.__name__[1:]}, {way}", call, state, is_timed=way == "timed")


def _ways(builder: Builder) -> dict[str, Call[Any]]:
    """Gives the calls of a builder with different arguments, each once."""
    now = {"now": f"{NOW}.500000"}
    calls = {way: builder(**{**now, **others}) for way, others in ARGUMENTS.items()}
    if "now" in builder.parameters:
        calls["timed"] = builder(now="")
    if builder.name == "get":
        for lease in (None, 30.0):
            wait = Wait(lease=lease, slice_ms=3000, blocked=0)
            calls[f"lease {lease}"] = builder(**now, held=Held(received=3), wait=wait, count=3)
    return {way: call for number, (way, call) in enumerate(calls.items()) if call not in list(calls.values())[:number]}


def _on_lanes(builder: Builder) -> Iterator[Case]:
    """The session has seen calls of this lane before."""
    call = builder(now=f"{NOW}.500000")
    if not call.script.identified:
        return
    state = _pooled if builder.kind is Kind.POOL else _busy
    for what, record in LANES.items():

        def prepare(client: Any, keys: Keys, record: str = record) -> None:
            state(client, keys)
            client.hset(keys.session, call.args[0], record)

        yield _case(builder, f"the lane {what}", call, prepare)


def _of_wrong_types(builder: Builder) -> Iterator[Case]:
    """Somebody uses one of the keys for something else."""
    call = builder(now=f"{NOW}.500000", items=ALL)
    state = _pooled if builder.kind is Kind.POOL else _busy
    for slot, key in zip(call.script.keys, call.keys, strict=True):

        def prepare(client: Any, keys: Keys, key: bytes = key) -> None:
            state(client, keys)
            client.set(key, "text")

        yield _case(builder, f"{slot} is text", call, prepare)


def _case(builder: Builder, what: str, call: Call[Any], prepare: Prepare, *, is_timed: bool = False) -> Case:
    keys = keys_of(builder.kind)
    return Case(f"{builder}: {what}", call, lambda client: prepare(client, keys), is_timed)
