"""Random interleavings of a mixed fleet: no item is lost, and the keys are as the older library would have left them.

`PYRQ_SEED=… pytest tests/interop/test_interleavings.py -k "Queue and 07"` repeats a part of a run.
"""

from __future__ import annotations

import random

import pytest

from tests.conftest import SEED
from tests.interop.conftest import OPTIONS, TALLIES
from tests.interop.interleavings import tell
from tests.interop.lockstep import Lockstep
from tests.interop.peers import Crew
from tests.servers import Server

PARTS, PART = 20, 100
ONE_KILL_IN = 20


@pytest.mark.parametrize("part", range(PARTS), ids=lambda part: f"{part:02d}")
@pytest.mark.parametrize("kind", OPTIONS)
def test_interleavings(kind: str, part: int, crew: Crew, servers: list[Server]) -> None:
    clients = [server.client(decode_responses=True) for server in servers]
    for index in range(part * PART, (part + 1) * PART):
        rng = random.Random(f"{SEED} {kind} {index}")
        options = dict(OPTIONS[kind])
        if kind == "Pool":
            options = {
                "chunk_size": rng.choice([2, 3, 100]),
                "ack_ttl": rng.choice([600, 3600]),
                "ack_valid_for": rng.choice([129_600, 129_600, 0]),
            }
        fleet = Lockstep(
            crew,
            servers[index % len(servers)],
            clients[index % len(servers)],
            kind,
            rng.choice(["old-sync", "old-aio"]),
            (rng.choice(["sync", "aio"]), rng.choice(["sync", "aio"])),
            f"{index:05d}",
            options,
        )
        try:
            tell(fleet, rng, TALLIES[kind], killing=index % ONE_KILL_IN == ONE_KILL_IN - 1)
        except BaseException as error:
            error.add_note(f"interleaving {index}: {fleet.told()}")
            raise
    for client in clients:
        client.close()
