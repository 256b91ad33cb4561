"""What all classes have in common, in both worlds: who an object is, how it ends, and what becomes of a copy."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from pyrq import JsonCodec, Replicas
from pyrq.errors import OutcomeUnknown, PermissionDeniedError, QueueClosedError, ServerGoneError
from tests.unit.helpers import Fault, fresh, nothing_sent
from tests.unit.worlds import CLASSES, LIMITS, RUNNING, World, arguments, call, opened

world = pytest.fixture(params=["sync", "aio"])(opened)
KIND = pytest.mark.parametrize("kind", CLASSES)
EVERY_METHOD = pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in ("UniqueQueue", "Pool") for name in arguments(kind)]
)
COPIES = pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])


def public_names(of: type[Any]) -> set[str]:
    """Gives the names of a class's methods."""
    return {name for name in dir(of) if callable(getattr(of, name)) and not name.startswith("_")}


@KIND
def test_every_method_is_in_the_table(world: World, kind: str) -> None:
    of = world.module.__dict__[kind]
    public = public_names(of)
    if kind != "Pool":
        dead = world.module.dead_letters.DeadLetters
        public = public - RUNNING | {f"dead.{name}" for name in public_names(dead)}
    assert public - {"close"} == set(arguments(kind))


# Who it is


@KIND
def test_who_an_object_is(world: World, kind: str) -> None:
    one, two = world.any(kind, client_id="me"), world.any(kind, client_id="me")
    assert one.name == "orders"
    assert one.client_id.startswith("me-")
    assert len({one.client_id, one.client_id, two.client_id}) == 2
    assert repr(one) == f"<{kind} 'orders' of '{one.client_id}'>"


@KIND
def test_nothing_is_sent_by_construction_and_the_check_is_made_once(world: World, kind: str) -> None:
    with nothing_sent(world.backend):
        one = world.any(kind)
    for name, args in arguments(kind).items():
        call(one, name, *args)
    probe = "pool_probe" if kind == "Pool" else "probe"
    assert world.backend.names[0] == probe
    assert world.backend.names.count(probe) == 1


@EVERY_METHOD
def test_missing_permissions_are_named_before_anything_is_changed(world: World, kind: str, name: str) -> None:
    if name == "release":
        return  # it has nothing to give back before the first get
    one = world.any(kind)
    probe = "pool_probe" if kind == "Pool" else "probe"
    world.backend.faults.append(Fault(probe, PermissionDeniedError("Refused: LPUSH.")))
    with pytest.raises(PermissionDeniedError, match="LPUSH"):
        call(one, name, *arguments(kind)[name])
    assert world.backend.names == [probe]
    call(one, name, *arguments(kind)[name])
    assert len(world.backend.names) > 2


# The end


@EVERY_METHOD
def test_every_method_of_a_closed_object_says_so(world: World, kind: str, name: str) -> None:
    one = world.any(kind)
    one.get_items(1)
    one.close()
    with nothing_sent(world.backend), pytest.raises(QueueClosedError):
        call(one, name, *arguments(kind)[name])


@KIND
@pytest.mark.parametrize(("name", "args"), [("add_items", ([],)), ("get_items", (0,)), ("delete_items", ([],))])
def test_even_nothing_is_too_much_for_a_closed_object(
    world: World, kind: str, name: str, args: tuple[Any, ...]
) -> None:
    one = world.any(kind)
    one.close()
    with pytest.raises(QueueClosedError):
        call(one, name, *args)


@KIND
def test_closing_ends_the_session_and_may_be_done_twice(world: World, kind: str) -> None:
    one = world.any(kind)
    one.add_item("a")
    session = f"orders/session/{one.client_id}"
    assert world.client.exists(session)
    one.close()
    assert world.backend.names[-1] == "forget"
    assert not world.client.exists(session)
    with nothing_sent(world.backend):
        one.close()
    assert world.backend.closed == 0


@KIND
def test_closing_what_was_never_used_sends_nothing(world: World, kind: str) -> None:
    with nothing_sent(world.backend):
        world.any(kind).close()


@KIND
def test_the_session_outlives_an_object_whose_call_may_be_under_way(world: World, kind: str) -> None:
    one = world.any(kind)
    one.add_item("a")
    world.backend.faults.append(Fault("pool_add" if kind == "Pool" else "add", OutcomeUnknown()))
    with pytest.raises(OutcomeUnknown):
        one.add_item("b")
    one.close()
    assert "forget" not in world.backend.names
    assert world.client.ttl(f"orders/session/{one.client_id}") > 100


@KIND
def test_leaving_with_closes(world: World, kind: str) -> None:
    def leave() -> None:
        with world.any(kind) as one:
            kept.append(one)
            one.add_item("a")
            raise LookupError("mine")

    kept: list[Any] = []
    with pytest.raises(LookupError, match="mine"):
        leave()
    with pytest.raises(QueueClosedError):
        kept[0].get_count()


@KIND
def test_an_object_closes_what_it_made_even_if_ending_the_session_fails(
    world: World, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = world.module.__name__ + "._sending." + ("connect_async" if world.is_aio else "connect")
    monkeypatch.setattr(runner, lambda target, *, retry=None, gather=None: world.backend)
    one = world.make(kind, "orders", "memory://x")
    one.add_item("a")
    world.backend.faults.append(Fault("forget", ServerGoneError()))
    with pytest.raises(ServerGoneError):
        one.close()
    assert world.backend.closed == 1
    with pytest.raises(QueueClosedError):
        one.get_count()


# Copies


@KIND
@COPIES
def test_a_copy_is_another_object_with_the_same_options(world: World, kind: str, way: Callable[[Any], Any]) -> None:
    options: dict[str, Any] = {"chunk_size": 2, "ack_ttl": 0, "ack_valid_for": 0} if kind == "Pool" else LIMITS
    one = world.make(
        kind, "orders", fresh(), client_id="me", durability=Replicas(1), codec=JsonCodec(), retry=7, **options
    )
    one.add_items([1, 2, 3])
    copied = world.driven(way(world.bare(one)))
    assert type(world.bare(copied)) is type(world.bare(one))
    assert copied.name == "orders"
    assert copied.client_id.startswith("me-")
    assert copied.client_id != one.client_id
    assert copied._run.backend.deadline == 7
    assert type(copied._setup.codec) is JsonCodec
    assert replace(copied._setup, codec=one._setup.codec) == one._setup
    assert copied._setup.durability == Replicas(1)
    assert copied.get_items(2) == [1, 2]
    assert copied.add_items([3, 4]) == (2 if kind == "Queue" else 1)
    copied.close()
    assert one.get_count() == {"Queue": 3, "UniqueQueue": 2, "Pool": 4}[kind]
    if kind != "Pool":
        assert one.can_rollback_item(1) is True
        assert one.ack_item(1) is False


@KIND
@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
def test_a_copy_shares_the_client(world: World, kind: str, way: Callable[[Any], Any]) -> None:
    one = world.any(kind)
    copied = world.driven(way(world.bare(one)))
    assert copied._run.backend is world.backend
    copied.close()
    assert world.backend.closed == 0
    assert one.get_count() == 0


@KIND
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_an_object_of_a_client_can_not_be_pickled(world: World, kind: str, protocol: int) -> None:
    text = r"^only an object that was made from a URL can be pickled: a connection can't$"
    with pytest.raises(TypeError, match=text):
        pickle.dumps(world.bare(world.any(kind)), protocol)


@KIND
def test_an_object_of_the_environment_can_be_pickled(world: World, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRQ_URL", fresh())
    one = world.make(kind, "orders")
    one.add_item("a")
    copied = world.driven(pickle.loads(pickle.dumps(world.bare(one))))
    assert copied.get_items(1) == ["a"]


# Forks


@pytest.fixture
def forked(world: World, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The process id as the library sees it; to change it is to fork."""
    process = [1]
    monkeypatch.setattr(world.module.__name__ + "._sending.process_id", lambda: process[0])
    return process


@KIND
def test_a_fork_is_another_object(forked: list[int], world: World, kind: str) -> None:
    one = world.any(kind, client_id="me")
    one.add_items(["a", "b"])
    assert one.get_items(1) == ["a"]
    before = one.client_id
    forked[0] += 1
    inside = one.client_id
    assert inside.startswith("me-")
    assert inside != before
    assert one.get_items(9) == ["b"]
    assert one.ack_item("b") is True
    assert one.ack_item("a") is (kind == "Pool")
    assert world.backend.names.count("pool_probe" if kind == "Pool" else "probe") == 2
    assert {item.keys[0].decode().rpartition("/")[2] for item in world.backend.calls if item.script.identified} == {
        before,
        inside,
    }
    forked[0] -= 1
    assert one.client_id == before


@KIND
def test_a_fork_of_a_closed_object_is_closed(forked: list[int], world: World, kind: str) -> None:
    one = world.any(kind)
    one.close()
    forked[0] += 1
    with pytest.raises(QueueClosedError):
        one.get_count()


@KIND
def test_the_lanes_of_a_fork_are_its_own(forked: list[int], world: World, kind: str) -> None:
    one = world.any(kind)
    one.add_item("a")
    forked[0] += 1
    one.add_item("b")
    one.add_item("c")
    added = world.backend.of("pool_add" if kind == "Pool" else "add")
    assert [item.args[:2] for item in added] == [(b"1", b"1"), (b"1", b"1"), (b"1", b"2")]
    with suppress(OutcomeUnknown):
        assert world.send(added[1]) == 1
    assert one.get_count() == 3
