"""Calls that several tasks make on one queue object at the same time, made into one: adds, acks and gets.

Adds of several callers are one script call on one lane, and so are acks: it is sent again as it was until it is
answered, and says for each caller how many items it was about. Gets are one get of the sum. What it brings lies in the
inbox and is promised to those who asked, each its share; a promise is redeemed in the very step in which its caller
goes on. So the share of one who was cancelled is never away from the inbox, and is handed out next.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pyrq.aio._runner import Runner
from pyrq.aio._sending import Builder
from pyrq.backends.gather_async import Flights
from pyrq.core import ops
from pyrq.core.errors import AsyncNotEnoughSyncedSlavesError, QueueFull, RqError
from pyrq.core.gathering import PATIENCE, another_error
from pyrq.core.joining import Get, heard_by, one_each, room_for_gets, room_for_items, wait_of
from pyrq.core.limits import Limits
from pyrq.core.member import Member
from pyrq.core.waiting import Found, Wait

__all__ = ["Joined", "Share"]


@dataclass(frozen=True, slots=True)
class Share:
    """What a get brought for one caller.

    Attributes:
        size: how many of the oldest items in the inbox are promised to it.
        found: what the get heard.
        move: what `Moves.begin` gave, if the get said to block.
    """

    size: int
    found: Found
    move: object


class Joined:
    """The adds, acks and gets of one object."""

    def __init__(self, run: Runner, member: Member, limits: Limits) -> None:
        """Begins.

        Args:
            run: its session.
            member: who it is.
            limits: the queue's bounds.
        """
        self.member = member
        self._run = run
        self._limits = limits
        self._inbox = member.session.inbox
        self._moves = member.session.moves
        self._adds: Flights[list[bytes], int] = Flights(self._add_all, room_for_items, PATIENCE)
        self._acks: Flights[list[bytes], int] = Flights(self._ack_all, room_for_items, PATIENCE)
        self._gets: Flights[Get, Share] = Flights(self._get_all, room_for_gets, PATIENCE, self._forgo)

    async def add(self, items: list[bytes]) -> int:
        """Adds up to 1,000 items; gives how many were added.

        Args:
            items: the items.
        """
        return await self._adds.go(items)

    async def ack(self, items: list[bytes]) -> int:
        """Acknowledges up to 1,000 items; gives how many were held.

        Args:
            items: the items.
        """
        return await self._acks.go(items)

    async def get(self, count: int, wait: Wait) -> Share:
        """Brings items into the inbox; the share is to be redeemed there before anything else is awaited.

        Args:
            count: how many at the most.
            wait: what to say about waiting.
        """
        share = await self._gets.go(Get(count, wait))
        self._inbox.redeem(share.size)
        return share

    async def _add_all(self, groups: Sequence[list[bytes]]) -> Sequence[Any]:
        run, limits = self._run, self._limits
        if len(groups) == 1:
            return [await run.change(lambda keys, identity, _: ops.add(keys, identity, groups[0], limits))]
        return await _each(
            run.change, lambda keys, identity, _: ops.add_together(keys, identity, groups, limits), groups
        )

    async def _ack_all(self, groups: Sequence[list[bytes]]) -> Sequence[Any]:
        run = self._run
        if len(groups) == 1:
            return [await run.acknowledge(groups[0])]
        return await _each(
            run.settle, lambda keys, identity, held: ops.ack_together(keys, identity, held, groups), groups
        )

    async def _get_all(self, asks: Sequence[Get]) -> Sequence[Any]:
        async with self._run.get_lock:
            try:
                found = await self._run.take(sum(ask.count for ask in asks), wait_of(asks))
            except RqError as error:
                return [error, *(another_error(error) for _ in asks[1:])]
            return [self._promise(ask, heard_by(ask, found, ask is asks[0])) for ask in asks]

    def _promise(self, ask: Get, found: Found) -> Share:
        size = min(ask.count, len(self._inbox))
        self._inbox.promise(size)
        # Begun here, under the lock around gets: the next get is to know of it.
        return Share(size, found, self._moves.begin() if found.block else None)

    def _forgo(self, _: Get, outcome: Any) -> None:
        """Takes back what was promised to a caller who was cancelled."""
        if isinstance(outcome, Share):
            self._inbox.redeem(outcome.size)
            if outcome.move is not None:
                self._moves.end(outcome.move)


async def _each(
    send: Callable[[Builder[list[int]]], Awaitable[list[int]]], build: Builder[list[int]], groups: Sequence[list[bytes]]
) -> Sequence[Any]:
    """Gives each caller's outcome of a call for all."""
    try:
        return one_each(await send(build))
    except AsyncNotEnoughSyncedSlavesError as short:
        return [_part_of(short, many) for many in short._results[-1]]
    except RqError as error:
        return [error, *(another_error(error) for _ in groups[1:])]


def _part_of(short: AsyncNotEnoughSyncedSlavesError, many: int) -> RqError:
    """Gives one caller's part of a call that too few have confirmed."""
    if many < 0:
        return QueueFull()
    part = AsyncNotEnoughSyncedSlavesError(short, short.confirm)
    part.done = many
    part._confirm_earlier = short  # while this one lives, the call's record stays
    return part
