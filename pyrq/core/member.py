"""A facade object's share of the work that is the same in both worlds: options, names, and who it is. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pyrq.core import ops, pool_ops
from pyrq.core.call import Call
from pyrq.core.codec import Codec, TextCodec
from pyrq.core.errors import QueueClosedError
from pyrq.core.keys import Keys, Kind, check_label, check_name
from pyrq.core.limits import Limits
from pyrq.core.options import Durability, check_count, check_whole_seconds, durability_of
from pyrq.core.rollback import RollbackLimit
from pyrq.core.session import Session

__all__ = ["Member", "PoolSetup", "QueueSetup", "Setup", "one_name"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Setup(Generic[T]):
    """The options that all facades share, checked. Not to be built directly: the `of` of its subclasses checks.

    Attributes:
        kind: what lies behind the name.
        name: the queue's name.
        codec: between values and bytes.
        label: what is shown of the client id; None for host and process.
        durability: what each mutation waits for, or None.
    """

    kind: Kind
    name: str
    codec: Codec[T]
    label: str | None
    durability: Durability | None


@dataclass(frozen=True, slots=True)
class QueueSetup(Setup[T]):
    """The options of a queue, checked.

    Attributes:
        rollback_limit: when an item is blocked, or None.
        limits: its bounds.
    """

    rollback_limit: RollbackLimit | None
    limits: Limits

    @classmethod
    def of(
        cls,
        name: object,
        codec: Codec[Any] | None,
        label: str | None,
        durability: Durability | None,
        synced_slaves: tuple[bool, int, int],
        rollback: tuple[int | None, float | None],
        limits: tuple[int | None, int | None, int | None],
        kind: Kind = Kind.PLAIN,
        argument: str = "name",
    ) -> QueueSetup[Any]:
        """Checks the options of a queue.

        Args:
            name: the queue's name.
            codec: a codec, or None for text.
            label: what is shown of the client id, or None.
            durability: what each mutation waits for, or None.
            synced_slaves: the older spelling of it: enabled, count, timeout in milliseconds.
            rollback: how many rollbacks an item may have, and for how many minutes it is not blocked, or None.
            limits: its bounds: max_deliveries, max_size and dead_max, or None.
            kind: whether its items are unique.
            argument: how the caller's parameter for the name is called, for the error.

        Returns:
            The options.

        Raises:
            TypeError: an option is of the wrong type.
            ValueError: an option is out of range.
        """
        common = _common(argument, name, codec, label, durability, synced_slaves)
        return cls(kind, *common, RollbackLimit.of(*rollback), Limits.of(*limits))


@dataclass(frozen=True, slots=True)
class PoolSetup(Setup[T]):
    """The options of a pool, checked.

    Attributes:
        chunk_size: how many items a call hands out at the most.
        ack_ttl: for how many seconds an item that is handed out is hidden.
        ack_valid_for: in how many seconds an item that is acknowledged is due again.
    """

    chunk_size: int
    ack_ttl: int
    ack_valid_for: int

    @classmethod
    def of(
        cls,
        name: object,
        codec: Codec[Any] | None,
        label: str | None,
        durability: Durability | None,
        synced_slaves: tuple[bool, int, int],
        own: tuple[int, float, float],
    ) -> PoolSetup[Any]:
        """Checks the options of a pool.

        Args:
            name: the pool's name.
            codec: a codec, or None for text.
            label: what is shown of the client id, or None.
            durability: what each mutation waits for, or None.
            synced_slaves: the older spelling of it: enabled, count, timeout in milliseconds.
            own: chunk_size, ack_ttl and ack_valid_for.

        Returns:
            The options.

        Raises:
            TypeError: an option is of the wrong type.
            ValueError: an option is out of range.
        """
        chunk_size, ack_ttl, ack_valid_for = own
        return cls(
            Kind.POOL,
            *_common("name", name, codec, label, durability, synced_slaves),
            chunk_size=min(check_count("chunk_size", chunk_size, least=1), ops.CHUNK),
            ack_ttl=check_whole_seconds("ack_ttl", ack_ttl),
            ack_valid_for=check_whole_seconds("ack_valid_for", ack_valid_for),
        )


def one_name(queue_name: object, name: object) -> tuple[str, object]:
    """Chooses between two parameters that say the same thing.

    Args:
        queue_name: the name, or None.
        name: the name, or None.

    Returns:
        How the parameter that was given is called, and its value.

    Raises:
        TypeError: none is given, or both are.
    """
    if (queue_name is None) == (name is None):
        raise TypeError("queue_name or name must be given, and not both: they say the same thing")
    return ("name", name) if queue_name is None else ("queue_name", queue_name)


def _common(
    argument: str,
    name: object,
    codec: Codec[Any] | None,
    label: str | None,
    durability: Durability | None,
    synced_slaves: tuple[bool, int, int],
) -> tuple[str, Codec[Any], str | None, Durability | None]:
    if codec is not None and (
        isinstance(codec, type)
        or not (callable(getattr(codec, "encode", None)) and callable(getattr(codec, "decode", None)))
    ):
        raise TypeError(f"codec must have encode and decode methods, not be {type(codec).__name__}")
    text: Codec[Any] = TextCodec()
    return (
        check_name(argument, name),
        text if codec is None else codec,
        None if label is None else check_label("client_id", label),
        durability_of(durability, *synced_slaves),
    )


class Member:
    """Who a facade object is: its keys and its session. A fork, a copy and an unpickling make a new one."""

    def __init__(self, keys: Keys, ttl: int, doubts: int) -> None:
        """Makes a member of a queue.

        Args:
            keys: the queue's keys, with a client id that no other member has.
            ttl: how long the server is to remember its calls, in seconds.
            doubts: the backend's doubts at this time.
        """
        self.keys = keys
        self.session = Session(ttl)
        self.doubts = doubts
        self.checked = False
        self.closed = False

    def check_open(self) -> None:
        """Refuses a closed queue.

        Raises:
            QueueClosedError: it is closed.
        """
        if self.closed:
            raise QueueClosedError

    def probe(self) -> Call[None]:
        """Gives the call that checks whether the server permits what is needed."""
        return (pool_ops.probe if self.keys.kind is Kind.POOL else ops.probe)(self.keys)
