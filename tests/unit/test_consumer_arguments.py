"""What consumers are given: right and wrong arguments, kinds of handlers, and when they may run."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pyrq import Backoff, Bury, Consumer, Lease, Queue, Totals, aio, current_lease, sync
from pyrq.errors import QueueClosedError
from tests.servers import wait_until
from tests.unit.consuming import KINDS, LIMIT, AsyncTappedBackend, Bench, TappedBackend, Wire, each_kind
from tests.unit.helpers import fresh, raw

bench = pytest.fixture(params=KINDS, name="bench")(each_kind)

WRONG: list[tuple[str, object, type[Exception]]] = [
    *(("batch", value, ValueError) for value in (0, -1, 1001)),
    *(("batch", value, TypeError) for value in ("1", 1.5, None, True)),
    *(("concurrency", value, ValueError) for value in (0, -1, 1001)),
    *(("concurrency", value, TypeError) for value in ("1", 1.5, None, True)),
    *(("lease", value, ValueError) for value in (0, -1, 0.05, float("nan"), float("inf"))),
    *(("lease", value, TypeError) for value in ("1", None, True)),
    *(("max_deliveries", value, ValueError) for value in (0, -1)),
    *(("max_deliveries", value, TypeError) for value in ("1", 1.5, True)),
    *(("backoff", value, TypeError) for value in (None, 1.0, Backoff)),
    *(("grace", value, ValueError) for value in (-1, float("nan"))),
    *(("grace", value, TypeError) for value in ("1", None, True)),
    *(("prefetch", value, ValueError) for value in (-1, 10_001)),
    *(("prefetch", value, TypeError) for value in ("1", None, True, 1.0)),
    *(("stop", value, TypeError) for value in (True, "now", threading.Lock())),
    *(("on_event", value, TypeError) for value in (1, "print")),
]
METHODS = ["Consumer", "BatchConsumer", "consume", "consume_batches"]


def handle(item: Any) -> None: ...


async def handle_async(item: Any) -> None: ...


def make_sync(wire: Wire, method: str, handler: Any, **options: Any) -> None:
    """Makes a consumer of the sync world, or calls the method of a queue; both are expected to fail."""
    queue = Queue("orders", TappedBackend(wire, None))
    if method[0].isupper():
        getattr(sync, method)(queue, handler, **options)
    else:
        getattr(queue, method)(handler, **options)


def make_aio(wire: Wire, method: str, handler: Any, **options: Any) -> None:
    """Does the same in the aio world."""

    async def make() -> None:
        queue = aio.Queue("orders", AsyncTappedBackend(wire, None))
        if method[0].isupper():
            getattr(aio, method)(queue, handler, **options)
        else:
            await getattr(queue, method)(handler, **options)

    asyncio.run(make())


def refuses(make: Callable[..., None], error: type[Exception], match: str, handler: Any, **options: Any) -> None:
    """Checks that every way to make a consumer fails with an error, and sends nothing."""
    wire = Wire()
    for method in METHODS:
        with pytest.raises(error, match=match):
            make(wire, method, handler, **options)
    assert wire.calls == []


@pytest.mark.parametrize("make", [make_sync, make_aio])
@pytest.mark.parametrize(("argument", "value", "error"), WRONG)
def test_a_wrong_argument_is_named_at_once(
    make: Callable[..., None], argument: str, value: object, error: type[Exception]
) -> None:
    refuses(make, error, f"^{argument} must be ", handle, **{argument: value})


@pytest.mark.parametrize("make", [make_sync, make_aio])
@pytest.mark.parametrize("handler", [None, "print", 5])
def test_a_handler_that_cant_be_called_is_refused(make: Callable[..., None], handler: object) -> None:
    refuses(make, TypeError, r"^handler must be a function of an item", handler)


class Called:
    """What is called as a function is."""

    def __init__(self, handler: Callable[[Any], Any]) -> None:
        self._handler = handler

    def __call__(self, item: Any) -> Any:
        return self._handler(item)


class Awaited:
    """What is called as a coroutine function is."""

    async def __call__(self, item: Any) -> None: ...

    async def method(self, item: Any) -> None: ...


@pytest.mark.parametrize(
    "handler",
    [handle_async, functools.partial(handle_async), Awaited(), Awaited().method],
    ids=["function", "partial", "object", "method"],
)
def test_a_coroutine_function_is_refused_where_nobody_awaits_it(handler: object) -> None:
    refuses(make_sync, TypeError, r"^handler must be a plain function.*pyrq\.aio", handler)


def test_a_stop_event_of_the_other_world_is_refused() -> None:
    refuses(make_sync, TypeError, r"^stop must be a threading\.Event or None, not Event", handle, stop=asyncio.Event())
    refuses(make_aio, TypeError, r"^stop must be an asyncio\.Event or None, not Event", handle, stop=threading.Event())


@pytest.mark.parametrize("make", [make_sync, make_aio])
def test_a_coroutine_function_is_no_callback(make: Callable[..., None]) -> None:
    refuses(make, TypeError, r"^on_event must be a plain function of a ConsumerEvent", handle, on_event=handle_async)


# Kinds of handlers


class Noting:
    """Notes items, in every way that something can be called."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.threads: set[int] = set()

    def plain(self, item: Any) -> None:
        self.items.append(item)
        self.threads.add(threading.get_ident())

    async def coroutine(self, item: Any) -> None:
        self.plain(item)

    def two(self, sign: str, item: Any) -> None:
        self.plain(f"{sign}{item}")

    async def two_coroutine(self, sign: str, item: Any) -> None:
        self.plain(f"{sign}{item}")

    def gives_coroutine(self, item: Any) -> Coroutine[Any, Any, None]:
        return self.coroutine(item)


def consume_sync(url: str, handler: Callable[[Any], Any]) -> Totals:
    stop = threading.Event()
    with Queue("orders", url) as queue:
        queue.add_item("a")
        return queue.consume(handler, stop=stop, on_event=lambda event: stop.set() if event.kind == "acked" else None)


def consume_aio(url: str, handler: Callable[[Any], Any]) -> Totals:
    async def consume() -> Totals:
        stop = asyncio.Event()
        async with aio.Queue("orders", url) as queue:
            await queue.add_item("a")
            return await queue.consume(
                handler, stop=stop, on_event=lambda event: stop.set() if event.kind == "acked" else None
            )

    return asyncio.run(consume())


def kinds_of_handlers(noting: Noting) -> dict[str, Callable[[Any], Any]]:
    return {
        "method": noting.plain,
        "lambda": lambda item: noting.plain(item),
        "partial": functools.partial(noting.two, ""),
        "object": Called(noting.plain),
        "builtin": noting.items.append,
    }


@pytest.mark.parametrize("consume", [consume_sync, consume_aio])
@pytest.mark.parametrize("kind", ["method", "lambda", "partial", "object", "builtin"])
def test_a_handler_is_called_whatever_it_is(consume: Callable[..., Totals], kind: str) -> None:
    url, noting = fresh(), Noting()
    assert consume(url, kinds_of_handlers(noting)[kind]) == Totals(taken=1, acked=1)
    assert noting.items == ["a"]
    assert threading.get_ident() not in noting.threads
    assert raw(url).keys() == []


@pytest.mark.parametrize("kind", ["method", "partial", "object", "gives one", "partial gives one"])
def test_a_coroutine_is_awaited_where_there_is_a_loop(kind: str) -> None:
    url, noting = fresh(), Noting()
    handlers: dict[str, Callable[[Any], Any]] = {
        "method": noting.coroutine,
        "partial": functools.partial(noting.two_coroutine, ""),
        "object": Called(noting.coroutine),
        "gives one": noting.gives_coroutine,
        "partial gives one": functools.partial(noting.gives_coroutine),
    }
    assert consume_aio(url, handlers[kind]) == Totals(taken=1, acked=1)
    assert noting.items == ["a"]
    assert noting.threads == {threading.get_ident()}
    assert raw(url).keys() == []


class Future:
    """What can be awaited, and is no coroutine."""

    def __await__(self) -> Any:
        raise AssertionError


@pytest.mark.parametrize("kind", ["coroutine", "another"])
def test_something_to_be_awaited_ends_a_consumer_where_nobody_awaits_it(kind: str) -> None:
    url, noting = fresh(), Noting()
    handler = noting.gives_coroutine if kind == "coroutine" else lambda item: Future()
    with pytest.raises(TypeError, match=r"^handler must not give something to be awaited"):
        consume_sync(url, handler)
    assert noting.items == []
    client = raw(url)
    assert client.keys() == [b"orders"]
    assert client.lrange("orders", 0, -1) == [b"a"]


def test_plain_functions_run_beside_each_other_and_the_loop() -> None:
    """They could not meet if they ran in the loop, or one after another."""
    url = fresh()
    meeting = threading.Barrier(3)

    async def consume() -> Totals:
        stop = asyncio.Event()
        async with aio.Queue("orders", url) as queue:
            await queue.add_items(["a", "b", "c"])
            running = asyncio.create_task(
                queue.consume(lambda item: meeting.wait(LIMIT), concurrency=3, batch=3, stop=stop)
            )
            while (stats := await queue.stats()).in_flight or stats.waiting:
                await asyncio.sleep(0.002)
            stop.set()
            return await running

    assert asyncio.run(consume()) == Totals(taken=3, acked=3)


# The lease of a handler


def test_a_handler_has_a_lease(bench: Bench) -> None:
    leases: list[Lease] = []

    async def handle(item: str) -> None:
        leases.append(current_lease())
        assert current_lease() is leases[-1]

    bench.queue.add_items(["a", "b"])
    running = bench.start(handle)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=2, acked=2)
    assert len(set(leases)) == 2
    assert not any(lease.lost for lease in leases)


def test_there_is_no_lease_outside_of_handlers(bench: Bench) -> None:
    with pytest.raises(RuntimeError, match=r"^current_lease\(\) must be called by a handler"):
        current_lease()

    async def handle(item: str) -> None: ...

    failures: list[str] = []

    def look(event: object) -> None:
        try:
            current_lease()
        except RuntimeError as error:
            failures.append(str(error))

    bench.queue.add_item("a")
    running = bench.start(handle, on_event=look)
    wait_until(lambda: failures, LIMIT)
    running.end()


# When a consumer may run


def test_a_consumer_runs_once() -> None:
    stop = threading.Event()
    stop.set()
    with Queue("orders", fresh()) as queue:
        consumer = Consumer(queue, handle, stop=stop)
        assert consumer.run() == Totals()
        with pytest.raises(RuntimeError, match=r"^a consumer runs once"):
            consumer.run()


def test_a_consumer_of_asyncio_runs_once() -> None:
    async def run() -> None:
        stop = asyncio.Event()
        stop.set()
        async with aio.Queue("orders", fresh()) as queue:
            consumer = aio.Consumer(queue, handle, stop=stop)
            assert await consumer.run() == Totals()
            with pytest.raises(RuntimeError, match=r"^a consumer runs once"):
                await consumer.run()

    asyncio.run(run())


def test_a_closed_queue_is_not_consumed() -> None:
    queue = Queue("orders", fresh())
    consumer = Consumer(queue, handle)
    queue.close()
    with pytest.raises(QueueClosedError):
        consumer.run()
    with pytest.raises(QueueClosedError):
        queue.consume(handle)


def test_a_closed_queue_of_asyncio_is_not_consumed() -> None:
    async def run() -> None:
        queue = aio.Queue("orders", fresh())
        consumer = aio.Consumer(queue, handle)
        await queue.close()
        with pytest.raises(QueueClosedError):
            await consumer.run()
        with pytest.raises(QueueClosedError):
            await queue.consume(handle)

    asyncio.run(run())


def test_a_consumer_goes_on_when_its_queue_object_is_closed() -> None:
    url = fresh()
    stop = threading.Event()
    queue = Queue("orders", url)
    queue.add_items(["a", "b"])

    def handle(item: str) -> None:
        queue.close()
        if item == "b":
            stop.set()

    assert queue.consume(handle, stop=stop) == Totals(taken=2, acked=2)


# Bounds


def test_the_queues_max_deliveries_is_the_consumers(bench: Bench) -> None:
    bench.options = {"max_deliveries": 1}
    bench.queue.add_item("a")
    running = bench.start(fail)
    wait_until(bench.letters, LIMIT)
    running.end()
    assert bench.letters() == [("a", "LookupError: no", 1)]


def test_the_consumers_max_deliveries_comes_before_the_queues(bench: Bench) -> None:
    bench.options = {"max_deliveries": 1}
    bench.queue.add_item("a")
    running = bench.start(fail, max_deliveries=3, backoff=Backoff(0.001, 0.001))
    wait_until(bench.letters, LIMIT)
    running.end()
    assert bench.letters() == [("a", "LookupError: no", 3)]


def test_twenty_deliveries_are_the_default(bench: Bench) -> None:
    bench.queue.add_item("a")
    running = bench.start(fail, backoff=Backoff(0.001, 0.001))
    wait_until(bench.letters, LIMIT)
    running.end()
    assert bench.letters() == [("a", "LookupError: no", 20)]


def test_only_so_many_dead_letters_are_kept(bench: Bench) -> None:
    bench.options = {"dead_max": 2}
    bench.queue.add_items(["a", "b", "c"])

    async def bury(item: str) -> None:
        raise Bury(item)

    running = bench.start(bury)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=3, buried=3)
    assert bench.letters() == [("b", "b", 1), ("c", "c", 1)]


async def fail(item: str) -> None:
    raise LookupError("no")
