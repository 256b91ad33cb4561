"""Consumers that take ahead of their handlers and acknowledge behind them."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pyrq import Bury, Drop, Retry, Totals
from pyrq.aio import _supply as aio_supply
from pyrq.errors import OutcomeUnknown, PermissionDeniedError, ServerGoneError
from pyrq.sync import _supply as sync_supply
from tests.servers import wait_until
from tests.unit.consuming import KINDS, LATER, LIMIT, PLAIN, TASKS, Bench, each_kind, passed

bench = pytest.fixture(params=KINDS, name="bench")(each_kind)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes consumers try again soon."""
    for module in (sync_supply, aio_supply):
        monkeypatch.setattr(module, "TROUBLE_PAUSE", 0.01)


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last)]


def encoded(items: list[str]) -> list[bytes]:
    return [item.encode() for item in items]


class Slow:
    """A handler that says what it has begun with, and goes on when it may."""

    def __init__(self, bench: Bench) -> None:
        self.began: list[Any] = []
        self.go = bench.event()

    async def __call__(self, item: Any) -> None:
        self.began.append(item)
        await passed(self.go)

    def wait_for(self, count: int) -> None:
        wait_until(lambda: len(self.began) == count, LIMIT)


class Noting:
    """A handler that notes what it gets, and raises what it is told about some items."""

    def __init__(self, errors: dict[Any, BaseException] | None = None) -> None:
        self.got: list[Any] = []
        self._errors = errors or {}

    async def __call__(self, item: Any) -> None:
        self.got.append(item)
        if item in self._errors:
            raise self._errors[item]


@pytest.mark.parametrize("prefetch", [1, 7, 200])
def test_every_item_is_handled_once_in_its_order(bench: Bench, prefetch: int) -> None:
    bench.queue.add_items(numbers(0, 50))
    handle = Noting()
    running = bench.start(handle, prefetch=prefetch)
    bench.wait_until_idle()
    bench.queue.add_items(numbers(50, 60))
    wait_until(lambda: len(handle.got) == 60, LIMIT)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=60, acked=60)
    assert handle.got == numbers(0, 60)
    assert bench.key_names() == set()


@pytest.mark.parametrize(("concurrency", "prefetch"), [(1, 1), (1, 5), (3, 4)])
def test_so_many_items_wait_for_a_handler(bench: Bench, concurrency: int, prefetch: int) -> None:
    bench.queue.add_items(numbers(0, 20))
    handle = Slow(bench)
    running = bench.start(handle, concurrency=concurrency, prefetch=prefetch)
    handle.wait_for(concurrency)
    held = concurrency + prefetch
    wait_until(lambda: len(bench.held()) == held, LIMIT)
    assert bench.held() == encoded(numbers(0, held))
    assert bench.waiting() == numbers(held, 20)
    handle.go.set()
    bench.wait_until_idle()
    assert running.end() == Totals(taken=20, acked=20)


def test_lists_wait_for_a_handler(bench: Bench) -> None:
    bench.queue.add_items(numbers(0, 50))
    handle = Slow(bench)
    running = bench.start_batches(handle, batch=10, prefetch=20)
    handle.wait_for(1)
    wait_until(lambda: len(bench.held()) == 30, LIMIT)
    handle.go.set()
    bench.wait_until_idle()
    assert running.end() == Totals(taken=50, acked=50)
    assert handle.began == [numbers(first, first + 10) for first in range(0, 50, 10)]


def test_a_queue_of_unique_items_can_be_taken_from_ahead(bench: Bench) -> None:
    bench.queue_class = "UniqueQueue"
    handle = Slow(bench)
    bench.client.lpush("orders", "a", "b", "c")
    bench.client.sadd("orders-unique", "a", "b", "c")
    running = bench.start(handle, prefetch=2)
    wait_until(lambda: len(bench.held()) == 3, LIMIT)
    handle.wait_for(1)
    bench.client.lpush("orders", "c")  # it waits again
    bench.client.sadd("orders-unique", "c")
    running.stop()
    wait_until(lambda: bench.held() == [b"a"], LIMIT)
    handle.go.set()
    totals = running.result()
    assert totals.taken == totals.acked + totals.returned
    assert sorted(bench.waiting()) == ["b", "c"]


# Acknowledging behind the handlers


def test_a_handler_does_not_wait_for_an_acknowledgement(bench: Bench) -> None:
    bench.queue.add_items(numbers(0, 6))
    ack = bench.wire.hold("ack")
    handle = Noting()
    running = bench.start(handle, prefetch=5)
    assert ack.reached.wait(LIMIT)
    wait_until(lambda: len(handle.got) == 6, LIMIT)
    assert running.totals is None
    assert len(bench.held()) == 6
    ack.go.set()
    bench.wait_until_idle()
    assert running.end() == Totals(taken=6, acked=6)


def test_what_is_acknowledged_while_another_is_under_way_goes_together(bench: Bench) -> None:
    bench.queue.add_items(numbers(0, 6))
    handle = Slow(bench)
    running = bench.start(handle, prefetch=5)
    wait_until(lambda: len(bench.held()) == 6, LIMIT)
    first = bench.wire.hold("ack")

    def acked() -> list[int]:
        return [len(call.args) - 7 for call in list(bench.wire.calls) if call.script.name == "ack"]

    handle.go.set()
    assert first.reached.wait(LIMIT)
    handle.wait_for(6)
    wait_until(lambda: sum(acked()) + running.consumer._supply._ended.qsize() == 6, LIMIT)
    first.go.set()
    bench.wait_until_idle()
    assert len(acked()) <= 2
    assert sum(acked()) == 6
    assert running.end() == Totals(taken=6, acked=6)


def test_there_is_a_bound_to_what_is_in_hand_while_nothing_can_be_acknowledged(bench: Bench) -> None:
    bench.queue.add_items(numbers(0, 20))
    ack = bench.wire.hold("ack")
    handle = Noting()
    running = bench.start(handle, prefetch=4, concurrency=2)
    assert ack.reached.wait(LIMIT)
    wait_until(lambda: len(handle.got) == 6, LIMIT)
    assert bench.waiting() == numbers(6, 20)
    ack.go.set()
    bench.wait_until_idle()
    assert running.end() == Totals(taken=20, acked=20)


def test_an_acknowledgement_does_not_wait_for_the_next_item(bench: Bench) -> None:
    bench.queue.add_item("a")
    move = bench.wire.hold("move")
    handle = Slow(bench)
    running = bench.start(handle, prefetch=5)
    assert move.reached.wait(LIMIT)
    handle.wait_for(1)
    handle.go.set()
    wait_until(lambda: not bench.held(), LIMIT)
    move.go.set()
    assert running.end() == Totals(taken=1, acked=1)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("executed", [False, True])
@pytest.mark.parametrize("script", ["ack", "get"])
def test_it_takes_effect_once_whatever_gets_lost(bench: Bench, script: str, executed: bool) -> None:
    bench.queue.add_items(["same"] * 6)
    bench.wire.fail(script, OutcomeUnknown(), ServerGoneError(), executed=executed)
    handle = Noting()
    running = bench.start(handle, prefetch=3)
    wait_until(lambda: len(handle.got) == 6, LIMIT)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=6, acked=6)
    assert handle.got == ["same"] * 6


def test_every_verdict_is_carried_out(bench: Bench) -> None:
    bench.queue.add_items(["a", "b", "c", "d", "e"])
    errors: dict[Any, BaseException] = {"b": Drop(), "c": Bury("no"), "d": Retry(1000)}
    running = bench.start(Noting(errors), prefetch=4)
    wait_until(lambda: not bench.waiting() and not bench.held(), LIMIT)
    assert running.end() == Totals(taken=5, acked=2, dropped=1, buried=1, retried=1)
    assert bench.letters() == [("c", "no", 1)]
    assert bench.queue.stats().delayed == 1


# The end


@pytest.mark.parametrize("concurrency", [1, 2])
def test_what_was_not_begun_goes_back_at_once_in_its_order(bench: Bench, concurrency: int) -> None:
    bench.queue.add_items(numbers(0, 9))
    handle = Slow(bench)
    running = bench.start(handle, prefetch=5, concurrency=concurrency, max_deliveries=1)
    wait_until(lambda: len(bench.held()) == 5 + concurrency, LIMIT)
    handle.wait_for(concurrency)
    running.stop()
    wait_until(lambda: len(bench.held()) == concurrency, LIMIT)
    assert bench.waiting() == numbers(concurrency, 9)
    assert not bench.client.exists("orders/deliveries", "orders/dead")
    assert running.thread.is_alive()
    handle.go.set()
    assert running.result() == Totals(taken=5 + concurrency, acked=concurrency, returned=5)
    assert handle.began == numbers(0, concurrency)
    assert bench.key_names() == {"orders"}


def test_what_does_not_finish_in_time_goes_back_in_front(bench: Bench) -> None:
    bench.queue.add_items(numbers(0, 9))
    handle = Slow(bench)
    running = bench.start(handle, prefetch=5, grace=0.03)
    wait_until(lambda: len(bench.held()) == 6, LIMIT)
    bench.wire.in_doubt = True  # a sweep may be under way when the session ends
    assert running.end() == Totals(taken=6, returned=6)
    assert bench.waiting() == numbers(0, 9)
    handle.go.set()


def test_asked_twice_all_goes_back_at_once(bench: Bench) -> None:
    bench.queue.add_items(numbers(0, 9))
    handle = Slow(bench)
    running = bench.start(handle, prefetch=5)
    wait_until(lambda: len(bench.held()) == 6, LIMIT)
    bench.wire.in_doubt = True  # what is given back at once may be under way when the session ends
    running.stop()
    assert running.end() == Totals(taken=6, returned=6)
    assert bench.waiting() == numbers(0, 9)


def test_what_was_decided_is_carried_out_before_the_end(bench: Bench) -> None:
    bench.queue.add_items(numbers(0, 6))
    ack = bench.wire.hold("ack")
    handle = Noting()
    running = bench.start(handle, prefetch=5)
    assert ack.reached.wait(LIMIT)
    wait_until(lambda: len(handle.got) == 6, LIMIT)
    running.stop()
    wait_until(running.consumer._stopping.is_set, LIMIT)
    ack.go.set()
    assert running.result() == Totals(taken=6, acked=6)


def test_an_idle_consumer_stops(bench: Bench) -> None:
    running = bench.start(Noting(), prefetch=5, concurrency=3)
    wait_until(lambda: bench.wire.moves, LIMIT)
    assert running.end() == Totals()
    assert bench.key_names() == set()


def test_what_cant_be_given_back_at_once_goes_back_at_the_end(bench: Bench) -> None:
    bench.queue.add_items(numbers(0, 4))
    handle = Slow(bench)
    running = bench.start(handle, prefetch=5, grace=0.05)
    wait_until(lambda: len(bench.held()) == 4, LIMIT)
    bench.wire.fail("reject", *[ServerGoneError()] * 1000)
    running.stop()
    assert running.result() == Totals(taken=4, returned=4)
    bench.wire.faults.clear()
    assert bench.waiting() == numbers(0, 4)
    handle.go.set()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("executed", [False, True])
def test_what_is_given_back_without_an_answer_is_given_back_once(bench: Bench, executed: bool) -> None:
    bench.queue.add_items(numbers(0, 4))
    handle = Slow(bench)
    running = bench.start(handle, prefetch=5)
    wait_until(lambda: len(bench.held()) == 4, LIMIT)
    handle.wait_for(1)
    bench.wire.fail("reject", OutcomeUnknown(), OutcomeUnknown(), executed=executed)
    running.stop()
    wait_until(lambda: bench.held() == [b"0"] and not bench.wire.faults, LIMIT)
    handle.go.set()
    assert running.result() == Totals(taken=4, acked=1, returned=3)
    assert bench.waiting() == ["1", "2", "3"]


@pytest.mark.parametrize("script", ["get", "ack", "reject"])
def test_what_does_not_pass_ends_the_consumer(bench: Bench, script: str) -> None:
    bench.queue.add_items(numbers(0, 4))
    raised = PermissionDeniedError()
    bench.wire.fail(script, raised)
    handle = Slow(bench)
    running = bench.start(handle, prefetch=5)
    if script != "get":
        wait_until(lambda: len(bench.held()) == 4, LIMIT)
    if script == "reject":
        running.stop()
        wait_until(lambda: not bench.wire.faults, LIMIT)
    handle.go.set()
    running.wait()
    assert running.error is raised
    assert bench.held() == []


def test_what_else_is_decided_is_carried_out_after_a_failure(bench: Bench) -> None:
    bench.queue.add_items(["a", "b", "c"])
    raised = PermissionDeniedError()
    bench.wire.fail("bury", raised)
    bury = bench.wire.hold("bury")
    handle = Noting({"a": Bury("no")})
    running = bench.start(handle, prefetch=5)
    assert bury.reached.wait(LIMIT)
    wait_until(lambda: len(handle.got) == 3, LIMIT)
    bury.go.set()
    running.wait()
    assert running.error is raised
    assert handle.got == ["a", "b", "c"]
    assert bench.waiting() == ["a"]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_is_no_ordinary_exception_ends_the_consumer(bench: Bench, kind: type[BaseException]) -> None:
    """It was a delivery."""
    bench.queue.add_items(["a", "b", "c"])
    raised = kind()
    running = bench.start(Noting({"a": raised}), prefetch=5, backoff=LATER)
    running.wait()
    assert running.error is raised
    assert bench.queue.stats().delayed == 1
    assert bench.held() == []
    assert set(bench.waiting()) <= {"b", "c"}


@pytest.mark.parametrize("bench", [TASKS, PLAIN], indirect=True)
def test_a_cancelled_consumer_gives_all_back(bench: Bench) -> None:
    bench.queue.add_items(numbers(0, 9))
    handle = Slow(bench)
    running = bench.start(handle, prefetch=5)
    wait_until(lambda: len(bench.held()) == 6, LIMIT)
    bench.wire.in_doubt = True  # a sweep may be under way when the session ends
    running.cancel()
    running.wait()
    assert bench.waiting() == numbers(0, 9)
    handle.go.set()


# The lease


def test_the_lease_of_what_waits_is_renewed(bench: Bench) -> None:
    bench.queue.add_items(numbers(0, 4))
    handle = Slow(bench)
    running = bench.start(handle, prefetch=5, lease=1.5)
    wait_until(lambda: len(bench.held()) == 4, LIMIT)
    (key,) = bench.client.hkeys("orders-timeouts")
    taken = bench.client.hget("orders-timeouts", key)
    wait_until(lambda: bench.client.hget("orders-timeouts", key) != taken, LIMIT)
    assert len(bench.held()) == 4
    handle.go.set()
    bench.wait_until_idle()
    assert running.end() == Totals(taken=4, acked=4)


def test_what_is_lost_while_it_waits_is_not_begun(bench: Bench) -> None:
    """And it makes room for what is taken then."""
    bench.queue.add_items(numbers(0, 4))
    go, lost = bench.event(), threading.Event()
    got: list[str] = []

    async def handle(item: str) -> None:
        got.append(item)
        if len(got) == 1:
            await passed(go)

    def note(event: Any) -> None:
        if event.kind == "lost":
            lost.set()

    running = bench.start(handle, prefetch=3, lease=1.5, on_event=note)
    wait_until(lambda: len(bench.held()) == 4, LIMIT)
    bench.queue.pause()
    assert bench.sweep() == 4
    assert lost.wait(LIMIT)
    go.set()
    wait_until(lambda: not len(running.consumer._hands), LIMIT)
    bench.queue.resume()
    bench.wait_until_idle()
    totals = running.end()
    assert totals == Totals(taken=8, acked=4, lost=4)
    assert sorted(got[1:]) == numbers(0, 4)
