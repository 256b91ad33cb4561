"""`python -m tests.mutants [NAME …]`: every deliberate defect, or those named, must be caught by its test."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.defect import Defect
from tests.mutants.defects import DEFECTS, SMOKE
from tests.mutants.trying import Outcome, Trials, Verdict

_PROJECT = Path(__file__).parents[2]


def main(names: Sequence[str]) -> int:
    """Tries defects out; gives the exit status."""
    unknown = set(names) - {defect.name for defect in DEFECTS}
    if unknown:
        sys.stderr.write(f"there is no defect named {', '.join(sorted(unknown))}\n")
        return 2
    defects = [defect for defect in DEFECTS if not names or defect.name in names]
    begun = time.monotonic()
    report = Trials(_PROJECT, SMOKE, _tell).run(defects)
    if report.clean.status != 0:
        _print(report.clean.output)
        _print("the named tests do not pass without any defect")
    _print(f"{time.monotonic() - begun:.0f} s")
    _print(f"{report.caught}/{len(defects)} caught")
    return 0 if report.is_well else 1


def _tell(outcome: Outcome) -> None:
    if outcome.verdict is not Verdict.CAUGHT:
        _print(outcome.output)
    _print(_line(outcome.defect, outcome))


def _line(defect: Defect, outcome: Outcome) -> str:
    return f"{outcome.verdict.value}: {defect.name}: {defect.what}; {outcome.why} ({outcome.seconds:.1f} s)"


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what runs has sessions of its own
    sys.exit(main(sys.argv[1:]))
