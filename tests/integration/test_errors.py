"""Each thing that can be wrong with a server has one error class, changes nothing, and gives no secret away."""

from __future__ import annotations

import contextlib
import socket
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pyrq
from pyrq import Fsync, JsonCodec, errors
from tests.conftest import Pair
from tests.proxy import SCRIPTS, Proxy
from tests.servers import Driven, Server, World, contents, leftovers

CARD = "CARD-4111"
PASSWORD = "open-sesame-77"

COMMANDS = (
    *(
        "del",
        "lpush",
        "rpush",
        "lset",
        "lrange",
        "llen",
        "lrem",
        "ltrim",
        "lmove",
        "rename",
        "exists",
        "expire",
        "time",
    ),
    *("hset", "hget", "hmget", "hlen", "hgetall", "hdel", "ttl"),
    *("zadd", "zcard", "zrange", "zrangebyscore", "zrem"),
)


def fails(kind: type[errors.RqError], act: Callable[[], object]) -> str:
    """Checks that a call fails in one way and that nothing about the error tells a secret; gives its text."""
    with pytest.raises(errors.RqError) as caught:
        act()
    error: BaseException | None = caught.value
    assert type(error) is kind
    shown = "".join(traceback.format_exception(caught.value, chain=True)[-1:]) + str(error) + repr(error)
    while error is not None:
        shown += f"{error} {error!r} {error.args} {vars(error)}"
        error = error.__cause__
    for secret in (CARD, PASSWORD):
        assert secret not in shown
    return str(caught.value)


def dead(queue: Any) -> Any:
    """The dead letters of a queue, driven as it is."""
    return Driven(queue._world, queue.dead) if isinstance(queue, Driven) else queue.dead


def everything(queue: pyrq.Queue[Any]) -> dict[str, Callable[[], object]]:
    """Each operation, on a queue whose caller holds CARD."""
    return {
        "add": lambda: queue.add_item(CARD),
        "get": lambda: queue.get_items(1),
        "ack": lambda: queue.ack_item(CARD),
        "ack-many": lambda: queue.ack_items(10 * [CARD]),
        "reject": lambda: queue.reject_item(CARD),
        "release": lambda: queue.release(),
        "re_enqueue": lambda: queue.re_enqueue_all_items(),
        "drop": lambda: queue.drop_all_items(),
        "delete": lambda: queue.delete_item(CARD),
        "delete-many": lambda: queue.delete_items(10 * [CARD]),
        "put_off": lambda: queue.add_item(CARD, delay=60),
        "pause": lambda: queue.pause(),
        "resume": lambda: queue.resume(),
        "redrive": lambda: dead(queue).redrive(),
        "purge": lambda: dead(queue).purge(),
    }


def holding(world: World, target: Any, client: Any, **options: Any) -> pyrq.Queue[Any]:
    """A queue whose caller holds CARD twice, while it waits twice."""
    client.lpush("orders", CARD, CARD, CARD, CARD)
    queue = world.queue("orders", target, **options)
    assert queue.get_items(2) == [CARD, CARD]
    return queue


# Wrong types

KEYS_BY_OPERATION = [
    (operation, slot)
    for operation in (
        "add",
        "get",
        "ack",
        "ack-many",
        "reject",
        "release",
        "re_enqueue",
        "drop",
        "delete",
        "delete-many",
        "put_off",
        "pause",
        "resume",
        "redrive",
        "purge",
    )
    for slot in SCRIPTS[operation.removesuffix("-many")].keys
    if (operation, slot) != ("get", "deliveries")  # only a consumer looks at it
]


@pytest.mark.parametrize(("operation", "slot"), KEYS_BY_OPERATION)
def test_a_key_of_another_type(world: World, url: str, client: Any, operation: str, slot: str) -> None:
    """Nothing changes but what the queue object keeps of its own calls: a release burns the get before it."""
    client.lpush("orders/dead", "of old")
    # With bounds, so that the keys are used that only they need.
    queue = holding(world, url, client, max_deliveries=3, max_size=100)
    session = f"orders/session/{queue.client_id}"
    key = {
        "session": session,
        "queue": "orders",
        "processing": queue.processing_queue_name,
        "timeouts": "orders-timeouts",
        "consumers": "orders/consumers",
        "landing": f"orders/landing/{queue.client_id}",
        **{name: f"orders/{name}" for name in ("delayed", "deliveries", "dead", "meta")},
    }[slot]
    client.set(key, "somebody else's")
    before = contents(client)
    fails(errors.WrongTypeError, everything(queue)[operation])
    after = contents(client)
    if slot != "session":
        del before[session.encode()], after[session.encode()]
    assert after == before
    client.delete(key)


def test_a_consumer_is_told_of_counts_of_another_type(world: World, url: str, client: Any) -> None:
    client.lpush("orders", CARD)
    client.set("orders/deliveries", "somebody else's")
    before = contents(client)
    queue = world.queue("orders", url)
    fails(errors.WrongTypeError, lambda: queue.consume(print))
    assert {key: value for key, value in contents(client).items() if b"/session/" not in key} == before


def test_a_dead_letter_key_of_another_type_keeps_the_batch(world: World, url: str, client: Any) -> None:
    client.lpush("orders", "1", CARD, "2")
    client.set("orders/dead", "somebody else's")
    queue = world.queue("orders", url, codec=JsonCodec())
    fails(errors.WrongTypeError, lambda: queue.get_items(3))
    assert client.llen(queue.processing_queue_name) == 3
    client.delete("orders/dead")
    assert queue.get_items(3) == [1, 2]
    assert client.llen("orders/dead") == 1


def test_counting_a_key_of_another_type(world: World, url: str, client: Any) -> None:
    client.set("orders", CARD)
    fails(errors.WrongTypeError, world.queue("orders", url).get_count)


def test_a_processing_key_of_another_type_is_not_swept(world: World, url: str, client: Any) -> None:
    queue = holding(world, url, client)
    client.set(queue.processing_queue_name, "somebody else's")
    assert queue.re_enqueue_all_items() == 0
    assert queue.drop_all_items() == 0
    assert client.get(queue.processing_queue_name) == b"somebody else's"


# Servers that are too old


@contextlib.contextmanager
def pretending(version: bytes | None) -> Iterator[str]:
    """A server that knows HELLO, if that, and says that it is of some version."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65536):
                for command in data.split(b"*")[1:]:
                    if b"HELLO" in command and version:
                        facts = b"$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$%d\r\n%s\r\n" % (
                            len(version),
                            version,
                        )
                        connection.sendall(b"*6\r\n" + facts + b"$5\r\nproto\r\n:2\r\n")
                    elif b"CLIENT" in command:
                        connection.sendall(b"+OK\r\n")
                    else:
                        name = command.split(b"\r\n")[2]
                        connection.sendall(
                            b"-ERR unknown command `%s`, with args beginning with: `%s`\r\n" % (name, CARD.encode())
                        )

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield f"redis://127.0.0.1:{listener.getsockname()[1]}?protocol=2"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


def test_a_server_of_6_0_is_too_old(world: World) -> None:
    with pretending(b"6.0.16") as url:
        queue = world.queue("orders", url)
        text = fails(errors.ServerTooOldError, lambda: queue.add_item(CARD))
        queue.close()
    assert "6.0.16" in text
    assert "6.2" in text


def test_a_server_without_hello_is_too_old(world: World) -> None:
    with pretending(None) as url:
        queue = world.queue("orders", url)
        fails(errors.ServerTooOldError, lambda: queue.add_item(CARD))
        queue.close()


# Access rules


def user(client: Any, *rules: str) -> dict[str, str]:
    client.acl_setuser("worker", reset=True)
    client.execute_command("ACL", "SETUSER", "worker", "on", f">{PASSWORD}", *rules)
    return {"username": "worker", "password": PASSWORD}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_is_not_permitted_is_named(world: World, url: str, client: Any, command: str) -> None:
    client.lpush("orders", CARD)
    before = contents(client)
    login = user(client, "~*", "+@all", f"-{command}")
    queue = world.queue("orders", world.client(url, **login))
    for act in (lambda: queue.add_item(CARD), lambda: queue.get_items(1)):
        text = fails(errors.PermissionDeniedError, act)
        assert f"Refused: {command.upper()}." in text
    assert contents(client) == before


def test_all_commands_that_are_not_permitted_are_named(world: World, url: str, client: Any) -> None:
    login = user(client, "~*", "+@all", "-lpush", "-rename", "-hset")
    queue = world.queue("orders", world.client(url, **login))
    text = fails(errors.PermissionDeniedError, lambda: queue.add_item(CARD))
    assert "Refused: HSET, LPUSH, RENAME." in text


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_forbidden_at_run_time_loses_nothing(world: World, url: str, client: Any, command: str) -> None:
    login = user(client, "~*", "+@all")
    queue = holding(world, world.client(url, **login), client)
    client.lpush("orders", *(11 * [CARD]))
    queue.get_items(11)
    for name in ("get", "reject", "release", "re_enqueue"):
        client.execute_command("ACL", "SETUSER", "worker", f"-{command}")
        with contextlib.suppress(errors.PermissionDeniedError):
            everything(queue)[name]()
        client.execute_command("ACL", "SETUSER", "worker", "+@all")
        found = Counter(client.lrange("orders", 0, -1))
        for key in client.scan_iter("orders-processing-*"):
            found.update(client.lrange(key, 0, -1))
        assert found[CARD.encode()] >= 15, f"{name} without {command}"


@pytest.mark.parametrize("pattern", ["~other*", "~orders", "~orders ~orders-*", "~orders ~orders/*"])
def test_keys_that_are_not_permitted(world: World, url: str, client: Any, pattern: str) -> None:
    client.lpush("orders", CARD)
    before = contents(client)
    queue = world.queue("orders", world.client(url, **user(client, *pattern.split(), "+@all")))
    for act in (lambda: queue.add_item(CARD), lambda: queue.get_items(1)):
        text = fails(errors.PermissionDeniedError, act)
        assert "`NAME/*`" in text
    assert contents(client) == before


def test_the_least_that_has_to_be_permitted(world: World, url: str, client: Any) -> None:
    rules = ["~orders", "~orders-*", "~orders/*", "+eval", "+evalsha", "+hello", *(f"+{name}" for name in COMMANDS)]
    queue = world.queue("orders", world.client(url, **user(client, "-@all", *rules)), codec=JsonCodec())
    client.lpush("orders", *(12 * ["?"]))
    queue.add_items(range(2500))
    assert queue.get_items(2500) == list(range(2500))
    assert queue.reject_items(range(20)) == 20
    assert queue.get_items(20) == list(range(20))
    assert queue.ack_items(range(7, 200, 2)) == 97
    left = [*range(20, 200, 2), *range(200, 2500), *range(7), *range(8, 20, 2)]
    assert queue.re_enqueue_all_items() == 2403
    assert queue.get_items(1200) == left[:1200]
    assert queue.drop_all_items() == 1200
    assert queue.delete_items(left[1200:]) == 1203
    assert queue.get_count() == 0
    assert queue.add_item("later", delay=60)
    assert dead(queue).redrive(6) == 6
    assert queue.pause() is queue.resume() is True
    assert queue.get_items(6) == []
    queue.close()
    assert leftovers(client) == {b"orders/dead", b"orders/delayed"}


def test_evalsha_that_is_not_permitted(world: World, url: str, client: Any) -> None:
    queue = world.queue("orders", world.client(url, **user(client, "~*", "+@all", "-evalsha")))
    fails(errors.PermissionDeniedError, lambda: queue.add_item(CARD))


def test_a_wrong_password(world: World, url: str, client: Any) -> None:
    login = user(client, "~*", "+@all")
    queue = world.queue("orders", world.client(url, **{**login, "password": PASSWORD + "?"}), retry=1)
    fails(errors.AuthenticationError, lambda: queue.add_item(CARD))


def test_no_password(world: World, start_server: Callable[..., Server]) -> None:
    server = start_server("--requirepass", PASSWORD)
    queue = world.queue("orders", server.url, retry=1)
    fails(errors.AuthenticationError, lambda: queue.add_item(CARD))


# A full server


@pytest.mark.parametrize("many", [2, 1500])
def test_a_full_server_refuses_an_add_and_can_be_drained(world: World, url: str, client: Any, many: int) -> None:
    items = [str(number) for number in range(many)]
    queue = world.queue("orders", url)
    other = world.queue("orders", url)
    queue.add_items(items)
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")
    before = contents(client)
    fails(errors.ServerFullError, lambda: queue.add_item(CARD))
    assert contents(client) == before

    assert queue.get_items(many) == items
    assert queue.reject_items(items) == many
    assert queue.get_items(many) == items
    assert other.re_enqueue_all_items() == many
    assert queue.ack_items(items) == 0
    assert queue.get_items(many) == items
    assert queue.ack_item("0") is True
    assert queue.ack_items(items[1:]) == many - 1
    assert queue.get_items(many) == []
    queue.close()
    other.close()
    assert leftovers(client) == set()


def test_a_full_server_gives_an_unconfirmed_batch_back(world: World, proxy: Proxy, client: Any) -> None:
    client.lpush("orders", "a", "b", "c", "d")
    queue = world.queue("orders", proxy.url, retry=0)
    assert queue.get_items(1) == ["a"]
    proxy.drop_reply("get")
    fails(errors.OutcomeUnknown, lambda: queue.get_items(2))
    client.config_set("maxmemory", "1")
    assert queue.release() == 2
    assert queue.drop_all_items() == 1
    assert queue.delete_items(["b", "c"]) == 2
    assert queue.get_items(5) == ["d"]


def test_a_full_server_takes_a_new_consumer_and_buries(world: World, url: str, client: Any) -> None:
    client.lpush("orders", "1", "?")
    client.config_set("maxmemory", "1")
    queue = world.queue("orders", url, codec=JsonCodec())
    assert queue.get_items(2) == [1]
    assert client.llen("orders/dead") == 1


# Replicas, and servers that are gone


def test_a_read_only_replica(world: World, pair: Pair) -> None:
    queue = world.queue("orders", pair.replica.url, retry=0.1)
    fails(errors.ReadOnlyReplicaError, lambda: queue.add_item(CARD))
    fails(errors.ReadOnlyReplicaError, lambda: queue.get_items(1))


NOTHING_TO_DO = ("release", "resume", "redrive", "purge")


def test_a_primary_that_becomes_a_replica(world: World, url: str, client: Any) -> None:
    queue = holding(world, url, client, retry=0.1)
    before = contents(client)
    client.replicaof("127.0.0.1", "1")
    try:
        for name, act in everything(queue).items():
            if name not in NOTHING_TO_DO:
                fails(errors.ReadOnlyReplicaError, act)
        assert contents(client) == before
    finally:
        client.replicaof("NO", "ONE")


def test_a_server_that_was_never_there(world: World) -> None:
    queue = world.queue("orders", "unix:///tmp/pyrq-no-such-server", retry=0.1)
    fails(errors.ServerGoneError, lambda: queue.add_item(CARD))


def test_a_server_that_goes_away(world: World, start_server: Callable[..., Server]) -> None:
    server = start_server()
    queue = world.queue("orders", server.url, retry=0.1)
    queue.add_item(CARD)
    server.kill()
    with pytest.raises((errors.ServerGoneError, errors.OutcomeUnknown)):
        queue.add_item(CARD)
    fails(errors.ServerGoneError, lambda: queue.add_item(CARD))


def test_a_server_that_does_not_answer(world: World, proxy: Proxy) -> None:
    queue = world.queue("orders", world.client(proxy.url, socket_timeout=0.5), retry=0)
    queue.get_count()
    proxy.hold("add", until_given_up=True)
    fails(errors.OutcomeUnknown, lambda: queue.add_item(CARD))


def test_a_busy_server(world: World, url: str, client: Any, server: Server) -> None:
    queue = world.queue("orders", url, retry=0.1)
    queue.get_count()
    client.config_set("busy-reply-threshold", "10")

    def spin() -> None:
        with server.client() as busy, contextlib.suppress(Exception):
            busy.eval("while true do end", 0)

    spinner = threading.Thread(target=spin)
    spinner.start()
    try:
        fails(errors.ServerBusyError, lambda: _until_refused(queue))
    finally:
        client.script_kill()
        spinner.join(10)
        client.config_set("busy-reply-threshold", "5000")


def _until_refused(queue: pyrq.Queue[Any]) -> None:
    while queue.add_item(CARD):
        pass


def test_too_few_replicas_for_any_write(world: World, url: str, client: Any) -> None:
    queue = holding(world, url, client, retry=0.1)
    client.config_set("min-replicas-to-write", "1")
    try:
        before = contents(client)
        for name in ("add", "get", "ack", "reject"):
            fails(errors.NotEnoughReplicasError, everything(queue)[name])
        assert contents(client) == before
    finally:
        client.config_set("min-replicas-to-write", "0")


# Durability that the server can't give


def test_fsync_that_the_server_cannot_give_writes_nothing(world: World, url: str, client: Any, server: Server) -> None:
    queue = world.queue("orders", url, durability=Fsync())
    kind = errors.ServerConfigError if server.binary.has_waitaof else errors.ServerTooOldError
    fails(kind, lambda: queue.add_item(CARD))
    assert client.dbsize() == 0


# Items


class Spiteful:
    """A codec whose errors quote the item."""

    def encode(self, value: object, /) -> bytes:
        raise ValueError(f"can't encode {value}")

    def decode(self, data: bytes, /) -> object:
        raise ValueError(f"can't decode {data!r}")


def test_an_item_that_cannot_be_stored(world: World, url: str, client: Any) -> None:
    fails(errors.InvalidItemError, lambda: world.queue("orders", url).add_item(CARD + "\ud800"))
    fails(errors.InvalidItemError, lambda: world.queue("orders", url).add_items([CARD, None]))
    fails(errors.InvalidItemError, lambda: world.queue("orders", url, codec=Spiteful()).add_item(CARD))
    fails(errors.InvalidItemError, lambda: world.queue("orders", url, codec=JsonCodec()).add_item({CARD: object()}))
    assert client.dbsize() == 0


def test_what_cannot_be_decoded_is_not_logged(
    world: World, url: str, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client.lpush("orders", CARD)
    assert world.queue("orders", url, codec=Spiteful()).get_items(1) == []
    assert "buried 1 items" in caplog.text
    assert CARD not in caplog.text
    assert CARD.encode() in client.lindex("orders/dead", 0)
