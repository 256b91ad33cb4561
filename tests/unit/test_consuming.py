from __future__ import annotations

import asyncio
import functools
import math
import threading
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import fields
from typing import Any

import pytest

from pyrq.core import errors, ops
from pyrq.core.call import Call
from pyrq.core.consuming import (
    DEFAULT_DELIVERIES,
    OLD_TIMEOUT,
    ConsumerEvent,
    ConsumerSetup,
    EventKind,
    Hands,
    Job,
    Lease,
    Stop,
    Totals,
    check_callback,
    check_handler,
    check_stop,
    current_lease,
    is_asynchronous,
    passes,
    settling,
)
from pyrq.core.limits import NO_LIMITS, Limits
from pyrq.core.options import DEFAULT_DEADLINE
from pyrq.core.session import Held
from pyrq.core.verdicts import Backoff, Fate, Verdict
from tests.unit.helpers import KEYS, ME

OPTIONS: dict[str, Any] = {
    "batch": 10,
    "concurrency": 4,
    "lease": 30.0,
    "max_deliveries": None,
    "backoff": Backoff(),
    "grace": 10.0,
}


def setup_of(limits: Limits = NO_LIMITS, **other: Any) -> ConsumerSetup:
    return ConsumerSetup.of(limits, **{**OPTIONS, **other})


# Options


def test_the_options() -> None:
    assert setup_of() == ConsumerSetup(10, 4, 30.0, Limits(max_deliveries=20), Backoff(), 10.0)
    setup = setup_of(batch=1000, concurrency=1000, lease=1, backoff=Backoff(0, 0), grace=0)
    assert (setup.batch, setup.concurrency, setup.lease, setup.grace) == (1000, 1000, 1.0, 0.0)
    assert setup.backoff == Backoff(0, 0)


@pytest.mark.parametrize(
    ("of_queue", "given", "expected"),
    [(None, None, DEFAULT_DELIVERIES), (5, None, 5), (5, 2, 2), (None, 2, 2), (2, 5, 5), (1, None, 1)],
)
def test_whose_limit_of_deliveries_counts(of_queue: int | None, given: int | None, expected: int) -> None:
    limits = setup_of(Limits(of_queue, 7, 8), max_deliveries=given).limits
    assert limits == Limits(max_deliveries=expected, max_size=7, dead_max=8)


def test_by_default_an_item_has_about_an_hour() -> None:
    waits = setup_of().backoff.waits(0.5)
    waited = [waits[min(delivery, len(waits)) - 1] for delivery in range(1, DEFAULT_DELIVERIES)]
    assert 2000 < sum(waited) < 4000


@pytest.mark.parametrize(("lease", "every"), [(30, 10), (0.3, 0.1), (0.1, 0.1 / 3)])
def test_a_lease_is_renewed_thrice(lease: float, every: float) -> None:
    assert setup_of(lease=lease).beat_every == pytest.approx(every)


def test_consumers_of_the_older_libraries_are_given_what_they_had() -> None:
    assert OLD_TIMEOUT == 7200
    assert OLD_TIMEOUT > DEFAULT_DEADLINE


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("batch", 0, "a whole number from 1 to 1000, not 0"),
        ("batch", 1001, "a whole number from 1 to 1000, not 1001"),
        ("concurrency", 0, "a whole number from 1 to 1000, not 0"),
        ("concurrency", 1001, "a whole number from 1 to 1000, not 1001"),
        ("lease", 0, r"a number from 0\.1 to 1e\+06, not 0"),
        ("lease", -1, r"a number from 0\.1 to 1e\+06, not -1"),
        ("lease", math.nan, r"a number from 0\.1 to 1e\+06, not nan"),
        ("max_deliveries", 0, "a whole number, 1 or more, not 0"),
        ("grace", -1, r"seconds, from 0 to 1e\+09, not -1"),
        ("prefetch", -1, "a whole number from 0 to 10000, not -1"),
        ("prefetch", 10_001, "a whole number from 0 to 10000, not 10001"),
    ],
)
def test_an_option_out_of_range(option: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{option} must be {message}$"):
        ConsumerSetup.of(NO_LIMITS, **{**OPTIONS, option: value})


@pytest.mark.parametrize("option", ["batch", "concurrency", "lease", "max_deliveries", "grace", "prefetch"])
@pytest.mark.parametrize("value", ["1", True, object()])
def test_an_option_of_the_wrong_type(option: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"^{option} must be .*, not {type(value).__name__}$"):
        setup_of(**{option: value})


@pytest.mark.parametrize("option", ["batch", "concurrency", "lease", "backoff", "grace", "prefetch"])
def test_only_the_limit_may_be_left_to_the_queue(option: str) -> None:
    with pytest.raises(TypeError, match=rf"^{option} must be .*, not NoneType$"):
        ConsumerSetup.of(NO_LIMITS, **{**OPTIONS, option: None})


@pytest.mark.parametrize(("value", "kind"), [(1.0, "float"), (Backoff, "Backoff"), ((1, 2), "tuple")])
def test_a_backoff_is_one(value: Any, kind: str) -> None:
    with pytest.raises(TypeError, match=rf"^backoff must be a Backoff, such as .*, not {kind}$"):
        setup_of(backoff=value)


# Handlers, events and callbacks


def plain(item: object) -> None: ...


async def awaited(item: object) -> None: ...


class Methods:
    def plain(self, item: object) -> None: ...

    async def awaited(self, item: object) -> None: ...


class Plain:
    def __call__(self, item: object) -> None: ...


class Awaited:
    async def __call__(self, item: object) -> None: ...


PLAIN = [plain, Methods().plain, Plain(), print, functools.partial(plain, 1), Awaited, lambda item: item]
AWAITED = [awaited, Methods().awaited, Awaited(), functools.partial(awaited, 1)]


@pytest.mark.parametrize("function", PLAIN, ids=repr)
def test_what_is_called(function: Callable[..., object]) -> None:
    assert not is_asynchronous(function)
    for may_be in (True, False):
        check_handler(function, may_be_asynchronous=may_be)
    check_callback(function)


@pytest.mark.parametrize("function", AWAITED, ids=repr)
def test_what_is_awaited(function: Callable[..., object]) -> None:
    assert is_asynchronous(function)
    check_handler(function, may_be_asynchronous=True)
    with pytest.raises(TypeError, match=r"^handler must be a plain function here; pyrq\.aio has"):
        check_handler(function, may_be_asynchronous=False)
    with pytest.raises(TypeError, match=r"^on_event must be a plain function of a ConsumerEvent, or None, not \w+$"):
        check_callback(function)


@pytest.mark.parametrize("value", [None, 5, "print", awaited.__name__])
@pytest.mark.parametrize("may_be", [True, False])
def test_a_handler_can_be_called(value: object, may_be: bool) -> None:
    with pytest.raises(TypeError, match=rf"^handler must be a function of an item, not {type(value).__name__}$"):
        check_handler(value, may_be_asynchronous=may_be)


def test_a_callback_can_be_called_or_is_none() -> None:
    check_callback(None)
    with pytest.raises(TypeError, match=r"^on_event must be a plain function of a ConsumerEvent, or None, not int$"):
        check_callback(5)


def test_a_stop_event_is_one_of_its_world() -> None:
    check_stop(threading.Event(), asynchronous=False)
    check_stop(asyncio.Event(), asynchronous=True)
    for asynchronous in (True, False):
        check_stop(None, asynchronous=asynchronous)
    with pytest.raises(TypeError, match=r"^stop must be a threading\.Event or None, not Event$"):
        check_stop(asyncio.Event(), asynchronous=False)
    with pytest.raises(TypeError, match=r"^stop must be an asyncio\.Event or None, not Event$"):
        check_stop(threading.Event(), asynchronous=True)


class Waits:
    def wait(self) -> None: ...


class IsSet:
    wait = "not a function"

    def is_set(self) -> bool:
        return True


@pytest.mark.parametrize("value", [5, True, Waits(), IsSet(), plain])
@pytest.mark.parametrize("asynchronous", [True, False])
def test_what_is_no_stop_event(value: object, asynchronous: bool) -> None:
    with pytest.raises(TypeError, match=rf"^stop must be .* or None, not {type(value).__name__}$"):
        check_stop(value, asynchronous=asynchronous)


@pytest.mark.parametrize(("kind", "asynchronous"), [(threading.Event, False), (asyncio.Event, True)])
def test_a_stop_event_is_an_object_and_not_its_class(kind: object, asynchronous: bool) -> None:
    with pytest.raises(TypeError, match=r"^stop must be .* or None, not Event$"):
        check_stop(kind, asynchronous=asynchronous)


# Failures

PASSING = {
    errors.ServerGoneError,
    errors.OutcomeUnknown,
    errors.ServerBusyError,
    errors.ServerFullError,
    errors.ServerConfigError,
    errors.ReadOnlyReplicaError,
    errors.NotEnoughReplicasError,
    errors.NotEnoughSyncedSlavesError,
}
# It needs another error to be made.
KINDS = [
    kind for name in errors.__all__ if (kind := getattr(errors, name)) is not errors.AsyncNotEnoughSyncedSlavesError
]


@pytest.mark.parametrize("kind", [*KINDS, ValueError, OSError, RuntimeError])
def test_which_failures_pass(kind: type[Exception]) -> None:
    assert passes(kind()) is (kind in PASSING)


def test_too_few_replicas_pass_in_asyncio_too() -> None:
    async def confirm() -> None: ...

    assert passes(errors.AsyncNotEnoughSyncedSlavesError(errors.NotEnoughSyncedSlavesError(), confirm))


# What happened


def test_every_kind_of_event_is_counted() -> None:
    assert {kind.value for kind in EventKind} == {one.name for one in fields(Totals)}
    totals = Totals()
    for number, kind in enumerate(EventKind, start=1):
        totals.count(ConsumerEvent(kind, number))
        totals.count(ConsumerEvent(kind, 100))
    assert totals == Totals(**{kind.value: 100 + number for number, kind in enumerate(EventKind, start=1)})


def test_totals_tell_what_there_is_to_tell() -> None:
    assert str(Totals()) == "nothing"
    assert str(Totals(taken=5, acked=3, returned=2)) == "5 taken, 3 acked, 2 returned"


# Leases


def test_a_lease_is_lost_once_and_for_all() -> None:
    lease = Lease(threading.Event())
    assert (lease.lost, lease.wait(0)) == (False, False)
    lease.lose()
    lease.lose()
    assert (lease.lost, lease.wait(0), lease.wait()) == (True, True, True)


def test_a_handler_that_sleeps_on_its_lease_is_woken() -> None:
    class Flag(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout)
            return super().wait(0)

    waited: list[float | None] = []
    lease = Lease(Flag())
    assert not lease.wait(7.5)
    lease.lose()
    assert lease.wait(7.5)
    assert lease.wait()
    assert waited == [7.5, 7.5, None]


def job(*raw: bytes, tenure: int = 1, end: Callable[[], object] | None = None) -> Job[str]:
    return Job([one.decode() for one in raw], list(raw), tenure, Lease(threading.Event()), end)


def test_the_current_lease_is_that_of_the_job() -> None:
    def work(one: Job[str]) -> Lease:
        one.enter()
        return current_lease()

    one, other = job(b"a"), job(b"b")
    for each in (one, other):
        assert copy_context().run(work, each) is each.lease
    with pytest.raises(RuntimeError, match=r"must be called by a handler of a consumer"):
        copy_context().run(current_lease)


# What is in hand


def test_jobs_are_in_hand_until_let_go() -> None:
    hands: Hands[str] = Hands()
    one, other = job(b"a"), job(b"a")
    assert (len(hands), hands.jobs()) == (0, [])
    hands.take([one, other])
    assert (len(hands), hands.jobs()) == (2, [one, other])
    hands.let_go(one)
    hands.let_go(one)
    assert (len(hands), hands.jobs()) == (1, [other])
    hands.take([])
    hands.let_go(other)
    assert len(hands) == 0


def test_what_is_shown_is_a_copy() -> None:
    hands: Hands[str] = Hands()
    one = job(b"a")
    hands.take([one])
    hands.jobs().clear()
    assert hands.jobs() == [one]


def test_jobs_of_another_tenure_are_lost() -> None:
    hands: Hands[str] = Hands()
    ended: list[str] = []
    old = job(b"a", b"b", tenure=3, end=lambda: ended.append("old"))
    current = job(b"c", tenure=4, end=lambda: ended.append("current"))
    silent = job(b"d", tenure=3)
    hands.take([old, current, silent])
    assert hands.lose(hands.jobs(), 4) == 3
    assert (old.lease.lost, current.lease.lost, silent.lease.lost) == (True, False, True)
    assert ended == ["old"]
    assert len(hands) == 3, "who ends them lets go of them"


def test_no_tenure_goes_on() -> None:
    hands: Hands[str] = Hands()
    one, other = job(b"a", tenure=3), job(b"b", tenure=4)
    assert hands.lose([one, other], 0) == 2
    assert one.lease.lost
    assert other.lease.lost


def test_a_loss_is_news_once() -> None:
    hands: Hands[str] = Hands()
    ended: list[int] = []
    one = job(b"a", tenure=3, end=lambda: ended.append(1))
    assert hands.lose([one], 0) == 1
    assert hands.lose([one], 0) == 0
    assert ended == [1]


def test_a_loss_is_no_news_for_a_handler_that_has_ended() -> None:
    hands: Hands[str] = Hands()
    ended: list[int] = []
    one = job(b"a", tenure=3, end=lambda: ended.append(1))
    one.done = True
    assert hands.lose([one], 0) == 0
    assert not one.lease.lost
    assert ended == []


def test_what_was_taken_since_is_not_lost() -> None:
    hands: Hands[str] = Hands()
    asked_about = hands.jobs()
    later = job(b"a", tenure=9)
    hands.take([later])
    assert hands.lose(asked_about, 0) == 0
    assert not later.lease.lost


# How verdicts are carried out

LIMITS = Limits(max_deliveries=3, dead_max=5)


@pytest.mark.parametrize(
    ("verdict", "expected", "reply"),
    [
        (Verdict(Fate.ACK), ops.ack(KEYS, ME, Held(3, 2, 8), [b"a", b"b"]), (2, 0)),
        (Verdict(Fate.DROP), ops.ack(KEYS, ME, Held(3, 2, 8), [b"a", b"b"]), (2, 0)),
        (Verdict(Fate.BURY, "why"), ops.bury(KEYS, ME, Held(3, 2, 8), [b"a", b"b"], "why", LIMITS), (2, 0)),
        (
            Verdict(Fate.RETRY, "why", (1.0, 2.0)),
            ops.retry(KEYS, ME, Held(3, 2, 8), [b"a", b"b"], "why", (1.0, 2.0), LIMITS),
            (2, 1),
        ),
    ],
    ids=lambda value: getattr(getattr(value, "fate", None), "name", None),
)
def test_a_verdict_is_carried_out_by_the_tenure_of_its_job(
    verdict: Verdict, expected: Call[Any], reply: tuple[int, int]
) -> None:
    # What the consumer holds now may be of a later tenure.
    call = settling(job(b"a", b"b", tenure=8), verdict, LIMITS, KEYS, ME, Held(3, 2, 9))
    assert (call.script, call.keys, call.args) == (expected.script, expected.keys, expected.args)
    assert call.parse([2, 1]) == reply


def test_every_fate_is_carried_out() -> None:
    scripts = {
        fate: settling(job(b"a"), Verdict(fate, "", (1.0,)), NO_LIMITS, KEYS, ME, Held()).script.name for fate in Fate
    }
    assert scripts == {Fate.ACK: "ack", Fate.DROP: "ack", Fate.RETRY: "retry", Fate.BURY: "bury"}


# The end


def test_a_stop_that_was_not_asked_for() -> None:
    stop = Stop(10.0)
    assert not stop.asked
    assert stop.left(0.0) == 0.0


def test_asked_once_it_lets_handlers_finish() -> None:
    stop = Stop(10.0)
    stop.ask(100.0)
    assert stop.asked
    assert [stop.left(now) for now in (100.0, 104.0, 110.0, 200.0)] == [10.0, 6.0, 0.0, 0.0]


def test_asked_twice_it_does_not() -> None:
    stop = Stop(10.0)
    stop.ask(100.0)
    stop.ask(101.0)
    assert stop.asked
    assert stop.left(101.0) == 0.0
    stop.ask(102.0)
    assert stop.left(102.0) == 0.0


def test_without_grace_once_is_enough() -> None:
    stop = Stop(0.0)
    stop.ask(100.0)
    assert stop.left(100.0) == 0.0
