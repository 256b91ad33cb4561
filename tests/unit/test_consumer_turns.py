"""Consumers whose acknowledgement takes the next batch along: one round trip per turn, and nothing held back for it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pyrq import Drop, EventKind, JsonCodec, Totals
from pyrq.aio import _supply as aio_supply
from pyrq.errors import OutcomeUnknown, PermissionDeniedError, ServerGoneError
from pyrq.sync import _supply as sync_supply
from tests.servers import wait_until
from tests.unit.consuming import KINDS, LATER, LIMIT, PLAIN, TASKS, THREADS, Bench, each_kind, passed

bench = pytest.fixture(params=KINDS, name="bench")(each_kind)
TURN = ["ack", "get"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes consumers try again soon."""
    for module in (sync_supply, aio_supply):
        monkeypatch.setattr(module, "TROUBLE_PAUSE", 0.01)


class Stepping:
    """A handler that notes what it gets, and goes on when it may, or raises what it is told."""

    def __init__(self, bench: Bench, error: Exception | None = None) -> None:
        self.got: list[Any] = []
        self.go = bench.event()
        self._error = error

    async def __call__(self, item: Any) -> None:
        self.got.append(item)
        await passed(self.go)
        if self._error:
            raise self._error

    def wait_for(self, count: int) -> None:
        wait_until(lambda: len(self.got) == count, LIMIT)


async def quickly(item: Any) -> None: ...


def turns(bench: Bench) -> list[list[str]]:
    """Gives the scripts of each run from the first get to the first that finds nothing to take."""
    runs = [run for run in bench.wire.runs if set(run) & {"get", "ack", "retry"}]
    return runs[: runs.index(["get"], 1)]


def test_a_turn_is_one_round_trip(bench: Bench) -> None:
    bench.queue.add_items(["a", "b", "c"])
    running = bench.start(quickly)
    bench.wait_until_idle()
    wait_until(lambda: bench.wire.moves, LIMIT)
    assert turns(bench) == [["get"], TURN, TURN, TURN]
    assert running.end() == Totals(taken=3, acked=3)


def test_a_turn_of_batches_is_one_round_trip(bench: Bench) -> None:
    bench.queue.add_items([str(number) for number in range(10)])
    running = bench.start_batches(quickly, batch=4)
    bench.wait_until_idle()
    wait_until(lambda: bench.wire.moves, LIMIT)
    assert turns(bench) == [["get"], TURN, TURN, TURN]
    assert running.end() == Totals(taken=10, acked=10)


def test_while_something_is_at_hand_an_acknowledgement_goes_alone(bench: Bench) -> None:
    bench.queue.add_items(["a", "b", "c", "d"])
    running = bench.start(quickly, batch=3)
    bench.wait_until_idle()
    wait_until(lambda: bench.wire.moves, LIMIT)
    assert turns(bench) == [["get"], ["ack"], ["ack"], TURN, TURN]
    assert running.end() == Totals(taken=4, acked=4)


@pytest.mark.parametrize(
    ("error", "script", "totals"),
    [(Drop(), "ack", Totals(taken=1, dropped=1)), (LookupError(), "retry", Totals(taken=1, retried=1))],
    ids=["drop", "retry"],
)
def test_any_other_verdict_goes_alone(bench: Bench, error: Exception, script: str, totals: Totals) -> None:
    bench.queue.add_item("a")
    handle = Stepping(bench, error)
    running = bench.start(handle, backoff=LATER)
    handle.go.set()
    wait_until(lambda: not bench.held() and bench.wire.moves, LIMIT)
    assert turns(bench) == [["get"], [script]]
    assert running.end() == totals


def test_an_acknowledgement_does_not_wait_for_the_next_item(bench: Bench) -> None:
    """Somebody waits for that already."""
    handle = Stepping(bench)
    running = bench.start(handle, concurrency=2)
    bench.queue.add_item("a")
    handle.wait_for(1)
    moves = bench.wire.moves
    wait_until(lambda: bench.wire.moves > moves or bench.wire.runs[-1] == ["get"], LIMIT)
    handle.go.set()
    wait_until(lambda: ["ack"] in bench.wire.runs, LIMIT)
    wait_until(lambda: not bench.held(), LIMIT)
    assert TURN not in bench.wire.runs
    assert running.end() == Totals(taken=1, acked=1)


def test_nothing_is_taken_when_a_stop_was_asked_for(bench: Bench) -> None:
    bench.queue.add_items(["a", "b"])
    handle = Stepping(bench)
    running = bench.start(handle)
    handle.wait_for(1)
    running.stop()
    wait_until(lambda: running.consumer._is_to_stop(), LIMIT)
    handle.go.set()
    assert running.result() == Totals(taken=1, acked=1)
    assert TURN not in bench.wire.runs


@pytest.mark.parametrize("bench", [THREADS], indirect=True)
def test_nothing_is_taken_when_the_callers_event_is_set(bench: Bench) -> None:
    """The consumer has not looked at it yet."""
    bench.queue.add_items(["a", "b"])
    stop = threading.Event()

    async def handle(item: str) -> None:
        stop.set()

    running = bench.start(handle, stop=stop)
    assert running.result() == Totals(taken=1, acked=1)
    assert bench.waiting() == ["b"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("executed", [False, True])
@pytest.mark.parametrize("error", [OutcomeUnknown, ServerGoneError])
def test_what_gets_no_answer_is_asked_again_alone_and_takes_effect_once(
    bench: Bench, error: type[Exception], executed: bool
) -> None:
    """And what was taken along is handed out by the next get."""
    bench.queue.add_items(["same", "same", "same"])
    handle = Stepping(bench)
    running = bench.start(handle)
    handle.wait_for(1)
    bench.wire.fail("ack", error(), error(), executed=executed)
    handle.go.set()
    bench.wait_until_idle()
    assert running.end() == Totals(taken=3, acked=3)
    assert handle.got == ["same"] * 3
    together, alone, again = [call for call in bench.wire.calls if call.script.name == "ack"][:3]
    assert together.args[:2] == alone.args[:2] == again.args[:2]
    runs = [run for run in bench.wire.runs if set(run) & {"get", "ack"}]
    assert runs[:5] == [["get"], TURN, ["ack"], ["ack"], ["get"]]


def test_what_is_acknowledged_counts_though_the_get_beside_it_fails_for_good(bench: Bench) -> None:
    told: list[Any] = []
    bench.queue.add_items(["a", "b"])
    handle = Stepping(bench)
    running = bench.start(handle, on_event=told.append)
    handle.wait_for(1)
    raised = PermissionDeniedError()
    bench.wire.fail("get", raised, raised)
    handle.go.set()
    running.wait()
    assert running.error is raised
    assert [(event.kind, event.count) for event in told] == [(EventKind.TAKEN, 1), (EventKind.ACKED, 1)]
    assert bench.waiting() == ["b"]


@pytest.mark.usefixtures("quick")
def test_what_cant_be_acknowledged_when_all_is_over_goes_back(bench: Bench) -> None:
    bench.queue.add_items(["a", "b"])
    handle = Stepping(bench)
    running = bench.start(handle, grace=0)
    handle.wait_for(1)
    bench.wire.fail("ack", *[ServerGoneError()] * 10_000)
    handle.go.set()
    wait_until(lambda: bench.wire.count("ack") >= 3, LIMIT)
    running.stop()
    assert running.result() == Totals(taken=1, returned=1)
    bench.wire.faults.clear()
    assert bench.waiting() == ["a", "b"]


def test_what_is_taken_along_and_not_begun_goes_back(bench: Bench) -> None:
    bench.queue.add_items(["a", "b", "c"])
    handle = Stepping(bench)
    running = bench.start(handle, grace=0)
    handle.wait_for(1)
    turn = bench.wire.hold("ack", behind=True)
    handle.go.set()
    assert turn.reached.wait(LIMIT)
    running.stop()
    wait_until(running.consumer._over.is_set, LIMIT)
    turn.go.set()
    totals = running.result()
    assert handle.got == ["a"]
    assert (totals.taken - totals.acked - totals.returned, bench.held()) in [(0, []), (-1, [])]
    assert bench.waiting() == ["b", "c"]


def test_what_is_lost_is_told(bench: Bench) -> None:
    bench.queue.add_item("a")
    handle = Stepping(bench)
    running = bench.start(handle)
    handle.wait_for(1)
    assert bench.sweep() == 1
    handle.go.set()
    bench.wait_until_idle()
    assert running.end() == Totals(taken=2, acked=1, lost=1)
    assert handle.got == ["a", "a"]


def test_a_sweep_that_is_due_is_made(bench: Bench) -> None:
    """Not in the first turn: a pipeline with a script that the server lacks is sent again, and only asks once."""
    bench.queue.add_items(["a", "b"])
    got: list[str] = []

    async def handle(item: str) -> None:
        got.append(item)
        if item == "b":
            bench.die("dead", "x")
            bench.client.hdel("orders/meta", "swept")

    running = bench.start(handle)
    wait_until(lambda: got == ["a", "b", "x"], LIMIT)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=3, acked=3, swept=1)
    after = bench.wire.runs.index(TURN, bench.wire.runs.index(TURN) + 1)
    assert bench.wire.runs[after : after + 3] == [TURN, ["re_enqueue"], ["get"]]


def test_what_cant_be_decoded_is_buried(bench: Bench) -> None:
    bench.options = {"codec": JsonCodec()}
    bench.client.lpush("orders", "1", "no json", "2")
    handle = Stepping(bench)
    handle.go.set()
    running = bench.start(handle)
    handle.wait_for(2)
    bench.wait_until_idle()
    assert handle.got == [1, 2]
    assert [item for item, _, _ in bench.letters()] == ["no json"]
    assert running.end() == Totals(taken=2, acked=2)


@pytest.mark.parametrize("bench", [TASKS, PLAIN], indirect=True)
def test_a_cancelled_turn_leaves_nothing_behind(bench: Bench) -> None:
    bench.queue.add_items(["a", "b"])
    handle = Stepping(bench)
    running = bench.start(handle)
    handle.wait_for(1)
    turn = bench.wire.hold("ack")
    handle.go.set()
    assert turn.reached.wait(LIMIT)
    bench.wire.in_doubt = True
    running.cancel()
    turn.go.set()
    running.wait()
    assert bench.held() == []
    assert bench.waiting() in (["b"], ["a", "b"])
