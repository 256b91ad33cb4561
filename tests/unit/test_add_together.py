"""Adds of several callers in one call: as if each had added its own, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyrq.backends import connect
from pyrq.core import ops, session_ops
from pyrq.core.errors import OutcomeUnknown, QueueFull
from pyrq.core.keys import Kind
from pyrq.core.limits import NO_LIMITS, Limits
from pyrq.core.session import Identity
from tests.unit.builders import QUEUES, keys_of
from tests.unit.helpers import ME, fresh, raw

Groups = list[list[bytes]]

each_kind = pytest.mark.parametrize("kind", QUEUES, ids=lambda kind: kind.name)
group = st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), max_size=4)
some_groups = st.lists(group, min_size=1, max_size=5).filter(any)


def contents(client: Any, kind: Kind) -> tuple[list[bytes], set[bytes]]:
    """Gives what waits, oldest first, and the set of it."""
    keys = keys_of(kind)
    return client.lrange(keys.queue, 0, -1)[::-1], client.smembers(keys.unique)


def prepared(kind: Kind, waiting: Sequence[bytes], put_off: int = 0) -> tuple[Any, Any]:
    """Gives a fake server where something waits, and a backend for it."""
    url = fresh()
    client, backend, keys = raw(url), connect(url), keys_of(kind)
    if waiting:
        backend.run([ops.add(keys, Identity(b"1", 1, 120), waiting, NO_LIMITS)])
    for number in range(put_off):
        client.zadd(keys.delayed, {f"0 {number} 0 x\nlater": 2e9})
    return client, backend


def one_by_one(backend: Any, kind: Kind, groups: Groups, limits: Limits) -> list[int]:
    """Adds for each caller by a call of its own."""
    told: list[int] = []
    for number, items in enumerate(groups):
        if not items:
            told.append(0)
            continue
        try:
            told += backend.run([ops.add(keys_of(kind), Identity(b"%d" % (20 + number), 1, 120), items, limits)])
        except QueueFull:
            told.append(-1)
    return told


@each_kind
@given(some_groups, group, st.integers(0, 2), st.one_of(st.none(), st.integers(1, 9)))
@example([[b"a"], [b"b", b"c", b"d"], [b"b"]], [], 0, 2)
@example([[b"a", b"b"], [b"b", b"c"], [b"c", b"c"]], [b"a"], 0, None)
@example([[b"a", b"b"], [b"a"]], [], 0, 1)
@example([[b"a"], [b"a"]], [b"a"], 0, 1)
def test_it_is_as_if_they_came_one_after_another(
    kind: Kind, groups: Groups, waiting: list[bytes], put_off: int, most: int | None
) -> None:
    limits = Limits(max_size=most)
    client, backend = prepared(kind, waiting, put_off)
    other, other_backend = prepared(kind, waiting, put_off)
    told = one_by_one(other_backend, kind, groups, limits)
    assert backend.run([ops.add_together(keys_of(kind), ME, groups, limits)]) == [told]
    assert contents(client, kind) == contents(other, kind)


@each_kind
def test_sent_again_it_adds_nothing_and_says_the_same(kind: Kind) -> None:
    client, backend = prepared(kind, [b"w"])
    call = ops.add_together(keys_of(kind), ME, [[b"a"], [b"b", b"c", b"d"], [b"w", b"e"]], Limits(max_size=4))
    told = [1, -1, 2 if kind is Kind.PLAIN else 1]
    assert backend.run([call]) == [told]
    after = contents(client, kind)
    assert backend.run([call]) == [told]
    assert backend.run([session_ops.confirm(call)]) == [None]
    assert contents(client, kind) == after


@each_kind
def test_late_behind_a_later_call_of_its_lane_it_does_nothing(kind: Kind) -> None:
    client, backend = prepared(kind, [])
    backend.run([ops.add(keys_of(kind), Identity(b"7", 6, 120), [b"z"], NO_LIMITS)])
    with pytest.raises(OutcomeUnknown):
        backend.run([ops.add_together(keys_of(kind), ME, [[b"a"], [b"b"]], NO_LIMITS)])
    assert contents(client, kind)[0] == [b"z"]


@each_kind
def test_where_nobody_fits_in_nothing_is_written(kind: Kind) -> None:
    client, backend = prepared(kind, [b"w"])
    call = ops.add_together(keys_of(kind), ME, [[b"a"], [b"b", b"c"]], Limits(max_size=1))
    assert backend.run([call]) == [[-1, -1]]
    assert contents(client, kind)[0] == [b"w"]
    assert not client.hexists(keys_of(kind).session, b"7")


@each_kind
def test_a_thousand_callers_of_one_item_each(kind: Kind) -> None:
    client, backend = prepared(kind, [])
    groups = [[b"%d" % number] for number in range(ops.CHUNK)]
    call = ops.add_together(keys_of(kind), ME, groups, Limits(max_size=ops.CHUNK))
    assert backend.run([call]) == [[1] * ops.CHUNK]
    assert backend.run([call]) == [[1] * ops.CHUNK]
    assert contents(client, kind)[0] == [item for (item,) in groups]


def test_the_names_of_items_are_no_sizes() -> None:
    call = ops.add_together(keys_of(Kind.PLAIN), ME, [[b"1 2"], [], [b"-1", b""]], NO_LIMITS)
    assert call.args[3:] == (b"", b"1 0 2", b"1 2", b"-1", b"")
    client, backend = prepared(Kind.PLAIN, [])
    assert backend.run([call]) == [[1, 0, 2]]
    assert contents(client, Kind.PLAIN)[0] == [b"1 2", b"-1", b""]
