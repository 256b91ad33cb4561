"""Reliable queues on Redis and Valkey, for threads. `pyrq.aio` has the same names for asyncio."""

from __future__ import annotations

from pyrq.core.codec import BytesCodec, Codec, JsonCodec, TextCodec
from pyrq.core.consuming import ConsumerEvent, EventKind, Lease, Totals, current_lease
from pyrq.core.errors import NotEnoughSyncedSlavesError, QueueFull
from pyrq.core.options import Fsync, Replicas
from pyrq.core.verdicts import Backoff, Bury, Drop, Retry
from pyrq.core.views import DeadLetter, InFlight, Stats
from pyrq.sync import Batch, BatchConsumer, Consumer, DeadLetters, Pool, Queue, UniqueQueue

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
    "QueueFull",
    "Consumer",
    "BatchConsumer",
    "Retry",
    "Bury",
    "Drop",
    "Backoff",
    "current_lease",
    "Lease",
    "ConsumerEvent",
    "EventKind",
    "Totals",
    "Batch",
    "DeadLetter",
    "DeadLetters",
    "InFlight",
    "Stats",
    "__version__",
]
