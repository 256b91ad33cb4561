"""Peers from the benchmarks' side: processes that answer, fail, or do not; environments that can or can't be made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.contest import Absent
from benchmarks.peers import packages
from benchmarks.peers.drivers.protocol import Answer, Open, Run
from benchmarks.peers.packages import PACKAGES, Package, interpreter
from benchmarks.peers.peer import Peer

OPEN = Open("unix:///tmp/x.sock", "orders")
Start = Callable[..., Peer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts peers whose interpreter is a shell script."""
    peers: list[Peer] = []

    def make(script: str, patience: float = 30.0) -> Peer:
        path = tmp_path / f"python{len(peers)}"
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o700)
        peers.append(Peer(str(path), "driver", patience=patience))
        return peers[-1]

    yield make
    for peer in peers:
        peer.close()


def test_a_peer_answers_in_turn(start: Start) -> None:
    peer = start('read line; echo "ready $line"; read line; echo "done 0.5"; read line')
    assert peer.tell(OPEN) == Answer("ready", "open unix:///tmp/x.sock orders")
    assert peer.tell(Run("add", 1, 2)).seconds == 0.5


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("cannot it has no batches", "not measured: it has no batches"),
        ("failed OSError", "not measured: failed with OSError"),
    ],
)
def test_a_peer_that_can_not_falls_out(start: Start, answer: str, why: str) -> None:
    with pytest.raises(Absent, match=why):
        start(f'read line; echo "{answer}"; read line').tell(OPEN)


@pytest.mark.parametrize("script", ["exit 3", "read line; exit 0", 'read line; echo "Traceback"; read line'])
def test_a_peer_that_ends_or_stammers_falls_out(start: Start, script: str) -> None:
    peer = start(script)
    for _ in range(2):  # and stays out
        with pytest.raises(Absent, match="its process ended"):
            peer.tell(OPEN)


def test_a_peer_that_hangs_is_killed(start: Start) -> None:
    with pytest.raises(Absent, match="did not answer in time"):
        start("exec sleep 600", patience=0.1).tell(OPEN)


def test_all_that_matters_is_pinned() -> None:
    for package in PACKAGES.values():
        assert all("==" in each for each in package.requirements if not each.startswith("setuptools"))
        assert package.requirements[0].split("==")[1] in package.label
        driver = Path(packages.__file__).with_name("drivers") / f"{package.driver}.py"
        assert driver.exists()


def test_no_python_that_is_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_HOME", tmp_path / "venvs")
    with pytest.raises(Absent, match=r"^not measured: needs Python 99\.1$"):
        interpreter(Package("x", "x", ("x==1",), (99, 1)))


def test_a_python_that_does_not_run_is_no_candidate(tmp_path: Path) -> None:
    shim = tmp_path / "python3.12"
    shim.write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
    shim.chmod(0o700)
    assert packages._version(str(shim)) == (0, 0)
    assert packages._version(sys.executable) == sys.version_info[:2]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that make environments; they do nothing but leave a file where they would make one."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> None:
        commands.append(command)
        if "venv" in command:
            Path(command[-1]).mkdir()

    monkeypatch.setattr(packages, "_HOME", tmp_path / "venvs")
    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_an_environment_is_made_once_and_again_when_the_pins_change(made: list[list[str]]) -> None:
    python = interpreter(Package("x", "x", ("x==1", "redis==8")))
    assert made[0][0] == sys.executable
    assert made[1][0] == python
    assert made[1][-2:] == ["x==1", "redis==8"]
    assert interpreter(Package("x", "x", ("x==1", "redis==8"))) == python
    assert len(made) == 2
    assert interpreter(Package("x", "x", ("x==1", "redis==9"))) == python
    assert made[3][-2:] == ["x==1", "redis==9"]


def test_what_pip_can_not_install_falls_out_and_is_tried_again(
    made: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    package, run = Package("x", "x", ("x==1",)), subprocess.run

    def fail(command: list[str], **_: Any) -> None:
        run(command, check=False)
        if "pip" in command:
            raise subprocess.CalledProcessError(1, command)

    with monkeypatch.context() as broken:
        broken.setattr(subprocess, "run", fail)
        with pytest.raises(Absent, match=r"x==1 can't be installed \(CalledProcessError\)"):
            interpreter(package)
    interpreter(package)
    assert len(made) == 4
