"""What consumers do with items that can be handled."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any

import pytest

from pyrq import ConsumerEvent, EventKind, JsonCodec, Queue, Totals, aio
from tests.servers import wait_until
from tests.unit.consuming import KINDS, LIMIT, Bench, each_kind, passed
from tests.unit.helpers import fresh, raw

bench = pytest.fixture(params=KINDS, name="bench")(each_kind)


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last)]


class Counting:
    """A handler that notes what it gets, and how many of it run at a time.

    Attributes:
        got: what it was called with, in the order of the calls.
        running: how many run now.
        most: how many ran at a time at the most.
        wanted: how many must run until all of them go on.
    """

    def __init__(self, bench: Bench, wanted: int) -> None:
        self.got: list[Any] = []
        self.running = self.most = 0
        self.wanted = wanted
        self._go = bench.event()
        self._lock = threading.Lock()

    async def __call__(self, item: Any) -> None:
        with self._lock:
            self.got.append(item)
            self.running += 1
            self.most = max(self.most, self.running)
            if self.running == self.wanted:
                self._go.set()
        await passed(self._go)
        with self._lock:
            self.running -= 1


def test_every_item_is_handled_once_and_acknowledged(bench: Bench) -> None:
    bench.queue.add_items(numbers(0, 50))
    handled: list[str] = []

    async def handle(item: str) -> None:
        handled.append(item)

    running = bench.start(handle)
    bench.wait_until_idle()
    bench.queue.add_items(numbers(50, 60))
    wait_until(lambda: len(handled) == 60, LIMIT)
    bench.wait_until_idle()
    totals = running.end()
    assert handled == numbers(0, 60)
    assert totals == Totals(taken=60, acked=60)
    assert str(totals) == "60 taken, 60 acked"
    assert bench.key_names() == set()


def test_what_a_handler_returns_says_nothing(bench: Bench) -> None:
    bench.queue.add_item("a")

    async def handle(item: str) -> bool:
        return False

    running = bench.start(handle)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=1, acked=1)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_batch_is_how_many_are_taken_in_one_round_trip(bench: Bench, batch: int) -> None:
    bench.queue.add_items(numbers(0, 21))
    handled: list[str] = []

    async def handle(item: str) -> None:
        handled.append(item)

    running = bench.start(handle, batch=batch)
    bench.wait_until_idle()
    running.end()
    assert handled == numbers(0, 21)
    gets = [call for call in bench.wire.calls if call.script.name == "get"]
    assert {call.args[5] for call in gets} == {b"%d" % batch}
    assert len(gets) >= 21 / batch


def test_what_was_taken_waits_in_hand_while_one_handler_runs(bench: Bench) -> None:
    bench.queue.add_items(numbers(0, 10))
    go = bench.event()

    async def handle(item: str) -> None:
        await passed(go)

    running = bench.start(handle, batch=4)
    wait_until(lambda: len(bench.held()) == 4, LIMIT)
    assert bench.waiting() == numbers(4, 10)
    go.set()
    bench.wait_until_idle()
    assert running.end() == Totals(taken=10, acked=10)


@pytest.mark.parametrize("concurrency", [1, 2, 5])
def test_so_many_handlers_run_at_a_time_and_never_more(bench: Bench, concurrency: int) -> None:
    bench.queue.add_items(numbers(0, 30))
    handle = Counting(bench, concurrency)
    running = bench.start(handle, concurrency=concurrency, batch=3)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=30, acked=30)
    assert handle.most == concurrency
    assert sorted(handle.got, key=int) == numbers(0, 30)


def test_an_idle_consumer_of_many_handlers_waits_with_one_move(bench: Bench) -> None:
    async def handle(item: str) -> None: ...

    running = bench.start(handle, concurrency=8)
    wait_until(lambda: bench.wire.moves, LIMIT)
    assert (bench.wire.count("get"), bench.wire.moves) in {(1, 1), (2, 1)}  # the first get may have been told to sweep
    assert running.end() == Totals()


def test_an_item_is_handled_that_comes_while_the_consumer_waits(bench: Bench) -> None:
    handled: list[str] = []

    async def handle(item: str) -> None:
        handled.append(item)

    running = bench.start(handle, concurrency=3)
    for item in ["a", "b", "c"]:
        wait_until(lambda: bench.wire.moves > len(handled), LIMIT)
        bench.client.lpush("orders", item)
        bench.wait_until_idle()
    assert handled == ["a", "b", "c"]
    assert running.end() == Totals(taken=3, acked=3)


def test_a_handler_of_batches_gets_lists(bench: Bench) -> None:
    bench.queue.add_items(numbers(0, 10))
    lists: list[list[str]] = []

    async def handle(items: list[str]) -> None:
        lists.append(items)

    running = bench.start_batches(handle, batch=4)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=10, acked=10)
    assert lists == [numbers(0, 4), numbers(4, 8), numbers(8, 10)]
    assert bench.wire.count("ack") == 3


def test_lists_have_up_to_a_hundred_items_by_default(bench: Bench) -> None:
    bench.queue.add_items(numbers(0, 150))
    sizes: list[int] = []

    async def handle(items: list[str]) -> None:
        sizes.append(len(items))

    running = bench.start_batches(handle)
    bench.wait_until_idle()
    running.end()
    assert sizes == [100, 50]


def test_lists_are_handled_at_the_same_time(bench: Bench) -> None:
    bench.queue.add_items(numbers(0, 12))
    handle = Counting(bench, 3)
    running = bench.start_batches(handle, batch=2, concurrency=3)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=12, acked=12)
    assert handle.most == 3
    assert Counter(item for items in handle.got for item in items) == Counter(numbers(0, 12))


def test_a_list_that_its_handler_empties_is_acknowledged_all_the_same(bench: Bench) -> None:
    bench.queue.add_items(numbers(0, 4))

    async def handle(items: list[str]) -> None:
        items.clear()

    running = bench.start_batches(handle)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=4, acked=4)


def test_equal_items_are_handled_each(bench: Bench) -> None:
    bench.queue.add_items(["same"] * 12)
    handle = Counting(bench, 4)
    running = bench.start(handle, concurrency=4, batch=5)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=12, acked=12)
    assert handle.got == ["same"] * 12


def test_a_queue_of_unique_items_has_consumers(bench: Bench) -> None:
    bench.queue_class = "UniqueQueue"
    bench.client.lpush("orders", "a", "b", "c")
    bench.client.sadd("orders-unique", "a", "b", "c")
    handled: list[str] = []

    async def handle(item: str) -> None:
        handled.append(item)

    running = bench.start(handle, batch=2)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=3, acked=3)
    assert handled == ["a", "b", "c"]
    assert bench.key_names() == set()


def test_a_handler_gets_what_the_codec_makes_of_an_item(bench: Bench) -> None:
    bench.options = {"codec": JsonCodec()}
    bench.client.lpush("orders", '{"a": 1}', "[2]")
    handled: list[Any] = []

    async def handle(item: Any) -> None:
        handled.append(item)

    running = bench.start(handle)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=2, acked=2)
    assert handled == [{"a": 1}, [2]]


def test_a_value_that_its_handler_changes_is_acknowledged_by_what_it_was(bench: Bench) -> None:
    bench.options = {"codec": JsonCodec()}
    bench.client.lpush("orders", '{"a":   1}')

    async def handle(item: Any) -> None:
        item["a"] = 2

    running = bench.start(handle)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=1, acked=1)


def test_a_paused_queue_is_not_consumed_until_it_goes_on(bench: Bench) -> None:
    handled: list[str] = []

    async def handle(item: str) -> None:
        handled.append(item)

    bench.queue.pause()
    bench.queue.add_item("a")
    running = bench.start(handle)
    wait_until(lambda: bench.wire.count("get"), LIMIT)
    assert handled == []
    assert bench.waiting() == ["a"]
    bench.queue.resume()
    wait_until(lambda: handled == ["a"], LIMIT)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=1, acked=1)


def test_a_consumer_of_a_paused_queue_stops(bench: Bench) -> None:
    async def handle(item: str) -> None: ...

    bench.queue.pause()
    bench.queue.add_item("a")
    running = bench.start(handle, concurrency=3)
    wait_until(lambda: bench.wire.count("get"), LIMIT)
    assert running.end() == Totals()
    assert bench.client.hkeys("orders/meta") == [b"paused"]
    assert bench.waiting() == ["a"]


def test_what_was_put_off_is_handled_when_it_is_due(bench: Bench) -> None:
    handled: list[str] = []

    async def handle(item: str) -> None:
        handled.append(item)

    bench.queue.add_item("later", delay=0.3)
    bench.queue.add_item("now")
    running = bench.start(handle)
    wait_until(lambda: handled == ["now", "later"], LIMIT)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=2, acked=2)


def test_what_the_queue_object_holds_is_not_the_consumers(bench: Bench) -> None:
    """The consumer has a session of its own."""
    bench.queue.add_items(["mine", "theirs"])
    assert bench.queue.get_items(1) == ["mine"]
    handled: list[str] = []

    async def handle(item: str) -> None:
        handled.append(item)

    running = bench.start(handle)
    wait_until(lambda: handled == ["theirs"], LIMIT)
    wait_until(lambda: bench.queue.stats().in_flight == 1, LIMIT)
    running.end()
    assert bench.queue.ack_item("mine")


# Events


def test_events_say_what_happens(bench: Bench) -> None:
    events: list[ConsumerEvent] = []

    async def handle(items: list[str]) -> None: ...

    bench.die("dead-1", "swept")
    running = bench.start_batches(handle, on_event=events.append)
    wait_until(lambda: ConsumerEvent(EventKind.ACKED, 1) in events, LIMIT)
    bench.queue.add_items(["a", "b"])
    wait_until(lambda: sum(event.kind == "acked" for event in events) >= 2, LIMIT)
    bench.wait_until_idle()
    totals = running.end()
    assert ConsumerEvent(EventKind.SWEPT, 1) in events
    counted = Totals()
    for event in events:
        counted.count(event)
    assert counted == totals == Totals(taken=3, acked=3, swept=1)


def test_a_callback_that_fails_costs_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: ConsumerEvent) -> None:
        raise LookupError("a secret")

    async def handle(item: str) -> None: ...

    bench.queue.add_items(["a", "b"])
    running = bench.start(handle, on_event=fail)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=2, acked=2)
    assert "queue orders: on_event raised LookupError" in caplog.messages
    assert "secret" not in caplog.text


# The methods of queues


def test_a_queue_consumes() -> None:
    url = fresh()
    stop = threading.Event()
    handled: list[Any] = []

    def handle(item: Any) -> None:
        handled.append(item)
        stop.set()

    with Queue("orders", url) as queue:
        queue.add_item("a")
        assert queue.consume(handle, stop=stop) == Totals(taken=1, acked=1)
        stop.clear()
        queue.add_items(["b", "c"])
        assert queue.consume_batches(handle, stop=stop) == Totals(taken=2, acked=2)
    assert handled == ["a", ["b", "c"]]
    assert raw(url).keys() == []


def test_a_queue_of_asyncio_consumes() -> None:
    url = fresh()
    handled: list[Any] = []

    async def consume() -> None:
        stop = asyncio.Event()

        async def handle(item: Any) -> None:
            handled.append(item)
            stop.set()

        async with aio.Queue("orders", url) as queue:
            await queue.add_item("a")
            assert await queue.consume(handle, stop=stop) == Totals(taken=1, acked=1)
            stop.clear()
            await queue.add_items(["b", "c"])
            assert await queue.consume_batches(handle, stop=stop) == Totals(taken=2, acked=2)

    asyncio.run(consume())
    assert handled == ["a", ["b", "c"]]
    assert raw(url).keys() == []
