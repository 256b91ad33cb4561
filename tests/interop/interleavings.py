"""Random interleavings: short stories of a mixed fleet, each told by its seed."""

from __future__ import annotations

import random
import time
from typing import Any

from tests.interop.lockstep import Lockstep, Tally

__all__ = ["tell"]

ODD = ["žluť\u00fd k\u016f\u0148", "", 7, "two\nlines", '{"a": 1}', " ", "a" * 300]

# How much time passes at once, in seconds; 3,600 is the timeout of a sweep, 600 and 3,600 are the leases of a pool. No
# sum of these comes near a whole number of them: what is due must not be up to which second it is.
AGES = [1_700, 10_000]
POOL_AGES = [470, 5_000, 200_000]


def tell(fleet: Lockstep, rng: random.Random, tally: Tally, *, killing: bool) -> None:
    """Runs one interleaving, drains the queue, and checks that every item was delivered and that nothing is left."""
    story = PoolStory(fleet, rng, tally) if fleet.kind == "Pool" else QueueStory(fleet, rng, tally)
    length = rng.randint(6, 16)
    kill_at = rng.randrange(2, length) if killing else -1
    for at in range(length):
        if at == kill_at:
            story.kill()
        else:
            story.step()
    story.drain()
    tally.leftovers += fleet.end()
    tally.runs += 1
    tally.plain_runs += not fleet.used.keys() - {"stamps have fractions"}
    tally.differences += fleet.used


class Story:
    """What both kinds of story have in common."""

    def __init__(self, fleet: Lockstep, rng: random.Random, tally: Tally) -> None:
        self.fleet, self.rng, self.tally = fleet, rng, tally
        self.weights: dict[str, int] = {}
        self.values: list[Any] = [*(f"item {number}" for number in range(8)), rng.choice(ODD)]

    def actor(self) -> str:
        return self.rng.choice(["old", "new"])

    def step(self) -> None:
        (kind,) = self.rng.choices(list(self.weights), list(self.weights.values()))
        actor = self.actor()
        getattr(self, kind)(actor)
        self.tally.steps[kind if kind == "time" else f"{actor} {kind}"] += 1

    def do(self, part: str, actor: str, method: str, *arguments: Any) -> Any:
        return self.fleet.do(part, actor, method, *arguments)

    def one_or_many(self, part: str, actor: str, method: str, items: list[Any]) -> None:
        """Calls `…_item` for a single one, now and then; else `…_items`."""
        if len(items) == 1 and self.rng.random() < 0.6:
            self.do(part, actor, f"{method}_item", items[0])
        else:
            self.do(part, actor, f"{method}_items", items)

    def from_hand(self, actor: str) -> list[Any]:
        """Chooses items that a consumer has in hand; now and then also one that it has not, or one twice."""
        hand = self.fleet.hands[actor]
        chosen = self.rng.sample(hand, self.rng.randint(0, len(hand)))
        if self.rng.random() < 0.4:
            chosen.sort(key=hand.index)
        if self.rng.random() < 0.25:
            chosen.insert(self.rng.randint(0, len(chosen)), self.rng.choice([*hand, *self.values, "never seen"]))
        return chosen[:10]

    def drop_from_hand(self, actor: str, items: list[Any]) -> None:
        hand = self.fleet.hands[actor]
        for item in items:
            if item in hand:
                hand.remove(item)

    def kill(self) -> None:
        """Kills a consumer: one that does nothing, or one in the middle of a call."""
        actor = self.actor()
        if self.rng.random() < 0.4:
            self.fleet.kill(actor)
            self.tally.kills[f"{actor} idle"] += 1
        else:
            ran = self.fleet.kill_in(self.rng, actor, *self.fatal_call(actor))
            self.tally.kills[f"{actor} in a call that {'ran' if ran else 'changed nothing'}"] += 1

    def fatal_call(self, actor: str) -> tuple[Any, ...]:
        raise NotImplementedError


class QueueStory(Story):
    """A story of a Queue or a UniqueQueue."""

    def __init__(self, fleet: Lockstep, rng: random.Random, tally: Tally) -> None:
        super().__init__(fleet, rng, tally)
        self.unique = fleet.kind == "UniqueQueue"
        self.fresh = 0
        self.weights = {"add": 20, "get": 28, "ack": 10, "reject": 8, "sweep": 16, "time": 6, "look": 2}
        if rng.random() < 0.08:
            self.weights["drop"] = 8
        if fleet.flavour == "old-aio":
            self.weights |= {"delete": 4, "rollback": 3}

    def _new_item(self) -> Any:
        if self.rng.random() < (0.7 if self.unique else 0.3):
            return self.rng.choice(self.values)
        self.fresh += 1
        return f"item {100 + self.fresh}"

    def add(self, actor: str) -> None:
        count = self.rng.choices([0, self.rng.randint(1, 6), self.rng.randint(11, 25)], [2, 90, 8])[0]
        self.one_or_many("service", actor, "add", [self._new_item() for _ in range(count)])

    def get(self, actor: str) -> None:
        self.fleet.hands[actor] += self.do("consumer", actor, "get_items", self.rng.choice([0, 1, 1, 2, 3, 5, 30]))

    def ack(self, actor: str) -> None:
        items = self.from_hand(actor)
        self.one_or_many("consumer", actor, "ack", items)
        self.drop_from_hand(actor, items)

    def reject(self, actor: str) -> None:
        items = self.from_hand(actor)
        self.one_or_many("consumer", actor, "reject", items)
        self.drop_from_hand(actor, items)

    def sweep(self, actor: str) -> None:
        self._all_or_timeout(actor, "re_enqueue")

    def drop(self, actor: str) -> None:
        self._all_or_timeout(actor, "drop")

    def _all_or_timeout(self, actor: str, what: str) -> None:
        if self.rng.random() < 0.5:
            self.do("service", actor, f"{what}_all_items")
        else:
            self.do("service", actor, f"{what}_timeout_items", 3600)

    def time(self, actor: str) -> None:
        consumers = sorted(self.fleet.state.stamps)
        self.fleet.age([one for one in consumers if self.rng.random() < 0.6], self.rng.choice(AGES))

    def look(self, actor: str) -> None:
        self.do("service", actor, "get_count")

    def delete(self, actor: str) -> None:
        waiting = self.fleet.state.waiting
        items = self.rng.sample(waiting, min(len(waiting), self.rng.randint(1, 3))) or ["never seen"]
        counts = [] if self.unique else self.rng.choice([[], [0], [1]])
        if len(items) == 1:
            self.do("service", actor, "delete_item", items[0], *counts)
        else:
            self.do("service", actor, "delete_items", items, *counts)

    def rollback(self, actor: str) -> None:
        item = self.rng.choice(self.values)
        if self.rng.random() < 0.7:
            self.do("service", actor, "can_rollback_item", item)
        else:
            self.do("service", actor, "reset_blocked_item", item)

    def fatal_call(self, actor: str) -> tuple[Any, ...]:
        hand = self.fleet.hands[actor]
        if not hand or self.rng.random() < 0.5:
            return "get_items", self.rng.randint(1, 5)
        items = self.rng.sample(hand, self.rng.randint(1, len(hand)))[:10]
        return self.rng.choice(["ack_items", "reject_items"]), items

    def drain(self) -> None:
        self.do("service", self.actor(), "re_enqueue_all_items")
        while self.fleet.state.waiting:
            actor = self.actor()
            items = self.do("consumer", actor, "get_items", self.rng.randint(1, 9))
            self.do("consumer", actor, "ack_items", items)
        assert not self.fleet.state.items, self.fleet.told("still held")
        self.do("service", self.actor(), "re_enqueue_all_items")  # takes away the stamps of who only asked
        for item in self.fleet.state.retries:
            self.do("service", self.actor(), "reset_blocked_item", item)
        self.fleet.ledger.close()
        self.tally.items += self.fleet.ledger.received


class PoolStory(Story):
    """A story of a Pool."""

    def __init__(self, fleet: Lockstep, rng: random.Random, tally: Tally) -> None:
        super().__init__(fleet, rng, tally)
        self.weights = {"add": 22, "get": 20, "get_all": 8, "ack": 20, "remove": 6, "time": 14, "look": 6, "clear": 1}
        if fleet.flavour == "old-aio":
            self.weights["delete"] = 4

    def add(self, actor: str) -> None:
        items = [self.rng.choice(self.values) for _ in range(self.rng.choice([0, 1, 1, 2, 4, 7, 12]))]
        self.one_or_many("service", actor, "add", items)

    def get(self, actor: str) -> None:
        self._take(actor, "get_items", self.rng.choice([0, 1, 1, 2, 3, 5, 30]))

    def get_all(self, actor: str) -> None:
        self._take(actor, "get_all_items")

    def _take(self, actor: str, *call: Any) -> None:
        hand = self.fleet.hands[actor]
        hand += [item for item in self.do("consumer", actor, *call) if item not in hand]

    def ack(self, actor: str) -> None:
        items = self.from_hand(actor)
        self.one_or_many("consumer", actor, "ack", items)
        self.drop_from_hand(actor, items)

    def remove(self, actor: str) -> None:
        items = self.from_hand(actor)
        self.one_or_many("consumer", actor, "remove", items)
        self.drop_from_hand(actor, items)

    def delete(self, actor: str) -> None:
        self.one_or_many("service", actor, "delete", self.rng.sample(self.values, self.rng.randint(1, 3)))

    def clear(self, actor: str) -> None:
        self.do("service", actor, "clear_pool")

    def time(self, actor: str) -> None:
        seconds = self.rng.choice(POOL_AGES)
        scores = {item: float(score) for item, score in self.fleet.state.scores.items()}
        # No longer overdue than an older library can handle: it gives such an item over and over in one call.
        oldest = time.time() - 9.5 * self.fleet.options["ack_ttl"]
        self.fleet.reschedule({item: max(score - seconds, oldest) for item, score in scores.items()})

    def look(self, actor: str) -> None:
        method = self.rng.choice(["get_count", "get_count_to_process", "is_in_pool"])
        self.do("service", actor, method, *([self.rng.choice(self.values)] if method == "is_in_pool" else []))

    def fatal_call(self, actor: str) -> tuple[Any, ...]:
        hand = self.fleet.hands[actor]
        if not hand or self.rng.random() < 0.5:
            return self.rng.choice([("get_items", self.rng.randint(1, 5)), ("get_all_items",)])
        return self.rng.choice(["ack_items", "remove_items"]), self.rng.sample(hand, self.rng.randint(1, len(hand)))

    def drain(self) -> None:
        fleet = self.fleet
        everything = dict.fromkeys(fleet.state.scores, time.time() - 5)
        fleet.reschedule(everything)
        delivered: list[str] = []
        done = "ack_items" if fleet.options["ack_valid_for"] else "remove_items"
        while any(float(score) < time.time() for score in fleet.state.scores.values()):
            actor = self.actor()
            items = self.do("consumer", actor, "get_items", self.rng.randint(1, 9))
            delivered += items
            self.do("consumer", actor, done, items)
        assert sorted(delivered) == sorted(everything), fleet.told(f"delivered {delivered}")
        self.tally.items += len(delivered)
        self.do("service", self.actor(), "clear_pool")
