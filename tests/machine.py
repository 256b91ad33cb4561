"""A model of the queue in plain Python, and a state machine that holds the library against it.

Every rule has variants: the reply is lost and the call sent again; the reply is lost and the call given up; the request
arrives only after its caller gave up, or arrives once more later. The model says exactly what must be where.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pyrq import Queue, aio
from pyrq.backends import AsyncBackend, Backend, connect, connect_async
from pyrq.core.call import Call
from pyrq.core.errors import OutcomeUnknown
from pyrq.core.options import Durability

FAULTS = st.sampled_from(["none", "none", "none", "resend", "abandon", "late"])
ITEMS = st.lists(st.sampled_from("aabc"), min_size=1, max_size=12)
CONSUMERS = st.integers(0, 2)


@dataclass
class Fault:
    """What happens to the next run."""

    kind: str = "none"
    hit: bool = False
    late: list[Call[Any]] = field(default_factory=list)

    def strike(self, calls: Sequence[Call[Any]]) -> int:
        """Says how often the calls run now, and keeps those that will run late."""
        self.hit = self.kind != "none"
        if self.kind in ("resend", "late"):
            self.late.extend(calls)
        return {"none": 1, "resend": 2, "abandon": 1, "late": 0}[self.kind]

    def answer(self, results: list[list[Any]]) -> list[Any]:
        """Gives what the caller hears of so many runs."""
        if self.kind in ("abandon", "late"):
            raise OutcomeUnknown
        assert all(again == results[0] for again in results), "a call that is sent again is answered as before"
        return results[-1]


class Lossy:
    """Loses requests and replies on order."""

    def __init__(self, inner: Backend | AsyncBackend) -> None:
        self.fault = Fault()
        self.deadline, self.reply_timeout, self.doubts = inner.deadline, inner.reply_timeout, 0

    def take_fault(self) -> Fault:
        fault, self.fault = self.fault, Fault()
        self.doubts += fault.kind != "none"
        return fault


class LossyBackend(Lossy):
    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.inner = inner

    def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        fault = self.take_fault()
        return fault.answer([self.inner.run(calls, durability) for _ in range(fault.strike(calls))])

    def close(self) -> None:
        self.inner.close()


class AsyncLossyBackend(Lossy):
    def __init__(self, inner: AsyncBackend) -> None:
        super().__init__(inner)
        self.inner = inner

    async def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        fault = self.take_fault()
        return fault.answer([await self.inner.run(calls, durability) for _ in range(fault.strike(calls))])

    async def close(self) -> None:
        await self.inner.close()


@dataclass
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


@dataclass
class Late:
    """A request that is still under way.

    Attributes:
        calls: what it asks for.
        who: whose it is.
        effect: what it does to the model when it arrives in time; None if it has done its work before.
        number: its number among the consumer's gets, or calls that change something.
        gets: how many gets the consumer had sent, and
        changes: how many calls that change something, when it was sent.
        inbox: how many items waited in the consumer's inbox.
        is_get: whether it is a get.
        method: what was called.
        did: whether it did something when it was sent first, and was answered.
    """

    calls: list[Call[Any]]
    who: int
    effect: Callable[[], object] | None
    number: int
    gets: int
    changes: int
    inbox: int
    is_get: bool
    method: str
    did: bool = False


class QueueMachine(RuleBasedStateMachine):
    """Three consumers, two of them in the sync world and one in asyncio, on one queue."""

    url = "memory://machine"

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[str] = []
        self.who = [Consumer() for _ in range(3)]
        self.contacts: list[int] = []
        self.late: list[Late] = []
        self.loop = asyncio.Runner()

    @initialize()
    def start(self) -> None:
        self.name = f"machine-{uuid.uuid4().hex}"
        self.look = raw_client(self.url)
        self.backends: list[LossyBackend | AsyncLossyBackend] = [
            LossyBackend(connect(self.url)),
            LossyBackend(connect(self.url)),
            AsyncLossyBackend(self.loop.run(self._connect_async())),
        ]
        self.queues: list[Any] = [
            Queue(self.name, self.backends[0]),
            Queue(self.name, self.backends[1]),
            aio.Queue(self.name, self.backends[2]),
        ]
        for who in range(3):
            assert self.call(who, "get_count") == 0

    async def _connect_async(self) -> AsyncBackend:
        return connect_async(self.url)

    def call(self, who: int, method: str, *args: Any) -> Any:
        result = getattr(self.queues[who], method)(*args)
        return self.loop.run(result) if who == 2 else result

    def perform(
        self,
        who: int,
        kind: str,
        method: str,
        args: tuple[Any, ...],
        effect: Callable[[], Any],
        *,
        is_get: bool = False,
    ) -> Any:
        """Calls a method with a fault, and does to the model what the server must have done.

        `effect` gives the result that the method must give.
        """
        consumer = self.who[who]
        fault = Fault(kind)
        consumer.changes += not is_get
        number = consumer.gets if is_get else consumer.changes
        self.backends[who].fault = fault
        result: Any = None
        try:
            result = self.call(who, method, *args)
            unknown = False
        except OutcomeUnknown:
            unknown = True
        self.backends[who].fault = Fault()
        late = Late(
            fault.late, who, effect, number, consumer.gets, consumer.changes, len(consumer.inbox), is_get, method
        )
        if fault.hit and fault.kind == "late":
            assert unknown
            self.late.append(late)
            return None
        expected = effect()
        if not is_get:
            consumer.changed = max(consumer.changed, number)
        elif consumer.asks:
            consumer.changed = consumer.changes + 1
        if fault.hit and fault.kind == "resend":
            self.late.append(replace(late, effect=None, did=bool(expected)))
        assert unknown == (fault.hit and fault.kind == "abandon")
        if not unknown:
            assert result == expected, (method, result, expected)
        return result

    # Rules

    @rule(who=CONSUMERS, items=ITEMS, fault=FAULTS)
    def add(self, who: int, items: list[str], fault: str) -> None:
        def effect() -> int:
            self.waiting += items
            return len(items)

        self.perform(who, fault, "add_items", (items,), effect)

    @rule(who=CONSUMERS, count=st.integers(0, 7), fault=FAULTS)
    def get(self, who: int, count: int, fault: str) -> None:
        consumer = self.who[who]
        asked = count - len(consumer.inbox)
        consumer.asks = asked > 0
        consumer.gets += consumer.asks
        number = consumer.gets

        def take() -> int:
            """What the server does: gives how many items the answer holds."""
            fresh = max(0, asked - consumer.unseen)
            taken, self.waiting = self.waiting[:fresh], self.waiting[fresh:]
            consumer.held += taken
            if consumer.unseen or taken:
                consumer.open = max(consumer.open, number)
                self._contact(who)
            consumer.unseen += len(taken)
            return consumer.unseen

        def effect() -> list[str] | None:
            if asked > 0:
                size = take()
                if fault in ("abandon", "late"):
                    return None
                consumer.inbox += consumer.held[len(consumer.held) - size :]
                consumer.unseen = 0
            out, consumer.inbox = consumer.inbox[:count], consumer.inbox[count:]
            consumer.hand += out
            return out

        self.perform(who, fault, "get_items", (count,), effect, is_get=True)

    @rule(who=CONSUMERS, data=st.data(), fault=FAULTS)
    def ack(self, who: int, data: st.DataObject, fault: str) -> None:
        items = self._some(who, data)

        def effect() -> int:
            return len(self._remove(who, items))

        self.perform(who, fault, "ack_items", (items,), effect)

    @rule(who=CONSUMERS, data=st.data(), fault=FAULTS)
    def reject(self, who: int, data: st.DataObject, fault: str) -> None:
        items = self._some(who, data)

        def effect() -> int:
            found = self._remove(who, items)
            self.waiting = found + self.waiting
            return len(found)

        self.perform(who, fault, "reject_items", (items,), effect)

    @rule(who=CONSUMERS, fault=FAULTS)
    def re_enqueue_all(self, who: int, fault: str) -> None:
        def effect() -> int:
            back: list[str] = []
            for other in self.contacts:
                back += self._sweep(other)
            self.waiting = back + self.waiting
            return len(back)

        self.perform(who, fault, "re_enqueue_all_items", (), effect)
        self._forget_inbox(who, fault)

    @rule(who=CONSUMERS, fault=FAULTS)
    def drop_all(self, who: int, fault: str) -> None:
        self.perform(who, fault, "drop_all_items", (), lambda: sum(len(self._sweep(other)) for other in range(3)))
        self._forget_inbox(who, fault)

    @rule(who=CONSUMERS, items=ITEMS, count=st.integers(0, 2), fault=FAULTS)
    def delete(self, who: int, items: list[str], count: int, fault: str) -> None:
        def effect() -> int:
            before = len(self.waiting)
            for item in items:
                for _ in range(count or before):
                    if item not in self.waiting:
                        break
                    del self.waiting[len(self.waiting) - 1 - self.waiting[::-1].index(item)]
            return before - len(self.waiting)

        self.perform(who, fault, "delete_items", (items, count), effect)

    @rule(who=CONSUMERS, fault=FAULTS)
    def release(self, who: int, fault: str) -> None:
        consumer = self.who[who]
        if not consumer.gets:
            assert self.call(who, "release") == 0, "what never asked for anything has nothing to give back"
            return
        consumer.changes += 1
        late = Late([], who, None, consumer.changes, consumer.gets, consumer.changes, 0, False, "release", did=True)
        armed = Fault(fault, late=late.calls)
        self.backends[who].fault = armed
        try:
            result, unknown = self.call(who, "release"), False
        except OutcomeUnknown:
            unknown = True
            # Whether it took effect or not, asked again it does so once, and says what it gave back.
            result = self.call(who, "release")
        self.backends[who].fault = Fault()
        assert unknown == (armed.hit and fault in ("abandon", "late"))
        size = min(consumer.unseen + len(consumer.inbox), len(consumer.held))
        assert result == size
        back = consumer.held[len(consumer.held) - size :]
        del consumer.held[len(consumer.held) - size :]
        self.waiting = back + self.waiting
        consumer.unseen, consumer.inbox = 0, []
        consumer.open = max(consumer.open, consumer.gets + 1)
        consumer.changed = max(consumer.changed, late.number)
        if late.calls:
            self.late.append(late)

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        """A request arrives late."""
        late = self.late.pop(data.draw(st.integers(0, len(self.late) - 1)))
        consumer = self.who[late.who]
        overtaken = (consumer.open if late.is_get else consumer.changed) > late.number
        if not overtaken and late.effect is not None and late.inbox != len(consumer.inbox):
            return  # lost for good: what it hides has been handed out since
        if not overtaken and late.is_get and late.effect is None and not late.did:
            return  # lost for good: an empty get, sent twice, that may take something for the next get
        self._deliver(late)
        if not overtaken and late.effect is not None:
            late.effect()
        # What was in front of it in its pipeline burnt what had been sent before it.
        consumer.changed = max(consumer.changed, late.changes + 1 if late.is_get else late.number)
        if late.method == "release":
            consumer.open = max(consumer.open, late.gets + 1)

    def _deliver(self, late: Late) -> None:
        with contextlib.suppress(OutcomeUnknown):
            self._plain().run(late.calls)

    def _plain(self) -> Backend:
        backend = self.backends[0]
        assert isinstance(backend, LossyBackend)
        return backend.inner

    # The model

    def _forget_inbox(self, who: int, fault: str) -> None:
        """What was swept by its own consumer is not handed out any more, if the consumer knows that it was."""
        if fault not in ("abandon", "late"):
            self.who[who].inbox = []

    def _some(self, who: int, data: st.DataObject) -> list[str]:
        """Items of the caller's hand, in any order, and perhaps one that it does not have."""
        hand = self.who[who].hand
        picked = data.draw(st.lists(st.sampled_from(hand), max_size=12)) if hand else []
        extra = data.draw(st.lists(st.sampled_from("abcx"), max_size=1 if picked else 2, min_size=0 if picked else 1))
        return data.draw(st.permutations(picked + extra))

    def _remove(self, who: int, items: list[str]) -> list[str]:
        consumer = self.who[who]
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

    def _sweep(self, who: int) -> list[str]:
        consumer = self.who[who]
        back, consumer.held, consumer.unseen = consumer.held, [], 0
        return back

    def _contact(self, who: int) -> None:
        if who in self.contacts:
            self.contacts.remove(who)
        self.contacts.append(who)

    # What must hold

    @invariant()
    def everything_is_where_it_must_be(self) -> None:
        if not hasattr(self, "look"):
            return
        assert self._list(self.name) == self.waiting
        for who in range(3):
            assert self._list(self.queues[who].processing_queue_name) == self.who[who].held

    def _list(self, key: str) -> list[str]:
        return [item.decode() for item in reversed(cast(list[bytes], self.look.lrange(key, 0, -1)))]

    def teardown(self) -> None:
        """In the end nothing is stranded: what is held can be had and acknowledged, and no key is left."""
        if hasattr(self, "look"):
            self._drain()
            self.look.close()
        self.loop.close()

    def _drain(self) -> None:
        for backend in self.backends:
            backend.fault = Fault()
        for who in range(3):
            while taken := self.call(who, "get_items", 100):
                self.call(who, "ack_items", taken)
        for who in range(3):
            assert self.call(who, "ack_items", self.who[who].held) <= len(self.who[who].held)
        self.call(0, "re_enqueue_all_items")
        while taken := self.call(0, "get_items", 100):
            assert self.call(0, "ack_items", taken) == len(taken)
        left = [key for key in self.look.scan_iter(f"{self.name}*") if self.look.ttl(key) == -1]
        assert left == []
        for who in range(3):
            self.call(who, "close")
        for backend in self.backends:
            closing = backend.close()
            if closing is not None:
                self.loop.run(closing)


def raw_client(url: str) -> redis.Redis:
    """A plain client that looks at the keys."""
    if url.startswith("memory://"):
        import fakeredis

        from pyrq.backends.memory import _server

        return cast(redis.Redis, fakeredis.FakeRedis(server=_server(url.removeprefix("memory://"))[1]))
    return redis.Redis.from_url(url)
