from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyrq.backends import connect
from pyrq.core import ops, pool_ops, replies, session_ops
from pyrq.core.errors import OutcomeUnknown, PermissionDeniedError, WrongTypeError
from pyrq.core.keys import Keys, Kind
from pyrq.core.limits import NO_LIMITS, Limits
from pyrq.core.rollback import Rollbacks
from pyrq.core.session import Held, Identity
from pyrq.core.views import InFlight, Letter, Stats
from pyrq.core.waiting import NO_WAIT, Found, Wait
from tests.unit.builders import (
    ANY_BUILDERS,
    OWN,
    PARAMETERS,
    POOL_BUILDERS,
    QUEUE_BUILDERS,
    QUEUES,
    SLOTS,
    Builder,
    fill,
    functions_of,
    key_in,
    keys_of,
    state,
)
from tests.unit.helpers import HELD, KEYS, ME, fresh, raw

REPLIES: dict[str, tuple[Any, Any]] = {
    "ack": ([3], 3),
    "ack_all": ([3], 3),
    "ack_together": ([3, 0], [3, 0]),
    "add": ([3], 3),
    "add_together": ([3, -1, 0], [3, -1, 0]),
    "beat": ([9, 1], (9, 1)),
    "burn": (1, 1),
    "bury": ([1], 1),
    "confirm": ([5], None),
    "count": (8, 8),
    "dead_count": (8, 8),
    "dead_letters": ([b"later", b"first"], [Letter(b"first", "", 0.0, 0, ""), Letter(b"later", "", 0.0, 0, "")]),
    "delete": ([3], 3),
    "drop": ([3, 1], (3, 1)),
    "forget": (1, 1),
    "forget_rollbacks": ([1], 1),
    "get": ([[b"y", b"x"], 9, 1, 0, 1], Found([b"x", b"y"], 9, sweep=True, block=0.0, nap=0.0, whole=True)),
    "in_flight": ([[b"me-1", 2, b"1.500", b"30.0"]], [InFlight("me-1", 2, 1.5, 30.0)]),
    "is_paused": (1, True),
    "pause": ([1], 1),
    "peek": ([b"y", b"x"], [b"x", b"y"]),
    "probe": ([], None),
    "purge": ([3], 3),
    "put_off": ([3], 3),
    "re_enqueue": ([3, 0], (3, 0)),
    "redrive": ([3], 3),
    "reject": ([3], 3),
    "release": ([3, 9], (3, 9)),
    "repair": ([4], 4),
    "resume": ([1], 1),
    "retry": ([3, 1], (3, 1)),
    "roll_back": ([2, 28333333, 28333390], Rollbacks(2, 28333333, 28333390)),
    "stats": ([1, 2, 3, 4, 5, 1], Stats(1, 2, 3, 4, 5, paused=True)),
}


class BuilderContract:
    """What holds for every builder. A subclass is parametrized with some."""

    def test_equal_arguments_give_equal_calls(self, builder: Builder) -> None:
        keys = Keys.of("orders", "me-1", builder.kind)
        held = OWN.get(builder.name, {}).get("held", Held(3, 2, 9))
        call = builder(keys=keys, held=held, identity=Identity(b"7", 5, 120))
        assert call == builder()
        assert hash(call) == hash(builder())
        assert call.script.name == ("pool_" if builder.module is pool_ops else "") + builder.name

    def test_other_arguments_give_other_calls(self, builder: Builder) -> None:
        for parameter, other in builder.others().items():
            assert builder(**{parameter: other}) != builder(), parameter

    def test_a_builder_fills_exactly_the_slots_of_its_script(self, builder: Builder) -> None:
        call = builder()
        assert list(call.keys) == [key_in(slot) for slot in call.script.keys]
        assert list(call.args) == [part for slot in call.script.args for part in builder.part(slot)]
        assert all(type(part) is bytes for part in (*call.keys, *call.args))

    def test_an_identified_script_has_its_session_first(self, builder: Builder) -> None:
        call = builder()
        assert call.script.identified == ("identity" in builder.parameters or builder.name == "confirm")
        if call.script.identified:
            assert call.keys[0] == KEYS.session
            assert call.args[:3] == ME.args()

    def test_only_the_last_slot_may_stand_for_many(self, builder: Builder) -> None:
        call = builder()
        assert not [slot for slot in (*call.script.keys, *call.script.args[:-1]) if slot.endswith("...")]

    def test_parse_is_a_function_of_the_module_of_replies(self, builder: Builder) -> None:
        parse = builder().parse
        assert getattr(replies, parse.__name__) is parse
        assert parse.__name__ in replies.__all__

    def test_a_builder_says_what_it_does(self, builder: Builder) -> None:
        assert inspect.getdoc(getattr(builder.module, builder.name))

    def test_the_clock_is_the_servers_unless_told_otherwise(self, builder: Builder) -> None:
        call = builder(now=ops.SERVER_TIME)
        assert ("now" in call.script.args) == ("now" in builder.parameters)
        if "now" in builder.parameters:
            assert call.args[call.script.args.index("now")] == b""
            function = getattr(builder.module, builder.name)
            assert inspect.signature(function).parameters["now"].default == ops.SERVER_TIME

    def test_a_chunk_fits_into_an_unpack(self, builder: Builder) -> None:
        # A pool's scripts put a score beside each item.
        assert 7_999 - len(builder().script.args) >= 2 * ops.CHUNK

    def test_a_key_of_another_type_is_seen_before_anything_is_written(self, builder: Builder) -> None:
        url = fresh()
        client, backend = raw(url), connect(url)
        call = builder()
        seen = set()
        for slot, key in zip(call.script.keys, call.keys, strict=True):
            client.flushall()
            fill(client, builder.kind)
            client.set(key, "foreign")
            before = state(client)
            try:
                backend.run([call])
            except WrongTypeError:
                seen.add(slot)
                assert state(client) == before, slot
        assert set(call.script.keys) - seen == UNSEEN.get(builder.name, set()) & set(call.script.keys)

    def test_what_finds_nothing_to_do_writes_nothing(self, builder: Builder) -> None:
        url = fresh()
        try:
            connect(url).run([builder()])
        except OutcomeUnknown:
            assert builder.name == "confirm"  # there is no such call
        something = {"add", "add_together", "put_off", "burn", "roll_back", "pause"}
        if builder.kind is not Kind.POOL:
            something |= {"get"}  # who waits registers for it, and who has a lease claims the sweep
        assert bool(state(raw(url))) == (builder.name in something)


UNSEEN = {
    # The end of a session deletes whatever is there; so does a repair with what is left of an earlier one.
    "forget": {"session"},
    "repair": {"repair"},
    # Where some copies of an item may be left, its count of deliveries is left too.
    "delete": {"deliveries"},
    # The probe touches a key of its own only, and begins by deleting it; the others are named for the access rules.
    "probe": {slot for builder in (*QUEUE_BUILDERS, *POOL_BUILDERS) for slot in builder().script.keys},
}


@pytest.mark.parametrize("builder", [*QUEUE_BUILDERS, *ANY_BUILDERS], ids=str)
class TestBuilders(BuilderContract):
    def test_how_a_reply_is_read(self, builder: Builder) -> None:
        reply, expected = REPLIES[builder.name]
        assert builder().parse(reply) == expected


def test_every_public_function_of_the_module_is_a_builder() -> None:
    names = {builder.name for builder in QUEUE_BUILDERS}
    assert functions_of(ops) | functions_of(session_ops) == names == set(REPLIES)
    assert {*ops.__all__, *session_ops.__all__} == {*names, "CHUNK"}


def test_no_sample_is_left_over() -> None:
    everyone = [*QUEUE_BUILDERS, *POOL_BUILDERS]
    assert {name for builder in everyone for name in builder.parameters} == {"keys", *PARAMETERS}
    assert {slot for builder in everyone for slot in builder().script.args} == set(SLOTS)


# Kinds of queues


def test_which_scripts_differ_by_kind() -> None:
    scripts = {kind: {one.name: one().script for one in QUEUE_BUILDERS if one.kind is kind} for kind in QUEUES}
    plain, unique = scripts[Kind.PLAIN], scripts[Kind.UNIQUE]
    assert unique.keys() - plain.keys() == {"repair"}
    differing = {name for name in plain if plain[name] != unique[name]}
    assert differing == {
        *("add", "add_together", "delete", "get", "probe"),
        *("re_enqueue", "redrive", "reject", "release"),
    }
    for name in differing:
        extra = ("unique", "repair") if name == "probe" else ("unique",)
        assert unique[name].keys == (*plain[name].keys, *extra)
        assert unique[name].args == plain[name].args


@pytest.mark.parametrize("builder", [one for one in QUEUE_BUILDERS if one.kind is Kind.PLAIN], ids=str)
def test_a_plain_queue_has_no_set(builder: Builder) -> None:
    call = builder()
    assert not {b"orders-unique", b"orders/repair/me-1"} & set(call.keys)
    assert not re.search(rb"'(S[A-Z]+|UNLINK)'", call.script.source)


@pytest.mark.parametrize("builder", [one for one in (*QUEUE_BUILDERS, *POOL_BUILDERS) if one.name == "probe"], ids=str)
def test_a_probe_changes_nothing_and_leaves_nothing(builder: Builder) -> None:
    url = fresh()
    client = raw(url)
    fill(client, builder.kind)
    before = state(client)
    assert connect(url).run([builder()]) == [None]
    assert state(client) == before


few = st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), max_size=8)


@given(few, few)
@example([], [b"a"])
@example([b"a"], [])
@example([b"a", b"a"], [b"a", b"b"])
def test_a_repair_makes_the_set_anew_and_counts_what_it_changed(waiting: list[bytes], known: list[bytes]) -> None:
    url = fresh()
    client, backend, keys = raw(url), connect(url), keys_of(Kind.UNIQUE)
    for push, key, values in ((client.rpush, keys.queue, waiting), (client.sadd, keys.unique, known)):
        if values:
            push(key, *values)
    client.sadd(keys.repair, "left by an earlier one")
    assert backend.run([ops.repair(keys, ME)]) == [len(set(waiting) ^ set(known))]
    assert client.smembers(keys.unique) == set(waiting)
    assert client.lrange(keys.queue, 0, -1) == waiting
    assert not client.exists(keys.repair)


def test_a_repair_of_a_long_list() -> None:
    url = fresh()
    client, backend, keys = raw(url), connect(url), keys_of(Kind.UNIQUE)
    client.rpush(keys.queue, *range(2500))
    client.sadd(keys.unique, *range(2000, 2600))
    assert backend.run([ops.repair(keys, ME)]) == [2100]
    assert client.smembers(keys.unique) == {b"%d" % number for number in range(2500)}


# Arguments


@pytest.mark.parametrize("builder", [one for one in QUEUE_BUILDERS if "timeout" in one.parameters], ids=str)
@pytest.mark.parametrize(("timeout", "text"), [(None, b""), (0.0, b"0.0"), (0.5, b"0.5"), (7200.0, b"7200.0")])
def test_a_timeout_is_exact_text(builder: Builder, timeout: float | None, text: bytes) -> None:
    call = builder(timeout=timeout)
    assert call.args[call.script.args.index("timeout")] == text


@pytest.mark.parametrize(("count", "text"), [(0, b"0"), (2**53, b"9007199254740992"), (10**40, b"9007199254740992")])
def test_a_count_of_copies_is_one_that_the_server_can_read(count: int, text: bytes) -> None:
    call = ops.delete(KEYS, ME, [b"x"], count)
    assert call.args[call.script.args.index("count")] == text


@pytest.mark.parametrize("builder", [one for one in QUEUE_BUILDERS if "reason" in one.parameters], ids=str)
@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("", b""),
        ('a "b"\nä', 'a "b"\nä'.encode()),
        ("\udc80", b"?"),
        ("x" * 2001, b"x" * 2000),
        ("ä" * 1001, "ä".encode() * 1000),
    ],
)
def test_a_reason_is_bytes_and_not_too_many(builder: Builder, reason: str, text: bytes) -> None:
    call = builder(reason=reason)
    assert call.args[call.script.args.index("reason")] == text


@pytest.mark.parametrize("builder", [one for one in QUEUE_BUILDERS if "limits" in one.parameters], ids=str)
def test_no_bound_is_no_text(builder: Builder) -> None:
    call = builder(limits=NO_LIMITS)
    slots = {"most", "dead_max", "max_size"} & set(call.script.args)
    assert slots
    for slot in slots:
        assert call.args[call.script.args.index(slot)] == b""
    bound = builder(limits=Limits(4, 5, 6))
    numbers = {"most": b"4", "max_size": b"5", "dead_max": b"6"}
    assert {slot: bound.args[bound.script.args.index(slot)] for slot in slots} == {
        slot: numbers[slot] for slot in slots
    }


def test_a_get_that_does_not_wait() -> None:
    call = ops.get(KEYS, ME, HELD, 5, NO_WAIT)
    said = dict(zip(call.script.args, call.args, strict=True))
    assert (said["lease"], said["slice"], said["blocked"]) == (b"", b"0", b"0")


@pytest.mark.parametrize(("seconds", "text"), [(0.1, b"0.1"), (30.0, b"30.0"), (1e6, b"1000000.0")])
def test_a_lease_is_exact_text(seconds: float, text: bytes) -> None:
    for call in (ops.beat(KEYS, ME, seconds), ops.get(KEYS, ME, HELD, 1, Wait(lease=seconds))):
        assert call.args[call.script.args.index("lease")] == text


@pytest.mark.parametrize(("offset", "text"), [(0, b"0"), (2**53, b"9007199254740992"), (10**40, b"9007199254740992")])
def test_an_offset_is_one_that_the_server_can_read(offset: int, text: bytes) -> None:
    assert ops.peek(KEYS, 5, offset).args == (b"5", text)


def test_confirm_asks_for_the_call_it_was_given() -> None:
    call = ops.ack(KEYS, Identity(b"2", 8, 300), HELD, [b"x"])
    confirm = session_ops.confirm(call)
    assert confirm.keys == (KEYS.session,)
    assert confirm.args == (b"2", b"8", b"300")
    assert session_ops.confirm(confirm) == confirm


@pytest.mark.parametrize("kind", QUEUES)
def test_refused_commands_are_named_once_and_in_order(kind: Kind) -> None:
    with pytest.raises(PermissionDeniedError, match=r"Refused: LPUSH, RENAME\.$"):
        ops.probe(keys_of(kind)).parse([b"RENAME", b"LPUSH", b"LPUSH"])


# One effect per call


@pytest.mark.parametrize("builder", [one for one in QUEUE_BUILDERS if "identity" in one.parameters], ids=str)
def test_a_repeated_call_has_one_effect_and_a_stale_one_none(builder: Builder) -> None:
    url = fresh()
    client, backend = raw(url), connect(url)
    fill(client, builder.kind)
    if builder.name == "resume":
        client.hset(keys_of(builder.kind).meta, "paused", "1")
    call = builder()
    untouched = state(client)
    (result,) = backend.run([call])
    done = state(client)
    assert done != untouched
    assert result
    again = backend.run([call])[0]
    if builder.name == "get":
        assert (again.items, again.tenure) == (result.items, result.tenure)
    else:
        assert again == result
    assert state(client) == done
    for stale in (Identity(b"7", 4, 120), Identity(b"7", 1, 120)):
        with pytest.raises(OutcomeUnknown):
            backend.run([builder(identity=stale)])
        assert state(client) == done
