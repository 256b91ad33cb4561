"""A mixed fleet and an old fleet in lockstep: after each step the keys are the same, but for the named differences."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.interop.differences import SWEEPS, TAKES, Outcome, Step, predict
from tests.interop.peers import Crew, Peer
from tests.interop.state import State, Twins, about
from tests.servers import Server

__all__ = ["Ledger", "Lockstep", "Tally"]

DROPS = ("drop_timeout_items", "drop_all_items")
ACKS = ("ack_item", "ack_items")
ADDS = ("add_item", "add_items")
DELETES = ("delete_item", "delete_items")


@dataclass
class Tally:
    """What happened over many runs."""

    runs: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    differences: Counter[str] = field(default_factory=Counter)
    leftovers: int = 0
    items: int = 0
    plain_runs: int = 0

    def told(self) -> str:
        def listed(counter: Counter[str]) -> str:
            return ", ".join(f"{name} {count}" for name, count in sorted(counter.items())) or "none"

        return (
            f"{self.runs} runs ({self.plain_runs} without any difference), {self.steps.total()} steps"
            f" ({listed(self.steps)}), {self.items} items delivered; killed: {listed(self.kills)};"
            f" leftovers: {self.leftovers}; differences: {listed(self.differences)}"
        )


class Ledger:
    """Keeps account of a Queue's or UniqueQueue's items, from what was asked for and what came back."""

    def __init__(self, kind: str) -> None:
        self._unique = kind == "UniqueQueue"
        self._added: Counter[str] = Counter()
        self._back: Counter[str] = Counter()
        self._deleted: Counter[str] = Counter()
        self._received: Counter[str] = Counter()
        self._lost_replies: Counter[str] = Counter()
        self._pending: set[str] = set()

    @property
    def received(self) -> int:
        return self._received.total()

    def enter(self, step: Step, before: State, after: State, result: Any, *, lost: bool) -> None:
        """Enters what a step did; an AssertionError if an item was lost, or came from nowhere.

        Args:
            step: the step.
            before: the keys before it.
            after: the keys after it.
            result: what it gave, if the answer arrived.
            lost: whether the answer was lost.
        """
        asked = Counter(map(str, _items(step)))
        there = Counter(before.items)
        more, less = Counter(after.items) - there, there - Counter(after.items)
        held = Counter(before.held.get(step.consumer, []))
        if step.method in ADDS:
            waiting = set(before.waiting)
            assert more == (Counter(set(asked) - waiting) if self._unique else asked), step
            self._added += more
            self._pending |= set(asked)
        else:
            assert not more, f"{step}: from nowhere: {more}"
        if step.method in ACKS:
            assert less == asked & held or lost, step
        elif step.method in DROPS:
            # Asked for: what it dropped is compared with what the older library dropped.
            self._pending -= set(less) - set(after.waiting)
        elif step.method in DELETES:
            assert less == Counter(before.waiting) - Counter(after.waiting), step
            self._deleted += less
            self._pending -= set(less)
        elif not self._unique:
            assert not less, f"{step}: lost {less}"
        else:
            assert set(before.items) == set(after.items) or step.method in ADDS, f"{step}: lost"
        if step.method == "get_items":
            moved = Counter(before.waiting) - Counter(after.waiting)
            if lost:
                self._lost_replies += moved
            else:
                assert Counter(result) == moved, step
                self._received += moved
                self._pending -= set(result)
        elif step.method not in ADDS:
            self._back += Counter(after.waiting) - Counter(before.waiting)

    def close(self) -> None:
        """At the end, when nothing waits and nothing is held: was everything delivered, and only that?"""
        assert not self._pending, f"never delivered: {self._pending}"
        told = self._received + self._lost_replies
        due = self._added + self._back
        due.subtract(self._deleted)
        assert told == due, f"delivered {told}, expected {due}"


def _items(step: Step) -> list[Any]:
    """Gives the items that a step is about."""
    if step.method.endswith("_item"):
        return [step.arguments[0]]
    return step.arguments[0] if step.arguments and isinstance(step.arguments[0], list) else []


class Lockstep:
    """Two fleets on a server, that do the same: a mixed one, and one where the older library plays every part."""

    def __init__(
        self,
        crew: Crew,
        server: Server,
        client: Any,
        kind: str,
        flavour: str,
        worlds: tuple[str, str],
        name: str,
        options: dict[str, Any],
    ) -> None:
        """Sends nothing yet.

        Args:
            crew: who plays.
            server: where.
            client: to look at it with; it gives text.
            kind: Queue, UniqueQueue or Pool.
            flavour: which older library: old-sync or old-aio.
            worlds: in which world this library's consumer is, and its producer and sweeper.
            name: for the queues; of no other queue's beginning.
            options: for the queues.
        """
        # `old` is what the last step was in the old fleet; `state` and `used` tell of the mixed one.
        self.kind, self.flavour, self.options = kind, flavour, options
        self.mixed = f"m{name}"
        self.twins = Twins(client, self.mixed, f"r{name}")
        self.history: list[str] = []
        self.used: Counter[str] = Counter()
        self.state = State()
        self.ledger = Ledger(kind)
        self.hands: dict[str, list[str]] = {"old": [], "new": []}
        self.dead: dict[str, str] = {}
        self.swept_by_old: set[str] = set()
        self.old = Outcome(State())
        self._name, self._crew, self._server, self._client = name, crew, server, client
        self._worlds = worlds
        self._made: dict[tuple[str, str], tuple[Peer, str, str]] = {}

    # Who plays

    def _flavour(self, actor: str) -> str:
        return self.flavour if actor == "old" else "new"

    def _player(self, part: str, actor: str) -> tuple[Peer, str, str]:
        """Gives the process, the label and the client id of an object; makes it if there is none.

        The part `reference` is that of everybody in the old fleet: its library keeps nothing in mind but a client id.
        """
        if (part, actor) not in self._made:
            peer = self._crew.peer("consumer" if part == "consumer" else "service", self._flavour(actor))
            label = f"{part}-{self._name}"
            world = self._worlds[part != "consumer"] if actor == "new" else self.flavour.removeprefix("old-")
            name = f"r{self._name}" if part == "reference" else self.mixed
            client_id = peer.make(label, self.kind, name, self._server, world=world, **self.options)
            self._made[part, actor] = peer, label, client_id
        return self._made[part, actor]

    def client_id(self, actor: str) -> str:
        """Gives the client id of a consumer."""
        return self._player("consumer", actor)[2]

    # Steps

    def _step(self, part: str, actor: str, method: str, arguments: tuple[Any, ...]) -> Step:
        consumer = self.client_id(actor) if part == "consumer" else ""
        return Step(self.kind, self.flavour, actor, method, arguments, consumer, self.options)

    def _send(self, step: Step, part: str) -> tuple[Peer, Peer]:
        """Lets both fleets do a step; gives whose answers there will be, the mixed fleet's first."""
        peer, label, _ = self._player(part, step.actor)
        reference, other, _ = self._player("reference", "old")
        order: dict[str, Any] = {"method": step.method, "arguments": step.arguments}
        peer.send("call", label, client_id=None, **order)
        reference.send("call", other, client_id=step.consumer or None, **order)
        return peer, reference

    def do(self, part: str, actor: str, method: str, *arguments: Any) -> Any:
        """Does a step in both fleets, and compares.

        Args:
            part: consumer or service.
            actor: old or new.
            method: which.
            arguments: for the method.

        Returns:
            What the mixed fleet was given.
        """
        step = self._step(part, actor, method, arguments)
        self.history.append(str(step))
        peer, reference = self._send(step, part)
        result, old_result = peer.answer(), reference.answer()
        mixed, old = self.twins.look()
        self.old = Outcome(old, old_result)
        expected, used = predict(step, self.state, self.old)
        unlike = mixed.unlike(expected.state)
        assert not unlike, self.told("not what the older library would have left", *unlike)
        if method in (*TAKES, "get_count", "get_count_to_process", "is_in_pool", "can_rollback_item"):
            assert result == expected.result, self.told(f"{result} != {expected.result}")
        self._arrive(step, mixed, result, used)
        return result

    def kill_in(self, rng: random.Random, actor: str, method: str, *arguments: Any) -> bool:
        """Kills a consumer of the mixed fleet in the middle of a call; the keys are as before it, or as after it.

        Returns:
            Whether the call took effect.
        """
        step = self._step("consumer", actor, method, arguments)
        self.history.append(f"{step} and SIGKILL")
        _, reference = self._send(step, "consumer")
        until = time.perf_counter() + rng.random() * 0.002
        while time.perf_counter() < until:
            pass
        self._bury(actor).gone_from(self._server)
        old_result = reference.answer()
        mixed, old = self.twins.look()
        expected, used = predict(step, self.state, Outcome(old, old_result))
        ran = bool(mixed.unlike(self.state))
        if self.kind == "Pool":
            self._check_each(step, mixed, expected.state)
        elif ran:
            unlike = mixed.unlike(expected.state)
            assert not unlike, self.told("neither as before nor as after", *unlike)
        self._arrive(step, mixed, None, used if ran else Counter(), lost=True)
        return ran

    def kill(self, actor: str) -> None:
        """Kills a consumer of the mixed fleet that does nothing, holding what it holds."""
        self.client_id(actor)
        self.history.append(f"{actor} consumer SIGKILL")
        self._bury(actor)

    def _bury(self, actor: str) -> Peer:
        self.dead[self.client_id(actor)] = actor
        del self._made["consumer", actor]
        self.hands[actor] = []
        return self._crew.kill("consumer", self._flavour(actor))

    def _check_each(self, step: Step, found: State, expected: State) -> None:
        """Checks that each item of a pool is as before a call, or as after it: older calls are not all of one piece."""
        for item in self.state.scores.keys() | found.scores.keys():
            score, before = found.scores.get(item), self.state.scores.get(item)
            allowed = [before, expected.scores.get(item)]
            if step.actor == "old" and step.method == "get_all_items" and before:
                # It gives an overdue item again and again, a lease later each time.
                allowed += [f"{int(float(before)) + self.options['ack_ttl'] * times}.1" for times in range(1, 11)]
            near = [score == other or (score and other and about(score, other)) for other in allowed]
            assert any(near), self.told(f"{item!r}: {score} is none of {allowed}")

    def _arrive(self, step: Step, mixed: State, result: Any, used: Counter[str], *, lost: bool = False) -> None:
        if self.kind != "Pool":
            self.ledger.enter(step, self.state, mixed, result, lost=lost)
        if self.kind == "UniqueQueue":
            assert sorted(mixed.unique) == sorted(mixed.waiting), self.told("the set is not the list")
        if step.method in (*SWEEPS, *DROPS):
            gone = self.state.stamps.keys() - mixed.stamps.keys()
            if step.actor == "old":
                self.swept_by_old |= gone
        self.used += used
        self.state = mixed

    # What the test itself does

    def change(self, what: str, command: str, suffix: str, *arguments: Any) -> None:
        """Sends a command about a key of the mixed fleet's queue, by its suffix; the old fleet's follows."""
        self.history.append(what)
        self._client.execute_command(command, self.mixed + suffix, *arguments)
        self.state, _ = self.twins.look()

    def age(self, consumers: list[str], seconds: int) -> None:
        """Makes the last contact of consumers longer ago."""
        pairs = []
        for consumer in consumers:
            whole, dot, fraction = self.state.stamps[consumer].partition(".")
            pairs += [f"{self.mixed}-processing-{consumer}", f"{int(whole) - seconds}{dot}{fraction}"]
        if pairs:
            self.change(f"{seconds} s pass for {consumers}", "HSET", "-timeouts", *pairs)

    def reschedule(self, scores: dict[str, float]) -> None:
        """Sets when items of a pool are due; their marks stay."""
        pairs: list[Any] = []
        for item, score in scores.items():
            pairs += [f"{int(score)}{'.1' if '.' in self.state.scores[item] else ''}", item]
        if pairs:
            self.change(f"scores are {pairs}", "ZADD", "", *pairs)

    # The end

    def end(self) -> int:
        """Closes what is open, and checks that nothing is left; gives how many leftovers there are, by name."""
        self.close()
        state, _ = self.twins.look(align=False)
        unlike = state.unlike(State())
        assert not unlike, self.told("left behind", *unlike)
        leftovers = 0
        for key, (ttl, entries) in state.others.items():
            if key == "/consumers":
                known = {consumer for consumer in self.swept_by_old if self.dead.get(consumer) == "new"}
                assert set(entries[::2]) <= known, self.told(f"left in {key}: {entries}")
                leftovers = len(entries) // 2
            else:
                assert ttl > 0, self.told(f"left behind: {key}")
        self.twins.remove()
        return leftovers

    def close(self) -> None:
        """Closes what is open."""
        for peer, label, _ in self._made.values():
            peer.tell("forget", label)
        self._made.clear()

    def told(self, *lines: str) -> str:
        steps = "\n  ".join(self.history)
        said = "\n".join(lines)
        return (
            f"{self.kind} {self.flavour} {self._worlds} {self.options} on {self._server.binary.name}\n"
            f"  {steps}\n{said}\nbefore: {self.state}"
        )
