"""Reliable queues on Redis and Valkey, for asyncio: the same names as `pyrq`, awaited."""

from __future__ import annotations

from pyrq.aio.batch import Batch
from pyrq.aio.consumer import BatchConsumer, Consumer
from pyrq.aio.dead_letters import DeadLetters
from pyrq.aio.pool import Pool
from pyrq.aio.queue import Queue
from pyrq.aio.unique_queue import UniqueQueue
from pyrq.core.codec import BytesCodec, Codec, JsonCodec, TextCodec
from pyrq.core.consuming import ConsumerEvent, EventKind, Lease, Totals, current_lease
from pyrq.core.errors import AsyncNotEnoughSyncedSlavesError as NotEnoughSyncedSlavesError
from pyrq.core.errors import QueueFull
from pyrq.core.options import Fsync, Replicas
from pyrq.core.verdicts import Backoff, Bury, Drop, Retry
from pyrq.core.views import DeadLetter, InFlight, Stats

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
]
