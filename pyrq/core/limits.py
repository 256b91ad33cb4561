"""The bounds of a queue as a frozen value: how many items wait, how often one is delivered, how many dead letters stay.

What is bounded is decided on the server, in the step that would pass the bound.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyrq.core.options import check_count

__all__ = ["NO_LIMITS", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a queue; None where there is none.

    Attributes:
        max_deliveries: how often an item is delivered before it becomes a dead letter.
        max_size: how many items wait, those that are put off among them.
        dead_max: how many dead letters are kept; the oldest go.
    """

    max_deliveries: int | None = None
    max_size: int | None = None
    dead_max: int | None = None

    @classmethod
    def of(cls, max_deliveries: object, max_size: object, dead_max: object) -> Limits:
        """Checks the bounds of a queue.

        Args:
            max_deliveries: from 1, or None.
            max_size: from 1, or None.
            dead_max: from 1, or None.

        Returns:
            The bounds.

        Raises:
            TypeError: one is no whole number.
            ValueError: one is out of range.
        """
        return cls(_bound("max_deliveries", max_deliveries), _bound("max_size", max_size), _bound("dead_max", dead_max))


NO_LIMITS = Limits()


def _bound(argument: str, value: object) -> int | None:
    return None if value is None else check_count(argument, value, least=1)
