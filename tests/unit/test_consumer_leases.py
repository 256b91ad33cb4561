"""The leases of consumers: heartbeats, what happens when one is lost, and sweeps of consumers that fell silent."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from pyrq import Bury, Queue, Totals, current_lease
from pyrq.errors import OutcomeUnknown, PermissionDeniedError, ServerGoneError
from tests.servers import wait_until
from tests.unit.consuming import KINDS, LATER, LIMIT, TASKS, Bench, each_kind, passed

bench = pytest.fixture(params=KINDS, name="bench")(each_kind)
SHORT = 0.3


class Losing:
    """A handler that waits for its lease to be lost, in its first calls, and then is quick.

    Attributes:
        began: what it was called with.
        lost: for what it was told that the lease is lost.
    """

    def __init__(self, bench: Bench, calls: int = 1) -> None:
        self.began: list[Any] = []
        self.lost: list[Any] = []
        self._is_task = bench.kind == TASKS
        self._calls = calls

    async def __call__(self, item: Any) -> None:
        self.began.append(item)
        if len(self.began) > self._calls:
            return
        lease = current_lease()
        try:
            if self._is_task:
                await asyncio.sleep(LIMIT)
            else:
                assert lease.wait(LIMIT)
        finally:
            assert lease.lost
            self.lost.append(item)


class Blocked:
    """A handler that goes on when it may."""

    def __init__(self, bench: Bench, error: BaseException | None = None) -> None:
        self.began = threading.Event()
        self.go = bench.event()
        self._error = error

    async def __call__(self, item: Any) -> None:
        self.began.set()
        await passed(self.go)
        if self._error:
            raise self._error


async def quick(item: Any) -> None: ...


def test_the_lease_is_seen_while_something_is_in_hand(bench: Bench) -> None:
    bench.queue.add_item("a")
    handle = Blocked(bench)
    running = bench.start(handle, lease=7.5)
    assert handle.began.wait(LIMIT)
    (seen,) = bench.queue.in_flight()
    assert (seen.count, seen.lease) == (1, 7.5)
    handle.go.set()
    bench.wait_until_idle()
    assert bench.queue.in_flight() == []
    running.end()


def test_a_heartbeat_keeps_the_lease_however_long_a_handler_runs(bench: Bench) -> None:
    bench.queue.add_item("a")
    handle = Blocked(bench)
    running = bench.start(handle, lease=SHORT)
    assert handle.began.wait(LIMIT)
    sweeper = bench.start(quick, lease=SHORT)
    beats = bench.wire.count("beat")
    wait_until(lambda: bench.wire.count("beat") >= beats + 7 and bench.wire.count("re_enqueue") >= 3, LIMIT)
    assert bench.held() == [b"a"]
    handle.go.set()
    bench.wait_until_idle()
    assert running.end() == Totals(taken=1, acked=1)
    assert sweeper.end() == Totals()


def test_nothing_beats_while_nothing_is_in_hand(bench: Bench) -> None:
    running = bench.start(quick, lease=0.1)
    wait_until(lambda: bench.wire.moves >= 4, LIMIT)
    running.end()
    assert bench.wire.count("beat") == 0


def test_a_handler_is_told_that_its_lease_is_lost(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    events: list[tuple[str, int]] = []
    bench.queue.add_item("secret-1")
    handle = Losing(bench)
    running = bench.start(
        handle, lease=SHORT, on_event=lambda event: events.append((event.kind, event.count)), batch=10
    )
    wait_until(lambda: handle.began, LIMIT)
    assert bench.sweep() == 1
    beats = bench.wire.count("beat")
    wait_until(lambda: handle.lost == ["secret-1"], LIMIT)
    assert bench.wire.count("beat") <= beats + 1
    bench.wait_until_idle()
    assert running.end() == Totals(taken=2, lost=1, acked=1)
    assert handle.began == ["secret-1"] * 2
    assert ("lost", 1) in events
    assert "queue orders: the lease of 1 items was lost" in caplog.messages
    assert "secret" not in caplog.text


def test_another_consumer_handles_what_was_lost(bench: Bench) -> None:
    bench.queue.add_item("a")
    handle = Losing(bench)
    running = bench.start(handle, lease=SHORT)
    wait_until(lambda: handle.began, LIMIT)
    with Queue("orders", bench.url) as other:
        assert other.re_enqueue_all_items() == 1
        assert other.get_items(1) == ["a"]
        wait_until(lambda: handle.lost, LIMIT)
        assert running.end() == Totals(taken=1, lost=1)
        assert other.ack_item("a")


def test_what_was_not_begun_is_lost_with_the_rest(bench: Bench) -> None:
    bench.queue.add_items(["a", "b", "c"])
    handle = Losing(bench)
    running = bench.start(handle, lease=SHORT, batch=3)
    wait_until(lambda: handle.began, LIMIT)
    assert bench.sweep() == 3
    bench.wait_until_idle()
    assert running.end() == Totals(taken=6, lost=3, acked=3)
    assert handle.began == ["a", "a", "b", "c"]


def test_a_list_is_lost_whole(bench: Bench) -> None:
    bench.queue.add_items(["a", "b", "c"])
    handle = Losing(bench)
    running = bench.start_batches(handle, lease=SHORT)
    wait_until(lambda: handle.began, LIMIT)
    assert bench.sweep() == 3
    bench.wait_until_idle()
    assert running.end() == Totals(taken=6, lost=3, acked=3)
    assert handle.began == [["a", "b", "c"]] * 2


def test_all_handlers_are_told(bench: Bench) -> None:
    bench.queue.add_items(["a", "b", "c"])
    handle = Losing(bench, calls=3)
    running = bench.start(handle, lease=SHORT, concurrency=3)
    wait_until(lambda: len(handle.began) == 3, LIMIT)
    assert bench.sweep() == 3
    wait_until(lambda: sorted(handle.lost) == ["a", "b", "c"], LIMIT)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=6, lost=3, acked=3)


def test_only_what_was_lost_is_told_so(bench: Bench) -> None:
    """A free handler takes the item again, in the next tenure, before the heartbeat: that one is not lost."""
    bench.queue.add_item("a")
    handle, calls = Losing(bench), []
    second = Blocked(bench)

    async def handle_both(item: str) -> None:
        calls.append(item)
        await (handle if len(calls) == 1 else second)(item)

    running = bench.start(handle_both, lease=SHORT, concurrency=2)
    wait_until(lambda: handle.began, LIMIT)
    assert bench.sweep() == 1
    assert second.began.wait(LIMIT)
    wait_until(lambda: handle.lost, LIMIT)
    beats = bench.wire.count("beat")
    wait_until(lambda: bench.wire.count("beat") >= beats + 2, LIMIT)
    second.go.set()
    bench.wait_until_idle()
    assert running.end() == Totals(taken=2, lost=1, acked=1)


@pytest.mark.parametrize("error", [None, LookupError("no"), Bury("no")], ids=["returns", "raises", "buries"])
def test_what_ends_before_it_is_told_changes_nothing(bench: Bench, error: Exception | None) -> None:
    bench.queue.add_item("a")
    handle = Blocked(bench, error)
    running = bench.start(handle)
    assert handle.began.wait(LIMIT)
    with Queue("orders", bench.url) as other:
        assert other.re_enqueue_all_items() == 1
        assert other.get_items(1) == ["a"]
        handle.go.set()
        wait_until(lambda: sum(bench.wire.count(name) for name in ("ack", "retry", "bury")), LIMIT)
        assert running.end() == Totals(taken=1, lost=1)
        assert bench.held() == [b"a"]
        assert other.ack_item("a")
    assert bench.letters() == []


def test_an_ack_of_an_older_tenure_does_not_reach_what_was_taken_since(bench: Bench) -> None:
    bench.queue.add_item("a")
    first, second, calls = Blocked(bench), Blocked(bench), []

    async def handle(item: str) -> None:
        calls.append(item)
        await (first if len(calls) == 1 else second)(item)

    running = bench.start(handle, concurrency=2)
    assert first.began.wait(LIMIT)
    assert bench.sweep() == 1
    assert second.began.wait(LIMIT)
    first.go.set()
    wait_until(lambda: bench.wire.count("ack"), LIMIT)
    wait_until(lambda: len(running.consumer._hands) == 1, LIMIT)
    assert bench.held() == [b"a"]
    second.go.set()
    bench.wait_until_idle()
    assert running.end() == Totals(taken=2, lost=1, acked=1)


# Heartbeats that fail


@pytest.mark.parametrize("executed", [False, True])
@pytest.mark.parametrize("error", [ServerGoneError, OutcomeUnknown])
def test_a_heartbeat_that_fails_is_tried_again(
    bench: Bench, error: type[Exception], executed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    bench.wire.fail("beat", error(), error(), executed=executed)
    bench.queue.add_item("a")
    handle = Blocked(bench)
    running = bench.start(handle, lease=SHORT)
    wait_until(lambda: bench.wire.count("beat") >= 4, LIMIT)
    handle.go.set()
    bench.wait_until_idle()
    assert running.end() == Totals(taken=1, acked=1)
    assert caplog.messages.count(f"queue orders: {error.__name__}") == 2


@pytest.mark.parametrize("script", ["beat", "re_enqueue"])
def test_a_heartbeat_that_can_never_succeed_ends_the_consumer(bench: Bench, script: str) -> None:
    error = PermissionDeniedError()
    bench.queue.add_items(["a", "b"])
    handle = Blocked(bench)
    running = bench.start(handle, lease=SHORT, batch=2, grace=0)
    assert handle.began.wait(LIMIT)
    bench.wire.fail(script, error)
    with pytest.raises(PermissionDeniedError) as caught:
        running.result()
    assert caught.value is error
    assert bench.waiting() == ["a", "b"]


def test_a_heartbeat_that_fails_while_the_consumer_ends_is_no_failure(bench: Bench) -> None:
    bench.queue.add_item("a")
    handle = Blocked(bench)
    running = bench.start(handle, lease=SHORT, grace=0)
    assert handle.began.wait(LIMIT)
    held = bench.wire.hold("beat")
    assert held.reached.wait(LIMIT)
    release = bench.wire.hold("release")
    running.stop()
    assert release.reached.wait(LIMIT)
    bench.wire.fail("beat", PermissionDeniedError())
    held.go.set()
    wait_until(lambda: not bench.wire.faults, LIMIT)
    release.go.set()
    assert running.result() == Totals(taken=1, returned=1)


def test_a_sweep_that_fails_costs_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.wire.fail("re_enqueue", ServerGoneError())
    bench.queue.add_item("a")
    running = bench.start(quick, lease=SHORT)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=1, acked=1)
    assert "queue orders: ServerGoneError" in caplog.messages


# Sweeps


def test_the_items_of_a_dead_consumer_are_handled(bench: Bench) -> None:
    handled: list[str] = []

    async def handle(item: str) -> None:
        handled.append(item)

    bench.die("dead-1", "a", "b")
    bench.die("dead-2", "c", ago=10)
    bench.queue.add_item("d")
    running = bench.start(handle, lease=SHORT)
    wait_until(lambda: len(handled) == 4, LIMIT)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=4, acked=4, swept=3)
    assert sorted(handled) == ["a", "b", "c", "d"]


def test_what_a_live_consumer_holds_stays(bench: Bench) -> None:
    bench.die("long", "a", ago=1000, lease="2000 5")
    running = bench.start(quick, lease=SHORT)
    wait_until(lambda: bench.wire.count("re_enqueue") >= 2, LIMIT)
    assert bench.held() == [b"a"]
    bench.sweep()
    bench.wait_until_idle()
    assert running.end() == Totals(taken=1, acked=1)


def test_consumers_without_a_lease_have_two_hours(bench: Bench) -> None:
    bench.die("old-1", "stays", ago=7100, lease=None)
    bench.die("old-2", "comes", ago=7300, lease=None)
    handled: list[str] = []

    async def handle(item: str) -> None:
        handled.append(item)

    running = bench.start(handle, lease=SHORT)
    wait_until(lambda: handled, LIMIT)
    sweeps = bench.wire.count("re_enqueue")
    wait_until(lambda: bench.wire.count("re_enqueue") >= sweeps + 2, LIMIT)
    assert handled == ["comes"]
    assert bench.held() == [b"stays"]
    bench.sweep()
    bench.wait_until_idle()
    assert running.end() == Totals(taken=2, acked=2, swept=1)


def handle_one(bench: Bench) -> None:
    """Has one item handled, by whoever waits."""
    acks = bench.wire.count("ack")
    bench.queue.add_item("a")
    wait_until(lambda: bench.wire.count("ack") > acks, LIMIT)


def test_one_of_several_consumers_sweeps_in_half_a_lease(bench: Bench) -> None:
    several = [bench.start(quick, lease=30) for _ in range(3)]
    wait_until(lambda: bench.wire.moves >= 3, LIMIT)
    assert bench.wire.count("re_enqueue") == 1
    bench.client.hset("orders/meta", "swept", f"{time.time() - 14:.6f}")
    for _ in range(5):
        handle_one(bench)
    assert bench.wire.count("re_enqueue") == 1
    bench.client.hset("orders/meta", "swept", f"{time.time() - 16:.6f}")
    for _ in range(5):
        handle_one(bench)
    bench.wait_until_idle()
    totals = [running.end() for running in several]
    assert bench.wire.count("re_enqueue") == 2
    assert sum(total.acked for total in totals) == 10


def test_a_consumer_whose_handlers_are_busy_sweeps(bench: Bench) -> None:
    bench.queue.add_item("a")
    handle = Blocked(bench)
    running = bench.start(handle, lease=SHORT)
    assert handle.began.wait(LIMIT)
    bench.die("dead-1", "b")
    wait_until(lambda: bench.waiting() == ["b"], LIMIT)
    handle.go.set()
    bench.wait_until_idle()
    assert running.end() == Totals(taken=2, acked=2, swept=1)


def test_a_sweep_counts_as_a_delivery(bench: Bench) -> None:
    """An item that kills its consumers is buried in the end."""
    bench.die("dead-1", "deadly")
    running = bench.start(quick, lease=SHORT, max_deliveries=2)
    bench.wait_until_idle()
    bench.die("dead-2", "deadly")
    bench.client.hset("orders/deliveries", "deadly", "1")
    wait_until(bench.letters, LIMIT)
    running.end()
    assert bench.letters() == [("deadly", "swept: its consumer fell silent", 2)]
    assert bench.queue.dead.peek(1)[0].consumer == "dead-2"


def test_what_fails_after_a_sweep_has_one_delivery_less(bench: Bench) -> None:
    async def fail(item: str) -> None:
        raise LookupError("no")

    bench.die("dead-1", "a")
    running = bench.start(fail, lease=SHORT, max_deliveries=2, backoff=LATER)
    wait_until(bench.letters, LIMIT)
    running.end()
    assert bench.letters() == [("a", "LookupError: no", 2)]
