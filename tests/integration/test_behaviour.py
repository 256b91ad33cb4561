"""What users see, on real servers: order, equal items, codecs, forks, and calls that change nothing."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pyrq import BytesCodec, JsonCodec
from tests.servers import Server, World, contents, leftovers


def texts(numbers: range) -> list[str]:
    return [str(number) for number in numbers]


# Order


def test_first_in_first_out_over_many_chunks(world: World, url: str) -> None:
    queue = world.queue("orders", url)
    assert queue.add_items(number for number in range(3300)) == 3300
    assert queue.get_items(1700) + queue.get_items(1700) == texts(range(3300))


def test_a_rejected_batch_comes_out_again_first_in_its_order(world: World, url: str) -> None:
    queue = world.queue("orders", url)
    queue.add_items(range(2600))
    items = queue.get_items(2500)
    assert queue.reject_items(items) == 2500
    assert queue.get_items(2600) == texts(range(2600))


def test_a_batch_rejected_in_another_order(world: World, url: str) -> None:
    queue = world.queue("orders", url)
    queue.add_items(["a", "b", "c", "d"])
    queue.get_items(3)
    assert queue.revert_items(["c", "a", "-"]) == 2
    assert queue.get_items(4) == ["c", "a", "d"]


def test_a_sweep_gives_back_the_oldest_contact_first(world: World, url: str, client: Any) -> None:
    queues = [world.queue("orders", url) for _ in range(3)]
    queues[0].add_items(range(9))
    for queue in queues:
        queue.get_items(3)
    now = client.time()[0]
    # The one that took last was heard of longest ago.
    for queue, age in zip(queues, (100, 200, 300), strict=True):
        client.hset("orders-timeouts", queue.processing_queue_name, now - age)
    assert queues[0].re_enqueue_timeout_items(150) == 6
    assert queues[0].get_items(9) == ["6", "7", "8", "3", "4", "5"]
    assert queues[0].ack_item("0") is True


def test_a_sweep_of_many_large_consumers_keeps_the_order(world: World, url: str, client: Any) -> None:
    queues = [world.queue("orders", url) for _ in range(3)]
    queues[0].add_items(range(4000))
    for queue, size in zip(queues, (1500, 700, 1800), strict=True):
        queue.get_items(size)
    assert queues[1].re_enqueue_all_items() == 4000
    assert queues[1].get_items(4000) == texts(range(4000))
    assert queues[1].ack_items(texts(range(4000))) == 4000
    assert leftovers(client) == set()


# Equal items


def test_equal_items_are_separate_items(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", url)
    queue.add_items(["x", "y", "x", "x"])
    queue.get_items(4)
    assert queue.ack_items(["x", "x", "z"]) == 2
    assert client.lrange(queue.processing_queue_name, 0, -1) == [b"x", b"y"]
    assert queue.reject_items(["x", "x"]) == 1
    assert queue.get_items(2) == ["x"]


def test_delete_takes_the_newest_copies(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", url)
    queue.add_items(["x", "a", "x", "b", "x"])
    assert queue.delete_item("x", count=2) == 2
    assert queue.get_items(5) == ["x", "a", "b"]


def test_delete_of_1000_from_200000(world: World, url: str, client: Any) -> None:
    pipe = client.pipeline(transaction=False)
    for start in range(0, 200_000, 5000):
        pipe.lpush("orders", *range(start, start + 5000))
    pipe.execute()
    queue = world.queue("orders", url)
    assert queue.delete_items(range(0, 200_000, 200)) == 1000
    assert queue.get_count() == 199_000
    assert queue.get_items(3) == ["1", "2", "3"]


# What goes in and comes out


@pytest.mark.parametrize("decode_responses", [True, False])
def test_the_same_text_whatever_the_client_decodes(world: World, url: str, decode_responses: bool) -> None:
    queue = world.queue("orders", world.client(url, decode_responses=decode_responses))
    assert queue.add_items(["é", b"b", 3, 2.5, ""]) == 5
    assert queue.get_items(5) == ["é", "b", "3", "2.5", ""]
    assert queue.ack_items(["é", "b", b"3", 2.5, ""]) == 5


@pytest.mark.parametrize("decode_responses", [True, False])
def test_an_item_that_is_no_utf8(world: World, url: str, client: Any, decode_responses: bool) -> None:
    client.lpush("orders", "a", b"\xff\xfe", "b")
    queue = world.queue("orders", world.client(url, decode_responses=decode_responses))
    items = queue.get_items(3)
    assert items[::2] == ["a", "b"]
    assert queue.reject_item(items[1]) is True
    assert client.lindex("orders", -1) == b"\xff\xfe"
    assert queue.get_items(1) == [items[1]]
    assert queue.ack_items(items) == 3
    assert leftovers(client) == set()


def test_bytes_come_back_as_bytes(world: World, url: str) -> None:
    queue = world.queue("orders", url, codec=BytesCodec())
    every = bytes(range(256))
    assert queue.add_items([every, b""]) == 2
    assert queue.get_items(2) == [every, b""]
    assert queue.ack_items([every, b""]) == 2


@pytest.mark.parametrize("spoilt", [1, 1500])
def test_json_buries_what_it_cannot_read_and_returns_the_others(
    world: World, url: str, client: Any, spoilt: int
) -> None:
    client.lpush("orders", '{"a":1}', *(spoilt * [b"\xff not json"]), "[2]", "3")
    queue = world.queue("orders", url, codec=JsonCodec())
    assert queue.get_items(2) == [{"a": 1}, [2]]
    assert client.llen("orders/dead") == spoilt
    assert queue.get_items(2) == [3]
    assert queue.ack_items([{"a": 1}, [2], 3]) == 3
    assert leftovers(client) == {b"orders/dead"}


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_large_items(world: World, url: str, size: int) -> None:
    queue = world.queue("orders", url)
    assert queue.add_items(3 * [size * "x"]) == 3
    assert queue.get_items(3) == 3 * [size * "x"]
    assert queue.ack_items(3 * [size * "x"]) == 3


# Calls that change nothing


def nothings(queue: Any) -> dict[str, Callable[[], object]]:
    return {
        "count": queue.get_count,
        "get": lambda: len(queue.get_items(3)),
        "get of none": lambda: len(queue.get_items(0)),
        "ack": lambda: queue.ack_items(["z"]),
        "ack of many": lambda: queue.ack_items(20 * ["z"]),
        "ack of none": lambda: queue.ack_items([]),
        "reject": lambda: queue.reject_item("z"),
        "reject of many": lambda: queue.reject_items(20 * ["z"]),
        "delete": lambda: queue.delete_item("z"),
        "delete of many": lambda: queue.delete_items(20 * ["z"]),
        "re_enqueue": queue.re_enqueue_timeout_items,
        "drop": queue.drop_timeout_items,
        "add of none": lambda: queue.add_items([]),
    }


def test_what_has_nothing_to_do_writes_nothing(world: World, url: str, client: Any) -> None:
    holder, queue = world.queue("orders", url), world.queue("orders", url)
    holder.add_items(["a", "b"])
    holder.get_items(2)
    queue.get_count()
    before, changes = contents(client), client.info("persistence")["rdb_changes_since_last_save"]
    for name, act in nothings(queue).items():
        assert not act(), name
        assert client.info("persistence")["rdb_changes_since_last_save"] == changes, name
    assert contents(client) == before


def test_what_has_nothing_to_do_works_on_a_full_server(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", url)
    client.config_set("maxmemory", "1")
    for name, act in nothings(queue).items():
        assert not act(), name
    assert client.dbsize() == 0


# Sharing and forking


def test_threads_share_one_object(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", url)
    seen: list[str] = []
    lock = threading.Lock()

    def work(who: int) -> None:
        for step in range(30):
            assert queue.add_items([f"{who} {step}", f"{who} {step}"]) == 2
            items = queue.get_items(3)
            assert queue.ack_items(items) == len(items)
            with lock:
                seen.extend(items)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    rest = queue.get_items(1000)
    assert queue.ack_items(rest) == len(rest)
    assert Counter(seen + rest) == Counter(2 * [f"{who} {step}" for who in range(8) for step in range(30)])
    assert leftovers(client) == set()


FORK = """
import os, sys
import redis
from pyrq import Queue

client = redis.Redis.from_url(sys.argv[1])
queue = Queue("orders", client if sys.argv[2] == "client" else sys.argv[1])
queue.add_items(range(6))
assert queue.get_items(2) == ["0", "1"]
mine = queue.client_id
read, write = os.pipe()
pid = os.fork()
if pid == 0:
    try:
        assert queue.client_id != mine
        assert queue.get_items(2) == ["2", "3"]
        assert queue.ack_items(["0", "2"]) == 1
        assert queue.release() == 0
        queue.close()
        os.write(write, queue.client_id.encode())
    finally:
        os._exit(0)
os.waitpid(pid, 0)
theirs = os.read(read, 1000).decode()
assert theirs and theirs != mine
assert queue.client_id == mine
assert queue.get_items(1) == ["4"]
assert queue.ack_items(["0", "1", "3", "4"]) == 3
assert client.lrange("orders-processing-" + theirs, 0, -1) == [b"3"]
queue.close()
print("fine")
"""


@pytest.mark.parametrize("target", ["client", "url"])
def test_a_fork_is_another_consumer(server: Server, target: str) -> None:
    command = [sys.executable, "-W", "error", "-c", FORK, server.url, target]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr


FORK_AIO = """
import asyncio, os, sys
from pyrq.aio import Queue

async def parent():
    queue = Queue("orders", sys.argv[1])
    await queue.add_items(range(3))
    assert await queue.get_items(1) == ["0"]
    return queue

queue = asyncio.run(parent())
mine = queue.client_id
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, queue.client_id.encode())
    os._exit(0)
os.wait()
theirs = os.read(read, 1000).decode()
assert theirs and theirs != mine and queue.client_id == mine
print("fine")
"""


def test_a_fork_of_an_aio_queue_is_another_consumer(server: Server) -> None:
    command = [sys.executable, "-c", FORK_AIO, server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.returncode) == ("fine\n", 0), done.stderr
