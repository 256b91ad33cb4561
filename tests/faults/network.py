"""A proxy on the clients' path: requests and replies are dropped, cut in mid-frame, or executed after all was over."""

from __future__ import annotations

import random
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.faults.campaign import Row, Trial
from tests.faults.ledger import MARK, Account, Ledger
from tests.faults.storm import Storm
from tests.faults.workload import HANDLED, HASTY, POOL, STRICT, SWEPT, UNIQUE, WAITING, Crew, Load
from tests.servers import Binary, Server, running

__all__ = ["ROW", "naive_wrongs"]

RATE = 0.25
CREWS = (
    Crew(STRICT, threads=6, own_threads=2, tasks=3, own_tasks=2),
    Crew(WAITING, threads=2, own_threads=2, tasks=2, own_tasks=1),
    Crew(SWEPT, threads=2, own_threads=1, tasks=2, own_tasks=1),
    Crew(HASTY, threads=2, own_threads=2, tasks=4, own_tasks=3),
    Crew(UNIQUE, threads=2, own_threads=1, tasks=2),
    Crew(POOL, threads=2, tasks=2, own_tasks=1),
    Crew(HANDLED, own_threads=1, own_tasks=1, consumers=4),
)


def run(trial: Trial) -> None:
    """Runs the row on each server, and the control on the first."""
    binaries = trial.binaries()
    for which, binary in enumerate(binaries):
        _run_on(trial, binary, which)
    with running(binaries[0]) as server:
        wrongs = naive_wrongs(server, trial.rng("control"), trial["naive"])
    trial.count("control", wrongs)
    trial.expect(wrongs, "a client that sends again naively lost nothing, so the row has shown nothing")


def _run_on(trial: Trial, binary: Binary, which: int) -> None:
    with running(binary) as server, Storm(server.path, trial.rng(binary.name, "storm"), RATE) as storm:

        def target(rng: random.Random, _: bool) -> str:
            # Some clients give up on a reply themselves.
            return storm.url + rng.choice(("", "", "", "?socket_timeout=0.15"))

        load = Load(trial, binary.name, storm, CREWS, target)
        load.run(trial.share("faults", which), trial.share("items", which))
        load.balance(server)


# The control


def naive_wrongs(server: Server, rng: random.Random, rounds: int) -> int:
    """Does what a plain client does that sends again what may have run, in such a storm.

    Args:
        server: where.
        rng: its luck.
        rounds: how often it adds, takes and acknowledges.

    Returns:
        How much was lost, extra, phantom or stranded.
    """
    marks = (b"LPUSH", b"RPOPLPUSH", b"LREM")
    ledger, account = Ledger(), Account()
    with Storm(server.path, rng, RATE, marks=marks) as storm:
        client: Any = redis.Redis(unix_socket_path=storm.path, decode_responses=True, retry=Retry(NoBackoff(), 10))
        for _ in range(rounds):
            items = [f"{MARK} {rng.randrange(3)}" for _ in range(3)]
            client.lpush("naive", *items)
            account.added(items)
            taken = [item for _ in range(3) if (item := client.rpoplpush("naive", "naive-held"))]
            for item in taken:
                client.lrem("naive-held", -1, item)
            account.acked(taken)
        client.close()
    with server.client(decode_responses=True) as client:
        account.acked(client.lrange("naive", 0, -1))
        ledger.blame("stranded", client.llen("naive-held"))
    account.close(ledger)
    return ledger.wrongs.total()


ROW = Row(
    "network",
    "a proxy on the client's path: request dropped, reply dropped, cut in mid-frame, executed after the client gave up",
    run,
    full={"faults": 4_000, "items": 20_000, "naive": 200, "patience": 60},
    quick={"faults": 250, "items": 1_200, "naive": 50, "patience": 0},
)
