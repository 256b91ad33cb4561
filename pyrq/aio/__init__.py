"""Reliable queues on Redis and Valkey, for asyncio: the same names as `pyrq`, awaited."""

from __future__ import annotations

from pyrq.aio.pool import Pool
from pyrq.aio.queue import Queue
from pyrq.aio.unique_queue import UniqueQueue
from pyrq.core.codec import BytesCodec, Codec, JsonCodec, TextCodec
from pyrq.core.errors import AsyncNotEnoughSyncedSlavesError as NotEnoughSyncedSlavesError
from pyrq.core.options import Fsync, Replicas

__all__ = [
    "Queue",
    "UniqueQueue",
    "Pool",
    "Replicas",
    "Fsync",
    "Codec",
    "TextCodec",
    "BytesCodec",
    "JsonCodec",
    "NotEnoughSyncedSlavesError",
]
