"""What becomes of items whose handlers fail."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import pytest

from pyrq import Backoff, Bury, Drop, Retry, Totals
from tests.servers import wait_until
from tests.unit.consuming import KINDS, LATER, LIMIT, SOON, TASKS, THREADS, Bench, each_kind, passed
from tests.unit.helpers import BrokenCodec

bench = pytest.fixture(params=KINDS, name="bench")(each_kind)


class Failing:
    """A handler that raises what it is told for an item, as often as it is told; the others are fine.

    Attributes:
        got: what it was called with.
    """

    def __init__(self, error: BaseException, item: str = "bad", times: float = math.inf) -> None:
        self.got: list[Any] = []
        self._error, self._item, self._times = error, item, times

    async def __call__(self, item: Any) -> None:
        self.got.append(item)
        if self._item in item and self.got.count(item) <= self._times:
            raise self._error


def due(bench: Bench) -> dict[str, float]:
    """Gives what is put off, with in how many seconds it is due."""
    return {
        member.decode().split("\n", 1)[1]: score - time.time()
        for member, score in bench.client.zrange("orders/delayed", 0, -1, withscores=True)
    }


def make_due(bench: Bench) -> None:
    """Lets the time pass for what is put off, until it was delivered once more."""
    retried = bench.wire.count("retry")
    for member in bench.client.zrange("orders/delayed", 0, -1):
        bench.client.zadd("orders/delayed", {member: 1})
    bench.queue.add_item("next")  # who waits for an item wakes
    wait_until(lambda: bench.wire.count("retry") > retried, LIMIT)


def test_what_fails_is_delivered_again(bench: Bench) -> None:
    bench.queue.add_items(["a", "bad", "c"])
    handle = Failing(LookupError("no"), times=3)
    running = bench.start(handle, backoff=SOON)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=6, acked=3, retried=3)
    assert handle.got.count("bad") == 4
    assert handle.got[:3] == ["a", "bad", "c"]
    assert bench.key_names() == set()  # the counter is gone with the item


def test_it_is_put_off_for_what_the_backoff_says(bench: Bench) -> None:
    bench.queue.add_item("bad")
    running = bench.start(Failing(LookupError("no")), backoff=Backoff(100, 300, jitter=0))
    for wait in (100, 200, 300, 300):
        wait_until(lambda: due(bench), LIMIT)
        assert due(bench) == {"bad": pytest.approx(wait, abs=10)}
        make_due(bench)
    wait_until(lambda: due(bench), LIMIT)
    running.end()
    assert bench.client.hgetall("orders/deliveries") == {b"bad": b"5"}


def test_a_wait_is_spread_by_jitter(bench: Bench) -> None:
    bench.queue.add_items([f"bad {number}" for number in range(20)])
    running = bench.start(Failing(LookupError("no")), backoff=Backoff(1000, 1000, jitter=0.5))
    wait_until(lambda: len(due(bench)) == 20, LIMIT)
    assert running.end() == Totals(taken=20, retried=20)
    waits = [math.floor(wait) for wait in due(bench).values()]
    assert min(waits) >= 490
    assert max(waits) <= 1000
    assert len(set(waits)) > 5  # of 500; by chance once in 10 ** 30


def test_two_deliveries_are_two(bench: Bench) -> None:
    bench.queue.add_items(["bad", "good"])
    handle = Failing(LookupError("no such thing"))
    running = bench.start(handle, max_deliveries=2, backoff=SOON)
    wait_until(bench.letters, LIMIT)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=3, acked=1, retried=1, buried=1)
    assert handle.got.count("bad") == 2
    assert bench.letters() == [("bad", "LookupError: no such thing", 2)]
    assert bench.key_names() == {"orders/dead"}
    assert bench.queue.dead.redrive() == 1
    assert bench.queue.dead.count() == 0


def test_one_delivery_is_one(bench: Bench) -> None:
    bench.queue.add_item("bad")
    running = bench.start(Failing(LookupError("no")), max_deliveries=1)
    wait_until(bench.letters, LIMIT)
    assert running.end() == Totals(taken=1, buried=1)
    assert bench.letters() == [("bad", "LookupError: no", 1)]
    (letter,) = bench.queue.dead.peek(1)
    assert letter.when == pytest.approx(time.time(), abs=10)


class Silent(Exception):
    """Fails when it is asked for its text."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("key"), "KeyError: 'key'"),
        (ValueError(), "ValueError"),
        (ZeroDivisionError("ünlau\n"), "ZeroDivisionError: ünlau\n"),
        (Silent(), "Silent"),
        (RuntimeError("x" * 3000), "RuntimeError: " + "x" * 1986),
        (TimeoutError("late"), "TimeoutError: late"),
        (Retry(reason="busy"), "busy"),
        (Retry(), "retried by its handler"),
        (Bury("of no use"), "of no use"),
        (Bury(), "buried by its handler"),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_a_dead_letter_says_why(bench: Bench, error: Exception, reason: str) -> None:
    bench.queue.add_item("bad")
    running = bench.start(Failing(error), max_deliveries=1)
    wait_until(bench.letters, LIMIT)
    assert running.end() == Totals(taken=1, buried=1)
    assert bench.letters() == [("bad", reason, 1)]


# What a handler chooses


def test_a_handler_chooses_when_it_is_delivered_again(bench: Bench) -> None:
    bench.queue.add_item("bad")
    running = bench.start(Failing(Retry(after=500)), backoff=SOON)
    wait_until(lambda: due(bench), LIMIT)
    assert running.end() == Totals(taken=1, retried=1)
    assert due(bench) == {"bad": pytest.approx(500, abs=10)}


def test_a_handler_leaves_that_to_the_backoff(bench: Bench) -> None:
    bench.queue.add_item("bad")
    running = bench.start(Failing(Retry()), backoff=LATER)
    wait_until(lambda: due(bench), LIMIT)
    assert running.end() == Totals(taken=1, retried=1)
    assert due(bench) == {"bad": pytest.approx(1000, abs=10)}


def test_a_handler_has_it_delivered_again_at_once(bench: Bench) -> None:
    bench.queue.add_item("bad")
    handle = Failing(Retry(after=0), times=2)
    running = bench.start(handle, backoff=LATER)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=3, acked=1, retried=2)
    assert handle.got == ["bad"] * 3


def test_a_retry_counts_as_a_delivery(bench: Bench) -> None:
    bench.queue.add_item("bad")
    handle = Failing(Retry(after=0, reason="busy"))
    running = bench.start(handle, max_deliveries=3)
    wait_until(bench.letters, LIMIT)
    assert running.end() == Totals(taken=3, retried=2, buried=1)
    assert bench.letters() == [("bad", "busy", 3)]


def test_a_handler_buries(bench: Bench) -> None:
    bench.queue.add_items(["bad", "good"])
    running = bench.start(Failing(Bury("of no use")))
    bench.wait_until_idle()
    assert running.end() == Totals(taken=2, acked=1, buried=1)
    assert bench.letters() == [("bad", "of no use", 1)]


def test_a_handler_drops(bench: Bench) -> None:
    bench.queue.add_items(["bad", "good"])
    running = bench.start(Failing(Drop()))
    bench.wait_until_idle()
    assert running.end() == Totals(taken=2, acked=1, dropped=1)
    assert bench.key_names() == set()


# Lists


def test_a_list_is_delivered_again_whole(bench: Bench) -> None:
    bench.queue.add_items(["a", "bad", "c"])
    handle = Failing(LookupError("no"), times=1)
    running = bench.start_batches(handle, backoff=SOON)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=6, acked=3, retried=3)
    assert handle.got == [["a", "bad", "c"]] * 2


def test_of_a_list_those_are_buried_that_were_delivered_too_often(bench: Bench) -> None:
    bench.queue.add_items(["a", "bad", "c"])
    bench.client.hset("orders/deliveries", "bad", "1")
    bench.client.expire("orders/deliveries", 1000)
    running = bench.start_batches(Failing(LookupError("no")), backoff=LATER, max_deliveries=2)
    wait_until(bench.letters, LIMIT)
    assert running.end() == Totals(taken=3, retried=2, buried=1)
    assert bench.letters() == [("bad", "LookupError: no", 2)]
    assert set(due(bench)) == {"a", "c"}


@pytest.mark.parametrize(("error", "totals"), [(Bury("no"), Totals(taken=3, buried=3)), (Drop(), Totals(3, dropped=3))])
def test_a_verdict_is_about_the_whole_list(bench: Bench, error: Exception, totals: Totals) -> None:
    bench.queue.add_items(["a", "bad", "c"])
    running = bench.start_batches(Failing(error))
    bench.wait_until_idle()
    assert running.end() == totals
    assert [item for item, _, _ in bench.letters()] == (["a", "bad", "c"] if totals.buried else [])


def test_equal_items_fail_each_for_itself(bench: Bench) -> None:
    bench.queue.add_items(["bad"] * 3)
    handle = Failing(LookupError("no"), times=1)
    running = bench.start(handle, backoff=LATER, batch=3)
    wait_until(lambda: len(handle.got) == 3, LIMIT)
    wait_until(lambda: not bench.held(), LIMIT)
    assert running.end() == Totals(taken=3, acked=2, retried=1)
    assert bench.queue.stats().delayed == 1


# What can't be decoded


def test_what_cant_be_decoded_is_buried_and_the_others_are_handled(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.options = {"codec": BrokenCodec()}
    bench.queue.add_items(["a", "bad 1", "b", "bad 2", "c"])
    handled: list[str] = []

    async def handle(item: str) -> None:
        handled.append(item)

    running = bench.start(handle, batch=2)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=3, acked=3)
    assert handled == ["a", "b", "c"]
    assert [item for item, _, _ in bench.letters()] == ["bad 1", "bad 2"]
    assert "secret" not in caplog.text
    assert "bad 1" not in caplog.text
    assert not any("secret" in reason for _, reason, _ in bench.letters())


# What ends a consumer


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "interrupt"])
def test_an_exit_is_a_delivery_and_ends_the_consumer(bench: Bench, error: BaseException) -> None:
    bench.queue.add_items(["bad", "b", "c"])
    handle = Failing(error)
    running = bench.start(handle, batch=2, backoff=LATER)
    running.wait()
    assert type(running.error) is type(error)
    assert handle.got == ["bad"]
    assert bench.waiting() == ["b", "c"]
    assert set(due(bench)) == {"bad"}
    assert bench.held() == []


def test_an_exit_lets_the_other_handlers_finish(bench: Bench) -> None:
    bench.queue.add_items(["a", "bad"])
    go, began = bench.event(), bench.event()

    async def handle(item: str) -> None:
        if item == "bad":
            await passed(began)
            raise SystemExit
        began.set()
        await passed(go)

    running = bench.start(handle, concurrency=2, backoff=LATER)
    wait_until(lambda: running.consumer._stopping.is_set(), LIMIT)
    assert running.thread.is_alive()
    go.set()
    running.wait()
    assert isinstance(running.error, SystemExit)
    assert bench.wire.count("ack") == 1
    assert set(due(bench)) == {"bad"}


@pytest.mark.parametrize("bench", [TASKS], indirect=True)
def test_a_coroutine_that_cancels_itself_has_failed(bench: Bench) -> None:
    bench.queue.add_items(["bad", "good"])
    handle = Failing(asyncio.CancelledError("by itself"), times=1)
    running = bench.start(handle, backoff=SOON)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=3, acked=2, retried=1)


# Telling


def test_nothing_of_an_item_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", "asyncio")  # it tells how long its steps took
    caplog.set_level("DEBUG")
    errors = [LookupError("secret-1"), Retry(after=0, reason="secret-2"), Bury("secret-3"), Drop("secret-4")]
    bench.queue.add_items([f"secret-{number}" for number in range(1, 6)])
    calls: list[str] = []

    async def handle(item: str) -> None:
        calls.append(item)
        if len(calls) <= len(errors):
            raise errors[len(calls) - 1]

    running = bench.start(handle, backoff=SOON, batch=2, concurrency=2)
    bench.wait_until_idle()
    totals = running.end()
    assert (totals.retried, totals.buried, totals.dropped) == (2, 1, 1)
    assert "queue orders: a handler raised LookupError" in caplog.messages
    assert "secret" not in caplog.text
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("bench", [THREADS], indirect=True)
def test_other_loggers_are_left_alone(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    bench.queue.add_item("bad")
    running = bench.start(Failing(LookupError("no")), backoff=LATER)
    wait_until(lambda: due(bench), LIMIT)
    running.end()
    assert {record.name for record in caplog.records} == {"pyrq.consumer"}
