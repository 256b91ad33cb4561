"""The two facades are one: the same names, signatures, documentation, and the very same Calls."""

from __future__ import annotations

import asyncio
import inspect
import re
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from types import FunctionType
from typing import Any

import pytest

import pyrq
from pyrq import aio, sync
from pyrq.aio import _facade as aio_facade
from pyrq.aio import _runner as aio_runner
from pyrq.aio import _upkeep as aio_upkeep
from pyrq.backends import AsyncBackend, Backend
from pyrq.backends.redis_async import AsyncRedisBackend
from pyrq.backends.redis_sync import RedisBackend
from pyrq.core.call import Call
from pyrq.core.keys import Kind
from pyrq.errors import OutcomeUnknown, RqError
from pyrq.sync import _facade as sync_facade
from pyrq.sync import _runner as sync_runner
from pyrq.sync import _upkeep as sync_upkeep
from tests.unit.builders import ANY_BUILDERS, POOL_BUILDERS, QUEUE_BUILDERS
from tests.unit.helpers import AsyncRecordingBackend, BrokenCodec, Fault, RecordingBackend

WORLD_NAMES = {"__aenter__": "__enter__", "__aexit__": "__exit__"}
SAME_IN_BOTH = (
    "__init__",
    "_start",
    "__getstate__",
    "__setstate__",
    "__copy__",
    "__deepcopy__",
    "__repr__",
    "_origin",
    "_decode",
)
PUBLIC_CLASSES: list[tuple[type[Any], type[Any]]] = [
    (sync.Queue, aio.Queue),
    (sync.UniqueQueue, aio.UniqueQueue),
    (sync.Pool, aio.Pool),
]
FACADES: list[tuple[type[Any], type[Any]]] = [
    (sync_facade.Facade, aio_facade.Facade),
    (sync_upkeep.Upkeep, aio_upkeep.Upkeep),
    *PUBLIC_CLASSES,
]
MIRRORED: list[tuple[type[Any], type[Any]]] = [
    *FACADES,
    (sync_runner.Runner, aio_runner.Runner),
    (Backend, AsyncBackend),
]
CLASSES: list[tuple[type[Any], type[Any]]] = [*MIRRORED, (RedisBackend, AsyncRedisBackend)]
# What may differ in the texts, and how; all else must be the same, word for word.
WORDING = (
    ("redis-py asyncio client", "redis-py client"),
    ("redis-py asyncio ConnectionPool", "redis-py ConnectionPool"),
    ("AsyncBackend", "Backend"),
    (", those of cancelled tasks included", ""),
    ("a lost reply, a cancelled call, ", "a lost reply, "),
    ("Tasks of one event loop may share", "Threads may share"),
    ("that tasks share", "that threads share"),
    ("Tasks share it", "Threads share it"),
    (", for asyncio", ", for threads"),
    (
        "Cancelling a call loses nothing: a cancelled get is handed out again by the next one, and a cancelled change "
        "took effect once or not at all. ",
        "",
    ),
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


def public(kind: type[Any]) -> list[str]:
    """Gives the names of a class's methods, inherited ones included."""
    return [name for name in dir(kind) if not name.startswith("_") and inspect.isfunction(getattr(kind, name))]


def own_names(kind: type[Any]) -> list[str]:
    """Gives the names of everything that a class itself has, in its order."""
    return [WORLD_NAMES.get(name, name) for name in vars(kind)]


each_method = pytest.mark.parametrize(
    ("here", "there", "name"),
    [
        pytest.param(*kinds, name, id=f"{kinds[0].__name__}.{name}")
        for kinds in PUBLIC_CLASSES
        for name in public(kinds[0])
    ],
)


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


@pytest.mark.parametrize(("here", "there"), MIRRORED, ids=lambda kind: kind.__name__)
def test_the_same_methods(here: type[Any], there: type[Any]) -> None:
    assert list(functions(here)) == list(functions(there))


@pytest.mark.parametrize(("here", "there"), FACADES, ids=lambda kind: kind.__name__)
def test_nothing_but_the_same(here: type[Any], there: type[Any]) -> None:
    assert own_names(here) == own_names(there)
    assert [base.__name__ for base in here.__mro__] == [base.__name__ for base in there.__mro__]
    assert [base.__module__.replace("pyrq.sync", "pyrq.aio") for base in here.__mro__] == [
        base.__module__ for base in there.__mro__
    ]


@pytest.mark.parametrize(("here", "there"), FACADES, ids=lambda kind: kind.__name__)
def test_the_same_properties(here: type[Any], there: type[Any]) -> None:
    assert list(members(here, property)) == list(members(there, property))
    for name, value in members(here, property).items():
        assert inspect.getdoc(value) == inspect.getdoc(getattr(there, name))
        assert inspect.get_annotations(value.fget) == inspect.get_annotations(getattr(there, name).fget)


@pytest.mark.parametrize(("here", "there"), PUBLIC_CLASSES, ids=lambda kind: kind.__name__)
def test_the_classes_are_where_the_modules_say(here: type[Any], there: type[Any]) -> None:
    for world, kind in (("sync", here), ("aio", there)):
        assert kind.__module__ == f"pyrq.{world}.{re.sub('(?<=.)(?=[A-Z])', '_', kind.__name__).lower()}"


# Signatures


@pytest.mark.parametrize(("here", "there"), pairs(MIRRORED))
def test_the_same_parameters(here: FunctionType, there: FunctionType) -> None:
    mine, other = inspect.signature(here), inspect.signature(there)
    assert [(one.name, one.kind, one.default, one.annotation) for one in mine.parameters.values()] == [
        (one.name, one.kind, one.default, one.annotation) for one in other.parameters.values()
    ]
    assert mine.return_annotation.replace("threading.", "asyncio.") == other.return_annotation


@pytest.mark.parametrize(("here", "there"), pairs(FACADES))
def test_what_talks_to_the_server_is_awaited(here: FunctionType, there: FunctionType) -> None:
    assert not inspect.iscoroutinefunction(here)
    assert inspect.iscoroutinefunction(there) == (here.__name__ not in SAME_IN_BOTH)


# Documentation


@each_method
def test_the_same_documentation(here: type[Any], there: type[Any], name: str) -> None:
    assert inspect.getdoc(getattr(here, name))
    assert text(getattr(here, name)) == text(getattr(there, name))


@pytest.mark.parametrize(("here", "there"), FACADES, ids=lambda kind: kind.__name__)
def test_classes_promise_the_same(here: type[Any], there: type[Any]) -> None:
    assert text(here) == text(there) != ""


@pytest.mark.parametrize(("here", "there"), CLASSES, ids=lambda kind: kind.__name__)
def test_classes_begin_with_the_same_promise(here: type[Any], there: type[Any]) -> None:
    def first(kind: type[Any]) -> str:
        return text(kind).partition(". ")[0].replace(", for threads", "").replace(" asyncio", "")

    assert first(here) == first(there) != ""


@pytest.mark.parametrize(("here", "there"), pairs(CLASSES))
def test_the_same_sections(here: FunctionType, there: FunctionType | None) -> None:
    if there is None:
        assert here.__name__ in ("_make_places",)  # only threads outlive a fork's semaphore
        return
    assert sections(here) == sections(there)


@each_method
def test_a_docstring_names_each_argument_and_what_comes_back(here: type[Any], there: type[Any], name: str) -> None:
    for function in (getattr(here, name), getattr(there, name)):
        found = sections(function)
        for parameter in list(inspect.signature(function).parameters)[1:]:
            assert re.search(rf"(^| ){parameter}: ", found["Args"]), parameter
        if inspect.signature(function).return_annotation != "None":
            assert found["Returns"]


@pytest.mark.parametrize("kind", [kind for kinds in PUBLIC_CLASSES for kind in kinds], ids=lambda kind: kind.__module__)
def test_the_constructors_docstring_names_each_argument(kind: type[Any]) -> None:
    names = list(inspect.signature(kind.__init__).parameters)[1:]
    arguments = (inspect.getdoc(kind.__init__) or "").partition("Args:\n")[2].partition("\n\n")[0]
    assert re.findall(r"^    (\w+): ", arguments, re.MULTILINE) == names


@pytest.mark.parametrize(("here", "there"), PUBLIC_CLASSES, ids=lambda kind: kind.__name__)
def test_modules_and_classes_say_the_same(here: type[Any], there: type[Any]) -> None:
    mine, other = inspect.getmodule(here), inspect.getmodule(there)
    assert text(mine) == text(other) != ""


def test_what_differs_is_said() -> None:
    for here, there in (PUBLIC_CLASSES[0], PUBLIC_CLASSES[2]):
        assert "Threads may share one object" in (here.__doc__ or "")
        assert "Tasks of one event loop may share" in (there.__doc__ or "")
        assert "Every method may raise" in text(here)
    assert "Cancelling a call loses nothing" in (aio.Queue.__doc__ or "")
    assert "a cancelled call" in (aio.Pool.__doc__ or "")
    assert "All else is as in `Queue`" in text(sync.UniqueQueue)


# The very same Calls

Step = tuple[str, tuple[Any, ...]]


def queue_steps(much: int) -> list[Step]:
    """Gives calls of every method of a queue; the larger ones in several chunks where `much` is 100."""
    first = 11 * much  # of what is held and not acknowledged
    return [
        ("add_items", ([f"item {number}" for number in range(25 * much)],)),
        ("add_item", ("one",)),
        ("add_item", ("one",)),
        ("add_items", ([],)),
        ("get_count", ()),
        ("get_items", (0,)),
        ("get_items", (12 * much,)),
        ("get_items", (20,)),
        ("ack_item", ("item 3",)),
        ("ack_item", ("never",)),
        ("ack_items", ([f"item {number}" for number in range(first)],)),
        ("add_items", ([f"item {first}", f"item {first + 10}"],)),
        ("reject_item", (f"item {first}",)),
        ("reject_items", ([f"item {first + number}" for number in range(1, 10)],)),
        ("revert_item", (f"item {first + 10}",)),
        ("revert_items", ([f"item {first + 11}", "never"],)),
        ("re_enqueue_timeout_items", ()),
        ("re_enqueue_timeout_items", (0,)),
        ("re_enqueue_timeout_items", (-1,)),
        ("get_items", (15 * much,)),
        ("re_enqueue_all_items", ()),
        ("get_items", (3,)),
        ("drop_timeout_items", (3600,)),
        ("drop_timeout_items", ("soon",)),
        ("drop_all_items", ()),
        ("delete_item", ("one", 1)),
        ("delete_items", ([f"item {20 * much}", f"item {20 * much + 1}"],)),
        ("delete_items", (["item 1"], -1)),
        ("can_rollback_item", ("item 3",)),
        ("can_rollback_item", ("item 3",)),
        ("reset_blocked_item", ("item 3",)),
        ("reset_blocked_item", ("item 3",)),
        ("can_rollback_item", (None,)),
        ("get_items", (-1,)),
        ("add_item", (None,)),
        ("release", ()),
    ]


END: list[Step] = [("close", ()), ("get_count", ())]
POOL: list[Step] = [
    ("add_items", ([f"item {number}" for number in range(250)],)),
    ("add_item", ("one",)),
    ("add_item", ("one",)),
    ("add_items", ([],)),
    ("add_items", ("text",)),
    ("get_count", ()),
    ("get_count_to_process", ()),
    ("get_items", (0,)),
    ("get_items", (120,)),
    ("get_items", (100,)),
    ("ack_item", ("item 3",)),
    ("ack_item", ("item 3",)),
    ("ack_item", ("never",)),
    ("ack_items", ([f"item {number}" for number in range(180)],)),
    ("remove_item", ("item 181",)),
    ("remove_item", ("item 181",)),
    ("remove_items", ([f"item {number}" for number in range(180, 200)],)),
    ("get_all_items", ()),
    ("get_all_items", ()),
    ("is_in_pool", ("item 3",)),
    ("is_in_pool", ("never",)),
    ("delete_item", ("item 3",)),
    ("delete_item", ("item 3",)),
    ("delete_items", ([f"item {number}" for number in range(150)],)),
    ("get_count_to_process", ()),
    ("get_items", (-1,)),
    ("add_item", (None,)),
    ("is_in_pool", (None,)),
    ("clear_pool", ()),
    ("clear_pool", ()),
]
LIMIT = {"max_retry_rollback": 0, "max_timeout_in_queue": 5}
OPTIONS = {"Queue": LIMIT, "UniqueQueue": LIMIT, "Pool": {"ack_ttl": 60, "ack_valid_for": 3600}}


def scenario(kind: str, much: int = 100) -> list[Step]:
    if kind == "Pool":
        return POOL
    return [*queue_steps(much), ("repair", ())] if kind == "UniqueQueue" else queue_steps(much)


def scripts_of(name: str) -> set[str]:
    """Gives the names of the scripts that are for a class."""
    if name == "Pool":
        return {builder().script.name for builder in (*POOL_BUILDERS, *ANY_BUILDERS)}
    kind = Kind.UNIQUE if name == "UniqueQueue" else Kind.PLAIN
    return {builder().script.name for builder in QUEUE_BUILDERS if builder.kind is kind}


@pytest.fixture
def same_ids_and_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool's later chunks speak of the time of the first: the fake's clock stands still."""
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=7))
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.25)


def outcome(run: Callable[[], Any]) -> Any:
    try:
        return run()
    except (TypeError, ValueError, RqError) as error:
        return type(error), str(error)


def play_sync(backend: RecordingBackend, kind: str, steps: list[Step], **options: Any) -> list[Any]:
    facade = getattr(sync, kind)("orders", backend, client_id="me", **options)
    return [outcome(partial(getattr(facade, name), *args)) for name, args in steps]


def play_aio(backend: AsyncRecordingBackend, kind: str, steps: list[Step], **options: Any) -> list[Any]:
    facade = getattr(aio, kind)("orders", backend, client_id="me", **options)
    with asyncio.Runner() as runner:

        def awaited(name: str, args: Sequence[Any]) -> Any:
            return runner.run(getattr(facade, name)(*args))

        return [outcome(partial(awaited, name, args)) for name, args in steps]


def seen(calls: list[Call[Any]]) -> list[tuple[str, bytes, tuple[bytes, ...], tuple[bytes, ...]]]:
    return [(call.script.name, call.script.sha, call.keys, call.args) for call in calls]


@pytest.mark.parametrize(("here", "there"), PUBLIC_CLASSES, ids=lambda kind: kind.__name__)
def test_the_scenarios_have_every_public_method(here: type[Any], there: type[Any]) -> None:
    names = {name for name, _ in (*scenario(here.__name__), *END)}
    assert names == set(public(here)) == set(public(there))


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("options", [{}, {"durability": pyrq.Replicas(1)}, {"codec": pyrq.JsonCodec()}], ids=str)
def test_the_same_calls_and_results(same_ids_and_times: None, kind: str, options: dict[str, Any]) -> None:
    steps, more = [*scenario(kind), *END], {**OPTIONS[kind], **options}
    here, there = RecordingBackend(), AsyncRecordingBackend()
    assert play_sync(here, kind, steps, **more) == play_aio(there, kind, steps, **more)
    assert seen(here.calls) == seen(there.calls)
    assert here.runs == there.runs
    # Those left out are for what goes wrong.
    assert set(here.names) | {"burn"} == (scripts_of(kind) | {"burn"}) - {"confirm", "bury"}
    assert {durability for _, durability in here.runs} == {None, options.get("durability")}


@pytest.mark.parametrize(
    ("kind", "script"),
    [(kind, script) for kind in OPTIONS for script in sorted(scripts_of(kind) - {"confirm", "burn"})],
)
@pytest.mark.parametrize("executed", [False, True])
def test_the_same_calls_and_results_when_a_reply_is_lost(
    same_ids_and_times: None, kind: str, script: str, executed: bool
) -> None:
    steps: list[Step] = [
        ("add_items", (["a", "bad", "b", "a", "c"],)),
        *scenario(kind, 1),
        ("get_count", ()),
        ("get_items", (2,)),
        ("ack_items", (["a", "a", "b"],)),
        *END,
    ]
    more = {**OPTIONS[kind], "codec": BrokenCodec()}
    here, there = RecordingBackend(), AsyncRecordingBackend()
    for backend in (here, there):
        backend.faults = [Fault(script, OutcomeUnknown(), executed, skip) for skip in (0, 1)]
    assert play_sync(here, kind, steps, **more) == play_aio(there, kind, steps, **more)
    assert here.runs == there.runs
    assert here.doubts == there.doubts > 0
