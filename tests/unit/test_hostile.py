"""The judges of hostile input, and of order, see what is wrong: else their rows would be worth nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies

from pyrq.core.errors import InvalidItemError, OutcomeUnknown, ServerRefusedError
from pyrq.core.wire import TryLater
from tests.faults.campaign import Row, Trial
from tests.faults.fuzzing import Calls, Fuzzer, Outcome, attempt, hypothetical, judged, split
from tests.faults.hostile_replies import Spoiled
from tests.faults.ledger import MARK, SECRET
from tests.faults.scripts import Order


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(Row("hostile", "", lambda _: None, {}, {}), {}, 1, tmp_path)


def raising(error: BaseException) -> Callable[[], object]:
    def act() -> object:
        raise error

    return act


@pytest.mark.parametrize(
    "error", [ValueError("count must be 1"), TypeError("count must be"), ServerRefusedError(), InvalidItemError()]
)
def test_a_clear_error_is_fine(trial: Trial, error: Exception) -> None:
    assert attempt(trial, raising(error), "count") is None
    assert attempt(trial, raising(TryLater(ServerRefusedError()))) is None
    assert trial.ledger.is_clean
    assert trial.ledger.figures == {"inputs": 2, "errors": 2}


def test_a_result_is_given(trial: Trial) -> None:
    assert attempt(trial, lambda: 7, "count") == 7
    assert trial.ledger.is_clean


@pytest.mark.parametrize(
    "error", [IndexError(), KeyError(), AttributeError(), RuntimeError(), ValueError("no good"), TypeError("timeout")]
)
def test_an_error_that_tells_nothing_is_blamed(trial: Trial, error: Exception) -> None:
    attempt(trial, raising(error), "count")
    assert trial.ledger.wrongs["failed"] == 1
    assert "test_hostile.py:" in trial.ledger.reasons[0]


def test_no_argument_may_be_wrong_where_none_is_named(trial: Trial) -> None:
    attempt(trial, raising(ValueError("count must be 1")))
    assert trial.ledger.wrongs["failed"] == 1


@pytest.mark.parametrize("secret", [MARK, SECRET])
def test_an_error_that_quotes_is_blamed(trial: Trial, secret: str) -> None:
    attempt(trial, raising(ValueError(f"count must not be {secret}")), "count")
    attempt(trial, raising(OutcomeUnknown.after(ServerRefusedError(f"no {secret}"))))
    attempt(trial, raising(TryLater(ServerRefusedError(f"no {secret}"))))
    assert trial.ledger.wrongs["leaked"] == 3


def test_only_what_an_argument_raises_is_a_refusal(trial: Trial) -> None:
    def is_refusal(error: BaseException) -> bool:
        return judged(trial, raising(error), "count").is_refusal

    assert is_refusal(ValueError("count must be 1"))
    assert is_refusal(InvalidItemError())
    assert not is_refusal(ServerRefusedError())
    assert not is_refusal(TryLater(ServerRefusedError()))
    assert not is_refusal(KeyError())
    assert judged(trial, lambda: 7) == Outcome(7)
    assert trial.ledger.figures["inputs"] == 0


def test_a_call_that_hangs_is_named() -> None:
    now = 0.0
    calls = Calls(lambda: now)
    with calls.calling("a get"):
        now = 30.0
        assert calls.hanging(30) == []
        now = 31.0
        (told,) = calls.hanging(30)
        assert told.startswith("a get takes 31 s (")
        assert "test_hostile.py:" in told
    assert calls.hanging(30) == []


def test_a_call_that_raises_hangs_no_more() -> None:
    now = 0.0
    calls = Calls(lambda: now)
    with pytest.raises(KeyError), calls.calling("a get"):
        raise KeyError
    now = 31.0
    assert calls.hanging(30) == []


@pytest.mark.parametrize(("many", "parts", "each"), [(7, 3, [3, 2, 2]), (6, 3, [2, 2, 2]), (1, 2, [1, 0])])
def test_no_part_of_an_amount_gets_lost(many: int, parts: int, each: list[int]) -> None:
    assert split(many, parts) == each


def test_hypothesis_says_how_many_it_tried() -> None:
    tried: list[bool] = []
    assert hypothetical(random.Random(1), strategies.booleans(), 50, tried.append) == len(tried)
    assert hypothetical(random.Random(1), strategies.booleans(), 0, tried.append) == 0


def test_so_many_answers_are_spoiled_as_was_asked_for(trial: Trial) -> None:
    plan = iter([(b"said", False), (b"other", False), (b"said", True)])
    spoiled = Spoiled(trial, 2, lambda _, __: next(plan))
    assert [spoiled(b"asked", b"said") for _ in range(4)] == [
        (b"said", False),
        (b"other", False),
        (b"said", True),
        (b"said", False),
    ]
    assert (spoiled.left, trial.ledger.figures["inputs"]) == (0, 2)


def test_the_same_seed_makes_the_same_inputs(trial: Trial) -> None:
    one, other = Fuzzer(trial.rng("x")), Fuzzer(trial.rng("x"))
    for _ in range(200):
        assert one.text("orders") == other.text("orders")
        assert one.resp() == other.resp()
        assert repr(one.reply()) == repr(other.reply())


def items(producer: str, *numbers: int) -> list[str]:
    return [f"{MARK} {producer} {number}" for number in numbers]


def test_order_is_kept_producer_by_producer(trial: Trial) -> None:
    order = Order(trial, alone=True)
    order.took([*items("a", 0, 1), *items("b", 0), *items("a", 2)])
    order.rejected(items("a", 1, 2))
    order.took([*items("b", 1), *items("a", 1, 2, 3)])
    shared = Order(trial, alone=False)
    shared.took(items("a", 3, 7, 8))
    assert trial.ledger.is_clean


@pytest.mark.parametrize(
    ("alone", "numbers"), [(True, (1,)), (True, (0, 2)), (True, (0, 0)), (False, (0, 2, 1)), (False, (1, 1))]
)
def test_order_that_is_lost_is_blamed(trial: Trial, alone: bool, numbers: tuple[int, ...]) -> None:
    Order(trial, alone=alone).took(items("a", *numbers))
    assert trial.ledger.wrongs["failed"] > 0
