"""The rows of the campaign, in the order in which they run."""

from __future__ import annotations

from tests.faults.campaign import Row

__all__ = ["ROWS"]

ROWS: list[Row] = []
