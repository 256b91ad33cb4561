"""A released package in a process of its own, told what to do in lines."""

from __future__ import annotations

import subprocess
import threading
from functools import partial
from pathlib import Path

from benchmarks.contest import Absent, Sample
from benchmarks.peers.drivers.protocol import Answer, Open, Run, answer_of, line_of
from benchmarks.peers.packages import PACKAGES, Package, interpreter
from benchmarks.site import Site

__all__ = ["Peer", "Peers"]

_DRIVE = str(Path(__file__).with_name("drivers") / "drive.py")
_PATIENCE = 60.0


class Peer:
    """A process that drives one library."""

    def __init__(self, python: str, driver: str, *, patience: float = _PATIENCE) -> None:
        """Starts it.

        Args:
            python: the interpreter that has the library.
            driver: the module that drives it.
            patience: for how many seconds an answer is waited for; then it is killed.
        """
        self._patience = patience
        # -I: neither the checkout nor the environment must show an older library our `pyrq`.
        self._process = subprocess.Popen(
            [python, "-I", _DRIVE, driver],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            text=True,
        )

    def tell(self, message: Open | Run) -> Answer:
        """Tells it something; gives the answer.

        Raises:
            Absent: it can't do that, or failed, or is gone.
        """
        process = self._process
        assert process.stdin
        assert process.stdout
        timer = threading.Timer(self._patience, process.kill)
        timer.start()
        try:
            process.stdin.write(line_of(message))
            process.stdin.flush()
            answer = answer_of(process.stdout.readline())
        except (OSError, ValueError):
            raise Absent("not measured: its process ended, or did not answer in time") from None
        finally:
            timer.cancel()
        if answer.kind in ("cannot", "failed"):
            raise Absent(f"not measured: {'failed with ' if answer.kind == 'failed' else ''}{answer.text}")
        return answer

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.communicate()


class Peers:
    """All packages, each started when it is needed first."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._peers: dict[str, Peer] = {}
        self._absent: dict[str, str] = {}
        self._versions: dict[str, str] = {}

    def samples(self, names: tuple[str, ...], operation: str, batch: int, batches: int) -> dict[str, Sample]:
        """Gives a way of doing something for each of some packages: microseconds per item."""
        return {PACKAGES[name].label: partial(self._sample, name, Run(operation, batch, batches)) for name in names}

    def _sample(self, name: str, order: Run) -> float:
        took = self._peer(name).tell(order).seconds
        return took * 1e6 / (order.batch * order.batches)

    def _peer(self, name: str) -> Peer:
        if name in self._absent:
            raise Absent(self._absent[name])
        if name not in self._peers:
            try:
                self._peers[name] = self._start(name, PACKAGES[name])
            except Absent as why:
                self._absent[name] = str(why)
                raise
        return self._peers[name]

    def _start(self, name: str, package: Package) -> Peer:
        peer = Peer(interpreter(package), package.driver)
        try:
            ready = peer.tell(Open(self._site.url, self._site.name(f"peer{package.driver.replace('_', '')}")))
        except Absent:
            peer.close()
            raise
        self._versions[package.label] = ready.text
        return peer

    def versions(self) -> dict[str, str]:
        """Gives what each package that took part runs on."""
        return dict(self._versions)

    def close(self) -> None:
        """Ends them all."""
        for peer in self._peers.values():
            peer.close()
