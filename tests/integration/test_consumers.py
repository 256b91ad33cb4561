"""Consumers in processes of their own: who is swept, who is not, and what becomes of what fails. Real time."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pyrq import Queue
from tests.integration.leaks import leaks
from tests.integration.workers import KINDS, Crew, Worker
from tests.proxy import SCRIPTS
from tests.servers import wait_until

LEASE = 0.9
HOURS = 7200.0

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def crew(url: str, tmp_path: Path) -> Iterator[Crew]:
    with Crew(url, tmp_path) as crew:
        yield crew


@pytest.fixture
def queue(url: str) -> Iterator[Queue[str]]:
    with Queue("orders", url) as queue:
        yield queue


@pytest.fixture(autouse=True)
def _nothing_is_left(client: Any, crew: Crew, queue: Queue[str]) -> Iterator[None]:
    yield
    assert queue.in_flight() == []
    assert leaks(client, "orders") == {}


def wait_for_sweeps(client: Any, count: int) -> None:
    """Waits until so many sweeps were begun, one after another."""
    seen = set()

    def is_enough() -> bool:
        seen.add(client.hget("orders/meta", "swept"))
        return len(seen) > count  # the first one had begun before

    wait_until(is_enough, 30)


def held(queue: Queue[str], worker: Worker) -> int:
    return sum(each.count for each in queue.in_flight() if each.consumer.startswith(worker.label))


def at_work(crew: Crew, worker: Worker, *begun: str) -> Worker:
    """Waits until these are the items that were begun."""
    wait_until(lambda: tuple(crew.books.begun) == begun or not worker.is_alive(), 30)
    assert worker.is_alive(), worker.said()
    return worker


def freeze(client: Any, workers: list[Worker]) -> bool:
    """Freezes workers while they are blocked; False if one was not."""
    for worker in workers:
        worker.send(signal.SIGSTOP)
    if client.info("clients")["blocked_clients"] == len(workers):
        return True
    for worker in workers:
        worker.send(signal.SIGCONT)
    return False


def registered(client: Any, worker: Worker) -> bool:
    return any(field.startswith(worker.label.encode()) for field in client.hkeys("orders/consumers"))


# Clocks


@pytest.mark.parametrize("shift", [HOURS, -HOURS])
@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_sweeps_are_right_where_clocks_are_hours_off(
    kind: str, shift: float, client: Any, crew: Crew, queue: Queue[str]
) -> None:
    queue.add_items(["mine"])
    living = at_work(crew, crew.hire(kind, "gate", shift=-shift, lease=LEASE), "mine")
    queue.add_items(["its"])
    dead = at_work(crew, crew.hire(kind, "gate", shift=-shift, lease=LEASE), "mine", "its")
    dead.kill()
    assert held(queue, dead) == 1
    sweeper = at_work(crew, crew.hire(kind, "gate", shift=shift, lease=LEASE), "mine", "its", "its")
    wait_for_sweeps(client, 4)
    assert [held(queue, each) for each in (living, dead, sweeper)] == [1, 0, 1]

    crew.books.open_gate()
    wait_until(lambda: not queue.in_flight(), 30)
    ends = [living.stop(), sweeper.stop()]
    assert [end["acked"] for end in ends] == [1, 1]
    assert [end["lost"] for end in ends] == [0, 0]
    assert sum(end["swept"] for end in ends) == 1
    assert crew.books.begun == ["mine", "its", "its"]
    wrong = [round(float(each)) for each in crew.books.notes("clock")]
    assert wrong == [-shift, -shift, shift]


# Lost leases


@every_kind
def test_a_handler_sees_that_its_lease_is_lost(kind: str, crew: Crew, queue: Queue[str]) -> None:
    queue.add_item("a")
    frozen = at_work(crew, crew.hire(kind, "watch", lease=LEASE), "a")
    frozen.send(signal.SIGSTOP)
    other = crew.hire(kind, "count", lease=LEASE)
    wait_until(lambda: crew.books.seen() == {"a": 1}, 30)
    assert crew.books.notes("lost") == []
    frozen.send(signal.SIGCONT)
    wait_until(lambda: crew.books.notes("lost") == ["a"], 30)
    assert crew.books.notes("cancelled") == (["a"] if kind == "aio" else [])
    end = frozen.stop()
    assert (end["lost"], end["acked"], end["returned"]) == (1, 0, 0)
    end = other.stop()
    assert (end["swept"], end["acked"]) == (1, 1)


@every_kind
def test_what_ends_after_its_lease_is_not_acknowledged(kind: str, crew: Crew, queue: Queue[str]) -> None:
    queue.add_item("a")
    frozen = at_work(crew, crew.hire(kind, "gate", lease=LEASE), "a")
    frozen.send(signal.SIGSTOP)
    wait_until(lambda: queue.re_enqueue_timeout_items() == 1, 30)
    assert queue.get_items(1) == ["a"]
    crew.books.open_gate()
    frozen.send(signal.SIGCONT)
    wait_until(lambda: frozen.has_said("was lost") or crew.books.done, 30)
    end = frozen.stop()
    assert (end["lost"], end["acked"], end["returned"]) == (1, 0, 0)
    assert queue.ack_item("a")


@every_kind
def test_an_ack_that_comes_after_a_sweep_counts_nothing(kind: str, crew: Crew, queue: Queue[str]) -> None:
    queue.add_item("a")
    worker = at_work(crew, crew.hire(kind, "gate", lease=3600), "a")  # no heartbeat tells it
    assert queue.re_enqueue_all_items() == 1
    assert queue.get_items(1) == ["a"]
    crew.books.open_gate()
    wait_until(lambda: crew.books.done, 30)
    end = worker.stop()
    assert (end["lost"], end["acked"], end["returned"]) == (1, 0, 0)
    assert queue.ack_item("a")


@every_kind
def test_a_handler_may_take_longer_than_the_lease(kind: str, client: Any, crew: Crew, queue: Queue[str]) -> None:
    queue.add_items(["a", "b"])
    worker = at_work(crew, crew.hire(kind, "gate", batch=2, lease=LEASE), "a")
    other = crew.hire(kind, "count", lease=LEASE)
    until = crew.books.now() + 3.5 * LEASE
    wait_until(lambda: crew.books.now() > until, 30)
    wait_for_sweeps(client, 3)
    assert held(queue, worker) == 2
    crew.books.open_gate()
    wait_until(lambda: not queue.in_flight(), 30)
    end = worker.stop()
    assert (end["acked"], end["lost"]) == (2, 0)
    assert other.stop()["swept"] == 0
    assert crew.books.begun == ["a", "b"]


# What was taken ahead


@every_kind
def test_what_a_killed_consumer_took_ahead_comes_again(kind: str, crew: Crew, queue: Queue[str]) -> None:
    items = [str(number) for number in range(20)]
    queue.add_items(items)
    killed = at_work(crew, crew.hire(kind, "gate", lease=LEASE, prefetch=9), "0")
    wait_until(lambda: held(queue, killed) == 10, 30)
    killed.kill()
    other = crew.hire(kind, "count", lease=LEASE, prefetch=4)
    wait_until(lambda: crew.books.handled(other.label) == len(items), 30)
    wait_until(lambda: not queue.in_flight(), 30)
    assert crew.books.seen() == dict.fromkeys(items, 1)
    assert other.stop()["acked"] == len(items)


# What lands for a consumer that does not take it


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_what_landed_for_a_silent_consumer_is_handled_once(
    kind: str, client: Any, crew: Crew, queue: Queue[str]
) -> None:
    frozen, killed = silent = [crew.hire(kind, "count", lease=LEASE) for _ in range(2)]
    wait_until(lambda: freeze(client, silent), 30)
    queue.add_items(["a", "b"])
    # Where a move has ended meanwhile, nothing lands, and the item waits in the queue.
    assert client.llen("orders") + sum(map(client.llen, client.scan_iter("orders/landing/*"))) == 2
    killed.kill()
    other = crew.hire(kind, "count", lease=LEASE)
    wait_until(lambda: crew.books.handled(other.label) == 2, 30)
    frozen.send(signal.SIGCONT)
    wait_until(lambda: not registered(client, killed), 30)
    assert frozen.stop()["taken"] == 0
    assert other.stop()["acked"] == 2
    assert crew.books.seen() == {"a": 1, "b": 1}


# Who sweeps


def test_one_consumer_sweeps_every_half_lease(client: Any, crew: Crew, queue: Queue[str]) -> None:
    lease, count = 1.0, 6
    queue.add_items(["a", "b"])
    busy = [crew.hire(kind, "gate", lease=lease) for kind in ("sync", "aio")]
    wait_until(lambda: sorted(crew.books.begun) == ["a", "b"], 30)
    waiting = [crew.hire(kind, "count", lease=lease) for kind in ("sync", "aio", "thread")]
    wait_until(lambda: client.info("clients")["blocked_clients"] == 3, 30)
    began, swept = watch_sweeps(client, count)
    crew.books.open_gate()
    wait_until(lambda: not queue.in_flight(), 30)
    for worker in busy + waiting:
        worker.stop()
    gaps = [later - sooner for sooner, later in pairwise(began)]
    assert min(gaps) >= lease / 2 - 1e-5
    assert count - 2 <= swept <= count


def watch_sweeps(client: Any, count: int) -> tuple[list[float], int]:
    """Watches the server until some sweeps were begun; gives when that was, and how often it was swept from then on."""
    began: list[float] = []
    swept = 0
    sha = SCRIPTS["re_enqueue"].sha.decode()
    with client.monitor() as monitor:
        while len(began) < count:
            command = monitor.next_command()["command"]
            words = command.split()
            if words[0].upper() == "HSET" and words[1:3] == ["orders/meta", "swept"]:
                began.append(float(words[3]))
            elif began and words[0].upper() == "EVALSHA" and words[1] == sha:
                swept += 1
    return began, swept


def test_who_has_no_lease_keeps_its_items(client: Any, crew: Crew, queue: Queue[str]) -> None:
    queue.add_item("plain")
    assert queue.get_items(1) == ["plain"]
    older = b"orders-processing-older"  # the layout of the older libraries
    client.lpush(older, "old")
    now = int(crew.books.now())
    client.hset("orders-timeouts", mapping={older: now - 7000})
    client.hset("orders-timeouts", queue.processing_queue_name, now - 7000)
    workers = [crew.hire(kind, "count", lease=0.4) for kind in ("sync", "aio")]
    wait_for_sweeps(client, 5)
    assert (client.lrange(older, 0, -1), held_here(client, queue)) == ([b"old"], [b"plain"])
    assert crew.books.seen() == {}

    client.hset("orders-timeouts", mapping={older: now - 7201})
    wait_until(lambda: crew.books.seen() == {"old": 1}, 30)
    assert sum(worker.stop()["swept"] for worker in workers) == 1
    assert held_here(client, queue) == [b"plain"]
    assert queue.ack_item("plain")


def held_here(client: Any, queue: Queue[str]) -> list[bytes]:
    found: list[bytes] = client.lrange(queue.processing_queue_name, 0, -1)
    return found


# What fails


@every_kind
def test_delay_backoff_and_burial_in_real_time(kind: str, crew: Crew, queue: Queue[str]) -> None:
    worker = crew.hire(kind, "fail", max_deliveries=2, wait=0.4)
    began = crew.books.now()
    queue.add_item("bad", delay=0.5)
    assert queue.stats().delayed == 1
    wait_until(queue.dead.count, 30)
    end = worker.stop()
    first, second = map(float, crew.books.notes("begun at"))
    assert first - began >= 0.5
    assert second - first >= 0.4
    (letter,) = queue.dead.peek(10)
    assert (letter.item, letter.raw, letter.deliveries) == ("bad", b"bad", 2)
    assert letter.reason == "ValueError: no good: 3"
    assert letter.consumer.startswith(f"{worker.label}-")
    assert second <= letter.when <= crew.books.now()
    assert (end["taken"], end["retried"], end["buried"], end["acked"]) == (2, 1, 1, 0)
    assert queue.dead.redrive() == 1
    assert (queue.peek(10), queue.dead.count()) == (["bad"], 0)
