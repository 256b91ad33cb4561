"""A confirmation is true: replicas frozen, cut off and promoted, connections stolen, calls sent again."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import Queue
from typing import Any

import redis
from redis import asyncio as redis_asyncio

from pyrq import NotEnoughSyncedSlavesError, Replicas
from tests.faults.adding import drain
from tests.faults.campaign import Row, Trial
from tests.faults.ledger import MARK, Account
from tests.faults.promotions import promote_often
from tests.faults.watch import catch_up
from tests.proxy import Proxy
from tests.servers import Server, World, running, wait_until

__all__ = ["ROW"]

_OFTEN = ("--hz", "200")
"""How often a server looks whether a WAIT has lasted long enough."""
_BRIEFLY = Replicas(1, 1)
_CONNECTIONS = 3


def _run(trial: Trial) -> None:
    for which, binary in enumerate(trial.binaries()):
        with running(binary, *_OFTEN, tcp=True) as primary, running(binary, primary=primary) as replica:
            for amount, part in (("ops", _all_changes), ("steals", _stolen_connections), ("repeats", _repeated_calls)):
                primary.reset()
                catch_up(primary)
                with _worlds() as worlds:
                    try:
                        part(trial, trial.share(amount, which), worlds, primary, replica)
                    finally:
                        replica.thaw()
        promote_often(trial, binary, trial.share("promotions", which))


@contextlib.contextmanager
def _worlds() -> Iterator[list[World]]:
    with contextlib.ExitStack() as opened:
        worlds = [World("sync"), World("aio")]
        for world in worlds:
            opened.callback(world.close)
        yield worlds


# A replica that is frozen


def _all_changes(trial: Trial, many: int, worlds: list[World], primary: Server, replica: Server) -> None:
    """Changes of all kinds, from threads and tasks."""
    account = Account()
    queues: list[Any] = [world.queue("changes", primary.url, durability=_BRIEFLY, gather=True) for world in worlds]
    _change(trial, account, queues, primary, replica, range(many))
    _finish(trial, account, queues, primary, replica)


def _stolen_connections(trial: Trial, many: int, worlds: list[World], primary: Server, replica: Server) -> None:
    """The same with fewer connections than threads, each lent in its turn: who lets go of one does not get it back.

    A connection confirms falsely only until its own next write, so the replica is frozen again and again.
    """
    account = Account()
    with contextlib.ExitStack() as opened:
        queues: list[Any] = []
        for world, pool in zip(worlds, (_sync_pool(primary.url), _aio_pool(primary.url)), strict=True):
            opened.callback(_disconnect, world, pool)
            queues.append(world.queue("stolen", pool, durability=_BRIEFLY))
        one, other = (opened.enter_context(primary.client(single_connection_client=True)) for _ in range(2))
        with _switching_often():
            for number in range(many):
                wait_until(lambda: other.ping() and other.wait(1, 1000) == 1, 30)
                _change(trial, account, queues, primary, replica, range(number * 2, number * 2 + 2))
                replica.thaw()
        _control(trial, one, other, replica)
        _finish(trial, account, queues, primary, replica)


def _sync_pool(url: str) -> Any:
    return redis.BlockingConnectionPool.from_url(
        url, max_connections=_CONNECTIONS, timeout=None, socket_timeout=10, queue_class=Queue
    )


def _aio_pool(url: str) -> Any:
    return redis_asyncio.BlockingConnectionPool.from_url(
        url, max_connections=_CONNECTIONS, timeout=None, socket_timeout=10
    )


def _disconnect(world: World, pool: Any) -> None:
    if world.is_aio:
        world.wait_for(pool.disconnect())
    else:
        pool.disconnect()


@contextlib.contextmanager
def _switching_often() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def _control(trial: Trial, one: Any, other: Any, replica: Server) -> None:
    """What asks on another connection than it wrote on is told that a frozen replica has it."""
    replica.freeze()
    one.set("control", 1)
    false: int = other.wait(1, 1)
    trial.count("control_false", false)
    trial.expect(false, "the control, which asks on another connection, was not told falsely")
    one.delete("control")


def _change(
    trial: Trial, account: Account, queues: list[Any], primary: Server, replica: Server, numbers: range
) -> None:
    """Changes a queue from many threads, with a replica that hears nothing of it."""
    for queue in queues:  # the server has been looked at
        queue.get_count()
    replica.freeze()

    def work(who: int) -> None:
        queue = queues[who % len(queues)]
        rng = trial.rng(primary.binary.name, queue.name, who, numbers)
        for number in numbers:
            if rng.random() < 0.7:
                _add(trial, account, queue, [f"{MARK} {who} {number} {more}" for more in range(rng.choice([1, 1, 3]))])
            else:
                _give_up(trial, account, queue, rng.random() < 0.7)

    with ThreadPoolExecutor(trial["threads"]) as threads:
        list(threads.map(work, range(trial["threads"])))
    trial.count("unreplicated_calls", len(numbers) * trial["threads"])


def _add(trial: Trial, account: Account, queue: Any, items: list[str]) -> None:
    _must_be_short(trial, partial(queue.add_items, items), len(items))
    account.added(items)


def _give_up(trial: Trial, account: Account, queue: Any, done: bool) -> None:
    """Takes an item and acks it, or rejects it."""
    items = queue.get_items(1)
    account.seen(items)
    if items:
        _must_be_short(trial, partial(queue.ack_items if done else queue.reject_items, items), 1)
        account.acked(items if done else [])


def _must_be_short(trial: Trial, change: Callable[[], object], done: int) -> None:
    """Makes a change that must not be confirmed, and must be said to have been made."""
    try:
        change()
    except NotEnoughSyncedSlavesError as error:
        trial.caught(error)
        told = (error.done, error.confirmed, error.wanted)
        trial.expect(told == (done, 0, 1), f"{told} instead of {(done, 0, 1)} items done, confirmed and wanted")
    else:
        trial.blame("failed", 1, "a change was confirmed that no replica has")


def _finish(trial: Trial, account: Account, queues: list[Any], primary: Server, replica: Server) -> None:
    """Looks for each item on the primary: it is there as often as it was added."""
    replica.thaw()
    catch_up(primary)
    name = queues[0].name
    for queue in queues:
        queue.close()
    with primary.client() as client:
        drain(trial, account, name, primary.url, client)


# Calls that are sent again


def _repeated_calls(trial: Trial, many: int, worlds: list[World], primary: Server, replica: Server) -> None:
    """The reply is lost. What is sent again finds its work done, and must not take an older WAIT's word for it."""
    proxy, account = Proxy(primary.path), Account()
    try:
        queues: list[Any] = [world.queue("repeated", proxy.url, durability=_BRIEFLY) for world in worlds]
        for queue in queues:
            queue.get_count()
        replica.freeze()
        for number in range(many):
            queue = queues[number % len(queues)]
            proxy.drop_reply("add")
            _add(trial, account, queue, [f"{MARK} {number}"])
        trial.expect(len(proxy.hits) == many and proxy.all_hit, "each reply was lost")
        trial.count("replies_lost", len(proxy.hits))
        _finish(trial, account, queues, primary, replica)
    finally:
        replica.thaw()
        proxy.close()


_FULL: Mapping[str, int] = {"threads": 8, "ops": 1000, "steals": 40, "repeats": 200, "promotions": 20}
_QUICK: Mapping[str, int] = {"threads": 8, "ops": 40, "steals": 6, "repeats": 20, "promotions": 2}

ROW = Row(
    "replicas",
    "replicas frozen, cut off and promoted; connections stolen between write and WAIT; calls sent again",
    _run,
    full=_FULL,
    quick=_QUICK,
)
