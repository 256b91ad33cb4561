"""Upkeep of a queue: what consumers left behind, and items that fail again and again."""

from __future__ import annotations

from typing import TypeVar

from pyrq.aio._facade import Facade
from pyrq.core import ops
from pyrq.core.codec import encode
from pyrq.core.member import QueueSetup
from pyrq.core.options import check_seconds

__all__ = ["Upkeep"]

T = TypeVar("T")


class Upkeep(Facade[T]):
    """The part of a queue that nobody needs while all goes well."""

    _setup: QueueSetup[T]

    # What consumers left behind

    async def re_enqueue_timeout_items(self, timeout: float = 7200) -> int:
        """Gives back what silent consumers held, as the next out, the consumer with the oldest contact first.

        Where the queue has `max_deliveries`, this counts as a delivery, and an item that was delivered so often becomes
        a dead letter.

        Args:
            timeout: since how many seconds a consumer must be silent, by the server's clock, from 0. Each get that
                finds something is a contact. One that runs `consume` has a lease, and is swept after that instead.

        Returns:
            How many items came back.

        Raises:
            TypeError: timeout is no number.
            ValueError: timeout is out of range.
        """
        seconds = check_seconds("timeout", timeout)
        return await self._run.repeat(
            lambda keys, identity, _: ops.re_enqueue(keys, identity, seconds, self._setup.limits)
        )

    async def re_enqueue_all_items(self) -> int:
        """Gives back what all consumers hold, live ones and this one included, as the next out.

        Returns:
            How many items came back.
        """
        async with self._run.get_lock:
            await self._run.settle_release()
            total = await self._run.repeat(
                lambda keys, identity, _: ops.re_enqueue(keys, identity, None, self._setup.limits)
            )
            self._run.member().session.inbox.forget()  # it was among what all hold
        return total

    async def drop_timeout_items(self, timeout: float = 7200) -> int:
        """Deletes what silent consumers held.

        Args:
            timeout: since how many seconds a consumer must be silent, by the server's clock, from 0.

        Returns:
            How many items were deleted.

        Raises:
            TypeError: timeout is no number.
            ValueError: timeout is out of range.
        """
        seconds = check_seconds("timeout", timeout)
        return await self._run.repeat(lambda keys, identity, _: ops.drop(keys, identity, seconds))

    async def drop_all_items(self) -> int:
        """Deletes what all consumers hold, live ones and this one included. Waiting items stay.

        Returns:
            How many items were deleted.
        """
        async with self._run.get_lock:
            await self._run.settle_release()
            total = await self._run.repeat(lambda keys, identity, _: ops.drop(keys, identity, None))
            self._run.member().session.inbox.forget()  # it was among what all hold
        return total

    # Items that fail again and again

    async def can_rollback_item(self, item: T) -> bool:
        """Counts one more rollback of an item, and says whether it may be rolled back, as in aio-py-rq.

        Both limits must be passed before it is refused: an item that fails often within a short time stays. It does not
        wait for what `durability` asks for, lest its answer be lost in an error.

        Args:
            item: the item; equal items are counted together.

        Returns:
            False once there were more than `max_retry_rollback` rollbacks and the first one is more than
            `max_timeout_in_queue` minutes ago, by the server's clock.

        Raises:
            ValueError: the queue was made without these options.
            InvalidItemError: None, or a value that the codec refuses.
        """
        limit = self._setup.rollback_limit
        if limit is None:
            raise ValueError("max_retry_rollback and max_timeout_in_queue must be given to the queue")
        encoded = encode(self._codec, item)
        return limit.allows(await self._run.hand_out(lambda keys, identity, _: ops.roll_back(keys, identity, encoded)))

    async def reset_blocked_item(self, item: T) -> bool:
        """Forgets how often an item was rolled back, and since when.

        Args:
            item: the item.

        Returns:
            Whether it had been rolled back.

        Raises:
            InvalidItemError: None, or a value that the codec refuses.
        """
        encoded = encode(self._codec, item)
        return await self._run.change(lambda keys, identity, _: ops.forget_rollbacks(keys, identity, encoded)) == 1
