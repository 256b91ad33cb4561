"""From what a user has at hand to a backend."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar, cast

import redis
from redis import asyncio as redis_asyncio

from pyrq.backends import urls
from pyrq.backends.embedded_backend import embedded_backend, embedded_backend_async
from pyrq.backends.memory import memory_backend, memory_backend_async
from pyrq.backends.protocol import AsyncBackend, Backend
from pyrq.backends.redis_async import AsyncRedisBackend
from pyrq.backends.redis_sync import RedisBackend
from pyrq.core.options import check_deadline, check_gather

__all__ = ["connect", "connect_async"]

B = TypeVar("B", RedisBackend, AsyncRedisBackend)

_PARTS = ("run", "move", "wake", "close", "deadline", "reply_timeout", "doubts", "gathers")

_ACCEPTED = "a redis-py {kind} client or connection pool, a URL, a backend, or None"
_OTHER_WORLD = "redis is made for {other}; {this} takes " + _ACCEPTED
_CLUSTER = "redis must not be a cluster client: clusters are not supported yet"


def connect(target: object = None, *, retry: float | None = None, gather: bool | None = None) -> Backend:
    """Makes a backend of what there is.

    Args:
        target: a redis-py client (Sentinel-managed too), its connection pool, a URL (`redis:// rediss:// unix://
            valkey:// redis+sentinel:// embedded:///dir memory://name`), or a backend, which comes back as it is. None
            is the URL in the environment variable PYRQ_URL, else `redis://localhost:6379/0`.
        retry: for how many seconds a call is retried, 0 to 3,600; 30 by default.
        gather: whether concurrent calls go out together, in one pipeline; no by default.

    Returns:
        The backend. Nothing has been sent yet.

    Raises:
        TypeError: the target is none of these, or made for asyncio, or gather is not True, False or None.
        ValueError: a wrong URL or option, or `retry` or `gather` beside a backend, which has its own.
        MissingExtraError: the URL needs a part of py-rq that is not installed.
        EmbeddedServerError: the embedded server does not start.
    """
    deadline = check_deadline(retry)
    check_gather(gather)
    if target is None or isinstance(target, str):
        return _gathering(_from_url(urls.default_url() if target is None else target, deadline), gather)
    if isinstance(target, redis.Redis):
        return _gathering(RedisBackend(target.connection_pool, deadline), gather)
    if isinstance(target, redis.ConnectionPool):
        return _gathering(RedisBackend(target, deadline), gather)
    if isinstance(target, redis_asyncio.Redis | redis_asyncio.ConnectionPool) or _is_backend(target, asynchronous=True):
        raise TypeError(_OTHER_WORLD.format(other="asyncio (use pyrq.aio)", this="pyrq", kind="sync"))
    if isinstance(target, redis.RedisCluster):
        raise TypeError(_CLUSTER)
    if not _is_backend(target, asynchronous=False):
        raise TypeError(f"redis must be {_ACCEPTED.format(kind='sync')}, not {type(target).__name__}")
    _nothing_beside(retry, gather)
    return cast("Backend", target)


def connect_async(target: object = None, *, retry: float | None = None, gather: bool | None = None) -> AsyncBackend:
    """Makes an asyncio backend of what there is.

    Args:
        target: a redis-py asyncio client (Sentinel-managed too), its connection pool, a URL (`redis:// rediss:// unix://
            valkey:// redis+sentinel:// embedded:///dir memory://name`), or a backend, which comes back as it is. None
            is the URL in the environment variable PYRQ_URL, else `redis://localhost:6379/0`.
        retry: for how many seconds a call is retried, 0 to 3,600; 30 by default.
        gather: whether concurrent calls go out together, in one pipeline; yes by default.

    Returns:
        The backend. Nothing has been sent yet.

    Raises:
        TypeError: the target is none of these, or not made for asyncio, or gather is not True, False or None.
        ValueError: a wrong URL or option, or `retry` or `gather` beside a backend, which has its own.
        MissingExtraError: the URL needs a part of py-rq that is not installed.
        EmbeddedServerError: the embedded server does not start.
    """
    deadline = check_deadline(retry)
    check_gather(gather)
    if target is None or isinstance(target, str):
        return _gathering(_from_url_async(urls.default_url() if target is None else target, deadline), gather)
    if isinstance(target, redis_asyncio.Redis):
        return _gathering(AsyncRedisBackend(target.connection_pool, deadline), gather)
    if isinstance(target, redis_asyncio.ConnectionPool):
        return _gathering(AsyncRedisBackend(target, deadline), gather)
    if isinstance(target, redis.Redis | redis.ConnectionPool) or _is_backend(target, asynchronous=False):
        raise TypeError(_OTHER_WORLD.format(other="sync code (use pyrq)", this="pyrq.aio", kind="asyncio"))
    if isinstance(target, redis_asyncio.RedisCluster):
        raise TypeError(_CLUSTER)
    if not _is_backend(target, asynchronous=True):
        raise TypeError(f"redis must be {_ACCEPTED.format(kind='asyncio')}, not {type(target).__name__}")
    _nothing_beside(retry, gather)
    return cast("AsyncBackend", target)


def _from_url(url: str, deadline: float) -> RedisBackend:
    match urls.scheme_of(url):
        case "memory":
            return memory_backend(urls.target_of(url), deadline)
        case "embedded":
            return embedded_backend(urls.target_of(url), urls.appendfsync_of(url), deadline)
        case _:
            pool = urls.make_pool(url)
            return RedisBackend(pool, deadline, pool.disconnect)


def _from_url_async(url: str, deadline: float) -> AsyncRedisBackend:
    match urls.scheme_of(url):
        case "memory":
            return memory_backend_async(urls.target_of(url), deadline)
        case "embedded":
            return embedded_backend_async(urls.target_of(url), urls.appendfsync_of(url), deadline)
        case _:
            pool = urls.make_pool_async(url)
            return AsyncRedisBackend(pool, deadline, pool.disconnect)


def _is_backend(target: Any, *, asynchronous: bool) -> bool:
    return all(hasattr(target, name) for name in _PARTS) and inspect.iscoroutinefunction(target.run) is asynchronous


def _gathering(backend: B, gather: bool | None) -> B:
    if gather is not None:
        backend.gathers = gather
    return backend


def _nothing_beside(retry: float | None, gather: bool | None) -> None:
    if retry is not None:
        raise ValueError("retry must be None beside a backend, which has its own deadline")
    if gather is not None:
        raise ValueError("gather must be None beside a backend, which has its own way")
