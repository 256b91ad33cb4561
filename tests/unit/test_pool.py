from __future__ import annotations

import logging
import random
from typing import Any

import pytest

from pyrq import BytesCodec, Fsync, JsonCodec, Replicas
from pyrq.errors import NotEnoughSyncedSlavesError, OutcomeUnknown, RqError, ServerGoneError
from tests.unit.helpers import BrokenCodec, Fault
from tests.unit.worlds import NOW, World, arguments, call, numbers, opened

world = pytest.fixture(params=["sync", "aio"])(opened)
OUT = f"{NOW + 600}.1"
"""The score of what is handed out at the start."""
LATER = NOW + 129_600
"""The score of what is acknowledged at the start."""


@pytest.fixture
def pool(world: World) -> Any:
    return world.pool()


def scores(world: World) -> dict[str, float]:
    """Gives the score of each item, as the server has it."""
    return {item.decode(): score for item, score in world.client.zrange("orders", 0, -1, withscores=True)}


def put(world: World, **times: float | str) -> None:
    """Puts items into the pool with some scores, as others may."""
    for item, score in times.items():
        world.client.execute_command("ZADD", "orders", score, item)


# Adding


def test_what_is_added_is_due_now(world: World, pool: Any) -> None:
    assert pool.add_item("a") is True
    assert pool.add_items(["b", "c"]) == 2
    assert scores(world) == {"a": NOW, "b": NOW, "c": NOW}
    world.backend.at(10)
    assert pool.add_item("a") is False
    assert pool.add_items(["b", "d", "d", "d"]) == 1
    assert scores(world) == {"a": NOW + 10, "b": NOW + 10, "c": NOW, "d": NOW + 10}


def test_adding_makes_what_is_handed_out_due_now(world: World, pool: Any) -> None:
    put(world, a=OUT, b=LATER)
    assert pool.add_items(["a", "b"]) == 0
    assert scores(world) == {"a": NOW, "b": NOW}


# Handing out


def test_what_is_handed_out_is_hidden_and_marked(world: World, pool: Any) -> None:
    pool.add_items(["a", "b", "c"])
    assert pool.get_items(2) == ["a", "b"]
    assert scores(world) == {"a": float(OUT), "b": float(OUT), "c": NOW}
    assert pool.get_items(9) == ["c"]
    assert pool.get_items(9) == []
    assert pool.get_all_items() == []


def test_what_is_due_first_comes_first(world: World, pool: Any) -> None:
    put(world, a=NOW - 1, b=NOW - 3, c=NOW, d=NOW - 2, e=NOW + 1)
    assert pool.get_items(3) == ["b", "d", "a"]
    put(world, b=5, d=f"{NOW - 700}.1")
    assert pool.get_all_items() == ["b", "d", "c"]


@pytest.mark.parametrize(("second", "due"), [(599, []), (601, ["a"])])
def test_what_is_not_acknowledged_in_time_is_handed_out_again(
    world: World, pool: Any, second: int, due: list[str]
) -> None:
    pool.add_item("a")
    pool.get_items(1)
    world.backend.at(second)
    assert pool.get_count_to_process() == len(due)
    assert pool.get_items(9) == due


def test_what_is_long_overdue_is_hidden_from_now_on(world: World, pool: Any) -> None:
    put(world, a=NOW - 10_000, b=1)
    assert pool.get_items(9) == ["b", "a"]
    assert scores(world) == {"a": float(OUT), "b": float(OUT)}
    assert pool.get_items(9) == []


def test_any_object_may_acknowledge_what_another_one_got(world: World, pool: Any) -> None:
    another = world.pool(ack_ttl=10, ack_valid_for=20)
    pool.add_item("a")
    assert another.get_items(1) == ["a"]
    assert scores(world) == {"a": float(f"{NOW + 10}.1")}
    assert pool.ack_item("a") is True
    assert scores(world) == {"a": LATER}


def test_times_may_be_floats_without_a_fraction_and_0(world: World) -> None:
    pool = world.pool(ack_ttl=60.0, ack_valid_for=0)
    pool.add_item("a")
    pool.get_items(1)
    assert scores(world) == {"a": float(f"{NOW + 60}.1")}
    assert pool.ack_item("a") is True
    assert scores(world) == {"a": NOW}
    assert pool.get_items(1) == ["a"]


# Chunks


def asked(world: World) -> list[int]:
    """Gives how many items each get asked for."""
    return [int(one.args[one.script.args.index("count")]) for one in world.backend.of("pool_get")]


def test_each_chunk_is_one_call(world: World) -> None:
    """What is handed out goes in chunks of `chunk_size`; all else in chunks of 1,000."""
    pool = world.pool(chunk_size=3)
    assert pool.add_items(numbers(0, 7)) == 7
    assert sorted(pool.get_items(7)) == numbers(0, 7)
    assert pool.ack_items([*numbers(0, 4), "none"]) == 4
    assert pool.remove_items([*numbers(4, 7), "none"]) == 3
    assert pool.delete_items(numbers(0, 4)) == 4
    counts = {name: len(world.backend.of(f"pool_{name}")) for name in ("add", "get", "ack", "remove", "delete")}
    assert counts == {"add": 1, "get": 3, "ack": 1, "remove": 1, "delete": 1}
    assert asked(world) == [3, 3, 1]
    assert len(world.backend.calls) == 1 + 7
    assert scores(world) == {}


@pytest.mark.parametrize(("options", "size"), [({}, 100), ({"chunk_size": 1000}, 1000), ({"chunk_size": 5000}, 1000)])
def test_how_large_a_chunk_is(world: World, options: dict[str, int], size: int) -> None:
    pool = world.pool(**options)
    assert pool.add_items(numbers(0, 1200)) == 1200
    assert [len(one.args) - 4 for one in world.backend.of("pool_add")] == [1000, 200]
    assert sorted(pool.get_all_items(), key=int) == numbers(0, 1200)
    assert asked(world) == [size] * (1200 // size + 1)
    assert pool.ack_items(numbers(0, 1200)) == 1200
    assert set(scores(world).values()) == {LATER}


def test_a_get_ends_with_a_chunk_that_is_not_full(world: World) -> None:
    pool = world.pool(chunk_size=3)
    pool.add_items(numbers(0, 4))
    assert len(pool.get_items(100)) == 4
    assert asked(world) == [3, 3]
    world.backend.runs.clear()
    pool.add_items(numbers(0, 3))
    assert len(pool.get_items(3)) == 3
    assert asked(world) == [3]


def test_nothing_is_handed_out_twice_by_one_call_though_it_is_due_at_once(world: World) -> None:
    pool = world.pool(chunk_size=2, ack_ttl=0)
    pool.add_items(numbers(0, 5))
    assert pool.get_all_items() == numbers(0, 5)
    assert pool.get_items(9) == []
    world.backend.at(1)
    assert pool.get_items(9) == numbers(0, 5)


@pytest.mark.parametrize("method", ["get_all_items", "get_items"])
def test_what_becomes_due_while_a_call_is_under_way_is_for_the_next_one(world: World, method: str) -> None:
    pool = world.pool(chunk_size=2, ack_ttl=1)
    pool.add_items(numbers(0, 5))
    put(world, later=NOW + 2)
    world.backend.after = lambda: world.backend.at(len(world.backend.of("pool_get")) * 10)
    args = () if method == "get_all_items" else (100,)
    assert call(pool, method, *args) == numbers(0, 5)
    assert len(world.backend.of("pool_get")) == 3
    assert call(pool, method, *args) == ["0", "1", "later", "2", "3", "4"]


def test_what_is_added_while_a_call_is_under_way_does_not_keep_it_from_ending(world: World) -> None:
    pool, other = world.pool(chunk_size=2), world.pool()
    pool.add_items(numbers(0, 4))

    def add() -> None:
        world.backend.after = lambda: None
        world.client.zadd("orders", {"new": NOW, "newer": NOW + 1})
        world.backend.at(100)

    other.get_count()
    world.backend.after = add
    assert pool.get_all_items() == [*numbers(0, 4), "new"]
    assert pool.get_all_items() == ["newer"]


@pytest.mark.parametrize("kind", [iter, list, lambda items: dict.fromkeys(items)])
def test_items_come_from_any_iterable(world: World, pool: Any, kind: Any) -> None:
    items = numbers(0, 250)
    assert pool.add_items(kind(items)) == 250
    pool.get_all_items()
    assert pool.ack_items(kind(items)) == 250
    assert pool.delete_items(kind(items)) == 250


@pytest.mark.parametrize(
    ("error", "executed", "done", "known"),
    [
        (ServerGoneError, False, 0, (1000, 0, 1500)),
        (OutcomeUnknown, True, 0, (1000, 1000, 500)),
        (NotEnoughSyncedSlavesError, True, 1000, (2000, 0, 500)),
        (NotEnoughSyncedSlavesError, True, 1, (1001, 0, 500)),
    ],
)
def test_what_is_known_when_a_chunk_fails(
    world: World, error: type[RqError], executed: bool, done: int, known: tuple[int, int, int]
) -> None:
    pool = world.pool()
    raised = error()
    raised.done = done
    world.backend.faults.append(Fault("pool_add", raised, executed, skip=1))
    with pytest.raises(error) as caught:
        pool.add_items(numbers(0, 2500))
    assert (caught.value.added, caught.value.unknown, caught.value.remaining) == known
    assert pool.get_count() == (2000 if executed else 1000)


def test_a_batch_that_was_lost_is_due_again_after_its_time(world: World) -> None:
    pool = world.pool(chunk_size=2)
    pool.add_items(numbers(0, 6))
    world.backend.faults.append(Fault("pool_get", OutcomeUnknown(), executed=True, skip=1))
    with pytest.raises(OutcomeUnknown):
        pool.get_all_items()
    assert pool.get_all_items() == ["4", "5"]
    world.backend.at(601)
    assert pool.get_all_items() == numbers(0, 6)


def test_a_server_that_forgot_a_script_hands_out_once(world: World, pool: Any) -> None:
    pool.add_items(["a", "b"])
    pool.get_items(1)
    world.backend.faults.append(Fault("pool_get", OutcomeUnknown()))
    with pytest.raises(OutcomeUnknown):
        pool.get_items(1)
    # The server has run no `burn` before, and has the script of the get.
    assert pool.get_items(1) == ["b"]
    assert pool.ack_item("b") is True


# Acknowledging and removing


def test_what_is_acknowledged_is_due_again_later(world: World, pool: Any) -> None:
    pool.add_items(["a", "b"])
    pool.get_items(1)
    world.backend.at(5)
    assert pool.ack_item("a") is True
    assert scores(world) == {"a": LATER + 5, "b": NOW}
    assert pool.ack_item("a") is False
    assert scores(world) == {"a": LATER + 5, "b": NOW}
    world.backend.at(129_604)
    assert pool.get_items(9) == ["b"]
    world.backend.at(129_605)
    assert pool.get_items(9) == ["a"]


@pytest.mark.parametrize("verb", ["ack", "remove"])
@pytest.mark.parametrize("score", [NOW, NOW - 5, NOW + 5, LATER, None, "inf", "-inf", 0])
def test_what_is_not_handed_out_is_not_touched(world: World, pool: Any, verb: str, score: float | None) -> None:
    pool.add_item("other")
    if score is not None:
        put(world, a=score)
    before = world.dump()
    assert call(pool, f"{verb}_item", "a") is False
    assert call(pool, f"{verb}_items", ["a", "none"]) == 0
    assert world.dump() == before


@pytest.mark.parametrize("verb", ["ack", "remove"])
@pytest.mark.parametrize("second", ["1700000600.0999999", "1700000600.1", "1700000600.1000001", "5.1", "1699999000.1"])
def test_the_mark_is_known_however_the_score_is_written(world: World, pool: Any, verb: str, second: str) -> None:
    put(world, a=second, b=NOW)
    assert call(pool, f"{verb}_items", ["a", "b"]) == 1
    assert scores(world) == ({"a": LATER, "b": NOW} if verb == "ack" else {"b": NOW})


@pytest.mark.parametrize("verb", ["ack", "remove"])
def test_what_is_added_again_is_not_handed_out_any_more(world: World, pool: Any, verb: str) -> None:
    pool.add_items(["a", "b"])
    pool.get_items(2)
    pool.add_item("a")
    assert call(pool, f"{verb}_items", ["a", "b"]) == 1
    assert scores(world) == ({"a": NOW, "b": LATER} if verb == "ack" else {"a": NOW})


@pytest.mark.parametrize("verb", ["ack", "remove", "delete"])
def test_an_item_given_twice_counts_once(world: World, pool: Any, verb: str) -> None:
    pool.add_items(["a", "b", "c"])
    pool.get_items(3)
    assert call(pool, f"{verb}_items", ["a", "b", "a", "b", "a"]) == 2
    assert call(pool, f"{verb}_items", ["c", "c"]) == 1


@pytest.mark.parametrize("verb", ["ack", "remove", "delete"])
def test_an_item_given_twice_counts_once_across_chunks(world: World, verb: str) -> None:
    pool = world.pool(chunk_size=1)
    pool.add_items(["a", "b"])
    pool.get_items(2)
    assert call(pool, f"{verb}_items", ["a", "b", "a"]) == 2


def test_what_is_removed_is_gone(world: World, pool: Any) -> None:
    pool.add_items(["a", "b", "c"])
    pool.get_items(2)
    assert pool.remove_item("a") is True
    assert pool.remove_item("a") is False
    assert pool.remove_items(["a", "b", "c"]) == 1
    assert scores(world) == {"c": NOW}


@pytest.mark.parametrize("score", [NOW, OUT, LATER, "inf", "-inf"])
def test_what_is_deleted_is_gone_in_any_state(world: World, pool: Any, score: float | str) -> None:
    put(world, a=score, b=score, c=score)
    assert pool.delete_item("a") is True
    assert pool.delete_item("a") is False
    assert pool.delete_items(["a", "b"]) == 1
    assert list(scores(world)) == ["c"]


def test_clearing(world: World, pool: Any) -> None:
    put(world, a=NOW, b=OUT, c=LATER)
    assert pool.clear_pool() == 3
    assert scores(world) == {}
    assert pool.clear_pool() == 0
    assert pool.ack_item("b") is False


def test_clearing_is_one_call(world: World, pool: Any) -> None:
    pool.add_items(numbers(0, 2500))
    assert pool.clear_pool() == 2500
    assert len(world.backend.of("pool_clear")) == 1


# Looking


@pytest.mark.parametrize("score", [NOW, OUT, LATER, 0, "-inf"])
def test_what_is_in_the_pool(world: World, pool: Any, score: float | str) -> None:
    put(world, a=score)
    assert pool.is_in_pool("a") is True
    assert pool.is_in_pool("b") is False


def test_counting(world: World, pool: Any) -> None:
    assert pool.get_count() == pool.get_count_to_process() == 0
    put(world, a=NOW, b=OUT, c=LATER, d=NOW + 1, e=f"{NOW - 1}.1", f=f"{NOW}.1", g=5)
    assert pool.get_count() == 7
    assert pool.get_count_to_process() == 3
    assert sorted(pool.get_all_items()) == ["a", "e", "g"]
    world.backend.at(1)
    assert pool.get_count_to_process() == 2
    assert pool.get_all_items() == ["f", "d"]


# Codecs


def test_values_of_a_codec(world: World) -> None:
    pool = world.pool(codec=JsonCodec())
    assert pool.add_items([{"b": 1, "a": 2}, {"a": 2, "b": 1}, [1], "1"]) == 3
    assert pool.is_in_pool({"a": 2, "b": 1}) is True
    items = pool.get_items(9)
    assert sorted(items, key=str) == ["1", [1], {"a": 2, "b": 1}]
    assert pool.ack_items(items) == 3


def test_bytes(world: World) -> None:
    pool = world.pool(codec=BytesCodec())
    assert pool.add_items([b"\xff", b"", b"\x00"]) == 3
    assert pool.get_all_items() == [b"", b"\x00", b"\xff"]
    assert pool.remove_item(b"\xff") is True


def test_items_are_text_by_default(world: World, pool: Any) -> None:
    assert pool.add_items([1, "1", b"1", 2.5, b"\xff"]) == 3
    assert pool.get_all_items() == ["1", "2.5", "\udcff"]
    assert pool.ack_items(["1", "\udcff"]) == 2


def test_what_can_not_be_decoded_is_skipped_and_stays(
    world: World, pool: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pool.add_items(["bad-secret", "good1", "bad-other", "good2"])
    reader = world.pool(codec=BrokenCodec(), chunk_size=2)
    with caplog.at_level(logging.WARNING, "pyrq"):
        assert reader.get_all_items() == ["good1", "good2"]
    assert [record.name for record in caplog.records] == ["pyrq.pool"]
    assert "pool orders: 2 items can't be decoded: BrokenCodec" in caplog.text
    assert "secret" not in caplog.text
    assert scores(world) == dict.fromkeys(["bad-secret", "bad-other", "good1", "good2"], float(OUT))
    assert reader.get_all_items() == []
    assert pool.delete_item("bad-secret") is True


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
def test_each_change_waits_and_no_get(world: World, options: dict[str, Any], durability: Any) -> None:
    pool = world.pool(**options)
    for name, args in arguments("Pool").items():
        call(pool, name, *args)
    pool.close()
    waits = {(calls[-1].script.name, waited) for calls, waited in world.backend.runs}
    changes = {f"pool_{name}" for name in ("add", "ack", "remove", "delete", "clear")}
    looks = {f"pool_{name}" for name in ("get", "count", "count_due", "has", "probe")} | {"forget"}
    assert waits == {(name, durability) for name in changes} | {(name, None) for name in looks}


# All in all


def test_a_pool_is_what_a_dictionary_says(world: World, rng: random.Random) -> None:
    pool = world.pool(chunk_size=3, ack_ttl=10, ack_valid_for=25)
    model: dict[str, tuple[int, bool]] = {}
    second = 0
    for _ in range(200):
        second += rng.choice([0, 0, 1, 10])
        world.backend.at(second)
        items = rng.choices("abcdefgh", k=rng.randrange(1, 9))
        method = rng.choice(["add", "get", "get", "ack", "remove", "delete"])
        out = {item for item in items if model.get(item, (0, False))[1]}
        if method == "add":
            assert pool.add_items(items) == len(set(items) - set(model))
            model |= dict.fromkeys(items, (second, False))
        elif method == "get":
            due = sorted((at, out, item) for item, (at, out) in model.items() if at + out * 0.1 <= second)
            taken = [item for _, _, item in due][: len(items)]
            assert pool.get_items(len(items)) == taken
            model |= dict.fromkeys(taken, (second + 10, True))
        elif method == "ack":
            assert pool.ack_items(items) == len(out)
            model |= dict.fromkeys(out, (second + 25, False))
        elif method == "remove":
            assert pool.remove_items(items) == len(out)
            model = {item: state for item, state in model.items() if item not in out}
        else:
            assert pool.delete_items(items) == len(set(items) & set(model))
            model = {item: state for item, state in model.items() if item not in items}
        assert scores(world) == {item: NOW + at + out * 0.1 for item, (at, out) in model.items()}
