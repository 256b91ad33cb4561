"""What no other test would see go wrong: each of these was written for one of the deliberate defects of `make mutants`.

On a fake server whose time stands still.
"""

from __future__ import annotations

from itertools import count

import pytest

from pyrq.core import ops, session_ops
from pyrq.core.errors import OutcomeUnknown
from pyrq.core.keys import Keys, Kind
from pyrq.core.session import GET_LANE, Held, Identity
from pyrq.core.waiting import NO_WAIT
from tests.unit.builders import QUEUES
from tests.unit.helpers import KEYS, Clock, Stage
from tests.unit.worlds import World, opened, timed

A, B = b"a", b"b"

world = pytest.fixture(params=["sync", "aio"])(opened)


@pytest.fixture(params=QUEUES, ids=["plain", "unique"])
def stage(request: pytest.FixtureRequest) -> Stage:
    return Stage(Clock(), request.param)


@pytest.fixture
def plain() -> Stage:
    return Stage(Clock(), Kind.PLAIN)


def test_what_the_server_does_not_know_of_is_not_confirmed(stage: Stage) -> None:
    me = stage.actor()
    call = me.call("add", items=[A])
    me.run(call)
    me.run(session_ops.confirm(call))
    stage.client.delete(me.keys.session)  # as a failover that lost it
    with pytest.raises(OutcomeUnknown):
        me.run(session_ops.confirm(call))


def test_a_get_that_runs_behind_a_later_one_takes_nothing(stage: Stage) -> None:
    me = stage.actor()
    me.do("add", items=[A, B])
    late = me.call("get", count=1)
    assert me.get(1) == [A]
    with pytest.raises(OutcomeUnknown):
        me.run(late)
    assert me.get(1) == [B]


def test_what_was_buried_is_held_no_more(stage: Stage) -> None:
    me = stage.actor()
    me.do("add", items=[A, B])
    me.get()
    assert me.do("bury", items=[A]) == 1
    assert me.do("re_enqueue", timeout=None) == (1, 0)
    assert me.get() == [B]
    assert [letter.raw for letter in me.do("dead_letters", count=9)] == [A]


def test_of_equal_items_the_oldest_is_acknowledged(plain: Stage) -> None:
    me = plain.actor()
    me.do("add", items=[A, B, A])
    assert me.get() == [A, B, A]
    assert me.do("ack", items=[A]) == 1
    me.do("re_enqueue", timeout=None)
    assert me.get() == [B, A]


@pytest.mark.parametrize("timeout", [None, 1.0])
def test_what_was_held_for_longest_comes_out_first(stage: Stage, timeout: float | None) -> None:
    first, second, me = stage.actor("z-1"), stage.actor("a-1"), stage.actor()
    me.do("add", items=[A, B])
    assert first.get(1) == [A]
    stage.later(5)
    assert second.get(1) == [B]
    stage.later(5)
    assert me.do("re_enqueue", timeout=timeout) == (2, 0)
    assert me.get() == [A, B]


def test_a_consumer_whose_long_list_is_being_swept_holds_none_of_it(plain: Stage) -> None:
    silent, me = plain.actor("silent"), plain.actor()
    items = [b"%d" % number for number in range(1500)]
    plain.client.rpush(silent.keys.processing, *reversed(items))
    plain.client.hset(KEYS.timeouts, silent.keys.processing, "1")
    assert me.do("re_enqueue", timeout=10.0) == (1000, 1)
    assert silent.do("ack", items=items[:1]) == 0, "a part of it goes to others"
    assert me.do("re_enqueue", timeout=10.0) == (500, 0)
    assert [item for _ in range(2) for item in me.get(1000)] == items


def test_a_get_that_found_nothing_and_runs_once_more_strands_nothing(world: World) -> None:
    """An empty answer left no record, so it is none to confirm: the request may still be somewhere in the network."""
    queue = world.queue()
    assert queue.get_items(1) == []
    (late,) = world.backend.of("get")
    queue.add_item("a")
    assert world.send(late).items == [A]
    assert queue.get_items(1) == ["a"]
    assert queue.ack_item("a") is True


def test_who_comes_back_while_a_sweep_is_under_way_keeps_what_it_holds(world: World) -> None:
    holder, numbers = Keys.of("orders", "holder-1"), count(1)
    back: list[bytes] = []

    def get() -> list[bytes]:
        number = next(numbers)
        call = ops.get(holder, Identity(GET_LANE, number, 120), Held(number - 1), 1, NO_WAIT)
        items: list[bytes] = world.send(timed(call, world.backend.now)).items
        return items

    def come_back() -> None:
        if not back and world.backend.names[-1] != "re_enqueue":
            back.extend(get())

    queue = world.queue()
    queue.add_items(["a", "b"])
    assert get() == [A]
    world.backend.at(8000)
    world.backend.after = come_back
    swept = queue.re_enqueue_timeout_items(7200)
    # Whoever looks before it sweeps must look again then.
    assert swept == (0 if back else 1)
