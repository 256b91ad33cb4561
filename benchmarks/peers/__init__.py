"""Released packages from PyPI, each in an environment and a process of its own; nothing of them is imported here."""

from __future__ import annotations
