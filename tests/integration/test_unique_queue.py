"""The queue of unique items on real servers: one effect whatever gets lost, and set and list always agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

import pyrq
from pyrq import errors
from tests.integration.kinds import LETTERS, held, push, unique, waiting
from tests.integration.test_errors import CARD, fails
from tests.proxy import SCRIPTS, Proxy
from tests.servers import World, contents, leftovers

STALE = b"*1\r\n:3\r\n"
Unique = pyrq.UniqueQueue[Any]


# One effect of each operation


@dataclass(frozen=True)
class Case:
    """An operation: what waits before, how much of it is taken, what is added again, what is done, what is there then.

    Attributes:
        foreign: what others push to the list alone; the set has `gone` then, too.
        rollbacks: how often items were rolled back, before and after.
    """

    script: str
    before: str
    act: Callable[[Unique], Any]
    result: Any
    waits: str = ""
    taken: int = 0
    again: str = ""
    holds: str = ""
    foreign: str = ""
    rollbacks: tuple[dict[str, int], dict[str, int]] = field(default=({}, {}))


CASES = {
    "add": Case("add", "x y", lambda queue: queue.add_items(["z", "y", "z", "w"]), 2, "x y z w"),
    "get": Case("get", "x y z", lambda queue: queue.get_items(2), ["x", "y"], "z", holds="x y"),
    "ack": Case("ack", "x y", lambda queue: queue.ack_items(["x"]), 1, "x", 2, "x", "y"),
    "ack-many": Case("ack", LETTERS, lambda queue: queue.ack_items(list("lkjihgfedc")), 10, "l", 12, "l", "a b"),
    "reject": Case("reject", "x y z", lambda queue: queue.reject_items(["x", "y"]), 2, "y z x", 2, "x"),
    "reject-many": Case(
        "reject",
        LETTERS,
        lambda queue: queue.reject_items(list("lkjihgfedc")),
        10,
        "k j i h g f e d l c",
        12,
        "l c",
        "a b",
    ),
    "re_enqueue": Case("re_enqueue", "x y z", lambda queue: queue.re_enqueue_all_items(), 1, "x z y", 2, "y"),
    "re_enqueue-timeout": Case(
        "re_enqueue", "x y z", lambda queue: queue.re_enqueue_timeout_items(0), 1, "x z y", 2, "y"
    ),
    "drop": Case("drop", "x y z", lambda queue: queue.drop_all_items(), 2, "z y", 2, "y"),
    "delete": Case("delete", "x y z", lambda queue: queue.delete_item("y"), 1, "x z"),
    "delete-many": Case("delete", LETTERS, lambda queue: queue.delete_items(list("abcdefghij")), 10, "k l"),
    "repair": Case("repair", "x y", lambda queue: queue.repair(), 2, "x y w", foreign="w"),
    "roll_back": Case(
        "roll_back", "x", lambda queue: queue.can_rollback_item("x"), True, "x", rollbacks=({}, {"x": 1})
    ),
    "forget_rollbacks": Case(
        *("forget_rollbacks", "x", lambda queue: queue.reset_blocked_item("x"), True, "x"),
        rollbacks=({"x": 1, "y": 2}, {"y": 2}),
    ),
}


def prepare(case: Case, queue: Unique, client: Any) -> None:
    push(client, case.before)
    queue.get_count()
    if case.taken:
        queue.get_items(case.taken)
    if case.again:
        push(client, case.again)
    if case.foreign:
        client.lpush("orders", case.foreign)
        client.sadd("orders-unique", "gone")
    for item, count in case.rollbacks[0].items():
        client.hset("orders-retry-count", item, count)
        client.hset("orders-retry-timeout", item, client.time()[0] // 60)


def check_effect(case: Case, queue: Unique, client: Any) -> None:
    assert waiting(client) == case.waits
    assert held(client, queue) == case.holds
    counts = {item.decode(): int(count) for item, count in client.hgetall("orders-retry-count").items()}
    assert counts == case.rollbacks[1]
    assert {item.decode() for item in client.hkeys("orders-retry-timeout")} == set(counts)
    assert client.keys("orders/repair/*") == []


@pytest.mark.parametrize("fault", ["drop_request", "drop_reply", "cut_reply"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_one_fault_one_effect(world: World, proxy: Proxy, client: Any, case: Case, fault: str) -> None:
    queue = unique(world, proxy.url)
    prepare(case, queue, client)
    getattr(proxy, fault)(case.script)
    assert case.act(queue) == case.result
    assert proxy.hits == [fault]
    check_effect(case, queue, client)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_request_that_runs_after_its_retry_changes_nothing(
    world: World, proxy: Proxy, client: Any, case: Case
) -> None:
    queue = unique(world, proxy.url)
    prepare(case, queue, client)
    proxy.hold(case.script)
    assert case.act(queue) == case.result
    assert b"NOSCRIPT" not in proxy.deliver()
    check_effect(case, queue, client)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_request_given_up_is_stale_once_the_next_call_has_run(
    world: World, proxy: Proxy, client: Any, case: Case
) -> None:
    queue = unique(world, proxy.url, retry=0)
    prepare(case, queue, client)
    proxy.hold(case.script)
    with pytest.raises(errors.OutcomeUnknown):
        case.act(queue)
    if case.script == "get":
        assert queue.get_items(1) == ["x"]
    queue.delete_item("-")
    before = contents(client)
    assert STALE in proxy.deliver()
    assert contents(client) == before


@pytest.mark.parametrize("fault", ["drop_request", "drop_reply", "cut_reply", "hold"])
def test_one_fault_one_release(world: World, proxy: Proxy, client: Any, fault: str) -> None:
    push(client, "x y z")
    queue = unique(world, proxy.url, retry=0.2)
    queue.get_count()
    for _ in range(200):
        proxy.drop_reply("get")
    with pytest.raises(errors.OutcomeUnknown):
        queue.get_items(2)
    proxy.disarm()
    push(client, "x")
    getattr(proxy, fault)("release")
    assert queue.release() == 1
    assert proxy.hits[-1] == fault
    if fault == "hold":
        assert queue.get_items(1) == ["y"]
        proxy.deliver()
        assert (waiting(client), held(client, queue)) == ("z x", "y")
    else:
        assert (waiting(client), held(client, queue)) == ("y z x", "")


LATE_NOTHINGS: dict[str, tuple[Callable[[Unique], Any], Callable[[Unique, Any], Any]]] = {
    # An operation that finds nothing to do, and what happens before it arrives once more.
    "add": (lambda queue: queue.add_item("x"), lambda queue, client: queue.get_items(1)),
    "delete": (lambda queue: queue.delete_item("y"), lambda queue, client: push(client, "y")),
    "reject": (lambda queue: queue.reject_item("x"), lambda queue, client: queue.get_items(1)),
    "repair": (lambda queue: queue.repair(), lambda queue, client: client.lpush("orders", "foreign")),
    "forget_rollbacks": (
        lambda queue: queue.reset_blocked_item("x"),
        lambda queue, client: queue.can_rollback_item("x"),
    ),
}


@pytest.mark.parametrize("script", LATE_NOTHINGS)
def test_what_found_nothing_does_not_run_late(world: World, proxy: Proxy, client: Any, script: str) -> None:
    act, meanwhile = LATE_NOTHINGS[script]
    push(client, "x")
    queue = unique(world, proxy.url)
    queue.get_count()
    proxy.hold(script)
    assert act(queue) in (0, False)
    meanwhile(queue, client)
    before = contents(client)
    assert STALE in proxy.deliver()
    assert contents(client) == before


# Keys


def test_the_keys_are_those_of_the_older_libraries(world: World, url: str, client: Any) -> None:
    queue = unique(world, url, client_id="worker")
    held_key, names = queue.processing_queue_name.encode(), (queue.set_name, queue.retry_count_name)
    assert (*names, queue.retry_timeout_name) == ("orders-unique", "orders-retry-count", "orders-retry-timeout")
    holding = {held_key, b"orders-timeouts", b"orders/consumers"}
    both = {b"orders", b"orders-unique"}

    assert queue.add_items(["a", "b", "a", "c"]) == 3
    assert queue.add_item("b") is False
    assert client.lrange("orders", 0, -1) == [b"c", b"b", b"a"]
    assert client.smembers("orders-unique") == {b"a", b"b", b"c"}
    assert leftovers(client) == both
    assert queue.get_items(2) == ["a", "b"]
    assert client.lrange(held_key, 0, -1) == [b"b", b"a"]
    assert client.hkeys("orders-timeouts") == [held_key]
    assert client.smembers("orders-unique") == {b"c"}
    assert leftovers(client) == both | holding
    assert queue.get_items(1) == ["c"]
    assert leftovers(client) == holding
    assert queue.reject_item("a") is True
    assert leftovers(client) == both | {held_key, b"orders-timeouts"}
    assert queue.ack_items(["b", "c"]) == 2
    assert leftovers(client) == both
    assert queue.get_items(5) == ["a"]
    assert queue.re_enqueue_all_items() == 1
    assert leftovers(client) == both
    assert queue.repair() == 0
    assert leftovers(client) == both
    assert queue.delete_item("a") == 1
    assert leftovers(client) == set()

    minutes = client.time()[0] // 60
    assert queue.can_rollback_item("a") is True
    assert queue.can_rollback_item("a") is True
    assert client.hgetall("orders-retry-count") == {b"a": b"2"}
    (first,) = client.hgetall("orders-retry-timeout").values()
    assert first in (b"%d" % minutes, b"%d" % (minutes + 1))
    client.hset("orders-retry-timeout", "a", minutes - 20)
    assert queue.can_rollback_item("a") is False
    assert leftovers(client) == {b"orders-retry-count", b"orders-retry-timeout"}
    assert queue.reset_blocked_item("a") is True
    queue.close()
    assert client.dbsize() == 0


def test_repairs_of_many_windows(world: World, url: str, client: Any) -> None:
    queue = unique(world, url)
    queue.add_items(range(2_500))
    client.lpush("orders", *range(2_500, 4_200))
    client.srem("orders-unique", *range(100))
    client.sadd("orders-unique", *(f"gone {number}" for number in range(50)))
    assert queue.repair() == 1_700 + 100 + 50
    assert waiting(client).split() == [str(number) for number in range(4_200)]
    client.delete("orders")
    assert queue.repair() == 4_200
    assert leftovers(client) == set()


UNAWARE = ("ack", "drop", "roll_back", "forget_rollbacks")
"""Scripts that have nothing to do with the set."""


@pytest.mark.parametrize("operation", CASES)
@pytest.mark.parametrize("key", ["orders", "orders-unique"])
def test_a_key_of_another_type(world: World, url: str, client: Any, operation: str, key: str) -> None:
    case = CASES[operation]
    slot = "queue" if key == "orders" else "unique"
    queue = unique(world, url)
    prepare(case, queue, client)
    client.set(key, "somebody else's")
    before = contents(client)
    if slot in SCRIPTS[case.script].keys or (slot == "unique" and case.script not in UNAWARE):
        fails(errors.WrongTypeError, partial(case.act, queue))
        assert contents(client) == before
    else:
        assert case.act(queue) == case.result
        assert client.get(key) == b"somebody else's"


# A full server


@pytest.mark.parametrize("many", [2, 1500])
def test_a_full_server_refuses_an_add_and_can_be_drained(world: World, url: str, client: Any, many: int) -> None:
    items = [str(number) for number in range(many)]
    queue, other = unique(world, url), unique(world, url)
    queue.add_items(items)
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")
    before = contents(client)
    fails(errors.ServerFullError, lambda: queue.add_item(CARD))
    fails(errors.ServerFullError, lambda: queue.add_items([*items, CARD]))
    assert contents(client) == before
    assert queue.add_items(items) == 0

    assert queue.get_items(many) == items
    assert queue.can_rollback_item("0") is True
    assert queue.reject_items(items) == many
    assert waiting(client).split() == items
    assert queue.reset_blocked_item("0") is True
    assert queue.get_items(many) == items
    assert other.re_enqueue_all_items() == many
    assert waiting(client).split() == items
    assert queue.get_items(many) == items
    assert queue.ack_items(items[1:]) == many - 1
    assert queue.drop_all_items() == 1
    assert queue.repair() == 0
    assert leftovers(client) == set()


def test_a_full_server_repairs_releases_and_deletes(world: World, proxy: Proxy, client: Any) -> None:
    push(client, LETTERS)
    client.srem("orders-unique", "a")
    queue = unique(world, proxy.url, retry=0)
    queue.get_count()
    client.config_set("maxmemory", "1")
    assert queue.repair() == 1
    proxy.drop_reply("get")
    fails(errors.OutcomeUnknown, lambda: queue.get_items(12))
    assert (waiting(client), held(client, queue)) == ("", LETTERS)
    assert queue.release() == 12
    assert (waiting(client), held(client, queue)) == (LETTERS, "")
    assert queue.delete_items(list("abcdefghijk")) == 11
    assert queue.delete_item("l") == 1
    assert waiting(client) == ""
