"""Threads: adding, and taking with acknowledging, in batches of 1, 100 and 1,000.

Ours takes and acknowledges as a consumer's loop does by hand: `ack_and_get`, one round trip for each batch.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

from benchmarks.contest import Comparison, Contest
from benchmarks.names import BARE, JOINED_STREAMS, OLDER, OURS, STREAMS, THREADS
from benchmarks.peers.peer import Peers
from benchmarks.sides.bare import Bare
from benchmarks.sides.older import OlderQueue
from benchmarks.sides.ours import Ours
from benchmarks.sides.side import Side, adding, working
from benchmarks.sides.streams import JoinedStreams, Streams
from benchmarks.site import Site

__all__ = ["contests"]

_PEERS = {
    1: ("py-rq", "redis-message-queue", "torrelque", "bullmq"),
    100: ("py-rq", "torrelque", "bullmq"),
    1_000: ("py-rq", "torrelque", "bullmq"),
}
_PEER_BATCHES = {1: 100, 100: 5, 1_000: 1}
"""Size of a batch -> how many of them are a peer's sample: some take a while."""


@dataclass(frozen=True, slots=True)
class _Targets:
    """What is to be reached at one size of a batch, against each other side; None for no target."""

    older: float | None
    streams: float
    bare: float | None = None


_ADDING = {1: _Targets(1.0, 1.2), 100: _Targets(None, 2.0), 1_000: _Targets(1.2, 2.0, 0.6)}
_WORKING = {1: _Targets(2.0, 1.2), 100: _Targets(6.0, 2.0), 1_000: _Targets(8.0, 2.0)}


def contests(site: Site, peers: Peers) -> Generator[Contest]:
    """Gives the contests."""
    ours = Ours(site, "ours")
    sides: dict[str, Side] = {
        OURS: ours,
        OLDER: OlderQueue(site.name("older"), site.client),
        STREAMS: Streams(site, "streams"),
        JOINED_STREAMS: JoinedStreams(site, "joined"),
        BARE: Bare(site, "bare"),
    }
    with closing(ours.queue):
        for batch, targets in _ADDING.items():
            own = {label: adding(site, side, batch) for label, side in sides.items() if label != JOINED_STREAMS}
            others = peers.samples(_PEERS[batch], "add", batch, _PEER_BATCHES[batch])
            name = "add_item" if batch == 1 else f"add_items({batch:,})"
            yield Contest(THREADS, name, {**own, **others}, _against(targets, [*own, *others]))
        for batch, targets in _WORKING.items():
            own = {label: working(site, side, batch) for label, side in sides.items()}
            others = peers.samples(_PEERS[batch], "work", batch, _PEER_BATCHES[batch])
            name = f"get + ack, batch {batch:,}"
            yield Contest(THREADS, name, {**own, **others}, _against(targets, [*own, *others]))


def _against(targets: _Targets, labels: Sequence[str]) -> list[Comparison]:
    wanted = {OLDER: targets.older, STREAMS: targets.streams, BARE: targets.bare}
    ours = [Comparison(OURS, label, wanted.get(label)) for label in labels if label != OURS]
    return [*ours, Comparison(BARE, OLDER)]  # how far one can get
