"""Deliberate defects, each caught by a named test: `python -m tests.mutants`."""
