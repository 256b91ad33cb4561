"""A primary and a replica: replication is cut, the replica promoted, and the old primary made its replica."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass, field
from typing import ClassVar

from pyrq import Replicas
from tests.faults.relay import Relay
from tests.faults.watch import catch_up
from tests.servers import Binary, Server, wait_until
from tests.soak.arena import Arena, AtLeastOnce, Site, drain, options_for
from tests.soak.load import CONSUMERS, Answer, Consumer, Habits, Load

__all__ = ["Promotions"]

_HABITS = Habits(batch=100, copies=0.0, durability=Replicas(1, 50))
_WAYS = ("cut", "early", "demoted")
_ANSWERS = 4
_PATIENCE = 60.0
_PILE = 600


@dataclass
class _Pair(Site):
    """Two servers, of which the first is the primary.

    Attributes:
        replication: by a server's port, a relay through which the other one replicates from it.
        front: a relay through which clients speak to the primary.
    """

    replication: dict[int, Relay] = field(default_factory=dict)
    front: Relay = field(init=False)

    def follow(self, follower: Server, leader: Server) -> None:
        """Makes a server a replica of the other, and waits until it has it all."""
        with follower.client() as replica:
            replica.replicaof("127.0.0.1", str(self.replication[leader.port].port))
        catch_up(leader)

    def swap(self) -> None:
        """Notes that the second is the primary now."""
        self.servers.reverse()
        self.vitals.reverse()


class _Careless(Consumer):
    """Handles a batch as soon as it has it. It may come again, if a promotion loses the ack, or the get."""

    def step(self) -> None:
        if self.arena.resting.is_set():
            self.load.over.wait(0.02)
            return
        _, items = self.ask("get_items", self.load.habits.batch, self.rng.choice([None, 0.1]))
        if not items:
            self.load.over.wait(0.02)
            return
        self.arena.account.seen(items)
        self.arena.account.acked(items)
        self.ask("ack_items", items)


class Promotions(Arena):
    """Each change waits for the replica. What was confirmed is there after a promotion."""

    name = "promotions"
    per_hour: ClassVar = {"items": 500_000, "promotions": 300}
    kind_of_account = AtLeastOnce

    def open(self, binary: Binary, opened: contextlib.ExitStack) -> Site:
        pair = _Pair(binary, [])
        for _ in range(2):
            options = ("--hz", "100", "--repl-backlog-size", "64kb", *options_for(binary))
            server = Server(binary, *options, tcp=True)
            opened.callback(server.stop)
            pair.servers.append(server)
            pair.replication[server.port] = relay = Relay(server.port)
            opened.callback(relay.close)
        pair.front = Relay(pair.servers[0].port)
        opened.callback(pair.front.close)
        pair.follow(pair.servers[1], pair.servers[0])
        return pair

    def play(self, site: Site, name: str, rng: random.Random) -> None:
        assert isinstance(site, _Pair)
        load, promotions = Load(self, name, site.front.url, _HABITS, rng, _Careless), 0
        try:
            while self.goes_on():
                if self.behind("promotions"):
                    promotions += 1
                    self._promote(site, load, rng)
                    self.trial.count("promotions")
                else:
                    self.stopped.wait(0.05)
        finally:
            self.take_up()
            load.stop()
        drain(self.trial, self.account, name, site.servers[0])
        # A consumer handles no other batch as long as the ack of the last one is not confirmed.
        most = promotions * CONSUMERS * _HABITS.batch
        self.limit_repeats(most, f"{promotions} promotions can have given back")

    def _promote(self, pair: _Pair, load: Load, rng: random.Random) -> None:
        old, new = pair.servers
        replication = pair.replication[old.port]
        self.pile_up(_PILE, rng.randrange(_PILE))
        replication.silence()
        self._await_answer(load, "short")
        self.stopped.wait(rng.uniform(0, 0.2))
        self._lead_over(rng.choice(_WAYS), pair, old, new)
        pair.front.cut()
        replication.cut()
        replication.speak()
        pair.follow(old, new)
        pair.swap()
        if rng.random() < 0.7:
            self.take_up()

    def _await_answer(self, load: Load, answer: Answer) -> None:
        enough = load.answered[answer] + _ANSWERS
        wait_until(lambda: load.answered[answer] >= enough or self.stopped.is_set(), _PATIENCE)

    def _lead_over(self, way: str, pair: _Pair, old: Server, new: Server) -> None:
        """Promotes a server that hears nothing any more, and leads the clients there.

        Their connections are broken before it is a primary, or after; or they stay, and the old one is demoted.
        """
        if way == "early":
            pair.front.upstream = new.port
            pair.front.cut()
        with new.client() as client:
            client.replicaof("NO", "ONE")
        pair.front.upstream = new.port
        if way == "demoted":
            pair.follow(old, new)
