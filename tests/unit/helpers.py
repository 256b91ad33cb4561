"""Doubles and small tools of the unit tests."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import fakeredis
from redis._parsers import _RESP2Parser

from pyrq.backends import connect, connect_async, memory
from pyrq.core import ops
from pyrq.core.call import Call
from pyrq.core.keys import Keys, Kind
from pyrq.core.limits import NO_LIMITS
from pyrq.core.options import Durability
from pyrq.core.session import GET_LANE, Held, Identity
from pyrq.core.waiting import NO_WAIT

KEYS = Keys.of("orders", "me-1")
ME = Identity(b"7", 5, 120)
HELD = Held(3, 2, 9)


_numbers = itertools.count()


def fresh() -> str:
    """Gives the URL of a fake server that nobody else uses."""
    return f"memory://unit-{next(_numbers)}"


@dataclass
class Fault:
    """What is to go wrong with a run whose last call is of a script.

    Attributes:
        script: the script's name.
        error: what is raised.
        executed: whether the calls ran before: a lost reply, not a lost request.
        skip: how many such runs go well before.
    """

    script: str
    error: BaseException
    executed: bool = False
    skip: int = 0


@dataclass
class Recorder:
    """What the two recording backends share: they run calls on a fake server, and remember them."""

    url: str = field(default_factory=fresh)
    deadline: float = 30.0
    reply_timeout: float | None = 5.0
    doubts: int = 0
    gathers: bool = False
    runs: list[tuple[list[Call[Any]], Durability | None]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    closed: int = 0

    @property
    def calls(self) -> list[Call[Any]]:
        """Every call so far."""
        return [call for calls, _ in self.runs for call in calls]

    @property
    def names(self) -> list[str]:
        """The names of the scripts of every call so far."""
        return [call.script.name for call in self.calls]

    def of(self, name: str) -> list[Call[Any]]:
        """Every call of one script so far."""
        return [call for call in self.calls if call.script.name == name]

    def _record(self, calls: Sequence[Call[Any]], durability: Durability | None) -> Fault | None:
        self.runs.append((list(calls), durability))
        for fault in self.faults:
            if fault.script == calls[-1].script.name:
                if not fault.skip:
                    self.faults.remove(fault)
                    self.doubts += 1
                    return fault
                fault.skip -= 1
        return None


def error_reply(text: str) -> Exception:
    """Gives what redis-py raises for an error reply."""
    make: Any = _RESP2Parser  # it has no types
    error: Exception = make(socket_read_size=1024).parse_error(text)
    return error


def raw(url: str) -> Any:
    """Gives a plain client of a fake server, to look at the keys."""
    connect(url)
    return fakeredis.FakeRedis(server=memory._servers[url.removeprefix("memory://")])


class RecordingBackend(Recorder):
    """For threads."""

    def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        fault = self._record(calls, durability)
        if fault and not fault.executed:
            raise fault.error
        results = connect(self.url).run(calls)
        if fault:
            raise fault.error
        return results

    def close(self) -> None:
        self.closed += 1


class AsyncRecordingBackend(Recorder):
    """For asyncio."""

    async def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        fault = self._record(calls, durability)
        if fault and not fault.executed:
            raise fault.error
        backend = connect_async(self.url)
        try:
            results = await backend.run(calls)
        finally:
            await backend.close()
        if fault:
            raise fault.error
        return results

    async def close(self) -> None:
        self.closed += 1


class BrokenCodec:
    """Text, but what begins with `bad` can't be read; its message quotes the content, which nobody may show."""

    def encode(self, value: str, /) -> bytes:
        if value.startswith("refused"):
            raise ValueError(f"the secret is {value}")
        return value.encode()

    def decode(self, data: bytes, /) -> str:
        if data.startswith(b"bad"):
            raise LookupError(f"the secret is {data!r}")
        return data.decode()


@contextmanager
def nothing_sent(recorder: Recorder) -> Iterator[None]:
    """Checks that what happens inside sends nothing."""
    before = len(recorder.runs)
    yield
    assert recorder.runs[before:] == []


class Clock:
    """A fake server whose time stands still until a test moves it on."""

    def __init__(self) -> None:
        self.url = fresh()
        self.client = raw(self.url)
        self.now = 1_700_000_000.0


class Actor:
    """A consumer, or a producer, as the scripts see it: it makes a call and runs it."""

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "limits": NO_LIMITS,
        "wait": NO_WAIT,
        "blocked": 0,
        "reason": "why",
        "count": 0,
    }

    def __init__(self, clock: Clock, client_id: str = "me-1", kind: Kind = Kind.PLAIN) -> None:
        self.clock = clock
        self.keys = Keys.of("orders", client_id, kind)
        self.held = Held()
        self.sequences = {b"1": 0, GET_LANE: 0}

    def call(self, name: str, **given: Any) -> Call[Any]:
        """Makes the next call of a script."""
        lane = GET_LANE if name == "get" else b"1"
        build = getattr(ops, name)
        names = inspect.signature(build).parameters
        if "identity" in names:
            self.sequences[lane] += 1
        known = {
            "keys": self.keys,
            "identity": Identity(lane, self.sequences[lane], 120),
            "held": self.held,
            "now": f"{self.clock.now:.6f}",
            **self.DEFAULTS,
            **given,
        }
        assert set(given) <= set(names)
        call: Call[Any] = build(**{name: known[name] for name in names})
        return call

    def run(self, call: Call[Any]) -> Any:
        """Runs a call once."""
        (result,) = connect(self.clock.url).run([call])
        return result

    def do(self, name: str, **given: Any) -> Any:
        """Makes a call and runs it."""
        return self.run(self.call(name, **given))

    def get(self, count: int = 100, **given: Any) -> list[bytes]:
        """Takes items, and notes that they arrived."""
        found = self.do("get", count=count, **given)
        if found.items:
            self.held = Held(self.sequences[GET_LANE])
        items: list[bytes] = found.items
        return items


@dataclass
class Stage:
    """A server, and who acts on it."""

    clock: Clock
    kind: Kind

    def actor(self, client_id: str = "me-1") -> Actor:
        """Gives somebody new; two of one name would take each other's sequences."""
        return Actor(self.clock, client_id, self.kind)

    def later(self, seconds: float) -> None:
        """Lets time pass."""
        self.clock.now += seconds

    @property
    def client(self) -> Any:
        """A plain client, to look at the keys."""
        return self.clock.client

    def land(self, actor: Actor) -> None:
        """Does what a blocking move does at the end."""
        assert self.client.lmove(KEYS.queue, actor.keys.landing, "RIGHT", "LEFT")

    def fields(self, key: bytes) -> dict[bytes, bytes]:
        """Gives what is in a hash."""
        found: dict[bytes, bytes] = self.client.hgetall(key)
        return found
