"""Some forty checks of what is out of the ordinary: rights, full and busy servers, wrong clocks, planted keys, bytes.

Each is a small function in one of the modules of checks; it fails by an exception, and is blamed by its name.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

from tests.faults import checks_access, checks_full, checks_odd, checks_planted
from tests.faults.campaign import Row, Trial
from tests.faults.checking import Place
from tests.servers import World, running

__all__ = ["CHECKS", "ROW"]

CHECKS: tuple[Callable[[Place], None], ...] = (
    *checks_access.CHECKS,
    *checks_full.CHECKS,
    *checks_odd.CHECKS,
    *checks_planted.CHECKS,
)


def run(trial: Trial) -> None:
    """Runs each check, in each world on each server, or in one world on one server in turn."""
    binaries, ran = trial.binaries(), set()
    for turn, binary in enumerate(binaries):
        with running(binary) as server, server.client() as client:
            for number, check in enumerate(CHECKS):
                if not trial["everywhere"] and number % len(binaries) != turn:
                    continue
                worlds = ("sync", "aio") if trial["everywhere"] else (("sync", "aio")[number // len(binaries) % 2],)
                for name in worlds:
                    server.reset()
                    _run(trial, check, Place(trial, server, client, World(name), trial["large"]))
                    ran.add(check)
    trial.count("checks", len(ran))
    trial.expect(ran == set(CHECKS), "each check ran")


def _run(trial: Trial, check: Callable[[Place], None], place: Place) -> None:
    trial.count("runs")
    try:
        check(place)
    except Exception:  # noqa: BLE001 - the other checks go on
        where = f"{check.__name__} in {place.world.name} on {place.server.binary.name}"
        trial.blame("failed", 1, f"{where}\n{traceback.format_exc(limit=-4)}")
    finally:
        place.close()


ROW = Row(
    "checks",
    "rights, full and busy servers, wrong clocks, planted keys, bytes, large calls",
    run,
    full={"everywhere": 1, "large": 100_000},
    quick={"everywhere": 0, "large": 10_000},
)
