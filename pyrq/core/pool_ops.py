"""One builder per operation of a pool: from checked arguments to a Call. The rules are those of `ops`."""

from __future__ import annotations

from collections.abc import Sequence

from pyrq.core import replies
from pyrq.core.call import Call
from pyrq.core.keys import Keys
from pyrq.core.ops import SERVER_TIME
from pyrq.core.script import load
from pyrq.core.session import Identity

__all__ = ["ack", "add", "clear", "count", "count_due", "delete", "get", "has", "probe", "remove"]

_ADD = load("pool_add")
_GET = load("pool_get")
_ACK = load("pool_ack")
_REMOVE = load("pool_remove")
_DELETE = load("pool_delete")
_CLEAR = load("pool_clear")
_COUNT = load("pool_count")
_COUNT_DUE = load("pool_count_due")
_HAS = load("pool_has")
_PROBE = load("pool_probe")

DUE_NOW = b""
"""The value of `due` that stands for the server's clock."""


def add(keys: Keys, identity: Identity, items: Sequence[bytes], now: str = SERVER_TIME) -> Call[int]:
    """Makes items due now; gives how many were not in the pool."""
    return Call(_ADD, (keys.session, keys.queue), (*identity.args(), now.encode(), *items), replies.one_number)


def get(
    keys: Keys, identity: Identity, count: int, ack_ttl: int, due: bytes = DUE_NOW, now: str = SERVER_TIME
) -> Call[tuple[list[bytes], bytes]]:
    """Hands out items that were due at a time; gives them, the one due first before the others, and that time."""
    return Call(
        _GET,
        (keys.session, keys.queue),
        (*identity.args(), b"%d" % count, b"%d" % ack_ttl, due, now.encode()),
        replies.batch,
    )


def ack(
    keys: Keys, identity: Identity, items: Sequence[bytes], ack_valid_for: int, now: str = SERVER_TIME
) -> Call[int]:
    """Acknowledges items; gives how many were handed out."""
    return Call(
        _ACK,
        (keys.session, keys.queue),
        (*identity.args(), b"%d" % ack_valid_for, now.encode(), *items),
        replies.one_number,
    )


def remove(keys: Keys, identity: Identity, items: Sequence[bytes]) -> Call[int]:
    """Removes items that are handed out; gives how many were."""
    return Call(_REMOVE, (keys.session, keys.queue), (*identity.args(), *items), replies.one_number)


def delete(keys: Keys, identity: Identity, items: Sequence[bytes]) -> Call[int]:
    """Removes items, handed out or not; gives how many were in the pool."""
    return Call(_DELETE, (keys.session, keys.queue), (*identity.args(), *items), replies.one_number)


def clear(keys: Keys, identity: Identity) -> Call[int]:
    """Removes all items; gives how many there were."""
    return Call(_CLEAR, (keys.session, keys.queue), identity.args(), replies.one_number)


def count(keys: Keys) -> Call[int]:
    """Gives how many items are in the pool."""
    return Call(_COUNT, (keys.queue,), (), replies.number)


def count_due(keys: Keys, now: str = SERVER_TIME) -> Call[int]:
    """Gives how many items are due."""
    return Call(_COUNT_DUE, (keys.queue,), (now.encode(),), replies.number)


def has(keys: Keys, item: bytes) -> Call[bool]:
    """Says whether an item is in the pool, in any state."""
    return Call(_HAS, (keys.queue,), (item,), replies.flag)


def probe(keys: Keys) -> Call[None]:
    """Tries every command that the scripts use; PermissionDeniedError names those that are refused."""
    return Call(
        _PROBE,
        (keys.queue + b"/probe/" + keys.consumer, keys.session, keys.queue),
        (),
        replies.nothing_refused,
    )
