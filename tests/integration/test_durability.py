"""What was confirmed is on the replica, or on the disk; what was not is said to be written and not confirmed."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

import pyrq
import pyrq.aio
from pyrq import Fsync, Replicas
from pyrq.errors import NotEnoughSyncedSlavesError
from tests.conftest import Pair
from tests.proxy import Proxy
from tests.servers import Server, World, wait_until


def short(world: World, act: Callable[[], object]) -> pyrq.NotEnoughSyncedSlavesError:
    """Checks that a call is not confirmed, and that it says so as this world does."""
    with pytest.raises(pyrq.NotEnoughSyncedSlavesError) as caught:
        act()
    assert type(caught.value) is world.short_error
    assert (caught.value.confirmed, caught.value.wanted) == (0, 1)
    assert "0 of 1 replicas" in str(caught.value)
    return caught.value


def test_every_change_waits_for_a_replica_that_is_there(world: World, pair: Pair) -> None:
    queue = world.queue("orders", pair.primary.url, durability=Replicas(1, 2000))
    with pair.replica.client() as replica:
        assert queue.add_items(range(10)) == 10
        assert replica.llen("orders") == 10
        assert queue.get_items(6) == [str(number) for number in range(6)]
        assert queue.ack_items(["0", "1"]) == 2
        assert queue.reject_item("2") is True
        assert replica.lindex("orders", -1) == b"2"
        assert queue.delete_item("9") == 1
        assert queue.re_enqueue_all_items() == 3
        assert replica.llen("orders") == 7
        assert queue.get_items(1) == ["3"]
        assert queue.drop_all_items() == 1
        assert replica.keys("orders-processing-*") == []


def test_a_call_that_wrote_nothing_is_not_short(world: World, pair: Pair) -> None:
    queue = world.queue("orders", pair.primary.url, durability=Replicas(1, 50))
    queue.get_count()
    pair.replica.freeze()
    assert queue.get_items(5) == []
    assert queue.ack_item("x") is False
    assert queue.delete_item("x") == 0
    assert queue.re_enqueue_all_items() == 0


def test_a_frozen_replica_confirms_nothing_to_eight_threads(world: World, pair: Pair) -> None:
    queue = world.queue("orders", pair.primary.url, durability=Replicas(1, 50))
    queue.add_item("first")
    pair.replica.freeze()

    def add(who: int) -> None:
        for number in range(6):
            short(world, partial(queue.add_item, f"{who} {number}"))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(8)))
    with pair.primary.client() as client:
        items = client.lrange("orders", 0, -1)
    assert len(items) == len(set(items)) == 49, "all are written, once"


@pytest.mark.parametrize("operation", ["ack", "reject", "re_enqueue", "drop", "delete"])
def test_a_frozen_replica_confirms_no_change(world: World, pair: Pair, operation: str) -> None:
    queue = world.queue("orders", pair.primary.url, durability=Replicas(1, 50))
    queue.add_items(["a", "b"])
    queue.get_items(1)
    pair.replica.freeze()
    acts: dict[str, Callable[[], object]] = {
        "ack": lambda: queue.ack_items(["a", "never held"]),
        "reject": lambda: queue.reject_items(["a", "never held"]),
        "re_enqueue": queue.re_enqueue_all_items,
        "drop": queue.drop_all_items,
        "delete": lambda: queue.delete_items(["b", "never added"]),
    }
    assert short(world, acts[operation]).done == 1, "what took effect, as the server counted it"


def test_confirm_asks_again_and_adds_nothing(world: World, pair: Pair) -> None:
    queue = world.queue("orders", pair.primary.url, durability=Replicas(1, 50))
    queue.add_item("first")
    pair.replica.freeze()
    error = short(world, lambda: queue.add_items(["x", "x"]))
    short(world, lambda: world.confirm(error))
    short(world, lambda: queue.add_item("later"))
    short(world, lambda: world.confirm(error))
    pair.replica.thaw()

    def confirmed() -> bool:
        try:
            world.confirm(error)
        except NotEnoughSyncedSlavesError:
            return False
        return True

    wait_until(confirmed)
    with pair.primary.client() as primary, pair.replica.client() as replica:
        assert primary.lrange("orders", 0, -1)[::-1] == [b"first", b"x", b"x", b"later"]
        assert replica.llen("orders") >= 3


def test_a_call_in_chunks_tells_what_is_written(world: World, pair: Pair) -> None:
    queue = world.queue("orders", pair.primary.url, durability=Replicas(1, 50))
    queue.get_count()
    pair.replica.freeze()
    error = short(world, lambda: queue.add_items(range(2500)))
    assert (error.added, error.unknown, error.remaining) == (1000, 0, 1500)


def test_a_repeated_call_is_not_confirmed_falsely(world: World, pair: Pair) -> None:
    """The first sending wrote; a repetition that wrote nothing would let WAIT confirm at once on a new connection."""
    proxy = Proxy(pair.primary.path)
    try:
        queue = world.queue("orders", proxy.url, durability=Replicas(1, 50))
        queue.add_item("first")
        pair.replica.freeze()
        proxy.drop_reply("add")
        short(world, lambda: queue.add_item("x"))
        assert proxy.hits == ["drop_reply"]
        with pair.primary.client() as client:
            assert client.lrange("orders", 0, -1) == [b"x", b"first"]
    finally:
        proxy.close()


def test_a_missing_script_is_not_confirmed_falsely(world: World, pair: Pair) -> None:
    queue = world.queue("orders", pair.primary.url, durability=Replicas(1, 50))
    queue.add_item("first")
    pair.replica.freeze()
    with pair.primary.client() as client:
        client.script_flush()
        short(world, lambda: queue.add_item("x"))
        assert client.lrange("orders", 0, -1) == [b"x", b"first"]


async def test_the_aio_error_is_caught_by_both_names(pair: Pair) -> None:
    async with pyrq.aio.Queue("orders", pair.primary.url, durability=Replicas(1, 50)) as queue:
        await queue.get_count()
        pair.replica.freeze()
        with pytest.raises(pyrq.NotEnoughSyncedSlavesError) as caught:
            await queue.add_item("x")
        pair.replica.thaw()
        error = caught.value
        assert isinstance(error, pyrq.aio.NotEnoughSyncedSlavesError)
        async with asyncio.timeout(10):
            while await _still_short(error):
                pass


async def _still_short(error: pyrq.aio.NotEnoughSyncedSlavesError) -> bool:
    try:
        await error.confirm()
    except pyrq.aio.NotEnoughSyncedSlavesError:
        return True
    return False


def test_the_older_spelling(world: World, pair: Pair) -> None:
    queue = world.queue(
        *("orders", pair.primary.url),
        synced_slaves_enabled=True,
        synced_slaves_count=1,
        synced_slaves_timeout=50,
    )
    assert queue.add_item("first")
    pair.replica.freeze()
    short(world, lambda: queue.add_item("x"))


def test_more_replicas_than_there_are(world: World, pair: Pair) -> None:
    queue = world.queue("orders", pair.primary.url, durability=Replicas(2, 50))
    with pytest.raises(pyrq.NotEnoughSyncedSlavesError, match="1 of 2 replicas") as caught:
        queue.add_item("x")
    assert (caught.value.confirmed, caught.value.wanted) == (1, 2)


@pytest.mark.parametrize("timeout_ms", [901, 1000, 5000])
def test_a_wait_that_outlasts_the_socket_timeout_is_refused(world: World, url: str, timeout_ms: int) -> None:
    client = world.client(url, socket_timeout=1)
    with pytest.raises(ValueError, match="from 1 to 900"):
        world.queue("orders", client, durability=Replicas(1, timeout_ms))
    with pytest.raises(ValueError, match="from 1 to 900"):
        world.queue(
            *("orders", client), synced_slaves_enabled=True, synced_slaves_count=1, synced_slaves_timeout=timeout_ms
        )
    world.queue("orders", client, durability=Replicas(1, 900))


# The README's example

README = (
    "from redis import Redis\n"
    "from pyrq import Queue\n"
    "redis_client = Redis(host=REDIS_HOST, port=REDIS_PORT, db=REDIS_DB, password=REDIS_PASSWORD, "
    "decode_responses=True)\n"
    "queue = Queue(QUEUE_NAME, redis_client, synced_slaves_enabled=True, synced_slaves_count=COUNT, "
    "synced_slaves_timeout=TIMEOUT)\n"
    "queue.add_item(value)\n"
    "list_of_values = queue.get_items(10)\n"
)
ENDS = {"ack": "queue.ack_items(list_of_values)\n", "revert": "queue.revert_items(list_of_values)\n"}


@pytest.fixture
def readme_names(pair: Pair) -> Iterator[dict[str, Any]]:
    with pair.primary.client() as client:
        client.config_set("requirepass", "sesame")
    yield {
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": pair.primary.port,
        "REDIS_DB": 0,
        "REDIS_PASSWORD": "sesame",
        "QUEUE_NAME": "orders",
        "COUNT": 1,
        "TIMEOUT": 2000,
        "value": "v",
    }
    with pair.primary.client(password="sesame") as client:
        client.config_set("requirepass", "")


@pytest.mark.parametrize("end", ENDS)
def test_the_readmes_example(pair: Pair, readme_names: dict[str, Any], end: str) -> None:
    exec(compile(README + ENDS[end], "README", "exec"), readme_names)
    assert readme_names["list_of_values"] == ["v"]
    with pair.primary.client(password="sesame") as client:
        assert client.llen("orders") == (end == "revert")
        assert client.keys("orders-*") == []
    readme_names["queue"].close()
    readme_names["redis_client"].close()


@pytest.mark.parametrize("end", ENDS)
def test_the_readmes_example_awaited(pair: Pair, readme_names: dict[str, Any], end: str) -> None:
    code = (README + ENDS[end]).replace("from redis ", "from redis.asyncio ").replace("from pyrq ", "from pyrq.aio ")
    code = code.replace("queue.", "await queue.")
    body = textwrap.indent(code + "await queue.close()\nawait redis_client.aclose()\nreturn list_of_values", "  ")
    exec(compile("async def main():\n" + body, "README", "exec"), readme_names)
    assert asyncio.run(readme_names["main"]()) == ["v"]
    with pair.primary.client(password="sesame") as client:
        assert client.llen("orders") == (end == "revert")
        assert client.keys("orders-*") == []


# Disks


@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
def test_fsync_with_an_append_only_file(world: World, start_server: Callable[..., Server], appendfsync: str) -> None:
    server = start_server("--appendonly", "yes", "--appendfsync", appendfsync)
    queue = world.queue("orders", server.url, durability=Fsync(timeout_ms=4000))
    if not server.binary.has_waitaof:
        with pytest.raises(pyrq.errors.ServerTooOldError, match=r"7\.2"):
            queue.add_item("x")
        return
    assert queue.add_items(["x", "y"]) == 2
    assert queue.get_items(1) == ["x"]
    assert queue.ack_item("x") is True
    if appendfsync == "always":
        server.kill()
        server.start()
    assert queue.get_items(5) == ["y"]


def test_fsync_that_a_disk_does_not_confirm(world: World, start_server: Callable[..., Server]) -> None:
    server = start_server("--appendonly", "yes", "--appendfsync", "no")
    if not server.binary.has_waitaof:
        return  # said so above
    queue = world.queue("orders", server.url, durability=Fsync(timeout_ms=50))
    with pytest.raises(pyrq.NotEnoughSyncedSlavesError, match="0 of 1 local"):
        queue.add_item("x")
    assert queue.get_count() == 1
