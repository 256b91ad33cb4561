"""A proxy before a server that does its worst at random: requests and replies are lost, cut, delayed, or come late."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["KINDS", "MARKS", "Storm"]

T = TypeVar("T")

KINDS = ("drop_request", "drop_reply", "cut_request", "cut_reply", "late", "slow")
MARKS = (b"EVAL", b"BLMOVE")
"""What is in a request that faults are meant for. (EVALSHA is among them.)"""

_HANDSHAKES = (b"HELLO", b"SETINFO")
_HANDSHAKES_SPARED = 0.8
"""How many handshakes are let through of those that a fault would hit."""
_CHUNK = 1 << 20
_BOUND = 20.0


@dataclass(frozen=True)
class _Fault:
    """What happens to a request. All of it is drawn at once, so that it does not depend on what happens meanwhile.

    Attributes:
        kind: one of `KINDS`.
        part: how much of what is cut arrives, from 0 to 1.
        silence: for how many seconds the client hears nothing, if it does not give up before.
        delay: in how many seconds after that what comes late arrives.
        is_move: whether it hits a blocking move.
    """

    kind: str
    part: float
    silence: float
    delay: float
    is_move: bool


class _Link:
    """A client's connection, and the one to the server that belongs to it."""

    def __init__(
        self, client: tuple[asyncio.StreamReader, asyncio.StreamWriter], server: tuple[Any, asyncio.StreamWriter]
    ) -> None:
        self.from_client, self.to_client = client
        self.from_server, self.to_server = server
        self.lose_reply: _Fault | None = None
        self.keeps_server = False
        """The server's side lives on, for what comes late."""
        self.is_over = asyncio.Event()
        """Nothing is passed on any more."""

    def abort(self) -> None:
        for writer in (self.to_client, self.to_server):
            writer.transport.abort()


class Storm:
    """Sits on a unix socket before a server's, which may go and come back at the same path.

    A fault breaks the connection, but for a `slow` one. Which requests are hit, and how, comes from the random numbers
    given and the order of the requests, nothing else.

    - `drop_request`: the request never runs.
    - `drop_reply`: it runs, and nothing of the reply arrives.
    - `cut_request`: a first part of it reaches the server.
    - `cut_reply`: it runs, and a first part of the reply arrives.
    - `late`: the client gives up, or hears that the connection broke. The request runs some time after that: before or
      after it is sent again, or after calls that follow.
    - `slow`: it arrives some milliseconds later; the client may have gone meanwhile.

    Attributes:
        url: where clients connect.
        path: the same as a path.
        faults: how many of each kind have hit; "handshake" are those that hit the first requests of a connection.
        rate: how many of the requests are hit, from 0 (calm) to 1.
    """

    def __init__(self, upstream: str, rng: random.Random, rate: float, marks: Sequence[bytes] = MARKS) -> None:
        """Begins to listen.

        Args:
            upstream: the path of the server's socket.
            rng: randomness of its own.
            rate: how many of the requests are hit, from 0 to 1.
            marks: what is in a request that faults are meant for.
        """
        self.rate = rate
        self.faults: Counter[str] = Counter()
        self._upstream = upstream
        self._rng = rng
        self._marks = tuple(marks)
        self._links: set[_Link] = set()
        self._late: set[asyncio.Task[None]] = set()
        self._directory = Path(tempfile.mkdtemp(prefix="pyrq-storm-"))
        self.path = str(self._directory / "p")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._listener = self._wait_for(asyncio.start_unix_server(self._serve, self.path, limit=_CHUNK, backlog=1000))

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    @property
    def hits(self) -> int:
        """How many faults have hit a call: without those that only delay, and those that hit new connections."""
        return self.faults.total() - self.faults["slow"] - self.faults["handshake"]

    def settle(self) -> None:
        """Waits until nothing is under way any more that comes late."""

        async def settle() -> None:
            while self._late:
                await asyncio.wait(self._late)

        self._wait_for(settle())

    def close(self) -> None:
        """Lets arrive what comes late, breaks all connections, and ends."""
        self.rate = 0.0
        self.settle()
        self._wait_for(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_BOUND)
        self._loop.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Storm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_BOUND)

    async def _end(self) -> None:
        self._listener.close()
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for link in list(self._links):
                link.abort()
            await asyncio.wait(tasks, timeout=0.1)

    # Traffic

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await asyncio.open_unix_connection(self._upstream, limit=_CHUNK)
        except OSError:  # the server is gone: so is the client's connection
            writer.close()
            return
        link = _Link((reader, writer), server)
        self._links.add(link)
        ways = [asyncio.ensure_future(self._up(link)), asyncio.ensure_future(self._down(link))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._links.discard(link)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            link.is_over.set()
            link.to_client.close()
            if not link.keeps_server:
                link.to_server.close()

    async def _up(self, link: _Link) -> None:
        """Passes requests on, until the connection is to break."""
        with contextlib.suppress(OSError):
            while data := await link.from_client.read(_CHUNK):
                fault = self._draw(data)
                if fault and not await self._strike(fault, link, data):
                    return
                link.to_server.write(data)
                await link.to_server.drain()

    async def _down(self, link: _Link) -> None:
        """Passes replies on, until the connection is to break."""
        with contextlib.suppress(OSError):
            while data := await link.from_server.read(_CHUNK):
                fault = link.lose_reply
                if fault and not _comes_before(fault, data):
                    link.lose_reply = None
                    # A script that was not there has not run.
                    if b"-NOSCRIPT" not in data:
                        self.faults[fault.kind] += 1
                        if fault.kind == "cut_reply":
                            link.to_client.write(_first(data, fault.part))
                        return
                link.to_client.write(data)
                await link.to_client.drain()

    # Faults

    def _draw(self, data: bytes) -> _Fault | None:
        is_meant = any(mark in data for mark in self._marks)
        if not is_meant and not any(mark in data for mark in _HANDSHAKES):
            return None
        rng = self._rng
        if rng.random() >= self.rate:
            return None
        if is_meant:
            silence = 0.2 if rng.random() < 0.1 else 0.0
            delay = rng.random() * rng.choice((0.005, 0.03, 0.5))
            return _Fault(rng.choice(KINDS), rng.random(), silence, delay, b"BLMOVE" in data)
        if rng.random() < _HANDSHAKES_SPARED:
            return None
        self.faults["handshake"] += 1
        return _Fault("handshake", rng.random(), 0.0, 0.0, is_move=False)

    async def _strike(self, fault: _Fault, link: _Link, data: bytes) -> bool:
        """Does its worst to a request; says whether it is to be passed on."""
        if fault.kind in ("drop_reply", "cut_reply"):
            link.lose_reply = fault
            return True
        if fault.kind == "slow":
            self.faults["slow"] += 1
            await asyncio.sleep(0.001 + fault.part * 0.005)
            return True
        if fault.kind == "late":
            await self._hold(fault, link, data)
        elif fault.kind == "cut_request":
            self.faults["cut_request"] += 1
            link.to_server.write(_first(data, fault.part))
        elif fault.kind == "drop_request":
            self.faults["drop_request"] += 1
        return False

    async def _hold(self, fault: _Fault, link: _Link, data: bytes) -> None:
        """Keeps a request until its client has given up, and a little longer."""
        while not _is_whole(data):
            more = await link.from_client.read(_CHUNK)
            if not more:
                return
            data += more
        if fault.silence:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(link.from_client.read(1), fault.silence)
        link.keeps_server = True
        task = asyncio.ensure_future(self._deliver(fault, link, data))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _deliver(self, fault: _Fault, link: _Link, data: bytes) -> None:
        """Lets a request arrive that nobody waits for any more."""
        try:
            await link.is_over.wait()
            await asyncio.sleep(fault.delay)
            with contextlib.suppress(OSError, TimeoutError):
                link.to_server.write(data)
                # A blocking move may have to wait for an item; nobody waits for it.
                reply = await asyncio.wait_for(link.from_server.read(_CHUNK), 0.5 if fault.is_move else _BOUND / 2)
                if reply and b"-NOSCRIPT" not in reply:
                    self.faults["late"] += 1
        finally:
            link.to_server.close()


def _first(data: bytes, part: float) -> bytes:
    """Gives a first part, neither nothing nor all."""
    return data[: max(1, int(len(data) * part))] if len(data) > 1 else b""


def _comes_before(fault: _Fault, data: bytes) -> bool:
    """Says whether a reply is to what goes before a blocking move, which asks for the number of its connection."""
    return fault.is_move and data.startswith(b":") and data.count(b"\r\n") == 1


def _is_whole(data: bytes) -> bool:
    """Says whether data ends where a command does."""
    at = 0
    while at < len(data):
        end = data.find(b"\r\n", at)
        if end < 0:
            return False
        arguments, at = int(data[at + 1 : end]), end + 2
        for _ in range(arguments):
            end = data.find(b"\r\n", at)
            if end < 0:
                return False
            at = end + 2 + int(data[at + 1 : end]) + 2
    return at == len(data)
