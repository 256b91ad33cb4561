from __future__ import annotations

import pickle
import re

import pytest

import pyrq.errors
from pyrq.core import errors
from pyrq.core.errors import (
    AsyncNotEnoughSyncedSlavesError,
    InvalidItemError,
    MissingExtraError,
    NotEnoughSyncedSlavesError,
    OutcomeUnknown,
    RqError,
)

ALL = [getattr(errors, name) for name in errors.__all__]
PLAIN = [kind for kind in ALL if kind is not AsyncNotEnoughSyncedSlavesError]


def test_every_error_of_the_module_is_exported() -> None:
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert defined == set(errors.__all__)


@pytest.mark.parametrize("name", errors.__all__)
def test_the_public_module_has_them_all(name: str) -> None:
    assert getattr(pyrq.errors, name) is getattr(errors, name)
    assert pyrq.errors.__all__ == errors.__all__


@pytest.mark.parametrize("kind", PLAIN)
def test_the_docstring_is_the_message(kind: type[RqError]) -> None:
    text = str(kind())
    assert text
    assert "\n" not in text
    assert "  " not in text
    assert " ".join((kind.__doc__ or "").split()).startswith(text)
    assert "Attributes:" not in text


@pytest.mark.parametrize("kind", ALL)
def test_each_is_an_rq_error_with_a_docstring_of_its_own(kind: type[RqError]) -> None:
    assert issubclass(kind, RqError)
    assert re.match(r"[A-Z].*\.", (vars(kind)["__doc__"] or "").strip().replace("\n", " "))


@pytest.mark.parametrize("kind", PLAIN)
def test_another_message(kind: type[RqError]) -> None:
    assert str(kind("this one")) == "this one"


def test_a_class_without_a_docstring_says_its_name() -> None:
    class Bare(RqError):
        pass

    Bare.__doc__ = None
    assert str(Bare()) == "Bare"


def test_what_is_known_of_the_items_is_told() -> None:
    error = RqError("failed")
    assert (error.done, error.unknown, error.remaining, error.added) == (0, 0, 0, 0)
    assert str(error) == "failed"
    error.done, error.unknown, error.remaining = 3, 1, 2
    assert error.added == 3
    assert str(error) == "failed (items done: 3, unknown: 1, not tried: 2)"
    error.remaining = None
    assert str(error) == "failed (items done: 3, unknown: 1, not tried: an unknown number)"


@pytest.mark.parametrize("part", ["done", "unknown", "remaining"])
def test_each_part_alone_is_told(part: str) -> None:
    error = RqError("failed")
    setattr(error, part, 4)
    assert "4" in str(error)


def test_what_other_code_catches() -> None:
    assert issubclass(InvalidItemError, TypeError)
    assert issubclass(InvalidItemError, ValueError)
    assert issubclass(MissingExtraError, ImportError)
    assert issubclass(AsyncNotEnoughSyncedSlavesError, NotEnoughSyncedSlavesError)


def test_confirm_asks() -> None:
    asked = []
    error = NotEnoughSyncedSlavesError("short", confirmed=1, wanted=2)
    error._confirm = lambda: asked.append(1)
    error.confirm()
    assert asked == [1]
    assert (error.confirmed, error.wanted) == (1, 2)


def test_confirm_with_nobody_to_ask() -> None:
    with pytest.raises(OutcomeUnknown):
        NotEnoughSyncedSlavesError().confirm()


async def test_confirm_is_awaited_in_asyncio() -> None:
    asked = []

    async def confirm() -> None:
        asked.append(1)

    error = AsyncNotEnoughSyncedSlavesError(NotEnoughSyncedSlavesError("short", confirmed=1, wanted=2), confirm)
    assert str(error) == "short"
    assert (error.confirmed, error.wanted) == (1, 2)
    await error.confirm()
    assert asked == [1]


def test_the_message_in_asyncio_is_the_docstring_too() -> None:
    text = AsyncNotEnoughSyncedSlavesError._default_message()
    assert "await confirm()" in text


@pytest.mark.parametrize("kind", PLAIN)
def test_errors_cross_process_borders(kind: type[RqError]) -> None:
    error = kind("failed")
    error.done, error.unknown, error.remaining = 1, 2, 3
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error)
    assert (copy.done, copy.unknown, copy.remaining) == (1, 2, 3)


def test_errors_with_a_confirm_cross_process_borders() -> None:
    # A process pool pickles what a worker raises; one that can't be read back breaks the whole pool.
    async def confirm() -> None: ...

    error = NotEnoughSyncedSlavesError("short", confirmed=1, wanted=2)
    error._confirm = lambda: None
    awaited = AsyncNotEnoughSyncedSlavesError(error, confirm)
    for one in (error, awaited):
        copy = pickle.loads(pickle.dumps(one))
        assert isinstance(copy, NotEnoughSyncedSlavesError)
        assert (str(copy), copy.confirmed, copy.wanted) == ("short", 1, 2)
