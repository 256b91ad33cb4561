"""Sends the calls of one facade object: checks once what the server allows, leases lanes, burns doubtful ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from weakref import finalize

from pyrq.backends import Backend, connect
from pyrq.backends.identity import client_id, process_id
from pyrq.core import session_ops
from pyrq.core.call import Call
from pyrq.core.errors import NotEnoughSyncedSlavesError, OutcomeUnknown, RqError
from pyrq.core.keys import Keys
from pyrq.core.member import Member, Setup
from pyrq.core.options import Durability, check_wait_fits
from pyrq.core.session import Held, Identity, Lane, session_ttl

__all__ = ["Builder", "Sending"]

R = TypeVar("R")

Builder = Callable[[Keys, Identity, Held], Call[R]]


class Sending:
    """What calls go through. Threads share it."""

    def __init__(self, setup: Setup[Any], redis: object, retry: float | None, gather: bool | None = None) -> None:
        """Connects; sends nothing yet.

        Args:
            setup: the checked options.
            redis: a client, a pool, a URL, a backend or None.
            retry: for how many seconds a call is retried.
            gather: whether concurrent calls go out together; None for the default.

        Raises:
            TypeError: redis is none of these.
            ValueError: a wrong URL, or a wait that is longer than the socket timeout.
        """
        self.setup = setup
        self.backend: Backend = connect(redis, retry=retry, gather=gather)
        self.owned = self.backend is not redis
        try:
            check_wait_fits(setup.durability, self.backend.reply_timeout)
        except ValueError:
            if self.owned:
                self.backend.close()
            raise
        self._places: dict[int, tuple[Member, threading.Lock]] = {}
        self._place()

    def _place(self) -> tuple[Member, threading.Lock]:
        process = process_id()
        place = self._places.get(process)
        # setdefault is one step: threads of a fork that come in together get the same.
        return place if place else self._places.setdefault(process, self._join())

    def _join(self) -> tuple[Member, threading.Lock]:
        keys = Keys.of(self.setup.name, client_id(self.setup.label), self.setup.kind)
        member = Member(keys, session_ttl(self.backend.deadline), self.backend.doubts)
        member.closed = any(other.closed for other, _ in self._places.values())
        return member, threading.Lock()

    @property
    def get_lock(self) -> threading.Lock:
        """What one get at a time holds, in this process."""
        return self._place()[1]

    def member(self) -> Member:
        """Gives who this object is in this process."""
        return self._place()[0]

    def ready(self) -> Member:
        """Gives who this object is, after checking once that the server allows what is needed.

        Raises:
            QueueClosedError: it is closed.
            RqError: the server is too old, gone, or does not allow it.
        """
        member = self.member()
        member.check_open()
        if not member.checked:
            self.backend.run([member.probe()])
            member.checked = True
        return member

    def _on_lane(self, member: Member, use: Callable[[Lane], R]) -> R:
        """Leases a lane to a call, and takes it back by how the call ended."""
        session = member.session
        lane = session.lease()
        doubts = self.backend.doubts
        try:
            result = use(lane)
        except NotEnoughSyncedSlavesError as error:
            # While the error may still ask, no later call may overwrite the lane's record.
            finalize(error, session.free, [lane]).atexit = False
            raise
        except BaseException as error:
            # A refusal is an answer, where nothing was sent more than once.
            refused = isinstance(error, RqError) and not isinstance(error, OutcomeUnknown)
            (session.free if refused and self.backend.doubts == doubts else session.doubt)([lane])
            raise
        if self.backend.doubts == doubts:
            session.free([lane])
        else:
            self._burn(member, [lane])
        return result

    def _send(
        self, member: Member, call: Call[R], durability: Durability | None = None, burn: Sequence[Identity] = ()
    ) -> R:
        """Runs a call, and in front of it burns what may still be under way."""
        result: R = (self._send_all(member, [call], durability, burn))[-1]
        return result

    def _send_all(
        self,
        member: Member,
        calls: Sequence[Call[Any]],
        durability: Durability | None = None,
        burn: Sequence[Identity] = (),
    ) -> list[Any]:
        session = member.session
        doubtful = session.doubtful()
        if not doubtful and not burn:
            return self.backend.run(calls, durability)
        burns = session_ops.burn(member.keys, [*burn, *(lane.last() for lane in doubtful)])
        try:
            results = self.backend.run([burns, *calls], durability)
        except BaseException as error:
            done = isinstance(error, NotEnoughSyncedSlavesError)
            (session.free if done else session.doubt)(doubtful)
            raise
        session.free(doubtful)
        return results

    def _burn(self, member: Member, lanes: Sequence[Lane]) -> None:
        """Burns what may still be under way, so that it can't run late; if that fails, the next call tries again."""
        try:
            self.backend.run([session_ops.burn(member.keys, [lane.last() for lane in lanes])])
        except BaseException as error:
            member.session.doubt(lanes)
            if not isinstance(error, RqError):
                raise
            return
        member.session.free(lanes)
