"""Consumers of a server that fails: what passes is waited out, what does not ends them, and nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest

from pyrq import Bury, Drop, Replicas, Totals
from pyrq.aio import _supply as aio_supply
from pyrq.aio import consumer as aio_consumer
from pyrq.errors import (
    AuthenticationError,
    NotEnoughReplicasError,
    NotEnoughSyncedSlavesError,
    OutcomeUnknown,
    PermissionDeniedError,
    QueueFull,
    ReadOnlyReplicaError,
    RqError,
    ServerBusyError,
    ServerConfigError,
    ServerFullError,
    ServerGoneError,
    ServerRefusedError,
    ServerTooOldError,
    WrongTypeError,
)
from pyrq.sync import _supply as sync_supply
from tests.servers import wait_until
from tests.unit.consuming import KINDS, LATER, LIMIT, SOON, Bench, each_kind, passed

bench = pytest.fixture(params=KINDS, name="bench")(each_kind)

PASSING: list[type[RqError]] = [
    ServerGoneError,
    OutcomeUnknown,
    ServerBusyError,
    ServerFullError,
    ServerConfigError,
    ReadOnlyReplicaError,
    NotEnoughReplicasError,
]
FINAL: list[type[RqError]] = [
    AuthenticationError,
    PermissionDeniedError,
    ServerRefusedError,
    ServerTooOldError,
    WrongTypeError,
    QueueFull,
]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes consumers try again soon."""
    for module in (sync_supply, aio_supply, aio_consumer):
        monkeypatch.setattr(module, "TROUBLE_PAUSE", 0.01)


class Noting:
    """A handler that notes what it gets, and raises what it is told."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.got: list[Any] = []
        self._error = error

    async def __call__(self, item: Any) -> None:
        self.got.append(item)
        if self._error:
            raise self._error


class Waiting:
    """A handler that notes what it gets, and waits for its word."""

    def __init__(self, bench: Bench) -> None:
        self.got: list[Any] = []
        self.may = {item: bench.event() for item in "abc"}

    async def __call__(self, item: str) -> None:
        self.got.append(item)
        await passed(self.may[item])


# What passes


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("error", PASSING)
@pytest.mark.parametrize("script", ["get", "ack", "probe"])
def test_what_passes_is_waited_out(
    bench: Bench, script: str, error: type[RqError], caplog: pytest.LogCaptureFixture
) -> None:
    bench.queue.add_items(["a", "b"])
    bench.wire.fail(script, error(), error())
    handle = Noting()
    running = bench.start(handle)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=2, acked=2)
    assert handle.got == ["a", "b"]
    assert caplog.messages.count(f"queue orders: {error.__name__}") == 2


@pytest.mark.usefixtures("quick")
def test_a_get_whose_answer_is_lost_is_answered_again(bench: Bench) -> None:
    bench.queue.add_items(["a", "b", "c"])
    bench.wire.fail("get", OutcomeUnknown(), executed=True)
    handle = Noting()
    running = bench.start(handle, batch=2)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=3, acked=3)
    assert handle.got == ["a", "b", "c"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("executed", [False, True])
@pytest.mark.parametrize(
    ("error", "script", "totals"),
    [
        (None, "ack", Totals(taken=2, acked=2)),
        (Drop(), "ack", Totals(taken=2, dropped=2)),
        (Bury("no"), "bury", Totals(taken=2, buried=2)),
        (LookupError(), "retry", Totals(taken=2, retried=2)),
    ],
    ids=["ack", "drop", "bury", "retry"],
)
def test_a_verdict_takes_effect_once_whatever_gets_lost(
    bench: Bench, error: Exception | None, script: str, totals: Totals, executed: bool
) -> None:
    bench.queue.add_items(["same", "same"])
    bench.wire.fail(script, OutcomeUnknown(), OutcomeUnknown(), executed=executed)
    running = bench.start(Noting(error), backoff=LATER)
    wait_until(lambda: not bench.waiting() and not bench.held(), LIMIT)
    assert running.end() == totals
    stats = bench.queue.stats()
    assert (stats.delayed, stats.dead) == (totals.retried, totals.buried)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("executed", [False, True])
def test_an_ack_that_is_tried_again_does_not_reach_an_equal_item_that_was_taken_since(
    bench: Bench, executed: bool
) -> None:
    """Were it to, the second item would be gone while its handler runs, and lost if that fails."""
    bench.queue.add_items(["a", "b"])
    handle = Waiting(bench)
    bench.wire.fail("ack", OutcomeUnknown(), executed=executed)
    running = bench.start(handle, concurrency=3, max_deliveries=1)
    wait_until(lambda: len(handle.got) == 2, LIMIT)
    acks = bench.wire.hold("ack")
    handle.may["a"].set()
    assert acks.reached.wait(LIMIT)
    handle.may["a"].clear()
    again = bench.wire.hold("ack")
    acks.go.set()  # this one fails
    assert again.reached.wait(LIMIT)
    bench.queue.add_item("a")
    wait_until(lambda: handle.got.count("a") == 2, LIMIT)
    again.go.set()
    wait_until(lambda: not bench.wire.holds and len(running.consumer._hands) == 2, LIMIT)
    assert sorted(bench.held()) == [b"a", b"b"]
    for event in handle.may.values():
        event.set()
    bench.wait_until_idle()
    assert running.end() == Totals(taken=3, acked=3)


def test_what_could_not_be_acknowledged_goes_back_when_the_consumer_stops(bench: Bench) -> None:
    bench.queue.add_items(["a", "b"])
    bench.wire.fail("ack", *[ServerGoneError()] * 100)
    running = bench.start(Noting(), batch=2)
    wait_until(lambda: bench.wire.count("ack"), LIMIT)
    running.stop()
    running.stop()
    assert running.result() == Totals(taken=2, returned=2)
    assert bench.waiting() == ["a", "b"]


@pytest.mark.usefixtures("quick")
def test_what_is_lost_while_it_cant_be_acknowledged_is_told_in_the_end(bench: Bench) -> None:
    bench.queue.add_item("a")
    bench.wire.fail("ack", *[ServerGoneError()] * 10_000)
    handle = Noting()
    running = bench.start(handle)
    wait_until(lambda: bench.wire.count("ack") >= 2, LIMIT)
    assert bench.sweep() == 1
    bench.wire.faults.clear()
    bench.wait_until_idle()
    assert running.end() == Totals(taken=2, lost=1, acked=1)
    assert handle.got == ["a", "a"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("error", PASSING)
def test_a_move_that_fails_is_not_the_end(bench: Bench, error: type[RqError]) -> None:
    bench.wire.fail("move", error())
    handle = Noting()
    running = bench.start(handle)
    wait_until(lambda: bench.wire.moves, LIMIT)
    bench.queue.add_item("a")
    bench.wait_until_idle()
    assert running.end() == Totals(taken=1, acked=1)
    assert not bench.client.exists("orders/consumers"), "the backend says that nothing can come any more"


@pytest.mark.usefixtures("quick")
def test_nobody_confirming_in_time_is_told_and_no_reason_to_do_it_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    short = NotEnoughSyncedSlavesError(confirmed=0, wanted=1)
    short.done = 1
    bench.queue.add_items(["a", "b"])
    bench.wire.fail("ack", short, executed=True)
    handle = Noting()
    running = bench.start(handle)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=2, acked=2)
    assert handle.got == ["a", "b"]
    assert "queue orders: settled, but NotEnoughSyncedSlavesError" in caplog.messages


# What does not pass


@pytest.mark.parametrize("error", FINAL)
@pytest.mark.parametrize("script", ["get", "ack", "re_enqueue", "probe"])
def test_what_does_not_pass_ends_the_consumer(bench: Bench, script: str, error: type[RqError]) -> None:
    bench.queue.add_items(["a", "b"])
    raised = error()
    bench.wire.fail(script, raised)
    running = bench.start(Noting(), batch=2)
    running.wait()
    assert running.error is raised
    assert bench.held() == []
    assert len(bench.waiting()) + bench.wire.count("ack") - (script == "ack") == 2


@pytest.mark.parametrize(
    ("verdict", "script"),
    [(LookupError(), "retry"), (Bury("no"), "bury"), (Drop(), "ack")],
    ids=["retry", "bury", "drop"],
)
def test_a_verdict_that_cant_be_carried_out_ends_the_consumer(bench: Bench, verdict: Exception, script: str) -> None:
    bench.queue.add_items(["a", "b"])
    raised = PermissionDeniedError()
    bench.wire.fail(script, raised)
    running = bench.start(Noting(verdict), batch=2)
    running.wait()
    assert running.error is raised
    assert bench.waiting() == ["a", "b"]


def test_a_move_that_is_refused_for_good_ends_the_consumer(bench: Bench) -> None:
    raised = PermissionDeniedError()
    bench.wire.fail("move", raised)
    running = bench.start(Noting(), concurrency=2)
    running.wait()
    assert running.error is raised
    assert bench.key_names() - {key for key in bench.key_names() if "session" in key} == set()


def test_other_handlers_may_finish_after_a_failure(bench: Bench) -> None:
    bench.queue.add_items(["a", "b", "c"])
    handle = Waiting(bench)
    running = bench.start(handle, concurrency=2, batch=3)
    wait_until(lambda: len(handle.got) == 2, LIMIT)
    raised = WrongTypeError()
    bench.wire.fail("ack", raised)
    handle.may["a"].set()
    wait_until(running.consumer._stopping.is_set, LIMIT)
    assert running.thread.is_alive()
    handle.may["b"].set()
    running.wait()
    assert running.error is raised
    assert handle.got == ["a", "b"]
    assert bench.waiting() == ["a", "c"]


def test_the_first_failure_is_raised(bench: Bench) -> None:
    bench.queue.add_items(["a", "b"])
    handle = Waiting(bench)
    first, second = PermissionDeniedError(), WrongTypeError()
    running = bench.start(handle, concurrency=2)
    wait_until(lambda: len(handle.got) == 2, LIMIT)
    bench.wire.fail("ack", WrongTypeError(), first, second)  # the first of them might be the get's that rides along
    handle.may["a"].set()
    wait_until(running.consumer._stopping.is_set, LIMIT)
    handle.may["b"].set()
    running.wait()
    assert running.error is first
    assert bench.waiting() == ["a", "b"]


def test_the_first_failure_is_raised_even_if_the_end_fails(bench: Bench) -> None:
    bench.queue.add_item("a")
    first = PermissionDeniedError()
    bench.wire.fail("ack", first, first)
    bench.wire.fail("release", *[ServerGoneError()] * 10)
    running = bench.start(Noting())
    running.wait()
    bench.wire.faults.clear()
    assert bench.sweep() == 1
    assert running.error is first


def test_an_end_that_fails_is_told(bench: Bench) -> None:
    """The items come back when its lease is over."""
    bench.queue.add_item("a")
    handle = Waiting(bench)
    running = bench.start(handle, grace=0)
    wait_until(lambda: handle.got, LIMIT)
    bench.wire.fail("release", *[ServerGoneError()] * 10)
    running.stop()
    running.wait()
    bench.wire.faults.clear()
    assert isinstance(running.error, ServerGoneError)
    assert bench.held() == [b"a"]
    assert bench.sweep() == 1


def test_giving_back_waits_for_no_replica(bench: Bench) -> None:
    """Were one to be short, the rest would stay."""
    bench.options = {"durability": Replicas(1, 100)}
    bench.queue.add_items(["a", "b", "c"])
    handle = Waiting(bench)
    running = bench.start(handle)
    wait_until(lambda: handle.got == ["a"], LIMIT)
    handle.may["a"].set()
    wait_until(lambda: handle.got == ["a", "b"], LIMIT)
    running.stop()
    running.stop()
    assert running.result() == Totals(taken=2, acked=1, returned=1)
    assert bench.wire.durabilities["ack"] == [Replicas(1, 100)]
    assert bench.wire.durabilities["get"] == [None, Replicas(1, 100)], "it rides with the acknowledgement"
    assert bench.wire.durabilities["release"][0] is None


@pytest.mark.usefixtures("quick")
def test_nothing_of_an_item_is_logged_when_the_server_fails(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", "asyncio")
    caplog.set_level("DEBUG")
    bench.queue.add_items(["secret-1", "secret-2", "secret-3"])
    for script in ("get", "ack", "retry", "re_enqueue", "move"):
        bench.wire.fail(script, ServerGoneError("secret-4"), OutcomeUnknown("secret-5"))
    running = bench.start(Noting(), backoff=SOON)
    bench.wait_until_idle()
    wait_until(lambda: bench.wire.moves, LIMIT)
    assert running.end().acked == 3
    assert "secret" not in caplog.text
    assert "queue orders: OutcomeUnknown" in caplog.messages
