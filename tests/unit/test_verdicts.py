from __future__ import annotations

import itertools
import math
import pickle
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrq.core.verdicts import Backoff, Bury, Drop, Fate, Retry, Verdict, verdict_on

EVEN = Backoff(jitter=0)

seconds = st.floats(0, 1e9)


# Backoff


def test_the_default_doubles_from_a_second_to_five_minutes() -> None:
    assert EVEN.waits(0.7) == (1, 2, 4, 8, 16, 32, 64, 128, 256, 300)
    assert Backoff() == Backoff(first=1.0, most=300.0, factor=2.0, jitter=0.5)


@pytest.mark.parametrize(("random", "share"), [(0.0, 1.0), (0.5, 0.75), (1.0, 0.5)])
def test_jitter_shortens_all_waits_alike(random: float, share: float) -> None:
    assert Backoff().waits(random) == tuple(wait * share for wait in EVEN.waits(random))


def test_full_jitter() -> None:
    assert Backoff(first=8, most=8, jitter=1).waits(0.25) == (6,)
    assert Backoff(first=8, most=8, jitter=1).waits(1.0) == (0,)


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (Backoff(2, 2, jitter=0), (2,)),
        (Backoff(2, 5, 1, jitter=0), (2,)),
        (Backoff(0, 300, jitter=0), (0,)),
        (Backoff(0, 0, jitter=0), (0,)),
        (Backoff(1, 50, 10, jitter=0), (1, 10, 50)),
        (Backoff(1, 100, 10, jitter=0), (1, 10, 100)),
        (Backoff(1, 3, 1.5, jitter=0), (1, 1.5, 2.25, 3)),
    ],
)
def test_other_backoffs(backoff: Backoff, waits: tuple[float, ...]) -> None:
    assert backoff.waits(0.5) == waits


def test_there_are_not_more_waits_than_a_call_should_carry() -> None:
    waits = Backoff(1, 1e9, 1.0001, jitter=0).waits(0)
    assert len(waits) == 64
    assert waits[-1] < 1.01


@given(seconds, seconds, st.floats(1, 100), st.floats(0, 1), st.floats(0, 1))
def test_waits_grow_and_stay_in_their_range(
    one: float, other: float, factor: float, jitter: float, random: float
) -> None:
    first, most = sorted((one, other))
    waits = Backoff(first, most, factor, jitter).waits(random)
    longest = Backoff(first, most, factor, 0).waits(random)
    assert 1 <= len(waits) == len(longest) <= 64
    assert longest[0] == first
    assert all(before <= after for before, after in itertools.pairwise(waits))
    for wait, without in zip(waits, longest, strict=True):
        assert without * (1 - jitter) * (1 - 1e-9) <= wait <= without <= most


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first": -1}, r"first must be seconds, from 0 to 1e\+09, not -1"),
        ({"first": math.nan}, r"first must be seconds, from 0 to 1e\+09, not nan"),
        ({"most": 1e10}, r"most must be seconds, from 0 to 1e\+09, not 10000000000.0"),
        ({"factor": 0.5}, r"factor must be a number from 1 to 100, not 0\.5"),
        ({"factor": 101}, r"factor must be a number from 1 to 100, not 101"),
        ({"factor": math.inf}, r"factor must be a number from 1 to 100, not inf"),
        ({"jitter": -0.1}, r"jitter must be a number from 0 to 1, not -0\.1"),
        ({"jitter": 1.5}, r"jitter must be a number from 0 to 1, not 1\.5"),
        ({"first": 5, "most": 4}, r"most must be 5 \(first\) or more seconds, not 4"),
    ],
)
def test_a_backoff_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Backoff(**options)


@pytest.mark.parametrize("option", ["first", "most", "factor", "jitter"])
@pytest.mark.parametrize("value", [None, "1", True])
def test_a_backoff_is_made_of_numbers(option: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"^{option} must be .*, not {type(value).__name__}$"):
        Backoff(**{option: value})


# How a handler chooses


def test_a_retry_says_when_and_why() -> None:
    assert (Retry().after, Retry().reason, str(Retry())) == (None, "", "")
    retry = Retry(after=5, reason="later")
    assert (retry.after, retry.reason, str(retry)) == (5.0, "later", "later")
    assert Retry(0).after == 0.0


@pytest.mark.parametrize(("after", "error"), [(-1, ValueError), (math.nan, ValueError), ("5", TypeError)])
def test_a_retry_at_a_wrong_time(after: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^after must be seconds, from 0 to 1e\+09"):
        Retry(after)


def test_a_burial_says_why() -> None:
    assert (Bury().reason, Bury("broken").reason, str(Bury("broken"))) == ("", "broken", "broken")
    reason: Any = 5
    assert Bury(reason).reason == "5"
    assert Retry(reason=reason).reason == "5"


# Verdicts


class OddError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (None, Verdict(Fate.ACK, "", ())),
        (Drop(), Verdict(Fate.DROP, "", ())),
        (Drop("whatever"), Verdict(Fate.DROP, "", ())),
        (Bury("broken"), Verdict(Fate.BURY, "broken", ())),
        (Bury(), Verdict(Fate.BURY, "buried by its handler", ())),
        (Retry(after=7, reason="later"), Verdict(Fate.RETRY, "later", (7.0,))),
        (Retry(after=0), Verdict(Fate.RETRY, "retried by its handler", (0.0,))),
        (Retry(), Verdict(Fate.RETRY, "retried by its handler", (3.0, 6.0))),
        (ValueError("no such order"), Verdict(Fate.RETRY, "ValueError: no such order", (3.0, 6.0))),
        (ValueError(), Verdict(Fate.RETRY, "ValueError", (3.0, 6.0))),
        (KeyError("x"), Verdict(Fate.RETRY, "KeyError: 'x'", (3.0, 6.0))),
        (SystemExit(3), Verdict(Fate.RETRY, "SystemExit: 3", (3.0, 6.0))),
        (OddError(), Verdict(Fate.RETRY, "OddError", (3.0, 6.0))),
    ],
)
def test_what_becomes_of_an_item(error: BaseException | None, verdict: Verdict) -> None:
    assert verdict_on(error, Backoff(first=4, most=8), 0.5) == verdict


@pytest.mark.parametrize(
    ("kind", "fate"), [(Retry, Fate.RETRY), (Bury, Fate.BURY), (Drop, Fate.DROP)], ids=["retry", "bury", "drop"]
)
def test_an_exception_of_the_users_own_may_choose_too(kind: type[Exception], fate: Fate) -> None:
    class Own(kind):  # type: ignore[misc, valid-type]  # one of three
        pass

    assert verdict_on(Own(), EVEN, 0.5).fate is fate


def test_a_reason_tells_nothing_of_the_cause_or_the_place() -> None:
    error = ValueError("wrong")
    error.__cause__ = LookupError("the secret")
    error.add_note("the secret")
    assert verdict_on(error, EVEN, 0.5).reason == "ValueError: wrong"


@pytest.mark.parametrize("error", [Retry(), Retry(5), Retry(5, "later"), Bury("broken"), Bury(), Drop(), Drop("x")])
def test_choices_cross_process_borders(error: Exception) -> None:
    # A process pool pickles what a worker raises; one that can't be read back breaks the whole pool.
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert verdict_on(copy, EVEN, 0.5) == verdict_on(error, EVEN, 0.5)


def test_a_backoff_keeps_plain_numbers() -> None:
    assert Backoff(Fraction(1, 2), Fraction(3, 2)) == Backoff(0.5, 1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^most must be 0.5 \(first\) or more seconds, not 0.25$"):
        Backoff(Fraction(1, 2), Fraction(1, 4))  # type: ignore[arg-type]
