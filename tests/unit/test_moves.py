"""Blocking moves of the two redis-py backends, on pools that play a script of answers, and waking them."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pytest
from redis import exceptions

from pyrq.backends._redis import moves_on
from pyrq.backends.redis_async import AsyncRedisBackend
from pyrq.backends.redis_sync import RedisBackend
from pyrq.core import errors
from tests.unit import test_redis_backends as played
from tests.unit.helpers import error_reply
from tests.unit.test_redis_backends import CLOSED, COUNT, AsyncPool, SyncPool, World

world = played.world
connections_show_what_they_pack = played.connections_show_what_they_pack

WHO = (b"CLIENT", b"ID")


def blmove(seconds: bytes) -> tuple[bytes, ...]:
    return b"BLMOVE", b"from", b"to", b"RIGHT", b"LEFT", seconds


async def move(world: World, backend: Any, seconds: float = 2.5) -> bool:
    result = backend.move(b"from", b"to", seconds)
    moved: bool = await result if world.asynchronous else result
    return moved


async def wake(world: World, backend: Any) -> None:
    result = backend.wake()
    if world.asynchronous:
        await result


@pytest.mark.parametrize(("answer", "moved"), [(b"item", True), (b"", True), (None, False)])
async def test_who_asks_and_the_move_go_in_one_pipeline(world: World, answer: Any, moved: bool) -> None:
    pool = world.pool(7, answer)
    backend = world.backend(pool)
    assert await move(world, backend) is moved
    assert pool.sent == [WHO, blmove(b"2.500")]
    assert pool.pipelines == [2]
    assert (pool.hellos, pool.lent, pool.disconnected, backend.doubts, world.pauses) == (0, 0, 0, 0, [])
    assert not backend._waiting


async def test_a_server_that_does_not_say_who_asks_moves_all_the_same(world: World) -> None:
    pool = world.pool(error_reply("NOPERM User u has no permissions to run the 'client|id' command"), b"item")
    backend = world.backend(pool)
    assert await move(world, backend) is True
    assert (pool.lent, pool.disconnected) == (0, 0)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", errors.ServerFullError),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", errors.WrongTypeError),
        ("NOPERM User u has no permissions to run the 'blmove' command", errors.PermissionDeniedError),
        ("READONLY You can't write against a read only replica.", errors.ReadOnlyReplicaError),
        ("UNBLOCKED force unblock from blocking operation", errors.ServerBusyError),
        ("BUSY Redis is busy running a script.", errors.ServerBusyError),
        ("LOADING Redis is loading the dataset in memory", errors.ServerBusyError),
        ("NOAUTH Authentication required.", errors.AuthenticationError),
        ("MISCONF Errors writing to the AOF file", errors.ServerConfigError),
        ("ERR unknown command 'BLMOVE', with args beginning with: 'secret'", errors.ServerTooOldError),
        ("ERR something new", errors.ServerRefusedError),
    ],
)
async def test_what_a_server_refuses_is_said_once(world: World, text: str, error: type[errors.RqError]) -> None:
    pool = world.pool(7, error_reply(text))
    backend = world.backend(pool)
    with pytest.raises(error) as caught:
        await move(world, backend)
    assert type(caught.value) is error
    assert "secret" not in str(caught.value)
    assert pool.sent == [WHO, blmove(b"2.500")]
    assert (pool.lent, backend.doubts, world.pauses) == (0, 0, [])
    assert not backend._waiting


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    "lost", [CLOSED, exceptions.TimeoutError("x"), OSError("x"), TimeoutError("x"), exceptions.InvalidResponse("x")]
)
async def test_a_move_without_an_answer_is_not_sent_again(world: World, lost: Exception, place: int) -> None:
    pool = world.pool(*[7, b"item"][:place], lost, b"never read")
    pool.answers.append(b"never read")
    backend = world.backend(pool)
    with pytest.raises(errors.OutcomeUnknown) as caught:
        await move(world, backend)
    assert isinstance(caught.value.__cause__, errors.ServerGoneError)
    assert type(caught.value.__cause__.__cause__) is type(lost)  # one that can't be read is not chained
    assert pool.sent == [WHO, blmove(b"2.500")]
    assert (pool.lent, pool.disconnected) == (0, 1)
    assert not backend._waiting


@pytest.mark.parametrize("why", [exceptions.ConnectionError("Error 111 connecting to h:1."), OSError("x")], ids=repr)
async def test_a_server_that_is_not_there(world: World, why: Exception) -> None:
    pool = world.pool()
    pool.connecting = [why]
    with pytest.raises(errors.ServerGoneError) as caught:
        await move(world, world.backend(pool))
    assert caught.value.__cause__ is why
    assert (pool.sent, pool.lent, world.pauses) == ([], 0, [])


async def test_a_refused_login(world: World) -> None:
    pool = world.pool()
    pool.connecting = [error_reply("WRONGPASS invalid username-password pair or user is disabled.")]
    with pytest.raises(errors.AuthenticationError):
        await move(world, world.backend(pool))


async def test_the_last_connection_of_a_pool_is_left_to_others(world: World) -> None:
    """What waits on all of them would keep those from working that end the wait."""
    pool = world.pool(5, size=1)
    backend = world.backend(pool)
    with pytest.raises(errors.ServerBusyError, match="more connections"):
        await move(world, backend)
    assert await world.run(backend, [COUNT]) == [5]
    assert (pool.sent[:-1], pool.lent) == ([], 0)
    pool = world.pool(7, b"item", size=2)
    assert await move(world, world.backend(pool)) is True


async def test_what_remains_of_the_time_is_what_is_asked_for(world: World) -> None:
    """Connecting may take a while, and to the server 0 is for ever."""
    pool = world.pool(7, None)
    backend = world.backend(pool)
    taken = pool.take

    def slow(seconds: float) -> None:
        def take(args: tuple[Any, ...]) -> Any:
            world.seconds += seconds
            return taken(args)

        pool.take = take  # type: ignore[method-assign]  # a pool that is slow

    slow(1.25)
    assert await move(world, backend, 3) is False
    slow(5)
    assert await move(world, backend, 3) is False
    assert pool.sent == [WHO, blmove(b"1.750")]
    assert (pool.lent, pool.disconnected) == (0, 0)


# Waking


async def test_to_wake_nobody_sends_nothing(world: World) -> None:
    pool = world.pool()
    await wake(world, world.backend(pool))
    assert pool.sent == []


async def test_who_waits_is_woken_by_another_connection(world: World) -> None:
    pool = world.pool(1, 1)
    backend = world.backend(pool)
    backend._waiting |= {(os.getpid(), 7), (os.getpid(), 8), (os.getpid() + 1, 9)}
    await wake(world, backend)
    assert sorted(pool.sent) == [(b"CLIENT", b"UNBLOCK", b"7"), (b"CLIENT", b"UNBLOCK", b"8")]
    assert pool.lent == 0


async def test_who_could_not_say_who_it_is_wakes_by_itself(world: World) -> None:
    pool = world.pool(1)
    backend = world.backend(pool)
    backend._waiting |= {(os.getpid(), 7), (os.getpid(), ("no", "number"))}
    await wake(world, backend)
    assert pool.sent == [(b"CLIENT", b"UNBLOCK", b"7")]


@pytest.mark.parametrize(
    "answer",
    [
        error_reply("NOPERM User u has no permissions to run the 'client|unblock' command"),
        error_reply("NOAUTH Authentication required."),
        error_reply("LOADING Redis is loading the dataset in memory"),
        CLOSED,
        exceptions.TimeoutError("x"),
    ],
    ids=repr,
)
async def test_a_wake_that_fails_is_no_failure(world: World, answer: Exception) -> None:
    pool = world.pool(answer)
    backend = world.backend(pool)
    backend._waiting.add((os.getpid(), 7))
    await wake(world, backend)
    assert pool.sent == [(b"CLIENT", b"UNBLOCK", b"7")]
    assert pool.lent == 0


async def test_a_wake_without_a_server_is_no_failure(world: World) -> None:
    pool = world.pool()
    pool.connecting = [OSError("x")]
    backend = world.backend(pool)
    backend._waiting.add((os.getpid(), 7))
    await wake(world, backend)
    assert pool.sent == []


def test_a_thread_that_waits_can_be_woken() -> None:
    pool = SyncPool(7, None, 1)
    backend = RedisBackend(pool, 30)
    reading, woken = threading.Event(), threading.Event()
    reads: list[int] = []

    def read() -> None:
        reads.append(1)
        if len(reads) == 2:  # the first one is the answer to who it is
            reading.set()
            assert woken.wait(10)

    pool.when_reading = read
    told: list[bool] = []
    thread = threading.Thread(target=lambda: told.append(backend.move(b"from", b"to", 5)))
    thread.start()
    assert reading.wait(10)
    assert backend._waiting == {(os.getpid(), 7)}
    backend.wake()
    woken.set()
    thread.join(10)
    assert told == [False]
    assert pool.sent[-1] == (b"CLIENT", b"UNBLOCK", b"7")
    assert not backend._waiting


def test_an_interrupt_of_a_move_closes_its_connection() -> None:
    pool = SyncPool(7, KeyboardInterrupt(), size=2)
    backend = RedisBackend(pool, 30)
    with pytest.raises(KeyboardInterrupt):
        backend.move(b"from", b"to", 5)
    assert (pool.disconnected, pool.lent) == (1, 0)
    assert not backend._waiting
    assert not moves_on(backend._pool)


async def test_a_cancelled_move_leaves_no_connection_in_the_middle_of_an_answer() -> None:
    pool = AsyncPool(7, None, size=2, asynchronous=True)
    backend = AsyncRedisBackend(pool, 30)
    reading, reads = asyncio.Event(), []

    async def wait_for_ever() -> None:
        reads.append(1)
        if len(reads) == 2:
            reading.set()
            await asyncio.Event().wait()

    pool.when_reading = wait_for_ever
    task = asyncio.create_task(backend.move(b"from", b"to", 5))
    await reading.wait()
    assert backend._waiting == {(os.getpid(), 7)}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (pool.disconnected, pool.lent, pool.nowait) == (1, 0, [True])
    assert not backend._waiting
    assert not moves_on(backend._pool)


@pytest.mark.parametrize("strange", [[1], {}, b"OK", None])
async def test_a_number_of_a_connection_that_is_none(world: World, strange: Any) -> None:
    pool = world.pool(strange, b"never read")
    backend = world.backend(pool)
    with pytest.raises(errors.OutcomeUnknown):
        await move(world, backend)
    assert (pool.lent, pool.disconnected, backend._waiting) == (0, 1, set())


@pytest.mark.parametrize("strange", [[1], {}, 5, True])
async def test_an_item_that_is_none(world: World, strange: Any) -> None:
    pool = world.pool(7, strange)
    with pytest.raises(errors.OutcomeUnknown):
        await move(world, world.backend(pool))
    assert (pool.lent, pool.disconnected) == (0, 1)
