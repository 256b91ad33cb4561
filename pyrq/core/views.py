"""What is seen of a queue: its state, who holds what, its dead letters. Values, as replies are read into."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["DeadLetter", "InFlight", "Letter", "Stats", "read_letter"]

T = TypeVar("T")

_HEAD = re.compile(rb"(\d+(?:\.\d*)?) (\d{1,20}) (\d{1,10}) (\d{1,10})\n")


@dataclass(frozen=True, slots=True)
class Stats:
    """How a queue is doing.

    Attributes:
        waiting: how many items wait.
        in_flight: how many items consumers hold.
        delayed: how many items are put off.
        dead: how many dead letters there are.
        consumers: how many consumers hold something or wait for an item.
        paused: whether consumers are to stop taking.
    """

    waiting: int
    in_flight: int
    delayed: int
    dead: int
    consumers: int
    paused: bool


@dataclass(frozen=True, slots=True)
class InFlight:
    """What one consumer holds.

    Attributes:
        consumer: its client id.
        count: how many items it holds.
        idle: for how many seconds nothing was heard of it, by the server's clock.
        lease: after how many seconds of silence it is swept, or None: it has none, so after the sweeper's timeout.
    """

    consumer: str
    count: int
    idle: float
    lease: float | None


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as it lies on the server.

    Attributes:
        raw: the item's bytes.
        reason: why it is here.
        when: since when, in unix seconds by the server's clock.
        deliveries: how often it was delivered.
        consumer: who had it last.
    """

    raw: bytes
    reason: str
    when: float
    deliveries: int
    consumer: str


@dataclass(frozen=True, slots=True)
class DeadLetter(Generic[T]):
    """An item that could not be used.

    Attributes:
        item: the item, or None if the codec can't decode it.
        raw: its bytes.
        reason: why it is here.
        when: since when, in unix seconds by the server's clock.
        deliveries: how often it was delivered.
        consumer: the client id of who had it last.
    """

    item: T | None
    raw: bytes
    reason: str
    when: float
    deliveries: int
    consumer: str

    @classmethod
    def of(cls, letter: Letter, item: T | None) -> DeadLetter[T]:
        """Makes one of a letter and its decoded item."""
        return cls(item, letter.raw, letter.reason, letter.when, letter.deliveries, letter.consumer)


def read_letter(entry: bytes) -> Letter:
    """Reads an entry of the list of dead letters.

    Args:
        entry: the entry. One that this library did not write is an item without a story.

    Returns:
        The letter.
    """
    head = _HEAD.match(entry)
    after_consumer = head.end() + int(head[3]) if head else 0
    after_reason = after_consumer + int(head[4]) if head else 0
    if head is None or after_reason > len(entry):
        return Letter(entry, "", 0.0, 0, "")
    return Letter(
        raw=entry[after_reason:],
        reason=entry[after_consumer:after_reason].decode("utf-8", "replace"),
        when=float(head[1]),
        deliveries=int(head[2]),
        consumer=entry[head.end() : after_consumer].decode("utf-8", "replace"),
    )
