"""The user's own redis-py client before the same storm: with its own retries and without, whatever it decodes."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import redis
from redis import asyncio as redis_asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.faults.campaign import Row, Trial
from tests.faults.network import RATE
from tests.faults.storm import Storm
from tests.faults.workload import HASTY, STRICT, UNIQUE, WAITING, Crew, Load
from tests.servers import Binary, running

__all__ = ["ROW"]

CREWS = (
    Crew(STRICT, threads=3, own_threads=1, tasks=2, own_tasks=1),
    Crew(WAITING, threads=1, own_threads=1, tasks=1, own_tasks=1),
    Crew(HASTY, threads=1, own_threads=1, tasks=2, own_tasks=1),
    Crew(UNIQUE, own_threads=1, own_tasks=1),
)


@dataclass(frozen=True)
class Client:
    """How a user makes a client.

    Attributes:
        retries: whether it has the ten retries that redis-py gives it, or none.
        decodes: its `decode_responses`.
    """

    retries: bool
    decodes: bool

    @property
    def name(self) -> str:
        return f"{'retries' if self.retries else 'once'}-{'text' if self.decodes else 'bytes'}"

    def make(self, path: str) -> redis.Redis:
        if self.retries:
            return redis.Redis(unix_socket_path=path, decode_responses=self.decodes)
        return redis.Redis(unix_socket_path=path, decode_responses=self.decodes, retry=Retry(NoBackoff(), 0))

    def make_aio(self, path: str) -> redis_asyncio.Redis:
        if self.retries:
            return redis_asyncio.Redis(unix_socket_path=path, decode_responses=self.decodes)
        once = AsyncRetry(NoBackoff(), 0)
        return redis_asyncio.Redis(unix_socket_path=path, decode_responses=self.decodes, retry=once)


CLIENTS = [Client(retries, decodes) for retries in (True, False) for decodes in (True, False)]


def run(trial: Trial) -> None:
    """Runs each client, one of each world, on so many of the servers; if not on all, then on another one each time."""
    binaries = trial.binaries()
    servers = min(trial["servers"], len(binaries))
    for number, client in enumerate(CLIENTS):
        for place in range(servers):
            amounts = [trial.share(amount, place, servers) for amount in ("faults", "items")]
            _run_with(trial, binaries[(number + place) % len(binaries)], client, *amounts)


def _run_with(trial: Trial, binary: Binary, client: Client, faults: int, items: int) -> None:
    who = f"{binary.name} {client.name}"
    with running(binary) as server, Storm(server.path, trial.rng(who, "storm"), RATE) as storm:
        made: dict[bool, Any] = {False: client.make(storm.path), True: client.make_aio(storm.path)}

        def target(_: random.Random, is_aio: bool) -> Any:
            return made[is_aio]

        load = Load(trial, who, storm, CREWS, target, leave=made[True].aclose)
        load.run(faults, items)
        made[False].close()
        load.balance(server)


ROW = Row(
    "clients",
    "the user's own client, with redis-py's ten retries and with none, decoding and not: faults and items for each",
    run,
    full={"faults": 1_000, "items": 5_000, "servers": 2, "patience": 60},
    quick={"faults": 60, "items": 300, "servers": 1, "patience": 0},
)
