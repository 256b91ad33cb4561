"""Consumers in processes of their own that are told to stop: they never end holding items."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyrq import Queue
from tests.integration.leaks import leaks
from tests.integration.workers import KINDS, Crew, Worker
from tests.servers import wait_until

TEN = [str(number) for number in range(10)]
BOTH = [signal.SIGTERM, signal.SIGINT]

every_kind = pytest.mark.parametrize("kind", KINDS)
either_signal = pytest.mark.parametrize("number", BOTH, ids=lambda number: number.name)


@pytest.fixture
def crew(url: str, tmp_path: Path) -> Iterator[Crew]:
    with Crew(url, tmp_path) as crew:
        yield crew


@pytest.fixture
def queue(url: str) -> Iterator[Queue[str]]:
    with Queue("orders", url) as queue:
        yield queue


@pytest.fixture(autouse=True)
def _nothing_is_left(client: Any, crew: Crew, queue: Queue[str]) -> Iterator[None]:
    yield
    assert queue.in_flight() == []
    assert leaks(client, "orders", "letters") == {}


def start(crew: Crew, kind: str, role: str, at_work: int, **options: Any) -> Worker:
    """Starts a worker, and waits until so many of its handlers are at work."""
    worker = crew.hire(kind, role, **options)
    wait_until(lambda: len(crew.books.begun) == at_work or not worker.is_alive(), 30)
    assert worker.is_alive(), worker.said()
    return worker


def ask(worker: Worker, number: signal.Signals) -> None:
    """Sends a signal, and waits until the consumer has heard it."""
    worker.send(number)
    wait_until(lambda: worker.has_said("queue orders: stopping"), 30)


# At work


@every_kind
@either_signal
def test_what_runs_may_finish_and_the_rest_goes_back_in_order(
    kind: str, number: signal.Signals, crew: Crew, queue: Queue[str]
) -> None:
    queue.add_items(TEN)
    worker = start(crew, kind, "gate", 2, batch=8, concurrency=2)
    ask(worker, number)
    assert crew.books.done == []
    crew.books.open_gate()
    totals = worker.end()
    assert (totals["taken"], totals["acked"], totals["returned"]) == (8, 2, 6)
    assert sorted(crew.books.done) == sorted(crew.books.begun) == TEN[:2]
    assert queue.peek(100) == TEN[2:]


@every_kind
def test_what_was_taken_ahead_goes_back_at_once(kind: str, crew: Crew, queue: Queue[str]) -> None:
    """Others need not wait until the handlers are done."""
    queue.add_items(TEN)
    worker = start(crew, kind, "gate", 2, prefetch=5, concurrency=2, grace=3600)
    wait_until(lambda: queue.stats().in_flight == 7, 30)
    ask(worker, signal.SIGTERM)
    wait_until(lambda: queue.stats().in_flight == 2, 30)
    assert queue.peek(100) == TEN[2:]
    assert worker.is_alive()
    crew.books.open_gate()
    totals = worker.end()
    assert (totals["taken"], totals["acked"], totals["returned"]) == (7, 2, 5)


@every_kind
@either_signal
def test_a_second_signal_gives_back_at_once(kind: str, number: signal.Signals, crew: Crew, queue: Queue[str]) -> None:
    queue.add_items(TEN)
    worker = start(crew, kind, "gate", 2, batch=8, concurrency=2, grace=3600)
    ask(worker, number)
    assert queue.stats().in_flight == 8
    worker.send(number)
    totals = worker.end()  # the gate is shut
    assert (totals["acked"], totals["returned"]) == (0, 8)
    assert crew.books.done == []
    assert queue.peek(100) == TEN


@every_kind
def test_two_different_signals_are_two(kind: str, crew: Crew, queue: Queue[str]) -> None:
    queue.add_items(TEN)
    worker = start(crew, kind, "gate", 1, grace=3600)
    ask(worker, signal.SIGINT)
    worker.send(signal.SIGTERM)
    assert worker.end()["returned"] == 1
    assert queue.peek(100) == TEN


@every_kind
def test_a_stop_event(kind: str, crew: Crew, queue: Queue[str]) -> None:
    queue.add_items(TEN)
    worker = start(crew, kind, "gate", 1, batch=10, grace=3600)
    ask(worker, signal.SIGUSR1)  # it sets the event
    crew.books.open_gate()
    totals = worker.end()
    assert (totals["acked"], totals["returned"]) == (1, 9)
    assert queue.peek(100) == TEN[1:]


@every_kind
def test_a_signal_after_a_stop_event_is_the_second_one(kind: str, crew: Crew, queue: Queue[str]) -> None:
    queue.add_items(TEN)
    worker = start(crew, kind, "gate", 1, batch=10, grace=3600)
    ask(worker, signal.SIGUSR1)
    worker.send(signal.SIGTERM)
    assert worker.end()["returned"] == 10
    assert queue.peek(100) == TEN


# Handlers that do not end


@every_kind
def test_a_handler_that_ignores_everything_does_not_keep_the_process(kind: str, crew: Crew, queue: Queue[str]) -> None:
    queue.add_items(TEN)
    worker = start(crew, kind, "stubborn", 2, batch=8, concurrency=2, grace=0.2)
    totals = worker.stop()
    assert (totals["acked"], totals["returned"]) == (0, 8)
    assert queue.peek(100) == TEN


@every_kind
def test_what_a_stubborn_handler_has_is_given_back_once(kind: str, crew: Crew, queue: Queue[str]) -> None:
    queue.add_items(TEN)
    start(crew, kind, "stubborn", 1, grace=0).stop()
    assert queue.get_items(10, timeout=10) == TEN
    assert queue.ack_items(TEN) == 10


# Idle


@every_kind
@either_signal
def test_an_idle_worker_does_not_wait_for_the_end_of_its_slice(
    kind: str, number: signal.Signals, client: Any, crew: Crew
) -> None:
    worker = crew.hire(kind, "count", slice=3600, lease=7200)
    wait_until(lambda: client.info("clients")["blocked_clients"] == 1, 30)
    worker.send(number)
    assert worker.end()["taken"] == 0  # its slice is an hour


@every_kind
def test_an_idle_worker_hears_its_stop_event(kind: str, client: Any, crew: Crew) -> None:
    worker = crew.hire(kind, "count", slice=3600, lease=7200)
    wait_until(lambda: client.info("clients")["blocked_clients"] == 1, 30)
    worker.send(signal.SIGUSR1)
    assert worker.end()["taken"] == 0


@every_kind
def test_a_worker_whose_queue_is_paused_stops(kind: str, crew: Crew, queue: Queue[str]) -> None:
    queue.add_items(TEN)
    worker = start(crew, kind, "gate", 1)
    queue.pause()
    crew.books.open_gate()
    wait_until(lambda: queue.stats().in_flight == 0, 30)
    assert worker.stop()["acked"] == 1
    queue.resume()
    assert queue.peek(100) == TEN[1:]


# Two in one loop


@pytest.mark.parametrize("loop_signals", [False, True], ids=["signal", "loop"])
@either_signal
def test_two_consumers_in_one_loop_stop_at_one_signal(
    loop_signals: bool, number: signal.Signals, url: str, crew: Crew, queue: Queue[str]
) -> None:
    with Queue("letters", url) as letters:
        queue.add_items(TEN)
        letters.add_items(["a", "b", "c"])
        worker = start(crew, "aio", "pair", 2, loop_signals=loop_signals)
        worker.send(number)
        wait_until(lambda: worker.has_said("orders: stopping") and worker.has_said("letters: stopping"), 30)
        crew.books.open_gate()
        wait_until(lambda: worker.has_said("both ended"), 30)
        assert worker.is_alive()  # it waits for a signal that its host hears, whose handlers are back
        heard = worker.said().count("the host heard it")
        worker.send(number)
        assert worker.end()["acked"] == 2
        assert worker.said().count("the host heard it") == heard + 1
        assert (queue.peek(100), letters.peek(100)) == (TEN[1:], ["b", "c"])
