"""What the state machines share: backends that lose requests and replies on order, and the objects that speak to them.

A fault has a kind. "resend": the reply is lost and the call sent again. "abandon": the reply is lost and the call given
up. "late": the request arrives only after its caller gave up. What may be under way after a fault arrives later.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize

from pyrq.backends import AsyncBackend, Backend, connect, connect_async
from pyrq.core.call import Call
from pyrq.core.errors import OutcomeUnknown, QueueFull
from pyrq.core.options import Durability
from pyrq.core.waiting import Found
from tests.unit.worlds import timed

FAULTS = st.sampled_from(["none", "none", "none", "resend", "abandon", "late"])
CALLERS = st.integers(0, 2)

Method = str | Callable[[Any], Any]
"""A method of one of the objects, or what is done with it."""


@dataclass
class Fault:
    """What happens to one of the next runs.

    Attributes:
        kind: what happens.
        skip: how many runs go well before. Runs that only burn what was sent before do not count, and always go well.
        repeats: whether a call that is sent again is answered as before.
        hit: whether it has happened.
        late: what may still be under way.
    """

    kind: str = "none"
    skip: int = 0
    repeats: bool = True
    hit: bool = False
    late: list[Call[Any]] = field(default_factory=list)

    def strike(self, calls: Sequence[Call[Any]]) -> int:
        """Says how often the calls run now, and keeps those that may run late."""
        self.hit = self.kind != "none"
        if self.hit:
            self.late.extend(calls)
        return {"none": 1, "resend": 2, "abandon": 1, "late": 0}[self.kind]

    def answer(self, results: list[list[Any]]) -> list[Any]:
        """Gives what the caller hears of so many runs."""
        if self.kind in ("abandon", "late"):
            raise OutcomeUnknown
        if self.repeats:
            told = [[_without_hints(result) for result in each] for each in results]
            assert all(again == told[0] for again in told), "a call that is sent again is answered as before"
        return results[-1]

    @contextlib.contextmanager
    def silence(self) -> Iterator[None]:
        """Hides a refusal from a caller who gave up."""
        try:
            yield
        except QueueFull:
            if self.kind == "abandon":
                raise OutcomeUnknown from None
            raise


def _without_hints(result: Any) -> Any:
    """Leaves out of what a get hears what it is asked to do by the way: only who is asked first is."""
    return (result.items, result.tenure) if isinstance(result, Found) else result


class Lossy:
    """Loses requests and replies on order. A blocking move does what it is told to; time is what `clock` says."""

    def __init__(self, inner: Backend | AsyncBackend) -> None:
        self.fault = Fault()
        self.clock: Callable[[], str] = lambda: ""
        """The server's time as its scripts are to see it; nothing for its own."""
        self.answer_move: Callable[[], bool] = lambda: False
        self.answer_wake: Callable[[], object] = lambda: None
        self.deadline, self.reply_timeout, self.doubts = inner.deadline, inner.reply_timeout, 0

    def take_fault(self, calls: Sequence[Call[Any]]) -> Fault:
        if all(call.script.name == "burn" for call in calls):
            return Fault()
        if self.fault.skip:
            self.fault.skip -= 1
            return Fault()
        fault, self.fault = self.fault, Fault()
        self.doubts += fault.kind != "none"
        return fault

    def timed(self, calls: Sequence[Call[Any]]) -> list[Call[Any]]:
        """Gives calls as the server is to see them now."""
        return [timed(call, self.clock()) for call in calls]


class LossyBackend(Lossy):
    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.inner = inner

    def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        fault, now = self.take_fault(calls), self.timed(calls)
        with fault.silence():
            return fault.answer([self.inner.run(now, durability) for _ in range(fault.strike(calls))])

    def move(self, source: bytes, target: bytes, seconds: float) -> bool:
        return self.answer_move()

    def wake(self) -> bool:
        self.answer_wake()
        return bool(self.inner.wake())

    def close(self) -> None:
        self.inner.close()


class AsyncLossyBackend(Lossy):
    def __init__(self, inner: AsyncBackend) -> None:
        super().__init__(inner)
        self.inner = inner

    async def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        fault, now = self.take_fault(calls), self.timed(calls)
        with fault.silence():
            return fault.answer([await self.inner.run(now, durability) for _ in range(fault.strike(calls))])

    async def move(self, source: bytes, target: bytes, seconds: float) -> bool:
        return self.answer_move()

    async def wake(self) -> None:
        self.answer_wake()
        await self.inner.wake()

    async def close(self) -> None:
        await self.inner.close()


class LossyMachine(RuleBasedStateMachine):
    """Three objects of one name: 0 and 1 in the sync world, 2 in asyncio."""

    url = "memory://machine"
    classes: tuple[Callable[..., Any], Callable[..., Any]]
    """What the objects are, in the sync world and in asyncio."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()

    def options(self, who: int) -> dict[str, Any]:
        """Gives what an object is made with."""
        return {}

    @initialize()
    def start(self) -> None:
        self.name = f"machine-{uuid.uuid4().hex}"
        self.look = raw_client(self.url)
        self.backends: list[LossyBackend | AsyncLossyBackend] = []
        self.objects: list[Any] = []
        for who in range(3):
            self.backends.append(self.connect(who))
            self.objects.append(self.open(who))

    def connect(self, who: int) -> LossyBackend | AsyncLossyBackend:
        """Gives a backend that speaks to the server as one of the three."""
        return AsyncLossyBackend(self.loop.run(self._connect_async())) if who == 2 else LossyBackend(connect(self.url))

    def open(self, who: int) -> Any:
        """Makes one of the three objects; it has asked what the server allows."""
        opened = self.classes[who == 2](self.name, self.backends[who], **self.options(who))
        waiting = opened.get_count()
        if who == 2:
            self.loop.run(waiting)
        return opened

    async def _connect_async(self) -> AsyncBackend:
        return connect_async(self.url)

    def call(self, who: int, method: Method, *args: Any) -> Any:
        result = method(self.objects[who]) if callable(method) else getattr(self.objects[who], method)(*args)
        return self.loop.run(result) if who == 2 else result

    def attempt(self, who: int, fault: Fault, method: Method, *args: Any) -> tuple[Any, bool]:
        """Calls a method with a fault; gives the result, and whether the outcome is unknown instead."""
        self.backends[who].fault = fault
        try:
            return self.call(who, method, *args), False
        except OutcomeUnknown:
            return None, True
        finally:
            self.backends[who].fault = Fault()

    def deliver(self, calls: list[Call[Any]]) -> None:
        """Brings calls to the server whose caller does not listen any more."""
        backend = self.backends[0]
        assert isinstance(backend, LossyBackend)
        with contextlib.suppress(OutcomeUnknown, QueueFull):
            backend.inner.run(backend.timed(calls))

    def drain(self) -> None:
        """Brings everything to an end."""
        raise NotImplementedError

    def teardown(self) -> None:
        """In the end nothing is stranded: no key is left that does not expire."""
        if hasattr(self, "look"):
            self.drain()
            assert [key for key in self.look.scan_iter(f"{self.name}*") if self.look.ttl(key) == -1] == []
            for who in range(3):
                self.call(who, "close")
            for backend in self.backends:
                closing = backend.close()
                if closing is not None:
                    self.loop.run(closing)
            self.look.close()
        self.loop.close()


def raw_client(url: str) -> redis.Redis:
    """A plain client that looks at the keys."""
    if url.startswith("memory://"):
        import fakeredis

        from pyrq.backends.memory import _server

        return cast(redis.Redis, fakeredis.FakeRedis(server=_server(url.removeprefix("memory://"))[1]))
    return redis.Redis.from_url(url)
