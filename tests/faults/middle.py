"""Something between a client and a server that says other things than the server did."""

from __future__ import annotations

import contextlib
import selectors
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["Middle", "Replace", "middle"]

_CHUNK = 1 << 20

Replace = Callable[[bytes, bytes], tuple[bytes, bool]]


class Middle:
    """Sits before a server, and replaces some of what it says. Requests all come through."""

    def __init__(self, upstream: str, replace: Replace) -> None:
        """Starts to listen on a unix socket.

        Args:
            upstream: the path of the server's socket.
            replace: is given what was last asked and what the server says, and gives what to say instead, and whether
                to cut the connection then.
        """
        self._directory = tempfile.TemporaryDirectory(prefix="pyrq-middle-")
        self.path = str(Path(self._directory.name) / "m")
        self._upstream = upstream
        self._replace = replace
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(64)
        self._closed = False
        self._pairs: dict[socket.socket, tuple[socket.socket, bool]] = {}
        self._asked: dict[socket.socket, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def close(self) -> None:
        """Ends."""
        self._closed = True
        self._thread.join(10)
        for one in (*self._pairs, self._listener):
            one.close()
        self._selector.close()
        self._directory.cleanup()

    def _run(self) -> None:
        while not self._closed:
            for key, _ in self._selector.select(0.05):
                one = key.fileobj
                assert isinstance(one, socket.socket)
                if one is self._listener:
                    self._accept()
                elif one in self._pairs:
                    self._pass_on(one)

    def _accept(self) -> None:
        near, far = self._listener.accept()[0], socket.socket(socket.AF_UNIX)
        far.connect(self._upstream)
        for one, other, asks in ((near, far, True), (far, near, False)):
            one.settimeout(5)
            self._pairs[one] = other, asks
            self._selector.register(one, selectors.EVENT_READ)
        self._asked[far] = b""

    def _pass_on(self, one: socket.socket) -> None:
        other, asks = self._pairs[one]
        with contextlib.suppress(OSError):
            data, cut = one.recv(_CHUNK), False
            if data and asks:
                self._asked[other] = data
            elif data:
                data, cut = self._replace(self._asked[one], data)
            if data:
                other.sendall(data)
            if data and not cut:
                return
        for each in (one, other):
            self._selector.unregister(each)
            del self._pairs[each]
            self._asked.pop(each, None)
            each.close()


@contextlib.contextmanager
def middle(upstream: str, replace: Replace) -> Iterator[Middle]:
    """One for the time of a block."""
    made = Middle(upstream, replace)
    try:
        yield made
    finally:
        made.close()
