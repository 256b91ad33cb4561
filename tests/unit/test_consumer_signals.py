"""SIGTERM and SIGINT, for consumers in the main thread."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyrq import Queue, Totals, aio
from pyrq.aio._waits import telling
from pyrq.backends import signals
from tests.servers import wait_until
from tests.unit.consuming import KINDS, LIMIT, Bench, each_kind
from tests.unit.helpers import fresh, raw

bench = pytest.fixture(params=KINDS, name="bench")(each_kind)


@pytest.fixture
def received() -> Iterator[list[int]]:
    """Notes the signals that reach the handlers of this process."""
    got: list[int] = []
    before = {each: signal.signal(each, lambda number, _: got.append(number)) for each in SIGNALS}
    yield got
    for each, handler in before.items():
        signal.signal(each, handler)


SIGNALS = (signal.SIGTERM, signal.SIGINT)


def consume_sync(url: str, handler: Callable[[str], None], **options: Any) -> Totals:
    with Queue("orders", url) as queue:
        queue.add_items(["a", "b", "c"])
        return queue.consume(handler, batch=2, **options)


def consume_aio(url: str, handler: Callable[[str], None], **options: Any) -> Totals:
    async def handle(item: str) -> None:
        await asyncio.to_thread(handler, item)

    async def consume() -> Totals:
        async with aio.Queue("orders", url) as queue:
            await queue.add_items(["a", "b", "c"])
            return await queue.consume(handle, batch=2, **options)

    return asyncio.run(consume())


def consume_aio_plain(url: str, handler: Callable[[str], None], **options: Any) -> Totals:
    async def consume() -> Totals:
        async with aio.Queue("orders", url) as queue:
            await queue.add_items(["a", "b", "c"])
            return await queue.consume(handler, batch=2, **options)

    return asyncio.run(consume())


in_main_thread = pytest.mark.parametrize("consume", [consume_sync, consume_aio, consume_aio_plain])


def waiting(url: str) -> list[bytes]:
    client = raw(url)
    items: list[bytes] = client.lrange("orders", 0, -1)[::-1]
    assert client.keys() in ([], [b"orders"])
    return items


@in_main_thread
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_stops_it(consume: Callable[..., Totals], number: signal.Signals, received: list[int]) -> None:
    """The handler sends it, and waits until the consumer has taken note: nothing else gives it time to."""
    url = fresh()
    handlers = {each: signal.getsignal(each) for each in SIGNALS}
    inside: list[object] = []
    stopped = threading.Event()

    def handle(item: str) -> None:
        inside.append(signal.getsignal(number))
        os.kill(os.getpid(), number)
        assert stopped.wait(LIMIT)

    def watch() -> None:
        wait_until(lambda: raw(url).llen("orders") == 1, LIMIT)
        wait_until(lambda: inside, LIMIT)
        stopped.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    totals = consume(url, handle)
    watcher.join()
    assert totals.acked + totals.returned == totals.taken
    assert totals.acked >= 1
    assert waiting(url) == [b"a", b"b", b"c"][totals.acked :]
    assert inside[0] is not handlers[number]
    assert {each: signal.getsignal(each) for each in SIGNALS} == handlers
    assert received == []
    os.kill(os.getpid(), number)
    wait_until(lambda: received == [number], LIMIT)


@in_main_thread
def test_a_second_signal_gives_back_at_once(consume: Callable[..., Totals], received: list[int]) -> None:
    url, go = fresh(), threading.Event()

    def handle(item: str) -> None:
        for number in SIGNALS:
            os.kill(os.getpid(), number)
        wait_until(lambda: raw(url).llen("orders") == 3, LIMIT)  # it went back
        go.set()

    totals = consume(url, handle, grace=1000)
    assert totals == Totals(taken=2, returned=2)
    assert waiting(url) == [b"a", b"b", b"c"]
    assert go.wait(LIMIT)
    assert received == []


@in_main_thread
def test_handlers_are_restored_after_a_failure(consume: Callable[..., Totals], received: list[int]) -> None:
    handlers = {each: signal.getsignal(each) for each in SIGNALS}
    url = fresh()
    raw(url).hset("orders/dead", "a", "b")  # no list

    def handle(item: str) -> None:
        raise LookupError

    with pytest.raises(Exception, match="another type"):
        consume(url, handle, max_deliveries=1)
    assert {each: signal.getsignal(each) for each in SIGNALS} == handlers


@in_main_thread
def test_a_handler_that_was_not_installed_by_python_becomes_the_default(
    consume: Callable[..., Totals], monkeypatch: pytest.MonkeyPatch, received: list[int]
) -> None:
    """Python can't put it back."""
    real = signal.signal
    monkeypatch.setattr(signal, "signal", lambda number, handler: real(number, handler) and None)
    stop = threading.Event() if consume is consume_sync else asyncio.Event()
    stop.set()
    consume(fresh(), lambda item: None, stop=stop)
    monkeypatch.undo()
    assert {signal.getsignal(each) for each in SIGNALS} == {signal.SIG_DFL}


@in_main_thread
def test_a_handler_that_was_put_in_meanwhile_stays(consume: Callable[..., Totals], received: list[int]) -> None:
    def other(number: int, frame: object) -> None: ...

    def take(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, other)

    def handle(item: str) -> None:
        if item == "a":
            os.kill(os.getpid(), signal.SIGUSR1)
            wait_until(lambda: signal.getsignal(signal.SIGTERM) is other, LIMIT)
        else:
            os.kill(os.getpid(), signal.SIGINT)

    before, interrupt = signal.signal(signal.SIGUSR1, take), signal.getsignal(signal.SIGINT)
    try:
        assert consume(fresh(), handle).acked >= 2
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert signal.getsignal(signal.SIGTERM) is other
    assert signal.getsignal(signal.SIGINT) is interrupt


def test_outside_of_the_main_thread_signals_are_left_alone(bench: Bench) -> None:
    before = {each: signal.getsignal(each) for each in SIGNALS}
    seen: list[dict[Any, Any]] = []

    async def handle(item: str) -> None:
        seen.append({each: signal.getsignal(each) for each in SIGNALS})

    bench.queue.add_item("a")
    running = bench.start(handle)
    bench.wait_until_idle()
    assert running.end() == Totals(taken=1, acked=1)
    assert seen == [before]


@in_main_thread
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # the child does nothing but end
def test_a_signal_to_a_child_of_a_handler_ends_the_child(consume: Callable[..., Totals], received: list[int]) -> None:
    statuses: list[int] = []

    def handle(item: str) -> None:
        if item == "a":
            statuses.append(fork_and_kill())
        else:
            os.kill(os.getpid(), signal.SIGTERM)

    assert consume(fresh(), handle).acked >= 2
    assert [os.WTERMSIG(status) for status in statuses] == [signal.SIGTERM]
    assert received == []


def fork_and_kill() -> int:
    """Forks a child that sends itself SIGTERM, and gives how it ended."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LIMIT)
    finally:
        os._exit(77)


@pytest.mark.parametrize("consume", [consume_sync, consume_aio])
def test_a_signal_to_another_process_is_not_the_consumers(
    consume: Callable[..., Totals], received: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a child, without one."""
    raised: list[int] = []
    handlers: list[object] = []

    def handle(item: str) -> None:
        if item == "a":
            monkeypatch.setattr(signals, "process_id", lambda: -1)
            monkeypatch.setattr(signal, "raise_signal", raised.append)
            os.kill(os.getpid(), signal.SIGTERM)
            wait_until(lambda: raised, LIMIT)
            handlers.append(signal.getsignal(signal.SIGTERM))
            monkeypatch.undo()
        else:
            os.kill(os.getpid(), signal.SIGINT)  # this one is the consumer's still

    assert consume(fresh(), handle).acked >= 2
    assert raised == [signal.SIGTERM]
    assert handlers == [signal.SIG_DFL]
    assert received == []


def test_all_consumers_of_a_loop_are_stopped_by_a_signal(received: list[int]) -> None:
    async def consume() -> tuple[Totals, ...]:
        async with aio.Queue("orders", fresh()) as first, aio.Queue("orders", fresh()) as second:
            await second.add_item("a")

            def handle(item: str) -> None:
                os.kill(os.getpid(), signal.SIGTERM)

            return tuple(await asyncio.gather(first.consume(handle), second.consume(handle)))

    assert asyncio.run(consume()) == (Totals(), Totals(taken=1, acked=1))
    assert received == []
    os.kill(os.getpid(), signal.SIGTERM)
    wait_until(lambda: received == [signal.SIGTERM], LIMIT)


def test_the_last_consumer_of_a_loop_gives_the_signals_back(received: list[int]) -> None:
    before = signal.getsignal(signal.SIGTERM)

    async def consume() -> None:
        stop = asyncio.Event()
        async with aio.Queue("orders", fresh()) as queue:
            first = asyncio.create_task(queue.consume(lambda item: None, stop=stop))
            second = asyncio.create_task(queue.consume(lambda item: None))
            await asyncio.sleep(0)
            inside = signal.getsignal(signal.SIGTERM)
            stop.set()
            assert await first == Totals()
            assert signal.getsignal(signal.SIGTERM) is inside is not before
            os.kill(os.getpid(), signal.SIGTERM)
            assert await second == Totals()

    asyncio.run(consume())
    assert signal.getsignal(signal.SIGTERM) is before
    assert received == []


def test_a_consumer_whose_loop_is_closed_is_passed_over(received: list[int]) -> None:
    told: list[str] = []

    async def listen() -> None:
        live = telling(asyncio.get_running_loop(), lambda: told.append("live"))
        with signals.stopped_by_signals(live):
            signals._listeners.insert(0, gone)
            os.kill(os.getpid(), signal.SIGTERM)
            while not told:
                await asyncio.sleep(0)
            signals._listeners.remove(gone)

    loop = asyncio.new_event_loop()
    loop.close()
    gone = telling(loop, lambda: told.append("gone"))
    asyncio.run(listen())
    assert told == ["live"]
    assert received == []
