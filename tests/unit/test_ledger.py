from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.campaign import Row, Trial, run_rows
from tests.faults.ledger import MARK, SECRET, WRONGS, Account, Ledger


def balance(*acts: Callable[[Account], None]) -> dict[str, int]:
    """What is wrong after some acts."""
    account, ledger = Account(), Ledger()
    for act in acts:
        act(account)
    account.close(ledger)
    return {wrong: many for wrong, many in ledger.wrongs.items() if many}


def test_what_went_in_came_out() -> None:
    assert balance(lambda one: one.added("aab"), lambda one: one.acked("aba")) == {}


def test_lost() -> None:
    assert balance(lambda one: one.added("aab"), lambda one: one.acked("ab")) == {"lost": 1}


def test_extra() -> None:
    assert balance(lambda one: one.added("ab"), lambda one: one.acked("aab")) == {"extra": 1}


def test_phantom() -> None:
    assert balance(lambda one: one.seen("x")) == {"phantom": 1}


def test_what_may_have_gone_in_may_come_out_or_not() -> None:
    assert balance(lambda one: one.perhaps_added("a")) == {}
    assert balance(lambda one: one.perhaps_added("a"), lambda one: one.acked("a")) == {}
    assert balance(lambda one: one.perhaps_added("a"), lambda one: one.acked("aa")) == {"extra": 1}


def test_what_may_have_come_out_is_not_lost() -> None:
    assert balance(lambda one: one.added("a"), lambda one: one.perhaps_acked("a")) == {}
    assert balance(lambda one: one.added("aa"), lambda one: one.perhaps_acked("a")) == {"lost": 1}


def trial_of(run: Callable[[Trial], None]) -> Ledger:
    return run_rows([Row("row", "what", run, {"much": 2}, None)], 1, quick=False)


def test_a_row_that_raises_has_failed(capsys: pytest.CaptureFixture[str]) -> None:
    def run(trial: Trial) -> None:
        raise ValueError("on purpose")

    ledger = trial_of(run)
    assert ledger.wrongs["failed"] == 1
    assert "on purpose" in capsys.readouterr().out


def test_an_expectation_that_does_not_hold() -> None:
    assert not trial_of(lambda trial: trial.expect(trial["much"] == 3, "two is not three")).is_clean
    assert trial_of(lambda trial: trial.expect(trial["much"] == 2, "two is two")).is_clean


@pytest.mark.parametrize("mark", [MARK, SECRET])
def test_an_error_that_quotes(mark: str) -> None:
    def run(trial: Trial) -> None:
        try:
            try:
                raise ValueError(f"the value {mark}")
            except ValueError as error:
                raise RuntimeError("clean") from error
        except RuntimeError as error:
            trial.caught(error)

    assert trial_of(run).wrongs["leaked"] == 1


def test_a_log_that_quotes() -> None:
    assert trial_of(lambda _: logging.getLogger("pyrq.consumer").info("took %s", MARK)).wrongs["leaked"] == 1


def test_a_row_is_left_out_of_the_quick_cut(capsys: pytest.CaptureFixture[str]) -> None:
    def run(trial: Trial) -> None:
        raise AssertionError

    assert run_rows([Row("row", "what", run, {}, None)], 1, quick=True).is_clean
    assert "only in the full campaign" in capsys.readouterr().out


def test_randomness_is_repeated_by_the_seed() -> None:
    def numbers(seed: int, *who: object) -> float:
        row = Row("row", "what", lambda _: None, {}, None)
        return Trial(row, {}, seed, Path(tempfile.gettempdir())).rng(*who).random()

    assert numbers(1, "thread", 3) == numbers(1, "thread", 3)
    assert len({numbers(1), numbers(2), numbers(1, "thread", 3), numbers(1, "thread", 4)}) == 4


def test_the_ledger_line() -> None:
    ledger = Ledger()
    ledger.figures["faults"] = 3
    assert str(ledger) == "faults=3 " + " ".join(f"{wrong} 0" for wrong in WRONGS)
