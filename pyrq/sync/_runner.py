"""Runs the calls of one facade object: checks once what the server allows, leases lanes, burns doubtful ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from weakref import finalize

from pyrq.backends import Backend, connect
from pyrq.backends.identity import client_id, process_id
from pyrq.core import ops
from pyrq.core.call import Call
from pyrq.core.errors import NotEnoughSyncedSlavesError, OutcomeUnknown, RqError
from pyrq.core.keys import Keys
from pyrq.core.member import Member, Setup
from pyrq.core.options import Durability, check_wait_fits
from pyrq.core.session import EVERYTHING, Held, Identity, Inbox, Lane, session_ttl
from pyrq.core.waiting import LATEST_START, NO_WAIT, WAKE_EVERY, WAKE_TRIES, Found, Patience, Wait, pause_after
from pyrq.core.work import Work

__all__ = ["Runner"]

R = TypeVar("R")

Builder = Callable[[Keys, Identity, Held], Call[R]]


class Runner:
    """What a facade's methods are written with. Threads share it."""

    def __init__(self, setup: Setup[Any], redis: object, retry: float | None) -> None:
        """Connects; sends nothing yet.

        Args:
            setup: the checked options.
            redis: a client, a pool, a URL, a backend or None.
            retry: for how many seconds a call is retried.

        Raises:
            TypeError: redis is none of these.
            ValueError: a wrong URL, or a wait that is longer than the socket timeout.
        """
        self.setup = setup
        self.backend: Backend = connect(redis, retry=retry)
        self.owned = self.backend is not redis
        try:
            check_wait_fits(setup.durability, self.backend.reply_timeout)
        except ValueError:
            if self.owned:
                self.backend.close()
            raise
        self._places: dict[int, tuple[Member, threading.Lock]] = {}
        self._place()

    def _place(self) -> tuple[Member, threading.Lock]:
        process = process_id()
        place = self._places.get(process)
        # setdefault is one step: threads of a fork that come in together get the same.
        return place if place else self._places.setdefault(process, self._join())

    def _join(self) -> tuple[Member, threading.Lock]:
        keys = Keys.of(self.setup.name, client_id(self.setup.label), self.setup.kind)
        member = Member(keys, session_ttl(self.backend.deadline), self.backend.doubts)
        member.closed = any(other.closed for other, _ in self._places.values())
        return member, threading.Lock()

    @property
    def get_lock(self) -> threading.Lock:
        """What one get at a time holds, in this process."""
        return self._place()[1]

    def member(self) -> Member:
        """Gives who this object is in this process."""
        return self._place()[0]

    def ready(self) -> Member:
        """Gives who this object is, after checking once that the server allows what is needed.

        Raises:
            QueueClosedError: it is closed.
            RqError: the server is too old, gone, or does not allow it.
        """
        member = self.member()
        member.check_open()
        if not member.checked:
            self.backend.run([member.probe()])
            member.checked = True
        return member

    def look(self, build: Callable[[Keys], Call[R]]) -> R:
        """Runs a call that changes nothing."""
        result: R = self.backend.run([build(self.ready().keys)])[0]
        return result

    def change(self, build: Builder[R]) -> R:
        """Runs one call that changes something, and waits for what the durability asks for."""
        return self._change(build, self.setup.durability)

    def hand_out(self, build: Builder[R]) -> R:
        """Runs one call whose answer must not be lost: it waits for nothing, and what is to be burnt is burnt before.

        Were a burn in front of it, a server that lacks that script would have both sent again, and hand out twice.
        """
        member = self.ready()
        if doubtful := member.session.doubtful():
            self._burn(member, doubtful)
        return self._change(build, None)

    def insist(self, build: Builder[R], goes_on: Callable[[RqError], bool]) -> R:
        """Runs one call that changes something; after a failure it sends the very same again, if that is wished.

        So it takes effect once, whatever became of its earlier sendings.

        Args:
            build: makes the call.
            goes_on: is told of each failure, and says whether to send it again.
        """
        member = self.ready()

        def send(lane: Lane) -> R:
            identity = lane.next()
            while True:
                # What is kept may change meanwhile; the server goes by the identity.
                call = build(member.keys, identity, member.session.inbox.held)
                try:
                    return self._send(member, call, self.setup.durability)
                except RqError as error:
                    if isinstance(error, NotEnoughSyncedSlavesError) or not goes_on(error):
                        raise

        return self._on_lane(member, send)

    def _change(self, build: Builder[R], durability: Durability | None) -> R:
        member = self.ready()
        held = member.session.inbox.held
        return self._on_lane(member, lambda lane: self._send(member, build(member.keys, lane.next(), held), durability))

    def _on_lane(self, member: Member, use: Callable[[Lane], R]) -> R:
        """Leases a lane to a call, and takes it back by how the call ended."""
        session = member.session
        lane = session.lease()
        doubts = self.backend.doubts
        try:
            result = use(lane)
        except NotEnoughSyncedSlavesError as error:
            # While the error may still ask, no later call may overwrite the lane's record.
            finalize(error, session.free, [lane]).atexit = False
            raise
        except BaseException as error:
            # A refusal is an answer, where nothing was sent more than once.
            refused = isinstance(error, RqError) and not isinstance(error, OutcomeUnknown)
            (session.free if refused and self.backend.doubts == doubts else session.doubt)([lane])
            raise
        if self.backend.doubts == doubts:
            session.free([lane])
        else:
            self._burn(member, [lane])
        return result

    def _send(
        self, member: Member, call: Call[R], durability: Durability | None = None, burn: Sequence[Identity] = ()
    ) -> R:
        """Runs a call, and in front of it burns what may still be under way."""
        result: R = (self._send_all(member, [call], durability, burn))[-1]
        return result

    def _send_all(
        self,
        member: Member,
        calls: Sequence[Call[Any]],
        durability: Durability | None = None,
        burn: Sequence[Identity] = (),
    ) -> list[Any]:
        session = member.session
        doubtful = session.doubtful()
        lasts = [*burn, *(lane.last() for lane in doubtful)]
        burns: list[Call[Any]] = [ops.burn(member.keys, lasts)] if lasts else []
        try:
            results = self.backend.run([*burns, *calls], durability)
        except BaseException as error:
            done = isinstance(error, NotEnoughSyncedSlavesError)
            (session.free if done else session.doubt)(doubtful)
            raise
        session.free(doubtful)
        return results

    def _burn(self, member: Member, lanes: Sequence[Lane]) -> None:
        """Burns what may still be under way, so that it can't run late; if that fails, the next call tries again."""
        try:
            self.backend.run([ops.burn(member.keys, [lane.last() for lane in lanes])])
        except BaseException as error:
            member.session.doubt(lanes)
            if not isinstance(error, RqError):
                raise
            return
        member.session.free(lanes)

    def change_all(self, work: Work, build: Callable[[list[bytes]], Builder[int]]) -> int:
        """Runs a call in chunks, one after another, and gives the sum of what they gave."""
        self.member().check_open()
        for chunk in work.chunks():
            try:
                work.done += self._settle(build(chunk))
            except RqError as error:
                work.failed(error, len(chunk))
                raise
        return work.done

    def _settle(self, build: Builder[R]) -> R:
        """Runs a call about what the caller has in hand.

        It hides what waits in the inbox from the server's search. Were that handed out and acknowledged while the call
        is under way, it would hide what the call is about; so while something waits there, hand-outs wait for the call.
        """
        held = self.member().session.inbox.held
        if not held.kept:
            return self.change(lambda keys, identity, _: build(keys, identity, held))
        with self.get_lock:
            self.settle_release()
            return self.change(build)

    def repeat(self, build: Builder[tuple[int, int]]) -> int:
        """Runs a call again and again until it says that nothing is left, and gives the sum."""
        total = 0
        while True:
            try:
                moved, left = self.change(build)
            except RqError as error:
                error.done += total
                raise
            total += moved
            if not left:
                return total

    def take(self, count: int, wait: Wait = NO_WAIT) -> Found:
        """Brings items into the inbox until it has enough or nothing waits; gives the oldest, still in the inbox."""
        member, inbox = self._open_inbox()
        blocked = member.session.moves.count(time.monotonic())
        if blocked:
            wait = replace(wait, blocked=blocked)
        if inbox:
            wait = replace(wait, slice_ms=0)
        found = Found([], inbox.tenure, False, 0.0, 0.0)
        while len(inbox) < count:
            asked = min(count - len(inbox), ops.CHUNK)
            identity = inbox.lane.next()
            found = self._send(member, ops.get(member.keys, identity, inbox.held, asked, wait))
            if found.items:
                inbox.arrived(identity, found)
                wait = replace(wait, slice_ms=0)
            if len(found.items) < asked:
                break
        return replace(found, items=inbox.peek(count))

    def ack_and_take(self, acked: Sequence[bytes], count: int) -> tuple[int, Found, bool]:
        """Acknowledges up to 1,000 items and takes up to 1,000, in one round trip.

        Returns:
            How many were acknowledged; what is there now, up to `count`; and whether `take` may find more of these.
        """
        member, inbox = self._open_inbox()
        keys, held = member.keys, inbox.held
        identity = inbox.lane.next()
        asked = min(max(0, count - len(inbox)), ops.CHUNK)
        wait = replace(NO_WAIT, blocked=member.session.moves.count(time.monotonic()))
        get = ops.get(keys, identity, held, asked, wait)

        def send(lane: Lane) -> tuple[int, Found]:
            calls = [ops.ack(keys, lane.next(), held, acked), get]
            *_, many, found = self._send_all(member, calls, self.setup.durability)
            return many, found

        many, found = self._on_lane(member, send)
        if found.items:
            inbox.arrived(identity, found)
        return many, replace(found, items=inbox.peek(count)), len(found.items) == asked

    def _open_inbox(self) -> tuple[Member, Inbox]:
        """Gives the inbox, after whatever an earlier call left unsettled."""
        member = self.ready()
        self.settle_release()
        member.session.inbox.resume()
        return member, member.session.inbox

    # Waiting

    def patience(self, timeout: float, lease: float | None) -> Patience:
        """Begins to wait for some seconds."""
        return Patience(timeout, time.monotonic(), self.backend.reply_timeout, lease)

    def block(self, move: object, seconds: float, asked: float) -> float:
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
                self.backend.move(member.keys.queue, member.keys.landing, seconds)
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

    def release(self, durability: Durability | None = None) -> int:
        """Gives back what no caller has seen, and burns the last get, which may still be under way."""
        member = self.member()
        inbox = member.session.inbox
        if not inbox.lane.sequence:
            return 0
        total, left = self.settle_release()
        while left:
            moved, left = self._begin_release(member, inbox.held, durability)
            total += moved
        return total

    def surrender(self) -> int:
        """Gives back all that this consumer holds, in its order: what a caller has in hand, too.

        It waits for no replica: were it lost in a failover, a sweep would do it.
        """
        member = self.member()
        inbox = member.session.inbox
        if not inbox.lane.sequence:
            return 0
        total, left = self.settle_release()
        inbox.keep(0)  # it is among what is held
        while left:
            moved, left = self._begin_release(member, replace(inbox.held, kept=EVERYTHING), None)
            total += moved
        return total

    def _begin_release(self, member: Member, held: Held, durability: Durability | None) -> tuple[int, int]:
        session = member.session
        lane, blocked = session.lease(), session.moves.count(time.monotonic())
        session.returning = lane, ops.release(member.keys, lane.next(), held, blocked)
        return self._give_back(member, durability)

    def settle_release(self) -> tuple[int, int]:
        """Sends a release again whose outcome is not known: until it is, the inbox may hold what went back.

        To be called by who holds the lock around gets. Gives how many went back, and how many are left to (1 for no
        such release: it is not known).
        """
        member = self.member()
        if member.session.returning is None:
            return 0, 1
        return self._give_back(member, None)

    def _give_back(self, member: Member, durability: Durability | None) -> tuple[int, int]:
        session = member.session
        assert session.returning
        lane, call = session.returning
        doubts = self.backend.doubts
        try:
            moved, left = self._send(member, call, durability, [session.inbox.lane.last()])
        except NotEnoughSyncedSlavesError as error:
            # It took effect; sent once more it gives its answer again. Its lane stays as it is: the error may ask.
            finalize(error, session.free, [lane]).atexit = False
            moved, left = self._send(member, call)
            session.inbox.keep(left)
            session.returning = None
            raise
        session.inbox.keep(left)
        session.returning = None
        if self.backend.doubts == doubts and member.doubts == doubts:
            session.free([lane])
        else:
            self._burn(member, [lane])
        return moved, left

    def close(self) -> None:
        """Gives back what no caller has seen, ends the session, and lets go of the backend if this object made it."""
        self._leave(self.release)

    def retire(self) -> int:
        """Closes, and gives back all that this consumer holds; gives how many."""
        return self._leave(self.surrender)

    def _leave(self, give_back: Callable[[], int]) -> int:
        member, given = self.member(), 0
        if member.closed:
            return 0
        member.closed = True
        try:
            if member.checked:
                self._end_waits(member)
                given = give_back()
                # While a request may still be under way, its record must outlive it; it expires by itself.
                if member.session.at_rest() and member.doubts == self.backend.doubts:
                    self.backend.run([ops.forget(member.keys)])
        finally:
            if self.owned:
                self.backend.close()
        return given

    def _end_waits(self, member: Member) -> None:
        """Ends the moves that are under way or lost, so that none brings something to a consumer that is gone."""
        moves = member.session.moves
        for _ in range(WAKE_TRIES):
            if not moves.count(time.monotonic()):
                return
            if self.backend.wake():
                moves.settle()
            if not moves.under_way:
                return
            time.sleep(WAKE_EVERY)
