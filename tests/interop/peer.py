"""A peer: one library in a process of its own, told what to do in lines of JSON. Run by that library's interpreter.

    python -I peer.py FLAVOUR        FLAVOUR is old-sync (py-rq), old-aio (aio-py-rq) or new (this library, both worlds)

In, a line each, `as` being the label of an object:

- `{"do": "make", "as": …, "kind": "Queue", "name": …, "server": socket path, "world": "sync" or "aio", "options": {…},
  "decode": whether the client gives text}`
- `{"do": "call", "as": …, "method": …, "arguments": […], "client_id": …}`: `client_id` is for an older library that
  plays the part of another consumer
- `{"do": "work", "as": …, "count": …}`: takes items and acknowledges what it was given, as it was given
- `{"do": "sweep_slowly", "as": …, "method": …}`: for an older library: once it knows what to sweep, it says so, and
  waits for another line
- `{"do": "clock", "at": unix seconds or null}`: sets the clock of this machine, as far as the library can tell
- `{"do": "forget", "as": …}`

Out, a line each: `{"value": …}` or `{"error": …}`.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import sys
import time
from typing import Any

_LIBRARIES = {
    "old-sync": {"sync": ("pyrq", "redis")},
    "old-aio": {"aio": ("aiopyrq", "redis.asyncio")},
    "new": {"sync": ("pyrq", "redis"), "aio": ("pyrq.aio", "redis.asyncio")},
}


class Peer:
    """What a peer holds: the objects it made, and a client for each server."""

    def __init__(self, flavour: str) -> None:
        self._modules: dict[str, tuple[Any, Any]] = {}
        for world, (library, client) in _LIBRARIES[flavour].items():
            self._modules[world] = importlib.import_module(library), importlib.import_module(client)
        self._loop = asyncio.new_event_loop()
        self._clients: dict[tuple[Any, ...], Any] = {}
        self._objects: dict[str, Any] = {}
        self._is_new = flavour == "new"
        self._time = time.time

    def _wait(self, value: Any) -> Any:
        return self._loop.run_until_complete(value) if inspect.isawaitable(value) else value

    def _client(self, *key: Any) -> Any:
        if key not in self._clients:
            world, server, decode = key
            options: dict[str, Any] = {"decode_responses": decode, "client_name": f"peer-{os.getpid()}"}
            self._clients[key] = self._modules[world][1].Redis(unix_socket_path=server, **options)
        return self._clients[key]

    def make(self, order: dict[str, Any]) -> Any:
        world = order["world"]
        cls = getattr(self._modules[world][0], order["kind"])
        client = self._client(world, order["server"], order["decode"])

        async def within() -> Any:
            return cls(order["name"], client, **order["options"])

        made = self._wait(within()) if world == "aio" else cls(order["name"], client, **order["options"])
        self._objects[order["as"]] = made
        return made.client_id

    def call(self, order: dict[str, Any]) -> Any:
        target = self._objects[order["as"]]
        if order["client_id"] is not None:
            target.client_id = order["client_id"]
        return self._wait(getattr(target, order["method"])(*order["arguments"]))

    def work(self, order: dict[str, Any]) -> Any:
        target = self._objects[order["as"]]
        items = self._wait(target.get_items(order["count"]))
        self._wait(target.ack_items(items))
        return len(items)

    def sweep_slowly(self, order: dict[str, Any]) -> Any:
        target = self._objects[order["as"]]
        look = target._get_sorted_processing_queues

        def pause(found: Any) -> list[Any]:
            self._say("looked")
            sys.stdin.readline()
            return list(found)

        async def look_slowly() -> list[Any]:
            return pause(await look())

        target._get_sorted_processing_queues = (
            look_slowly if inspect.iscoroutinefunction(look) else lambda: pause(list(look()))
        )
        return self._wait(getattr(target, order["method"])())

    def forget(self, order: dict[str, Any]) -> Any:
        gone = self._objects.pop(order["as"])
        return self._wait(gone.close()) if self._is_new else None

    def clock(self, order: dict[str, Any]) -> Any:
        at = order["at"]
        time.time = self._time if at is None else lambda: at

    def _say(self, value: Any, key: str = "value") -> None:
        sys.stdout.write(json.dumps({key: value}) + "\n")
        sys.stdout.flush()

    def serve(self) -> None:
        while line := sys.stdin.readline():
            order = json.loads(line)
            try:
                value = getattr(self, order["do"])(order)
            except Exception as error:  # noqa: BLE001 - whatever it is, the tests want to see it
                self._say(f"{type(error).__name__}: {error}", "error")
            else:
                self._say(value)


if __name__ == "__main__":
    Peer(sys.argv[1]).serve()
