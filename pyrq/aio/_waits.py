"""Waiting for an event, but not for ever; for a thread; and telling a loop from outside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

__all__ = ["in_thread", "telling", "wait_for_event"]

A = TypeVar("A")


async def wait_for_event(event: asyncio.Event, seconds: float) -> bool:
    """Waits until an event is set, as `threading.Event.wait` does.

    Args:
        event: the event.
        seconds: for how long at the most.

    Returns:
        Whether it is set.
    """
    if event.is_set() or seconds <= 0:
        return event.is_set()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


async def in_thread(function: Callable[[A], Any], argument: A) -> Any:
    """Runs a function in a thread of its own, in the context of this task.

    Unlike those of an executor, such a thread does not keep the process from ending when its caller has given it up.

    Args:
        function: what to run.
        argument: its argument.

    Returns:
        What it returns; what it raises is raised.
    """
    loop, context = asyncio.get_running_loop(), copy_context()
    future: asyncio.Future[Any] = loop.create_future()

    def tell(set_it: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            set_it(value)

    def run() -> None:
        set_it: Callable[[Any], None] = future.set_exception
        value: Any
        try:
            value = context.run(function, argument)
            set_it = future.set_result
        except StopIteration as error:  # a future can't hold it
            value = RuntimeError(f"handler raised {type(error).__name__}")
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            value = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, set_it, value)

    threading.Thread(target=run, daemon=True).start()
    return await future


def telling(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> Callable[[], None]:
    """Gives what calls a function in a loop, from anywhere; nothing if the loop is closed."""

    def tell() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(function)

    return tell
