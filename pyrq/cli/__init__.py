"""The command line: `python -m pyrq`."""

from __future__ import annotations
