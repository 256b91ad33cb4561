"""What the scripts of delays, waiting, leases, deliveries and looking do, on a fake server whose time stands still."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pyrq.core.keys import Kind
from pyrq.core.limits import Limits
from pyrq.core.session import Held
from pyrq.core.views import Letter
from pyrq.core.waiting import Wait
from tests.unit.builders import QUEUES, state
from tests.unit.helpers import KEYS, Actor, Clock, Stage

A, B, C, X = b"a", b"b", b"c", b"x"
LEASE = Wait(lease=30.0)
SLICE = Wait(slice_ms=4000)
START = 1_700_000_000.0


@pytest.fixture(params=QUEUES, ids=["plain", "unique"])
def stage(request: pytest.FixtureRequest) -> Stage:
    return Stage(Clock(), request.param)


@pytest.fixture
def plain() -> Stage:
    return Stage(Clock(), Kind.PLAIN)


@pytest.fixture
def unique() -> Stage:
    return Stage(Clock(), Kind.UNIQUE)


# Delays


def test_due_items_join_the_end_of_the_line_in_order(stage: Stage) -> None:
    me = stage.actor()
    assert me.do("put_off", items=[B, C], delay=10.0) == 2
    assert me.do("put_off", items=[X], delay=5.5) == 1
    me.do("add", items=[A])
    stage.later(10)
    assert me.get() == [A, X, B, C]
    assert not stage.client.exists(KEYS.delayed, KEYS.meta)


def test_an_item_is_due_at_its_time_and_not_before(stage: Stage) -> None:
    me = stage.actor()
    me.do("put_off", items=[A], delay=10.0)
    stage.later(9.999)
    assert me.get() == []
    stage.later(0.001)
    assert me.get() == [A]


def test_items_of_a_call_and_calls_of_a_lane_keep_their_order(stage: Stage) -> None:
    me = stage.actor()
    items = [b"%d" % number for number in range(240)]
    for start in range(0, 240, 20):
        me.do("put_off", items=items[start : start + 20], delay=5.0)
    stage.later(5)
    assert me.get(240) == items


def test_two_equal_delayed_items_are_two(plain: Stage) -> None:
    me = plain.actor()
    assert me.do("put_off", items=[X, X], delay=1.0) == 2
    assert me.do("put_off", items=[X], delay=1.0) == 1
    plain.later(1)
    assert me.get() == [X, X, X]


def test_a_unique_item_that_waits_when_it_is_due_is_dropped(unique: Stage) -> None:
    me = unique.actor()
    me.do("put_off", items=[X, X, A], delay=1.0)
    assert me.do("add", items=[X]) == 1
    unique.later(1)
    assert me.get() == [X, A]


def test_a_thousand_become_due_at_a_time(stage: Stage) -> None:
    me = stage.actor()
    for start in (0, 1000):
        me.do("put_off", items=[b"%d" % number for number in range(start, start + 1000 - start // 2)], delay=1.0)
    stage.later(1)
    assert me.get(1) == [b"0"]
    assert (stage.client.llen(KEYS.queue), stage.client.zcard(KEYS.delayed)) == (999, 500)
    assert me.get(1) == [b"1"]
    assert (stage.client.llen(KEYS.queue), stage.client.zcard(KEYS.delayed)) == (1498, 0)


def test_what_somebody_else_put_off_is_an_item_as_it_is(stage: Stage) -> None:
    stage.client.zadd(KEYS.delayed, {"bare": 1, "head\nwith\nlines": 2})
    assert stage.actor().get() == [b"bare", b"with\nlines"]


# Pausing


def test_a_paused_queue_hands_out_nothing(stage: Stage) -> None:
    me = stage.actor()
    me.do("get", count=1, wait=SLICE)
    me.do("add", items=[A])
    me.do("put_off", items=[B], delay=1.0)
    assert [me.do("pause"), me.do("pause")] == [1, 0]
    assert me.do("is_paused") is True
    assert stage.fields(KEYS.meta) == {b"paused": b"1700000000.000000"}
    stage.later(2)
    found = me.do("get", count=5, wait=SLICE)
    assert (found.items, found.block, found.nap) == ([], 0.0, 1.0), "it looks again"
    assert not stage.client.exists(KEYS.consumers), "and no move may bring it anything"
    assert me.do("get", count=5, wait=Wait(slice_ms=250)).nap == 0.25
    assert me.do("get", count=5).nap == 0.0, "who does not wait need not know"
    assert stage.client.zcard(KEYS.delayed) == 1, "nothing becomes due"
    assert [me.do("resume"), me.do("resume"), me.do("is_paused")] == [1, 0, False]
    assert me.get() == [A, B]


def test_who_pauses_hands_out_again_what_did_not_arrive_and_puts_back_what_landed(stage: Stage) -> None:
    me = stage.actor()
    me.do("get", count=1, wait=SLICE)
    me.do("add", items=[A, B, C])
    stage.land(me)
    assert me.do("get", count=1).items == [A]
    me.do("get", count=0, wait=SLICE)
    stage.land(me)
    me.do("pause")
    assert me.do("get", count=9).items == [A]
    assert stage.client.lrange(KEYS.queue, 0, -1) == [C, B]


# Waiting


def test_who_waits_is_registered_until_its_move_is_over(stage: Stage) -> None:
    me = stage.actor()
    found = me.do("get", count=1, wait=SLICE)
    assert (found.items, found.block, found.nap) == ([], 4.0, 0.0)
    assert stage.fields(KEYS.consumers) == {b"me-1/landing": b"1700000009.000000"}
    assert not stage.client.exists(KEYS.timeouts), "the older libraries would unregister it in between"
    me.do("get", count=1, wait=Wait(slice_ms=1000))
    assert stage.fields(KEYS.consumers) == {b"me-1/landing": b"1700000009.000000"}, "never moved back"
    stage.later(1)
    me.do("get", count=1, wait=SLICE)
    assert stage.fields(KEYS.consumers) == {b"me-1/landing": b"1700000010.000000"}


def test_what_landed_is_next_out(stage: Stage) -> None:
    me = stage.actor()
    me.do("get", count=1, wait=SLICE)
    me.do("add", items=[A, B, C])
    stage.land(me)
    stage.land(me)
    assert me.get(2) == [A, B]
    assert not stage.client.exists(me.keys.landing)
    assert stage.fields(KEYS.consumers) == {b"me-1": b"2 2"}


@pytest.mark.parametrize(("later", "blocked", "stays"), [(0, 0, False), (0, 1, True), (9, 1, False)])
def test_a_registration_ends_with_the_last_move(stage: Stage, later: float, blocked: int, stays: bool) -> None:
    me = stage.actor()
    me.do("get", count=1, wait=SLICE)
    stage.later(later)
    me.do("get", count=1, wait=Wait(blocked=blocked))
    assert stage.client.hexists(KEYS.consumers, "me-1/landing") is stays


@pytest.mark.parametrize("sweep", ["re_enqueue", "drop"])
def test_a_sweep_puts_back_what_landed_for_the_dead(stage: Stage, sweep: str) -> None:
    dead, me = stage.actor("dead"), stage.actor()
    dead.do("get", count=1, wait=SLICE)
    me.do("add", items=[A, B])
    stage.land(dead)
    stage.later(8.9)
    assert me.do(sweep, timeout=0.0) == (0, 0)
    assert stage.client.llen(dead.keys.landing) == 1
    stage.later(0.1)
    assert me.do(sweep, timeout=0.0) == (1 if sweep == "re_enqueue" else 0, 0)
    assert not stage.client.exists(dead.keys.landing, KEYS.consumers)
    assert me.get() == [A, B]


@pytest.mark.parametrize("sweep", ["re_enqueue", "drop"])
def test_a_sweep_of_all_leaves_a_registration_until_its_time_has_passed(stage: Stage, sweep: str) -> None:
    other, me = stage.actor("other"), stage.actor()
    other.do("get", count=1, wait=SLICE)
    me.do("add", items=[A])
    stage.land(other)
    me.do(sweep, timeout=None)
    assert stage.client.lrange(KEYS.queue, 0, -1) == [A]
    assert stage.client.hexists(KEYS.consumers, "other/landing")


def test_a_unique_item_that_landed_still_waits(unique: Stage) -> None:
    me = unique.actor()
    me.do("get", count=1, wait=SLICE)
    me.do("add", items=[A, B])
    unique.land(me)
    assert me.do("add", items=[A]) == 0
    assert me.do("repair") == 0
    assert me.do("delete", items=[A], count=0) == 1
    assert (me.do("add", items=[A]), me.get()) == (1, [B, A])


@pytest.mark.parametrize("blocked", [0, 1])
def test_a_release_puts_back_what_landed(stage: Stage, blocked: int) -> None:
    me = stage.actor()
    me.do("get", count=1, wait=Wait(lease=30.0, slice_ms=4000))
    me.do("add", items=[A, B])
    stage.land(me)
    assert me.do("release", blocked=blocked) == (1, 0)
    assert stage.client.lrange(KEYS.queue, 0, -1) == [B, A]
    assert stage.client.exists(KEYS.consumers, KEYS.meta) == 2 * blocked


def test_three_wake_when_an_item_is_due_and_the_others_look_now_and_then(stage: Stage) -> None:
    actors = [stage.actor(f"c{number}") for number in range(5)]

    def blocks(slice_ms: int, numbers: Sequence[int] = range(5)) -> list[float]:
        return [actors[number].do("get", count=1, wait=Wait(slice_ms=slice_ms)).block for number in numbers]

    assert blocks(4000) == [4.0] * 5
    producer = stage.actor("producer")
    producer.do("put_off", items=[A], delay=2.0)
    # A server may end a move a tenth of a second late.
    assert blocks(4000) == [1.9, 1.91, 1.92, 1.0, 1.0]
    assert blocks(4000) == [1.9, 1.91, 1.92, 1.0, 1.0], "who wakes stays the same"
    assert blocks(500) == [0.5] * 5
    stage.later(1)
    producer.do("put_off", items=[B], delay=0.5)
    assert blocks(4000, [4, 3, 2, 1, 0]) == [0.4, 0.41, 0.42, 1.0, 1.0], "for another item they are chosen anew"
    stage.later(60)
    assert stage.actor().get() == [B, A]
    assert not stage.client.exists(KEYS.meta)
    producer.do("put_off", items=[A], delay=60.0)
    assert blocks(4000) == [1.0] * 5


@pytest.mark.parametrize(("left", "block", "nap"), [(0.25, 0.15, 0.0), (0.1875, 0.0, 0.188), (0.0005, 0.0, 0.001)])
def test_just_before_an_item_is_due_its_wakers_sleep(stage: Stage, left: float, block: float, nap: float) -> None:
    me = stage.actor()
    stage.client.zadd(KEYS.delayed, {"0\na": START + left})
    me.do("get", count=1, wait=Wait(slice_ms=100))
    found = me.do("get", count=1, wait=SLICE)
    assert (found.block, found.nap) == (block, nap)
    assert stage.client.hexists(KEYS.consumers, "me-1/landing") is (block > 0)
    other = stage.actor("other").do("get", count=1, wait=SLICE)
    assert stage.client.hexists(KEYS.consumers, "other/landing") is (other.block > 0) is (block > 0)


def test_one_that_waits_alone_wakes_in_time_however_often_it_was_woken_before(stage: Stage) -> None:
    me, producer = stage.actor(), stage.actor("producer")
    producer.do("put_off", items=[X], delay=3.9)
    for number in range(6):
        found = me.do("get", count=1, wait=SLICE)
        assert 0 < found.block + found.nap <= 3.9 - number * 0.6
        stage.later(0.6)
    found = me.do("get", count=1, wait=SLICE)
    assert 0.15 < found.block + found.nap <= 0.3


# Leases


def test_a_consumer_is_swept_after_its_own_lease(stage: Stage) -> None:
    leased, old, me = stage.actor("leased"), stage.actor("old"), stage.actor()
    me.do("add", items=[A, B])
    assert leased.get(1, wait=LEASE) == [A]
    assert old.get(1) == [B]
    assert stage.fields(KEYS.consumers) == {b"leased": b"1 1", b"leased/lease": b"30.0 1", b"old": b"1 1"}
    stage.later(29.9)
    assert me.do("re_enqueue", timeout=7200.0) == (0, 0)
    stage.later(0.1)
    assert me.do("re_enqueue", timeout=7200.0) == (1, 0)
    assert stage.fields(KEYS.consumers) == {b"old": b"1 1"}
    assert stage.fields(KEYS.timeouts).keys() == {old.keys.processing}
    stage.later(7170)
    assert me.do("re_enqueue", timeout=7200.0) == (1, 0)
    assert not stage.client.exists(KEYS.consumers, KEYS.timeouts)
    assert not stage.client.exists(KEYS.deliveries), "nothing is counted without a limit"
    assert me.get() == [B, A]


def test_a_tenure_lasts_while_something_is_held(plain: Stage) -> None:
    me = plain.actor()
    me.do("add", items=[A, B, C])
    for sequence in (1, 2):
        assert me.do("get", count=1, wait=LEASE).tenure == 1
        me.held = Held(sequence)
    assert me.do("ack", items=[A, B]) == 2
    assert not plain.client.exists(KEYS.consumers)
    assert me.do("get", count=1, wait=LEASE).tenure == 3
    # An older library sweeps: it knows of no lease.
    plain.client.delete(me.keys.processing, KEYS.timeouts)
    me.do("add", items=[A])
    assert me.do("get", count=1, wait=LEASE).tenure == 4


@pytest.mark.parametrize(
    ("name", "given", "nothing"),
    [("ack", {}, 0), ("reject", {}, 0), ("bury", {}, 0), ("retry", {"waits": [1.0]}, (0, 0))],
)
def test_what_is_of_a_tenure_that_is_over_counts_nothing(
    stage: Stage, name: str, given: dict[str, Any], nothing: object
) -> None:
    me, other = stage.actor(), stage.actor("other")
    me.do("add", items=[A])
    assert me.get(1, wait=LEASE) == [A]
    stage.later(30)
    other.do("re_enqueue", timeout=7200.0)
    assert me.get(1, wait=LEASE) == [A], "the same item, in another tenure"
    before = state(stage.client)
    me.held = Held(2, 0, tenure=1)
    assert me.do(name, items=[A], **given) == nothing
    assert state(stage.client) == before
    me.held = Held(2, 0, tenure=2)
    assert me.do(name, items=[A], **given) in (1, (1, 0))


def test_a_beat_renews_a_lease_and_says_when_it_is_lost(stage: Stage) -> None:
    me, other = stage.actor(), stage.actor("other")
    me.do("add", items=[A])
    assert me.do("beat", lease=30.0) == (0, 0), "nothing is held"
    assert me.get(1, wait=LEASE) == [A]
    for _ in range(3):
        stage.later(29)
        assert me.do("beat", lease=30.0) == (1, 1)
        assert other.do("re_enqueue", timeout=7200.0) == (0, 0)
    stage.later(30)
    assert other.do("re_enqueue", timeout=7200.0) == (1, 0)
    assert me.do("beat", lease=30.0) == (0, 0)
    assert not stage.client.exists(KEYS.timeouts), "who holds nothing is no consumer"


def test_who_holds_without_a_lease_has_nothing_to_renew(stage: Stage) -> None:
    me = stage.actor()
    me.do("add", items=[A])
    me.get(1)
    stage.later(5)
    assert me.do("beat", lease=30.0)[0] == 0
    assert stage.fields(KEYS.timeouts) == {me.keys.processing: b"1700000000.000000"}


def test_one_sweeps_in_half_a_lease_whoever_they_are(stage: Stage) -> None:
    me, other = stage.actor(), stage.actor("other")
    me.do("add", items=[A])
    assert me.do("get", count=1, wait=LEASE).sweep
    assert not other.do("get", count=1, wait=LEASE).sweep
    stage.later(14.9)
    assert me.do("beat", lease=30.0) == (1, 0)
    assert me.do("beat", lease=29.8) == (1, 1)
    assert not other.do("get", count=1, wait=Wait(lease=29.8)).sweep
    stage.later(15)
    assert other.do("get", count=1, wait=LEASE).sweep
    assert stage.fields(KEYS.meta) == {b"swept": b"1700000029.900000"}
    stage.later(-3600)
    assert me.do("beat", lease=30.0) == (1, 1), "the server's clock was set back"
    stage.later(3600)
    assert not me.do("get", count=1).sweep, "who has no lease never does"


# Deliveries


def read_dead(actor: Actor) -> list[Letter]:
    letters: list[Letter] = actor.do("dead_letters", count=100)
    return letters


def test_a_retry_puts_off_longer_each_time_and_buries_in_the_end(stage: Stage) -> None:
    me, limits = stage.actor(), Limits(max_deliveries=4)
    me.do("add", items=[A])
    for delivery, wait in ((1, 1.0), (2, 2.5), (3, 2.5)):
        assert me.get() == [A]
        assert me.do("retry", items=[A], waits=[1.0, 2.5], limits=limits) == (1, 0)
        assert stage.fields(KEYS.deliveries) == {A: b"%d" % delivery}
        assert not stage.client.exists(me.keys.processing, KEYS.timeouts, KEYS.consumers)
        stage.later(wait - 0.001)
        assert me.get() == []
        stage.later(0.001)
    assert me.get() == [A]
    assert me.do("retry", items=[A], waits=[1.0, 2.5], limits=limits, reason="no luck") == (1, 1)
    assert read_dead(me) == [Letter(A, "no luck", START + 6, 4, "me-1")]
    assert not stage.client.exists(KEYS.deliveries, KEYS.delayed)


def test_counts_expire_and_never_before_the_item_comes_again(stage: Stage) -> None:
    me = stage.actor()
    me.do("add", items=[A, B])
    me.get()
    me.do("retry", items=[A], waits=[1000.25])
    assert stage.client.ttl(KEYS.deliveries) == 604_800 + 1001
    me.do("retry", items=[B], waits=[1.0])
    assert stage.client.ttl(KEYS.deliveries) == 604_800 + 1001, "a time to live is never shortened"


def test_equal_items_are_counted_together(plain: Stage) -> None:
    me = plain.actor()
    me.do("add", items=[X, X])
    me.get()
    assert me.do("retry", items=[X, X], waits=[1.0]) == (2, 0)
    assert plain.fields(KEYS.deliveries) == {X: b"2"}


@pytest.mark.parametrize(
    ("name", "given"), [("ack", {}), ("bury", {}), ("delete", {"count": 0}), ("delete", {"count": 1})]
)
def test_counts_vanish_with_their_items(stage: Stage, name: str, given: dict[str, Any]) -> None:
    me = stage.actor()
    me.do("add", items=[A, B])
    me.get()
    me.do("retry", items=[A, B], waits=[0.0])
    if name != "delete":
        me.get()
    else:
        me.do("get", count=0)  # what is due waits
    assert me.do(name, items=[A], **given) == 1
    left = {A, B} if given.get("count") else {B}
    assert stage.fields(KEYS.deliveries).keys() == left, "of one copy of perhaps many nothing is concluded"


def test_an_ack_of_many_forgets_their_counts_too(plain: Stage) -> None:
    me = plain.actor()
    items = [b"%d" % number for number in range(20)]
    me.do("add", items=[*items, A])
    me.get()
    me.do("retry", items=[*items, A], waits=[0.0])
    assert len(me.get()) == 21
    assert me.do("ack", items=[*items, b"unheard of"]) == 20
    assert plain.fields(KEYS.deliveries) == {A: b"1"}


def test_a_rejected_item_comes_back_until_it_was_delivered_so_often(stage: Stage) -> None:
    me, limits = stage.actor(), Limits(max_deliveries=2)
    me.do("add", items=[A, B])
    assert me.get(1) == [A]
    assert me.do("reject", items=[A], limits=limits) == 1
    assert me.get() == [A, B]
    assert me.do("reject", items=[A, B], limits=limits) == 2
    assert me.get() == [B]
    assert read_dead(me) == [Letter(A, "rejected", START, 2, "me-1")]
    assert stage.fields(KEYS.deliveries) == {B: b"1"}
    assert me.do("reject", items=[B]) == 1
    assert me.get() == [B], "without a limit nothing is counted"
    assert stage.fields(KEYS.deliveries) == {B: b"1"}


def test_what_may_have_killed_its_consumer_is_taken_alone(stage: Stage) -> None:
    dead, me, limits = stage.actor("dead"), stage.actor(), Limits(max_deliveries=3)
    me.do("add", items=[A, B, C])
    dead.get(2)
    me.do("re_enqueue", timeout=None, limits=limits)
    assert me.get(10, wait=LEASE) == [A]
    me.do("retry", items=[A], waits=[0.0], limits=limits)
    assert me.get(10) == [B, C, A], "who has no lease takes what it asks for"
    me.do("reject", items=[C, B, A])
    assert me.get(10, wait=LEASE) == [C], "a suspect waits behind it"
    assert me.get(10, wait=LEASE) == [B]
    assert me.get(10, wait=LEASE) == [A], "its last delivery was another matter"


def test_a_sweep_counts_as_a_delivery(stage: Stage) -> None:
    dead, me, limits = stage.actor("dead"), stage.actor(), Limits(max_deliveries=2)
    me.do("add", items=[A, B, C])
    assert dead.get(2) == [A, B]
    assert me.do("re_enqueue", timeout=None, limits=limits) == (2, 0)
    assert dead.get(3) == [A, B, C]
    stage.later(5)
    assert me.do("re_enqueue", timeout=None, limits=limits) == (1, 0)
    reason = "swept: its consumer fell silent"
    assert read_dead(me) == [Letter(item, reason, START + 5, 2, "dead") for item in (A, B)]
    assert (me.get(), stage.fields(KEYS.deliveries)) == ([C], {C: b"1 swept"})


def test_a_long_list_is_buried_by_its_consumers_name(plain: Stage) -> None:
    dead, me, limits = plain.actor("dead"), plain.actor(), Limits(max_deliveries=1)
    items = [b"%d" % number for number in range(1500)]
    plain.client.rpush(dead.keys.processing, *reversed(items))
    plain.client.hset(KEYS.timeouts, dead.keys.processing, "1")
    assert [me.do("re_enqueue", timeout=None, limits=limits) for _ in range(2)] == [(0, 1), (0, 0)]
    letters = me.do("dead_letters", count=2000)
    assert {letter.consumer for letter in letters} == {"dead"}
    assert sorted(letter.raw for letter in letters) == sorted(items)
    assert not plain.client.exists(KEYS.timeouts, KEYS.deliveries)


# Clocks


def test_a_stamp_is_the_servers_time(stage: Stage) -> None:
    me, client = stage.actor(), stage.client
    me.do("add", items=[A])
    before = client.time()
    me.get(1, now="", wait=LEASE)
    me.do("pause", now="")
    me.do("bury", items=[A], now="")
    me.do("put_off", items=[B], delay=0.0, now="")
    after = client.time()
    seen = [*(float(value) for value in stage.fields(KEYS.meta).values()), read_dead(me)[0].when]
    seen.append(client.zrange(KEYS.delayed, 0, 0, withscores=True)[0][1])
    first, last = (seconds + micro / 1e6 for seconds, micro in (before, after))
    assert len(seen) == 4
    assert all(first - 1e-5 <= stamp <= last + 1e-5 for stamp in seen)
