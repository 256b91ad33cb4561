"""What a consumer decides that takes ahead of its handlers."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pyrq import Backoff
from pyrq.core.ahead import Room, joined, parcels, returning
from pyrq.core.consuming import ConsumerSetup, Job, Lease
from pyrq.core.keys import Keys
from pyrq.core.limits import NO_LIMITS, Limits
from pyrq.core.ops import reject
from pyrq.core.session import Held, Identity
from pyrq.core.verdicts import Fate, Verdict

ACK, DROP = Verdict(Fate.ACK), Verdict(Fate.DROP)
RETRY = Verdict(Fate.RETRY, "why", (1.0,))


def room_of(prefetch: int, concurrency: int = 1, batch: int = 1) -> Room:
    setup = ConsumerSetup.of(Limits(), batch, concurrency, 30.0, None, Backoff(), 10.0, prefetch)
    return Room.of(setup, batch)


def job_of(*items: str, tenure: int = 1) -> Job[str]:
    return Job(list(items), [item.encode() for item in items], tenure, Lease(threading.Event()))


@pytest.mark.parametrize(
    ("prefetch", "concurrency", "wanted"), [(1, 1, 2), (10, 4, 14), (1000, 1, 1000), (9999, 9, 1000)]
)
def test_at_first_there_is_room_for_what_handlers_begin_with_and_what_waits(
    prefetch: int, concurrency: int, wanted: int
) -> None:
    assert room_of(prefetch, concurrency).wanted() == wanted


def test_a_get_brings_one_list_at_a_time() -> None:
    room = room_of(250, concurrency=2, batch=100)
    assert [room.wanted(), room.most] == [100, 450]


@pytest.mark.parametrize(("prefetch", "left"), [(1, 0), (2, 1), (5, 2), (100, 50)])
def test_more_is_taken_when_half_is_used_up(prefetch: int, left: int) -> None:
    room = room_of(prefetch)
    room.taken(room.wanted())
    while room.waiting > left:
        assert room.wanted() == 0
        room.begun(1)
        room.ended(1)
    assert room.wanted() == prefetch + 1 - left


def test_what_is_not_carried_out_yet_takes_room() -> None:
    room = room_of(4)
    room.taken(5)
    room.begun(5)
    assert (room.waiting, room.held, room.wanted()) == (0, 5, 0)
    room.ended(2)
    assert room.wanted() == 2


def test_a_get_that_brought_more_than_there_is_room_for_makes_none() -> None:
    room = room_of(2)
    room.taken(9)
    room.begun(9)
    assert room.wanted() == 0


def told(*ended: tuple[Job[Any], Verdict]) -> list[tuple[int, list[bytes], int, Verdict]]:
    return [(len(jobs), job.raw, job.tenure, verdict) for jobs, job, verdict in joined(ended)]


def test_acknowledgements_that_follow_each_other_are_one() -> None:
    jobs = [(job_of("a"), ACK), (job_of("b", "c"), ACK), (job_of("d"), ACK)]
    assert told(*jobs) == [(3, [b"a", b"b", b"c", b"d"], 1, ACK)]
    assert [some for some, _, _ in joined(jobs)] == [[job for job, _ in jobs]]


def test_nothing_else_is_joined_and_the_order_stays() -> None:
    ended = [
        (job_of(item), verdict) for item, verdict in zip("abcdef", [ACK, RETRY, RETRY, DROP, ACK, ACK], strict=True)
    ]
    assert told(*ended) == [
        (1, [b"a"], 1, ACK),
        (1, [b"b"], 1, RETRY),
        (1, [b"c"], 1, RETRY),
        (1, [b"d"], 1, DROP),
        (2, [b"e", b"f"], 1, ACK),
    ]


def test_tenures_are_not_joined() -> None:
    """What is of one that is over must not be taken for what is held."""
    ended = [(job_of("a"), ACK), (job_of("b", tenure=2), ACK), (job_of("c", tenure=2), ACK)]
    assert told(*ended) == [(1, [b"a"], 1, ACK), (2, [b"b", b"c"], 2, ACK)]


@pytest.mark.parametrize(("sizes", "parts"), [([1] * 2500, [1000, 1000, 500]), ([600, 400, 600, 400], [1000, 1000])])
def test_no_call_gets_more_than_a_thousand_items(sizes: list[int], parts: list[int]) -> None:
    ended = [(job_of(*["x"] * size), ACK) for size in sizes]
    assert [len(raw) for _, raw, _, _ in told(*ended)] == parts
    assert sorted(len(job.raw) for job in parcels([job for job, _ in ended])) == sorted(parts)


def test_a_single_job_stays_as_it_is() -> None:
    job = job_of("a")
    assert [one for _, one, _ in joined([(job, ACK)])] == [job] == list(parcels([job]))


def test_what_goes_back_begins_with_the_newest_each_part_in_its_order() -> None:
    jobs = [job_of(str(number)) for number in range(2500)]
    parts = [[int(raw) for raw in job.raw] for job in parcels(jobs)]
    assert parts == [list(range(1500, 2500)), list(range(500, 1500)), list(range(500))]


def test_what_goes_back_is_parted_by_tenures() -> None:
    jobs = [job_of("a"), job_of("b"), job_of("c", tenure=2)]
    assert [(job.raw, job.tenure) for job in parcels(jobs)] == [([b"c"], 2), ([b"a", b"b"], 1)]


def test_nothing_makes_nothing() -> None:
    assert told() == []
    assert list(parcels([])) == []


def test_what_goes_back_counts_as_no_delivery_and_is_of_its_tenure() -> None:
    keys, identity = Keys.of("orders", "me"), Identity(b"1", 1, 120)
    call = returning(job_of("a", "b", tenure=7), keys, identity, Held(3, 2))
    assert call == reject(keys, identity, Held(3, 2, 7), [b"a", b"b"], NO_LIMITS)
