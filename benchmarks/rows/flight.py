"""Acknowledging a part of what is in flight, in the order in which it was taken and in any other."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from typing import Protocol

from benchmarks.contest import Comparison, Contest, Sense, seconds
from benchmarks.names import OLDER
from benchmarks.peers.peer import Peers
from benchmarks.sides.older import OlderQueue
from benchmarks.sides.side import chunks, must_be
from benchmarks.site import Site
from pyrq import Queue

__all__ = ["contests"]

_ACKED, _CHUNK = 2_000, 1_000
_TARGET = 5.0
_SHUFFLED, _IN_ORDER = "in random order", "in order"
_OLDER_SHUFFLED = f"{OLDER}, {_SHUFFLED}"


class _Lender(Protocol):
    """What is used of a queue."""

    @property
    def name(self) -> str: ...

    def get_items(self, count: int) -> list[str]: ...

    def ack_items(self, items: list[str]) -> int: ...


def contests(site: Site, _: Peers) -> Generator[Contest]:
    """Gives the contests."""
    older = OlderQueue(site.name("flight-older"), site.client)
    shuffle = site.random.shuffle
    with closing(Queue(site.name("flight-ours"), site.client)) as ours:
        yield Contest(
            "Scale",
            f"ack {_ACKED:,} of {len(site.items):,} in flight, batches of 1,000",
            {
                _SHUFFLED: partial(_acknowledge, site, ours, shuffle),
                _IN_ORDER: partial(_acknowledge, site, ours, _leave),
                _OLDER_SHUFFLED: partial(_acknowledge, site, older, shuffle),
            },
            [Comparison(_SHUFFLED, _IN_ORDER, _TARGET, Sense.COST), Comparison(_SHUFFLED, _OLDER_SHUFFLED)],
            heavy=True,
        )


def _leave(_: list[str]) -> None:
    """Leaves them in the order in which they were taken."""


def _acknowledge(site: Site, queue: _Lender, order: Callable[[list[str]], None]) -> float:
    site.client.lpush(queue.name, *site.items)
    held = queue.get_items(len(site.items))
    order(held)
    acked = [list(chunk) for chunk in chunks(held[:_ACKED], _CHUNK)]

    def work() -> None:
        for chunk in acked:
            must_be(len(chunk), queue.ack_items(chunk))

    took = seconds(work)
    site.clear(queue.name)
    return took * 1e6 / _ACKED
