"""A facade object's share of the work that is the same in both worlds: options, names, and who it is. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pyrq.core.codec import Codec, TextCodec
from pyrq.core.errors import QueueClosedError
from pyrq.core.keys import Keys, check_label, check_name
from pyrq.core.options import Durability, durability_of
from pyrq.core.session import Session

__all__ = ["Member", "Setup"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Setup(Generic[T]):
    """The options of a queue object, checked. Not to be built directly: `Setup.of` checks.

    Attributes:
        name: the queue's name.
        codec: between values and bytes.
        label: what is shown of the client id; None for host and process.
        durability: what each mutation waits for, or None.
    """

    name: str
    codec: Codec[T]
    label: str | None
    durability: Durability | None

    @classmethod
    def of(
        cls,
        name: object,
        codec: Codec[Any] | None,
        label: str | None,
        durability: Durability | None,
        synced_slaves: tuple[bool, int, int],
    ) -> Setup[Any]:
        """Checks the options.

        Args:
            name: the queue's name.
            codec: a codec, or None for text.
            label: what is shown of the client id, or None.
            durability: what each mutation waits for, or None.
            synced_slaves: the older spelling of it: enabled, count, timeout in milliseconds.

        Returns:
            The options.

        Raises:
            TypeError: an option is of the wrong type.
            ValueError: an option is out of range.
        """
        if codec is not None and (
            isinstance(codec, type)
            or not (callable(getattr(codec, "encode", None)) and callable(getattr(codec, "decode", None)))
        ):
            raise TypeError(f"codec must have encode and decode methods, not be {type(codec).__name__}")
        text: Codec[Any] = TextCodec()
        return cls(
            name=check_name("name", name),
            codec=text if codec is None else codec,
            label=None if label is None else check_label("client_id", label),
            durability=durability_of(durability, *synced_slaves),
        )


class Member:
    """Who a facade object is: its keys and its session. A fork, a copy and an unpickling make a new one."""

    def __init__(self, name: str, client_id: str, ttl: int, doubts: int) -> None:
        """Makes a member of a queue.

        Args:
            name: the queue's name, checked.
            client_id: a label and a part that no other member has.
            ttl: how long the server is to remember its calls, in seconds.
            doubts: the backend's doubts at this time.
        """
        self.keys = Keys.of(name, client_id)
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
