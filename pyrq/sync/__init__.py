"""Reliable queues on Redis and Valkey, for threads. `pyrq` itself has these names."""

from __future__ import annotations

from pyrq.core.codec import BytesCodec, Codec, JsonCodec, TextCodec
from pyrq.core.errors import NotEnoughSyncedSlavesError
from pyrq.core.options import Fsync, Replicas
from pyrq.sync.queue import Queue

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
