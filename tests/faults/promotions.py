"""Replication is cut, the replica promoted, and its clients led there: what was confirmed is there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from pyrq import Replicas
from tests.faults.adding import Producer, answers, confirmed, drain, settle, short, wait_for_more
from tests.faults.campaign import Trial
from tests.faults.ledger import Account
from tests.faults.relay import Relay, relaying
from tests.faults.watch import catch_up
from tests.servers import Binary, Server, World, running

__all__ = ["Place", "promote_often"]

_SHORTLY = Replicas(1, 30)
_FEW = 8
"""So many calls a producer makes in each phase."""
_WAYS = ("cut", "early", "demoted")


class Place:
    """A server, and a relay through which the other one replicates from it."""

    def __init__(self, server: Server, replication: Relay) -> None:
        self.server = server
        self.replication = replication

    def follow(self, other: Place) -> None:
        """Becomes a replica of another one, which has it all then."""
        with self.server.client() as client:
            client.replicaof("127.0.0.1", str(other.replication.port))
        catch_up(other.server)

    def lead(self) -> None:
        """Becomes a primary."""
        with self.server.client() as client:
            client.replicaof("NO", "ONE")


def promote_often(trial: Trial, binary: Binary, many: int) -> None:
    """Promotes one of two servers and then the other, so many times, in each of the ways in turn."""
    control, first = 0, trial.rng(binary.name).randrange(len(_WAYS))
    with contextlib.ExitStack() as opened:
        servers = [opened.enter_context(running(binary, "--hz", "200", tcp=True)) for _ in range(2)]
        old, new = (Place(server, opened.enter_context(relaying(server.port))) for server in servers)
        front = opened.enter_context(relaying(old.server.port))
        new.follow(old)
        for number in range(many):
            way = _WAYS[(first + number) % len(_WAYS)]
            control += _promotion(trial, f"{binary.name}-{number}", way, front, old, new)
            old, new = new, old
    trial.count("promotions", many)
    trial.count("control_lost", control)
    trial.expect(control or not many, "the control, which asks for no confirmation, lost nothing")


def _promotion(trial: Trial, name: str, way: str, front: Relay, old: Place, new: Place) -> int:
    """Promotes a server under load; gives how many answered items the control lost."""
    with _producers(trial, name, front) as producers:
        *durable, control = producers
        for again in (True, False):
            wait_for_more(durable, confirmed, _FEW)
            old.replication.silence()
            wait_for_more(durable, short, _FEW)
            if again:  # what was short before is on the replica in the end
                old.replication.speak()
        wait_for_more([control], confirmed, _FEW)
        _lead_over(way, front, old, new)
        wait_for_more(producers, answers, _FEW)
        for producer in producers:
            producer.stop()
        front.cut()
        old.replication.cut()
        old.replication.speak()
        old.follow(new)
        return _balance(trial, name, producers, new.server)


def _lead_over(way: str, front: Relay, old: Place, new: Place) -> None:
    """Promotes a server that hears nothing any more, and leads the clients there.

    Their connections are broken before it is a primary, or after; or they stay, and the old one is demoted.
    """
    if way == "early":  # they are there before it is a primary
        front.upstream = new.server.port
        front.cut()
        new.lead()
        return
    new.lead()
    front.upstream = new.server.port
    if way == "cut":
        front.cut()
    else:
        old.follow(new)


@contextlib.contextmanager
def _producers(trial: Trial, name: str, front: Relay) -> Iterator[list[Producer]]:
    """Two producers of each world that ask for confirmation, and at last one that does not."""
    producers: list[Producer] = []
    with contextlib.ExitStack() as opened:
        for number in range(4):
            world = World("aio" if number % 2 else "sync")
            opened.callback(world.close)
            queue = world.queue(name, front.url, durability=_SHORTLY)
            producers.append(Producer(trial, world, queue, f"{name} {number}"))
        world = World("sync")
        opened.callback(world.close)
        producers.append(Producer(trial, world, world.queue(f"{name}-control", front.url), f"{name} control"))
        try:
            yield producers
        finally:
            for producer in producers:
                producer.stop()


def _balance(trial: Trial, name: str, producers: list[Producer], primary: Server) -> int:
    """Draws the balance of what was to be confirmed; gives how many items of the control are lost."""
    account, control = Account(), producers[-1]
    with primary.client() as client:
        there = _items(client, name)
        for producer in producers[:-1]:
            late, lost = settle(trial, account, producer)
            trial.blame("failed", len(late - there), "confirm() came back for what the promoted server does not have")
            trial.blame("failed", len(lost & there), "confirm() does not know of what the promoted server has")
        control_lost = len(set(control.confirmed) - _items(client, f"{name}-control"))
        for producer in producers:
            producer.close()
        for key in list(client.scan_iter(f"{name}-control*")):
            client.delete(key)
        drain(trial, account, name, primary.url, client)
        client.flushall()
    return control_lost


def _items(client: Any, name: str) -> set[str]:
    return {item.decode() for item in client.lrange(name, 0, -1)}
