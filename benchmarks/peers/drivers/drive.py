"""Drives one library, as told in lines on standard input: `python -I drive.py MODULE`, by that library's interpreter.

MODULE is a file beside this one with a class `Driver`. What it prints goes to standard error: standard output is ours.
"""

from __future__ import annotations

import gc
import importlib
import random
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TextIO

sys.path.append(__file__.rpartition("/")[0])
protocol: Any = importlib.import_module("protocol")

_SIZE = 100


class Cannot(Exception):
    """The library has nothing like this."""


class _Driver(Protocol):
    """What each module has. Times are taken around `add`, `work_off` and the two for tasks."""

    def __init__(self, url: str, name: str) -> None: ...

    def versions(self) -> str: ...

    def fill(self, items: Sequence[str]) -> None: ...

    def add(self, items: Sequence[str], batch: int) -> None: ...

    def work_off(self, batch: int, batches: int) -> None: ...

    def clear(self) -> None: ...


def _seconds(work: Callable[[], object]) -> float:
    gc.disable()
    try:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    finally:
        gc.enable()


def _python() -> str:
    return ".".join(str(part) for part in sys.version_info[:3])


def _run(driver: _Driver, order: Any) -> float:
    method = {"add": "add", "work": "work_off"}.get(order.operation, order.operation)
    does = getattr(driver, method, None)
    if does is None:
        raise Cannot(f"it has no {order.operation}")
    chance = random.Random(0)
    items = [f"{n:06d} {chance.randbytes(_SIZE).hex()}"[:_SIZE] for n in range(order.batch * order.batches)]
    try:
        if order.operation.startswith("add"):
            return _seconds(lambda: does(items, order.batch))
        driver.fill(items)
        return _seconds(lambda: does(order.batch, order.batches))
    finally:
        driver.clear()


def serve(lines: TextIO, answers: TextIO, make: Callable[[str, str], _Driver]) -> None:
    """Answers orders until there are no more.

    Args:
        lines: where they come from.
        answers: where the answers go.
        make: makes the driver from URL and name.
    """
    driver: _Driver | None = None
    for line in lines:
        try:
            order = protocol.order_of(line)
            if isinstance(order, protocol.Open):
                driver = make(order.url, order.name)
                answer = protocol.Answer("ready", f"{driver.versions()}, Python {_python()}")
            else:
                answer = protocol.Answer("done", f"{_run(driver, order):.9f}")  # type: ignore[arg-type] # it was opened
        except Cannot as why:
            answer = protocol.Answer("cannot", str(why))
        except Exception as error:  # noqa: BLE001 - whatever a library raises is told, by its class: no URL, no item
            answer = protocol.Answer("failed", type(error).__name__)
        answers.write(protocol.line_of(answer))
        answers.flush()


if __name__ == "__main__":
    out, sys.stdout = sys.stdout, sys.stderr
    serve(sys.stdin, out, importlib.import_module(sys.argv[1]).Driver)
