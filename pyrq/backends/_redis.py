"""What the two redis-py backends share: reading its pools, and turning its errors into ours. No I/O.

Both speak on a connection taken from the client's pool (pack, send, read with decoding off), so there is one connection
per pipeline, bytes throughout, and no resending but ours. Tools that patch `execute_command` see nothing of this.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Sequence
from typing import Any, cast
from weakref import WeakKeyDictionary

import redis
from redis import asyncio as redis_asyncio
from redis import exceptions

from pyrq.core.errors import (
    NotEnoughSyncedSlavesError,
    PermissionDeniedError,
    QueueFull,
    ServerFullError,
    ServerGoneError,
    WrongTypeError,
)
from pyrq.core.retry import Unreached
from pyrq.core.wire import NeedsSource, Refusal, failure_of

__all__ = [
    "KEEPING",
    "LOST",
    "MOMENT",
    "POOL_ARGS",
    "REFUSED",
    "UNREADABLE",
    "LostMoves",
    "forget_idle",
    "gone",
    "is_quiet",
    "kept",
    "kept_at_most",
    "misconnected",
    "moves_on",
    "packed",
    "pool_size",
    "refusal",
    "refused",
    "reply_timeout",
    "unreached",
]

LOST = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    OSError,
    TimeoutError,
    exceptions.InvalidResponse,
)
"""What redis-py raises when a connection fails; what the server answered is a ResponseError."""

UNREADABLE = (
    exceptions.InvalidResponse,
    *(TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError),
)
"""What redis-py and hiredis raise, besides, for an answer that is none (measured: a map whose key is a list, a number
of 5,000 digits, a HELLO answered with a text), and on connecting for an option that is none (an unknown `encoding`)."""

REFUSED = (exceptions.BusyLoadingError, exceptions.AuthenticationError, exceptions.AuthorizationError)
"""Error replies that redis-py takes for a failed connection."""

KEEPING = (NeedsSource, NotEnoughSyncedSlavesError, QueueFull, ServerFullError, WrongTypeError, PermissionDeniedError)
"""What leaves a connection as good as it was. After anything else it is closed: it may be in the middle of an answer,
or in front of one that was not asked for; a primary that is a replica now may be found elsewhere by a new one (a name
in DNS, a proxy, a Sentinel), and a login may have changed."""

_NO_TLS = "It does not speak TLS there: rediss:// is wrong, or the port."
_TLS_TROUBLE = {
    "CERTIFICATE_VERIFY_FAILED": "Its TLS certificate is not trusted here, or is for another host.",
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
}
"""What OpenSSL calls what went wrong. It is no secret, and not seen in what goes wrong most."""

MOMENT = 0.1
"""For so many seconds a connection that was in use, and is quiet, is lent again without asking the pool."""

_MANY = 10_000
_NOT_SMALL = 10
_MOST_JOINED = 1 << 16
"""Up to so many bytes go to the kernel in one piece; larger ones are not copied."""
_VERSION = tuple(int(part) for part in redis.__version__.split(".")[:2] if part.isdigit())
POOL_ARGS: tuple[str, ...] = ("EVALSHA",) if _VERSION < (5, 3) else ()
"""What `get_connection` wants to be told: redis-py before 5.3 asks for a command's name and does not use it."""

_CODES: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.NoScriptError, "NOSCRIPT"),
    (exceptions.ReadOnlyError, "READONLY"),
    (exceptions.BusyLoadingError, "LOADING"),
    (exceptions.NoPermissionError, "NOPERM"),
    (exceptions.OutOfMemoryError, "OOM"),
    (exceptions.AuthenticationError, "WRONGPASS"),
    (exceptions.AuthenticationWrongNumberOfArgsError, "WRONGPASS"),
    (exceptions.MasterDownError, "MASTERDOWN"),
    (exceptions.ClusterDownError, "CLUSTERDOWN"),
    (exceptions.TryAgainError, "TRYAGAIN"),
    (exceptions.MovedError, "MOVED"),
    (exceptions.AskError, "ASK"),
)
"""redis-py cuts the code off the text of those that it has a class for."""


def _find_packer() -> Callable[[tuple[bytes, ...]], bytes] | None:
    try:
        from hiredis import pack_command
    except ImportError:  # it is an extra
        return None
    pack: Callable[[tuple[bytes, ...]], bytes] = cast(Any, pack_command)  # its own type allows one argument only
    return pack


_pack = _find_packer()


def packed(connection: Any, sent: Sequence[tuple[bytes, ...]]) -> list[bytes]:
    """Writes commands in the protocol of the server.

    hiredis does it where it is installed. redis-py asks it too, but first looks at the type of every argument, which
    doubles the time of a large batch (measured: 75 to 160 us for 1,000 items); ours are bytes.
    """
    if _pack is None:
        pieces: list[bytes] = connection.pack_commands(sent)
        return pieces
    pieces = [_pack(command) for command in sent]
    # redis-py sends each piece by itself.
    return [b"".join(pieces)] if len(pieces) > 1 and sum(map(len, pieces)) <= _MOST_JOINED else pieces


def refusal(error: Exception) -> Refusal:
    """Turns what redis-py raises for an error reply back into that reply."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "")
    if code == "WRONGPASS" and "required" in str(error):
        code = "NOAUTH"
    return Refusal(f"{code} {error}".strip())


def refused(error: Exception) -> Exception:
    """Turns an error reply at which redis-py closes the connection into what is to be raised."""
    return failure_of(refusal(error))


def unreached(error: Exception) -> Exception:
    """Turns a failure to get a connection into what is to be raised."""
    # redis-py's asyncio connection over a unix socket wraps a refusal into a ConnectionError.
    for told in (error, error.__cause__):
        if isinstance(told, (*REFUSED, exceptions.ResponseError)):
            return refused(told)
    return Unreached(gone(error))


def forget_idle(pool: Any) -> Any:
    """Closes the connections of a pool that nobody uses; gives what its own `disconnect` gives.

    redis-py closes one that it could not set up, but only after errors of its own. After others, a cancellation say,
    one is in the pool that has not shown its login and not chosen its database, or is in the midst of that (measured:
    the next call ran in database 0).
    """
    try:
        return pool.disconnect(inuse_connections=False)
    except TypeError:  # a BlockingConnectionPool of redis-py before 6 closes all; who uses one sends again
        return pool.disconnect()


def misconnected(error: Exception) -> ServerGoneError:
    """Tells that connecting failed with an error that is none of redis-py's; its text may quote what was not read."""
    return gone(exceptions.InvalidResponse(f"Connecting failed with {type(error).__name__}."))


def gone(error: Exception) -> ServerGoneError:
    """Tells that the connection failed, and why."""
    why = next((why for mark, why in _TLS_TROUBLE.items() if mark in str(error)), "")
    told = ServerGoneError(f"{ServerGoneError._default_message()} {why}".strip())
    told.__cause__ = error
    return told


def kept_at_most(pool: Any, own: bool) -> int:
    """Says how many connections of a pool may be kept when they are not in use.

    Of a pool of our own all; of somebody else's one, if it is not small. None where the pool has something to do at
    each loan: it asks a Sentinel where the primary is, or logs in anew with credentials that expire.
    """
    if type(pool) not in (redis.ConnectionPool, redis_asyncio.ConnectionPool):
        return 0
    if pool.connection_kwargs.get("credential_provider") is not None:
        return 0
    if own:
        return _MANY
    return 1 if (pool_size(pool) or _MANY) >= _NOT_SMALL else 0


def is_quiet(connection: Any) -> bool:
    """Says whether nothing has come on a connection since it was used, neither an answer nor its end.

    What is sent on one that the server has closed has an unknown outcome, where a new one might have been refused. A
    connection that does not show its socket (another redis-py, a fake) is not known to be quiet; nor is one where
    sockets can't be polled (Windows).
    """
    reader, writer = getattr(connection, "_reader", None), getattr(connection, "_writer", None)
    if reader is not None and (reader.at_eof() or writer is None):
        return False
    plug = getattr(connection, "_sock", None) if writer is None else writer.get_extra_info("socket")
    if plug is None or plug.fileno() < 0 or not hasattr(select, "poll"):
        return False
    arrived = select.poll()
    arrived.register(plug.fileno(), select.POLLIN)
    return not arrived.poll(0)


_kept: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_kept.clear)  # they are the parent's


def kept(pool: Any) -> list[Any]:
    """Gives the connections of a pool that are kept, the last used at the end. All its backends share them."""
    return _kept.setdefault(pool, [])


def reply_timeout(pool: Any) -> float | None:
    """Gives a pool's socket timeout in seconds, None for none."""
    kwargs = pool.connection_kwargs
    if "socket_timeout" in kwargs:
        timeout: float | None = kwargs["socket_timeout"]
        return timeout
    return getattr(pool.connection_class(**_harmless(kwargs)), "socket_timeout", None)


def _harmless(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Leaves out what makes building a connection, only to read its defaults, have effects of its own."""
    return {
        name: value for name, value in kwargs.items() if not name.startswith(("event_dispatcher", "maint_", "oss_"))
    }


class LostMoves:
    """Blocking moves whose answer was lost: the server may still do them, until it has noticed that nobody waits.

    Each goes by the number of its connection, as far as that is known. A server that was started anew gives the same
    numbers to others, so a number is only kept where the client itself gave up, and while the server answers.
    """

    _FORGOTTEN_AFTER = 10.0
    """No move lasts longer, so many seconds after it was lost."""

    def __init__(self) -> None:
        self._until: dict[tuple[int, object], float] = {}

    def add(self, connection: object, now: float) -> None:
        """Adds one.

        Args:
            connection: the number of its connection; anything else if that is not known.
            now: the monotonic clock, in seconds.
        """
        self._until = {key: until for key, until in self._until.items() if until > now}
        self._until[os.getpid(), connection] = now + self._FORGOTTEN_AFTER

    def known(self, now: float) -> list[int]:
        """Gives the connections that can be asked to be closed."""
        return [own for own in self._open(now) if isinstance(own, int)]

    def settle(self, connection: int) -> None:
        """Forgets one: its connection is closed."""
        self._until.pop((os.getpid(), connection), None)

    def doubt(self) -> None:
        """Forgets the numbers: the server did not answer, so perhaps it is another one now."""
        self._until = {(process, None): until for (process, _), until in self._until.items()}

    def settled(self, now: float) -> bool:
        """Says whether there is none."""
        return not self._open(now)

    def _open(self, now: float) -> list[object]:
        return [own for (process, own), until in list(self._until.items()) if process == os.getpid() and until > now]


_moves: WeakKeyDictionary[Any, set[object]] = WeakKeyDictionary()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_moves.clear)  # they are the parent's


def moves_on(pool: Any) -> set[object]:
    """Gives the blocking moves that are under way on a pool, of all backends that share it."""
    return _moves.setdefault(pool, set())


def pool_size(pool: Any) -> int | None:
    """Gives how many connections a pool allows, None for about any number."""
    size = getattr(pool, "max_connections", None)
    return size if isinstance(size, int) and 0 < size < _MANY else None
