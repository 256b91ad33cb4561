"""Checks of servers that are full, busy, or do not take writes: everything can be taken out, and nothing is lost."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import redis

from pyrq import JsonCodec, errors
from tests.faults.checking import Place, texts
from tests.faults.checks_access import consume
from tests.faults.ledger import MARK
from tests.integration.leaks import remains
from tests.servers import leftovers, wait_until

__all__ = ["CHECKS"]

_MANY = 1500


@contextlib.contextmanager
def _full(place: Place) -> Iterator[None]:
    with place.configured(maxmemory_policy="noeviction", maxmemory="1"):
        yield


def full_server_refuses_an_add(place: Place) -> None:
    queue, unique, pool = (place.queue(kind, name=kind) for kind in ("Queue", "UniqueQueue", "Pool"))
    assert queue.get_count() == unique.get_count() == pool.get_count() == 0
    with _full(place), place.unchanged():
        for each in (queue, unique, pool):
            place.fails(errors.ServerFullError, lambda: each.add_items(texts(_MANY)))  # noqa: B023
        place.fails(errors.ServerFullError, lambda: queue.add_item(MARK, delay=60))


def full_server_is_drained(place: Place) -> None:
    queue = place.queue()
    queue.add_items(texts(_MANY))
    with _full(place):
        assert queue.get_items(_MANY) == texts(_MANY)
        assert queue.reject_items(texts(_MANY)) == _MANY
        assert queue.ack_and_get([], _MANY) == texts(_MANY)
        assert queue.ack_items(texts(_MANY)) == _MANY
        queue.close()
    assert not leftovers(place.client)


def full_server_is_drained_by_a_new_consumer(place: Place) -> None:
    place.queue().add_items(texts(200))
    with _full(place):
        seen: list[str] = []
        consume(place, place.queue(), seen.append, lambda: len(seen) == 200, batch=20)
        assert seen == texts(200)
    assert not remains(place.client, "orders")


def full_server_is_swept(place: Place) -> None:
    silent, queue = place.queue(), place.queue()
    silent.add_items(texts(_MANY))
    assert len(silent.get_items(_MANY)) == _MANY
    with _full(place):
        assert queue.re_enqueue_timeout_items(7200) == 0
        assert queue.re_enqueue_timeout_items(0) == _MANY
        assert queue.get_items(_MANY) == texts(_MANY)
        assert silent.drop_all_items() == _MANY
    assert not remains(place.client, "orders")


def full_server_buries_and_purges(place: Place) -> None:
    place.client.lpush("orders", *(f"{MARK} no json {number}" for number in range(20)), "7")
    queue = place.queue(codec=JsonCodec(), max_deliveries=1)
    with _full(place):
        assert queue.get_items(21) == [7]
        assert queue.reject_item(7)
        assert place.dead(queue).count() == 21
        assert place.dead(queue).purge() == 21
    queue.close()
    assert not leftovers(place.client)


def full_server_brings_what_is_due(place: Place) -> None:
    queue = place.queue()
    queue.add_items(texts(3), delay=0.1)
    with _full(place):
        wait_until(lambda: place.client.zcount("orders/delayed", 0, _now(place)) == 3)
        assert queue.get_items(3, timeout=10) == texts(3)
        assert queue.ack_items(texts(3)) == 3
    queue.close()
    assert not leftovers(place.client)


def _now(place: Place) -> float:
    seconds, micros = place.client.time()
    return float(seconds + micros / 1e6)


def full_server_lets_items_be_deleted(place: Place) -> None:
    queue = place.queue()
    queue.add_items(texts(_MANY))
    with _full(place):
        assert queue.delete_items(texts(_MANY)) == _MANY
        assert queue.pause() in (True, False)
        assert queue.resume() in (True, False)
    assert queue.get_items(1) == []


def full_server_is_drained_of_unique_items(place: Place) -> None:
    queue = place.queue("UniqueQueue")
    queue.add_items(texts(_MANY))
    with _full(place):
        assert queue.get_items(_MANY) == texts(_MANY)
        assert queue.reject_items(texts(_MANY)) == _MANY
        assert queue.get_items(_MANY) == texts(_MANY)
        assert queue.re_enqueue_all_items() == _MANY
        assert queue.delete_items(texts(10)) == 10
        assert queue.get_items(_MANY) == texts(_MANY)[10:]
        assert queue.ack_items(texts(_MANY)) == _MANY - 10
    queue.close()
    assert not leftovers(place.client)


def full_server_is_drained_of_a_pool(place: Place) -> None:
    pool = place.queue("Pool")
    pool.add_items(texts(_MANY))
    with _full(place):
        assert sorted(pool.get_all_items()) == sorted(texts(_MANY))
        assert pool.ack_items(texts(5)) == 5
        assert pool.remove_items(texts(_MANY)) == _MANY - 5
        assert pool.clear_pool() == 5


def full_server_that_evicts_what_expires_keeps_items(place: Place) -> None:
    queue = place.queue()
    queue.add_items(texts(_MANY))
    assert queue.get_items(10) == texts(10)
    with place.configured(maxmemory_policy="volatile-lru", maxmemory="1"):
        wait_until(lambda: not _evicted(place) or not list(place.client.scan_iter("*/session/*")))
        assert queue.ack_items(texts(10)) == 10
        assert queue.get_items(_MANY) == texts(_MANY)[10:]
        assert queue.ack_items(texts(_MANY)[10:]) == _MANY - 10
    assert queue.get_count() == 0
    assert not remains(place.client, "orders")


def _evicted(place: Place) -> int:
    with contextlib.suppress(Exception):
        place.client.set("pressure", "x")
    return int(place.client.info("stats")["evicted_keys"])


# Busy


@contextlib.contextmanager
def _busy(place: Place, seconds: float) -> Iterator[None]:
    """Somebody's script keeps the server, so that others are told BUSY, until it is killed after some seconds."""

    def keep() -> None:
        with place.server.client(socket_timeout=60) as client, contextlib.suppress(redis.ResponseError):
            client.eval("while true do end", 0)

    def end() -> None:
        with contextlib.suppress(redis.ResponseError):  # it is over
            place.client.script_kill()

    with place.configured(lua_time_limit="10"):
        keeper = threading.Thread(target=keep)
        keeper.start()
        wait_until(lambda: _is_busy(place), 30)
        killer = threading.Timer(seconds, end)
        killer.start()
        try:
            yield
        finally:
            end()
            killer.cancel()
            keeper.join(30)
            killer.join(30)


def _is_busy(place: Place) -> bool:
    try:
        place.client.get("nothing")
    except redis.ResponseError as error:
        return "BUSY" in str(error)
    return False


def busy_server_is_waited_for(place: Place) -> None:
    queue, pool = place.queue(), place.queue("Pool", name="pool")
    queue.add_item(MARK)
    pool.get_count()
    with _busy(place, 0.15):
        assert queue.get_items(1) == [MARK]
    with _busy(place, 0.15):
        assert queue.add_items(texts(_MANY)) == _MANY
    with _busy(place, 0.15):
        assert pool.add_item(MARK)
    assert queue.get_items(_MANY) == texts(_MANY)
    assert queue.ack_items([MARK, *texts(_MANY)]) == _MANY + 1


def busy_server_that_stays_so_is_told_of(place: Place) -> None:
    queue = place.queue(retry=0.05)
    queue.add_items(texts(5))
    assert queue.get_items(2) == texts(2)
    with _busy(place, 30):
        for act in (lambda: queue.add_item(MARK), lambda: queue.get_items(1), lambda: queue.ack_items(texts(2))):
            place.fails(errors.ServerBusyError, act)
        place.fails(errors.ServerBusyError, queue.get_count)
    assert queue.ack_items(texts(2)) == 2
    assert queue.get_items(9) == texts(5)[2:]
    assert queue.ack_items(texts(5)) == 3
    assert queue.get_count() == 0


# No writes


def too_few_replicas_for_any_write(place: Place) -> None:
    queue = place.queue(retry=0.05)
    queue.add_items(texts(2))
    assert queue.get_items(1) == texts(1)
    with place.configured(min_replicas_to_write="1"), place.unchanged():
        for act in (lambda: queue.add_item(MARK), lambda: queue.get_items(1), lambda: queue.ack_item(texts(1)[0])):
            place.fails(errors.NotEnoughReplicasError, act)
        assert queue.get_count() == 1
    assert queue.ack_item(texts(1)[0])
    assert queue.get_items(2) == texts(2)[1:]


def replica_takes_no_write(place: Place) -> None:
    queue = place.queue(retry=0.05)
    queue.add_items(texts(2))
    place.client.replicaof("127.0.0.1", "1")
    try:
        with place.unchanged():
            place.fails(errors.ReadOnlyReplicaError, lambda: queue.add_item(MARK))
            place.fails(errors.ReadOnlyReplicaError, lambda: queue.get_items(1))
    finally:
        place.client.replicaof("NO", "ONE")
    assert queue.get_items(2) == texts(2)


CHECKS = (
    full_server_refuses_an_add,
    full_server_is_drained,
    full_server_is_drained_by_a_new_consumer,
    full_server_is_swept,
    full_server_buries_and_purges,
    full_server_brings_what_is_due,
    full_server_lets_items_be_deleted,
    full_server_is_drained_of_unique_items,
    full_server_is_drained_of_a_pool,
    full_server_that_evicts_what_expires_keeps_items,
    busy_server_is_waited_for,
    busy_server_that_stays_so_is_told_of,
    too_few_replicas_for_any_write,
    replica_takes_no_write,
)
