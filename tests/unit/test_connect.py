from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis
from redis import asyncio as redis_asyncio

from pyrq.backends import _connect, connect, connect_async
from pyrq.backends.memory import AsyncMemoryBackend, MemoryBackend
from pyrq.backends.redis_async import AsyncRedisBackend
from pyrq.backends.redis_sync import RedisBackend
from tests.unit.helpers import fresh
from tests.unit.taking_helpers import AsyncRecordingBackend, RecordingBackend

WORLDS = [(connect, redis, RedisBackend), (connect_async, redis_asyncio, AsyncRedisBackend)]
both = pytest.mark.parametrize(("make", "module", "kind"), WORLDS, ids=["sync", "aio"])


@both
def test_a_client_gives_its_pool(make: Any, module: Any, kind: Any) -> None:
    client = module.Redis(socket_timeout=3)
    backend = make(client)
    assert type(backend) is kind
    assert backend._pool is client.connection_pool
    assert (backend.deadline, backend.reply_timeout, backend.doubts) == (30, 3, 0)


@both
def test_a_pool(make: Any, module: Any, kind: Any) -> None:
    pool = module.ConnectionPool()
    backend = make(pool, retry=7)
    assert type(backend) is kind
    assert backend._pool is pool
    assert backend.deadline == 7


@both
def test_a_sentinel_managed_client(make: Any, module: Any, kind: Any) -> None:
    watch = module.sentinel.Sentinel([("h", 1)])
    client = watch.master_for("orders")
    assert make(client)._pool is client.connection_pool


async def test_somebody_elses_pool_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[object] = []
    monkeypatch.setattr(redis.ConnectionPool, "disconnect", lambda self, *_: closed.append(self))
    monkeypatch.setattr(redis_asyncio.ConnectionPool, "disconnect", lambda self, *_: closed.append(self))
    client, awaited = redis.Redis(), redis_asyncio.Redis()
    pools = [client.connection_pool, redis.ConnectionPool(), awaited.connection_pool, redis_asyncio.ConnectionPool()]
    connect(client).close()
    connect(pools[1]).close()
    await connect_async(awaited).close()
    await connect_async(pools[3]).close()
    assert [pool for pool in pools if pool in closed] == []


async def test_the_pool_of_a_url_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[object] = []

    async def close(self: object) -> None:
        closed.append(self)

    monkeypatch.setattr(redis.ConnectionPool, "disconnect", lambda self, *_: closed.append(self))
    monkeypatch.setattr(redis_asyncio.ConnectionPool, "disconnect", close)
    backend = connect("redis://h")
    backend.close()
    awaited = connect_async("redis://h")
    await awaited.close()
    assert isinstance(backend, RedisBackend)
    assert isinstance(awaited, AsyncRedisBackend)
    assert backend._pool in closed
    assert awaited._pool in closed


@both
def test_urls(make: Any, module: Any, kind: Any) -> None:
    backend = make("redis://h:7000/2", retry=0)
    assert type(backend) is kind
    assert backend._pool.connection_kwargs["port"] == 7000
    assert backend.reply_timeout == 5
    assert backend.deadline == 0


def test_memory_urls() -> None:
    assert type(connect("memory://x", retry=4)) is MemoryBackend
    assert type(connect_async("memory://x", retry=4)) is AsyncMemoryBackend
    assert connect("memory://x", retry=4).deadline == 4


@both
def test_none_is_the_environments_url(monkeypatch: pytest.MonkeyPatch, make: Any, module: Any, kind: Any) -> None:
    monkeypatch.setenv("PYRQ_URL", "redis://elsewhere")
    assert make()._pool.connection_kwargs["host"] == "elsewhere"
    monkeypatch.delenv("PYRQ_URL")
    assert make(None)._pool.connection_kwargs["host"] == "localhost"


@both
def test_an_empty_url_is_a_mistake_and_not_the_local_server(make: Any, module: Any, kind: Any) -> None:
    with pytest.raises(ValueError, match=r"^url must begin with one of"):
        make("")


@both
def test_embedded_urls(monkeypatch: pytest.MonkeyPatch, make: Any, module: Any, kind: Any) -> None:
    asked: list[tuple[str, str, float]] = []
    for name in ("embedded_backend", "embedded_backend_async"):
        monkeypatch.setattr(_connect, name, lambda *arguments: asked.append(arguments))
    make("embedded:///var/lib/x", retry=3)
    make("embedded:///var/lib/%C3%A4?appendfsync=everysec", retry=4)
    assert asked == [("/var/lib/x", "always", 3), ("/var/lib/ä", "everysec", 4)]


@both
@pytest.mark.parametrize("option", ["appendfsync=no", "appendfsync=", "fsync=always", "appendfsync=always&x=1"])
def test_an_embedded_url_has_one_option(make: Any, module: Any, kind: Any, option: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="appendfsync"):
        make(f"embedded://{tmp_path}/data?{option}")
    assert not (tmp_path / "data").exists()


@both
def test_an_embedded_url_names_a_directory(make: Any, module: Any, kind: Any) -> None:
    with pytest.raises(ValueError, match=r"^url: embedded:// must name a directory"):
        make("embedded://")


def test_a_backend_comes_back_as_it_is() -> None:
    backend, awaited = RecordingBackend(), AsyncRecordingBackend()
    assert connect(backend) is backend
    assert connect_async(awaited) is awaited


def test_a_backend_has_its_own_deadline() -> None:
    with pytest.raises(ValueError, match=r"^retry must be None beside a backend"):
        connect(RecordingBackend(), retry=3)
    with pytest.raises(ValueError, match=r"^retry must be None beside a backend"):
        connect_async(AsyncRecordingBackend(), retry=3)


def test_a_backend_has_its_own_way_to_gather() -> None:
    with pytest.raises(ValueError, match=r"^gather must be None beside a backend"):
        connect(RecordingBackend(), gather=False)
    with pytest.raises(ValueError, match=r"^gather must be None beside a backend"):
        connect_async(AsyncRecordingBackend(), gather=True)


@both
@pytest.mark.parametrize("target", ["memory://x", "redis://host", None])
def test_gathering_is_the_default_in_asyncio_and_an_option_for_threads(
    make: Any, module: Any, kind: Any, target: str | None
) -> None:
    assert make(target).gathers is (module is redis_asyncio)
    assert make(target, gather=True).gathers is True
    assert make(target, gather=False).gathers is False
    assert make(module.Redis(), gather=True).gathers is True
    assert make(module.ConnectionPool(), gather=False).gathers is False


@both
@pytest.mark.parametrize("gather", [0, 1, "yes", []])
def test_gather_is_true_or_false(make: Any, module: Any, kind: Any, gather: object) -> None:
    with pytest.raises(TypeError, match=r"^gather must be True, False or None, not (int|str|list)$"):
        make("memory://x", gather=gather)


@pytest.mark.parametrize(
    "target", [redis_asyncio.Redis(), redis_asyncio.ConnectionPool(), AsyncRecordingBackend(), connect_async(fresh())]
)
def test_the_other_world_in_sync_code(target: object) -> None:
    with pytest.raises(
        TypeError, match=r"^redis is made for asyncio \(use pyrq.aio\); pyrq takes a redis-py sync client"
    ):
        connect(target)


@pytest.mark.parametrize("target", [redis.Redis(), redis.ConnectionPool(), RecordingBackend(), connect(fresh())])
def test_the_other_world_in_asyncio(target: object) -> None:
    with pytest.raises(
        TypeError, match=r"^redis is made for sync code \(use pyrq\); pyrq.aio takes a redis-py asyncio"
    ):
        connect_async(target)


@both
def test_clusters_are_not_supported_yet(make: Any, module: Any, kind: Any) -> None:
    class Cluster(module.RedisCluster):  # type: ignore[misc]  # the module is one of two
        def __init__(self) -> None:
            """Connects to nothing."""

        def __del__(self) -> None:
            """Has nothing to close."""

    with pytest.raises(TypeError, match=r"^redis must not be a cluster client: clusters are not supported yet$"):
        make(Cluster())


@both
@pytest.mark.parametrize("target", [5, b"redis://h", object(), ["redis://h"], redis.Redis, True])
def test_what_is_none_of_these(make: Any, module: Any, kind: Any, target: object) -> None:
    with pytest.raises(
        TypeError, match=rf"^redis must be a redis-py \w+ client .* or None, not {type(target).__name__}$"
    ):
        make(target)


@both
@pytest.mark.parametrize("target", [None, "redis://h", "memory://x", 5])
def test_the_deadline_is_checked_first(make: Any, module: Any, kind: Any, target: object) -> None:
    with pytest.raises(ValueError, match=r"^retry must be seconds, from 0 to 3600, not -1$"):
        make(target, retry=-1)
    with pytest.raises(TypeError, match=r"^retry must be seconds"):
        make(target, retry="1")
