"""What a consumer says to the server but for taking, in both worlds."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pyrq import Backoff, EventKind, aio, sync
from pyrq.aio._settling import Settler as AsyncSettler
from pyrq.backends import connect, connect_async
from pyrq.core.consuming import ConsumerSetup, Job, Lease
from pyrq.core.limits import Limits
from pyrq.core.verdicts import Fate, Verdict
from pyrq.core.waiting import Wait
from pyrq.errors import NotEnoughSyncedSlavesError, OutcomeUnknown, QueueClosedError, RqError, ServerGoneError
from pyrq.sync._settling import Settler
from tests.unit.consuming import AsyncTappedBackend, TappedBackend, Wire
from tests.unit.helpers import raw

LEASE = 30.0
ACK, DROP = Verdict(Fate.ACK), Verdict(Fate.DROP)
BURY = Verdict(Fate.BURY, "why")
RETRY = Verdict(Fate.RETRY, "why", (100.0, 200.0))


class Desk:
    """A settler of one world, and what it reports."""

    def __init__(self, world: str) -> None:
        self.is_aio = world == "aio"
        self.wire = Wire()
        self.client = raw(self.wire.url)
        self.told: list[tuple[EventKind, int]] = []
        self.failures: list[RqError] = []
        self.goes = True
        self.setup = ConsumerSetup.of(Limits(), 1, 1, LEASE, 2, Backoff(), 10)
        self._runner = asyncio.Runner()
        self.queue: Any = self._do(self._make)
        make: Any = AsyncSettler if self.is_aio else Settler
        self.settler = make(self.queue._run, self.setup, lambda kind, count: self.told.append((kind, count)))

    def _make(self) -> Any:
        if self.is_aio:
            return aio.Queue("orders", AsyncTappedBackend(self.wire, connect_async(self.wire.url)))
        return sync.Queue("orders", TappedBackend(self.wire, connect(self.wire.url)))

    def _do(self, function: Any, *args: Any) -> Any:
        """Calls a function, or runs a coroutine function."""
        if not self.is_aio:
            return function(*args)

        async def call() -> Any:
            result = function(*args)
            return await result if asyncio.iscoroutine(result) else result

        return self._runner.run(call())

    def take(self, *items: str) -> list[Job[Any]]:
        """Makes jobs of items that are taken with a lease."""
        self.client.lpush("orders", *items)
        handed = self._do(self.queue._hand_out, len(items), Wait(LEASE))
        pairs = zip(handed.values, handed.found.items, strict=True)
        return [Job([item], [raw], handed.found.tenure, Lease(threading.Event())) for item, raw in pairs]

    def settle(self, job: Job[Any], verdict: Verdict) -> None:
        def goes_on(error: RqError) -> bool:
            self.failures.append(error)
            return self.goes

        async def goes_on_async(error: RqError) -> bool:
            return goes_on(error)

        self._do(self.settler.settle, job, verdict, goes_on_async if self.is_aio else goes_on)

    def do(self, name: str) -> Any:
        return self._do(getattr(self.settler, name))

    def held(self) -> list[bytes]:
        (key,) = self.client.keys("orders-processing-*") or [b"orders-processing-nobody"]
        items: list[bytes] = self.client.lrange(key, 0, -1)
        return items[::-1]

    def news(self) -> list[tuple[EventKind, int]]:
        """Gives what was reported since the last time, without what is about no items."""
        told, self.told = [(kind, count) for kind, count in self.told if count], []
        return told

    def close(self) -> None:
        self._do(self.queue.close)
        self._runner.close()
        self.client.close()


@pytest.fixture(params=["sync", "aio"])
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    desk = Desk(request.param)
    yield desk
    desk.close()


@pytest.mark.parametrize(
    ("verdict", "script", "kind"),
    [
        (ACK, "ack", EventKind.ACKED),
        (DROP, "ack", EventKind.DROPPED),
        (BURY, "bury", EventKind.BURIED),
        (RETRY, "retry", EventKind.RETRIED),
    ],
)
def test_a_verdict_is_carried_out_and_told(desk: Desk, verdict: Verdict, script: str, kind: EventKind) -> None:
    first, second = desk.take("a", "b")
    desk.settle(first, verdict)
    assert desk.news() == [(kind, 1)]
    assert desk.held() == [b"b"]
    desk.settle(second, verdict)
    assert desk.news() == [(kind, 1)]
    assert desk.wire.count(script) == 2
    assert desk.client.llen("orders/dead") == (2 if kind is EventKind.BURIED else 0)
    assert desk.client.zcard("orders/delayed") == (2 if kind is EventKind.RETRIED else 0)


def test_what_is_retried_too_often_is_told_as_buried(desk: Desk) -> None:
    desk.client.hset("orders/deliveries", "a", "1")
    jobs = desk.take("a", "b")
    both = Job(["a", "b"], [b"a", b"b"], jobs[0].tenure, jobs[0].lease)
    desk.settle(both, RETRY)
    assert desk.news() == [(EventKind.RETRIED, 1), (EventKind.BURIED, 1)]
    assert desk.client.llen("orders/dead") == 1
    (due,) = [score for _, score in desk.client.zrange("orders/delayed", 0, -1, withscores=True)]
    assert due == pytest.approx(time.time() + 100, abs=10)


@pytest.mark.parametrize("verdict", [ACK, DROP, BURY, RETRY], ids=lambda verdict: verdict.fate.value)
def test_what_is_not_held_any_more_was_lost(desk: Desk, verdict: Verdict) -> None:
    first, second = desk.take("a", "b")
    desk.settle(first, verdict)
    desk.news()
    desk.settle(first, verdict)
    assert desk.news() == [(EventKind.LOST, 1)]
    second.tenure += 1
    desk.settle(second, verdict)
    assert desk.news() == [(EventKind.LOST, 1)]
    assert desk.held() == [b"b"]


@pytest.mark.parametrize("executed", [False, True])
@pytest.mark.parametrize("verdict", [ACK, BURY, RETRY], ids=lambda verdict: verdict.fate.value)
def test_after_a_failure_the_very_same_is_sent_again(desk: Desk, verdict: Verdict, executed: bool) -> None:
    (job,) = desk.take("a")
    failures = [OutcomeUnknown(), OutcomeUnknown()]
    desk.wire.fail(verdict.fate.value, *failures, executed=executed)
    desk.settle(job, verdict)
    assert desk.failures == failures
    assert [count for _, count in desk.news()] == [1]
    sent = [call for call in desk.wire.calls if call.script.name == verdict.fate.value]
    assert len(sent) == 3
    assert len({call.args[:2] for call in sent}) == 1


def batch(desk: Desk) -> Job[Any]:
    """Takes nine items, as one job; the scripts are known to the server then."""
    jobs = desk.take(*"abcdefghi")
    return Job([job.items[0] for job in jobs], [job.raw[0] for job in jobs], jobs[0].tenure, jobs[0].lease)


@pytest.mark.parametrize(("verdict", "kind"), [(ACK, EventKind.ACKED), (DROP, EventKind.DROPPED)])
def test_a_batch_that_is_all_that_is_held_is_done_with_by_proof(desk: Desk, verdict: Verdict, kind: EventKind) -> None:
    desk.settle(batch(desk), verdict)
    assert desk.news() == [(kind, 9)]
    assert (desk.wire.count("ack_all"), desk.wire.count("ack")) == (1, 0)
    assert desk.held() == []


@pytest.mark.parametrize("executed", [False, True])
def test_a_proof_that_gets_lost_is_sent_again(desk: Desk, executed: bool) -> None:
    job = batch(desk)
    desk.wire.fail("ack_all", OutcomeUnknown(), OutcomeUnknown(), executed=executed)
    desk.settle(job, ACK)
    assert desk.news() == [(EventKind.ACKED, 9)]
    sent = [call for call in desk.wire.calls if call.script.name == "ack_all"]
    assert len(sent) == 3
    assert len(set(sent)) == 1


def test_what_is_not_proved_is_settled_by_its_items(desk: Desk) -> None:
    job = batch(desk)
    desk.client.rpop(desk.queue.processing_queue_name)
    desk.settle(job, ACK)
    assert desk.news() == [(EventKind.ACKED, 8), (EventKind.LOST, 1)]
    assert (desk.wire.count("ack_all"), desk.wire.count("ack")) == (1, 1)


def test_a_proof_of_a_tenure_that_is_over_reaches_nothing(desk: Desk) -> None:
    job = batch(desk)
    job.tenure += 1
    desk.settle(job, ACK)
    assert desk.news() == [(EventKind.LOST, 9)]
    assert len(desk.held()) == 9


def test_a_failure_is_raised_if_it_is_not_to_go_on(desk: Desk) -> None:
    (job,) = desk.take("a")
    failure = ServerGoneError()
    desk.wire.fail("ack", failure)
    desk.goes = False
    with pytest.raises(ServerGoneError):
        desk.settle(job, ACK)
    assert desk.failures == [failure]
    assert desk.news() == []
    assert desk.held() == [b"a"]


def test_what_took_effect_is_told_even_if_nobody_confirms_it(desk: Desk) -> None:
    (job,) = desk.take("a")
    short = NotEnoughSyncedSlavesError()
    short.done = 1
    desk.wire.fail("ack", short, executed=True)
    with pytest.raises(NotEnoughSyncedSlavesError):
        desk.settle(job, ACK)
    assert desk.failures == []
    assert desk.news() == [(EventKind.ACKED, 1)]


def test_a_heartbeat_gives_the_tenure_that_goes_on(desk: Desk) -> None:
    (job,) = desk.take("a")
    (key,) = desk.client.hkeys("orders-timeouts")
    desk.client.hset("orders-timeouts", key, "5")
    assert desk.do("beat") == (job.tenure, False)
    assert float(desk.client.hget("orders-timeouts", key)) == pytest.approx(time.time(), abs=10)
    desk.client.hset("orders/meta", "swept", "5")
    assert desk.do("beat") == (job.tenure, True)
    assert desk.do("beat") == (job.tenure, False)
    desk.settle(job, ACK)
    assert desk.do("beat") == (0, False)


def test_a_sweep_brings_back_what_silent_consumers_held(desk: Desk) -> None:
    now = time.time()
    for name, ago in (("old", 7300), ("young", 7100)):
        desk.client.lpush(f"orders-processing-{name}", name)
        desk.client.hset("orders-timeouts", f"orders-processing-{name}", f"{now - ago:.6f}")
    desk.do("sweep")
    assert desk.news() == [(EventKind.SWEPT, 1)]
    assert desk.client.lrange("orders", 0, -1) == [b"old"]


def test_a_sweep_counts_deliveries(desk: Desk) -> None:
    desk.client.hset("orders/deliveries", "a", "1")
    desk.client.lpush("orders-processing-dead", "a")
    desk.client.hset("orders-timeouts", "orders-processing-dead", "5")
    desk.do("sweep")
    assert desk.client.llen("orders/dead") == 1


def test_retiring_gives_back_all_and_closes(desk: Desk) -> None:
    jobs = desk.take("a", "b", "c")
    desk.client.lpush("orders", "d")
    desk.settle(jobs[1], ACK)
    desk.news()
    desk.do("retire")
    assert desk.news() == [(EventKind.RETURNED, 2)]
    assert desk.client.lrange("orders", 0, -1) == [b"d", b"c", b"a"]
    assert desk.client.keys() == [b"orders"]
    with pytest.raises(QueueClosedError):
        desk.settle(jobs[0], ACK)
    with pytest.raises(QueueClosedError):
        desk.do("beat")


def test_retiring_without_ever_having_taken_sends_nothing(desk: Desk) -> None:
    desk.do("retire")
    assert desk.wire.calls == []
    assert desk.news() == []


def test_retiring_closes_even_if_nothing_could_be_given_back(desk: Desk) -> None:
    desk.take("a")
    desk.wire.fail("release", *[ServerGoneError()] * 10)
    with pytest.raises(ServerGoneError):
        desk.do("retire")
    with pytest.raises(QueueClosedError):
        desk.do("beat")
