"""What is measured, in the order of the table: a module for each kind of contest."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping

from benchmarks.contest import Contest
from benchmarks.peers.peer import Peers
from benchmarks.rows import batches, client, consumers, depth, durable, flight, kinds, memory, server, tasks, waking
from benchmarks.site import Site

__all__ = ["ROWS"]

ROWS: Mapping[str, Callable[[Site, Peers], Generator[Contest]]] = {
    "batches": batches.contests,
    "tasks": tasks.contests,
    "durable": durable.contests,
    "server": server.contests,
    "client": client.contests,
    "depth": depth.contests,
    "flight": flight.contests,
    "memory": memory.contests,
    "waking": waking.contests,
    "kinds": kinds.contests,
    "consumers": consumers.contests,
}
"""Each gives its contests one after the other; what one needs is made when it is asked for, and goes with the next."""
