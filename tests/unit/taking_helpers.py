"""Doubles of the tests about waiting for items: backends that move, and a monotonic clock that nobody waits for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from pyrq.core.consuming import Flag
from tests.unit import helpers
from tests.unit.helpers import Recorder

__all__ = ["AsyncRecordingBackend", "MoveFault", "Moving", "RecordingBackend", "Wrist", "wear"]


@dataclass
class MoveFault:
    """What is to go wrong with the next move.

    Attributes:
        error: what is raised.
        executed: whether an item that was there has moved before.
    """

    error: BaseException
    executed: bool = False


@dataclass
class Moving(Recorder):
    """What the two recording backends do besides: a move is recorded, and does not wait.

    Attributes:
        moves: from where to where, and for how many seconds, of each move.
        move_faults: what goes wrong, one for each move.
        when_moving: called when a move begins, one for each, for what happens while it waits.
        waited: called with the seconds of a move that brings nothing.
        woken: how many times what waits was woken.
        sure: whether it then knows that no lost move can bring anything.
    """

    moves: list[tuple[bytes, bytes, float]] = field(default_factory=list)
    move_faults: list[MoveFault] = field(default_factory=list)
    when_moving: list[Callable[[], object]] = field(default_factory=list)
    waited: Callable[[float], object] = lambda seconds: None
    woken: int = 0
    sure: bool = True

    def _move(self, source: bytes, target: bytes, seconds: float) -> bool:
        self.moves.append((source, target, seconds))
        if self.when_moving:
            self.when_moving.pop(0)()
        fault = self.move_faults.pop(0) if self.move_faults else None
        moved = False
        if fault is None or fault.executed:
            client = helpers.raw(self.url)
            moved = client.lmove(source, target, "RIGHT", "LEFT") is not None
            client.close()
        if fault is not None:
            raise fault.error
        if not moved:
            self.waited(seconds)
        return moved


class RecordingBackend(Moving, helpers.RecordingBackend):
    """For threads."""

    def move(self, source: bytes, target: bytes, seconds: float) -> bool:
        return self._move(source, target, seconds)

    def wake(self) -> bool:
        self.woken += 1
        return self.sure


class AsyncRecordingBackend(Moving, helpers.AsyncRecordingBackend):
    """For asyncio."""

    async def move(self, source: bytes, target: bytes, seconds: float) -> bool:
        return self._move(source, target, seconds)

    async def wake(self) -> bool:
        self.woken += 1
        return self.sure


class Wrist:
    """A client's monotonic clock. It moves on when somebody waits, who does not notice.

    Attributes:
        now: what it shows.
        naps: for how many seconds somebody napped, each time.
        when_napping: called when a nap begins, one for each.
    """

    def __init__(self) -> None:
        self.now = 5000.0
        self.naps: list[float] = []
        self.when_napping: list[Callable[[], object]] = []

    def monotonic(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds

    def nap(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.pass_by(seconds)
        if self.when_napping:
            self.when_napping.pop(0)()


def wear(monkeypatch: pytest.MonkeyPatch, module: Any, backend: Moving) -> Wrist:
    """Gives the queues of one world a clock of this kind; `module` is `pyrq.sync` or `pyrq.aio`."""
    wrist = Wrist()
    backend.waited = wrist.pass_by
    taking, runner = f"{module.__name__}._taking", f"{module.__name__}._runner"
    monkeypatch.setattr(f"{taking}.time", wrist)
    monkeypatch.setattr(f"{runner}.time", wrist)
    monkeypatch.setattr(f"{taking}.random", SimpleNamespace(random=lambda: 0.0))

    class Nobody:
        def wait(self, seconds: float) -> None:
            wrist.nap(seconds)

    async def wait_for_event(event: Flag, seconds: float) -> bool:
        wrist.nap(seconds)
        return False

    if module.__name__.endswith("sync"):
        import threading

        monkeypatch.setattr(f"{taking}.threading", SimpleNamespace(Event=Nobody, Lock=threading.Lock))
    else:
        monkeypatch.setattr(f"{taking}.wait_for_event", wait_for_event)
    return wrist
