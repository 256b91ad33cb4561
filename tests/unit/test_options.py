from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrq.core.options import (
    DEFAULT_DEADLINE,
    Fsync,
    Replicas,
    check_count,
    check_deadline,
    check_lease,
    check_number,
    check_seconds,
    check_wait_fits,
    check_whole_seconds,
    durability_of,
)


class Index:
    """A whole number of somebody else's, like numpy's."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


# Counts


@pytest.mark.parametrize("value", [0, 1, 10**6])
def test_a_count(value: int) -> None:
    assert check_count("count", value) == value


def test_what_converts_without_loss_is_a_count() -> None:
    number = check_count("count", Index(7))
    assert number == 7
    assert type(number) is int


@pytest.mark.parametrize("value", [True, False, 1.0, "1", None, b"1", Decimal(1), [1]])
def test_no_whole_number(value: object) -> None:
    kind = type(value).__name__
    with pytest.raises(TypeError, match=rf"^count must be a whole number, 0 or more, not {kind}$"):
        check_count("count", value)


@pytest.mark.parametrize("value", [-1, Index(-1)])
def test_a_count_below(value: object) -> None:
    with pytest.raises(ValueError, match=r"^count must be a whole number, 0 or more, not -1$"):
        check_count("count", value)


@given(st.integers())
def test_the_ends_of_a_range_are_in_it(value: int) -> None:
    if 2 <= value <= 9:
        assert check_count("n", value, least=2, most=9) == value
    else:
        with pytest.raises(ValueError, match=rf"^n must be a whole number from 2 to 9, not {value}$"):
            check_count("n", value, least=2, most=9)


# Seconds


@pytest.mark.parametrize("value", [0, 0.5, 7200, 1e9])
def test_seconds(value: float) -> None:
    seconds = check_seconds("timeout", value)
    assert seconds == value
    assert type(seconds) is float


@pytest.mark.parametrize("value", [True, "1", None, b"1", Decimal(1), 1j])
def test_no_seconds(value: object) -> None:
    kind = type(value).__name__
    with pytest.raises(TypeError, match=rf"^timeout must be seconds, from 0 to 1e\+09, not {kind}$"):
        check_seconds("timeout", value)


@pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, -math.inf, 1.1e9, 10**30, 10**400])
def test_seconds_out_of_range(value: float) -> None:
    with pytest.raises(ValueError, match=r"^timeout must be seconds, from 0 to 1e\+09, not "):
        check_seconds("timeout", value)


def test_another_unit_is_named() -> None:
    assert check_seconds("window", 1.5, most=2, unit="minutes") == 1.5
    with pytest.raises(ValueError, match=r"^window must be minutes, from 0 to 2, not 2\.5$"):
        check_seconds("window", 2.5, most=2, unit="minutes")
    with pytest.raises(TypeError, match=r"^window must be minutes, from 0 to 1e\+09, not NoneType$"):
        check_seconds("window", None, unit="minutes")


@pytest.mark.parametrize("value", [1, 1.5, 2, Fraction(3, 2)])
def test_a_number_of_a_range(value: float) -> None:
    number = check_number("factor", value, least=1, most=2)
    assert number == value
    assert type(number) is float


@pytest.mark.parametrize("value", [0.999, 2.001, -1, math.nan, math.inf, -math.inf, 10**400])
def test_a_number_out_of_its_range(value: float) -> None:
    with pytest.raises(ValueError, match=r"^factor must be a number from 1 to 2, not "):
        check_number("factor", value, least=1, most=2)


@pytest.mark.parametrize("value", [True, "1", None, b"1", Decimal(1), 1j])
def test_no_number(value: object) -> None:
    kind = type(value).__name__
    with pytest.raises(TypeError, match=rf"^factor must be a number from 1 to 2, not {kind}$"):
        check_number("factor", value, least=1, most=2)


@pytest.mark.parametrize("value", [0.1, 1, 30.0, 1e6])
def test_a_lease(value: float) -> None:
    assert check_lease(value) == value


@pytest.mark.parametrize("value", [0, -1, 0.0999, 1.1e6, math.inf, math.nan])
def test_a_lease_out_of_range(value: float) -> None:
    with pytest.raises(ValueError, match=r"^lease must be a number from 0\.1 to 1e\+06, not "):
        check_lease(value)


@pytest.mark.parametrize("value", [0, 600, 600.0, -0.0, 1e9, 10**9])
def test_whole_seconds(value: float) -> None:
    seconds = check_whole_seconds("ack_ttl", value)
    assert seconds == value
    assert type(seconds) is int
    assert str(seconds).isdigit()


@pytest.mark.parametrize("value", [0.5, 600.25, 999999999.5, 5e-324])
def test_seconds_with_a_fraction(value: float) -> None:
    with pytest.raises(ValueError, match=rf"^ack_ttl must be whole seconds, not {value}$"):
        check_whole_seconds("ack_ttl", value)


@pytest.mark.parametrize("value", [-1, -0.5, math.nan, math.inf, -math.inf, 10**9 + 1, 10**400])
def test_whole_seconds_out_of_range(value: float) -> None:
    with pytest.raises(ValueError, match=r"^ack_ttl must be seconds, from 0 to 1e\+09, not "):
        check_whole_seconds("ack_ttl", value)


@pytest.mark.parametrize("value", [True, False, "1", None, b"1", Decimal(1), 1j])
def test_no_whole_seconds(value: object) -> None:
    with pytest.raises(TypeError, match=rf"^ack_ttl must be seconds, from 0 to 1e\+09, not {type(value).__name__}$"):
        check_whole_seconds("ack_ttl", value)


def test_deadlines() -> None:
    assert check_deadline(None) == DEFAULT_DEADLINE == 30
    assert check_deadline(0) == 0
    assert check_deadline(3600) == 3600
    with pytest.raises(ValueError, match=r"^retry must be seconds, from 0 to 3600, not 3601$"):
        check_deadline(3601)
    with pytest.raises(TypeError, match=r"^retry must be seconds, from 0 to 3600, not str$"):
        check_deadline("5")


# Durability


def test_the_defaults() -> None:
    assert Replicas(2) == Replicas(2, 100)
    assert Fsync() == Fsync(1, 0, 100)
    assert Fsync(0, 1) == Fsync(local=0, replicas=1)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (Replicas, {"count": 0}, "count must be a whole number from 1 to 1000, not 0"),
        (Replicas, {"count": 1001}, "count must be a whole number from 1 to 1000, not 1001"),
        (Replicas, {"count": 1, "timeout_ms": 0}, "timeout_ms must be a whole number from 1 to 3600000, not 0"),
        (Replicas, {"count": 1, "timeout_ms": 3_600_001}, "timeout_ms must be a whole number from 1 to 3600000, not"),
        (Fsync, {"local": 2}, "local must be a whole number from 0 to 1, not 2"),
        (Fsync, {"replicas": -1}, "replicas must be a whole number from 0 to 1000, not -1"),
        (Fsync, {"timeout_ms": 0}, "timeout_ms must be a whole number from 1 to 3600000, not 0"),
        (Fsync, {"local": 0}, "local or replicas must be at least 1"),
    ],
)
def test_out_of_range(kind: type[Any], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        kind(**arguments)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (Replicas, {"count": True}, "count must be a whole number from 1 to 1000, not bool"),
        (Replicas, {"count": "1"}, "count must be a whole number from 1 to 1000, not str"),
        (Replicas, {"count": 1, "timeout_ms": 1.5}, "timeout_ms must be a whole number from 1 to 3600000, not float"),
        (Fsync, {"local": True}, "local must be a whole number from 0 to 1, not bool"),
        (Fsync, {"replicas": None}, "replicas must be a whole number from 0 to 1000, not NoneType"),
        (Fsync, {"timeout_ms": "1"}, "timeout_ms must be a whole number from 1 to 3600000, not str"),
    ],
)
def test_of_the_wrong_type(kind: type[Any], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}$"):
        kind(**arguments)


@pytest.mark.parametrize("value", [Replicas(1), Fsync()])
def test_a_value_can_not_become_invalid(value: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        value.timeout_ms = 0
    assert hash(value) == hash(type(value)(**{name: getattr(value, name) for name in value.__slots__}))


def test_both_spellings() -> None:
    assert durability_of(None, False, 0, 100) is None
    assert durability_of(Fsync(), False, 0, 100) == Fsync()
    assert durability_of(None, True, 2, 300) == Replicas(2, 300)


def test_the_older_spelling_is_not_looked_at_unless_enabled() -> None:
    assert durability_of(Replicas(1), False, -5, -5) == Replicas(1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Replicas(1), True, 1, 100), "durability and synced_slaves_enabled say the same thing; use one of them"),
        ((None, True, 0, 100), "synced_slaves_count must be a whole number from 1 to 1000, not 0"),
        ((None, True, 1, 0), "synced_slaves_timeout must be a whole number from 1 to 3600000, not 0"),
    ],
)
def test_an_older_option_out_of_range(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        durability_of(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, False, 0, 100), "durability must be Replicas, Fsync or None, not int"),
        ((Replicas, False, 0, 100), "durability must be Replicas, Fsync or None, not type"),
        ((None, 1, 1, 100), "synced_slaves_enabled must be True or False, not int"),
        ((None, True, True, 100), "synced_slaves_count must be a whole number from 1 to 1000, not bool"),
        ((None, True, 1, "100"), "synced_slaves_timeout must be a whole number from 1 to 3600000, not str"),
    ],
)
def test_an_older_option_of_the_wrong_type(arguments: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}$"):
        durability_of(*arguments)


@pytest.mark.parametrize("durability", [Replicas(1, 4900), Fsync(1, 0, 4900)])
def test_a_wait_that_fits(durability: Replicas | Fsync) -> None:
    check_wait_fits(durability, 5.0)
    check_wait_fits(durability, None)
    check_wait_fits(None, 0.01)


@pytest.mark.parametrize("durability", [Replicas(1, 4901), Fsync(1, 0, 4901)])
def test_a_wait_that_does_not_fit(durability: Replicas | Fsync) -> None:
    with pytest.raises(
        ValueError, match=r"synced_slaves_timeout\) must be from 1 to 4900, 100 ms below .* 5 s, not 4901"
    ):
        check_wait_fits(durability, 5.0)


# Numbers that Python does not write down


@pytest.mark.parametrize("most", [None, 9])
def test_a_number_of_too_many_digits(most: int | None) -> None:
    with pytest.raises(ValueError, match=r"^n must be a whole number.*, not one so large$"):
        check_count("n", -(10**5000), least=0, most=most)
    with pytest.raises(ValueError, match=r"^delay must be seconds.*, not one so large$"):
        check_seconds("delay", 10**5000)


def test_an_option_is_kept_as_the_plain_number_that_it_is() -> None:
    assert type(Replicas(Index(1), Index(5)).count) is int  # type: ignore[arg-type]
    assert type(Fsync(Index(1), Index(1), Index(5)).replicas) is int  # type: ignore[arg-type]
