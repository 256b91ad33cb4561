"""Names of queues and of the keys behind them: one rule for all.

The plain suffixes are the layout of py-rq and aio-py-rq, kept to the letter so that a fleet moves over process by
process. What this library adds lies under `<name>/…`; a name can't hold a `/`, so the two can never meet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Keys", "Kind", "check_label", "check_name"]

_MAX_NAME_BYTES = 200
_MAX_LABEL_BYTES = 100
_PROCESSING = "-processing-"
_RESERVED_SUFFIXES = ("-timeouts", "-unique", "-retry-count", "-retry-timeout", "-processing")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BRACES = re.compile(r"[^{}]*(\{[^{}]+\}[^{}]*)*")

_NAME_RULE = (
    "1 to 200 bytes of text without '/', control characters, unbalanced or empty braces, without '-processing-' "
    "in it, not ending in " + ", ".join(repr(suffix) for suffix in _RESERVED_SUFFIXES)
)
_LABEL_RULE = "1 to 100 bytes of text without '/', braces or control characters"


def check_name(argument: str, name: object) -> str:
    """Checks a queue's name.

    Args:
        argument: how the caller's parameter is called, for the error.
        name: the name; 1 to 200 bytes of text.

    Returns:
        The name.

    Raises:
        TypeError: not text.
        ValueError: not a name as the rule says.
    """
    if not isinstance(name, str):
        raise TypeError(f"{argument} must be text ({_NAME_RULE}), not {type(name).__name__}")
    fine = (
        1 <= _size(name) <= _MAX_NAME_BYTES
        and "/" not in name
        and _PROCESSING not in name
        and not name.endswith(_RESERVED_SUFFIXES)
        and not _CONTROL.search(name)
        and _BRACES.fullmatch(name)
    )
    if not fine:
        raise ValueError(f"{argument} must be {_NAME_RULE}")
    return name


def check_label(argument: str, label: object) -> str:
    """Checks the label part of a client id.

    Args:
        argument: how the caller's parameter is called, for the error.
        label: the label; 1 to 100 bytes of text.

    Returns:
        The label.

    Raises:
        TypeError: not text.
        ValueError: not a label as the rule says.
    """
    if not isinstance(label, str):
        raise TypeError(f"{argument} must be text ({_LABEL_RULE}), not {type(label).__name__}")
    if not 1 <= _size(label) <= _MAX_LABEL_BYTES or re.search(r"[/{}]", label) or _CONTROL.search(label):
        raise ValueError(f"{argument} must be {_LABEL_RULE}")
    return label


def _size(text: str) -> int:
    """Gives the size in UTF-8, or 0 for text that has none (a lone surrogate), which no rule accepts."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return 0


class Kind(IntEnum):
    """What lies behind a name."""

    PLAIN = 0
    """A queue: a list of what waits."""
    UNIQUE = 1
    """A queue in which each waiting item is there once: a list, and a set of what is in it."""
    POOL = 2
    """A pool: a sorted set of what is due when."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one queue or pool, as bytes.

    Attributes:
        name: its name.
        kind: what lies behind it.
        client_id: whose processing list and session these are.
        queue: list; what waits, next out at the tail.
        processing: list; what this consumer holds, newest at the head.
        timeouts: hash; processing key -> unix seconds of the last contact.
        consumers: hash; client id -> its last get, `<sequence> <how many>`; client id + `/lease` -> `<seconds>
            <tenure>`; client id + `/landing` -> unix seconds until when a blocked move may bring something.
        session: hash; lane -> `<last sequence> <reply>`.
        landing: list; what a blocked move brought for this consumer.
        delayed: sorted set; what was put off, by when it is due.
        deliveries: hash; item -> how often it was delivered in vain, and `swept` if its consumer fell silent.
        dead: list; the dead letters, newest at the head.
        meta: hash; the queue's state: `paused`, `swept` and `waking`.
        unique: set; what waits in a queue of unique items.
        retry_count: hash; item -> how often it was rolled back.
        retry_timeout: hash; item -> unix minutes of its first rollback.
        repair: set; what a repair found waiting, while it works.
        prefix: what every processing key of the queue starts with.
        landing_prefix: what every landing list of the queue starts with.
        consumer: the client id, as bytes.
    """

    name: str
    kind: Kind
    client_id: str
    queue: bytes
    processing: bytes
    timeouts: bytes
    consumers: bytes
    session: bytes
    landing: bytes
    delayed: bytes
    deliveries: bytes
    dead: bytes
    meta: bytes
    unique: bytes
    retry_count: bytes
    retry_timeout: bytes
    repair: bytes
    prefix: bytes
    landing_prefix: bytes
    consumer: bytes

    @classmethod
    def of(cls, name: str, client_id: str, kind: Kind = Kind.PLAIN) -> Keys:
        """Derives all keys from a checked name and a client id.

        Args:
            name: the queue's name, as `check_name` returned it.
            client_id: a label and a unique part.
            kind: what lies behind the name.

        Returns:
            The keys.
        """
        queue, consumer = name.encode(), client_id.encode()
        prefix = queue + _PROCESSING.encode()
        landing_prefix = queue + b"/landing/"
        return cls(
            name=name,
            kind=kind,
            client_id=client_id,
            queue=queue,
            processing=prefix + consumer,
            timeouts=queue + b"-timeouts",
            consumers=queue + b"/consumers",
            session=queue + b"/session/" + consumer,
            landing=landing_prefix + consumer,
            delayed=queue + b"/delayed",
            deliveries=queue + b"/deliveries",
            dead=queue + b"/dead",
            meta=queue + b"/meta",
            unique=queue + b"-unique",
            retry_count=queue + b"-retry-count",
            retry_timeout=queue + b"-retry-timeout",
            repair=queue + b"/repair/" + consumer,
            prefix=prefix,
            landing_prefix=landing_prefix,
            consumer=consumer,
        )
