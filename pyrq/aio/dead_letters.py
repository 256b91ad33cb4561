"""The dead letters of a queue, for asyncio."""

from __future__ import annotations

from typing import Generic, TypeVar

from pyrq.aio._runner import Runner
from pyrq.core import ops
from pyrq.core.codec import Codec, decode_one
from pyrq.core.errors import RqError
from pyrq.core.options import check_count
from pyrq.core.views import DeadLetter

__all__ = ["DeadLetters"]

T = TypeVar("T")


class DeadLetters(Generic[T]):
    """Items that could not be used: that their handler buried, that failed `max_deliveries` times, or that the codec
    can't decode.

    Unbounded, unless the queue has a `dead_max`: then the oldest go when there are more.
    """

    def __init__(self, run: Runner, codec: Codec[T]) -> None:
        self._run = run
        self._codec = codec

    async def count(self) -> int:
        """Counts the dead letters.

        Returns:
            How many there are.
        """
        return await self._run.look(ops.dead_count)

    async def peek(self, n: int) -> list[DeadLetter[T]]:
        """Shows the oldest dead letters; they stay where they are.

        Args:
            n: how many at the most, from 0 to 1,000.

        Returns:
            The dead letters, oldest first.

        Raises:
            TypeError: n is no whole number.
            ValueError: n is out of range.
        """
        most = check_count("n", n, most=ops.CHUNK)
        if not most:
            return []
        letters = await self._run.look(lambda keys: ops.dead_letters(keys, most))
        return [DeadLetter.of(letter, decode_one(self._codec, letter.raw)) for letter in letters]

    async def redrive(self, n: int | None = None) -> int:
        """Makes items of dead letters again: the oldest go first to the end of the queue, as if they were new.

        The queue's `max_size` does not hold for them. In a queue of unique items, one that waits is dropped.

        Args:
            n: how many at the most, from 0; None for all that are there now.

        Returns:
            How many left the dead letters.

        Raises:
            TypeError: n is no whole number.
            ValueError: n is negative.
        """
        wanted = await self.count() if n is None else check_count("n", n)
        total = 0
        while total < wanted:
            asked = min(wanted - total, ops.CHUNK)
            try:
                moved = await self._redrive(asked)
            except RqError as error:
                error.done += total
                raise
            total += moved
            if moved < asked:
                break
        return total

    async def _redrive(self, count: int) -> int:
        return await self._run.change(lambda keys, identity, _: ops.redrive(keys, identity, count))

    async def purge(self) -> int:
        """Deletes the dead letters.

        Returns:
            How many there were.
        """
        return await self._run.change(lambda keys, identity, _: ops.purge(keys, identity))
