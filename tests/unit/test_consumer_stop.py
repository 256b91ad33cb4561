"""How consumers stop: never holding items."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pyrq import Consumer, Queue, Totals, aio
from pyrq.aio import consumer as aio_consumer
from tests.servers import wait_until
from tests.unit.consuming import KINDS, LIMIT, PLAIN, TASKS, THREADS, Bench, Running, each_kind, passed
from tests.unit.helpers import fresh

bench = pytest.fixture(params=KINDS, name="bench")(each_kind)
of_aio = pytest.mark.parametrize("bench", [TASKS, PLAIN], indirect=True)


class Slow:
    """A handler that says what it has begun with, and goes on when it may."""

    def __init__(self, bench: Bench, error: BaseException | None = None) -> None:
        self.began: list[Any] = []
        self.ended: list[Any] = []
        self.go = bench.event()
        self._error = error

    async def __call__(self, item: Any) -> None:
        self.began.append(item)
        await passed(self.go)
        self.ended.append(item)
        if self._error:
            raise self._error

    def wait_for(self, count: int) -> None:
        """Waits until so many have begun."""
        wait_until(lambda: len(self.began) == count, LIMIT)


def test_a_consumer_that_waits_stops(bench: Bench) -> None:
    running = bench.start(Slow(bench), concurrency=3)
    wait_until(lambda: bench.wire.moves, LIMIT)
    assert running.end() == Totals()
    assert bench.key_names() == set()


def test_a_consumer_that_waits_stops_at_once(bench: Bench) -> None:
    running = bench.start(Slow(bench), concurrency=3)
    wait_until(lambda: bench.wire.moves, LIMIT)
    running.stop()
    assert running.end() == Totals()
    assert bench.key_names() == set()


def test_an_event_stops_it() -> None:
    url, stop = fresh(), threading.Event()

    def handle(item: str) -> None:
        stop.set()

    with Queue("orders", url) as queue:
        queue.add_items(["a", "b", "c"])
        totals = queue.consume(handle, stop=stop, batch=3)
        assert totals.acked == totals.taken - totals.returned
        assert queue.peek(3) == ["a", "b", "c"][totals.acked :]
        assert totals.acked >= 1


def test_an_event_of_asyncio_stops_it() -> None:
    async def consume() -> None:
        stop = asyncio.Event()

        async def handle(item: str) -> None:
            stop.set()
            while not stopping.is_set():
                await asyncio.sleep(0)

        async with aio.Queue("orders", fresh()) as queue:
            await queue.add_items(["a", "b", "c"])
            consumer = aio.Consumer(queue, handle, stop=stop, batch=3)
            stopping = consumer._stopping
            assert await consumer.run() == Totals(taken=3, acked=1, returned=2)
            assert await queue.peek(3) == ["b", "c"]

    asyncio.run(consume())


def test_what_runs_may_finish_and_what_was_not_begun_goes_back(bench: Bench) -> None:
    bench.queue.add_items(["a", "b", "c", "d"])
    handle = Slow(bench)
    running = bench.start(handle, batch=3)
    handle.wait_for(1)
    running.stop()
    wait_until(running.consumer._stopping.is_set, LIMIT)
    assert bench.held() == [b"a", b"b", b"c"]
    handle.go.set()
    assert running.result() == Totals(taken=3, acked=1, returned=2)
    assert handle.began == ["a"]
    assert bench.waiting() == ["b", "c", "d"]
    assert bench.key_names() == {"orders"}


def test_all_handlers_may_finish(bench: Bench) -> None:
    bench.queue.add_items(["a", "b", "c", "d"])
    handle = Slow(bench)
    running = bench.start(handle, batch=2, concurrency=3)
    handle.wait_for(3)
    running.stop()
    wait_until(running.consumer._stopping.is_set, LIMIT)
    handle.go.set()
    assert running.result() == Totals(taken=4, acked=3, returned=1)
    assert bench.waiting() == ["d"]


@pytest.mark.parametrize("error", [None, LookupError("late")], ids=["returns", "raises"])
def test_what_does_not_finish_in_time_goes_back(bench: Bench, error: Exception | None) -> None:
    """In its order, in front of what waits; its late result changes nothing."""
    bench.queue.add_items(["a", "b", "c", "d", "e"])
    handle = Slow(bench, error)
    running = bench.start(handle, batch=2, concurrency=2, grace=0.03)
    handle.wait_for(2)
    wait_until(lambda: len(bench.held()) == 2, LIMIT)
    assert running.end() == Totals(taken=2, returned=2)
    assert bench.waiting() == ["a", "b", "c", "d", "e"]
    assert bench.held() == []
    before = bench.wire.count("ack"), bench.wire.count("retry")
    handle.go.set()
    if bench.kind == TASKS:
        assert handle.ended == []  # they were cancelled
    else:
        wait_until(lambda: len(handle.ended) == 2, LIMIT)
        wait_until(lambda: not any(is_alive(worker) for worker in running.consumer._workers), LIMIT)
    assert (bench.wire.count("ack"), bench.wire.count("retry")) == before
    assert bench.waiting() == ["a", "b", "c", "d", "e"]
    assert bench.key_names() == {"orders"}


def is_alive(worker: Any) -> bool:
    return worker.is_alive() if isinstance(worker, threading.Thread) else not worker.done()


def test_without_grace_everything_goes_back(bench: Bench) -> None:
    bench.queue.add_items(["a", "b", "c"])
    handle = Slow(bench)
    running = bench.start(handle, batch=2, grace=0)
    handle.wait_for(1)
    assert running.end() == Totals(taken=2, returned=2)
    assert bench.waiting() == ["a", "b", "c"]


def test_stopped_twice_it_does_not_wait(bench: Bench) -> None:
    bench.queue.add_items(["a", "b", "c"])
    handle = Slow(bench)
    running = bench.start(handle, batch=2, grace=1000)
    handle.wait_for(1)
    running.stop()
    wait_until(running.consumer._stopping.is_set, LIMIT)
    assert running.thread.is_alive()
    assert running.end() == Totals(taken=2, returned=2)
    assert bench.waiting() == ["a", "b", "c"]


def test_a_list_that_does_not_finish_in_time_goes_back(bench: Bench) -> None:
    bench.queue.add_items(["a", "b", "c", "d"])
    handle = Slow(bench)
    running = bench.start_batches(handle, batch=3, grace=0)
    handle.wait_for(1)
    assert running.end() == Totals(taken=3, returned=3)
    assert bench.waiting() == ["a", "b", "c", "d"]


def test_more_than_one_step_brings_back_goes_back_in_order(bench: Bench) -> None:
    items = [str(number) for number in range(2500)]
    bench.queue.add_items(items)
    handle = Slow(bench)
    running = bench.start_batches(handle, batch=1000, concurrency=2, grace=0)
    handle.wait_for(2)
    assert running.end() == Totals(taken=2000, returned=2000)
    assert bench.queue.peek(1000) + bench.queue.peek(1000, 1000) + bench.queue.peek(1000, 2000) == items


def test_what_goes_back_is_no_delivery(bench: Bench) -> None:
    bench.queue.add_item("a")
    handle = Slow(bench)
    running = bench.start(handle, grace=0, max_deliveries=1)
    handle.wait_for(1)
    running.end()
    assert bench.waiting() == ["a"]
    again = Slow(bench)
    again.go.set()
    second = bench.start(again, max_deliveries=1)
    bench.wait_until_idle()
    assert second.end() == Totals(taken=1, acked=1)


def test_an_item_that_is_on_its_way_is_not_lost(bench: Bench) -> None:
    """It is taken, and the consumer stops before it hears so."""
    bench.wire.in_doubt = True  # a sweep may be under way at the end
    held = bench.wire.hold("get", behind=True)
    bench.queue.add_items(["a", "b"])
    running = bench.start(Slow(bench), grace=0)
    assert held.reached.wait(LIMIT)
    assert bench.held() == [b"a"]
    running.stop()
    wait_until(running.consumer._over.is_set, LIMIT)
    held.go.set()
    running.result()
    assert bench.waiting() == ["a", "b"]


def test_a_move_that_begins_late_takes_nothing(bench: Bench) -> None:
    """The consumer is told to stop at once after a get found nothing, before the move is under way."""
    held = bench.wire.hold("move")
    running = bench.start(Slow(bench))
    assert held.reached.wait(LIMIT)
    running.stop()
    running.stop()
    wait_until(running.consumer._over.is_set, LIMIT)
    held.go.set()
    running.wait()
    bench.queue.add_item("a")
    wait_until(lambda: not any(is_alive(worker) for worker in running.consumer._workers), LIMIT)
    assert bench.waiting() == ["a"]
    assert bench.key_names() == {"orders"}


def test_a_heartbeat_under_way_leaves_nothing(bench: Bench) -> None:
    bench.queue.add_item("a")
    handle = Slow(bench)
    running = bench.start(handle, lease=0.3, grace=0)
    handle.wait_for(1)
    held = bench.wire.hold("beat")
    bench.wire.in_doubt = True
    assert held.reached.wait(LIMIT)
    assert running.end() == Totals(taken=1, returned=1)
    held.go.set()  # in the aio world it was cancelled
    assert bench.waiting() == ["a"]


def test_what_ends_while_the_session_does_changes_nothing(bench: Bench) -> None:
    bench.queue.add_items(["a", "b"])
    handle = Slow(bench)
    running = bench.start(handle, grace=0)
    handle.wait_for(1)
    release = bench.wire.hold("release")
    running.stop()
    assert release.reached.wait(LIMIT)
    handle.go.set()
    wait_until(lambda: handle.ended == ["a"], LIMIT)
    wait_until(lambda: not any(is_alive(worker) for worker in running.consumer._workers), LIMIT)
    release.go.set()
    assert running.result() == Totals(taken=1, returned=1)
    assert bench.waiting() == ["a", "b"]
    assert bench.wire.count("ack") == 0


# Cancellation


@of_aio
@pytest.mark.parametrize("grace", [0, 1000])
def test_a_cancelled_consumer_gives_back(bench: Bench, grace: float) -> None:
    bench.queue.add_items(["a", "b", "c", "d"])
    handle = Slow(bench)
    running = bench.start(handle, batch=2, concurrency=2, grace=grace)
    handle.wait_for(2)
    wait_until(lambda: len(bench.held()) == 2, LIMIT)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        running.result()
    assert bench.waiting() == ["a", "b", "c", "d"]
    assert bench.key_names() == {"orders"}


@of_aio
def test_a_consumer_that_is_cancelled_while_it_stops_gives_back(bench: Bench) -> None:
    bench.queue.add_items(["a", "b", "c"])
    handle = Slow(bench)
    running = bench.start(handle, batch=2, grace=1000)
    handle.wait_for(1)
    running.stop()
    wait_until(running.consumer._stopping.is_set, LIMIT)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        running.result()
    assert bench.waiting() == ["a", "b", "c"]


@of_aio
def test_a_consumer_that_is_cancelled_while_it_waits_leaves_nothing(bench: Bench) -> None:
    running = bench.start(Slow(bench), concurrency=2)
    wait_until(lambda: bench.wire.moves, LIMIT)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        running.result()
    bench.wire.in_doubt = True
    assert not any("session" not in key for key in bench.key_names())


@of_aio
@pytest.mark.parametrize("first", [Running.stop, Running.cancel])
def test_a_cancellation_does_not_keep_it_from_giving_back(bench: Bench, first: Callable[[Running], None]) -> None:
    bench.queue.add_items(["a", "b"])
    handle = Slow(bench)
    running = bench.start(handle, grace=0)
    handle.wait_for(1)
    release = bench.wire.hold("release")
    first(running)
    assert release.reached.wait(LIMIT)
    heard = bench.event()
    for _ in range(2):
        running.cancel()
    running.tell(heard.set)
    assert heard.wait(LIMIT)
    release.go.set()
    with pytest.raises(asyncio.CancelledError):
        running.result()
    assert bench.waiting() == ["a", "b"]


@of_aio
def test_a_consumer_that_is_cancelled_while_it_takes_gives_back(bench: Bench) -> None:
    held = bench.wire.hold("get", behind=True)
    bench.wire.in_doubt = True
    bench.queue.add_items(["a", "b"])
    running = bench.start(Slow(bench))
    assert held.reached.wait(LIMIT)
    running.cancel()
    wait_until(running.consumer._over.is_set, LIMIT)
    held.go.set()
    with pytest.raises(asyncio.CancelledError):
        running.result()
    assert bench.waiting() == ["a", "b"]


@pytest.mark.parametrize("bench", [TASKS], indirect=True)
def test_a_coroutine_that_does_not_let_itself_be_cancelled_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aio_consumer, "TROUBLE_PAUSE", 0.02)
    bench.queue.add_items(["a", "b"])
    slow, go = Slow(bench), bench.event()

    async def handle(item: str) -> None:
        try:
            await slow(item)
        except asyncio.CancelledError:
            wait_until(lambda: not bench.held(), LIMIT)
            await passed(go)

    async def stop_and_go() -> None:
        while not running.consumer._over.is_set() or bench.held():
            await asyncio.sleep(0.001)
        go.set()

    running = bench.start(handle, grace=0)
    slow.wait_for(1)
    running.tell(lambda: asyncio.ensure_future(stop_and_go()))
    assert running.end() == Totals(taken=1, returned=1)
    assert bench.waiting() == ["a", "b"]


# What is told


def test_it_says_that_it_stops_and_what_it_has_done(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "pyrq.consumer")
    bench.queue.add_items(["a", "b", "c"])
    handle = Slow(bench)
    running = bench.start(handle, batch=2, grace=0)
    handle.wait_for(1)
    running.end()
    assert caplog.messages == ["queue orders: stopping", "queue orders: stopped; 2 taken, 2 returned"]


def test_events_say_what_went_back(bench: Bench) -> None:
    bench.queue.add_items(["a", "b", "c"])
    events: list[tuple[str, int]] = []
    handle = Slow(bench)
    running: Running = bench.start(
        handle, batch=2, grace=0, on_event=lambda event: events.append((event.kind, event.count))
    )
    handle.wait_for(1)
    running.end()
    assert events == [("taken", 2), ("returned", 2)]


@pytest.mark.parametrize("bench", [THREADS], indirect=True)
def test_it_can_be_stopped_before_it_runs(bench: Bench) -> None:
    bench.queue.add_item("a")
    with Queue("orders", bench.url) as queue:
        consumer = Consumer(queue, lambda item: None)
        consumer.stop()
        totals = consumer.run()
    assert totals.taken == totals.acked + totals.returned
