"""One item is added, and a thousand consumers wait: how soon one of them has it.

A consumer is a thread in `get_items(1, timeout=…)` with a connection of its own. A wake-up begins when `add_item` is
called on another connection, and ends when one `get_items` has returned. What counts is what it takes beyond the add's
own time (measured on a queue that nobody waits on): the server answers the add and a waiting move in the same breath,
and the consumer asks once more. A round trip is a PING on a connection that was idle before, as the waiting one was.

On one machine a round trip is the time of Python and the kernel: a script and a thread that wakes up take more of it
than a PING. So the same is done over a wire that takes its time, where round trips can be counted. What the server
itself takes to wake one of a thousand stands beside: an LPUSH to as many bare BLMOVEs. (Measured: Valkey 9.1.2 needs
6 ms of processor time for that, with BLPOP as well, and 0.2 ms with a hundred; Redis 7.0.15 needs 0.1 ms.)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, suppress
from statistics import median
from typing import Any

from benchmarks.contest import Comparison, Contest, Sample, Sense, seconds
from benchmarks.peers.peer import Peers
from benchmarks.sides.blocked import BlockedMoves
from benchmarks.site import Site
from benchmarks.wire import Wire
from pyrq import Queue
from pyrq.backends import Backend, connect
from pyrq.errors import RqError

__all__ = ["contests"]

_CONSUMERS = 1_000
_MOST = 0.95  # of them wait at any moment: each asks anew every few seconds
_PATIENCE = 60.0
_IDLE = 0.002
_DELAY = 0.002
_TARGET = 2.0
_STACK = 256 * 1024
_BARE = "LPUSH to 1,000 bare BLMOVEs"
_BEYOND, _WHOLE, _PING = "beyond the add's own time", "from the call of add_item", "round trips (PING)"
_ITEM, _STOP = "item", "stop"


class _Crowd:
    """A thousand consumers that wait, and a producer."""

    def __init__(self, site: Site, name: str, client: Any) -> None:
        """Starts the consumers.

        Args:
            site: where they are.
            name: the queue's name.
            client: what all of them, and the producer, use; `site.client` looks on.
        """
        self._site = site
        self._name = site.name(name)
        self._client = client
        self._woken: list[float] = []
        self._came = threading.Event()
        self._producer = Queue(self._name, client)
        self._alone = Queue(site.name(f"{name}-alone"), client)
        self._before = self._blocked()
        backend = connect(client)
        stack = threading.stack_size(_STACK)
        self._threads = [
            threading.Thread(target=self._consume, args=(backend,), daemon=True) for _ in range(_CONSUMERS)
        ]
        threading.stack_size(stack)
        for thread in self._threads:
            thread.start()

    def _consume(self, backend: Backend) -> None:
        with suppress(RqError), Queue(self._name, backend) as queue:  # a lost server is told by who adds
            items: list[str] = []
            while items != [_STOP]:
                items = queue.get_items(1, timeout=_PATIENCE)
                now = time.perf_counter()
                if items == [_ITEM]:
                    self._woken.append(now)
                queue.ack_items(items)
                if items == [_ITEM]:
                    self._came.set()

    def _blocked(self) -> int:
        return int(self._site.client.info("clients")["blocked_clients"])

    def _settle(self) -> None:
        """Waits until nearly all of them wait."""
        deadline = time.monotonic() + _PATIENCE
        while self._blocked() - self._before < _MOST * _CONSUMERS:
            if time.monotonic() > deadline:
                raise RuntimeError("too few consumers wait")
            time.sleep(_IDLE)
        time.sleep(_IDLE)

    def wake(self) -> float:
        """Gives the median microseconds from the call of `add_item` until a consumer has the item."""
        took = []
        for _ in range(self._site.scale.wakes):
            self._settle()
            self._came.clear()
            start = time.perf_counter()
            self._producer.add_item(_ITEM)
            if not self._came.wait(_PATIENCE):
                raise RuntimeError("no consumer got the item")
            took.append(self._woken[-1] - start)
        return median(took) * 1e6

    def wake_beyond(self) -> float:
        """Gives the same without the add's own time."""
        added = []
        for _ in range(self._site.scale.wakes):
            time.sleep(_IDLE)
            added.append(seconds(lambda: self._alone.add_item(_ITEM)))
        return self.wake() - median(added) * 1e6

    def ping(self) -> float:
        """Gives the median microseconds of a round trip."""
        took = []
        for _ in range(self._site.scale.wakes):
            time.sleep(_IDLE)
            took.append(seconds(self._client.ping))
        return median(took) * 1e6

    def close(self) -> None:
        """Ends them: each takes one item more."""
        self._site.client.lpush(self._name, *[_STOP] * _CONSUMERS)
        for thread in self._threads:
            thread.join(_PATIENCE)
        self._producer.close()
        self._alone.close()


def contests(site: Site, _: Peers) -> Generator[Contest]:
    """Gives the contests."""
    with ExitStack() as stack:
        moves = BlockedMoves(site, "waking-bare", _CONSUMERS)
        stack.callback(moves.close)
        crowd = _Crowd(site, "waking-near", site.client)
        stack.callback(crowd.close)
        yield _contest("one machine", crowd, {_BARE: moves.wake})
    if "ssl" in site.client.connection_pool.connection_class.__name__.lower():
        return  # TLS asks who is at the other end, and a wire is not
    with ExitStack() as stack:
        wire = Wire(site.client, _DELAY)
        stack.callback(wire.close)
        crowd = _Crowd(site, "waking-far", wire.client(2 * _CONSUMERS))
        stack.callback(crowd.close)
        yield _contest(f"{_DELAY * 2_000:.0f} ms away", crowd, {})


def _contest(place: str, crowd: _Crowd, beside: Mapping[str, Sample]) -> Contest:
    return Contest(
        "Waiting",
        f"wake-up of 1 of 1,000 consumers, {place}",
        {_BEYOND: crowd.wake_beyond, _WHOLE: crowd.wake, _PING: crowd.ping, **beside},
        [
            Comparison(_BEYOND, _PING, _TARGET, Sense.COST),
            Comparison(_WHOLE, _PING, None, Sense.COST),
            *(Comparison(_WHOLE, label, None, Sense.COST) for label in beside),
        ],
        unit="us",
        heavy=True,
    )
