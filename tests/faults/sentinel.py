"""Failovers under load: clients that a Sentinel leads, and plain ones led by a name, lose nothing confirmed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from redis import sentinel
from redis.asyncio import sentinel as sentinel_asyncio

from pyrq import NotEnoughSyncedSlavesError, Replicas
from tests.faults.adding import Producer, answers, comes_back, confirmed, drain, settle, wait_for_more
from tests.faults.campaign import Row, Trial
from tests.faults.ledger import Account
from tests.faults.relay import Relay, relaying
from tests.faults.taking import MOST, Taker
from tests.faults.watch import SERVICE, Watch, watched
from tests.servers import Binary, World, wait_until

__all__ = ["ROW"]

_CONFIRMED = Replicas(1, 50)
_SOON = 1.0
"""For how many seconds a client waits for a server that is frozen."""
_FEW = 5
_HELD = 10
_ATTEMPTS = 5
_PATIENCE = 60.0
_KINDS = ("told", "killed", "frozen")
"""How a primary fails. Worst is the first: told to fail over, a Sentinel leaves the old one a primary for a while."""


@dataclass(frozen=True)
class _Load:
    """What goes on all the time.

    Attributes:
        producers: add, and ask for confirmation.
        takers: take and ack.
        holder: a queue object that takes, and acks when it is told.
        world: the holder's.
        account: of the queue.
    """

    producers: list[Producer]
    takers: list[Taker]
    holder: Any
    world: World
    account: Account

    def stop(self) -> None:
        for producer in self.producers:
            producer.stop()
        for taker in self.takers:
            taker.stop()


def _run(trial: Trial) -> None:
    """Shares the failovers among the servers; where there are fewer, luck says which servers have one."""
    rng, found = trial.rng(), trial.binaries()
    chosen = rng.sample(found, min(len(found), trial["failovers"]))
    for which, binary in enumerate(chosen):
        failovers, items = (trial.share(amount, which, len(chosen)) for amount in ("failovers", "items"))
        kinds = [_KINDS[number % len(_KINDS)] for number in range(failovers)]
        rng.shuffle(kinds)
        with (
            watched(binary) as watch,
            relaying(watch.primary.port) as front,
            _load(trial, binary, watch, front) as load,
        ):
            for kind in kinds:
                _fail_over(trial, load, watch, front, kind)
            wait_until(lambda: sum(map(confirmed, load.producers)) >= items, _PATIENCE)  # noqa: B023 - called at once
            load.stop()
            _balance(trial, load, watch, failovers)
        trial.count("failovers", failovers)


@contextlib.contextmanager
def _load(trial: Trial, binary: Binary, watch: Watch, front: Relay) -> Iterator[_Load]:
    """Clients of both worlds, each led to the primary in each of the ways that there are."""
    account = Account()
    producers: list[Producer] = []
    takers: list[Taker] = []
    name = binary.name
    with contextlib.ExitStack() as opened:
        for kind in ("sync", "aio"):
            world = World(kind)
            opened.callback(world.close)
            managed = _managed(world, watch, opened)
            ways = {
                "managed": managed,
                "url": f"{watch.url}?socket_timeout={_SOON:g}",
                "plain": f"{front.url}?socket_timeout={_SOON:g}",
            }
            for way, target in ways.items():
                queue = world.queue(name, target, durability=_CONFIRMED)
                producers.append(Producer(trial, world, queue, f"{name} {kind} {way}"))
            for way in ("managed", "plain"):
                queue = world.queue(name, ways[way], durability=_CONFIRMED)
                takers.append(Taker(trial, account, world, queue, f"{name} {kind} {way} taker"))
        holder = world.queue(name, managed, durability=_CONFIRMED)
        load = _Load(producers, takers, holder, world, account)
        try:
            yield load
        finally:
            load.stop()


def _managed(world: World, watch: Watch, opened: contextlib.ExitStack) -> Any:
    """Makes a client that a Sentinel leads, as users make it."""
    library: Any = sentinel_asyncio if world.is_aio else sentinel
    lead = library.Sentinel([("127.0.0.1", watch.port)], socket_timeout=_SOON)
    client = lead.master_for(SERVICE)
    for each in (client, *lead.sentinels):
        opened.callback(_close, world, each)
    return client


def _close(world: World, client: Any) -> None:
    if world.is_aio:
        world.wait_for(client.aclose())
    else:
        client.close()


def _fail_over(trial: Trial, load: _Load, watch: Watch, front: Relay, kind: str) -> None:
    """Lets the primary fail in one way; clients get on by themselves, and what they hold is still theirs."""
    watch.wait_for_readiness()
    held = _hold(load.holder, watch)
    match kind:
        case "killed":
            watch.primary.kill()
        case "frozen":
            watch.primary.freeze()
        case "told":
            watch.fail_over()
    watch.wait_for_failover()
    front.upstream = watch.primary.port  # connections that there are stay where they are
    wait_for_more(load.producers, answers, _FEW)
    unconfirmed = _ack(trial, load, held)
    if kind == "killed":
        watch.replica.start()
    watch.replica.thaw()
    watch.wait_for_return()
    for _ in range(_ATTEMPTS):
        if not unconfirmed or comes_back(trial, load.world, unconfirmed):
            break
        trial.count("acks_lost")  # by a primary that did not know yet that it was none any more
        unconfirmed = _ack(trial, load, held)
    else:
        trial.blame("failed", 1, "an ack is lost again and again, although there is one primary")
    load.account.acked(held)
    wait_for_more(load.producers, confirmed, _FEW)
    wait_for_more(load.takers, lambda taker: taker.confirmed, 1)


def _hold(holder: Any, watch: Watch) -> list[str]:
    """Takes some items; gives them once the replica knows who has them."""
    held: list[str] = []

    def has_all() -> bool:
        held.extend(holder.get_items(_HELD - len(held), timeout=1))
        return len(held) == _HELD

    wait_until(has_all, _PATIENCE)
    with watch.replica.client() as client:
        mine = {item.encode() for item in held}
        wait_until(lambda: mine.issubset(client.lrange(holder.processing_queue_name, 0, -1)), 10)
    return held


def _ack(trial: Trial, load: _Load, held: list[str]) -> NotEnoughSyncedSlavesError | None:
    """Acks what was held before the failover; gives the error if that was not confirmed."""
    try:
        count, short = load.holder.ack_items(held), None
    except NotEnoughSyncedSlavesError as error:
        trial.caught(error)
        count, short = error.done, error
    trial.expect(count == len(held), "what was held before the failover is held after it")
    return short


def _balance(trial: Trial, load: _Load, watch: Watch, failovers: int) -> None:
    for producer in load.producers:
        settle(trial, load.account, producer)
    for taker in load.takers:
        late = [item for item, error in taker.short if comes_back(trial, taker.world, error)]
        load.account.acked(late)  # where a failover lost the ack, the item comes again
        trial.count("acks_confirmed_late", len(late))
        trial.count("acks_lost", len(taker.short) - len(late))
        trial.count("gets_lost", taker.lost)
        trial.expect(taker.lost <= MOST * failovers, f"failovers lost {taker.lost} items that a taker had")
    for one in (*load.producers, *load.takers, load.holder):
        one.close()
    with watch.primary.client() as client:
        drain(trial, load.account, load.holder.name, watch.primary.url, client)


_FULL: Mapping[str, int] = {"failovers": 6, "items": 5000}
_QUICK: Mapping[str, int] = {"failovers": 1, "items": 300}

ROW = Row(
    "sentinel",
    "a primary killed, frozen, or demoted by its Sentinel, under load; clients led by the Sentinel, and by a name",
    _run,
    full=_FULL,
    quick=_QUICK,
)
