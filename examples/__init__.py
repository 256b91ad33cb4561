"""Whole programs: each runs as `python examples/<name>.py`, on the server at PYRQ_URL or an embedded one."""

from __future__ import annotations
