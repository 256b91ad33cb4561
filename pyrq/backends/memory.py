"""The backends over fakeredis: `memory://name`, for tests.

Same scripts, same results. What there is one of everything of (no replica, no disk) confirms at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from pyrq.backends.redis_async import AsyncRedisBackend
from pyrq.backends.redis_sync import RedisBackend
from pyrq.core.call import Call
from pyrq.core.errors import MissingExtraError
from pyrq.core.options import Durability

__all__ = ["AsyncMemoryBackend", "MemoryBackend", "memory_backend", "memory_backend_async"]

_LOOK_EVERY = 0.005
"""fakeredis does not block: a move with nothing to move is answered at once (measured, 2.40)."""

_servers: dict[str, Any] = {}
"""One fake server a name, for the life of the process: that is what a name is for."""


class MemoryBackend(RedisBackend):
    """Runs Calls in this process."""

    _wakes = 0

    def _check(self, connection: Any, durability: Durability | None) -> None:
        """There is nothing to check: this server is part of the library."""

    def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        """Runs calls in order, as `Backend.run` says; what is in memory is all there is to wait for."""
        return super().run(calls)

    def move(self, source: bytes, target: bytes, seconds: float) -> bool:
        """Moves an item, or looks for one again and again, as `Backend.move` says."""
        until, wakes = time.monotonic() + seconds, self._wakes
        while not super().move(source, target, _LOOK_EVERY):
            if time.monotonic() >= until or self._wakes != wakes:
                return False
            time.sleep(_LOOK_EVERY)
        return True

    def wake(self) -> bool:
        """Ends all moves that wait on this backend; none is lost here."""
        self._wakes += 1
        return True


class AsyncMemoryBackend(AsyncRedisBackend):
    """Runs Calls in this process, for asyncio."""

    _wakes = 0

    async def _check(self, connection: Any, durability: Durability | None) -> None:
        """There is nothing to check: this server is part of the library."""

    async def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        """Runs calls in order, as `AsyncBackend.run` says; what is in memory is all there is to wait for."""
        return await super().run(calls)

    async def move(self, source: bytes, target: bytes, seconds: float) -> bool:
        """Moves an item, or looks for one again and again, as `AsyncBackend.move` says."""
        until, wakes = time.monotonic() + seconds, self._wakes
        while not await super().move(source, target, _LOOK_EVERY):
            if time.monotonic() >= until or self._wakes != wakes:
                return False
            await asyncio.sleep(_LOOK_EVERY)
        return True

    async def wake(self) -> bool:
        """Ends all moves that wait on this backend; none is lost here."""
        self._wakes += 1
        return True


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
