"""Looking at a queue, and what is done to it as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from pyrq.aio._upkeep import Upkeep
from pyrq.aio.dead_letters import DeadLetters
from pyrq.core import ops
from pyrq.core.codec import decode_all
from pyrq.core.options import check_count
from pyrq.core.views import InFlight, Stats
from pyrq.core.work import Work

__all__ = ["Looking"]

T = TypeVar("T")


class Looking(Upkeep[T]):
    """The part of a queue that shows what it holds."""

    # What waits

    async def get_count(self) -> int:
        """Counts the items that wait; those that consumers hold and those that are put off are not among them.

        Returns:
            How many items wait.
        """
        return await self._run.look(ops.count)

    async def stats(self) -> Stats:
        """Tells how the queue is doing, in one round trip; takes time linear in the number of consumers, not of items.

        Returns:
            How many items wait, are in flight, are put off and are dead letters, how many consumers hold something or
            wait for an item, and whether the queue is paused.
        """
        return await self._run.look(ops.stats)

    async def peek(self, count: int, offset: int = 0) -> list[T]:
        """Shows the oldest waiting items; they stay where they are.

        Args:
            count: how many at the most, from 0 to 1,000.
            offset: how many to leave out before, from 0. Takes time linear in it.

        Returns:
            The items, oldest first, without those that the codec can't decode.

        Raises:
            TypeError: count or offset is no whole number.
            ValueError: count or offset is out of range.
        """
        most = check_count("count", count, most=ops.CHUNK)
        start = check_count("offset", offset)
        if not most:
            return []
        return decode_all(self._codec, await self._run.look(lambda keys: ops.peek(keys, most, start))).values

    async def in_flight(self) -> list[InFlight]:
        """Tells who holds how many items, in one round trip.

        Returns:
            For each consumer that holds something: its client id, how many items, for how many seconds nothing was
            heard of it, and its lease in seconds, or None.
        """
        return await self._run.look(ops.in_flight)

    # Stopping consumers

    async def pause(self) -> bool:
        """Makes consumers stop taking, those that wait for an item included. Producers go on.

        It lasts until `resume`. Consumers of the older libraries do not know of it.

        Returns:
            True if the queue was not paused before.
        """
        return await self._run.change(lambda keys, identity, _: ops.pause(keys, identity)) == 1

    async def resume(self) -> bool:
        """Lets consumers take again; those that wait notice within a second.

        Returns:
            True if the queue was paused.
        """
        return await self._run.change(lambda keys, identity, _: ops.resume(keys, identity)) == 1

    @property
    async def paused(self) -> bool:
        """Whether consumers are to stop taking. Asks the server."""
        return await self._run.look(ops.is_paused)

    @property
    def dead(self) -> DeadLetters[T]:
        """The dead letters: items that could not be used."""
        return DeadLetters(self._run, self._codec)

    # Removing

    async def delete_item(self, item: T, count: int = 0) -> int:
        """Removes copies of an item that wait, the newest first. Those that are put off stay.

        Args:
            item: the item.
            count: how many copies at the most; 0 for all.

        Returns:
            How many were removed.

        Raises:
            TypeError: count is no whole number.
            ValueError: count is negative.
            InvalidItemError: None, or a value that the codec refuses.
        """
        return await self.delete_items((item,), count)

    async def delete_items(self, items: Iterable[T], count: int = 0) -> int:
        """Removes copies of items that wait, the newest first. Takes time linear in the length of the queue.

        Args:
            items: any iterable of items.
            count: how many copies of each given item at the most; 0 for all.

        Returns:
            How many were removed.

        Raises:
            TypeError: not an iterable of items, or count is no whole number.
            ValueError: count is negative.
            InvalidItemError: None, or a value that the codec refuses.
        """
        most = check_count("count", count)
        work = Work.forward(self._codec, items)
        return await self._run.change_all(
            work, lambda chunk: lambda keys, identity, _: ops.delete(keys, identity, chunk, most)
        )
