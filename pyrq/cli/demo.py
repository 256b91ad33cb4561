"""The demo: a folder's files counted by several processes, one of which is killed, without losing any."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

from pyrq import Queue
from pyrq.cli.crew import Crew, DemoError, Worker
from pyrq.cli.files import FileCount, count_file, walk
from pyrq.cli.ledger import Ledger
from pyrq.cli.progress import progress
from pyrq.cli.worker import Orders, Word, open_queues
from pyrq.errors import RqError

__all__ = ["UsageError", "run_demo"]

_LARGEST_BATCH = 100
_BATCHES_PER_WORKER = 4  # at least, so that a small folder keeps several workers busy, too
_CHUNK = 1000


class UsageError(Exception):
    """An argument can't be used."""


def run_demo(directory: bytes, workers: int, url: str | None) -> int:
    """Runs the demo; its last line of output is the ledger.

    Args:
        directory: the folder whose files are counted.
        workers: how many worker processes, the one that is killed included; at least 2.
        url: where the queue is; None for an embedded server in a temporary directory.

    Returns:
        The exit status: 0 if nothing is lost and all results are equal to those of a plain count.

    Raises:
        UsageError: the folder has no files, or the URL can't be used.
        DemoError: a worker died that nobody killed, or hangs.
        RqError: the server does not do what is needed.
    """
    start = time.monotonic()
    files = list(walk(_checked_directory(directory)))
    if not files:
        raise UsageError(f"no regular files in {os.fsdecode(directory)!r}")
    token = secrets.token_hex(8)
    batch = max(1, min(_LARGEST_BATCH, len(files) // (workers * _BATCHES_PER_WORKER)))
    with _server(url) as place:
        orders = Orders(place, f"pyrq-demo-paths-{token}", f"pyrq-demo-results-{token}", batch)
        # Workers stay to the end: if this process is killed, the last of them stops the embedded server.
        with _queues(orders) as (paths, results), Crew() as crew:
            run = _Run(paths, results, crew)
            run.count(files, orders, workers)
            run.compare(directory)
    print(run.ledger.line(time.monotonic() - start), flush=True)
    return run.ledger.status()


def _checked_directory(directory: bytes) -> bytes:
    try:
        with os.scandir(directory):
            return directory
    except OSError as error:
        raise UsageError(f"can't look into {os.fsdecode(directory)!r}: {error.strerror}") from error


@contextlib.contextmanager
def _server(url: str | None) -> Iterator[str]:
    """Gives the URL of the server; the embedded one is stopped by whoever leaves it last, before its folder goes."""
    if url is not None:
        if url.startswith("memory:"):
            raise UsageError("a memory:// queue lives in one process, and the workers are others; use another URL")
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="pyrq-demo-") as folder:
        yield f"embedded://{quote(folder)}"


@contextlib.contextmanager
def _queues(orders: Orders) -> Iterator[tuple[Queue[bytes], Queue[FileCount]]]:
    """Opens the queues, and leaves nothing of them on the server; a dead worker's session expires in two minutes."""
    with contextlib.ExitStack() as stack:
        try:
            paths, results = stack.enter_context(open_queues(orders.url, orders.paths, orders.results))
        except ValueError as error:
            raise UsageError(f"argument --url: {error}") from error
        paths.get_count()  # a server that can't be used says so here, before any worker is started
        try:
            yield paths, results
        finally:
            for queue in (paths, results):
                _clear(queue)


def _clear(queue: Queue[bytes] | Queue[FileCount]) -> None:
    try:
        queue.drop_all_items()
        while queue.get_items(_CHUNK):
            queue.drop_all_items()
    except RqError as error:  # the run may have failed for the same reason, and that error is the one to show
        print(f"could not remove the queue {queue.name}: {error}", file=sys.stderr)


class _Run:
    """One run of the demo.

    Attributes:
        ledger: what is known of it.
    """

    def __init__(self, paths: Queue[bytes], results: Queue[FileCount], crew: Crew) -> None:
        self.ledger = Ledger()
        self._paths = paths
        self._results = results
        self._crew = crew

    def count(self, files: list[bytes], orders: Orders, workers: int) -> None:
        """Has the files counted, and one worker killed.

        Args:
            files: the paths, at least one.
            orders: what each worker is to do.
            workers: how many; at least 2.

        Raises:
            DemoError: a worker died that nobody killed, or hangs.
        """
        with progress(len(files)) as show:
            victim = self._crew.hire(replace(orders, victim=True))
            others = [self._crew.hire(orders) for _ in range(workers - 1)]
            self.ledger.added = self._paths.add_items(files)
            self._kill(victim)
            for worker in others:
                worker.go()
            for message in self._crew.listen(others, Word.DONE):
                if message.word != Word.AT_WORK:
                    self._collect()
                    show(self.ledger.processed)

    def _kill(self, victim: Worker) -> None:
        """Kills a worker that holds a batch, and gives that back.

        The others are let go after that. So what all consumers hold, which is what `re_enqueue_all_items` gives back,
        is what the dead one held. Where the living hold something too, `re_enqueue_timeout_items` is the way, with a
        time that no batch takes.
        """
        victim.go()
        held = sum(message.number for message in self._crew.listen([victim], Word.HOLDING))
        self.ledger.killed += victim.kill()
        self.ledger.reclaimed += self._paths.re_enqueue_all_items()
        print(f"killed a worker that held {held} files; gave back {self.ledger.reclaimed}", flush=True)
        if not self.ledger.killed or not held or self.ledger.reclaimed != held:
            raise DemoError(f"the worker to kill held {held} files, and {self.ledger.reclaimed} came back")

    def _collect(self) -> None:
        while counts := self._results.get_items(_CHUNK):
            self.ledger.collect(counts)
            self._results.ack_items(counts)

    def compare(self, directory: bytes) -> None:
        """Compares the results with those of a plain walk in this process, and names what differs.

        Args:
            directory: the folder.
        """
        self.ledger.compare({path: count_file(path) for path in walk(directory)})
        for path in sorted(self.ledger.unequal)[:10]:
            print(f"differs from a plain count: {os.fsdecode(path)!r}", file=sys.stderr)
