"""The keys in Redis, one by one, as the older libraries and other languages see them, and nothing left behind."""

from __future__ import annotations

import re
from typing import Any

import pytest

import pyrq
from pyrq import JsonCodec
from tests.servers import World, contents, leftovers


def test_waiting_items_are_a_list_with_the_next_out_at_the_tail(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", url)
    queue.add_items(["a", "b"])
    queue.add_item("c")
    assert queue.name == "orders"
    assert client.lrange("orders", 0, -1) == [b"c", b"b", b"a"]


def test_held_items_are_a_list_with_the_newest_at_the_head(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", url, client_id="worker")
    client.lpush("orders", "a", "b", "c")
    queue.get_items(2)
    queue.get_items(1)
    assert re.fullmatch(r"worker-[0-9a-f]{32}", queue.client_id)
    assert queue.processing_queue_name == f"orders-processing-{queue.client_id}"
    assert client.lrange(queue.processing_queue_name, 0, -1) == [b"c", b"b", b"a"]


def test_the_last_contact_is_the_servers_time(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", url)
    client.lpush("orders", "a")
    before = client.time()
    queue.get_items(1)
    after = client.time()
    assert queue.timeouts_hash_name == "orders-timeouts"
    stamps = client.hgetall("orders-timeouts")
    assert list(stamps) == [queue.processing_queue_name.encode()]
    (stamp,) = stamps.values()
    assert re.fullmatch(rb"\d{10}\.\d{6}", stamp)
    assert before[0] + before[1] / 1e6 - 1e-3 <= float(stamp) <= after[0] + after[1] / 1e6 + 1e-3


def test_the_record_of_the_last_get(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", url)
    client.lpush("orders", "a", "b", "c")
    queue.get_items(2)
    assert client.hgetall("orders/consumers") == {queue.client_id.encode(): b"1 2"}
    queue.get_items(2)
    assert client.hgetall("orders/consumers") == {queue.client_id.encode(): b"2 1"}


def test_the_session_lives_as_long_as_calls_can(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", url)
    queue.add_items(["a", "b"])
    session = f"orders/session/{queue.client_id}"
    assert list(client.hgetall(session).values()) == [b"1 2"]
    assert 110 <= client.ttl(session) <= 125
    queue.get_items(1)
    queue.ack_item("a")
    assert client.hlen(session) == 2
    client.expire(session, 5)
    queue.add_item("c")
    assert client.ttl(session) >= 110
    queue.close()
    assert client.exists(session) == 0


def test_a_longer_deadline_is_a_longer_session(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", url, retry=100)
    queue.add_item("a")
    assert 395 <= client.ttl(f"orders/session/{queue.client_id}") <= 401


def test_dead_letters(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", url, codec=JsonCodec())
    client.lpush("orders", "1", "?", "2")
    before = client.time()[0]
    assert queue.get_items(3) == [1, 2]
    (letter,) = client.lrange("orders/dead", 0, -1)
    head, _, rest = letter.partition(b"\n")
    stamp, deliveries, consumer, reason = head.split()
    assert re.fullmatch(rb"\d{10}\.\d{6}", stamp)
    assert before <= float(stamp) <= client.time()[0] + 1
    assert deliveries == b"1"
    assert int(consumer) == len(queue.client_id)
    assert rest[: int(consumer)].decode() == queue.client_id
    assert b"JSON" in rest[int(consumer) : int(consumer) + int(reason)]
    assert rest[int(consumer) + int(reason) :] == b"?"


def test_the_newest_dead_letter_is_at_the_head(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", url, codec=JsonCodec(), dead_max=2)
    client.lpush("orders", "?1", "?2", "?3")
    assert queue.get_items(3) == []
    assert [letter[-2:] for letter in client.lrange("orders/dead", 0, -1)] == [b"?3", b"?2"]


def test_a_delayed_item_is_a_member_whose_score_is_when_it_is_due(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", url)
    before = client.time()[0]
    queue.add_items(["a", "a"], delay=60)
    after = client.time()[0]
    members = client.zrange("orders/delayed", 0, -1, withscores=True)
    assert [member.partition(b"\n")[2] for member, _ in members] == [b"a", b"a"]
    for _, score in members:
        assert before + 60 <= score <= after + 61


def test_deliveries_are_counted_for_a_week(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", url, max_deliveries=3)
    queue.add_items(["a", "b"])
    queue.reject_items(queue.get_items(2))
    queue.reject_items(queue.get_items(1))
    assert client.hgetall("orders/deliveries") == {b"a": b"2", b"b": b"1"}
    assert 604_700 <= client.ttl("orders/deliveries") <= 604_800
    queue.ack_items(queue.get_items(2))
    assert leftovers(client) == set()
    assert not client.exists("orders/deliveries")


def test_a_pause_is_a_field(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", url)
    queue.pause()
    assert client.hkeys("orders/meta") == [b"paused"]
    queue.resume()
    assert leftovers(client) == set()


def test_nothing_is_left_once_all_is_acked(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", url)
    queue.add_items(range(30))
    items = queue.get_items(30)
    queue.reject_items(items[:3])
    queue.ack_items(items[3:])
    queue.ack_items(queue.get_items(30))
    assert leftovers(client) == set()
    queue.close()
    assert client.dbsize() == 0


@pytest.mark.parametrize("use", ["nothing", "count", "add", "get", "sweep"])
def test_close_leaves_nothing(world: World, url: str, client: Any, use: str) -> None:
    queue = world.queue("orders", url)
    if use == "count":
        queue.get_count()
    if use == "add":
        queue.add_item("a")
        queue.delete_item("a")
    if use == "get":
        queue.get_items(3)
    if use == "sweep":
        queue.re_enqueue_timeout_items()
    queue.close()
    queue.close()
    assert client.dbsize() == 0
    with pytest.raises(pyrq.errors.QueueClosedError):
        queue.add_item("a")


# The reverse: written with plain commands, read by the library


def test_a_plain_lpush_is_a_producer(world: World, url: str, client: Any) -> None:
    client.lpush("orders", "a")
    client.lpush("orders", "b", "c")
    queue = world.queue("orders", url)
    assert queue.get_count() == 3
    assert queue.get_items(5) == ["a", "b", "c"]


def as_older_library(client: Any, consumer: str, stamp: float, *items: str) -> str:
    """What py-rq 6 leaves when a consumer of it dies: items taken with RPOPLPUSH, and a stamp."""
    key = f"orders-processing-{consumer}"
    client.hset("orders-timeouts", key, stamp)
    client.lpush(key, *items)
    return key


@pytest.mark.parametrize("stamp", ["1700000000", "1700000000.25", "1.7e9", "no number", "nan"])
def test_an_older_librarys_list_is_swept(world: World, url: str, client: Any, stamp: Any) -> None:
    as_older_library(client, "host[1][1700000000]", stamp, "a", "b")
    client.lpush("orders", "c")
    queue = world.queue("orders", url)
    assert queue.re_enqueue_timeout_items(60) == 2
    assert leftovers(client) == {b"orders"}
    assert queue.get_items(3) == ["a", "b", "c"]


def test_an_older_librarys_list_of_a_moment_ago_is_not_swept(world: World, url: str, client: Any) -> None:
    key = as_older_library(client, "host[1][1700000000]", client.time()[0] - 30, "a", "b")
    queue = world.queue("orders", url)
    assert queue.re_enqueue_timeout_items(60) == 0
    assert queue.drop_timeout_items(60) == 0
    assert client.llen(key) == 2
    assert queue.drop_timeout_items(20) == 2
    assert leftovers(client) == set()


def test_a_stamp_without_a_list_is_cleared(world: World, url: str, client: Any) -> None:
    client.hset("orders-timeouts", "orders-processing-idle", 1)
    assert world.queue("orders", url).re_enqueue_timeout_items(60) == 0
    assert leftovers(client) == set()


def test_foreign_fields_are_not_touched(world: World, url: str, client: Any) -> None:
    """Anybody may write into the hash: a sweep must not drain, or delete, what is not the queue's."""
    client.lpush("victim", "v")
    client.lpush("orders2-processing-x", "v")
    client.set("orders-processing-text", "v")
    client.hset("orders-timeouts", mapping={"victim": 0, "orders2-processing-x": 0, "orders-processing-text": 0})
    client.hset("orders-timeouts", mapping={"orders": 0, "orders-timeouts": 0, "orders-processing-": 0})
    client.lpush("orders", "w")
    before = contents(client)
    queue = world.queue("orders", url)
    assert queue.re_enqueue_all_items() == 0
    assert queue.drop_all_items() == 0
    after = {key: held for key, held in contents(client).items() if not key.startswith(b"orders/session/")}
    assert after == before


def test_an_older_library_may_ack_and_sweep_what_this_one_holds(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", url)
    client.lpush("orders", "a", "b", "c")
    queue.get_items(3)
    assert client.lrem(queue.processing_queue_name, -1, "b") == 1
    assert queue.ack_items(["a", "b", "c"]) == 2
    assert leftovers(client) == set()


@pytest.mark.parametrize("sweep", ["re_enqueue_timeout_items", "drop_timeout_items"])
def test_what_an_older_sweep_left_of_a_consumer_is_removed(world: World, url: str, client: Any, sweep: str) -> None:
    """An older library's sweep removes list and stamp of one of ours that died, and knows nothing of its record."""
    client.lpush("orders", "a", "b", "c")
    dead, unstamped, alive = (world.queue("orders", url) for _ in range(3))
    for queue in (dead, unstamped, alive):
        queue.get_items(1)
    client.delete(dead.processing_queue_name)
    client.hdel("orders-timeouts", dead.processing_queue_name, unstamped.processing_queue_name)
    fields = {"gone": "1 2", "gone/lease": "30 1", "gone/another": "of another meaning"}
    # Where its move may still bring something, it has neither list nor stamp: this is not what an older sweep left.
    fields["blocked/landing"] = f"{client.time()[0] + 60}"
    client.hset("orders/consumers", mapping=fields)
    assert getattr(alive, sweep)() == 0
    left = {name.decode() for name in client.hkeys("orders/consumers")}
    assert left == {unstamped.client_id, alive.client_id, "blocked/landing", "gone/another"}
