"""The batch of an `async with queue.batch(…)` block, for asyncio."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar, overload

from pyrq.core.errors import RqError

__all__ = ["Batch"]

T = TypeVar("T")

_log = logging.getLogger("pyrq.queue")


class Batch(Sequence[T]):
    """Items that are settled together at the end of the block, but for those that are settled inside it.

    It is a sequence of all the items that were taken, oldest first, whether they are settled or not.
    """

    def __init__(
        self,
        items: list[T],
        raw: list[bytes],
        ack: Callable[[list[bytes]], Awaitable[int]],
        reject: Callable[[list[bytes]], Awaitable[int]],
    ) -> None:
        """Made by `queue.batch`.

        Args:
            items: what was taken.
            raw: its bytes.
            ack: acknowledges some of these.
            reject: gives some of these back.
        """
        self._items = items
        self._open = dict(enumerate(zip(items, raw, strict=True)))
        self._ack = ack
        self._reject = reject

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...

    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    async def ack(self, item: T) -> bool:
        """Acknowledges one item now.

        Args:
            item: one of the batch; of equal ones the first that is not settled.

        Returns:
            Whether this consumer still held it.

        Raises:
            ValueError: the batch has no such item that is not settled.
        """
        return await self._settle(item, self._ack)

    async def reject(self, item: T) -> bool:
        """Gives one item back now, as the next out.

        Args:
            item: one of the batch; of equal ones the first that is not settled.

        Returns:
            Whether this consumer still held it.

        Raises:
            ValueError: the batch has no such item that is not settled.
        """
        return await self._settle(item, self._reject)

    async def _settle(self, item: T, settle: Callable[[list[bytes]], Awaitable[int]]) -> bool:
        place = next((place for place, (value, _) in self._open.items() if value == item), None)
        if place is None:
            raise ValueError("item must be one of the batch that is not settled yet")
        # Out before it is settled: another one who looks for an equal item must find the next.
        entry = self._open.pop(place)
        try:
            return await settle([entry[1]]) == 1
        except BaseException:
            self._open[place] = entry
            raise

    async def finish(self) -> None:
        """Acknowledges what is not settled; for the block's end."""
        if raw := self._take_open():
            await self._ack(raw)

    async def fail(self, error: BaseException) -> None:
        """Gives back what is not settled; for a block that fails. A failure of this is told, and does not hide that.

        Args:
            error: why the block failed.
        """
        raw = self._take_open()
        if not raw:
            return
        try:
            await self._reject(raw)
        except RqError as failure:
            error.add_note(f"{len(raw)} items could not be given back, and stay held: {type(failure).__name__}")
            _log.warning("%d items of a batch could not be given back: %s", len(raw), failure)

    def _take_open(self) -> list[bytes]:
        entries = sorted((place, raw) for place, (_, raw) in self._open.items())
        self._open.clear()
        return [raw for _, raw in entries]
