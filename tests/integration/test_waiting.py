"""Waiting for an item on real servers: who is woken, and what is left of an item that lands where nobody looks."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import pyrq
import pyrq.aio
from pyrq.errors import PermissionDeniedError
from tests.integration.kinds import unique
from tests.integration.leaks import leaks
from tests.integration.test_errors import user
from tests.integration.waits import (
    LONG,
    Waiters,
    count_moves,
    end_registrations,
    landing_of,
    let_registration_end,
    now,
    until_blocked,
)
from tests.proxy import MOVE, Proxy
from tests.servers import Server, World, wait_until


@pytest.fixture(autouse=True)
def nothing_left(client: Any) -> Iterator[None]:
    """Once all queues are closed, only what holds items is left, and sessions that expire."""
    yield
    assert leaks(client, "orders") == {}


@pytest.fixture
def lost_move(client: Any) -> Iterator[None]:
    """For tests that lose a move, and can't know who asked; first among the arguments, so that it ends last."""
    yield
    end_registrations(client)


@pytest.fixture
def waiters(world: World) -> Iterator[Waiters]:
    """Ends before the queues are closed that wait."""
    waiters = Waiters()
    yield waiters
    waiters.close()


def queues_of(world: World, url: str, count: int) -> list[pyrq.Queue[Any]]:
    queues = [world.queue("orders", url) for _ in range(count)]
    for queue in queues:
        queue.get_count()
    return queues


# Who is woken


def test_an_added_item_wakes_a_get(world: World, url: str, client: Any, waiters: Waiters) -> None:
    queue, producer = queues_of(world, url, 2)
    waits = waiters.get(queue)
    until_blocked(client)
    assert producer.add_item("a")
    assert waits.result() == ["a"]
    assert queue.ack_item("a") is True


def test_a_plain_lpush_wakes_a_get(world: World, url: str, client: Any, waiters: Waiters) -> None:
    queue = world.queue("orders", url)
    waits = waiters.get(queue, 10)
    until_blocked(client)
    assert client.lpush("orders", "a", "b", "c") == 3
    # The one that landed is put in front of the others again, so it comes first.
    assert waits.result() == ["a", "b", "c"]
    assert queue.ack_items(["a", "b", "c"]) == 3


def test_one_item_wakes_one_of_several(world: World, url: str, client: Any, waiters: Waiters) -> None:
    queues = queues_of(world, url, 4)
    waits = [waiters.get(queue) for queue in queues]
    until_blocked(client, 4)
    client.lpush("orders", "0")
    wait_until(lambda: any(each.done() for each in waits))
    assert [each.result() for each in waits if each.done()] == [["0"]]
    until_blocked(client, 3)
    client.lpush("orders", "1", "2", "3")
    got = [each.result() for each in waits]
    # Who comes first may take all that is there; who is left waits on, and in vain.
    assert all(len(items) == 1 for items in got)
    assert sorted(item for items in got for item in items) == ["0", "1", "2", "3"]
    for queue, items in zip(queues, got, strict=True):
        assert queue.ack_items(items) == 1


def test_a_get_that_waits_in_vain(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", url)
    client.config_resetstat()
    assert queue.get_items(3, timeout=0.3) == []
    assert count_moves(client) >= 1
    assert client.hkeys("orders/consumers") == []


def test_threads_that_share_a_queue_wait_while_others_get_and_ack(
    world: World, url: str, client: Any, waiters: Waiters
) -> None:
    queue = world.queue("orders", url)
    client.lpush("orders", "x", "y")
    assert queue.get_items(2) == ["x", "y"]
    waits = [waiters.get(queue) for _ in range(3)]
    until_blocked(client, 3)
    # The lock is around the script, never around the wait.
    assert queue.get_items(5) == []
    assert queue.ack_item("x") is True
    assert queue.reject_item("y") is True
    wait_until(lambda: any(each.done() for each in waits))
    client.lpush("orders", "a", "b")
    got = [item for each in waits for item in each.result()]
    assert sorted(got) == ["a", "b", "y"]
    assert queue.ack_items(got) == 3


def test_a_delayed_item_wakes_when_it_is_due(world: World, url: str, client: Any, waiters: Waiters) -> None:
    queue = world.queue("orders", url)
    queue.add_item("late", delay=1.2)
    queue.add_item("soon", delay=0.5)
    due = dict(client.zrange("orders/delayed", 0, -1, withscores=True))
    times = sorted(due.values())
    for item, when in (("soon", times[0]), ("late", times[1])):
        assert waiters.get(queue).result() == [item]
        assert now(client) >= when
        assert queue.ack_item(item) is True


def test_a_paused_queue_gives_nothing_to_who_waits(world: World, url: str, client: Any, waiters: Waiters) -> None:
    queue, other = queues_of(world, url, 2)
    waits = waiters.get(queue)
    until_blocked(client)
    assert other.pause() is True
    client.config_resetstat()
    client.lpush("orders", "a")
    # The move that was under way brings it, and the next get, which hears of the pause, puts it back.
    wait_until(lambda: client.llen("orders") == 1 and client.info("clients")["blocked_clients"] == 0)
    wait_until(lambda: client.info("commandstats")["cmdstat_evalsha"]["calls"] >= 2)
    assert not waits.done()
    assert client.lrange("orders", 0, -1) == [b"a"]
    assert count_moves(client) <= 1
    assert other.resume() is True
    assert waits.result() == ["a"]
    assert queue.ack_item("a") is True


# What waiting survives


def test_a_move_whose_reply_is_lost(lost_move: None, world: World, proxy: Proxy, client: Any, waiters: Waiters) -> None:
    queue = world.queue("orders", proxy.url)
    queue.get_count()
    proxy.drop_landing()
    waits = waiters.get(queue)
    until_blocked(client)
    client.lpush("orders", "a", "b")
    assert waits.result() == ["a"]
    assert proxy.hits == ["drop_landing"]
    assert queue.get_items(2) == ["b"]
    assert queue.ack_items(["a", "b"]) == 2


def test_a_move_that_never_arrives(lost_move: None, world: World, proxy: Proxy, client: Any, waiters: Waiters) -> None:
    queue = world.queue("orders", proxy.url)
    queue.get_count()
    proxy.drop_request(MOVE)
    waits = waiters.get(queue)
    wait_until(lambda: proxy.hits == ["drop_request"])
    until_blocked(client)
    client.lpush("orders", "a")
    assert waits.result() == ["a"]
    assert queue.ack_item("a") is True


def test_a_connection_cut_while_it_waits(
    lost_move: None, world: World, url: str, client: Any, waiters: Waiters
) -> None:
    queue = world.queue("orders", url)
    waits = waiters.get(queue)
    until_blocked(client)
    assert client.client_kill_filter(_type="normal", skipme=True) >= 1
    until_blocked(client)
    client.lpush("orders", "a")
    assert waits.result() == ["a"]
    assert queue.ack_item("a") is True


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_server_that_restarts_while_a_get_waits(
    world: World, start_server: Callable[..., Server], waiters: Waiters, when: str
) -> None:
    server = start_server("--appendonly", "yes", "--appendfsync", "always")
    queue = world.queue("orders", server.url)
    waits = waiters.get(queue)
    with server.client() as client:
        until_blocked(client)
        if when == "before":
            server.freeze()  # the item is read first by the server that comes back
    server.kill()
    server.start()
    with server.client() as client:
        if when == "after":
            until_blocked(client)
        client.lpush("orders", "a")
        assert waits.result() == ["a"]
        assert queue.ack_item("a") is True
        queue.close()
        end_registrations(client)
        assert leaks(client, "orders") == {}


def test_a_server_that_does_not_answer_for_a_while(
    lost_move: None, world: World, server: Server, client: Any, waiters: Waiters
) -> None:
    queue = world.queue("orders", world.client(server.url, socket_timeout=0.5))
    waits = waiters.get(queue)
    until_blocked(client)
    server.freeze()
    try:
        # Its move has timed out, and the gets after that find no server.
        moves = queue._run.member().session.moves
        wait_until(lambda: not moves.under_way)
    finally:
        server.thaw()
    client.lpush("orders", "a")
    assert waits.result() == ["a"]
    assert queue.ack_item("a") is True


@pytest.mark.parametrize("socket_timeout", [1, None])
def test_a_wait_longer_than_the_sockets_time_out(
    world: World, server: Server, client: Any, waiters: Waiters, socket_timeout: int | None
) -> None:
    """With a second, and with what redis-py does by itself: 5 s since its version 8."""
    if socket_timeout:
        queue = world.queue("orders", world.client(server.url, socket_timeout=socket_timeout))
    else:
        queue = world.queue("orders", world.retrying_client(server.path))
    client.config_resetstat()
    waits = waiters.get(queue)
    until_blocked(client)
    # A connection that had timed out would be another one.
    own = blocked_id(client)
    wait_until(lambda: client.info("commandstats")["cmdstat_client|id"]["calls"] >= 3)
    until_blocked(client)
    assert blocked_id(client) == own
    client.lpush("orders", "a")
    assert waits.result() == ["a"]
    assert queue.ack_item("a") is True


def blocked_id(client: Any) -> str:
    """The id of the connection that waits."""
    (found,) = [each["id"] for each in client.client_list() if each["cmd"] == "blmove"]
    return str(found)


# Items that land where nobody looks


def abandon_wait(queue: Any, proxy: Proxy, client: Any) -> None:
    """Lets an item land for a queue whose move runs late, after its caller has given up."""

    async def give_up() -> None:
        waits = asyncio.create_task(queue.aio.get_items(1, timeout=LONG))
        assert await asyncio.to_thread(proxy.caught.wait, 10)
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits

    proxy.hold(MOVE, until_given_up=True)
    queue._world.wait_for(give_up())
    client.lpush("orders", "a")
    proxy.deliver()
    wait_until(lambda: client.lrange(landing_of(queue), 0, -1) == [b"a"])
    assert client.llen("orders") == 0


@pytest.fixture
def aio_world(start_server: Any, proxy: Proxy) -> Iterator[World]:
    """For what only tasks can do: be cancelled."""
    world = World("aio")
    yield world
    world.close()


def test_what_lands_after_a_cancellation_is_found_by_the_next_get(
    lost_move: None, aio_world: World, proxy: Proxy, client: Any
) -> None:
    queue = aio_world.queue("orders", proxy.url)
    abandon_wait(queue, proxy, client)
    assert queue.get_items(1) == ["a"]
    assert queue.ack_item("a") is True


@pytest.mark.parametrize("end", ["close", "release"])
def test_what_lands_after_a_cancellation_is_given_back_at_the_end(
    lost_move: None, aio_world: World, proxy: Proxy, client: Any, end: str
) -> None:
    queue = aio_world.queue("orders", proxy.url)
    abandon_wait(queue, proxy, client)
    getattr(queue, end)()
    assert client.lrange("orders", 0, -1) == [b"a"]
    assert client.exists(landing_of(queue)) == 0


def test_what_lands_after_a_cancellation_is_swept_in_time(
    aio_world: World, proxy: Proxy, url: str, client: Any
) -> None:
    queue, other = aio_world.queue("orders", proxy.url), aio_world.queue("orders", url)
    abandon_wait(queue, proxy, client)
    # As long as something may land there, the list is its consumer's.
    assert other.re_enqueue_timeout_items(0) == 0
    assert client.llen(landing_of(queue)) == 1
    let_registration_end(client, queue.client_id)
    assert other.re_enqueue_timeout_items(7200) == 1
    assert client.lrange("orders", 0, -1) == [b"a"]
    assert other.get_items(1) == ["a"]
    assert other.ack_item("a") is True


async def test_a_wait_shorter_than_the_get(url: str, client: Any) -> None:
    async with pyrq.aio.Queue("orders", url) as queue:
        for number in range(5):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(queue.get_items(1, timeout=LONG), 0.05 * number)
        client.lpush("orders", "a", "b")
        assert await queue.get_items(2) == ["a", "b"]
        assert await queue.ack_items(["a", "b"]) == 2


async def test_waits_cancelled_at_any_moment_lose_nothing(lost_move: None, url: str, client: Any, rng: Any) -> None:
    seen: list[str] = []
    async with pyrq.aio.Queue("orders", url) as queue:
        for number in range(150):
            waits = asyncio.create_task(queue.get_items(1, timeout=LONG))
            for _ in range(rng.randrange(25)):
                await asyncio.sleep(0)
            client.lpush("orders", number)
            for _ in range(rng.randrange(25)):
                await asyncio.sleep(0)
            waits.cancel()
            await asyncio.wait([waits])
            seen += [] if waits.cancelled() else waits.result()
        while items := await queue.get_items(20):
            seen += items
        assert sorted(seen, key=int) == [str(number) for number in range(150)]
        assert await queue.ack_items(seen) == 150


WAIT = {
    False: "import sys, pyrq; pyrq.Queue('orders', sys.argv[1]).get_items(1, timeout=60)",
    True: "import asyncio, sys, pyrq.aio as a; asyncio.run(a.Queue('orders', sys.argv[1]).get_items(1, timeout=60))",
}


def test_what_lands_for_a_process_that_is_killed(world: World, server: Server, client: Any) -> None:
    process = subprocess.Popen([sys.executable, "-c", WAIT[world.is_aio], server.url])
    try:
        wait_until(lambda: client.info("clients")["blocked_clients"] == 1, 30)
        process.send_signal(19)  # SIGSTOP: the item lands, and the process does not see it
        client.lpush("orders", "a")
        wait_until(lambda: client.keys("orders/landing/*"))
    finally:
        process.kill()
        process.wait(10)
    (landing,) = client.keys("orders/landing/*")
    other = world.queue("orders", server.url)
    assert other.get_items(1) == []
    let_registration_end(client, landing.decode().removeprefix("orders/landing/"))
    assert other.re_enqueue_timeout_items(7200) == 1
    assert other.get_items(1) == ["a"]
    assert other.ack_item("a") is True


def test_what_has_landed_still_waits_in_a_queue_of_unique_items(world: World, url: str, client: Any) -> None:
    queue, other = unique(world, url), unique(world, url)
    other.add_items(["a", "b", "c"])
    field = f"{queue.client_id}/landing"
    client.hset("orders/consumers", field, f"{now(client) + 60:.6f}")
    for _ in range(2):
        assert client.blmove("orders", landing_of(queue), 1, "RIGHT", "LEFT")
    assert client.lrange(landing_of(queue), 0, -1) == [b"b", b"a"]
    assert other.add_items(["a", "b", "c"]) == 0
    assert other.repair() == 0
    assert other.delete_item("b") == 1
    assert client.lrange(landing_of(queue), 0, -1) == [b"a"]
    assert client.smembers("orders-unique") == {b"a", b"c"}
    client.sadd("orders-unique", "ghost")
    client.srem("orders-unique", "a")
    assert other.repair() == 2
    assert client.smembers("orders-unique") == {b"a", b"c"}
    assert queue.get_items(3) == ["a", "c"]
    assert queue.ack_items(["a", "c"]) == 2


def test_a_queue_of_unique_items_wakes_a_get(world: World, url: str, client: Any, waiters: Waiters) -> None:
    queue, other = unique(world, url), unique(world, url)
    waits = waiters.get(queue)
    until_blocked(client)
    assert other.add_item("a") is True
    assert waits.result() == ["a"]
    assert other.add_item("a") is True, "it does not wait any more"
    assert queue.ack_items(["a", *queue.get_items(1)]) == 2


# Servers that refuse


def test_a_full_server_refuses_the_move_and_a_get_waits_on(
    world: World, url: str, client: Any, waiters: Waiters
) -> None:
    queue = world.queue("orders", url)
    queue.get_count()
    client.config_resetstat()
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")
    waits = waiters.get(queue)
    begin = now(client)
    wait_until(lambda: count_moves(client, "rejected_calls") >= 2)
    # It asks once a second, and not again and again.
    assert count_moves(client, "rejected_calls") <= 1 + 2 * (now(client) - begin)
    assert not waits.done()
    client.config_set("maxmemory", "0")
    client.lpush("orders", "a")
    assert waits.result() == ["a"]
    assert queue.ack_item("a") is True


def test_a_user_who_may_not_move(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", world.client(url, **user(client, "~*", "+@all", "-blmove")))
    with pytest.raises(PermissionDeniedError) as caught:
        queue.get_items(1, timeout=LONG)
    assert re.search("blmove", str(caught.value), re.IGNORECASE)
    # Who does not wait needs no move.
    client.lpush("orders", "a")
    assert queue.get_items(1) == ["a"]
    assert queue.ack_item("a") is True


def test_a_user_who_may_not_know_or_wake_its_connections(world: World, url: str, client: Any, waiters: Waiters) -> None:
    login = user(client, "~*", "+@all", "-client|id", "-client|unblock")
    queue = world.queue("orders", world.client(url, **login))
    waits = waiters.get(queue)
    until_blocked(client)
    client.lpush("orders", "a")
    assert waits.result() == ["a"]
    assert queue.ack_item("a") is True


def test_a_user_who_may_do_nothing_more_than_a_consumer_must_still_stops(world: World, url: str, client: Any) -> None:
    """Without CLIENT UNBLOCK the move ends by itself, at the end of its slice."""
    login = user(client, "~*", "+@all", "-client|id", "-client|unblock")
    queue = world.queue("orders", world.client(url, **login))
    stop: Any = asyncio.Event() if world.is_aio else threading.Event()
    with ThreadPoolExecutor(1) as thread:
        consumer = thread.submit(queue.consume, lambda _: None, lease=2, stop=stop)
        until_blocked(client)
        if world.is_aio:
            world.loop.call_soon_threadsafe(stop.set)
        else:
            stop.set()
        assert consumer.result(30).taken == 0
    queue.close()
    wait_until(lambda: client.info("clients")["blocked_clients"] == 0)
