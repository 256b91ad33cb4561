"""Checks of keys and fields that somebody else wrote: a queue touches only its own, and loses no item by them."""

from __future__ import annotations

from pyrq import errors
from tests.faults.checking import Place, texts
from tests.faults.ledger import MARK
from tests.servers import contents

__all__ = ["CHECKS"]

_STAMPS = ("0", "-1", "", "abc", "nan", "-nan", "inf", "-inf", "1e400", "0x7f", "9" * 400, "1 2", "\xff")
_SLOTS = (
    *("orders-timeouts", "orders/consumers", "orders/delayed", "orders/deliveries", "orders/dead", "orders/meta"),
    *("orders", "orders-retry-count", "orders-unique"),
)


def planted_victim_in_timeouts(place: Place) -> None:
    """The confused deputy: a sweep that takes the hash's word for it would drain or delete any list."""
    queue = place.queue()
    victims = ("victim", "ordersx", "parcels", "orders-processing", "orders", "", "orders/dead", "orders-processin\0")
    for victim in filter(None, {*victims} - {"orders"}):
        place.client.rpush(victim, f"{MARK} of a victim")
    place.client.hset("orders-timeouts", mapping=dict.fromkeys(victims, "0"))
    with place.unchanged("orders-timeouts"):
        assert (queue.re_enqueue_all_items(), queue.drop_all_items(), queue.re_enqueue_timeout_items(0)) == (0, 0, 0)
        assert queue.in_flight() == []


def planted_processing_key_of_another_queue(place: Place) -> None:
    queue, other = place.queue(), place.queue(name="parcels")
    other.add_items(texts(2))
    other.get_items(1)
    place.client.hset("orders-timeouts", other.processing_queue_name, "0")
    with place.unchanged("orders-timeouts"):
        assert (queue.re_enqueue_all_items(), queue.drop_all_items()) == (0, 0)
    assert other.ack_item(texts(1)[0])


def planted_processing_key_of_another_type(place: Place) -> None:
    queue = place.queue()
    for kind in ("", "a", "/", "a/b", "a/taken"):
        place.client.set(f"orders-processing-{kind}", MARK)
        place.client.hset("orders-timeouts", f"orders-processing-{kind}", "0")
    with place.unchanged("orders-timeouts"):
        assert (queue.re_enqueue_all_items(), queue.drop_all_items(), queue.in_flight()) == (0, 0, [])


def planted_stamps(place: Place) -> None:
    queue = place.queue()
    for number, stamp in enumerate(_STAMPS):
        place.client.lpush(f"orders-processing-{number}", f"{MARK} {number}")
        place.client.hset("orders-timeouts", f"orders-processing-{number}", stamp)
    assert len(queue.in_flight()) == queue.stats().in_flight == len(_STAMPS)
    swept = queue.re_enqueue_timeout_items(7200)
    assert swept + queue.re_enqueue_all_items() == len(_STAMPS)
    assert sorted(queue.get_items(99)) == sorted(texts(len(_STAMPS)))
    assert queue.ack_items(texts(len(_STAMPS))) == len(_STAMPS)


def planted_records_of_consumers(place: Place) -> None:
    queue = place.queue()
    queue.add_items(texts(4))
    assert queue.get_items(2) == texts(2)
    place.client.rpush("parcels", MARK)
    for field in (
        "",
        "/",
        "victim",
        "victim/lease",
        "../parcels/landing",
        "a/b/landing",
        "/landing",
        "x/landing",
        "\xff",
    ):
        for value in _STAMPS:
            place.client.hset("orders/consumers", field, value)
            assert queue.stats().in_flight == 2
            assert queue.in_flight()[0].count == 2
            assert queue.re_enqueue_timeout_items(7200) == 0
    assert queue.get_items(9) == texts(4)[2:]
    assert queue.ack_items(texts(4)) == 4
    assert contents(place.client)[b"parcels"] == [MARK.encode()]


def planted_record_of_the_consumer_itself(place: Place) -> None:
    """A forged record can make a get come again; it can't lose an item."""
    queue = place.queue()
    for forged in ("", "x", "0 0", "1 99", "99 99", "-1 -1", "1 1 1", "9" * 400):
        queue.add_items(texts(3))
        queue.get_items(2)
        for suffix in ("", "/lease", "/landing"):
            place.client.hset("orders/consumers", queue.client_id + suffix, forged)
        place.error_of(lambda: queue.get_items(2))  # noqa: B023
        other = place.queue()
        other.re_enqueue_all_items()
        found = other.get_items(99)
        assert set(found) == set(texts(3)), f"an item is lost by {forged!r}"
        assert other.ack_items(found) == len(found)
        other.close()
        queue.close()
        queue = place.queue()


def planted_session(place: Place) -> None:
    """A forged session can make calls stale; that is said, and nothing is lost."""
    queue = place.queue(retry=0)
    for forged in ("", "x", "0", "99 1", "1 x", "-1", "9" * 400):
        queue.add_items(texts(3))
        for lane in ("1", "get"):
            place.client.hset(f"orders/session/{queue.client_id}", lane, forged)
        for act in (lambda: queue.get_items(2), lambda: queue.add_item(MARK), lambda: queue.ack_items(texts(2))):  # noqa: B023
            place.error_of(act)
        other = place.queue()
        other.re_enqueue_all_items()
        found = other.get_items(99)
        assert set(texts(3)) - set(found) <= set(texts(2)), f"an item is lost by {forged!r}"
        other.ack_items(found)
        other.close()
        queue = place.queue(retry=0)


def planted_delayed_items(place: Place) -> None:
    queue = place.queue()
    place.client.zadd(
        "orders/delayed", {f"{MARK} bare": 0, "": 1, "\n": 2, f"1 2\n{MARK} own": 3, "a\nb\nc": 4, "late": 9e15}
    )
    place.client.zadd("orders/delayed", {"never": float("inf"), "always": float("-inf")})
    found = queue.get_items(99)
    assert found == ["always", f"{MARK} bare", "", "", f"{MARK} own", "b\nc"]
    assert queue.ack_items(found) == 6
    assert queue.get_items(1) == []


def planted_state(place: Place) -> None:
    queue = place.queue()
    queue.add_items(texts(2))
    for stamp in _STAMPS:
        place.client.hset("orders/meta", mapping={"swept": stamp, "waking": f"{stamp}/a/b/c/d"})
        place.client.hset("orders/deliveries", mapping=dict.fromkeys(texts(2), stamp))
        queue.add_item(MARK, delay=0.01)
        assert queue.get_items(2) == texts(2)
        assert queue.reject_items(texts(2)) == 2
        queue.get_items(9, timeout=1)
        queue.re_enqueue_all_items()
        assert set(queue.get_items(99)) >= {*texts(2)}
        assert queue.re_enqueue_all_items() >= 2
        queue.delete_item(MARK)


def planted_dead_letters(place: Place) -> None:
    queue = place.queue()
    letters = (f"{MARK} bare", "", "\n", "1 2 3 4\n", "1.5 1 2 3\nmewhyitem", "1 1 0 0\n", "x 1 1 1\nabc", "\xff")
    place.client.lpush("orders/dead", *letters)
    dead = place.dead(queue)
    assert len(dead.peek(99)) == len(letters)
    assert dead.redrive() == len(letters)
    found = queue.get_items(99)
    assert len(found) == len(letters)
    assert {f"{MARK} bare", "item", "x 1 1 1\nabc"} <= set(found)


def planted_dead_letter_with_wrong_lengths(place: Place) -> None:
    """Lengths that are longer than the letter are none of ours: it is an item as it stands."""
    letter = f"1 1 40 40\n{MARK}"
    place.client.lpush("orders/dead", letter, f"1 1 {'9' * 5000} 1\n{MARK}")
    queue = place.queue()
    assert [found.raw for found in place.dead(queue).peek(1)] == [letter.encode()]
    assert len(place.dead(queue).peek(9)) == 2
    assert place.dead(queue).redrive() == 2
    assert queue.get_items(1) == [letter]


def planted_values_of_a_wrong_type(place: Place) -> None:
    refused = 0
    for slot in _SLOTS:
        place.client.flushall()
        kind = "UniqueQueue" if slot == "orders-unique" else "Queue"
        queue = place.queue(kind, max_deliveries=3, max_size=100, max_retry_rollback=1, max_timeout_in_queue=1)
        queue.add_items(texts(3))
        assert queue.get_items(1) == texts(1)
        place.client.set(slot, MARK)
        for act in (lambda: queue.add_item(MARK), lambda: queue.get_items(1), queue.re_enqueue_all_items):  # noqa: B023
            before = contents(place.client)
            error = place.error_of(act)
            # What does not look at this key goes on.
            assert error is None or type(error) is errors.WrongTypeError, f"{type(error).__name__} by {slot}"
            assert error is None or contents(place.client).keys() >= before.keys(), f"keys have gone by {slot}"
            refused += error is not None
        place.client.delete(slot)
    assert refused > len(_SLOTS) // 2


def planted_difference_of_list_and_set(place: Place) -> None:
    queue = place.queue("UniqueQueue")
    queue.add_items(texts(3))
    place.client.srem("orders-unique", texts(1)[0])
    place.client.sadd("orders-unique", f"{MARK} ghost")
    assert queue.repair() == 2
    assert queue.add_items([*texts(3), f"{MARK} ghost"]) == 1
    assert queue.get_items(9) == [*texts(3), f"{MARK} ghost"]


CHECKS = (
    planted_victim_in_timeouts,
    planted_processing_key_of_another_queue,
    planted_processing_key_of_another_type,
    planted_stamps,
    planted_records_of_consumers,
    planted_record_of_the_consumer_itself,
    planted_session,
    planted_delayed_items,
    planted_state,
    planted_dead_letters,
    planted_dead_letter_with_wrong_lengths,
    planted_values_of_a_wrong_type,
    planted_difference_of_list_and_set,
)
