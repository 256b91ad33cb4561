"""Runs the calls of one facade object: alone, in chunks, again and again; what they bring, and giving it back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar
from weakref import finalize

from pyrq.aio._sending import Builder, Sending
from pyrq.core import ops, session_ops
from pyrq.core.call import Call
from pyrq.core.errors import NotEnoughSyncedSlavesError, OutcomeUnknown, RqError
from pyrq.core.keys import Keys
from pyrq.core.member import Member
from pyrq.core.options import Durability
from pyrq.core.session import EVERYTHING, Held, Inbox, Lane, Returning
from pyrq.core.waiting import (
    LATEST_START,
    NO_WAIT,
    WAKE_EVERY,
    WAKE_TRIES,
    Found,
    Patience,
    Wait,
    pause_after,
)
from pyrq.core.work import Work

__all__ = ["Runner"]

R = TypeVar("R")


class Runner(Sending):
    """What a facade's methods are written with. Tasks share it."""

    async def look(self, build: Callable[[Keys], Call[R]]) -> R:
        """Runs a call that changes nothing."""
        result: R = (await self.backend.run([build((await self.ready()).keys)]))[0]
        return result

    async def change(self, build: Builder[R]) -> R:
        """Runs one call that changes something, and waits for what the durability asks for."""
        return await self._change(build, self.setup.durability)

    async def hand_out(self, build: Builder[R]) -> R:
        """Runs one call whose answer must not be lost: it waits for nothing, and what is to be burnt is burnt before.

        Were a burn in front of it, a server that lacks that script would have both sent again, and hand out twice.
        """
        member = await self.ready()
        if doubtful := member.session.doubtful():
            await self._burn(member, doubtful)
        return await self._change(build, None)

    async def _change(self, build: Builder[R], durability: Durability | None) -> R:
        member = await self.ready()
        held = member.session.inbox.held
        return await self._on_lane(
            member, lambda lane: self._send(member, build(member.keys, lane.next(), held), durability)
        )

    async def change_all(self, work: Work, build: Callable[[list[bytes]], Builder[int]]) -> int:
        """Runs a call about what the caller has in hand in chunks, and gives the sum of what they gave."""
        return await self.run_all(work, lambda chunk: self.settle(build(chunk)))

    async def run_all(self, work: Work, change: Callable[[list[bytes]], Awaitable[int]]) -> int:
        """Does something with one chunk after another, and gives the sum of what that gave."""
        self.member().check_open()
        for chunk in work.chunks():
            try:
                work.done += await change(chunk)
            except RqError as error:
                work.failed(error, len(chunk))
                raise
        return work.done

    async def settle(self, build: Builder[R]) -> R:
        """Runs a call about what the caller has in hand.

        It hides what waits in the inbox from the server's search. Were that handed out and acknowledged while the call
        is under way, it would hide what the call is about; so while something waits there, hand-outs wait for the call.
        """
        held = self.member().session.inbox.held
        if not held.kept:
            return await self.change(lambda keys, identity, _: build(keys, identity, held))
        async with self.get_lock:
            await self.settle_release()
            return await self.change(build)

    async def acknowledge(self, items: list[bytes]) -> int:
        """Acknowledges up to 1,000 items that the caller has in hand, by proof where that can be; gives how many."""
        proof = self.member().session.inbox.prove(items)
        if proof is not None:
            many = await self.change(lambda keys, identity, _: ops.ack_all(keys, identity, proof, len(items)))
            if many >= 0:
                return many
        return await self.settle(lambda keys, identity, held: ops.ack(keys, identity, held, items))

    async def repeat(self, build: Builder[tuple[int, int]]) -> int:
        """Runs a call again and again until it says that nothing is left, and gives the sum."""
        total = 0
        while True:
            try:
                moved, left = await self.change(build)
            except RqError as error:
                error.done += total
                raise
            total += moved
            if not left:
                return total

    async def take(self, count: int, wait: Wait = NO_WAIT) -> Found:
        """Brings items into the inbox until it has enough or nothing waits; gives the oldest, still in the inbox."""
        member, inbox = await self._open_inbox()
        wait = self._beside_moves(member, wait)
        found = Found([], inbox.tenure, False, 0.0, 0.0)
        while (missing := count - len(inbox)) > 0:
            if inbox and wait.slice_ms:
                wait = replace(wait, slice_ms=0)
            asked = min(missing, ops.CHUNK)
            identity = inbox.lane.next()
            found = await self._send(member, ops.get(member.keys, identity, inbox.held, asked, wait))
            if found.items:
                inbox.arrived(identity, found)
            if len(found.items) < asked:
                break
        return found.giving(inbox.peek(count))

    async def ack_and_take(self, acked: Sequence[bytes], count: int) -> tuple[int, Found, bool]:
        """Acknowledges up to 1,000 items and takes up to 1,000, in one round trip.

        Returns:
            How many were acknowledged; what is there now, up to `count`; and whether `take` may find more of these.
        """
        member, inbox = await self._open_inbox()
        keys, held = member.keys, inbox.held
        identity = inbox.lane.next()
        asked = min(max(0, count - len(inbox)), ops.CHUNK)
        get = ops.get(keys, identity, held, asked, self._beside_moves(member, NO_WAIT))
        # Where both wait for replicas and too few answer, what was not proved must not pass for what was done.
        proof = None if self.setup.durability else inbox.prove(acked)

        async def send(lane: Lane) -> tuple[int, Found]:
            first = lane.next()
            ack = ops.ack_all(keys, first, proof, len(acked)) if proof else ops.ack(keys, first, held, acked)
            *_, many, found = await self._send_all(member, [ack, get], self.setup.durability)
            return many, found

        many, found = await self._on_lane(member, send)
        if found.items:
            inbox.arrived(identity, found)
        if many < 0:
            many = await self.change(lambda keys, identity, held: ops.ack(keys, identity, held, acked))
        return many, found.giving(inbox.peek(count)), len(inbox) < count and len(found.items) == asked

    def _beside_moves(self, member: Member, wait: Wait) -> Wait:
        """Gives what a get says about waiting, with the moves that may still bring something."""
        blocked = member.session.moves.count(time.monotonic())
        return replace(wait, blocked=blocked) if blocked else wait

    async def _open_inbox(self) -> tuple[Member, Inbox]:
        """Gives the inbox, after whatever an earlier call left unsettled."""
        member = await self.ready()
        await self.settle_release()
        member.session.inbox.resume()
        return member, member.session.inbox

    # Waiting

    def patience(self, timeout: float, lease: float | None) -> Patience:
        """Begins to wait for some seconds."""
        return Patience(timeout, time.monotonic(), self.backend.reply_timeout, lease)

    async def block(self, move: object, seconds: float, asked: float) -> float:
        """Blocks until an item lands for this consumer, or the time is up.

        Args:
            move: what `Moves.begin` gave when the get said that there is nothing.
            seconds: for how long that said to block.
            asked: when that get was sent, on the monotonic clock.

        Returns:
            For how many seconds to pause before the next get.
        """
        member = self.member()
        moves = member.session.moves
        until = time.monotonic() + seconds + LATEST_START
        try:
            if time.monotonic() - asked < LATEST_START:
                await self.backend.move(member.keys.queue, member.keys.landing, seconds)
        except OutcomeUnknown as error:
            moves.lose(move, until)
            return pause_after(error) or 0.0
        except RqError as error:
            pause = pause_after(error)
            if pause is None:
                raise
            return pause
        except BaseException:
            moves.lose(move, until)
            raise
        finally:
            moves.end(move)
        return 0.0

    async def release(self, durability: Durability | None = None) -> int:
        """Gives back what no caller has seen, and burns the last get, which may still be under way."""
        member = self.member()
        inbox = member.session.inbox
        if not inbox.lane.sequence:
            return 0
        total, left = await self.settle_release()
        while left:
            moved, left = await self._begin_release(member, inbox.held, durability)
            total += moved
        return total

    async def surrender(self) -> int:
        """Gives back all that this consumer holds, in its order: what a caller has in hand, too.

        It waits for no replica: were it lost in a failover, a sweep would do it.
        """
        member = self.member()
        inbox = member.session.inbox
        if not inbox.lane.sequence:
            return 0
        total, left = await self.settle_release()
        inbox.forget()  # it is among what is held
        while left:
            moved, left = await self._begin_release(member, replace(inbox.held, kept=EVERYTHING), None)
            total += moved
        return total

    async def _begin_release(self, member: Member, held: Held, durability: Durability | None) -> tuple[int, int]:
        session = member.session
        lane, blocked = session.lease(), session.moves.count(time.monotonic())
        session.returning = Returning(lane, ops.release(member.keys, lane.next(), held, blocked), held.kept)
        return await self._give_back(member, durability)

    async def settle_release(self) -> tuple[int, int]:
        """Sends a release again whose outcome is not known: until it is, the inbox may hold what went back.

        To be called by who holds the lock around gets. Gives how many went back, and how many are left to (1 for no
        such release: it is not known).
        """
        member = self.member()
        if member.session.returning is None:
            return 0, 1
        return await self._give_back(member, None)

    async def _give_back(self, member: Member, durability: Durability | None) -> tuple[int, int]:
        session = member.session
        assert session.returning
        lane, call, kept = session.returning.lane, session.returning.call, session.returning.kept
        doubts = self.backend.doubts
        try:
            moved, left = await self._send(member, call, durability, [session.inbox.lane.last()])
        except NotEnoughSyncedSlavesError as error:
            # It took effect; sent once more it gives its answer again. Its lane stays as it is: the error may ask.
            finalize(error, session.free, [lane]).atexit = False
            moved, left = await self._send(member, call)
            session.inbox.forget(max(0, kept - left))
            session.returning = None
            raise
        session.inbox.forget(max(0, kept - left))
        session.returning = None
        if self.backend.doubts == doubts and member.doubts == doubts:
            session.free([lane])
        else:
            await self._burn(member, [lane])
        return moved, left

    async def close(self) -> None:
        """Gives back what no caller has seen, ends the session, and lets go of the backend if this object made it."""
        await self._leave(self.release)

    async def retire(self) -> int:
        """Closes, and gives back all that this consumer holds; gives how many."""
        return await self._leave(self.surrender)

    async def _leave(self, give_back: Callable[[], Awaitable[int]]) -> int:
        member, given = self.member(), 0
        if member.closed:
            return 0
        member.closed = True
        try:
            if member.checked:
                await self._end_waits(member)
                given = await give_back()
                # While a request may still be under way, its record must outlive it; it expires by itself.
                if member.session.at_rest() and member.doubts == self.backend.doubts:
                    await self.backend.run([session_ops.forget(member.keys)])
        finally:
            if self.owned:
                await self.backend.close()
        return given

    async def _end_waits(self, member: Member) -> None:
        """Ends the moves that are under way or lost, so that none brings something to a consumer that is gone."""
        moves = member.session.moves
        for _ in range(WAKE_TRIES):
            if not moves.count(time.monotonic()):
                return
            if await self.backend.wake():
                moves.settle()
            if not moves.under_way:
                return
            await asyncio.sleep(WAKE_EVERY)
