"""What limits it: where the client's time goes in a call at batch 1, and the server's in a cycle at batch 1,000.

The client's is a profile of its processor time (cProfile makes each function call dearer than it is: read shares, not
times). The server counts calls and time itself, of scripts as a whole and of the commands in them
(https://redis.io/commands/info, commandstats).
"""

from __future__ import annotations

import cProfile
import pstats
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import PurePath

from benchmarks.sides.ours import Ours
from benchmarks.site import Site

__all__ = ["limits_of", "server_lines"]

_CALLS, _MOST = 500, 14
_BATCH, _BATCHES = 1_000, 10
_PACKAGES = ("pyrq", "redis", "benchmarks")

Stats = Mapping[str, Mapping[str, float]]


def limits_of(site: Site) -> dict[str, list[str]]:
    """Gives lines of text under headings."""
    ours = Ours(site, "limits")
    items = site.items[:_CALLS]
    with closing(ours.queue):
        ours.add(items, 1)
        site.clear(ours.name)
        adding = _profile(lambda: ours.add(items, 1))
        working = _profile(lambda: ours.work_off(1, _CALLS))
        site.clear(ours.name)
        server = _server(site, ours)
    return {
        "Client, add_item": adding,
        "Client, ack_and_get of 1": working,
        "Server, whole cycle, batch 1,000": server,
    }


def _profile(work: Callable[[], object]) -> list[str]:
    profile = cProfile.Profile(time.thread_time)  # the wait for the server is not ours
    profile.runcall(work)
    found: list[tuple[float, float, str]] = []
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined] # it is documented nowhere, and always there
    whole = sum(own for _, _, own, _, _ in stats.values())
    for (path, _, function), (_, calls, own, _, _) in stats.items():
        found.append((own, calls, f"{_module(path)}{function}"))
    lines = [f"{'share':>6} {'calls':>6}  function, its own time (calls: per call of ours)"]
    for own, calls, name in sorted(found, reverse=True)[:_MOST]:
        lines.append(f"{own / whole:6.1%} {calls / _CALLS:6.1f}  {name}")
    return lines


def _module(path: str) -> str:
    """Names a module without the place where it is installed."""
    parts = PurePath(path).with_suffix("").parts
    for package in _PACKAGES:
        if package in parts:
            return ".".join(parts[len(parts) - parts[::-1].index(package) - 1 :]) + "."
    return "" if path == "~" else f"{parts[-1]}."


def _server(site: Site, ours: Ours) -> list[str]:
    before: Stats = site.client.info("commandstats")
    ours.add(site.items[: _BATCH * _BATCHES], _BATCH)
    ours.work_off(_BATCH, _BATCHES)
    after: Stats = site.client.info("commandstats")
    site.clear(ours.name)
    return server_lines(before, after, _BATCHES)


def server_lines(before: Stats, after: Stats, cycles: int) -> list[str]:
    """Tells what commands took in the meantime, the dearest first."""
    found = []
    for name, stats in after.items():
        then = before.get(name, {"calls": 0, "usec": 0})
        calls, took = stats["calls"] - then["calls"], stats["usec"] - then["usec"]
        if calls and name != "cmdstat_info":
            found.append((took / cycles, calls / cycles, name.removeprefix("cmdstat_")))
    lines = [f"{'us':>8} {'calls':>6}  command, per cycle; a script's time holds that of its commands"]
    return [*lines, *(f"{took:8.1f} {calls:6.1f}  {name}" for took, calls, name in sorted(found, reverse=True)[:_MOST])]
