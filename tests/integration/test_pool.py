"""The pool on real servers: one effect whatever gets lost, and the older libraries' scores on every server."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

import pyrq
from pyrq import Replicas, errors
from tests.conftest import Pair
from tests.integration.kinds import confirmed, pool
from tests.integration.test_errors import CARD, fails, user
from tests.proxy import Proxy
from tests.servers import World, contents, leftovers

STALE = b"*1\r\n:3\r\n"
COMMANDS = (
    *("del", "unlink", "expire", "hset", "hget", "hlen", "time"),
    *("zadd", "zcard", "zcount", "zscore", "zmscore", "zrangebyscore", "zrem"),
)
ACK_TTL, ACK_VALID_FOR = 600, 129_600
AnyPool = pyrq.Pool[Any]


def fill(client: Any, items: str) -> None:
    """Puts items into the pool: `due`, the one named first before the others, `later`, or `out` (handed out)."""
    now = client.time()[0]
    for place, item in enumerate(items.split()):
        name, state = item.split(":")
        score = {"due": now - 1_000 + place, "later": now + 1_000, "out": f"{now + 500}.1"}[state]
        client.zadd("orders", {name: score})


def states(client: Any) -> str:
    """What is in the pool, by name: `due`, `later`, `acked` (due when an ack says) or `out`."""
    now = client.time()[0]
    found = []
    for item, score in sorted(client.zrange("orders", 0, -1, withscores=True)):
        state = "due" if score <= now else "acked" if score > now + ACK_VALID_FOR - 100 else "later"
        found.append(f"{item.decode()}:{'out' if score % 1 > 0.01 else state}")
    return " ".join(found)


# One effect of each operation


@dataclass(frozen=True)
class Case:
    """An operation: what is in the pool, what is done, its result, and what is there then."""

    script: str
    before: str
    act: Callable[[AnyPool], Any]
    result: Any
    after: str


CASES = {
    "add": Case("pool_add", "x:out y:later", lambda pool: pool.add_items(["x", "y", "z", "z"]), 1, "x:due y:due z:due"),
    "ack": Case(
        "pool_ack", "x:out y:due z:out", lambda pool: pool.ack_items(["x", "y", "w"]), 1, "x:acked y:due z:out"
    ),
    "remove": Case(
        "pool_remove", "x:out y:due z:out", lambda pool: pool.remove_items(["x", "y", "x", "w"]), 1, "y:due z:out"
    ),
    "delete": Case("pool_delete", "x:out y:due z:out", lambda pool: pool.delete_items(["x", "y", "w"]), 2, "z:out"),
    "clear": Case("pool_clear", "x:out y:due z:later", lambda pool: pool.clear_pool(), 3, ""),
}
GET = Case("pool_get", "y:due x:due z:due w:later", lambda pool: pool.get_items(2), ["y", "x"], "")


def prepare(case: Case, pool: AnyPool, client: Any) -> None:
    fill(client, case.before)
    pool.get_count()


@pytest.mark.parametrize("fault", ["drop_request", "drop_reply", "cut_reply"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_one_fault_one_effect(world: World, proxy: Proxy, client: Any, case: Case, fault: str) -> None:
    orders = pool(world, proxy.url)
    prepare(case, orders, client)
    getattr(proxy, fault)(case.script)
    assert case.act(orders) == case.result
    assert proxy.hits == [fault]
    assert states(client) == case.after


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_request_that_runs_after_its_retry_changes_nothing(
    world: World, proxy: Proxy, client: Any, case: Case
) -> None:
    orders = pool(world, proxy.url)
    prepare(case, orders, client)
    proxy.hold(case.script)
    assert case.act(orders) == case.result
    fill(client, "x:out")  # what it would find
    before = contents(client)
    assert b"NOSCRIPT" not in proxy.deliver()
    assert contents(client) == before


@pytest.mark.parametrize("case", [*CASES.values(), GET], ids=[*CASES, "get"])
def test_a_request_given_up_is_stale_once_the_next_call_has_run(
    world: World, proxy: Proxy, client: Any, case: Case
) -> None:
    orders = pool(world, proxy.url, retry=0)
    prepare(case, orders, client)
    proxy.hold(case.script)
    with pytest.raises(errors.OutcomeUnknown):
        case.act(orders)
    orders.delete_item("-")
    before = contents(client)
    assert STALE in proxy.deliver()
    assert contents(client) == before


@pytest.mark.parametrize("name", ["ack", "remove", "delete", "clear"])
def test_what_found_nothing_does_not_run_late(world: World, proxy: Proxy, client: Any, name: str) -> None:
    case = CASES[name]
    orders = pool(world, proxy.url)
    orders.get_count()
    proxy.hold(case.script)
    assert case.act(orders) == 0
    fill(client, case.before)
    before = contents(client)
    assert STALE in proxy.deliver()
    assert contents(client) == before


@pytest.mark.parametrize(
    ("fault", "given"),
    [("drop_request", ["y", "x"]), ("drop_reply", ["z"]), ("cut_reply", ["z"]), ("hold", ["y", "x"])],
)
def test_a_get_with_a_fault_loses_nothing(
    world: World, proxy: Proxy, client: Any, fault: str, given: list[str]
) -> None:
    """Sent again, it hands out others; those whose reply was lost are due again after ack_ttl."""
    orders = pool(world, proxy.url)
    prepare(GET, orders, client)
    getattr(proxy, fault)("pool_get")
    assert orders.get_items(2) == given
    assert proxy.hits == [fault]
    if fault == "hold":
        before = contents(client)
        assert STALE in proxy.deliver(), "its caller has had the answer"
        assert contents(client) == before
    handed_out = {"x", "y", *given}
    assert states(client) == f"w:later x:out y:out z:{'out' if 'z' in handed_out else 'due'}"
    for item in handed_out:
        client.zincrby("orders", -ACK_TTL - 1, item)
    assert set(orders.get_items(9)) == {"x", "y", "z"}


@pytest.mark.parametrize("fault", ["drop_request", "drop_reply"])
def test_a_get_of_250_that_fails_in_its_third_chunk_loses_nothing(
    world: World, proxy: Proxy, client: Any, fault: str
) -> None:
    orders = pool(world, proxy.url, retry=0)
    assert orders.add_items(range(300)) == 300
    getattr(proxy, fault)("pool_get", after=2)
    with pytest.raises(errors.OutcomeUnknown):
        orders.get_items(250)
    assert (orders.get_count(), orders.get_count_to_process()) == (300, 100 if fault == "drop_request" else 50)
    client.execute_command("ZUNIONSTORE", "orders", 1, "orders", "WEIGHTS", 0)  # time passes
    assert len(set(orders.get_all_items())) == 300


def test_an_ack_of_2500_that_fails_in_its_second_chunk_tells_what_is_known(
    world: World, proxy: Proxy, client: Any
) -> None:
    orders = pool(world, proxy.url, retry=0)
    orders.add_items(range(2500))
    items = orders.get_items(2500)
    proxy.drop_reply("pool_ack", after=1)
    with pytest.raises(errors.OutcomeUnknown) as caught:
        orders.ack_items(items)
    assert (caught.value.done, caught.value.unknown, caught.value.remaining) == (1000, 1000, 500)
    assert states(client).count(":acked") == 2000
    assert orders.ack_items(items) == 500
    assert states(client).count(":acked") == 2500


# Scores


def score(client: Any, item: str) -> bytes:
    """A score as a script of this server reads it."""
    found: bytes = client.eval("return redis.call('ZSCORE', KEYS[1], ARGV[1])", 1, "orders", item)
    return found


def test_the_keys_and_scores_are_those_of_the_older_libraries(world: World, url: str, client: Any) -> None:
    orders = pool(world, url, chunk_size=2)
    before = client.time()[0]
    assert orders.add_items(["a", "b", "c"]) == 3
    assert orders.add_item("a") is False
    assert leftovers(client) == {b"orders"}
    assert {score(client, item) for item in "abc"} <= {b"%d" % second for second in range(before, before + 10)}
    assert orders.get_items(3) == ["a", "b", "c"]
    outs = {float(f"{before + ACK_TTL + second}.1") for second in range(10)}
    assert {float(score(client, item)) for item in "abc"} <= outs, "the number that the text `<sec>.1` stands for"
    assert orders.ack_item("a") is True
    assert score(client, "a") in {b"%d" % (before + ACK_VALID_FOR + second) for second in range(10)}
    assert orders.ack_item("a") is False
    assert orders.remove_item("a") is False
    assert orders.remove_items(["a", "b"]) == 1
    assert orders.delete_items(["a", "b"]) == 1
    assert client.zrange("orders", 0, -1) == [b"c"]
    assert leftovers(client) == {b"orders"}
    assert orders.clear_pool() == 1
    orders.close()
    assert client.dbsize() == 0


def test_a_mark_is_written_as_text(world: World, url: str, client: Any) -> None:
    orders = pool(world, url)
    orders.add_item("x")
    with client.monitor() as monitor:
        orders.get_items(1)
        wrote = next(told for told in iter(monitor.next_command, None) if told["command"].startswith("ZADD"))
    assert re.fullmatch(r"ZADD orders \d{10}\.1 x", wrote["command"])


OLDER_GET = """
local items = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'WITHSCORES')
for i = 1, #items, 2 do redis.call('ZADD', KEYS[1], math.floor(items[i + 1]) + 600 + 0.1, items[i]) end
return #items / 2
"""
OLDER_ACK = """
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
return score and score - math.floor(score) > 0.01 and redis.call('ZADD', KEYS[1], 'CH', ARGV[2], ARGV[1]) or 0
"""


@pytest.mark.parametrize("moment", [0, 1, 7, 1_000, 999_999, 1_600_000_000, 2_147_483_647, 9_999_999_999])
def test_marks_of_the_older_libraries_are_read_at_any_time(world: World, url: str, client: Any, moment: int) -> None:
    orders = pool(world, url)
    client.zadd("orders", dict.fromkeys("abcd", moment))
    assert client.eval(OLDER_GET, 1, "orders", moment) == 4
    assert orders.ack_items(["a", "b"]) == 2
    assert orders.remove_item("c") is True
    assert orders.delete_item("d") is True
    assert orders.ack_items(["a", "b"]) == 0
    assert states(client) == "a:acked b:acked"


@pytest.mark.parametrize("ack_ttl", [0, 1, 600, 1_000_000_000])
def test_the_older_libraries_read_our_marks(world: World, url: str, client: Any, ack_ttl: int) -> None:
    orders = pool(world, url, ack_ttl=ack_ttl)
    orders.add_items(["abc", "d"])
    assert len(orders.get_all_items()) == 2
    for item in ("abc", "d"):
        assert client.eval(OLDER_ACK, 1, "orders", item, client.time()[0] + 200_000) == 1
    assert orders.ack_items(["abc", "d"]) == 0
    assert orders.get_count_to_process() == 0


# A full server


@pytest.mark.parametrize("many", [2, 350])
def test_a_full_server_refuses_an_add_and_goes_on(world: World, url: str, client: Any, many: int) -> None:
    items = sorted(f"{number:03d}" for number in range(many))
    orders, unused = pool(world, url), pool(world, url)
    orders.add_items(items)
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")
    before = contents(client)
    fails(errors.ServerFullError, lambda: orders.add_item(CARD))
    fails(errors.ServerFullError, lambda: unused.add_items([CARD, *items]))
    assert contents(client) == before
    assert unused.get_count_to_process() == many
    assert sorted(unused.get_items(many)) == items
    assert orders.ack_item("000") is True
    assert unused.remove_item("001") is True
    assert orders.ack_items(items) == many - 2
    assert states(client) == " ".join(f"{item}:acked" for item in items if item != "001")
    assert orders.delete_items(items[: many // 2 + 1]) == many // 2
    assert unused.clear_pool() == many - 1 - many // 2
    orders.close()
    unused.close()
    assert client.dbsize() == 0


# Wrong types, access rules


@pytest.mark.parametrize("operation", [*CASES, "get"])
@pytest.mark.parametrize("key", ["orders", "session"])
def test_a_key_of_another_type(world: World, url: str, client: Any, operation: str, key: str) -> None:
    case = CASES.get(operation, GET)
    orders = pool(world, url)
    prepare(case, orders, client)
    client.set("orders" if key == "orders" else f"orders/session/{orders.client_id}", "somebody else's")
    before = contents(client)
    fails(errors.WrongTypeError, partial(case.act, orders))
    assert contents(client) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_is_not_permitted_is_named(world: World, url: str, client: Any, command: str) -> None:
    fill(client, f"{CARD}:out x:due")
    before = contents(client)
    orders = pool(world, world.client(url, **user(client, "~*", "+@all", f"-{command}")))
    for act in (lambda: orders.add_item(CARD), lambda: orders.get_items(1), lambda: orders.ack_item(CARD)):
        assert f"Refused: {command.upper()}." in fails(errors.PermissionDeniedError, act)
    assert contents(client) == before


@pytest.mark.parametrize("pattern", ["~other*", "~orders", "~orders/*"])
def test_keys_that_are_not_permitted(world: World, url: str, client: Any, pattern: str) -> None:
    fill(client, f"{CARD}:due")
    before = contents(client)
    orders = pool(world, world.client(url, **user(client, pattern, "+@all")))
    for act in (lambda: orders.add_item(CARD), lambda: orders.get_items(1)):
        fails(errors.PermissionDeniedError, act)
    assert contents(client) == before


def test_the_least_that_has_to_be_permitted(world: World, url: str, client: Any) -> None:
    rules = ["-@all", "~orders", "~orders-*", "~orders/*", "+eval", "+evalsha", "+hello"]
    login = user(client, *rules, *(f"+{name}" for name in COMMANDS))
    orders = pool(world, world.client(url, **login), chunk_size=1_000)
    numbers = [f"{number:04d}" for number in range(2_500)]
    assert orders.add_items(numbers) == 2_500
    assert orders.get_count_to_process() == 2_500
    assert orders.get_items(1_500) == numbers[:1_500]
    assert orders.get_all_items() == numbers[1_500:]
    assert orders.ack_items(numbers[:1_200]) == 1_200
    assert orders.remove_items(numbers) == 1_300
    assert orders.is_in_pool("0000") is True
    assert orders.is_in_pool("1200") is False
    assert orders.delete_items(numbers[:100]) == 100
    assert orders.get_count() == 1_100
    assert orders.clear_pool() == 1_100
    orders.close()
    assert client.dbsize() == 0


# Replicas


@pytest.mark.parametrize("operation", CASES)
def test_a_change_waits_for_the_replica(world: World, pair: Pair, operation: str) -> None:
    case = CASES[operation]
    orders = pool(world, pair.primary.url, durability=Replicas(1, 50))
    with pair.primary.client() as primary, pair.replica.client() as replica:
        prepare(case, orders, primary)
        pair.replica.freeze()
        with pytest.raises(world.short_error) as caught:
            case.act(orders)
        assert (caught.value.confirmed, caught.value.wanted) == (0, 1)
        if operation != "clear":
            assert caught.value.done == case.result
        after = contents(primary)
        with pytest.raises(world.short_error):
            world.confirm(caught.value)
        pair.replica.thaw()
        confirmed(world, caught.value)
        assert states(primary) == case.after
        assert contents(primary) == contents(replica) == after


def test_a_get_waits_for_nothing(world: World, pair: Pair) -> None:
    orders = pool(world, pair.primary.url, durability=Replicas(1, 50))
    with pair.primary.client() as primary:
        prepare(GET, orders, primary)
        pair.replica.freeze()
        assert orders.get_items(2) == ["y", "x"]
        assert orders.get_all_items() == ["z"]
        assert orders.ack_items(["w", "-"]) == 0, "nothing was written, so there is nothing to wait for"
        with pytest.raises(world.short_error):
            orders.ack_item("x")
        assert states(primary) == "w:later x:acked y:out z:out"


def test_the_older_spelling(world: World, pair: Pair) -> None:
    options = {"synced_slaves_enabled": True, "synced_slaves_count": 1, "synced_slaves_timeout": 2_000}
    orders = pool(world, world.client(pair.primary.url), chunk_size=50, ack_ttl=60, ack_valid_for=3_600, **options)
    assert orders.add_items(range(120)) == 120
    with pair.replica.client() as replica:
        assert replica.zcard("orders") == 120
        assert len(orders.get_items(120)) == 120
        assert orders.ack_items(range(120)) == 120
        assert replica.zcount("orders", replica.time()[0] + 3_500, "+inf") == 120
