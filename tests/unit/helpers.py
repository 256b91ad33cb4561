"""Doubles and small tools of the unit tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import fakeredis
from redis._parsers import _RESP2Parser

from pyrq.backends import connect, connect_async, memory
from pyrq.core.call import Call
from pyrq.core.keys import Keys
from pyrq.core.options import Durability
from pyrq.core.session import Held, Identity

KEYS = Keys.of("orders", "me-1")
ME = Identity(b"7", 5, 120)
HELD = Held(3, 2)


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
