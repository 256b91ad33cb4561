"""Where the older libraries kept their error: code that imports it from here goes on working."""

from __future__ import annotations

from pyrq.core.errors import NotEnoughSyncedSlavesError

__all__ = ["NotEnoughSyncedSlavesError"]
