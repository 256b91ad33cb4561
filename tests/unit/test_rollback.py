"""The rollback limit: the options, the decision, and what the server counts."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrq.backends import connect
from pyrq.core import ops
from pyrq.core.call import Call
from pyrq.core.errors import OutcomeUnknown
from pyrq.core.rollback import RollbackLimit, Rollbacks
from pyrq.core.session import Identity
from tests.unit.helpers import KEYS, fresh, raw

# The options


@pytest.mark.parametrize(("count", "window"), [(0, 0), (5, 60), (10**6, 0.5), (1, 1e9)])
def test_a_limit(count: int, window: float) -> None:
    assert RollbackLimit.of(count, window) == RollbackLimit(count, window)


@pytest.mark.parametrize(("count", "window"), [(None, None), (5, None), (None, 60), (0, None), (None, 0)])
def test_no_limit_without_both(count: int | None, window: float | None) -> None:
    assert RollbackLimit.of(count, window) is None


@pytest.mark.parametrize("other", [None, 5])
@pytest.mark.parametrize(
    ("count", "error", "message"),
    [(-1, ValueError, "-1"), (True, TypeError, "bool"), (1.0, TypeError, "float"), ("1", TypeError, "str")],
)
def test_a_wrong_count(other: Any, count: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=rf"^max_retry_rollback must be a whole number, 0 or more, not {message}$"):
        RollbackLimit.of(count, other)


@pytest.mark.parametrize("other", [None, 5])
@pytest.mark.parametrize(
    ("window", "error", "message"),
    [
        *((-1, ValueError, "-1"), (math.nan, ValueError, "nan"), (math.inf, ValueError, "inf")),
        *((True, TypeError, "bool"), ("1", TypeError, "str")),
    ],
)
def test_a_wrong_window(other: Any, window: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=rf"^max_timeout_in_queue must be minutes, from 0 to 1e\+09, not {message}$"):
        RollbackLimit.of(other, window)


@pytest.mark.parametrize("value", [RollbackLimit(1, 2), Rollbacks(1, 2, 3)])
def test_values_are_frozen(value: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        value.count = 5


# The decision


@pytest.mark.parametrize(
    ("count", "age", "allowed"),
    [(1, 0, True), (3, 99, True), (4, 10, True), (4, 11, False), (99, 10, True), (99, 11, False)],
)
def test_both_must_be_passed(count: int, age: int, allowed: bool) -> None:
    assert RollbackLimit(3, 10).allows(Rollbacks(count, 1000, 1000 + age)) is allowed


def test_a_limit_of_nothing_blocks_from_the_next_minute_on() -> None:
    assert RollbackLimit(0, 0).allows(Rollbacks(1, 1000, 1000)) is True
    assert RollbackLimit(0, 0).allows(Rollbacks(1, 1000, 1001)) is False


def test_a_window_may_have_a_fraction() -> None:
    assert RollbackLimit(0, 1.5).allows(Rollbacks(1, 1000, 1001)) is True
    assert RollbackLimit(0, 1.5).allows(Rollbacks(1, 1000, 1002)) is False


whole = st.integers(0, 100)


@given(whole, whole, whole, whole, whole)
def test_once_blocked_an_item_stays_so(count: int, window: int, rollbacks: int, age: int, more: int) -> None:
    limit = RollbackLimit(count, window)
    before, after = Rollbacks(rollbacks, 0, age), Rollbacks(rollbacks + more, 0, age + more)
    assert limit.allows(before) == (not (rollbacks > count and age > window))
    assert limit.allows(before) or not limit.allows(after)


# What the server counts, at times that the test says


class Counter:
    """The rollbacks of a queue on a fake server."""

    def __init__(self) -> None:
        url = fresh()
        self.client = raw(url)
        self.backend = connect(url)
        self.sequence = 0

    def run(self, call: Call[Any]) -> Any:
        return self.backend.run([call])[0]

    def me(self) -> Identity:
        self.sequence += 1
        return Identity(b"1", self.sequence, 120)

    def roll_back(self, item: bytes, now: str) -> Rollbacks:
        found: Rollbacks = self.run(ops.roll_back(KEYS, self.me(), item, now))
        return found

    def hashes(self) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
        return self.client.hgetall("orders-retry-count"), self.client.hgetall("orders-retry-timeout")


@pytest.fixture
def counter() -> Counter:
    return Counter()


def test_rollbacks_are_counted_from_the_first_one_in_whole_minutes(counter: Counter) -> None:
    assert counter.roll_back(b"a", "6059.9") == Rollbacks(1, 100, 100)
    assert counter.roll_back(b"a", "6060") == Rollbacks(2, 100, 101)
    assert counter.roll_back(b"b", "6300.123456") == Rollbacks(1, 105, 105)
    assert counter.roll_back(b"a", "6300.123456") == Rollbacks(3, 100, 105)
    assert counter.hashes() == ({b"a": b"3", b"b": b"1"}, {b"a": b"100", b"b": b"105"})


def test_times_of_today_are_kept_exactly(counter: Counter) -> None:
    assert counter.roll_back(b"a", "1795519999.999999") == Rollbacks(1, 29925333, 29925333)
    assert counter.hashes()[1] == {b"a": b"29925333"}


def test_it_goes_on_from_what_the_older_library_counted(counter: Counter) -> None:
    counter.client.hset("orders-retry-count", "a", "4")
    counter.client.hset("orders-retry-timeout", "a", "90")
    assert counter.roll_back(b"a", "6000") == Rollbacks(5, 90, 100)


@pytest.mark.parametrize(
    ("count", "first"),
    [(None, "90"), ("4", None), ("four", "90"), ("4", "90.5"), ("-1", "90"), ("4", ""), ("0x4", "90"), (" 4", "90")],
)
def test_what_is_no_pair_of_whole_numbers_counts_as_none(
    counter: Counter, count: str | None, first: str | None
) -> None:
    if count is not None:
        counter.client.hset("orders-retry-count", "a", count)
    if first is not None:
        counter.client.hset("orders-retry-timeout", "a", first)
    assert counter.roll_back(b"a", "6000") == Rollbacks(1, 100, 100)
    assert counter.hashes() == ({b"a": b"1"}, {b"a": b"100"})


def test_a_rollback_that_is_sent_again_is_counted_once(counter: Counter) -> None:
    call = ops.roll_back(KEYS, counter.me(), b"a", "6000")
    assert counter.run(call) == Rollbacks(1, 100, 100)
    counter.client.hset("orders-retry-count", "a", "7")
    assert counter.run(call) == Rollbacks(1, 100, 100)
    assert counter.hashes()[0] == {b"a": b"7"}


def test_a_rollback_that_comes_late_is_not_counted(counter: Counter) -> None:
    late = ops.roll_back(KEYS, counter.me(), b"a", "6000")
    counter.roll_back(b"a", "6000")
    with pytest.raises(OutcomeUnknown):
        counter.run(late)
    assert counter.hashes()[0] == {b"a": b"1"}


def test_forgotten(counter: Counter) -> None:
    counter.roll_back(b"a", "6000")
    counter.roll_back(b"b", "6000")
    assert counter.run(ops.forget_rollbacks(KEYS, counter.me(), b"a")) == 1
    assert counter.hashes() == ({b"b": b"1"}, {b"b": b"100"})
    assert counter.run(ops.forget_rollbacks(KEYS, counter.me(), b"a")) == 0
    assert counter.roll_back(b"a", "9000") == Rollbacks(1, 150, 150)


@pytest.mark.parametrize("name", ["orders-retry-count", "orders-retry-timeout"])
def test_a_half_is_forgotten_too(counter: Counter, name: str) -> None:
    counter.client.hset(name, "a", "4")
    call = ops.forget_rollbacks(KEYS, counter.me(), b"a")
    assert counter.run(call) == 1
    assert counter.hashes() == ({}, {})
    assert counter.run(call) == 1
