"""Reliable queues on Redis and Valkey, for threads. `pyrq.aio` has the same names for asyncio."""

from __future__ import annotations

from pyrq.core.codec import BytesCodec, Codec, JsonCodec, TextCodec
from pyrq.core.errors import NotEnoughSyncedSlavesError
from pyrq.core.options import Fsync, Replicas
from pyrq.sync import Pool, Queue, UniqueQueue

__version__ = "7.0.0"

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
    "__version__",
]
