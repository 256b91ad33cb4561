"""Rollback limits, as in aio-py-rq: an item that was rolled back too often, for too long, is blocked."""

from __future__ import annotations

from dataclasses import dataclass

from pyrq.core.options import check_count, check_seconds

__all__ = ["RollbackLimit", "Rollbacks"]


@dataclass(frozen=True, slots=True)
class Rollbacks:
    """What the server knows of an item's rollbacks.

    Attributes:
        count: how many there were, the one just counted included.
        first: when the first one was, in unix minutes.
        now: what time it is by the server's clock, in unix minutes.
    """

    count: int
    first: int
    now: int


@dataclass(frozen=True, slots=True)
class RollbackLimit:
    """When an item is blocked.

    Both conditions must hold: an item that fails often within a short time is not blocked for it.

    Attributes:
        count: how many rollbacks an item may have.
        window: for how many minutes after its first rollback an item is not blocked.
    """

    count: int
    window: float

    @classmethod
    def of(cls, max_retry_rollback: int | None, max_timeout_in_queue: float | None) -> RollbackLimit | None:
        """Checks the options.

        Args:
            max_retry_rollback: how many rollbacks an item may have, from 0.
            max_timeout_in_queue: for how many minutes an item is not blocked, from 0.

        Returns:
            The limit, or None if one of them is missing.

        Raises:
            TypeError: an option is of the wrong type.
            ValueError: an option is out of range.
        """
        if max_retry_rollback is not None:
            check_count("max_retry_rollback", max_retry_rollback)
        if max_timeout_in_queue is not None:
            check_seconds("max_timeout_in_queue", max_timeout_in_queue, unit="minutes")
        if max_retry_rollback is None or max_timeout_in_queue is None:
            return None
        return cls(max_retry_rollback, max_timeout_in_queue)

    def allows(self, rollbacks: Rollbacks) -> bool:
        """Says whether an item may be rolled back.

        Args:
            rollbacks: what is known of its rollbacks.

        Returns:
            False once there were more than `count` and the first one is more than `window` minutes ago.
        """
        return rollbacks.count <= self.count or rollbacks.now - rollbacks.first <= self.window
