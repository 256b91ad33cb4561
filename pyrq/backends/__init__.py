"""Backends run Calls on a server. `connect` makes one of a URL, a redis-py client or a pool, in either world."""

from __future__ import annotations

from pyrq.backends._connect import connect, connect_async
from pyrq.backends.protocol import AsyncBackend, Backend

__all__ = ["AsyncBackend", "Backend", "connect", "connect_async"]
