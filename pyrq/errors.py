"""Every error that the library raises; see `pyrq.core.errors`, where each says what to do."""

from __future__ import annotations

from pyrq.core.errors import *  # noqa: F403
from pyrq.core.errors import __all__ as __all__
