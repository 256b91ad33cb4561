"""What `python -m pyrq` understands."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import pyrq
from pyrq.cli.crew import DemoError
from pyrq.cli.demo import UsageError, run_demo
from pyrq.cli.doctor import run_doctor
from pyrq.cli.facts import Asked
from pyrq.errors import RqError

if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]

__all__ = ["main"]

_Run = Callable[[argparse.Namespace], int]
_MOST_WORKERS = 64
_MOST_REPLICAS = 1_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: the words after the program's name; None for those of this process.

    Returns:
        The exit status: 0 for success, 1 for a failure, 130 after Ctrl-C.

    Raises:
        SystemExit: help or the version was wanted (0), an argument is wrong (2), or a signal asked to end.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    own: argparse.ArgumentParser = options.own
    try:
        with _ended_by_signals():
            status: int = options.run(options)
            return status
    except UsageError as error:
        own.error(str(error))
    except (DemoError, RqError) as error:
        print(f"{own.prog}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{own.prog}: stopped", file=sys.stderr)
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pyrq", description=pyrq.__doc__)
    parser.add_argument("--version", action="version", version=f"py-rq {pyrq.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for add in (_add_demo, _add_doctor):
        own, run = add(commands)
        own.set_defaults(own=own, run=run)
    return parser


def _add_demo(commands: _Commands) -> tuple[argparse.ArgumentParser, _Run]:
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
    return demo, lambda options: run_demo(options.directory, options.workers, options.url)


def _add_doctor(commands: _Commands) -> tuple[argparse.ArgumentParser, _Run]:
    doctor = commands.add_parser(
        "doctor",
        help="look at a server: is it safe to keep a queue on, and what is to be changed?",
        description="Looks at a server's version, memory, disk, replicas, access rules and TLS, and says what is wrong "
        "and what to change. Changes nothing. Exit status 1 if something fails, 2 for a wrong argument.",
    )
    doctor.add_argument(
        "url",
        metavar="URL",
        nargs="?",
        help="where the server is; a password in it is seen by all who can list processes, so rather set PYRQ_URL "
        "(default: PYRQ_URL, else redis://localhost:6379/0)",
    )
    doctor.add_argument(
        "--queue", metavar="NAME", help="look at this queue or pool as well, and try out rights to its keys"
    )
    doctor.add_argument(
        "--replicas", metavar="N", type=_replicas, default=0, help="as many are to confirm each change: Replicas(N)"
    )
    doctor.add_argument("--fsync", action="store_true", help="its disk is to confirm each change: Fsync()")
    doctor.add_argument("--strict", action="store_true", help="exit status 1 for a warning, too")
    doctor.add_argument("--json", action="store_true", help="print a list of objects: level, what, change")

    def run(options: argparse.Namespace) -> int:
        asked = Asked(options.replicas, options.fsync)
        return run_doctor(options.url, options.queue, asked, strict=options.strict, as_json=options.json)

    return doctor, run


def _replicas(text: str) -> int:
    with contextlib.suppress(ValueError):
        if 0 <= int(text) <= _MOST_REPLICAS:
            return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {_MOST_REPLICAS}, not {text!r}")


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
