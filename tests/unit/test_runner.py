"""What the runners of both worlds do when a sending ends without an answer."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

import pytest

import pyrq
from pyrq import aio
from pyrq.aio._insisting import Insisting as AsyncInsisting
from pyrq.backends import AsyncBackend, Backend, connect, connect_async
from pyrq.core import ops
from pyrq.core.call import Call
from pyrq.core.errors import (
    NotEnoughSyncedSlavesError,
    OutcomeUnknown,
    QueueClosedError,
    RqError,
    ServerFullError,
    ServerGoneError,
    WrongTypeError,
)
from pyrq.core.limits import NO_LIMITS
from pyrq.core.options import Durability, Fsync, Replicas
from pyrq.core.waiting import NO_WAIT
from pyrq.sync._insisting import Insisting
from tests.unit.helpers import fresh

T = TypeVar("T")


class Scripted:
    """A backend in front of another: each run takes the next step of a plan, then all is well."""

    def __init__(self, inner: Backend | AsyncBackend) -> None:
        self.inner = inner
        self.deadline, self.reply_timeout, self.doubts = inner.deadline, inner.reply_timeout, 0
        self.gathers = False
        self.plan: list[Callable[[], None]] = []
        self.seen: list[list[str]] = []
        self.waits: list[Durability | None] = []
        self.lose_reply = False
        self.lost: RqError = OutcomeUnknown()
        self.gathers = False

    def step(self, calls: Sequence[Call[Any]], durability: Durability | None) -> None:
        self.waits.append(durability)
        self.seen.append([call.script.name for call in calls])
        if self.plan:
            self.plan.pop(0)()

    def answer(self, results: list[Any]) -> list[Any]:
        if self.lose_reply:
            self.lose_reply = False
            raise self.lost
        return results

    def resent(self) -> None:
        self.doubts += 1

    def close(self) -> Any:
        return self.inner.close()


class Blocking(Scripted):
    def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        self.step(calls, durability)
        return self.answer(cast("Backend", self.inner).run(calls, durability))

    def move(self, source: bytes, target: bytes, seconds: float) -> bool:
        return cast("Backend", self.inner).move(source, target, seconds)

    def wake(self) -> bool:
        return cast("Backend", self.inner).wake()


class Awaited(Scripted):
    async def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        self.step(calls, durability)
        return self.answer(await cast("AsyncBackend", self.inner).run(calls, durability))

    async def move(self, source: bytes, target: bytes, seconds: float) -> bool:
        return await cast("AsyncBackend", self.inner).move(source, target, seconds)

    async def wake(self) -> bool:
        return await cast("AsyncBackend", self.inner).wake()


def failing(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


async def result(value: T | Awaitable[T]) -> T:
    return await value if inspect.isawaitable(value) else value


Make = Callable[..., Awaitable[tuple[Any, Scripted]]]


@pytest.fixture(params=["sync", "aio"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes a facade of a class in each world in turn, `await make("Pool", **options)`, and its backend."""

    async def make(kind: str = "Queue", **options: Any) -> tuple[Any, Scripted]:
        url = fresh()
        backend: Scripted = Blocking(connect(url)) if request.param == "sync" else Awaited(connect_async(url))
        facade = getattr(pyrq if request.param == "sync" else aio, kind)("orders", backend, **options)
        await result(facade.get_count())
        backend.seen.clear()
        backend.waits.clear()
        return facade, backend

    return make


@pytest.fixture
async def parts(make: Make) -> tuple[Any, Scripted]:
    return await make()


async def test_a_call_that_was_sent_again_is_burnt_before_its_caller_goes_on(parts: tuple[Any, Scripted]) -> None:
    queue, backend = parts
    backend.plan = [backend.resent]
    assert await result(queue.ack_item("x")) is False
    assert backend.seen == [["ack"], ["burn"]]


async def test_the_answer_is_given_even_if_the_burning_fails_and_the_next_call_burns(
    parts: tuple[Any, Scripted],
) -> None:
    queue, backend = parts
    backend.plan = [backend.resent, failing(ServerGoneError())]
    assert await result(queue.add_item("x")) is True
    assert await result(queue.get_items(1)) == ["x"]
    assert await result(queue.ack_item("x")) is True
    assert backend.seen == [["add"], ["burn"], ["burn", "get"], ["ack"]]


async def test_an_interrupt_of_the_burning_is_not_swallowed(parts: tuple[Any, Scripted]) -> None:
    queue, backend = parts

    class Interrupt(BaseException):
        pass

    backend.plan = [backend.resent, failing(Interrupt())]
    with pytest.raises(Interrupt):
        await result(queue.add_item("x"))
    assert await result(queue.get_count()) == 1
    assert await result(queue.delete_item("x")) == 1
    assert backend.seen == [["add"], ["burn"], ["count"], ["burn", "delete"]]


async def test_what_was_given_up_is_burnt_until_that_has_an_answer(parts: tuple[Any, Scripted]) -> None:
    queue, backend = parts
    backend.plan = [failing(OutcomeUnknown()), failing(OutcomeUnknown())]
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await result(queue.add_item("x"))
    assert await result(queue.add_item("y")) is True
    assert await result(queue.add_item("z")) is True
    assert backend.seen == [["add"], ["burn", "add"], ["burn", "add"], ["add"]]


async def test_a_sweep_that_fails_says_how_many_came_back(parts: tuple[Any, Scripted]) -> None:
    queue, backend = parts
    await result(queue.add_items(str(number) for number in range(2500)))
    assert len(await result(queue.get_items(2500))) == 2500
    backend.plan = [lambda: None, lambda: None, failing(ServerGoneError())]
    with pytest.raises(RqError) as caught:
        await result(queue.re_enqueue_all_items())
    assert caught.value.done == 2000
    assert await result(queue.re_enqueue_all_items()) == 500
    assert await result(queue.get_items(3)) == ["0", "1", "2"]


async def test_hand_outs_wait_for_a_call_that_hides_what_waits_in_the_inbox(parts: tuple[Any, Scripted]) -> None:
    queue, backend = parts
    await result(queue.add_items(["a", "b", "c"]))
    locked: list[bool] = []

    def look() -> None:
        locked.append(queue._run.get_lock.locked())

    assert await result(queue.get_items(1)) == ["a"]
    backend.plan = [look]
    assert await result(queue.ack_item("a")) is True

    backend.lose_reply = True
    with pytest.raises(OutcomeUnknown):
        await result(queue.get_items(2))
    assert await result(queue.get_items(1)) == ["b"]  # and "c" waits in the inbox
    backend.plan = [look]
    assert await result(queue.ack_item("b")) is True
    assert await result(queue.get_items(1)) == ["c"]
    assert locked == [False, True]


def acking(item: bytes) -> Any:
    return lambda keys, identity, held: ops.ack(keys, identity, held, [item])


def insisting(queue: Any) -> Any:
    """Gives what a consumer of the queue's session would send with."""
    make: Any = AsyncInsisting if isinstance(queue, aio.Queue) else Insisting
    return make(queue._run)


class Told:
    """What a call that is insisted on tells of failures, in each world."""

    def __init__(self, queue: Any) -> None:
        self.errors: list[RqError] = []
        self.goes_on = self._answer if isinstance(queue, aio.Queue) else self._note

    def _note(self, error: RqError) -> bool:
        self.errors.append(error)
        return True

    async def _answer(self, error: RqError) -> bool:
        return self._note(error)


async def test_hand_outs_wait_for_a_call_that_is_insisted_on_too(parts: tuple[Any, Scripted]) -> None:
    """Were what it hides acknowledged while it is under way, it would hide what it is about, which would stay held."""
    queue, backend = parts
    await result(queue.add_items(["a", "b", "c"]))
    locked: list[bool] = []

    def look() -> None:
        locked.append(queue._run.get_lock.locked())

    assert await result(queue.get_items(1)) == ["a"]
    backend.plan = [look]
    assert await result(insisting(queue).insist(acking(b"a"), Told(queue).goes_on)) == 1
    backend.lose_reply = True
    with pytest.raises(OutcomeUnknown):
        await result(queue.get_items(2))
    assert await result(queue.get_items(1)) == ["b"]  # and "c" waits in the inbox
    backend.plan = [look]
    assert await result(insisting(queue).insist(acking(b"b"), Told(queue).goes_on)) == 1
    assert await result(queue.get_items(1)) == ["c"]
    assert locked == [False, True]


async def test_what_is_taken_along_is_in_the_inbox(parts: tuple[Any, Scripted]) -> None:
    queue, backend = parts
    await result(queue.add_items(["a", "b", "c", "d"]))
    assert await result(queue.get_items(1)) == ["a"]
    backend.seen.clear()
    many, found = await result(insisting(queue).insist_and_take(acking(b"a"), 2, NO_WAIT, Told(queue).goes_on))
    assert (many, found.items) == (1, [b"b", b"c"])
    assert await result(queue.get_items(2)) == ["b", "c"]
    assert backend.seen == [["ack", "get"]]


async def test_with_enough_in_the_inbox_nothing_more_is_taken_along(parts: tuple[Any, Scripted]) -> None:
    queue, backend = parts
    await result(queue.add_items(["a", "b", "c", "d"]))
    assert await result(queue.get_items(1)) == ["a"]
    backend.lose_reply = True
    with pytest.raises(OutcomeUnknown):
        await result(queue.get_items(2))
    assert await result(queue.get_items(1)) == ["b"]  # and "c" waits in the inbox
    many, found = await result(insisting(queue).insist_and_take(acking(b"a"), 1, NO_WAIT, Told(queue).goes_on))
    assert (many, found.items) == (1, [b"c"])
    assert await result(queue.get_count()) == 1


@pytest.mark.parametrize("error", [ServerGoneError, WrongTypeError])
async def test_what_fails_beside_a_get_is_sent_again_alone(parts: tuple[Any, Scripted], error: type[RqError]) -> None:
    queue, backend = parts
    await result(queue.add_items(["a", "b"]))
    assert await result(queue.get_items(1)) == ["a"]
    backend.seen.clear()
    backend.plan = [failing(error())]
    told = Told(queue)
    many, found = await result(insisting(queue).insist_and_take(acking(b"a"), 1, NO_WAIT, told.goes_on))
    assert (many, found.items) == (1, [])
    assert backend.seen == [["ack", "get"], ["ack"]]
    assert len(told.errors) == (error is ServerGoneError), "what does not pass may be the get's"


async def test_once_closed_nothing_is_taken_along(parts: tuple[Any, Scripted], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever closes has the lock, and gives back what is held; what is taken after would stay held for ever."""
    queue, backend = parts
    await result(queue.add_items(["a", "b"]))
    assert await result(queue.get_items(1)) == ["a"]
    run = queue._run

    class Late:
        """A lock that is had only when the queue is closed."""

        def __enter__(self) -> None:
            run.member().closed = True

        def __exit__(self, *error: object) -> None: ...

        async def __aenter__(self) -> None:
            self.__enter__()

        async def __aexit__(self, *error: object) -> None: ...

    monkeypatch.setattr(type(run), "get_lock", Late())
    backend.seen.clear()
    with pytest.raises(QueueClosedError):
        await result(insisting(queue).insist_and_take(acking(b"a"), 1, NO_WAIT, Told(queue).goes_on))
    assert backend.seen == []


async def test_a_refused_call_leaves_no_lane_behind(parts: tuple[Any, Scripted]) -> None:
    queue, backend = parts
    for _ in range(3):
        backend.plan = [failing(ServerFullError())]
        with pytest.raises(ServerFullError):
            await result(queue.add_item("x"))
    assert await result(queue.add_item("x")) is True
    assert backend.seen == [["add"]] * 4


async def test_a_session_is_not_forgotten_while_a_call_is_under_way(parts: tuple[Any, Scripted]) -> None:
    queue, backend = parts
    await result(queue.add_item("x"))
    member = queue._run.member()
    lane = member.session.lease()
    await result(queue.close())
    assert ["forget"] not in backend.seen
    assert member.closed
    member.session.free([lane])
    assert member.session.at_rest()


async def test_a_session_at_rest_is_forgotten(parts: tuple[Any, Scripted]) -> None:
    queue, backend = parts
    await result(queue.add_item("x"))
    await result(queue.close())
    assert backend.seen == [["add"], ["forget"]]


async def two_in_hand_and_two_kept(queue: Any, backend: Scripted) -> None:
    await result(queue.add_items(["a", "b", "c", "d"]))
    assert await result(queue.get_items(1)) == ["a"]
    backend.lose_reply = True
    with pytest.raises(OutcomeUnknown):
        await result(queue.get_items(3))
    assert await result(queue.get_items(1)) == ["b"]  # "c" and "d" wait in the inbox


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_release_without_an_answer_is_sent_again_before_the_inbox_is_used(
    parts: tuple[Any, Scripted], arrived: bool
) -> None:
    """What it gives back must not come out of the inbox as well, nor hide what the caller has in hand."""
    queue, backend = parts
    await two_in_hand_and_two_kept(queue, backend)
    if arrived:
        backend.lose_reply = True
    else:
        backend.plan = [failing(OutcomeUnknown())]
    with pytest.raises(OutcomeUnknown):
        await result(queue.release())
    assert await result(queue.get_count()) == (2 if arrived else 0)
    assert await result(queue.ack_items(["a", "b"])) == 2
    assert await result(queue.get_count()) == 2
    assert await result(queue.get_items(4)) == ["c", "d"]
    assert await result(queue.ack_items(["c", "d"])) == 2


async def test_a_release_that_too_few_confirm_has_taken_effect(parts: tuple[Any, Scripted]) -> None:
    queue, backend = parts
    await two_in_hand_and_two_kept(queue, backend)
    backend.lose_reply, backend.lost = True, NotEnoughSyncedSlavesError()
    with pytest.raises(NotEnoughSyncedSlavesError):
        await result(queue.release())
    assert await result(queue.get_count()) == 2
    assert await result(queue.ack_items(["a", "b"])) == 2
    assert await result(queue.release()) == 0


@pytest.mark.parametrize("sweep", ["re_enqueue_all_items", "drop_all_items"])
async def test_a_sweep_of_all_settles_a_release_first(parts: tuple[Any, Scripted], sweep: str) -> None:
    queue, backend = parts
    await two_in_hand_and_two_kept(queue, backend)
    backend.lose_reply = True
    with pytest.raises(OutcomeUnknown):
        await result(queue.release())
    assert await result(getattr(queue, sweep)()) == 2
    assert await result(queue.get_items(9)) == (["a", "b", "c", "d"] if sweep.startswith("re") else ["c", "d"])


# What is waited for


@pytest.mark.parametrize("durability", [None, Replicas(1), Fsync()], ids=str)
async def test_a_change_waits_and_a_hand_out_does_not(make: Make, durability: Durability | None) -> None:
    queue, backend = await make(durability=durability)
    run = queue._run
    assert await result(run.change(lambda keys, identity, _: ops.add(keys, identity, [b"a"], NO_LIMITS))) == 1
    assert await result(run.hand_out(lambda keys, identity, _: ops.add(keys, identity, [b"b"], NO_LIMITS))) == 1
    assert await result(run.look(ops.count)) == 2
    assert backend.seen == [["add"], ["add"], ["count"]]
    assert backend.waits == [durability, None, None]


async def test_a_hand_out_is_a_call_like_others(make: Make) -> None:
    """It has a lane, which is burnt if it may still be under way; but it goes alone."""
    pool, backend = await make("Pool", durability=Replicas(1))
    await result(pool.add_items(["a", "b", "c"]))
    backend.plan = [backend.resent]
    assert await result(pool.get_items(1)) == ["a"]
    backend.lose_reply = True
    with pytest.raises(OutcomeUnknown):
        await result(pool.get_items(1))
    assert await result(pool.get_items(1)) == ["c"]
    assert backend.seen == [["pool_add"], ["pool_get"], ["burn"], ["pool_get"], ["burn"], ["pool_get"]]
    assert backend.waits == [Replicas(1), None, None, None, None, None]
    assert pool._run.member().session.at_rest()


@pytest.mark.parametrize(("kind", "probe"), [("Queue", "probe"), ("UniqueQueue", "probe"), ("Pool", "pool_probe")])
async def test_what_is_checked_once_is_what_the_kind_needs(make: Make, kind: str, probe: str) -> None:
    facade, backend = await make(kind)
    member = facade._run.member()
    assert member.checked
    assert member.keys.kind is facade._run.setup.kind
    member.checked = False
    assert await result(facade.add_item("x")) is True
    assert await result(facade.add_item("y")) is True
    assert backend.seen == [[probe], [f"{probe[:-5]}add"], [f"{probe[:-5]}add"]]


async def test_a_sweep_that_too_few_confirm_counts_what_it_moved(make: Make) -> None:
    queue, backend = await make(durability=Replicas(1))
    await result(queue.add_items(str(number) for number in range(1500)))
    assert len(await result(queue.get_items(1500))) == 1500
    short = NotEnoughSyncedSlavesError()
    short.done = 500
    backend.plan = [lambda: None, lambda: setattr(backend, "lose_reply", True)]
    backend.lost = short
    with pytest.raises(NotEnoughSyncedSlavesError) as caught:
        await result(queue.re_enqueue_all_items())
    assert caught.value.done == 1500
    assert await result(queue.get_count()) == 1500


async def test_a_chunk_that_too_few_confirm_counts_as_the_server_counted(make: Make) -> None:
    queue, backend = await make("UniqueQueue", durability=Replicas(1))
    await result(queue.add_item("3"))
    short = NotEnoughSyncedSlavesError()
    short.done = 999
    backend.lose_reply, backend.lost = True, short
    with pytest.raises(NotEnoughSyncedSlavesError) as caught:
        await result(queue.add_items([str(number) for number in range(1500)]))
    assert (caught.value.done, caught.value.remaining) == (999, 500)
    assert await result(queue.get_count()) == 1000
