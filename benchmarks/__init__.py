"""Measures py-rq against the older library's way and against a bare LPUSH. `python -m benchmarks` prints a table."""

from __future__ import annotations
