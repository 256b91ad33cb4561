"""Runs the unit tests, and beside them the integration tests, which mostly wait. `make test` calls it.

The unit tests print as they go; what the integration tests print comes at the end. Coverage is measured in both.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile

_COVERED = (sys.executable, "-m", "coverage", "run", "-m", "pytest")


def main() -> int:
    """Runs both; gives 0 if both pass."""
    with tempfile.TemporaryFile("w+") as told:
        with subprocess.Popen((*_COVERED, "tests/integration"), stdout=told, stderr=subprocess.STDOUT) as beside:
            # Ctrl-C reaches both by itself; either ends in its own time.
            unit = subprocess.call((*_COVERED, "tests/unit"))
            integration = beside.wait()
        told.seek(0)
        shutil.copyfileobj(told, sys.stdout)
    return unit or integration


if __name__ == "__main__":
    sys.exit(main())
