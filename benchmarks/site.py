"""Where it all happens: one server, its clients, the items, and how much of everything is done."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis
from redis import asyncio as redis_asyncio

from pyrq.backends.embedded import EmbeddedServer

__all__ = ["FULL", "QUICK", "Scale", "Site", "open_site", "own_server"]

_SIZE = 100
_ITEMS = 10_000


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done.

    Attributes:
        rounds: how many rounds count.
        batches: size of a batch -> how many of them make a sample. Samples are short and taken often, so that all
            sides of a ratio meet the same machine.
        calls: how many calls are made where the client's own time is measured.
        cycles: how many batches go round where the server's is.
        deep: how many items wait in a deep queue.
        stored: how many where memory is measured.
        rises: how many turns each task takes where 500 work at a time.
        wakes: how many items make a sample of waking up.
        consumed: size of a batch -> how many items a consumer takes in a sample; more than it takes ahead.
    """

    rounds: int
    batches: Mapping[int, int]
    calls: int
    cycles: int
    deep: int
    stored: int
    rises: int
    wakes: int
    consumed: Mapping[int, int]


FULL = Scale(15, {1: 200, 100: 20, 1_000: 4}, 2_000, 20, 10_000_000, 100_000, 4, 20, {1: 1_000, 100: 3_000})
QUICK = Scale(5, {1: 100, 100: 10, 1_000: 2}, 500, 10, 1_000_000, 50_000, 1, 10, {1: 400, 100: 1_000})


@dataclass(frozen=True)
class Site:
    """One server and what is used on it.

    Attributes:
        url: how others reach the server.
        client: a redis-py client of it that decodes replies; all sides in this process share its pool.
        own: whether the server is this run's own, so that its configuration may be changed.
        scale: how much is done.
        prefix: what the names of all keys begin with, before a hyphen.
        items: 10,000 different items of 100 bytes.
        random: where random orders come from.
    """

    url: str
    client: Any
    own: bool
    scale: Scale
    prefix: str
    items: Sequence[str]
    random: random.Random = field(repr=False)

    def name(self, what: str) -> str:
        """Gives the name of a queue."""
        return f"{self.prefix}-{what}"

    def async_client(self, connections: int) -> Any:
        """Makes an asyncio client that decodes replies, with so many connections at the most."""
        return redis_asyncio.Redis.from_url(self.url, decode_responses=True, max_connections=connections)

    def clear(self, name: str) -> None:
        """Deletes all keys whose names begin with a name."""
        for keys in _chunks(list(self.client.scan_iter(f"{name}*", count=10_000))):
            self.client.unlink(*keys)


def _chunks(keys: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(keys), 1_000):
        yield keys[start : start + 1_000]


@contextlib.contextmanager
def own_server(appendfsync: str) -> Iterator[str]:
    """Runs an embedded server in a temporary directory; gives its URL."""
    with (
        tempfile.TemporaryDirectory(prefix="pyrq-bench-") as directory,
        EmbeddedServer.open(directory, appendfsync=appendfsync) as server,
    ):
        with redis.Redis(unix_socket_path=server.socket) as client:
            # A rewrite of the append-only file in the midst of a contest would meet one side only.
            client.config_set("auto-aof-rewrite-percentage", 0)
        yield f"unix://{server.socket}"


@contextlib.contextmanager
def open_site(url: str | None, scale: Scale, seed: int) -> Iterator[Site]:
    """Opens the server at a URL, or one of its own; leaves nothing behind there.

    Args:
        url: the server to use; None for an embedded one.
        scale: how much is to be done.
        seed: what the items, the random orders and the names follow from.
    """
    chance = random.Random(seed)
    items = [f"{number:06d} {chance.randbytes(_SIZE).hex()}"[:_SIZE] for number in range(_ITEMS)]
    with contextlib.ExitStack() as stack:
        reached = stack.enter_context(own_server("everysec")) if url is None else url
        client = stack.enter_context(redis.Redis.from_url(reached, decode_responses=True, max_connections=2_000))
        client.ping()
        site = Site(reached, client, url is None, scale, f"pyrq-bench-{seed:06d}", items, chance)
        stack.callback(site.clear, f"{site.prefix}-")
        yield site
