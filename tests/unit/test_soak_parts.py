from __future__ import annotations

import random
import threading
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest

from pyrq import Queue
from tests.faults.ledger import Ledger
from tests.integration.leaks import leaks, remains
from tests.lossy import raw_client
from tests.servers import Binary
from tests.soak.__main__ import ARENAS
from tests.soak.arena import Arena, AtLeastOnce, Site, options_for
from tests.soak.plan import Plan
from tests.soak.soak import FIGURES, ledger_line
from tests.soak.vitals import MEBIBYTE, Vitals, bytes_in, forget_sessions, stranded


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def plan(clock: Clock) -> Plan:
    return Plan(1800.0, {"items": 1_000, "kills": 100}, clock)


# The plan


def test_amounts_follow_the_time(plan: Plan) -> None:
    assert plan.amounts == {"items": 500, "kills": 50}


def test_of_all_there_is_at_least_one(clock: Clock) -> None:
    assert Plan(1.0, {"promotions": 300}, clock).amounts == {"promotions": 1}


def test_work_is_due_evenly(plan: Plan, clock: Clock) -> None:
    assert plan.behind({}, "items") == 0
    clock.now += 900
    assert plan.behind({}, "items") == 250
    assert plan.behind({"items": 240}, "items") == 10
    assert plan.behind({"items": 251}, "items") == 0
    clock.now += 9000
    assert plan.behind({}, "items") == 500


def test_it_is_over_when_the_time_has_passed_and_all_is_done(plan: Plan, clock: Clock) -> None:
    done = {"items": 500, "kills": 50}
    assert not plan.is_over(done)
    clock.now += 1800
    assert plan.is_over(done)
    assert not plan.is_over(done | {"kills": 49})


def test_what_takes_for_ever_is_given_up(plan: Plan, clock: Clock) -> None:
    clock.now += 1800 * 1.25 + 60
    assert plan.is_over({"items": 500})
    assert plan.missing({"items": 500}) == {"kills": 50}


@pytest.mark.parametrize(("seconds", "each"), [(6, 4), (60, 15), (3600, 45)])
def test_rounds_are_short_enough_to_hear_of_a_loss_soon(seconds: float, each: float) -> None:
    assert Plan(seconds, {}).round_seconds == each


def test_an_hour_does_what_was_promised() -> None:
    total = Counter[str]()
    for arena in ARENAS.values():
        total.update(arena.per_hour)
    assert total == {
        "items": 5_000_000,
        "faults": 100_000,
        "worker_kills": 2_000,
        "server_kills": 1_000,
        "promotions": 300,
    }
    assert set(total) == set(FIGURES)


# The account


def close(account: AtLeastOnce) -> dict[str, int]:
    ledger = Ledger()
    account.close(ledger)
    return {wrong: many for wrong, many in ledger.wrongs.items() if many}


def test_what_may_come_again_is_counted_once() -> None:
    account = AtLeastOnce()
    account.added(["a", "b"])
    account.acked(["a"])
    account.acked(["a", "b"])
    assert account.again == 1
    assert close(account) == {}


def test_what_came_again_makes_up_for_nothing_that_is_lost() -> None:
    account = AtLeastOnce()
    account.added(["a", "b"])
    account.acked(["a", "a"])
    assert close(account) == {"lost": 1}


# What must not grow


def test_growth_is_told() -> None:
    then = Vitals(memory=1000, descriptors=8)
    assert Vitals(1000 + MEBIBYTE, 8).growth(then) == []
    assert len(Vitals(1001 + MEBIBYTE, 8).growth(then)) == 1
    assert len(Vitals(1001 + MEBIBYTE, 9).growth(then)) == 2
    assert Vitals(0, 0).growth(then) == []


def test_bytes_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "under").mkdir()
    (tmp_path / "under" / "file").write_bytes(b"12345")
    assert bytes_in(tmp_path / "under") == 5


def test_only_sessions_that_expire_may_be_left(request: pytest.FixtureRequest) -> None:
    url = f"memory://{request.node.name}"
    client = raw_client(url)
    queue = Queue("orders", url)
    queue.add_items(["a", "b"])
    queue.ack_items(queue.get_items(2))
    assert leaks(client, "orders") == {}
    (session,) = client.scan_iter("*/session/*")
    assert stranded(client) == {}
    client.pexpire(session, 400)
    assert stranded(client) == {}, "this time to live is 0 seconds, rounded"
    client.expire(session, 1000)
    assert stranded(client).keys() == {session}
    client.persist(session)
    client.lpush("orders-processing-x", "a")
    assert stranded(client) == {session: -1, b"orders-processing-x": -1}
    assert forget_sessions(client) == 1
    assert stranded(client).keys() == {b"orders-processing-x"}
    queue.close()


def test_what_was_drained_holds_nothing(request: pytest.FixtureRequest) -> None:
    url = f"memory://{request.node.name}"
    client = raw_client(url)
    queue = Queue("orders", url, max_deliveries=1)
    queue.add_item("waits")
    assert remains(client, "orders").keys() == {b"orders"}
    queue.get_items(1)
    queue.reject_items(["waits"])
    queue.add_item("late", delay=60)
    assert leaks(client, "orders") == {}
    assert remains(client, "orders").keys() == {b"orders/dead", b"orders/delayed"}
    client.delete("orders/delayed")
    queue.dead.purge()
    assert remains(client, "orders") == {}
    (session,) = client.scan_iter("*/session/*")
    client.persist(session)
    assert remains(client, "orders").keys() == {session}
    queue.close()


# Arenas


class Nothing(Arena):
    name = "nothing"
    per_hour: ClassVar = {"items": 3600}

    def open(self, binary: Binary, opened: object) -> Site:
        raise ValueError("on purpose")

    def play(self, site: Site, name: str, rng: random.Random) -> None:
        raise NotImplementedError


@pytest.fixture
def arena(tmp_path: Path) -> Nothing:
    return Nothing(3600, 1, tmp_path, threading.Event())


def test_an_arena_that_raises_has_failed(arena: Nothing) -> None:
    thread = threading.Thread(target=arena.run)  # whose signals it blocks
    thread.start()
    thread.join()
    assert arena.trial.ledger.wrongs["failed"] == 1
    assert "on purpose" in arena.trial.ledger.reasons[0]


class Repeating(Nothing):
    name = "repeating"
    kind_of_account = AtLeastOnce


@pytest.mark.parametrize(("most", "beyond"), [(0, 2), (1, 1), (2, 0), (3, 0)])
def test_what_comes_again_too_often_is_blamed(tmp_path: Path, most: int, beyond: int) -> None:
    arena = Repeating(3600, 1, tmp_path, threading.Event())
    arena.account.acked(["a", "b", "a", "b"])
    arena.limit_repeats(most, "the dead can have held")
    assert arena.trial.ledger.wrongs["extra"] == beyond


def test_items_can_be_piled_up_ahead_of_the_plan(arena: Nothing) -> None:
    arena.added(["a", "b"])
    assert not arena.wants_items()
    arena.pile_up(2, 0)
    assert arena.wants_items()
    assert arena.resting.is_set()
    arena.added(["c", "d"])
    assert not arena.wants_items()
    arena.take_up()
    assert not arena.resting.is_set()


def test_a_stopped_arena_wants_nothing(arena: Nothing) -> None:
    arena.plan._began -= 10
    assert arena.wants_items()
    arena.pile_up(2, 0)
    arena.stopped.set()
    assert not arena.wants_items()
    assert arena.behind("items") == 0


def test_items_are_equal_or_not(arena: Nothing) -> None:
    rng = random.Random(1)
    assert len(set(arena.items(rng, 100, "one", copies=0))) == 100
    assert len(set(arena.items(rng, 100, "one", copies=1))) <= 20


@pytest.mark.parametrize(
    ("name", "has_some"), [("redis-6.2.14", False), ("redis-7.0.15", True), ("valkey-9.1.2", True)]
)
def test_options_are_known_to_the_server(name: str, has_some: bool) -> None:
    assert bool(options_for(Binary(name, "path"))) is has_some


def test_the_last_line() -> None:
    ledger = Ledger(Counter({"unknown": 3, "items": 7, "promotions": 1}))
    assert ledger_line(ledger, 0.5, 42) == (
        "ledger: seed=42 minutes=0.5 items=7 faults=0 worker_kills=0 server_kills=0 promotions=1"
        " lost 0 phantom 0 stranded 0 extra 0 leaked 0 failed 0"
    )
