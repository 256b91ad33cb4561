"""`python -m tests.faults`: the fault campaign, or rows of it."""

from __future__ import annotations

import argparse
import os
import random
import sys

from tests.faults.campaign import run_rows
from tests.faults.rows import ROWS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    names = [row.name for row in ROWS]
    parser.add_argument("rows", metavar="ROW", nargs="*", help=f"which rows (default: all): {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="a cut of about a minute")
    parser.add_argument("--seed", type=int, default=os.environ.get("PYRQ_SEED"), help="repeats a run")
    options = parser.parse_args()
    unknown = sorted(set(options.rows) - set(names))
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(names)}")
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    sys.stdout.write(f"seed: PYRQ_SEED={seed}\n")
    chosen = [row for row in ROWS if not options.rows or row.name in options.rows]
    total = run_rows(chosen, seed, quick=options.quick)
    sys.stdout.write(f"ledger: seed={seed} rows={len(chosen)} {total}\n")
    return 0 if total.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
