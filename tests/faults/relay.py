"""A relay before a server that can fall silent, and can lead elsewhere, as a network or a name in DNS can."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator

__all__ = ["Relay", "relaying"]

_CHUNK = 1 << 16
_TICK = 0.02


class Relay:
    """Listens on a port of the loopback and passes on what comes, both ways, to a port that can change."""

    def __init__(self, upstream: int) -> None:
        """Starts to listen.

        Args:
            upstream: the port that new connections lead to.
        """
        self.upstream = upstream
        """The port that new connections lead to; those that there are stay where they are."""
        self._open = threading.Event()
        self._open.set()
        self._closed = False
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def silence(self) -> None:
        """Passes on nothing more until `speak`; connections stay, and what is sent piles up."""
        self._open.clear()

    def speak(self) -> None:
        """Passes on what has piled up, and what comes."""
        self._open.set()

    def cut(self) -> None:
        """Breaks the connections that there are; what piled up is gone."""
        for one in list(self._pairs):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends."""
        self._closed = True
        self._open.set()
        self._thread.join(10)
        for one in (*self._pairs, self._listener):
            one.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._closed:
            if not self._open.wait(_TICK):
                continue
            for key, _ in self._selector.select(_TICK):
                # Silence holds from the moment it is asked for: not one more piece passes.
                if not self._open.is_set():
                    break
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._pass_on(key.fileobj)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self.upstream), timeout=5)
        except OSError:  # nobody is there: so is nobody here
            near.close()
            return
        for one, other in ((near, far), (far, near)):
            one.settimeout(5)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, one: socket.socket) -> None:
        other = self._pairs.get(one)
        if other is None:  # its pair ended in this round
            return
        with contextlib.suppress(OSError):
            data = one.recv(_CHUNK)
            if data:
                other.sendall(data)
                return
        for each in (one, other):
            self._selector.unregister(each)
            del self._pairs[each]
            each.close()


@contextlib.contextmanager
def relaying(upstream: int) -> Iterator[Relay]:
    """A relay for the time of a block."""
    relay = Relay(upstream)
    try:
        yield relay
    finally:
        relay.close()
