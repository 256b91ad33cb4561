"""Consumers: how soon a waiting one has an item, and what `consume` costs beside a loop written by hand.

A wake-up begins when `add_item` is called on one connection, and ends when the `get_items` that waits in another thread
has returned. The server answers the add and the waiting move in the same breath, and the consumer asks once more. What
a wake-up may take is the add's own time and two round trips: that is the other side of its cases, so a ratio of 1 or
more reaches the target. A round trip is a PING on a connection that was idle before, as the waiting consumer's is.

On one machine a round trip is the time of Python and the kernel, which is not what is to be counted: a script and a
thread that wakes up take more of it than a PING. So the target holds over a wire that takes its time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

from benchmarks.contest import Case, seconds
from benchmarks.wire import Wire
from pyrq import BatchConsumer, Consumer, Queue

__all__ = ["Consuming"]

_TIMEOUT = 10.0
_IDLE = 0.002
_PINGS = 5
_DELAY = 0.002
_CONSUMED = {1: 200, 100: 2_000}
"""Size of a batch -> how many items are consumed in a sample."""

_AGAINST, _BY_HAND = "an add_item + 2 PINGs", "get and ack by hand"


class _WakeUp:
    """A consumer that waits and a producer that adds, each with connections of its own."""

    def __init__(self, name: str, place: str, consumer: Any, producer: Any, control: Any) -> None:
        self._place = place
        self._waiting = Queue(name, consumer)
        self._adding, self._alone = Queue(name, producer), Queue(f"{name}-alone", producer)
        self._consumer, self._control = consumer, control
        self._woken: list[float] = []
        self._added: list[float] = []
        self._pinged: list[float] = []

    def case(self, target: float | None, *, heavy: bool) -> Case:
        return Case(f"wake-up, {self._place}", _AGAINST, self._wake, self._add_and_ping, target, heavy)

    def _wake(self) -> float:
        """Gives for how long a waiting get takes from when an item is added."""
        ends: list[float] = []

        def wait() -> None:
            if self._waiting.get_items(1, timeout=_TIMEOUT) == ["item"]:
                ends.append(time.perf_counter())

        blocked = self._blocked()
        thread = threading.Thread(target=wait)
        thread.start()
        while self._blocked() <= blocked and thread.is_alive():
            time.sleep(_IDLE / 10)
        time.sleep(_IDLE)
        start = time.perf_counter()
        self._adding.add_item("item")
        thread.join()
        if not (ends and self._waiting.ack_item("item")):
            raise RuntimeError("a waiting consumer did not get its item")
        self._woken.append(ends[0] - start)
        return self._woken[-1] * 1e6

    def _blocked(self) -> int:
        return int(self._control.info("clients")["blocked_clients"])

    def _add_and_ping(self) -> float:
        time.sleep(_IDLE)
        self._added.append(seconds(self._add_alone))
        self._control.delete(self._alone.name)
        pings = []
        for _ in range(_PINGS):
            time.sleep(_IDLE)
            pings.append(seconds(self._consumer.ping))
        self._pinged.append(median(pings))
        return (self._added[-1] + 2 * self._pinged[-1]) * 1e6

    def _add_alone(self) -> None:
        self._alone.add_item("item")

    def note(self) -> str:
        """Tells how many round trips a wake-up takes; the first round does not count."""
        rounds = list(zip(self._woken, self._added, self._pinged, strict=True))[1:]
        ping = median(ping for _, _, ping in rounds)
        whole = median(woken / ping for woken, _, ping in rounds)
        beyond = median((woken - added) / ping for woken, added, ping in rounds)
        return (
            f"wake-up, {self._place}: {whole:.1f} round trips, {beyond:.1f} of them beyond the add's own "
            f"(a PING takes {ping * 1e6:.0f} us)"
        )

    def close(self) -> None:
        self._control.delete(self._adding.name, self._alone.name)
        for queue in (self._waiting, self._adding, self._alone):
            queue.close()


@dataclass(slots=True)
class _Stopwatch:
    """A handler that does nothing but measure, from its first call to the one with the last item.

    Attributes:
        left: how many items are to come.
        stop: what to do when they have come.
    """

    left: int
    stop: Callable[[], None] = lambda: None
    _count: int = 0
    _start: float = field(default=0.0)
    _end: float = field(default=0.0)

    def item(self, _: str) -> None:
        self._see(1)

    def items(self, items: Sequence[str]) -> None:
        self._see(len(items))

    def _see(self, size: int) -> None:
        self.left -= size
        if self._start:
            self._count += size
        else:
            self._start = time.perf_counter()
        if not self.left:
            self._end = time.perf_counter()
            self.stop()

    def per_item(self) -> float:
        if self.left:
            raise RuntimeError(f"{self.left} items did not come")
        return (self._end - self._start) * 1e6 / self._count


class Consuming:
    """The cases about consumers, on one server."""

    def __init__(self, client: Any, name: str, items: Sequence[str]) -> None:
        """Makes the queues.

        Args:
            client: a redis-py client of the server.
            name: what the names of the queues begin with.
            items: what is consumed, at least 2,000 items.
        """
        self._client = client
        self._items = items
        self._opened = ExitStack()
        self._queue = Queue(f"{name}-consumed", client)
        self._opened.callback(self._queue.close)
        self._opened.callback(client.delete, self._queue.name)
        self._near = self._open(_WakeUp(f"{name}-near", "one machine", client, client, client))
        self._far: _WakeUp | None = None
        if "ssl" not in type(client.connection_pool.make_connection()).__name__.lower():  # TLS asks who is at the end
            wire = Wire(client, _DELAY)
            self._opened.callback(wire.close)
            place = f"{_DELAY * 2000:.0f} ms away"
            self._far = self._open(_WakeUp(f"{name}-far", place, wire.client(), wire.client(), client))

    def _open(self, wake_up: _WakeUp) -> _WakeUp:
        self._opened.callback(wake_up.close)
        return wake_up

    def quick(self) -> Iterator[Case]:
        """Gives the cases that get all rounds."""
        yield self._near.case(None, heavy=False)

    def heavy(self) -> Iterator[Case]:
        """Gives the slow ones."""
        if self._far:
            yield self._far.case(1.0, heavy=True)
        for batch in _CONSUMED:
            ours, theirs = partial(self._consume, batch), partial(self._by_hand, batch)
            yield Case(f"consume, batch {batch}", _BY_HAND, ours, theirs, heavy=True)
        yield Case("consume_batches of 100", _BY_HAND, self._consume_batches, self._batches_by_hand, heavy=True)

    def notes(self) -> list[str]:
        """Tells how many round trips a wake-up took; after the cases were run."""
        return [each.note() for each in (self._near, self._far) if each]

    def _fill(self, count: int) -> _Stopwatch:
        self._client.lpush(self._queue.name, *self._items[:count])
        return _Stopwatch(count)

    def _consume(self, batch: int) -> float:
        watch = self._fill(_CONSUMED[batch])
        return self._run(watch, Consumer(self._queue, watch.item, batch=batch))

    def _consume_batches(self) -> float:
        watch = self._fill(_CONSUMED[100])
        return self._run(watch, BatchConsumer(self._queue, watch.items, batch=100))

    def _run(self, watch: _Stopwatch, consumer: Consumer[str]) -> float:
        watch.stop = consumer.stop

        def work() -> None:
            consumer.run()

        seconds(work)
        return watch.per_item()

    def _by_hand(self, batch: int) -> float:
        watch = self._fill(_CONSUMED[batch])

        def work() -> None:
            while items := self._queue.get_items(batch):
                for item in items:
                    watch.item(item)
                    self._queue.ack_item(item)

        seconds(work)
        return watch.per_item()

    def _batches_by_hand(self) -> float:
        watch = self._fill(_CONSUMED[100])

        def work() -> None:
            while items := self._queue.get_items(100):
                watch.items(items)
                self._queue.ack_items(items)

        seconds(work)
        return watch.per_item()

    def close(self) -> None:
        """Leaves nothing behind on the server."""
        self._opened.close()
