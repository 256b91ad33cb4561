"""Acks by proof: all that is held is done with, if it is exactly what the last get brought; else nothing is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrq import Replicas
from pyrq.core import session_ops
from pyrq.core.errors import OutcomeUnknown
from pyrq.core.keys import Kind
from pyrq.core.limits import Limits
from pyrq.core.session import GET_LANE, Held
from pyrq.core.waiting import Wait
from tests.unit.builders import QUEUES
from tests.unit.helpers import KEYS, Actor, Clock, Fault, Stage
from tests.unit.worlds import World, numbers, opened

world = pytest.fixture(params=["sync", "aio"])(opened)
A, B, C, D, X = b"a", b"b", b"c", b"d", b"x"
LEASE = Wait(lease=30.0)
NOT_PROVED = -1


@pytest.fixture(params=QUEUES, ids=["plain", "unique"])
def stage(request: pytest.FixtureRequest) -> Stage:
    return Stage(Clock(), request.param)


def held_by(stage: Stage, actor: Actor) -> list[bytes]:
    """Gives what somebody holds, oldest first."""
    found: list[bytes] = stage.client.lrange(actor.keys.processing, 0, -1)
    return found[::-1]


def dumped(stage: Stage) -> dict[bytes, bytes]:
    """Gives all keys but the sessions'."""
    return {key: stage.client.dump(key) for key in stage.client.keys("*") if b"/session/" not in key}


# The script


def test_all_that_is_held_is_done_with(stage: Stage) -> None:
    me = stage.actor()
    me.do("add", items=[A, B, C])
    assert me.get(2, wait=LEASE) == [A, B]
    call = me.call("ack_all", size=2)
    assert me.run(call) == 2
    done = dumped(stage)
    assert stage.client.lrange(KEYS.queue, 0, -1) == [C]
    assert not stage.client.exists(me.keys.processing, KEYS.timeouts, KEYS.consumers)
    assert me.run(call) == 2, "sent again, it says the same"
    assert dumped(stage) == done
    assert me.run(session_ops.confirm(call)) is None


def test_the_counts_of_what_is_done_with_are_forgotten(stage: Stage) -> None:
    me = stage.actor()
    me.do("add", items=[A, B])
    stage.client.hset(KEYS.deliveries, mapping={"a": "1", "b": "2 swept", "c": "1"})
    me.get(2)
    assert me.do("ack_all", size=2) == 2
    assert stage.fields(KEYS.deliveries) == {C: b"1"}


def by_somebody_else(stage: Stage, me: Actor, script: str) -> None:
    stage.later(31)
    stage.actor("other").do(script, timeout=None, **({"limits": Limits()} if script == "re_enqueue" else {}))


def swept_and_taken_again(stage: Stage, me: Actor) -> None:
    by_somebody_else(stage, me, "re_enqueue")
    assert me.do("get", count=3, wait=LEASE).items == [A, B, C]


BETWEEN: dict[str, Callable[[Stage, Actor], object]] = {
    "an ack": lambda stage, me: me.do("ack", items=[B]),
    "an ack of one who does not know of the get": lambda stage, me: me.do("ack", held=Held(), items=[B]),
    "a reject": lambda stage, me: me.do("reject", items=[B]),
    "a burial": lambda stage, me: me.do("bury", items=[B]),
    "a retry": lambda stage, me: me.do("retry", items=[B], waits=[1.0]),
    "a get that is not received": lambda stage, me: me.do("get", count=1),
    "a sweep": lambda stage, me: by_somebody_else(stage, me, "re_enqueue"),
    "a drop": lambda stage, me: by_somebody_else(stage, me, "drop"),
    "a sweep, and a get that is not received": swept_and_taken_again,
    "an older library's sweep": lambda stage, me: stage.client.delete(me.keys.processing),
    "a part of one": lambda stage, me: stage.client.rpop(me.keys.processing),
    "a push of somebody": lambda stage, me: stage.client.lpush(me.keys.processing, X),
    "the end of the record": lambda stage, me: stage.client.hdel(KEYS.consumers, me.keys.consumer),
}


@pytest.mark.parametrize("between", BETWEEN)
def test_what_is_not_what_the_get_brought_is_not_touched(stage: Stage, between: str) -> None:
    me = stage.actor()
    me.do("add", items=[A, B, C])
    assert me.get(3, wait=LEASE) == [A, B, C]
    me.do("add", items=[D])
    BETWEEN[between](stage, me)
    before, held = dumped(stage), held_by(stage, me)
    if between.endswith("not know of the get"):
        assert me.do("ack_all", size=3) == 3, "it reached nothing"
        return
    assert me.do("ack_all", size=3) == NOT_PROVED
    assert dumped(stage) == before
    assert held_by(stage, me) == held


@pytest.mark.parametrize(
    ("held", "size"),
    [
        (Held(1), 2),
        (Held(0), 2),
        (Held(3), 2),
        (Held(2, kept=1), 2),
        (Held(2, tenure=7), 2),
        (Held(2), 1),
        (Held(2), 3),
        (Held(2, tenure=1), 3),
    ],
)
def test_who_says_something_else_than_the_record_proves_nothing(stage: Stage, held: Held, size: int) -> None:
    me = stage.actor()
    me.do("add", items=[A, B, C])
    assert me.get(1, wait=LEASE) == [A]
    assert me.get(2, wait=LEASE) == [B, C]
    me.do("ack", items=[A])
    stage.client.hset(KEYS.consumers, me.keys.consumer, "2 2")
    before = dumped(stage)
    assert me.do("ack_all", held=held, size=size) == NOT_PROVED
    assert dumped(stage) == before
    assert me.do("ack_all", held=Held(2, tenure=1), size=2) == 2


def test_what_was_held_before_is_not_proved_by_the_size_of_a_later_get(stage: Stage) -> None:
    me = stage.actor()
    me.do("add", items=[A, B])
    assert me.get(1) == [A]
    assert me.get(1) == [B]
    assert me.do("ack_all", size=1) == NOT_PROVED
    assert held_by(stage, me) == [A, B]


def test_a_batch_that_is_handed_out_again_can_be_proved(stage: Stage) -> None:
    me = stage.actor()
    me.do("add", items=[A, B, C])
    assert me.do("get", count=2).items == [A, B]
    found = me.do("get", count=3)
    assert (found.items, found.whole) == ([A, B, C], True)
    assert me.do("ack_all", held=Held(me.sequences[GET_LANE]), size=3) == 3


def test_late_behind_a_later_call_of_its_lane_it_does_nothing(stage: Stage) -> None:
    me = stage.actor()
    me.do("add", items=[A, B])
    me.get(2)
    late = me.call("ack_all", size=2)
    me.do("add", items=[C])
    with pytest.raises(OutcomeUnknown):
        me.run(late)
    assert held_by(stage, me) == [A, B]


def test_late_when_the_session_is_forgotten_it_reaches_nothing_that_came_since(stage: Stage) -> None:
    me = stage.actor()
    me.do("add", items=[A, B])
    me.get(2)
    late = me.call("ack_all", size=2)
    assert me.run(late) == 2
    stage.client.delete(me.keys.session)
    stage.actor("other").do("add", items=[A, B])
    me.get(2)
    assert me.run(late) == NOT_PROVED
    assert held_by(stage, me) == [A, B]


steps = st.lists(
    st.sampled_from(["add", "get", "get", "lose", "ack", "reject", "wrong", "prove", "prove", "sweep", "part"]),
    min_size=3,
    max_size=14,
)


@given(st.sampled_from(QUEUES), steps, st.data())
def test_only_what_the_caller_has_in_hand_is_ever_reached(kind: Kind, doing: list[str], data: st.DataObject) -> None:
    stage = Stage(Clock(), kind)
    me, other = stage.actor(), stage.actor("other")
    last: list[bytes] = []
    for step in doing:
        held, record = held_by(stage, me), stage.client.hget(KEYS.consumers, me.keys.consumer)
        some = data.draw(st.integers(1, 3))
        if step == "add":
            me.do("add", items=data.draw(st.lists(st.sampled_from([A, B, C]), min_size=1, max_size=3)))
        elif step == "get":
            last = me.get(some) or last
        elif step == "lose":
            me.do("get", count=some)
        elif step in ("ack", "reject") and held:
            me.do(step, items=held[:some])
        elif step == "wrong":
            assert me.do("ack_all", held=Held(me.held.received), size=len(last) + 1) == NOT_PROVED
        elif step == "sweep":
            other.do("re_enqueue", timeout=None, limits=Limits())
        elif step == "part":
            stage.client.rpop(me.keys.processing)
        elif step == "prove":
            many = me.do("ack_all", size=len(last))
            if many == NOT_PROVED:
                assert held_by(stage, me) == held
            else:
                assert many == len(held) > 0
                assert held == last
                assert record == b"%d %d" % (me.held.received, many)
                assert held_by(stage, me) == []


# What a get says, and moves


def test_a_get_says_whether_it_brought_all_that_is_held(stage: Stage) -> None:
    me = stage.actor()
    me.do("add", items=[A, B, C])
    call = me.call("get", count=1)
    assert me.run(call).whole
    assert me.run(call).whole, "and says it again"
    me.held = Held(1)
    found = me.do("get", count=1)
    assert (found.items, found.whole) == ([B], False)


def test_a_get_that_brings_nothing_does_not(stage: Stage) -> None:
    assert not stage.actor().do("get", count=1).whole


@pytest.mark.parametrize("many", [1, 2, 7, 8, 9, 30])
@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize("before", [0, 1])
def test_however_items_are_moved_they_keep_their_order(stage: Stage, many: int, left: int, before: int) -> None:
    me, items = stage.actor(), [b"%d" % number for number in range(40)][: many + left + before]
    me.do("add", items=items)
    if before:
        assert me.get(1) == items[:1]
    assert me.get(many) == items[before : before + many]
    assert held_by(stage, me) == items[: before + many]
    assert stage.client.lrange(KEYS.queue, 0, -1) == items[before + many :][::-1]
    waiting = stage.client.smembers(KEYS.unique)
    assert waiting == (set(items[before + many :]) if stage.kind is Kind.UNIQUE else set())
    me.do("reject", items=items[: before + many])
    assert me.get(40) == items


def test_a_time_to_live_stays_with_the_queue(stage: Stage) -> None:
    me, items = stage.actor(), [b"%d" % number for number in range(20)]
    me.do("add", items=items)
    stage.client.expire(KEYS.queue, 100)
    assert me.get(20) == items
    assert stage.client.ttl(me.keys.processing) == -1


# Facades

NINE = numbers(0, 9)


def taken(world: World, **options: Any) -> Any:
    """Gives a queue that took nine items, and nothing else."""
    queue = world.queue(**options)
    queue.add_items(NINE)
    assert queue.get_items(20) == NINE
    return queue


def test_a_batch_as_it_was_taken_is_acknowledged_by_proof(world: World) -> None:
    queue = taken(world)
    assert queue.ack_items(NINE) == 9
    assert world.backend.names[-1] == "ack_all"
    assert queue.ack_items(NINE) == 0
    assert world.backend.names[-1] == "ack"


def test_twice_sent_it_counts_once(world: World) -> None:
    queue = taken(world)
    world.backend.twice = True
    assert queue.ack_items(NINE) == 9


@pytest.mark.parametrize("items", [NINE[::-1], NINE[:8], [*NINE, "0"], [*NINE[:8], "0"], ["x", *NINE[1:]]])
def test_anything_else_is_acknowledged_by_its_items(world: World, items: list[str]) -> None:
    queue = taken(world)
    assert queue.ack_items(items) == len(set(items) & set(NINE))
    assert world.backend.names[-1] == "ack"
    queue.ack_items(NINE)
    assert world.backend.names[-1] == "ack", "it is not tried any more"


def test_few_items_are_sent(world: World) -> None:
    queue = world.queue()
    queue.add_items(NINE)
    assert queue.ack_items(queue.get_items(7)) == 7
    assert world.backend.names[-1] == "ack"
    assert "ack_all" not in world.backend.names


def test_what_no_caller_has_seen_is_not_reached(world: World) -> None:
    queue = world.queue()
    queue.add_items([*["a"] * 9, *["b"] * 9])
    assert queue.get_items(9) == ["a"] * 9
    world.backend.faults.append(Fault("get", OutcomeUnknown(), executed=True))
    with pytest.raises(OutcomeUnknown):
        queue.get_items(9)
    assert queue.ack_items(["a"] * 9) == 9
    assert world.backend.names[-2:] == ["ack_all", "ack"], "the record is of the later get"
    assert queue.get_items(20) == ["b"] * 9


def test_what_waits_in_the_inbox_is_not_reached(world: World) -> None:
    queue = world.queue()
    queue.add_items(["a"] * 18)
    world.backend.faults.append(Fault("get", OutcomeUnknown(), executed=True))
    with pytest.raises(OutcomeUnknown):
        queue.get_items(18)
    assert queue.get_items(9) == ["a"] * 9
    assert queue.ack_items(["a"] * 18) == 9
    assert queue.get_items(20) == ["a"] * 9


def test_where_something_was_swept_the_rest_is_acknowledged(world: World) -> None:
    queue = taken(world)
    world.client.rpop(queue.processing_queue_name)
    assert queue.ack_items(NINE) == 8
    assert world.backend.names[-2:] == ["ack_all", "ack"]


def test_a_batch_block_ends_with_a_proof(world: World) -> None:
    queue = world.queue()
    queue.add_items(NINE)
    with queue.batch(9):
        pass
    assert world.backend.names[-1] == "ack_all"
    assert queue.in_flight() == []


def test_acks_that_take_along_prove_one_batch_after_another(world: World) -> None:
    queue = taken(world)
    queue.ack_items(NINE)
    queue.add_items(numbers(0, 27))
    items = queue.get_items(9)
    before = len(world.backend.names)
    while items:
        items = queue.ack_and_get(items, 9)
    assert world.backend.names[before:] == ["ack_all", "get"] * 3
    assert queue.stats().in_flight == queue.get_count() == 0


def test_what_was_taken_along_stays_where_the_proof_fails(world: World) -> None:
    queue = taken(world)
    queue.add_items(NINE)
    world.client.rpop(queue.processing_queue_name)
    assert queue.ack_and_get(NINE, 9) == NINE
    assert world.backend.names[-3:] == ["ack_all", "get", "ack"]
    assert queue.stats().in_flight == 9
    assert queue.ack_items(NINE) == 9


def test_where_a_get_waits_for_replicas_too_items_are_sent(world: World) -> None:
    queue = taken(world, durability=Replicas(1))
    assert queue.ack_and_get(NINE, 1) == []
    assert world.backend.names[-2:] == ["ack", "get"]
