"""Runs the command line: `python -m pyrq`."""

from __future__ import annotations

import sys

from pyrq.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
