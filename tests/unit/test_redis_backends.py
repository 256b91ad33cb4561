"""The two redis-py backends, on pools that play a script of answers. Each test runs in both worlds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from queue import Empty
from typing import Any, cast

import pytest
from redis import exceptions

from pyrq.backends import _redis, lending_async, redis_async, redis_sync
from pyrq.backends._redis import POOL_ARGS
from pyrq.backends.redis_async import AsyncRedisBackend
from pyrq.backends.redis_sync import RedisBackend
from pyrq.core import errors, ops, session_ops
from pyrq.core.call import Call
from pyrq.core.limits import NO_LIMITS
from pyrq.core.options import Durability, Fsync, Replicas
from tests.unit.helpers import KEYS, ME, error_reply

ADD = ops.add(KEYS, ME, [b"x"], NO_LIMITS)
COUNT = ops.count(KEYS)
NEW = {b"server": b"redis", b"version": b"7.4.0"}
CLOSED = exceptions.ConnectionError("Connection closed by server.")
Command = tuple[bytes, ...]


class Pool:
    """A pool whose connections answer from one script; HELLO is answered by itself.

    Attributes:
        answers: what follows each command: a reply, or an exception to raise.
        sent: every command, HELLO excluded.
        pipelines: how many commands went together.
        connecting: what `get_connection` is to raise, one each.
        forgot: how often the connections were closed that nobody uses; True where those in use were as well.
    """

    connection_class = None

    def __init__(self, *answers: Any, hello: Any = NEW, asynchronous: bool = False, size: int = 2**31) -> None:
        self.connection_kwargs = {"socket_timeout": 5.0}
        self.max_connections = size
        self.answers = list(answers)
        self.hello = hello
        self.hellos = 0
        self.sent: list[Command] = []
        self.pipelines: list[int] = []
        self.connecting: list[BaseException] = []
        self.forgot: list[bool] = []
        self.lent = 0
        self.most_lent = 0
        self.disconnected = 0
        self.nowait: list[bool] = []
        self.when_reading: Callable[[], Any] = lambda: None
        self._kind: Any = AsyncConnection if asynchronous else Connection

    def take(self, args: tuple[Any, ...]) -> Any:
        assert args == POOL_ARGS
        if self.connecting:
            raise self.connecting.pop(0)
        self.lent += 1
        self.most_lent = max(self.most_lent, self.lent)
        return self._kind(self)

    def give_back(self) -> None:
        self.lent -= 1


class SyncPool(Pool):
    def get_connection(self, *args: Any) -> Any:
        return self.take(args)

    def release(self, connection: Any) -> None:
        self.give_back()

    def disconnect(self, inuse_connections: bool = True) -> None:
        self.forgot.append(inuse_connections)


class AsyncPool(Pool):
    async def get_connection(self, *args: Any) -> Any:
        return self.take(args)

    async def release(self, connection: Any) -> None:
        self.give_back()

    async def disconnect(self, inuse_connections: bool = True) -> None:
        self.forgot.append(inuse_connections)


class Played:
    """What the connections of both worlds share."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.due: list[Any] = []

    def pack_commands(self, commands: Sequence[Command]) -> list[Command]:
        return list(commands)

    def take_in(self, commands: list[Command]) -> None:
        self.pool.pipelines.append(len(commands))
        for command in commands:
            if command == (b"HELLO",):
                self.pool.hellos += 1
                self.due.append(self.pool.hello)
            else:
                self.pool.sent.append(command)
                self.due.append(self.pool.answers.pop(0))

    def answer(self, disable_decoding: bool) -> Any:
        assert disable_decoding is True
        answer = self.due.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Connection(Played):
    def send_packed_command(self, commands: list[Command]) -> None:
        self.take_in(commands)

    def read_response(self, disable_decoding: bool = False, disconnect_on_error: bool = True) -> Any:
        assert not disconnect_on_error
        self.pool.when_reading()
        return self.answer(disable_decoding)

    def disconnect(self) -> None:
        self.pool.disconnected += 1


class AsyncConnection(Played):
    async def send_packed_command(self, commands: list[Command]) -> None:
        self.take_in(commands)

    async def read_response(self, disable_decoding: bool = False, disconnect_on_error: bool = True) -> Any:
        assert not disconnect_on_error
        await asyncio.sleep(0)
        if (waiting := self.pool.when_reading()) is not None:
            await waiting
        return self.answer(disable_decoding)

    async def disconnect(self, nowait: bool = False) -> None:
        self.pool.disconnected += 1
        self.pool.nowait.append(nowait)


class World:
    """One of the two worlds, looking like the asynchronous one."""

    def __init__(self, asynchronous: bool) -> None:
        self.asynchronous = asynchronous
        self.pauses: list[float] = []
        self.seconds = 0.0

    def pool(self, *answers: Any, **options: Any) -> Pool:
        kind = AsyncPool if self.asynchronous else SyncPool
        return kind(*answers, asynchronous=self.asynchronous, **options)

    def backend(self, pool: Pool, deadline: float = 30.0) -> Any:
        return AsyncRedisBackend(pool, deadline) if self.asynchronous else RedisBackend(pool, deadline)

    async def run(self, backend: Any, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        result = backend.run(calls, durability)
        return cast("list[Any]", await result if self.asynchronous else result)

    async def confirm(self, error: errors.NotEnoughSyncedSlavesError) -> None:
        result = error.confirm()  # type: ignore[func-returns-value]  # that of asyncio is a coroutine
        if self.asynchronous:
            await cast("Any", result)

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.seconds += seconds


@pytest.fixture(params=[False, True], ids=["sync", "aio"])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world without dice, whose pauses cost no time."""
    world = World(request.param)

    class Clock:
        monotonic = staticmethod(lambda: world.seconds)
        sleep = staticmethod(world.pause)

    async def pause(seconds: float) -> None:
        world.pause(seconds)

    class Loop:
        time = staticmethod(lambda: world.seconds)

    class FakeAsyncio:
        Semaphore = asyncio.Semaphore
        CancelledError = asyncio.CancelledError
        current_task = staticmethod(lambda: None)
        timeout = staticmethod(asyncio.timeout)
        sleep = staticmethod(pause)
        get_running_loop = staticmethod(Loop)

    class Dice:
        random = staticmethod(lambda: 1.0)

    monkeypatch.setattr(redis_sync, "time", Clock)
    monkeypatch.setattr(redis_async, "asyncio", FakeAsyncio)
    monkeypatch.setattr(redis_sync, "random", Dice)
    monkeypatch.setattr(redis_async, "random", Dice)
    return world


@pytest.fixture(autouse=True)
def connections_show_what_they_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_redis, "_pack", None)


def named(call: Call[Any]) -> Command:
    return (b"EVALSHA", call.script.sha, b"%d" % len(call.keys), *call.keys, *call.args)


def in_full(call: Call[Any]) -> Command:
    return (b"EVAL", call.script.source, *named(call)[2:])


# One run


async def test_calls_and_their_wait_go_in_one_pipeline(world: World) -> None:
    pool = world.pool(0, 1, [1, 1], 5, 2)
    backend = world.backend(pool)
    assert await world.run(backend, [session_ops.forget(KEYS), ADD, COUNT], Replicas(1, 200)) == [1, 1, 5]
    assert pool.sent == [
        (b"WAIT", b"0", b"1"),
        named(session_ops.forget(KEYS)),
        named(ADD),
        named(COUNT),
        (b"WAIT", b"1", b"200"),
    ]
    assert pool.pipelines == [2, 4]
    assert (pool.lent, pool.most_lent, pool.disconnected, backend.doubts) == (0, 1, 0, 0)


async def test_the_server_is_looked_at_once_for_each_durability(world: World) -> None:
    pool = world.pool(1, 2, 0, [1, 1], 1, [1, 1], 1, [0, 0], [1, 1], [1, 0])
    backend = world.backend(pool)
    await world.run(backend, [COUNT])
    await world.run(backend, [COUNT])
    assert pool.hellos == 1
    await world.run(backend, [ADD], Replicas(1))
    await world.run(backend, [ADD], Replicas(1))
    assert pool.hellos == 2
    await world.run(backend, [ADD], Fsync())
    assert pool.hellos == 3
    assert pool.sent.count((b"WAIT", b"0", b"1")) == 1
    assert pool.sent.count((b"WAITAOF", b"1", b"0", b"1")) == 1


async def test_a_server_that_is_too_old_is_sent_nothing_else(world: World) -> None:
    pool = world.pool(hello={b"server": b"redis", b"version": b"6.0.1"})
    backend = world.backend(pool)
    for _ in range(2):
        with pytest.raises(errors.ServerTooOldError):
            await world.run(backend, [ADD])
    assert (pool.sent, pool.hellos) == ([], 2)


async def test_a_wait_that_the_server_refuses_is_found_before_anything_is_written(world: World) -> None:
    pool = world.pool(error_reply("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."))
    with pytest.raises(errors.ServerConfigError):
        await world.run(world.backend(pool), [ADD], Fsync())
    assert pool.sent == [(b"WAITAOF", b"1", b"0", b"1")]
    assert world.pauses == []


async def test_a_wait_that_the_server_refuses_for_now_is_tried_again(world: World) -> None:
    # Since Redis 7, HELLO is answered while a script is running, and WAIT is not.
    busy = error_reply("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.")
    pool = world.pool(busy, 0, [1, 1], 1)
    assert await world.run(world.backend(pool), [ADD], Replicas(1)) == [1]


async def test_what_a_server_refuses_is_said_without_a_retry(world: World) -> None:
    pool = world.pool(error_reply("WRONGTYPE Operation against a key holding the wrong kind of value"))
    backend = world.backend(pool)
    with pytest.raises(errors.WrongTypeError):
        await world.run(backend, [ADD])
    assert (world.pauses, pool.lent, pool.disconnected, backend.doubts) == ([], 0, 0, 0)


# Sending again


async def test_a_missing_script_is_sent_in_full_with_the_wait(world: World) -> None:
    missing = error_reply("NOSCRIPT No matching script. Please use EVAL.")
    pool = world.pool(0, 1, missing, 0, 1, [1, 1], 1)
    backend = world.backend(pool)
    assert await world.run(backend, [session_ops.forget(KEYS), ADD], Replicas(1)) == [1, 1]
    wait = (b"WAIT", b"1", b"100")
    assert pool.sent[1:] == [
        *(named(session_ops.forget(KEYS)), named(ADD), wait),
        *(in_full(session_ops.forget(KEYS)), in_full(ADD), wait),
    ]
    assert (world.pauses, backend.doubts, pool.disconnected) == ([0.0], 0, 0)


async def test_the_next_run_goes_by_name_again(world: World) -> None:
    pool = world.pool(error_reply("NOSCRIPT No matching script."), 1, 2)
    backend = world.backend(pool)
    await world.run(backend, [COUNT])
    await world.run(backend, [COUNT])
    assert pool.sent == [named(COUNT), in_full(COUNT), named(COUNT)]


@pytest.mark.parametrize(
    "text",
    ["NOREPLICAS Not enough good replicas to write.", "BUSY x"],
)
async def test_a_server_that_refuses_for_now_is_asked_again(world: World, text: str) -> None:
    pool = world.pool(error_reply(text), error_reply(text), [1, 1])
    backend = world.backend(pool)
    assert await world.run(backend, [ADD]) == [1]
    assert pool.sent == [named(ADD)] * 3
    assert world.pauses == [0.01, 0.02]
    assert (backend.doubts, pool.disconnected) == (0, 2)


@pytest.mark.parametrize(
    ("answer", "kind", "closed"),
    [
        ([3], errors.OutcomeUnknown, 1),
        ([1, 42, 5], None, 0),
        (b"OK", errors.OutcomeUnknown, 1),
        (error_reply("ERR what"), errors.ServerRefusedError, 1),
        (error_reply("NOAUTH Authentication required."), errors.AuthenticationError, 1),
        (error_reply("WRONGTYPE x"), errors.WrongTypeError, 0),
        (error_reply("OOM x"), errors.ServerFullError, 0),
        ([1, -1], errors.QueueFull, 0),
    ],
)
async def test_what_becomes_of_a_connection(
    world: World, answer: Any, kind: type[Exception] | None, closed: int
) -> None:
    pool = world.pool(answer)
    with pytest.raises(kind) if kind else contextlib.nullcontext():
        await world.run(world.backend(pool, 0), [ADD])
    assert (pool.disconnected, pool.lent) == (closed, 0)


@pytest.mark.parametrize("text", ["LOADING x", "NOAUTH Authentication required.", "NOPERM x"])
async def test_what_is_refused_behind_a_change_does_not_hide_it(world: World, text: str) -> None:
    pool = world.pool(0, [1, 1], error_reply(text))
    with pytest.raises(errors.NotEnoughSyncedSlavesError) as caught:
        await world.run(world.backend(pool, 0), [ADD], Replicas(1))
    assert caught.value.done == 1
    pool = world.pool([1, 1], error_reply(text))
    with pytest.raises(errors.OutcomeUnknown):
        await world.run(world.backend(pool, 0), [ADD, COUNT])


@pytest.mark.parametrize("error", [KeyError("x"), AttributeError("x"), exceptions.InvalidResponse("x")])
async def test_a_connection_that_can_not_be_set_up_is_not_used(world: World, error: Exception) -> None:
    pool = world.pool([1, 1])
    pool.connecting.append(error)
    with pytest.raises(errors.ServerGoneError):
        await world.run(world.backend(pool, 0), [ADD])
    assert pool.forgot == ([] if isinstance(error, exceptions.RedisError) else [False])


async def test_a_connection_whose_setting_up_was_interrupted_is_not_used(world: World) -> None:
    pool = world.pool([1, 1])
    pool.connecting.append(asyncio.CancelledError() if world.asynchronous else KeyboardInterrupt())
    with pytest.raises((asyncio.CancelledError, KeyboardInterrupt)):
        await world.run(world.backend(pool), [ADD])
    assert (pool.forgot, pool.lent) == ([False], 0)


async def test_a_question_without_an_answer_is_nothing_done(world: World) -> None:
    pool = world.pool(hello=CLOSED)
    with pytest.raises(errors.ServerGoneError):
        await world.run(world.backend(pool, 0), [ADD])
    assert (pool.sent, pool.disconnected) == ([], 1)


@pytest.mark.parametrize("text", ["READONLY You can't write against a read only replica.", "MASTERDOWN x"])
async def test_a_primary_that_became_a_replica_is_left(world: World, text: str) -> None:
    pool = world.pool(0, error_reply(text), error_reply("ERR x"), [1, 1], 1)
    backend = world.backend(pool)
    assert await world.run(backend, [ADD], Replicas(1)) == [1]
    assert pool.sent[1:] == [named(ADD), (b"WAIT", b"1", b"100")] * 2
    assert (world.pauses, pool.disconnected, pool.lent, backend.doubts) == ([0.01], 1, 0, 0)


@pytest.mark.parametrize("durability", [Replicas(1), Fsync()])
async def test_a_replica_that_is_looked_at_first_is_left(world: World, durability: Durability) -> None:
    pool = world.pool(error_reply("ERR WAIT cannot be used with replica instances. Please x"), 0, [1, 1], [1, 1])
    if isinstance(durability, Replicas):
        pool.answers[-1] = 1
    backend = world.backend(pool)
    assert await world.run(backend, [ADD], durability) == [1]
    assert (world.pauses, pool.hellos, pool.disconnected, pool.lent) == ([0.01], 2, 1, 0)


async def test_a_replica_that_stays_one_is_named(world: World) -> None:
    refused = error_reply("ERR WAIT cannot be used with replica instances. Please x")
    with pytest.raises(errors.ReadOnlyReplicaError):
        await world.run(world.backend(world.pool(refused), 0), [ADD], Replicas(1))


async def test_a_loading_server_is_asked_again_on_another_connection(world: World) -> None:
    pool = world.pool(error_reply("LOADING Redis is loading the dataset in memory"), [1, 1])
    backend = world.backend(pool)
    assert await world.run(backend, [ADD]) == [1]
    assert (pool.disconnected, pool.lent, backend.doubts) == (1, 0, 0)


@pytest.mark.parametrize(
    "lost", [CLOSED, exceptions.TimeoutError("x"), OSError("x"), TimeoutError("x"), exceptions.InvalidResponse("x")]
)
async def test_a_lost_answer_is_asked_for_again_unchanged(world: World, lost: Exception) -> None:
    pool = world.pool(lost, [2, 1])
    backend = world.backend(pool)
    assert await world.run(backend, [ADD]) == [1]
    assert pool.sent == [named(ADD)] * 2
    assert (backend.doubts, pool.disconnected, pool.lent) == (1, 1, 0)


async def test_a_connection_with_unread_answers_is_closed(world: World) -> None:
    pool = world.pool(1, CLOSED, 5, 1, [1, 1], 5)
    assert await world.run(world.backend(pool), [session_ops.forget(KEYS), ADD, COUNT]) == [1, 1, 5]
    assert pool.disconnected == 1
    if world.asynchronous:
        assert pool.nowait == [True]


async def test_no_answer_until_the_deadline(world: World) -> None:
    pool = world.pool(*[CLOSED] * 50)
    backend = world.backend(pool, 3.0)
    with pytest.raises(errors.OutcomeUnknown):
        await world.run(backend, [ADD])
    assert world.seconds == pytest.approx(3.0)
    assert backend.doubts == len(pool.sent) == len(world.pauses) + 1
    assert (pool.lent, pool.disconnected) == (0, backend.doubts)


async def test_without_a_deadline_there_is_one_attempt(world: World) -> None:
    pool = world.pool(CLOSED)
    with pytest.raises(errors.OutcomeUnknown):
        await world.run(world.backend(pool, 0), [ADD])
    assert len(pool.sent) == 1


async def test_a_server_that_is_not_there(world: World) -> None:
    pool = world.pool([1, 1])
    pool.connecting = [exceptions.ConnectionError("Error 111 connecting to h:1."), OSError("x")]
    backend = world.backend(pool)
    assert await world.run(backend, [ADD]) == [1]
    assert (len(world.pauses), backend.doubts, pool.disconnected, pool.lent) == (2, 0, 0, 0)


async def test_a_server_that_does_not_come_keeps_why(world: World) -> None:
    pool = world.pool()
    why = exceptions.ConnectionError("Error 111 connecting to h:1.")
    pool.connecting = [why]
    with pytest.raises(errors.ServerGoneError) as caught:
        await world.run(world.backend(pool, 0), [ADD])
    assert caught.value.__cause__ is why


@pytest.mark.parametrize("text", ["WRONGPASS invalid username-password pair or user is disabled.", "NOAUTH x"])
async def test_a_refused_login_is_said_at_once(world: World, text: str) -> None:
    pool = world.pool()
    pool.connecting = [error_reply(text)]
    with pytest.raises(errors.AuthenticationError):
        await world.run(world.backend(pool), [ADD])
    assert (world.pauses, pool.lent) == ([], 0)


async def test_a_login_that_is_revoked_in_between(world: World) -> None:
    pool = world.pool(error_reply("NOAUTH Authentication required."))
    backend = world.backend(pool)
    with pytest.raises(errors.AuthenticationError):
        await world.run(backend, [ADD])
    assert (pool.disconnected, pool.lent, backend.doubts) == (1, 0, 0)


async def test_what_follows_a_lost_answer_does_not_say_that_nothing_was_done(world: World) -> None:
    pool = world.pool(CLOSED, error_reply("OOM command not allowed when used memory > 'maxmemory'."))
    with pytest.raises(errors.OutcomeUnknown):
        await world.run(world.backend(pool), [ADD])


async def test_a_stale_call_has_an_unknown_outcome(world: World) -> None:
    with pytest.raises(errors.OutcomeUnknown):
        await world.run(world.backend(world.pool([3])), [ADD])
    assert world.pauses == []


async def test_what_may_help_is_done_before_the_next_attempt(world: World) -> None:
    pool = world.pool([1, 1])
    pool.connecting = [OSError("x")]
    backend = world.backend(pool)
    seen: list[str] = []

    async def revive(failure: Exception) -> None:
        seen.append(type(failure).__name__)

    backend._revive = revive if world.asynchronous else lambda failure: seen.append(type(failure).__name__)
    await world.run(backend, [ADD])
    assert seen == ["Unreached"]


def test_an_interrupt_counts_as_a_doubt(world: World) -> None:
    pool = world.pool(KeyboardInterrupt())
    backend = world.backend(pool)
    backend.gathers = False  # there is no event loop
    backend._checked.add(None)
    running: Coroutine[Any, Any, Any] = world.run(backend, [ADD])

    def to_the_end() -> None:
        while True:
            running.send(None)

    with pytest.raises(KeyboardInterrupt):
        to_the_end()
    assert (backend.doubts, pool.disconnected, pool.lent) == (1, 1, 0)


# Confirmation


async def test_confirm_asks_again_and_adds_nothing(world: World) -> None:
    pool = world.pool(0, 1, [1, 1], 0, [2], 0, [2], 1)
    backend = world.backend(pool)
    with pytest.raises(errors.NotEnoughSyncedSlavesError) as first:
        await world.run(backend, [session_ops.forget(KEYS), ADD], Replicas(1, 200))
    assert isinstance(first.value, errors.AsyncNotEnoughSyncedSlavesError) is world.asynchronous
    before = len(pool.sent)
    with pytest.raises(errors.NotEnoughSyncedSlavesError) as second:
        await world.confirm(first.value)
    await world.confirm(second.value)
    wait = (b"WAIT", b"1", b"200")
    assert pool.sent[before:] == [named(session_ops.confirm(ADD)), wait] * 2


async def test_confirm_of_what_the_server_forgot(world: World) -> None:
    pool = world.pool(0, [1, 1], 0, [3], 1)
    backend = world.backend(pool)
    with pytest.raises(errors.NotEnoughSyncedSlavesError) as caught:
        await world.run(backend, [ADD], Replicas(1))
    with pytest.raises(errors.OutcomeUnknown):
        await world.confirm(caught.value)


async def test_a_repeated_call_needs_its_confirmation_too(world: World) -> None:
    pool = world.pool(0, CLOSED, 1, [2, 1], 0)
    with pytest.raises(errors.NotEnoughSyncedSlavesError):
        await world.run(world.backend(pool), [ADD], Replicas(1))
    assert len(world.pauses) == 1


# Pools that are spent


def test_threads_queue_for_a_connection() -> None:
    pool = SyncPool(*range(8), size=2)
    gate = threading.Barrier(2)
    pool.when_reading = lambda: gate.wait(10)
    backend = RedisBackend(pool, 30)
    backend._checked.add(None)
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.extend(backend.run([COUNT]))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(results) == list(range(8))
    assert pool.most_lent == 2


async def test_tasks_queue_for_a_connection() -> None:
    pool = AsyncPool(*range(8), size=2, asynchronous=True)
    backend = AsyncRedisBackend(pool, 30)
    backend.gathers = False  # else one is enough
    backend._checked.add(None)
    results = await asyncio.gather(*(backend.run([COUNT]) for _ in range(8)))
    assert sorted(result[0] for result in results) == list(range(8))
    assert pool.most_lent == 2


class Now:
    """Places of a pool, none of them free, that do not wait."""

    def get(self, timeout: float) -> None:
        assert timeout == 1.0
        raise Empty


def test_no_connection_for_a_thread_in_time() -> None:
    pool = SyncPool(size=1)
    backend = RedisBackend(pool, 0)
    backend._lender._places = Now()  # type: ignore[assignment]  # enough of one
    with pytest.raises(errors.ServerGoneError, match="No connection of the pool became free in time"):
        backend.run([COUNT])
    assert (pool.sent, backend.doubts) == ([], 0)


async def test_no_connection_for_a_task_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hasty:
        Semaphore = asyncio.Semaphore
        CancelledError = asyncio.CancelledError
        current_task = staticmethod(lambda: None)
        get_running_loop = staticmethod(asyncio.get_running_loop)
        sleep = staticmethod(asyncio.sleep)

        @staticmethod
        def timeout(seconds: float) -> Any:
            assert seconds == 1.0
            return asyncio.timeout(0)

    monkeypatch.setattr(lending_async, "asyncio", Hasty)
    pool = AsyncPool(size=1, asynchronous=True)
    backend = AsyncRedisBackend(pool, 0)
    assert backend._lender._places
    async with backend._lender._places:
        with pytest.raises(errors.ServerGoneError, match="No connection of the pool became free in time"):
            await backend.run([COUNT])
    assert (pool.sent, backend.doubts) == ([], 0)


async def test_a_place_is_given_back_whatever_happens(world: World) -> None:
    pool = world.pool(CLOSED, error_reply("OOM x"), CLOSED, 4, size=1)
    backend = world.backend(pool, 0)
    for _ in range(3):
        with pytest.raises(errors.RqError):
            await world.run(backend, [ADD])
    assert await world.run(backend, [COUNT]) == [4]


def test_a_fork_does_not_wait_for_threads_that_it_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = RedisBackend(SyncPool(3, size=1), 0)
    assert backend._lender._places
    backend._lender._places.get()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert backend.run([COUNT]) == [3]


# Cancelling


async def test_a_cancelled_run_leaves_no_connection_in_the_middle_of_an_answer() -> None:
    pool = AsyncPool([1, 1], 5, size=1, asynchronous=True)
    backend = AsyncRedisBackend(pool, 30)
    backend._checked.add(None)
    reading = asyncio.Event()

    async def wait_for_ever() -> None:
        reading.set()
        await asyncio.Event().wait()

    pool.when_reading = wait_for_ever
    task = asyncio.create_task(backend.run([ADD]))
    await reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (backend.doubts, pool.disconnected, pool.lent, pool.nowait) == (1, 1, 0, [True])
    pool.when_reading = lambda: None
    assert await backend.run([COUNT]) == [5]


async def test_a_run_cancelled_while_it_queues_has_sent_nothing() -> None:
    pool = AsyncPool(5, size=1, asynchronous=True)
    backend = AsyncRedisBackend(pool, 30)
    backend._checked.add(None)
    assert backend._lender._places
    async with backend._lender._places:
        task = asyncio.create_task(backend.run([ADD]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (pool.sent, backend.doubts) == ([], 0)
    assert await backend.run([COUNT]) == [5]


# The end


async def test_close_does_what_it_was_told() -> None:
    closed: list[str] = []

    async def on_close() -> None:
        closed.append("aio")

    RedisBackend(SyncPool(), 30, lambda: closed.append("sync")).close()
    await AsyncRedisBackend(AsyncPool(asynchronous=True), 30, on_close).close()
    RedisBackend(SyncPool(), 30).close()
    await AsyncRedisBackend(AsyncPool(asynchronous=True), 30).close()
    assert closed == ["sync", "aio"]


def test_a_real_clock_and_real_dice_are_used() -> None:
    pool = SyncPool(error_reply("BUSY x"), 4)
    before = time.monotonic()
    assert RedisBackend(pool, 30).run([COUNT]) == [4]
    assert time.monotonic() - before >= 0.005
