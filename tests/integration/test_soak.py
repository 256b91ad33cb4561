"""Consumers that are killed: nothing is lost, little is handled twice, nothing is left behind."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyrq import Queue
from tests.conftest import SEED
from tests.integration.leaks import leaks
from tests.integration.workers import KINDS, Books, Crew, Worker
from tests.servers import wait_until

KILLS, AT_A_TIME, BATCH, ITEMS = 60, 4, 10, 20_000


@pytest.fixture
def crew(url: str, tmp_path: Path) -> Iterator[Crew]:
    with Crew(url, tmp_path) as crew:
        yield crew


def registered(client: Any, worker: Worker) -> set[bytes]:
    """What the server knows of a worker: as a holder, or as one that waits."""
    names = client.hkeys("orders/consumers") + client.hkeys("orders-timeouts")
    found = {name for name in names if worker.label.encode() in name}
    return found | {key for key in client.scan_iter(f"orders[-/]*{worker.label}-*") if b"/session/" not in key}


def is_up(client: Any, books: Books, worker: Worker) -> bool:
    return books.handled(worker.label) > 0 or bool(registered(client, worker))


def held(client: Any, worker: Worker) -> int:
    keys = client.scan_iter(f"orders-processing-{worker.label}-*", count=1000)
    return sum(client.llen(key) for key in keys)


def is_quiet(queue: Queue[Any]) -> bool:
    stats = queue.stats()
    return stats.waiting + stats.in_flight + stats.delayed == 0


def test_sixty_kills(rng: random.Random, url: str, client: Any, crew: Crew) -> None:
    print(f"PYRQ_SEED={SEED}")  # noqa: T201 - seen when it fails
    books = crew.books

    def hire() -> Worker:
        return crew.hire(rng.choice(KINDS), "count", batch=BATCH, concurrency=rng.choice([1, 1, 3]), lease=1.0)

    def kill_one() -> Worker:
        """Kills a worker after it has handled some items, or while it waits for one."""
        victim = living.pop(rng.randrange(AT_A_TIME))
        wait_until(lambda: is_up(client, books, victim), 30)
        enough = books.handled(victim.label) + rng.randrange(150)
        wait_until(lambda: books.handled(victim.label) >= enough or not client.llen("orders"), 30)
        victim.kill()
        living.append(hire())
        return victim

    living, killed, were_held = [hire() for _ in range(AT_A_TIME)], [], 0
    with Queue("orders", url) as queue:
        for kill in range(KILLS):
            queue.add_items(range(kill * ITEMS // KILLS, (kill + 1) * ITEMS // KILLS))
            killed.append(kill_one())
            were_held += held(client, killed[-1])
        wait_until(lambda: is_quiet(queue) and not any(registered(client, victim) for victim in killed), 60)
        for worker in living:
            worker.stop()
        assert queue.dead.count() == 0

    seen = books.seen()
    assert seen.keys() == {str(number) for number in range(ITEMS)}
    assert 0 <= sum(seen.values()) - ITEMS <= KILLS * BATCH
    assert were_held > 0, "no victim held anything"
    assert leaks(client, "orders") == {}
    assert client.exists("orders") == 0
    sessions = list(client.scan_iter("orders/session/*", count=1000))
    assert {name.split(b"/")[2].partition(b"-")[0].decode() for name in sessions} <= {each.label for each in killed}
    assert sessions
    assert all(0 < client.ttl(name) <= 120 for name in sessions)


@pytest.mark.parametrize("batch", [1, BATCH])
@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_an_item_that_kills_its_process_is_buried_alone(
    kind: str, batch: int, url: str, client: Any, crew: Crew
) -> None:
    books, others = crew.books, [str(number) for number in range(30)]

    def hire() -> Worker:
        return crew.hire(kind, "deadly", lease=0.8, max_deliveries=3, batch=batch)

    with Queue("orders", url) as queue:
        queue.add_items([*others[:13], "poison", *others[13:]])
        living = [hire(), hire()]
        for deliveries in (1, 2, 3):
            wait_until(lambda: not all(worker.is_alive() for worker in living), 30)
            assert len(books.begun) >= deliveries
            living[:] = [worker if worker.is_alive() else hire() for worker in living]
        wait_until(lambda: queue.dead.count() and is_quiet(queue), 30)
        for worker in living:
            worker.stop()
        (letter,) = queue.dead.peek(100)
    assert (letter.item, letter.deliveries) == ("poison", 3)
    assert letter.reason.startswith("swept")
    assert books.begun == ["poison"] * 3
    assert books.seen() == dict.fromkeys(others, 1)
    assert leaks(client, "orders") == {}
