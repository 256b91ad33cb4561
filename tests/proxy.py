"""A proxy before a server that does, on command, what networks do: it loses a request or a reply, or delivers late."""

from __future__ import annotations

import contextlib
import re
import select
import shutil
import socket
import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import Any

from pyrq.core import ops, pool_ops, session_ops
from pyrq.core.script import Script

__all__ = ["ALL", "MOVE", "SCRIPTS", "Proxy"]

_CHUNK = 1 << 20

MOVE = "blocking move"

ALL = [
    script
    for module in (pool_ops, ops, session_ops)
    for value in vars(module).values()
    for script in (reversed(value) if isinstance(value, list) else [value])
    if isinstance(script, Script)
]
SCRIPTS = {script.name: script for script in ALL}
"""The scripts by name, as the library sends them; of those that differ by the kind of queue, the plain one."""


class Proxy:
    """Sits on a unix socket before a server's. Faults are armed, and each hits the next request that it is meant for.

    A request is meant if it runs the script named (`to="ack"`), or any script without a name; `to=MOVE` means blocking
    moves.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self._directory = Path(tempfile.mkdtemp(prefix="pyrq-proxy-"))
        self.url = f"unix://{self._directory / 'p'}"
        self._armed: deque[tuple[str, tuple[bytes, ...]]] = deque()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._held: tuple[socket.socket, bytes] | None = None
        self.hits: list[str] = []
        self.caught = threading.Event()
        """Set once a held request is here."""
        self.given_up = threading.Event()
        """Set once the client of a held request has closed."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._directory / "p"))
        self._listener.listen(64)
        self._start(self._accept)

    # Faults

    def drop_request(self, to: str | None = None, after: int = 0) -> None:
        """The next request is lost on its way, and the connection with it: it never runs. `after` others pass."""
        self._arm("drop_request", to, after)

    def drop_reply(self, to: str | None = None, after: int = 0) -> None:
        """The next request runs; its reply is lost, and the connection with it."""
        self._arm("drop_reply", to, after)

    def drop_landing(self) -> None:
        """The next blocking move that brings an item does so; its reply is lost, and the connection with it."""
        self._arm("drop_landing", MOVE)

    def cut_reply(self, to: str | None = None, after: int = 0) -> None:
        """The next request runs; its reply arrives but for the end, and the connection breaks."""
        self._arm("cut_reply", to, after)

    def hold(self, to: str | None = None, *, until_given_up: bool = False) -> None:
        """The next request is under way for long: its connection breaks, and `deliver` lets it arrive.

        With `until_given_up` the connection breaks only when the client closes it.
        """
        self.caught.clear()
        self.given_up.clear()
        self._arm("wait" if until_given_up else "hold", to)

    def strand(self, to: str | None = None) -> None:
        """The next request arrives, and then its client's connection breaks; the server does not hear of that."""
        self._arm("strand", to)

    def cut(self) -> None:
        """Breaks all connections that there are; new ones can be made."""
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def deliver(self) -> bytes:
        """Lets a held request arrive, after its client has given up; gives the reply that nobody waits for."""
        assert self.given_up.wait(20), "the client has not given up"
        assert self._held
        server, request = self._held
        self._held = None
        server.settimeout(10)
        server.sendall(request)
        reply = server.recv(_CHUNK)
        server.close()
        return reply

    def disarm(self) -> None:
        """Takes back what has not hit yet."""
        self._armed.clear()

    def _arm(self, kind: str, to: str | None, after: int = 0) -> None:
        named = [script for script in ALL if script.name == to]
        assert named or to in (None, MOVE), f"there is no script {to}"
        marks = tuple(part for script in named for part in (script.sha, script.source))
        marks = marks or (b"BLMOVE" if to == MOVE else b"EVAL",)
        self._armed.extend([("pass", marks)] * after)
        self._armed.append((kind, marks))

    @property
    def all_hit(self) -> bool:
        return not self._armed

    # Traffic

    def _start(self, target: Any, *args: Any) -> None:
        self._threads.append(threading.Thread(target=target, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                self._sockets += [client, server]
                try:
                    server.connect(self.upstream)
                except OSError:  # the server is gone: so is the client's connection
                    server.close()
                    client.close()
                    continue
                self._start(self._pump, client, server)

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        fault, keep = "", False
        with contextlib.suppress(OSError, ValueError):
            while True:
                ready, _, _ = select.select([client, server], [], [])
                if client in ready:
                    data = client.recv(_CHUNK)
                    if not data:
                        break
                    fault = fault or self._fault_for(data)
                    if fault == "drop_request":
                        self.hits.append(fault)
                        break
                    if fault in ("hold", "wait"):
                        self._hold(fault, client, server, data)
                        keep = True
                        break
                    server.sendall(data)
                    if fault == "strand":
                        self.hits.append(fault)
                        keep = True
                        break
                if server in ready:
                    data = server.recv(_CHUNK)
                    if not data:
                        break
                    if fault and _is_meant(fault, data):
                        self.hits.append(fault)
                        if fault == "cut_reply":
                            client.sendall(data[:-1] if len(data) < 8 else data[: len(data) // 2])
                        break
                    client.sendall(data)
        client.close()
        if not keep:
            server.close()

    def _fault_for(self, request: bytes) -> str:
        if not self._armed or not any(mark in request for mark in self._armed[0][1]):
            return ""
        kind = self._armed.popleft()[0]
        return "" if kind == "pass" else kind

    def _hold(self, kind: str, client: socket.socket, server: socket.socket, request: bytes) -> None:
        self.hits.append(kind)
        self._held = (server, request)
        self.caught.set()
        if kind == "wait":
            with contextlib.suppress(OSError):
                client.recv(1)
        self.given_up.set()

    def close(self) -> None:
        """Breaks all connections and ends."""
        for one in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for one in (self._listener, *self._sockets):
            one.close()
        shutil.rmtree(self._directory, ignore_errors=True)


def _is_meant(fault: str, reply: bytes) -> bool:
    """Says whether a reply is one that a fault waits for."""
    if fault == "drop_landing":
        return re.search(rb"\$\d", reply) is not None
    # A script that was not there has not run: the fault waits for the request in full.
    return b"-NOSCRIPT" not in reply
