"""Servers that are killed (kill -9) under load, and started again with the same append-only file."""

from __future__ import annotations

import contextlib
import random
from typing import ClassVar

from tests.servers import Binary, Server, wait_until
from tests.soak.arena import Arena, Site, drain, options_for
from tests.soak.load import Habits, Load

__all__ = ["Restarts"]

_HABITS = Habits(batch=200, cancel=0.02, reopen=0.02)
_PATIENCE = 60.0
_PILE = 1_000
_ANSWERS = 4
"""So many calls are answered between two kills, at the least."""


class Restarts(Arena):
    """Each server forces each change to the disk."""

    name = "restarts"
    per_hour: ClassVar = {"items": 1_500_000, "server_kills": 1_000}

    def open(self, binary: Binary, opened: contextlib.ExitStack) -> Site:
        always = ("--appendonly", "yes", "--appendfsync", "always")
        bounded = ("--auto-aof-rewrite-percentage", "100", "--auto-aof-rewrite-min-size", "2mb")
        server = Server(binary, *always, *bounded, *options_for(binary))
        opened.callback(server.stop)
        return Site(binary, [server])

    def play(self, site: Site, name: str, rng: random.Random) -> None:
        (server,) = site.servers
        load = Load(self, name, server.url, _HABITS, rng)
        try:
            while self.goes_on():
                if self.behind("server_kills"):
                    self._restart(server, load, rng)
                else:
                    self.stopped.wait(0.05)
        finally:
            load.stop()
        drain(self.trial, self.account, name, server)

    def _restart(self, server: Server, load: Load, rng: random.Random) -> None:
        """Kills a server at any moment, and waits until calls are answered again."""
        if rng.random() < 0.7:
            self.pile_up(_PILE, rng.randrange(_PILE))
        self.stopped.wait(rng.choice([0, rng.uniform(0, 0.3)]))
        server.kill()
        server.start()
        self.trial.count("server_kills")
        self.take_up()
        enough = load.answered["done"] + _ANSWERS
        wait_until(lambda: load.answered["done"] >= enough, _PATIENCE)
