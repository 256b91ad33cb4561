"""What a whole cycle costs the server, in processor time: items are added, taken and acknowledged, 1,000 at a time.

The server is asked how much its main thread has used, before and after (https://redis.io/commands/info).
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

from benchmarks.contest import Comparison, Contest, Sample, Sense
from benchmarks.names import BARE, OLDER, OURS, STREAMS
from benchmarks.peers.peer import Peers
from benchmarks.sides.bare import Bare
from benchmarks.sides.older import OlderQueue
from benchmarks.sides.ours import Ours
from benchmarks.sides.side import Side
from benchmarks.sides.streams import Streams
from benchmarks.site import Site

__all__ = ["contests"]

_BATCH, _AT_A_TIME = 1_000, 10
_TARGET = 1.5


def contests(site: Site, _: Peers) -> Generator[Contest]:
    """Gives the contests."""
    ours = Ours(site, "cycle-ours")
    sides: dict[str, Side] = {
        OURS: ours,
        BARE: Bare(site, "cycle-bare"),
        OLDER: OlderQueue(site.name("cycle-older"), site.client),
        STREAMS: Streams(site, "cycle-streams"),
    }
    with closing(ours.queue):
        yield Contest(
            "Cost",
            "server CPU, whole cycle, batch 1,000",
            {label: _cycling(site, side) for label, side in sides.items()},
            [
                Comparison(OURS, BARE, _TARGET, Sense.COST),
                Comparison(OURS, OLDER, None, Sense.COST),
                Comparison(OURS, STREAMS, None, Sense.COST),
            ],
            unit="us of CPU/item",
        )


def _cycling(site: Site, side: Side) -> Sample:
    items = site.items[: _BATCH * _AT_A_TIME]
    times = max(1, site.scale.cycles // _AT_A_TIME)

    def sample() -> float:
        side.fill(items[:_BATCH])  # makes what a side needs first, as the group of a stream
        side.work_off(_BATCH, 1)
        before = _used(site)
        for _ in range(times):
            side.add(items, _BATCH)
            side.work_off(_BATCH, _AT_A_TIME)
        used = _used(site) - before
        site.clear(side.name)
        return used * 1e6 / (times * len(items))

    return sample


def _used(site: Site) -> float:
    """Asks how many seconds the server's main thread has used, or where it does not tell, the whole process."""
    facts = site.client.info("cpu")
    kinds = ("user", "sys")
    return sum(float(facts.get(f"used_cpu_{kind}_main_thread", facts[f"used_cpu_{kind}"])) for kind in kinds)
