"""The two facades are one: the same names, signatures, documentation, and the very same Calls."""

from __future__ import annotations

import asyncio
import inspect
import re
import uuid
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest

import pyrq
from pyrq import aio, sync
from pyrq.aio import _runner as aio_runner
from pyrq.backends import AsyncBackend, Backend
from pyrq.backends.redis_async import AsyncRedisBackend
from pyrq.backends.redis_sync import RedisBackend
from pyrq.core.call import Call
from pyrq.errors import OutcomeUnknown, RqError
from pyrq.sync import _runner as sync_runner
from tests.unit.helpers import AsyncRecordingBackend, BrokenCodec, Fault, RecordingBackend

WORLD_NAMES = {"__aenter__": "__enter__", "__aexit__": "__exit__"}
SAME_IN_BOTH = ("__init__", "__getstate__", "__setstate__", "__copy__", "__deepcopy__", "__repr__", "_origin")
CLASSES: list[tuple[type[Any], type[Any]]] = [
    (sync.Queue, aio.Queue),
    (sync_runner.Runner, aio_runner.Runner),
    (Backend, AsyncBackend),
    (RedisBackend, AsyncRedisBackend),
]
# What may differ in the texts, and how; all else must be the same, word for word.
WORDING = (
    ("redis-py asyncio client", "redis-py client"),
    ("redis-py asyncio ConnectionPool", "redis-py ConnectionPool"),
    ("AsyncBackend", "Backend"),
    (", those of cancelled tasks included", ""),
)


def members(kind: type[Any], kinds: Any) -> dict[str, Any]:
    return {WORLD_NAMES.get(name, name): value for name, value in vars(kind).items() if isinstance(value, kinds)}


def functions(kind: type[Any]) -> dict[str, FunctionType]:
    return members(kind, FunctionType)


def pairs(kinds: list[tuple[type[Any], type[Any]]]) -> list[Any]:
    return [
        pytest.param(function, functions(there).get(name), id=f"{here.__name__}.{name}")
        for here, there in kinds
        for name, function in functions(here).items()
        if function.__module__ == here.__module__  # a Protocol has more, which typing put there
    ]


QUEUE = pairs(CLASSES[:1])
PUBLIC = [name for name in functions(sync.Queue) if not name.startswith("_")]


def text(of: Any) -> str:
    words = " ".join((inspect.getdoc(of) or "").split())
    for there, here in WORDING:
        words = words.replace(there, here)
    return words


def sections(of: Any) -> dict[str, str]:
    """Gives a docstring's sections, their white space evened out."""
    parts = re.split(r"^(Args|Attributes|Returns|Raises):$", inspect.getdoc(of) or "", flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    for there, here in WORDING:
        found = {name: " ".join(part.split()).replace(there, here) for name, part in found.items()}
    return found


# Names


def test_the_same_names() -> None:
    assert sync.__all__ == aio.__all__ == [name for name in pyrq.__all__ if name != "__version__"]


@pytest.mark.parametrize(("here", "there"), CLASSES[:3], ids=lambda kind: kind.__name__)
def test_the_same_methods(here: type[Any], there: type[Any]) -> None:
    assert list(functions(here)) == list(functions(there))


@pytest.mark.parametrize(("here", "there"), CLASSES[:1])
def test_the_same_properties(here: type[Any], there: type[Any]) -> None:
    assert list(members(here, property)) == list(members(there, property))
    for name, value in members(here, property).items():
        assert inspect.getdoc(value) == inspect.getdoc(getattr(there, name))
        assert inspect.get_annotations(value.fget) == inspect.get_annotations(getattr(there, name).fget)


# Signatures


@pytest.mark.parametrize(("here", "there"), pairs(CLASSES[:3]))
def test_the_same_parameters(here: FunctionType, there: FunctionType) -> None:
    mine, other = inspect.signature(here), inspect.signature(there)
    assert [(one.name, one.kind, one.default, one.annotation) for one in mine.parameters.values()] == [
        (one.name, one.kind, one.default, one.annotation) for one in other.parameters.values()
    ]
    assert mine.return_annotation.replace("threading.", "asyncio.") == other.return_annotation


@pytest.mark.parametrize(("here", "there"), QUEUE)
def test_what_talks_to_the_server_is_awaited(here: FunctionType, there: FunctionType) -> None:
    assert not inspect.iscoroutinefunction(here)
    assert inspect.iscoroutinefunction(there) == (here.__name__ not in SAME_IN_BOTH)


# Documentation


@pytest.mark.parametrize("name", PUBLIC)
def test_the_same_documentation(name: str) -> None:
    here, there = getattr(sync.Queue, name), getattr(aio.Queue, name)
    assert inspect.getdoc(here)
    assert text(here) == text(there)


@pytest.mark.parametrize(("here", "there"), CLASSES, ids=lambda kind: kind.__name__)
def test_classes_begin_with_the_same_promise(here: type[Any], there: type[Any]) -> None:
    def first(kind: type[Any]) -> str:
        return text(kind).partition(". ")[0].replace(", for asyncio", "").replace(" asyncio", "")

    assert first(here) == first(there) != ""


@pytest.mark.parametrize(("here", "there"), pairs(CLASSES))
def test_the_same_sections(here: FunctionType, there: FunctionType | None) -> None:
    if there is None:
        assert here.__name__ in ("_make_places",)  # only threads outlive a fork's semaphore
        return
    assert sections(here) == sections(there)


@pytest.mark.parametrize("name", PUBLIC)
@pytest.mark.parametrize("kind", [sync.Queue, aio.Queue], ids=["sync", "aio"])
def test_a_docstring_names_each_argument_and_what_comes_back(kind: type[Any], name: str) -> None:
    function = getattr(kind, name)
    found = sections(function)
    for parameter in list(inspect.signature(function).parameters)[1:]:
        assert re.search(rf"(^| ){parameter}: ", found["Args"]), parameter
    if inspect.signature(function).return_annotation != "None":
        assert found["Returns"]


def test_what_differs_is_said() -> None:
    assert "Threads may share one object" in text(sync.Queue)
    assert "Cancelling a call loses nothing" in text(aio.Queue)
    assert "Every method may raise" in text(sync.Queue)
    assert text(sync.Queue).partition("Every method may")[2] == text(aio.Queue).partition("Every method may")[2]


# The very same Calls

Step = tuple[str, tuple[Any, ...]]
SCENARIO: list[Step] = [
    ("add_items", ([f"item {number}" for number in range(2500)],)),
    ("add_item", ("one",)),
    ("add_items", ([],)),
    ("get_count", ()),
    ("get_items", (0,)),
    ("get_items", (1200,)),
    ("get_items", (20,)),
    ("ack_item", ("item 3",)),
    ("ack_item", ("never",)),
    ("ack_items", ([f"item {number}" for number in range(1100)],)),
    ("reject_item", ("item 1100",)),
    ("reject_items", ([f"item {number}" for number in range(1101, 1110)],)),
    ("revert_item", ("item 1110",)),
    ("revert_items", (["item 1111", "never"],)),
    ("re_enqueue_timeout_items", ()),
    ("re_enqueue_timeout_items", (0,)),
    ("get_items", (1500,)),
    ("re_enqueue_all_items", ()),
    ("get_items", (3,)),
    ("drop_timeout_items", (3600,)),
    ("drop_all_items", ()),
    ("delete_item", ("one", 1)),
    ("delete_items", (["item 2000", "item 2001"],)),
    ("get_items", (-1,)),
    ("add_item", (None,)),
    ("release", ()),
    ("close", ()),
    ("get_count", ()),
]


@pytest.fixture
def same_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=7))


def outcome(run: Callable[[], Any]) -> Any:
    try:
        return run()
    except (TypeError, ValueError, RqError) as error:
        return type(error), str(error)


def play_sync(backend: RecordingBackend, steps: list[Step], **options: Any) -> list[Any]:
    queue = sync.Queue("orders", backend, client_id="me", **options)
    return [outcome(lambda name=name, args=args: getattr(queue, name)(*args)) for name, args in steps]  # type: ignore[misc]


def play_aio(backend: AsyncRecordingBackend, steps: list[Step], **options: Any) -> list[Any]:
    queue = aio.Queue("orders", backend, client_id="me", **options)
    with asyncio.Runner() as runner:
        return [
            outcome(lambda name=name, args=args: runner.run(getattr(queue, name)(*args)))  # type: ignore[misc]
            for name, args in steps
        ]


def seen(calls: list[Call[Any]]) -> list[tuple[str, tuple[bytes, ...], tuple[bytes, ...]]]:
    return [(call.script.name, call.keys, call.args) for call in calls]


def test_the_scenario_has_every_public_method() -> None:
    assert {name for name, _ in SCENARIO} == set(PUBLIC)


@pytest.mark.parametrize("options", [{}, {"durability": pyrq.Replicas(1)}, {"codec": pyrq.JsonCodec()}], ids=str)
def test_the_same_calls_and_results(same_ids: None, options: dict[str, Any]) -> None:
    here, there = RecordingBackend(), AsyncRecordingBackend()
    assert play_sync(here, SCENARIO, **options) == play_aio(there, SCENARIO, **options)
    assert seen(here.calls) == seen(there.calls)
    assert here.runs == there.runs
    used = {call.script.name for call in here.calls}
    assert used >= {
        "probe",
        "add",
        "get",
        "ack",
        "reject",
        "re_enqueue",
        "drop",
        "delete",
        "count",
        "release",
        "forget",
    }


@pytest.mark.parametrize("script", ["probe", "add", "get", "ack", "reject", "bury", "re_enqueue", "release", "count"])
@pytest.mark.parametrize("executed", [False, True])
def test_the_same_calls_and_results_when_a_reply_is_lost(same_ids: None, script: str, executed: bool) -> None:
    steps: list[Step] = [
        ("add_items", (["a", "bad", "b", "a", "c"],)),
        *[step for step in SCENARIO if step[0] not in ("close",)],
        ("get_items", (2,)),
        ("ack_items", (["a", "a", "b"],)),
        ("close", ()),
    ]
    here, there = RecordingBackend(), AsyncRecordingBackend()
    for backend in (here, there):
        backend.faults = [Fault(script, OutcomeUnknown(), executed, skip) for skip in (0, 1)]
    assert play_sync(here, steps, codec=BrokenCodec()) == play_aio(there, steps, codec=BrokenCodec())
    assert here.runs == there.runs
    assert here.doubts == there.doubts > 0
