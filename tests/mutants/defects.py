"""All deliberate defects."""

from __future__ import annotations

from tests.mutants import in_gathering, in_python, in_scripts

__all__ = ["DEFECTS", "SMOKE"]

DEFECTS = (*in_python.DEFECTS, *in_gathering.DEFECTS, *in_scripts.DEFECTS)
"""Each has a name of its own."""

SMOKE = ("tests/unit/test_sync_queue.py::test_first_in_first_out",)
"""Passes with every defect: what breaks everything shows nothing about a test."""
