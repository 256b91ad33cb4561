"""The command line and the parts of its demo, without a server. The whole of it: tests/integration/test_demo.py."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import signal
import sys
import sysconfig
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyrq
from pyrq.cli import demo, files, progress, worker
from pyrq.cli import main as cli
from pyrq.cli.crew import DemoError
from pyrq.cli.files import FileCount, FileCountCodec, count_file, walk
from pyrq.cli.ledger import Ledger
from pyrq.cli.worker import GO, LEAVE, Orders, Word, open_queues
from pyrq.errors import ServerGoneError

NOT_TEXT = b"caf\xe9 \xff.txt"
IDLE = Orders("unix:///none", "paths", "results", batch=1)  # for workers that are never told to go


def count(path: bytes, lines: int = 1) -> FileCount:
    return FileCount(path, lines, 2, "digest")


# Which files there are


def test_a_walk_finds_regular_files_only_and_leaves_out_what_is_installed(tmp_path: Path) -> None:
    kept = [tmp_path / "a.py", tmp_path / "b" / "c.txt", tmp_path / "b" / "site-packages.txt"]
    left_out = [tmp_path / "b" / name / "x.py" for name in ("site-packages", "dist-packages", "__pycache__")]
    for path in [*kept, *left_out]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "link").symlink_to(kept[0])
    (tmp_path / "folder-link").symlink_to(tmp_path / "b")
    os.mkfifo(tmp_path / "pipe")
    assert list(walk(os.fsencode(tmp_path))) == [os.fsencode(path) for path in kept]


def test_a_walk_gives_absolute_paths_of_any_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = os.path.join(os.fsencode(tmp_path), NOT_TEXT)
    open(path, "wb").close()
    monkeypatch.chdir(tmp_path)
    assert list(walk(b".")) == [path]


def test_a_walk_passes_over_a_file_that_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").touch()

    def gone(_: bytes) -> NoReturn:
        raise FileNotFoundError

    monkeypatch.setattr(os, "lstat", gone)
    assert list(walk(os.fsencode(tmp_path))) == []


# What is in a file

CONTENTS = [
    (b"", 0, 0),
    (b"\n", 1, 0),
    (b"one", 1, 1),
    (b"one two\nthree\n", 2, 3),
    (b"one two\nthree", 2, 3),
    (b"\n\n x \r\n\ty", 4, 2),
    (b"\x00\xff\xfe \x80\n\x00", 2, 3),
]


@pytest.mark.parametrize("chunk", [1, 2, 3, 1 << 20])
@pytest.mark.parametrize(("content", "lines", "words"), CONTENTS)
def test_a_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, lines: int, words: int, chunk: int
) -> None:
    monkeypatch.setattr(files, "_CHUNK", chunk)
    path = os.path.join(os.fsencode(tmp_path), NOT_TEXT)
    with open(path, "wb") as file:
        file.write(content)
    assert count_file(path) == FileCount(path, lines, words, hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(("name", "reason"), [("missing", "ENOENT"), ("", "EISDIR")])
def test_a_file_that_cannot_be_read_has_a_count_that_says_why(tmp_path: Path, name: str, reason: str) -> None:
    path = os.fsencode(tmp_path / name)
    assert count_file(path) == FileCount(path, 0, 0, f"unreadable:{reason}")


@given(st.builds(FileCount, st.binary(min_size=1), st.integers(0), st.integers(0), st.just("ab12") | st.just("x:Y")))
def test_a_count_comes_back_from_a_queue_as_it_was(value: FileCount) -> None:
    assert FileCountCodec().decode(FileCountCodec().encode(value)) == value


# The books


def test_the_line_of_a_ledger_and_its_status() -> None:
    ledger = Ledger(added=3, killed=1, reclaimed=2)
    ledger.collect([count(b"a"), count(b"b")])
    ledger.collect([count(b"b"), count(b"c")])
    ledger.compare({path: count(path) for path in (b"a", b"b", b"c")})
    line = "ledger: added=3 processed=3 duplicates=1 killed=1 reclaimed=2 lost=0 seconds=1.3"
    assert (ledger.line(1.26), ledger.status()) == (line, 0)


def test_a_loss_is_a_failure_even_if_all_is_equal() -> None:
    ledger = Ledger(added=2, results={b"a": count(b"a")})
    ledger.compare({b"a": count(b"a")})
    assert " processed=1 " in ledger.line(0)
    assert " lost=1 seconds=0.0" in ledger.line(0)
    assert ledger.status() == 1


@pytest.mark.parametrize("plain", [{b"a": count(b"a", lines=7)}, {}, {b"a": count(b"a"), b"b": count(b"b")}])
def test_an_unequal_result_is_a_failure(plain: dict[bytes, FileCount]) -> None:
    ledger = Ledger(added=1, results={b"a": count(b"a")})
    ledger.compare(plain)
    assert (ledger.lost, ledger.status()) == (0, 1)


def test_a_duplicate_that_says_something_else_is_a_failure() -> None:
    ledger = Ledger(added=1)
    ledger.collect([count(b"a"), count(b"a", lines=7)])
    ledger.compare({b"a": count(b"a")})
    assert (ledger.duplicates, ledger.unequal, ledger.status()) == (1, {b"a"}, 1)


# How far it is


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_there_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress(100) as show:
        for done in range(101):
            show(done)
    assert capsys.readouterr().out.splitlines() == [f"counted {done} of 100 files" for done in (25, 50, 75, 100)]


def test_on_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    with progress.progress(3) as show:
        show(3)
    assert "counting" in terminal.getvalue()
    assert "100%" in terminal.getvalue()


def test_on_a_terminal_without_rich_there_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with progress.progress(1) as show:
        show(1)
    assert terminal.getvalue() == "counted 1 of 1 files\n"


# A worker, in a thread


@contextlib.contextmanager
def queues_for(orders: Orders) -> Iterator[tuple[pyrq.Queue[bytes], pyrq.Queue[FileCount]]]:
    with open_queues(orders.url, orders.paths, orders.results) as opened:
        yield opened


def orders_for(tmp_path: Path, batch: int, victim: bool = False) -> Orders:
    return Orders(f"memory://{tmp_path.name}", "paths", "results", batch, victim)


@contextlib.contextmanager
def employed(orders: bytes) -> Iterator[tuple[Any, Any, Future[None]]]:
    """Runs a worker; gives the file to tell it more, the one to hear from it, and its end."""
    (orders_in, orders_out), (answers_in, answers_out) = os.pipe(), os.pipe()
    with (
        open(orders_out, "wb", buffering=0) as tell,
        open(answers_in, "rb") as hear,
        open(orders_in, "rb", buffering=0),
        ThreadPoolExecutor() as pool,
    ):

        def work() -> None:
            with open(answers_out, "wb", buffering=0):
                worker.work(orders_in, answers_out)

        tell.write(orders)
        done = pool.submit(work)
        try:
            yield tell, hear, done
        finally:
            tell.close()
        done.result(20)


def heard_until(hear: Any, word: bytes) -> list[bytes]:
    heard = [hear.readline()]
    while not heard[-1].startswith(word):
        assert heard[-1], f"it ended before it said {word!r}"
        heard.append(hear.readline())
    return heard


def test_a_worker_reports_and_acknowledges_all(tmp_path: Path) -> None:
    orders = orders_for(tmp_path, batch=2)
    paths = [os.fsencode(tmp_path / name) for name in "abc"]
    with queues_for(orders) as (queue, results):
        queue.add_items(paths)
        with employed(orders.to_line() + GO) as (_, hear, _):
            assert heard_until(hear, Word.DONE).count(b"reported 0\n") == 2
            assert (queue.get_count(), queue.re_enqueue_all_items()) == (0, 0)
        assert results.get_items(9) == [count_file(path) for path in paths]


def test_a_victim_holds_its_batch_and_has_reported_half(tmp_path: Path) -> None:
    orders = orders_for(tmp_path, batch=4, victim=True)
    with queues_for(orders) as (queue, results):
        queue.add_items([os.fsencode(tmp_path / name) for name in "abcd"])
        with employed(orders.to_line() + GO) as (_, hear, _):
            assert heard_until(hear, Word.HOLDING)[-1] == b"holding 4\n"
            assert (len(results.get_items(9)), queue.get_count(), queue.re_enqueue_all_items()) == (2, 0, 4)


@pytest.mark.parametrize(
    ("orders", "awaits_the_end"), [(b"", False), (IDLE.to_line(), True), (IDLE.to_line() + LEAVE, False)]
)
def test_a_worker_that_is_not_told_to_go_does_nothing(
    monkeypatch: pytest.MonkeyPatch, orders: bytes, awaits_the_end: bool
) -> None:
    awaited: list[int] = []
    monkeypatch.setattr(worker, "_await_end", awaited.append)
    with employed(orders) as (tell, hear, _):
        tell.close()
        assert hear.readline() == b""
    assert bool(awaited) == awaits_the_end


@pytest.mark.parametrize("end", ["told", "orders end", "answers end"])
def test_a_worker_leaves_in_the_middle_of_a_file(tmp_path: Path, end: str) -> None:
    orders = orders_for(tmp_path, batch=2)
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 1 << 36)  # it takes no room, but a long time
    with queues_for(orders) as (queue, _):
        queue.add_item(os.fsencode(path))
        with employed(orders.to_line() + GO) as (tell, hear, done):
            heard_until(hear, Word.AT_WORK)
            if end == "told":
                tell.write(LEAVE)
            if end == "answers end":
                hear.close()
                assert not wait([done], 0.05).done  # it is not gone before the other pipe says why
            if end != "told":
                tell.close()
            done.result(20)
        assert queue.drop_all_items() == 1


def test_a_worker_leaves_after_its_parent_but_does_not_wait_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    parents = iter([7, 7, 1, 1])
    monkeypatch.setattr(worker, "_POLL", 0)
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    worker._await_end(parent=7)
    assert list(parents) == [1]
    monkeypatch.setattr(worker, "_END_PATIENCE", 0)
    monkeypatch.setattr(os, "getppid", lambda: 7)
    worker._await_end(parent=7)


def test_a_failure_of_a_worker_is_a_line_and_a_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: int) -> NoReturn:
        raise ServerGoneError

    monkeypatch.setattr(worker, "work", fail)
    assert worker._main() == 1
    assert "The server can't be reached" in capsys.readouterr().err
    monkeypatch.setattr(worker, "work", lambda *_: None)
    assert worker._main() == 0


# Arguments and exit statuses


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("number", ["1", "0", "-3", "65", "two", "2.5"])
def test_a_wrong_number_of_workers_names_the_range(capsys: pytest.CaptureFixture[str], number: str) -> None:
    error = refused(capsys, "demo", f"--workers={number}")
    assert f"argument --workers: must be a whole number from 2 to 64, not '{number}'" in error


def test_a_folder_must_be_there_and_have_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert f"error: no regular files in '{tmp_path}'" in refused(capsys, "demo", str(tmp_path))
    assert "error: can't look into 'no such': No such file or directory" in refused(capsys, "demo", "no such")


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("memory://x", "a memory:// queue lives in one process"),
        ("http://x", "argument --url: url must begin with one of redis://"),
        ("embedded://", "argument --url: url: embedded:// must name a directory"),
    ],
)
def test_a_wrong_url_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, url: str, error: str) -> None:
    (tmp_path / "a").touch()
    assert error in refused(capsys, "demo", str(tmp_path), "--url", url)


def test_a_server_that_is_gone_is_a_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(worker, "_RETRY", 0.0)
    (tmp_path / "a").touch()
    assert cli.main(["demo", str(tmp_path), "--url", f"unix://{tmp_path}/none"]) == 1
    assert "demo: error: The server can't be reached" in capsys.readouterr().err


def test_a_server_that_goes_away_hides_no_other_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pyrq.Queue("q", f"unix://{tmp_path}/none", codec=pyrq.BytesCodec(), retry=0.0) as queue:
        demo._clear(queue)
    assert "could not remove the queue q: The server can't be reached" in capsys.readouterr().err


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert "usage: python -m pyrq" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert not caught.value.code
    assert capsys.readouterr().out == f"py-rq {pyrq.__version__}\n"


def test_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def run(*arguments: object) -> int:
        asked.extend(arguments)
        return 0

    monkeypatch.setattr(cli, "run_demo", run)
    assert cli.main(["demo"]) == 0
    assert asked == [os.fsencode(sysconfig.get_path("stdlib")), 3, None]


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [(KeyboardInterrupt(), 130, "stopped"), (DemoError("no way"), 1, "error: no way")],
)
def test_what_ends_a_run_is_a_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, text: str
) -> None:
    def run(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(cli, "run_demo", run)
    assert cli.main(["demo"]) == status
    assert capsys.readouterr().err == f"python -m pyrq demo: {text}\n"


def test_a_signal_ends_a_run_in_order_unless_it_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    went_on = []

    def run(*_: object) -> None:
        signal.raise_signal(signal.SIGHUP)
        went_on.append(True)
        signal.raise_signal(signal.SIGTERM)
        went_on.append(False)

    monkeypatch.setattr(cli, "run_demo", run)
    before = signal.getsignal(signal.SIGTERM), signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(SystemExit) as caught:
            cli.main(["demo"])
    finally:
        signal.signal(signal.SIGHUP, before[1])
    assert (caught.value.code, went_on) == (143, [True])
    assert signal.getsignal(signal.SIGTERM) == before[0]
