"""Callers whose calls go out together, on real servers: each has its own effect, once, and its own answer.

Sixteen threads share a queue; an asyncio queue is called from them through its event loop. What goes together with what
is chance: a test goes on until what it is about has happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pyrq import Replicas
from pyrq.errors import NotEnoughSyncedSlavesError, QueueFull
from tests.conftest import Pair
from tests.proxy import Proxy
from tests.servers import World, wait_until

MANY = 16


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(MANY) as executor:
        yield executor


def waiting(client: Any, name: str = "orders") -> list[str]:
    return [item.decode() for item in client.lrange(name, 0, -1)]


def test_each_item_once_and_to_one_caller(world: World, url: str, client: Any, threads: ThreadPoolExecutor) -> None:
    queue = world.queue("orders", url, gather=True)
    items = [f"item {number}" for number in range(40 * MANY)]
    assert list(threads.map(queue.add_item, items)) == [True] * len(items)
    assert sorted(waiting(client)) == sorted(items)
    taken = [item for batch in threads.map(queue.get_items, [3] * len(items)) for item in batch]
    assert sorted(taken) == sorted(items)
    assert list(threads.map(queue.ack_item, taken)) == [True] * len(items)
    assert list(threads.map(queue.ack_item, taken)) == [False] * len(items)
    assert client.keys("orders-processing-*") == []


def test_each_hears_of_its_own_unique_items(world: World, url: str, client: Any, threads: ThreadPoolExecutor) -> None:
    queue = world.make("UniqueQueue", "orders", url, gather=True)
    counts = list(threads.map(queue.add_items, [[f"{number % 50}", f"{number % 7}"] for number in range(400)]))
    assert sum(counts) == 50
    assert len(waiting(client)) == 50


def test_a_bound_refuses_no_more_than_must_be(world: World, url: str, client: Any, threads: ThreadPoolExecutor) -> None:
    queue = world.queue("orders", url, gather=True, max_size=100)

    def add(number: int) -> int:
        try:
            return queue.add_items([f"{number} {more}" for more in range(3)])
        except QueueFull:
            return 0

    assert sum(threads.map(add, range(90))) == 99
    assert len(waiting(client)) == 99


@pytest.mark.parametrize("fault", ["drop_request", "drop_reply", "cut_reply"])
def test_a_joint_call_that_is_lost_takes_effect_once(
    world: World, proxy: Proxy, client: Any, threads: ThreadPoolExecutor, fault: str
) -> None:
    queue = world.queue("orders", proxy.url, gather=True, retry=10)
    queue.get_count()
    for script, act in (("add_together", queue.add_item), ("ack_together", queue.ack_item)):
        done: list[str] = []
        getattr(proxy, fault)(script)
        while proxy.hits != [fault]:
            items = [f"{script} {len(done) + number}" for number in range(4 * MANY)]
            if script == "ack_together":
                client.lpush("orders", *items)
                assert len(queue.get_items(len(items))) == len(items)
            assert list(threads.map(act, items)) == [True] * len(items)
            done += items
        proxy.hits.clear()
        if script == "add_together":
            assert sorted(waiting(client)) == sorted(done)
            client.delete("orders")
        else:
            assert client.keys("orders-processing-*") == []


def test_a_joint_get_that_is_lost_brings_its_items_again(
    world: World, proxy: Proxy, client: Any, threads: ThreadPoolExecutor
) -> None:
    queue = world.queue("orders", proxy.url, gather=True, retry=10)
    items = [f"item {number}" for number in range(20 * MANY)]
    queue.add_items(items)
    for _ in range(5):
        proxy.drop_reply("get")
    taken = [item for batch in threads.map(queue.get_items, [1] * len(items)) for item in batch]
    assert proxy.hits == ["drop_reply"] * 5
    assert sorted(taken) == sorted(items)
    assert list(threads.map(queue.ack_item, taken)) == [True] * len(items)
    assert client.keys("orders-processing-*") == []


def test_nobody_is_told_that_a_frozen_replica_has_it(world: World, pair: Pair, threads: ThreadPoolExecutor) -> None:
    queue = world.queue("orders", pair.primary.url, durability=Replicas(1, 50), gather=True)
    queue.add_item("first")
    pair.replica.freeze()

    def add(number: int) -> NotEnoughSyncedSlavesError:
        with pytest.raises(world.short_error) as caught:
            queue.add_items([f"{number}"] * (1 + number % 3))
        assert caught.value.done == 1 + number % 3
        return caught.value

    found = list(threads.map(add, range(3 * MANY)))
    pair.replica.thaw()
    for error in found:
        wait_until(confirming(world, error))
    with pair.replica.client() as replica:
        assert replica.llen("orders") == 1 + sum(error.done for error in found)


def confirming(world: World, error: NotEnoughSyncedSlavesError) -> Callable[[], bool]:
    def confirmed() -> bool:
        try:
            world.confirm(error)
        except NotEnoughSyncedSlavesError:
            return False
        return True

    return confirmed


def test_one_wait_serves_many(world: World, pair: Pair, threads: ThreadPoolExecutor) -> None:
    queue = world.queue("orders", pair.primary.url, durability=Replicas(1, 2000), gather=True)
    queue.get_count()
    with pair.primary.client() as client:
        client.config_resetstat()
        adds = waits = 0
        while waits == adds:
            assert list(threads.map(queue.add_item, range(4 * MANY))) == [True] * (4 * MANY)
            adds += 4 * MANY
            waits = client.info("commandstats")["cmdstat_wait"]["calls"]
    assert waits < adds


def test_scripts_that_are_gone_are_no_news_to_anybody(
    world: World, url: str, client: Any, threads: ThreadPoolExecutor
) -> None:
    queue = world.queue("orders", url, gather=True)
    added = 0
    for _ in range(20):
        client.script_flush()
        added += sum(threads.map(queue.add_items, [["x", "y"]] * MANY))
    assert added == len(waiting(client)) == 40 * MANY
