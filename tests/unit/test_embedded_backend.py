from __future__ import annotations

from typing import Any, cast

import pytest
import redis
from redis import asyncio as redis_asyncio

from pyrq.backends.embedded import EmbeddedServer
from pyrq.backends.embedded_backend import (
    AsyncEmbeddedBackend,
    EmbeddedBackend,
    embedded_backend,
    embedded_backend_async,
)
from pyrq.core.errors import ServerBusyError, ServerGoneError
from pyrq.core.retry import NoAnswer, Unreached
from pyrq.core.wire import NeedsSource, TryLater

HELPED = [Unreached(ServerGoneError()), NoAnswer(ServerGoneError())]
NOT_HELPED = [TryLater(ServerBusyError()), NeedsSource()]


class Server:
    """A hold on a server that is not there."""

    def __init__(self, directory: str = "/data", *, appendfsync: str = "always") -> None:
        assert appendfsync == "always"
        self.directory = directory
        self.socket = f"{directory}/my server?.sock"
        self.happened: list[str] = []

    def ensure(self) -> None:
        self.happened.append("ensure")

    def close(self) -> None:
        self.happened.append("close")


def hold(server: Server) -> EmbeddedServer:
    return cast("EmbeddedServer", server)


def test_it_speaks_on_the_servers_own_socket() -> None:
    for backend in (EmbeddedBackend(hold(Server()), 7), AsyncEmbeddedBackend(hold(Server()), 7)):
        assert backend._pool.connection_kwargs["path"] == "/data/my server?.sock"
        assert (backend.deadline, backend.reply_timeout) == (7, 5)


@pytest.mark.parametrize("failure", HELPED)
async def test_a_server_that_can_not_be_reached_is_started_again(failure: Exception) -> None:
    server = Server()
    EmbeddedBackend(hold(server), 7)._revive(failure)
    await AsyncEmbeddedBackend(hold(server), 7)._revive(failure)
    assert server.happened == ["ensure", "ensure"]


@pytest.mark.parametrize("failure", NOT_HELPED)
async def test_a_server_that_answered_is_left_alone(failure: Exception) -> None:
    server = Server()
    EmbeddedBackend(hold(server), 7)._revive(failure)
    await AsyncEmbeddedBackend(hold(server), 7)._revive(failure)
    assert server.happened == []


async def test_close_lets_go_after_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()

    async def disconnect(self: object) -> None:
        server.happened.append("disconnect")

    monkeypatch.setattr(redis.ConnectionPool, "disconnect", lambda self: server.happened.append("disconnect"))
    monkeypatch.setattr(redis_asyncio.ConnectionPool, "disconnect", disconnect)
    EmbeddedBackend(hold(server), 7).close()
    await AsyncEmbeddedBackend(hold(server), 7).close()
    assert server.happened == ["disconnect", "close"] * 2


def test_the_directory_of_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmbeddedServer, "open", staticmethod(Server))
    for backend in (embedded_backend("/var/x", "always", 3), embedded_backend_async("/var/x", "always", 3)):
        assert cast("Any", backend._server).directory == "/var/x"
        assert backend.deadline == 3


def test_no_directory() -> None:
    for make in (embedded_backend, embedded_backend_async):
        with pytest.raises(
            ValueError, match=r"^url: embedded:// must name a directory, as in embedded:///var/lib/orders$"
        ):
            make("", "always", 3)
