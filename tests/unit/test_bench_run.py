"""A run of the benchmarks: its command line, its sides, and one run from end to end."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main, options_of
from benchmarks.limits import limits_of, server_lines
from benchmarks.peers.drivers.protocol import Open, Run
from benchmarks.peers.peer import Peer
from benchmarks.report.record import save
from benchmarks.rows import ROWS
from benchmarks.rows.client import _Recorded
from benchmarks.sides.bare import Bare
from benchmarks.sides.older import OlderQueue
from benchmarks.sides.ours import Ours, OursByHand
from benchmarks.sides.side import Side, adding, must_be, working
from benchmarks.sides.streams import JoinedStreams, Streams
from benchmarks.site import QUICK, Site, open_site
from tests.unit.bench_rows import record, row

SIDES: dict[str, Callable[[Site], Side]] = {
    "ours": lambda site: Ours(site, "side"),
    "ours by hand": lambda site: OursByHand(site, "side"),
    "older": lambda site: OlderQueue(site.name("side"), site.client),
    "bare": lambda site: Bare(site, "side"),
    "streams": lambda site: Streams(site, "side"),
    "joined": lambda site: JoinedStreams(site, "side"),
}


@pytest.fixture(scope="module")
def module_site() -> Iterator[Site]:
    with open_site(None, QUICK, 7) as site:
        yield site


@pytest.fixture
def site(module_site: Site) -> Iterator[Site]:
    """A server of our own, with nothing on it before and after."""
    assert module_site.client.dbsize() == 0
    yield module_site
    left = list(module_site.client.scan_iter("*"))
    module_site.client.flushall()
    assert left == []


@pytest.mark.parametrize("batch", [1, 100, 1_000])
@pytest.mark.parametrize("name", SIDES)
def test_a_side_does_what_is_timed_and_leaves_nothing(site: Site, name: str, batch: int) -> None:
    side = SIDES[name](site)
    assert adding(site, side, batch)() > 0
    assert working(site, side, batch)() > 0


@pytest.mark.parametrize("name", SIDES)
def test_a_side_adds_and_works_off_what_it_says(site: Site, name: str) -> None:
    side = SIDES[name](site)
    side.fill(site.items[:300])
    side.add(site.items[300:500], 100)
    side.work_off(100, 5)
    with pytest.raises(RuntimeError, match="0 items were moved, not 100"):
        side.work_off(100, 1)
    site.clear(side.name)


@pytest.mark.parametrize(("operation", "batch"), [("add", 1), ("add", 100), ("work", 1), ("work", 100)])
def test_a_driver_works_in_a_process_of_its_own(site: Site, operation: str, batch: int) -> None:
    peer = Peer(sys.executable, "older_sync")  # our library has py-rq's methods, so its driver drives it too
    try:
        assert peer.tell(Open(site.url, site.name("peer"))).kind == "ready"
        assert peer.tell(Run(operation, batch, 3)).seconds > 0
    finally:
        peer.close()


def test_work_that_was_not_done_is_not_timed() -> None:
    with pytest.raises(RuntimeError, match="2 items were moved, not 3"):
        must_be(3, 2)


def test_a_recorded_call_is_answered_the_same_again(site: Site) -> None:
    side = _Recorded(site, "recorded")
    side.fill(site.items[:20])
    sent = side.sent(lambda: side.work_off(1, 20))
    assert len(sent) == 21
    site.clear(side.name)
    side.fill(site.items[:20])
    replies: list[Any] = [site.client.execute_command(*command) for pipeline in sent for command in pipeline]
    assert all(reply[0] == 1 for reply in replies)  # done now, each of them, not remembered
    assert site.client.llen(side.name) == 0
    site.clear(side.name)


def test_where_the_time_goes(site: Site) -> None:
    limits = limits_of(site)
    client = "\n".join(limits["Client, add_item"])
    assert "pyrq.backends.redis_sync." in client
    assert "sendall" in client
    assert not re.search(r"/|site-packages", client)
    assert any(line.endswith("  evalsha") for line in limits["Server, whole cycle, batch 1,000"])


def test_what_commands_took_in_the_meantime() -> None:
    before = {"cmdstat_lpush": {"calls": 5, "usec": 100}, "cmdstat_get": {"calls": 1, "usec": 1}}
    after = {
        **before,
        "cmdstat_lpush": {"calls": 25, "usec": 500},
        "cmdstat_eval": {"calls": 10, "usec": 900},
        "cmdstat_info": {"calls": 10, "usec": 9_000},
    }
    assert server_lines(before, after, 10)[1:] == ["    90.0    1.0  eval", "    40.0    2.0  lpush"]


@pytest.mark.parametrize("arguments", [["--rounds", "4"], ["--only", "nothing"], ["--compare", "/nonexistent.json"]])
def test_a_wrong_command_line_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options_of(arguments)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_where_a_run_is_written() -> None:
    assert options_of([]).out == Path(__file__).parents[2] / "docs" / "benchmarks"
    assert options_of(["--only", "memory"]).out is None
    assert options_of(["--out", "x", "--only", *ROWS]).out == Path("x")


def test_a_run_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    earlier = tmp_path / "earlier.json"
    save(record(row("gone")), earlier)
    told = ["--quick", "--only", "memory", "--seed", "7", "--out", str(tmp_path / "out"), "--compare", str(earlier)]
    assert main(told) == 0
    out = capsys.readouterr().out
    assert "server memory, 50,000 items of 100 bytes wait" in out
    assert "better by" in out
    (written,) = tmp_path.glob("out/*-quick.json")
    (line,) = json.loads(written.read_text(encoding="utf-8"))["rows"]
    assert line["ratio"] < 1.02


def test_a_server_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", f"unix://{tmp_path}/none.sock", "--only", "memory"]) == 1
    assert capsys.readouterr().err.startswith("could not run: ")
