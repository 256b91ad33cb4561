"""`python -m tests.soak MINUTES`: the fault campaign's workload, for as long as one likes."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time

from tests.soak.network import Network
from tests.soak.promotions import Promotions
from tests.soak.restarts import Restarts
from tests.soak.soak import Soak, ledger_line
from tests.soak.workers import Workers

ARENAS = {arena.name: arena for arena in (Network, Workers, Restarts, Promotions)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("minutes", metavar="MINUTES", type=float, help="for how long; a fraction will do")
    parser.add_argument("arenas", metavar="ARENA", nargs="*", help=f"which (default: all): {', '.join(ARENAS)}")
    parser.add_argument("--seed", type=int, default=os.environ.get("PYRQ_SEED"), help="repeats a run's choices")
    options = parser.parse_args()
    if not 0 < options.minutes <= 10_000:
        parser.error("MINUTES must be more than 0, and at most 10000")
    if unknown := sorted(set(options.arenas) - set(ARENAS)):
        parser.error(f"no such arena: {', '.join(unknown)}; there are {', '.join(ARENAS)}")
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    sys.stdout.write(f"seed: PYRQ_SEED={seed}\n")
    chosen = [arena for name, arena in ARENAS.items() if not options.arenas or name in options.arenas]
    return _run(Soak(chosen, options.minutes, seed), options.minutes, seed)


def _run(soak: Soak, minutes: float, seed: int) -> int:
    # An end on demand is an end as any other, but sooner: everything is drained, counted, and taken down.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: soak.stopped.set())
    began = time.monotonic()
    ledger = soak.run()
    for reason in ledger.reasons:
        sys.stdout.write(f"    {reason}\n")
    if soak.stopped.is_set():
        minutes = round((time.monotonic() - began) / 60, 1)
        sys.stdout.write("it was stopped early\n")
    sys.stdout.write(f"also: {' '.join(f'{figure}={many}' for figure, many in ledger.figures.items())}\n")
    sys.stdout.write(ledger_line(ledger, minutes, seed) + "\n")
    if not ledger.is_clean:
        return 1
    return 130 if soak.stopped.is_set() else 0


if __name__ == "__main__":
    sys.exit(main())
