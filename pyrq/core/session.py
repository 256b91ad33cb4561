"""Who is calling, and which call it is: lanes and sequences, and the inbox of a consumer.

Theory of operation. Clients resend, replies get lost, and a request that its sender gave up may run later. So every
call that changes something carries a lane and the lane's next sequence. The server keeps each lane's last sequence and
reply for as long as the session lives: an equal sequence is answered again, a lower one is stale and does nothing.

- A lane is leased to one call at a time, so its sequences arrive in order or not at all.
- A lane whose last call may still be under way is doubtful: before it is used again, its sequence is burnt on the
  server, so that the call can't run late. (A call that had nothing to do leaves no record, and run late might.)
- Gets have a lane of their own and are confirmed: each call says which get was last received. A get whose reply was
  lost is handed out again by the next one. An empty answer is not "received": it left no record either.

Nothing here is locked. Leasing and freeing are single operations on a list, which threads may share; an inbox belongs
to whoever holds the lock around gets, and `held` is replaced whole, so that others read a consistent pair.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count, islice

from pyrq.core.call import Call
from pyrq.core.waiting import Found

__all__ = [
    "EVERYTHING",
    "GET_LANE",
    "Held",
    "Identity",
    "Inbox",
    "Lane",
    "Moves",
    "Returning",
    "Session",
    "session_ttl",
]

GET_LANE = b"get"
EVERYTHING = 2**31
"""More than any list holds."""
_MIN_TTL = 120
_TTL_PER_DEADLINE = 4
_MOST_BURNT = 500
_WORTH_A_PROOF = 8
"""Of fewer items it costs no more to send them than to prove that they are all that is held."""


def session_ttl(deadline: float) -> int:
    """Gives how long the server remembers a session: longer than any call of it can be under way.

    Args:
        deadline: how long a call may be retried, in seconds.

    Returns:
        Whole seconds, at least 120.
    """
    return max(_MIN_TTL, int(_TTL_PER_DEADLINE * deadline) + 1)


@dataclass(frozen=True, slots=True)
class Identity:
    """Which call this is.

    Attributes:
        lane: the lane's name.
        sequence: the call's number on that lane, from 1.
        ttl: how long the session is to be remembered, in seconds.
    """

    lane: bytes
    sequence: int
    ttl: int

    def args(self) -> tuple[bytes, bytes, bytes]:
        """Gives the first three arguments of every identified script."""
        return self.lane, b"%d" % self.sequence, b"%d" % self.ttl


class Lane:
    """One lane: calls on it go one after another."""

    __slots__ = ("_name", "_ttl", "sequence")

    def __init__(self, name: bytes, ttl: int) -> None:
        self._name = name
        self._ttl = ttl
        self.sequence = 0

    def next(self) -> Identity:
        """Gives the identity of the lane's next call."""
        self.sequence += 1
        return self.last()

    def last(self) -> Identity:
        """Gives the identity of the lane's last call."""
        return Identity(self._name, self.sequence, self._ttl)


@dataclass(frozen=True, slots=True)
class Held:
    """What a consumer tells the server about what it holds, so that no ack reaches what its caller has not seen.

    Attributes:
        received: the sequence of the last get whose items arrived, 0 for none.
        kept: how many of the newest items arrived but were not returned to a caller yet.
        tenure: to which tenure of the consumer the items of the call belong, or 0: none of a lease.
    """

    received: int = 0
    kept: int = 0
    tenure: int = 0


@dataclass(frozen=True, slots=True)
class _Whole:
    """What a get brought that was then all that its consumer held."""

    received: int
    items: list[bytes]


class Inbox:
    """What arrived for a consumer and was not returned to a caller yet, oldest first.

    Some of it may be promised to callers who are about to go on. That counts as returned, though it still lies here: a
    number of the oldest items, so that what lies here is the newest of what is held, whoever comes for his first.
    """

    def __init__(self, ttl: int) -> None:
        self._items: deque[bytes] = deque()
        self._promised = 0
        self._arriving = Held()
        self._whole: _Whole | None = None
        self.lane = Lane(GET_LANE, ttl)
        self.held = Held()
        self.tenure = 0

    def __len__(self) -> int:
        return max(0, len(self._items) - self._promised)

    def arrived(self, identity: Identity, found: Found) -> None:
        """Takes in what a get brought; an empty answer has not arrived, it left no record to confirm.

        Args:
            identity: which get.
            found: what it brought; at least one item.
        """
        self.tenure = found.tenure
        self._whole = _Whole(identity.sequence, found.items) if found.whole else None
        self._arriving = Held(identity.sequence, len(self) + len(found.items))
        self._items.extend(found.items)
        self.held = self._arriving

    def peek(self, count: int) -> list[bytes]:
        """Shows the oldest items without taking them, as many as are not promised.

        Args:
            count: how many at the most.

        Returns:
            The items, oldest first.
        """
        return list(islice(self._items, min(count, len(self))))

    def promise(self, count: int) -> None:
        """Sets items apart for a caller, until `redeem`.

        Args:
            count: how many; no more than there are.
        """
        self._promised += count
        self._recount()

    def redeem(self, count: int) -> None:
        """Ends a promise: the caller takes its items now, or never.

        Args:
            count: how many were promised.
        """
        self._promised -= count
        self._recount()

    def take(self, count: int) -> None:
        """Takes the oldest items out: they go to the caller.

        Args:
            count: how many; no more than there are.
        """
        if count == len(self._items):
            self._items.clear()
        for _ in range(min(count, len(self._items))):
            self._items.popleft()
        self._recount()

    def discard(self, items: Iterable[bytes]) -> None:
        """Takes out one copy of each of some items, the oldest.

        Args:
            items: what to take out; all of it is there.
        """
        for item in items:
            self._items.remove(item)
        self._recount()

    def restore(self, items: Sequence[bytes]) -> None:
        """Puts items in front again.

        Args:
            items: what to put in, oldest first.
        """
        self._items.extendleft(reversed(items))
        self._recount()

    def forget(self, count: int = EVERYTHING) -> None:
        """Forgets the newest items: they were given back.

        Args:
            count: how many at the most; all, promised ones too, if left out.
        """
        for _ in range(min(count, len(self._items))):
            self._items.pop()
        self._recount()

    def prove(self, items: Sequence[bytes]) -> Held | None:
        """Says whether some items are exactly what the last get brought, and that was all that is held.

        Whoever acknowledges asks it first, once for each get: after another ack it is true no more. The server has the
        last word, for it knows what became of them since.

        Args:
            items: what is in a caller's hands, to be acknowledged.

        Returns:
            What to tell the server, or None if it is not so.
        """
        whole, self._whole = self._whole, None
        held = self.held
        if whole is None or len(items) < _WORTH_A_PROOF or held.kept or held.received != whole.received:
            return None
        return held if items == whole.items else None

    def resume(self) -> None:
        """Makes `held` true again where an interrupt (Ctrl-C) came between the items and their count.

        Without it, a batch that has arrived would count as not received, and come once more.
        """
        if self._arriving.received > self.held.received and self._arriving.kept == len(self):
            self.held = self._arriving

    def _recount(self) -> None:
        self.held = Held(self.held.received, len(self))


class Moves:
    """The blocking moves of a consumer: how many may still bring something to its landing list."""

    def __init__(self) -> None:
        self._under_way: set[object] = set()
        self._lost_until = 0.0

    def begin(self) -> object:
        """Begins a move; to be called by who holds the lock around gets.

        Returns:
            What `end` takes.
        """
        move = object()
        self._under_way.add(move)
        return move

    def end(self, move: object) -> None:
        """Ends a move that was answered, or never sent."""
        self._under_way.discard(move)

    def lose(self, move: object, until: float) -> None:
        """Ends a move whose answer is lost.

        Args:
            move: what `begin` gave.
            until: until when it may still bring something, on the caller's monotonic clock.
        """
        self._lost_until = max(self._lost_until, until)
        self._under_way.discard(move)

    def settle(self) -> None:
        """Notes that what was lost is over."""
        self._lost_until = 0.0

    @property
    def under_way(self) -> bool:
        """Whether one is not answered yet."""
        return bool(self._under_way)

    def count(self, now: float) -> int:
        """Gives how many may still bring something.

        Args:
            now: the caller's monotonic clock.
        """
        return len(self._under_way) + (now < self._lost_until)


@dataclass(frozen=True, slots=True)
class Returning:
    """A release that is under way.

    Attributes:
        lane: its lane.
        call: the call.
        kept: how many items of the inbox it is about.
    """

    lane: Lane
    call: Call[tuple[int, int]]
    kept: int


class Session:
    """The calls of one facade object: its lanes and its inbox."""

    def __init__(self, ttl: int) -> None:
        self._ttl = ttl
        self._numbers = count(1)
        self._lanes: list[Lane] = []
        self._free: list[Lane] = []
        self._doubtful: list[Lane] = []
        self.inbox = Inbox(ttl)
        self.moves = Moves()
        self.returning: Returning | None = None
        """A release whose outcome is not known; to be sent again, as it was, before the inbox is used."""

    def lease(self) -> Lane:
        """Leases a lane to one call, or to calls that go one after another.

        Returns:
            A lane that nobody else has; to be given to `free` or `doubt`.
        """
        try:
            return self._free.pop()
        except IndexError:
            lane = Lane(b"%d" % next(self._numbers), self._ttl)
            self._lanes.append(lane)
            return lane

    def free(self, lanes: Iterable[Lane]) -> None:
        """Takes lanes back whose last call was answered.

        Args:
            lanes: the lanes.
        """
        self._free.extend(lanes)

    def doubt(self, lanes: Iterable[Lane]) -> None:
        """Takes lanes back whose last call may still be under way.

        Args:
            lanes: the lanes.
        """
        self._doubtful.extend(lanes)

    def doubtful(self) -> list[Lane]:
        """Gives out lanes to burn with the next call, a number of them; to be given to `free` or `doubt` again."""
        lanes: list[Lane] = []
        while self._doubtful and len(lanes) < _MOST_BURNT:
            try:
                lanes.append(self._doubtful.pop())
            except IndexError:  # another thread took the last one
                break
        return lanes

    def at_rest(self) -> bool:
        """Says whether no call is under way, none is doubtful, and no error may still ask about one."""
        return len(self._free) == len(self._lanes)
