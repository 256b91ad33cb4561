"""Calls of a consumer that are sent until they are answered, for asyncio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from pyrq.aio._runner import Runner
from pyrq.aio._sending import Builder
from pyrq.core import ops
from pyrq.core.consuming import passes
from pyrq.core.errors import NotEnoughSyncedSlavesError, QueueClosedError, RqError
from pyrq.core.member import Member
from pyrq.core.session import Identity, Lane
from pyrq.core.waiting import NOTHING_FOUND, Found, Wait

__all__ = ["Insisting"]

R = TypeVar("R")


class Insisting:
    """What sends calls about what the handlers of a consumer have in hand."""

    def __init__(self, run: Runner) -> None:
        """Sends for one consumer.

        Args:
            run: its session.
        """
        self._run = run

    async def insist(self, build: Builder[R], goes_on: Callable[[RqError], Awaitable[bool]]) -> R:
        """Runs one call that changes something; after a failure it sends the very same again, if that is wished.

        So it takes effect once, whatever became of its earlier sendings.

        Args:
            build: makes the call.
            goes_on: is told of each failure, and says whether to send it again.
        """
        member = await self._run.ready()
        return await self._run._on_lane(member, lambda lane: self._insist(member, lane.next(), build, goes_on))

    async def insist_and_take(
        self, build: Builder[R], count: int, wait: Wait, goes_on: Callable[[RqError], Awaitable[bool]]
    ) -> tuple[R, Found]:
        """Does as `insist`, and takes up to 1,000 items in the round trip of the first sending.

        If that fails, the very same call is sent alone: it may be the get that can't be. What that took, or takes late,
        the next one hands out.

        Args:
            build: makes the call.
            count: how many to take at the most.
            wait: what the get says; it does not wait.
            goes_on: is told of each failure but one that is perhaps the get's, and says whether to send it again.

        Returns:
            What the call gave; and what is in the inbox then, up to `count`.
        """
        member = await self._run.ready()

        async def send(lane: Lane) -> tuple[R, Found]:
            identity = lane.next()
            try:
                async with self._run.get_lock:
                    return await self._send_and_take(member, build, identity, count, wait)
            except (NotEnoughSyncedSlavesError, QueueClosedError):
                raise
            except RqError as error:
                if passes(error) and not await goes_on(error):
                    raise
            return await self._insist(member, identity, build, goes_on), NOTHING_FOUND

        return await self._run._on_lane(member, send)

    async def _send_and_take(
        self, member: Member, build: Builder[R], identity: Identity, count: int, wait: Wait
    ) -> tuple[R, Found]:
        member.check_open()  # behind the lock: nothing may be taken once it is closed
        await self._run.settle_release()
        inbox = member.session.inbox
        inbox.resume()
        held, taking = inbox.held, inbox.lane.next()
        asked = min(max(0, count - len(inbox)), ops.CHUNK)
        get = ops.get(member.keys, taking, held, asked, self._run._beside_moves(member, wait))
        calls = [build(member.keys, identity, held), get]
        *_, result, found = await self._run._send_all(member, calls, self._run.setup.durability)
        if found.items:
            inbox.arrived(taking, found)
        return result, found.giving(inbox.peek(count))

    async def _insist(
        self, member: Member, identity: Identity, build: Builder[R], goes_on: Callable[[RqError], Awaitable[bool]]
    ) -> R:
        while True:
            try:
                return await self._send_held(member, identity, build)
            except RqError as error:
                if isinstance(error, NotEnoughSyncedSlavesError) or not await goes_on(error):
                    raise

    async def _send_held(self, member: Member, identity: Identity, build: Builder[R]) -> R:
        """Sends a call about what the caller has in hand; as `Runner.settle`, it reckons with what waits in the inbox.

        What is kept may change between two sendings; the server goes by the identity.
        """
        inbox, durability = member.session.inbox, self._run.setup.durability
        held = inbox.held
        if not held.kept:
            return await self._run._send(member, build(member.keys, identity, held), durability)
        async with self._run.get_lock:
            return await self._run._send(member, build(member.keys, identity, inbox.held), durability)
