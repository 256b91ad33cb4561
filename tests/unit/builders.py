"""The builders of all operations as values: what the tests of `ops`, `pool_ops` and the scripts share.

A builder is called with a sample for each of its parameters. What must then lie in each slot that its script's header
names is known by the slot's name, but for the few that are fixed.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from pyrq.core import ops, pool_ops, session_ops
from pyrq.core.call import Call
from pyrq.core.keys import Keys, Kind
from pyrq.core.limits import NO_LIMITS, Limits
from pyrq.core.session import Held, Identity
from pyrq.core.waiting import NO_WAIT, Wait
from tests.unit.helpers import HELD, ME

QUEUES = (Kind.PLAIN, Kind.UNIQUE)
LASTS = [Identity(b"3", 4, 120), Identity(b"get", 9, 120)]
ITEMS = [b"x", b"y", b"x"]

# For each parameter that a builder may have, a value and another one. A new parameter must be named here.
PARAMETERS: dict[str, tuple[Any, Any]] = {
    "identity": (ME, Identity(b"8", 1, 200)),
    "held": (HELD, Held(4, 2, 9)),
    "size": (20, 19),
    "limits": (Limits(max_deliveries=3, max_size=100, dead_max=50), NO_LIMITS),
    "wait": (Wait(lease=30.0, slice_ms=4000, blocked=1), NO_WAIT),
    "lease": (30.0, 20.0),
    "blocked": (1, 0),
    "delay": (1.5, 0.25),
    "waits": ([1.0, 2.5], [1.0]),
    "offset": (4, 0),
    "items": (ITEMS, [b"y", b"x"]),
    "item": (b"x", b"y"),
    "groups": ([ITEMS[:2], ITEMS[2:]], [ITEMS[:1], ITEMS[1:]]),
    "count": (12, 13),
    "timeout": (7200.0, None),
    "reason": ("why", "how"),
    "now": ("1700000000.25", ""),
    "lasts": (LASTS, LASTS[:1]),
    "call": (
        ops.add(Keys.of("orders", "me-1"), ME, [b"x"], NO_LIMITS),
        ops.add(Keys.of("orders", "me-1"), LASTS[0], [b"x"], NO_LIMITS),
    ),
    "ack_ttl": (600, 601),
    "ack_valid_for": (129600, 0),
    "due": (b"1700000000", b""),
}

# What must lie in each named slot of ARGV, whichever the script.
SLOTS: dict[str, list[bytes]] = {
    "lane": [b"7"],
    "sequence": [b"5"],
    "ttl": [b"120"],
    "received": [b"3"],
    "kept": [b"2"],
    "tenure": [b"9"],
    "consumer": [b"me-1"],
    "count": [b"12"],
    "now": [b"1700000000.25"],
    "timeout": [b"7200.0"],
    "prefix": [b"orders-processing-"],
    "landing_prefix": [b"orders/landing/"],
    "most": [b"3"],
    "dead_max": [b"50"],
    "max_size": [b"100"],
    "sizes": [b"2 1"],
    "size": [b"20"],
    "lease": [b"30.0"],
    "slice": [b"4000"],
    "blocked": [b"1"],
    "delay": [b"1.5"],
    "waits": [b"1.000 2.500"],
    "offset": [b"4"],
    "reason": [b"why"],
    "item": [b"x"],
    "item...": ITEMS,
    "lane_and_sequence...": [b"3", b"4", b"get", b"9"],
    "ack_ttl": [b"600"],
    "ack_valid_for": [b"129600"],
    "due": [b"1700000000"],
}

# Where a caller has no say.
FIXED: dict[tuple[str, str], list[bytes]] = {
    ("reject", "reason"): [b"rejected"],
    ("re_enqueue", "reason"): [b"swept: its consumer fell silent"],
    ("ack_all", "kept"): [b"0"],
}

# Where the samples would make a call that has nothing to do.
OWN: dict[str, dict[str, Any]] = {
    # What waits in the inbox is held, too.
    "ack_all": {"held": replace(HELD, kept=0)},
}


def keys_of(kind: Kind) -> Keys:
    """Gives the keys of a sample queue or pool."""
    return Keys.of("orders", "me-1", kind)


def key_in(slot: str) -> bytes:
    """Gives what must lie in a named slot of KEYS."""
    return b"orders/probe/me-1" if slot == "probe" else getattr(keys_of(Kind.PLAIN), slot)


@dataclass(frozen=True)
class Builder:
    """A builder, with keys of a kind."""

    module: ModuleType
    name: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.kind.name.lower()}-{self.name}"

    @property
    def parameters(self) -> list[str]:
        """The names of its parameters, in order."""
        return list(inspect.signature(getattr(self.module, self.name)).parameters)

    def __call__(self, **other: Any) -> Call[Any]:
        """Builds a Call, with other values than the samples for some parameters."""
        usual = {name: sample for name, (sample, _) in PARAMETERS.items()}
        samples = {"keys": keys_of(self.kind), **usual, **OWN.get(self.name, {}), **other}
        call: Call[Any] = getattr(self.module, self.name)(**{name: samples[name] for name in self.parameters})
        return call

    def part(self, slot: str) -> list[bytes]:
        """Gives what must lie in a named slot of ARGV."""
        return FIXED.get((self.name, slot), SLOTS[slot])

    def others(self) -> dict[str, Any]:
        """Gives for each parameter another value than the sample."""
        samples = {
            "keys": Keys.of("other", "me-2", self.kind),
            **{name: other for name, (_, other) in PARAMETERS.items()},
        }
        return {name: samples[name] for name in self.parameters}


def functions_of(module: ModuleType) -> set[str]:
    """Gives the names of the public functions that a module defines."""
    found = {name: value for name, value in vars(module).items() if inspect.isfunction(value)}
    return {name for name, value in found.items() if value.__module__ == module.__name__ and name[0] != "_"}


def builders(module: ModuleType, *kinds: Kind) -> list[Builder]:
    """Gives the builders of a module, with keys of each kind that has use for them."""
    names = [name for name in module.__all__ if callable(getattr(module, name))]
    return [Builder(module, name, kind) for kind in kinds for name in names if (name, kind) != ("repair", Kind.PLAIN)]


QUEUE_BUILDERS = [*builders(ops, *QUEUES), *builders(session_ops, *QUEUES)]
POOL_BUILDERS = builders(pool_ops, Kind.POOL)
ANY_BUILDERS = builders(session_ops, Kind.POOL)
"""What the runner does for a pool as for a queue."""


# A server to run them on


def fill(client: Any, kind: Kind) -> None:
    """Puts something into every key, so that each script has something to do."""
    keys = keys_of(kind)
    client.hset(keys.session, "1", "1 1")
    if kind is Kind.POOL:
        client.zadd(keys.queue, {"x": 1.1, "y": 1})
        return
    client.rpush(keys.queue, "x", "z")
    client.rpush(keys.processing, *[b"x", b"y"] * 10)
    client.hset(keys.timeouts, keys.processing, "1")
    own = keys.client_id
    client.hset(keys.consumers, mapping={own: "3 20", f"{own}/lease": "30.0 9", f"{own}/landing": "1"})
    client.rpush(keys.landing, "w")
    client.zadd(keys.delayed, {"0 0 0 x\nx": 1, "0 1 0 x\ny": 2e9})
    client.hset(keys.deliveries, mapping={"x": "2", "y": "1"})
    client.rpush(keys.dead, "old")
    client.hset(keys.meta, "swept", "1")
    client.sadd(keys.unique, "x", "w")
    client.hset(keys.retry_count, "x", "1")
    client.hset(keys.retry_timeout, "x", "1")


def state(client: Any) -> dict[bytes, bytes]:
    """Gives all keys of a server with what is in them."""
    return {key: client.dump(key) for key in client.keys("*")}
