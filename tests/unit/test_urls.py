from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis import asyncio as redis_asyncio
from redis import sentinel
from redis.asyncio import sentinel as sentinel_asyncio

from pyrq.backends import urls

both = pytest.mark.parametrize(
    ("make", "module"), [(urls.make_pool, redis), (urls.make_pool_async, redis_asyncio)], ids=["sync", "aio"]
)
Make = Callable[[str], Any]


def some(pool: Any, *names: str) -> dict[str, Any]:
    return {name: pool.connection_kwargs.get(name) for name in names}


@pytest.mark.parametrize(("value", "expected"), [(None, "redis://localhost:6379/0"), ("", "redis://localhost:6379/0")])
def test_the_default(monkeypatch: pytest.MonkeyPatch, value: str | None, expected: str) -> None:
    monkeypatch.delenv("PYRQ_URL", raising=False)
    if value is not None:
        monkeypatch.setenv("PYRQ_URL", value)
    assert urls.default_url() == expected


def test_the_environment_names_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRQ_URL", "memory://x")
    assert urls.default_url() == "memory://x"


@pytest.mark.parametrize("scheme", urls.SCHEMES)
def test_every_scheme(scheme: str) -> None:
    assert urls.scheme_of(f"{scheme}://somewhere") == scheme


@pytest.mark.parametrize("url", ["", "localhost", "http://h", "redis:/h", "redis", "REDIS://h", "secret://secret"])
def test_no_scheme(url: str) -> None:
    with pytest.raises(
        ValueError, match=r"^url must begin with one of redis://, rediss://, unix://, valkey://"
    ) as caught:
        urls.scheme_of(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("memory://x", "x"),
        ("memory://", ""),
        ("embedded:///var/lib/a", "/var/lib/a"),
        ("embedded://relative/dir", "relative/dir"),
        ("embedded:///with%20space?x=1", "/with space"),
    ],
)
def test_targets(url: str, target: str) -> None:
    assert urls.target_of(url) == target


@both
@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_a_server(make: Make, module: Any, scheme: str) -> None:
    pool = make(f"{scheme}://me:p%40ss@example:7000/3")
    assert isinstance(pool, module.ConnectionPool)
    assert issubclass(pool.connection_class, module.connection.Connection)
    assert some(pool, "host", "port", "db", "username", "password") == {
        "host": "example",
        "port": 7000,
        "db": 3,
        "username": "me",
        "password": "p@ss",
    }


@both
@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_a_server_behind_tls(make: Make, module: Any, scheme: str) -> None:
    pool = make(f"{scheme}://example?ssl_ca_certs=/ca.pem")
    assert issubclass(pool.connection_class, module.connection.SSLConnection)
    assert some(pool, "ssl_ca_certs", "ssl_cert_reqs") == {"ssl_ca_certs": "/ca.pem", "ssl_cert_reqs": None}


@both
def test_a_socket_file(make: Make, module: Any) -> None:
    pool = make("unix:///run/my%20redis.sock?db=2")
    assert issubclass(pool.connection_class, module.connection.UnixDomainSocketConnection)
    assert some(pool, "path", "db") == {"path": "/run/my redis.sock", "db": 2}


@both
def test_connections_do_not_retry_and_time_out(make: Make, module: Any) -> None:
    pool = make("redis://h")
    assert some(pool, "socket_timeout", "socket_connect_timeout") == {"socket_timeout": 5, "socket_connect_timeout": 5}
    assert pool.connection_kwargs["retry"]._retries == 0
    connection = pool.connection_class(**pool.connection_kwargs)
    assert connection.retry._retries == 0


@both
def test_an_option_of_the_url_wins(make: Make, module: Any) -> None:
    pool = make("redis://h?socket_timeout=2.5&max_connections=3")
    assert some(pool, "socket_timeout", "socket_connect_timeout") == {
        "socket_timeout": 2.5,
        "socket_connect_timeout": 5,
    }
    assert pool.max_connections == 3


@both
@pytest.mark.parametrize(
    "url",
    [
        "redis://me:secret@h:port/0",
        "redis://me:secret@h:99999999/0",
        "redis://me:secret@h/0?nope=1",
        "redis://me:secret@h/0?protocol=7",
        "redis://me:secret@h/0?socket_timeout=secret",
        "redis+sentinel://me:secret@h:secret/service",
        "redis+sentinel://me:secret@h:1",
        "redis+sentinel://me:secret@h:1/",
        "redis+sentinel://me:secret@/service",
        "redis+sentinel://me:secret@h/service/secret",
        "redis+sentinel://me:secret@h/service?nope=1",
        "redis+sentinel://me:secret@h/service?socket_timeout=secret",
        "redis+sentinel://me:secret@h/service?secret",
    ],
)
def test_a_wrong_url_is_not_quoted(make: Make, module: Any, url: str) -> None:
    scheme = url.partition(":")[0].replace("+", r"\+")
    with pytest.raises(
        ValueError, match=rf"^url: the {scheme}:// URL has a wrong host, port, path or option$"
    ) as caught:
        make(url)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


# Sentinel


def sentinels(pool: Any) -> list[dict[str, Any]]:
    return [client.connection_pool.connection_kwargs for client in pool.sentinel_manager.sentinels]


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (urls.make_pool, sentinel.SentinelConnectionPool),
        (urls.make_pool_async, sentinel_asyncio.SentinelConnectionPool),
    ],
)
def test_a_sentinel(make: Make, kind: type[Any]) -> None:
    pool = make(
        "redis+sentinel://me:p%40ss@one:7000,two/orders/3"
        "?socket_timeout=2&sentinel_username=watch&sentinel_password=dog%40"
    )
    assert isinstance(pool, kind)
    assert pool.service_name == "orders"
    assert pool.is_master
    assert some(pool, "db", "username", "password", "socket_timeout") == {
        "db": 3,
        "username": "me",
        "password": "p@ss",
        "socket_timeout": 2,
    }
    asked = sentinels(pool)
    assert [(one["host"], one["port"]) for one in asked] == [("one", 7000), ("two", 26379)]
    assert {(one["username"], one["password"]) for one in asked} == {("watch", "dog@")}
    assert {one["socket_timeout"] for one in asked} == {5}


@both
def test_a_sentinel_in_short(make: Make, module: Any) -> None:
    pool = make("redis+sentinel://one/orders")
    assert some(pool, "username", "password") == {"username": None, "password": None}
    assert not pool.connection_kwargs.get("db")
    assert pool.connection_kwargs["retry"]._retries == 0
    assert sentinels(pool)[0]["port"] == 26379


@both
def test_a_password_alone(make: Make, module: Any) -> None:
    assert some(make("redis+sentinel://:pw@one/orders"), "username", "password") == {"username": None, "password": "pw"}


@both
@pytest.mark.parametrize("option", ["event_dispatcher", "credential_provider", "cache_config"])
def test_an_option_that_takes_an_object_is_named(make: Make, module: Any, option: str) -> None:
    with pytest.raises(ValueError, match=rf"^url: the redis:// URL has an option that takes an object: {option}$"):
        make(f"redis://me:secret@h/0?{option}=secret&protocol=2")
