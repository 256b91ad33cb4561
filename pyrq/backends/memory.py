"""The backends over fakeredis: `memory://name`, for tests.

Same scripts, same results. What there is one of everything of (no replica, no disk) confirms at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyrq.backends.redis_async import AsyncRedisBackend
from pyrq.backends.redis_sync import RedisBackend
from pyrq.core.call import Call
from pyrq.core.errors import MissingExtraError
from pyrq.core.options import Durability

__all__ = ["AsyncMemoryBackend", "MemoryBackend", "memory_backend", "memory_backend_async"]

_servers: dict[str, Any] = {}
"""One fake server a name, for the life of the process: that is what a name is for."""


class MemoryBackend(RedisBackend):
    """Runs Calls in this process."""

    def _check(self, connection: Any, durability: Durability | None) -> None:
        """There is nothing to check: this server is part of the library."""

    def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        """Runs calls in order, as `Backend.run` says; what is in memory is all there is to wait for."""
        return super().run(calls)


class AsyncMemoryBackend(AsyncRedisBackend):
    """Runs Calls in this process, for asyncio."""

    async def _check(self, connection: Any, durability: Durability | None) -> None:
        """There is nothing to check: this server is part of the library."""

    async def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        """Runs calls in order, as `AsyncBackend.run` says; what is in memory is all there is to wait for."""
        return await super().run(calls)


def memory_backend(name: str, deadline: float) -> MemoryBackend:
    """Gives a backend on the fake server of a name.

    Args:
        name: any text; the same name is the same server, in both worlds.
        deadline: for how many seconds a call is retried.

    Returns:
        The backend.

    Raises:
        MissingExtraError: fakeredis is not installed.
    """
    fakeredis, server = _server(name)
    client = fakeredis.FakeRedis(server=server)
    return MemoryBackend(client.connection_pool, deadline, client.close)


def memory_backend_async(name: str, deadline: float) -> AsyncMemoryBackend:
    """Gives an asyncio backend on the fake server of a name.

    Args:
        name: any text; the same name is the same server, in both worlds.
        deadline: for how many seconds a call is retried.

    Returns:
        The backend.

    Raises:
        MissingExtraError: fakeredis is not installed.
    """
    fakeredis, server = _server(name)
    client = fakeredis.FakeAsyncRedis(server=server)
    return AsyncMemoryBackend(client.connection_pool, deadline, client.connection_pool.disconnect)


def _server(name: str) -> tuple[Any, Any]:
    try:
        import fakeredis
        import lupa  # noqa: F401 - fakeredis has no scripts without it
    except ImportError:
        raise MissingExtraError("memory:// needs fakeredis: pip install 'py-rq[testing]'") from None
    return fakeredis, _servers.setdefault(name, fakeredis.FakeServer())
