"""What a type checker makes of the public surface. mypy checks this file; the tests only look that it also runs."""

from __future__ import annotations

from typing import Any, assert_type

import pytest

import pyrq.helpers
from pyrq import (
    BytesCodec,
    Codec,
    JsonCodec,
    NotEnoughSyncedSlavesError,
    Pool,
    Queue,
    TextCodec,
    UniqueQueue,
    aio,
)
from pyrq.backends import AsyncBackend, Backend, connect, connect_async
from pyrq.errors import InvalidItemError
from tests.unit.helpers import fresh
from tests.unit.taking_helpers import AsyncRecordingBackend, RecordingBackend


class Order:
    """A value of a user."""

    def __init__(self, number: int) -> None:
        self.number = number


class OrderCodec:
    """A codec of a user, made from the Protocol's docstring alone."""

    def encode(self, value: Order, /) -> bytes:
        return b"%d" % value.number

    def decode(self, data: bytes, /) -> Order:
        return Order(int(data))


def test_sync() -> None:
    text = assert_type(Queue("a", fresh()), Queue[str])
    assert assert_type(text.add_item(5), bool) is True
    assert assert_type(text.add_items([b"b", 1.5, "c"]), int) == 3
    assert assert_type(text.get_items(9), list[str]) == ["5", "b", "1.5", "c"]
    assert assert_type(text.ack_item("5"), bool) is True
    assert assert_type(text.ack_items(["b"]), int) == 1
    assert assert_type(text.reject_item("c"), bool) is True
    assert assert_type(text.reject_items(["x"]), int) == 0
    assert assert_type(text.revert_item("1.5"), bool) is True
    assert assert_type(text.revert_items(["x"]), int) == 0
    assert assert_type(text.delete_item("c"), int) == 1
    assert assert_type(text.delete_items(["x"], 2), int) == 0
    assert assert_type(text.get_count(), int) == 1
    assert assert_type(text.re_enqueue_timeout_items(1.5), int) == 0
    assert assert_type(text.re_enqueue_all_items(), int) == 0
    assert assert_type(text.drop_timeout_items(), int) == 0
    assert assert_type(text.drop_all_items(), int) == 0
    assert assert_type(text.release(), int) == 0
    assert assert_type(text.name, str) == "a"
    assert_type(text.client_id, str)
    assert_type(text.processing_queue_name, str)
    assert_type(text.timeouts_hash_name, str)
    with text as same:
        assert_type(same, Queue[str])
    assert same is text


def test_codecs_sync() -> None:
    plain = assert_type(Queue("a", fresh(), codec=BytesCodec()), Queue[bytes])
    plain.add_item(b"x")
    assert assert_type(plain.get_items(1), list[bytes]) == [b"x"]
    json = assert_type(Queue("a", fresh(), codec=JsonCodec()), Queue[Any])
    json.add_item({"a": 1})
    assert assert_type(json.get_items(1), list[Any]) == [{"a": 1}]
    orders = assert_type(Queue("a", fresh(), codec=OrderCodec()), Queue[Order])
    orders.add_items([Order(1)])
    assert [order.number for order in assert_type(orders.get_items(1), list[Order])] == [1]
    # A value of another type is an error, which `warn_unused_ignores` holds us to.
    with pytest.raises(InvalidItemError):
        plain.ack_item("x")  # type: ignore[arg-type]


def test_rollbacks_sync() -> None:
    text = Queue("a", fresh(), max_retry_rollback=1, max_timeout_in_queue=0.5)
    assert assert_type(text.can_rollback_item("x"), bool) is True
    assert assert_type(text.reset_blocked_item("x"), bool) is True
    assert assert_type(text.retry_count_name, str) == "a-retry-count"
    assert assert_type(text.retry_timeout_name, str) == "a-retry-timeout"


def test_unique_sync() -> None:
    text = assert_type(UniqueQueue("a", fresh()), UniqueQueue[str])
    assert assert_type(text.add_item(5), bool) is True
    assert assert_type(text.add_items([b"5", 1.5, "c"]), int) == 2
    assert assert_type(text.get_items(9), list[str]) == ["5", "1.5", "c"]
    assert assert_type(text.reject_item("c"), bool) is True
    assert assert_type(text.delete_item("c"), int) == 1
    assert assert_type(text.delete_items(["x"], 2), int) == 0
    assert assert_type(text.repair(), int) == 0
    assert assert_type(text.queue_name, str) == assert_type(text.name, str) == "a"
    assert assert_type(text.set_name, str) == "a-unique"
    limited = UniqueQueue(queue_name="a", redis=fresh(), max_retry_rollback=0, max_timeout_in_queue=60)
    assert assert_type(limited.can_rollback_item("x"), bool) is True
    as_queue: Queue[str] = text
    assert as_queue.name == "a"
    with text as same:
        assert_type(same, UniqueQueue[str])
    assert same is text


def test_codecs_of_unique_sync() -> None:
    json = assert_type(UniqueQueue(name="a", redis=fresh(), codec=JsonCodec()), UniqueQueue[Any])
    assert json.add_items([{"a": 1}, {"a": 1}]) == 1
    assert assert_type(json.get_items(1), list[Any]) == [{"a": 1}]
    orders = assert_type(UniqueQueue("a", fresh(), codec=OrderCodec()), UniqueQueue[Order])
    assert orders.add_items([Order(1), Order(1)]) == 1
    assert [order.number for order in assert_type(orders.get_items(2), list[Order])] == [1]
    with pytest.raises(InvalidItemError):
        assert_type(UniqueQueue("a", fresh(), codec=BytesCodec()), UniqueQueue[bytes]).add_item("x")  # type: ignore[arg-type]


def test_pool_sync() -> None:
    text = assert_type(Pool("a", fresh(), chunk_size=2, ack_ttl=60, ack_valid_for=3600.0), Pool[str])
    assert assert_type(text.add_item(5), bool) is True
    assert assert_type(text.add_items([b"b", 1.5, "c"]), int) == 3
    assert assert_type(text.get_count(), int) == 4
    assert assert_type(text.get_count_to_process(), int) == 4
    assert sorted(assert_type(text.get_items(9), list[str])) == ["1.5", "5", "b", "c"]
    assert assert_type(text.get_all_items(), list[str]) == []
    assert assert_type(text.ack_item("5"), bool) is True
    assert assert_type(text.ack_items(["b"]), int) == 1
    assert assert_type(text.remove_item("c"), bool) is True
    assert assert_type(text.remove_items(["c"]), int) == 0
    assert assert_type(text.is_in_pool("5"), bool) is True
    assert assert_type(text.delete_item("5"), bool) is True
    assert assert_type(text.delete_items(["x"]), int) == 0
    assert assert_type(text.clear_pool(), int) == 2
    assert assert_type(text.name, str) == "a"
    assert_type(text.client_id, str)
    with text as same:
        assert_type(same, Pool[str])
    assert same is text


def test_codecs_of_pool_sync() -> None:
    json = assert_type(Pool("a", fresh(), codec=JsonCodec()), Pool[Any])
    assert json.add_item({"a": 1}) is True
    assert assert_type(json.get_all_items(), list[Any]) == [{"a": 1}]
    orders = assert_type(Pool("a", fresh(), codec=OrderCodec()), Pool[Order])
    orders.add_items([Order(1)])
    assert [order.number for order in assert_type(orders.get_items(1), list[Order])] == [1]
    assert orders.ack_item(Order(1)) is True
    plain = assert_type(Pool("a", fresh(), codec=BytesCodec()), Pool[bytes])
    with pytest.raises(InvalidItemError):
        plain.is_in_pool("x")  # type: ignore[arg-type]


def test_protocols() -> None:
    codec: Codec[Order] = OrderCodec()
    text: Codec[str] = TextCodec()
    backend: Backend = RecordingBackend()
    awaited: AsyncBackend = AsyncRecordingBackend()
    assert assert_type(codec.decode(b"1"), Order).number == 1
    assert assert_type(text.decode(b"a"), str) == "a"
    assert assert_type(connect(backend), Backend) is backend
    assert assert_type(connect_async(awaited), AsyncBackend) is awaited


async def test_aio() -> None:
    text = assert_type(aio.Queue("a", fresh()), aio.Queue[str])
    async with text as same:
        assert_type(same, aio.Queue[str])
        assert assert_type(await text.add_item(5), bool) is True
        assert assert_type(await text.add_items([b"b", 1.5, "c"]), int) == 3
        assert assert_type(await text.get_items(9), list[str]) == ["5", "b", "1.5", "c"]
        assert assert_type(await text.ack_item("5"), bool) is True
        assert assert_type(await text.ack_items(["b"]), int) == 1
        assert assert_type(await text.reject_item("c"), bool) is True
        assert assert_type(await text.reject_items(["x"]), int) == 0
        assert assert_type(await text.revert_item("1.5"), bool) is True
        assert assert_type(await text.revert_items(["x"]), int) == 0
        assert assert_type(await text.delete_item("c"), int) == 1
        assert assert_type(await text.delete_items(["x"], 2), int) == 0
        assert assert_type(await text.get_count(), int) == 1
        assert assert_type(await text.re_enqueue_timeout_items(1.5), int) == 0
        assert assert_type(await text.re_enqueue_all_items(), int) == 0
        assert assert_type(await text.drop_timeout_items(), int) == 0
        assert assert_type(await text.drop_all_items(), int) == 0
        assert assert_type(await text.release(), int) == 0
        assert assert_type(text.name, str) == "a"
        assert_type(text.client_id, str)


async def test_codecs_aio() -> None:
    async with aio.Queue("a", fresh(), codec=BytesCodec()) as plain:
        assert_type(plain, aio.Queue[bytes])
        assert_type(await plain.get_items(1), list[bytes])
        assert_type(aio.Queue("a", fresh(), codec=JsonCodec()), aio.Queue[Any])
        assert_type(aio.Queue("a", fresh(), codec=OrderCodec()), aio.Queue[Order])
        with pytest.raises(InvalidItemError):
            await plain.ack_item("x")  # type: ignore[arg-type]


async def test_rollbacks_aio() -> None:
    async with aio.Queue("a", fresh(), max_retry_rollback=1, max_timeout_in_queue=0.5) as text:
        assert assert_type(await text.can_rollback_item("x"), bool) is True
        assert assert_type(await text.reset_blocked_item("x"), bool) is True
        assert assert_type(text.retry_count_name, str) == "a-retry-count"


async def test_unique_aio() -> None:
    text = assert_type(aio.UniqueQueue("a", fresh()), aio.UniqueQueue[str])
    async with text as same:
        assert_type(same, aio.UniqueQueue[str])
        assert assert_type(await text.add_item(5), bool) is True
        assert assert_type(await text.add_items([b"5", 1.5, "c"]), int) == 2
        assert assert_type(await text.get_items(9), list[str]) == ["5", "1.5", "c"]
        assert assert_type(await text.reject_item("c"), bool) is True
        assert assert_type(await text.delete_item("c"), int) == 1
        assert assert_type(await text.delete_items(["x"], 2), int) == 0
        assert assert_type(await text.repair(), int) == 0
        assert assert_type(text.queue_name, str) == "a"
        assert assert_type(text.set_name, str) == "a-unique"
        as_queue: aio.Queue[str] = text
        assert as_queue.name == "a"
    async with aio.UniqueQueue(name="a", redis=fresh(), max_retry_rollback=0, max_timeout_in_queue=60) as limited:
        assert assert_type(await limited.can_rollback_item("x"), bool) is True


async def test_codecs_of_unique_aio() -> None:
    async with aio.UniqueQueue("a", fresh(), codec=JsonCodec()) as json:
        assert_type(json, aio.UniqueQueue[Any])
        assert await json.add_items([{"a": 1}, {"a": 1}]) == 1
        assert assert_type(await json.get_items(1), list[Any]) == [{"a": 1}]
    async with aio.UniqueQueue(queue_name="a", redis=fresh(), codec=OrderCodec()) as orders:
        assert_type(orders, aio.UniqueQueue[Order])
        assert_type(await orders.get_items(1), list[Order])


async def test_pool_aio() -> None:
    text = assert_type(aio.Pool("a", fresh(), chunk_size=2, ack_ttl=60, ack_valid_for=3600.0), aio.Pool[str])
    async with text as same:
        assert_type(same, aio.Pool[str])
        assert assert_type(await text.add_item(5), bool) is True
        assert assert_type(await text.add_items([b"b", 1.5, "c"]), int) == 3
        assert assert_type(await text.get_count(), int) == 4
        assert assert_type(await text.get_count_to_process(), int) == 4
        assert sorted(assert_type(await text.get_items(9), list[str])) == ["1.5", "5", "b", "c"]
        assert assert_type(await text.get_all_items(), list[str]) == []
        assert assert_type(await text.ack_item("5"), bool) is True
        assert assert_type(await text.ack_items(["b"]), int) == 1
        assert assert_type(await text.remove_item("c"), bool) is True
        assert assert_type(await text.remove_items(["c"]), int) == 0
        assert assert_type(await text.is_in_pool("5"), bool) is True
        assert assert_type(await text.delete_item("5"), bool) is True
        assert assert_type(await text.delete_items(["x"]), int) == 0
        assert assert_type(await text.clear_pool(), int) == 2
        assert assert_type(text.name, str) == "a"
        assert_type(text.client_id, str)


async def test_codecs_of_pool_aio() -> None:
    async with aio.Pool("a", fresh(), codec=OrderCodec()) as orders:
        assert_type(orders, aio.Pool[Order])
        await orders.add_items([Order(1)])
        assert [order.number for order in assert_type(await orders.get_items(1), list[Order])] == [1]
    async with aio.Pool("a", fresh(), codec=BytesCodec()) as plain:
        assert_type(plain, aio.Pool[bytes])
        with pytest.raises(InvalidItemError):
            await plain.is_in_pool("x")  # type: ignore[arg-type]


def test_confirm_is_of_its_world() -> None:
    assert_type(pyrq.helpers.NotEnoughSyncedSlavesError("x"), NotEnoughSyncedSlavesError)
    assert issubclass(aio.NotEnoughSyncedSlavesError, NotEnoughSyncedSlavesError)
