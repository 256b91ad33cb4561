from __future__ import annotations

import pyrq
import pyrq.helpers
from pyrq import aio
from pyrq.core import errors


def test_the_error_is_where_the_older_libraries_had_it() -> None:
    assert pyrq.helpers.__all__ == ["NotEnoughSyncedSlavesError"]
    assert pyrq.helpers.NotEnoughSyncedSlavesError is pyrq.NotEnoughSyncedSlavesError
    assert pyrq.helpers.NotEnoughSyncedSlavesError is errors.NotEnoughSyncedSlavesError


def test_who_catches_it_catches_that_of_asyncio_too() -> None:
    assert issubclass(aio.NotEnoughSyncedSlavesError, pyrq.helpers.NotEnoughSyncedSlavesError)
