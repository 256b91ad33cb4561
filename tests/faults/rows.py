"""The rows of the campaign, in the order in which they run."""

from __future__ import annotations

from tests.faults import (
    checks,
    clients,
    hostile,
    kills,
    models,
    network,
    power,
    replicas,
    restarts,
    same,
    scripts,
    sentinel,
)
from tests.faults.campaign import Row

__all__ = ["ROWS"]

ROWS: list[Row] = [
    network.ROW,
    clients.ROW,
    models.ROW,
    kills.ROW,
    restarts.ROW,
    power.ROW,
    replicas.ROW,
    scripts.ROW,
    sentinel.ROW,
    checks.ROW,
    hostile.ROW,
    same.ROW,
]
