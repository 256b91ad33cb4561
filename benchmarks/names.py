"""What sides and groups are called in tables."""

from __future__ import annotations

__all__ = ["ASYNCIO", "BARE", "JOINED_STREAMS", "OLDER", "OLDER_AIO", "OURS", "STREAMS", "THREADS"]

THREADS, ASYNCIO = "Threads", "asyncio"

OURS = "py-rq 7"
OLDER = "py-rq's way"
OLDER_AIO = "aio-py-rq's way"
STREAMS = "raw Streams"
JOINED_STREAMS = "raw Streams, one round trip"
BARE = "bare commands"
