"""Checks of rights and passwords: the one user of SECURITY.md can do all that a queue needs, and nothing else."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import redis

from pyrq import Bury, JsonCodec, Totals, errors
from pyrq.aio import Consumer as AioConsumer
from tests.faults.checking import Place, texts
from tests.faults.ledger import MARK, SECRET
from tests.integration.leaks import remains
from tests.servers import redis_client, running, wait_until

__all__ = ["CHECKS"]

_USER = "orders-worker"
_SECURITY = Path(__file__).parents[2] / "SECURITY.md"
_REFUSED: tuple[tuple[Any, ...], ...] = (
    *(("LPUSH", "ordersx", "1"), ("LPUSH", "parcels", "1"), ("LRANGE", "parcels", "0", "-1"), ("DEL", "parcels")),
    *(
        ("HSET", "parcels-timeouts", "victim", "0"),
        ("GET", "orders"),
        ("SET", "orders", "1"),
        ("COPY", "orders", "orders-2"),
    ),
    *(("FLUSHALL",), ("FLUSHDB",), ("KEYS", "*"), ("SCAN", "0"), ("RANDOMKEY",), ("DBSIZE",), ("SWAPDB", "0", "1")),
    *(("CONFIG", "GET", "*"), ("CONFIG", "SET", "maxmemory", "1"), ("ACL", "LIST"), ("ACL", "SETUSER", _USER, "+@all")),
    *(("SUBSCRIBE", "news"), ("PSUBSCRIBE", "*"), ("PUBLISH", "news", "1"), ("MONITOR",), ("CLIENT", "LIST")),
    *(
        ("INFO",),
        ("SLOWLOG", "GET"),
        ("DEBUG", "SLEEP", "0"),
        ("SHUTDOWN", "NOSAVE"),
        ("REPLICAOF", "NO", "ONE"),
        ("SAVE",),
    ),
    *(
        ("SCRIPT", "FLUSH"),
        ("SCRIPT", "KILL"),
        ("FUNCTION", "LIST"),
        ("MODULE", "LIST"),
        ("MIGRATE", "h", "1", "k", "0", "1"),
    ),
    ("EVAL", "return redis.call('LPUSH', KEYS[1], '1')", "1", "ordersx"),
    ("EVAL", "return redis.call('LPUSH', 'ordersx', '1')", "0"),
    ("EVAL", "return redis.call('FLUSHALL')", "0"),
    ("EVAL", "return redis.call('KEYS', '*')", "0"),
)


def _worker(place: Place, *more: str) -> str:
    """Makes the user as SECURITY.md says; gives its URL."""
    found = re.search(r"^ACL SETUSER (\S+ .*)$", _SECURITY.read_text(encoding="utf-8"), re.MULTILINE)
    assert found, "SECURITY.md has no rule"
    words = found[1].replace(">PASSWORD", f">{SECRET}").split()
    place.client.execute_command("ACL", "SETUSER", *words, *more)
    return place.server.url.replace("://", f"://{words[0]}:{SECRET}@")


def rights_are_enough_for_a_queue(place: Place) -> None:
    queue = place.queue(url=_worker(place), codec=JsonCodec())
    items = [{MARK: number} for number in range(1500)]
    place.client.lpush("orders", f"{MARK} spoilt")
    assert queue.add_items(items) == 1500
    assert queue.get_items(1000) == items[:1000]
    assert queue.reject_items(items[:7]) == 7
    assert queue.ack_and_get(items[7:1000], 7) == items[:7]
    assert queue.re_enqueue_all_items() == 7
    assert queue.peek(2) == items[:2]
    assert queue.delete_items(items[:5]) == 5
    assert queue.get_items(1500) == items[5:7] + items[1000:]
    assert queue.drop_all_items() == 502
    _has_the_rest(place, queue)


def _has_the_rest(place: Place, queue: Any) -> None:
    """The rest of a queue's life, with one dead letter to begin with."""
    assert queue.add_item(MARK, delay=0.2)
    assert queue.stats().delayed == 1
    assert queue.get_items(1, timeout=10) == [MARK]
    assert queue.in_flight()[0].count == 1
    assert queue.re_enqueue_timeout_items(0) == 1
    assert queue.drop_timeout_items(7200) == 0
    assert queue.get_items(1) == [MARK]
    assert queue.ack_item(MARK)
    assert queue.pause() is queue.resume() is True
    dead = place.dead(queue)
    assert (dead.count(), len(dead.peek(1)), dead.redrive(), queue.get_items(1), dead.purge()) == (1, 1, 1, [], 1)
    assert (queue.release(), queue.get_count()) == (0, 0)
    queue.close()
    assert not remains(place.client, "orders")


def rights_are_enough_for_a_unique_queue(place: Place) -> None:
    queue = place.queue("UniqueQueue", _worker(place), codec=JsonCodec(), max_retry_rollback=1, max_timeout_in_queue=1)
    assert queue.add_items([MARK, MARK, "a"]) == 2
    assert queue.get_items(2) == [MARK, "a"]
    assert queue.can_rollback_item("a")
    assert queue.reject_items([MARK, "a"]) == 2
    assert queue.reset_blocked_item("a")
    assert queue.delete_item("a") == 1
    place.client.srem("orders-unique", f'"{MARK}"')
    assert queue.repair() == 1
    assert queue.get_items(2) == [MARK]
    assert queue.ack_item(MARK)
    place.client.rpush("orders", f"{MARK} spoilt")
    place.client.sadd("orders-unique", f"{MARK} spoilt")
    assert queue.get_items(1) == []
    _has_the_rest(place, queue)


def rights_are_enough_for_a_pool(place: Place) -> None:
    pool = place.queue("Pool", _worker(place))
    items = texts(1500)
    assert pool.add_items(items) == 1500
    assert (pool.get_count(), pool.get_count_to_process(), pool.is_in_pool(items[0])) == (1500, 1500, True)
    found = pool.get_items(10)
    assert (len(found), pool.ack_items(found[:5]), pool.remove_items(found[5:])) == (10, 5, 5)
    assert len(pool.get_all_items()) == 1490
    assert (pool.delete_item(found[0]), pool.clear_pool()) == (True, 1494)
    pool.close()
    assert not remains(place.client, "orders")


def rights_are_enough_for_a_consumer(place: Place) -> None:
    queue = place.queue(url=_worker(place))
    queue.add_items([*texts(50), "bury"])
    seen: list[str] = []

    def handle(item: str) -> None:
        if item == "bury":
            raise Bury("so be it")
        seen.append(item)

    consume(place, queue, handle, lambda: len(seen) == 50 and place.client.llen("orders/dead") == 1)
    assert place.dead(queue).purge() == 1
    queue.close()
    assert sorted(seen) == sorted(texts(50))
    assert not remains(place.client, "orders")


def consume(place: Place, queue: Any, handle: Callable[[str], None], over: Callable[[], bool], **options: Any) -> None:
    """Runs a consumer until something holds. What it raises is raised here, and it must not lose its leases."""
    run, stop = (_aio_consumer if place.world.is_aio else _sync_consumer)(place, queue, handle, **options)
    future: Future[Totals] = Future()

    def work() -> None:
        try:
            future.set_result(run())
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        wait_until(lambda: future.done() or over(), 30)
    finally:
        stop()
        totals = future.result(30)
    assert over(), "the consumer ended by itself"
    assert totals.lost == 0, f"{totals.lost} items were taken from a consumer that is alive"


_Way = tuple[Callable[[], Totals], Callable[[], object]]
"""How to run a consumer, and how to stop it."""


def _sync_consumer(_: Place, queue: Any, handle: Callable[[str], None], **options: Any) -> _Way:
    stop = threading.Event()
    return lambda: queue.consume(handle, stop=stop, **options), stop.set


def _aio_consumer(place: Place, queue: Any, handle: Callable[[str], None], **options: Any) -> _Way:
    async def handle_aio(item: str) -> None:
        handle(item)

    async def start() -> AioConsumer[str]:
        return AioConsumer(queue.aio, handle_aio, **options)

    consumer = place.world.wait_for(start())
    return lambda: place.world.wait_for(consumer.run()), lambda: place.world.loop.call_soon_threadsafe(consumer.stop)


def rights_end_at_the_queue(place: Place) -> None:
    url = _worker(place)
    place.client.lpush("parcels", MARK)
    with redis_client(url) as worker, place.unchanged():
        for probe in _REFUSED:
            try:
                worker.execute_command(*probe)
            except redis.ResponseError as error:
                told = str(error)
                fine = isinstance(error, redis.exceptions.NoPermissionError) or re.search(
                    "ACL|can't (run|access)|not allowed", told
                )
                assert fine, f"{probe}: {told}"
            else:
                raise AssertionError(f"{probe} is not refused")


def rights_end_at_other_queues(place: Place) -> None:
    url = _worker(place)
    place.client.lpush("parcels", MARK)
    with place.unchanged():
        for kind in ("Queue", "UniqueQueue", "Pool"):
            queue = place.queue(kind, url, "parcels")
            assert "`NAME/*`" in place.fails(errors.PermissionDeniedError, lambda: queue.add_item(MARK))  # noqa: B023
            place.fails(errors.PermissionDeniedError, lambda: queue.get_items(1))  # noqa: B023


def rights_that_are_missing_are_named(place: Place) -> None:
    queue = place.queue(url=_worker(place, "-lset", "-hdel"))
    place.client.lpush("orders", MARK)
    with place.unchanged():
        assert "Refused: HDEL, LSET." in place.fails(errors.PermissionDeniedError, lambda: queue.get_items(1))


def rights_that_are_taken_away_lose_nothing(place: Place) -> None:
    url = _worker(place)
    queue = place.queue(url=url)
    queue.add_items(texts(5))
    assert queue.get_items(2) == texts(2)
    place.client.execute_command("ACL", "SETUSER", _USER, "-lpush", "-ltrim", "-lset", "-rpush")
    for act in (lambda: queue.get_items(2), lambda: queue.reject_items(texts(2)), queue.re_enqueue_all_items):
        place.fails(errors.PermissionDeniedError, act)
    place.client.execute_command("ACL", "SETUSER", _USER, "+lpush", "+ltrim", "+lset", "+rpush")
    assert queue.reject_items(texts(2)) == 2
    assert queue.get_items(9) == texts(5)
    assert queue.ack_items(texts(5)) == 5


def passwords_that_are_wrong_are_not_shown(place: Place) -> None:
    _worker(place)
    url = place.server.url.replace("://", f"://{_USER}:{SECRET}-wrong@")
    queue = place.queue(url=url, retry=1)
    place.fails(errors.AuthenticationError, lambda: queue.add_item(MARK))
    place.trial.read("repr", repr(getattr(queue, "aio", queue)))


def passwords_that_are_missing(place: Place) -> None:
    with running(place.server.binary, "--requirepass", SECRET) as server:
        queue = place.queue(url=server.url, retry=1)
        place.fails(errors.AuthenticationError, lambda: queue.add_item(MARK))
        other = place.queue(url=server.url.replace("://", f"://:{SECRET}@"))
        assert other.add_item(MARK)
        assert other.get_items(1) == [MARK]
        other.close()
        queue.close()


def passwords_that_change_under_way(place: Place) -> None:
    url = _worker(place)
    queue = place.queue(url=url, retry=1)
    assert queue.add_item(MARK)
    place.client.execute_command("ACL", "SETUSER", _USER, "resetpass", f">{SECRET}-other")
    place.client.execute_command("CLIENT", "KILL", "USER", _USER)
    place.fails(errors.AuthenticationError, lambda: queue.get_items(1))
    place.client.execute_command("ACL", "SETUSER", _USER, f">{SECRET}")
    assert queue.get_items(1) == [MARK]
    assert queue.ack_item(MARK)


CHECKS = (
    rights_are_enough_for_a_queue,
    rights_are_enough_for_a_unique_queue,
    rights_are_enough_for_a_pool,
    rights_are_enough_for_a_consumer,
    rights_end_at_the_queue,
    rights_end_at_other_queues,
    rights_that_are_missing_are_named,
    rights_that_are_taken_away_lose_nothing,
    passwords_that_are_wrong_are_not_shown,
    passwords_that_are_missing,
    passwords_that_change_under_way,
)
