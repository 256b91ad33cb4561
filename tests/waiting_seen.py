"""What the server keeps of a queue, read in one round trip, for the models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyrq.core.views import read_letter
from tests.lossy import fields_of, items_of, texts

__all__ = ["Letter", "Seen", "registrations", "see"]

Letter = tuple[str, int, str, str]
"""A dead letter: the item, how often it was delivered, why it died, whose it was."""


@dataclass(frozen=True)
class Seen:
    """What is in the keys of a queue. Lists are oldest first, those of consumers in the order asked for."""

    waiting: list[str]
    held: list[list[str]]
    landed: list[list[str]]
    delayed: list[tuple[float, str]]
    dead: list[Letter]
    counts: dict[str, str]
    stamps: dict[str, str]
    consumers: dict[str, str]
    registered: dict[str, float]
    meta: dict[str, str]
    keys: list[str]


def see(read: Callable[..., list[Any]], name: str, ids: Sequence[str]) -> Seen:
    """Looks.

    Args:
        read: `LossyMachine.read`.
        name: the queue's.
        ids: the client ids of its consumers.
    """
    waiting, delayed, dead, counts, stamps, consumers, meta, (cursor, keys), *lists = read(
        items_of(name),
        lambda pipeline: pipeline.zrange(f"{name}/delayed", 0, -1, withscores=True),
        items_of(f"{name}/dead"),
        *(fields_of(f"{name}{suffix}") for suffix in ("/deliveries", "-timeouts", "/consumers", "/meta")),
        lambda pipeline: pipeline.scan(0, f"{name}*", 100_000),
        *(items_of(f"{name}-processing-{one}") for one in ids),
        *(items_of(f"{name}/landing/{one}") for one in ids),
    )
    assert not cursor, "all keys were seen"
    return Seen(
        waiting=texts(waiting),
        held=[texts(entries) for entries in lists[: len(ids)]],
        landed=[texts(entries) for entries in lists[len(ids) :]],
        delayed=[(score, member.split(b"\n", 1)[1].decode()) for member, score in delayed],
        dead=[_letter_of(entry) for entry in reversed(dead)],
        counts=_text_pairs(counts),
        stamps=_text_pairs(stamps),
        consumers=_text_pairs(consumers),
        registered=registrations(consumers),
        meta=_text_pairs(meta),
        keys=[key.decode() for key in keys],
    )


def registrations(consumers: Mapping[bytes, bytes]) -> dict[str, float]:
    """Gives which client ids may have something land, and until when, in the order of the server's hash."""
    fields = _text_pairs(consumers).items()
    return {field.removesuffix("/landing"): float(until) for field, until in fields if field.endswith("/landing")}


def _letter_of(entry: bytes) -> Letter:
    letter = read_letter(entry)
    return letter.raw.decode(), letter.deliveries, letter.reason, letter.consumer


def _text_pairs(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {field.decode(): value.decode() for field, value in fields.items()}
