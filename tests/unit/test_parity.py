"""The two facades are one: the same names, signatures, documentation, and the very same Calls."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from types import FunctionType, ModuleType
from typing import Any

import pytest

import pyrq
from pyrq import aio, sync
from pyrq.aio import _ahead as aio_ahead
from pyrq.aio import _facade as aio_facade
from pyrq.aio import _insisting as aio_insisting
from pyrq.aio import _looking as aio_looking
from pyrq.aio import _runner as aio_runner
from pyrq.aio import _sending as aio_sending
from pyrq.aio import _settling as aio_settling
from pyrq.aio import _supply as aio_supply
from pyrq.aio import _taking as aio_taking
from pyrq.aio import _upkeep as aio_upkeep
from pyrq.aio import batch as aio_batch
from pyrq.aio import consumer as aio_consumer
from pyrq.aio import dead_letters as aio_dead_letters
from pyrq.backends import AsyncBackend, Backend
from pyrq.backends.redis_async import AsyncRedisBackend
from pyrq.backends.redis_sync import RedisBackend
from pyrq.sync import _ahead as sync_ahead
from pyrq.sync import _facade as sync_facade
from pyrq.sync import _insisting as sync_insisting
from pyrq.sync import _looking as sync_looking
from pyrq.sync import _runner as sync_runner
from pyrq.sync import _sending as sync_sending
from pyrq.sync import _settling as sync_settling
from pyrq.sync import _supply as sync_supply
from pyrq.sync import _taking as sync_taking
from pyrq.sync import _upkeep as sync_upkeep
from pyrq.sync import batch as sync_batch
from pyrq.sync import consumer as sync_consumer
from pyrq.sync import dead_letters as sync_dead_letters

# What may differ in the types.
TYPES = (
    (r"Awaitable\[(object|int|bool|R|None)\]", r"\1"),
    (r"(Callable\[.+\]) \| \1", r"\1"),
    ("AbstractAsyncContextManager", "AbstractContextManager"),
    ("AsyncIterator", "Iterator"),
    (r"asyncio\.", "threading."),
)
WORLD_NAMES = {"__aenter__": "__enter__", "__aexit__": "__exit__"}
ONLY_IN_AIO = ("_claim",)
"""A task that is cancelled has not taken what a get for several brought for it; a thread is not cancelled."""
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
    "_together",
    # What is awaited is what they give, or what that does.
    "batch",
    "_batch",
    "__getitem__",
    "__len__",
    "_take_open",
)
PUBLIC_CLASSES: list[tuple[type[Any], type[Any]]] = [
    (sync.Queue, aio.Queue),
    (sync.UniqueQueue, aio.UniqueQueue),
    (sync.Pool, aio.Pool),
]
FACADES: list[tuple[type[Any], type[Any]]] = [
    (sync_facade.Facade, aio_facade.Facade),
    (sync_upkeep.Upkeep, aio_upkeep.Upkeep),
    (sync_looking.Looking, aio_looking.Looking),
    (sync_taking.Taking, aio_taking.Taking),
    (sync_batch.Batch, aio_batch.Batch),
    (sync_dead_letters.DeadLetters, aio_dead_letters.DeadLetters),
    *PUBLIC_CLASSES,
]
MIRRORED: list[tuple[type[Any], type[Any]]] = [
    *FACADES,
    (sync_sending.Sending, aio_sending.Sending),
    (sync_runner.Runner, aio_runner.Runner),
    (sync_insisting.Insisting, aio_insisting.Insisting),
    (sync_settling.Settler, aio_settling.Settler),
    (sync_supply.Shift, aio_supply.Shift),
    (sync_supply.Supply, aio_supply.Supply),
    (sync_supply.Turns, aio_supply.Turns),
    (sync_ahead.Ahead, aio_ahead.Ahead),
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
    ("an `async with", "a `with"),
    (
        "handler: a coroutine function of one item, or a plain function, which runs in a thread.",
        "handler: a plain function of one item; it runs in a thread.",
    ),
    (
        "handler: a coroutine function of a list of items, oldest first, or a plain function, which runs in a thread.",
        "handler: a plain function of a list of items, oldest first; it runs in a thread.",
    ),
    ("a `ConsumerEvent`; or None", "a `ConsumerEvent`, in the thread where it happens; or None"),
    (
        "handler: a coroutine function of one item, or a plain function, which runs in a thread of its own.",
        "handler: a plain function of one item. It runs in a thread of its own.",
    ),
    (
        "handler: a coroutine function of a list of items, oldest first, or a plain function, which runs in a "
        "thread of its own.",
        "handler: a plain function of a list of items, oldest first. It runs in a thread of its own.",
    ),
    ("gives back at once; so does a cancellation.", "gives back at once."),
    ("from its event loop;", "from any thread;"),
    ("or the handler no function", "or the handler is a coroutine function"),
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


def annotation(of: Any) -> Any:
    """Gives an annotation of the aio world as the other one would have it."""
    if not isinstance(of, str):
        return of
    for there, here in TYPES:
        of = re.sub(there, here, of)
    return of


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
    assert list(functions(here)) == [name for name in functions(there) if name not in ONLY_IN_AIO]


@pytest.mark.parametrize(("here", "there"), FACADES, ids=lambda kind: kind.__name__)
def test_nothing_but_the_same(here: type[Any], there: type[Any]) -> None:
    assert own_names(here) == [name for name in own_names(there) if name not in ONLY_IN_AIO]
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
        (one.name, one.kind, one.default, annotation(one.annotation)) for one in other.parameters.values()
    ]
    assert mine.return_annotation == annotation(other.return_annotation)


@pytest.mark.parametrize(("here", "there"), pairs(FACADES))
def test_what_talks_to_the_server_is_awaited(here: FunctionType, there: FunctionType) -> None:
    assert not inspect.iscoroutinefunction(here)
    awaited = here.__name__ not in SAME_IN_BOTH or here.__qualname__ == "Taking._decode"
    assert inspect.iscoroutinefunction(there) == awaited


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
        assert here.__name__ in ("_make_places", "_notice_fork")  # only threads outlive a fork's locks
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


# Consumers

CONSUMERS: list[tuple[type[Any], type[Any]]] = [
    (sync_consumer.Consumer, aio_consumer.Consumer),
    (sync_consumer.BatchConsumer, aio_consumer.BatchConsumer),
]


@pytest.mark.parametrize(("here", "there"), CONSUMERS, ids=lambda kind: kind.__name__)
def test_consumers_look_the_same(here: type[Any], there: type[Any]) -> None:
    """Inside they are not: a thread is not ended from outside, and a signal comes in another way."""
    assert public(here) == public(there) == ["run", "stop"]
    assert text(here) == text(there) != ""
    assert [kind.__name__ for kind in here.__mro__] == [kind.__name__ for kind in there.__mro__]
    for name in ("__init__", "run", "stop"):
        mine, other = inspect.signature(getattr(here, name)), inspect.signature(getattr(there, name))
        assert [(one.name, one.kind, one.default, one.annotation) for one in mine.parameters.values()] == [
            (one.name, one.kind, one.default, annotation(one.annotation)) for one in other.parameters.values()
        ]
        assert mine.return_annotation == annotation(other.return_annotation)
        assert sections(getattr(here, name)) == sections(getattr(there, name))
        assert text(getattr(here, name)) == text(getattr(there, name))
    assert inspect.iscoroutinefunction(there.run)
    assert not inspect.iscoroutinefunction(there.stop)


def test_what_is_handed_out_is_the_same() -> None:
    here, there = sync_taking.Handed, aio_taking.Handed
    assert [(one.name, one.type) for one in fields(here)] == [(one.name, one.type) for one in fields(there)]
    assert inspect.getdoc(here) == inspect.getdoc(there)


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (sync_taking, aio_taking),
        (sync_looking, aio_looking),
        (sync_insisting, aio_insisting),
        (sync_settling, aio_settling),
        (sync_supply, aio_supply),
        (sync_ahead, aio_ahead),
        (sync_batch, aio_batch),
        (sync_dead_letters, aio_dead_letters),
        (sync_consumer, aio_consumer),
    ],
    ids=lambda module: module.__name__,
)
def test_modules_have_the_same_in_them(here: ModuleType, there: ModuleType) -> None:
    assert here.__all__ == there.__all__
    assert text(here).partition(". ")[0] == text(there).partition(". ")[0] != ""
