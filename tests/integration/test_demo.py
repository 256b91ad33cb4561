"""The demo as a user runs it: real processes, a real server, a real SIGKILL."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pyrq.cli import crew, demo
from pyrq.cli.crew import Crew, DemoError, Message, Worker
from pyrq.cli.files import FileCount
from pyrq.cli.ledger import Ledger
from pyrq.cli.main import main
from pyrq.cli.worker import Orders, Word
from tests.servers import leftovers, wait_until

LEDGER = re.compile(
    r"ledger: added=(\d+) processed=(\d+) duplicates=(\d+) killed=(\d+) reclaimed=(\d+) lost=(-?\d+) seconds=\d+\.\d"
)
IDLE = Orders("unix:///none", "paths", "results", batch=1)  # for workers that are never told to go


class Books(NamedTuple):
    added: int
    processed: int
    duplicates: int
    killed: int
    reclaimed: int
    lost: int


def books(output: str) -> Books:
    line = output.splitlines()[-1]
    found = LEDGER.fullmatch(line)
    assert found, f"the last line is no ledger: {line!r}"
    return Books(*map(int, found.groups()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """The folder for temporary files; nothing is left in it."""
    made = tmp_path / "t"
    made.mkdir()
    yield made
    assert list(made.iterdir()) == []


def fill(folder: Path, count: int) -> None:
    for number in range(count):
        (folder / f"{number}.txt").write_text(f"file {number}\n" * number)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "pyrq", "demo", *map(str, arguments)]


def demonstrate(temporary: Path, *arguments: str | Path) -> Books:
    environment = {**os.environ, "TMPDIR": str(temporary)}
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=100, env=environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return books(done.stdout)


def test_a_folder(folder: Path, temporary: Path) -> None:
    fill(folder, 47)
    # 47 files for 2 workers make batches of 5; the report of half of one is what is counted twice.
    assert demonstrate(temporary, folder, "--workers", "2") == Books(47, 47, 2, 1, 5, 0)


def test_a_folder_with_one_file_has_something_to_reclaim(folder: Path, temporary: Path) -> None:
    fill(folder, 1)
    assert demonstrate(temporary, folder, "--workers", "2") == Books(1, 1, 0, 1, 1, 0)


def test_a_file_name_need_not_be_text(folder: Path, temporary: Path) -> None:
    for name in (b"caf\xe9 \xff\n.txt", "café".encode()):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(b"\x00 \xff\n" * 1000)
    assert demonstrate(temporary, folder, "--workers", "3") == Books(2, 2, 0, 1, 1, 0)


def test_a_server_that_was_named_is_left_clean(folder: Path, temporary: Path, url: str, client: Any) -> None:
    fill(folder, 20)
    client.set("somebody", "else's")
    assert demonstrate(temporary, folder, "--url", url)[:2] == (20, 20)
    assert leftovers(client) == {b"somebody"}


# Worker processes


def pid(one: Worker) -> int:
    return one._process.pid


def test_a_worker_that_ends_by_itself_is_noticed() -> None:
    with Crew() as workers:
        first, second = workers.hire(IDLE), workers.hire(IDLE)
        os.kill(pid(second), signal.SIGKILL)
        with pytest.raises(DemoError, match=f"worker {pid(second)} ended by itself, with status -9"):
            list(workers.listen([first, second], Word.DONE))
        second.go()  # nobody hears it, and that is no error


def test_a_worker_that_says_nothing_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "_PATIENCE", 0.05)
    with Crew() as workers, pytest.raises(DemoError, match=r"said nothing for 0\.05 s"):
        list(workers.listen([workers.hire(IDLE)], Word.DONE))


def test_no_worker_outlives_its_crew_not_even_a_stopped_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "_LEAVE_PATIENCE", 0.05)
    with Crew() as workers:
        hired = [workers.hire(IDLE) for _ in range(2)]
        os.kill(pid(hired[0]), signal.SIGSTOP)
    for one in hired:
        with pytest.raises(ProcessLookupError):
            os.kill(pid(one), 0)


def test_messages_come_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    with Crew() as workers:
        one = workers.hire(IDLE)
        pieces = iter([b"reported 0\nhold", b"ing 1", b"2\n"])
        monkeypatch.setattr(os, "read", lambda *_: next(pieces))
        assert one.read() == [Message(b"reported", 0)]
        assert one.read() == []
        assert one.read() == [Message(b"holding", 12)]
        monkeypatch.undo()


# In this process, where a part can be made to fail


def test_what_is_lost_makes_it_fail(
    folder: Path, url: str, client: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(folder, 9)
    collect = Ledger.collect

    def collect_less(self: Ledger, counts: Iterable[FileCount]) -> None:
        collect(self, (count for count in counts if not count.path.endswith(b"/3.txt")))

    monkeypatch.setattr(Ledger, "collect", collect_less)
    assert main(["demo", str(folder), "--url", url]) == 1
    told = capfd.readouterr()
    assert books(told.out)._replace(duplicates=0) == Books(9, 8, 0, 1, 1, 1)
    assert told.err == f"differs from a plain count: '{folder}/3.txt'\n"
    assert leftovers(client) == set()


def test_an_unequal_result_makes_it_fail(
    folder: Path, url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(folder, 2)
    monkeypatch.setattr(demo, "count_file", lambda path: FileCount(path, 7, 7, "other"))
    assert main(["demo", str(folder), "--url", url]) == 1
    told = capfd.readouterr()
    assert books(told.out).lost == 0
    assert told.err.count("differs from a plain count") == 2


def test_a_batch_that_does_not_come_back_makes_it_fail(
    folder: Path, url: str, client: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(folder, 2)
    monkeypatch.setattr("pyrq.Queue.re_enqueue_all_items", lambda self: 0)
    assert main(["demo", str(folder), "--url", url]) == 1
    assert "error: the worker to kill held 1 files, and 0 came back" in capfd.readouterr().err
    assert leftovers(client) == set()


# Ended from outside, while a worker reads a file that takes long


@contextlib.contextmanager
def heeding_signals() -> Iterator[None]:
    """Lets a child heed signals that whoever started the tests made them ignore (nohup, a background job)."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def under_way(folder: Path, temporary: Path) -> Iterator[subprocess.Popen[str]]:
    for name in "ab":
        (folder / name).touch()
        os.truncate(folder / name, 1 << 36)  # it takes no room
    environment = {**os.environ, "TMPDIR": str(temporary)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with heeding_signals():
        started = subprocess.Popen(command(folder, "--workers", "2"), env=environment, **pipes)
    with started as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "killed a worker that held 1 files; gave back 1\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_all_processes(folder: Path, temporary: Path, number: signal.Signals, status: int) -> None:
    with under_way(folder, temporary) as process:
        process.send_signal(number)
        # All that share the pipe of its errors are gone, or this would not come back.
        _, errors = process.communicate(timeout=30)
    assert process.returncode == status
    assert errors == ("python -m pyrq demo: stopped\n" if number == signal.SIGINT else "")


def test_a_worker_that_dies_ends_the_run(folder: Path, temporary: Path) -> None:
    with under_way(folder, temporary) as process:
        for worker in children(process.pid):
            os.kill(worker, signal.SIGKILL)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "ended by itself, with status -9" in errors


def test_workers_and_server_end_when_their_parent_is_killed(folder: Path, tmp_path: Path) -> None:
    # Nobody is left to remove the folder of the data.
    temporary = tmp_path / "left"
    temporary.mkdir()
    with under_way(folder, temporary) as process:
        (socket,) = temporary.glob("pyrq-demo-*/server.sock")
        process.kill()
        assert process.communicate(timeout=30)[1] == ""
        wait_until(lambda: not socket.exists())


def children(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):  # it is gone
            if f"\nPPid:\t{parent}\n" in status.read_text():
                found.append(int(status.parent.name))
    return found
