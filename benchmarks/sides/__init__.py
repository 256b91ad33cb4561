"""The ways of moving items that are compared, all of them in this process, on one redis-py client."""

from __future__ import annotations
