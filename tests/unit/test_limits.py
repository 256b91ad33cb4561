from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrq.core.errors import QueueFull
from pyrq.core.keys import Kind
from pyrq.core.limits import NO_LIMITS, Limits
from tests.unit.builders import QUEUES, state
from tests.unit.helpers import Clock, Stage

ARGUMENTS = ("max_deliveries", "max_size", "dead_max")
A, B, C, X = b"a", b"b", b"c", b"x"
bounds = st.none() | st.integers(1, 10**20)


@given(bounds, bounds, bounds)
def test_each_bound_is_in_its_place(deliveries: int | None, size: int | None, dead: int | None) -> None:
    limits = Limits.of(deliveries, size, dead)
    assert (limits.max_deliveries, limits.max_size, limits.dead_max) == (deliveries, size, dead)
    assert limits == Limits(deliveries, size, dead)
    assert hash(limits) == hash(Limits(deliveries, size, dead))


def test_nothing_is_bound_unless_told_otherwise() -> None:
    assert Limits.of(None, None, None) == NO_LIMITS == Limits()
    assert [getattr(NO_LIMITS, argument) for argument in ARGUMENTS] == [None, None, None]


def given_to(argument: str, value: object) -> list[object]:
    return [value if one == argument else None for one in ARGUMENTS]


@pytest.mark.parametrize("argument", ARGUMENTS)
@pytest.mark.parametrize("value", [0, -1])
def test_a_bound_is_one_or_more(argument: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"^{argument} must be a whole number, 1 or more, not {value}$"):
        Limits.of(*given_to(argument, value))


@pytest.mark.parametrize("argument", ARGUMENTS)
@pytest.mark.parametrize("value", [True, False, 1.0, "1", b"1", [1]])
def test_a_bound_is_a_whole_number(argument: str, value: object) -> None:
    kind = type(value).__name__
    with pytest.raises(TypeError, match=rf"^{argument} must be a whole number, 1 or more, not {kind}$"):
        Limits.of(*given_to(argument, value))


def test_bounds_are_frozen() -> None:
    assert {field.name for field in fields(Limits)} == set(ARGUMENTS)
    limits: Any = Limits.of(1, 2, 3)
    for argument in ARGUMENTS:
        with pytest.raises(FrozenInstanceError):
            setattr(limits, argument, 9)


# What the scripts make of them


@pytest.fixture(params=QUEUES, ids=["plain", "unique"])
def stage(request: pytest.FixtureRequest) -> Stage:
    return Stage(Clock(), request.param)


@pytest.fixture
def unique() -> Stage:
    return Stage(Clock(), Kind.UNIQUE)


def test_what_does_not_fit_is_refused_whole(stage: Stage) -> None:
    me, limits = stage.actor(), Limits(max_size=3)
    assert me.do("add", items=[A], limits=limits) == 1
    assert me.do("put_off", items=[B], delay=60.0, limits=limits) == 1
    before = state(stage.client)
    for name, more in (("add", {}), ("put_off", {"delay": 1.0})):
        with pytest.raises(QueueFull):
            me.do(name, items=[C, X], limits=limits, **more)
        assert state(stage.client) == before
    assert me.do("add", items=[C], limits=limits) == 1
    assert me.get(2) == [A, C], "what is held does not count, so that it can go back"
    assert me.do("add", items=[X, b"y"], limits=limits) == 2
    assert me.do("reject", items=[A, C]) == 2
    with pytest.raises(QueueFull):
        me.do("put_off", items=[b"z"], delay=1.0, limits=limits)
    assert me.do("add", items=[b"z"]) == 1, "without a bound"


def test_a_unique_item_that_waits_needs_no_room(unique: Stage) -> None:
    me, limits = unique.actor(), Limits(max_size=2)
    assert me.do("add", items=[A, B], limits=limits) == 2
    assert me.do("add", items=[A, B, A], limits=limits) == 0
    assert me.do("add", items=[A], limits=Limits(max_size=1)) == 0, "even where too many wait already"
    with pytest.raises(QueueFull):
        me.do("add", items=[A, C], limits=limits)
    assert me.get(1) == [A]
    assert me.do("add", items=[C, C, B], limits=limits) == 1


def test_of_too_many_dead_letters_the_oldest_go(stage: Stage) -> None:
    me, limits = stage.actor(), Limits(max_deliveries=1, dead_max=2)
    for name, more in (("bury", {}), ("reject", {}), ("retry", {"waits": [1.0]})):
        me.do("add", items=[A, B, C])
        assert me.get() == [A, B, C]
        me.do(name, items=[A, B, C], limits=limits, **more)
        assert [letter.raw for letter in me.do("dead_letters", count=9)] == [B, C]
    me.do("add", items=[X])
    me.get()
    me.do("re_enqueue", timeout=None, limits=limits)
    assert [letter.raw for letter in me.do("dead_letters", count=9)] == [C, X]
