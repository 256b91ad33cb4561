"""What a long queue costs: the same work where ten million items wait as where a thousand do."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

from benchmarks.contest import Comparison, Contest, Sample, Sense, seconds
from benchmarks.peers.peer import Peers
from benchmarks.sides.ours import Ours
from benchmarks.site import Site

__all__ = ["contests"]

_BATCH, _BATCHES = 100, 50
_SHALLOW = 1_000
_TARGET = 1.1
_SIZE = 16  # of an item, in bytes: ten millions of them have to fit into memory
_AT_A_TIME, _MOST_ARGUMENTS = 100_000, 1_000

_FILL = """
for start = 1, ARGV[1], #ARGV - 1 do
  redis.call('LPUSH', KEYS[1], unpack(ARGV, 2, math.min(#ARGV, ARGV[1] - start + 2)))
end
return redis.call('LLEN', KEYS[1])
"""
"""Pushes so many items, out of the ones given. It is let run for some 20 ms."""


def contests(site: Site, _: Peers) -> Generator[Contest]:
    """Gives the contests."""
    deep, shallow = f"{site.scale.deep:,} wait", f"{_SHALLOW:,} wait"
    sides = {deep: Ours(site, "deep"), shallow: Ours(site, "shallow")}
    with closing(sides[deep].queue), closing(sides[shallow].queue):
        _fill(site, sides[deep].name, site.scale.deep)
        _fill(site, sides[shallow].name, _SHALLOW)
        yield Contest(
            "Scale",
            f"add, get and ack, batch {_BATCH}",
            {label: _cycling(site, side) for label, side in sides.items()},
            [Comparison(deep, shallow, _TARGET, Sense.COST)],
        )
        for side in sides.values():
            site.clear(side.name)


def _fill(site: Site, name: str, count: int) -> None:
    items = [item[:_SIZE] for item in site.items[:_MOST_ARGUMENTS]]
    while (missing := count - site.client.llen(name)) > 0:
        site.client.eval(_FILL, 1, name, min(missing, _AT_A_TIME), *items)


def _cycling(site: Site, side: Ours) -> Sample:
    items = [item[:_SIZE] for item in site.items[: _BATCH * _BATCHES]]

    def work() -> None:
        side.add(items, _BATCH)
        side.work_off(_BATCH, _BATCHES)

    return lambda: seconds(work) * 1e6 / len(items)
