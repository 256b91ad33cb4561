from __future__ import annotations

from typing import Any

import pytest

from tests.unit.helpers import nothing_sent
from tests.unit.worlds import World, call, numbers, opened

world = pytest.fixture(params=["sync", "aio"])(opened)
TAKE_ITEMS = ("add_items", "ack_items", "reject_items", "revert_items", "delete_items")


@pytest.fixture
def queue(world: World) -> Any:
    return world.unique()


# Names


def test_names(world: World) -> None:
    queue = world.unique(client_id="me")
    assert (queue.name, queue.queue_name, queue.set_name) == ("orders", "orders", "orders-unique")
    assert queue.client_id.startswith("me-")
    assert queue.processing_queue_name == f"orders-processing-{queue.client_id}"
    assert queue.timeouts_hash_name == "orders-timeouts"
    assert queue.retry_count_name == "orders-retry-count"
    assert queue.retry_timeout_name == "orders-retry-timeout"
    assert repr(queue) == f"<UniqueQueue 'orders' of '{queue.client_id}'>"


@pytest.mark.parametrize("word", ["queue_name", "name"])
def test_a_queue_is_named_by_either_word(world: World, word: str) -> None:
    queue = world.make("UniqueQueue", redis=world.backend, **{word: "orders"})
    assert queue.name == queue.queue_name == "orders"
    assert queue.add_item("a") is True
    assert world.client.lrange("orders", 0, -1) == [b"a"]
    with pytest.raises(ValueError, match=rf"^{word} must be 1 to 200 bytes of text"):
        world.make("UniqueQueue", redis=world.backend, **{word: "a/b"})
    with pytest.raises(TypeError, match=rf"^{word} must be text .*, not int$"):
        world.make("UniqueQueue", redis=world.backend, **{word: 5})


@pytest.mark.parametrize(
    ("args", "options"),
    [((), {}), ((None,), {}), (("orders",), {"name": "orders"}), ((), {"queue_name": "a", "name": "b"})],
)
def test_exactly_one_name_is_given(world: World, args: tuple[Any, ...], options: dict[str, str]) -> None:
    words = r"^queue_name or name must be given, and not both: they say the same thing$"
    with pytest.raises(TypeError, match=words):
        world.make("UniqueQueue", *args, redis=world.backend, **options)


# Bad arguments


@pytest.mark.parametrize(
    ("name", "args", "argument"),
    [
        *((name, (items,), "items") for name in TAKE_ITEMS for items in ("text", b"bytes", 5, None)),
        *((f"{name}_item", (None,), "item") for name in ("add", "ack", "reject", "revert", "delete")),
        *((name, (["x", None],), "item") for name in TAKE_ITEMS),
        *((name, ([*numbers(0, 1500), None],), "item") for name in TAKE_ITEMS),
        *(("get_items", (count,), "count") for count in (1.0, "1", None, True)),
        *((name, (["x"], count), "count") for name in ("delete_item", "delete_items") for count in (1.5, True, None)),
        *((f"{verb}_timeout_items", (wrong,), "timeout") for verb in ("re_enqueue", "drop") for wrong in ("1", None)),
    ],
)
def test_a_wrong_type_is_refused_before_anything_is_sent(
    world: World, queue: Any, name: str, args: tuple[Any, ...], argument: str
) -> None:
    with nothing_sent(world.backend), pytest.raises(TypeError, match=rf"^{argument} must"):
        call(queue, name, *args)


@pytest.mark.parametrize(
    ("name", "args", "text"),
    [
        ("get_items", (-1,), "count must be a whole number, 0 or more, not -1"),
        ("delete_item", ("x", -1), "count must be a whole number, 0 or more, not -1"),
        ("delete_items", (["x"], -2), "count must be a whole number, 0 or more, not -2"),
        ("re_enqueue_timeout_items", (-1,), r"timeout must be seconds, from 0 to 1e\+09, not -1"),
        ("drop_timeout_items", (float("nan"),), r"timeout must be seconds, from 0 to 1e\+09, not nan"),
    ],
)
def test_a_value_out_of_range_is_refused_before_anything_is_sent(
    world: World, queue: Any, name: str, args: tuple[Any, ...], text: str
) -> None:
    with nothing_sent(world.backend), pytest.raises(ValueError, match=rf"^{text}$"):
        call(queue, name, *args)


@pytest.mark.parametrize("name", TAKE_ITEMS)
def test_no_items_are_allowed_and_nothing_is_sent(world: World, queue: Any, name: str) -> None:
    with nothing_sent(world.backend):
        assert call(queue, name, []) == call(queue, name, iter(())) == 0
