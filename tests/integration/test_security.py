"""The rule of SECURITY.md, as it stands there: enough for everything, for nothing else, and nothing in it too much."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import pyrq
from pyrq import Fsync, JsonCodec, NotEnoughSyncedSlavesError, Replicas, errors
from tests.integration.waits import Waiters
from tests.servers import Driven, Server, World, contents, leftovers, wait_until

ROOT = Path(__file__).parents[2]
SECURITY = ROOT.joinpath("SECURITY.md").read_text(encoding="utf-8")
USER, PASSWORD = "orders-worker", "open-sesame-77"

OUTSIDE_SCRIPTS = {"eval", "evalsha", "blmove", "wait", "client|id", "client|unblock", "client|kill"}
"""What is sent as a command of its own, and why: the page says it."""
OPTIONAL = {"client|id", "client|unblock", "client|kill"}
"""Without these, all works: a wait ends a little later."""


def the_rule() -> list[str]:
    """Reads the one rule of the page."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", SECURITY, re.MULTILINE | re.DOTALL)
    rules = [block.strip() for block in blocks if "ACL SETUSER" in block]
    assert len(rules) == 1
    assert "\n" not in rules[0]
    words: list[str] = rules[0].split()
    assert words[:3] == ["ACL", "SETUSER", USER]
    return words


RULE = the_rule()
COMMANDS = sorted(word[1:] for word in RULE if word.startswith("+"))


def permit(client: Any, url: str, *changes: str) -> str:
    """Applies the rule and perhaps more; gives the URL with this user."""
    words = [f">{PASSWORD}" if word == ">PASSWORD" else word for word in RULE]
    client.execute_command(*words, *changes)
    return url.replace("://", f"://{USER}:{PASSWORD}@", 1)


@pytest.fixture
def worker_url(client: Any, url: str) -> str:
    return permit(client, url)


@pytest.fixture
def waiters() -> Iterator[Waiters]:
    made = Waiters()
    yield made
    made.close()


# The whole life of a queue


def plain_life(world: World, url: str, client: Any) -> None:
    """Everything that a plain queue does, but waiting."""
    queue, other = world.queue("orders", url, codec=JsonCodec(), max_deliveries=9), world.queue("orders", url)
    assert queue.add_items(range(2500)) == 2500
    assert queue.get_items(2500) == list(range(2500))
    assert queue.reject_items(range(20)) == 20
    assert queue.get_items(20) == list(range(20))
    assert queue.ack_items(range(7, 200, 2)) == 97
    assert queue.re_enqueue_all_items() == 2403
    assert len(queue.get_items(1200)) == 1200
    assert other.drop_timeout_items(timeout=7200) == 0
    assert other.drop_all_items() == 1200
    assert queue.delete_items(queue.peek(1000)) == 1000
    assert queue.ack_and_get([], 203) != []
    assert queue.in_flight()[0].count == 203
    assert other.re_enqueue_timeout_items(timeout=0) == 203
    assert queue.delete_items(queue.peek(1000)) == queue.stats().waiting + 203
    queue.close()
    other.close()
    assert leftovers(client) == set()


def odd_life(world: World, url: str, client: Any) -> None:
    """What a queue does besides: delays, pauses, dead letters, rollbacks."""
    options: dict[str, Any] = {"codec": JsonCodec(), "max_retry_rollback": 1, "max_timeout_in_queue": 10}
    queue = world.queue("orders", url, dead_max=9, **options)
    assert queue.add_item("later", delay=60)
    assert queue.add_item("soon", delay=0.01)
    wait_until(lambda: queue.get_items(1) == ["soon"])
    assert queue.pause() is queue.resume() is True
    assert (queue.can_rollback_item("soon"), queue.reset_blocked_item("soon")) == (True, True)
    client.lpush("orders", *(3 * [b"?"]))
    assert queue.get_items(6) == []
    dead: Any = Driven(world, queue.dead) if world.is_aio else queue.dead
    assert (dead.count(), len(dead.peek(9)), dead.redrive(2), dead.purge()) == (3, 3, 2, 1)
    assert queue.get_items(6) == []
    assert dead.purge() == 2
    assert queue.ack_item("soon") is True
    queue.close()
    assert leftovers(client) == {b"orders/delayed"}
    client.delete("orders/delayed")


def consumer_life(world: World, url: str, client: Any) -> None:
    """A consumer that meets every end of a handler, and is stopped."""
    tried: list[object] = []

    def handle(item: str) -> None:
        tried.append(item)
        if item == "retry" and tried.count(item) == 1:
            raise pyrq.Retry(after=0.05)
        if item in ("bury", "fail"):
            raise {"bury": pyrq.Bury("of no use"), "fail": ValueError()}[item]

    queue = world.queue("orders", url)
    queue.add_items(["fine", "retry", "bury", "fail"])
    with consuming(world, queue, handle, lease=2.0, max_deliveries=2, backoff=pyrq.Backoff(first=0.05)) as failures:
        wait_until(lambda: failures or (client.llen("orders/dead") == 2 and tried.count("retry") == 2))
        wait_until(lambda: failures or not client.exists("orders", "orders/delayed", "orders-timeouts"))
    queue.close()
    client.delete("orders/dead", "orders/meta")


@contextlib.contextmanager
def consuming(
    world: World, queue: Any, handle: Callable[[str], None], **options: Any
) -> Iterator[list[errors.RqError]]:
    """A consumer for the time of a block. What it fails with, the block fails with."""
    kind = pyrq.aio.Consumer if world.is_aio else pyrq.Consumer
    consumer: Any = kind(getattr(queue, "aio", queue), handle, **options)
    failures: list[errors.RqError] = []

    def run() -> None:
        try:
            world.wait_for(consumer.run()) if world.is_aio else consumer.run()
        except errors.RqError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield failures
    finally:
        if world.is_aio:
            world.loop.call_soon_threadsafe(consumer.stop)
        else:
            consumer.stop()
        thread.join(30)
    if failures:
        raise failures[0]


def waiting_life(world: World, url: str, client: Any, waiters: Waiters) -> None:
    """A get that waits, and is woken by an item; another one, and is not."""
    queue = world.queue("orders", url)
    found = waiters.get(queue)
    wait_until(lambda: found.done() or client.info("clients")["blocked_clients"] == 1)
    world.queue("orders", url).add_item("woken")
    assert found.result(20) == ["woken"]
    assert queue.ack_item("woken") is True
    queue.close()


def unique_life(world: World, url: str, client: Any) -> None:
    """What a queue of unique items does besides."""
    queue = world.make("UniqueQueue", "orders", url)
    assert queue.add_items(["a", "b", "a", "c"]) == 3
    assert queue.get_items(2) == ["a", "b"]
    assert queue.add_item("a") is True
    assert (queue.reject_items(["a", "b"]), queue.delete_item("c")) == (2, 1)
    client.lpush("orders", "d")
    assert queue.repair() == 1
    taken = queue.get_items(9)
    assert sorted(taken) == ["a", "b", "d"]
    assert queue.re_enqueue_all_items() == 3
    assert queue.ack_items(queue.get_items(9)) == 3
    queue.close()
    assert leftovers(client) == set()


def pool_life(world: World, url: str, client: Any) -> None:
    """Everything that a pool does."""
    pool = world.make("Pool", "orders", url)
    assert pool.add_items(list("abcd")) == 4
    assert (pool.get_count(), pool.get_count_to_process(), pool.is_in_pool("a")) == (4, 4, True)
    assert sorted(pool.get_items(3) + pool.get_items(3)) == list("abcd")
    assert (pool.ack_item("a"), pool.remove_item("b"), pool.delete_item("c")) == (True, True, True)
    assert pool.clear_pool() == 2
    pool.close()
    assert leftovers(client) == set()


def confirmed_life(world: World, url: str, _: Any) -> None:
    """A confirmation that does not come, since there is no replica; asking for it is permitted."""
    queue = world.queue("orders", url, durability=Replicas(1, 10))
    with pytest.raises(NotEnoughSyncedSlavesError, match="0 of 1 replicas"):
        queue.add_item("x")
    with contextlib.suppress(NotEnoughSyncedSlavesError):
        queue.drop_all_items()
    with contextlib.suppress(NotEnoughSyncedSlavesError):
        queue.delete_item("x")
    queue.close()


LIVES = {
    "plain": plain_life,
    "odd": odd_life,
    "consumer": consumer_life,
    "unique": unique_life,
    "pool": pool_life,
    "confirmed": confirmed_life,
}


@pytest.mark.parametrize("life", LIVES)
def test_the_rule_is_enough(world: World, worker_url: str, client: Any, life: str) -> None:
    LIVES[life](world, worker_url, client)


def test_the_rule_is_enough_to_wait(world: World, worker_url: str, client: Any, waiters: Waiters) -> None:
    waiting_life(world, worker_url, client, waiters)


def test_the_rule_and_waitaof_are_enough_for_fsync(world: World, start_server: Callable[..., Server]) -> None:
    server = start_server("--appendonly", "yes", "--appendfsync", "always")
    if not server.binary.has_waitaof:
        return  # a server without the command has no rule for it
    with server.client() as client:
        url = permit(client, server.url)
        queue = world.queue("orders", url, durability=Fsync())
        with pytest.raises(errors.PermissionDeniedError):
            queue.add_item("x")
        assert client.dbsize() == 0
        permit(client, server.url, "+waitaof")
        assert world.queue("orders", url, durability=Fsync()).add_item("x") is True


# Nothing else

READ_OTHER = "return redis.call('LRANGE', 'ordersx', 0, -1)"
PROBES: list[tuple[str, ...]] = [
    *[(command, "ordersx", "x") for command in ("LPUSH", "RPUSH", "SADD")],
    ("LRANGE", "ordersx", "0", "-1"),
    ("DEL", "ordersx"),
    ("DEL", "xorders"),
    ("RENAME", "ordersx", "orders"),
    ("RENAME", "orders", "ordersx"),
    ("BLMOVE", "ordersx", "orders", "RIGHT", "LEFT", "0.01"),
    ("SDIFFSTORE", "orders-unique", "ordersx"),
    ("GET", "other"),
    ("GET", "orders"),
    ("SET", "orders", "x"),
    ("TYPE", "orders"),
    ("SCAN", "0"),
    ("KEYS", "*"),
    ("RANDOMKEY",),
    ("DBSIZE",),
    ("INFO",),
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "GET", "requirepass"),
    ("CONFIG", "SET", "maxmemory", "1"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", USER, "+@all"),
    ("SUBSCRIBE", "orders"),
    ("PUBLISH", "orders", "x"),
    ("MONITOR",),
    ("SHUTDOWN",),
    ("SAVE",),
    ("REPLICAOF", "127.0.0.1", "1"),
    ("CLIENT", "LIST"),
    ("CLIENT", "PAUSE", "1"),
    ("SCRIPT", "FLUSH"),
    ("SCRIPT", "LOAD", "return 1"),
    ("FUNCTION", "FLUSH"),
    ("MODULE", "LIST"),
    ("MIGRATE", "127.0.0.1", "1", "orders", "0", "10"),
    ("DUMP", "orders"),
    ("RESTORE", "orders", "0", "x"),
    ("SELECT", "1"),
    ("MOVE", "orders", "1"),
    ("EVAL", READ_OTHER, "1", "ordersx"),
]
INSIDE: list[tuple[str, str]] = [
    ("an undeclared key", READ_OTHER),
    ("a write to an undeclared key", "return redis.call('LPUSH', 'ordersx', 'x')"),
    ("a command", "return redis.call('FLUSHALL')"),
    ("a setting", "return redis.call('CONFIG', 'GET', 'requirepass')"),
    ("a message", "return redis.call('PUBLISH', 'orders', 'x')"),
]


@pytest.fixture
def worker(client: Any, worker_url: str, open_client: Callable[..., Any]) -> Any:
    """A client of the user, beside somebody else's data."""
    client.lpush("ordersx", "theirs")
    client.lpush("orders", "ours")
    client.set("other", "theirs")
    return open_client(worker_url, protocol=3)


@pytest.mark.parametrize("probe", PROBES, ids=" ".join)
def test_everything_else_is_refused(client: Any, worker: Any, probe: tuple[str, ...]) -> None:
    before = contents(client)
    with pytest.raises(redis.exceptions.NoPermissionError):
        worker.execute_command(*probe)
    assert contents(client) == before


def test_debug_is_refused(worker: Any) -> None:
    with pytest.raises(redis.exceptions.ResponseError, match=r"not allowed|ermission"):  # by default to all users
        worker.execute_command("DEBUG", "SLEEP", "0")


@pytest.mark.parametrize(("what", "script"), INSIDE, ids=[what for what, _ in INSIDE])
def test_so_it_is_inside_a_script(client: Any, worker: Any, what: str, script: str) -> None:
    before = contents(client)
    with pytest.raises(redis.exceptions.ResponseError, match=r"ACL failure|can't (run|access)|not allowed"):
        worker.execute_command("EVAL", script, "0")
    assert contents(client) == before


def test_the_user_can_do_what_the_probes_do_with_its_own_keys(worker: Any) -> None:
    """Else they might be refused for another reason."""
    assert worker.execute_command("LPUSH", "orders", "x") == 2
    assert worker.execute_command("LRANGE", "orders", "0", "-1") == [b"x", b"ours"]
    assert worker.execute_command("EVAL", READ_OTHER.replace("ordersx", "orders"), "0") == [b"x", b"ours"]
    assert worker.execute_command("RENAME", "orders", "orders-eu") in (b"OK", True)  # as the page warns


def test_the_rule_gives_no_class_of_commands_and_not_all_keys() -> None:
    assert not [word for word in RULE if word in ("allkeys", "allcommands", "nopass", "allchannels") or "@" in word]
    assert [word for word in RULE if word[0] in "~%&"] == ["~orders", "~orders-*", "~orders/*"]


# Nothing too much


def commands_of_scripts() -> set[str]:
    """Gives what the scripts call, but for the probes, which call what they were told that the others do."""
    sources = {path.name: path.read_text(encoding="utf-8") for path in ROOT.glob("pyrq/core/lua/**/*.lua")}
    found = [
        command
        for name, source in sources.items()
        if "probe" not in name and "trials" not in name
        for command in re.findall(r"redis\.p?call\('([A-Z]+)'", source)
    ]
    return {command.lower() for command in found}


def test_the_rule_names_what_the_scripts_call_and_what_is_sent_besides_and_no_more() -> None:
    assert set(COMMANDS) == commands_of_scripts() | OUTSIDE_SCRIPTS
    assert len(COMMANDS) == len(set(COMMANDS))


@pytest.fixture
def sync_world() -> Iterator[World]:
    """What the server refuses, it refuses to both worlds."""
    world = World("sync")
    yield world
    world.close()


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in OPTIONAL])
def test_each_command_of_the_rule_is_needed(
    sync_world: World, url: str, client: Any, waiters: Waiters, command: str
) -> None:
    worker_url = permit(client, url, f"-{command}")

    def live() -> None:
        for life in LIVES.values():
            life(sync_world, worker_url, client)
        waiting_life(sync_world, worker_url, client, waiters)

    with pytest.raises(errors.PermissionDeniedError):
        live()


@pytest.mark.parametrize("command", sorted(OPTIONAL))
def test_what_the_page_calls_optional_is(world: World, url: str, client: Any, waiters: Waiters, command: str) -> None:
    worker_url = permit(client, url, f"-{command}")
    consumer_life(world, worker_url, client)
    waiting_life(world, worker_url, client, waiters)
    assert f"+{command}" in SECURITY.split("Left out at will")[1]


def test_a_plain_queue_does_without_what_the_page_says(world: World, url: str, client: Any) -> None:
    told = SECURITY.split("plain queue does without ")[1].split(".\n")[0]
    left_out = [f"-{command}" for command in re.findall(r"\+(\w+)", told)]
    assert len(left_out) == 9
    worker_url = permit(client, url, *left_out)
    for life in ("plain", "odd", "consumer"):
        LIVES[life](world, worker_url, client)
