"""Callers that travel together, for asyncio.

A caller who is alone leaves at once, in its own task. Those that come while it is under way wait, and leave together
when it is back: the longer a flight takes, the more go with the next one, so a server far away or a disk that is slow
costs each of them less. Nobody waits longer than `patience`: then the next flight leaves beside the one that is late.

A flight of several callers is a task of its own, which the cancellation of none of them ends.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pyrq.core.gathering import told

__all__ = ["Flights"]

A = TypeVar("A")
R = TypeVar("R")


def _ignore(*_: object) -> None:
    """Nobody wants to know."""


@dataclass(slots=True, eq=False)
class _Seat(Generic[A]):
    """One caller who waits."""

    ask: A
    outcome: asyncio.Future[Any]


@dataclass(slots=True, eq=False)
class _Field(Generic[A]):
    """Who waits and what is under way, in one event loop."""

    loop: asyncio.AbstractEventLoop
    waiting: deque[_Seat[A]] = field(default_factory=deque)
    in_air: int = 0
    late: asyncio.TimerHandle | None = None
    flights: set[asyncio.Task[None]] = field(default_factory=set)


class Flights(Generic[A, R]):
    """Sends what callers ask for: of one who is alone at once, of others together."""

    def __init__(
        self,
        fly: Callable[[Sequence[A]], Awaitable[Sequence[Any]]],
        room: Callable[[Sequence[A]], int],
        patience: float,
        unclaimed: Callable[[A, Any], object] = _ignore,
        abandoned: Callable[[], object] = _ignore,
    ) -> None:
        """Opens with nobody under way.

        Args:
            fly: takes what some callers ask for and gives an outcome for each: a result, or an exception for it.
            room: says how many asks, from the first on, go in one flight: at least one.
            patience: for how many seconds a caller waits for the flight before.
            unclaimed: takes the outcome of a caller who was cancelled before it had it.
            abandoned: called when a caller is cancelled whose flight is under way, and goes on.
        """
        self._fly = fly
        self._room = room
        self._patience = patience
        self._unclaimed = unclaimed
        self._abandoned = abandoned
        self._field: _Field[A] | None = None

    async def go(self, ask: A) -> R:
        """Sends what a caller asks for; gives its result, or raises what its outcome is.

        Args:
            ask: what it asks for.
        """
        here = self._here()
        result: R
        if here.in_air or here.waiting:
            result = told(await self._wait(here, ask))
            return result
        here.in_air += 1
        try:
            result = told((await self._fly([ask]))[0])
        finally:
            self._arrive(here)
        return result

    def _here(self) -> _Field[A]:
        loop = asyncio.get_running_loop()
        if self._field is None or self._field.loop is not loop:  # what was under way in a loop that is over is gone
            self._field = _Field(loop)
        return self._field

    async def _wait(self, here: _Field[A], ask: A) -> Any:
        seat = _Seat(ask, here.loop.create_future())
        here.waiting.append(seat)
        if here.late is None:
            here.late = here.loop.call_later(self._patience, self._depart, here)
        try:
            return await seat.outcome
        except asyncio.CancelledError:
            if seat in here.waiting:
                here.waiting.remove(seat)
            elif seat.outcome.cancelled():
                self._abandoned()
            else:  # it came, and was not seen
                self._unclaimed(seat.ask, seat.outcome.result())
            raise

    def _arrive(self, here: _Field[A]) -> None:
        here.in_air -= 1
        if here.waiting and not here.in_air:
            self._depart(here)

    def _depart(self, here: _Field[A]) -> None:
        """Lets those that wait leave; as many as there is room for, and then the others when these are back."""
        if here.late is not None:
            here.late.cancel()
            here.late = None
        if not here.waiting:
            return
        size = self._room([seat.ask for seat in here.waiting])
        seats = [here.waiting.popleft() for _ in range(size)]
        here.in_air += 1
        flight = here.loop.create_task(self._fly_together(here, seats))
        here.flights.add(flight)
        flight.add_done_callback(here.flights.discard)
        if here.waiting:
            here.late = here.loop.call_later(self._patience, self._depart, here)

    async def _fly_together(self, here: _Field[A], seats: Sequence[_Seat[A]]) -> None:
        try:
            for seat, outcome in zip(seats, await self._fly([seat.ask for seat in seats]), strict=True):
                self._tell(seat, outcome)
        except Exception as error:  # noqa: BLE001 - each caller raises it
            for seat in seats:
                self._tell(seat, error)
        except BaseException:  # the loop ends, and the callers with it
            for seat in seats:
                seat.outcome.cancel()
            raise
        finally:
            self._arrive(here)

    def _tell(self, seat: _Seat[A], outcome: Any) -> None:
        if not seat.outcome.done():
            seat.outcome.set_result(outcome)
        else:
            self._unclaimed(seat.ask, outcome)
