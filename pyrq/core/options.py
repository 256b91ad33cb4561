"""Options as frozen values that can't be built invalid, and the checks that all public arguments share.

Every error names the argument and what is allowed, and is raised before anything is sent.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from numbers import Real

__all__ = [
    "DEFAULT_DEADLINE",
    "MAX_DEADLINE",
    "Durability",
    "Fsync",
    "Replicas",
    "check_count",
    "check_deadline",
    "check_gather",
    "check_lease",
    "check_number",
    "check_seconds",
    "check_whole_seconds",
    "check_wait_fits",
    "durability_of",
]

DEFAULT_DEADLINE = 30.0
MAX_DEADLINE = 3_600.0
DEFAULT_WAIT_MS = 100
_MAX_REPLICAS = 1_000
_MAX_WAIT_MS = 3_600_000
_LARGE = 1e300
_WAIT_MARGIN_MS = 100
"""WAIT answers up to 81 ms late (measured: 300 ms took 305 to 381), and must answer before the socket times out."""


def check_count(argument: str, value: object, *, least: int = 0, most: int | None = None) -> int:
    """Checks a whole number.

    Args:
        argument: how the caller's parameter is called, for the error.
        value: an int, or what converts to one without loss; not a bool.
        least: the smallest value allowed.
        most: the largest value allowed; None for no limit.

    Returns:
        The number.

    Raises:
        TypeError: not a whole number.
        ValueError: out of range.
    """
    span = f"a whole number, {least} or more" if most is None else f"a whole number from {least} to {most}"
    if isinstance(value, bool):
        raise TypeError(f"{argument} must be {span}, not bool")
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # this is the test whether it is one
    except TypeError:
        raise TypeError(f"{argument} must be {span}, not {type(value).__name__}") from None
    if number < least or (most is not None and number > most):
        raise ValueError(f"{argument} must be {span}, not {_shown(number)}")
    return number


def _shown(number: Real | float) -> str:
    """Gives a number as text; Python refuses to for one of more than 4,300 digits."""
    return f"{number}" if isinstance(number, float) or abs(_float(number)) < _LARGE else "one so large"


def check_seconds(argument: str, value: object, *, most: float = 1e9, unit: str = "seconds") -> float:
    """Checks a length of time.

    Args:
        argument: how the caller's parameter is called, for the error.
        value: an int, float or the like; not a bool, not nan.
        most: the largest value allowed.
        unit: in what it is measured, for the error.

    Returns:
        The length as float.

    Raises:
        TypeError: not a number.
        ValueError: out of range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, Real)):  # the first two are found sooner
        raise TypeError(f"{argument} must be {unit}, from 0 to {most:g}, not {type(value).__name__}")
    if not 0 <= (number := _float(value)) <= most:
        raise ValueError(f"{argument} must be {unit}, from 0 to {most:g}, not {_shown(value)}")
    return number


def check_number(argument: str, value: object, *, least: float, most: float) -> float:
    """Checks a number in a range.

    Args:
        argument: how the caller's parameter is called, for the error.
        value: an int, a float, or what converts to one; not a bool.
        least: the smallest value allowed.
        most: the largest value allowed.

    Returns:
        The number.

    Raises:
        TypeError: not a number.
        ValueError: out of range, or not finite.
    """
    span = f"a number from {least:g} to {most:g}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{argument} must be {span}, not {type(value).__name__}")
    number = _float(value)
    if not math.isfinite(number) or not least <= number <= most:
        raise ValueError(f"{argument} must be {span}, not {number:g}")
    return number


def check_lease(value: object) -> float:
    """Checks a lease.

    Args:
        value: seconds.

    Returns:
        The seconds.

    Raises:
        TypeError: not a number.
        ValueError: out of range.
    """
    return check_number("lease", value, least=0.1, most=1e6)


def _float(value: Real | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def check_whole_seconds(argument: str, value: object) -> int:
    """Checks a length of time that has no fraction.

    Args:
        argument: how the caller's parameter is called, for the error.
        value: an int, or a float without a fraction; not a bool.

    Returns:
        The seconds.

    Raises:
        TypeError: not a number.
        ValueError: out of range, or not whole.
    """
    seconds = check_seconds(argument, value)
    if not seconds.is_integer():
        raise ValueError(f"{argument} must be whole seconds, not {value}")
    return int(seconds)


def check_deadline(retry: object) -> float:
    """Checks the option `retry`.

    Args:
        retry: for how many seconds a call is retried, 0 to 3,600; None for the default of 30.

    Returns:
        The deadline in seconds.

    Raises:
        TypeError: not a number.
        ValueError: out of range.
    """
    return DEFAULT_DEADLINE if retry is None else check_seconds("retry", retry, most=MAX_DEADLINE)


def check_gather(gather: object) -> None:
    """Checks the option `gather`.

    Args:
        gather: whether concurrent calls go out together; None for the default.

    Raises:
        TypeError: not True, False or None.
    """
    if not isinstance(gather, bool | None):
        raise TypeError(f"gather must be True, False or None, not {type(gather).__name__}")


_set = object.__setattr__
"""Keeps what a frozen option was made of as the plain number that it is."""


@dataclass(frozen=True, slots=True)
class Replicas:
    """Each mutation waits until replicas have it (https://redis.io/commands/wait).

    Replication stays asynchronous: a confirmed item is in the memory of that many replicas, which makes its loss in a
    failover unlikely, not impossible.

    Attributes:
        count: how many replicas, 1 to 1,000.
        timeout_ms: how long to wait for them, in milliseconds, from 1; at least 100 below the socket timeout.

    Raises:
        TypeError: not a whole number.
        ValueError: out of range.
    """

    count: int
    timeout_ms: int = DEFAULT_WAIT_MS

    def __post_init__(self) -> None:
        _set(self, "count", check_count("count", self.count, least=1, most=_MAX_REPLICAS))
        _set(self, "timeout_ms", check_count("timeout_ms", self.timeout_ms, least=1, most=_MAX_WAIT_MS))


@dataclass(frozen=True, slots=True)
class Fsync:
    """Each mutation waits until it is synced to append-only files (https://redis.io/commands/waitaof).

    Needs Redis 7.2 or Valkey, and `appendonly yes`. Only `appendfsync always` makes it hold through a power loss: with
    `everysec`, Valkey up to 9.1.2 and Redis 7.4.0 to 7.4.2 acknowledge before the fsync (measured; redis#13793).

    Attributes:
        local: 1 to wait for the server's own file, 0 not to.
        replicas: for how many replicas' files to wait, 0 to 1,000.
        timeout_ms: how long to wait, in milliseconds, from 1; at least 100 below the socket timeout.

    Raises:
        TypeError: not a whole number.
        ValueError: out of range, or neither local nor replicas asked for.
    """

    local: int = 1
    replicas: int = 0
    timeout_ms: int = DEFAULT_WAIT_MS

    def __post_init__(self) -> None:
        _set(self, "local", check_count("local", self.local, most=1))
        _set(self, "replicas", check_count("replicas", self.replicas, most=_MAX_REPLICAS))
        _set(self, "timeout_ms", check_count("timeout_ms", self.timeout_ms, least=1, most=_MAX_WAIT_MS))
        if not self.local and not self.replicas:
            raise ValueError("local or replicas must be at least 1")


Durability = Replicas | Fsync


def durability_of(
    durability: Durability | None,
    synced_slaves_enabled: bool,
    synced_slaves_count: int,
    synced_slaves_timeout: int,
) -> Durability | None:
    """Makes one value of the option `durability` and its older spelling.

    Args:
        durability: what to wait for, or None.
        synced_slaves_enabled: whether to wait for replicas.
        synced_slaves_count: for how many, from 1.
        synced_slaves_timeout: how long, in milliseconds.

    Returns:
        What to wait for, or None.

    Raises:
        TypeError: an argument is of the wrong type.
        ValueError: an argument is out of range, or both spellings are used.
    """
    if durability is not None and not isinstance(durability, Replicas | Fsync):
        raise TypeError(f"durability must be Replicas, Fsync or None, not {type(durability).__name__}")
    if not isinstance(synced_slaves_enabled, bool):
        raise TypeError(f"synced_slaves_enabled must be True or False, not {type(synced_slaves_enabled).__name__}")
    if not synced_slaves_enabled:
        return durability
    if durability is not None:
        raise ValueError("durability and synced_slaves_enabled say the same thing; use one of them")
    check_count("synced_slaves_count", synced_slaves_count, least=1, most=_MAX_REPLICAS)
    check_count("synced_slaves_timeout", synced_slaves_timeout, least=1, most=_MAX_WAIT_MS)
    return Replicas(synced_slaves_count, synced_slaves_timeout)


def check_wait_fits(durability: Durability | None, reply_timeout: float | None) -> None:
    """Checks that the server answers a wait before the client gives up on the answer.

    Args:
        durability: what is waited for, or None.
        reply_timeout: how long the client waits for an answer, in seconds; None for ever.

    Raises:
        ValueError: the wait is too long for the client's socket timeout.
    """
    if durability is None or reply_timeout is None:
        return
    most = int(reply_timeout * 1000) - _WAIT_MARGIN_MS
    if durability.timeout_ms > most:
        raise ValueError(
            f"timeout_ms (synced_slaves_timeout) must be from 1 to {most}, {_WAIT_MARGIN_MS} ms below the client's "
            f"socket timeout of {reply_timeout:g} s, not {durability.timeout_ms}"
        )
