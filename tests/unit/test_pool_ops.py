from __future__ import annotations

from typing import Any

import pytest

from pyrq.backends import connect
from pyrq.core import pool_ops
from pyrq.core.call import Call
from pyrq.core.errors import OutcomeUnknown, PermissionDeniedError
from pyrq.core.keys import Kind
from pyrq.core.session import Identity
from tests.unit.builders import POOL_BUILDERS, Builder, functions_of, keys_of
from tests.unit.helpers import ME, fresh, raw
from tests.unit.test_ops import BuilderContract

KEYS = keys_of(Kind.POOL)
REPLIES: dict[str, tuple[Any, Any]] = {
    "ack": ([3], 3),
    "add": ([3], 3),
    "clear": ([7], 7),
    "count": (8, 8),
    "count_due": (2, 2),
    "delete": ([3], 3),
    "get": ([[b"x", b"y"], b"1700000000"], ([b"x", b"y"], b"1700000000")),
    "has": (1, True),
    "probe": ([], None),
    "remove": ([3], 3),
}


@pytest.mark.parametrize("builder", POOL_BUILDERS, ids=str)
class TestBuilders(BuilderContract):
    def test_how_a_reply_is_read(self, builder: Builder) -> None:
        reply, expected = REPLIES[builder.name]
        assert builder().parse(reply) == expected

    def test_a_pool_has_one_key_and_a_session(self, builder: Builder) -> None:
        own = {b"orders/probe/me-1"} if builder.name == "probe" else set()
        assert set(builder().keys) <= {KEYS.session, KEYS.queue} | own


def test_every_public_function_of_the_module_is_a_builder() -> None:
    names = {builder.name for builder in POOL_BUILDERS}
    assert functions_of(pool_ops) == names == set(REPLIES) == set(pool_ops.__all__)


def test_an_item_that_is_not_there() -> None:
    assert pool_ops.has(KEYS, b"x").parse(0) is False


def test_refused_commands_are_named_once_and_in_order() -> None:
    with pytest.raises(PermissionDeniedError, match=r"Refused: ZADD, ZREM\.$"):
        pool_ops.probe(KEYS).parse([b"ZREM", b"ZADD", b"ZADD"])


def test_what_is_due_is_asked_of_the_servers_clock_unless_told_otherwise() -> None:
    call = pool_ops.get(KEYS, ME, 1, 600)
    assert call.args[call.script.args.index("due")] == pool_ops.DUE_NOW == b""


# What the calls do, on one clock


class Pool:
    """A pool on a fake server, at times that the test says."""

    def __init__(self) -> None:
        url = fresh()
        self.client = raw(url)
        self.backend = connect(url)
        self.sequence = 0

    def me(self) -> Identity:
        self.sequence += 1
        return Identity(b"1", self.sequence, 120)

    def run(self, call: Call[Any]) -> Any:
        return self.backend.run([call])[0]

    def add(self, items: list[bytes], now: str) -> int:
        added: int = self.run(pool_ops.add(KEYS, self.me(), items, now))
        return added

    def get(self, count: int, now: str, ack_ttl: int = 600) -> list[bytes]:
        items: list[bytes] = self.run(pool_ops.get(KEYS, self.me(), count, ack_ttl, now=now))[0]
        return items

    def scores(self) -> dict[bytes, float]:
        return dict(self.client.zrange(KEYS.queue, 0, -1, withscores=True))


@pytest.fixture
def pool() -> Pool:
    return Pool()


def test_added_is_due_at_once_and_counted_if_new(pool: Pool) -> None:
    assert pool.add([b"a", b"b", b"a"], "1000.75") == 2
    assert pool.scores() == {b"a": 1000, b"b": 1000}
    assert pool.add([b"b", b"c"], "1001.25") == 1
    assert pool.scores() == {b"a": 1000, b"b": 1001, b"c": 1001}
    assert pool.run(pool_ops.count(KEYS)) == 3


def test_handed_out_is_marked_and_hidden_from_now_on(pool: Pool) -> None:
    pool.add([b"a"], "1000")
    pool.add([b"b", b"c"], "2000")
    assert pool.get(2, "9000.9") == [b"a", b"b"]
    assert pool.scores() == {b"a": 9600.1, b"b": 9600.1, b"c": 2000}
    assert pool.get(9, "9000.9") == [b"c"]
    assert pool.get(9, "9600.05") == []
    assert pool.get(9, "9601", ack_ttl=0) == [b"a", b"b", b"c"]
    assert pool.scores() == dict.fromkeys([b"a", b"b", b"c"], 9601.1)


@pytest.mark.parametrize(("now", "due"), [("999.99", 0), ("1000", 2), ("1000.5", 2), ("1600.99", 2), ("1601", 3)])
def test_what_is_due(pool: Pool, now: str, due: int) -> None:
    pool.add([b"a", b"b", b"c"], "1000")
    pool.client.zadd(KEYS.queue, {"c": 1600.1})
    assert pool.run(pool_ops.count_due(KEYS, now)) == due
    assert len(pool.get(9, now)) == due


def test_a_get_in_chunks_keeps_to_the_time_of_the_first(pool: Pool) -> None:
    pool.add([b"a", b"b"], "1000")
    assert pool.run(pool_ops.get(KEYS, pool.me(), 1, 0, now="1000")) == ([b"a"], b"1000")
    pool.add([b"c"], "1001")
    assert pool.run(pool_ops.get(KEYS, pool.me(), 9, 0, b"1000", "1002")) == ([b"b"], b"1000")
    assert pool.run(pool_ops.get(KEYS, pool.me(), 9, 0, b"1000", "1002")) == ([], b"1000")


@pytest.mark.parametrize("score", [1600.1, 1600.1000000000001, 1e9 + 0.1, 2e9 + 0.10000000000000001])
def test_the_mark_survives_how_a_server_formats_numbers(pool: Pool, score: float) -> None:
    pool.client.zadd(KEYS.queue, {"a": score})
    assert pool.run(pool_ops.ack(KEYS, pool.me(), [b"a"], 60, "1000.5")) == 1
    assert pool.scores() == {b"a": 1060}


@pytest.mark.parametrize("change", ["ack", "remove"])
def test_only_what_is_handed_out_is_acknowledged_or_removed_and_each_once(pool: Pool, change: str) -> None:
    pool.add([b"a", b"b", b"c", b"d"], "1000")
    assert pool.get(3, "1000") == [b"a", b"b", b"c"]
    items = [b"a", b"d", b"b", b"a", b"gone"]
    if change == "ack":
        assert pool.run(pool_ops.ack(KEYS, pool.me(), items, 50, "1100.9")) == 2
        assert pool.scores() == {b"a": 1150, b"b": 1150, b"c": 1600.1, b"d": 1000}
        assert pool.run(pool_ops.ack(KEYS, pool.me(), items, 50, "1200")) == 0
        assert pool.scores() == {b"a": 1150, b"b": 1150, b"c": 1600.1, b"d": 1000}
    else:
        assert pool.run(pool_ops.remove(KEYS, pool.me(), items)) == 2
        assert pool.scores() == {b"c": 1600.1, b"d": 1000}
        assert pool.run(pool_ops.remove(KEYS, pool.me(), items)) == 0
        assert pool.scores() == {b"c": 1600.1, b"d": 1000}


def test_added_again_while_handed_out_is_handed_out_no_more(pool: Pool) -> None:
    pool.add([b"a"], "1000")
    pool.get(1, "1000")
    assert pool.add([b"a"], "1001") == 0
    assert pool.run(pool_ops.ack(KEYS, pool.me(), [b"a"], 50, "1002")) == 0
    assert pool.scores() == {b"a": 1001}


def test_deleted_and_cleared(pool: Pool) -> None:
    pool.add([b"a", b"b", b"c"], "1000")
    pool.get(1, "1000")
    assert pool.run(pool_ops.has(KEYS, b"a")) is True
    assert pool.run(pool_ops.delete(KEYS, pool.me(), [b"a", b"b", b"a", b"gone"])) == 2
    assert pool.run(pool_ops.delete(KEYS, pool.me(), [b"gone"])) == 0
    assert pool.scores() == {b"c": 1000}
    assert pool.run(pool_ops.has(KEYS, b"a")) is False
    assert [pool.run(pool_ops.clear(KEYS, pool.me())) for _ in range(2)] == [1, 0]
    assert pool.scores() == {}


@pytest.mark.parametrize("builder", [one for one in POOL_BUILDERS if "identity" in one.parameters], ids=str)
def test_a_call_that_comes_again_takes_effect_once(pool: Pool, builder: Builder) -> None:
    """Except a get: what its reply brought is lost, and due again later; the same call brings others."""

    def reset() -> None:
        pool.client.delete(KEYS.queue)
        pool.client.zadd(KEYS.queue, {"z": 1, "x": 1.1})

    reset()
    call = builder(identity=Identity(b"2", 5, 120), count=1, due=b"", now="2000")
    if builder.name == "get":
        assert [pool.run(call) for _ in range(2)] == [([b"z"], b"2000"), ([b"x"], b"2000")]
        return
    first = pool.run(call)
    assert first > 0
    reset()
    assert pool.run(call) == first
    assert pool.scores() == {b"z": 1, b"x": 1.1}


@pytest.mark.parametrize("builder", [one for one in POOL_BUILDERS if "identity" in one.parameters], ids=str)
def test_a_call_that_comes_late_does_nothing(pool: Pool, builder: Builder) -> None:
    pool.run(pool_ops.add(KEYS, Identity(b"2", 6, 120), [b"x"], "1000"))
    pool.client.zadd(KEYS.queue, {"x": 1.1, "y": 1})
    scores = pool.scores()
    with pytest.raises(OutcomeUnknown):
        pool.run(builder(identity=Identity(b"2", 5, 120)))
    assert pool.scores() == scores
