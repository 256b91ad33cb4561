"""In what this library leaves other keys than the older ones would have, by name: each difference is a repair.

A difference predicts: from the keys before a step, and those that the older library left, it makes those that this
library has to leave. What it does not predict has to be the same.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.interop.state import State

__all__ = ["APART", "DIFFERENCES", "LEFTOVERS", "Difference", "Outcome", "Step", "predict"]

REJECTS = ("reject_item", "reject_items")
SWEEPS = ("re_enqueue_timeout_items", "re_enqueue_all_items")
TAKES = ("get_items", "get_all_items")


@dataclass(frozen=True)
class Step:
    """One thing that somebody does.

    Attributes:
        kind: Queue, UniqueQueue or Pool.
        flavour: which older library the fleet has.
        actor: who does it: old or new.
        method: of the queue's class.
        arguments: of the method.
        consumer: the client id of who does it, if it is a consumer.
        options: the queue's.
    """

    kind: str
    flavour: str
    actor: str
    method: str
    arguments: tuple[Any, ...] = ()
    consumer: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        told = ", ".join(map(repr, self.arguments))
        return f"{self.actor} {self.consumer and 'consumer '}{self.method}({told})"


@dataclass
class Outcome:
    """What a step left, and gave."""

    state: State
    result: Any = None


@dataclass(frozen=True)
class Difference:
    """A difference by name.

    Attributes:
        name: what it is called.
        reason: why it is a repair.
        repair: changes what the older library left into what this one leaves; given the step and the keys before it.
    """

    name: str
    reason: str
    repair: Callable[[Step, State, Outcome], None]


def predict(step: Step, before: State, old: Outcome) -> tuple[Outcome, Counter[str]]:
    """Gives what a step of the mixed fleet has to leave, and the names of the differences that this takes.

    Args:
        step: what was done.
        before: the keys before it, in both fleets.
        old: what the older library made of it.
    """
    outcome, used = Outcome(old.state.copy(), old.result), Counter[str]()
    if step.actor == "new":
        for difference in DIFFERENCES:
            then = Outcome(outcome.state.copy(), outcome.result)
            difference.repair(step, before, outcome)
            if outcome.state.unlike(then.state) or outcome.result != then.result:
                used[difference.name] += 1
    return outcome, used


# Stamps


def _idle_get(step: Step, before: State, outcome: Outcome) -> None:
    if step.kind != "Pool" and step.method == "get_items" and not outcome.result:
        outcome.state.stamps.pop(step.consumer, None)
        if step.consumer in before.stamps:
            outcome.state.stamps[step.consumer] = before.stamps[step.consumer]


def _fraction(step: Step, before: State, outcome: Outcome) -> None:
    if step.kind != "Pool" and step.method == "get_items" and outcome.result:
        outcome.state.stamps[step.consumer] += ".000000"


# Sweeps


def _swept_by_name(before: State, outcome: Outcome) -> list[str]:
    return sorted(before.stamps.keys() - outcome.state.stamps.keys(), reverse=True)


def _swept_by_contact(before: State, outcome: Outcome) -> list[str]:
    return sorted(_swept_by_name(before, outcome), key=lambda consumer: float(before.stamps[consumer]), reverse=True)


def _moving_forward(before: State, consumers: list[str], *, unique: bool) -> list[str]:
    """Gives what waits after the older sweep of some consumers."""
    waiting = list(before.waiting)
    for consumer in consumers:
        for item in before.held.get(consumer, []):
            if unique and item in waiting:
                waiting.remove(item)
            waiting.append(item)
    return waiting


def _order_of_sweep(step: Step, before: State, outcome: Outcome) -> None:
    if step.method in SWEEPS:
        unique = step.kind == "UniqueQueue"
        by_name = _moving_forward(before, _swept_by_name(before, outcome), unique=unique)
        assert outcome.state.waiting == by_name, "the older sweep is not what we take it for"
        outcome.state.waiting = _moving_forward(before, _swept_by_contact(before, outcome), unique=unique)


def _waiting_again(step: Step, before: State, outcome: Outcome) -> None:
    if step.method in SWEEPS and step.kind == "UniqueQueue":
        waiting = list(before.waiting)
        for consumer in _swept_by_contact(before, outcome):
            waiting += [item for item in dict.fromkeys(before.held.get(consumer, [])) if item not in waiting]
        outcome.state.waiting = waiting


# Rejects


def _copies_not_held(step: Step, before: State, outcome: Outcome) -> None:
    if step.method in REJECTS:
        batch = list(step.arguments[0]) if step.method == "reject_items" else [step.arguments[0]]
        batch = [str(item) for item in batch]
        held = Counter(before.held.get(step.consumer, []))
        surplus = Counter(batch) - held
        found = []
        for item in reversed(batch):  # of equal items, the first ones of the batch are the held ones
            if surplus[item]:
                surplus[item] -= 1
            else:
                found.append(item)
        if step.kind == "UniqueQueue":
            found = [item for item in dict.fromkeys(found) if item not in before.waiting]
        outcome.state.waiting = [*before.waiting, *found]


# Pools


def _lease_from_now(step: Step, before: State, outcome: Outcome) -> None:
    if step.kind == "Pool" and step.method in TAKES:
        for item in outcome.result:
            outcome.state.scores[item] = f"{int(time.time()) + step.options['ack_ttl']}.1"


def _once_each(step: Step, before: State, outcome: Outcome) -> None:
    if step.method == "get_all_items":
        outcome.result = list(dict.fromkeys(outcome.result))


DIFFERENCES = [
    Difference(
        "a get that finds nothing is no contact",
        "py-rq stamped a consumer that holds nothing, which left a field behind for each that ever asked; both stamped"
        " one that holds something, so a consumer that lost a batch and went on asking kept it from every sweep.",
        _idle_get,
    ),
    Difference(
        "stamps have fractions",
        "They are the server's time, to the microsecond: a sweep can tell who was heard of first. The older libraries"
        " read them as well.",
        _fraction,
    ),
    Difference(
        "a sweep goes by the last contact",
        "The longest silent consumer's items are the oldest, and come out first. The older libraries went by the name"
        " of the consumer, which says nothing.",
        _order_of_sweep,
    ),
    Difference(
        "a sweep drops an item that waits again",
        "The waiting copy keeps its place. The older libraries moved it to the front, with an LREM over the whole list"
        " for each.",
        _waiting_again,
    ),
    Difference(
        "a reject of more copies than are held keeps the order of the batch",
        "Of equal items the first ones of the batch are those that are held, as for an ack. The older libraries went"
        " through the batch backwards and so took the last ones, only to put them before what came before them.",
        _copies_not_held,
    ),
    Difference(
        "a lease of a pool counts from now",
        "The older libraries added ack_ttl to the old score: an item that was overdue by more was due again at once,"
        " and another consumer got it as well.",
        _lease_from_now,
    ),
    Difference(
        "get_all_items gives an item once",
        "For the same reason the older libraries gave an overdue item again in the next chunk of the same call.",
        _once_each,
    ),
]

# What no step of a fleet in lockstep runs into:
APART = {
    "the timeout itself is silence enough": "A sweep takes who was last heard of `timeout` seconds ago or earlier. The"
    " older libraries cut the fractions off and waited for up to a second more.",
    "time is the server's": "The older libraries wrote their machine's clock: a consumer on a machine whose clock was"
    " an hour slow was swept an hour early.",
    "a sweep looks again before it takes": "It is one script. The older libraries read the contacts first, and then"
    " took what the consumers held by then: re-enqueued, or dropped for good, although they were heard of in between.",
    "client ids do not collide": "The older libraries' ids are host, process and second: two objects that a process"
    " makes in one second share what they hold.",
    "an ack does not depend on decode_responses": "Without it the older libraries acknowledged the text of a bytes"
    " object, `b'item'`, which nobody held.",
    "waiting for replicas works in asyncio": "aio-py-rq called a method that redis-py does not have, after it had added"
    " the item.",
}

# Below `<name>/`, where the older libraries never look, this library leaves nothing behind without a time to live, but:
LEFTOVERS = {
    "the get record of a dead consumer that an older library swept": "An older sweep removes the stamp and the list,"
    " and knows nothing of the record `<client id>: <sequence> <count>` in `<name>/consumers`. It is void, for the list"
    " is gone, and client ids are never used again.",
}
