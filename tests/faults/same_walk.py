"""The same walk through the library in several places: what its methods give, and what the keys hold after each."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from operator import attrgetter
from typing import Any

from pyrq import JsonCodec, Pool, Queue, UniqueQueue
from pyrq.backends import Backend
from pyrq.core.errors import RqError
from tests.faults.ledger import MARK
from tests.faults.same_cases import NOW
from tests.lossy import Fault, LossyBackend, Scripts

__all__ = ["Failure", "Place", "Side", "Step", "Walker", "nameless"]

VALUES = [*(f"{MARK}-{number}" for number in range(12)), MARK + "é", MARK, MARK + "\udcff\udc80\x00\n"]
JSON, POOL = 4, 5
"""Which of the objects are these."""
_UNIQUE_PART = re.compile(r"[0-9a-f]{32}")
_LABEL = "walker"


@dataclass(frozen=True)
class Place:
    """Where calls run: a backend, and a client that looks at what they do."""

    name: str
    backend: Backend
    client: Any


@dataclass(frozen=True)
class Failure:
    """An error, as its caller sees it."""

    kind: str
    text: str


@dataclass(frozen=True)
class Step:
    """What is done on each side.

    Attributes:
        who: by which object.
        method: what it calls; one of `_COMMANDS` is done past all objects.
        args: with what.
        now: the server's time.
        kind: what is lost meanwhile, as in `tests.lossy`: "none", or "resend".
    """

    who: int
    method: str
    args: tuple[Any, ...]
    now: str
    kind: str


_COMMANDS: dict[str, Callable[[Any], object]] = {
    "push what is no JSON": lambda client: client.lpush("walk-json", MARK + "-not JSON", b"\xff" + MARK.encode()),
    "push": lambda client: client.lpush("walk", *VALUES[:3]),
    "mark": lambda client: client.sadd("walk-set-unique", VALUES[0], "stale"),
    "land": lambda client: client.lmove("walk", "walk/landing/nobody", "RIGHT", "LEFT"),
    "register": lambda client: client.hset("walk/consumers", "nobody/landing", f"{NOW + 60}.000000"),
    "hold": lambda client: client.lpush("walk-processing-older", *VALUES[:2]),
    "show": lambda client: client.hset("walk-timeouts", "walk-processing-older", f"{NOW}"),
    "forget": lambda client: client.script_flush(),
}


class Side:
    """The objects of the walk in one place, and what they hold."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.backend = LossyBackend(place.backend, Scripts())
        self.objects: list[Any] = [
            Queue("walk", self.backend, client_id=f"{_LABEL}-0", max_size=60, max_deliveries=3, dead_max=6),
            Queue("walk", self.backend, client_id=f"{_LABEL}-1"),
            UniqueQueue(
                "walk-set",
                self.backend,
                client_id=f"{_LABEL}-2",
                max_deliveries=2,
                max_retry_rollback=2,
                max_timeout_in_queue=10,
            ),
            UniqueQueue("walk-set", self.backend, client_id=f"{_LABEL}-3", max_size=9),
            Queue("walk-json", self.backend, client_id=f"{_LABEL}-4", codec=JsonCodec()),
            Pool("walk-pool", self.backend, client_id=f"{_LABEL}-5", chunk_size=3),
        ]

    def do(self, step: Step, caught: Callable[[BaseException], object]) -> Any:
        """Does a step; gives what came of it, without what is different each time."""
        if step.method in _COMMANDS:
            _COMMANDS[step.method](self.place.client)
            return None
        self.backend.clock = lambda: step.now
        self.backend.fault = Fault(step.kind, repeats=False)
        try:
            found = attrgetter(step.method)(self.objects[step.who])
            return nameless(found(*step.args) if callable(found) else found)
        except RqError as error:
            caught(error)
            return Failure(type(error).__name__, str(error))
        finally:
            self.backend.fault = Fault()

    def close(self) -> None:
        """Ends its sessions. The place stays open."""
        for one in self.objects:
            one.close()


def nameless(value: Any) -> Any:
    """Leaves out the part of client ids that is made anew for each object."""
    if isinstance(value, bytes):
        return _UNIQUE_PART.sub("#", value.decode("latin-1"))
    if isinstance(value, str):
        return _UNIQUE_PART.sub("#", value)
    if is_dataclass(value) and not isinstance(value, type):
        return nameless(asdict(value))
    if isinstance(value, dict):
        return {nameless(key): nameless(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return type(value)(nameless(each) for each in value)
    return value


# What is done


class Walker:
    """Chooses the steps. It goes by what it heard of those before, so that it acknowledges what it holds."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._hands: list[list[Any]] = [[] for _ in range(6)]
        self._hundredths = 50

    def next(self) -> Step:
        """Chooses the next step."""
        rng = self._rng
        self._hundredths += rng.choice([1, 1, 10, 10, 100, 300, 2_000, 70_000])
        now = f"{NOW + self._hundredths // 100}.{self._hundredths % 100:02d}0000"
        if rng.random() < 0.1:
            return Step(0, rng.choice(list(_COMMANDS)), (), now, "none")
        who = rng.randrange(6)
        method, *args = self._choose(who)
        return Step(who, method, tuple(args), now, rng.choice(["none", "none", "resend"]))

    def heard(self, step: Step, told: Any) -> None:
        """Takes note of what came of a step."""
        if step.method in ("get_items", "ack_and_get", "get_all_items") and isinstance(told, list):
            self._hands[step.who] += told

    def _choose(self, who: int) -> tuple[Any, ...]:
        rng = self._rng
        dice = rng.random()
        if dice < 0.35 and self._hands[who]:
            verbs = ("ack_items", "remove_items") if who == POOL else ("ack_items", "reject_items", "reject_items")
            return rng.choice(verbs), self._held(who)
        if dice < 0.5:
            return "get_items", rng.choice([1, 3, 5, 20])
        if dice < 0.72:
            return "add_items", self._some(who)
        return rng.choice(self._of_pool(who) if who == POOL else self._of_queue(who))

    def _of_pool(self, who: int) -> Sequence[tuple[Any, ...]]:
        return (
            ("get_all_items",),
            ("get_count",),
            ("get_count_to_process",),
            ("delete_items", self._some(who)),
            ("delete_item", self._some(who)[0]),
            ("is_in_pool", self._some(who)[0]),
            ("clear_pool",),
        )

    def _of_queue(self, who: int) -> Sequence[tuple[Any, ...]]:
        rng = self._rng
        sweep = rng.choice(["re_enqueue_timeout_items"] * 3 + ["drop_timeout_items"])
        all_of_it = rng.choice(["re_enqueue_all_items"] * 3 + ["drop_all_items"])
        return (
            ("add_items", self._some(who), rng.choice([0.5, 4, 1000.123456])),
            ("ack_and_get", self._held(who), 3),
            *([(sweep, rng.choice([0, 3, 600, 7200]))] * 3),
            (all_of_it,),
            ("delete_items", self._some(who)[:2], rng.choice([0, 1])),
            ("release",),
            *((rng.choice(("stats", "in_flight", "get_count", "paused", "dead.count")),) for _ in range(2)),
            ("peek", rng.choice([1, 100]), rng.choice([0, 2])),
            *([("dead.peek", 5), ("dead.redrive", rng.choice([1, 4]))] * 2),
            *([("dead.purge",), ("pause",)] * (rng.random() < 0.2)),
            ("resume",),
            *([("repair",), ("can_rollback_item", VALUES[0]), ("reset_blocked_item", VALUES[0])] * (who == 2)),
        )

    def _some(self, who: int) -> list[str]:
        # JSON has no room for the bytes of the last one.
        return self._rng.choices(VALUES[: -1 if who == JSON else None], k=self._rng.randint(1, 6))

    def _held(self, who: int) -> list[Any]:
        hand = self._hands[who]
        self._rng.shuffle(hand)
        taken = [hand.pop() for _ in range(min(len(hand), self._rng.randint(1, 6)))]
        return taken + self._some(who)[: self._rng.randint(0, 1)]
