"""Peers from the tests' side: started, told what to do, killed."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections import defaultdict, deque
from pathlib import Path
from typing import Any

from tests.interop.environments import interpreter
from tests.servers import Server, wait_until

__all__ = ["Crew", "Peer", "PeerError"]

_SCRIPT = str(Path(__file__).with_name("peer.py"))


class PeerError(Exception):
    """What a peer's library raised."""


class Peer:
    """A library in a process of its own."""

    def __init__(self, flavour: str) -> None:
        self.flavour = flavour
        # -I: neither the checkout nor the environment must show the older library our `pyrq`.
        self._process = subprocess.Popen(
            [interpreter(flavour), "-I", _SCRIPT, flavour],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            text=True,
            bufsize=1,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, do: str, label: str = "", **rest: Any) -> None:
        """Tells it what to do, without waiting for the answer."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": do, "as": label, **rest}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """Waits for the answer to what was sent last."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, f"{self.flavour} peer {self.pid} ended: {self._process.wait(10)}"
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer["value"]

    def tell(self, do: str, label: str = "", **rest: Any) -> Any:
        self.send(do, label, **rest)
        return self.answer()

    def make(self, label: str, kind: str, name: str, server: Server, *, world: str = "", **options: Any) -> str:
        """Lets it make an object, by which it is spoken to from then on; gives the object's client id."""
        decode = options.pop("decode", True)
        world = world or self.flavour.removeprefix("old-")
        told = {"kind": kind, "name": name, "server": server.path, "world": world, "decode": decode}
        return str(self.tell("make", label, **told, options=options))

    def call(self, label: str, method: str, *arguments: Any) -> Any:
        """Lets it call a method of an object."""
        return self.tell("call", label, method=method, arguments=arguments, client_id=None)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait(10)
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what was not sent yet is lost
                if stream:
                    stream.close()

    def gone_from(self, server: Server) -> None:
        """Waits until a server has done all that a killed peer had sent, and seen that it is gone."""
        with server.client() as client:
            name = f"peer-{self.pid}"
            wait_until(lambda: all(other["name"] != name for other in client.client_list()))


class Crew:
    """The peers of a test run: parts, each played by a process of some flavour; the next of each is always ready."""

    def __init__(self) -> None:
        self._playing: dict[tuple[str, str], Peer] = {}
        self._spare: dict[str, deque[Peer]] = defaultdict(deque)

    def peer(self, part: str, flavour: str) -> Peer:
        """Gives who plays a part."""
        if (part, flavour) not in self._playing:
            if not self._spare[flavour]:
                self._spare[flavour].append(Peer(flavour))
            self._playing[part, flavour] = self._spare[flavour].popleft()
            self._spare[flavour].append(Peer(flavour))
        return self._playing[part, flavour]

    def kill(self, part: str, flavour: str) -> Peer:
        """Kills who plays a part, with SIGKILL; another will play it. Gives the dead one."""
        peer = self._playing.pop((part, flavour))
        peer.kill()
        return peer

    def dismiss(self) -> None:
        """Ends all who play; others will play their parts."""
        for part, flavour in list(self._playing):
            self.kill(part, flavour)

    def close(self) -> None:
        for peer in [*self._playing.values(), *(peer for spares in self._spare.values() for peer in spares)]:
            peer.kill()
