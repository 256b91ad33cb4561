"""A thousand bare BLMOVEs that wait on one list: what a server makes of that, without any library."""

from __future__ import annotations

import select
from contextlib import ExitStack
from statistics import median
from typing import Any

from benchmarks.contest import seconds
from benchmarks.site import Site

__all__ = ["BlockedMoves"]

_SOON = 10_000  # milliseconds that a move may take to be answered


class BlockedMoves:
    """Connections that wait, and another one that pushes."""

    def __init__(self, site: Site, name: str, count: int) -> None:
        """Opens the connections; each begins to wait.

        Args:
            site: where they are.
            name: the list.
            count: how many.
        """
        self._site = site
        self._name = site.name(name)
        self._opened = ExitStack()
        self._waiting = select.poll()
        self._connections: dict[int, Any] = {}
        pool = site.client.connection_pool
        for _ in range(count):
            connection = pool.connection_class(**pool.connection_kwargs)
            self._opened.callback(connection.disconnect)
            connection.connect()
            self._wait(connection)

    def _wait(self, connection: Any) -> None:
        connection.send_command("BLMOVE", self._name, f"{self._name}-taken", "RIGHT", "LEFT", 0)
        number = connection._sock.fileno()
        self._connections[number] = connection
        self._waiting.register(number, select.POLLIN)

    def wake(self) -> float:
        """Gives the median microseconds from a push until one of the moves is answered."""
        took = []
        for _ in range(self._site.scale.wakes):
            took.append(seconds(self._push))
            for number, _event in self._waiting.poll(0):
                self._connections[number].read_response()
                self._wait(self._connections[number])
        return median(took) * 1e6

    def _push(self) -> None:
        self._site.client.lpush(self._name, "item")
        if not self._waiting.poll(_SOON):
            raise RuntimeError("no move was answered")

    def close(self) -> None:
        """Closes the connections."""
        self._opened.close()
