from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrq.backends import connect
from pyrq.core import ops
from pyrq.core.keys import Kind
from pyrq.core.limits import NO_LIMITS
from pyrq.core.session import Held
from pyrq.core.views import DeadLetter, InFlight, Letter, Stats, read_letter
from pyrq.core.waiting import Wait
from tests.unit.builders import QUEUES, state
from tests.unit.helpers import KEYS, ME, Clock, Stage, fresh, raw

A, B, C, X = b"a", b"b", b"c", b"x"
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def written(now: str, deliveries: int, consumer: bytes, reason: bytes, item: bytes) -> bytes:
    """Gives an entry as the scripts write it."""
    head = f"{now} {deliveries} {len(consumer)} {len(reason)}\n"
    return head.encode() + consumer + reason + item


@given(texts, texts, st.binary(max_size=20), st.integers(1, 10**9), st.integers(0, 999_999))
def test_a_letter_is_read_as_it_was_written(
    consumer: str, reason: str, item: bytes, deliveries: int, micro: int
) -> None:
    entry = written(f"1700000000.{micro:06d}", deliveries, consumer.encode(), reason.encode(), item)
    letter = read_letter(entry)
    assert letter == Letter(item, reason, float(f"1700000000.{micro:06d}"), deliveries, consumer)


@pytest.mark.parametrize(
    ("now", "when"), [("1700000000", 1.7e9), ("1700000000.25", 1700000000.25), ("0.000001", 0.000001), ("0", 0.0)]
)
def test_the_time_of_a_letter(now: str, when: float) -> None:
    assert read_letter(written(now, 2, b"me", b"why", b"x")).when == when


def test_sizes_are_bytes_and_not_letters() -> None:
    letter = read_letter(written("5", 1, "ä".encode(), "öö".encode(), "ü".encode()))
    assert letter == Letter("ü".encode(), "öö", 5.0, 1, "ä")


def test_an_item_that_looks_like_a_letter_is_an_item() -> None:
    inner = written("5", 1, b"a", b"b", b"c")
    assert read_letter(written("6", 2, b"me", b"why", inner)).raw == inner


def test_what_is_cut_within_a_character_is_shown_as_far_as_it_goes() -> None:
    letter = read_letter(written("5", 1, b"\xff", b"x" + "ä".encode()[:1], b"\xff\x00"))
    assert letter == Letter(b"\xff\x00", "x\ufffd", 5.0, 1, "\ufffd")


def test_nothing_at_all_in_a_letter() -> None:
    assert read_letter(written("5", 0, b"", b"", b"")) == Letter(b"", "", 5.0, 0, "")


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"x",
        b"order 5",
        b"5 1 0 0",
        b"1 1 40 40\nabc",
        b"1 1 0 4\nabc",
        b"1 1 " + b"9" * 5000 + b" 1\nabc",
        b"5 1 0\nx",
        b"5 1 0 0 0\nx",
        b"-5 1 0 0\nx",
        b".5 1 0 0\nx",
        b"5 1 0 x\nx",
        b" 5 1 0 0\nx",
        b"\n5 1 0 0\nx",
        b"1e9 1 0 0\nx",
    ],
)
def test_an_entry_of_somebody_else_is_an_item_without_a_story(entry: bytes) -> None:
    assert read_letter(entry) == Letter(entry, "", 0.0, 0, "")


@pytest.mark.parametrize("item", [b"plain", b"", b"with\nlines\n", b"\x00\xff", b"5 1 0 0\nx"])
def test_the_scripts_write_what_is_read(item: bytes) -> None:
    url = fresh()
    backend = connect(url)
    raw(url).rpush(KEYS.processing, item)
    assert backend.run([ops.bury(KEYS, ME, Held(), [item], "wäs it", NO_LIMITS, "1700000000.5")]) == [1]
    (letters,) = backend.run([ops.dead_letters(KEYS, 9)])
    assert letters == [Letter(item, "wäs it", 1700000000.5, 1, "me-1")]


def test_the_time_of_the_server_is_one_that_is_read() -> None:
    url = fresh()
    backend = connect(url)
    raw(url).rpush(KEYS.processing, "x")
    backend.run([ops.bury(KEYS, ME, Held(), [b"x"], "", NO_LIMITS)])
    ((letter,),) = backend.run([ops.dead_letters(KEYS, 9)])
    assert letter.when > 1.7e9


# Dead letters as users see them


def test_a_dead_letter_is_a_letter_with_its_item() -> None:
    letter = Letter(b"5", "why", 1700000000.5, 3, "me-1")
    assert DeadLetter.of(letter, 5) == DeadLetter(
        item=5,
        raw=b"5",
        reason="why",
        when=1700000000.5,
        deliveries=3,
        consumer="me-1",
    )


@pytest.mark.parametrize("now", ["9" * 20, "9" * 400, "5."])
def test_a_time_of_somebody_else_hides_no_other_letter(now: str) -> None:
    letter = read_letter(written(now, 1, b"", b"", b"x"))
    assert DeadLetter.of(letter, "x") == DeadLetter("x", b"x", "", float(now), 1, "")


def test_a_dead_letter_that_can_not_be_decoded_has_its_bytes() -> None:
    dead: DeadLetter[int] = DeadLetter.of(Letter(b"\xff", "", 0.0, 0, ""), None)
    assert (dead.item, dead.raw) == (None, b"\xff")


@pytest.mark.parametrize(
    "value",
    [
        Stats(1, 2, 3, 4, 5, paused=True),
        InFlight("me", 1, 0.5, None),
        Letter(b"x", "why", 5.0, 1, "me"),
        DeadLetter.of(Letter(b"x", "why", 5.0, 1, "me"), "x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_seen_is_a_frozen_value(value: Any) -> None:
    assert len({value, value}) == 1
    for name in type(value).__slots__:
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, None)


# What the scripts show and do


@pytest.fixture(params=QUEUES, ids=["plain", "unique"])
def stage(request: pytest.FixtureRequest) -> Stage:
    return Stage(Clock(), request.param)


@pytest.fixture
def unique() -> Stage:
    return Stage(Clock(), Kind.UNIQUE)


def test_how_a_queue_is_doing(stage: Stage) -> None:
    me, leased, waiting = stage.actor(), stage.actor("leased"), stage.actor("waiting")
    assert me.do("stats") == Stats(0, 0, 0, 0, 0, paused=False)
    assert me.do("in_flight") == []
    waiting.do("get", count=1, wait=Wait(slice_ms=4000))
    me.do("add", items=[b"%d" % number for number in range(9)])
    stage.land(waiting)
    me.do("get", count=0, wait=Wait(slice_ms=4000))
    me.get(3, wait=Wait(blocked=1))  # it holds something, and waits for more
    stage.later(1.5)
    leased.get(2, wait=Wait(lease=30.0))
    me.do("bury", items=[b"1"])
    me.do("put_off", items=[A, B], delay=60.0)
    me.do("pause")
    # Anybody may write into the hash of last contacts.
    stage.client.set("orders-processing-no-list", "x")
    stage.client.hset(KEYS.timeouts, mapping={"orders-processing-no-list": "1", "foreign": "1", "": "x"})
    assert me.do("stats") == Stats(4, 4, 2, 1, 3, paused=True)
    stage.later(2.25)
    seen = sorted(me.do("in_flight"), key=lambda one: one.consumer)
    assert seen == [InFlight("leased", 2, 2.25, 30.0), InFlight("me-1", 2, 3.75, None)]
    stage.later(-3600)
    assert {one.idle for one in me.do("in_flight")} == {0.0}


def test_a_peek_takes_nothing(stage: Stage) -> None:
    me = stage.actor()
    me.do("add", items=[A, B, C, X])
    before = state(stage.client)
    found = [
        me.do("peek", count=count, offset=offset) for count, offset in ((2, 0), (2, 1), (9, 2), (1, 4), (5, 10**20))
    ]
    assert found == [[A, B], [B, C], [C, X], [], []]
    assert state(stage.client) == before


def test_a_burial_tells_the_facts_and_the_oldest_goes_first(stage: Stage) -> None:
    me = stage.actor()
    me.do("add", items=[A, B, C])
    me.get()
    me.do("retry", items=[B], waits=[1.0])
    stage.later(1)
    me.get()
    assert me.do("bury", items=[A, B, C], reason="unusable") == 3
    assert me.do("dead_letters", count=9) == [
        Letter(item, "unusable", 1_700_000_001.0, 1 + (item == B), "me-1") for item in (A, B, C)
    ]
    assert [letter.raw for letter in me.do("dead_letters", count=2)] == [A, B]
    assert me.do("dead_count") == 3
    assert me.do("purge") == 3
    assert (me.do("purge"), me.do("dead_count")) == (0, 0)


def test_dead_letters_become_items_again_in_order(stage: Stage) -> None:
    me = stage.actor()
    items = [A, b"with\nlines", b"1 2 0 0\nx", b""]
    me.do("add", items=items)
    me.get()
    me.do("bury", items=items)
    stage.client.lpush(KEYS.dead, "foreign")
    me.do("add", items=[X])
    assert me.do("redrive", count=2) == 2
    assert me.do("redrive", count=100) == 3
    assert me.do("redrive", count=100) == 0
    assert me.get() == [X, *items, b"foreign"]
    assert not stage.client.exists(KEYS.dead)


def test_a_unique_dead_letter_that_waits_does_not_wait_twice(unique: Stage) -> None:
    me = unique.actor()
    me.do("add", items=[A, B])
    me.get()
    me.do("bury", items=[A, B])
    me.do("add", items=[B])
    assert (me.do("redrive", count=100), me.do("dead_count")) == (2, 0)
    assert me.get() == [B, A]


@pytest.mark.parametrize("entry", [b"foreign", b"abc 1 0 0\nhello", b"-5 1 0 0\nhello", b"5 1 0 0\nhello"])
def test_what_is_shown_of_a_dead_letter_is_what_becomes_an_item_again(stage: Stage, entry: bytes) -> None:
    stage.client.lpush(KEYS.dead, entry)
    me = stage.actor()
    (letter,) = me.do("dead_letters", count=1)
    assert me.do("redrive", count=1) == 1
    assert me.get() == [letter.raw]
