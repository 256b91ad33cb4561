"""An upgrade in the middle, with items in flight: whichever library a consumer died with, the other one goes on."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.interop.lockstep import Lockstep
from tests.interop.peers import Crew, Peer
from tests.servers import Server, wait_until

Fleet = Callable[..., Lockstep]

MANY = 10_500


@pytest.fixture(params=["old", "new"])
def dying(request: pytest.FixtureRequest) -> str:
    """Whose consumer dies."""
    return str(request.param)


@pytest.fixture
def surviving(dying: str) -> str:
    """Whose goes on."""
    return "new" if dying == "old" else "old"


@pytest.mark.parametrize("sweep", [("re_enqueue_all_items",), ("re_enqueue_timeout_items", 7_200)], ids=lambda s: s[0])
@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
def test_a_dead_consumers_items(fleet: Fleet, kind: str, dying: str, surviving: str, sweep: tuple[Any, ...]) -> None:
    mixed = fleet(kind)
    mixed.do("service", dying, "add_items", [f"item {number}" for number in range(12)])
    items = mixed.do("consumer", dying, "get_items", 9)
    mixed.do("consumer", dying, "ack_items", items[:2])
    mixed.do("consumer", dying, "reject_item", items[2])
    mixed.kill(dying)
    (dead,) = mixed.dead
    mixed.do("service", surviving, "re_enqueue_timeout_items", 7_200)
    assert len(mixed.state.held[dead]) == 6, "its time has not come"
    mixed.age([dead], 7_300)
    mixed.do("service", surviving, *sweep)
    assert mixed.state.held == {}
    again = mixed.do("consumer", surviving, "get_items", 100)
    assert again == [f"item {number}" for number in (3, 4, 5, 6, 7, 8, 2, 9, 10, 11)]
    mixed.do("consumer", surviving, "ack_items", again)
    mixed.ledger.close()
    mixed.end()


@pytest.mark.parametrize("method", ["get_items", "ack_items", "reject_items"])
@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
def test_a_consumer_that_died_in_a_call(
    fleet: Fleet, kind: str, dying: str, surviving: str, method: str, rng: random.Random
) -> None:
    mixed = fleet(kind)
    everything = [f"item {number}" for number in range(12)]
    mixed.do("service", dying, "add_items", everything)
    items = mixed.do("consumer", dying, "get_items", 5)
    ran = mixed.kill_in(rng, dying, method, 4 if method == "get_items" else items[:3])
    mixed.do("service", surviving, "re_enqueue_all_items")
    again = mixed.do("consumer", surviving, "get_items", 100)
    assert sorted(again) == sorted(everything[3:] if method == "ack_items" and ran else everything)
    mixed.do("consumer", surviving, "ack_items", again)
    mixed.ledger.close()
    mixed.end()


@pytest.mark.parametrize("method", ["get_items", "get_all_items"])
def test_a_dead_consumers_pool(fleet: Fleet, dying: str, surviving: str, method: str) -> None:
    mixed = fleet("Pool", ack_ttl=600)
    everything = [f"item {number}" for number in range(8)]
    mixed.do("service", dying, "add_items", everything)
    taken = mixed.do("consumer", dying, "get_items", 5)
    mixed.do("consumer", dying, "ack_items", taken[:1])
    mixed.kill(dying)
    arguments = [100] if method == "get_items" else []
    assert mixed.do("consumer", surviving, method, *arguments) == everything[5:]
    assert mixed.do("consumer", surviving, method, *arguments) == []
    mixed.reschedule({item: float(score) - 610 for item, score in mixed.state.scores.items()})
    again = mixed.do("consumer", surviving, method, *arguments)
    assert sorted(again) == sorted([*taken[1:], *everything[5:]])
    mixed.do("consumer", surviving, "ack_items", again)
    assert mixed.do("service", surviving, "get_count_to_process") == 0
    assert not any("." in score for score in mixed.state.scores.values())
    mixed.do("service", surviving, "clear_pool")
    mixed.end()


@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue", "Pool"])
@pytest.mark.parametrize("way", [("old", "new"), ("new", "old")], ids=["there", "and back"])
def test_process_by_process(fleet: Fleet, kind: str, way: tuple[str, str]) -> None:
    """The producer first, then the consumer, then the sweeper; what was in flight ends where it began."""
    before, after = way
    mixed = fleet(kind)
    mixed.do("service", before, "add_items", ["a", "b", "c"])
    old_batch = mixed.do("consumer", before, "get_items", 2)
    mixed.do("service", after, "add_items", ["d", "e"])
    new_batch = mixed.do("consumer", after, "get_items", 2)
    assert (old_batch, new_batch) == (["a", "b"], ["c", "d"])
    mixed.do("consumer", before, "ack_item", "a")
    mixed.kill(before)
    if kind == "Pool":
        mixed.reschedule({"b": time.time() - 1})
    else:
        mixed.age([next(iter(mixed.dead))], 8_000)
        mixed.do("service", before, "re_enqueue_timeout_items", 7_200)
    rest = mixed.do("consumer", after, "get_items", 10)
    assert rest == (["e", "b"] if kind == "Pool" and rest[0] == "e" else ["b", "e"])
    mixed.do("consumer", after, "ack_items", [*new_batch, *rest])
    if kind == "Pool":
        assert mixed.do("service", after, "get_count_to_process") == 0
        mixed.do("service", after, "clear_pool")
    else:
        mixed.do("service", after, "re_enqueue_all_items")
    mixed.end()


# Many


def _peers(crew: Crew, flavour: str, dying: str) -> tuple[Peer, Peer]:
    """Gives who will die, and who will go on."""
    flavours = (flavour, "new") if dying == "old" else ("new", flavour)
    return crew.peer("consumer", flavours[0]), crew.peer("service", flavours[1])


def _dies_with_many(crew: Crew, peer: Peer, kind: str, server: Server, world: str) -> tuple[list[str], str]:
    """Lets a consumer take many items and die; gives them, and its client id."""
    everything = [f"item {number}" for number in range(MANY)]
    client_id = peer.make("q", kind, "orders", server, world=world if peer.flavour == "new" else "")
    peer.call("q", "add_items", everything)
    taken: list[str] = []
    while len(taken) < MANY:
        # The older scripts can't give more at a time.
        taken += peer.call("q", "get_items", 5_000)
    assert (sorted(taken) == sorted(everything)) if kind == "Pool" else (taken == everything)
    crew.kill("consumer", peer.flavour)
    return everything, client_id


def _takes_all(peer: Peer, count: int) -> list[str]:
    taken: list[str] = []
    while items := peer.call("q", "get_items", 5_000):
        taken += items
        peer.call("q", "ack_items", items)
    assert len(taken) == count
    return taken


@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
def test_a_dead_consumers_many_items(
    crew: Crew, server: Server, text_client: Any, flavour: str, new_world: str, dying: str, kind: str
) -> None:
    dead, survivor = _peers(crew, flavour, dying)
    everything, client_id = _dies_with_many(crew, dead, kind, server, new_world)
    text_client.hset("orders-timeouts", f"orders-processing-{client_id}", int(time.time()) - 8_000)
    survivor.make("q", kind, "orders", server, world=new_world if dying == "old" else "")
    survivor.call("q", "get_count")
    text_client.config_resetstat()
    survivor.call("q", "re_enqueue_timeout_items")
    if dying == "old":
        pushes = text_client.info("commandstats")["cmdstat_rpush"]["calls"]
        scripts = text_client.info("commandstats")["cmdstat_evalsha"]["calls"]
        assert pushes == -(-MANY // 1_000), "at most 1,000 items in a call"
        assert scripts >= pushes
    assert text_client.hlen("orders-timeouts") == 0
    assert _takes_all(survivor, MANY) == everything
    survivor.tell("forget", "q")


@pytest.mark.parametrize("kind", ["Queue", "UniqueQueue"])
def test_a_sweep_that_died_is_finished_by_the_other_library(
    crew: Crew,
    server: Server,
    text_client: Any,
    flavour: str,
    new_world: str,
    dying: str,
    kind: str,
    rng: random.Random,
) -> None:
    """The sweep of many consumers, or of one with many items, is not one step in either library."""
    dead, survivor = _peers(crew, flavour, dying)
    each, consumers = 1_500, 7
    items = iter(range(each * consumers))
    for number in range(consumers):
        name = f"orders-processing-host[{number}][1]"
        for _ in range(each // 500):
            text_client.lpush(name, *(f"item {next(items)}" for _ in range(500)))
        text_client.hset("orders-timeouts", name, 1_000 + number)
    dead.make("q", kind, "orders", server, world=new_world if dying == "new" else "")
    dead.call("q", "get_count")
    dead.send("call", "q", method="re_enqueue_all_items", arguments=[], client_id=None)
    some = rng.randint(1, each * consumers // 2)
    wait_until(lambda: text_client.llen("orders") >= some)
    crew.kill("consumer", dead.flavour)
    dead.gone_from(server)
    survivor.make("q", kind, "orders", server, world=new_world if dying == "old" else "")
    survivor.call("q", "re_enqueue_all_items")
    assert text_client.hlen("orders-timeouts") == 0
    taken = _takes_all(survivor, each * consumers)
    assert sorted(taken, key=lambda item: int(item[5:])) == [f"item {number}" for number in range(each * consumers)]
    survivor.call("q", "re_enqueue_all_items")  # takes away the stamp of who asked last
    survivor.tell("forget", "q")
    assert not list(text_client.scan_iter("orders-*"))


def test_a_dead_consumers_large_pool(
    crew: Crew, server: Server, text_client: Any, flavour: str, new_world: str, dying: str
) -> None:
    dead, survivor = _peers(crew, flavour, dying)
    everything, _ = _dies_with_many(crew, dead, "Pool", server, new_world)
    survivor.make("q", "Pool", "orders", server, world=new_world if dying == "old" else "")
    assert survivor.call("q", "get_all_items") == []
    lapsed = {item: float(score) - 700 for item, score in text_client.zrange("orders", 0, -1, withscores=True)}
    text_client.zadd("orders", lapsed)
    taken = survivor.call("q", "get_all_items")
    assert sorted(taken) == sorted(everything)
    survivor.call("q", "ack_items", taken)
    assert text_client.zcount("orders", "-inf", time.time() + 100_000) == 0
    survivor.tell("forget", "q")
