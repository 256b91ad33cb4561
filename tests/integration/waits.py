"""Gets that wait, for tests on real servers: started, looked at, and what is left when the answer of a move is lost."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyrq
from tests.servers import wait_until

__all__ = [
    "LONG",
    "Waiters",
    "count_moves",
    "end_registrations",
    "landing_of",
    "let_registration_end",
    "now",
    "until_blocked",
]

LONG = 20.0
"""For how many seconds a get waits that is to be woken before."""


class Waiters:
    """Gets that wait, each in a thread."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(8)

    def get(self, queue: Any, count: int = 1, timeout: float = LONG) -> Future[list[Any]]:
        return self._threads.submit(queue.get_items, count, timeout)

    def close(self) -> None:
        self._threads.shutdown()


def until_blocked(client: Any, count: int = 1) -> None:
    """Waits until so many connections wait in a blocking move."""
    wait_until(lambda: client.info("clients")["blocked_clients"] == count)


def count_moves(client: Any, what: str = "calls") -> int:
    stats = client.info("commandstats").get("cmdstat_blmove", {})
    return int(stats.get(what, 0))


def now(client: Any) -> float:
    seconds, micros = client.time()
    return int(seconds) + int(micros) / 1e6


def landing_of(queue: Any) -> str:
    return f"orders/landing/{queue.client_id}"


def let_registration_end(client: Any, name: str) -> None:
    """Makes it so long ago that nothing can land any more for a consumer."""
    assert client.hexists("orders/consumers", f"{name}/landing")
    client.hset("orders/consumers", f"{name}/landing", f"{now(client) - 1:.6f}")


def end_registrations(client: Any) -> None:
    """A move without an answer may still bring something, so a closed queue's list stays registered until a sweep."""
    for field in client.hkeys("orders/consumers"):
        assert field.endswith(b"/landing")
        let_registration_end(client, field.decode().removesuffix("/landing"))
    with pyrq.Queue("orders", client) as sweeper:
        assert sweeper.re_enqueue_timeout_items(7200) == 0, "something had landed that close did not give back"
