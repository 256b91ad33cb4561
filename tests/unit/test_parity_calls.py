"""The two facades are one: what they send, and what comes of it, is the very same."""

from __future__ import annotations

import asyncio
import random
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import pytest

import pyrq
from pyrq import aio, sync
from pyrq.aio import _settling as aio_settling
from pyrq.aio import dead_letters as aio_dead_letters
from pyrq.core.call import Call
from pyrq.core.consuming import ConsumerSetup, Job, Lease
from pyrq.core.keys import Kind
from pyrq.core.limits import Limits
from pyrq.core.verdicts import Backoff, Fate, Verdict
from pyrq.core.waiting import Wait
from pyrq.errors import OutcomeUnknown, RqError
from pyrq.sync import _settling as sync_settling
from pyrq.sync import dead_letters as sync_dead_letters
from tests.unit.builders import ANY_BUILDERS, POOL_BUILDERS, QUEUE_BUILDERS
from tests.unit.helpers import BrokenCodec, Fault
from tests.unit.taking_helpers import AsyncRecordingBackend, RecordingBackend
from tests.unit.test_parity import PUBLIC_CLASSES, public

Step = tuple[str, tuple[Any, ...]]

WHOLE = [f"whole {number}" for number in range(9)]
PROVED: list[Step] = [
    ("add_items", (WHOLE,)),
    ("get_items", (9,)),
    ("ack_items", (WHOLE,)),
    ("add_items", (WHOLE,)),
    ("get_items", (9,)),
    ("ack_and_get", (WHOLE, 9)),
]
"""What is acknowledged as it was taken, with nothing else held: by proof."""


def queue_steps(much: int) -> list[Step]:
    """Gives calls of every method of a queue; the larger ones in several chunks where `much` is 100."""
    first = 11 * much  # of what is held and not acknowledged
    return [
        *PROVED,
        ("add_items", ([f"item {number}" for number in range(25 * much)],)),
        ("add_item", ("one",)),
        ("add_item", ("one",)),
        ("add_items", ([],)),
        ("get_count", ()),
        ("get_items", (0,)),
        ("get_items", (12 * much,)),
        ("get_items", (20,)),
        ("ack_item", ("item 3",)),
        ("ack_item", ("never",)),
        ("ack_items", ([f"item {number}" for number in range(first)],)),
        ("add_items", ([f"item {first}", f"item {first + 10}"],)),
        ("reject_item", (f"item {first}",)),
        ("reject_items", ([f"item {first + number}" for number in range(1, 10)],)),
        ("revert_item", (f"item {first + 10}",)),
        ("revert_items", ([f"item {first + 11}", "never"],)),
        ("re_enqueue_timeout_items", ()),
        ("re_enqueue_timeout_items", (0,)),
        ("re_enqueue_timeout_items", (-1,)),
        ("get_items", (15 * much,)),
        ("re_enqueue_all_items", ()),
        ("get_items", (3,)),
        ("drop_timeout_items", (3600,)),
        ("drop_timeout_items", ("soon",)),
        ("drop_all_items", ()),
        ("delete_item", ("one", 1)),
        ("delete_items", ([f"item {20 * much}", f"item {20 * much + 1}"],)),
        ("delete_items", (["item 1"], -1)),
        ("can_rollback_item", ("item 3",)),
        ("can_rollback_item", ("item 3",)),
        ("reset_blocked_item", ("item 3",)),
        ("reset_blocked_item", ("item 3",)),
        ("can_rollback_item", (None,)),
        ("get_items", (-1,)),
        ("add_item", (None,)),
        ("release", ()),
        *NEWER,
    ]


NEWER: list[Step] = [
    ("add_items", (["a", "b", "c"], 1e6)),
    ("add_item", ("d", -1)),
    ("add_item", ("d", float("nan"))),
    ("stats", ()),
    ("in_flight", ()),
    ("peek", (0,)),
    ("peek", (3, 1)),
    ("peek", (1001,)),
    ("pause", ()),
    ("pause", ()),
    ("paused", ()),
    ("get_items", (3,)),
    ("resume", ()),
    ("resume", ()),
    ("get_items", (3, 0)),
    ("get_items", (3, "soon")),
    ("ack_and_get", (["item 1"], 4)),
    ("ack_and_get", (["item 1"], 0)),
    ("ack_and_get", ([], 2, 0)),
    ("ack_and_get", (None, 2)),
    ("batch", (5,)),
    ("batch", (5, 0)),
    ("batch", (5, -1)),
    ("dead.count", ()),
    ("dead.peek", (0,)),
    ("dead.peek", (2,)),
    ("dead.redrive", (1,)),
    ("dead.redrive", ()),
    ("dead.redrive", (-1,)),
    ("dead.purge", ()),
]
RUNNING = {"consume", "consume_batches"}
"""What has a session of its own."""
END: list[Step] = [("close", ()), ("get_count", ())]
POOL: list[Step] = [
    ("add_items", ([f"item {number}" for number in range(250)],)),
    ("add_item", ("one",)),
    ("add_item", ("one",)),
    ("add_items", ([],)),
    ("add_items", ("text",)),
    ("get_count", ()),
    ("get_count_to_process", ()),
    ("get_items", (0,)),
    ("get_items", (120,)),
    ("get_items", (100,)),
    ("ack_item", ("item 3",)),
    ("ack_item", ("item 3",)),
    ("ack_item", ("never",)),
    ("ack_items", ([f"item {number}" for number in range(180)],)),
    ("remove_item", ("item 181",)),
    ("remove_item", ("item 181",)),
    ("remove_items", ([f"item {number}" for number in range(180, 200)],)),
    ("get_all_items", ()),
    ("get_all_items", ()),
    ("is_in_pool", ("item 3",)),
    ("is_in_pool", ("never",)),
    ("delete_item", ("item 3",)),
    ("delete_item", ("item 3",)),
    ("delete_items", ([f"item {number}" for number in range(150)],)),
    ("get_count_to_process", ()),
    ("get_items", (-1,)),
    ("add_item", (None,)),
    ("is_in_pool", (None,)),
    ("clear_pool", ()),
    ("clear_pool", ()),
]
ELSEWHERE = {"beat", "retry", "add_together", "ack_together"}
"""The scripts of consumers, and of callers who come together."""
LIMIT = {"max_retry_rollback": 0, "max_timeout_in_queue": 5}
OPTIONS = {"Queue": LIMIT, "UniqueQueue": LIMIT, "Pool": {"ack_ttl": 60, "ack_valid_for": 3600}}


def scenario(kind: str, much: int = 100) -> list[Step]:
    if kind == "Pool":
        return POOL
    return [*queue_steps(much), ("repair", ())] if kind == "UniqueQueue" else queue_steps(much)


def scripts_of(name: str) -> set[str]:
    """Gives the names of the scripts that are for a class."""
    if name == "Pool":
        return {builder().script.name for builder in (*POOL_BUILDERS, *ANY_BUILDERS)}
    kind = Kind.UNIQUE if name == "UniqueQueue" else Kind.PLAIN
    return {builder().script.name for builder in QUEUE_BUILDERS if builder.kind is kind}


@pytest.fixture
def same_ids_and_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool's later chunks speak of the time of the first: the fake's clock stands still."""
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=7))
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.25)


def outcome(run: Callable[[], Any]) -> Any:
    try:
        return run()
    except (TypeError, ValueError, RqError) as error:
        return type(error), str(error)


def play_sync(backend: RecordingBackend, kind: str, steps: list[Step], **options: Any) -> list[Any]:
    facade = getattr(sync, kind)("orders", backend, client_id="me", **options)

    def play(name: str, args: Sequence[Any]) -> Any:
        step = attrgetter(name)(facade)
        if not callable(step):
            return step
        if name != "batch":
            return step(*args)
        with step(*args) as batch:
            return [[batch.reject(item) for item in batch[:1]], [batch.ack(item) for item in batch[1:2]], list(batch)]

    return [outcome(partial(play, name, args)) for name, args in steps]


def play_aio(backend: AsyncRecordingBackend, kind: str, steps: list[Step], **options: Any) -> list[Any]:
    facade = getattr(aio, kind)("orders", backend, client_id="me", **options)
    with asyncio.Runner() as runner:

        def wait_for(name: str, args: Sequence[Any]) -> Any:
            return runner.run(play(name, args))

        async def play(name: str, args: Sequence[Any]) -> Any:
            step = attrgetter(name)(facade)
            if not callable(step):
                return await step
            if name != "batch":
                return await step(*args)
            async with step(*args) as batch:
                rejected = [await batch.reject(item) for item in batch[:1]]
                return [rejected, [await batch.ack(item) for item in batch[1:2]], list(batch)]

        return [outcome(partial(wait_for, *step)) for step in steps]


def seen(calls: list[Call[Any]]) -> list[tuple[str, bytes, tuple[bytes, ...], tuple[bytes, ...]]]:
    return [(call.script.name, call.script.sha, call.keys, call.args) for call in calls]


@pytest.mark.parametrize(("here", "there"), PUBLIC_CLASSES, ids=lambda kind: kind.__name__)
def test_the_scenarios_have_every_public_method(here: type[Any], there: type[Any]) -> None:
    names = {name for name, _ in (*scenario(here.__name__), *END)}
    mine = {name for name in names if "." not in name} - {"paused"}
    assert mine == set(public(here)) - RUNNING == set(public(there)) - RUNNING
    if here is not sync.Pool:
        dead = {name.partition(".")[2] for name in names - mine - {"paused"}}
        assert dead == set(public(sync_dead_letters.DeadLetters)) == set(public(aio_dead_letters.DeadLetters))


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("options", [{}, {"durability": pyrq.Replicas(1)}, {"codec": pyrq.JsonCodec()}], ids=str)
def test_the_same_calls_and_results(same_ids_and_times: None, kind: str, options: dict[str, Any]) -> None:
    steps, more = [*scenario(kind), *END], {**OPTIONS[kind], **options}
    here, there = RecordingBackend(), AsyncRecordingBackend()
    assert play_sync(here, kind, steps, **more) == play_aio(there, kind, steps, **more)
    assert seen(here.calls) == seen(there.calls)
    assert here.runs == there.runs
    # Those left out are for what goes wrong.
    assert set(here.names) | {"burn"} == (scripts_of(kind) | {"burn"}) - {"confirm", "bury"} - ELSEWHERE
    assert {durability for _, durability in here.runs} == {None, options.get("durability")}


@pytest.mark.parametrize(
    ("kind", "script"),
    [(kind, script) for kind in OPTIONS for script in sorted(scripts_of(kind) - {"confirm", "burn"} - ELSEWHERE)],
)
@pytest.mark.parametrize("executed", [False, True])
def test_the_same_calls_and_results_when_a_reply_is_lost(
    same_ids_and_times: None, kind: str, script: str, executed: bool
) -> None:
    steps: list[Step] = [
        *(PROVED if script == "ack_all" else []),
        ("add_items", (["a", "bad", "b", "a", "c"],)),
        *scenario(kind, 1),
        ("get_count", ()),
        ("get_items", (2,)),
        ("ack_items", (["a", "a", "b"],)),
        *END,
    ]
    more = {**OPTIONS[kind], "codec": BrokenCodec()}
    here, there = RecordingBackend(), AsyncRecordingBackend()
    for backend in (here, there):
        backend.faults = [Fault(script, OutcomeUnknown(), executed, skip) for skip in (0, 1)]
    assert play_sync(here, kind, steps, **more) == play_aio(there, kind, steps, **more)
    assert here.runs == there.runs
    assert here.doubts == there.doubts > 0


# Consumers


ACK = Verdict(Fate.ACK)


def seen_of_settler() -> list[Verdict]:
    waits = (0.5, 1.0)
    return [
        Verdict(Fate.ACK),
        Verdict(Fate.DROP),
        Verdict(Fate.BURY, "no use"),
        Verdict(Fate.RETRY, "later", waits),
        Verdict(Fate.RETRY, "once more", waits),
    ]


def setup(limits: Limits) -> ConsumerSetup:
    return ConsumerSetup.of(limits, 1, 1, 30.0, None, Backoff(), 10.0)


def job(item: str, tenure: int) -> Job[str]:
    return Job([item], [item.encode()], tenure, Lease(threading.Event()))


def settle_sync(backend: RecordingBackend, told: list[Any]) -> None:
    queue = sync.Queue("orders", backend, client_id="me")
    run = queue._run
    settler = sync_settling.Settler(run, setup(queue._setup.limits), lambda *what: told.append(what))
    queue.add_items(["a", "b", "c", "d", "e", "g", "h", "i", "f", "j"])
    tenure = run.take(9, Wait(lease=30.0)).tenure
    run.member().session.inbox.take(8)
    told.append(outcome(settler.beat))
    for item, verdict in zip("abcde", seen_of_settler(), strict=True):
        told.append(outcome(partial(settler.settle, job(item, tenure), verdict, lambda error: len(told) % 2 == 0)))
    told.append(outcome(partial(settler.settle_and_take, job("g", tenure), ACK, 2, lambda error: len(told) % 2 == 0)))
    told.append(outcome(partial(settler.give_back, [job("h", tenure), job("i", tenure)], lambda error: False)))
    told.append(outcome(settler.sweep))
    told.append(outcome(settler.retire))


async def settle_aio(backend: AsyncRecordingBackend, told: list[Any]) -> None:
    queue = aio.Queue("orders", backend, client_id="me")
    run = queue._run
    settler = aio_settling.Settler(run, setup(queue._setup.limits), lambda *what: told.append(what))

    async def goes_on(error: RqError) -> bool:
        return len(told) % 2 == 0

    async def never(error: RqError) -> bool:
        return False

    async def outcome(awaited: Awaitable[Any]) -> Any:
        try:
            return await awaited
        except RqError as error:
            return type(error), str(error)

    await queue.add_items(["a", "b", "c", "d", "e", "g", "h", "i", "f", "j"])
    tenure = (await run.take(9, Wait(lease=30.0))).tenure
    run.member().session.inbox.take(8)
    told.append(await outcome(settler.beat()))
    for item, verdict in zip("abcde", seen_of_settler(), strict=True):
        told.append(await outcome(settler.settle(job(item, tenure), verdict, goes_on)))
    told.append(await outcome(settler.settle_and_take(job("g", tenure), ACK, 2, goes_on)))
    told.append(await outcome(settler.give_back([job("h", tenure), job("i", tenure)], never)))
    told.append(await outcome(settler.sweep()))
    told.append(await outcome(settler.retire()))


@pytest.mark.parametrize(
    "script", [None, "beat", "ack", "bury", "retry", "re_enqueue", "release", "forget", "get", "reject"]
)
@pytest.mark.parametrize("executed", [False, True])
async def test_settlers_make_the_same_calls(same_ids_and_times: None, script: str | None, executed: bool) -> None:
    here, there = RecordingBackend(), AsyncRecordingBackend()
    for backend in (here, there):
        # The first get only prepares; the second rides with an acknowledgement.
        backend.faults = [Fault(script, OutcomeUnknown(), executed, int(script == "get"))] if script else []
    told: tuple[list[Any], list[Any]] = [], []
    settle_sync(here, told[0])
    await settle_aio(there, told[1])
    assert told[0] == told[1]
    assert here.runs == there.runs
    assert here.doubts == there.doubts == bool(script)
    assert {"beat", "ack", "bury", "retry", "re_enqueue", "release", "reject", "get"} <= set(here.names)


FATES: dict[str, Exception | None] = {
    "fine": None,
    "fails": LookupError("x"),
    "retried": pyrq.Retry(after=5),
    "buried": pyrq.Bury("no use"),
    "dropped": pyrq.Drop(),
    "last": None,
}


@pytest.mark.parametrize("method", sorted(RUNNING))
@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
async def test_consumers_make_the_same_calls(
    same_ids_and_times: None, monkeypatch: pytest.MonkeyPatch, kind: str, method: str
) -> None:
    """One after another: with one worker and one item at a time, what is sent is not a matter of luck."""
    monkeypatch.setattr(random, "random", lambda: 0.25)
    here, there, handled = RecordingBackend(), AsyncRecordingBackend(), []

    def handle(stop: threading.Event | asyncio.Event, value: Any) -> None:
        item = value[0] if method == "consume_batches" else value
        handled.append(item)
        if item == "last":
            stop.set()
        if error := FATES[item]:
            raise error

    stop, other_stop = threading.Event(), asyncio.Event()

    async def handle_awaited(value: Any) -> None:
        handle(other_stop, value)

    with getattr(sync, kind)("orders", here, client_id="me") as queue:
        queue.add_items(FATES)
        monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=8))
        totals = await asyncio.to_thread(getattr(queue, method), partial(handle, stop), batch=1, stop=stop)
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=7))
    async with getattr(aio, kind)("orders", there, client_id="me") as queue:
        await queue.add_items(FATES)
        monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=8))
        other_totals = await getattr(queue, method)(handle_awaited, batch=1, stop=other_stop)
    assert handled == [*FATES, *FATES]
    assert (totals.taken, totals.acked, totals.retried, totals.buried, totals.dropped) == (6, 2, 2, 1, 1)
    assert totals == other_totals
    assert [name for name in here.names if name != "get"] == [name for name in there.names if name != "get"]
    kept = {"ack", "bury", "retry", "release", "forget"}
    assert [call for call in here.calls if call.script.name in kept] == [
        call for call in there.calls if call.script.name in kept
    ]
