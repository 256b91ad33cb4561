"""What a consumer decides, in both worlds: its options, what it has in hand, when it stops, which failures pass. Pure.

Nothing here is locked. What threads share is changed by single operations on a dict or a set.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from pyrq.core import errors, ops, replies
from pyrq.core.call import Call
from pyrq.core.keys import Keys
from pyrq.core.limits import Limits
from pyrq.core.options import check_count, check_lease, check_seconds
from pyrq.core.session import Held, Identity
from pyrq.core.verdicts import Backoff, Fate, Verdict

__all__ = [
    "ENDLESS",
    "LOOK_EVERY",
    "OLD_TIMEOUT",
    "TROUBLE_PAUSE",
    "ConsumerEvent",
    "ConsumerSetup",
    "EventKind",
    "Flag",
    "Hands",
    "Job",
    "Lease",
    "Stop",
    "Totals",
    "acknowledging",
    "check_callback",
    "check_handler",
    "check_stop",
    "current_lease",
    "is_asynchronous",
    "passes",
    "settling",
]

T = TypeVar("T")

DEFAULT_DELIVERIES = 20
"""With the default backoff: about an hour."""
MOST_CONCURRENCY = 1000
MOST_PREFETCH = 10_000
OLD_TIMEOUT = 7200.0
"""After so many seconds of silence a consumer without a lease is swept: one of an older library, or of plain gets."""

ENDLESS = 1e9
"""For how many seconds a consumer waits for an item: until it is stopped."""
LOOK_EVERY = 0.2
"""Every how many seconds a consumer of threads looks at the caller's stop event."""
TROUBLE_PAUSE = 1.0
"""For how many seconds a consumer pauses after a failure that passes."""

_BEATS_PER_LEASE = 3
_PASSING = (
    errors.ServerGoneError,
    errors.OutcomeUnknown,
    errors.ServerBusyError,
    errors.ServerFullError,
    errors.ServerConfigError,
    errors.ReadOnlyReplicaError,
    errors.NotEnoughReplicasError,
    errors.NotEnoughSyncedSlavesError,
)


@dataclass(frozen=True, slots=True)
class ConsumerSetup:
    """The options of a consumer, checked.

    Attributes:
        batch: how many items are taken per round trip.
        concurrency: how many handlers run at a time.
        lease: after how many seconds of silence what it holds is given back.
        limits: the queue's bounds, with this consumer's max_deliveries.
        backoff: how long to put off what failed.
        grace: for how many seconds handlers may go on after a stop.
        prefetch: how many items are taken ahead of the handlers.
    """

    batch: int
    concurrency: int
    lease: float
    limits: Limits
    backoff: Backoff
    grace: float
    prefetch: int = 0

    @classmethod
    def of(
        cls,
        limits: Limits,
        batch: object,
        concurrency: object,
        lease: object,
        max_deliveries: object,
        backoff: object,
        grace: object,
        prefetch: object = 0,
    ) -> ConsumerSetup:
        """Checks the options of a consumer.

        Args:
            limits: the queue's bounds.
            batch: how many items are taken per round trip, 1 to 1,000.
            concurrency: how many handlers run at a time, 1 to 1,000.
            lease: seconds, from 0.1.
            max_deliveries: from 1, or None for the queue's, and that None for 20.
            backoff: a Backoff.
            grace: seconds, from 0.
            prefetch: how many items are taken ahead of the handlers, 0 to 10,000.

        Returns:
            The options.

        Raises:
            TypeError: an option is of the wrong type.
            ValueError: an option is out of range.
        """
        if not isinstance(backoff, Backoff):
            raise TypeError(f"backoff must be a Backoff, such as Backoff(first=1, most=300), not {_kind(backoff)}")
        most = limits.max_deliveries or DEFAULT_DELIVERIES
        if max_deliveries is not None:
            most = check_count("max_deliveries", max_deliveries, least=1)
        return cls(
            batch=check_count("batch", batch, least=1, most=ops.CHUNK),
            concurrency=check_count("concurrency", concurrency, least=1, most=MOST_CONCURRENCY),
            lease=check_lease(lease),
            limits=Limits(most, limits.max_size, limits.dead_max),
            backoff=backoff,
            grace=check_seconds("grace", grace),
            prefetch=check_count("prefetch", prefetch, most=MOST_PREFETCH),
        )

    @property
    def beat_every(self) -> float:
        """Every how many seconds the lease is renewed while something is in hand."""
        return self.lease / _BEATS_PER_LEASE


def is_asynchronous(function: object) -> bool:
    """Says whether a function, or what is called like one, gives something to be awaited."""
    call = getattr(type(function), "__call__", None)  # noqa: B004 - what calling it gives, not whether it can be
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def check_handler(handler: object, *, may_be_asynchronous: bool) -> None:
    """Checks a handler.

    Args:
        handler: what is to be called with an item, or a list of them.
        may_be_asynchronous: whether there is an event loop for it.

    Raises:
        TypeError: it can't be called, or would have to be awaited where nobody does.
    """
    if not callable(handler):
        raise TypeError(f"handler must be a function of an item, not {_kind(handler)}")
    if is_asynchronous(handler) and not may_be_asynchronous:
        raise TypeError("handler must be a plain function here; pyrq.aio has queues for coroutine functions")


def check_stop(stop: object, *, asynchronous: bool) -> None:
    """Checks a stop event.

    Args:
        stop: the event, or None.
        asynchronous: whether it must be one of asyncio.

    Raises:
        TypeError: it is none of the right kind.
    """
    wait = getattr(stop, "wait", None)
    fine = callable(wait) and callable(getattr(stop, "is_set", None)) and not isinstance(stop, type)
    fine = fine and is_asynchronous(wait) is asynchronous
    if stop is not None and not fine:
        wanted = "asyncio.Event" if asynchronous else "threading.Event"
        raise TypeError(f"stop must be {'an' if asynchronous else 'a'} {wanted} or None, not {_kind(stop)}")


def check_callback(on_event: object) -> None:
    """Checks a callback for events.

    Args:
        on_event: a plain function of one argument, or None.

    Raises:
        TypeError: it is neither.
    """
    if on_event is not None and (not callable(on_event) or is_asynchronous(on_event)):
        raise TypeError(f"on_event must be a plain function of a ConsumerEvent, or None, not {_kind(on_event)}")


def _kind(value: object) -> str:
    return value.__name__ if isinstance(value, type) else type(value).__name__


def passes(error: Exception) -> bool:
    """Says whether a failure is one that passes, so that a consumer goes on; any other ends it."""
    return isinstance(error, _PASSING)


# What happened


class EventKind(StrEnum):
    """What a consumer reports to its callback, each with how many items."""

    TAKEN = "taken"
    ACKED = "acked"
    RETRIED = "retried"
    BURIED = "buried"
    DROPPED = "dropped"
    LOST = "lost"
    """They were given back by somebody else while they were in hand: the lease was lost."""
    SWEPT = "swept"
    """They came back from consumers that fell silent."""
    RETURNED = "returned"
    """They were in hand at the end, and went back."""


@dataclass(frozen=True, slots=True)
class ConsumerEvent:
    """Something that happened in a consumer. It holds no item.

    Attributes:
        kind: what.
        count: to how many items.
    """

    kind: EventKind
    count: int


@dataclass(slots=True)
class Totals:
    """What a consumer has done: how many items, by what happened to them. See `EventKind`."""

    taken: int = 0
    acked: int = 0
    retried: int = 0
    buried: int = 0
    dropped: int = 0
    lost: int = 0
    swept: int = 0
    returned: int = 0

    def __str__(self) -> str:
        told = (f"{getattr(self, one.name)} {one.name}" for one in fields(self) if getattr(self, one.name))
        return ", ".join(told) or "nothing"

    def count(self, event: ConsumerEvent) -> None:
        """Adds what happened. To be called by one thread at a time."""
        setattr(self, event.kind, getattr(self, event.kind) + event.count)


# What is in hand


class Flag(Protocol):
    """What `threading.Event` is, as far as a lease uses it."""

    def is_set(self) -> bool:
        """Whether it is set."""
        ...

    def set(self) -> None:
        """Sets it."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until it is set."""
        ...


class Lease:
    """The right of a running handler to its items: it ends if the consumer was silent for too long.

    A handler asks for it with `current_lease()`.
    """

    def __init__(self, flag: Flag) -> None:
        self._flag = flag

    @property
    def lost(self) -> bool:
        """Whether the items were given to another consumer: stop, nothing that is done with them counts any more."""
        return self._flag.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the lease is lost: a handler that sleeps should sleep so.

        Args:
            timeout: for how many seconds at the most; None for ever.

        Returns:
            Whether it is lost.
        """
        return self._flag.wait(timeout)

    def lose(self) -> None:
        """Marks it as lost; for the consumer."""
        self._flag.set()


_current: ContextVar[Lease] = ContextVar("pyrq_lease")


def current_lease() -> Lease:
    """Gives the lease of the handler that calls this.

    Returns:
        Its lease.

    Raises:
        RuntimeError: not called by a handler.
    """
    lease = _current.get(None)
    if lease is None:
        raise RuntimeError("current_lease() must be called by a handler of a consumer, while it runs")
    return lease


@dataclass(eq=False, slots=True)
class Job(Generic[T]):
    """What one call of a handler is about.

    Attributes:
        items: what the handler gets, or the one item that it gets.
        raw: their bytes.
        tenure: to which tenure of the consumer they belong.
        lease: whether they are still its own.
        end: how to end its handler from outside, where that is possible.
        done: whether the handler has ended, so that a lost lease is no news for it.
    """

    items: list[T]
    raw: list[bytes]
    tenure: int
    lease: Lease
    end: Callable[[], object] | None = None
    done: bool = False

    def enter(self) -> None:
        """Makes its lease the current one of this thread or task."""
        _current.set(self.lease)


@dataclass(slots=True)
class Hands(Generic[T]):
    """What a consumer has in hand: jobs that wait for a handler, or have one."""

    _jobs: dict[int, Job[T]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._jobs)

    def take(self, jobs: Sequence[Job[T]]) -> None:
        """Takes jobs in hand."""
        for job in jobs:
            self._jobs[id(job)] = job

    def let_go(self, job: Job[T]) -> None:
        """Lets go of a job."""
        self._jobs.pop(id(job), None)

    def jobs(self) -> list[Job[T]]:
        """Gives what is in hand now."""
        return list(self._jobs.values())

    def lose(self, jobs: Sequence[Job[T]], tenure: int) -> int:
        """Marks jobs as lost that are not of the tenure that goes on.

        Args:
            jobs: what was in hand when it was asked about; what was taken since may be of a later tenure.
            tenure: that tenure; 0 for none.

        Returns:
            How many items that is news for.
        """
        lost = 0
        for job in jobs:
            if job.tenure != tenure and not job.done and not job.lease.lost:
                job.lease.lose()
                lost += len(job.raw)
                if job.end is not None:
                    job.end()
        return lost


def settling(
    job: Job[Any], verdict: Verdict, limits: Limits, keys: Keys, identity: Identity, held: Held
) -> Call[tuple[int, int]]:
    """Builds the call that carries out a verdict; gives how many were held, and how many were put off but buried."""
    own = Held(held.received, held.kept, job.tenure)
    if verdict.fate is Fate.RETRY:
        return ops.retry(keys, identity, own, job.raw, verdict.reason, verdict.waits, limits)
    if verdict.fate is Fate.BURY:
        call = ops.bury(keys, identity, own, job.raw, verdict.reason, limits)
    else:
        call = ops.ack(keys, identity, own, job.raw)
    return Call(call.script, call.keys, call.args, replies.number_and_none)


def acknowledging(job: Job[Any], proof: Held, keys: Keys, identity: Identity) -> Call[tuple[int, int]]:
    """Builds the call that acknowledges a job without its items; gives how many were held (-1: not proved), and 0.

    Args:
        job: what is acknowledged.
        proof: as `Inbox.prove` gave it.
        keys: the queue's keys.
        identity: which call this is.
    """
    own = Held(proof.received, proof.kept, job.tenure)
    call = ops.ack_all(keys, identity, own, len(job.raw))
    return Call(call.script, call.keys, call.args, replies.number_and_none)


# The end


class Stop:
    """How a consumer stops: asked once, it lets handlers finish for a while; asked twice, not."""

    def __init__(self, grace: float) -> None:
        """Is not asked yet.

        Args:
            grace: for how many seconds handlers may go on.
        """
        self._grace = grace
        self._asked = 0
        self._until = 0.0

    def ask(self, now: float) -> None:
        """Asks to stop.

        Args:
            now: the caller's monotonic clock, in seconds.
        """
        self._asked += 1
        self._until = now + self._grace

    @property
    def asked(self) -> bool:
        """Whether it was asked."""
        return self._asked > 0

    def left(self, now: float) -> float:
        """Gives for how many seconds handlers may go on.

        Args:
            now: the caller's monotonic clock.

        Returns:
            Seconds; 0 if not any more.
        """
        return 0.0 if self._asked > 1 else max(0.0, self._until - now)
