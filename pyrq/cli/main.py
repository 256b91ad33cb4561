"""What `python -m pyrq` understands."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NoReturn

import pyrq
from pyrq.cli.crew import DemoError
from pyrq.cli.demo import UsageError, run_demo
from pyrq.errors import RqError

__all__ = ["main"]

_MOST_WORKERS = 64


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: the words after the program's name; None for those of this process.

    Returns:
        The exit status: 0 for success, 1 for a failure, 130 after Ctrl-C.

    Raises:
        SystemExit: help or the version was wanted (0), an argument is wrong (2), or a signal asked to end.
    """
    parser, demo_parser = _parsers()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        with _ended_by_signals():
            return run_demo(options.directory, options.workers, options.url)
    except UsageError as error:
        demo_parser.error(str(error))
    except (DemoError, RqError) as error:
        print(f"{demo_parser.prog}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{demo_parser.prog}: stopped", file=sys.stderr)
        return 128 + signal.SIGINT


def _parsers() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    parser = argparse.ArgumentParser(prog="python -m pyrq", description=pyrq.__doc__)
    parser.add_argument("--version", action="version", version=f"py-rq {pyrq.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="count a folder's files through a queue, and kill a worker meanwhile",
        description="Queues the path of every file of a folder. Worker processes take them in batches and count lines, "
        "words and a digest; one of them is killed while it holds a batch, which is then given back to the others. The "
        "result is compared with a plain count by one process. Exit status 1 unless nothing is lost and all is equal.",
    )
    demo.add_argument(
        "directory",
        metavar="DIR",
        nargs="?",
        type=os.fsencode,
        default=os.fsencode(sysconfig.get_path("stdlib")),
        help="the folder; site-packages, dist-packages and __pycache__ in it are left out "
        "(default: the standard library of this Python)",
    )
    demo.add_argument("--workers", metavar="N", type=_workers, default=3, help="worker processes (default: 3)")
    demo.add_argument("--url", help="where the queue is (default: an embedded server in a temporary folder)")
    return parser, demo


def _workers(text: str) -> int:
    with contextlib.suppress(ValueError):
        if 2 <= int(text) <= _MOST_WORKERS:
            return int(text)
    # One of them is killed, and somebody has to do its work.
    raise argparse.ArgumentTypeError(f"must be a whole number from 2 to {_MOST_WORKERS}, not {text!r}")


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Lets signals end the block by an exception, so that it ends its workers and its server."""
    # What is ignored stays ignored: that is how nohup works.
    signals = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    before = [(number, signal.signal(number, _end)) for number in signals]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _end(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
