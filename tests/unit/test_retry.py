from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrq.core.errors import (
    NotEnoughSyncedSlavesError,
    OutcomeUnknown,
    RqError,
    ServerBusyError,
    ServerFullError,
    ServerGoneError,
)
from pyrq.core.retry import NoAnswer, Tries, Unreached
from pyrq.core.wire import NeedsSource, TryLater


def test_a_missing_script_is_sent_in_full_at_once() -> None:
    tries = Tries(10.0)
    assert tries.in_full is False
    assert tries.next(NeedsSource(), 0.0, 0.5) == 0.0
    assert tries.in_full is True


def test_a_missing_script_is_sent_in_full_even_after_the_deadline() -> None:
    assert Tries(10.0).next(NeedsSource(), 11.0, 0.5) == 0.0


def test_a_script_that_is_missing_though_it_was_sent_ends_in_an_error_of_the_library() -> None:
    tries = Tries(10.0)
    tries.next(NeedsSource(), 0.0, 0.5)
    with pytest.raises(RqError):
        tries.next(NeedsSource(), 0.0, 0.5)


@pytest.mark.parametrize("error", [ServerFullError(), RqError("x"), OutcomeUnknown()])
def test_what_is_final_is_raised_as_it_is(error: RqError) -> None:
    with pytest.raises(type(error)) as caught:
        Tries(10.0).next(error, 0.0, 0.5)
    assert caught.value is error


@pytest.mark.parametrize(
    "failure", [TryLater(ServerBusyError()), Unreached(ServerGoneError()), NoAnswer(ServerGoneError())]
)
@given(jitter=st.floats(0, 1))
def test_pauses_grow_with_jitter_up_to_a_second(failure: TryLater | Unreached, jitter: float) -> None:
    tries = Tries(1e6)
    pauses = [tries.next(failure, 0.0, jitter) for _ in range(12)]
    longest = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert pauses == pytest.approx([one * (0.5 + jitter / 2) for one in longest])
    assert tries.in_full is False


def test_the_last_pause_ends_with_the_deadline() -> None:
    tries = Tries(10.0)
    assert tries.next(TryLater(ServerBusyError()), 9.999, 1.0) == pytest.approx(0.001)


@pytest.mark.parametrize("now", [10.0, 11.0])
@pytest.mark.parametrize("kind", [TryLater, Unreached])
def test_the_deadline_has_passed(now: float, kind: type[TryLater | Unreached]) -> None:
    error = ServerBusyError()
    with pytest.raises(ServerBusyError) as caught:
        Tries(10.0).next(kind(error), now, 0.5)
    assert caught.value is error


def test_no_answer_until_the_deadline() -> None:
    gone = ServerGoneError()
    with pytest.raises(OutcomeUnknown) as caught:
        Tries(10.0).next(NoAnswer(gone), 10.0, 0.5)
    assert caught.value.__cause__ is gone


@pytest.mark.parametrize("after", [ServerFullError(), TryLater(ServerBusyError()), Unreached(ServerGoneError())])
def test_what_follows_a_lost_answer_does_not_say_that_nothing_was_done(after: Exception) -> None:
    tries = Tries(10.0)
    tries.next(NoAnswer(ServerGoneError()), 0.0, 0.5)
    tries.next(Unreached(ServerGoneError()), 1.0, 0.5)
    with pytest.raises(OutcomeUnknown) as caught:
        tries.next(after, 10.0, 0.5)
    assert caught.value.__cause__ is getattr(after, "error", after)


@pytest.mark.parametrize("after", [OutcomeUnknown("stale"), NotEnoughSyncedSlavesError("short")])
def test_what_is_known_after_a_lost_answer_is_told(after: RqError) -> None:
    tries = Tries(10.0)
    tries.next(NoAnswer(ServerGoneError()), 0.0, 0.5)
    with pytest.raises(type(after)) as caught:
        tries.next(after, 0.0, 0.5)
    assert caught.value is after


def test_a_missing_script_after_a_lost_answer_is_sent_in_full() -> None:
    tries = Tries(10.0)
    tries.next(NoAnswer(ServerGoneError()), 0.0, 0.5)
    assert tries.next(NeedsSource(), 0.0, 0.5) == 0.0


def test_what_ran_in_part_is_unknown_when_the_server_then_goes_away() -> None:
    tries = Tries(0.0)
    assert tries.next(NeedsSource(partly=True), 0.0, 0.5) == 0.0
    with pytest.raises(OutcomeUnknown):
        tries.next(Unreached(ServerGoneError()), 1.0, 0.5)
