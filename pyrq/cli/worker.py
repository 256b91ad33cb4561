"""A worker of the demo, in a process of its own: `python -m pyrq.cli.worker`, started by `pyrq.cli.crew`.

It reads from its standard input one line of orders (JSON), then the lines `go` and `leave`. The input ends with its
parent, so no worker outlives it. It answers on its standard output, one word a line, some with a number; see `Word`.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from pyrq import BytesCodec, Queue
from pyrq.cli.files import FileCount, FileCountCodec, count_file
from pyrq.errors import RqError

__all__ = ["GO", "LEAVE", "Orders", "Word", "open_queues", "work"]

GO, LEAVE = b"go\n", b"leave\n"
# A demo says soon that a server is gone.
_RETRY = 10.0
_END_PATIENCE, _POLL = 5.0, 0.01


class Word:
    """What a worker says."""

    AT_WORK = b"at-work"  # it goes on reading
    REPORTED = b"reported"  # there are results to collect
    HOLDING = b"holding"  # so many paths, and waiting to be killed
    DONE = b"done"  # no path waits, and all that was taken is reported and acknowledged


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker is to do. The URL does not go on the command line: it may hold a password, which all could read.

    Attributes:
        url: where the queues are.
        paths: the name of the queue of paths.
        results: the name of the queue of results.
        batch: how many paths to take at once.
        victim: whether to stop in the middle of the first report, and wait to be killed.
        parent: the process that gives the orders.
    """

    url: str
    paths: str
    results: str
    batch: int
    victim: bool = False
    parent: int = 0

    def to_line(self) -> bytes:
        """Gives the orders as a line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Orders:
        """Reads the line that `to_line` gave."""
        return cls(**json.loads(line))


@contextlib.contextmanager
def open_queues(url: str, paths: str, results: str) -> Iterator[tuple[Queue[bytes], Queue[FileCount]]]:
    """Opens the two queues of the demo, for the time of a block.

    Args:
        url: where they are.
        paths: the name of the queue of paths. They are bytes: a file's name need not be text.
        results: the name of the queue of results.

    Yields:
        The queue of paths and the queue of results.

    Raises:
        ValueError: the URL is wrong.
        RqError: there is no server to be had.
    """
    with (
        Queue(paths, url, codec=BytesCodec(), retry=_RETRY) as path_queue,
        Queue(results, url, codec=FileCountCodec(), retry=_RETRY) as result_queue,
    ):
        yield path_queue, result_queue


def work(orders_in: int, answers_out: int) -> None:
    """Does what the orders say, until there is nothing left to do and the parent wants it to leave.

    Args:
        orders_in: the file descriptor to read orders from.
        answers_out: the file descriptor to answer on.

    Raises:
        RqError: the server does not do what is needed.
    """
    # Unbuffered, so that nothing is read ahead, and no thread holds a lock of it when the process ends.
    with open(orders_in, "rb", buffering=0, closefd=False) as lines:
        line = lines.readline()
        if not line:
            return
        orders = Orders.from_line(line)
        # Opened at once: if the parent is killed, who has an embedded server open stops it, and nobody else does.
        with open_queues(orders.url, orders.paths, orders.results) as queues:
            word = lines.readline()
            if word == GO:
                _Worker(orders, _watch(orders_in, orders.parent), answers_out).run(*queues)
            elif not word:
                _await_end(orders.parent)


def _watch(orders_in: int, parent: int) -> threading.Event:
    """Gives an event that is set when the parent wants this worker to leave, or is dead."""
    leave = threading.Event()

    def watch() -> None:
        if not os.read(orders_in, len(LEAVE)):
            _await_end(parent)
        leave.set()

    threading.Thread(target=watch, daemon=True).start()
    return leave


def _await_end(parent: int) -> None:
    """Waits until a parent that closed its pipes has let go of everything else.

    A dying process closes its files in any order. As long as it seems to use the embedded server, this worker, when it
    leaves, is not the last user, and would not stop the server; nor would anybody else.
    """
    until = time.monotonic() + _END_PATIENCE
    while os.getppid() == parent and time.monotonic() < until:
        time.sleep(_POLL)


class _LeaveError(Exception):
    """The parent wants this worker to leave, or is dead."""


class _Worker:
    def __init__(self, orders: Orders, leave: threading.Event, answers_out: int) -> None:
        self._orders = orders
        self._leave = leave
        self._answers_out = answers_out

    def run(self, paths: Queue[bytes], results: Queue[FileCount]) -> None:
        with contextlib.suppress(_LeaveError):
            (self._wait_to_be_killed if self._orders.victim else self._take_all)(paths, results)
        self._leave.wait()

    def _wait_to_be_killed(self, paths: Queue[bytes], results: Queue[FileCount]) -> None:
        batch = paths.get_items(self._orders.batch)
        # Half a report is the worst moment: what is in it will be counted twice, what is not must not be lost.
        results.add_items([count_file(path, self._check) for path in batch[: len(batch) // 2]])
        self._say(Word.HOLDING, len(batch))

    def _take_all(self, paths: Queue[bytes], results: Queue[FileCount]) -> None:
        while batch := paths.get_items(self._orders.batch):
            # The report first. Dying between the two makes a duplicate; the other way round, a loss.
            results.add_items([count_file(path, self._check) for path in batch])
            paths.ack_items(batch)
            self._say(Word.REPORTED)
        self._say(Word.DONE)

    def _check(self) -> None:
        if self._leave.is_set():
            raise _LeaveError
        self._say(Word.AT_WORK)

    def _say(self, word: bytes, number: int = 0) -> None:
        try:
            os.write(self._answers_out, b"%s %d\n" % (word, number))
        except BrokenPipeError as error:
            raise _LeaveError from error


def _main() -> int:
    try:
        work(0, 1)
    except RqError as error:
        print(f"worker {os.getpid()}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
