"""Calls that several threads make on one queue object at the same time, made into one: adds, acks and gets.

Adds of several callers are one script call on one lane, and so are acks: it is sent again as it was until it is
answered, and says for each caller how many items it was about. Gets are one get of the sum; who makes it hands out each
caller's share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pyrq.backends.gather_sync import Flights
from pyrq.core import ops
from pyrq.core.errors import NotEnoughSyncedSlavesError, OutcomeUnknown, QueueFull, RqError
from pyrq.core.gathering import PATIENCE, another_error
from pyrq.core.joining import Get, heard_by, one_each, room_for_gets, room_for_items, wait_of
from pyrq.core.limits import Limits
from pyrq.core.member import Member
from pyrq.core.waiting import Found, Wait
from pyrq.sync._runner import Runner
from pyrq.sync._sending import Builder

__all__ = ["Joined"]

Share = Callable[[Found, int, Wait], Any]
"""Gives a caller its share of what is in the inbox."""


class _Interrupted(Exception):
    """Who was to get for all was interrupted: what it got is handed out next."""


@dataclass(frozen=True, slots=True)
class _Shared(Get):
    share: Share


class Joined:
    """The adds, acks and gets of one object."""

    def __init__(self, run: Runner, member: Member, limits: Limits) -> None:
        """Begins.

        Args:
            run: its session.
            member: who it is.
            limits: the queue's bounds.
        """
        self.member = member
        self._run = run
        self._limits = limits
        self._inbox = member.session.inbox
        self._adds: Flights[list[bytes], int] = Flights(self._add_all, room_for_items, PATIENCE, OutcomeUnknown)
        self._acks: Flights[list[bytes], int] = Flights(self._ack_all, room_for_items, PATIENCE, OutcomeUnknown)
        self._gets: Flights[_Shared, Any] = Flights(self._get_all, room_for_gets, PATIENCE, _Interrupted)

    def add(self, items: list[bytes]) -> int:
        """Adds up to 1,000 items; gives how many were added.

        Args:
            items: the items.
        """
        return self._adds.go(items)

    def ack(self, items: list[bytes]) -> int:
        """Acknowledges up to 1,000 items; gives how many were held.

        Args:
            items: the items.
        """
        return self._acks.go(items)

    def get(self, count: int, wait: Wait, share: Share) -> Any:
        """Brings items into the inbox; gives what `share` makes of this caller's.

        Args:
            count: how many at the most.
            wait: what to say about waiting.
            share: takes what the get heard, `count` and `wait`; it is called under the lock around gets.
        """
        while True:
            try:
                return self._gets.go(_Shared(count, wait, share))
            except _Interrupted:
                continue

    def _add_all(self, groups: Sequence[list[bytes]]) -> Sequence[Any]:
        run, limits = self._run, self._limits
        if len(groups) == 1:
            return [run.change(lambda keys, identity, _: ops.add(keys, identity, groups[0], limits))]
        return _each(run.change, lambda keys, identity, _: ops.add_together(keys, identity, groups, limits), groups)

    def _ack_all(self, groups: Sequence[list[bytes]]) -> Sequence[Any]:
        run = self._run
        if len(groups) == 1:
            return [run.acknowledge(groups[0])]
        return _each(run.settle, lambda keys, identity, held: ops.ack_together(keys, identity, held, groups), groups)

    def _get_all(self, asks: Sequence[_Shared]) -> Sequence[Any]:
        with self._run.get_lock:
            try:
                found = self._run.take(sum(ask.count for ask in asks), wait_of(asks))
            except RqError as error:
                return [error, *(another_error(error) for _ in asks[1:])]
            return [self._share(ask, heard_by(ask, found, ask is asks[0])) for ask in asks]

    def _share(self, ask: _Shared, found: Found) -> Any:
        try:
            return ask.share(found.giving(self._inbox.peek(ask.count)), ask.count, ask.wait)
        except Exception as error:  # noqa: BLE001 - its caller raises it
            return error


def _each(
    send: Callable[[Builder[list[int]]], list[int]], build: Builder[list[int]], groups: Sequence[list[bytes]]
) -> Sequence[Any]:
    """Gives each caller's outcome of a call for all."""
    try:
        return one_each(send(build))
    except NotEnoughSyncedSlavesError as short:
        return [_part_of(short, many) for many in short._results[-1]]
    except RqError as error:
        return [error, *(another_error(error) for _ in groups[1:])]


def _part_of(short: NotEnoughSyncedSlavesError, many: int) -> RqError:
    """Gives one caller's part of a call that too few have confirmed."""
    if many < 0:
        return QueueFull()
    part = another_error(short)
    assert isinstance(part, NotEnoughSyncedSlavesError)
    part.done = many
    part._confirm = short.confirm
    part._confirm_earlier = short  # while this one lives, the call's record stays
    return part
