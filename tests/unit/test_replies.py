from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyrq.core import replies
from pyrq.core.errors import PermissionDeniedError
from pyrq.core.rollback import Rollbacks
from tests.unit.builders import ANY_BUILDERS, POOL_BUILDERS, QUEUE_BUILDERS, functions_of


@pytest.mark.parametrize(
    ("parse", "reply", "expected"),
    [
        (replies.number, 7, 7),
        (replies.flag, 1, True),
        (replies.flag, 0, False),
        (replies.one_number, [7], 7),
        (replies.two_numbers, [7, 8], (7, 8)),
        (replies.items, [[b"a", b"\xff"]], [b"a", b"\xff"]),
        (replies.items, [[]], []),
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


def test_what_is_refused_is_named_once_and_in_order() -> None:
    with pytest.raises(PermissionDeniedError) as caught:
        replies.nothing_refused([b"RENAME", b"LPUSH", b"RENAME"])
    assert str(caught.value) == f"{PermissionDeniedError()} Refused: LPUSH, RENAME."


def test_every_function_is_named_and_used_and_says_what_it_reads() -> None:
    names = functions_of(replies)
    assert names == set(replies.__all__)
    used = {builder().parse for builder in (*QUEUE_BUILDERS, *POOL_BUILDERS, *ANY_BUILDERS)}
    assert used == {getattr(replies, name) for name in names}
    assert all(parse.__doc__ for parse in used)
