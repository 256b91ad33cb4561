"""Acks by proof on real servers: lost and late requests, a full server, sweeps and other threads in between."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from typing import Any

import pytest

import pyrq
from pyrq.errors import OutcomeUnknown, PermissionDeniedError
from tests.integration.test_errors import user
from tests.proxy import Proxy
from tests.servers import Server, World, contents, leftovers

NINE = [str(number) for number in range(9)]
BATCH = 20


def taken(world: World, target: Any, client: Any, **options: Any) -> pyrq.Queue[Any]:
    """Gives a queue that took nine items, and nothing else; one more waits."""
    queue = world.queue("orders", target, **options)
    queue.get_count()
    client.lpush("orders", *NINE, "x")
    assert queue.get_items(9) == NINE
    return queue


def held(client: Any, queue: Any) -> int:
    found: int = client.llen(queue.processing_queue_name)
    return found


@pytest.mark.parametrize("fault", ["drop_request", "drop_reply", "cut_reply"])
def test_one_fault_one_effect(world: World, proxy: Proxy, client: Any, fault: str) -> None:
    queue = taken(world, proxy.url, client)
    getattr(proxy, fault)("ack_all")
    assert queue.ack_items(NINE) == 9
    assert proxy.hits == [fault]
    assert held(client, queue) == 0
    assert client.llen("orders") == 1


def test_a_request_that_runs_after_its_retry_changes_nothing(world: World, proxy: Proxy, client: Any) -> None:
    queue = taken(world, proxy.url, client)
    proxy.hold("ack_all")
    assert queue.ack_items(NINE) == 9
    client.lpush("orders", *NINE[1:])
    assert queue.get_items(9) == ["x", *NINE[1:]]
    before = contents(client)
    proxy.deliver()
    assert contents(client) == before


def test_a_request_given_up_is_stale_once_the_next_call_has_run(world: World, proxy: Proxy, client: Any) -> None:
    queue = taken(world, proxy.url, client, retry=0)
    proxy.hold("ack_all")
    with pytest.raises(OutcomeUnknown):
        queue.ack_items(NINE)
    queue.delete_item("-")
    before = contents(client)
    proxy.deliver()
    assert contents(client) == before
    assert queue.ack_items(NINE) == 9


def test_on_a_full_server(world: World, url: str, client: Any) -> None:
    queue = taken(world, url, client)
    client.config_set("maxmemory", 1)
    assert queue.ack_items(NINE) == 9
    assert held(client, queue) == 0


@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
@pytest.mark.parametrize("command", ["lmove", "rpush", "lpush", "ltrim", "rename", "srem", "ttl", "llen", "hset"])
def test_a_get_that_is_refused_half_way_loses_nothing(
    world: World, url: str, client: Any, kind: str, command: str
) -> None:
    """However it moves them: one item, some to nothing, some to others, the whole queue."""
    queue = world.make(kind, "orders", world.client(url, **user(client, "~*", "+@all")))
    for before, many in ((0, 1), (0, 2), (1, 2), (0, 12), (0, 11)):
        queue.add_items(str(number) for number in range(12))
        queue.get_items(before)
        client.execute_command("ACL", "SETUSER", "worker", f"-{command}")
        with contextlib.suppress(PermissionDeniedError):
            queue.get_items(many)
        client.execute_command("ACL", "SETUSER", "worker", "+@all")
        lists = [client.lrange(key, 0, -1) for key in (b"orders", queue.processing_queue_name)]
        assert {int(item) for items in lists for item in items} == set(range(12)), (before, many)
        queue.ack_items(queue.get_items(24))
        queue.drop_all_items()


def test_a_sweep_in_between_is_seen(world: World, url: str, client: Any) -> None:
    queue, other = taken(world, url, client), world.queue("orders", url)
    assert other.re_enqueue_all_items() == 9
    assert other.get_items(9) == NINE
    assert queue.ack_items(NINE) == 0
    assert other.ack_items(NINE) == 9


def test_a_long_list_that_a_sweep_takes_in_parts_is_not_reached(world: World, url: str, client: Any) -> None:
    queue, other = world.queue("orders", url), world.queue("orders", url)
    queue.add_items(str(number) for number in range(1100))
    items = [queue.get_items(1000), queue.get_items(100)]
    assert other.re_enqueue_all_items() == 1100
    assert [queue.ack_items(part) for part in items] == [0, 0]
    assert client.llen("orders") == 1100


def test_a_thousand_items_leave_nothing(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", url)
    queue.add_items(str(number) for number in range(3000))
    while items := queue.get_items(1000):
        assert queue.ack_items(items) == 1000
    queue.close()
    assert leftovers(client) == set()


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_that_share_an_object_acknowledge_only_their_own(server: Server, client: Any, threads: int) -> None:
    """Batches of several threads, sweeps of another consumer: an item that was not acknowledged waits or is held."""
    queue, sweeper = pyrq.Queue("orders", server.url), pyrq.Queue("orders", server.url)
    total = 4000
    queue.add_items(str(number) for number in range(total))
    acked: Counter[str] = Counter()
    counts: list[int] = []
    whole: list[list[str]] = []
    over = threading.Event()

    def work() -> None:
        while items := queue.get_items(BATCH):
            many = queue.ack_items(items)
            counts.append(many)
            if many == len(items):
                whole.append(items)

    def sweep() -> None:
        while not over.is_set():
            sweeper.re_enqueue_all_items()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    sweeping = threading.Thread(target=sweep)
    for thread in (*workers, sweeping):
        thread.start()
    for thread in workers:
        thread.join()
    over.set()
    sweeping.join()
    sweeper.re_enqueue_all_items()
    acked.update(item for items in whole for item in items)
    # What was counted is gone, and nothing else; a batch that was acknowledged whole was so once.
    assert client.llen("orders") == total - sum(counts)
    assert set(acked.values()) == {1}
    assert not acked.keys() & {item.decode() for item in client.lrange("orders", 0, -1)}
    queue.close()
    sweeper.close()
