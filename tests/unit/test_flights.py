"""Callers that travel together: who leaves when, and what becomes of those that are interrupted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from pyrq.backends import gather_async, gather_sync
from tests.conftest import wait_until

LONG = 20.0
"""A patience that no test waits for."""
BOUND = 10.0
"""For how many seconds a test waits for what must come."""


class Trouble(Exception):
    """What befalls a caller."""


class Interrupted(Exception):
    """What the others hear of an interrupt."""


def outcomes(asks: Sequence[str]) -> list[Any]:
    """Gives for each ask that text in capitals, for those with a `!` an exception."""
    return [Trouble(ask) if "!" in ask else ask.upper() for ask in asks]


# Tasks


class Tower:
    """Flights that come back when they are told to."""

    def __init__(self, patience: float = LONG, room: int = 10, wrong: BaseException | None = None) -> None:
        self.flown: list[list[str]] = []
        self.back: list[asyncio.Event] = []
        self.crews: list[asyncio.Task[Any] | None] = []
        self.unclaimed: list[tuple[str, Any]] = []
        self.abandoned: list[int] = []
        self.wrong = wrong
        self.landing: Callable[[], object] = lambda: None
        self.flights: gather_async.Flights[str, str] = gather_async.Flights(
            self.fly,
            lambda asks: min(room, len(asks)),
            patience,
            lambda *one: self.unclaimed.append(one),
            lambda: self.abandoned.append(len(self.flown)),
        )

    async def fly(self, asks: Sequence[str]) -> Sequence[Any]:
        back = asyncio.Event()
        self.flown.append(list(asks))
        self.back.append(back)
        self.crews.append(asyncio.current_task())
        await back.wait()
        if self.wrong:
            raise self.wrong
        self.landing()
        return outcomes(asks)

    def go(self, ask: str) -> asyncio.Task[str]:
        return asyncio.create_task(self.flights.go(ask))

    async def in_air(self, count: int) -> None:
        async with asyncio.timeout(BOUND):
            while len(self.flown) < count:
                await asyncio.sleep(0)


async def settle() -> None:
    """Lets whatever can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_lone_task_leaves_at_once_by_itself() -> None:
    tower = Tower()
    alone = tower.go("a")
    await tower.in_air(1)
    assert tower.crews == [alone]
    tower.back[0].set()
    assert await alone == "A"
    again = tower.go("b")
    await tower.in_air(2)
    assert tower.crews[1] is again
    tower.back[1].set()
    assert await again == "B"


async def test_tasks_that_come_meanwhile_leave_together_when_it_is_back() -> None:
    tower = Tower()
    first = tower.go("a")
    await tower.in_air(1)
    others = [tower.go(ask) for ask in ("b", "c!", "d")]
    await settle()
    assert tower.flown == [["a"]]
    tower.back[0].set()
    await tower.in_air(2)
    assert tower.flown[1:] == [["b", "c!", "d"]]
    tower.back[1].set()
    assert await first == "A"
    assert await others[0] == "B"
    with pytest.raises(Trouble, match="c!"):
        await others[1]
    assert await others[2] == "D"


async def test_a_lone_task_that_fails_lets_the_others_go() -> None:
    tower = Tower()
    first, second = tower.go("a!"), tower.go("b")
    await tower.in_air(1)
    tower.back[0].set()
    await tower.in_air(2)
    tower.back[1].set()
    with pytest.raises(Trouble):
        await first
    assert await second == "B"


async def test_nobody_waits_for_a_flight_that_is_late() -> None:
    tower = Tower(patience=0)
    first, second = tower.go("a"), tower.go("b")
    await tower.in_air(2)
    assert tower.flown == [["a"], ["b"]]
    tower.back[1].set()
    assert await second == "B"
    assert not first.done()
    tower.back[0].set()
    assert await first == "A"


async def test_for_whom_there_is_no_room_waits_for_the_next_one() -> None:
    tower = Tower(room=2)
    tasks = [tower.go(ask) for ask in "abcd"]
    for flight in range(3):
        await tower.in_air(flight + 1)
        await settle()
        tower.back[flight].set()
    assert await asyncio.gather(*tasks) == ["A", "B", "C", "D"]
    assert tower.flown == [["a"], ["b", "c"], ["d"]]


async def test_a_task_that_is_cancelled_while_it_waits_does_not_leave() -> None:
    tower = Tower()
    tasks = [tower.go(ask) for ask in "abc"]
    await settle()
    tasks[1].cancel()
    await settle()
    tower.back[0].set()
    await tower.in_air(2)
    assert tower.flown[1] == ["c"]
    tower.back[1].set()
    assert await tasks[2] == "C"
    assert (tasks[1].cancelled(), tower.unclaimed, tower.abandoned) == (True, [], [])


async def test_a_flight_goes_on_without_a_task_that_is_cancelled() -> None:
    tower = Tower()
    tasks = [tower.go(ask) for ask in "abc"]
    await settle()
    tower.back[0].set()
    await tower.in_air(2)
    tasks[1].cancel()
    await settle()
    assert tasks[1].cancelled()
    tower.back[1].set()
    assert await tasks[2] == "C"
    assert (tower.unclaimed, tower.abandoned) == ([("b", "B")], [2])


async def test_an_outcome_that_came_and_was_not_seen_is_unclaimed() -> None:
    tower = Tower()
    tasks = [tower.go(ask) for ask in "abc"]
    await settle()
    tower.back[0].set()
    await tower.in_air(2)
    loop = asyncio.get_running_loop()
    tower.landing = lambda: loop.call_soon(tasks[1].cancel)  # before it goes on, and after it was told
    tower.back[1].set()
    await asyncio.wait(tasks)
    assert [task.cancelled() for task in tasks] == [False, True, False]
    assert (tower.unclaimed, tower.abandoned) == ([("b", "B")], [])


async def test_a_lone_task_that_is_cancelled_lets_the_others_go() -> None:
    tower = Tower()
    tasks = [tower.go(ask) for ask in "ab"]
    await settle()
    tasks[0].cancel()
    await tower.in_air(2)
    tower.back[1].set()
    assert await tasks[1] == "B"


async def test_what_ends_a_flight_is_told_to_all_that_are_in_it() -> None:
    tower = Tower(wrong=Trouble("storm"))
    tasks = [tower.go(ask) for ask in "abc"]
    await settle()
    tower.back[0].set()
    await tower.in_air(2)
    tower.back[1].set()
    for task in tasks:
        with pytest.raises(Trouble, match="storm"):
            await task


async def test_a_flight_that_is_cancelled_cancels_those_in_it() -> None:
    tower = Tower()
    tasks = [tower.go(ask) for ask in "abc"]
    await settle()
    tower.back[0].set()
    await tower.in_air(2)
    crew = tower.crews[1]
    assert crew is not None
    crew.cancel()
    await asyncio.wait([*tasks, crew])
    assert [task.cancelled() for task in tasks] == [False, True, True]
    later = tower.go("d")  # and nobody waits for it any more
    await tower.in_air(3)
    tower.back[2].set()
    assert await later == "D"


def test_what_was_under_way_in_a_loop_that_is_over_keeps_nobody() -> None:
    tower = Tower()

    async def leave_in_the_air() -> None:
        task = tower.go("a")
        await tower.in_air(1)
        other = tower.go("b")
        await settle()
        assert not task.done()
        assert not other.done()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave_in_the_air())

    async def go_again() -> str:
        task = tower.go("c")
        await tower.in_air(2)
        tower.back[1].set()
        return await task

    assert asyncio.run(go_again()) == "C"
    while left := asyncio.all_tasks(loop):
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.wait(left))
    loop.close()


# Threads


class Strip:
    """Flights that come back when they are told to, for threads."""

    def __init__(self, patience: float = LONG, room: int = 10) -> None:
        self.flown: list[list[str]] = []
        self.back = [threading.Event() for _ in range(10)]
        self.crews: list[int] = []
        self.wrong: dict[int, BaseException] = {}
        self.flights: gather_sync.Flights[str, str] = gather_sync.Flights(
            self.fly, lambda asks: min(room, len(asks)), patience, Interrupted
        )

    def fly(self, asks: Sequence[str]) -> Sequence[Any]:
        number = len(self.flown)
        self.crews.append(threading.get_ident())
        self.flown.append(list(asks))
        assert self.back[number].wait(BOUND)
        if number in self.wrong:
            raise self.wrong[number]
        return outcomes(asks)

    def go(self, ask: str) -> Future[str]:
        future: Future[str] = Future()

        def run() -> None:
            try:
                future.set_result(self.flights.go(ask))
            except BaseException as error:  # noqa: BLE001 - whoever asks for the result is told
                future.set_exception(error)

        threading.Thread(target=run, daemon=True).start()  # one that is never told must not keep the tests
        return future

    def in_air(self, count: int) -> None:
        wait_until(lambda: len(self.flown) == count)

    def waiting(self, *asks: str) -> list[Future[str]]:
        """Has callers come one after another, behind those that wait already."""
        return [self._wait(ask) for ask in asks]

    def _wait(self, ask: str) -> Future[str]:
        size = len(self.flights._waiting) + 1
        future = self.go(ask)
        wait_until(lambda: len(self.flights._waiting) == size)
        return future

    def close(self) -> None:
        for event in self.back:
            event.set()


@pytest.fixture
def open_strip() -> Iterator[Callable[..., Strip]]:
    opened: list[Strip] = []

    def open_one(**options: Any) -> Strip:
        opened.append(Strip(**options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def test_a_lone_thread_leaves_at_once_by_itself(open_strip: Callable[..., Strip]) -> None:
    strip = open_strip()
    strip.back[0].set()
    assert strip.flights.go("a") == "A"
    assert strip.crews == [threading.get_ident()]


def test_threads_that_come_meanwhile_leave_together_when_it_is_back(open_strip: Callable[..., Strip]) -> None:
    strip = open_strip()
    first = strip.go("a")
    strip.in_air(1)
    others = strip.waiting("b", "c!", "d")
    strip.back[0].set()
    strip.in_air(2)
    assert strip.flown == [["a"], ["b", "c!", "d"]]
    strip.back[1].set()
    assert first.result(BOUND) == "A"
    assert others[0].result(BOUND) == "B"
    with pytest.raises(Trouble, match="c!"):
        others[1].result(BOUND)
    assert others[2].result(BOUND) == "D"


def test_no_thread_waits_for_a_flight_that_is_late(open_strip: Callable[..., Strip]) -> None:
    strip = open_strip(patience=0.001)
    first = strip.go("a")
    strip.in_air(1)
    second = strip.go("b")
    strip.in_air(2)
    strip.back[1].set()
    assert second.result(BOUND) == "B"
    assert not first.done()
    strip.back[0].set()
    assert first.result(BOUND) == "A"


def test_threads_for_which_there_is_no_room_wait_for_the_next_one(open_strip: Callable[..., Strip]) -> None:
    strip = open_strip(room=2)
    first = strip.go("a")
    strip.in_air(1)
    others = strip.waiting("b", "c", "d")
    for flight in range(3):
        strip.in_air(flight + 1)
        strip.back[flight].set()
    assert [each.result(BOUND) for each in (first, *others)] == ["A", "B", "C", "D"]
    assert strip.flown == [["a"], ["b", "c"], ["d"]]


@pytest.mark.parametrize("wrong", [Trouble("storm"), KeyboardInterrupt()])
def test_the_others_are_told_when_the_thread_that_flies_for_them_fails(
    open_strip: Callable[..., Strip], wrong: BaseException
) -> None:
    strip = open_strip()
    strip.wrong[1] = wrong
    strip.go("a")
    strip.in_air(1)
    leader, other = strip.waiting("b", "c")
    strip.back[0].set()
    strip.in_air(2)
    strip.back[1].set()
    with pytest.raises(type(wrong)):
        leader.result(BOUND)
    with pytest.raises(Interrupted):
        other.result(BOUND)
    strip.back[2].set()
    assert strip.go("d").result(BOUND) == "D"


class Gate:
    """A gate at which Ctrl-C hits."""

    def __init__(self, before: Callable[[], object]) -> None:
        self.before = before
        self.opened = 0

    def acquire(self, timeout: float = -1) -> bool:
        self.before()
        raise KeyboardInterrupt

    def release(self) -> None:
        self.opened += 1


def interrupt(monkeypatch: pytest.MonkeyPatch, strip: Strip, before: Callable[[], object]) -> Future[str]:
    """Has a caller come that is interrupted while it waits."""

    class Seat(gather_sync._Seat[str]):
        def __init__(self, ask: str) -> None:
            super().__init__(ask)
            self.gate = Gate(before)  # type: ignore[assignment]

    monkeypatch.setattr(gather_sync, "_Seat", Seat)
    size = len(strip.flights._waiting)
    future = strip.go("i")
    wait_until(lambda: len(strip.flights._waiting) > size or future.done())
    monkeypatch.undo()
    return future


def test_a_thread_that_is_interrupted_while_it_waits_does_not_leave(
    open_strip: Callable[..., Strip], monkeypatch: pytest.MonkeyPatch
) -> None:
    strip = open_strip()
    strip.go("a")
    strip.in_air(1)
    (before,) = strip.waiting("b")
    interrupted = interrupt(monkeypatch, strip, lambda: None)
    with pytest.raises(KeyboardInterrupt):
        interrupted.result(BOUND)
    strip.back[0].set()
    strip.in_air(2)
    strip.back[1].set()
    assert before.result(BOUND) == "B"
    assert strip.flown == [["a"], ["b"]]


def test_a_thread_that_is_interrupted_when_it_is_to_fly_for_others_tells_them(
    open_strip: Callable[..., Strip], monkeypatch: pytest.MonkeyPatch
) -> None:
    strip = open_strip()
    strip.go("a")
    strip.in_air(1)
    called = threading.Event()
    interrupted = interrupt(monkeypatch, strip, lambda: called.wait(BOUND))
    (other,) = strip.waiting("b")
    strip.back[0].set()
    wait_until(lambda: not strip.flights._waiting)
    called.set()
    with pytest.raises(KeyboardInterrupt):
        interrupted.result(BOUND)
    with pytest.raises(Interrupted):
        other.result(BOUND)
    strip.back[1].set()
    assert strip.go("c").result(BOUND) == "C"
    assert strip.flown == [["a"], ["c"]]
