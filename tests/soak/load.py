"""Producers and consumers of one queue, in threads and in tasks, that go on whatever happens to the server."""

from __future__ import annotations

import asyncio
import random
import threading
import traceback
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Literal

from pyrq.core.options import Durability
from pyrq.errors import NotEnoughSyncedSlavesError, OutcomeUnknown, RqError
from tests.servers import World
from tests.soak.arena import Arena

__all__ = ["CONSUMERS", "Actor", "Answer", "Consumer", "Habits", "Load", "Producer"]

Answer = Literal["done", "short", "unknown", "refused"]
"""What is known of a call; "short" is done, and confirmed by too few."""
CONSUMERS = 4
"""So many consumers a queue has: two in each world."""
_NAP = 0.02
_PATIENCE = 90.0


@dataclass(frozen=True)
class Habits:
    """What producers and consumers do, and how often.

    Attributes:
        batch: how many items they add or take at a time, at the most.
        copies: which part of the items is equal to others.
        cancel: which part of the calls in tasks is cancelled.
        delay: which part of the adds is put off.
        reopen: after which part of its steps a consumer closes its queue object and opens another.
        retries: for how many seconds calls are sent again: one of these.
        durability: what changes wait for.
    """

    batch: int
    copies: float = 0.5
    cancel: float = 0.0
    delay: float = 0.0
    reopen: float = 0.0
    retries: tuple[float, ...] = (30.0,)
    durability: Durability | None = None


class Load:
    """All producers and consumers of a queue.

    Attributes:
        over: set when they are to end.
        answered: how many calls have had which answer.
    """

    def __init__(
        self,
        arena: Arena,
        name: str,
        url: str,
        habits: Habits,
        rng: random.Random,
        consumer: type[Consumer] | None = None,
    ) -> None:
        """Begins: in each world, a producer and a consumer that share an object, and a consumer with one of its own.

        Args:
            arena: is told of it all.
            name: the queue's.
            url: where it is.
            habits: what they do.
            rng: randomness of its own.
            consumer: what kind of consumer; None for `Consumer`.
        """
        consumer = consumer or Consumer
        self.arena, self.name, self.url, self.habits = arena, name, url, habits
        self.over = threading.Event()
        self.answered = Counter[Answer]()
        self._worlds = [World("sync"), World("aio")]
        self._shared = [world.queue(name, url, durability=habits.durability) for world in self._worlds]
        self._actors: list[Actor] = []
        for world, shared in zip(self._worlds, self._shared, strict=True):
            for part, queue in ((Producer, shared), (consumer, shared), (consumer, None)):
                who = f"{world.name}{len(self._actors)}"
                self._actors.append(part(self, world, queue, who, random.Random(f"{rng.random()} {who}")))
        for actor in self._actors:
            actor.thread.start()

    def stop(self) -> None:
        """Ends them; faults must be over. What they took and have not settled stays where it is."""
        self.over.set()
        for actor in self._actors:
            actor.thread.join(_PATIENCE)
            self.arena.trial.expect(not actor.thread.is_alive(), "a call of the library came back")
        for queue in self._shared:
            queue.close()
        for world in self._worlds:
            world.close()


class Actor:
    """Does one thing again and again, in a thread."""

    def __init__(self, load: Load, world: World, queue: Any, who: str, rng: random.Random) -> None:
        self.load, self.arena, self.world, self.who, self.rng = load, load.arena, world, who, rng
        self.is_alone = queue is None
        self.queue = self.open() if queue is None else queue
        self.thread = threading.Thread(target=self._run, daemon=True)

    def open(self) -> Any:
        """Opens a queue object of its own."""
        habits = self.load.habits
        retry = self.rng.choice(habits.retries)
        return self.world.queue(self.load.name, self.load.url, retry=retry, durability=habits.durability)

    def step(self) -> None:
        """Does it once."""
        raise NotImplementedError

    def _run(self) -> None:
        try:
            while not self.load.over.is_set():
                self.step()
            if self.is_alone:
                self.queue.close()
        except Exception:  # noqa: BLE001 - the others go on, and the ledger says it
            self.arena.trial.blame("failed", 1, f"{self.who} ended by an exception\n{traceback.format_exc()}")

    def ask(self, method: str, *args: Any) -> tuple[Answer, Any]:
        """Calls a method of the queue, and cancels the call now and then.

        Returns:
            What is known of the call, and its result.
        """
        answer, result = self._try(method, *args)
        self.load.answered[answer] += 1  # a thread's may get lost in another's: it is only waited for
        if answer != "done":
            self.arena.trial.count(answer)
        return answer, result

    def _try(self, method: str, *args: Any) -> tuple[Answer, Any]:
        try:
            if self.world.is_aio and self.rng.random() < self.load.habits.cancel:
                call = getattr(self.queue.aio, method)(*args)
                return "done", self.world.wait_for(_cancelled_after(call, self.rng.uniform(0, 0.005)))
            return "done", getattr(self.queue, method)(*args)
        except _CancelledError:
            return "unknown", None
        except RqError as error:
            self.arena.trial.caught(error)
            if isinstance(error, OutcomeUnknown):
                return "unknown", None
            return "short" if isinstance(error, NotEnoughSyncedSlavesError) else "refused", None


class Producer(Actor):
    """Adds when more is due."""

    _number = 0

    def step(self) -> None:
        habits = self.load.habits
        if not self.arena.wants_items():
            self.load.over.wait(_NAP)
            return
        self._number += 1
        many = self.rng.randint(1, habits.batch)
        items = self.arena.items(self.rng, many, f"{self.load.name} {self.who} {self._number}", habits.copies)
        delay = self.rng.uniform(0.001, 1) if self.rng.random() < habits.delay else 0
        answer, added = self.ask("add_items", items, delay)
        if answer == "done":
            self.arena.trial.expect(added == many, "an add counts what it added")
            self.arena.added(items)
        elif answer != "refused":
            self.arena.account.perhaps_added(items)


class Consumer(Actor):
    """Takes, and acknowledges or rejects."""

    def step(self) -> None:
        if self.arena.resting.is_set():
            self.load.over.wait(_NAP)
            return
        most, timeout = self.rng.randint(1, self.load.habits.batch), self.rng.choice([None, 0.05, 0.3])
        _, items = self.ask("get_items", most, timeout)
        while items:
            self.arena.account.seen(items)
            items = self._settle(items)
        if self.is_alone and self.rng.random() < self.load.habits.reopen:
            self._reopen()
        if items is None:
            self.load.over.wait(_NAP)

    def _reopen(self) -> None:
        try:
            self.queue.close()
        except RqError as error:
            self.arena.trial.caught(error)
        self.queue = self.open()

    def _settle(self, items: list[str]) -> list[str]:
        """Settles a batch; gives the next one, where it was asked for with that."""
        draw = self.rng.random()
        if draw < 0.1:
            self._settle_by("reject_items", items)
            return []
        if draw < 0.3 and not self.load.over.is_set():
            answer, more = self.ask("ack_and_get", items, len(items))
        else:
            answer, more = self._settle_by("ack_items", items), None
        if answer == "done":
            self.arena.account.acked(items)
        elif answer == "unknown":
            self.arena.account.perhaps_acked(items)
        return more or []

    def _settle_by(self, method: str, items: list[str]) -> Answer:
        answer, count = self.ask(method, items)
        self.arena.trial.expect(answer != "done" or count == len(items), f"{method} counts what this consumer holds")
        return answer


class _CancelledError(Exception):
    """A call was cancelled."""


async def _cancelled_after(call: Coroutine[Any, Any, Any], seconds: float) -> Any:
    """Gives the result of a call that comes back in time, and cancels one that does not."""
    task = asyncio.ensure_future(call)
    await asyncio.wait([task], timeout=seconds)
    task.cancel()
    await asyncio.wait([task])
    if task.cancelled():
        raise _CancelledError
    return task.result()
