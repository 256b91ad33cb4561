from __future__ import annotations

from typing import Any

import pytest

from pyrq import Replicas
from tests.unit.helpers import nothing_sent
from tests.unit.worlds import World, call, numbers, opened

world = pytest.fixture(params=["sync", "aio"])(opened)
TAKE_ITEMS = ("add_items", "ack_items", "remove_items", "delete_items")
TAKE_ONE = ("add_item", "ack_item", "remove_item", "delete_item", "is_in_pool")


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"chunk_size": 0}, ValueError, "chunk_size must be a whole number, 1 or more, not 0"),
        ({"chunk_size": -5}, ValueError, "chunk_size must be a whole number, 1 or more, not -5"),
        ({"chunk_size": 1.0}, TypeError, "chunk_size must be a whole number, 1 or more, not float"),
        ({"chunk_size": True}, TypeError, "chunk_size must be a whole number, 1 or more, not bool"),
        ({"chunk_size": None}, TypeError, "chunk_size must be a whole number, 1 or more, not NoneType"),
        ({"ack_ttl": -1}, ValueError, "ack_ttl must be seconds, from 0 to 1e+09, not -1"),
        ({"ack_ttl": 0.5}, ValueError, "ack_ttl must be whole seconds, not 0.5"),
        ({"ack_ttl": float("inf")}, ValueError, "ack_ttl must be seconds, from 0 to 1e+09, not inf"),
        ({"ack_ttl": float("nan")}, ValueError, "ack_ttl must be seconds, from 0 to 1e+09, not nan"),
        ({"ack_ttl": "600"}, TypeError, "ack_ttl must be seconds, from 0 to 1e+09, not str"),
        ({"ack_ttl": True}, TypeError, "ack_ttl must be seconds, from 0 to 1e+09, not bool"),
        ({"ack_valid_for": -1}, ValueError, "ack_valid_for must be seconds, from 0 to 1e+09, not -1"),
        ({"ack_valid_for": 1.25}, ValueError, "ack_valid_for must be whole seconds, not 1.25"),
        ({"ack_valid_for": 2e9}, ValueError, "ack_valid_for must be seconds, from 0 to 1e+09, not 2000000000.0"),
        ({"ack_valid_for": None}, TypeError, "ack_valid_for must be seconds, from 0 to 1e+09, not NoneType"),
        ({"codec": 5}, TypeError, "codec must have encode and decode methods, not be int"),
        ({"durability": 5}, TypeError, "durability must be Replicas, Fsync or None, not int"),
        (
            {"durability": Replicas(1), "synced_slaves_enabled": True},
            ValueError,
            "durability and synced_slaves_enabled say the same thing; use one of them",
        ),
        (
            {"synced_slaves_enabled": True},
            ValueError,
            "synced_slaves_count must be a whole number from 1 to 1000, not 0",
        ),
        ({"retry": 1}, ValueError, None),
    ],
)
def test_a_wrong_option_is_refused_at_construction(
    world: World, options: dict[str, Any], kind: type[Exception], text: str | None
) -> None:
    with nothing_sent(world.backend), pytest.raises(kind) as caught:
        world.pool(**options)
    assert str(caught.value) == text if text else str(caught.value).startswith("retry must be None beside a backend")


@pytest.mark.parametrize("name", ["a/b", "", "a-unique", "a-processing-b", "a{}", "x" * 201])
def test_a_wrong_name(world: World, name: str) -> None:
    with pytest.raises(ValueError, match=r"^name must be 1 to 200 bytes of text"):
        world.make("Pool", name, world.backend)


def test_an_unknown_option_is_refused(world: World) -> None:
    for option in ("queue_name", "max_retry_rollback", "colour"):
        with pytest.raises(TypeError, match=option):
            world.pool(**{option: 1})


@pytest.mark.parametrize(
    ("name", "args", "argument"),
    [
        *((name, (items,), "items") for name in TAKE_ITEMS for items in ("text", b"bytes", bytearray(b"x"), 5, None)),
        *((name, (["x", None],), "item") for name in TAKE_ITEMS),
        *((name, (None,), "item") for name in TAKE_ONE),
        *(("get_items", (count,), "count") for count in (1.0, "1", None, True)),
    ],
)
def test_a_wrong_type_is_refused_before_anything_is_sent(
    world: World, name: str, args: tuple[Any, ...], argument: str
) -> None:
    pool = world.pool()
    with nothing_sent(world.backend), pytest.raises(TypeError, match=rf"^{argument} must"):
        call(pool, name, *args)


@pytest.mark.parametrize("name", TAKE_ITEMS)
@pytest.mark.parametrize("size", [500, 1500])
def test_a_list_is_checked_whole_before_anything_is_sent(world: World, name: str, size: int) -> None:
    pool = world.pool()
    with nothing_sent(world.backend), pytest.raises(TypeError, match=r"^item must"):
        call(pool, name, [*numbers(0, size), None])


def test_a_generator_is_sent_up_to_the_chunk_with_the_bad_item(world: World) -> None:
    pool = world.pool()
    with pytest.raises(TypeError, match=r"^item must") as caught:
        pool.add_items(item for item in [*range(1001), None])
    assert getattr(caught.value, "added", None) == 1000
    assert pool.get_count() == 1000


def test_a_negative_count(world: World) -> None:
    pool = world.pool()
    with (
        nothing_sent(world.backend),
        pytest.raises(ValueError, match=r"^count must be a whole number, 0 or more, not -1$"),
    ):
        pool.get_items(-1)


def test_nothing_to_do_sends_nothing(world: World) -> None:
    pool = world.pool()
    with nothing_sent(world.backend):
        assert pool.get_items(0) == []
        for name in TAKE_ITEMS:
            assert call(pool, name, []) == call(pool, name, iter(())) == 0
