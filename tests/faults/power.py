"""Power that fails: what was not synced is gone. With appendfsync always, nothing that was answered is among that.

Killing a server loses nothing that it has written, since the system still has it. So a shim preloaded into the server
(power_shim.c) notes how much of its append-only file was synced, and after a kill the file is cut down to that.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pyrq import Fsync
from tests.faults.campaign import Row, Trial
from tests.faults.ledger import Ledger
from tests.faults.restarts import ALWAYS, Load, Traffic
from tests.servers import Binary, Server, wait_until

__all__ = ["ROW", "PoweredServer", "build_shim"]

EVERYSEC = ("--appendonly", "yes", "--appendfsync", "everysec")
NOT_REWRITTEN = ("--auto-aof-rewrite-percentage", "0")
UNSYNCED = 20_000
"""So many bytes are not synced when the power of a control fails: there is something to lose."""

CUT = 2_000
"""So many of them must have been lost, so that items are among it."""
ATTEMPTS = 10


def build_shim(folder: Path) -> Path:
    """Compiles the shim.

    Args:
        folder: where to.

    Returns:
        The library to preload.

    Raises:
        AssertionError: there is no C compiler, or this is not Linux.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    assert sys.platform == "linux", "the power row needs Linux (LD_PRELOAD, /proc)"
    assert compiler, "the power row needs a C compiler: apt-get install gcc libc6-dev (or clang)"
    shim = folder / "power_shim.so"
    source = Path(__file__).with_suffix(".c").with_stem("power_shim")
    command = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(shim), str(source), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert not done.returncode, f"the shim does not compile:\n{done.stderr}"
    return shim


class PoweredServer(Server):
    """A server whose power can fail: `kill` takes away what it has not synced, too."""

    def __init__(self, binary: Binary, shim: Path, folder: Path, *options: str) -> None:
        """Starts it.

        Args:
            binary: the program.
            shim: what `build_shim` gave.
            folder: an empty one, for the shim's notes.
            options: arguments; an append-only file among them.
        """
        self._notes = folder
        self.cut = 0
        environment = {"LD_PRELOAD": str(shim), "PYRQ_SYNCED": str(folder)}
        super().__init__(binary, *options, *NOT_REWRITTEN, environment=environment)

    def _parts(self) -> list[tuple[Path, int]]:
        """Gives each part of the append-only file that was appended to, and how much of it is synced."""
        parts = list((self._directory / "appendonlydir").glob("*.incr.aof"))
        assert len(parts) == 1, f"one file that is appended to was expected, not {len(parts)}"
        return [(part, self._synced(part)) for part in parts]

    def _synced(self, part: Path) -> int:
        note = self._notes / part.name
        return int.from_bytes(note.read_bytes(), sys.byteorder) if note.exists() else 0

    def may_fail(self, unsynced: int) -> bool:
        """Says whether something is synced, and so many bytes are not."""
        parts = [(part.stat().st_size, synced) for part, synced in self._parts()]
        return all(synced for _, synced in parts) and sum(size - synced for size, synced in parts) >= unsynced

    def fail(self) -> None:
        """Lets the power fail; `start` brings it back."""
        self.kill()
        assert any(self._notes.iterdir()), "the shim noted nothing: was it loaded, and is anything synced?"
        for part, synced in self._parts():
            size = part.stat().st_size
            if size > synced:
                with part.open("r+b") as file:
                    file.truncate(synced)
                self.cut += size - synced


def _traffics(binary: Binary) -> list[Traffic]:
    """Gives what goes through each queue; where there is WAITAOF, one of them waits for it."""
    found = [Traffic("orders"), Traffic("letters", mixed=True)]
    return (
        [*found, Traffic("deeds", taken=False, durability=Fsync(1, timeout_ms=3000))] if binary.has_waitaof else found
    )


def _run(trial: Trial) -> None:
    shim, servers = build_shim(trial.folder), range(len(trial.binaries()))
    with ThreadPoolExecutor(len(servers)) as threads:
        futures = [threads.submit(_fail_often, trial, shim, which) for which in servers]
    for future in futures:
        trial.ledger.add(future.result())
    # One after the other: how much is lost is up to the disk alone.
    for which in servers:
        for number in range(trial.share("controls", which)):
            _control(trial, shim, trial.binaries()[which], number)


def _folder(trial: Trial, *names: object) -> Path:
    folder = trial.folder / "-".join(map(str, names))
    folder.mkdir()
    return folder


def _fail_often(trial: Trial, shim: Path, which: int) -> Ledger:
    """Lets the power of one server fail under load, again and again; gives what was wrong."""
    binary = trial.binaries()[which]
    failures, items = trial.share("failures", which), trial.share("items", which)
    rng = trial.rng("plan", binary.name)
    server = PoweredServer(binary, shim, _folder(trial, binary.name), *ALWAYS)
    try:
        load = Load(trial, server, _traffics(binary), binary.name)
        with load:
            for failure in range(failures):
                load.reach((failure * items + rng.randrange(items)) // failures)
                server.fail()
                server.start()
                trial.count("faults")
            load.reach(items)
        trial.count("cut_bytes", server.cut)
        return load.balance()
    finally:
        server.stop()


def _control(trial: Trial, shim: Path, binary: Binary, number: int) -> None:
    """Lets the power of a server fail once that syncs every second. What it loses is counted, and no fault."""
    traffics = _traffics(binary)
    for each in traffics:
        each.taken = False  # what was added and taken in the time that is lost would not show
    server = PoweredServer(binary, shim, _folder(trial, binary.name, "everysec", number), *EVERYSEC)
    try:
        load = Load(trial, server, traffics, binary.name, "everysec", number)
        with load:
            load.reach(trial["control_items"])
            for _ in range(ATTEMPTS):
                wait_until(lambda: server.may_fail(UNSYNCED), 60)
                server.fail()
                server.start()
                if server.cut >= CUT:  # else it has synced at the last moment
                    break
        lost = load.balance()
    finally:
        server.stop()
    for wrong, many in lost.wrongs.items():
        trial.blame(wrong, 0 if wrong == "lost" else many, f"everysec, control {number}: {'; '.join(lost.reasons)}")
    trial.expect(lost.wrongs["lost"], f"with everysec, control {number} lost nothing: then this row shows nothing")
    trial.count("controls")
    trial.count("control_items", lost.figures["items"])
    trial.count("control_lost", lost.wrongs["lost"])
    trial.count("control_confirmed", sum(each.account.accepted for each in traffics if each.durability))
    trial.count("control_lost_though_confirmed", load.lost["deeds"])


ROW = Row(
    "power",
    "the power of a server fails under load: with appendfsync always, and as a control with everysec",
    _run,
    full={"failures": 40, "items": 60_000, "controls": 4, "control_items": 2_000},
    quick=None,
)
