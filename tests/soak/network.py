"""A network between clients and server that loses, cuts and delays requests and replies, and brings some late."""

from __future__ import annotations

import contextlib
import random
from typing import ClassVar

from tests.faults.storm import Storm
from tests.servers import Binary, Server
from tests.soak.arena import Arena, Site, drain, options_for
from tests.soak.load import Habits, Load

__all__ = ["Network"]

_HABITS = Habits(batch=8, cancel=0.05, delay=0.1, reopen=0.05, retries=(10.0, 10.0, 0.2, 0.0))
_RATE = 0.12
_TICK = 0.1


class Network(Arena):
    """Half of the items are equal to others."""

    name = "network"
    per_hour: ClassVar = {"items": 1_000_000, "faults": 100_000}

    def open(self, binary: Binary, opened: contextlib.ExitStack) -> Site:
        server = Server(binary, *options_for(binary))
        opened.callback(server.stop)
        return Site(binary, [server])

    def wants_items(self) -> bool:
        return self.behind("items") > 0 or self.behind("faults") > 0

    def play(self, site: Site, name: str, rng: random.Random) -> None:
        (server,) = site.servers
        with Storm(server.path, random.Random(f"{rng.random()} storm"), _RATE) as storm:
            load = Load(self, name, storm.url, _HABITS, rng)
            try:
                counted = 0
                while self.goes_on():
                    self.stopped.wait(_TICK)
                    self.trial.count("faults", (hits := storm.hits) - counted)
                    counted = hits
            finally:
                storm.rate = 0.0
                storm.settle()
                load.stop()
        drain(self.trial, self.account, name, server)
