"""Calls of several callers in one pipeline: what is sent, and what each caller hears."""

from __future__ import annotations

from typing import Any

import pytest

from pyrq.core import ops
from pyrq.core.call import Call
from pyrq.core.errors import NotEnoughSyncedSlavesError, OutcomeUnknown, QueueFull, ServerGoneError, WrongTypeError
from pyrq.core.gathering import Parcel, another, another_error, fitting, landed, packed_together, room_in_pipeline, told
from pyrq.core.limits import Limits
from pyrq.core.options import Fsync, Replicas
from pyrq.core.retry import NoAnswer, Unreached
from pyrq.core.session import Identity
from pyrq.core.wire import NeedsSource, Refusal, TryLater, commands
from tests.unit.helpers import KEYS

FULL = Limits(max_size=5)
WRONG = Refusal("WRONGTYPE Operation against a key holding the wrong kind of value")


def add(lane: str, *items: bytes) -> Call[int]:
    return ops.add(KEYS, Identity(lane.encode(), 1, 120), list(items), FULL)


ONE, TWO, COUNT = add("1", b"x"), add("2", b"y", b"z"), ops.count(KEYS)


def test_each_parcel_is_sent_as_if_alone_and_one_wait_follows_all() -> None:
    sent = packed_together([Parcel([ONE], False), Parcel([COUNT, TWO], True)], Replicas(1, 50))
    assert sent == [
        *commands([ONE], None, in_full=False),
        *commands([COUNT, TWO], None, in_full=True),
        (b"WAIT", b"1", b"50"),
    ]
    assert packed_together([Parcel([ONE], False)], None) == commands([ONE], None, in_full=False)


def test_each_caller_has_its_own_results() -> None:
    parcels = [Parcel([ONE], False), Parcel([COUNT, TWO], False), Parcel([COUNT], False)]
    assert landed(parcels, None, [[1, 1], 7, [1, 2], 9]) == [[1], [7, 2], [9]]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ([0, -1], QueueFull),
        (WRONG, WrongTypeError),
        (Refusal("NOSCRIPT No matching script."), NeedsSource),
        (Refusal("BUSY Redis is busy running a script."), TryLater),
        ([2], OutcomeUnknown),  # stale
        ([1, b"?"], OutcomeUnknown),
    ],
)
def test_what_befalls_one_is_none_of_the_others_business(reply: Any, kind: type[Exception]) -> None:
    parcels = [Parcel([ONE], False), Parcel([TWO], False), Parcel([COUNT], False)]
    first, second, third = landed(parcels, None, [[1, 1], reply, 4])
    assert (first, third) == ([1], [4])
    assert type(second) is kind
    if isinstance(second, NeedsSource | TryLater):
        assert not second.partly  # another caller's call that has run is no part of this one's


def test_a_wait_that_falls_short_is_told_to_those_that_wrote() -> None:
    parcels = [Parcel([ONE], False), Parcel([COUNT], False), Parcel([TWO], False)]
    first, second, third = landed(parcels, Fsync(local=1, replicas=1), [[1, 1], 4, [1, 2], [1, 0]])
    assert second == [4]
    for short, many in ((first, 1), (third, 2)):
        assert isinstance(short, NotEnoughSyncedSlavesError)
        assert (short.done, short.confirmed, short.wanted) == (many, 0, 1)
    assert first is not third


def test_a_wait_that_is_confirmed() -> None:
    assert landed([Parcel([ONE], False), Parcel([TWO], False)], Replicas(1, 50), [[1, 1], [1, 2], 1]) == [[1], [2]]


def test_told() -> None:
    assert told(3) == 3
    with pytest.raises(QueueFull):
        told(QueueFull())


def test_each_is_told_in_an_exception_of_its_own() -> None:
    cause = OSError("reset")
    error = ServerGoneError("gone")
    error.__cause__, error.done = cause, 4
    twin = another_error(error)
    assert twin is not error
    assert (type(twin), str(twin), twin.__cause__, twin.done) == (ServerGoneError, str(error), cause, 4)
    twin.done = 9
    assert error.done == 4


@pytest.mark.parametrize("kind", [Unreached, NoAnswer])
def test_a_pipeline_that_failed_has_failed_for_each(kind: type[Unreached]) -> None:
    failure = kind(ServerGoneError("gone"))
    twin = another(failure)
    assert type(twin) is kind
    assert twin.error is not failure.error
    assert str(twin.error) == "gone"


def test_another_refusal() -> None:
    later = TryLater(ServerGoneError("gone"), partly=True)
    twin = another(later)
    assert isinstance(twin, TryLater)
    assert (twin.partly, str(twin.error), twin.error is later.error) == (True, "gone", False)
    wrong = WrongTypeError("x")
    assert type(another(wrong)) is WrongTypeError
    assert another(wrong) is not wrong


@pytest.mark.parametrize(
    ("sizes", "taken"),
    [([], 0), ([1], 1), ([4, 6], 2), ([4, 7], 1), ([11, 1], 1), ([1, 1, 9, 1], 2), ([10, 0, 0, 1], 3)],
)
def test_as_many_groups_as_fit_and_at_least_one(sizes: list[int], taken: int) -> None:
    assert fitting(sizes, 10) == taken


def test_room_in_a_pipeline_is_counted_in_commands() -> None:
    assert room_in_pipeline([Parcel([COUNT] * 600, False), Parcel([COUNT] * 400, False), Parcel([COUNT], False)]) == 2
