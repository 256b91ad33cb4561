"""Each named difference, with the older and the newer behaviour side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from tests.interop.differences import APART, DIFFERENCES, LEFTOVERS
from tests.interop.lockstep import Lockstep
from tests.interop.peers import Crew, Peer, PeerError
from tests.servers import Server

F = TypeVar("F", bound=Callable[..., None])
Fleet = Callable[..., Lockstep]

SHOWN: set[str] = set()


def shows(name: str) -> Callable[[F], F]:
    SHOWN.add(name)
    return lambda test: test


def test_every_difference_is_shown() -> None:
    assert {difference.name for difference in DIFFERENCES} | APART.keys() | LEFTOVERS.keys() == SHOWN


@shows("a get that finds nothing is no contact")
@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
def test_idle_get(fleet: Fleet, kind: str) -> None:
    mixed = fleet(kind)
    consumer = mixed.client_id("new")
    mixed.do("consumer", "new", "get_items", 1)
    assert set(mixed.old.state.stamps) == ({consumer} if mixed.flavour == "old-sync" else set())
    assert mixed.state.stamps == {}
    mixed.do("service", "old", "add_items", ["a"])
    mixed.do("consumer", "new", "get_items", 1)
    mixed.age([consumer], 10_000)
    stamp = mixed.state.stamps[consumer]
    mixed.do("consumer", "new", "get_items", 1)
    assert float(mixed.old.state.stamps[consumer]) > float(stamp) + 9_000
    assert mixed.state.stamps == {consumer: stamp}


@shows("stamps have fractions")
@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
def test_fractions(fleet: Fleet, kind: str) -> None:
    mixed = fleet(kind)
    mixed.do("service", "old", "add_items", ["a", "b"])
    mixed.do("consumer", "new", "get_items", 1)
    assert mixed.old.state.stamps[mixed.client_id("new")].isdigit()
    seconds, _, fraction = mixed.state.stamps[mixed.client_id("new")].partition(".")
    assert seconds.isdigit()
    assert len(fraction) == 6
    mixed.do("consumer", "old", "get_items", 1)
    assert mixed.state.stamps[mixed.client_id("old")].isdigit()
    assert set(mixed.used) == {"stamps have fractions"}


@shows("a sweep goes by the last contact")
@pytest.mark.parametrize("sweep", [("re_enqueue_all_items",), ("re_enqueue_timeout_items", 7_200)])
@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
def test_order_of_a_sweep(fleet: Fleet, kind: str, sweep: tuple[Any, ...]) -> None:
    mixed = fleet(kind)
    mixed.do("service", "old", "add_items", ["a", "b", "c", "d"])
    # The older sweep makes the first by name the next out; here it was heard of last.
    late, early = sorted(["old", "new"], key=mixed.client_id)
    mixed.do("consumer", early, "get_items", 2)
    mixed.do("consumer", late, "get_items", 2)
    mixed.age([mixed.client_id(early)], 20_000)
    mixed.age([mixed.client_id(late)], 10_000)
    mixed.do("service", "new", *sweep)
    assert mixed.old.state.waiting == ["b", "a", "d", "c"]
    assert mixed.state.waiting == ["d", "c", "b", "a"]
    assert "a sweep goes by the last contact" in mixed.used


@shows("a sweep drops an item that waits again")
def test_waiting_again(fleet: Fleet) -> None:
    mixed = fleet("UniqueQueue")
    mixed.do("service", "old", "add_items", ["a", "b"])
    mixed.do("consumer", "old", "get_items", 2)
    mixed.do("service", "old", "add_items", ["c", "a"])
    mixed.do("service", "new", "re_enqueue_all_items")
    assert mixed.old.state.waiting == ["c", "b", "a"]
    assert mixed.state.waiting == ["a", "c", "b"]
    assert mixed.used == {"a sweep drops an item that waits again": 1}


@shows("a reject of more copies than are held keeps the order of the batch")
@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
def test_copies_not_held(fleet: Fleet, kind: str) -> None:
    mixed = fleet(kind)
    mixed.do("service", "old", "add_items", ["a", "b"])
    mixed.do("consumer", "new", "get_items", 2)
    mixed.do("consumer", "new", "reject_items", ["a", "b", "a"])
    assert mixed.old.state.waiting == ["a", "b"]
    assert mixed.state.waiting == ["b", "a"]
    assert "a reject of more copies than are held keeps the order of the batch" in mixed.used


@shows("a lease of a pool counts from now")
def test_lease(fleet: Fleet) -> None:
    mixed = fleet("Pool", ack_ttl=600)
    mixed.do("service", "old", "add_items", ["a"])
    mixed.reschedule({"a": time.time() - 1000})
    mixed.do("consumer", "new", "get_items", 1)
    assert float(mixed.old.state.scores["a"]) < time.time()
    assert float(mixed.state.scores["a"]) > time.time() + 500
    assert mixed.used == {"a lease of a pool counts from now": 1}


@shows("get_all_items gives an item once")
def test_once_each(fleet: Fleet) -> None:
    mixed = fleet("Pool", chunk_size=2, ack_ttl=600)
    mixed.do("service", "old", "add_items", ["a", "b", "c"])
    mixed.reschedule(dict.fromkeys("abc", time.time() - 1000))
    assert mixed.do("consumer", "new", "get_all_items") == ["a", "b", "c"]
    assert mixed.old.result == ["a", "b", "c", "a", "b", "c"]
    assert mixed.used.keys() == {"a lease of a pool counts from now", "get_all_items gives an item once"}


@shows("the get record of a dead consumer that an older library swept")
@pytest.mark.parametrize("sweeper", ["old", "new"])
@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
def test_leftovers(fleet: Fleet, kind: str, sweeper: str) -> None:
    mixed = fleet(kind)
    mixed.do("service", "old", "add_items", ["a"])
    mixed.do("consumer", "new", "get_items", 1)
    mixed.kill("new")
    mixed.do("service", sweeper, "re_enqueue_all_items")
    mixed.do("consumer", "old", "get_items", 1)
    mixed.do("consumer", "old", "ack_item", "a")
    assert mixed.end() == (sweeper == "old")


# Apart from the fleets in lockstep


@pytest.fixture
def old(crew: Crew, flavour: str) -> Iterator[Peer]:
    peer = crew.peer("service", flavour)
    yield peer
    peer.tell("clock", at=None)


@pytest.fixture
def new(crew: Crew) -> Iterator[Peer]:
    peer = crew.peer("service", "new")
    yield peer
    peer.tell("clock", at=None)


@shows("the timeout itself is silence enough")
def test_timeout(old: Peer, new: Peer, server: Server, text_client: Any, new_world: str) -> None:
    now = int(time.time())
    for peer, count in ((old, 0), (new, 1)):
        peer.make("q", "Queue", "orders", server, world=new_world if peer is new else "")
        text_client.lpush("orders-processing-someone", "a")
        text_client.hset("orders-timeouts", "orders-processing-someone", now - 7_200)
        peer.tell("clock", at=now + 0.9)
        peer.call("q", "re_enqueue_timeout_items", 7_200)
        assert text_client.llen("orders") == count
        text_client.flushall()
        peer.tell("forget", "q")


@shows("time is the server's")
@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
def test_clocks(old: Peer, new: Peer, server: Server, text_client: Any, new_world: str, kind: str) -> None:
    for peer in (old, new):
        text_client.flushall()
        client_id = peer.make("q", kind, "orders", server, world=new_world if peer is new else "")
        peer.tell("clock", at=time.time() - 7_200)
        peer.call("q", "add_items", ["a"])
        peer.call("q", "get_items", 1)
        stamp = float(text_client.hget("orders-timeouts", f"orders-processing-{client_id}"))
        assert (stamp > time.time() - 3_600) is (peer is new)
        peer.tell("forget", "q")


@shows("a sweep looks again before it takes")
@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
def test_a_sweep_and_a_fresh_contact(
    old: Peer, new: Peer, server: Server, text_client: Any, new_world: str, kind: str
) -> None:
    def someone_holds(item: str, since: float) -> None:
        text_client.delete("orders-processing-someone")
        text_client.lpush("orders-processing-someone", item)
        text_client.hset("orders-timeouts", "orders-processing-someone", int(since))

    old.make("q", kind, "orders", server)
    someone_holds("long done", time.time() - 10_000)
    old.send("sweep_slowly", "q", method="drop_timeout_items")
    assert old.answer() == "looked"
    someone_holds("fresh", time.time())
    old.tell("go on")
    assert not text_client.exists("orders-processing-someone"), "the older libraries lose the item"
    old.tell("forget", "q")

    new.make("q", kind, "orders", server, world=new_world)
    someone_holds("fresh", time.time())
    assert new.call("q", "drop_timeout_items") == 0
    before = _scripts_run(text_client)
    assert new.call("q", "drop_timeout_items") == 0
    assert _scripts_run(text_client) == before + 1, "there is no moment between the looking and the taking"
    assert text_client.exists("orders-processing-someone")
    new.tell("forget", "q")


def _scripts_run(client: Any) -> int:
    stats = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("eval", "evalsha"))


@shows("client ids do not collide")
@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
def test_client_ids(old: Peer, new: Peer, server: Server, new_world: str, kind: str) -> None:
    for peer, count in ((old, 1), (new, 2)):
        peer.tell("clock", at=time.time())
        world = new_world if peer is new else ""
        ids = {peer.make(label, kind, "orders", server, world=world) for label in ("one", "two")}
        assert len(ids) == count
        for label in ("one", "two"):
            peer.tell("forget", label)


@shows("an ack does not depend on decode_responses")
@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
def test_acks_of_bytes(old: Peer, new: Peer, server: Server, text_client: Any, new_world: str, kind: str) -> None:
    for peer, left in ((old, ["a"]), (new, [])):
        world = new_world if peer is new else ""
        client_id = peer.make("q", kind, "orders", server, world=world, decode=False)
        peer.call("q", "add_items", ["a"])
        assert peer.tell("work", "q", count=1) == 1
        assert text_client.lrange(f"orders-processing-{client_id}", 0, -1) == left
        peer.tell("forget", "q")


@shows("waiting for replicas works in asyncio")
@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue", "Pool"])
def test_replicas_in_asyncio(crew: Crew, server: Server, text_client: Any, kind: str) -> None:
    options = {"synced_slaves_enabled": True, "synced_slaves_count": 1, "synced_slaves_timeout": 10}
    for flavour, error in (("old-aio", "AttributeError"), ("new", "NotEnoughSyncedSlavesError")):
        peer = crew.peer("service", flavour)
        peer.make("q", kind, flavour, server, world="aio", **options)
        with pytest.raises(PeerError, match=error):
            peer.call("q", "add_items", ["a"])
        assert text_client.exists(flavour)
        peer.tell("forget", "q")
