"""Prints the table. It reports and asserts nothing: the exit status is 0 unless it could not run."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import secrets
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import redis

from benchmarks.cases import Arena
from benchmarks.contest import LEAST_ROUNDS, Result, compare, rounds_of
from pyrq.backends.embedded import EmbeddedServer
from pyrq.core.errors import RqError

_HEAD = ("case", "against", "ours us/item", "theirs us/item", "ratio", "target", "")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--url", help="a server to use (redis://, rediss://, unix://) instead of an embedded one")
    parser.add_argument("--rounds", type=int, default=101, help="how many rounds count, at least 5")
    parser.add_argument("--seed", type=int, help="what items and orders follow from; a new one by default")
    options = parser.parse_args(arguments)
    if options.rounds < LEAST_ROUNDS:
        parser.error(f"--rounds must be {LEAST_ROUNDS} or more")
    return options


@contextlib.contextmanager
def _client(url: str | None) -> Iterator[Any]:
    """Gives a client of the server at a URL, or of an embedded one in a temporary directory."""
    with contextlib.ExitStack() as stack:
        if url is None:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="pyrq-bench-"))
            socket = stack.enter_context(EmbeddedServer.open(directory, appendfsync="everysec")).socket
            client = redis.Redis(unix_socket_path=socket, decode_responses=True)
        else:
            client = redis.Redis.from_url(url, decode_responses=True)
        stack.callback(client.close)
        yield client


def _setting(client: Any, seed: int, rounds: int) -> str:
    facts = client.info("server")
    name = "Valkey" if "valkey_version" in facts else "Redis"
    version = facts.get("valkey_version", facts.get("redis_version"))
    try:
        parser = f"hiredis {importlib.metadata.version('hiredis')}"
    except importlib.metadata.PackageNotFoundError:
        parser = "no hiredis"
    python = ".".join(str(part) for part in sys.version_info[:3])
    client_side = f"Python {python}, redis-py {redis.__version__}, {parser}"
    medians = f"medians of {rounds} rounds, {rounds_of(True, rounds)} of the slow last cases"
    return f"{name} {version}; {client_side}; items of 100 bytes; {medians}; --seed {seed}"


def _row(result: Result) -> tuple[str, ...]:
    case = result.case
    target = "" if case.target is None else f">= {case.target:.2f}"
    numbers = f"{result.ours:.2f}", f"{result.theirs:.2f}", f"{result.ratio:.2f}"
    return case.name, case.against, *numbers, target, result.verdict


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Aligns columns: words to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if 2 <= column <= 5 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmarks.

    Args:
        arguments: the command line, without the program's name.

    Returns:
        The exit status: 1 if it could not run.
    """
    options = _options(arguments)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    try:
        with _client(options.url) as client, contextlib.closing(Arena(client, seed)) as arena:
            print(_setting(client, seed, options.rounds), flush=True)
            rows = [_row(compare(case, options.rounds)) for case in arena.cases()]
            notes = arena.notes()
    except (redis.RedisError, RqError, RuntimeError, OSError, ValueError) as error:
        print(f"could not run: {error}", file=sys.stderr)
        return 1
    print("\n".join([_table([_HEAD, *rows]), "", *notes]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
