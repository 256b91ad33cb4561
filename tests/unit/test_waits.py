"""Waiting for an event, and for a thread, in an event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from contextvars import ContextVar

import pytest

from pyrq.aio import _waits
from pyrq.aio._waits import in_thread, wait_for_event
from tests.servers import wait_until
from tests.unit.consuming import LIMIT

variable: ContextVar[str] = ContextVar("variable", default="outside")


# Events


async def test_an_event_that_is_set_is_not_waited_for() -> None:
    event = asyncio.Event()
    event.set()
    for seconds in (0, -1, LIMIT):
        assert await wait_for_event(event, seconds) is True


@pytest.mark.parametrize("seconds", [0, -1])
async def test_without_time_nothing_is_waited_for(seconds: float) -> None:
    step = asyncio.create_task(wait_for_event(asyncio.Event(), seconds))
    await asyncio.sleep(0)
    assert step.done()
    assert step.result() is False


async def test_the_time_can_be_up() -> None:
    before = time.monotonic()
    assert await wait_for_event(asyncio.Event(), 0.02) is False
    assert time.monotonic() - before >= 0.019


async def test_an_event_can_come() -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_soon(event.set)
    assert await wait_for_event(event, LIMIT) is True


async def test_an_event_that_comes_with_the_end_of_the_time_counts() -> None:
    event = asyncio.Event()

    class Late(asyncio.Event):
        async def wait(self) -> bool:  # type: ignore[override]
            try:
                return await event.wait()
            except asyncio.CancelledError:
                self.set()
                raise

    assert await wait_for_event(Late(), 0.01) is True


async def test_a_wait_can_be_cancelled() -> None:
    waiting = asyncio.create_task(wait_for_event(asyncio.Event(), LIMIT))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


# Threads


async def test_a_function_runs_in_a_thread() -> None:
    def look(argument: str) -> tuple[str, int, bool]:
        return argument, threading.get_ident(), threading.current_thread().daemon

    argument, thread, daemon = await in_thread(look, "a")
    assert argument == "a"
    assert thread != threading.get_ident()
    assert daemon


@pytest.mark.parametrize("error", [LookupError("no"), TimeoutError(), asyncio.CancelledError(), GeneratorExit()])
async def test_what_it_raises_is_raised(error: BaseException) -> None:
    def fail(argument: object) -> None:
        raise error

    with pytest.raises(type(error)):
        await in_thread(fail, None)


async def test_what_a_future_cant_hold_is_raised_as_something_else() -> None:
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        await in_thread(next, iter(()))


async def test_it_runs_in_the_context_of_its_caller() -> None:
    token = variable.set("inside")

    def look(argument: object) -> str:
        seen = variable.get()
        variable.set("thread")
        return seen

    assert await in_thread(look, None) == "inside"
    assert variable.get() == "inside"
    variable.reset(token)


async def test_the_result_of_what_was_given_up_goes_nowhere() -> None:
    go, ended = threading.Event(), threading.Event()

    def work(argument: object) -> None:
        assert go.wait(LIMIT)
        ended.set()

    before = threading.active_count()
    waiting = asyncio.create_task(in_thread(work, None))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go.set()
    await asyncio.to_thread(wait_until, ended.is_set, LIMIT)
    await asyncio.sleep(0)  # what it told is heard
    assert threading.active_count() <= before + 1  # to_thread has one


def test_a_thread_outlives_the_loop_of_what_gave_it_up() -> None:
    go = threading.Event()
    started: list[threading.Thread] = []

    def work(argument: object) -> None:
        started.append(threading.current_thread())
        assert go.wait(LIMIT)

    async def give_up() -> None:
        waiting = asyncio.create_task(in_thread(work, None))
        while not started:
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(give_up())
    go.set()
    started[0].join(LIMIT)
    assert not started[0].is_alive()  # and no unhandled exception: these are errors here


def test_only_these_are_for_others() -> None:
    assert _waits.__all__ == ["in_thread", "telling", "wait_for_event"]
