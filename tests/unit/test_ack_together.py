"""Acks of several callers in one call: as if each had acknowledged its own, one after another."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyrq.backends import connect
from pyrq.core import ops, session_ops
from pyrq.core.errors import OutcomeUnknown
from pyrq.core.limits import NO_LIMITS, Limits
from pyrq.core.session import Held, Identity
from pyrq.core.waiting import NO_WAIT
from tests.unit.helpers import KEYS, ME, fresh, raw

Groups = list[list[bytes]]

LETTERS = st.sampled_from([b"a", b"b", b"c", b"d"])
group = st.lists(LETTERS, max_size=4)
some_groups = st.lists(group, min_size=1, max_size=5).filter(any)


def prepared(held: list[bytes], kept: int = 0, counted: bool = False) -> tuple[Any, Any, Held]:
    """Gives a fake server where this consumer holds something, a backend, and what the consumer says of it."""
    url = fresh()
    client, backend = raw(url), connect(url)
    if held:
        backend.run([ops.add(KEYS, Identity(b"1", 1, 120), held, NO_LIMITS)])
        backend.run([ops.get(KEYS, Identity(b"get", 1, 120), Held(), len(held), NO_WAIT)])
    if counted:
        client.hset(KEYS.deliveries, mapping={b"a": 2, b"d": 1})
    return client, backend, Held(1, min(kept, len(held)))


def contents(client: Any) -> tuple[Any, ...]:
    return client.lrange(KEYS.processing, 0, -1), client.hgetall(KEYS.deliveries), client.hgetall(KEYS.consumers)


def one_by_one(backend: Any, held: Held, groups: Groups) -> list[int]:
    """Acknowledges for each caller by a call of its own."""
    told: list[int] = []
    for number, items in enumerate(groups):
        call = ops.ack(KEYS, Identity(b"%d" % (20 + number), 1, 120), held, items)
        told += backend.run([call]) if items else [0]
    return told


@given(st.lists(LETTERS, max_size=12), st.integers(0, 3), st.booleans(), some_groups)
@example([b"a", b"b", b"a"], 0, True, [[b"a", b"a"], [b"a"]])
@example([b"a", b"b", b"c", b"d"], 0, False, [[b"a"], [b"b", b"c"]])
@example([b"a", b"b", b"a"], 1, False, [[b"a"], [b"a"]])
@example([], 0, False, [[b"a"], [b"b"]])
def test_it_is_as_if_they_came_one_after_another(items: list[bytes], kept: int, counted: bool, groups: Groups) -> None:
    client, backend, held = prepared(items, kept, counted)
    other, other_backend, _ = prepared(items, kept, counted)
    told = one_by_one(other_backend, held, groups)
    assert backend.run([ops.ack_together(KEYS, ME, held, groups)]) == [told]
    assert contents(client) == contents(other)


def test_sent_again_it_acknowledges_nothing_and_says_the_same() -> None:
    client, backend, held = prepared([b"a", b"b", b"a", b"c", b"a"])
    call = ops.ack_together(KEYS, ME, held, [[b"a"], [b"x"], [b"a", b"b"]])
    assert backend.run([call]) == [[1, 0, 2]]
    after = contents(client)
    assert after[0] == [b"a", b"c"]
    assert backend.run([call]) == [[1, 0, 2]]
    assert backend.run([session_ops.confirm(call)]) == [None]
    assert contents(client) == after


def test_late_behind_a_later_call_of_its_lane_it_does_nothing() -> None:
    client, backend, held = prepared([b"a", b"b"])
    backend.run([ops.add(KEYS, Identity(ME.lane, ME.sequence + 1, 120), [b"z"], Limits())])
    with pytest.raises(OutcomeUnknown):
        backend.run([ops.ack_together(KEYS, ME, held, [[b"a"], [b"b"]])])
    assert contents(client)[0] == [b"b", b"a"]


def test_where_nothing_is_held_nothing_is_written() -> None:
    client, backend, held = prepared([b"a"], kept=1)
    before = contents(client)
    assert backend.run([ops.ack_together(KEYS, ME, held, [[b"a"], [], [b"b"]])]) == [[0, 0, 0]]
    assert contents(client) == before
    assert not client.hexists(KEYS.session, ME.lane)


def test_who_holds_nothing_any_more_leaves_no_trace() -> None:
    client, backend, held = prepared([b"%d" % number for number in range(ops.CHUNK)])
    groups = [[b"%d" % number] for number in reversed(range(ops.CHUNK))]
    assert backend.run([ops.ack_together(KEYS, ME, held, groups)]) == [[1] * ops.CHUNK]
    assert contents(client) == ([], {}, {})
    assert not client.exists(KEYS.timeouts)
