"""Waiting on real servers: what else a consumer can ask for while it waits, and moves that outlive their connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration.leaks import leaks
from tests.integration.test_errors import CARD, COMMANDS, user
from tests.proxy import MOVE, Proxy
from tests.servers import World, wait_until

LONG = 20.0
"""A time to wait that no test waits for."""

Begin = Callable[..., Future[Any]]
both_kinds = pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])


@pytest.fixture(autouse=True)
def _nothing_is_left(client: Any) -> Iterator[None]:
    """It ends after the world's queues: what they leave then is too much."""
    yield
    assert leaks(client, "orders") == {}


@pytest.fixture(autouse=True)
def begin() -> Iterator[Begin]:
    """Calls a function in another thread. It ends after the world's queues, whose closing ends what still waits."""
    with ThreadPoolExecutor(16) as threads:
        yield threads.submit


def blocked(client: Any, count: int) -> None:
    """Waits until so many connections are in a blocking move."""
    wait_until(lambda: client.info("clients")["blocked_clients"] == count)


def calls(client: Any, command: str) -> int:
    """How often a command was called since the statistics began."""
    number: int = client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"]
    return number


def server_time(client: Any) -> float:
    seconds, micros = client.time()
    return float(seconds) + float(micros) / 1e6


def dues(client: Any) -> list[float]:
    """When the delayed items are due, the first one first."""
    return [score for _, score in client.zrange("orders/delayed", 0, -1, withscores=True)]


# Who wakes for what


def test_one_item_makes_one_of_several_look(world: World, url: str, client: Any, begin: Begin) -> None:
    queues = [world.queue("orders", url) for _ in range(5)]
    taking = [begin(queue.get_items, 1, timeout=LONG) for queue in queues]
    blocked(client, 5)
    client.config_resetstat()
    client.lpush("orders", "0")
    wait_until(lambda: any(one.done() for one in taking))
    assert calls(client, "evalsha") == 1, "another one looked, too"
    blocked(client, 4)
    client.lpush("orders", "1", "2", "3", "4")
    assert sorted(one.result(LONG) for one in taking) == [["0"], ["1"], ["2"], ["3"], ["4"]]
    for queue, one in zip(queues, taking, strict=True):
        assert queue.ack_items(one.result()) == 1


def test_what_acknowledges_can_wait_for_the_next(world: World, url: str, client: Any, begin: Begin) -> None:
    queue = world.queue("orders", url)
    client.lpush("orders", "a", "b")
    assert queue.get_items(1) == ["a"]
    assert queue.ack_and_get(["a"], 3, timeout=LONG) == ["b"]
    taking = begin(queue.ack_and_get, ["b"], 3, timeout=LONG)
    blocked(client, 1)
    assert client.llen(queue.processing_queue_name) == 0, "it is acknowledged before the wait"
    client.lpush("orders", "c")
    assert taking.result(LONG) == ["c"]
    assert queue.ack_item("c") is True


@both_kinds
def test_delayed_items_come_in_their_order_and_not_early(world: World, url: str, client: Any, kind: str) -> None:
    queue, other = world.make(kind, "orders", url), world.make(kind, "orders", url)
    for item, delay in (("c", 1.2), ("a", 0.3), ("b", 0.6)):
        assert other.add_item(item, delay=delay) is True
    for item, due in zip("abc", dues(client), strict=True):
        taken = queue.get_items(1, timeout=LONG)
        assert server_time(client) >= due
        assert taken == [item]
    assert queue.ack_items(["a", "b", "c"]) == 3


def test_an_item_is_put_off_while_another_one_waits(world: World, url: str, client: Any, begin: Begin) -> None:
    """Who blocked before does not know of it, and looks at the end of its slice."""
    queue, other = world.queue("orders", url), world.queue("orders", url)
    taking = begin(queue.get_items, 1, timeout=LONG)
    blocked(client, 1)
    other.add_item("a", delay=0.2)
    (due,) = dues(client)
    assert taking.result(LONG) == ["a"]
    assert server_time(client) >= due
    assert queue.ack_item("a") is True


def test_a_delayed_item_goes_to_one_of_many_that_wait(world: World, url: str, client: Any, begin: Begin) -> None:
    queues = [world.queue("orders", url) for _ in range(6)]
    queues[0].add_item("a", delay=0.5)
    (due,) = dues(client)
    taking = [begin(queue.get_items, 1, timeout=2) for queue in queues]
    wait_until(lambda: any(one.done() and one.result() for one in taking))
    assert server_time(client) >= due
    assert sorted(one.result(LONG) for one in taking) == [[], [], [], [], [], ["a"]]
    assert sum(queue.ack_items(one.result()) for queue, one in zip(queues, taking, strict=True)) == 1
    assert not client.exists("orders/meta"), "it still says who wakes"


def test_what_lands_while_the_queue_is_paused_is_taken_by_another(
    world: World, url: str, client: Any, begin: Begin
) -> None:
    queue, other = world.queue("orders", url), world.queue("orders", url)
    taking = begin(queue.get_items, 1, timeout=LONG)
    blocked(client, 1)
    assert other.pause() is True
    client.lpush("orders", "a", "b")
    # The server does not know of a pause: one lands, and is put back.
    wait_until(lambda: client.lrange("orders", 0, -1) == [b"b", b"a"])
    assert other.get_items(1) == []
    assert not taking.done()
    assert other.resume() is True
    assert sorted(other.get_items(1) + taking.result(LONG)) == ["a", "b"]
    assert queue.ack_items(["a", "b"]) + other.ack_items(["a", "b"]) == 2


# Connections


@both_kinds
def test_a_move_that_the_server_still_does_when_its_connection_is_lost(
    world: World, proxy: Proxy, client: Any, begin: Begin, kind: str
) -> None:
    """Both moves of the consumer may bring something; one item for each, so that none stays behind."""
    queue = world.make(kind, "orders", proxy.url)
    queue.get_count()
    proxy.strand(MOVE)
    taking = begin(queue.get_items, 1, timeout=LONG)
    blocked(client, 2)
    assert proxy.hits == ["strand"]
    if kind == "UniqueQueue":
        client.sadd("orders-unique", "a", "b")
    client.lpush("orders", "a")
    client.lpush("orders", "b")
    blocked(client, 0)
    taken = taking.result(LONG)
    taken += queue.get_items(5, timeout=LONG) if len(taken) < 2 else []
    assert sorted(taken) == ["a", "b"]
    assert queue.ack_items(["a", "b"]) == 2
    settle(world, proxy, client)


def settle(world: World, proxy: Proxy, client: Any) -> None:
    """Ends the registrations of moves whose answer was lost, instead of waiting for that, and sweeps."""
    for field in client.hkeys("orders/consumers"):
        client.hset("orders/consumers", field, f"{server_time(client) - 1:.6f}")
    assert world.queue("orders", f"unix://{proxy.upstream}").re_enqueue_timeout_items() == 0


def test_a_connection_that_breaks_again_and_again(world: World, proxy: Proxy, client: Any, begin: Begin) -> None:
    queue = world.queue("orders", proxy.url)
    queue.get_count()
    client.config_resetstat()
    taking = begin(queue.get_items, 1, timeout=LONG)
    for number in range(1, 5):
        # The statistics count a blocked move when it ends.
        wait_until(lambda number=number: calls(client, "client|id") == number)  # type: ignore[misc]
        blocked(client, 1)
        proxy.cut()
    wait_until(lambda: calls(client, "client|id") == 5)
    blocked(client, 1)
    client.lpush("orders", "a")
    assert taking.result(LONG) == ["a"]
    assert queue.ack_item("a") is True
    settle(world, proxy, client)


def test_an_answer_that_is_there_when_the_wait_is_cancelled(proxy: Proxy, url: str, client: Any) -> None:
    """The item has landed, and nobody reads that: the next get finds it."""
    world = World("aio")
    queue: Any = world.queue("orders", url)

    async def cancel_as_it_lands(item: str) -> None:
        task = asyncio.create_task(queue.aio.get_items(1, timeout=LONG))
        while not client.info("clients")["blocked_clients"]:
            await asyncio.sleep(0.002)
        client.lpush("orders", item)  # in one step of the loop with the cancellation
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    try:
        for item in ("a", "b"):
            world.wait_for(cancel_as_it_lands(item))
            assert client.lrange(f"orders/landing/{queue.client_id}", 0, -1) == [item.encode()]
            assert queue.get_items(5) == [item]
        assert queue.ack_items(["a", "b"]) == 2
        settle(world, proxy, client)
    finally:
        world.close()


def test_a_pool_with_one_connection_polls(world: World, url: str, client: Any, begin: Begin) -> None:
    """Were it blocked on, nobody could add with it."""
    client.config_resetstat()
    queue = world.queue("orders", world.client(url, max_connections=1))
    taking = begin(queue.get_items, 1, timeout=LONG)
    wait_until(lambda: calls(client, "evalsha") >= 4)
    assert queue.add_item("a") is True
    assert taking.result(LONG) == ["a"]
    assert queue.ack_item("a") is True
    assert calls(client, "blmove") == 0


def test_a_pool_leaves_a_connection_to_those_who_do_not_wait(world: World, url: str, client: Any, begin: Begin) -> None:
    queue = world.queue("orders", world.client(url, max_connections=3))
    taking = [begin(queue.get_items, 1, timeout=LONG) for _ in range(5)]
    blocked(client, 2)
    assert queue.add_items(range(5)) == 5
    assert sorted(item for one in taking for item in one.result(LONG)) == ["0", "1", "2", "3", "4"]
    assert queue.ack_items(range(5)) == 5
    assert queue.get_items(1) == []


# Access rules


@pytest.mark.parametrize("more", [[], ["client|id"], ["client|id", "client|unblock"]], ids=len)
def test_the_least_that_has_to_be_permitted_to_wait(
    world: World, url: str, client: Any, begin: Begin, more: list[str]
) -> None:
    names = [*COMMANDS, "eval", "evalsha", "hello", "blmove", *more]
    rules = ["-@all", "~orders", "~orders-*", "~orders/*", *(f"+{name}" for name in names)]
    queue = world.queue("orders", world.client(url, **user(client, *rules)))
    taking = begin(queue.get_items, 1, timeout=LONG)
    blocked(client, 1)
    client.lpush("orders", CARD)
    assert taking.result(LONG) == [CARD]
    assert queue.ack_item(CARD) is True
