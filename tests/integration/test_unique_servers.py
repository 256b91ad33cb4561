"""The queue of unique items on real servers: access rules, large sweeps, replicas, consumers that die, constructors."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from redis import asyncio as redis_asyncio

import pyrq
from pyrq import Replicas, errors
from tests.conftest import Pair
from tests.integration.kinds import LETTERS, confirmed, push, unique, waiting
from tests.integration.test_errors import CARD, COMMANDS, fails, user
from tests.servers import Server, World, contents, leftovers

MORE_COMMANDS = ("sadd", "scard", "smismember", "sdiffstore", "srem", "unlink")
Unique = pyrq.UniqueQueue[Any]


# Access rules


@pytest.mark.parametrize("command", [*COMMANDS, *MORE_COMMANDS])
def test_a_command_that_is_not_permitted_is_named(world: World, url: str, client: Any, command: str) -> None:
    push(client, CARD)
    before = contents(client)
    queue = unique(world, world.client(url, **user(client, "~*", "+@all", f"-{command}")))
    for act in (lambda: queue.add_item(CARD), lambda: queue.get_items(1), queue.repair):
        assert f"Refused: {command.upper()}." in fails(errors.PermissionDeniedError, act)
    assert contents(client) == before


@pytest.mark.parametrize("command", [*COMMANDS, *MORE_COMMANDS])
def test_a_command_forbidden_at_run_time_loses_nothing(world: World, url: str, client: Any, command: str) -> None:
    queue = unique(world, world.client(url, **user(client, "~*", "+@all")))
    push(client, LETTERS)
    queue.get_items(6)
    push(client, "a")
    acts: dict[str, Callable[[], object]] = {
        "get": lambda: queue.get_items(2),
        "reject": lambda: queue.reject_items(["a", "b"]),
        "re_enqueue": queue.re_enqueue_all_items,
        "add": lambda: queue.add_item("b"),
        "repair": queue.repair,
        "delete": lambda: queue.delete_item("l"),
    }
    for name, act in acts.items():
        client.execute_command("ACL", "SETUSER", "worker", f"-{command}")
        with contextlib.suppress(errors.PermissionDeniedError):
            act()
        client.execute_command("ACL", "SETUSER", "worker", "+@all")
        there = set(client.lrange("orders", 0, -1))
        assert client.smembers("orders-unique") <= there, f"{name} without {command}: counts as waiting, is not there"
        for key in client.scan_iter("orders-processing-*"):
            there.update(client.lrange(key, 0, -1))
        lost = {letter.encode() for letter in LETTERS.split()} - there
        assert lost <= ({b"l"} if name == "delete" else set()), f"{name} without {command}"


def test_the_least_that_has_to_be_permitted(world: World, url: str, client: Any) -> None:
    commands = [f"+{name}" for name in (*COMMANDS, *MORE_COMMANDS)]
    rules = ["-@all", "~orders", "~orders-*", "~orders/*", "+eval", "+evalsha", "+hello", *commands]
    queue = unique(world, world.client(url, **user(client, *rules)))
    numbers = [str(number) for number in range(2_500)]
    assert queue.add_items(numbers + numbers) == 2_500
    assert queue.get_items(2_500) == numbers
    assert queue.reject_items(numbers[:20]) == 20
    assert queue.get_items(20) == numbers[:20]
    assert queue.add_item("7") is True
    assert queue.re_enqueue_all_items() == 2_499
    assert queue.repair() == 0
    assert queue.delete_items(numbers[:50]) == 50
    assert queue.delete_item("50") == 1
    assert queue.get_items(1_000) == numbers[51:1_051]
    assert queue.ack_items(numbers[51:151:2]) == 50
    assert queue.drop_timeout_items(0) == 950
    assert queue.can_rollback_item("x") is True
    assert queue.reset_blocked_item("x") is True
    assert waiting(client).split() == numbers[1_051:]
    assert queue.add_item("later", delay=60) is True
    assert queue.pause() is queue.resume() is True
    queue.close()
    assert leftovers(client) == {b"orders", b"orders-unique", b"orders/delayed"}


# Large sweeps


@pytest.fixture
def longest_ping(server: Server, record_property: Callable[[str, object], None]) -> Iterator[None]:
    """Another client pings all the time; the longest answer is put on record."""
    over, longest = threading.Event(), [0.0]

    def ping() -> None:
        with server.client() as other:
            while not over.is_set():
                start = time.perf_counter()
                other.ping()
                longest[0] = max(longest[0], time.perf_counter() - start)

    pinger = threading.Thread(target=ping)
    pinger.start()
    yield
    over.set()
    pinger.join()
    record_property("longest_ping_ms", round(longest[0] * 1e3, 1))


@pytest.mark.parametrize("again", [10_000, 5_000])
@pytest.mark.usefixtures("longest_ping")
def test_a_sweep_of_10000_items_that_wait_again(world: World, url: str, client: Any, again: int) -> None:
    queue, other = unique(world, url), unique(world, url)
    numbers = [str(number) for number in range(10_000)]
    assert queue.add_items(numbers) == 10_000
    assert queue.get_items(10_000) == numbers
    assert other.add_items(numbers[10_000 - again :]) == again
    client.config_resetstat()
    assert other.re_enqueue_all_items() == 10_000 - again
    stats = client.info("commandstats")
    assert waiting(client).split() == numbers
    assert stats["cmdstat_smismember"]["calls"] == 10, "each call looks at 1,000 items"
    assert "cmdstat_lrem" not in stats
    assert queue.ack_items(numbers) == 0
    assert leftovers(client) == {b"orders", b"orders-unique"}


# Replicas

ACTS: dict[str, Callable[[Unique], object]] = {
    "add": lambda queue: queue.add_items(["b", "c"]),
    "ack": lambda queue: queue.ack_item("a"),
    "reject": lambda queue: queue.reject_item("a"),
    "re_enqueue": lambda queue: queue.re_enqueue_all_items(),
    "drop": lambda queue: queue.drop_all_items(),
    "delete": lambda queue: queue.delete_item("b"),
    "repair": lambda queue: queue.repair(),
    "forget_rollbacks": lambda queue: queue.reset_blocked_item("z"),
}


@pytest.mark.parametrize("operation", ACTS)
def test_a_change_waits_for_the_replica(world: World, pair: Pair, operation: str) -> None:
    queue = unique(world, pair.primary.url, durability=Replicas(1, 2_000))
    quick = unique(world, pair.primary.url, durability=Replicas(1, 50))
    queue.add_items(["a", "b"])
    with pair.primary.client() as primary, pair.replica.client() as replica:
        primary.sadd("orders-unique", "gone")
        assert queue.can_rollback_item("z") is True
        assert quick.get_items(1) == ["a"]
        pair.replica.freeze()
        with pytest.raises(world.short_error) as caught:
            ACTS[operation](quick)
        assert (caught.value.confirmed, caught.value.wanted) == (0, 1)
        after = contents(primary)
        with pytest.raises(world.short_error):
            world.confirm(caught.value)
        pair.replica.thaw()
        confirmed(world, caught.value)
        assert contents(primary) == contents(replica) == after
        assert queue.add_item("last") is True
        assert b"last" in replica.smembers("orders-unique")


def test_takes_and_counts_of_rollbacks_wait_for_nothing(world: World, pair: Pair) -> None:
    """Their answers must not be lost; what an older primary knows is at most an item held or a count too little."""
    queue = unique(world, pair.primary.url, durability=Replicas(1, 50))
    with pair.primary.client() as primary:
        push(primary, "a b")
        queue.get_count()
        pair.replica.freeze()
        assert queue.can_rollback_item("a") is True
        assert queue.get_items(1) == ["a"]
        assert queue.add_items(["b"]) == 0, "nothing was written, so there is nothing to wait for"
        assert primary.hgetall("orders-retry-count") == {b"a": b"1"}
        with pytest.raises(world.short_error):
            queue.add_item("a")
        assert waiting(primary) == "b a"


# Consumers that die

CONSUMER = """
import random, sys
from pyrq import UniqueQueue

queue = UniqueQueue("orders", sys.argv[1])
rng = random.Random(sys.argv[2])
while True:
    items = queue.get_items(rng.choice([1, 7, 40, 1500]))
    print(len(items), flush=True)
    action = rng.randrange(4)
    if action == 1:
        queue.reject_items(items)
    elif action == 2:
        queue.reject_items(rng.sample(items, len(items) // 2))
    elif action == 3:
        queue.re_enqueue_timeout_items(0)
"""


def test_consumers_killed_in_the_middle_lose_nothing(server: Server, client: Any, rng: random.Random) -> None:
    """They give back, or hold for ever; nobody acknowledges, so in the end all must wait, each once."""
    numbers = range(2_000)
    kills = 0
    with pyrq.UniqueQueue("orders", server.url) as queue:
        assert queue.add_items(numbers) == 2_000
        while kills < 30:
            command = [sys.executable, "-c", CONSUMER, server.url, str(rng.random())]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as consumer:
                assert consumer.stdout
                for _ in range(rng.randrange(1, 40)):
                    assert consumer.stdout.readline(), "the consumer has failed"
                    queue.add_items(rng.sample(numbers, 30))
                consumer.kill()
            assert consumer.returncode == -9
            kills += 1
            client.ping()  # by now a last request that it had sent has run
            assert len(waiting(client).split()) + sum(map(client.llen, client.keys("orders-processing-*"))) >= 2_000
            if rng.random() < 0.2:
                queue.re_enqueue_timeout_items(0)
        queue.re_enqueue_all_items()
        assert set(waiting(client).split()) == {str(number) for number in numbers}
        assert queue.repair() == 0
    assert leftovers(client) == {b"orders", b"orders-unique"}


# Constructors


@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue", "Pool"])
@pytest.mark.parametrize("decode_responses", [True, False])
def test_a_connection_pool_in_place_of_a_client(
    world: World, url: str, client: Any, kind: str, decode_responses: bool
) -> None:
    made: Any = redis_asyncio if world.is_aio else redis
    connections = made.BlockingConnectionPool.from_url(url, max_connections=2, decode_responses=decode_responses)
    facade = world.make(kind, "orders", connections)
    assert facade.add_items(["é", "b"]) == 2
    assert sorted(facade.get_items(2)) == ["b", "é"]
    assert facade.ack_items(["é", "b"]) == 2
    facade.close()
    assert client.zcard("orders") == 2 if kind == "Pool" else client.dbsize() == 0
    # It was given, so it is not closed.
    again = world.make(kind, "orders", connections)
    again.add_item("c")
    again.close()
    disconnect = connections.disconnect()
    if world.is_aio:
        world.wait_for(disconnect)


def test_the_older_spellings(world: World, pair: Pair) -> None:
    client = world.client(pair.primary.url)
    by_keyword = world.make("UniqueQueue", queue_name="orders", redis=client)
    by_name = world.make("UniqueQueue", name="orders", redis=client)
    options = {"synced_slaves_enabled": True, "synced_slaves_count": 1, "synced_slaves_timeout": 100}
    synced = world.make("UniqueQueue", "orders", client, **options)
    assert by_keyword.queue_name == by_keyword.name == by_name.queue_name == by_name.name == "orders"
    assert by_keyword.add_item("a") is True
    assert by_name.add_item("a") is False
    assert synced.add_item("b") is True
    with pair.replica.client() as replica:
        assert replica.smembers("orders-unique") == {b"a", b"b"}
    pair.replica.freeze()
    assert by_keyword.add_item("c") is True
    with pytest.raises(world.short_error):
        synced.add_item("d")
    assert synced.get_items(4) == ["a", "b", "c", "d"]
