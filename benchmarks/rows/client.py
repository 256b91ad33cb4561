"""What a call costs the client, in processor time, beside the same command on a bare redis-py connection.

What our calls send is recorded once. The other side sends it again, byte for byte, packed, sent and read by redis-py's
own connection and nothing else. It begins with the same keys on the server, so that the same answers come.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any

from benchmarks.contest import Comparison, Contest, Sample, Sense
from benchmarks.names import OURS
from benchmarks.peers.peer import Peers
from benchmarks.sides.ours import Ours
from benchmarks.site import Site
from pyrq import Queue
from pyrq.backends import connect
from pyrq.core.call import Call
from pyrq.core.options import Durability
from pyrq.core.wire import commands

__all__ = ["contests"]

_GROUP = "Cost"
_BARE = "bare connection"
_TARGET = 1.3

Pipeline = list[tuple[bytes, ...]]


class _Recorder:
    """A backend that remembers what it sends."""

    gathers = False

    def __init__(self, client: Any) -> None:
        self._inner: Any = connect(client)
        self.sent: list[Pipeline] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        self.sent.append(commands(calls, durability, in_full=False))
        results: list[Any] = self._inner.run(calls, durability)
        return results


class _Recorded(Ours):
    """A queue whose commands are remembered."""

    def __init__(self, site: Site, name: str) -> None:
        super().__init__(site, name)
        self.queue.close()
        self._recorder = _Recorder(site.client)
        self.queue = Queue(self.name, self._recorder)

    def sent(self, work: Callable[[], object]) -> list[Pipeline]:
        """Gives what some work sends, without what is sent once before all."""
        self.queue.get_count()
        self._recorder.sent.clear()
        work()
        return list(self._recorder.sent)


def contests(site: Site, _: Peers) -> Generator[Contest]:
    """Gives the contests."""
    ours, recorded = Ours(site, "client-ours"), _Recorded(site, "client-recorded")
    items = [site.items[number % len(site.items)] for number in range(site.scale.calls)]
    with closing(ours.queue), closing(recorded.queue):
        yield _contest(
            "client CPU, add_item",
            _measured(site, ours, [], lambda: ours.add(items, 1), len(items)),
            _replayed(site, recorded, [], lambda: recorded.add(items, 1)),
        )
        yield _contest(
            "client CPU, ack_and_get of 1",
            _measured(site, ours, items, lambda: ours.work_off(1, len(items)), len(items) + 1),
            _replayed(site, recorded, items, lambda: recorded.work_off(1, len(items))),
        )


def _contest(name: str, ours: Sample, bare: Sample) -> Contest:
    comparisons = [Comparison(OURS, _BARE, _TARGET, Sense.COST)]
    return Contest(_GROUP, name, {OURS: ours, _BARE: bare}, comparisons, unit="us of CPU/call")


def _measured(site: Site, side: Ours, waiting: Sequence[str], work: Callable[[], object], calls: int) -> Sample:
    def sample() -> float:
        _begin(site, side, waiting)
        start = time.thread_time()
        work()
        return (time.thread_time() - start) * 1e6 / calls

    return sample


def _replayed(site: Site, side: _Recorded, waiting: Sequence[str], work: Callable[[], object]) -> Sample:
    _begin(site, side, waiting)
    sent = side.sent(work)

    def sample() -> float:
        _begin(site, side, waiting)
        pool = site.client.connection_pool
        connection = pool.connection_class(**pool.connection_kwargs)
        connection.connect()
        try:
            start = time.thread_time()
            for pipeline in sent:
                connection.send_packed_command(connection.pack_commands(pipeline))
                for _ in pipeline:
                    connection.read_response(disable_decoding=True)
            return (time.thread_time() - start) * 1e6 / len(sent)
        finally:
            connection.disconnect()

    return sample


def _begin(site: Site, side: Ours, waiting: Sequence[str]) -> None:
    site.clear(side.name)
    if waiting:
        side.fill(waiting)
