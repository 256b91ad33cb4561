"""The other kinds, against the older library's way: a queue of unique items, and a pool."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from functools import partial
from typing import Protocol

from benchmarks.contest import Comparison, Contest, Sample, seconds
from benchmarks.names import OLDER, OURS
from benchmarks.peers.peer import Peers
from benchmarks.sides.older import OlderPool, OlderUniqueQueue
from benchmarks.sides.side import must_be
from benchmarks.site import Site
from pyrq import Pool, UniqueQueue

__all__ = ["contests"]

_GROUP = "Unique queue and pool"
_BATCH, _LENT = 1_000, 500


class _Lender(Protocol):
    """What is used of a pool."""

    @property
    def name(self) -> str: ...

    def get_items(self, count: int) -> list[str]: ...

    def ack_items(self, items: list[str]) -> int: ...


class _Queue(_Lender, Protocol):
    """What is used of a queue."""

    def add_items(self, items: Sequence[str]) -> int: ...


def contests(site: Site, _: Peers) -> Generator[Contest]:
    """Gives the contests."""
    older, older_pool = (
        OlderUniqueQueue(site.name("unique-older"), site.client),
        OlderPool(site.name("pool-older"), site.client),
    )
    with (
        closing(UniqueQueue(site.name("unique-ours"), site.client)) as ours,
        closing(Pool(site.name("pool-ours"), site.client)) as pool,
    ):
        yield _contest("UniqueQueue add_items(1,000)", partial(_add, site, ours), partial(_add, site, older), 5.0)
        yield _contest(
            "UniqueQueue get + ack, batch 1,000", partial(_work, site, ours), partial(_work, site, older), 5.0
        )
        yield _contest("Pool ack_items(500)", partial(_return, site, pool), partial(_return, site, older_pool), 30.0)


def _contest(name: str, ours: Sample, theirs: Sample, target: float) -> Contest:
    return Contest(_GROUP, name, {OURS: ours, OLDER: theirs}, [Comparison(OURS, OLDER, target)])


def _add(site: Site, queue: _Queue) -> float:
    took = seconds(lambda: must_be(_BATCH, queue.add_items(site.items[:_BATCH])))
    site.clear(queue.name)
    return took * 1e6 / _BATCH


def _work(site: Site, queue: _Queue) -> float:
    queue.add_items(site.items[:_BATCH])
    took = seconds(lambda: must_be(_BATCH, queue.ack_items(queue.get_items(_BATCH))))
    site.clear(queue.name)
    return took * 1e6 / _BATCH


def _return(site: Site, pool: _Lender) -> float:
    site.client.zadd(pool.name, dict.fromkeys(site.items[:_LENT], int(time.time()) - 1))
    items = pool.get_items(_LENT)
    took = seconds(lambda: must_be(_LENT, pool.ack_items(items)))
    site.clear(pool.name)
    return took * 1e6 / _LENT
