"""Reads the facts that `pyrq doctor` judges.

Changes nothing on the server. What may be written is found out by a script that is not allowed to write.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import redis
from redis.exceptions import ResponseError

from pyrq.backends import _redis, urls
from pyrq.backends.embedded import EmbeddedServer
from pyrq.backends.redis_sync import RedisBackend
from pyrq.cli.facts import Asked, Facts, QueueFacts, Rights, Way
from pyrq.core import ops, pool_ops
from pyrq.core.call import Call
from pyrq.core.errors import EmbeddedServerError, RqError, ServerGoneError
from pyrq.core.keys import Keys, Kind
from pyrq.core.retry import Unreached
from pyrq.core.wire import TryLater

__all__ = ["examine", "way_of"]

_CONSUMER = "doctor"
_KEYS = re.compile(r"access .*\bkeys?\b")
_LOGIN = ("username", "password", "credential_provider")
_NO_WRITES = b"#!lua flags=no-writes\n"
"""Before a probe: the server looks at the rights of each command first, and then does not write (Redis 7, Valkey)."""
_IS_AFTERMATH, _MAY_NOT_WRITE = b"'no such key'", b"'read-only script'"
"""A probe passes over what fails as an aftermath of the writes before; here, it is that there are none."""
_NO_WRITES_SINCE = {"redis": (7, 0), "valkey": (7, 2)}


def examine(url: str, queue: str | None, asked: Asked) -> Facts:
    """Finds out about a server.

    Args:
        url: where it is; not `memory://`.
        queue: the name of a queue to look at too, checked, or None.
        asked: what is asked of the server, where that needs rights.

    Returns:
        The facts.

    Raises:
        ValueError: the URL is wrong somewhere.
        RqError: the server can't be reached, or lets nobody in with this login.
    """
    with _pool(url) as pool:
        server = _Server(pool)
        server.greet()
        facts = replace(_told(server), way=way_of(url), door_open=_is_open(pool))
        facts = _configured(server, facts)
        if facts.mode != "sentinel":
            kind = _kind_of(server, queue)
            facts = replace(facts, rights=_rights(server, facts, queue, kind, asked))
            facts = replace(facts, queue=_look(server, queue, kind) if queue else None)
    if url.startswith("embedded:") and urls.appendfsync_of(url) == "always":
        facts = replace(facts, appendfsync="always")  # as it will be once somebody opens this URL
    return facts


@contextlib.contextmanager
def _pool(url: str) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:
        if url.startswith("embedded:"):
            directory = Path(urls.target_of(url))
            urls.appendfsync_of(url)
            if not directory.is_dir():
                raise EmbeddedServerError(f"There is nothing in {directory} yet: it is made by who uses it first.")
            # With always, it would change what the others of a running server have.
            server = stack.enter_context(EmbeddedServer.open(directory, appendfsync="everysec"))
            url = f"unix://{quote(server.socket)}"
        pool = urls.make_pool(url)
        stack.callback(pool.disconnect)
        pool.connection_kwargs.update(decode_responses=True, encoding="utf-8", encoding_errors="replace")
        yield pool


class _Server:
    """Answers questions, or does not."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self._client: Any = redis.Redis(connection_pool=pool)

    def greet(self) -> None:
        """Sees that it answers.

        Raises:
            RqError: it refuses everything (there is no such database, say), or can't be reached.
        """
        replies = [self.try_out(word) for word in ("PING", "HELLO")]
        if all(isinstance(reply, ResponseError) and not _is_refusal(reply) for reply in replies):
            raise _error_of(_redis.refused(replies[0]))

    def ask(self, *words: str | bytes) -> Any:
        """Asks; None if that is refused.

        Raises:
            RqError: it can't be reached, or lets nobody in with this login.
        """
        reply = self.try_out(*words)
        return None if isinstance(reply, ResponseError) else reply

    def try_out(self, *words: str | bytes) -> Any:
        """Asks; gives what it says, a refusal too."""
        try:
            return self._client.execute_command(*words)
        except (*_redis.REFUSED, redis.AuthenticationError) as error:
            raise _error_of(_redis.refused(error)) from None
        except ResponseError as error:
            return error
        except (redis.RedisError, OSError) as error:
            gone = _error_of(_redis.unreached(error))
            raise gone from gone.__cause__

    def run(self, *calls: Call[Any]) -> list[Any] | None:
        """Runs calls that change nothing; None if that fails."""
        try:
            return RedisBackend(self.pool, 0.0).run(calls)
        except RqError:
            return None


def _error_of(failure: Exception) -> RqError:
    if isinstance(failure, Unreached | TryLater):
        return failure.error
    return failure if isinstance(failure, RqError) else ServerGoneError()


# What it tells of itself


def _told(server: _Server) -> Facts:
    hello = server.ask("HELLO") or {}
    if not isinstance(hello, dict):
        hello = dict(zip(hello[::2], hello[1::2], strict=False))
    info: dict[str, Any] = server.ask("INFO") or {}
    kind, version = _version(hello, info)
    return Facts(
        kind=kind,
        version=version,
        mode=hello.get("mode") or info.get("server_mode") or info.get("redis_mode"),
        role=hello.get("role") or info.get("role"),
        maxmemory=_whole(info.get("maxmemory")),
        used=_whole(info.get("used_memory")),
        policy=info.get("maxmemory_policy"),
        append_only=None if "aof_enabled" not in info else bool(info["aof_enabled"]),
        disk_fails=_disk_fails(info),
        replicas=_replicas(info),
    )


def _version(hello: dict[str, Any], info: dict[str, Any]) -> tuple[str, tuple[int, ...]]:
    """Gives who it is. Valkey's INFO has a `redis_version` as well, of the Redis that it is compatible with."""
    if "valkey_version" in info:
        kind, text = "valkey", info["valkey_version"]
    elif "redis_version" in info:
        kind, text = hello.get("server", "redis"), info["redis_version"]
    else:
        kind, text = hello.get("server", "server"), hello.get("version", "")
    return str(kind), tuple(int(part) for part in str(text).split(".")[:3] if part.isdigit())


def _whole(value: Any) -> int | None:
    text = str(value)
    return int(text) if text.isdigit() else None


def _disk_fails(info: dict[str, Any]) -> bool | None:
    told = [info[name] for name in ("aof_last_write_status", "rdb_last_bgsave_status") if name in info]
    return any(status != "ok" for status in told) if told else None


def _replicas(info: dict[str, Any]) -> int | None:
    if "connected_slaves" not in info:
        return None
    known = [info.get(f"slave{number}") for number in range(int(info["connected_slaves"]))]
    return len([each for each in known if not isinstance(each, dict) or each.get("state") == "online"])


def _configured(server: _Server, facts: Facts) -> Facts:
    names = ("appendfsync", "save", "timeout", "tcp-keepalive", "min-replicas-to-write", "maxmemory-policy")
    # One by one: before Redis 7 it takes no more.
    told = {name: (server.ask("CONFIG", "GET", name) or {}).get(name) for name in names}
    return replace(
        facts,
        appendfsync=told["appendfsync"],
        snapshots=told["save"],
        idle_timeout=_whole(told["timeout"]),
        keepalive=_whole(told["tcp-keepalive"]),
        min_replicas=_whole(told["min-replicas-to-write"]),
        policy=facts.policy or told["maxmemory-policy"],
        skew=_skew(server),
    )


def _skew(server: _Server) -> float | None:
    before = time.time()
    told = server.ask("TIME")
    return None if told is None else (before + time.time()) / 2 - int(told[0]) - int(told[1]) / 1e6


# The way to it


def way_of(url: str) -> Way:
    """Says how a URL leads to a server, without going there.

    Raises:
        ValueError: the URL is wrong somewhere.
    """
    scheme = urls.scheme_of(url)
    if scheme == "embedded":
        return Way(scheme, socket=True)
    pool = urls.make_pool(url)
    connection = pool.connection_class(**pool.connection_kwargs)
    encrypted = hasattr(connection, "cert_reqs")
    return Way(
        scheme=scheme,
        remote=scheme != "unix" and not all(map(_is_here, _hosts(url, connection))),
        socket=scheme == "unix",
        encrypted=encrypted,
        verified=not encrypted or bool(connection.cert_reqs),  # ssl.CERT_NONE is 0
        name_checked=not encrypted or bool(getattr(connection, "check_hostname", False)),
    )


def _hosts(url: str, connection: Any) -> list[str]:
    if not url.startswith("redis+sentinel:"):
        return [connection.host]
    places = urlsplit(url).netloc.rpartition("@")[2].split(",")
    return [place.rpartition(":")[0] or place for place in places]


def _is_here(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return False


def _is_open(pool: Any) -> bool | None:
    """Says whether a client without a login may do anything."""
    kwargs = {name: value for name, value in pool.connection_kwargs.items() if name not in _LOGIN}
    if not any(pool.connection_kwargs.get(name) for name in _LOGIN):
        return True
    if "connection_pool" in kwargs:
        return None  # a Sentinel leads there
    stranger = pool.connection_class(**kwargs)
    try:
        stranger.connect()
        stranger.send_command("PING")
        stranger.read_response()
    except (redis.AuthenticationError, ResponseError):
        return False
    except (redis.RedisError, OSError):
        return None
    else:
        return True
    finally:
        stranger.disconnect()


# What it allows


def _rights(server: _Server, facts: Facts, queue: str | None, kind: Kind | None, asked: Asked) -> Rights | None:
    if facts.version < _NO_WRITES_SINCE.get(facts.kind, (999,)):
        return None
    refused: set[str] = set()
    for each in (Kind.UNIQUE, Kind.POOL) if kind is None else (kind,):
        keys = Keys.of(queue or _CONSUMER, _CONSUMER, each)
        reply = _try_scripts(server, keys)
        if isinstance(reply, ResponseError):
            if _is_refusal(reply):
                return Rights(keys=True) if _KEYS.search(str(reply)) else Rights(("EVAL",))
            return None
        refused.update(reply)
        # There is no such side, so nothing is moved; but whether it may be is looked at first.
        move = ("BLMOVE", keys.queue, keys.landing, "NOWHERE", "LEFT", "1")
        refused.update(_refused(server, move if each is not Kind.POOL else ()))
    refused.update(_refused(server, ("EVALSHA", 40 * "0", "0")))
    refused.update(_refused(server, ("WAIT", "0", "1") if asked.replicas else ()))
    refused.update(_refused(server, ("WAITAOF", "0", "0", "1") if asked.fsync else ()))
    return Rights(tuple(sorted(refused)))


def _try_scripts(server: _Server, keys: Keys) -> Any:
    """Gives the commands of scripts that are refused, or why that can't be told."""
    probe = (pool_ops.probe if keys.kind is Kind.POOL else ops.probe)(keys)
    source = _NO_WRITES + probe.script.source.replace(_IS_AFTERMATH, _MAY_NOT_WRITE)
    return server.try_out("EVAL", source, str(len(probe.keys)), *probe.keys, *probe.args)


def _refused(server: _Server, words: tuple[str | bytes, ...]) -> list[str]:
    return [str(words[0])] if words and _is_refusal(server.try_out(*words)) else []


def _is_refusal(reply: Any) -> bool:
    return isinstance(reply, redis.exceptions.NoPermissionError)


# A queue


def _kind_of(server: _Server, queue: str | None) -> Kind | None:
    """Says what is under a name; a plain queue where nothing tells. None without a name."""
    if queue is None:
        return None
    if server.ask("TYPE", queue) == "zset":
        return Kind.POOL
    return Kind.UNIQUE if server.ask("TYPE", f"{queue}-unique") == "set" else Kind.PLAIN


def _look(server: _Server, name: str, kind: Kind | None) -> QueueFacts:
    keys = Keys.of(name, _CONSUMER, kind or Kind.PLAIN)
    if kind is Kind.POOL:
        size, due = server.run(pool_ops.count(keys), pool_ops.count_due(keys)) or (None, 0)
        return QueueFacts(name, True, due=due, size=size)
    stats, holders = server.run(ops.stats(keys), ops.in_flight(keys)) or (None, ())
    return QueueFacts(name, strange=_strange(server, keys), stats=stats, holders=tuple(holders))


def _strange(server: _Server, keys: Keys) -> tuple[tuple[str, str, str], ...] | None:
    wanted = {keys.queue: "list", keys.delayed: "zset", keys.dead: "list", keys.unique: "set"}
    hashes = (keys.timeouts, keys.consumers, keys.deliveries, keys.meta, keys.retry_count, keys.retry_timeout)
    wanted.update(dict.fromkeys(hashes, "hash"))
    found = {key: server.ask("TYPE", key) for key in wanted}
    if None in found.values():
        return None
    wrong = [key for key, kind in found.items() if kind not in ("none", wanted[key])]
    return tuple((key.decode("utf-8", "replace"), found[key], wanted[key]) for key in wrong)
