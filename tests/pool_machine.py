"""A model of the pool in plain Python, and a state machine that holds the library against it.

Time passes by taking seconds off every score. Of the seconds that really pass, the model knows only that a script read
the server's clock after the call was made and before it was answered; it takes the first reading that explains what is
seen, and there must be one. So it knows every score to the second. What hypothesis draws must not depend on the clock:
so no rule has a precondition, and none draws from what the model holds.

A method is a plan here: a generator of steps, one for each call that is sent, that gives what the method returns.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations_with_replacement, count
from typing import Any, NamedTuple, cast

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from pyrq import Pool, aio
from pyrq.core.call import Call
from tests.lossy import CALLERS, COMES_LATE, FAULTS, GIVES_UP, Fault, LossyMachine, marked

LETTERS = marked("abcdefghij")
LETTER = st.sampled_from(LETTERS)
ITEMS = st.lists(LETTER, min_size=1, max_size=8)
CHUNK_SIZES = (3, 100, 2)
ACK_TTL, ACK_VALID_FOR = 600, 129_600
SECONDS = st.sampled_from([ACK_TTL, 1, 300, ACK_TTL - 1, ACK_TTL + 1, ACK_TTL, 1_000, ACK_VALID_FOR, 200_000])
COUNTS = st.sampled_from([None, None, 0, 1, 1, 2, 2, 3, 5, 8])
AGES = st.sampled_from([0, 0, 1, 2, 3, 7])
VERBS = st.sampled_from(["remove", "delete", "remove", "delete", "remove", "delete", "clear"])
MOST_STEPS = 10


class Trouble(NamedTuple):
    """A fault, at which call of a get it happens, and whether what is under way arrives as the method returns."""

    kind: str
    call: int
    soon: bool


CALM = Trouble("none", 0, False)
TROUBLES = st.builds(Trouble, FAULTS, st.sampled_from([0, 0, 0, 1, 2]), st.booleans())


class Score(NamedTuple):
    """When an item is due, and whether it is handed out."""

    seconds: int
    out: bool


@dataclass(frozen=True)
class Step:
    """What a call does.

    Attributes:
        act: does it to the model, given the server's time, and gives the reply.
        is_get: whether it hands out; it does so again when it is sent again.
        is_add: whether it is remembered whatever it did; others are if they found something.
    """

    act: Callable[[int], Any]
    is_get: bool = False
    is_add: bool = False


Plan = Callable[[], Generator[Step, Any, Any]]


@dataclass
class Outcome:
    """What a method must have done.

    Attributes:
        result: what it returns.
        unknown: whether it raises instead.
        sent: how many calls it sent.
        struck: the step that the fault hit.
        known: whether the server remembers that step.
    """

    result: Any = None
    unknown: bool = False
    sent: int = 0
    struck: Step | None = None
    known: bool = False


@dataclass
class Late:
    """A request that is still under way.

    Attributes:
        calls: what it asks for.
        who: whose it is.
        number: its number among the calls of that object.
        step: what it does when it arrives in time.
        known: whether it has run before and is remembered.
    """

    calls: list[Call[Any]]
    who: int
    number: int
    step: Step
    known: bool


class PoolMachine(LossyMachine):
    """Three objects with chunks of different sizes on one pool."""

    classes = (Pool, aio.Pool)

    def __init__(self) -> None:
        super().__init__()
        self.scores: dict[str, Score] = {}
        self.late: list[Late] = []
        self.sent = [0, 0, 0]
        """How many calls each object has sent."""
        self.live = [0, 0, 0]
        """The number of the first of these that may still do something; taking effect and burning move it on."""

    def options(self, who: int) -> dict[str, Any]:
        return {"chunk_size": CHUNK_SIZES[who], "ack_ttl": ACK_TTL, "ack_valid_for": ACK_VALID_FOR}

    # Rules

    @rule(who=CALLERS, trouble=TROUBLES)
    def add_all(self, who: int, trouble: Trouble) -> None:
        self._change(who, trouble, "add", LETTERS, self._add)

    @rule(who=CALLERS, items=ITEMS, trouble=TROUBLES)
    def add(self, who: int, items: list[str], trouble: Trouble) -> None:
        self._change(who, trouble, "add", items, self._add)

    @rule(who=CALLERS, items=ITEMS, out=st.booleans(), trouble=TROUBLES)
    def ack(self, who: int, items: list[str], out: bool, trouble: Trouble) -> None:
        self._change(who, trouble, "ack", self._out(who, items) if out else items, self._ack)

    @rule(who=CALLERS, verb=VERBS, items=ITEMS, out=st.booleans(), trouble=TROUBLES)
    def take_out(self, who: int, verb: str, items: list[str], out: bool, trouble: Trouble) -> None:
        def clear() -> Generator[Step, Any, Any]:
            return (yield Step(lambda now: self._delete(list(self.scores), now)))

        if out:
            items = self._out(who, items)
        if verb == "clear":
            self.perform(who, trouble, "clear_pool", (), clear)
        else:
            self._change(who, trouble, verb, items, {"remove": self._remove, "delete": self._delete}[verb])

    @rule(who=CALLERS, most=COUNTS, stocked=st.booleans(), trouble=TROUBLES)
    def get(self, who: int, most: int | None, stocked: bool, trouble: Trouble) -> None:
        if stocked and not self.scores:
            self.add_all(who, CALM)
        self._get(who, most, trouble)

    @rule(who=CALLERS, item=LETTER)
    def count(self, who: int, item: str) -> None:
        assert self.call(who, "get_count") == len(self.scores)
        assert self.call(who, "is_in_pool", item) is (item in self.scores)
        self._count_due(who)

    def _count_due(self, who: int) -> None:
        before = self._now()
        due = self.call(who, "get_count_to_process")
        assert due in {len(self._due(now)) for now in range(before, self._now() + 1)}

    @rule(seconds=SECONDS, who=CALLERS)
    def time_passes(self, seconds: int, who: int) -> None:
        if self.scores:
            self._pass(seconds)
        self._count_due(who)

    def _pass(self, seconds: int) -> None:
        self.scores = {item: Score(score.seconds - seconds, score.out) for item, score in self.scores.items()}
        self.look.zadd(self.name, {item: f"{score.seconds}{'.1' * score.out}" for item, score in self.scores.items()})

    @rule(age=AGES)
    def arrive(self, age: int) -> None:
        """A request arrives late."""
        if self.late:
            self._arrive(self.late.pop(-1 - age % len(self.late)))

    def _arrive(self, late: Late) -> None:
        acts = late.number >= self.live[late.who] and (late.step.is_get or not late.known)

        def play(nows: Iterator[int]) -> Outcome:
            if acts:
                late.step.act(next(nows))
            return Outcome()

        before = self._now()
        self.deliver(late.calls)
        self._explain(before, play, Outcome())
        self.live[late.who] = max(self.live[late.who], late.number)

    # Methods

    def _out(self, who: int, items: list[str]) -> list[str]:
        """Gives items that are handed out, for items that may be anything; hands some out if none are."""
        if not self._handed_out(LETTERS):
            self.get(who, 5, True, CALM)
        found = sorted(self._handed_out(LETTERS))
        return [found[ord(item[-1]) % len(found)] for item in items] if found else items

    def _change(
        self, who: int, trouble: Trouble, verb: str, items: list[str], act: Callable[[list[str], int], int]
    ) -> None:
        def plan() -> Generator[Step, Any, Any]:
            return (yield Step(partial(act, items), is_add=verb == "add"))

        if len(items) == 1:
            self.perform(who, trouble, f"{verb}_item", (items[0],), plan)
        else:
            self.perform(who, trouble, f"{verb}_items", (items,), plan)

    def _get(self, who: int, most: int | None, trouble: Trouble) -> None:
        size = CHUNK_SIZES[who]

        def plan() -> Generator[Step, Any, Any]:
            items: list[str] = []
            due: int | None = None
            while most is None or len(items) < most:
                asked = size if most is None else min(size, most - len(items))
                taken, due = yield Step(partial(self._take, asked, due), is_get=True)
                items += taken
                if len(taken) < asked:
                    break
            return items

        method, args = ("get_all_items", ()) if most is None else ("get_items", (most,))
        self.perform(who, trouble, method, args, plan, is_get=True)

    def perform(
        self, who: int, trouble: Trouble, method: str, args: tuple[Any, ...], plan: Plan, *, is_get: bool = False
    ) -> None:
        """Calls a method with a fault, and does to the model what the server must have done."""
        kind, skip, soon = trouble if is_get else trouble._replace(call=0)
        fault = Fault(kind, skip, repeats=not is_get)
        before = self._now()
        result, unknown = self.attempt(who, fault, method, *args)
        outcome = self._explain(before, partial(self._play, plan, kind, skip), Outcome(result, unknown))
        assert fault.hit == (outcome.struck is not None)
        first = self.sent[who]
        self.sent[who] += outcome.sent
        last = self.sent[who] - 1
        if fault.hit and kind in COMES_LATE and not is_get:
            last -= 1  # a get burns what was sent before it on its way, others on arrival
        if last >= first:
            self.live[who] = max(self.live[who], last)
        if outcome.struck is None:
            return
        number = first + skip
        if kind == "resend":  # burnt as soon as it was answered
            self.live[who] = max(self.live[who], number + 1)
        late = Late(fault.late, who, number, outcome.struck, outcome.known)
        if soon:
            self._arrive(late)
        else:
            self.late.append(late)

    def _play(self, plan: Plan, kind: str, skip: int, nows: Iterator[int]) -> Outcome:
        """Carries out a plan on the model, with a fault at one of its steps."""
        outcome = Outcome()
        steps = plan()
        reply = None
        for sent in count():
            try:
                step = steps.send(reply)
            except StopIteration as stop:
                outcome.result = stop.value
                break
            outcome.sent += 1
            struck = kind if sent == skip else "none"
            if struck not in COMES_LATE:
                reply = step.act(next(nows))
            if struck != "none":
                outcome.struck = step
                outcome.known = struck not in COMES_LATE and (step.is_add or bool(reply))
            if struck == "resend" and step.is_get:
                reply = step.act(next(nows))
            if struck in GIVES_UP:
                outcome.unknown = True
                break
        return outcome

    def _explain(self, before: int, play: Callable[[Iterator[int]], Outcome], heard: Outcome) -> Outcome:
        """Finds when the scripts read the clock, by what they did since `before` and what the caller heard."""
        scores, seen = self.scores, self._read()
        tried = []
        for nows in combinations_with_replacement(range(before, self._now() + 1), MOST_STEPS):
            self.scores = dict(scores)
            outcome = play(iter(nows))
            if (self.scores, outcome.result, outcome.unknown) == (seen, heard.result, heard.unknown):
                return outcome
            tried.append((nows[0], outcome, self.scores))
        raise AssertionError(f"seen {heard} and {seen}, which none of these is: {tried[:3]}")

    # The model

    def _add(self, items: list[str], now: int) -> int:
        before = len(self.scores)
        for item in items:
            self.scores[item] = Score(now, False)
        return len(self.scores) - before

    def _ack(self, items: list[str], now: int) -> int:
        found = self._handed_out(items)
        for item in found:
            self.scores[item] = Score(now + ACK_VALID_FOR, False)
        return len(found)

    def _remove(self, items: list[str], now: int) -> int:
        return self._delete(list(self._handed_out(items)), now)

    def _delete(self, items: list[str], now: int) -> int:
        return sum(self.scores.pop(item, None) is not None for item in items)

    def _take(self, most: int, due: int | None, now: int) -> tuple[list[str], int]:
        due = now if due is None else due
        items = self._due(due)[:most]
        for item in items:
            self.scores[item] = Score(max(now, due) + ACK_TTL, True)
        return items, due

    def _handed_out(self, items: Iterable[str]) -> set[str]:
        return {item for item in items if item in self.scores and self.scores[item].out}

    def _due(self, now: int) -> list[str]:
        """Gives the items that are due, the first one first."""
        due = [(score, item) for item, score in self.scores.items() if score <= (now, False)]
        return [item for _, item in sorted(due)]

    # What must hold

    @invariant()
    def everything_is_where_it_must_be(self) -> None:
        assert self._read() == self.scores

    def _read(self) -> dict[str, Score]:
        found = {}
        for item, score in cast(list[tuple[bytes, float]], self.look.zrange(self.name, 0, -1, withscores=True)):
            seconds, out = divmod(score, 1)
            assert abs(out - 0.1) < 0.001 or out == 0, "a score is a whole number of seconds, or marked"
            found[item.decode()] = Score(int(seconds), out > 0)
        return found

    def _now(self) -> int:
        return self.look.time()[0]

    def drain(self) -> None:
        """What is in the pool can be had, acknowledged and removed."""
        if self.scores:
            self._pass(10**6)
        assert sorted(self.call(2, "get_all_items")) == sorted(self.scores)
        assert self.call(1, "ack_items", list(self.scores)) == len(self.scores)
        assert self.call(0, "clear_pool") == len(self.scores)
