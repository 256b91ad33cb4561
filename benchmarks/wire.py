"""A wire that takes its time: a relay before a server, so that round trips can be counted on one machine."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import redis

__all__ = ["Wire"]

_KEPT = ("username", "password", "db", "decode_responses", "protocol")
"""What a client through the wire has of the one that it is made from."""

_Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Wire:
    """Passes on what comes, each piece after the same time. It runs an event loop in a thread of its own."""

    def __init__(self, client: Any, delay: float) -> None:
        """Begins to listen, on a unix socket.

        Args:
            client: a redis-py client of the server, without TLS.
            delay: how many seconds each direction takes.
        """
        self._kwargs = client.connection_pool.connection_kwargs
        self._delay = delay
        self._opened = ExitStack()
        self._path = str(Path(self._opened.enter_context(tempfile.TemporaryDirectory(prefix="pyrq-wire-"))) / "s")
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        self._opened.callback(self._loop.close)
        self._opened.callback(thread.join)
        self._opened.callback(self._loop.call_soon_threadsafe, self._loop.stop)
        self._server = self._run(asyncio.start_unix_server(self._accept, self._path))
        self._opened.callback(lambda: self._run(self._end()))

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def client(self, connections: int) -> Any:
        """Makes a client with so many connections at most, all of them over the wire; it is closed with the wire."""
        kept = {key: self._kwargs[key] for key in _KEPT if key in self._kwargs}
        client = redis.Redis(unix_socket_path=self._path, max_connections=connections, **kept)
        self._opened.callback(client.close)
        return client

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        with suppress(OSError, asyncio.CancelledError):
            there, back = await self._connect()
            await asyncio.gather(self._pass_on(reader, back), self._pass_on(there, writer))

    def _connect(self) -> Awaitable[_Ends]:
        if path := self._kwargs.get("path"):
            return asyncio.open_unix_connection(path)
        return asyncio.open_connection(self._kwargs.get("host", "localhost"), self._kwargs.get("port", 6379))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        later: Callable[..., object] = self._loop.call_later
        try:
            while data := await reader.read(65536):
                later(self._delay, writer.write, data)
        finally:
            later(self._delay, writer.close)

    async def _end(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """Ends it."""
        self._opened.close()
