"""What a check is given."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pyrq.errors import RqError
from tests.faults.campaign import Trial
from tests.faults.ledger import MARK
from tests.servers import Driven, Server, World, contents

__all__ = ["Place", "texts"]


def texts(many: int) -> list[str]:
    """Makes so many items, no two of them equal."""
    return [f"{MARK} {number}" for number in range(many)]


@dataclass
class Place:
    """A server as if new, in one of the worlds.

    Attributes:
        trial: the row's.
        server: the server.
        client: a client to look at it, and to do things to it.
        world: in which the check makes its queues; they are closed at the end.
        large: how many items a large call has.
    """

    trial: Trial
    server: Server
    client: Any
    world: World
    large: int

    def queue(self, kind: str = "Queue", url: Any = None, name: str = "orders", **options: Any) -> Any:
        """Makes a queue or a pool."""
        return self.world.make(kind, name, url or self.server.url, **options)

    def dead(self, queue: Any) -> Any:
        """Gives a queue's dead letters, driven as it is."""
        return Driven(self.world, queue.aio.dead) if isinstance(queue, Driven) else queue.dead

    def fails(self, kind: type[RqError], act: Callable[[], object]) -> str:
        """Checks that something fails in one way; gives the error's text."""
        error = self.error_of(act)
        assert type(error) is kind, f"{type(error).__name__} instead of {kind.__name__}"
        return str(error)

    def error_of(self, act: Callable[[], object]) -> RqError | None:
        """Does something that may fail; gives the error."""
        try:
            act()
        except RqError as error:
            self.trial.caught(error)
            return error
        return None

    @contextlib.contextmanager
    def configured(self, **settings: str) -> Iterator[None]:
        """Changes the server's configuration for the time of a block."""
        names = {name.replace("_", "-"): value for name, value in settings.items()}
        before = {name: self.client.config_get(name)[name] for name in names}
        try:
            for name, value in names.items():
                self.client.config_set(name, value)
            yield
        finally:
            for name, value in before.items():
                self.client.config_set(name, value)

    @contextlib.contextmanager
    def unchanged(self, *but: str) -> Iterator[None]:
        """Checks that a block leaves all keys as they are, apart from sessions and those named."""

        def found() -> dict[bytes, Any]:
            kept = contents(self.client)
            return {key: held for key, held in kept.items() if b"/session/" not in key and key.decode() not in but}

        before = found()
        yield
        assert found() == before, "keys have changed"

    @contextlib.contextmanager
    def pinging(self) -> Iterator[None]:
        """Notes the longest time in which another client got no answer, in the ledger's figures: it is not judged."""
        over, longest = threading.Event(), 0.0

        def ping() -> None:
            nonlocal longest
            with self.server.client() as client:
                while not over.wait(0.001):
                    began = time.monotonic()
                    client.ping()
                    longest = max(longest, time.monotonic() - began)

        thread = threading.Thread(target=ping)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            figures = self.trial.ledger.figures
            figures["longest_ping_ms"] = max(figures["longest_ping_ms"], round(longest * 1000))

    def close(self) -> None:
        """Closes what the check has made."""
        self.world.close()
