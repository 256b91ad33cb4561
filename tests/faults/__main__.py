"""`python -m tests.faults`: the fault campaign, or rows of it."""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Sequence

from tests.faults.campaign import missing_kinds, run_rows
from tests.faults.ledger import Ledger
from tests.faults.rows import ROWS
from tests.servers import Binary, binaries


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
    found = binaries()
    servers = ",".join(binary.name for binary in found)
    sys.stdout.write(f"seed: PYRQ_SEED={seed} servers={servers}\n")
    chosen = [row for row in ROWS if not options.rows or row.name in options.rows]
    total = run_rows(chosen, seed, quick=options.quick)
    run = sum(not options.quick or row.quick is not None for row in chosen)
    if not options.quick and not options.rows:
        _expect_both_kinds(total, found)
    sys.stdout.write(f"ledger: seed={seed} servers={servers} rows={run} {total}\n")
    return 0 if total.is_clean else 1


def _expect_both_kinds(total: Ledger, found: Sequence[Binary]) -> None:
    """Blames what the full campaign was not run on: Redis, or Valkey."""
    for kind in missing_kinds(found):
        reason = f"the full campaign is run on both, and there is no {kind}"
        total.blame("failed", 1, reason)
        sys.stdout.write(f"{reason}\n")


if __name__ == "__main__":
    sys.exit(main())
