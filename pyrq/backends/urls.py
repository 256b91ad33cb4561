"""From a URL to a redis-py pool. No error quotes a URL: it may hold a password."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis import asyncio as redis_asyncio
from redis import connection, sentinel
from redis.asyncio import sentinel as sentinel_asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

__all__ = [
    "LOCAL",
    "SCHEMES",
    "appendfsync_of",
    "default_url",
    "make_pool",
    "make_pool_async",
    "scheme_of",
    "target_of",
]

SCHEMES = ("redis", "rediss", "unix", "valkey", "valkeys", "redis+sentinel", "embedded", "memory")
LOCAL = "redis://localhost:6379/0"
_PLAIN = {"valkey": "redis", "valkeys": "rediss"}
_SOCKET_TIMEOUT = 5.0
_SENTINEL_PORT = 26379
_OBJECTS = {
    *("event_dispatcher", "credential_provider", "redis_connect_func", "parser_class", "command_packer", "retry"),
    *("connection_class", "queue_class", "cache", "cache_config", "cache_factory", "maint_notifications_config"),
}
"""Options that take an object. redis-py takes them from a URL as well, as texts, and fails with that later."""
_SENTINEL_ARGS = ("sentinel_username", "sentinel_password")


def default_url() -> str:
    """Gives the URL for callers that name none: PYRQ_URL, else the local server."""
    return os.environ.get("PYRQ_URL") or LOCAL


def scheme_of(url: str) -> str:
    """Gives a URL's scheme.

    Raises:
        ValueError: it is none of SCHEMES.
    """
    scheme, found, _ = url.partition("://")
    if not found or scheme not in SCHEMES:
        raise ValueError(f"url must begin with one of {', '.join(f'{known}://' for known in SCHEMES)}")
    return scheme


def target_of(url: str) -> str:
    """Gives what follows the scheme: an embedded server's directory, or a fake one's name."""
    return unquote(url.partition("://")[2].partition("?")[0])


def appendfsync_of(url: str) -> str:
    """Gives when an embedded server forces data to the disk: the URL's option `appendfsync`, by default always.

    Raises:
        ValueError: the URL has another option.
    """
    options = dict(parse_qsl(url.partition("?")[2], keep_blank_values=True))
    appendfsync = options.pop("appendfsync", "always")
    if options:
        raise ValueError("url: an embedded:// URL may have one option: appendfsync=always or appendfsync=everysec")
    return appendfsync


def make_pool(url: str) -> Any:
    """Makes a redis-py pool for a URL; its connections do not retry by themselves.

    Raises:
        ValueError: the URL is wrong somewhere.
    """
    options = {"socket_timeout": _SOCKET_TIMEOUT, "socket_connect_timeout": _SOCKET_TIMEOUT}
    once: dict[str, Any] = {**options, "retry": Retry(NoBackoff(), 0)}
    return _checked(url, lambda: _make(url, connection.ConnectionPool.from_url, sentinel.Sentinel, once))


def make_pool_async(url: str) -> Any:
    """Makes a redis-py asyncio pool for a URL; its connections do not retry by themselves.

    Raises:
        ValueError: the URL is wrong somewhere.
    """
    options = {"socket_timeout": _SOCKET_TIMEOUT, "socket_connect_timeout": _SOCKET_TIMEOUT}
    once: dict[str, Any] = {**options, "retry": AsyncRetry(NoBackoff(), 0)}
    from_url = redis_asyncio.ConnectionPool.from_url
    return _checked(url, lambda: _make(url, from_url, sentinel_asyncio.Sentinel, once))


def _checked(url: str, make: Callable[[], Any]) -> Any:
    """Makes a pool, and a connection of it only to see that every option is known."""
    if objects := _OBJECTS.intersection(dict(parse_qsl(url.partition("?")[2], keep_blank_values=True))):
        names = ", ".join(sorted(objects))
        raise ValueError(f"url: the {scheme_of(url)}:// URL has an option that takes an object: {names}")
    try:
        pool = make()
        pool.connection_class(**pool.connection_kwargs)
    except Exception:  # noqa: BLE001 - redis-py checks its options with whatever comes to hand
        # The text of these may hold a part of the password.
        raise ValueError(f"url: the {scheme_of(url)}:// URL has a wrong host, port, path or option") from None
    return pool


def _make(url: str, from_url: Callable[..., Any], make_sentinel: Callable[..., Any], options: dict[str, Any]) -> Any:
    scheme = scheme_of(url)
    if scheme != "redis+sentinel":
        rest = url.partition("://")[2]
        return from_url(f"{_PLAIN.get(scheme, scheme)}://{rest}", **options)
    split = urlsplit(url)
    hosts, service, more = _sentinel_parts(split)
    logins = {name.removeprefix("sentinel_"): more.pop(name) for name in _SENTINEL_ARGS if name in more}
    watch = make_sentinel(hosts, sentinel_kwargs={**options, **logins}, **{**options, **more})
    return watch.master_for(service).connection_pool


def _sentinel_parts(split: SplitResult) -> tuple[list[tuple[str, int]], str, dict[str, Any]]:
    """Reads `redis+sentinel://[user:password@]host[:port][,host[:port]…]/service[/db][?options]`."""
    login, _, hosts = split.netloc.rpartition("@")
    service, _, db = split.path.strip("/").partition("/")
    if not service or not hosts:
        raise ValueError("hosts and service")
    places = [place.rpartition(":") for place in hosts.split(",")]
    pairs = [(host or port, int(port) if host else _SENTINEL_PORT) for host, _, port in places]
    parsers: dict[str, Any] = dict(connection.URL_QUERY_ARGUMENT_PARSERS)
    options: dict[str, Any] = {
        name: parsers.get(name, str)(value) for name, value in parse_qsl(split.query, strict_parsing=bool(split.query))
    }
    user, _, password = login.partition(":")
    options.update({name: unquote(value) for name, value in (("username", user), ("password", password)) if value})
    if db:
        options["db"] = int(db)
    return pairs, service, options
