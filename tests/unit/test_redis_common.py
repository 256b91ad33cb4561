from __future__ import annotations

from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from redis import asyncio as redis_asyncio
from redis import exceptions

from pyrq.backends import _redis
from pyrq.core import errors
from pyrq.core.retry import NoAnswer, Unreached
from pyrq.core.wire import Refusal, TryLater
from tests.unit.helpers import error_reply

# Error replies


@pytest.mark.parametrize(
    "text",
    [
        "NOSCRIPT No matching script. Please use EVAL.",
        "READONLY You can't write against a read only replica.",
        "LOADING Redis is loading the dataset in memory",
        "NOPERM this user has no permissions to run the 'evalsha' command",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "WRONGPASS invalid username-password pair or user is disabled.",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "CLUSTERDOWN The cluster is down",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "MOVED 3999 127.0.0.1:6381",
        "ASK 3999 127.0.0.1:6381",
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "NOREPLICAS Not enough good replicas to write.",
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        "MISCONF Redis is configured to save RDB snapshots",
        "UNBLOCKED force unblock from blocking operation",
    ],
)
def test_a_reply_gets_back_the_code_that_redis_py_cut_off(text: str) -> None:
    refusal = _redis.refusal(error_reply(text))
    assert refusal.code == text.split()[0]
    assert refusal.text == text


@pytest.mark.parametrize(
    "text",
    ["NOAUTH Authentication required.", "ERR invalid password", "ERR wrong number of arguments for 'auth' command"],
)
def test_a_refused_login(text: str) -> None:
    refused = _redis.refused(error_reply(text))
    assert isinstance(refused, errors.AuthenticationError)


def test_a_reply_without_a_code() -> None:
    assert _redis.refusal(error_reply("ERR no such thing")).text == "no such thing"


# What closes a connection


def test_a_loading_server_is_tried_later() -> None:
    refused = _redis.refused(error_reply("LOADING Redis is loading the dataset in memory"))
    assert isinstance(refused, TryLater)
    assert isinstance(refused.error, errors.ServerBusyError)


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ConnectionError("refused"),
        exceptions.TimeoutError("slow"),
        getattr(exceptions, "MaxConnectionsError", exceptions.ConnectionError)("many"),
        exceptions.InvalidResponse("what"),
        OSError("down"),
        TimeoutError("slow"),
        error_reply("ERR max number of clients reached"),
    ],
)
def test_a_failed_connection_was_not_reached(error: Exception) -> None:
    assert isinstance(error, _redis.LOST)
    failure = _redis.unreached(error)
    assert isinstance(failure, Unreached)
    assert not isinstance(failure, NoAnswer)
    assert isinstance(failure.error, errors.ServerGoneError)
    assert failure.error.__cause__ is error


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("WRONGPASS invalid username-password pair or user is disabled.", errors.AuthenticationError),
        ("NOAUTH Authentication required.", errors.AuthenticationError),
        ("NOPERM this user has no permissions to run the 'select' command", errors.PermissionDeniedError),
        ("ERR DB index is out of range", errors.ServerRefusedError),
    ],
)
def test_a_connection_that_the_server_refused(text: str, kind: type[errors.RqError]) -> None:
    assert type(_redis.unreached(error_reply(text))) is kind


@pytest.mark.parametrize(
    "text",
    [
        "LOADING Redis is loading the dataset in memory",
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    ],
)
def test_a_connection_that_the_server_refuses_for_now(text: str) -> None:
    # SELECT, say, is not allowed while a script is running.
    failure = _redis.unreached(error_reply(text))
    assert isinstance(failure, TryLater)
    assert isinstance(failure.error, errors.ServerBusyError)


# Pools


@pytest.mark.parametrize("module", [redis, redis_asyncio])
@pytest.mark.parametrize("timeout", [None, 2, 0.5])
def test_the_socket_timeout_of_a_pool(module: Any, timeout: float | None) -> None:
    assert _redis.reply_timeout(module.ConnectionPool(socket_timeout=timeout)) == timeout
    assert _redis.reply_timeout(module.Redis(socket_timeout=timeout).connection_pool) == timeout


@pytest.mark.parametrize("module", [redis, redis_asyncio])
def test_the_socket_timeout_that_redis_py_has_by_default(module: Any) -> None:
    pool = module.ConnectionPool()
    assert _redis.reply_timeout(pool) == module.connection.Connection().socket_timeout
    assert pool.connection_kwargs.get("socket_timeout", "unchanged") in ("unchanged", _redis.reply_timeout(pool))


def test_building_a_connection_only_to_look_has_no_effect() -> None:
    seen: list[dict[str, Any]] = []

    class Connection:
        def __init__(self, **kwargs: Any) -> None:
            seen.append(kwargs)

    class Pool:
        connection_class = Connection

        def __init__(self) -> None:
            self.connection_kwargs = {
                "host": "h",
                "maint_notifications_config": 1,
                "event_dispatcher": 2,
                "oss_cluster_maint": 3,
            }

    assert _redis.reply_timeout(Pool()) is None
    assert seen == [{"host": "h"}]


@pytest.mark.parametrize(
    ("size", "expected"),
    [(1, 1), (50, 50), (2**31, None), (1_000_000, None), (0, None), (-1, None), (None, None), ("9", None)],
)
def test_the_size_of_a_pool(size: object, expected: int | None) -> None:
    class Pool:
        max_connections = size

    assert _redis.pool_size(Pool()) == expected


def test_the_size_of_real_pools() -> None:
    assert _redis.pool_size(redis.ConnectionPool(max_connections=3)) == 3
    assert _redis.pool_size(redis_asyncio.BlockingConnectionPool(max_connections=4)) == 4
    assert _redis.pool_size(object()) is None


def test_what_older_clients_want_to_be_told() -> None:
    assert (_redis.POOL_ARGS == ()) == (tuple(int(part) for part in redis.__version__.split(".")[:2]) >= (5, 3))


# Packing


@given(st.lists(st.lists(st.binary(), min_size=1).map(tuple), min_size=1))
def test_commands_are_packed_as_redis_py_packs_them(sent: list[tuple[bytes, ...]]) -> None:
    connection: Any = redis.ConnectionPool().make_connection()
    assert b"".join(_redis.packed(connection, sent)) == b"".join(as_resp(command) for command in sent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_redis, "_pack", None)
        # redis-py splits a command's name at spaces; the names of ours have none.
        plain = [(b"EVAL", *command) for command in sent]
        assert b"".join(_redis.packed(connection, plain)) == b"".join(as_resp(command) for command in plain)


def as_resp(command: tuple[bytes, ...]) -> bytes:
    """https://redis.io/docs/latest/develop/reference/protocol-spec/#sending-commands-to-a-redis-server"""
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in command)


class TestLostMoves:
    def test_one_counts_until_its_connection_is_closed(self) -> None:
        lost = _redis.LostMoves()
        assert lost.settled(0.0)
        lost.add(7, 0.0)
        lost.add(8, 0.0)
        assert (lost.known(9.0), lost.settled(9.0)) == ([7, 8], False)
        lost.settle(7)
        assert (lost.known(9.0), lost.settled(9.0)) == ([8], False)
        lost.settle(8)
        lost.settle(8)
        assert lost.settled(0.0)

    @pytest.mark.parametrize("unknown", [None, Refusal("NOPERM")])
    def test_one_of_an_unknown_connection_is_over_when_no_move_can_last_longer(self, unknown: object) -> None:
        lost = _redis.LostMoves()
        lost.add(unknown, 5.0)
        assert (lost.known(14.9), lost.settled(14.9)) == ([], False)
        assert lost.settled(15.0)

    def test_what_is_over_is_forgotten(self) -> None:
        lost = _redis.LostMoves()
        for number in range(1000):
            lost.add(number, number)
        assert len(lost._until) == 10

    def test_those_of_a_parent_are_not_the_childs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lost = _redis.LostMoves()
        lost.add(7, 0.0)
        monkeypatch.setattr("os.getpid", lambda: -1)
        assert (lost.known(0.0), lost.settled(0.0)) == ([], True)

    def test_a_server_that_does_not_answer_may_be_another_one(self) -> None:
        lost = _redis.LostMoves()
        lost.add(7, 0.0)
        lost.doubt()
        assert (lost.known(0.0), lost.settled(0.0)) == ([], False)
        assert lost.settled(10.0)
