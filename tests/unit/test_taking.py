"""Waiting for items, in both worlds, on a clock that nobody waits for."""

from __future__ import annotations

from typing import Any

import pytest

from pyrq import errors
from pyrq.core.errors import OutcomeUnknown, QueueClosedError, ServerFullError, ServerGoneError
from tests.unit.helpers import BrokenCodec, Fault, nothing_sent
from tests.unit.taking_helpers import MoveFault, Wrist, wear
from tests.unit.worlds import NOW, World, dump, numbers, opened

world = pytest.fixture(params=["sync", "aio"])(opened)


@pytest.fixture
def wrist(world: World, monkeypatch: pytest.MonkeyPatch) -> Wrist:
    return wear(monkeypatch, world.module, world.backend)


def push(world: World, *items: str) -> None:
    """Adds items as any producer does."""
    world.client.lpush("orders", *items)


def registered(world: World, queue: Any) -> bool:
    """Says whether the queue's landing list is known on the server."""
    return bool(world.client.hexists("orders/consumers", f"{queue.client_id}/landing"))


def landing(queue: Any) -> str:
    return f"orders/landing/{queue.client_id}"


# Nothing, or something


def test_what_is_there_is_taken_without_waiting(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    queue.add_items(["a", "b", "c"])
    assert queue.get_items(2, timeout=60) == ["a", "b"]
    assert queue.get_items(2, 60) == ["c"]
    assert (world.backend.moves, wrist.naps, wrist.now) == ([], [], 5000.0)
    assert not registered(world, queue)


def test_nothing_comes_in_time(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    world.backend.reply_timeout = None
    assert queue.get_items(2, timeout=11) == []
    assert [round(seconds, 3) for _, _, seconds in world.backend.moves] == [5.0, 5.0, 1.0]
    assert wrist.now == pytest.approx(5011)
    source, target, _ = world.backend.moves[0]
    assert (source, target) == (b"orders", landing(queue).encode())
    assert world.backend.names == ["probe", "get", "get", "get", "get"]
    assert dump(world.client, but="/session/") == {}


def test_to_wait_for_no_time_is_to_look(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    assert queue.get_items(2, timeout=0) == []
    push(world, "a")
    assert queue.get_items(2, timeout=0) == ["a"]
    assert (world.backend.moves, wrist.naps) == ([], [])
    assert world.backend.names == ["probe", "get", "get"]


def test_to_get_none_does_not_wait(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    with nothing_sent(world.backend):
        assert queue.get_items(0, timeout=60) == []
    assert world.backend.moves == []


def test_it_registers_before_it_blocks_and_takes_all_that_is_there_then(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    known: list[bool] = []

    def look() -> None:
        known.append(registered(world, queue))
        push(world, "a", "b", "c")

    world.backend.when_moving = [look]
    assert queue.get_items(9, timeout=60) == ["a", "b", "c"]
    assert known == [True]
    assert wrist.now == 5000
    assert not registered(world, queue)
    assert not world.client.exists(landing(queue))
    assert queue.ack_items(["a", "b", "c"]) == 3


@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
def test_what_landed_comes_first_and_only_as_much_as_was_asked_for(world: World, wrist: Wrist, kind: str) -> None:
    queue = world.any(kind)
    other = world.any(kind)
    queue.get_count()
    world.backend.when_moving = [lambda: push(world, "a", "b")]
    if kind == "UniqueQueue":
        world.client.sadd("orders-unique", "a", "b")
    assert queue.get_items(1, timeout=60) == ["a"]
    assert other.get_items(9) == ["b"]


def test_an_item_that_comes_in_the_last_slice(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    world.backend.when_moving = [lambda: None, lambda: push(world, "late")]
    assert queue.get_items(1, timeout=4.5) == ["late"]
    assert len(world.backend.moves) == 2


def test_an_item_that_comes_when_the_time_is_up_is_still_taken(world: World, wrist: Wrist) -> None:
    queue = world.queue()

    def late() -> None:
        wrist.pass_by(3)
        push(world, "late")

    world.backend.when_moving = [late]
    assert queue.get_items(1, timeout=2) == ["late"]


@pytest.mark.parametrize(("reply_timeout", "longest"), [(1.0, 0.7), (5.0, 3.9), (60.0, 5.0), (None, 5.0)])
def test_a_move_is_answered_before_the_socket_times_out(
    world: World, wrist: Wrist, reply_timeout: float | None, longest: float
) -> None:
    world.backend.reply_timeout = reply_timeout
    assert world.queue().get_items(1, timeout=30) == []
    assert max(seconds for _, _, seconds in world.backend.moves) == pytest.approx(longest)


def test_what_waits_in_the_object_is_handed_out_without_waiting(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    queue.add_items(["a", "b", "c"])
    world.backend.faults.append(Fault("get", OutcomeUnknown(), executed=True))
    with pytest.raises(OutcomeUnknown):
        queue.get_items(3)
    assert queue.get_items(1) == ["a"]
    assert queue.get_items(9, timeout=60) == ["b", "c"]
    assert world.backend.moves == []
    assert not registered(world, queue)


def test_more_than_a_chunk_after_waiting(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    world.backend.when_moving = [lambda: push(world, *numbers(0, 2500))]
    assert queue.get_items(2200, timeout=60) == numbers(0, 2200)
    assert len(world.backend.moves) == 1


def test_what_can_not_be_decoded_is_no_item_to_have_waited_for(world: World, wrist: Wrist) -> None:
    queue = world.queue(codec=BrokenCodec())
    world.backend.when_moving = [lambda: push(world, "bad1", "bad2"), lambda: push(world, "fine")]
    assert queue.get_items(5, timeout=60) == ["fine"]
    assert queue.dead.count() == 2
    assert len(world.backend.moves) == 2


def test_a_get_that_took_too_long_does_not_block_before_it_has_asked_again(world: World, wrist: Wrist) -> None:
    """Its registration may be over by then."""
    queue = world.queue()
    slow = [3.0, 0.0]
    world.backend.after = lambda: wrist.pass_by(slow.pop(0)) if slow and world.backend.names[-1] == "get" else None
    assert queue.get_items(1, timeout=4) == []
    assert world.backend.names.count("get") == 3
    assert len(world.backend.moves) == 1


# Paused, delayed


def test_a_paused_queue_is_looked_at_every_second(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    queue.add_item("a")
    queue.pause()
    assert queue.get_items(1, timeout=2.5) == []
    assert [round(nap, 3) for nap in wrist.naps] == [1, 1, 0.5]
    assert world.backend.moves == []
    assert not registered(world, queue)


def test_who_waits_for_a_paused_queue_sees_it_resume(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    queue.add_item("a")
    queue.pause()
    wrist.when_napping = [lambda: None, lambda: world.client.hdel("orders/meta", "paused")]
    assert queue.get_items(1, timeout=60) == ["a"]
    assert wrist.naps == [1, 1]


def test_who_blocks_when_it_is_paused_takes_nothing_that_landed(world: World, wrist: Wrist) -> None:
    queue = world.queue()

    def pause() -> None:
        world.client.hset("orders/meta", "paused", str(NOW))
        push(world, "a")

    world.backend.when_moving = [pause]
    assert queue.get_items(1, timeout=3) == []
    assert queue.get_count() == 1
    assert not registered(world, queue)
    assert not world.client.exists(landing(queue))


def test_who_waits_wakes_for_an_item_that_is_due(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    queue.add_item("later", delay=2)

    def pass_by(seconds: float) -> None:
        wrist.pass_by(seconds)
        world.backend.at(wrist.now - 5000)

    world.backend.waited = pass_by
    wrist.when_napping = [lambda: world.backend.at(wrist.now - 5000)] * 3
    assert queue.get_items(1, timeout=60) == ["later"]
    assert [round(seconds, 3) for _, _, seconds in world.backend.moves] == [1.9]
    assert wrist.now - 5000 == pytest.approx(2, abs=0.06)


# What goes wrong


def test_a_move_that_a_full_server_refuses(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    world.backend.move_faults = [MoveFault(ServerFullError()), MoveFault(ServerFullError())]
    wrist.when_napping = [lambda: None, lambda: push(world, "a")]
    assert queue.get_items(1, timeout=60) == ["a"]
    assert wrist.naps == [1.0, 1.0]
    assert not registered(world, queue)


def test_the_nap_after_a_refusal_is_no_longer_than_the_time_left(world: World, wrist: Wrist) -> None:
    world.backend.move_faults = [MoveFault(ServerFullError()) for _ in range(2)]
    assert world.queue().get_items(1, timeout=1.25) == []
    assert [round(nap, 3) for nap in wrist.naps] == [1.0, 0.25]


def test_a_move_whose_answer_is_lost_brought_an_item(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    world.backend.when_moving = [lambda: push(world, "a", "b")]
    world.backend.move_faults = [MoveFault(OutcomeUnknown(), executed=True)]
    assert queue.get_items(1, timeout=60) == ["a"]
    assert wrist.naps == [0.1]
    assert registered(world, queue)  # another item may still land
    assert queue.ack_item("a") is True


def test_an_item_that_a_lost_move_brings_late(world: World, wrist: Wrist) -> None:
    """It runs although its sender has given up; the registration is kept until it can't any more."""
    queue = world.queue()
    world.backend.move_faults = [MoveFault(OutcomeUnknown())]
    assert queue.get_items(1, timeout=1) == []
    assert registered(world, queue)
    push(world, "a")
    world.client.lmove("orders", landing(queue), "RIGHT", "LEFT")
    assert queue.get_items(1) == ["a"]
    assert registered(world, queue)
    wrist.pass_by(7)
    assert queue.get_items(1) == []
    assert not registered(world, queue)


@pytest.mark.parametrize(
    "error",
    [errors.PermissionDeniedError, errors.AuthenticationError, errors.WrongTypeError, errors.ServerRefusedError],
)
def test_a_failure_that_does_not_pass_is_raised(world: World, wrist: Wrist, error: type[errors.RqError]) -> None:
    queue = world.queue()
    world.backend.move_faults = [MoveFault(error())]
    with pytest.raises(error):
        queue.get_items(1, timeout=60)
    push(world, "a")
    assert queue.get_items(1) == ["a"]
    assert not registered(world, queue)


def test_a_server_that_is_gone_is_asked_again(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    world.backend.move_faults = [MoveFault(ServerGoneError())]
    wrist.when_napping = [lambda: push(world, "a")]
    assert queue.get_items(1, timeout=60) == ["a"]
    assert wrist.naps == [0.1]


def test_a_get_that_fails_while_waiting_is_raised_and_loses_nothing(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    world.backend.when_moving = [lambda: push(world, "a")]
    world.backend.faults.append(Fault("get", OutcomeUnknown(), executed=True, skip=1))
    with pytest.raises(OutcomeUnknown):
        queue.get_items(1, timeout=60)
    assert queue.get_items(1, timeout=60) == ["a"]
    assert len(world.backend.moves) == 1


class Interrupt(BaseException):
    """As Ctrl-C."""


@pytest.mark.parametrize("executed", [False, True])
def test_an_interrupt_of_a_move_loses_nothing(world: World, wrist: Wrist, executed: bool) -> None:
    queue = world.queue()
    world.backend.when_moving = [lambda: push(world, "a")]
    world.backend.move_faults = [MoveFault(Interrupt(), executed)]
    with pytest.raises(Interrupt):
        queue.get_items(1, timeout=60)
    assert registered(world, queue)
    assert queue.get_items(1) == ["a"]
    wrist.pass_by(10)
    assert queue.get_items(1) == []
    assert not registered(world, queue)


# The end


@pytest.mark.parametrize("end", ["release", "close"])
def test_what_landed_and_was_not_taken_goes_back(world: World, wrist: Wrist, end: str) -> None:
    queue, other = world.queue(), world.queue()
    world.backend.when_moving = [lambda: push(world, "a", "b")]
    world.backend.move_faults = [MoveFault(Interrupt(), executed=True)]
    with pytest.raises(Interrupt):
        queue.get_items(1, timeout=60)
    wrist.pass_by(10)
    assert getattr(queue, end)() == (1 if end == "release" else None)
    assert not registered(world, queue)
    assert not world.client.exists(landing(queue))
    assert other.get_items(9) == ["a", "b"]


def test_a_release_keeps_the_registration_while_a_move_may_still_bring_something(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    world.backend.move_faults = [MoveFault(OutcomeUnknown())]
    assert queue.get_items(1, timeout=1) == []
    assert queue.release() == 0
    assert registered(world, queue)
    wrist.pass_by(10)
    assert queue.release() == 0
    assert not registered(world, queue)


def test_what_a_lost_move_brings_after_the_end_is_swept(world: World, wrist: Wrist) -> None:
    queue, other = world.queue(), world.queue()
    world.backend.move_faults = [MoveFault(OutcomeUnknown())]
    world.backend.sure = False
    assert queue.get_items(1, timeout=1) == []
    queue.close()
    push(world, "a")
    world.client.lmove("orders", landing(queue), "RIGHT", "LEFT")
    assert other.re_enqueue_timeout_items(0) == 0  # not yet
    world.backend.at(60)
    assert other.re_enqueue_timeout_items(0) == 1
    assert other.get_items(9) == ["a"]
    assert not world.client.exists("orders/consumers") or not registered(world, queue)


def test_a_lost_move_that_the_server_knows_to_be_over_leaves_nothing(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    world.backend.move_faults = [MoveFault(OutcomeUnknown())]
    assert queue.get_items(1, timeout=1) == []
    assert registered(world, queue)
    queue.close()
    assert world.backend.woken == 1
    assert not world.client.exists("orders/consumers")


def test_a_closed_queue_does_not_wait(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    queue.close()
    for args in ((1, 5), (0, 5)):
        with nothing_sent(world.backend), pytest.raises(QueueClosedError):
            queue.get_items(*args)
    assert world.backend.moves == []


def test_a_queue_that_is_closed_while_somebody_waits(world: World, wrist: Wrist) -> None:
    queue = world.queue()
    world.backend.when_moving = [lambda: setattr(queue._run.member(), "closed", True)]
    with pytest.raises(QueueClosedError):
        queue.get_items(1, timeout=60)


@pytest.mark.parametrize("timeout", [-1, -0.5, float("nan"), float("inf"), 1e10, "soon", b"1", True, [1]])
@pytest.mark.parametrize(
    ("name", "args"), [("get_items", (1,)), ("get_items", (0,)), ("ack_and_get", (["a"], 1)), ("batch", (1,))]
)
def test_a_wrong_timeout_is_named_before_anything_is_sent(
    world: World, name: str, args: tuple[Any, ...], timeout: Any
) -> None:
    queue = world.queue()
    with nothing_sent(world.backend), pytest.raises((TypeError, ValueError), match=r"^timeout must be seconds"):
        getattr(queue, name)(*args, timeout=timeout)
