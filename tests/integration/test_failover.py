"""Failovers one at a time, at a known moment. The campaign has them under load: its rows `replicas` and `sentinel`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import pytest

from pyrq import NotEnoughSyncedSlavesError, Replicas
from pyrq.errors import OutcomeUnknown
from tests.faults.promotions import Place
from tests.faults.relay import Relay, relaying
from tests.servers import Server, World, wait_until


@dataclass
class Failover:
    """A primary, its replica, and a relay that leads clients to the primary, as a name in DNS does."""

    old: Place
    new: Place
    front: Relay

    def promote(self) -> None:
        """Makes the replica, as it is, the primary, and the other one its replica; connections of clients stay."""
        self.new.lead()
        self.front.upstream = self.new.server.port
        self.old.replication.cut()
        self.old.replication.speak()
        self.old.follow(self.new)


@pytest.fixture
def failover(start_server: Callable[..., Server]) -> Iterator[Failover]:
    old, new = start_server(tcp=True), start_server(tcp=True)
    with relaying(old.port) as from_old, relaying(new.port) as from_new, relaying(old.port) as front:
        found = Failover(Place(old, from_old), Place(new, from_new), front)
        found.new.follow(found.old)
        yield found


def waiting(server: Server, name: str) -> list[bytes]:
    """Gives what waits, the oldest first."""
    with server.client() as client:
        items: list[bytes] = client.lrange(name, 0, -1)
    return items[::-1]


def test_a_plain_client_leaves_a_primary_that_became_a_replica(failover: Failover, world: World) -> None:
    queue = world.queue("orders", failover.front.url)
    assert queue.add_item("before") is True
    wait_until(lambda: waiting(failover.new.server, "orders") == [b"before"])
    failover.promote()
    assert queue.add_item("after") is True
    assert waiting(failover.new.server, "orders") == [b"before", b"after"]


def test_a_waiting_get_leaves_a_primary_that_became_a_replica(failover: Failover, world: World) -> None:
    queue = world.queue("orders", failover.front.url)
    with ThreadPoolExecutor(1) as threads, failover.old.server.client() as client:
        got = threads.submit(queue.get_items, 1, 30)
        wait_until(lambda: client.info("clients")["blocked_clients"] == 1)
        failover.promote()
        with failover.new.server.client() as new:
            new.lpush("orders", "x")
        assert got.result(30) == ["x"]
    assert queue.ack_item("x") is True


def test_a_durable_client_leaves_a_replica_that_it_met_first(failover: Failover, world: World) -> None:
    failover.front.upstream = failover.new.server.port
    queue = world.queue("orders", failover.front.url, durability=Replicas(1, 1000))
    with ThreadPoolExecutor(1) as threads, failover.new.server.client() as replica:
        added = threads.submit(queue.add_item, "x")
        wait_until(lambda: replica.info("errorstats"))
        failover.front.upstream = failover.old.server.port
        assert added.result(30) is True
    assert waiting(failover.old.server, "orders") == [b"x"]


def short(add: Callable[[], object]) -> NotEnoughSyncedSlavesError:
    with pytest.raises(NotEnoughSyncedSlavesError) as caught:
        add()
    return caught.value


def test_confirm_asks_the_promoted_server(failover: Failover, world: World) -> None:
    queue = world.queue("orders", failover.front.url, durability=Replicas(1, 50))
    queue.get_count()
    failover.old.replication.silence()
    arrived = short(partial(queue.add_item, "arrives late"))
    failover.old.replication.speak()
    wait_until(lambda: waiting(failover.new.server, "orders") == [b"arrives late"])
    failover.old.replication.silence()
    lost = short(partial(queue.add_item, "never arrives"))
    failover.promote()
    with pytest.raises(OutcomeUnknown):
        world.confirm(lost)
    wait_until(lambda: is_confirmed(world, arrived))
    for place in (failover.new, failover.old):
        assert waiting(place.server, "orders") == [b"arrives late"]


def is_confirmed(world: World, error: NotEnoughSyncedSlavesError) -> bool:
    try:
        world.confirm(error)
    except NotEnoughSyncedSlavesError:
        return False
    return True


def test_what_is_held_stays_held(failover: Failover, world: World) -> None:
    queue = world.queue("orders", failover.front.url)
    queue.add_items(["a", "b", "c"])
    held = queue.get_items(2)
    with failover.new.server.client() as replica:
        wait_until(lambda: replica.llen(queue.processing_queue_name) == 2)
    failover.promote()
    assert queue.ack_items(held) == 2
    assert queue.get_items(5) == ["c"]


def test_a_batch_whose_get_was_lost_comes_again(failover: Failover, world: World) -> None:
    """The consumer has it in hand, and the promoted server never heard of that: its ack says so."""
    queue = world.queue("orders", failover.front.url)
    queue.add_items(["a", "b"])
    wait_until(lambda: len(waiting(failover.new.server, "orders")) == 2)
    failover.old.replication.silence()
    assert queue.get_items(1) == ["a"]
    failover.promote()
    assert queue.ack_item("a") is False
    assert queue.get_items(5) == ["a", "b"]
    assert queue.ack_items(["a", "b"]) == 2
