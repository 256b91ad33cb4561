"""Rollback limits, on both kinds of queues; sweeps are in the tests of the queues."""

from __future__ import annotations

from typing import Any

import pytest

from pyrq import BytesCodec, JsonCodec
from pyrq.errors import InvalidItemError, QueueClosedError
from tests.unit.helpers import BrokenCodec, nothing_sent
from tests.unit.worlds import LIMITS, NOW, World, dump, opened

world = pytest.fixture(params=["sync", "aio"])(opened)
MINUTE = NOW // 60


@pytest.fixture(params=["Queue", "UniqueQueue"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def queue(world: World, kind: str) -> Any:
    """Two rollbacks, and ten minutes."""
    return world.any(kind)


def limited(world: World, kind: str, count: int, window: float) -> Any:
    limits = {"max_retry_rollback": count, "max_timeout_in_queue": window}
    return world.make(kind, "orders", world.backend, **limits)


def known(world: World) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    """Gives what the hashes hold."""
    return world.client.hgetall("orders-retry-count"), world.client.hgetall("orders-retry-timeout")


def test_the_names_of_the_hashes(queue: Any) -> None:
    assert queue.retry_count_name == "orders-retry-count"
    assert queue.retry_timeout_name == "orders-retry-timeout"


# Counting


def test_each_rollback_is_counted_and_the_first_one_dated(world: World, queue: Any) -> None:
    assert queue.can_rollback_item("a") is True
    assert known(world) == ({b"a": b"1"}, {b"a": b"%d" % MINUTE})
    world.backend.at(125)
    assert queue.can_rollback_item("a") is True
    assert queue.can_rollback_item("b") is True
    assert known(world) == ({b"a": b"2", b"b": b"1"}, {b"a": b"%d" % MINUTE, b"b": b"%d" % (MINUTE + 2)})
    assert set(dump(world.client, but="/session/")) == {b"orders-retry-count", b"orders-retry-timeout"}


def test_what_is_refused_is_counted_too(world: World, queue: Any) -> None:
    for second in (0, 0, 3600, 3600, 3600):
        world.backend.at(second)
        queue.can_rollback_item("a")
    assert known(world) == ({b"a": b"5"}, {b"a": b"%d" % MINUTE})


def test_all_objects_count_together(world: World, queue: Any, kind: str) -> None:
    for other in (queue, world.any("Queue"), world.any("UniqueQueue"), queue):
        other.can_rollback_item("a")
    assert known(world)[0] == {b"a": b"4"}


@pytest.mark.parametrize(
    ("codec", "item", "field"),
    [(JsonCodec(), {"b": 1, "a": 2}, b'{"a":2,"b":1}'), (BytesCodec(), b"\xff\x00", b"\xff\x00"), (None, 5, b"5")],
)
def test_items_are_counted_by_their_bytes(world: World, kind: str, codec: Any, item: Any, field: bytes) -> None:
    queue = world.any(kind, codec=codec)
    assert queue.can_rollback_item(item) is True
    assert known(world)[0] == {field: b"1"}
    assert queue.reset_blocked_item(item) is True


# Both conditions


@pytest.mark.parametrize(
    ("before", "minutes", "allowed"),
    [
        (0, 0, True),
        (9, 0, True),
        (9, 10, True),
        (9, 11, False),
        (1, 11, True),
        (2, 10, True),
        (2, 11, False),
        (2, 100_000, False),
    ],
)
def test_an_item_is_blocked_once_both_limits_are_passed(
    world: World, queue: Any, before: int, minutes: int, allowed: bool
) -> None:
    for _ in range(before):
        assert queue.can_rollback_item("a") is True
    world.backend.at(60 * minutes)
    assert queue.can_rollback_item("a") is allowed
    assert queue.can_rollback_item("other") is True


def test_minutes_are_those_of_the_clock_on_the_wall(world: World, kind: str) -> None:
    queue = limited(world, kind, 0, 0)
    rest = 60 - NOW % 60 - 1
    assert queue.can_rollback_item("a") is True
    world.backend.at(rest)
    assert queue.can_rollback_item("a") is True
    world.backend.at(rest + 1)
    assert queue.can_rollback_item("a") is False


@pytest.mark.parametrize(("window", "minutes"), [(0, 1), (0.5, 1), (1, 2), (1.5, 2), (2.0, 3), (1e9, None)])
def test_a_window_with_a_fraction(world: World, kind: str, window: float, minutes: int | None) -> None:
    queue = limited(world, kind, 0, window)
    found = []
    for minute in range(5):
        world.backend.at(60 * minute)
        found.append(queue.can_rollback_item("a"))
    assert found == [minutes is None or minute < minutes for minute in range(5)]


@pytest.mark.parametrize("limit", [0, 1, 4])
def test_a_limit(world: World, kind: str, limit: int) -> None:
    queue = limited(world, kind, limit, 0)
    queue.can_rollback_item("a")
    world.backend.at(60)
    assert [queue.can_rollback_item("a") for _ in range(5)] == [number <= limit for number in range(2, 7)]


def test_the_clock_may_go_back(world: World, queue: Any) -> None:
    for _ in range(5):
        queue.can_rollback_item("a")
    world.backend.at(-3600)
    assert queue.can_rollback_item("a") is True
    assert known(world) == ({b"a": b"6"}, {b"a": b"%d" % MINUTE})


# Forgetting


def test_a_blocked_item_starts_anew_once_it_is_reset(world: World, queue: Any) -> None:
    for _ in range(3):
        queue.can_rollback_item("a")
    queue.can_rollback_item("b")
    world.backend.at(660)
    assert queue.can_rollback_item("a") is False
    assert queue.reset_blocked_item("a") is True
    assert known(world) == ({b"b": b"1"}, {b"b": b"%d" % MINUTE})
    assert queue.reset_blocked_item("a") is False
    assert [queue.can_rollback_item("a") for _ in range(4)] == [True] * 4
    assert known(world)[1][b"a"] == b"%d" % (MINUTE + 11)


@pytest.mark.parametrize("which", ["count", "timeout"])
def test_half_of_what_is_known_is_forgotten_too(world: World, queue: Any, which: str) -> None:
    world.client.hset(f"orders-retry-{which}", "a", 1)
    assert queue.reset_blocked_item("a") is True
    assert known(world) == ({}, {})


def test_nothing_to_forget_leaves_nothing(world: World, queue: Any) -> None:
    assert queue.reset_blocked_item("a") is False
    assert world.dump() == {}


# What others wrote


def test_it_goes_on_with_what_the_older_library_wrote(world: World, queue: Any) -> None:
    world.client.hset("orders-retry-count", "a", "2")
    world.client.hset("orders-retry-timeout", "a", str(MINUTE - 11))
    assert queue.can_rollback_item("a") is False
    assert known(world) == ({b"a": b"3"}, {b"a": b"%d" % (MINUTE - 11)})


@pytest.mark.parametrize("junk", ["", "many", "-1", "1.5", "1e3", "nan", "0x10", " 7", "7\n", None])
@pytest.mark.parametrize("which", ["count", "timeout"])
def test_what_is_no_number_counts_as_none(world: World, queue: Any, which: str, junk: str | None) -> None:
    world.client.hset("orders-retry-count", "a", "9")
    world.client.hset("orders-retry-timeout", "a", "1")
    if junk is None:
        world.client.hdel(f"orders-retry-{which}", "a")
    else:
        world.client.hset(f"orders-retry-{which}", "a", junk)
    assert queue.can_rollback_item("a") is True
    assert known(world) == ({b"a": b"1"}, {b"a": b"%d" % MINUTE})


# Options


@pytest.mark.parametrize("limits", [{}, {"max_retry_rollback": 3}, {"max_timeout_in_queue": 5}])
def test_without_both_options_there_is_no_limit_to_ask_about(world: World, kind: str, limits: dict[str, int]) -> None:
    queue = world.make(kind, "orders", world.backend, **limits)
    text = r"^max_retry_rollback and max_timeout_in_queue must be given to the queue$"
    with nothing_sent(world.backend), pytest.raises(ValueError, match=text):
        queue.can_rollback_item("a")
    world.client.hset("orders-retry-count", "a", 1)
    assert queue.reset_blocked_item("a") is True


@pytest.mark.parametrize(
    ("limits", "error", "text"),
    [
        ({"max_retry_rollback": -1}, ValueError, "max_retry_rollback must be a whole number, 0 or more, not -1"),
        ({"max_retry_rollback": 1.5}, TypeError, "max_retry_rollback must be a whole number, 0 or more, not float"),
        ({"max_retry_rollback": True}, TypeError, "max_retry_rollback must be a whole number, 0 or more, not bool"),
        ({"max_timeout_in_queue": -1}, ValueError, "max_timeout_in_queue must be minutes, from 0 to 1e+09, not -1"),
        ({"max_timeout_in_queue": "5"}, TypeError, "max_timeout_in_queue must be minutes, from 0 to 1e+09, not str"),
        (
            {"max_timeout_in_queue": float("nan")},
            ValueError,
            "max_timeout_in_queue must be minutes, from 0 to 1e+09, not nan",
        ),
    ],
)
@pytest.mark.parametrize("other", [False, True])
def test_a_wrong_option_is_refused_at_construction(
    world: World, kind: str, limits: dict[str, Any], error: type[Exception], text: str, other: bool
) -> None:
    with nothing_sent(world.backend), pytest.raises(error) as caught:
        world.make(kind, "orders", world.backend, **((LIMITS if other else {}) | limits))
    assert str(caught.value) == text


@pytest.mark.parametrize("method", ["can_rollback_item", "reset_blocked_item"])
def test_a_wrong_item_is_refused_before_anything_is_sent(world: World, kind: str, method: str) -> None:
    queue = world.any(kind, codec=BrokenCodec())
    for item in (None, "refused-secret"):
        with nothing_sent(world.backend), pytest.raises(InvalidItemError, match=r"^item ") as caught:
            getattr(queue, method)(item)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("method", ["can_rollback_item", "reset_blocked_item"])
def test_a_closed_queue(world: World, queue: Any, method: str) -> None:
    queue.close()
    with nothing_sent(world.backend), pytest.raises(QueueClosedError):
        getattr(queue, method)("a")
