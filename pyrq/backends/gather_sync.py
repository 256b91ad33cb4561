"""Callers that travel together, for threads: a group commit.

A caller who is alone leaves at once. Those that come while it is under way wait, and leave together when it is back:
one of them, in its own thread, flies for all. The longer a flight takes, the more go with the next one, so a server far
away or a disk that is slow costs each of them less. Nobody waits longer than `patience`: then the next flight leaves
beside the one that is late.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from pyrq.core.gathering import told

__all__ = ["Flights"]

A = TypeVar("A")
R = TypeVar("R")


class _Seat(Generic[A]):
    """One caller who waits: until it is told its outcome, or to fly for some, itself the first of them."""

    __slots__ = ("ask", "crew", "gate", "outcome", "told", "waits")

    def __init__(self, ask: A) -> None:
        self.ask = ask
        self.crew: list[_Seat[A]] = []
        self.waits = True
        self.told = False
        self.outcome: Any = None
        # Not an event: one that Ctrl-C hits inside keeps its inner lock for ever. This one is in C.
        self.gate = threading.Lock()
        self.gate.acquire()

    def tell(self, outcome: Any) -> None:
        self.outcome, self.told = outcome, True
        self.gate.release()


class Flights(Generic[A, R]):
    """Sends what callers ask for: of one who is alone at once, of others together."""

    def __init__(
        self,
        fly: Callable[[Sequence[A]], Sequence[Any]],
        room: Callable[[Sequence[A]], int],
        patience: float,
        interrupted: Callable[[], Exception],
    ) -> None:
        """Opens with nobody under way.

        Args:
            fly: takes what some callers ask for and gives an outcome for each: a result, or an exception for it.
            room: says how many asks, from the first on, go in one flight: at least one.
            patience: for how many seconds a caller waits for the flight before.
            interrupted: gives the outcome of the others where the one that flies for them is interrupted (Ctrl-C).
        """
        self._fly = fly
        self._room = room
        self._patience = patience
        self._interrupted = interrupted
        self._lock = threading.Lock()
        self._waiting: deque[_Seat[A]] = deque()
        self._in_air = 0

    def go(self, ask: A) -> R:
        """Sends what a caller asks for; gives its result, or raises what its outcome is.

        Args:
            ask: what it asks for.
        """
        with self._lock:
            alone = not self._in_air and not self._waiting
            if alone:
                self._in_air += 1
            else:
                seat = _Seat(ask)
                self._waiting.append(seat)
        result: R = self._fly_alone(ask) if alone else told(self._wait(seat))
        return result

    def _fly_alone(self, ask: A) -> R:
        try:
            result: R = told(self._fly([ask])[0])
        finally:
            self._arrive()
        return result

    def _wait(self, seat: _Seat[A]) -> Any:
        try:
            while not seat.gate.acquire(timeout=self._patience if seat.waits else -1):
                self._lose_patience(seat)
        except BaseException:
            self._leave(seat)
            raise
        if not seat.told:
            self._fly_together(seat.crew)
        return seat.outcome

    def _lose_patience(self, seat: _Seat[A]) -> None:
        """Has those that wait leave beside the flight that is late, if this one is the first of them."""
        with self._lock:
            if self._waiting and self._waiting[0] is seat:
                self._call_crew()

    def _leave(self, seat: _Seat[A]) -> None:
        """Is for a caller who was interrupted while it waited."""
        with self._lock:
            waits = seat.waits
            if waits:
                self._waiting.remove(seat)
        if not waits and seat.crew and not seat.told:  # it was to fly for others
            self._disappoint(seat.crew)
            self._arrive()

    def _call_crew(self) -> None:
        """Tells the first of those that wait to fly for as many as there is room for; to be called under the lock."""
        size = self._room([seat.ask for seat in self._waiting])
        crew = [self._waiting.popleft() for _ in range(size)]
        for seat in crew:
            seat.waits = False
        self._in_air += 1
        crew[0].crew = crew
        crew[0].gate.release()

    def _fly_together(self, crew: Sequence[_Seat[A]]) -> None:
        try:
            outcomes = self._fly([seat.ask for seat in crew])
            crew[0].outcome = outcomes[0]
            for seat, outcome in zip(crew[1:], outcomes[1:], strict=True):
                seat.tell(outcome)
        except BaseException:
            self._disappoint(crew)
            raise
        finally:
            self._arrive()

    def _disappoint(self, crew: Sequence[_Seat[A]]) -> None:
        for seat in crew[1:]:
            if not seat.told:
                seat.tell(self._interrupted())

    def _arrive(self) -> None:
        with self._lock:
            self._in_air -= 1
            if self._waiting and not self._in_air:
                self._call_crew()
