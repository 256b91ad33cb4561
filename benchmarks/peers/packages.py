"""Which packages are measured, and their environments: made once, in `.venv-bench/` of the checkout."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contest import Absent

__all__ = ["PACKAGES", "Package", "interpreter"]

_HOME = Path(__file__).resolve().parents[2] / ".venv-bench"
_HIREDIS = "hiredis==3.5.0"
_OTHER_PYTHONS = ("python3.12", "python3.13", "python3.14")
_PATIENCE = 180.0

Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Package:
    """A released package.

    Attributes:
        label: what it is called in tables.
        driver: the module in `drivers/` that drives it.
        requirements: what pip installs; all that matters is pinned.
        python: the oldest Python that it runs on.
    """

    label: str
    driver: str
    requirements: tuple[str, ...]
    python: Version = (3, 11)


# redis-py 3.5 imports distutils, which Python 3.12 has no more; setuptools brings it.
_DISTUTILS = ("setuptools<81",) if sys.version_info >= (3, 12) else ()

PACKAGES = {
    "py-rq": Package("py-rq 5.0.0 (released)", "older_sync", ("py-rq==5.0.0", "redis==3.5.3", _HIREDIS, *_DISTUTILS)),
    "aio-py-rq": Package("aio-py-rq 4.1.0 (released)", "older_aio", ("aio-py-rq==4.1.0", "redis==5.3.1", _HIREDIS)),
    "torrelque": Package("torrelque 0.9.0", "torrelque_driver", ("torrelque==0.9.0", "redis==8.1.0", _HIREDIS)),
    "redis-message-queue": Package(
        "redis-message-queue 11.0.1",
        "message_queue",
        ("redis-message-queue==11.0.1", "redis==8.1.0", _HIREDIS),
        (3, 12),
    ),
    "bullmq": Package("bullmq 3.4.4", "bull", ("bullmq==3.4.4", "redis==8.1.0", _HIREDIS)),
}


def interpreter(package: Package) -> str:
    """Gives the Python that has a package; makes its environment first if there is none.

    Args:
        package: the package.

    Raises:
        Absent: there is no Python that is new enough, or pip could not install it.
    """
    place = _HOME / f"{package.requirements[0].replace('==', '-')}-py{sys.version_info.major}.{sys.version_info.minor}"
    python, ready = place / "bin" / "python", place / ".ready"
    _HOME.mkdir(parents=True, exist_ok=True)
    with (_HOME / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists() or ready.read_text() != _contents(package):
            shutil.rmtree(place, ignore_errors=True)  # its making was interrupted, or the pins are others now
            _make(place, package)
            ready.write_text(_contents(package))
    return str(python)


def _contents(package: Package) -> str:
    return "\n".join(package.requirements)


def _make(place: Path, package: Package) -> None:
    base = _base(package.python)
    python = str(place / "bin" / "python")
    for command in (
        [base, "-I", "-m", "venv", str(place)],
        [python, "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *package.requirements],
    ):
        try:
            subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=_PATIENCE)
        except (subprocess.SubprocessError, OSError) as error:
            raise Absent(
                f"not measured: {package.requirements[0]} can't be installed ({type(error).__name__})"
            ) from None


def _base(oldest: Version) -> str:
    """Finds a Python that is new enough; ours first."""
    if sys.version_info[:2] >= oldest:
        return sys.executable
    for candidate in _candidates():
        if _version(candidate) >= oldest:
            return candidate
    raise Absent(f"not measured: needs Python {oldest[0]}.{oldest[1]}")


def _candidates() -> Iterator[str]:
    for name in _OTHER_PYTHONS:
        if found := shutil.which(name):
            yield found
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for name in _OTHER_PYTHONS:
        yield from map(str, sorted(root.glob(f"versions/{name.removeprefix('python')}*/bin/python")))


def _version(python: str) -> Version:
    """Asks a Python for its version; (0, 0) if it does not run, as a shim may not."""
    command = [python, "-I", "-c", "import sys; print(*sys.version_info[:2])"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE)
    if told.returncode:
        return 0, 0
    major, minor = told.stdout.split()
    return int(major), int(minor)
