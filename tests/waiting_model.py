"""A model of waiting, delays, leases, retries, dead letters, bounds and pauses; `waiting_machine` has the rules.

Time is the model's: scripts and clients see a clock that moves when a rule says so, on every server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil
from typing import Any, cast
from unittest import mock

from hypothesis.stateful import invariant

from pyrq.aio import _runner as aio_runner
from pyrq.core.call import Call
from pyrq.core.errors import QueueFull
from pyrq.core.waiting import LATEST_START, Wait
from pyrq.sync import _runner as sync_runner
from tests.lossy import AsyncLossyBackend, Fault, LossyBackend, Method, fields_of
from tests.machine import FULL, Consumer, QueueMachine
from tests.waiting_seen import Letter, Seen, registrations, see

START = 1_700_000_000
STEPS = (3.0, 7.0)
"""For how many seconds a retry puts off: after the first delivery, and after others."""
WAKERS, TICK = 3, 100
"""So many consumers wake when an item is due; so many milliseconds before."""
BOUNDS: tuple[dict[str, int], ...] = (
    {"max_deliveries": 3, "max_size": 40},
    {"max_size": 12},
    {"max_deliveries": 2, "dead_max": 4},
)
REJECTED, BROKEN, SWEPT = "rejected", "broken", "swept: its consumer fell silent"

Counted = list[tuple[str, int]]
"""Items, and how often each was delivered."""


class Clock:
    """The time of server and clients, which moves a little with each call. Clients have it for the module `time`."""

    def __init__(self) -> None:
        self.seconds, self.calls = START, 0
        self.shown: float | None = None
        """What clients see instead, where what they did earlier is done now."""

    def text(self) -> str:
        return f"{self.seconds}.{self.calls * 100:06d}"

    def now(self) -> float:
        return float(self.text())

    def monotonic(self) -> float:
        return self.now() if self.shown is None else self.shown

    def sleep(self, seconds: float) -> None:
        """Nobody waits for anybody here."""


@dataclass(eq=False)
class Move:
    """A blocking move: a caller waits for it, or did until its answer was lost.

    Attributes:
        consumer: whose it is.
        token: what the caller must hand in; None if there is none any more.
        block: for how many seconds it blocks.
        asked: when its get was sent.
        landed: whether it has moved an item.
    """

    consumer: Consumer
    token: object
    block: float
    asked: float
    landed: bool = False

    @property
    def until(self) -> float:
        """Until when it may move an item."""
        return self.asked + self.block + LATEST_START


class WaitingModel(QueueMachine):
    """What the server must do, and what must hold after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.delayed: list[tuple[float, str]] = []
        self.dead: list[Letter] = []
        self.counts: dict[str, int] = {}
        self.suspects: set[str] = set()
        self.paused = False
        self.swept: float | None = None
        self.block = 0.0
        """For how many milliseconds the last get that waits was told to block, or to sleep (negative)."""
        self.waking: tuple[float, list[str]] = (0.0, [])
        """When the next item is due, and who wakes for it."""
        self.registered: dict[str, float] = {}
        """Client id -> until when something may land, in the order of the server's hash."""
        self.moves: list[Move] = []
        self.handed: list[Any] = []
        """What the last get of a consumer that waits was told."""
        self.balance: Counter[str] = Counter()
        """Which items must be somewhere."""
        self.patches = ExitStack()
        for module in (sync_runner, aio_runner):
            self.patches.enter_context(mock.patch.object(module, "time", self.clock))

    def options(self, who: int) -> dict[str, Any]:
        return super().options(who) | BOUNDS[who]

    def connect(self, who: int) -> LossyBackend | AsyncLossyBackend:
        backend = super().connect(who)
        backend.clock = self.clock.text
        return backend

    def open(self, who: int) -> Any:
        opened = super().open(who)
        self.who[who].id, self.who[who].limits = opened.client_id, opened._setup.limits
        return opened

    def attempt(self, who: int, fault: Fault, method: Method, *args: Any) -> tuple[Any, bool]:
        self._before()
        try:
            result, unknown = super().attempt(who, fault, method, *args)
        except QueueFull:
            return FULL, False
        if not hasattr(result, "found"):
            return result, unknown
        self.handed.append(result)
        return result.values, unknown

    def deliver(self, calls: list[Call[Any]]) -> None:
        self._before()
        super().deliver(calls)

    def _before(self) -> None:
        """Time goes on, and which landing lists are registered is read: a sweep puts them back in the hash's order."""
        self.clock.calls += 1
        self._read_registered()

    def _read_registered(self) -> None:
        self.registered = registrations(*self.read(fields_of(f"{self.name}/consumers")))

    # What the server does

    def _state(self) -> object:
        return (
            super()._state(),
            [(list(one.landed), one.stamp, one.lease) for one in self.who],
            (
                list(self.delayed),
                list(self.dead),
                dict(self.counts),
                set(self.suspects),
                self.paused,
                self.swept,
                dict(self.registered),
            ),
            self.waking,
        )

    def _has_room(self, consumer: Consumer, more: int) -> bool:
        most = consumer.limits.max_size
        return most is None or not more or len(self.waiting) + len(self.delayed) + more <= most

    def _count_new(self, items: list[str]) -> int:
        return len(items)

    def _join_counted(self, items: list[str]) -> int:
        before = len(self.waiting)
        joined = self._join(items)
        self.balance.update(self.waiting[before:])
        return joined

    def _join_late(self, items: list[str]) -> None:
        """Items join that were elsewhere; in a queue of unique items, some are done with instead."""
        self.balance.subtract(items)
        self._join_counted(items)

    def _go_back(self, items: list[str]) -> int:
        before = len(self.waiting)
        back = super()._go_back(items)
        self.balance.subtract(items)
        self.balance.update(self.waiting[: len(self.waiting) - before])
        return back

    def _put_off(self, items: list[str], waits: Sequence[float]) -> None:
        now = self.clock.now()
        self.delayed += [(float(f"{now + wait:.6f}"), item) for item, wait in zip(items, waits, strict=True)]
        self.delayed.sort(key=lambda each: each[0])

    def _bring_landed(self, consumer: Consumer) -> int:
        size = len(consumer.landed)
        self.waiting, consumer.landed = consumer.landed + self.waiting, []
        return size

    def _take(self, consumer: Consumer, asked: int, number: int, wait: Wait) -> int:
        self._bring_landed(consumer)
        if self.paused:
            asked = 0
        else:
            self._bring_due()
        if wait.lease is not None:
            self._claim_sweep(wait.lease)
            asked = min(asked, consumer.unseen + self._taken_together(self.waiting[: max(0, asked - consumer.unseen)]))
        tenure = consumer.lease[1] if consumer.held and consumer.lease else number
        size = super()._take(consumer, asked, number, wait)
        self.block = 0.0
        if self.took:
            consumer.answering = tenure
            if wait.lease is not None:
                consumer.lease = wait.lease, tenure
        elif wait.slice_ms:
            self.block = self._time_to_block(consumer, wait.slice_ms)
            if self.block > 0:
                self.took = True
                consumer.open = max(consumer.open, number)
        return size

    def _taken_together(self, items: list[str]) -> int:
        """Gives how many may be taken at once: what may have killed its consumer goes alone."""
        suspect = next((place for place, item in enumerate(items) if item in self.suspects), len(items))
        return max(1, suspect) if items else 0

    def _bring_due(self) -> None:
        now = self.clock.now()
        due = [item for when, item in self.delayed if when <= now]
        del self.delayed[: len(due)]
        self._join_late(due)
        if due and not self.delayed:
            self.waking = 0.0, []

    def _time_to_block(self, consumer: Consumer, most: int) -> float:
        """Gives for how many milliseconds a consumer blocks, or sleeps (negative)."""
        if self.paused:
            return -min(most, 1000)
        if not self.delayed:
            return most
        first = self.delayed[0][0]
        due = max(1, ceil((first - self.clock.now()) * 1000))
        if due > most:
            return min(most, 1000)
        when, names = self.waking
        names = names if when == first else []
        if consumer.id not in names:
            if len(names) == WAKERS:
                return min(most, 1000)
            names = [*names, consumer.id]
            self.waking = first, names
        ready = due + 10 * names.index(consumer.id)
        return ready - TICK if ready > 2 * TICK else -ready

    def _receive(self, consumer: Consumer, size: int) -> None:
        super()._receive(consumer, size)
        if size:
            consumer.tenure = consumer.answering

    def _contact(self, consumer: Consumer) -> None:
        consumer.stamp = self.clock.now()

    def _claim_sweep(self, lease: float) -> bool:
        now = self.clock.now()
        if now - (self.swept or 0) < lease / 2:
            return False
        self.swept = now
        return True

    def _remove(self, consumer: Consumer, items: list[str], tenure: int = 0) -> list[str]:
        if tenure and (consumer.lease is None or consumer.lease[1] != tenure):
            return []
        found = super()._remove(consumer, items)
        self._tidy(consumer)
        return found

    def _tidy(self, consumer: Consumer) -> None:
        if not consumer.held:
            consumer.stamp = consumer.lease = None

    def _release(self, consumer: Consumer, whole: bool) -> int:
        back = self._bring_landed(consumer) + super()._release(consumer, whole)
        self._tidy(consumer)
        return back

    def _ack(self, consumer: Consumer, items: list[str], tenure: int) -> int:
        found = self._remove(consumer, items, tenure)
        self.balance.subtract(found)
        self._forget_counts(found)
        return len(found)

    def _reject(self, consumer: Consumer, items: list[str]) -> int:
        found = self._remove(consumer, items)
        back = self._deliver_again(consumer, consumer, found[::-1], REJECTED)
        self._go_back(back[::-1])
        return len(found)

    def _retry(self, consumer: Consumer, items: list[str], tenure: int) -> tuple[int, int]:
        found = self._remove(consumer, items, tenure)
        again, spent = self._divide(found, consumer.limits.max_deliveries)
        self._write_letters(consumer, consumer, spent, BROKEN)
        self._put_off([item for item, _ in again], [STEPS[min(count, len(STEPS)) - 1] for _, count in again])
        self._keep_counts(again, spent)
        return len(found), len(spent)

    def _bury(self, consumer: Consumer, items: list[str], tenure: int) -> int:
        found = self._remove(consumer, items, tenure)
        _, spent = self._divide(found, 0)
        self._write_letters(consumer, consumer, spent, BROKEN)
        self._keep_counts([], spent)
        return len(found)

    def _deliver_again(self, by: Consumer, of: Consumer, items: list[str], reason: str) -> list[str]:
        """Counts a delivery, of items newest first; gives those that go back. Others become dead letters."""
        if by.limits.max_deliveries is None:
            return items
        again, spent = self._divide(items, by.limits.max_deliveries)
        self._write_letters(by, of, spent[::-1], reason)
        self._keep_counts(again, spent, swept=reason == SWEPT)
        return [item for item, _ in again]

    def _divide(self, items: list[str], most: int | None) -> tuple[Counted, Counted]:
        seen: dict[str, int] = {}
        again: Counted = []
        spent: Counted = []
        for item in items:
            seen[item] = seen.get(item, self.counts.get(item, 0)) + 1
            (again if most is None or seen[item] < most else spent).append((item, seen[item]))
        return again, spent

    def _keep_counts(self, again: Counted, spent: Counted, swept: bool = False) -> None:
        self._forget_counts([item for item, _ in spent])
        self.counts.update(again)
        (self.suspects.update if swept else self.suspects.difference_update)(item for item, _ in again)

    def _forget_counts(self, items: list[str]) -> None:
        for item in items:
            self.counts.pop(item, None)
            self.suspects.discard(item)

    def _write_letters(self, by: Consumer, of: Consumer, counted: Counted, reason: str) -> None:
        self.dead += [(item, count, reason, of.id) for item, count in counted]
        most = by.limits.dead_max
        if counted and most is not None:
            gone = self.dead[: max(0, len(self.dead) - most)]
            del self.dead[: len(gone)]
            self.balance.subtract(letter[0] for letter in gone)

    def _delete(self, items: list[str], count: int) -> int:
        before = Counter(self.waiting)
        removed = super()._delete(items, count)
        self.balance.subtract(before - Counter(self.waiting))
        if removed and not count:
            self._forget_counts(items)
        return removed

    def _sweep_silent(self, by: Consumer, timeout: float | None, drop: bool) -> int:
        now, back, dropped = self.clock.now(), 0, 0
        names = {one.id: one for one in self.who}
        for name, until in list(self.registered.items()):
            if until <= now or timeout is None:
                back += self._bring_landed(names[name])
            if until <= now:
                del self.registered[name]
        for one in self._silent(timeout):
            items = self._sweep(one)
            self._tidy(one)
            dropped += len(items)
            if drop:
                self.balance.subtract(items)
            else:
                back += self._go_back(self._deliver_again(by, one, items[::-1], SWEPT)[::-1])
        return dropped if drop else back

    def _silent(self, timeout: float | None) -> list[Consumer]:
        """Gives who was not heard of for too long, the latest contact first."""
        now = self.clock.now()
        found = []
        for one in self.who:
            if one.stamp is not None:
                after = one.lease[0] if one.lease else timeout
                if timeout is None or one.stamp <= now - cast(float, after):
                    found.append(one)
        return sorted(found, key=lambda one: (cast(float, one.stamp), one.id), reverse=True)

    # What must hold

    @invariant()
    def everything_is_where_it_must_be(self) -> None:
        seen = see(self.read, self.name, [one.id for one in self.who])
        assert seen.waiting == self.waiting
        assert seen.held == [one.held for one in self.who]
        assert seen.landed == [one.landed for one in self.who]
        assert seen.delayed == self.delayed
        assert seen.dead == self.dead
        counted = {item: count.split() for item, count in seen.counts.items()}
        assert {item: int(count) for item, (count, *_) in counted.items()} == self.counts
        assert {item for item, (_, *mark) in counted.items() if mark == ["swept"]} == self.suspects
        self._check_balance(seen)
        self._check_contacts(seen)
        self._checkregistrations(seen)
        self._check_meta(seen)

    def _check_balance(self, seen: Seen) -> None:
        """Each item is in one place."""
        found = Counter(seen.waiting)
        for each in (*seen.held, *seen.landed):
            found.update(each)
        found.update(item for _, item in seen.delayed)
        found.update(letter[0] for letter in seen.dead)
        assert found == Counter({item: count for item, count in self.balance.items() if count})
        places = [f"{self.name}{part}{one.id}" for one in self.who for part in ("-processing-", "/landing/")]
        others = [key for key in seen.keys if "-processing-" in key or "/landing/" in key]
        assert set(others) <= set(places), "no list is anybody else's"

    def _check_contacts(self, seen: Seen) -> None:
        """Who holds something has a stamp, and a lease if it is of those; nobody else."""
        held = [one for one in self.who if one.stamp is not None]
        stamps = {key: float(stamp) for key, stamp in seen.stamps.items()}
        assert stamps == {f"{self.name}-processing-{one.id}": one.stamp for one in held}
        fields = seen.consumers
        leases = {name.removesuffix("/lease"): value.split() for name, value in fields.items() if "/lease" in name}
        assert {name: (float(lease), int(tenure)) for name, (lease, tenure) in leases.items()} == {
            one.id: one.lease for one in self.who if one.lease
        }
        assert {name for name in fields if "/" not in name} <= {one.id for one in held}, (
            "who holds nothing has no record"
        )

    def _checkregistrations(self, seen: Seen) -> None:
        """Where something may land is registered."""
        self.registered = seen.registered
        now = self.clock.now()
        for one in self.who:
            assert not one.landed or one.id in self.registered
        for move in self.moves:
            if not move.landed and now < move.until:
                assert self.registered.get(move.consumer.id, 0) > now

    def _check_meta(self, seen: Seen) -> None:
        """The state of the queue is known."""
        assert ("paused" in seen.meta) is self.paused
        if "swept" not in seen.meta and not any("/" in field for field in seen.consumers):
            self.swept = None
        assert (float(seen.meta["swept"]) if "swept" in seen.meta else None) == self.swept
        when, *names = seen.meta.get("waking", "0").split("/")
        assert (float(when), names) == self.waking

    def teardown(self) -> None:
        with self.patches:
            super().teardown()
