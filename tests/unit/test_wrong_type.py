"""Keys of a wrong type: whoever uses the name for something else is told, and nothing changes."""

from __future__ import annotations

from typing import Any

import pytest

from pyrq.errors import OutcomeUnknown, WrongTypeError
from tests.unit.helpers import BrokenCodec, Fault
from tests.unit.worlds import CLASSES, HELD, World, arguments, call, dump, opened, prepared

world = pytest.fixture(params=["sync", "aio"])(opened)
KEYS = (
    *("orders", "-unique", "-timeouts", "/consumers", "-processing-", "-retry-count", "-retry-timeout", "/session/"),
    *("/landing/", "/delayed", "/deliveries", "/dead", "/meta"),
)
BOUNDS = {"max_deliveries": 3, "max_size": 100, "dead_max": 9}
# What each method needs besides the session; each script reads all of it before it writes.
LIST, HOLDING = ("orders",), ("-timeouts", "/consumers", "-processing-")
SWEEPING = ("-timeouts", "/consumers", "/meta")
ROLLBACKS, DEATHS = ("-retry-count", "-retry-timeout"), ("/deliveries", "/dead")
NEEDS = {
    "add": (*LIST, "/delayed"),
    "get_items": LIST + HOLDING + ("/landing/", "/delayed", "/meta"),
    "ack": (*HOLDING, "/deliveries"),
    "reject": LIST + HOLDING + DEATHS,
    "revert": LIST + HOLDING + DEATHS,
    "release": LIST + HOLDING + ("/landing/", "/meta"),
    "delete": (*LIST, "/consumers", "/deliveries"),
    "re_enqueue": LIST + SWEEPING + DEATHS,
    "drop": LIST + SWEEPING,
    "can_rollback": ROLLBACKS,
    "reset_blocked": ROLLBACKS,
    "repair": (*LIST, "/consumers"),
    "pause": ("/meta",),
    "resume": ("/meta",),
    "dead.redrive": (*LIST, "/dead"),
    "dead.purge": ("/dead",),
}
LOOKING = {
    "get_count": {"orders"},
    "peek": {"orders"},
    "stats": {"orders", "-timeouts", "/consumers", "/delayed", "/dead", "/meta"},
    "in_flight": {"-timeouts", "/consumers"},
    "dead.count": {"/dead"},
    "dead.peek": {"/dead"},
}


def needs(kind: str, name: str) -> set[str]:
    """Gives the keys that a method needs."""
    if kind == "Pool":
        return {"orders"} | ({"/session/"} if name[:3] not in ("get", "is_") or name.endswith("items") else set())
    if name in LOOKING:
        return LOOKING[name]
    found = next(keys for method, keys in NEEDS.items() if name.startswith(method))
    # A drop reads how the queue's list is, and does not write it.
    unique = kind == "UniqueQueue" and "orders" in found and not name.startswith("drop")
    return {*found, "/session/", *(["-unique"] if unique else [])}


MANY = [*HELD, *map(str, range(50, 70))]


@pytest.mark.parametrize(
    ("kind", "name", "items"),
    # What acknowledges and takes is two calls.
    [(kind, name, HELD) for kind in CLASSES for name in arguments(kind) if name != "ack_and_get"]
    + [(kind, f"{name}_items", MANY) for kind in CLASSES[:2] for name in ("ack", "reject", "delete")],
)
def test_nothing_changes_where_a_key_is_of_a_wrong_type(world: World, kind: str, name: str, items: list[str]) -> None:
    one_item = "0" if name == "add_item" else "1"  # the latter waits already
    args = tuple(items if arg == ["x"] else one_item if arg == "x" else arg for arg in arguments(kind)[name])
    told = set()
    for part in KEYS:
        one = prepared(world, kind, **({} if kind == "Pool" else BOUNDS))
        world.client.lpush("orders/dead", "of old")
        if name == "release":
            world.backend.faults.append(Fault("get", OutcomeUnknown(), executed=True))
            with pytest.raises(OutcomeUnknown):
                one.get_items(1)
        key = part if part == "orders" else f"orders{part}" + (one.client_id if part[-1] in "-/" else "")
        world.client.delete(key)
        world.client.set(key, "wrong")
        # In front of a release, the session takes note that no earlier get may run any more.
        but = "/session/" if name == "release" else ""
        before = dump(world.client, but)
        try:
            call(one, name, *args)
        except WrongTypeError:
            told.add(part)
            assert dump(world.client, but) == before, part
        else:
            assert world.client.get(key) == b"wrong"
        world.client.delete(key)
    assert told == needs(kind, name)


@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
def test_what_can_not_be_buried_stays_held(world: World, kind: str) -> None:
    world.any(kind).add_items(["a", "bad", "b"])
    world.client.set("orders/dead", "wrong")
    reader = world.any(kind, codec=BrokenCodec())
    with pytest.raises(WrongTypeError):
        reader.get_items(3)
    assert world.client.lrange(reader.processing_queue_name, 0, -1) == [b"b", b"bad", b"a"]
    assert world.client.get("orders/dead") == b"wrong"
    world.client.delete("orders/dead")
    assert reader.get_items(3) == ["a", "b"]
    assert world.client.llen("orders/dead") == 1


@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
@pytest.mark.parametrize("method", ["re_enqueue_all_items", "drop_all_items"])
def test_a_sweep_leaves_alone_what_is_no_list(world: World, kind: str, method: str) -> None:
    one, two = world.any(kind), world.any(kind)
    one.add_items(["a", "b"])
    assert one.get_items(1) == ["a"]
    assert two.get_items(1) == ["b"]
    world.client.delete(two.processing_queue_name)
    world.client.set(two.processing_queue_name, "wrong")
    assert call(one, method) == 1
    assert one.get_items(9) == (["a"] if method.startswith("re") else [])
    assert world.client.get(two.processing_queue_name) == b"wrong"
    world.client.delete(two.processing_queue_name)


@pytest.mark.parametrize("key", ["orders", "orders/delayed", "orders/deliveries"])
def test_one_of_two_calls_that_is_refused_leaves_it_open_what_was_done_and_nothing_is_lost(
    world: World, key: str
) -> None:
    queue = world.queue()
    queue.add_items(["a", "b"])
    assert queue.get_items(1) == ["a"]
    kept = world.client.dump(key)
    world.client.delete(key)
    world.client.set(key, "wrong")
    with pytest.raises(OutcomeUnknown) as caught:
        queue.ack_and_get(["a"], 1)
    assert isinstance(caught.value.__cause__, WrongTypeError)
    assert world.client.get(key) == b"wrong"
    world.client.delete(key)
    if kept:
        world.client.restore(key, 0, kept)
    acknowledged = key != "orders/deliveries"
    assert queue.ack_item("a") is not acknowledged
    assert queue.get_items(9) == ["b"]
    assert queue.ack_item("b") is True


def test_a_repair_makes_room_for_itself(world: World) -> None:
    queue: Any = world.unique()
    queue.add_item("a")
    world.client.delete("orders-unique")
    world.client.set(f"orders/repair/{queue.client_id}", "wrong")
    assert queue.repair() == 1
    assert world.client.smembers("orders-unique") == {b"a"}
    assert not world.client.exists(f"orders/repair/{queue.client_id}")
