"""The worker processes of the demo, as their parent sees them."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import IO, NamedTuple, cast

from pyrq.cli.worker import GO, LEAVE, Orders

__all__ = ["Crew", "DemoError", "Message", "Worker"]

_PATIENCE = 60.0  # seconds in which a worker must say something: it does before each MiB that it reads
_LEAVE_PATIENCE = 2.0  # seconds that all workers together may take to leave
_BLOCK = 65536


class DemoError(Exception):
    """The run can't come to its end."""


class Message(NamedTuple):
    """What a worker said.

    Attributes:
        word: one of `Word`.
        number: how many; 0 for words without a number.
    """

    word: bytes
    number: int


class Worker:
    """One worker process. It waits until it is told to go."""

    def __init__(self, orders: Orders) -> None:
        """Starts it.

        Args:
            orders: what it is to do.
        """
        # In a session of its own, so that a Ctrl-C does not reach it: it leaves when it is told to.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pyrq.cli.worker"],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._orders_out = cast("IO[bytes]", self._process.stdin)
        self.answers = cast("IO[bytes]", self._process.stdout)
        self._rest = b""
        self._tell(replace(orders, parent=os.getpid()).to_line())

    def go(self) -> None:
        """Lets it begin."""
        self._tell(GO)

    def _tell(self, line: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):  # it is dead, and `read` will say so
            self._orders_out.write(line)

    def read(self) -> list[Message]:
        """Gives what it said since the last time; waits if that is nothing.

        Raises:
            DemoError: it is dead.
        """
        data = os.read(self.answers.fileno(), _BLOCK)
        if not data:
            raise DemoError(f"worker {self._process.pid} ended by itself, with status {self._process.wait()}")
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [Message(word, int(number)) for word, number in map(bytes.split, lines)]

    def kill(self) -> bool:
        """Ends it without warning (SIGKILL), and comes back when it is dead. False if it was dead before."""
        self._process.kill()
        return self._process.wait() == -signal.SIGKILL

    def dismiss(self) -> None:
        """Tells it to leave, without waiting until it has."""
        self._tell(LEAVE)
        self._orders_out.close()

    def end(self, until: float) -> None:
        """Waits until it has left, and kills it if it takes too long.

        Args:
            until: how long to wait, by the monotonic clock.
        """
        try:
            self._process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()
        self.answers.close()


class Crew:
    """All workers of a run. They are gone when the block ends, however it ends."""

    def __init__(self) -> None:
        self._workers: list[Worker] = []

    def hire(self, orders: Orders) -> Worker:
        """Starts a worker.

        Args:
            orders: what it is to do, once it is told to go.
        """
        worker = Worker(orders)
        self._workers.append(worker)
        return worker

    def listen(self, workers: Sequence[Worker], last: bytes) -> Iterator[Message]:
        """Gives what some workers say, until each of them has said a certain word.

        Args:
            workers: whom to listen to.
            last: the last word to wait for.

        Yields:
            Each message, in no particular order of workers.

        Raises:
            DemoError: one of them is dead, or all that have not said it hang.
        """
        with selectors.DefaultSelector() as selector:
            for worker in workers:
                selector.register(worker.answers, selectors.EVENT_READ, worker)
            while selector.get_map():
                ready = selector.select(_PATIENCE)
                if not ready:
                    raise DemoError(f"the workers have said nothing for {_PATIENCE:g} s")
                for key, _ in ready:
                    messages = key.data.read()
                    yield from messages
                    if any(message.word == last for message in messages):
                        selector.unregister(key.fileobj)

    def dismiss(self) -> None:
        """Ends all workers. Those that do not leave in time are killed."""
        for worker in self._workers:
            worker.dismiss()
        until = time.monotonic() + _LEAVE_PATIENCE
        while self._workers:
            self._workers[-1].end(until)
            self._workers.pop()

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.dismiss()
