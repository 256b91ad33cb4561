"""Runs the contests, prints a table, and writes page, charts and record.

It reports and asserts nothing: the exit status is 0 unless it could not run.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import redis

from benchmarks.contest import LEAST_ROUNDS, Contest, Result, hold
from benchmarks.limits import limits_of
from benchmarks.peers.peer import Peers
from benchmarks.report.compare import Changes
from benchmarks.report.page import write
from benchmarks.report.record import Record, load, record_of
from benchmarks.report.setting import setting_of, told
from benchmarks.report.table import plain_table
from benchmarks.rows import ROWS
from benchmarks.site import FULL, QUICK, Site, open_site
from pyrq.core.errors import RqError

_OUT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks"
_FILES = 8_192
"""So many files are open at a time: a thousand consumers, each with a wire of three ends."""


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--url", help="a server to use (redis://, rediss://, unix://) instead of an embedded one")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and a million waiting items, not ten")
    parser.add_argument("--rounds", type=int, help="how many rounds count, at least 5")
    parser.add_argument("--seed", type=int, help="what items and orders follow from; a new one by default")
    parser.add_argument("--only", nargs="+", choices=ROWS, help="only these; writes nothing unless --out is given")
    parser.add_argument("--out", type=Path, help="where page, charts and record go (docs/benchmarks)")
    parser.add_argument("--compare", type=Path, metavar="FILE.json", help="the record of an earlier run")
    options = parser.parse_args(arguments)
    if options.rounds is not None and options.rounds < LEAST_ROUNDS:
        parser.error(f"--rounds must be {LEAST_ROUNDS} or more")
    if options.compare is not None:
        try:
            options.compare = Changes(load(options.compare))
        except (OSError, ValueError) as error:
            parser.error(f"--compare: {error}")
    if options.out is None and options.only is None:
        options.out = _OUT
    return options


def _let_open_files() -> None:
    """Lets this process, and the servers that it starts, open many files, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _run(site: Site, peers: Peers, only: Sequence[str]) -> list[Result]:
    results = []
    for name in only:
        with contextlib.closing(ROWS[name](site, peers)) as contests:
            for contest in contests:
                _say(contest)
                results.append(hold(contest, site.scale.rounds))
    return results


def _say(contest: Contest) -> None:
    print(f"  {contest.group}: {contest.name}", file=sys.stderr, flush=True)


def _measure(options: argparse.Namespace) -> Record:
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    scale = QUICK if options.quick else FULL
    scale = scale if options.rounds is None else replace(scale, rounds=options.rounds)
    with open_site(options.url, scale, seed) as site, contextlib.closing(Peers(site)) as peers:
        setting = setting_of(site, seed, quick=options.quick)
        results = _run(site, peers, options.only or list(ROWS))
        limits = {} if options.only else limits_of(site)
        return record_of({**setting, "peers": peers.versions()}, results, limits)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmarks.

    Args:
        arguments: the command line, without the program's name.

    Returns:
        The exit status: 1 if it could not run, 130 if it was interrupted.
    """
    options = options_of(arguments)
    changes: Changes | None = options.compare
    _let_open_files()
    try:
        record = _measure(options)
        written = write(record, changes, options.out) if options.out else []
    except (redis.RedisError, RqError, RuntimeError, OSError, ValueError) as error:
        print(f"could not run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    print("\n".join([*told(record.setting), "", plain_table(record.rows, changes.of if changes else None), ""]))
    for path in written:
        print(f"wrote {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
