"""The older libraries, from PyPI, each in an environment of its own: their redis-py pins differ from ours.

Made once, in `.venv-interop/` of the checkout, and again if the making was interrupted.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import venv
from pathlib import Path

__all__ = ["CHECKOUT", "FLAVOURS", "interpreter"]

CHECKOUT = Path(__file__).resolve().parents[2]
FLAVOURS = {"old-sync": "py-rq==5.0.0", "old-aio": "aio-py-rq==4.1.0"}

_HOME = CHECKOUT / ".venv-interop" / f"{sys.version_info.major}.{sys.version_info.minor}"
# redis-py 3.5 imports distutils, which Python 3.12 has no more; setuptools brings it.
_BESIDES = ["setuptools<81"] if sys.version_info >= (3, 12) else []


def interpreter(flavour: str) -> str:
    """Gives the Python that has a library; makes its environment first if there is none."""
    if flavour == "new":
        return sys.executable
    requirement = FLAVOURS[flavour]
    place = _HOME / requirement.replace("==", "-")
    python, ready = place / "bin" / "python", place / ".ready"
    _HOME.mkdir(parents=True, exist_ok=True)
    with (_HOME / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            if place.exists():  # its making was interrupted
                shutil.rmtree(place)
            venv.create(place, with_pip=True)
            pip = [str(python), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, requirement, *_BESIDES], check=True, cwd=_HOME, stdin=subprocess.DEVNULL)
            ready.touch()
    return str(python)
