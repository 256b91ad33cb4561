"""Reliable queues on Redis and Valkey, for asyncio: the same names as `pyrq`, awaited."""

from __future__ import annotations

from pyrq.aio.queue import Queue
from pyrq.core.codec import BytesCodec, Codec, JsonCodec, TextCodec
from pyrq.core.errors import AsyncNotEnoughSyncedSlavesError as NotEnoughSyncedSlavesError
from pyrq.core.options import Fsync, Replicas

__all__ = [
    "Queue",
    "Replicas",
    "Fsync",
    "Codec",
    "TextCodec",
    "BytesCodec",
    "JsonCodec",
    "NotEnoughSyncedSlavesError",
]
