"""Queues of unique items and pools for the integration tests, in either world, and what they keep on the server."""

from __future__ import annotations

from typing import Any, cast

import pyrq
from tests.servers import World, wait_until

__all__ = ["LETTERS", "confirmed", "held", "pool", "push", "unique", "waiting"]

BOTH = "return {redis.call('LRANGE', KEYS[1], 0, -1), redis.call('SMEMBERS', KEYS[2])}"
LETTERS = "a b c d e f g h i j k l"


def unique(world: World, target: Any, **options: Any) -> pyrq.UniqueQueue[Any]:
    """A queue of unique items named `orders`, with rollback limits."""
    limits = {"max_retry_rollback": 1, "max_timeout_in_queue": 10}
    return cast("pyrq.UniqueQueue[Any]", world.make("UniqueQueue", "orders", target, **{**limits, **options}))


def pool(world: World, target: Any, **options: Any) -> pyrq.Pool[Any]:
    """A pool named `orders`."""
    return cast("pyrq.Pool[Any]", world.make("Pool", "orders", target, **options))


def push(client: Any, items: str) -> None:
    """Adds items to a queue of unique items with plain commands, as the older libraries would."""
    client.lpush("orders", *items.split())
    client.sadd("orders-unique", *items.split())


def waiting(client: Any) -> str:
    """What waits in a queue of unique items, the next out first; list and set must agree on it."""
    # In one step; a full server would refuse a transaction.
    items, members = client.eval(BOTH, 2, "orders", "orders-unique")
    assert len(set(items)) == len(items)
    assert set(members) == set(items)
    return b" ".join(items[::-1]).decode()


def held(client: Any, queue: pyrq.UniqueQueue[Any]) -> str:
    """What a queue object holds, the oldest first."""
    return b" ".join(client.lrange(queue.processing_queue_name, 0, -1)[::-1]).decode()


def confirmed(world: World, error: pyrq.NotEnoughSyncedSlavesError) -> None:
    """Asks an error again until it is confirmed."""

    def ask() -> bool:
        try:
            world.confirm(error)
        except pyrq.NotEnoughSyncedSlavesError:
            return False
        return True

    wait_until(ask)
