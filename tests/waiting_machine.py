"""A model of all that a queue does besides: waiting, delays, leases, retries, dead letters, bounds, pauses, crashes.

Time is the model's: scripts and clients see a clock that moves when a rule says so, on every server. A blocking move is
taken apart: its get, the moment at which the server moves an item, and its answer are steps of their own, between which
anything may happen. What the queue must keep is known exactly, and each item is counted: it is in one place, or it is
done with.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from pyrq.core import ops
from pyrq.core.errors import OutcomeUnknown
from pyrq.core.waiting import LATEST_START, LOST_FOR, NO_WAIT, Wait
from tests.lossy import CALLERS, COMES_LATE, FAULTS, GIVES_UP, Fault, Method, marked
from tests.machine import FULL, Consumer, Late
from tests.unique_machine import UniqueMachine
from tests.waiting_model import BROKEN, STEPS, Move, WaitingModel

ITEMS = st.runner().flatmap(lambda machine: st.lists(st.sampled_from(machine.letters), min_size=1, max_size=4))
LEASES = st.sampled_from([None, 10.0, 10.0, 30.0])
SLICES = st.sampled_from([1, 800, 3000])
TIMEOUTS = st.sampled_from([None, None, 0, 5, 20, 7200])
MOST_CONSUMERS = 7


def _retrying(raw: list[bytes], tenure: int) -> Method:
    """What a consumer does with items whose handler failed."""
    return lambda queue: queue._run.change(
        lambda keys, identity, held: ops.retry(
            keys, identity, replace(held, tenure=tenure), raw, BROKEN, STEPS, queue._setup.limits
        )
    )


def _acking(raw: list[bytes], tenure: int) -> Method:
    """What a consumer does with items that are done with."""
    return lambda queue: queue._run.change(
        lambda keys, identity, held: ops.ack(keys, identity, replace(held, tenure=tenure), raw)
    )


def _burying(raw: list[bytes], tenure: int) -> Method:
    """What a consumer does with items that are of no use."""
    return lambda queue: queue._run.change(
        lambda keys, identity, held: ops.bury(
            keys, identity, replace(held, tenure=tenure), raw, BROKEN, queue._setup.limits
        )
    )


def _beating(lease: float) -> Method:
    """What a consumer does while it works."""
    return lambda queue: queue._run.hand_out(lambda keys, identity, _: ops.beat(keys, identity, lease))


class WaitingMachine(WaitingModel):
    """Consumers that wait, fail, fall silent and are replaced."""

    # Rules: adding, and the time

    @rule(who=CALLERS, items=ITEMS, fault=FAULTS)
    def add(self, who: int, items: list[str], fault: str) -> None:
        consumer = self.who[who]

        def effect() -> int | str:
            if not self._has_room(consumer, self._count_new(items)):
                return FULL
            return self._join_counted(items)

        self.perform(who, fault, "add_items", (items,), effect)

    @rule(who=CALLERS, items=ITEMS, delay=st.sampled_from([1, 1, 4, 60]), fault=FAULTS)
    def put_off(self, who: int, items: list[str], delay: int, fault: str) -> None:
        consumer = self.who[who]

        def effect() -> int | str:
            if not self._has_room(consumer, len(items)):
                return FULL
            self._put_off(items, [delay] * len(items))
            self.balance.update(items)
            return len(items)

        self.perform(who, fault, "add_items", (items, delay), effect)

    @rule(items=ITEMS)
    def push(self, items: list[str]) -> None:
        """A producer that knows only commands."""
        self._push(items)

    @rule(seconds=st.sampled_from([1, 1, 2, 4, 11, 40]))
    def time_passes(self, seconds: int) -> None:
        self.clock.seconds += seconds

    @rule(who=CALLERS, stop=st.booleans(), fault=FAULTS)
    def pause(self, who: int, stop: bool, fault: str) -> None:
        def effect() -> bool:
            changed = self.paused is not stop
            self.paused = stop
            return changed

        self.perform(who, fault, "pause" if stop else "resume", (), effect)

    # Rules: waiting

    @rule(who=CALLERS, slice_ms=SLICES, lease=LEASES, fault=FAULTS)
    def wait_for_nothing(self, who: int, slice_ms: int, lease: float | None, fault: str) -> None:
        self.get(who, 100, "none")
        self.begin_to_wait(who, 3, slice_ms, lease, fault)

    @rule(who=CALLERS, count=st.integers(1, 5), slice_ms=SLICES, lease=LEASES, fault=FAULTS)
    def begin_to_wait(self, who: int, count: int, slice_ms: int, lease: float | None, fault: str) -> None:
        consumer = self.who[who]
        asked, asks = self.clock.now(), count > len(consumer.inbox)
        self.handed.clear()
        wait = Wait(lease, slice_ms)
        # Who has something in hand does not block.
        modelled = Wait(lease) if consumer.inbox else wait
        self.take(who, count, fault, lambda queue: queue._hand_out(count, wait), wait=modelled)
        if not self.handed:
            return
        handed = self.handed.pop()
        found = handed.found
        # What is sent again is not told again to block.
        again = fault == "resend" or "get" in self.backends[who].early
        told = self.block if asks and not handed.values and not (again and self.took) else 0
        assert (found.block, found.nap) == (max(0, told) / 1000, max(0, -told) / 1000)
        assert bool(handed.move) is (found.block > 0)
        if found.sweep and handed.move:
            self.objects[who]._run.member().session.moves.end(handed.move)
        elif handed.move:
            self.moves.append(Move(consumer, handed.move, found.block, asked))

    @rule(who=CALLERS, which=st.integers(0, 3))
    def land(self, who: int, which: int) -> None:
        """The server moves an item to one that waits, or whose answer is going to be lost."""
        if not self._can_land():
            self.get(who, 100, "none")
            self.begin_to_wait(who, 1, 3000, None, "none")
            self._push(marked("a"))
        if able := self._can_land():
            self._land(able[which % len(able)])

    @precondition(lambda self: any(move.token for move in self.moves))
    @rule(data=st.data(), end=st.sampled_from(["moved", "moved", "empty", "lost", "cancelled", "unsent"]))
    def end_to_wait(self, data: st.DataObject, end: str) -> None:
        self._end_to_wait(data.draw(st.sampled_from([move for move in self.moves if move.token])), end)

    def _end_to_wait(self, move: Move, end: str) -> None:
        who = self.who.index(move.consumer)
        now = self.clock.now()
        unsent = end == "unsent" and not move.landed and now - move.asked >= LATEST_START
        self.clock.shown = None if unsent else move.asked

        def answer() -> bool | None:
            assert not unsent, "a move that begins late must not begin"
            self.clock.shown = None
            if end == "moved" and move in self._can_land():
                self._land(move)
            if end == "lost":
                raise OutcomeUnknown
            return None if end == "cancelled" else move.landed

        self.backends[who].answer_move = answer
        pause = None
        with contextlib.suppress(self.cancellation(who)):
            pause = self.call(who, lambda queue: queue._run.block(move.token, move.block, move.asked))
        assert pause == {"lost": LOST_FOR, "cancelled": None}.get(end, 0)
        move.token = None
        if end not in ("lost", "cancelled") or move.landed:
            self.moves.remove(move)

    def _wake(self, who: int, settles: bool) -> bool:
        """All moves of a consumer are answered: some other threads of it wait for them. Lost ones may be over, too."""
        for move in [move for move in self.moves if move.consumer is self.who[who] and (move.token or settles)]:
            self.objects[who]._run.member().session.moves.end(move.token)
            self.moves.remove(move)
        return settles

    def _can_land(self) -> list[Move]:
        now = self.clock.now()
        return [move for move in self.moves if self.waiting and not move.landed and now < move.until]

    def _land(self, move: Move) -> None:
        moved = self.look.lmove(self.name, f"{self.name}/landing/{move.consumer.id}", "RIGHT", "LEFT")
        assert moved == self.waiting[0].encode()
        move.consumer.landed.append(self.waiting.pop(0))
        move.landed = True

    # Rules: settling

    @rule(who=CALLERS, data=st.data(), count=st.integers(1, 4), fault=FAULTS)
    def ack_and_get(self, who: int, data: st.DataObject, count: int, fault: str) -> None:
        items, consumer = self._some(who, data), self.who[who]
        consumer.changes += 1
        consumer.gets += 1
        number, asked = consumer.gets, max(0, count - len(consumer.inbox))
        armed = Fault(fault)
        result, unknown = self.attempt(who, armed, "ack_and_get", items, count)
        assert armed.hit == (fault != "none")
        assert unknown == (fault in GIVES_UP)

        def ack() -> object:
            return self._ack(consumer, items, 0)

        def get() -> object:
            return self._take(consumer, asked, number, NO_WAIT)

        # The two arrive late one by one, which is harder than together. What they burn goes with the ack.
        acks = Late(armed.late[:-1], consumer, ack, consumer.changes, 0, consumer.changes, len(consumer.inbox), False)
        gets = Late(armed.late[-1:], consumer, get, number, number, -1, len(consumer.inbox), True)
        if fault not in COMES_LATE:
            # Where the server lacked the script of the first, the other ran before it.
            early = self.backends[who].early
            overtakes = "get" in early and "ack" not in early
            size = self._take(consumer, asked, number, NO_WAIT) if overtakes else 0
            gets.did = overtakes and self.took
            before = self._state()
            ack()
            acks.did = self._state() != before
            consumer.changed = max(consumer.changed, consumer.changes)
            if not gets.did:
                size = self._take(consumer, asked, number, NO_WAIT)
                gets.did = self.took
            for late in (acks, gets):
                late.effect = None if late.did or fault == "resend" else late.effect
            if not unknown:
                self._receive(consumer, size)
                assert result == self._hand_out(consumer, count)
        if armed.hit:
            self.late += [acks, gets]

    def ack(self, who: int, data: st.DataObject, fault: str) -> None:
        """See `settle`."""

    def reject(self, who: int, data: st.DataObject, fault: str) -> None:
        """See `settle`."""

    @rule(
        who=CALLERS,
        data=st.data(),
        verb=st.sampled_from(["ack", "reject", "retry", "bury"]),
        which=st.sampled_from(["any", "this", "this", "other"]),
        fault=FAULTS,
    )
    def settle(self, who: int, data: st.DataObject, verb: str, which: str, fault: str) -> None:
        """Items are settled, as of some tenure: any, that of the last batch, or one that never was."""
        if not self.who[who].hand:
            self._push(marked("ab"))
            self.get(who, 3, "none")
        items, consumer = self._some(who, data), self.who[who]
        assert self.objects[who]._run.member().session.inbox.tenure == consumer.tenure
        raw = [item.encode() for item in items]
        tenure = {"any": 0, "this": consumer.tenure, "other": 10**6}[which]
        if verb == "ack":
            self.perform(who, fault, _acking(raw, tenure), (), lambda: self._ack(consumer, items, tenure))
        elif verb == "reject":
            self.perform(who, fault, "reject_items", (items,), lambda: self._reject(consumer, items))
        elif verb == "retry":
            self.perform(who, fault, _retrying(raw, tenure), (), lambda: self._retry(consumer, items, tenure))
        else:
            self.perform(who, fault, _burying(raw, tenure), (), lambda: self._bury(consumer, items, tenure))

    @rule(who=CALLERS, data=st.data(), fault=FAULTS)
    def fail_again(self, who: int, data: st.DataObject, fault: str) -> None:
        """Handlers fail, and what they failed with has failed before."""
        self.settle(who, data, "retry", "this", "none")
        self.time_passes(7)
        self.settle(who, data, "retry", "any", fault)

    @rule(who=CALLERS, fault=FAULTS)
    def give_all_back(self, who: int, fault: str) -> None:
        """As a consumer does at its end."""
        self.give_back(who, fault, lambda queue: queue._run.surrender(), whole=True)

    @rule(who=CALLERS, items=ITEMS, count=st.integers(0, 2), fault=FAULTS)
    def delete(self, who: int, items: list[str], count: int, fault: str) -> None:
        self.perform(who, fault, "delete_items", (items, count), lambda: self._delete(items, count))

    # Rules: dead letters

    @rule(who=CALLERS, count=st.integers(1, 4), fault=FAULTS)
    def redrive(self, who: int, count: int, fault: str) -> None:
        def effect() -> int:
            letters, self.dead = self.dead[:count], self.dead[count:]
            self._join_late([letter[0] for letter in letters])
            return len(letters)

        self.perform(who, fault, lambda queue: queue.dead.redrive(count), (), effect)

    @rule(who=CALLERS, fault=FAULTS)
    def purge(self, who: int, fault: str) -> None:
        def effect() -> int:
            letters, self.dead = self.dead, []
            self.balance.subtract(letter[0] for letter in letters)
            return len(letters)

        self.perform(who, fault, lambda queue: queue.dead.purge(), (), effect)

    # Rules: leases, sweeps, crashes

    @rule(who=CALLERS, lease=st.sampled_from([10.0, 30.0]), fault=FAULTS)
    def beat(self, who: int, lease: float, fault: str) -> None:
        consumer = self.who[who]
        if consumer.lease is None:
            self._push(marked("b"))
            self.begin_to_wait(who, 1, 1, lease, "none")

        def effect() -> tuple[int, int]:
            if not consumer.lease:
                return 0, 0
            consumer.stamp = self.clock.now()
            return consumer.lease[1], int(self._claim_sweep(lease))

        self.perform(who, fault, _beating(lease), (), effect, burns=True)

    def re_enqueue_all(self, who: int, fault: str) -> None:
        """See `sweep`."""

    def drop_all(self, who: int, fault: str) -> None:
        """See `sweep`."""

    @rule(who=CALLERS, timeout=TIMEOUTS, drop=st.sampled_from([False, False, False, True]), fault=FAULTS)
    def sweep(self, who: int, timeout: float | None, drop: bool, fault: str) -> None:
        consumer, verb = self.who[who], "drop" if drop else "re_enqueue"
        method, args = (f"{verb}_all_items", ()) if timeout is None else (f"{verb}_timeout_items", (timeout,))
        self.perform(who, fault, method, args, lambda: self._sweep_silent(consumer, timeout, drop))
        if timeout is None:
            self._forget_inbox(who, fault)

    @precondition(lambda self: len(self.who) < MOST_CONSUMERS)
    @rule(who=CALLERS, closes=st.booleans(), settles=st.booleans(), fault=FAULTS)
    def leave(self, who: int, closes: bool, settles: bool, fault: str) -> None:
        """A consumer closes, or crashes; another one takes its place."""
        consumer = self.who[who]
        if closes:
            self._close(who, settles, fault)
        for move in self.moves:
            if move.consumer is consumer:
                move.token = None
        self.who.append(consumer)
        self.objects.append(self.objects[who])
        self.backends.append(self.backends[who])
        self.who[who] = Consumer()
        self.backends[who] = self.connect(who)
        self.objects[who] = self.open(who)

    def _close(self, who: int, settles: bool, fault: str) -> None:
        consumer = self.who[who]
        consumer.changes += 1
        number, armed = consumer.changes, Fault(fault)
        self.backends[who].answer_wake = lambda: self._wake(who, settles)
        _, unknown = self.attempt(who, armed, "close")
        assert unknown == (armed.hit and armed.hides)
        if not consumer.gets:
            return  # it had nothing to give back
        late = Late(
            armed.late,
            consumer,
            lambda: self._release(consumer, False),
            number,
            consumer.gets,
            number,
            len(consumer.inbox),
            False,
            burns_get=True,
        )
        if not (armed.hit and fault in COMES_LATE):
            before = self._state()
            self._release(consumer, False)
            did = self._state() != before
            consumer.changed = max(consumer.changed, number)
            late = replace(late, effect=None if did or fault == "resend" else late.effect, inbox=0, did=did)
        if armed.hit:
            self.late.append(late)

    def _push(self, items: list[str]) -> None:
        self.look.lpush(self.name, *items)
        self._join_counted(items)

    def drain(self) -> None:
        """Whatever is put off, lost or dead can be had or removed."""
        for move in [move for move in self.moves if move.token]:
            self._end_to_wait(move, "empty")
        self.late = []
        self.clock.seconds += 86_400
        self._before()
        self.call(0, "resume")
        self.call(1, lambda queue: queue.dead.purge())
        super().drain()
        self.call(2, lambda queue: queue.dead.purge())
        self.call(0, "re_enqueue_all_items")
        while taken := self.call(1, "get_items", 100):
            assert self.call(1, "ack_items", taken) == len(taken)
        for who in range(3):
            self.call(who, "release")


class WaitingUniqueMachine(WaitingMachine, UniqueMachine):
    """The same with unique items: what has landed still waits."""

    def _count_new(self, items: list[str]) -> int:
        return len(self._strangers(items))

    def _push(self, items: list[str]) -> None:
        """As the older library does it."""
        if new := self._strangers(items):
            self.look.lpush(self.name, *new)
            self.look.sadd(f"{self.name}-unique", *new)
            self._join_counted(new)

    def _delete(self, items: list[str], count: int) -> int:
        landed = [item for one in self.who for item in one.landed if item in items]
        for one in self.who:
            one.landed = [item for item in one.landed if item not in items]
        self.balance.subtract(landed)
        removed = super()._delete(items, 0)
        if landed:
            self._forget_counts(items)
        return removed + len(landed)

    def _repair(self) -> int:
        landed = {item for one in self.who for item in one.landed}
        changed = self.members ^ (set(self.waiting) | landed)
        self.members ^= changed
        return len(changed)

    def _minutes_since(self, first: int) -> int:
        return int(self.clock.now()) // 60 - first

    @invariant()
    def set_and_list_agree(self) -> None:
        waiting = self.waiting + [item for one in self.who for item in one.landed]
        assert len(set(waiting)) == len(waiting)
        assert self.members == set(waiting)
