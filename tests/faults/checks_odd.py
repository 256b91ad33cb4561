"""Checks of odd circumstances: clocks that are wrong, bytes that are no text, odd names, forks, large calls."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import time
from collections.abc import Iterator
from unittest import mock

import pyrq
from pyrq import BytesCodec
from tests.faults.checking import Place, texts
from tests.faults.checks_access import consume
from tests.faults.ledger import MARK
from tests.integration.leaks import remains
from tests.servers import leftovers, wait_until

__all__ = ["CHECKS"]

_HOURS = 7200.0
_ODD = f"{MARK} ".encode() + b"\xff\xfe\x00\r\n\x80"


# Clocks


@contextlib.contextmanager
def _clock_off_by(seconds: float) -> Iterator[None]:
    """Makes this process's wall clock wrong."""
    right = time.time
    with mock.patch("time.time", side_effect=lambda: right() + seconds):
        yield


def _lives_with_a_wrong_clock(place: Place, seconds: float) -> None:
    queue, pool = place.queue(), place.queue("Pool", name="pool", ack_ttl=1000)
    queue.add_items(texts(2))
    assert queue.get_items(1) == texts(1)
    with _clock_off_by(seconds):
        wrong, wrong_pool = place.queue(), place.queue("Pool", name="pool", ack_ttl=1000)
        assert wrong.re_enqueue_timeout_items(60) == 0, "a live consumer was taken for silent"
        assert wrong.get_items(1) == texts(2)[1:]
        assert wrong.add_item(MARK, delay=1000)
        assert wrong.get_items(1) == []
        assert all(consumer.idle < 60 for consumer in wrong.in_flight())
        assert wrong_pool.add_item(MARK)
        assert wrong_pool.get_items(1) == [MARK]
    assert queue.re_enqueue_timeout_items(60) == 0, "a consumer with a wrong clock was taken for silent"
    assert pool.get_items(1) == []
    assert pool.ack_item(MARK)
    assert queue.re_enqueue_timeout_items(0) == 2


def clock_that_is_two_hours_fast(place: Place) -> None:
    _lives_with_a_wrong_clock(place, _HOURS)


def clock_that_is_two_hours_slow(place: Place) -> None:
    _lives_with_a_wrong_clock(place, -_HOURS)


def clock_of_an_older_library_that_is_wrong(place: Place) -> None:
    queue = place.queue()
    now = place.client.time()[0]
    for name, stamp in (("slow", now - _HOURS - 60), ("fast", now + _HOURS), ("right", now)):
        place.client.lpush(f"orders-processing-{name}", f"{MARK} {name}")
        place.client.hset("orders-timeouts", f"orders-processing-{name}", stamp)
    assert queue.re_enqueue_timeout_items(_HOURS) == 1
    assert queue.get_items(9) == [f"{MARK} slow"]
    assert queue.re_enqueue_all_items() == 3
    assert not {key for key in leftovers(place.client) if b"processing" in key}


def clock_of_a_consumer_that_is_wrong(place: Place) -> None:
    sweeper = pyrq.Queue("orders", place.server.url)
    for seconds in (_HOURS, -_HOURS):
        sweeper.add_items(texts(3))
        seen: list[str] = []
        gate = threading.Event()

        def handle(item: str, seen: list[str] = seen, gate: threading.Event = gate) -> None:
            seen.append(item)
            gate.wait(30)

        def is_over(seen: list[str] = seen, gate: threading.Event = gate) -> bool:
            if len(seen) == 1 and not gate.is_set():
                assert sweeper.re_enqueue_timeout_items(0) == 0, "its lease was over at once"
                gate.set()
            return len(seen) >= 3

        with _clock_off_by(seconds):
            consume(place, place.queue(), handle, is_over, lease=20.0)
        assert seen == texts(3), "an item was handed out twice"
    sweeper.close()


# Bytes


def bytes_that_are_no_text(place: Place) -> None:
    for kind in ("Queue", "UniqueQueue", "Pool"):
        queue = place.queue(kind, name=kind)
        assert queue.add_item(_ODD)
        found = queue.get_items(1)
        assert found == [_ODD.decode("utf-8", "surrogateescape")]
        assert (queue.remove_item if kind == "Pool" else queue.ack_item)(found[0])
        assert queue.get_count() == 0


def bytes_whatever_the_client_decodes(place: Place) -> None:
    for decode in (True, False):
        target = place.world.client(place.server.url, decode_responses=decode)
        queue = place.queue(url=target, codec=BytesCodec())
        assert queue.add_items([_ODD, b""]) == 2
        assert queue.get_items(2) == [_ODD, b""]
        assert queue.reject_items([_ODD, b""]) == 2
        assert queue.peek(2) == [_ODD, b""]
        assert queue.get_items(2) == [_ODD, b""]
        assert queue.ack_items([_ODD, b""]) == 2


def bytes_of_some_megabytes(place: Place) -> None:
    items = [number.to_bytes(1, "big") * (2 << 20) for number in range(5)]
    queue = place.queue(codec=BytesCodec())
    assert queue.add_items(items) == 5
    assert queue.get_items(5) == items
    assert queue.reject_items(items[3:]) == 2
    assert queue.get_items(5) == items[3:]
    assert queue.ack_items(items) == 5


# Names


def name_of_special_characters(place: Place) -> None:
    for name in ("Ünï 💥", "a*?[b]\\", "{tag}x", "%d%s%%", "^.-+$", "o'r\"d`e", "--", "orders-eu"):
        for kind in ("Queue", "UniqueQueue", "Pool"):
            queue = place.queue(kind, name=name)
            queue.add_items(texts(3))
            assert len(queue.get_items(2)) == 2
            assert queue.remove_items(texts(2)) == 2 if kind == "Pool" else queue.re_enqueue_all_items() == 2
            assert (queue.clear_pool if kind == "Pool" else lambda: queue.delete_items(texts(3)))()  # noqa: B023
            queue.close()
    assert not leftovers(place.client)


def name_that_is_a_pattern_touches_no_other(place: Place) -> None:
    names = ("ordersx", "orders.", "orders%", "orders*", "orders?", "order[s]", "orders-")
    others = {name: place.queue(name=name) for name in names}
    for queue in others.values():
        queue.add_items(texts(2))
        assert queue.get_items(1) == texts(1)
    queue = place.queue()
    queue.add_items(texts(2))
    assert queue.get_items(1) == texts(1)
    assert queue.re_enqueue_all_items() == 1
    assert queue.drop_all_items() == 0
    assert [other.stats().in_flight for other in others.values()] == len(names) * [1]
    assert others["orders."].re_enqueue_all_items() == 1
    assert others["ordersx"].stats().in_flight == 1


# Processes


def fork_is_another_consumer(place: Place) -> None:
    queue = pyrq.Queue("orders", place.server.url)
    queue.add_items(texts(4))
    assert queue.get_items(2) == texts(2)
    told = multiprocessing.get_context("fork").SimpleQueue()

    def child() -> None:
        told.put((queue.client_id, queue.ack_items(texts(2)), queue.get_items(2), queue.ack_items(texts(4))))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    wait_until(lambda: not told.empty() or not process.is_alive(), 30)
    other, acked, found, own = told.get()
    process.join(30)
    assert (acked, found, own) == (0, texts(4)[2:], 2)
    assert other != queue.client_id
    assert queue.ack_items(texts(4)) == 2
    queue.close()
    assert not remains(place.client, "orders")


# Large calls


def large_calls_of_a_queue(place: Place) -> None:
    queue, items = place.queue(), texts(place.large)
    with place.pinging():
        assert queue.add_items(items) == len(items)
        assert queue.get_items(len(items)) == items
        assert queue.reject_items(items) == len(items)
        assert queue.get_items(len(items)) == items
        assert queue.ack_items(items) == len(items)
    assert queue.get_count() == queue.stats().in_flight == 0


def large_sweep_and_delete_of_a_queue(place: Place) -> None:
    queue, items = place.queue(), texts(place.large // 2)
    queue.add_items(items)
    assert len(queue.get_items(len(items))) == len(items)
    with place.pinging():
        assert queue.re_enqueue_all_items() == len(items)
        assert queue.peek(1000) == items[:1000]
        # The newest first: each is then found at once.
        assert queue.delete_items(items[::-1]) == len(items)
    assert queue.get_count() == 0


def large_calls_of_a_unique_queue(place: Place) -> None:
    queue, items = place.queue("UniqueQueue"), texts(place.large)
    with place.pinging():
        assert queue.add_items(items) == len(items)
        assert queue.add_items(items) == 0
        assert queue.get_items(len(items)) == items
        assert queue.ack_items(items) == len(items)
    assert queue.get_count() == 0


def large_calls_of_a_pool(place: Place) -> None:
    pool, items = place.queue("Pool"), texts(place.large)
    with place.pinging():
        assert pool.add_items(items) == len(items)
        assert sorted(pool.get_items(len(items))) == sorted(items)
        assert pool.ack_items(items) == len(items)
        assert pool.clear_pool() == len(items)
    assert pool.get_count() == 0


def large_number_of_dead_letters(place: Place) -> None:
    queue, items = place.queue(max_deliveries=1), texts(place.large // 10)
    queue.add_items(items)
    queue.get_items(len(items))
    assert queue.reject_items(items) == len(items)
    with place.pinging():
        assert place.dead(queue).count() == len(items)
        assert place.dead(queue).redrive() == len(items)
    assert len(queue.get_items(len(items))) == len(items)
    assert queue.ack_items(items) == len(items)


CHECKS = (
    clock_that_is_two_hours_fast,
    clock_that_is_two_hours_slow,
    clock_of_an_older_library_that_is_wrong,
    clock_of_a_consumer_that_is_wrong,
    bytes_that_are_no_text,
    bytes_whatever_the_client_decodes,
    bytes_of_some_megabytes,
    name_of_special_characters,
    name_that_is_a_pattern_touches_no_other,
    fork_is_another_consumer,
    large_calls_of_a_queue,
    large_sweep_and_delete_of_a_queue,
    large_calls_of_a_unique_queue,
    large_calls_of_a_pool,
    large_number_of_dead_letters,
)
