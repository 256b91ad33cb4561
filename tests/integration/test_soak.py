"""An item that kills whoever takes it. What is killed from outside is the row "kills" of the fault campaign."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyrq import Queue
from tests.integration.leaks import leaks
from tests.integration.workers import Crew, Worker
from tests.servers import wait_until


@pytest.fixture
def crew(url: str, tmp_path: Path) -> Iterator[Crew]:
    with Crew(url, tmp_path) as crew:
        yield crew


def is_quiet(queue: Queue[Any]) -> bool:
    stats = queue.stats()
    return stats.waiting + stats.in_flight + stats.delayed == 0


@pytest.mark.parametrize("batch", [1, 10])
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
