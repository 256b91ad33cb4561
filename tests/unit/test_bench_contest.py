"""Contests: who goes when, what counts, what a ratio says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.contest import LEAST_ROUNDS, Absent, Comparison, Contest, Row, Sense, hold, seconds


def contest(comparisons: list[Comparison], *, heavy: bool = False, **sides: Callable[[], float]) -> Contest:
    return Contest("group", "name", sides, comparisons, heavy=heavy)


def only_row(held: Contest, rounds: int = 5) -> Row:
    (row,) = hold(held, rounds).rows()
    return row


def test_each_round_begins_with_another_side_and_the_first_does_not_count() -> None:
    order: list[str] = []

    def side(name: str) -> Callable[[], float]:
        def sample() -> float:
            order.append(name)
            return float(len(order))

        return sample

    result = hold(contest([], a=side("a"), b=side("b"), c=side("c")), 5)
    rounds = ["".join(order[start : start + 3]) for start in range(0, len(order), 3)]
    assert rounds == ["abc", "bca", "cab", "abc", "bca", "cab"]
    assert [len(samples) for samples in result.taken.values()] == [5, 5, 5]
    assert min(min(samples) for samples in result.taken.values()) == 4.0


def test_a_heavy_contest_gets_the_fewest_rounds() -> None:
    assert len(hold(contest([], heavy=True, a=lambda: 1.0), 50).taken["a"]) == LEAST_ROUNDS
    assert len(hold(contest([], a=lambda: 1.0), 50).taken["a"]) == 50


def test_a_ratio_is_the_median_of_the_rounds_ratios_not_the_ratio_of_the_medians() -> None:
    ours, theirs = iter([9.0, 1, 2, 4, 8, 16]), iter([9.0, 10, 10, 12, 40, 16])
    row = only_row(contest([Comparison("a", "b", 4.0)], a=lambda: next(ours), b=lambda: next(theirs)))
    assert (row.mine, row.others) == (4.0, 12.0)
    assert row.ratio == 5.0  # of 10, 5, 3, 5 and 1
    assert (row.low, row.high) == (3.0, 5.0)
    assert row.reached is True


@pytest.mark.parametrize(
    ("sense", "ratio", "reached"),
    [(Sense.FASTER, 2.0, True), (Sense.FASTER, 1.9, False), (Sense.COST, 2.0, True), (Sense.COST, 2.1, False)],
)
def test_speed_is_to_be_at_least_and_cost_at_most(sense: Sense, ratio: float, reached: bool) -> None:
    assert sense.reached(ratio, 2.0) is reached


def test_both_senses_see_the_same_two_sides() -> None:
    assert Sense.FASTER.ratio(ours=2.0, theirs=6.0) == 3.0
    assert Sense.COST.ratio(ours=6.0, theirs=2.0) == 3.0
    assert Sense.FASTER.gain(before=2.0, now=3.0) == 1.5
    assert Sense.COST.gain(before=3.0, now=2.0) == 1.5


def test_a_side_that_falls_out_leaves_the_others_and_its_row_says_why() -> None:
    def gone() -> float:
        raise Absent("not measured: needs another Python")

    comparisons = [Comparison("a", "b", 1.0), Comparison("a", "c")]
    lost, kept = hold(contest(comparisons, a=lambda: 1.0, b=gone, c=lambda: 3.0), 5).rows()
    assert (lost.ratio, lost.reached, lost.note) == (None, None, "not measured: needs another Python")
    assert (kept.ratio, kept.reached, kept.note) == (3.0, None, "")


def test_a_side_that_never_takes_part_is_told_too() -> None:
    row = only_row(
        Contest("group", "name", {}, [Comparison("a", "b", 2.0)], absent={"a": "no server", "b": "no server"})
    )
    assert (row.ratio, row.note) == (None, "no server")


def test_what_fails_otherwise_is_not_hidden() -> None:
    def broken() -> float:
        raise RuntimeError("1 items were moved, not 2")

    with pytest.raises(RuntimeError, match="1 items were moved"):
        hold(contest([], a=broken), 5)


def test_time_is_taken_around_the_work() -> None:
    done: list[int] = []
    assert seconds(lambda: done.append(1)) > 0
    assert done == [1]
