"""What is done on one queue or pool, the books about it, and objects of both worlds that look the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pyrq
import pyrq.aio
from tests.faults.campaign import Trial
from tests.faults.ledger import Account

__all__ = ["Books", "Plain", "Traffic", "finish", "open_object"]


@dataclass(frozen=True)
class Traffic:
    """What is done on one queue or pool.

    Attributes:
        name: of the queue or pool.
        kind: its class.
        steps: what its callers do: method names of the caller, and how often among each other.
        retries: with what retry deadlines its objects are made; None is the default, with which no call fails.
        waits: for how long gets wait.
        cancels: which part of the calls of tasks are cancelled.
        singles: which part of the items is there once each. An unknown outcome of such a one excuses no other.
        backlog: nothing is added while so many wait or are held. A small one lets gets find nothing.
        is_swept: whether items are given back from those that hold them, so that an ack may count less.
        has_consumers: whether consumers take its items.
    """

    name: str
    kind: str
    steps: Mapping[str, int]
    retries: Sequence[float | None] = (None,)
    waits: Sequence[float | None] = (None,)
    cancels: float = 0.0
    singles: float = 0.1
    backlog: int = 400
    is_swept: bool = False
    has_consumers: bool = False

    @property
    def is_certain(self) -> bool:
        """Whether every call is answered."""
        return tuple(self.retries) == (None,) and not self.cancels

    @property
    def is_tidy(self) -> bool:
        """Whether nothing is held by an object that was closed. What a late blocking move brings must be swept."""
        return self.is_certain and tuple(self.waits) == (None,) and not self.has_consumers


@dataclass
class Books:
    """What callers of one queue or pool have in common.

    Attributes:
        trial: is told of what is wrong.
        traffic: what they do.
        account: of the items.
        out: how many have come out, roughly.
        swept: how many were given back from those that hold them.
        cancelled: how many calls were.
    """

    trial: Trial
    traffic: Traffic
    account: Account = field(default_factory=Account)
    out: int = 0
    swept: int = 0
    cancelled: int = 0

    @property
    def may_add(self) -> bool:
        return self.account.accepted - self.out < self.traffic.backlog

    def added(self, items: Sequence[str]) -> None:
        self.account.added(items)

    def perhaps_added(self, items: Sequence[str]) -> None:
        self.account.perhaps_added(items)
        self.trial.count("unknown", len(items))

    def acked(self, items: Sequence[str]) -> None:
        self.account.acked(items)
        self.out += len(items)

    def perhaps_acked(self, items: Sequence[str]) -> None:
        self.account.perhaps_acked(items)
        self.out += len(items)
        self.trial.count("unknown", len(items))


# Objects


class Plain:
    """An object of the sync world whose methods are awaited: they are done by then."""

    def __init__(self, plain: Any) -> None:
        self._plain = plain

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._plain, name)

        async def call(*args: Any) -> Any:
            return found(*args)

        return call

    def __iter__(self) -> Iterator[str]:
        return iter(self._plain)

    def batch(self, count: int, timeout: float | None) -> Any:
        return _plain_block(self._plain.batch(count, timeout))


@asynccontextmanager
async def _plain_block(manager: AbstractContextManager[Any]) -> AsyncIterator[Plain]:
    with manager as batch:
        yield Plain(batch)


def finish(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine to its end that never waits, only blocks."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise AssertionError("it waits for something")


def open_object(kind: str, name: str, target: Any, options: Mapping[str, Any], *, is_aio: bool) -> Any:
    """Makes an object of a class; a sync one as `Plain`."""
    if kind == "Pool":
        # Lost batches are to be due again soon, and what is acknowledged is, too.
        make = pyrq.aio.Pool if is_aio else pyrq.Pool
        pool: Any = make(name, target, ack_ttl=1, ack_valid_for=0, **options)
        return pool if is_aio else Plain(pool)
    queue = getattr(pyrq.aio if is_aio else pyrq, kind)(name, target, **options)
    return queue if is_aio else Plain(queue)
