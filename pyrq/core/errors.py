"""Every error of the library. The docstring of a class is its default message, so the two cannot part.

Three kinds, by what is known of the call:

- `OutcomeUnknown`: the request was sent and no answer came. It took effect once or not at all.
- `NotEnoughSyncedSlavesError`: it took effect; too few replicas (or disks) confirmed it in time.
- All others: it did not take effect.

A call that goes out in chunks may have done a part before it failed: `done`, `unknown` and `remaining` of the error
say how many items. No message ever quotes an item or a password.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = [
    "AsyncNotEnoughSyncedSlavesError",
    "AuthenticationError",
    "EmbeddedServerError",
    "InvalidItemError",
    "MissingExtraError",
    "NotEnoughReplicasError",
    "NotEnoughSyncedSlavesError",
    "OutcomeUnknown",
    "PermissionDeniedError",
    "QueueClosedError",
    "QueueFull",
    "ReadOnlyReplicaError",
    "RqError",
    "ServerBusyError",
    "ServerConfigError",
    "ServerFullError",
    "ServerGoneError",
    "ServerRefusedError",
    "ServerTooOldError",
    "WrongTypeError",
]


class RqError(Exception):
    """Something went wrong with a queue.

    Attributes:
        done: how many items of the failed call took effect before it failed.
        unknown: how many items were sent without an answer: all of them took effect, or none.
        remaining: how many items were not tried, or None where the caller's iterable does not tell its length.
    """

    done: int = 0
    unknown: int = 0
    remaining: int | None = 0

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self._default_message())

    @classmethod
    def _default_message(cls) -> str:
        lines = (cls.__doc__ or cls.__name__).split("\n\n")[0].split()
        return " ".join(lines)

    @property
    def added(self) -> int:
        """How many items were added before the call failed: `done`, by the name that fits `add_items`."""
        return self.done

    def __str__(self) -> str:
        text = super().__str__()
        if not (self.done or self.unknown or self.remaining):
            return text
        left = "an unknown number" if self.remaining is None else str(self.remaining)
        return f"{text} (items done: {self.done}, unknown: {self.unknown}, not tried: {left})"


class OutcomeUnknown(RqError):
    """The request was sent, but no answer came in time: it took effect once or not at all. Do not simply repeat an add;
    look at the queue, or let the work be idempotent.
    """

    @classmethod
    def after(cls, error: Exception) -> OutcomeUnknown:
        """Gives the error for a call that may have run although something failed: that something is its cause."""
        unknown = cls()
        unknown.__cause__ = error
        return unknown


class NotEnoughSyncedSlavesError(RqError):
    """The items are written, but too few replicas or disks confirmed them in time. Do not add them again: call
    confirm() to ask again.

    Attributes:
        confirmed: how many replicas confirmed.
        wanted: how many were asked for.
    """

    def __init__(self, message: str = "", confirmed: int = 0, wanted: int = 0) -> None:
        super().__init__(message)
        self.confirmed = confirmed
        self.wanted = wanted
        self._results: list[Any] = []
        self._confirm: Callable[[], None] | None = None
        self._confirm_earlier: NotEnoughSyncedSlavesError | None = None

    def __reduce__(self) -> tuple[object, ...]:
        # Who can be asked does not cross a process border; what is known does.
        known = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return NotEnoughSyncedSlavesError, (*self.args, self.confirmed, self.wanted), {**known, "_confirm": None}

    def confirm(self) -> None:
        """Asks again whether the items are confirmed, and comes back when they are. Adds nothing.

        Raises:
            NotEnoughSyncedSlavesError: still too few.
            OutcomeUnknown: the server no longer knows of the call (a failover lost it, or its record expired).
        """
        if self._confirm is None:
            raise OutcomeUnknown
        try:
            self._confirm()
        except NotEnoughSyncedSlavesError as later:
            later._confirm_earlier = self  # while this one lives, the call's record stays
            raise


class AsyncNotEnoughSyncedSlavesError(NotEnoughSyncedSlavesError):
    """The items are written, but too few replicas or disks confirmed them in time. Do not add them again: await
    confirm() to ask again.
    """

    def __init__(self, short: NotEnoughSyncedSlavesError, confirm: Callable[[], Awaitable[None]]) -> None:
        super().__init__(short.args[0], short.confirmed, short.wanted)
        self.done = short.done
        self._results = short._results
        self._confirm_async = confirm

    # An exception class can't be generic, and code that catches the base must catch this one too.
    async def confirm(self) -> None:  # type: ignore[override]
        """Asks again whether the items are confirmed, and comes back when they are. Adds nothing.

        Raises:
            NotEnoughSyncedSlavesError: still too few.
            OutcomeUnknown: the server no longer knows of the call (a failover lost it, or its record expired).
        """
        try:
            await self._confirm_async()
        except NotEnoughSyncedSlavesError as later:
            later._confirm_earlier = self  # while this one lives, the call's record stays
            raise


class ServerGoneError(RqError):
    """The server can't be reached: nothing was sent. Check the address, and that the server runs."""


class AuthenticationError(RqError):
    """The server refused the user name or the password. Check the credentials of the client or URL."""


class PermissionDeniedError(RqError):
    """The server's access rules (ACL) do not allow what a queue needs. Grant the named commands, and the keys
    `NAME`, `NAME-*` and `NAME/*`, to this user.
    """


class ServerFullError(RqError):
    """The server's memory is full (maxmemory), so nothing was added. Take items out or give it more memory: get, ack,
    reject and sweep still work.
    """


class QueueFull(RqError):
    """The queue is full: more items would wait than its max_size allows, so these were not added. Add fewer, or wait
    until consumers have taken some.
    """


class ServerTooOldError(RqError):
    """The server is too old. py-rq needs Redis 6.2 or newer, or Valkey 7.2 or newer."""


class ReadOnlyReplicaError(RqError):
    """The server is a read-only replica. Connect to the primary, or through Sentinel."""


class ServerBusyError(RqError):
    """The server is not ready (a long script, loading, or a failover) and did not become so in time. Try later."""


class ServerConfigError(RqError):
    """The server's configuration does not allow this now (disk errors, or no append-only file for Fsync). Look at the
    server's log and its `appendonly` and `save` settings.
    """


class NotEnoughReplicasError(RqError):
    """The server refuses writes because too few replicas are connected (min-replicas-to-write). Nothing was written.
    Bring the replicas back.
    """


class ServerRefusedError(RqError):
    """The server refused the call for a reason that py-rq does not know."""


class WrongTypeError(RqError):
    """A key of this queue or pool holds another type of value, so something else uses the name. Choose another name, or
    remove the key. Nothing was changed.
    """


class QueueClosedError(RqError):
    """The queue or pool object is closed. Make a new one."""


class InvalidItemError(RqError, TypeError, ValueError):
    """An item can't be stored. None is no item, text must be encodable as UTF-8, the codec must accept the value."""


class EmbeddedServerError(RqError):
    """The embedded server could not be started. Look at `server.log` in its directory."""


class MissingExtraError(RqError, ImportError):
    """An optional part of py-rq is not installed."""
