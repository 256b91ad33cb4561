from __future__ import annotations

import pytest

from pyrq.core import ops
from pyrq.core.call import Call, Status, settle, wrote
from pyrq.core.errors import OutcomeUnknown
from pyrq.core.limits import NO_LIMITS
from tests.unit.helpers import KEYS, ME

ADD = ops.add(KEYS, ME, [b"a"], NO_LIMITS)
COUNT = ops.count(KEYS)


def test_the_numbers_are_those_of_the_scripts() -> None:
    assert [(status.name, status.value) for status in Status] == [
        ("NOTHING", 0),
        ("DONE", 1),
        ("AGAIN", 2),
        ("STALE", 3),
    ]


@pytest.mark.parametrize("status", [Status.NOTHING, Status.DONE, Status.AGAIN])
def test_the_status_is_taken_off(status: Status) -> None:
    assert settle(ADD, [int(status), 5]) == 5


def test_a_stale_call_has_an_unknown_outcome() -> None:
    with pytest.raises(OutcomeUnknown):
        settle(ADD, [3])


def test_the_reply_of_a_call_without_identity_has_no_status() -> None:
    assert settle(COUNT, 3) == 3


@pytest.mark.parametrize(("status", "expected"), [(0, False), (1, True), (2, True), (3, False)])
def test_what_there_is_to_confirm(status: int, expected: bool) -> None:
    assert wrote(ADD, [status, 1]) is expected


@pytest.mark.parametrize("reply", [0, 1, 2])
def test_a_call_without_identity_has_nothing_to_confirm(reply: int) -> None:
    assert wrote(COUNT, reply) is False


def test_a_call_is_a_value() -> None:
    same = Call(ADD.script, tuple(ADD.keys), tuple(ADD.args), ADD.parse)
    assert same == ADD
    assert hash(same) == hash(ADD)
    assert ops.add(KEYS, ME, [b"b"], NO_LIMITS) != ADD
