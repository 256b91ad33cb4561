from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyrq.core import replies
from pyrq.core.errors import PermissionDeniedError, QueueFull
from pyrq.core.rollback import Rollbacks
from pyrq.core.views import InFlight, Letter, Stats
from pyrq.core.waiting import Found
from tests.unit.builders import ANY_BUILDERS, POOL_BUILDERS, QUEUE_BUILDERS, functions_of


def bare(raw: bytes) -> Letter:
    """Gives a letter that tells no story."""
    return Letter(raw, "", 0.0, 0, "")


@pytest.mark.parametrize(
    ("parse", "reply", "expected"),
    [
        (replies.number, 7, 7),
        (replies.flag, 1, True),
        (replies.flag, 0, False),
        (replies.one_number, [7], 7),
        (replies.number_and_none, [7], (7, 0)),
        (replies.number_and_none, [7, 8], (7, 0)),
        (replies.two_numbers, [7, 8], (7, 8)),
        (replies.added, [0], 0),
        (replies.added, [7], 7),
        (replies.number_each, [7, -1, 0], [7, -1, 0]),
        (replies.found, [[b"\xff", b"a"], 4, 0, 0, 0], Found([b"a", b"\xff"], 4, sweep=False, block=0.0, nap=0.0)),
        (replies.found, [[], 4, 1, 2500, 0], Found([], 4, sweep=True, block=2.5, nap=0.0)),
        (replies.found, [[], 4, 0, -150, 1], Found([], 4, sweep=False, block=0.0, nap=0.15, whole=True)),
        (replies.newest_first, [b"c", b"b", b"a"], [b"a", b"b", b"c"]),
        (replies.newest_first, [], []),
        (replies.letters, [b"new", b"5 1 2 3\nmewhyold"], [Letter(b"old", "why", 5.0, 1, "me"), bare(b"new")]),
        (replies.letters, [], []),
        (replies.stats, [1, 2, 3, 4, 5, 0], Stats(1, 2, 3, 4, 5, paused=False)),
        (replies.stats, [0, 0, 0, 0, 0, 1], Stats(0, 0, 0, 0, 0, paused=True)),
        (replies.in_flight, [], []),
        (
            replies.in_flight,
            [[b"me-1", 3, b"0.000", b""], [b"\xff", 1, b"12.345", b"0.5"]],
            [InFlight("me-1", 3, 0.0, None), InFlight("\ufffd", 1, 12.345, 0.5)],
        ),
        (replies.batch, [[b"a"], b"1700000000"], ([b"a"], b"1700000000")),
        (replies.batch, [[], b"5"], ([], b"5")),
        (replies.rollbacks, [3, 100, 105], Rollbacks(count=3, first=100, now=105)),
        (replies.nothing, [], None),
        (replies.nothing, 5, None),
        (replies.nothing_refused, [], None),
    ],
)
def test_how_a_reply_is_read(parse: Callable[[Any], Any], reply: Any, expected: Any) -> None:
    read = parse(reply)
    assert read == expected
    assert type(read) is type(expected)


@pytest.mark.parametrize(
    ("parse", "reply"),
    [
        *((replies.number, strange) for strange in (None, b"7", "7", 7.0, True, [7])),
        *((replies.flag, strange) for strange in (None, b"1", True, [1])),
        *((replies.one_number, strange) for strange in ([], [b"7"], [True], [None])),
        *((replies.number_and_none, strange) for strange in ([], [b"7"])),
        *((replies.two_numbers, strange) for strange in ([7], [7, b"8"], [7, None])),
        *((replies.added, strange) for strange in ([], [b"7"], [None])),
        *((replies.number_each, strange) for strange in ([b"7"], [1, None], [[1]])),
        *((replies.found, strange) for strange in ([], [[], 4, 0, 0], [[], 4, 0, b"0", 0], [b"items", 4, 0, 0, 0])),
        *((replies.found, strange) for strange in ([[], 4, 0, 0, b"1"], [[], 4, 0, 0, None])),
        *((replies.found, strange) for strange in ([["text"], 4, 0, 0, 0], [[None], 4, 0, 0, 0], [[], 4, 0, 10**9, 0])),
        (replies.found, [[], 4, 0, -(10**400), 0]),
        *((replies.newest_first, strange) for strange in (None, b"ab", [7], [b"a", None], ["a"], {b"a": 1})),
        *((replies.letters, strange) for strange in (None, b"ab", [7], [b"a", None])),
        *((replies.stats, strange) for strange in ([], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5, None])),
        *((replies.in_flight, strange) for strange in ([7], [[b"me", 3, b"0.0"]], [[b"me", b"3", b"0.0", b""]])),
        *((replies.in_flight, [[b"me", 3, idle, b""]]) for idle in (b"so", None)),
        *((replies.batch, strange) for strange in ([], [[b"a"]], [[b"a"], 5], [b"a", b"5"], [[1], b"5"])),
        *((replies.rollbacks, strange) for strange in ([1, 2], [1, 2, b"3"])),
        *((replies.nothing_refused, strange) for strange in (None, b"GET", ["GET"], [b"\xff"], [b""], [b"LPUSH 4111"])),
    ],
)
def test_what_is_not_such_a_reply_is_refused(parse: Callable[[Any], Any], reply: Any) -> None:
    with pytest.raises((TypeError, ValueError, LookupError, AttributeError)):
        parse(reply)


def test_what_is_refused_is_named_once_and_in_order() -> None:
    with pytest.raises(PermissionDeniedError) as caught:
        replies.nothing_refused([b"RENAME", b"LPUSH", b"RENAME"])
    assert str(caught.value) == f"{PermissionDeniedError()} Refused: LPUSH, RENAME."


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(QueueFull):
        replies.added([-1])


def test_every_function_is_named_and_used_and_says_what_it_reads() -> None:
    names = functions_of(replies)
    assert names == set(replies.__all__)
    used = {builder().parse for builder in (*QUEUE_BUILDERS, *POOL_BUILDERS, *ANY_BUILDERS)}
    # A consumer reads what becomes of items alike, whatever that is.
    used.add(replies.number_and_none)
    assert used == {getattr(replies, name) for name in names}
    assert all(parse.__doc__ for parse in used)
