"""Requests and replies get lost, come late, or find another state than they expected: each call has one effect."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from redis import asyncio as redis_asyncio

import pyrq
import pyrq.aio
from pyrq import JsonCodec
from pyrq.errors import OutcomeUnknown
from tests.proxy import SCRIPTS, Proxy
from tests.servers import Server, World, contents, leftovers

STALE = b"*1\r\n:3\r\n"


def texts(numbers: range) -> list[str]:
    return [str(number) for number in numbers]


def waiting(client: Any) -> list[bytes]:
    """What waits, the next out first."""
    found: list[bytes] = client.lrange("orders", 0, -1)[::-1]
    return found


def held(client: Any, queue: Any) -> list[bytes]:
    """What a queue object holds, the oldest first."""
    found: list[bytes] = client.lrange(queue.processing_queue_name, 0, -1)[::-1]
    return found


def lose_get(queue: pyrq.Queue[Any], proxy: Proxy, count: int) -> None:
    """Takes items with a get that runs, and whose caller never hears of it. The queue has `retry=0`."""
    proxy.drop_reply("get")
    with pytest.raises(OutcomeUnknown):
        queue.get_items(count)
    assert proxy.all_hit


# One effect of each operation


@dataclass(frozen=True)
class Case:
    """An operation: what waits before, how much of it is taken, what is done, its result, and what is there then."""

    script: str
    before: str
    taken: int
    act: Callable[[pyrq.Queue[Any]], Any]
    result: Any
    waits: str = ""
    holds: str = ""
    dead: int = 0


CASES = {
    "add": Case("add", "", 0, lambda queue: queue.add_items(["x", "x", "y"]), 3, waits="x x y"),
    "get": Case("get", "x x y", 0, lambda queue: queue.get_items(2), ["x", "x"], waits="y", holds="x x"),
    "ack": Case("ack", "x x x", 3, lambda queue: queue.ack_items(["x"]), 1, holds="x x"),
    "ack-many": Case("ack", "y" + 14 * " x", 15, lambda queue: queue.ack_items(10 * ["x"]), 10, holds="y x x x x"),
    "reject": Case("reject", "x x y", 2, lambda queue: queue.reject_items(["x"]), 1, waits="x y", holds="x"),
    "re_enqueue": Case("re_enqueue", "x x y", 2, lambda queue: queue.re_enqueue_all_items(), 2, waits="x x y"),
    "re_enqueue-timeout": Case(
        "re_enqueue", "x x y", 2, lambda queue: queue.re_enqueue_timeout_items(0), 2, waits="x x y"
    ),
    "drop": Case("drop", "x x y", 2, lambda queue: queue.drop_all_items(), 2, waits="y"),
    "delete": Case("delete", "x x x x y", 0, lambda queue: queue.delete_item("x", 2), 2, waits="x x y"),
    "delete-many": Case("delete", 20 * "x ", 0, lambda queue: queue.delete_items(10 * ["x"], 1), 10, waits=10 * "x "),
    "bury": Case("bury", "1 ? 2", 0, lambda queue: queue.get_items(3), [1, 2], holds="1 2", dead=1),
}


def prepare(case: Case, queue: pyrq.Queue[Any], client: Any) -> None:
    if case.before:
        client.lpush("orders", *case.before.split())
    queue.get_count()
    if case.taken:
        queue.get_items(case.taken)


def check_effect(case: Case, queue: pyrq.Queue[Any], client: Any) -> None:
    assert [item.decode() for item in waiting(client)] == case.waits.split()
    assert [item.decode() for item in held(client, queue)] == case.holds.split()
    assert client.llen("orders/dead") == case.dead


def codec_for(case: Case) -> Any:
    return JsonCodec() if case.script == "bury" else None


@pytest.mark.parametrize("fault", ["drop_request", "drop_reply", "cut_reply"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_one_fault_one_effect(world: World, proxy: Proxy, client: Any, case: Case, fault: str) -> None:
    queue = world.queue("orders", proxy.url, codec=codec_for(case))
    prepare(case, queue, client)
    getattr(proxy, fault)(case.script)
    assert case.act(queue) == case.result
    assert proxy.hits == [fault]
    check_effect(case, queue, client)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_request_that_runs_after_its_retry_changes_nothing(
    world: World, proxy: Proxy, client: Any, case: Case
) -> None:
    queue = world.queue("orders", proxy.url, codec=codec_for(case))
    prepare(case, queue, client)
    proxy.hold(case.script)
    assert case.act(queue) == case.result
    proxy.deliver()
    check_effect(case, queue, client)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_request_given_up_is_stale_once_the_next_call_has_run(
    world: World, proxy: Proxy, client: Any, case: Case
) -> None:
    queue = world.queue("orders", proxy.url, codec=codec_for(case), retry=0)
    prepare(case, queue, client)
    proxy.hold(case.script)
    with pytest.raises(OutcomeUnknown):
        case.act(queue)
    if case.script == "get":
        assert queue.get_items(1) == ["x"]
    queue.delete_item("-")
    before = contents(client)
    assert STALE in proxy.deliver()
    assert contents(client) == before


def take_unseen(queue: Any, proxy: Proxy, client: Any) -> None:
    """Lets the queue take x and x of x, x and y, without ever hearing of it."""
    client.lpush("orders", "x", "x", "y")
    queue.get_count()
    for _ in range(200):
        proxy.drop_reply("get")
    with pytest.raises(OutcomeUnknown):
        queue.get_items(2)
    proxy.disarm()


@pytest.mark.parametrize("fault", ["drop_request", "drop_reply", "cut_reply"])
def test_one_fault_one_release(world: World, proxy: Proxy, client: Any, fault: str) -> None:
    queue = world.queue("orders", proxy.url, retry=0.2)
    take_unseen(queue, proxy, client)
    getattr(proxy, fault)("release")
    assert queue.release() == 2
    assert proxy.hits[-1] == fault
    assert waiting(client) == [b"x", b"x", b"y"]
    assert held(client, queue) == []


def test_a_release_that_runs_after_its_retry_changes_nothing(world: World, proxy: Proxy, client: Any) -> None:
    queue = world.queue("orders", proxy.url, retry=0.5)
    take_unseen(queue, proxy, client)
    proxy.hold("release")
    assert queue.release() == 2
    assert queue.get_items(3) == ["x", "x", "y"]
    proxy.deliver()
    assert held(client, queue) == [b"x", b"x", b"y"]


@pytest.mark.parametrize("act", ["ack_item", "reject_item"])
def test_a_call_that_found_nothing_does_not_run_late_on_what_was_taken_since(
    world: World, proxy: Proxy, client: Any, act: str
) -> None:
    queue = world.queue("orders", proxy.url)
    queue.get_count()
    proxy.hold()
    assert getattr(queue, act)("x") is False
    client.lpush("orders", "x", "y")
    assert queue.get_items(1) + queue.get_items(1) == ["x", "y"]
    proxy.deliver()
    assert held(client, queue) == [b"x", b"y"]
    assert waiting(client) == []


def test_a_delete_that_found_nothing_does_not_run_late_on_what_was_added_since(
    world: World, proxy: Proxy, client: Any
) -> None:
    queue = world.queue("orders", proxy.url)
    queue.get_count()
    proxy.hold("delete")
    assert queue.delete_item("x") == 0
    client.lpush("orders", "x")
    proxy.deliver()
    assert waiting(client) == [b"x"]


def test_a_drop_that_found_nothing_does_not_run_late_on_what_was_taken_since(
    world: World, proxy: Proxy, url: str, client: Any
) -> None:
    queue = world.queue("orders", proxy.url)
    queue.get_count()
    proxy.hold("drop")
    assert queue.drop_all_items() == 0
    client.lpush("orders", "x")
    other = world.queue("orders", url)
    assert other.get_items(1) == ["x"]
    proxy.deliver()
    assert held(client, other) == [b"x"]


def test_a_lost_reply_does_not_count_twice_what_is_added_with_redis_pys_own_retries(
    world: World, proxy: Proxy, client: Any
) -> None:
    queue = world.queue("orders", world.retrying_client(proxy.url.removeprefix("unix://")))
    queue.get_count()
    proxy.drop_reply("add")
    assert queue.add_items(["x", "x"]) == 2
    proxy.drop_reply("get")
    assert queue.get_items(1) == ["x"]
    proxy.drop_reply("ack")
    assert queue.ack_items(["x"]) == 1
    assert proxy.hits == 3 * ["drop_reply"]
    assert waiting(client) == [b"x"]
    assert held(client, queue) == []


def test_the_same_label_used_again_is_another_consumer(world: World, url: str, client: Any) -> None:
    first = world.queue("orders", url, client_id="worker-1")
    first.add_items(["a", "b", "c"])
    assert first.get_items(1) == ["a"]
    second = world.queue("orders", url, client_id="worker-1")
    assert second.client_id != first.client_id
    assert second.add_item("d")
    assert second.get_items(1) == ["b"]
    assert second.ack_item("a") is False
    assert first.ack_item("a") is True


def test_a_chunk_refused_midway_tells_what_is_known(world: World, proxy: Proxy, client: Any) -> None:
    queue = world.queue("orders", proxy.url, retry=0)
    queue.get_count()
    proxy.drop_reply("add", after=1)
    with pytest.raises(OutcomeUnknown) as caught:
        queue.add_items(texts(range(3500)))
    assert (caught.value.added, caught.value.unknown, caught.value.remaining) == (1000, 1000, 1500)
    assert waiting(client) == [b"%d" % number for number in range(2000)]


# Gets


def test_an_abandoned_get_of_five_and_a_get_of_one(world: World, proxy: Proxy, client: Any) -> None:
    client.lpush("orders", *texts(range(7)))
    queue = world.queue("orders", proxy.url, retry=0)
    queue.get_count()
    lose_get(queue, proxy, 5)
    assert queue.get_items(1) == ["0"]
    assert queue.get_items(4) == ["1", "2", "3", "4"]
    assert queue.get_items(4) == ["5", "6"]
    assert queue.ack_items(texts(range(7))) == 7
    assert leftovers(client) == set()


@pytest.mark.parametrize("lost", [True, False])
def test_a_get_after_the_session_expired(world: World, proxy: Proxy, client: Any, lost: bool) -> None:
    client.lpush("orders", *texts(range(6)))
    queue = world.queue("orders", proxy.url, retry=0)
    queue.get_count()
    seen = queue.get_items(2)
    if lost:
        lose_get(queue, proxy, 2)
    else:
        seen += queue.get_items(2)
    assert client.delete(f"orders/session/{queue.client_id}") == 1
    seen += queue.get_items(2)
    seen += queue.get_items(2)
    assert seen == texts(range(6))
    assert queue.ack_items(seen) == 6
    assert leftovers(client) == set()


def test_a_late_get_is_stale_though_the_session_expired(world: World, proxy: Proxy, client: Any) -> None:
    client.lpush("orders", "a", "b")
    queue = world.queue("orders", proxy.url, retry=0)
    queue.get_count()
    proxy.hold("get")
    with pytest.raises(OutcomeUnknown):
        queue.get_items(1)
    assert queue.get_items(1) == ["a"]
    client.delete(f"orders/session/{queue.client_id}")
    assert proxy.deliver() == STALE
    assert held(client, queue) == [b"a"]


def sweep_as_older_library(client: Any, queue: pyrq.Queue[Any]) -> None:
    items = client.lrange(queue.processing_queue_name, 0, -1)
    client.rpush("orders", *items)
    client.delete(queue.processing_queue_name)
    client.hdel("orders-timeouts", queue.processing_queue_name)


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("older", [True, False])
def test_a_get_after_the_list_was_swept(
    world: World, proxy: Proxy, url: str, client: Any, lost: bool, older: bool
) -> None:
    client.lpush("orders", *texts(range(6)))
    queue = world.queue("orders", proxy.url, retry=0)
    queue.get_count()
    queue.get_items(2)
    if lost:
        lose_get(queue, proxy, 3)
    if older:
        sweep_as_older_library(client, queue)
    else:
        assert world.queue("orders", url).re_enqueue_all_items() == (5 if lost else 2)
    assert queue.ack_item("0") is False
    assert queue.get_items(4) == ["0", "1", "2", "3"]
    assert queue.ack_items(["0", "1", "2", "3"]) == 4
    assert queue.get_items(4) == ["4", "5"]
    assert queue.ack_items(["4", "5"]) == 2
    assert leftovers(client) == set()


def test_a_get_after_the_list_was_swept_in_part(world: World, proxy: Proxy, url: str, client: Any) -> None:
    client.lpush("orders", *texts(range(2500)))
    queue = world.queue("orders", url)
    assert len(queue.get_items(2500)) == 2500
    sweeper = world.queue("orders", proxy.url, retry=0)
    sweeper.get_count()
    proxy.drop_request("re_enqueue", after=1)
    with pytest.raises(OutcomeUnknown):
        sweeper.re_enqueue_all_items()
    taken = f"{queue.processing_queue_name}/taken"
    assert client.llen(taken) == 1500
    assert waiting(client) == [b"%d" % number for number in range(1500, 2500)]

    assert queue.ack_items(texts(range(2500))) == 0
    assert queue.get_items(2) == ["1500", "1501"]
    assert sweeper.re_enqueue_timeout_items(7200) == 1500
    assert held(client, queue) == [b"1500", b"1501"]
    rest = texts(range(1500)) + texts(range(1502, 2500))
    assert queue.get_items(3000) == rest
    assert queue.ack_items(["1500", "1501", *rest]) == 2500
    assert leftovers(client) == set()


def test_an_ack_repeated_while_an_equal_item_lies_unconfirmed(world: World, proxy: Proxy, client: Any) -> None:
    client.lpush("orders", "x", "x")
    queue = world.queue("orders", proxy.url, retry=0)
    assert queue.get_items(1) == ["x"]
    lose_get(queue, proxy, 1)
    assert queue.ack_item("x") is True
    assert queue.ack_item("x") is False
    assert queue.reject_item("x") is False
    assert queue.get_items(2) == ["x"]
    assert queue.ack_item("x") is True
    assert leftovers(client) == set()


@pytest.mark.parametrize("fault", ["drop_request", "drop_reply"])
def test_a_get_of_5000_that_fails_in_its_third_chunk(world: World, proxy: Proxy, client: Any, fault: str) -> None:
    client.lpush("orders", *texts(range(5000)))
    queue = world.queue("orders", proxy.url, retry=0)
    queue.get_count()
    getattr(proxy, fault)("get", after=2)
    with pytest.raises(OutcomeUnknown):
        queue.get_items(5000)
    assert queue.ack_items(texts(range(5000))) == 0, "no caller has seen them"
    assert queue.get_items(10) == texts(range(10))
    assert queue.get_items(5000) == texts(range(10, 5000))
    assert queue.ack_items(texts(range(5000))) == 5000
    assert leftovers(client) == set()


def test_a_queue_closed_with_an_unconfirmed_batch_gives_it_back(world: World, proxy: Proxy, client: Any) -> None:
    client.lpush("orders", *texts(range(5)))
    queue = world.queue("orders", proxy.url, retry=0)
    assert queue.get_items(1) == ["0"]
    lose_get(queue, proxy, 3)
    queue.close()
    assert waiting(client) == [b"1", b"2", b"3", b"4"]
    assert held(client, queue) == [b"0"], "what the caller has in hand stays held"


def test_a_queue_closed_in_the_middle_of_5000_gives_all_back(world: World, proxy: Proxy, client: Any) -> None:
    client.lpush("orders", *texts(range(5000)))
    queue = world.queue("orders", proxy.url, retry=0)
    queue.get_count()
    proxy.drop_reply("get", after=2)
    with pytest.raises(OutcomeUnknown):
        queue.get_items(5000)
    queue.close()
    assert waiting(client) == [b"%d" % number for number in range(5000)]
    assert leftovers(client) == {b"orders"}


def test_a_get_that_runs_after_the_queue_was_closed_takes_nothing(world: World, proxy: Proxy, client: Any) -> None:
    client.lpush("orders", "a")
    queue = world.queue("orders", proxy.url, retry=0)
    queue.get_count()
    proxy.hold("get")
    with pytest.raises(OutcomeUnknown):
        queue.get_items(1)
    queue.close()
    proxy.deliver()
    assert waiting(client) == [b"a"]
    assert leftovers(client) == {b"orders"}


# Cancelled tasks


async def cancel_once_sent(call: Coroutine[Any, Any, object], proxy: Proxy) -> None:
    """Cancels a call that waits for an answer, because the proxy holds its request."""
    task = asyncio.create_task(call)
    assert await asyncio.to_thread(proxy.caught.wait, 10)
    for _ in range(20):  # the task goes on from sending to waiting
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("late", ["before", "after"])
async def test_a_cancelled_get_is_handed_out_again(proxy: Proxy, client: Any, late: str) -> None:
    client.lpush("orders", "a", "b", "c")
    async with pyrq.aio.Queue("orders", proxy.url) as queue:
        await queue.get_count()
        proxy.hold("get", until_given_up=True)
        await cancel_once_sent(queue.get_items(2), proxy)
        if late == "before":
            await asyncio.to_thread(proxy.deliver)
        assert await queue.get_items(2) == ["a", "b"]
        if late == "after":
            assert await asyncio.to_thread(proxy.deliver) == STALE
        assert held(client, queue) == [b"a", b"b"]
        assert waiting(client) == [b"c"]
        assert await queue.ack_items(["a", "b"]) == 2
    assert leftovers(client) == {b"orders"}


@pytest.mark.parametrize("late", ["before", "after"])
async def test_a_cancelled_add_has_one_effect_or_none(proxy: Proxy, client: Any, late: str) -> None:
    async with pyrq.aio.Queue("orders", proxy.url) as queue:
        await queue.get_count()
        proxy.hold("add", until_given_up=True)
        await cancel_once_sent(queue.add_item("a"), proxy)
        if late == "before":
            await asyncio.to_thread(proxy.deliver)
        assert await queue.add_item("b")
        if late == "after":
            assert STALE in await asyncio.to_thread(proxy.deliver)
        assert waiting(client) == ([b"a", b"b"] if late == "before" else [b"b"])


async def test_gets_cancelled_at_any_moment_lose_nothing(url: str, client: Any, rng: random.Random) -> None:
    client.lpush("orders", *texts(range(300)))
    seen: list[str] = []
    async with pyrq.aio.Queue("orders", url) as queue:
        await queue.get_count()
        while len(seen) < 300:
            task = asyncio.create_task(queue.get_items(3))
            for _ in range(rng.randrange(12)):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                seen += await task
            if rng.random() < 0.2:
                seen += await queue.get_items(2)
        assert seen == texts(range(300))
        assert await queue.ack_items(seen) == 300
    assert leftovers(client) == set()


@pytest.mark.parametrize("steps", range(8))
async def test_a_cancellation_is_not_swallowed_at_any_moment(proxy: Proxy, client: Any, steps: int) -> None:
    """Python 3.11's `asyncio.wait_for`, with which redis-py sends, swallows a cancellation at one moment."""
    client.lpush("orders", "a")
    async with pyrq.aio.Queue("orders", proxy.url) as queue:
        await queue.get_count()
        proxy.hold("get", until_given_up=True)
        task = asyncio.create_task(queue.get_items(1))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        proxy.disarm()
        assert await queue.get_items(1) == ["a"]


# Few connections, many callers


def test_sixteen_threads_on_two_connections_queue_up(server: Server, client: Any) -> None:
    pool = redis.ConnectionPool.from_url(server.url, max_connections=2)
    shared = pyrq.Queue("orders", pool)

    def work(number: int) -> list[str]:
        mine = shared if number % 2 else pyrq.Queue("orders", pool)
        for step in range(5):
            assert mine.add_item(f"{number} {step}")
        items = mine.get_items(3)
        assert mine.ack_items(items) == len(items)
        return items

    with ThreadPoolExecutor(16) as threads:
        seen = [item for items in threads.map(work, range(16)) for item in items]
    assert len(set(seen)) == len(seen)
    assert len(seen) + client.llen("orders") == 80
    assert leftovers(client) <= {b"orders"}
    pool.disconnect()


async def test_sixteen_tasks_on_two_connections_queue_up(server: Server, client: Any) -> None:
    pool: redis_asyncio.ConnectionPool = redis_asyncio.ConnectionPool.from_url(server.url, max_connections=2)
    shared = pyrq.aio.Queue("orders", pool)

    async def work(number: int) -> list[str]:
        mine = shared if number % 2 else pyrq.aio.Queue("orders", pool)
        for step in range(5):
            assert await mine.add_item(f"{number} {step}")
        items = await mine.get_items(3)
        assert await mine.ack_items(items) == len(items)
        return items

    seen = [item for items in await asyncio.gather(*map(work, range(16))) for item in items]
    assert len(set(seen)) == len(seen)
    assert len(seen) + client.llen("orders") == 80
    assert leftovers(client) <= {b"orders"}
    await pool.disconnect()


# Scripts that vanish


def test_scripts_that_come_and_go_between_chunks_keep_the_order(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", url)
    queue.get_count()

    def items() -> Any:
        for number in range(4000):
            if number == 0:
                client.script_flush()
            if number in (1000, 3500):
                client.script_load(SCRIPTS["add"].source)
            if number == 2500:
                client.script_flush()
            yield number

    assert queue.add_items(items()) == 4000
    assert queue.get_items(4000) == texts(range(4000))


def test_a_missing_burn_before_a_known_add_adds_once(world: World, proxy: Proxy, client: Any) -> None:
    queue = world.queue("orders", proxy.url)
    queue.get_count()
    proxy.drop_reply("add")
    queue.add_item("a")  # its lane is doubtful now, so the next call burns it
    client.script_flush()
    client.script_load(SCRIPTS["add"].source)
    assert queue.add_item("b")
    assert waiting(client) == [b"a", b"b"]


def test_script_flush_at_any_time_never_reaches_a_caller(world: World, url: str, client: Any) -> None:
    stop = threading.Event()

    def flush() -> None:
        while not stop.is_set():
            client.script_flush()

    queue = world.queue("orders", url)
    flusher = threading.Thread(target=flush)
    flusher.start()
    try:
        for number in range(60):
            assert queue.add_items(texts(range(number, number + 10))) == 10
            items = queue.get_items(10)
            assert items == texts(range(number, number + 10))
            assert queue.reject_items(items[:2]) == 2
            assert queue.get_items(2) == items[:2]
            assert queue.ack_items(items) == 10
        assert queue.re_enqueue_all_items() == 0
    finally:
        stop.set()
        flusher.join()
    assert leftovers(client) == set()


# A server that dies


def test_a_server_killed_and_restarted_under_load_loses_nothing(
    world: World, start_server: Callable[..., Server]
) -> None:
    server = start_server("--appendonly", "yes", "--appendfsync", "always")
    queue = world.queue("orders", server.url)
    done = threading.Event()
    acked: list[str] = []

    def produce(who: int) -> None:
        for number in range(150):
            assert queue.add_item(f"{who} {number}")

    def consume() -> None:
        while len(acked) < 600 and not done.is_set():
            items = queue.get_items(7)
            assert queue.ack_items(items) == len(items)
            acked.extend(items)

    with ThreadPoolExecutor(6) as threads:
        futures = [
            *(threads.submit(produce, who) for who in range(4)),
            threads.submit(consume),
            threads.submit(consume),
        ]
        try:
            for part in (100, 250, 400):
                while len(acked) < part and not any(future.exception() for future in futures if future.done()):
                    done.wait(0.001)
                server.kill()
                server.start()
            for future in futures:
                future.result(60)
        finally:
            done.set()
    assert Counter(acked) == Counter(f"{who} {number}" for who in range(4) for number in range(150))
    with server.client() as client:
        assert leftovers(client) == set()
