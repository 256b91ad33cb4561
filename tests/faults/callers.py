"""Callers of a queue or a pool: each does one thing after another on an object, and keeps account of what it is told.

They are written once, as coroutines, for both worlds: `traffic.Plain` makes a sync object look as if it were an aio
one, whose methods never wait. So the coroutines run in threads, too.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pyrq.errors import OutcomeUnknown, RqError
from tests.faults.ledger import MARK
from tests.faults.traffic import Books

__all__ = ["Caller", "PoolCaller", "UniqueCaller"]

_EQUALS = 15
"""How many values there are besides the items of which each is there once. The higher, the rarer."""
_NOT_UTF8 = 2
_SIZES = (1, 1, 2, 3, 5, 8, 12, 30)
_SMALL_SIZES = (1, 1, 2, 3, 5)
"""Where outcomes may be unknown, lest too much be."""
_LARGE = 1_200
"""More than a chunk."""


class _Flop(Exception):
    """Is raised in a `batch` block that is to fail."""


class Caller:
    """Works on a queue, alone on an object of its own or with others on one object."""

    def __init__(
        self, books: Books, who: str, rng: random.Random, make: Callable[[], Any], shared: Any, *, is_aio: bool
    ) -> None:
        """Makes a caller.

        Args:
            books: of its queue.
            who: tells its items from those of others.
            rng: what it chooses with.
            make: makes an object.
            shared: an object that others use, too; None for one of its own.
            is_aio: whether it is a task; else it is a thread.
        """
        self.books = books
        self.trial = books.trial
        self.traffic = books.traffic
        self.rng = rng
        self.shared = shared
        self.queue = make() if shared is None else shared
        self.held: list[str] = []
        """What it was given and has not settled yet, for sure."""
        self.perhaps_held: set[str] = set()
        """What its object may hold besides, because it is not known whether it was settled."""
        self._who = who
        self._make = make
        self._is_aio = is_aio
        self._numbers = 0

    async def work(self, goes_on: Callable[[], bool]) -> None:
        """Does one thing after another, as long as it is to go on; then gives everything back."""
        names, weights = list(self.traffic.steps), list(self.traffic.steps.values())
        while goes_on():
            await getattr(self, self.rng.choices(names, weights)[0])()
            if self._is_aio:
                await asyncio.sleep(0)
        await self.leave()

    async def leave(self) -> None:
        """Settles what it holds, and closes its object if that is its own."""
        while self.held:
            await self.ack()
        if self.shared is None:
            await self.close()

    async def close(self) -> None:
        """Closes its object."""
        await self.call(self.queue.close())

    # Calls

    async def call(self, called: Awaitable[Any]) -> Any:
        """Awaits a call, or cancels it.

        Returns:
            Its result, or the error that it ended with: an OutcomeUnknown where it was cancelled.

        Raises:
            RqError: it failed, although every call is to be answered.
        """
        try:
            return await self._await(called)
        except asyncio.CancelledError:
            self.books.cancelled += 1
            self.trial.count("cancellations")
            return OutcomeUnknown()
        except RqError as error:
            self.trial.caught(error)
            if self.traffic.is_certain:
                raise
            return error

    async def _await(self, called: Awaitable[Any]) -> Any:
        if not self._is_aio or self.rng.random() >= self.traffic.cancels:
            return await called
        patience = self.rng.random() * self.rng.choice((0.0, 0.004, 0.02))
        task = asyncio.ensure_future(called)
        if self.rng.random() < 0.5:
            try:
                return await asyncio.wait_for(task, patience)
            except TimeoutError:
                raise asyncio.CancelledError from None
        await asyncio.wait({task}, timeout=patience)
        task.cancel()
        return await task

    def expect_count(self, what: str, counted: int, items: Sequence[str]) -> None:
        """Expects that a call counted all of its items, unless others may have been given them."""
        fits = counted <= len(items) if self.traffic.is_swept else counted == len(items)
        self.trial.expect(fits, f"{self.traffic.name}: {what} of {len(items)} items counted {counted}")

    # Items

    def values(self, many: int) -> list[str]:
        """Gives items: equal ones again and again, and some that are there once. Some are not UTF-8."""
        return [self.value() if self.rng.random() < self.traffic.singles else self.equal() for _ in range(many)]

    def value(self) -> str:
        self._numbers += 1
        return f"{MARK} {self._who} {self._numbers}"

    def equal(self) -> str:
        return _equal(min(int(self.rng.expovariate(0.4)), _EQUALS - 1))

    def any_equal(self) -> str:
        """Gives one of the values, a rare one as often as another."""
        return _equal(self.rng.randrange(_EQUALS))

    def size(self) -> int:
        return self.rng.choice(_SIZES if self.traffic.is_certain else _SMALL_SIZES)

    def size_or_more(self) -> int:
        return _LARGE if self.traffic.is_certain and self.rng.random() < 0.003 else self.size()

    def some_held(self) -> list[str]:
        """Takes some of what it holds."""
        chosen = self.rng.sample(self.held, min(len(self.held), self.size()))
        for item in chosen:
            self.held.remove(item)
        return chosen

    # Steps

    async def add(self) -> None:
        """Adds, also more than a chunk."""
        await self._add(self.size_or_more(), 0)

    async def put_off(self) -> None:
        """Adds with a delay."""
        await self._add(self.size(), self.rng.choice((0.01, 0.1, 0.3)))

    async def _add(self, many: int, delay: float) -> None:
        if not self.books.may_add:
            return
        items = self.values(many)
        answer = await self.call(self.queue.add_items(items, delay))
        if not isinstance(answer, RqError):
            self.expect_count("add", answer, items)
            self.books.added(items)
            return
        done, unknown = _told(answer, items)
        self.books.added(items[:done])
        self.books.perhaps_added(items[done : done + unknown])

    async def get(self) -> None:
        """Takes, also more than a chunk."""
        self._received(await self.call(self.queue.get_items(self.size_or_more(), self.rng.choice(self.traffic.waits))))

    def _received(self, answer: Any) -> None:
        if not isinstance(answer, RqError):
            self.books.account.seen(answer)
            self.held += answer

    async def ack(self) -> None:
        """Acknowledges some of what it holds."""
        chosen = self.some_held()
        # Where an ack may count less, it must be known which items it counts.
        groups = [[value] * many for value, many in Counter(chosen).items()] if self.traffic.is_swept else [chosen]
        for items in filter(None, groups):
            answer = await self.call(self.queue.ack_items(items))
            if isinstance(answer, RqError):
                self._doubt(answer, items)
            else:
                self.expect_count("ack", answer, items)
                self.books.acked(items[:answer])

    async def ack_other(self) -> None:
        """Acknowledges what it was not given: that counts nothing, and must not run late on what it is given then."""
        value = self.any_equal()
        if self.shared is None and value not in self.held and value not in self.perhaps_held:
            self.expect_none(await self.call(self.queue.ack_item(value)))

    def expect_none(self, answer: Any) -> None:
        is_none = answer is False or isinstance(answer, RqError)
        self.trial.expect(is_none, f"{self.traffic.name}: an ack counted what its caller was never given")

    def _doubt(self, error: RqError, items: Sequence[str]) -> None:
        """Notes an ack that ended with an error: what was not tried is still held."""
        self.perhaps_held.update(items)
        done, unknown = _told(error, items)
        self.books.acked(items[:done])
        self.books.perhaps_acked(items[done : done + unknown])
        self.held += items[done + unknown :]

    async def reject(self) -> None:
        """Gives back some of what it holds."""
        if items := self.some_held():
            answer = await self.call(self.queue.reject_items(items))
            if not isinstance(answer, RqError):
                self.expect_count("reject", answer, items)
            elif isinstance(answer, OutcomeUnknown):
                self.perhaps_held.update(items)
            else:
                self.held += items

    async def ack_and_get(self) -> None:
        """Does both in one call. There is no count; what is acknowledged may only be missing if it fails."""
        items = self.some_held()
        wait = self.rng.choice(self.traffic.waits)
        answer = await self.call(self.queue.ack_and_get(items, self.size(), wait))
        if isinstance(answer, RqError):
            self._doubt(answer, items)
        else:
            self.books.acked(items)
            self._received(answer)

    async def use_batch(self) -> None:
        """Takes for the time of a block, settles one item inside, and lets the block fail sometimes."""
        left: list[str] = []
        fails = self.rng.random() < 0.3
        try:
            answer = await self.call(self._use_batch(left, fails=fails))
        except _Flop:
            if not self.traffic.is_certain:
                self.perhaps_held.update(left)
            return  # what was left went back
        if isinstance(answer, RqError):
            self.perhaps_held.update(left)
        if isinstance(answer, OutcomeUnknown):
            self.books.perhaps_acked(left)
        elif not isinstance(answer, RqError):
            self.books.acked(left)

    async def _use_batch(self, left: list[str], *, fails: bool) -> None:
        async with self.queue.batch(self.size(), self.rng.choice(self.traffic.waits)) as batch:
            left += batch
            self.books.account.seen(left)
            # Were it not known whether it was settled inside, the block's end would settle it again; or an equal one.
            if left and self.traffic.is_certain and self.rng.random() < 0.5:
                item = self.rng.choice(left)
                if self.rng.random() < 0.5:
                    self.expect_count("ack of a batch", await batch.ack(item), [item])
                    self.books.acked([item])
                else:
                    self.expect_count("reject of a batch", await batch.reject(item), [item])
                left.remove(item)
            if fails:
                raise _Flop

    async def delete(self) -> None:
        """Deletes one or two of the equal ones that wait, or none: such a call must not run late."""
        value, most = self.any_equal(), self.rng.randint(1, 2)
        answer = await self.call(self.queue.delete_item(value, most))
        if isinstance(answer, OutcomeUnknown):
            self.books.perhaps_acked([value] * most)
        elif not isinstance(answer, RqError):
            self.books.acked([value] * answer)

    async def release(self) -> None:
        """Gives back what it was not given yet, and nothing of what it holds."""
        await self.call(self.queue.release())

    async def sweep(self) -> None:
        """Gives back what any caller holds that was silent for a moment."""
        if not isinstance(answer := await self.call(self.queue.re_enqueue_timeout_items(0.05)), RqError):
            self.books.swept += answer
            self.trial.count("swept", answer)

    async def reopen(self) -> None:
        """Closes its object, and goes on with a new one."""
        if self.shared is None:
            await self.leave()
            self.queue = self._make()
            self.perhaps_held.clear()

    async def look(self) -> None:
        """Asks something."""
        await self.call(self.queue.get_count())


def _equal(number: int) -> str:
    return f"{MARK} {number}" + ("\udcff" if number == _NOT_UTF8 else "")


def _told(error: RqError, items: Sequence[str]) -> tuple[int, int]:
    """Gives how many items an error tells to be done, and how many to be unknown: all, where it does not say."""
    if isinstance(error, OutcomeUnknown) and not error.done + error.unknown:
        return 0, len(items)
    return error.done, error.unknown


class UniqueCaller(Caller):
    """Works on a queue of unique items.

    An item that goes back is dropped if it waits again. So only what is added once goes back, and nothing else may.
    """

    def values(self, many: int) -> list[str]:
        return [self.value() for _ in range(many)]

    async def add_one(self) -> None:
        """Adds one that may wait already."""
        value = self.any_equal()
        answer = await self.call(self.queue.add_item(value))
        if answer is True:
            self.books.added([value])

    async def reject(self) -> None:
        once = [item for item in self.held if item.count(" ") > 1]
        if once:
            item = self.rng.choice(once)
            self.held.remove(item)
            self.expect_count("reject", await self.call(self.queue.reject_item(item)), [item])

    async def leave(self) -> None:
        """Takes all before it closes, so that nothing goes back."""
        while items := await self.call(self.queue.get_items(100)):
            self._received(items)
            while self.held:
                await self.ack()
        await super().leave()


class PoolCaller(Caller):
    """Works on a pool, of which items are taken out for good in the end."""

    def values(self, many: int) -> list[str]:
        return [self.value() for _ in range(many)]

    async def add(self) -> None:
        """Adds new ones."""
        if self.books.may_add:
            items = self.values(self.size())
            self.expect_count("add", await self.call(self.queue.add_items(items)), items)
            self.books.added(items)

    async def get(self) -> None:
        self._received(await self.call(self.queue.get_items(self.size())))

    async def add_again(self) -> None:
        """Makes due again what was handed out, or adds it anew if somebody has taken it out."""
        for item in self._one_held():
            if await self.call(self.queue.add_item(item)) is True:
                self.books.added([item])

    async def ack(self) -> None:
        if items := self.some_held():
            counted = await self.call(self.queue.ack_items(items))
            self.trial.expect(counted <= len(items), "pool: an ack counted more than it was given")

    async def remove(self) -> None:
        """Takes out what was handed out, one by one: it may be somebody else's by now."""
        for item in self.some_held():
            if await self.call(self.queue.remove_item(item)) is True:
                self.books.acked([item])

    async def delete(self) -> None:
        for item in self._one_held():
            if await self.call(self.queue.delete_item(item)) is True:
                self.books.acked([item])

    def _one_held(self) -> list[str]:
        return [self.held.pop(self.rng.randrange(len(self.held)))] if self.held else []
