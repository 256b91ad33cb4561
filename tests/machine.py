"""A model of the queue in plain Python, and a state machine that holds the library against it.

Every rule has variants: the reply is lost and the call sent again; the reply is lost and the call given up, or its
caller cancelled; the request arrives only after that, or arrives once more later. The model says exactly what must be
where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from pyrq import Queue, aio
from pyrq.core.call import Call
from pyrq.core.limits import NO_LIMITS, Limits
from pyrq.core.waiting import NO_WAIT, Wait
from tests.lossy import (
    CALLERS,
    COMES_LATE,
    FAULTS,
    GIVES_UP,
    Fault,
    LossyMachine,
    Method,
    items_of,
    marked,
    texts,
)

ITEMS = st.runner().flatmap(lambda machine: st.lists(st.sampled_from(machine.letters), min_size=1, max_size=12))

FULL = "full"
"""What a refused add gives."""


@dataclass(eq=False)
class Consumer:
    """What the model knows of a consumer.

    Attributes:
        held: its processing list, oldest first.
        unseen: how many of the newest of these belong to a get that nobody received.
        inbox: what it received and did not return.
        hand: what its caller has in hand.
        changes: how many calls that change something it has sent.
        changed: the number of the last of these that arrived, or was burnt by a call behind it.
        gets: how many gets it has sent.
        asks: whether the get of now asks the server.
        open: the number of the first of these that may still take something; taking and burning move it on.

    What only the machines with a clock use:

        id: its client id.
        limits: its bounds.
        landed: its landing list, oldest first.
        stamp: its last contact.
        lease: its lease in seconds, and its tenure.
        answering: the tenure that the answer of the last get with items speaks of, and
        tenure: the one that it heard of last.
    """

    held: list[str] = field(default_factory=list)
    unseen: int = 0
    inbox: list[str] = field(default_factory=list)
    hand: list[str] = field(default_factory=list)
    changes: int = 0
    changed: int = 0
    gets: int = 0
    asks: bool = False
    open: int = 0
    id: str = ""
    limits: Limits = NO_LIMITS
    landed: list[str] = field(default_factory=list)
    stamp: float | None = None
    lease: tuple[float, int] | None = None
    answering: int = 0
    tenure: int = 0


@dataclass
class Late:
    """A request that is still under way.

    Attributes:
        calls: what it asks for.
        consumer: whose it is.
        effect: what it does to the model when it arrives in time; None if it has done its work before.
        number: its number among the consumer's gets, or calls that change something.
        gets: how many gets the consumer had sent, and
        changes: how many calls that change something, when it was sent.
        inbox: how many items waited in the consumer's inbox.
        is_get: whether it is a get.
        burns_get: whether it burns the consumer's last get.
        did: whether it did something when it was sent first, and was answered.
    """

    calls: list[Call[Any]]
    consumer: Consumer
    effect: Callable[[], object] | None
    number: int
    gets: int
    changes: int
    inbox: int
    is_get: bool
    burns_get: bool = False
    did: bool = False


class QueueMachine(LossyMachine):
    """Three consumers, two of them in the sync world and one in asyncio, on one queue."""

    classes: tuple[Callable[..., Any], Callable[..., Any]] = (Queue, aio.Queue)
    letters: Sequence[str] = marked("aabc")

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[str] = []
        self.who = [Consumer() for _ in range(3)]
        self.contacts: list[Consumer] = []
        self.late: list[Late] = []
        self.took = False
        """Whether the last get left a record: it took something, gave something again, or made its caller block."""

    def perform(
        self,
        who: int,
        kind: str,
        method: Method,
        args: tuple[Any, ...],
        effect: Callable[[], Any],
        *,
        is_get: bool = False,
        burns: bool = False,
    ) -> None:
        """Calls a method with a fault, and does to the model what the server must have done.

        `effect` gives the result that the method must give. `burns`: what was sent before is burnt before the call is
        sent, not in front of it.
        """
        consumer = self.who[who]
        fault = Fault(kind)
        consumer.changes += not is_get
        number = consumer.gets if is_get else consumer.changes
        result, unknown = self.attempt(who, fault, method, *args)
        late = Late(fault.late, consumer, effect, number, consumer.gets, consumer.changes, len(consumer.inbox), is_get)
        assert unknown == (fault.hit and fault.hides)
        if fault.hit and kind in COMES_LATE:
            self.late.append(late)
            if burns:
                consumer.changed = max(consumer.changed, number)
            return
        before, self.took = self._state(), False
        expected = effect()
        did = self.took if is_get else self._state() != before
        if not is_get:
            consumer.changed = max(consumer.changed, number)
        elif consumer.asks:
            consumer.changed = consumer.changes + 1
        if fault.hit and kind == "resend":
            # A call that was refused is burnt by the next one only; any other at once.
            self.late.append(replace(late, effect=effect if result == FULL else None, did=did))
        if fault.hit and fault.hides:
            self.late.append(replace(late, effect=None if did else effect, did=did))
        if not unknown:
            assert result == expected, (method, result, expected)

    # Rules

    @rule(who=CALLERS, items=ITEMS, fault=FAULTS)
    def add(self, who: int, items: list[str], fault: str) -> None:
        self.perform(who, fault, "add_items", (items,), lambda: self._join(items))

    @rule(who=CALLERS, count=st.integers(0, 7), fault=FAULTS)
    def get(self, who: int, count: int, fault: str) -> None:
        self.take(who, count, fault, "get_items", count)

    def take(self, who: int, count: int, fault: str, method: Method, *args: object, wait: Wait = NO_WAIT) -> None:
        """Gets items by some method."""
        consumer = self.who[who]
        asked = count - len(consumer.inbox)
        consumer.asks = asked > 0
        consumer.gets += consumer.asks
        number = consumer.gets

        def effect() -> list[str] | None:
            if asked > 0:
                size = self._take(consumer, asked, number, wait)
                if fault in GIVES_UP:
                    return None
                self._receive(consumer, size)
            return self._hand_out(consumer, count)

        self.perform(who, fault, method, args, effect, is_get=True)

    @rule(who=CALLERS, data=st.data(), fault=FAULTS)
    def ack(self, who: int, data: st.DataObject, fault: str) -> None:
        items, consumer = self._some(who, data), self.who[who]

        def effect() -> int:
            return len(self._remove(consumer, items))

        self.perform(who, fault, "ack_items", (items,), effect)

    @rule(who=CALLERS, data=st.data(), fault=FAULTS)
    def reject(self, who: int, data: st.DataObject, fault: str) -> None:
        items, consumer = self._some(who, data), self.who[who]

        def effect() -> int:
            found = self._remove(consumer, items)
            self._go_back(found)
            return len(found)

        self.perform(who, fault, "reject_items", (items,), effect)

    @rule(who=CALLERS, fault=FAULTS)
    def re_enqueue_all(self, who: int, fault: str) -> None:
        def effect() -> int:
            back: list[str] = []
            for other in self.contacts:
                back += self._sweep(other)
            return self._go_back(back)

        self.perform(who, fault, "re_enqueue_all_items", (), effect)
        self._forget_inbox(who, fault)

    @rule(who=CALLERS, fault=FAULTS)
    def drop_all(self, who: int, fault: str) -> None:
        self.perform(who, fault, "drop_all_items", (), lambda: sum(len(self._sweep(other)) for other in self.who))
        self._forget_inbox(who, fault)

    @rule(who=CALLERS, items=ITEMS, count=st.integers(0, 2), fault=FAULTS)
    def delete(self, who: int, items: list[str], count: int, fault: str) -> None:
        self.perform(who, fault, "delete_items", (items, count), lambda: self._delete(items, count))

    @rule(who=CALLERS, fault=FAULTS)
    def release(self, who: int, fault: str) -> None:
        self.give_back(who, fault, "release")

    def give_back(self, who: int, fault: str, method: Method, *, whole: bool = False) -> None:
        """Gives back what no caller has seen, or all that the consumer holds."""
        consumer = self.who[who]
        if not consumer.gets:
            assert self.call(who, method) == 0, "what never asked for anything has nothing to give back"
            return
        consumer.changes += 1
        late = Late([], consumer, None, consumer.changes, consumer.gets, consumer.changes, 0, False, True, did=True)
        armed = Fault(fault, late=late.calls)
        result, unknown = self.attempt(who, armed, method)
        assert unknown == (armed.hit and fault in GIVES_UP)
        if unknown:
            # Whether it took effect or not, asked again it does so once, and says what it gave back.
            result = self.call(who, method)
        assert result == self._release(consumer, whole)
        consumer.changed = max(consumer.changed, late.number)
        if late.calls:
            self.late.append(late)

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        """A request arrives late."""
        late = self.late.pop(data.draw(st.integers(0, len(self.late) - 1)))
        consumer = late.consumer
        overtaken = (consumer.open if late.is_get else consumer.changed) > late.number
        if not overtaken and late.effect is not None and late.inbox != len(consumer.inbox):
            return  # lost for good: what it hides has been handed out since
        if not overtaken and late.is_get and late.effect is None and not late.did:
            return  # lost for good: an empty get, sent twice, that may take something for the next get
        self.deliver(late.calls)
        if not overtaken and late.effect is not None:
            late.effect()
        # What was in front of it in its pipeline burnt what had been sent before it.
        consumer.changed = max(consumer.changed, late.changes + 1 if late.is_get else late.number)
        if late.burns_get:
            consumer.open = max(consumer.open, late.gets + 1)

    # The model

    def _state(self) -> object:
        """Gives a copy of what the server keeps."""
        return list(self.waiting), [list(consumer.held) for consumer in self.who]

    def _take(self, consumer: Consumer, asked: int, number: int, wait: Wait) -> int:
        """What the server does for a get: gives how many items the answer holds."""
        fresh = max(0, asked - consumer.unseen)
        taken, self.waiting = self.waiting[:fresh], self.waiting[fresh:]
        self._leave(taken)
        consumer.held += taken
        self.took = bool(consumer.unseen or taken)
        if self.took:
            consumer.open = max(consumer.open, number)
            self._contact(consumer)
        consumer.unseen += len(taken)
        return consumer.unseen

    def _receive(self, consumer: Consumer, size: int) -> None:
        """An answer arrives: the newest items that are held."""
        consumer.inbox += consumer.held[len(consumer.held) - size :]
        consumer.unseen = 0

    def _hand_out(self, consumer: Consumer, count: int) -> list[str]:
        out, consumer.inbox = consumer.inbox[:count], consumer.inbox[count:]
        consumer.hand += out
        return out

    def _release(self, consumer: Consumer, whole: bool) -> int:
        """Puts back what no caller has seen, or all; gives how many went back."""
        size = len(consumer.held)
        if not whole:
            size = min(consumer.unseen + len(consumer.inbox), size)
        back = consumer.held[len(consumer.held) - size :]
        del consumer.held[len(consumer.held) - size :]
        consumer.unseen, consumer.inbox = 0, []
        consumer.open = max(consumer.open, consumer.gets + 1)
        return self._go_back(back)

    def _join(self, items: list[str]) -> int:
        """Puts items at the end; gives how many joined."""
        self.waiting += items
        return len(items)

    def _leave(self, items: list[str]) -> None:
        """Takes note that items do not wait any more."""

    def _go_back(self, items: list[str]) -> int:
        """Puts items that were held in front; gives how many went back."""
        self.waiting = items + self.waiting
        return len(items)

    def _delete(self, items: list[str], count: int) -> int:
        """Removes the newest copies, so many of each item, or all (0); gives how many."""
        before = len(self.waiting)
        for item in items:
            for _ in range(count or before):
                if item not in self.waiting:
                    break
                del self.waiting[len(self.waiting) - 1 - self.waiting[::-1].index(item)]
        return before - len(self.waiting)

    def _forget_inbox(self, who: int, fault: str) -> None:
        """What was swept by its own consumer is not handed out any more, if the consumer knows that it was."""
        if fault not in GIVES_UP:
            self.who[who].inbox = []

    def _some(self, who: int, data: st.DataObject) -> list[str]:
        """Items of the caller's hand, in any order, and perhaps one that it does not have."""
        hand = self.who[who].hand
        picked = data.draw(st.lists(st.sampled_from(hand), max_size=12)) if hand else []
        other = st.sampled_from([*self.letters, *marked("x")])
        extra = data.draw(st.lists(other, max_size=1 if picked else 2, min_size=0 if picked else 1))
        return data.draw(st.permutations(picked + extra))

    def _remove(self, consumer: Consumer, items: list[str]) -> list[str]:
        reach = max(0, len(consumer.held) - consumer.unseen - len(consumer.inbox))
        open_, rest = consumer.held[:reach], consumer.held[reach:]
        found = []
        for item in items:
            if item in open_:
                open_.remove(item)
                found.append(item)
            if item in consumer.hand:
                consumer.hand.remove(item)
        consumer.held = open_ + rest
        return found

    def _sweep(self, consumer: Consumer) -> list[str]:
        back, consumer.held, consumer.unseen = consumer.held, [], 0
        return back

    def _contact(self, consumer: Consumer) -> None:
        if consumer in self.contacts:
            self.contacts.remove(consumer)
        self.contacts.append(consumer)

    # What must hold

    @invariant()
    def everything_is_where_it_must_be(self) -> None:
        keys = [self.name, *(one.processing_queue_name for one in self.objects)]
        waiting, *held = map(texts, self.read(*map(items_of, keys)))
        assert waiting == self.waiting
        assert held == [one.held for one in self.who]

    def _list(self, key: str) -> list[str]:
        return texts(cast(list[bytes], self.look.lrange(key, 0, -1)))

    def drain(self) -> None:
        """What is held can be had and acknowledged."""
        for who in range(3):
            while taken := self.call(who, "get_items", 100):
                self.call(who, "ack_items", taken)
        for who in range(3):
            assert self.call(who, "ack_items", self.who[who].held) <= len(self.who[who].held)
        self.call(0, "re_enqueue_all_items")
        while taken := self.call(0, "get_items", 100):
            assert self.call(0, "ack_items", taken) == len(taken)
