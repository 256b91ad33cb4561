"""What the state machines share: backends that lose requests and replies on order, and the objects that speak to them.

A fault has a kind. "resend": the reply is lost and the call sent again. "abandon": the reply is lost and the call given
up. "late": the request arrives only after its caller gave up. "cancel" and "cancel late": as these two, but the caller
does not give up, it is cancelled: its task, or by Ctrl-C where there are none. What may be under way after a fault
arrives later.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, ClassVar, cast

import redis
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pyrq.backends import AsyncBackend, Backend, connect, connect_async
from pyrq.core.call import Call
from pyrq.core.errors import OutcomeUnknown, QueueFull
from pyrq.core.options import Durability
from pyrq.core.waiting import Found
from tests.faults.ledger import MARK
from tests.unit.worlds import timed

FAULTS = st.sampled_from(["none", "none", "none", "none", "resend", "abandon", "late", "cancel", "cancel late"])
COMES_LATE = {"late", "cancel late"}
"""The request arrives only after its caller is gone."""
CANCELS = {"cancel", "cancel late"}
GIVES_UP = {"abandon", "late"} | CANCELS
"""The caller hears nothing."""
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
        return 0 if self.kind in COMES_LATE else 1 + (self.kind == "resend")

    @property
    def cancels(self) -> bool:
        return self.kind in CANCELS

    @property
    def hides(self) -> bool:
        """Whether a caller who gave up, or was cancelled, does not hear of a refusal."""
        return self.kind in GIVES_UP

    def answer(self, results: list[list[Any]]) -> list[Any]:
        """Gives what the caller hears of so many runs."""
        if self.hides:
            raise OutcomeUnknown
        if self.repeats and self.hit:
            # Others, such as one that forgets a session, have no record: they run again.
            known = [call.script.identified for call in self.late]
            told = [[_without_hints(each) for each in compress(answers, known)] for answers in results]
            assert all(again == told[0] for again in told), "a call that is sent again is answered as before"
        return results[-1]


def _without_hints(result: Any) -> Any:
    """Leaves out of what a get hears what it is asked to do by the way: only who is asked first is."""
    return (result.items, result.tenure) if isinstance(result, Found) else result


class Scripts:
    """Which scripts the server has: a pipeline with one that it lacks is sent again, all of it."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()

    def send(self, calls: Sequence[Call[Any]]) -> list[str]:
        """Sends a pipeline; gives the scripts that have run before it is sent again."""
        names = [call.script.name for call in calls if call.script.sha in self._known]
        self._known.update(call.script.sha for call in calls)
        return names if len(names) < len(calls) else []

    def flush(self) -> None:
        self._known.clear()


def marked(letters: str) -> list[str]:
    """Gives items that are recognized wherever they are quoted, one for each letter."""
    return [f"{MARK}-{letter}" for letter in letters]


class Lossy:
    """Loses requests and replies on order. A blocking move does what it is told to; time is what `clock` says."""

    def __init__(self, inner: Backend | AsyncBackend, scripts: Scripts) -> None:
        self.fault = Fault()
        self.clock: Callable[[], str] = lambda: ""
        """The server's time as its scripts are to see it; nothing for its own."""
        self.answer_move: Callable[[], bool | None] = lambda: False
        """Answers a blocking move; None where its caller is cancelled meanwhile."""
        self.answer_wake: Callable[[], bool] = lambda: True
        """Ends all moves; says whether those whose answer was lost are over, too."""
        self.deadline, self.reply_timeout, self.gathers = inner.deadline, inner.reply_timeout, inner.gathers
        self.early: list[str] = []
        """The scripts that ran before the whole of their pipeline was sent again; whoever asks clears it before."""
        self._inner, self._scripts, self._doubts = inner, scripts, 0

    @property
    def doubts(self) -> int:
        return self._doubts + self._inner.doubts

    def take_fault(self, calls: Sequence[Call[Any]]) -> Fault:
        if all(call.script.name == "burn" for call in calls):
            return Fault()
        if self.fault.skip:
            self.fault.skip -= 1
            return Fault()
        fault, self.fault = self.fault, Fault()
        self._doubts += fault.kind != "none"
        return fault

    def prepared(self, calls: Sequence[Call[Any]]) -> list[Call[Any]]:
        """Gives calls as the server is to see them now, where they must be sent."""
        self.early += self._scripts.send(calls)
        return [timed(call, self.clock()) for call in calls]


class LossyBackend(Lossy):
    def __init__(self, inner: Backend, scripts: Scripts) -> None:
        super().__init__(inner, scripts)
        self.inner = inner

    def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        fault, answers = self.take_fault(calls), []
        try:
            answers = [self.inner.run(self.prepared(calls), durability) for _ in range(fault.strike(calls))]
        except QueueFull:
            if not fault.hides:
                raise
        if fault.cancels:
            raise KeyboardInterrupt
        return fault.answer(answers)

    def move(self, source: bytes, target: bytes, seconds: float) -> bool:
        moved = self.answer_move()
        if moved is None:
            raise KeyboardInterrupt
        return moved

    def wake(self) -> bool:
        return self.answer_wake() and self.inner.wake()

    def close(self) -> None:
        self.inner.close()


class AsyncLossyBackend(Lossy):
    def __init__(self, inner: AsyncBackend, scripts: Scripts) -> None:
        super().__init__(inner, scripts)
        self.inner = inner

    async def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        fault, answers = self.take_fault(calls), []
        try:
            answers = [await self.inner.run(self.prepared(calls), durability) for _ in range(fault.strike(calls))]
        except QueueFull:
            if not fault.hides:
                raise
        if fault.cancels:
            await _cancel()
        return fault.answer(answers)

    async def move(self, source: bytes, target: bytes, seconds: float) -> bool:
        moved = self.answer_move()
        if moved is None:
            await _cancel()
        return bool(moved)

    async def wake(self) -> bool:
        return self.answer_wake() and await self.inner.wake()

    async def close(self) -> None:
        await self.inner.close()


async def _cancel() -> None:
    """Cancels the task that waits here."""
    task = asyncio.current_task()
    assert task
    task.cancel()
    await asyncio.sleep(0)


class LossyMachine(RuleBasedStateMachine):
    """Three objects of one name, each in a world of its own choice."""

    url = "memory://machine"
    worlds: ClassVar[Sequence[str]] = ("sync", "sync", "aio")
    classes: tuple[Callable[..., Any], Callable[..., Any]]
    """What the objects are, in the sync world and in asyncio."""
    figures: ClassVar[Counter[str]] = Counter()
    """How many steps were done, and faults hit."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.scripts = Scripts()

    def options(self, who: int) -> dict[str, Any]:
        """Gives what an object is made with."""
        return {}

    @initialize(luck=st.integers(0, 2**32))
    def start(self, luck: int) -> None:
        assume(luck)  # 0 is in the example where each draw is the first choice, the same one each time
        self.name = f"machine-{uuid.uuid4().hex}"
        self.look = raw_client(self.url)
        self.look.script_flush()
        self.backends: list[LossyBackend | AsyncLossyBackend] = []
        self.objects: list[Any] = []
        for who in range(3):
            self.backends.append(self.connect(who))
            self.objects.append(self.open(who))

    @classmethod
    def is_aio(cls, who: int) -> bool:
        return cls.worlds[who] == "aio"

    @classmethod
    def heard(cls, error: BaseException) -> None:
        """Is told of the errors that callers are given."""

    def connect(self, who: int) -> LossyBackend | AsyncLossyBackend:
        """Gives a backend that speaks to the server as one of the three."""
        if self.is_aio(who):
            return AsyncLossyBackend(self.loop.run(self._connect_async()), self.scripts)
        return LossyBackend(connect(self.url), self.scripts)

    def open(self, who: int) -> Any:
        """Makes one of the three objects; it has asked what the server allows."""
        opened = self.classes[self.is_aio(who)](self.name, self.backends[who], **self.options(who))
        waiting = opened.get_count()
        if self.is_aio(who):
            self.loop.run(waiting)
        return opened

    async def _connect_async(self) -> AsyncBackend:
        return connect_async(self.url)

    def call(self, who: int, method: Method, *args: Any) -> Any:
        result = method(self.objects[who]) if callable(method) else getattr(self.objects[who], method)(*args)
        return self.loop.run(result) if self.is_aio(who) else result

    def attempt(self, who: int, fault: Fault, method: Method, *args: Any) -> tuple[Any, bool]:
        """Calls a method with a fault; gives the result, and whether its caller does not hear of it instead."""
        backend = self.backends[who]
        backend.fault, backend.early = fault, []
        unheard = self.cancellation(who) if fault.cancels else OutcomeUnknown
        try:
            return self.call(who, method, *args), False
        except unheard as error:
            self.heard(error)
            return None, True
        finally:
            backend.fault = Fault()
            self.figures.update({"faults": fault.hit, "cancellations": fault.hit and fault.cancels})

    def cancellation(self, who: int) -> type[BaseException]:
        """Gives what is raised where the caller is cancelled."""
        return asyncio.CancelledError if self.is_aio(who) else KeyboardInterrupt

    def deliver(self, calls: list[Call[Any]]) -> None:
        """Brings calls to the server whose caller does not listen any more."""
        backend = self.backends[0]
        prepared = backend.prepared(calls)
        with contextlib.suppress(OutcomeUnknown, QueueFull):
            if isinstance(backend, AsyncLossyBackend):
                self.loop.run(backend.inner.run(prepared))
            else:
                backend.inner.run(prepared)

    @rule(what=st.sampled_from(["scripts", "scripts", "connections"]))
    def server_forgets(self, what: str) -> None:
        """The server forgets all scripts, or closes all connections where there are any."""
        if what == "scripts" or self.url.startswith("memory:"):
            self.look.script_flush()
            self.scripts.flush()
            self.figures["script flushes"] += 1
        else:
            self.look.client_kill_filter(_type="normal", skipme=True)
            self.figures["connections dropped"] += 1

    @invariant()
    def a_step_is_done(self) -> None:
        """Counts it."""
        self.figures["steps"] += 1

    def read(self, *reads: Callable[[Any], object]) -> list[Any]:
        """Looks at keys, in one round trip: each is called with a pipeline."""
        pipeline = self.look.pipeline(transaction=False)
        for read in reads:
            read(pipeline)
        return pipeline.execute()

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


def items_of(key: str) -> Callable[[Any], object]:
    """Reads a list."""
    return lambda pipeline: pipeline.lrange(key, 0, -1)


def fields_of(key: str) -> Callable[[Any], object]:
    """Reads a hash."""
    return lambda pipeline: pipeline.hgetall(key)


def texts(entries: Sequence[bytes]) -> list[str]:
    """Gives what is in a list, oldest first."""
    return [entry.decode() for entry in reversed(entries)]


def raw_client(url: str) -> redis.Redis:
    """A plain client that looks at the keys."""
    if url.startswith("memory://"):
        import fakeredis

        from pyrq.backends.memory import _server

        return cast(redis.Redis, fakeredis.FakeRedis(server=_server(url.removeprefix("memory://"))[1]))
    return redis.Redis.from_url(url)
