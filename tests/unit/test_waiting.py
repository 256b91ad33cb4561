from __future__ import annotations

import re
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrq.core import errors
from pyrq.core.waiting import FULL_FOR, LATEST_START, LOST_FOR, NO_WAIT, Found, Patience, Wait, pause_after

NOW = 1000.0


def slice_of(
    timeout: float, reply_timeout: float | None = None, lease: float | None = None, at: float = NOW, jitter: float = 0
) -> int:
    return Patience(timeout, NOW, reply_timeout, lease).slice(at, jitter)


# Slices


def test_a_slice_is_five_seconds_at_the_most() -> None:
    assert slice_of(1e9) == 5000


@pytest.mark.parametrize(
    ("reply_timeout", "expected"), [(5.0, 3900), (1.0, 700), (6.25, 4900), (6.375, 5000), (60, 5000), (0.1, 5)]
)
def test_a_slice_is_over_before_the_client_gives_up(reply_timeout: float, expected: int) -> None:
    assert slice_of(100, reply_timeout) == expected


@pytest.mark.parametrize(("lease", "expected"), [(30.0, 5000), (10.0, 5000), (6.0, 3000), (0.1, 50)])
def test_a_slice_is_half_a_lease_at_the_most(lease: float, expected: int) -> None:
    assert slice_of(100, None, lease) == expected


@pytest.mark.parametrize(
    ("reply_timeout", "lease", "expected"), [(5.0, 30.0, 3900), (5.0, 6.0, 3000), (2.0, 6.0, 1500)]
)
def test_the_shortest_of_all_counts(reply_timeout: float, lease: float, expected: int) -> None:
    assert slice_of(100, reply_timeout, lease) == expected


@pytest.mark.parametrize(("at", "expected"), [(NOW, 2500), (NOW + 2, 500), (NOW + 2.4999, 5), (NOW - 1, 3500)])
def test_the_last_slice_is_what_is_left(at: float, expected: int) -> None:
    assert slice_of(2.5, at=at) == expected


@pytest.mark.parametrize("at", [NOW + 2.5, NOW + 3, NOW + 1e9])
def test_there_is_none_when_the_time_is_up(at: float) -> None:
    assert slice_of(2.5, at=at) == 0
    assert slice_of(0) == 0


@pytest.mark.parametrize(("jitter", "expected"), [(0, 5000), (0.5, 4750), (1, 4500)])
def test_slices_are_spread(jitter: float, expected: int) -> None:
    assert slice_of(100, jitter=jitter) == expected


def test_what_is_left_is_not_spread() -> None:
    assert slice_of(2, jitter=1) == 2000


@given(
    st.floats(0, 1e9),
    st.floats(0, 1e9),
    st.none() | st.floats(0.1, 100),
    st.none() | st.floats(0.1, 1e6),
    st.floats(0, 1),
)
def test_a_slice_is_never_longer_than_anything_allows(
    timeout: float, passed: float, reply_timeout: float | None, lease: float | None, jitter: float
) -> None:
    got = slice_of(timeout, reply_timeout, lease, NOW + passed, jitter)
    left = NOW + timeout - (NOW + passed)
    assert (got > 0) == (left > 0)
    # A server blocks for ever where a time is 0, so there is a shortest one.
    shortest, half_a_ms = 0.005, 0.0005
    bounds = [5.0, left, *([reply_timeout - 0.1] if reply_timeout else []), *([lease / 2] if lease else [])]
    if got:
        assert got >= 5
        assert got / 1000 <= max(shortest, *[min(bounds)]) + half_a_ms


# Naps


def test_a_nap_ends_with_the_time() -> None:
    patience = Patience(2.5, NOW, None, None)
    assert [patience.nap(NOW + passed, 1.0) for passed in (0, 1.5, 2.25, 2.5, 9)] == [1.0, 1.0, 0.25, 0.0, 0.0]
    assert patience.nap(NOW, 0.25) == 0.25


# What a get says and hears


def test_a_get_that_does_not_wait_says_nothing() -> None:
    assert Wait(lease=None, slice_ms=0, blocked=0) == NO_WAIT


def test_what_is_heard_is_a_value() -> None:
    assert Found([b"a"], 3, True, 0.5, 0.25) == Found(items=[b"a"], tenure=3, sweep=True, block=0.5, nap=0.25)


def test_the_server_reckons_with_the_latest_start_of_a_move() -> None:
    idle = files("pyrq.core").joinpath("lua", "lib", "idle.lua").read_text()
    margin = re.search(r"^local MARGIN = (\d+)$", idle, re.MULTILINE)
    assert margin
    assert float(margin[1]) > LATEST_START


# Moves that failed

FINAL = {
    errors.PermissionDeniedError,
    errors.AuthenticationError,
    errors.WrongTypeError,
    errors.ServerTooOldError,
    errors.ServerRefusedError,
}


# One of them needs another error to be made, and a move asks no replica.
KINDS = [
    kind for name in errors.__all__ if (kind := getattr(errors, name)) is not errors.AsyncNotEnoughSyncedSlavesError
]


@pytest.mark.parametrize("kind", KINDS)
def test_what_follows_a_move_that_failed(kind: type[errors.RqError]) -> None:
    expected = None if kind in FINAL else FULL_FOR if kind is errors.ServerFullError else LOST_FOR
    assert pause_after(kind()) == expected


def test_a_full_server_is_given_longer_than_a_lost_answer() -> None:
    assert FULL_FOR > LOST_FOR > 0
