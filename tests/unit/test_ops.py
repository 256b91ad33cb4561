from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest

from pyrq.core import ops
from pyrq.core.call import Call
from pyrq.core.errors import PermissionDeniedError
from pyrq.core.keys import Keys
from pyrq.core.session import Held, Identity
from tests.unit.helpers import HELD, KEYS, ME

BUILDERS: dict[str, Callable[..., Call[Any]]] = {
    name: getattr(ops, name) for name in ops.__all__ if callable(getattr(ops, name))
}
LASTS = [Identity(b"3", 4, 120), Identity(b"get", 9, 120)]

# A value for each parameter that a builder may have. A new parameter must be named here.
PARAMETERS: dict[str, Any] = {
    "keys": KEYS,
    "identity": ME,
    "held": HELD,
    "items": [b"x", b"y", b"x"],
    "count": 12,
    "timeout": 7200.0,
    "reason": "why",
    "now": "1700000000.25",
    "lasts": LASTS,
    "call": ops.add(KEYS, ME, [b"x"]),
}
FACTS = json.dumps({"consumer": "me-1", "deliveries": 1, "reason": "why"}).encode()
# What must lie in each named slot of ARGV.
SLOTS: dict[str, list[bytes]] = {
    "lane": [b"7"],
    "sequence": [b"5"],
    "ttl": [b"120"],
    "received": [b"3"],
    "kept": [b"2"],
    "consumer": [b"me-1"],
    "count": [b"12"],
    "now": [b"1700000000.25"],
    "timeout": [b"7200.0"],
    "prefix": [b"orders-processing-"],
    "facts": [FACTS],
    "item...": [b"x", b"y", b"x"],
    "lane_and_sequence...": [b"3", b"4", b"get", b"9"],
}
REPLIES: dict[str, tuple[Any, Any]] = {
    "ack": ([3], 3),
    "add": ([3], 3),
    "burn": (1, 1),
    "bury": ([1], 1),
    "confirm": ([5], None),
    "count": (8, 8),
    "delete": ([3], 3),
    "drop": ([3, 1], (3, 1)),
    "forget": (1, 1),
    "get": ([[b"x", b"y"]], [b"x", b"y"]),
    "probe": ([], None),
    "re_enqueue": ([3, 0], (3, 0)),
    "reject": ([3], 3),
    "release": ([3, 9], (3, 9)),
}


def build(name: str, **other: Any) -> Call[Any]:
    parameters = {**PARAMETERS, **other}
    builder = BUILDERS[name]
    return builder(**{parameter: parameters[parameter] for parameter in inspect.signature(builder).parameters})


def key_of(slot: str) -> bytes:
    return b"orders/probe/me-1" if slot == "probe" else getattr(KEYS, slot)


def test_every_public_function_of_the_module_is_a_builder() -> None:
    functions = {
        name for name, value in vars(ops).items() if inspect.isfunction(value) and value.__module__ == ops.__name__
    }
    assert {name for name in functions if not name.startswith("_")} == set(BUILDERS)
    assert set(ops.__all__) == {*BUILDERS, "CHUNK"}


@pytest.mark.parametrize("name", BUILDERS)
def test_equal_arguments_give_equal_calls(name: str) -> None:
    fresh = Keys.of("orders", "me-1")
    call = build(name, keys=fresh, held=Held(3, 2), identity=Identity(b"7", 5, 120))
    assert call == build(name)
    assert hash(call) == hash(build(name))
    assert call.script.name == name


@pytest.mark.parametrize("name", BUILDERS)
def test_other_arguments_give_other_calls(name: str) -> None:
    others: dict[str, Any] = {
        "keys": Keys.of("other", "me-2"),
        "identity": Identity(b"8", 1, 200),
        "held": Held(4, 2),
        "items": [b"y", b"x"],
        "count": 13,
        "timeout": None,
        "reason": "how",
        "now": "",
        "lasts": LASTS[:1],
        "call": ops.add(KEYS, LASTS[0], [b"x"]),
    }
    for parameter in inspect.signature(BUILDERS[name]).parameters:
        assert build(name, **{parameter: others[parameter]}) != build(name), parameter


@pytest.mark.parametrize("name", BUILDERS)
def test_a_builder_fills_exactly_the_slots_of_its_script(name: str) -> None:
    call = build(name)
    assert list(call.keys) == [key_of(slot) for slot in call.script.keys]
    assert list(call.args) == [part for slot in call.script.args for part in SLOTS[slot]]
    assert all(type(part) is bytes for part in (*call.keys, *call.args))


@pytest.mark.parametrize("name", BUILDERS)
def test_an_identified_script_has_its_session_first(name: str) -> None:
    call = build(name)
    if call.script.identified:
        assert call.keys[0] == KEYS.session
        assert call.args[:3] == ME.args()


@pytest.mark.parametrize("name", BUILDERS)
def test_only_the_last_slot_may_stand_for_many(name: str) -> None:
    call = build(name)
    assert not [slot for slot in (*call.script.keys, *call.script.args[:-1]) if slot.endswith("...")]


@pytest.mark.parametrize("name", BUILDERS)
def test_parse_is_a_function_of_the_module(name: str) -> None:
    parse = build(name).parse
    assert getattr(ops, parse.__name__) is parse


@pytest.mark.parametrize("name", BUILDERS)
def test_how_a_reply_is_read(name: str) -> None:
    reply, expected = REPLIES[name]
    assert build(name).parse(reply) == expected


@pytest.mark.parametrize("name", BUILDERS)
def test_a_builder_says_what_it_does(name: str) -> None:
    assert BUILDERS[name].__doc__


@pytest.mark.parametrize("name", ["get", "bury", "re_enqueue", "drop"])
def test_the_clock_is_the_servers_unless_told_otherwise(name: str) -> None:
    call = build(name, now=ops.SERVER_TIME)
    assert call.args[call.script.args.index("now")] == b""
    assert inspect.signature(BUILDERS[name]).parameters["now"].default == ops.SERVER_TIME


@pytest.mark.parametrize("name", ["re_enqueue", "drop"])
@pytest.mark.parametrize(("timeout", "text"), [(None, b""), (0.0, b"0.0"), (0.5, b"0.5"), (7200.0, b"7200.0")])
def test_a_timeout_is_exact_text(name: str, timeout: float | None, text: bytes) -> None:
    call = build(name, timeout=timeout)
    assert call.args[call.script.args.index("timeout")] == text


def test_the_facts_of_a_dead_letter_are_one_line_of_json() -> None:
    call = build("bury", reason='a "b"\nä')
    facts = call.args[call.script.args.index("facts")]
    assert b"\n" not in facts
    assert json.loads(facts)["reason"] == 'a "b"\nä'


def test_confirm_asks_for_the_call_it_was_given() -> None:
    call = ops.ack(KEYS, Identity(b"2", 8, 300), HELD, [b"x"])
    confirm = ops.confirm(call)
    assert confirm.keys == (KEYS.session,)
    assert confirm.args == (b"2", b"8", b"300")
    assert ops.confirm(confirm) == confirm


def test_refused_commands_are_named_once_and_in_order() -> None:
    with pytest.raises(PermissionDeniedError, match=r"Refused: LPUSH, RENAME\.$"):
        ops.probe(KEYS).parse([b"RENAME", b"LPUSH", b"LPUSH"])


def test_a_chunk_fits_into_an_unpack() -> None:
    assert 7_999 - max(len(build(name).script.args) for name in BUILDERS) >= ops.CHUNK
