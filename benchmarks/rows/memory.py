"""What a waiting item takes in the server's memory, beside an entry of a plain list (MEMORY USAGE of all keys)."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from functools import partial

from benchmarks.contest import Comparison, Contest, Sense
from benchmarks.names import OURS
from benchmarks.peers.peer import Peers
from benchmarks.sides.bare import Bare
from benchmarks.sides.ours import Ours
from benchmarks.sides.side import Side
from benchmarks.site import Site

__all__ = ["contests"]

_BATCH = 1_000
_PLAIN = "plain list"
_TARGET = 1.02


def contests(site: Site, _: Peers) -> Generator[Contest]:
    """Gives the contests."""
    ours, plain = Ours(site, "memory-ours"), Bare(site, "memory-plain")
    with closing(ours.queue):
        yield Contest(
            "Scale",
            f"server memory, {site.scale.stored:,} items of 100 bytes wait",
            {OURS: partial(_stored, site, ours), _PLAIN: partial(_stored, site, plain)},
            [Comparison(OURS, _PLAIN, _TARGET, Sense.COST)],
            unit="bytes/item",
            heavy=True,
        )


def _stored(site: Site, side: Side) -> float:
    for _ in range(site.scale.stored // len(site.items)):
        side.add(site.items, _BATCH)
    used = sum(site.client.memory_usage(key, samples=0) for key in list(site.client.scan_iter(f"{side.name}*")))
    site.clear(side.name)
    return float(used) / site.scale.stored
