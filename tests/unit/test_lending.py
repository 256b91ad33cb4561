"""What is lent to callers: the connections of a pool, and those that were in use a moment ago. In both worlds."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from redis import asyncio as redis_asyncio

from pyrq.backends import _redis, lending_async, lending_sync
from pyrq.core.errors import ServerFullError


async def await_it(result: Any) -> Any:
    """Gives what a method of either world gives."""
    return await result if inspect.isawaitable(result) else result


untyped: Any = redis


class Connection:
    """A connection that can be closed."""

    def __init__(self) -> None:
        self.closed = 0
        self.quiet = True


class SyncConnection(Connection):
    def disconnect(self) -> None:
        self.closed += 1


class AsyncConnection(Connection):
    async def disconnect(self, nowait: bool) -> None:
        assert nowait
        self.closed += 1


class Pool:
    """A pool that keeps books."""

    kind: Any

    def __init__(self, size: int = 2) -> None:
        self.max_connections = size
        self.lent_to_others = 1
        self.idle: list[Any] = []
        self.asked = 0

    def take(self) -> Any:
        self.asked += 1
        return self.idle.pop() if self.idle else self.kind()


class SyncPool(Pool):
    kind = SyncConnection

    def get_connection(self, *_: Any) -> Any:
        return self.take()

    def release(self, connection: Any) -> None:
        self.idle.append(connection)


class AsyncPool(Pool):
    kind = AsyncConnection

    async def get_connection(self, *_: Any) -> Any:
        return self.take()

    async def release(self, connection: Any) -> None:
        self.idle.append(connection)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lending_sync, "time", clock)
    monkeypatch.setattr(lending_async, "time", clock)
    monkeypatch.setattr(_redis, "is_quiet", lambda connection: connection.quiet)
    monkeypatch.setattr(_redis, "kept_at_most", lambda pool, own: 9 if own else pool.lent_to_others)
    return clock


WORLDS = [(lending_sync.Lender, SyncPool), (lending_async.Lender, AsyncPool)]
both = pytest.mark.parametrize(("lender_of", "pool_of"), WORLDS, ids=["sync", "aio"])


async def used(lender: Any, failure: BaseException | None = None) -> Any:
    """Gives the connection that a caller has had."""
    try:
        if isinstance(lender, lending_sync.Lender):
            with lender.lend() as connection:
                if failure:
                    raise failure
        else:
            async with lender.lend() as connection:
                if failure:
                    raise failure
    except type(failure or asyncio.InvalidStateError()):
        pass
    return connection


@both
async def test_what_was_in_use_a_moment_ago_is_lent_again(clock: Clock, lender_of: Any, pool_of: Any) -> None:
    pool = pool_of()
    lender = lender_of(pool, 1, own=True)
    first = await used(lender)
    clock.now += _redis.MOMENT * 0.9
    assert await used(lender) is first
    assert (pool.asked, pool.idle) == (1, [])


@both
async def test_what_was_in_use_before_is_looked_at_by_the_pool(clock: Clock, lender_of: Any, pool_of: Any) -> None:
    pool = pool_of()
    lender = lender_of(pool, 1, own=True)
    first = await used(lender)
    clock.now += _redis.MOMENT * 1.1
    assert await used(lender) is first
    assert (pool.asked, pool.idle) == (2, [])


@both
async def test_what_is_not_quiet_is_looked_at_by_the_pool(clock: Clock, lender_of: Any, pool_of: Any) -> None:
    pool = pool_of()
    lender = lender_of(pool, 1, own=True)
    first = await used(lender)
    first.quiet = False
    assert await used(lender) is first
    assert (pool.asked, pool.idle) == (2, [])


class Shown:
    """A connection that shows its socket, as redis-py's of the sync world does."""

    def __init__(self, plug: Any) -> None:
        self._sock = plug


def test_a_connection_is_quiet_until_something_comes() -> None:
    here, there = socket.socketpair()
    assert _redis.is_quiet(Shown(here))
    there.send(b"x")
    assert not _redis.is_quiet(Shown(here))
    here.recv(1)
    assert _redis.is_quiet(Shown(here))
    there.close()
    assert not _redis.is_quiet(Shown(here))
    here.close()
    assert not _redis.is_quiet(Shown(here))
    assert not _redis.is_quiet(Shown(None))
    assert not _redis.is_quiet(object())


def test_where_sockets_cannot_be_polled_no_connection_is_known_to_be_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = socket.socketpair()
    monkeypatch.delattr("select.poll")
    assert not _redis.is_quiet(Shown(here))
    here.close()
    there.close()


async def test_a_connection_of_asyncio_is_quiet_until_something_comes() -> None:
    here, there = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=here)
    connection = SimpleNamespace(_reader=reader, _writer=writer)
    assert _redis.is_quiet(connection)
    there.close()
    assert not _redis.is_quiet(connection)
    await reader.read()
    assert not _redis.is_quiet(connection)
    writer.close()


@both
async def test_what_is_not_to_be_kept_goes_back(clock: Clock, lender_of: Any, pool_of: Any) -> None:
    pool = pool_of()
    pool.lent_to_others = 0
    lender = lender_of(pool, 1, own=False)
    first = await used(lender)
    assert (pool.asked, pool.idle) == (1, [first])


@both
async def test_of_somebody_elses_pool_one_is_kept_for_all(clock: Clock, lender_of: Any, pool_of: Any) -> None:
    pool = pool_of()
    one, other = lender_of(pool, 1, own=False), lender_of(pool, 1, own=False)
    first, second = await await_it(one.take()), await await_it(one.take())
    await await_it(one.take_back(first, good=True))
    await await_it(one.take_back(second, good=True))
    assert pool.idle == [second]
    assert await used(other) is first
    assert (pool.asked, pool.idle) == (2, [second])


@both
async def test_what_befalls_one_may_have_befallen_all(clock: Clock, lender_of: Any, pool_of: Any) -> None:
    pool = pool_of()
    lender = lender_of(pool, 1, own=True)
    one, other = await await_it(lender.take()), await await_it(lender.take())
    await await_it(lender.take_back(one, good=True))
    await await_it(lender.take_back(other, good=True))
    assert await used(lender, OSError()) is other
    assert (other.closed, one.closed) == (1, 0)
    assert pool.idle == [one, other]
    assert (await used(lender), pool.asked) == (other, 3)


@both
async def test_a_refusal_leaves_a_connection_as_good_as_before(clock: Clock, lender_of: Any, pool_of: Any) -> None:
    pool = pool_of()
    lender = lender_of(pool, 1, own=True)
    first = await used(lender, ServerFullError())
    assert (await used(lender), first.closed, pool.asked) == (first, 0, 1)


@both
async def test_what_is_kept_goes_back_at_the_end(clock: Clock, lender_of: Any, pool_of: Any) -> None:
    pool = pool_of()
    lender = lender_of(pool, 1, own=True)
    first = await used(lender)
    await await_it(lender.forget())
    await await_it(lender.forget())
    assert pool.idle == [first]


@both
async def test_what_is_kept_takes_no_place(clock: Clock, lender_of: Any, pool_of: Any) -> None:
    pool = pool_of(size=1)
    lender = lender_of(pool, 0, own=True)
    for failure in (None, OSError(), ServerFullError(), None):
        await used(lender, failure)  # Unreached, were there no place
    assert pool.asked == 2


def test_what_was_kept_in_an_event_loop_is_not_lent_in_another(clock: Clock) -> None:
    pool = AsyncPool()
    lender = lending_async.Lender(pool, 1, own=True)
    asyncio.run(used(lender))
    asyncio.run(used(lender))
    assert pool.asked == 2


def test_a_fork_lends_nothing_that_its_parent_uses(clock: Clock) -> None:
    pool = SyncPool()
    lender = lending_sync.Lender(pool, 1, own=True)
    with lender.lend() as first:
        pass
    child = os.fork()
    if not child:
        with lender.lend() as second:
            os._exit(3 if second is first else 4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
    with lender.lend() as again:
        assert again is first


def pools() -> list[Any]:
    """Gives pools, and how many of their connections may be kept if they are somebody else's, and our own."""
    once = redis.credentials.UsernamePasswordCredentialProvider("me", "secret")
    return [
        pytest.param(redis.ConnectionPool(), 1, True, id="sync"),
        pytest.param(redis_asyncio.ConnectionPool(), 1, True, id="aio"),
        pytest.param(redis.ConnectionPool(max_connections=10), 1, True, id="ten"),
        pytest.param(redis.ConnectionPool(max_connections=9), 0, True, id="small"),
        pytest.param(redis.ConnectionPool(credential_provider=once), 0, False, id="credentials"),
        pytest.param(untyped.BlockingConnectionPool(), 0, False, id="blocking"),
        pytest.param(untyped.Sentinel([("h", 1)]).master_for("m").connection_pool, 0, False, id="sentinel"),
    ]


@pytest.mark.parametrize(("pool", "of_others", "own"), pools())
def test_how_many_are_kept(pool: Any, of_others: int, own: bool) -> None:
    assert _redis.kept_at_most(pool, own=False) == of_others
    assert (_redis.kept_at_most(pool, own=True) > 1) is own
