"""Both libraries at the same time, with nobody waiting for anybody: no item is lost, and none is made up.

What comes when is up to the machine, so the keys can't be compared with those of another fleet. The items can be
counted.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.conftest import SEED
from tests.interop.peers import Crew, Peer
from tests.servers import Server, wait_until

CALLS = 120


@dataclass
class Part:
    """Who plays along, in a thread of its own, and what came of it."""

    name: str
    peer: Peer
    rng: random.Random
    added: list[str] = field(default_factory=list)
    received: Counter[str] = field(default_factory=Counter)
    acked: Counter[str] = field(default_factory=Counter)
    lost: bool = False
    hand: list[str] = field(default_factory=list)
    failure: BaseException | None = None

    def play(self, calls: int) -> None:
        act = {"p": self._produce, "c": self._consume, "s": self._sweep}[self.name[0]]
        try:
            for number in range(calls):
                act(number)
        except BaseException as error:  # noqa: BLE001 - told by the test, unless it was killed
            self.failure = error

    def _call(self, method: str, *arguments: Any) -> Any:
        return self.peer.call(self.name, method, *arguments)

    def _produce(self, number: int) -> None:
        items = [f"{self.name} {number} {each}" for each in range(self.rng.randint(1, 15))]
        items += self.rng.sample(COMMON, self.rng.randint(0, 2))
        self._call("add_items", items)
        self.added += items

    def _consume(self, number: int) -> None:
        dice = self.rng.random()
        if dice < 0.5 or not self.hand:
            got = self._call("get_items", self.rng.randint(1, 20))
            self.received.update(got)
            self.hand += got
            return
        some, self.hand = self.hand[: len(self.hand) // 2 + 1], self.hand[len(self.hand) // 2 + 1 :]
        if dice < 0.9:
            self._call("ack_items", some)
            self.acked.update(some)
        else:
            self._call("reject_items", some)

    def _sweep(self, number: int) -> None:
        self._call("re_enqueue_all_items" if self.rng.random() < 0.3 else "re_enqueue_timeout_items")


COMMON = [f"common {number}" for number in range(5)]


@pytest.mark.parametrize("victim", ["nobody", "old", "new"])
@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
def test_together(
    crew: Crew, server: Server, text_client: Any, flavour: str, new_world: str, kind: str, victim: str
) -> None:
    def enter(name: str, actor: str) -> Part:
        peer = crew.peer(name, flavour if actor == "old" else "new")
        peer.make(name, kind, "orders", server, world=new_world if actor == "new" else "")
        return Part(name, peer, random.Random(f"{SEED} {kind} {name} {victim}"))

    parts = {f"{role} {actor}": enter(f"{role} {actor}", actor) for role in "pcs" for actor in ("old", "new")}
    threads = [threading.Thread(target=part.play, args=(CALLS,)) for part in parts.values()]
    for thread in threads:
        thread.start()
    if victim != "nobody":
        doomed = parts[f"c {victim}"]
        wait_until(lambda: doomed.received.total() > 100 or not all(map(threading.Thread.is_alive, threads)), 60)
        crew.kill(doomed.name, doomed.peer.flavour).gone_from(server)
    for thread in threads:
        thread.join(100)
    for part in parts.values():
        if part.name != f"c {victim}":
            assert part.failure is None, part.name
    added = Counter(item for part in parts.values() for item in part.added)
    received = sum((part.received for part in parts.values()), Counter[str]())

    # What is left is taken by both in turn.
    parts["s new"].peer.call("s new", "re_enqueue_all_items")
    survivors = [part for name, part in parts.items() if name[0] == "c" and name != f"c {victim}"]
    turn = 0
    while text_client.llen("orders"):
        part = survivors[turn % len(survivors)]
        got = part.peer.call(part.name, "get_items", 50)
        received.update(got)
        part.peer.call(part.name, "ack_items", got)
        turn += 1
    parts["s old"].peer.call("s old", "re_enqueue_all_items")  # takes away the stamps of who only asked

    assert received.keys() == added.keys(), "an item was lost, or made up"
    acked = sum((part.acked for part in parts.values()), Counter[str]())
    if kind == "Queue":
        short = {item: count for item, count in added.items() if received[item] < count}
        assert not short, f"delivered too few times: {short}"
    assert acked
    assert not list(text_client.scan_iter("orders-*")), "left behind"
    for part in [*survivors, *(part for name, part in parts.items() if name[0] != "c")]:
        part.peer.tell("forget", part.name)
    for key in text_client.scan_iter("orders*"):
        if key == "orders/consumers":
            assert victim == "new"
        else:
            assert text_client.ttl(key) > 0, key
