"""What no other test sees go wrong on a real server: each was written for a deliberate defect of `make mutants`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyrq import errors
from tests.proxy import Proxy
from tests.servers import Driven, Server, World

PASSWORD = "open-sesame-77"


def test_a_redrive_that_is_refused_half_way_loses_nothing(world: World, url: str, client: Any) -> None:
    client.execute_command("ACL", "SETUSER", "worker", "reset", "on", f">{PASSWORD}", "~*", "+@all")
    login = {"username": "worker", "password": PASSWORD}
    queue = world.queue("orders", world.client(url, **login), max_deliveries=1)
    queue.add_items(["a", "b"])
    assert queue.reject_items(queue.get_items(2)) == 2
    letters = Driven(world, queue.dead) if world.is_aio else queue.dead
    client.execute_command("ACL", "SETUSER", "worker", "-lpush")
    with pytest.raises(errors.PermissionDeniedError):
        letters.redrive()
    client.execute_command("ACL", "SETUSER", "worker", "+lpush")
    assert letters.redrive() == 2
    assert queue.get_items(9) == ["a", "b"]


def test_a_demoted_primary_is_left_for_the_new_one(
    world: World, proxy: Proxy, server: Server, start_server: Callable[..., Server]
) -> None:
    """Its connections stay open. Only a new one leads to where the name, or the proxy, leads now."""
    other = start_server(tcp=True)
    queue = world.queue("orders", proxy.url, retry=4)
    queue.add_item("a")
    proxy.upstream = other.path
    with server.client() as client:
        client.replicaof("127.0.0.1", str(other.port))
        try:
            queue.add_item("b")
        finally:
            client.replicaof("NO", "ONE")
    with other.client() as client:
        assert client.lrange("orders", 0, -1) == [b"b"]
