"""Reliable queues on Redis and Valkey, for threads. `pyrq` itself has these names."""

from __future__ import annotations

from pyrq.core.codec import BytesCodec, Codec, JsonCodec, TextCodec
from pyrq.core.errors import NotEnoughSyncedSlavesError
from pyrq.core.options import Fsync, Replicas
from pyrq.sync.pool import Pool
from pyrq.sync.queue import Queue
from pyrq.sync.unique_queue import UniqueQueue

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
