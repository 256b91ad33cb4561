"""The lines between the benchmarks and a peer, and the loop at the peer's end."""

from __future__ import annotations

import io
import platform
from collections.abc import Sequence

import pytest

from benchmarks.peers.drivers.drive import Cannot, serve
from benchmarks.peers.drivers.protocol import OPERATIONS, Answer, Open, Run, answer_of, line_of, order_of

ORDERS: list[Open | Run] = [
    Open("unix:///tmp/x.sock", "orders"),
    *(Run(operation, 100, 5) for operation in OPERATIONS),
]


class FakeDriver:
    """A library that remembers what it is told."""

    def __init__(self, url: str, name: str) -> None:
        self.told: list[object] = [(url, name)]

    def versions(self) -> str:
        return "redis-py 0"

    def fill(self, items: Sequence[str]) -> None:
        self.told.append(("fill", len(items), len(set(items)), {len(item) for item in items}))

    def add(self, items: Sequence[str], batch: int) -> None:
        if batch == 7:
            raise Cannot("it has no batches")
        if batch == 8:
            raise ConnectionError("could not reach unix:///secret with item 000001")
        self.told.append(("add", len(items), batch))

    def work_off(self, batch: int, batches: int) -> None:
        self.told.append(("work", batch, batches))

    def clear(self) -> None:
        self.told.append("clear")


def served(*lines: str) -> tuple[list[Answer], FakeDriver]:
    """Lets a peer answer lines."""
    made: list[FakeDriver] = []

    def make(url: str, name: str) -> FakeDriver:
        made.append(FakeDriver(url, name))
        return made[-1]

    answers = io.StringIO()
    serve(io.StringIO("".join(lines)), answers, make)
    return [answer_of(line) for line in answers.getvalue().splitlines()], made[-1]


OPEN = line_of(ORDERS[0])


@pytest.mark.parametrize("order", ORDERS, ids=line_of)
def test_what_is_written_is_read(order: Open | Run) -> None:
    assert order_of(line_of(order)) == order


@pytest.mark.parametrize(
    "line", ["", "\n", "open url", "run fly 1 1", "run add 1", "run add one 1", "run add 1 1 1", "stop"]
)
def test_other_lines_are_no_orders(line: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whichever: a peer answers `failed`
        order_of(line)


@pytest.mark.parametrize("line", ["", "\n", "done soon", "done", "Traceback (most recent call last):"])
def test_other_lines_are_no_answers(line: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whichever: its process counts as ended
        answer_of(line)


def test_an_answer_is_one_line() -> None:
    assert line_of(Answer("failed", "two\nlines")) == "failed two lines\n"
    assert answer_of("done 0.25\n").seconds == 0.25
    with pytest.raises(ValueError, match="no batches"):
        _ = Answer("cannot", "no batches").seconds


def test_a_peer_adds_and_cleans_up() -> None:
    answers, driver = served(OPEN, line_of(Run("add", 10, 3)))
    assert answers[0] == Answer("ready", f"redis-py 0, Python {platform.python_version()}")
    assert answers[1].kind == "done"
    assert driver.told == [("unix:///tmp/x.sock", "orders"), ("add", 30, 10), "clear"]


def test_a_peer_fills_before_it_works() -> None:
    answers, driver = served(OPEN, line_of(Run("work", 10, 3)))
    assert answers[1].seconds < 10
    assert driver.told[1:] == [("fill", 30, 30, {100}), ("work", 10, 3), "clear"]


def test_what_a_library_does_not_have_is_said() -> None:
    answers, driver = served(OPEN, line_of(Run("add_tasks", 500, 1)), line_of(Run("add", 7, 1)))
    assert answers[1:] == [Answer("cannot", "it has no add_tasks"), Answer("cannot", "it has no batches")]
    assert driver.told[1:] == ["clear"]


def test_a_failure_is_told_by_its_class_and_the_peer_goes_on() -> None:
    answers, driver = served(OPEN, line_of(Run("add", 8, 1)), "nonsense\n", line_of(Run("add", 1, 1)))
    assert answers[1:3] == [Answer("failed", "ConnectionError"), Answer("failed", "ValueError")]
    assert answers[3].kind == "done"
    assert driver.told.count("clear") == 2
