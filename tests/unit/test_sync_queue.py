from __future__ import annotations

import copy
import gc
import logging
import os
import pickle
import threading
from contextlib import suppress
from typing import Any

import pytest

from pyrq import BytesCodec, Codec, Fsync, JsonCodec, Queue, Replicas, aio
from pyrq.backends import connect, identity
from pyrq.core import session_ops
from pyrq.core.views import read_letter
from pyrq.core.waiting import Found
from pyrq.errors import (
    InvalidItemError,
    NotEnoughSyncedSlavesError,
    OutcomeUnknown,
    PermissionDeniedError,
    QueueClosedError,
    ServerFullError,
    ServerGoneError,
)
from pyrq.sync import _sending
from tests.unit.helpers import BrokenCodec, Fault, fresh, nothing_sent, raw
from tests.unit.taking_helpers import RecordingBackend

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "add_item": ("x",),
    "add_items": (["x"],),
    "get_items": (1,),
    "ack_item": ("x",),
    "ack_items": (["x"],),
    "reject_item": ("x",),
    "reject_items": (["x"],),
    "revert_item": ("x",),
    "revert_items": (["x"],),
    "re_enqueue_timeout_items": (),
    "re_enqueue_all_items": (),
    "drop_timeout_items": (),
    "drop_all_items": (),
    "delete_item": ("x",),
    "delete_items": (["x"],),
    "can_rollback_item": ("x",),
    "reset_blocked_item": ("x",),
    "get_count": (),
    "release": (),
    "stats": (),
    "in_flight": (),
    "pause": (),
    "resume": (),
    "peek": (1,),
    "ack_and_get": (["x"], 1),
}
"""Right arguments for every method that talks to the server, but for those of `RUNNING`."""
RUNNING = {"batch", "consume", "consume_batches"}
"""Methods that do more than one thing."""
LIMITS: dict[str, Any] = {"max_retry_rollback": 3, "max_timeout_in_queue": 60}
TAKE_ITEMS = ("add_items", "ack_items", "reject_items", "revert_items", "delete_items")


def call(queue: Any, name: str, *args: Any) -> Any:
    return getattr(queue, name)(*args)


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last)]


@pytest.fixture
def backend() -> RecordingBackend:
    return RecordingBackend()


@pytest.fixture
def queue(backend: RecordingBackend) -> Queue[str]:
    return Queue("orders", backend, **LIMITS)


def other(backend: RecordingBackend, **options: Any) -> Queue[str]:
    """Gives another consumer of the same queue."""
    return Queue("orders", backend, **LIMITS, **options)


def abandoned(backend: RecordingBackend, queue: Queue[str], count: int) -> None:
    """Takes a batch whose reply is lost."""
    backend.faults.append(Fault("get", OutcomeUnknown(), executed=True))
    with pytest.raises(OutcomeUnknown):
        queue.get_items(count)


def short(done: int) -> NotEnoughSyncedSlavesError:
    """Gives the error of a chunk of which so many items took effect, and too few replicas confirmed it."""
    error = NotEnoughSyncedSlavesError()
    error.done = done
    return error


# Order and equal items


def test_first_in_first_out(queue: Queue[str]) -> None:
    assert queue.add_item("a") is True
    assert queue.add_items(["b", "c"]) == 2
    assert queue.get_count() == 3
    assert queue.get_items(2) == ["a", "b"]
    assert queue.get_count() == 1
    assert queue.get_items(2) == ["c"]
    assert queue.get_items(2) == []


def test_acknowledged_items_are_gone(queue: Queue[str], backend: RecordingBackend) -> None:
    queue.add_items(["a", "b", "c"])
    assert queue.ack_items(queue.get_items(2)) == 2
    assert queue.ack_item("a") is False
    assert queue.get_items(1) == ["c"]
    assert queue.ack_item("c") is True
    assert queue.re_enqueue_all_items() == 0
    assert [key for key in raw(backend.url).scan_iter() if raw(backend.url).ttl(key) < 0] == []


def test_a_rejected_batch_comes_out_again_first_in_its_order(queue: Queue[str]) -> None:
    queue.add_items(numbers(0, 6))
    assert queue.get_items(4) == numbers(0, 4)
    assert queue.reject_items(["2", "0", "9"]) == 2
    assert queue.get_items(9) == ["2", "0", "4", "5"]
    assert queue.revert_items(["1", "3"]) == 2
    assert queue.reject_item("7") is False
    assert queue.revert_item("4") is True
    assert queue.get_items(9) == ["4", "1", "3"]


def test_equal_items_are_separate_items(queue: Queue[str]) -> None:
    queue.add_items(["x"] * 5)
    assert queue.get_items(3) == ["x"] * 3
    assert queue.ack_items(["x", "x"]) == 2
    assert queue.reject_items(["x", "x"]) == 1
    assert queue.ack_item("x") is False
    assert queue.get_count() == 3


def test_only_what_this_consumer_holds(queue: Queue[str], backend: RecordingBackend) -> None:
    another = other(backend)
    queue.add_items(["a", "b"])
    assert queue.get_items(1) == ["a"]
    assert another.get_items(1) == ["b"]
    assert another.ack_item("a") is False
    assert queue.ack_item("a") is True


@pytest.mark.parametrize("size", [8, 9, 40])
def test_batches_in_any_order(queue: Queue[str], size: int) -> None:
    queue.add_items(numbers(0, size))
    taken = queue.get_items(size)
    assert queue.ack_items([*reversed(taken[1:]), "none"]) == size - 1
    assert queue.reject_items(taken) == 1
    assert queue.get_items(9) == ["0"]


def test_what_comes_from_any_iterable(queue: Queue[str]) -> None:
    assert queue.add_items(str(number) for number in range(3)) == 3
    assert queue.add_items({"a": 1, "b": 2}) == 2
    assert queue.get_items(9) == ["0", "1", "2", "a", "b"]
    assert queue.ack_items(iter(["0", "a"])) == 2
    assert queue.reject_items(item for item in ("1", "2")) == 2
    assert queue.delete_items(iter(["1", "9"])) == 1


# Chunks


def test_large_batches_go_in_chunks(queue: Queue[str], backend: RecordingBackend) -> None:
    assert queue.add_items(numbers(0, 2500)) == 2500
    assert queue.get_items(2200) == numbers(0, 2200)
    assert queue.ack_items(numbers(0, 1100)) == 1100
    assert queue.reject_items(numbers(1100, 2200)) == 1100
    assert queue.get_items(5000) == numbers(1100, 2500)
    assert queue.reject_items(numbers(1100, 2500)) == 1400
    assert queue.delete_items(numbers(0, 2500)) == 1400
    sizes = {name: [len(one.args) for one in backend.of(name)] for name in ("add", "ack", "reject", "delete")}
    assert sizes == {
        "add": [1004, 1004, 504],
        "ack": [1007, 107],
        "reject": [111, 1011, 411, 1011],
        "delete": [1005, 1005, 505],
    }
    asked = [int(one.args[one.script.args.index("count")]) for one in backend.of("get")]
    assert asked == [1000, 1000, 200, 1000, 1000]


def test_chunks_of_one_call_use_one_lane_after_another(queue: Queue[str], backend: RecordingBackend) -> None:
    queue.add_items(numbers(0, 2500))
    assert [one.args[:2] for one in backend.of("add")] == [(b"1", b"1"), (b"1", b"2"), (b"1", b"3")]


@pytest.mark.parametrize(
    ("error", "executed", "known"),
    [
        (ServerGoneError(), False, (1000, 0, 1500)),
        (OutcomeUnknown(), True, (1000, 1000, 500)),
        (short(1000), True, (2000, 0, 500)),
    ],
)
def test_what_is_known_when_a_chunk_fails(
    queue: Queue[str], backend: RecordingBackend, error: Any, executed: bool, known: tuple[int, int, int]
) -> None:
    backend.faults.append(Fault("add", error, executed, skip=1))
    with pytest.raises(type(error)) as caught:
        queue.add_items(numbers(0, 2500))
    assert (caught.value.added, caught.value.unknown, caught.value.remaining) == known
    assert queue.get_count() == (2000 if executed else 1000)


def test_a_get_that_fails_in_its_third_chunk_loses_nothing(queue: Queue[str], backend: RecordingBackend) -> None:
    queue.add_items(numbers(0, 5000))
    backend.faults.append(Fault("get", OutcomeUnknown(), executed=True, skip=2))
    with pytest.raises(OutcomeUnknown):
        queue.get_items(5000)
    assert queue.get_items(5000) == numbers(0, 5000)
    assert queue.ack_items(numbers(0, 5000)) == 5000


# Bad arguments


@pytest.mark.parametrize(
    ("name", "args", "argument"),
    [
        *((name, ("text",), "items") for name in TAKE_ITEMS),
        ("delete_items", (b"bytes", 1), "items"),
        ("add_items", (5,), "items"),
        ("add_items", (None,), "items"),
        *((name, (None,), "item") for name in ARGUMENTS if name.endswith("_item")),
        *((name, ([None],), "item") for name in TAKE_ITEMS),
        *((name, (["x"] * 1500 + [None] + ["x"] * 1500,), "item") for name in TAKE_ITEMS),
        *(("get_items", (count,), "count") for count in (1.0, "1", None, True)),
        *(
            (name, (*ARGUMENTS[name], count), "count")
            for name in ("delete_item", "delete_items")
            for count in (1.5, True)
        ),
        *(
            (name, (timeout,), "timeout")
            for name in ("re_enqueue_timeout_items", "drop_timeout_items")
            for timeout in ("1", None, True)
        ),
    ],
)
def test_a_wrong_type_is_refused_before_anything_is_sent(
    queue: Queue[str], backend: RecordingBackend, name: str, args: tuple[Any, ...], argument: str
) -> None:
    with nothing_sent(backend), pytest.raises(TypeError, match=rf"^{argument} must"):
        call(queue, name, *args)


@pytest.mark.parametrize(
    ("name", "args", "argument"),
    [
        ("get_items", (-1,), "count must be a whole number, 0 or more, not -1"),
        ("delete_item", ("x", -1), "count must be a whole number, 0 or more, not -1"),
        ("delete_items", (["x"], -2), "count must be a whole number, 0 or more, not -2"),
        ("re_enqueue_timeout_items", (-1,), "timeout must be seconds, from 0 to 1e\\+09, not -1"),
        ("re_enqueue_timeout_items", (float("nan"),), "timeout must be seconds, from 0 to 1e\\+09, not nan"),
        ("drop_timeout_items", (float("inf"),), "timeout must be seconds, from 0 to 1e\\+09, not inf"),
        ("drop_timeout_items", (-0.5,), "timeout must be seconds, from 0 to 1e\\+09, not -0.5"),
    ],
)
def test_a_value_out_of_range_is_refused_before_anything_is_sent(
    queue: Queue[str], backend: RecordingBackend, name: str, args: tuple[Any, ...], argument: str
) -> None:
    with nothing_sent(backend), pytest.raises(ValueError, match=rf"^{argument}$"):
        call(queue, name, *args)


def test_a_count_that_no_server_can_read_is_refused_or_works(queue: Queue[str]) -> None:
    queue.add_items(["x", "x"])
    with suppress(ValueError):
        assert queue.delete_item("x", 2**63) == 2


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"name": "a/b"}, ValueError, "name must be 1 to 200 bytes"),
        ({"name": 5}, TypeError, "name must be text"),
        ({"codec": 5}, TypeError, "codec must have encode and decode methods"),
        ({"client_id": "a/b"}, ValueError, "client_id must be 1 to 100 bytes"),
        ({"client_id": 5}, TypeError, "client_id must be text"),
        ({"durability": 5}, TypeError, "durability must be Replicas, Fsync or None"),
        ({"durability": Replicas(1, 4901)}, ValueError, "timeout_ms .* must be from 1 to 4900"),
        ({"synced_slaves_enabled": 1}, TypeError, "synced_slaves_enabled must be True or False"),
        ({"synced_slaves_enabled": True}, ValueError, "synced_slaves_count must be a whole number from 1"),
        ({"synced_slaves_enabled": True, "synced_slaves_count": True}, TypeError, "synced_slaves_count must"),
        (
            {"synced_slaves_enabled": True, "synced_slaves_count": 1, "synced_slaves_timeout": 0},
            ValueError,
            "synced_slaves_timeout must be a whole number from 1",
        ),
        (
            {"synced_slaves_enabled": True, "synced_slaves_count": 1, "synced_slaves_timeout": 5000},
            ValueError,
            r"timeout_ms \(synced_slaves_timeout\) must be from 1 to 4900",
        ),
        ({"redis": 5}, TypeError, "redis must be"),
        ({"redis": "http://h"}, ValueError, "url must begin"),
        ({"retry": 1}, ValueError, "retry must be None beside a backend"),
        ({"redis": "memory://x", "retry": 3601}, ValueError, "retry must be seconds, from 0 to 3600"),
    ],
)
def test_a_wrong_option_is_refused_at_construction(
    backend: RecordingBackend, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with nothing_sent(backend), pytest.raises(kind, match=f"^{message}"):
        Queue(**{"name": "orders", "redis": backend, **options})


@pytest.mark.parametrize("options", [{"client_id": "a/b"}, {"durability": Replicas(1, 4901)}])
def test_a_wrong_option_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    # An embedded server would go on running for nobody.
    made: list[RecordingBackend] = []

    def connecting(target: object, *, retry: float | None, gather: bool | None) -> RecordingBackend:
        made.append(RecordingBackend())
        return made[-1]

    monkeypatch.setattr(_sending, "connect", connecting)
    with pytest.raises(ValueError, match=r"^(client_id|timeout_ms)"):
        Queue("orders", "memory://x", **options)
    assert [one.closed for one in made] == [1] * len(made)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="colour"):
        Queue("orders", "memory://x", colour="red")  # type: ignore[call-overload]


@pytest.mark.parametrize("name", TAKE_ITEMS)
@pytest.mark.parametrize("items", [[], (), {}, iter(())])
def test_no_items_are_allowed_and_nothing_is_sent(
    queue: Queue[str], backend: RecordingBackend, name: str, items: Any
) -> None:
    with nothing_sent(backend):
        assert call(queue, name, items) == 0


def test_to_get_none_is_allowed_and_nothing_is_sent(queue: Queue[str], backend: RecordingBackend) -> None:
    with nothing_sent(backend):
        assert queue.get_items(0) == []


# What consumers left behind


def test_a_sweep_gives_back_what_all_hold(queue: Queue[str], backend: RecordingBackend) -> None:
    another = other(backend)
    queue.add_items(numbers(0, 6))
    queue.get_items(2)
    another.get_items(2)
    assert queue.re_enqueue_timeout_items(3600) == 0
    assert queue.re_enqueue_timeout_items() == 0
    assert queue.re_enqueue_timeout_items(0) == 4
    assert sorted(queue.get_items(4)) == numbers(0, 4)
    assert another.re_enqueue_all_items() == 4
    assert another.re_enqueue_all_items() == 0


def test_a_drop_deletes_what_all_hold_and_what_waits_stays(queue: Queue[str], backend: RecordingBackend) -> None:
    queue.add_items(numbers(0, 6))
    queue.get_items(2)
    other(backend).get_items(2)
    assert queue.drop_timeout_items() == 0
    assert queue.drop_timeout_items(0.0) == 4
    assert queue.get_items(1) == ["4"]
    assert queue.drop_all_items() == 1
    assert queue.get_items(9) == ["5"]


def test_a_large_sweep_repeats_its_script(queue: Queue[str], backend: RecordingBackend) -> None:
    queue.add_items(numbers(0, 2500))
    queue.get_items(2500)
    assert queue.re_enqueue_all_items() == 2500
    assert len(backend.of("re_enqueue")) >= 3
    assert queue.get_items(2500) == numbers(0, 2500)


def test_an_own_sweep_takes_also_what_waits_in_this_object(queue: Queue[str], backend: RecordingBackend) -> None:
    queue.add_items(numbers(0, 5))
    abandoned(backend, queue, 5)
    assert queue.get_items(1) == ["0"]
    assert queue.re_enqueue_all_items() == 5
    assert queue.get_items(9) == numbers(0, 5)


def test_what_was_dropped_does_not_come_out_of_this_object(queue: Queue[str], backend: RecordingBackend) -> None:
    queue.add_items(numbers(0, 5))
    abandoned(backend, queue, 5)
    assert queue.get_items(1) == ["0"]
    assert queue.drop_all_items() == 5
    assert queue.get_items(9) == []


# What waits


def test_deleting_takes_the_newest_copies(queue: Queue[str]) -> None:
    queue.add_items(["x", "a", "x", "b", "x"])
    assert queue.delete_item("x", 2) == 2
    assert queue.get_items(9) == ["x", "a", "b"]
    queue.add_items(["y"] * 4)
    assert queue.delete_item("y") == 4
    assert queue.delete_item("y") == 0


@pytest.mark.parametrize("more", [0, 20])
def test_deleting_several(queue: Queue[str], more: int) -> None:
    queue.add_items(["a", "b", "a", "c", "b", "a"])
    assert queue.delete_items(["a", "b", *numbers(0, more)], count=1) == 2
    assert queue.get_items(9) == ["a", "b", "a", "c"]


def test_what_is_held_is_not_deleted_and_not_counted(queue: Queue[str]) -> None:
    queue.add_items(["a", "a"])
    queue.get_items(1)
    assert queue.get_count() == 1
    assert queue.delete_item("a") == 1
    assert queue.ack_item("a") is True


# Lost replies


def test_an_abandoned_get_is_handed_out_first(queue: Queue[str], backend: RecordingBackend) -> None:
    queue.add_items(numbers(0, 7))
    abandoned(backend, queue, 5)
    assert queue.get_items(1) == ["0"]
    with nothing_sent(backend):
        assert queue.get_items(4) == numbers(1, 5)
    assert queue.get_items(9) == numbers(5, 7)
    assert queue.ack_items(numbers(0, 7)) == 7


def test_an_ack_does_not_reach_what_was_not_seen(queue: Queue[str], backend: RecordingBackend) -> None:
    queue.add_items(["x", "x"])
    assert queue.get_items(1) == ["x"]
    abandoned(backend, queue, 1)
    assert queue.ack_items(["x"]) == 1
    assert queue.ack_items(["x"]) == 0
    assert queue.get_items(1) == ["x"]
    assert queue.ack_items(["x"]) == 1


def test_an_ack_does_not_reach_what_waits_in_this_object(queue: Queue[str], backend: RecordingBackend) -> None:
    queue.add_items(["x", "x", "x"])
    abandoned(backend, queue, 3)
    assert queue.get_items(1) == ["x"]
    assert queue.ack_items(["x", "x", "x"]) == 1
    assert queue.get_items(2) == ["x", "x"]
    assert queue.ack_items(["x", "x"]) == 2


def test_a_change_without_an_answer_is_burnt_before_its_lane_is_used_again(
    queue: Queue[str], backend: RecordingBackend
) -> None:
    backend.faults.append(Fault("add", OutcomeUnknown()))
    with pytest.raises(OutcomeUnknown):
        queue.add_item("a")
    lost = backend.of("add")[0]
    assert queue.add_item("b") is True
    (burn,) = backend.of("burn")
    assert burn.args == (b"121", *lost.args[:2])
    assert [names for names, _ in backend.runs][-1] == [burn, backend.of("add")[-1]]
    assert backend.of("add")[-1].args[0] != lost.args[0]
    # The lost request arrives at last: it does nothing.
    with pytest.raises(OutcomeUnknown):
        connect(backend.url).run([lost])
    assert queue.get_items(9) == ["b"]
    assert queue.add_items(["c"]) == 1
    assert len(backend.of("burn")) == 1


def test_lanes_are_burnt_again_when_burning_failed(queue: Queue[str], backend: RecordingBackend) -> None:
    backend.faults += [Fault("add", OutcomeUnknown()), Fault("add", OutcomeUnknown())]
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            queue.add_item("a")
    queue.add_item("b")
    assert [len(one.args) for one in backend.of("burn")] == [3, 5]


def test_what_was_sent_more_than_once_is_burnt_though_it_was_answered(
    queue: Queue[str], backend: RecordingBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.add_item("a")
    real = backend.run

    def resending(*args: Any) -> list[Any]:
        backend.doubts += 1
        return real(*args)

    monkeypatch.setattr(backend, "run", resending)
    assert queue.ack_item("a") is False
    monkeypatch.undo()
    queue.add_item("b")
    assert backend.of("burn")[0].args[1:] == backend.of("ack")[0].args[:2]


def test_a_refused_change_may_be_called_again(queue: Queue[str], backend: RecordingBackend) -> None:
    backend.faults.append(Fault("add", ServerFullError()))
    with pytest.raises(ServerFullError):
        queue.add_item("a")
    assert queue.add_item("a") is True
    assert queue.get_items(9) == ["a"]


# Durability


@pytest.mark.parametrize(
    ("options", "durability"),
    [
        ({"durability": Replicas(2, 300)}, Replicas(2, 300)),
        ({"durability": Fsync()}, Fsync()),
        ({"synced_slaves_enabled": True, "synced_slaves_count": 3, "synced_slaves_timeout": 50}, Replicas(3, 50)),
        ({"synced_slaves_count": 3}, None),
    ],
)
def test_each_change_waits_and_no_get(backend: RecordingBackend, options: dict[str, Any], durability: Any) -> None:
    queue = other(backend, **options)
    for name, args in ARGUMENTS.items():
        call(queue, name, *args)
    waits = {(tuple(each.script.name for each in calls), waited) for calls, waited in backend.runs}
    unwaited = {"get", "count", "probe", "forget", "roll_back", "stats", "in_flight", "peek"}
    assert waits == {(names, None if unwaited.issuperset(names) else durability) for names, _ in waits}
    assert len([names for names, _ in waits if not unwaited.issuperset(names)]) == 11
    assert (("ack", "get"), durability) in waits
    backend.runs.clear()
    queue.close()
    assert {waited for _, waited in backend.runs} == {None}  # a sweep would do what it does


def test_no_later_call_takes_the_lane_of_an_error_that_may_still_ask(
    queue: Queue[str], backend: RecordingBackend
) -> None:
    backend.faults.append(Fault("add", NotEnoughSyncedSlavesError(), executed=True))
    try:
        queue.add_item("a")
    except NotEnoughSyncedSlavesError as short:
        kept = short
    queue.add_item("b")
    first, second = (one.args[0] for one in backend.of("add"))
    assert first != second
    assert backend.of("burn") == []
    assert connect(backend.url).run([session_ops.confirm(backend.of("add")[0])]) == [None]
    assert str(kept)
    del kept
    gc.collect()
    for _ in range(2):
        backend.faults.append(Fault("add", OutcomeUnknown()))
        with pytest.raises(OutcomeUnknown):
            queue.add_item("c")
    assert {one.args[0] for one in backend.of("add")} == {first, second}


# Codecs


def test_values_of_a_codec(backend: RecordingBackend) -> None:
    queue = Queue("orders", backend, codec=JsonCodec())
    queue.add_items([{"b": 1, "a": 2}, [1], "x"])
    assert queue.get_items(9) == [{"a": 2, "b": 1}, [1], "x"]
    assert queue.ack_items([{"a": 2, "b": 1}, "x"]) == 2
    assert queue.reject_item([1]) is True


def test_bytes_and_text_are_the_same_item(queue: Queue[str], backend: RecordingBackend) -> None:
    plain = Queue("orders", backend, codec=BytesCodec())
    queue.add_items([b"a", "ä", b"\xff", 5])
    assert plain.get_items(9) == [b"a", b"\xc3\xa4", b"\xff", b"5"]
    assert plain.reject_items([b"a", b"\xc3\xa4", b"\xff", b"5"]) == 4
    taken = queue.get_items(9)
    assert taken == ["a", "ä", "\udcff", "5"]
    assert queue.ack_items(taken) == 4


@pytest.mark.parametrize(("codec", "bad"), [(JsonCodec(), "{"), (BrokenCodec(), "bad")])
def test_what_can_not_be_decoded_is_buried_and_the_others_are_returned(
    queue: Queue[str], backend: RecordingBackend, codec: Codec[Any], bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    queue.add_items([f"{bad}1", "1", f"{bad}2", "2", "3", f"{bad}3", "4"])
    reader = Queue("orders", backend, codec=codec)
    with caplog.at_level(logging.WARNING, "pyrq.queue"):
        assert [str(item) for item in reader.get_items(3)] == ["1", "2", "3"]
        assert [str(item) for item in reader.get_items(3)] == ["4"]
    dead = [read_letter(letter) for letter in raw(backend.url).lrange("orders/dead", 0, -1)]
    assert [letter.raw for letter in dead] == [f"{bad}{number}".encode() for number in (3, 2, 1)]
    assert {letter.consumer for letter in dead} == {reader.client_id}
    assert all(letter.reason.startswith(type(codec).__name__) for letter in dead)
    assert all(letter.when > 1.7e9 and letter.deliveries == 1 for letter in dead)
    assert len(caplog.records) == 2
    assert "buried" in caplog.text
    assert bad not in caplog.text
    assert reader.ack_items([1, 2, 3, 4] if isinstance(codec, JsonCodec) else ["1", "2", "3", "4"]) == 4
    assert queue.get_count() == 0


def test_a_batch_of_nothing_but_spoilt_items(queue: Queue[str], backend: RecordingBackend) -> None:
    queue.add_items([f"bad{number}" for number in range(1500)])
    queue.add_item("fine")
    reader = other(backend, codec=BrokenCodec())
    assert reader.get_items(5) == ["fine"]
    assert raw(backend.url).llen("orders/dead") == 1500


@pytest.mark.parametrize("executed", [False, True])
def test_a_bury_that_fails_loses_nothing(queue: Queue[str], backend: RecordingBackend, executed: bool) -> None:
    queue.add_items(["a", "bad", "b", "c"])
    reader = other(backend, codec=BrokenCodec())
    backend.faults.append(Fault("bury", OutcomeUnknown(), executed))
    with pytest.raises(OutcomeUnknown):
        reader.get_items(3)
    assert reader.get_items(3) == ["a", "b", "c"]
    assert raw(backend.url).llen("orders/dead") == 1
    assert reader.ack_items(["a", "b", "c"]) == 3
    assert raw(backend.url).exists("orders", "orders/consumers", reader.processing_queue_name) == 0


@pytest.mark.parametrize("script", ["get", "bury"])
def test_a_failure_behind_a_bury_keeps_what_was_decoded_before(
    queue: Queue[str], backend: RecordingBackend, script: str
) -> None:
    queue.add_items(["a", "bad1", "b", "bad2", "c"])
    reader = other(backend, codec=BrokenCodec())
    backend.faults.append(Fault(script, OutcomeUnknown(), skip=1))
    with pytest.raises(OutcomeUnknown):
        reader.get_items(3)
    assert reader.get_items(3) == ["a", "b", "c"]


def test_an_item_that_the_codec_refuses_is_not_quoted(backend: RecordingBackend) -> None:
    queue = other(backend, codec=BrokenCodec())
    with nothing_sent(backend), pytest.raises(InvalidItemError) as caught:
        queue.add_items(["a", "refused-secret"])
    assert "secret" not in str(caught.value)


# Names


def test_names(backend: RecordingBackend) -> None:
    queue = other(backend, client_id="me")
    assert queue.name == "orders"
    assert queue.client_id.startswith("me-")
    assert queue.processing_queue_name == f"orders-processing-{queue.client_id}"
    assert queue.timeouts_hash_name == "orders-timeouts"
    assert repr(queue) == f"<Queue 'orders' of '{queue.client_id}'>"
    assert other(backend, client_id="me").client_id != queue.client_id


def test_the_keys_are_where_the_names_say(queue: Queue[str], backend: RecordingBackend) -> None:
    queue.add_items(["a", "b", "c"])
    queue.get_items(2)
    client = raw(backend.url)
    assert client.lrange("orders", 0, -1) == [b"c"]
    assert client.lrange(queue.processing_queue_name, 0, -1) == [b"b", b"a"]
    assert client.hkeys(queue.timeouts_hash_name) == [queue.processing_queue_name.encode()]


def test_a_plain_push_is_a_producer(queue: Queue[str], backend: RecordingBackend) -> None:
    raw(backend.url).lpush("orders", "a", "b")
    assert queue.get_items(9) == ["a", "b"]


def test_two_queues_of_one_name_share_and_others_do_not() -> None:
    url = fresh()
    with Queue("orders", url) as one, Queue("orders", url) as two, Queue("others", url) as three:
        one.add_items(["a", "b"])
        assert two.get_items(1) == ["a"]
        assert one.get_items(9) == ["b"]
        assert three.get_count() == 0


async def test_both_worlds_share_a_queue() -> None:
    url = fresh()
    with Queue("orders", url) as here:
        async with aio.Queue("orders", url) as there:
            here.add_items(["a", "b"])
            assert await there.get_items(1) == ["a"]
            await there.add_item("c")
            assert await there.reject_item("a") is True
            assert here.get_items(9) == ["a", "b", "c"]


# The check of the server


def test_nothing_is_sent_by_construction_and_the_check_is_made_once(backend: RecordingBackend) -> None:
    with nothing_sent(backend):
        queue = other(backend)
    queue.get_count()
    queue.add_item("a")
    queue.get_items(1)
    assert backend.names == ["probe", "count", "add", "get"]


@pytest.mark.parametrize("name", [name for name in ARGUMENTS if name != "release"])
def test_missing_permissions_are_named_before_anything_is_changed(
    queue: Queue[str], backend: RecordingBackend, name: str
) -> None:
    backend.faults.append(Fault("probe", PermissionDeniedError("Refused: LPUSH.")))
    with pytest.raises(PermissionDeniedError, match="LPUSH"):
        call(queue, name, *ARGUMENTS[name])
    assert backend.names == ["probe"]
    call(queue, name, *ARGUMENTS[name])
    assert len(backend.names) > 2


# Release and close


def test_release_gives_back_what_the_caller_has_not_seen(queue: Queue[str], backend: RecordingBackend) -> None:
    queue.add_items(numbers(0, 6))
    assert queue.get_items(1) == ["0"]
    abandoned(backend, queue, 4)
    assert queue.release() == 4
    assert queue.release() == 0
    assert queue.get_items(9) == numbers(1, 6)
    assert queue.ack_items(numbers(0, 6)) == 6


def test_release_gives_back_what_waits_in_this_object(queue: Queue[str], backend: RecordingBackend) -> None:
    queue.add_items(numbers(0, 6))
    abandoned(backend, queue, 4)
    assert queue.get_items(1) == ["0"]
    assert queue.release() == 3
    assert queue.get_items(9) == numbers(1, 6)


def test_release_of_more_than_a_chunk(queue: Queue[str], backend: RecordingBackend) -> None:
    queue.add_items(numbers(0, 3500))
    backend.faults.append(Fault("get", OutcomeUnknown(), executed=True, skip=2))
    with pytest.raises(OutcomeUnknown):
        queue.get_items(3000)
    assert queue.release() == 3000
    assert len(backend.of("release")) == 3
    assert queue.get_items(4000) == numbers(0, 3500)


def test_release_before_any_get_sends_nothing(queue: Queue[str], backend: RecordingBackend) -> None:
    queue.add_item("a")
    with nothing_sent(backend):
        assert queue.release() == 0


def test_a_get_that_runs_after_a_release_takes_nothing(queue: Queue[str], backend: RecordingBackend) -> None:
    queue.add_items(["a", "b"])
    backend.faults.append(Fault("get", OutcomeUnknown()))
    with pytest.raises(OutcomeUnknown):
        queue.get_items(2)
    assert queue.release() == 0
    with suppress(OutcomeUnknown):
        assert connect(backend.url).run([backend.of("get")[0]]) == [Found([], 1, False, 0.0, 0.0)]
    assert queue.get_count() == 2


def test_close_gives_back_and_ends_the_session(queue: Queue[str], backend: RecordingBackend) -> None:
    queue.add_items(numbers(0, 4))
    assert queue.get_items(1) == ["0"]
    session = backend.of("add")[0].keys[0]
    assert raw(backend.url).exists(session)
    queue.close()
    assert backend.names[-1] == "forget"
    assert not raw(backend.url).exists(session)
    assert raw(backend.url).lrange(queue.processing_queue_name, 0, -1) == [b"0"]
    with nothing_sent(backend):
        queue.close()


def test_close_gives_back_an_unconfirmed_batch_and_lets_the_session_expire(
    queue: Queue[str], backend: RecordingBackend
) -> None:
    queue.add_items(numbers(0, 4))
    abandoned(backend, queue, 3)
    queue.close()
    assert "forget" not in backend.names
    assert raw(backend.url).ttl(backend.of("add")[0].keys[0]) > 100
    assert other(backend).get_items(9) == numbers(0, 4)
    assert raw(backend.url).exists(queue.processing_queue_name) == 0


def test_close_before_anything_sends_nothing(queue: Queue[str], backend: RecordingBackend) -> None:
    with nothing_sent(backend):
        queue.close()


@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_method_of_a_closed_queue_says_so(queue: Queue[str], backend: RecordingBackend, name: str) -> None:
    queue.get_items(1)
    queue.close()
    with nothing_sent(backend), pytest.raises(QueueClosedError):
        call(queue, name, *ARGUMENTS[name])


@pytest.mark.parametrize(("name", "args"), [("add_items", ([],)), ("get_items", (0,)), ("delete_items", ([],))])
def test_even_nothing_is_too_much_for_a_closed_queue(queue: Queue[str], name: str, args: tuple[Any, ...]) -> None:
    queue.close()
    with pytest.raises(QueueClosedError):
        call(queue, name, *args)


def test_every_method_is_in_the_table_above() -> None:
    public = {name for name in dir(Queue) if callable(getattr(Queue, name)) and not name.startswith("_")}
    assert public - {"close"} - RUNNING == set(ARGUMENTS)


def test_a_queue_closes_what_it_made_and_nothing_else(
    backend: RecordingBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    other(backend).close()
    assert backend.closed == 0
    monkeypatch.setattr(_sending, "connect", lambda target, *, retry=None, gather=None: backend)
    Queue("orders", "memory://x").close()
    assert backend.closed == 1


def test_a_queue_is_closed_and_lets_go_even_if_giving_back_fails(
    backend: RecordingBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sending, "connect", lambda target, *, retry=None, gather=None: backend)
    queue = Queue("orders", "memory://x")
    queue.add_item("a")
    queue.get_items(1)
    backend.faults.append(Fault("release", ServerGoneError()))
    with pytest.raises(ServerGoneError):
        queue.close()
    assert backend.closed == 1
    with pytest.raises(QueueClosedError):
        queue.get_count()


def test_leaving_with_closes(backend: RecordingBackend) -> None:
    with other(backend) as queue:
        queue.add_item("a")
    with pytest.raises(QueueClosedError):
        queue.get_count()


def test_leaving_with_an_error_closes_and_raises_it(backend: RecordingBackend) -> None:
    queue = other(backend)

    def leave() -> None:
        with queue:
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        leave()
    with pytest.raises(QueueClosedError):
        queue.get_count()


# Copies are other consumers


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda queue: pickle.loads(pickle.dumps(queue))])
def test_a_copy_is_another_consumer(way: Any) -> None:
    url = fresh()
    with Queue("orders", url, client_id="me", durability=Replicas(1), codec=JsonCodec(), retry=7) as queue:
        queue.add_items([1, 2])
        assert queue.get_items(1) == [1]
        with way(queue) as copied:
            assert type(copied) is Queue
            assert copied.client_id != queue.client_id
            assert copied.client_id.startswith("me-")
            assert copied._run.setup.durability == Replicas(1)
            assert copied._run.backend.deadline == 7
            assert copied.ack_item(1) is False
            assert copied.get_items(9) == [2]
        assert queue.ack_item(1) is True


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
def test_a_copy_shares_the_client(backend: RecordingBackend, queue: Queue[str], way: Any) -> None:
    copied = way(queue)
    assert copied._run.backend is backend
    copied.close()
    assert backend.closed == 0
    assert queue.get_count() == 0


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_queue_of_a_client_can_not_be_pickled(queue: Queue[str], protocol: int) -> None:
    with pytest.raises(
        TypeError, match=r"^only an object that was made from a URL can be pickled: a connection can't$"
    ):
        pickle.dumps(queue, protocol)


def test_a_queue_of_the_environment_can_be_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRQ_URL", fresh())
    queue = Queue("orders")
    queue.add_item("a")
    copied = pickle.loads(pickle.dumps(queue))
    assert copied.get_items(1) == ["a"]


def test_a_fork_is_another_consumer(queue: Queue[str]) -> None:
    before = queue.client_id
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, queue.client_id.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        inside = pipe.read().decode()
    assert os.waitpid(child, 0)[1] == 0
    assert inside.startswith(before.rpartition("-")[0].partition("[")[0])
    assert inside != before
    assert queue.client_id == before


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The process id as the library sees it; to change it is to fork."""
    process = [os.getpid()]
    monkeypatch.setattr(_sending, "process_id", lambda: process[0])
    return process


def test_a_fork_checks_the_server_and_holds_nothing(
    forked: list[int], queue: Queue[str], backend: RecordingBackend
) -> None:
    queue.add_items(["a", "b"])
    abandoned(backend, queue, 1)
    forked[0] += 1
    assert queue.get_items(9) == ["b"]
    assert backend.names.count("probe") == 2
    assert queue.release() == 0


def test_a_fork_of_a_closed_queue_is_closed(forked: list[int], queue: Queue[str]) -> None:
    queue.close()
    forked[0] += 1
    with pytest.raises(QueueClosedError):
        queue.get_count()


@pytest.mark.parametrize("name", ["close", "release", "get_items"])
def test_a_fork_does_not_wait_for_a_thread_that_it_does_not_have(
    forked: list[int], backend: RecordingBackend, name: str
) -> None:
    queue = other(backend)
    lock = queue._run.get_lock
    lock.acquire()  # as a thread of the parent did, in the middle of a get
    forked[0] += 1
    thread = threading.Thread(target=call, args=(queue, name, *ARGUMENTS.get(name, ())))
    thread.start()
    thread.join(3)
    waits = thread.is_alive()
    lock.release()
    thread.join()
    assert not waits


def test_no_thread_of_a_fork_is_the_parent(
    forked: list[int], queue: Queue[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = queue.client_id
    seen: list[str] = []
    real = identity.client_id
    threads: list[threading.Thread] = []

    def slowly(label: str | None) -> str:
        # Another thread comes in while the first one makes the new consumer.
        if not threads:
            threads.append(threading.Thread(target=lambda: seen.append(queue.client_id)))
            threads[0].start()
            threads[0].join(0.5)
        return real(label)

    monkeypatch.setattr(_sending, "client_id", slowly)
    forked[0] += 1
    seen.append(queue.client_id)
    threads[0].join()
    assert parent not in seen
    assert len({*seen, queue.client_id}) == 1


# Threads


def test_threads_share_an_object(queue: Queue[str]) -> None:
    taken: list[str] = []
    acked: list[int] = []

    def work(number: int) -> None:
        queue.add_items(f"{number}-{turn}" for turn in range(40))
        while items := queue.get_items(7):
            taken.extend(items)
            acked.append(queue.ack_items(items))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(f"{number}-{turn}" for number in range(6) for turn in range(40))
    assert sum(acked) == 240
