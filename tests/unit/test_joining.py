"""Adds, acks and gets that several callers make on one object at the same time. Each test runs in both worlds.

The backend holds the first call until the others wait; then they go together.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from pyrq import JsonCodec, Queue, Replicas, UniqueQueue, aio
from pyrq.aio import _joining as aio_joining
from pyrq.backends import AsyncBackend, Backend, connect, connect_async
from pyrq.core.call import Call
from pyrq.core.errors import (
    AsyncNotEnoughSyncedSlavesError,
    NotEnoughSyncedSlavesError,
    OutcomeUnknown,
    QueueClosedError,
    QueueFull,
    RqError,
    ServerFullError,
)
from pyrq.core.options import Durability
from pyrq.sync import _joining as sync_joining
from tests.conftest import wait_until
from tests.unit.helpers import fresh, raw

LONG = 20.0
"""For how many seconds a test waits at the most."""


class Held:
    """What the backends of both worlds share: runs are recorded, and can be held, doubled and answered with an error.

    Attributes:
        names: the scripts of each run, but for the first probe.
        twice: whether each run is sent twice, as if its first reply were lost.
        wrong: by script, what is raised instead of its answer; it has run.
    """

    deadline, reply_timeout, doubts = 30.0, 5.0, 0

    def __init__(self, url: str, gathers: bool) -> None:
        self.url, self.gathers = url, gathers
        self.names: list[list[str]] = []
        self.twice = False
        self.wrong: dict[str, RqError] = {}

    def note(self, calls: Sequence[Call[Any]]) -> int:
        self.names.append([call.script.name for call in calls])
        self.doubts += self.twice
        return 1 + self.twice

    def answer(self, calls: Sequence[Call[Any]], answers: list[list[Any]]) -> list[Any]:
        assert answers[0] == answers[-1]
        if wrong := self.wrong.pop(calls[-1].script.name, None):
            self.doubts += 1
            wrong._results = answers[-1] if isinstance(wrong, NotEnoughSyncedSlavesError) else []  # type: ignore[attr-defined]
            raise wrong
        return answers[-1]


class Blocking(Held):
    def __init__(self, url: str, gathers: bool) -> None:
        super().__init__(url, gathers)
        self.inner: Backend = connect(url)
        self.gate = threading.Event()
        self.gate.set()

    def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        times = self.note(calls)
        assert self.gate.wait(LONG)
        return self.answer(calls, [self.inner.run(calls) for _ in range(times)])

    def move(self, source: bytes, target: bytes, seconds: float) -> bool:
        return self.inner.move(source, target, seconds)

    def wake(self) -> bool:
        return self.inner.wake()

    def close(self) -> None:
        self.inner.close()


class Awaited(Held):
    def __init__(self, url: str, gathers: bool) -> None:
        super().__init__(url, gathers)
        self.inner: AsyncBackend = connect_async(url)
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        times = self.note(calls)
        await self.gate.wait()
        return self.answer(calls, [await self.inner.run(calls) for _ in range(times)])

    async def move(self, source: bytes, target: bytes, seconds: float) -> bool:
        return await self.inner.move(source, target, seconds)

    async def wake(self) -> bool:
        return await self.inner.wake()

    async def close(self) -> None:
        await self.inner.close()


class Threads:
    """Threads that share an object."""

    backend: Blocking

    def open(self, kind: str = "Queue", gathers: bool = True, **options: Any) -> Any:
        self.backend = Blocking(fresh(), gathers)
        made: dict[str, Any] = {"Queue": Queue, "UniqueQueue": UniqueQueue}
        self.queue = made[kind]("orders", self.backend, **options)
        self.queue.get_count()
        self.backend.names.clear()
        self._threads = ThreadPoolExecutor(12)
        return self.queue

    async def call(self, method: Callable[..., Any], *args: Any) -> Any:
        """Calls a method with nobody beside it."""
        return method(*args)

    async def together(self, *calls: tuple[Any, ...]) -> list[Any]:
        """Has the first of some calls held until the others wait; gives what each comes to, exceptions included."""
        running = await self.begin(*calls)
        self.backend.gate.set()
        return [outcome_of(each) for each in running]

    async def begin(self, *calls: tuple[Any, ...]) -> list[Future[Any]]:
        """Begins calls: the first is held, and the others wait."""
        self.backend.gate.clear()
        before = len(self.backend.names)
        running = [self._threads.submit(*calls[0])]
        wait_until(lambda: len(self.backend.names) > before)
        return running + [self._follow(call) for call in calls[1:]]

    def _follow(self, call: tuple[Any, ...]) -> Future[Any]:
        size, running = self.waiting(), self._threads.submit(*call)
        wait_until(lambda: self.waiting() > size or not self.backend.gathers)
        return running

    def waiting(self) -> int:
        joined = self.queue._together()
        return sum(len(flights._waiting) for flights in (joined._adds, joined._acks, joined._gets))

    async def close(self) -> None:
        self.backend.gate.set()
        self._threads.shutdown()
        self.queue.close()
        self.backend.close()


def outcome_of(future: Future[Any]) -> Any:
    try:
        return future.result(LONG)
    except RqError as error:
        return error


class Tasks:
    """Tasks that share an object."""

    backend: Awaited

    def open(self, kind: str = "Queue", gathers: bool = True, **options: Any) -> Any:
        self.backend = Awaited(fresh(), gathers)
        made: dict[str, Any] = {"Queue": aio.Queue, "UniqueQueue": aio.UniqueQueue}
        self.queue = made[kind]("orders", self.backend, **options)
        self.queue._run.member().checked = True
        return self.queue

    async def call(self, method: Callable[..., Any], *args: Any) -> Any:
        return await method(*args)

    async def together(self, *calls: tuple[Any, ...]) -> list[Any]:
        running = await self.begin(*calls)
        self.backend.gate.set()
        async with asyncio.timeout(LONG):
            return await asyncio.gather(*running, return_exceptions=True)

    async def begin(self, *calls: tuple[Any, ...]) -> list[asyncio.Task[Any]]:
        self.backend.gate.clear()
        running: list[asyncio.Task[Any]] = [asyncio.create_task(method(*args)) for method, *args in calls]
        for _ in range(20):
            await asyncio.sleep(0)
        return running

    async def close(self) -> None:
        self.backend.gate.set()
        await self.queue.close()
        await self.backend.close()


@pytest.fixture(autouse=True)
def nobody_loses_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sync_joining, aio_joining):
        monkeypatch.setattr(module, "PATIENCE", LONG)


@pytest.fixture(params=[Threads, Tasks], ids=["sync", "aio"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    world = request.param()
    yield world
    await world.close()


def waiting_in(world: Any) -> list[str]:
    """Gives what waits in the queue, oldest first."""
    return [item.decode() for item in reversed(raw(world.backend.url).lrange("orders", 0, -1))]


# Adds


async def test_adds_that_are_made_together_are_one_call(world: Any) -> None:
    queue = world.open()
    adds = [(queue.add_items, ["a"]), (queue.add_items, ["b", "c"]), (queue.add_item, "d")]
    assert await world.together(*adds) == [1, 2, True]
    assert world.backend.names == [["add"], ["add_together"]]
    assert waiting_in(world) == ["a", "b", "c", "d"]


async def test_a_lone_add_is_a_call_as_ever(world: Any) -> None:
    queue = world.open()
    assert await world.call(queue.add_items, ["a", "b"]) == 2
    assert await world.call(queue.add_item, "c") is True
    assert world.backend.names == [["add"], ["add"]]


async def test_without_gathering_each_add_is_a_call_of_its_own(world: Any) -> None:
    queue = world.open(gathers=False)
    assert await world.together(*[(queue.add_item, item) for item in "abc"]) == [True] * 3
    assert world.backend.names == [["add"]] * 3


async def test_each_hears_how_many_of_its_unique_items_were_added(world: Any) -> None:
    queue = world.open("UniqueQueue")
    adds = [(queue.add_items, items) for items in (["a"], ["a", "b"], ["b", "c", "d"], ["d"])]
    assert await world.together(*adds) == [1, 1, 2, 0]
    assert waiting_in(world) == ["a", "b", "c", "d"]


async def test_the_one_that_does_not_fit_in_is_refused_alone(world: Any) -> None:
    queue = world.open(max_size=3)
    outcomes = await world.together(*[(queue.add_items, items) for items in (["a"], ["b"], ["c", "d"], ["e"])])
    assert outcomes[:2] == [1, 1]
    assert isinstance(outcomes[2], QueueFull)
    assert (outcomes[2].done, outcomes[2].unknown, outcomes[2].remaining) == (0, 0, 2)
    assert outcomes[3] == 1
    assert waiting_in(world) == ["a", "b", "e"]


async def test_more_than_a_call_takes_is_parted_between_callers(world: Any) -> None:
    queue = world.open()
    many = [str(number) for number in range(600)]
    assert await world.together((queue.add_item, "x"), (queue.add_items, many), (queue.add_items, many)) == [
        True,
        600,
        600,
    ]
    assert world.backend.names == [["add"], ["add"], ["add"]]
    assert waiting_in(world) == ["x", *many, *many]


async def test_adds_that_are_sent_twice_are_done_once(world: Any) -> None:
    queue = world.open()
    world.backend.twice = True
    assert await world.together(*[(queue.add_items, [item, item]) for item in "abc"]) == [2, 2, 2]
    assert waiting_in(world) == list("aabbcc")


async def test_each_is_told_in_its_own_words_that_the_outcome_is_unknown(world: Any) -> None:
    queue = world.open()
    world.backend.wrong["add_together"] = OutcomeUnknown("lost")
    outcomes = await world.together(*[(queue.add_items, items) for items in (["a"], ["b"], ["c", "d"])])
    assert outcomes[0] == 1
    assert [(type(each), each.done, each.unknown, each.remaining) for each in outcomes[1:]] == [
        (OutcomeUnknown, 0, 1, 0),
        (OutcomeUnknown, 0, 2, 0),
    ]
    assert waiting_in(world) == ["a", "b", "c", "d"]


async def test_a_refusal_is_told_to_each(world: Any) -> None:
    queue = world.open()
    world.backend.wrong["add_together"] = ServerFullError()
    outcomes = await world.together(*[(queue.add_items, items) for items in (["a"], ["b"], ["c", "d"])])
    assert [(type(each), each.done, each.unknown, each.remaining) for each in outcomes[1:]] == [
        (ServerFullError, 0, 0, 1),
        (ServerFullError, 0, 0, 2),
    ]


class Confirming:
    """What an error asks."""

    def __init__(self) -> None:
        self.asked = 0

    def ask(self) -> None:
        self.asked += 1

    async def ask_async(self) -> None:
        self.asked += 1


async def test_each_is_told_that_too_few_have_confirmed_and_may_ask_again(world: Any) -> None:
    queue = world.open(max_size=4, durability=Replicas(1, 100))
    short, confirming = NotEnoughSyncedSlavesError("short", 0, 1), Confirming()
    short._confirm = confirming.ask
    if isinstance(world, Tasks):
        short = AsyncNotEnoughSyncedSlavesError(short, confirming.ask_async)
    world.backend.wrong["add_together"] = short
    outcomes = await world.together(
        *[(queue.add_items, items) for items in (["a"], ["b"], ["c", "d", "e"], ["f", "g"])]
    )
    assert [type(each) for each in outcomes[1:]] == [type(short), QueueFull, type(short)]
    assert [(each.done, each.unknown, each.remaining) for each in outcomes[1:]] == [(1, 0, 0), (0, 0, 3), (2, 0, 0)]
    for each in (outcomes[1], outcomes[3]):
        await world.call(each.confirm)
    assert confirming.asked == 2


async def test_the_record_of_a_joint_add_stays_while_any_of_its_errors_may_ask(world: Any) -> None:
    queue = world.open(durability=Replicas(1, 100))
    short = NotEnoughSyncedSlavesError("short", 0, 1)
    if isinstance(world, Tasks):
        short = AsyncNotEnoughSyncedSlavesError(short, Confirming().ask_async)
    world.backend.wrong["add_together"] = short
    del short
    outcomes = await world.together(*[(queue.add_item, item) for item in "abc"])
    session = queue._run.member().session
    gc.collect()
    assert not session.at_rest()
    del outcomes[1]
    gc.collect()
    assert not session.at_rest()
    outcomes.clear()
    await asyncio.sleep(0)  # the flight's own task ends
    gc.collect()
    assert session.at_rest()


async def test_a_closed_queue_takes_no_adds(world: Any) -> None:
    queue = world.open()
    await world.call(queue.close)
    with pytest.raises(QueueClosedError):
        await world.call(queue.add_item, "a")
    with pytest.raises(QueueClosedError):
        await world.call(queue.get_items, 1)


# Gets


async def test_gets_that_are_made_together_are_one_call(world: Any) -> None:
    queue = world.open()
    await world.call(queue.add_items, list("abcdef"))
    world.backend.names.clear()
    outcomes = await world.together(*[(queue.get_items, count) for count in (1, 2, 2, 4)])
    assert outcomes == [["a"], ["b", "c"], ["d", "e"], ["f"]]
    assert world.backend.names == [["get"], ["get"]]
    assert await world.call(queue.ack_items, list("fedcba")) == 6


async def test_what_a_get_brings_goes_to_those_who_asked_first(world: Any) -> None:
    queue = world.open()
    await world.call(queue.add_items, list("abc"))
    assert await world.together(*[(queue.get_items, 2) for _ in range(4)]) == [["a", "b"], ["c"], [], []]


async def test_gets_that_are_sent_twice_bring_what_they_bring_once(world: Any) -> None:
    queue = world.open()
    await world.call(queue.add_items, list("abcd"))
    world.backend.twice = True
    assert await world.together(*[(queue.get_items, 1) for _ in range(3)]) == [["a"], ["b"], ["c"]]
    assert waiting_in(world) == ["d"]


async def test_gets_whose_answer_is_lost_leave_their_items_to_the_next(world: Any) -> None:
    queue = world.open()
    await world.call(queue.add_items, list("abcde"))
    first = await world.call(queue.get_items, 1)
    world.backend.wrong["get"] = OutcomeUnknown("lost")
    outcomes = await world.together(*[(queue.get_items, 1) for _ in range(3)])
    assert [type(each) for each in outcomes] == [OutcomeUnknown, list, list]
    assert first + outcomes[1] + outcomes[2] + await world.call(queue.get_items, 9) == list("abcde")


async def test_an_item_that_cannot_be_decoded_is_buried_and_the_others_are_shared(world: Any) -> None:
    queue = world.open(codec=JsonCodec())
    raw(world.backend.url).lpush("orders", "1", "2", "{", "3", "4")
    outcomes = await world.together(*[(queue.get_items, 1) for _ in range(4)])
    rest = await world.call(queue.get_items, 9)
    assert sorted(item for each in [*outcomes, rest] for item in each) == [1, 2, 3, 4]
    assert await world.call(queue.ack_items, [1, 2, 3, 4]) == 4
    assert await world.call(queue.dead.count) == 1


# Acks


async def test_acks_that_are_made_together_are_one_call(world: Any) -> None:
    queue = world.open()
    await world.call(queue.add_items, list("abcdef"))
    assert await world.call(queue.get_items, 6) == list("abcdef")
    world.backend.names.clear()
    acks = [(queue.ack_items, items) for items in (["f"], ["a", "c"], ["x"])]
    assert await world.together(*acks, (queue.ack_item, "e"), (queue.ack_item, "e")) == [1, 2, 0, True, False]
    assert world.backend.names[-1] == ["ack_together"]
    assert await world.call(queue.ack_items, list("abcdef")) == 2


async def test_acks_that_are_sent_twice_are_done_once(world: Any) -> None:
    queue = world.open()
    await world.call(queue.add_items, list("aaabbb"))
    await world.call(queue.get_items, 6)
    world.backend.twice = True
    assert await world.together(*[(queue.ack_items, list(items)) for items in ("a", "ab", "b")]) == [1, 2, 1]
    world.backend.twice = False
    assert await world.call(queue.ack_items, list("aaabbb")) == 2


async def test_acks_whose_answer_is_lost_are_told_so(world: Any) -> None:
    queue = world.open()
    await world.call(queue.add_items, list("abcd"))
    await world.call(queue.get_items, 4)
    world.backend.wrong["ack_together"] = OutcomeUnknown("lost")
    outcomes = await world.together(*[(queue.ack_items, list(items)) for items in ("a", "b", "cd")])
    assert [(type(each), each.done, each.unknown) for each in outcomes[1:]] == [
        (OutcomeUnknown, 0, 1),
        (OutcomeUnknown, 0, 2),
    ]


async def test_an_ack_for_several_leaves_what_no_caller_has_seen(world: Any) -> None:
    queue = world.open()
    await world.call(queue.add_items, list("abaab"))
    await world.call(queue.get_items, 1)
    world.backend.wrong["get"] = OutcomeUnknown("lost")
    with pytest.raises(OutcomeUnknown):
        await world.call(queue.get_items, 2)  # it has b and a, and nobody saw them
    assert await world.together(*[(queue.ack_items, ["a"]) for _ in range(3)]) == [1, 0, 0]
    assert await world.call(queue.get_items, 9) == ["b", "a", "a", "b"]


# Tasks that are cancelled


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    world = Tasks()
    yield world
    await world.close()


async def test_a_joint_add_is_unharmed_by_the_cancellation_of_a_member(tasks: Tasks) -> None:
    queue = tasks.open()
    running = await tasks.begin(*[(queue.add_item, item) for item in "abc"])
    tasks.backend.gate.set()
    await running[0]
    tasks.backend.gate.clear()  # the joint add is under way
    while len(tasks.backend.names) < 2:
        await asyncio.sleep(0)
    running[1].cancel()
    await asyncio.wait([running[1]])
    tasks.backend.gate.set()
    assert await running[2] is True
    assert running[1].cancelled()
    assert waiting_in(tasks) == ["a", "b", "c"]


async def test_the_share_of_a_task_that_was_cancelled_before_it_came_is_handed_out_next(tasks: Tasks) -> None:
    queue = tasks.open()
    await queue.add_items(list("abcde"))
    running = await tasks.begin(*[(queue.get_items, 1) for _ in range(4)])
    tasks.backend.gate.set()
    assert await running[0] == ["a"]
    tasks.backend.gate.clear()
    while len(tasks.backend.names) < 3:
        await asyncio.sleep(0)
    running[2].cancel()
    await asyncio.wait([running[2]])
    tasks.backend.gate.set()
    assert (await running[1], await running[3]) == (["b"], ["c"])
    assert await queue.ack_items(["c", "b", "a"]) == 3
    assert await queue.get_items(1) == ["d"]
    assert await queue.get_items(9) == ["e"]
    assert await queue.ack_items(["d", "e"]) == 2


async def test_the_share_of_a_task_that_was_cancelled_before_it_saw_it_is_handed_out_next(tasks: Tasks) -> None:
    queue = tasks.open()
    await queue.add_items(list("abcde"))
    running = await tasks.begin(*[(queue.get_items, 1) for _ in range(4)])
    inbox = queue._run.member().session.inbox
    loop, promise, promises = asyncio.get_running_loop(), inbox.promise, []

    def promising(count: int) -> None:
        promise(count)
        promises.append(count)
        if len(promises) == 4:
            loop.call_soon(running[2].cancel)  # before it goes on, and after it was told

    inbox.promise = promising
    tasks.backend.gate.set()
    await asyncio.wait(running)
    assert [task.cancelled() for task in running] == [False, False, True, False]
    assert [task.result() for task in running if not task.cancelled()] == [["a"], ["b"], ["c"]]
    assert inbox.held.kept == 1
    assert await queue.ack_items(["c"]) == 1
    assert await queue.get_items(9) == ["d", "e"]


async def test_what_was_promised_to_nobody_any_more_goes_back_at_the_end(tasks: Tasks) -> None:
    queue = tasks.open()
    await queue.add_items(list("abc"))
    running = await tasks.begin(*[(queue.get_items, 1) for _ in range(3)])
    tasks.backend.gate.set()
    assert await running[0] == ["a"]
    tasks.backend.gate.clear()
    while len(tasks.backend.names) < 3:
        await asyncio.sleep(0)
    for task in running[1:]:
        task.cancel()
    await asyncio.wait(running)
    tasks.backend.gate.set()
    while queue._run.get_lock.locked():
        await asyncio.sleep(0)
    await queue.ack_items(["a"])
    await queue.close()
    assert waiting_in(tasks) == ["b", "c"]


async def test_what_is_promised_while_a_release_is_under_way_is_not_forgotten(tasks: Tasks) -> None:
    queue = tasks.open()
    await queue.add_items(list("abc"))
    run = queue._run
    inbox = run.member().session.inbox
    await run.take(3)  # as a get for two does, of which one is told and goes on later
    inbox.promise(2)
    tasks.backend.gate.clear()
    before = len(tasks.backend.names)
    releasing = asyncio.create_task(queue.release())
    while len(tasks.backend.names) == before:
        await asyncio.sleep(0)
    inbox.redeem(2)  # now it is cancelled
    tasks.backend.gate.set()
    assert await releasing == 1
    assert inbox.peek(9) == [b"a", b"b"]
    assert await queue.get_items(9) == ["a", "b", "c"]
