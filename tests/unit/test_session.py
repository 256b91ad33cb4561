from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrq.core.session import GET_LANE, Held, Identity, Inbox, Lane, Moves, Session, session_ttl
from pyrq.core.waiting import Found

items_of = st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=8)


def brought(items: list[bytes], tenure: int = 1) -> Found:
    """Gives what a get heard that found some items."""
    return Found(items, tenure, sweep=False, block=0.0, nap=0.0)


@pytest.fixture
def hasty() -> Iterator[None]:
    """Makes threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize(("deadline", "ttl"), [(0, 120), (29.7, 120), (30, 121), (30.5, 123), (3600, 14_401)])
def test_a_session_outlives_its_calls(deadline: float, ttl: int) -> None:
    assert session_ttl(deadline) == ttl


def test_a_lane_counts_from_one() -> None:
    lane = Lane(b"1", 120)
    assert lane.last() == Identity(b"1", 0, 120)
    assert lane.next() == Identity(b"1", 1, 120)
    assert lane.next() == lane.last() == Identity(b"1", 2, 120)
    assert lane.last().args() == (b"1", b"2", b"120")


def test_a_free_lane_is_used_again() -> None:
    session = Session(120)
    first = session.lease()
    second = session.lease()
    assert first.next().lane != second.next().lane
    session.free([first])
    assert session.lease() is first
    assert session.lease().next().lane == b"3"


def test_the_lane_of_gets_is_none_of_the_numbered_ones() -> None:
    session = Session(120)
    assert session.inbox.lane.next() == Identity(GET_LANE, 1, 120)
    assert GET_LANE not in {session.lease().next().lane for _ in range(20)}


def test_a_doubtful_lane_is_given_out_to_be_burnt_only() -> None:
    session = Session(120)
    lane = session.lease()
    session.doubt([lane])
    assert session.lease() is not lane
    assert session.doubtful() == [lane]
    assert session.doubtful() == []
    session.free([lane])
    assert session.lease() is lane


def test_another_thread_may_take_the_last_doubtful_lane() -> None:
    class Emptied(list[Lane]):
        def pop(self, index: object = -1) -> Lane:
            raise IndexError

    session = Session(120)
    session._doubtful = Emptied([session.lease()])
    assert session.doubtful() == []


def test_threads_never_share_a_lane(hasty: None) -> None:
    session = Session(120)
    problems: list[str] = []
    used: set[bytes] = set()
    busy: set[bytes] = set()
    start = threading.Barrier(6)

    def work() -> None:
        start.wait()
        for turn in range(400):
            doubtful = session.doubtful()
            lane = session.lease()
            for one in (*doubtful, lane):
                name = one.last().lane
                if name in busy:
                    problems.append(f"{name!r} is leased twice")
                busy.add(name)
                used.add(name)
            lane.next()
            busy.difference_update(one.last().lane for one in (*doubtful, lane))
            session.free(doubtful)
            (session.doubt if turn % 3 == 0 else session.free)([lane])

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    # Every call got a sequence of its own, and nothing was forgotten.
    left = [*session.doubtful(), *(session.lease() for _ in range(len(used) - len(session._doubtful)))]
    assert sum({lane.last().lane: lane.sequence for lane in left}.values()) == 6 * 400


# The inbox


def test_an_empty_inbox() -> None:
    inbox = Inbox(120)
    assert (len(inbox), inbox.held, inbox.peek(5)) == (0, Held(0, 0), [])


NINE = [b"%d" % number for number in range(9)]


def whole(items: list[bytes]) -> Found:
    return replace(brought(items), whole=True)


def test_a_batch_that_was_all_that_is_held_is_proved_once() -> None:
    inbox = Inbox(120)
    inbox.arrived(inbox.lane.next(), whole(NINE))
    inbox.take(9)
    assert inbox.prove(list(NINE)) == Held(1)
    assert inbox.prove(list(NINE)) is None


@pytest.mark.parametrize("items", [NINE[::-1], NINE[:8], [*NINE, b"0"], [], [*NINE[:8], b"x"]])
def test_other_items_are_not_proved_and_neither_is_what_is_left_of_them(items: list[bytes]) -> None:
    inbox = Inbox(120)
    inbox.arrived(inbox.lane.next(), whole(NINE))
    inbox.take(9)
    assert inbox.prove(items) is None
    assert inbox.prove(NINE) is None


def test_what_was_not_all_of_it_or_was_not_taken_is_not_proved() -> None:
    inbox = Inbox(120)
    inbox.arrived(inbox.lane.next(), brought(NINE))
    inbox.take(9)
    assert inbox.prove(NINE) is None
    inbox.arrived(inbox.lane.next(), whole(NINE))
    inbox.take(8)
    assert inbox.prove(NINE) is None


def test_an_earlier_batch_is_not_proved_by_a_later_one() -> None:
    inbox = Inbox(120)
    inbox.arrived(inbox.lane.next(), whole(NINE))
    inbox.take(9)
    inbox.arrived(inbox.lane.next(), brought([b"x"]))
    inbox.take(1)
    assert inbox.prove(NINE) is None


def test_a_few_items_are_not_worth_a_proof() -> None:
    inbox = Inbox(120)
    inbox.arrived(inbox.lane.next(), whole(NINE[:7]))
    inbox.take(7)
    assert inbox.prove(NINE[:7]) is None


def test_what_arrived_is_kept_until_taken() -> None:
    inbox = Inbox(120)
    inbox.arrived(inbox.lane.next(), brought([b"a", b"b", b"c"]))
    assert inbox.held == Held(1, 3)
    assert inbox.peek(2) == [b"a", b"b"]
    assert len(inbox) == 3
    inbox.take(2)
    assert inbox.held == Held(1, 1)
    assert inbox.peek(9) == [b"c"]
    inbox.arrived(inbox.lane.next(), brought([b"d"]))
    assert inbox.held == Held(2, 2)
    assert inbox.peek(9) == [b"c", b"d"]


def test_equal_items_are_discarded_one_by_one_the_oldest_first() -> None:
    inbox = Inbox(120)
    inbox.arrived(inbox.lane.next(), brought([b"a", b"x", b"b", b"x", b"x"]))
    inbox.discard([b"x", b"x"])
    assert inbox.peek(9) == [b"a", b"b", b"x"]
    assert inbox.held == Held(1, 3)


def test_what_is_restored_comes_out_first_in_its_order() -> None:
    inbox = Inbox(120)
    inbox.arrived(inbox.lane.next(), brought([b"a"]))
    inbox.restore([b"x", b"y"])
    assert inbox.peek(9) == [b"x", b"y", b"a"]
    assert inbox.held == Held(1, 3)


@pytest.mark.parametrize(("count", "left"), [(0, [b"a", b"b"]), (1, [b"a"]), (2, []), (3, [])])
def test_the_newest_are_forgotten(count: int, left: list[bytes]) -> None:
    inbox = Inbox(120)
    inbox.arrived(inbox.lane.next(), brought([b"a", b"b"]))
    inbox.forget(count)
    assert inbox.peek(9) == left
    assert inbox.held == Held(1, len(left))


def test_what_is_promised_counts_as_returned_and_is_the_oldest() -> None:
    inbox = Inbox(120)
    inbox.arrived(inbox.lane.next(), brought([b"a", b"b", b"c"]))
    inbox.promise(2)
    assert (len(inbox), inbox.peek(9), inbox.held) == (1, [b"a"], Held(1, 1))
    inbox.redeem(1)
    inbox.take(1)  # whoever comes first has the oldest
    assert (len(inbox), inbox.peek(9), inbox.held) == (1, [b"b"], Held(1, 1))
    inbox.redeem(1)  # and that one was cancelled
    assert (len(inbox), inbox.peek(9), inbox.held) == (2, [b"b", b"c"], Held(1, 2))


def test_a_release_and_a_cancelled_caller_whose_share_was_promised_leave_that_share() -> None:
    inbox = Inbox(120)
    inbox.arrived(inbox.lane.next(), brought([b"a", b"b", b"c"]))
    inbox.promise(1)
    about = inbox.held.kept
    inbox.redeem(1)  # cancelled while the release is under way
    inbox.forget(about)
    assert (inbox.peek(9), inbox.held) == ([b"a"], Held(1, 1))


def test_of_what_is_gone_nothing_is_redeemed() -> None:
    inbox = Inbox(120)
    inbox.arrived(inbox.lane.next(), brought([b"a", b"b"]))
    inbox.promise(2)
    inbox.forget()
    assert (len(inbox), inbox.peek(9), inbox.held) == (0, [], Held(1, 0))
    inbox.redeem(2)
    assert (len(inbox), inbox.peek(9), inbox.held) == (0, [], Held(1, 0))


STEPS = ["arrive", "take", "discard", "restore", "forget", "promise", "redeem"]


@given(st.lists(st.tuples(st.sampled_from(STEPS), items_of), max_size=20))
def test_what_is_told_is_what_is_there(steps: list[tuple[str, list[bytes]]]) -> None:
    inbox = Inbox(120)
    model: list[bytes] = []
    received = promised = 0
    for step, items in steps:
        free = max(0, len(model) - promised)
        size = min(len(items), free)
        if step == "arrive":
            identity = inbox.lane.next()
            received = identity.sequence
            inbox.arrived(identity, brought(items))
            model += items
        elif step == "take":
            inbox.take(size)
            model = model[size:]
        elif step == "discard":
            gone = model[-size:] if size else []
            inbox.discard(gone)
            for item in gone:
                model.remove(item)
        elif step == "restore":
            inbox.restore(items)
            model = items + model
        elif step == "forget":
            inbox.forget(size)
            model = model[: len(model) - size]
        elif step == "promise":
            inbox.promise(size)
            promised += size
        else:
            inbox.redeem(min(promised, len(items)))
            promised -= min(promised, len(items))
        free = max(0, len(model) - promised)
        assert inbox.peek(10**6) == model[:free]
        assert len(inbox) == free
        assert inbox.held == Held(received, free)


def test_an_interrupt_between_the_items_and_their_count_is_made_good() -> None:
    class Interrupted(deque[bytes]):
        def extend(self, items: Iterable[bytes]) -> None:
            super().extend(items)
            raise KeyboardInterrupt

    inbox = Inbox(120)
    inbox.arrived(inbox.lane.next(), brought([b"a"]))
    inbox._items = Interrupted(inbox._items)
    with pytest.raises(KeyboardInterrupt):
        inbox.arrived(inbox.lane.next(), brought([b"b", b"c"]))
    assert inbox.held == Held(1, 1)
    inbox.resume()
    assert inbox.held == Held(2, 3)
    inbox.take(3)
    inbox.resume()
    assert inbox.held == Held(2, 0)


def test_what_did_not_arrive_does_not_count() -> None:
    class Interrupted(deque[bytes]):
        def extend(self, items: Iterable[bytes]) -> None:
            raise KeyboardInterrupt

    inbox = Inbox(120)
    inbox._items = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        inbox.arrived(inbox.lane.next(), brought([b"a"]))
    inbox.resume()
    assert inbox.held == Held(0, 0)


def test_the_tenure_is_that_of_the_last_get() -> None:
    inbox = Inbox(120)
    assert inbox.tenure == 0
    inbox.arrived(inbox.lane.next(), brought([b"a"], tenure=4))
    inbox.arrived(inbox.lane.next(), brought([b"b"], tenure=9))
    inbox.take(2)
    assert inbox.tenure == 9
    assert inbox.held == Held(2, 0, 0), "what was not returned yet belongs to no lease"


# Blocking moves


def test_a_move_counts_while_it_is_under_way() -> None:
    moves = Moves()
    assert moves.count(100.0) == 0
    one, other = moves.begin(), moves.begin()
    assert moves.count(100.0) == 2
    moves.end(one)
    moves.end(one)
    assert moves.count(100.0) == 1
    moves.end(other)
    assert moves.count(100.0) == 0


def test_a_move_whose_answer_is_lost_counts_until_its_time_is_up() -> None:
    moves = Moves()
    moves.lose(moves.begin(), until=105.0)
    assert (moves.count(100.0), moves.count(104.9)) == (1, 1)
    assert (moves.count(105.0), moves.count(200.0)) == (0, 0)


def test_of_lost_moves_the_last_one_counts() -> None:
    moves = Moves()
    first, last, running = moves.begin(), moves.begin(), moves.begin()
    moves.lose(last, until=109.0)
    moves.lose(first, until=105.0)
    assert moves.count(107.0) == 2, "the one that runs, and what is lost"
    moves.end(running)
    assert (moves.count(108.9), moves.count(109.0)) == (1, 0)


def test_threads_may_begin_and_end_moves_at_once(hasty: None) -> None:
    moves = Moves()
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        for turn in range(500):
            move = moves.begin()
            moves.count(0.0)
            if turn % 2:
                moves.end(move)
            else:
                moves.lose(move, until=50.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (moves.count(49.0), moves.count(50.0)) == (1, 0)


# At rest


def test_a_session_is_at_rest_when_all_lanes_are_back() -> None:
    session = Session(120)
    assert session.at_rest()
    lane = session.lease()
    assert not session.at_rest()
    session.doubt([lane])
    assert not session.at_rest()
    session.free(session.doubtful())
    assert session.at_rest()
    assert session.returning is None
    assert session.moves.count(0.0) == 0
