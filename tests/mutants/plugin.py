"""What pytest loads beside a copy of the library. It is copied next to it, and imports nothing else of here."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Makes sure that the copy is what is tested, and not what is installed."""
    import pyrq

    used = Path(pyrq.__file__).resolve().parent
    if used.parent != Path(__file__).resolve().parent:
        raise pytest.UsageError(f"not the copy is imported, but {used}")
