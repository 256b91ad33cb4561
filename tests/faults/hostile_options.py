"""Hostile options: each argument of each method and class is given values of the wrong type, and out of range."""

from __future__ import annotations

from collections.abc import Callable, Sized
from functools import partial
from operator import index
from typing import Any

import pyrq
from pyrq import Backoff, Consumer, Fsync, Queue, Replicas, Retry
from pyrq.backends import connect
from tests.faults.campaign import Trial
from tests.faults.fuzzing import CALLS, Fuzzer, judged
from tests.faults.ledger import MARK
from tests.servers import Driven, Server, World

__all__ = ["options"]

_STOCK = 100

Place = tuple[Callable[[Any], Any], tuple[str, ...]]
"""What to do with a value, and how the argument is called."""


def options(trial: Trial, server: Server, fuzzer: Fuzzer, many: int) -> None:
    """Gives hostile values to arguments of one method after another."""
    for name in ("sync", "aio"):
        world = World(name)
        try:
            _of_one_world(trial, world, server, fuzzer, many // 2)
        finally:
            world.close()
    with server.client() as client:
        client.flushall()  # some of the calls are to drop items, or to put them off for years


def _of_one_world(trial: Trial, world: World, server: Server, fuzzer: Fuzzer, many: int) -> None:
    stock = world.queue("stock", server.url)
    with server.client(single_connection_client=True) as client:
        look = _Look(client)
        places = [*_of_queues(world, server), *_of_calls(world, server, stock, look), *_of_values()]
        for number in range(many):
            act, arguments = places[number % len(places)]
            value = fuzzer.number() if fuzzer.rng.random() < 0.6 else fuzzer.value()
            trial.count("inputs")
            before = look.commands()
            if judged(trial, partial(act, value), *arguments).is_refusal:
                trial.count("refused")
                sent = look.commands() - before
                trial.expect(not sent, f"{arguments} refused, after {sent} commands were sent")
            with CALLS.calling("a refill"):
                _refill(stock)


class _Look:
    """Looks at a server with a plain client."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._own = 0

    def commands(self) -> int:
        """Gives how many commands the server has run, those that looked not among them."""
        others = int(self._client.info("stats")["total_commands_processed"]) - self._own
        self._own += 1
        return others

    def count(self, name: str) -> int:
        """Gives how many items wait in a queue, or are put off."""
        self._own += 2
        return int(self._client.llen(name) + self._client.zcard(f"{name}/delayed"))


def _refill(stock: Any) -> None:
    """A call that waits is to find something."""
    if stock.get_count() < 3:
        stock.re_enqueue_all_items()
        stock.add_items([f"{MARK} {each}" for each in range(_STOCK)])


def _of_queues(world: World, server: Server) -> list[Place]:
    """The arguments of the classes. What is made is not closed: it has sent nothing."""
    made = pyrq.aio if world.is_aio else pyrq
    backend = world.queue("stock", server.url)._run.backend
    common = ("codec", "client_id", "durability")
    own = {
        "Queue": ("max_retry_rollback", "max_timeout_in_queue", "max_deliveries", "max_size", "dead_max"),
        "UniqueQueue": ("max_retry_rollback", "max_timeout_in_queue"),
        "Pool": ("chunk_size", "ack_ttl", "ack_valid_for"),
    }
    slaves = {"synced_slaves_enabled": True, "synced_slaves_count": 1}

    def place(kind: str, name: str, **others: Any) -> Place:
        return lambda value: getattr(made, kind)("odd", backend, **{**others, name: value}), (name, *others)

    def of_retry(kind: str) -> Place:
        return lambda value: getattr(made, kind)("odd", "memory://odd", retry=value), ("retry",)

    def of_redis(kind: str) -> Place:
        # A text is a URL, and None the one of the environment.
        return lambda value: isinstance(value, str | None) or getattr(made, kind)("odd", value), ("redis",)

    return [
        *(place(kind, name) for kind, names in own.items() for name in (*common, *names)),
        *(place(kind, name, **slaves) for kind in own for name in ("synced_slaves_count", "synced_slaves_timeout")),
        *(place(kind, "synced_slaves_enabled", synced_slaves_count=1) for kind in own),
        *(make(kind) for kind in own for make in (of_retry, of_redis)),
    ]


def _at_most(call: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Checks that a call gives no more items than it is asked for."""

    def act(value: Any) -> None:
        assert len(call(value)) <= index(value), "more than was asked for"

    return act


def _of_these(call: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Checks that a call counts no more items than it is given."""

    def act(value: Any) -> None:
        counted = call(value)
        assert type(counted) is int, "no count"
        assert counted >= 0, "less than nothing"
        assert not isinstance(value, Sized) or counted <= len(value), "more than was given"

    return act


def _one_more(look: _Look, name: str, call: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Checks by a look at the server that a call that adds an item has added as many as it says."""

    def act(value: Any) -> None:
        before = look.count(name)
        added = call(value)
        assert look.count(name) == before + added, "not as many were added as was said"

    return act


def _of_calls(world: World, server: Server, stock: Any, look: _Look) -> list[Place]:
    """The arguments of methods of queues and pools that work."""
    unique = world.make("UniqueQueue", "odd-letters", server.url, max_retry_rollback=1, max_timeout_in_queue=1)
    pool = world.make("Pool", "odd-pool", server.url)
    dead = Driven(world, stock.aio.dead) if world.is_aio else stock.dead

    def counted(queue: Any, name: str) -> Place:
        return _of_these(getattr(queue, name)), ("items",)

    return [
        (_at_most(stock.get_items), ("count",)),
        (_at_most(pool.get_items), ("count",)),
        (lambda value: stock.get_items(1, timeout=value), ("timeout",)),
        (_at_most(lambda value: stock.ack_and_get([], value)), ("count",)),
        (lambda value: stock.ack_and_get([], 1, timeout=value), ("timeout",)),
        (lambda value: stock.batch(value), ("count",)),
        (lambda value: stock.batch(1, timeout=value), ("timeout",)),
        (_one_more(look, "stock", lambda value: stock.add_item(f"{MARK} late", delay=value)), ("delay",)),
        (_one_more(look, "odd-letters", lambda value: unique.add_item(f"{MARK} late", delay=value)), ("delay",)),
        (stock.re_enqueue_timeout_items, ("timeout",)),
        (stock.drop_timeout_items, ("timeout",)),
        (lambda value: stock.delete_item(MARK, count=value), ("count",)),
        (lambda value: unique.delete_item(MARK, count=value), ("count",)),
        (_at_most(stock.peek), ("count",)),
        (lambda value: stock.peek(2, offset=value), ("offset",)),
        (_at_most(dead.peek), ("n must",)),
        (dead.redrive, ("n must",)),
        *(counted(queue, name) for queue in (stock, unique, pool) for name in ("add_items", "ack_items")),
        *(counted(queue, name) for queue in (stock, unique) for name in ("reject_items", "delete_items")),
        counted(pool, "remove_items"),
        (unique.can_rollback_item, ("item",)),
        (unique.reset_blocked_item, ("item",)),
        (pool.is_in_pool, ("item",)),
    ]


def _of_values() -> list[Place]:
    """The arguments of what options are made of, and of consumers."""
    queue = Queue("odd", connect("memory://odd"))

    def consumer(name: str) -> Callable[[Any], Any]:
        return lambda value: Consumer(queue, print, **{name: value})

    places: list[Place] = [
        (lambda value: Replicas(value), ("count",)),
        (lambda value: Replicas(1, value), ("timeout_ms",)),
        (lambda value: Fsync(local=value), ("local",)),
        (lambda value: Fsync(replicas=value), ("replicas",)),
        (lambda value: Fsync(timeout_ms=value), ("timeout_ms",)),
        (lambda value: Backoff(first=value), ("first", "most")),
        (lambda value: Backoff(most=value), ("most",)),
        (lambda value: Backoff(factor=value), ("factor",)),
        (lambda value: Backoff(jitter=value), ("jitter",)),
        (lambda value: Retry(after=value), ("after",)),
        (lambda value: Consumer(queue, value), ("handler",)),
    ]
    names = ("batch", "concurrency", "lease", "max_deliveries", "backoff", "stop", "grace", "on_event")
    return [*places, *((consumer(name), (name,)) for name in names)]
