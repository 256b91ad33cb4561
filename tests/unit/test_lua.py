"""The scripts as text: their headers, their syntax, and what global names they read. The fake hides undeclared ones."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest
from lupa import lua51

import pyrq
from pyrq.core.keys import Kind
from pyrq.core.script import Script, load
from tests.unit.builders import ANY_BUILDERS, POOL_BUILDERS, QUEUE_BUILDERS, QUEUES

LUA = files("pyrq.core").joinpath("lua")
SCRIPTS = {path.name.removesuffix(".lua"): path.read_text() for path in LUA.iterdir() if path.name.endswith(".lua")}
PIECES = {path.name.removesuffix(".lua"): path.read_text() for path in LUA.joinpath("lib").iterdir()}
INCLUDE = re.compile(r"^-- include (\w+)$", re.MULTILINE)
# Each script, and for which kind of queue it is loaded: one that includes a piece of a kind once for each.
LOADED = [(name, kind) for name, text in SCRIPTS.items() for kind in (QUEUES if "_KIND\n" in text else QUEUES[:1])]
each_loaded = pytest.mark.parametrize(("name", "kind"), LOADED, ids=lambda value: getattr(value, "name", value))
ALLOWED = {
    *("redis", "KEYS", "ARGV"),
    *("cjson", "math", "string", "table"),
    *("error", "assert", "pcall", "ipairs", "pairs", "next", "select"),
    *("tonumber", "tostring", "type", "unpack"),
}
"""Global names that every server and the fake have. Not bit, struct, cmsgpack: the fake has them not."""

GET_GLOBAL, SET_GLOBAL = 5, 7
DUMP = lua51.LuaRuntime(encoding=None).eval(
    b"function(text) local compiled, why = loadstring(text) "
    b"if compiled then return string.dump(compiled) end return nil, why end"
)


@dataclass
class Chunk:
    """Reads what string.dump of Lua 5.1 wrote (lundump.c): the instructions and text constants of each function."""

    data: bytes
    place: int = 12

    def number(self, layout: str) -> int:
        (value,) = struct.unpack_from(layout, self.data, self.place)
        self.place += struct.calcsize(layout)
        return int(value)

    def text(self) -> bytes:
        size = self.number("<Q")
        self.place += size
        return self.data[self.place - size : self.place][:-1]

    def constant(self) -> bytes:
        kind = self.number("<B")
        if kind == 4:
            return self.text()
        size = {0: 0, 1: 1, 3: 8}[kind]
        self.place += size
        return self.data[self.place - size : self.place]

    def functions(self) -> Iterator[tuple[list[int], list[bytes]]]:
        self.text()
        self.place += 4 + 4 + 4
        code = [self.number("<I") for _ in range(self.number("<i"))]
        constants = [self.constant() for _ in range(self.number("<i"))]
        yield code, constants
        for _ in range(self.number("<i")):
            yield from self.functions()
        lines = self.number("<i")
        self.place += 4 * lines
        for _ in range(self.number("<i")):
            self.text()
            self.place += 8
        for _ in range(self.number("<i")):
            self.text()


def compile_lua(source: bytes) -> bytes:
    compiled = DUMP(source)
    if not isinstance(compiled, bytes):
        raise SyntaxError(compiled[1].decode())
    assert compiled[:12] == b"\x1bLua\x51\x00\x01\x04\x08\x04\x08\x00"
    return compiled


def functions(source: bytes) -> list[tuple[list[int], list[bytes]]]:
    chunk = Chunk(compile_lua(source))
    found = list(chunk.functions())
    assert chunk.place == len(chunk.data)
    return found


def global_names(source: bytes, *opcodes: int) -> set[str]:
    return {
        constants[instruction >> 14].decode()
        for code, constants in functions(source)
        for instruction in code
        if instruction & 0x3F in opcodes
    }


def problems(source: bytes) -> list[str]:
    read = global_names(source, GET_GLOBAL) - ALLOWED
    return [
        *(f"reads {name}" for name in sorted(read)),
        *(f"sets {name}" for name in sorted(global_names(source, SET_GLOBAL))),
    ]


# The lint itself


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (b"return redis.call('GET', KEYS[1])", []),
        (b"local a = 1 return a", []),
        (b"return typo", ["reads typo"]),
        (b"local function f() return function() return lost end end return f", ["reads lost"]),
        (b"a = 1", ["sets a"]),
        (b"function f() end", ["sets f"]),
        (b"local t = {} t.a = 1 t['b'] = 2 return t.a", []),
        (b"if tonumber(ARGV[1]) > 1.5 then return true end return nil", []),
        (b"return os.time()", ["reads os"]),
        (b"return bit.band(1, 2)", ["reads bit"]),
    ],
)
def test_the_lint_finds_global_names(source: bytes, found: list[str]) -> None:
    assert problems(source) == found


def test_the_lint_finds_wrong_syntax() -> None:
    with pytest.raises(SyntaxError, match="unexpected symbol"):
        problems(b"local a = = 1")


# Every script


def whole(name: str, kind: Kind) -> str:
    """Gives a script with its comments and what it includes."""
    text = SCRIPTS[name].replace("_KIND\n", f"_{kind.name.lower()}\n")
    return INCLUDE.sub(lambda found: PIECES[found[1]], text)


def included(name: str, kind: Kind) -> list[str]:
    return INCLUDE.findall(SCRIPTS[name].replace("_KIND\n", f"_{kind.name.lower()}\n"))


def keys_named(text: str) -> tuple[str, ...]:
    """Gives the KEYS that the header of a script or a piece names."""
    return tuple(" ".join(re.findall(r"^-- KEYS (.*)$", text, re.MULTILINE)).split())


@each_loaded
def test_a_script_compiles_and_uses_no_undeclared_name(name: str, kind: Kind) -> None:
    assert problems(load(name, kind).source) == []


@each_loaded
def test_taking_out_the_comments_changes_no_code(name: str, kind: Kind) -> None:
    assert functions(whole(name, kind).encode()) == functions(load(name, kind).source)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_header_names_the_script_its_slots_and_its_reply(name: str) -> None:
    header = re.match(r"(--.*\n)+", SCRIPTS[name])
    assert header
    assert SCRIPTS[name].startswith(f"-- {name}: ")
    kinds = re.findall(r"^-- (KEYS|ARGV|REPLY)\b", header[0], re.MULTILINE)
    assert list(dict.fromkeys(kinds)) == ["KEYS", "ARGV", "REPLY"]
    assert kinds == sorted(kinds, key=["KEYS", "ARGV", "REPLY"].index), "names that need two lines stand together"
    assert re.search(r"^-- REPLY \S", header[0], re.MULTILINE)


@each_loaded
def test_the_keys_of_the_pieces_come_behind_those_of_the_script(name: str, kind: Kind) -> None:
    pieces = [key for piece in included(name, kind) for key in keys_named(PIECES[piece])]
    assert load(name, kind).keys == (*keys_named(SCRIPTS[name]), *pieces)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_keys_have_the_names_of_the_header(name: str) -> None:
    text, keys = SCRIPTS[name], keys_named(SCRIPTS[name])
    assert keys
    # What lies at the queue's key of a pool is called a pool.
    names = tuple("pool" if name.startswith("pool_") and key == "queue" else key for key in keys)
    if named := re.search(r"^local ([\w, ]+) = unpack\(KEYS\)$", text, re.MULTILINE):
        assert tuple(named[1].split(", ")) == names
    elif named := re.search(r"^local (\w+) = KEYS\[1\]$", text, re.MULTILINE):
        # A probe's other keys are declared for the sake of access rules, and not touched.
        assert named[1] == names[0]
        assert name.endswith("probe") or len(keys) == 1
    else:
        assert len(keys) == 1
        assert "KEYS[1]" in text
    assert not re.findall(r"KEYS\[(?!1\])", text)


@each_loaded
def test_the_arguments_have_the_names_of_the_header(name: str, kind: Kind) -> None:
    text, args = load(name, kind).source.decode(), load(name, kind).args
    fixed = tuple(slot for slot in args if not slot.endswith("..."))
    if not args:
        assert "ARGV" not in text
        return
    if named := re.search(r"^local ([\w, ]+) = unpack\(ARGV(?:, 1, (\d+))?\)$", text, re.MULTILINE):
        assert tuple(named[1].split(", ")) == fixed
        assert named[2] == (None if args == fixed else str(len(fixed)))
    elif named := re.search(r"^local (\w+) = ARGV\[1\]$", text, re.MULTILINE):
        assert (named[1],) == fixed
    else:
        assert len(args) == 1
        assert re.findall(r"ARGV\b.{3}", text) == ["ARGV[1]"]
    if args != fixed:
        assert args[-1].endswith("...")
        first = re.search(r"^local FIRST = (\d+)$", text, re.MULTILINE) or re.search(
            r"^for i = (\d+), #ARGV", text, re.MULTILINE
        )
        if first:
            assert int(first[1]) == len(fixed) + 1
        else:
            assert f"unpack(ARGV, {len(fixed) + 1})" in text


@each_loaded
def test_a_slot_is_named_once(name: str, kind: Kind) -> None:
    script = load(name, kind)
    assert len({*script.keys, *script.args}) == len(script.keys) + len(script.args)


@each_loaded
def test_a_script_that_changes_something_looks_first_whether_it_has_run(name: str, kind: Kind) -> None:
    text = load(name, kind).source.decode()
    if load(name, kind).identified and name not in ("confirm", "get"):
        # A pool's get is not remembered: it must not run late, but may run again.
        late = "if known and known[1] == STALE then return known end"
        answer = late if name == "pool_get" else "if known then return known end"
        first = text.index(f"local known = recall(session, lane, sequence, ttl)\n{answer}\n")
        assert "redis.call" not in text[text.rindex("unpack(ARGV", 0, first) : first]
        assert "remember(session, lane, sequence, ttl" in text[first:]


@each_loaded
def test_includes_exist_and_come_once(name: str, kind: Kind) -> None:
    pieces = included(name, kind)
    assert len(pieces) == SCRIPTS[name].count("-- include ")
    assert set(pieces) <= set(PIECES)
    assert len(set(pieces)) == len(pieces)


@each_loaded
def test_a_script_reads_no_other_clock_and_no_dice(name: str, kind: Kind) -> None:
    source = load(name, kind).source
    assert b"math.random" not in source
    assert (b"'TIME'" in source) == (name.endswith("probe") or "server_time" in SCRIPTS[name])


# Which commands are used

OPTIONS = {"CH", "LIMIT", "WITHSCORES", "NOPERM", "WRONGTYPE", "LEFT", "RIGHT"}
"""Texts of capital letters that are no command."""


def loaded_for(kind: Kind) -> list[Script]:
    """Gives the scripts that facades of a kind run."""
    builders = [*POOL_BUILDERS, *ANY_BUILDERS] if kind is Kind.POOL else QUEUE_BUILDERS
    return [builder().script for builder in builders if builder.kind is kind]


def commands_of(script: Script) -> set[str]:
    """Gives the commands that a script names, in any place."""
    return set(re.findall(r"'([A-Z]{2,})'", script.source.decode())) - OPTIONS


@pytest.mark.parametrize("kind", Kind)
def test_a_kinds_probe_tries_exactly_the_commands_that_its_scripts_use(kind: Kind) -> None:
    probes = [script for script in loaded_for(kind) if script.name.endswith("probe")]
    others = [script for script in loaded_for(kind) if script not in probes]
    assert len(probes) == 1
    assert commands_of(probes[0]) == {command for script in others for command in commands_of(script)}


@pytest.mark.parametrize("kind", Kind)
def test_the_probe_ends_with_its_key_deleted(kind: Kind) -> None:
    (text,) = [script.source.decode() for script in loaded_for(kind) if script.name.endswith("probe")]
    tried = re.findall(r"\{'([A-Z]+)', (?:probe|KEYS\[1\])", text)
    assert len(tried) > 10
    assert tried[-1] == "DEL"
    assert tried.count("DEL") == 2


@pytest.mark.parametrize("text", [*SCRIPTS.values(), *PIECES.values()], ids=[*SCRIPTS, *PIECES])
def test_a_command_is_named_where_it_is_run(text: str) -> None:
    """Else the tests above would not see it. One piece passes it on, and one tries what a table names."""
    for run in re.findall(r"redis\.p?call\(([^,)]*)", text):
        assert re.fullmatch(r"'[A-Z]+'", run) or run in ("command", "unpack(trials[i]")
    assert {*re.findall(r"\b(?:push|local function push)\(([^,)]*)", text)} <= {"command", "'LPUSH'", "'RPUSH'"}


# Where scripts are


@pytest.mark.parametrize("name", PIECES)
def test_a_piece_includes_nothing_and_is_used(name: str) -> None:
    assert "-- include" not in PIECES[name]
    assert [script for script, kind in LOADED if name in included(script, kind)]


@pytest.mark.parametrize("name", PIECES)
def test_a_piece_makes_no_global_name(name: str) -> None:
    assert global_names(PIECES[name].encode(), SET_GLOBAL) == set()


# Pieces of the same functions, one for each kind

STEMS = sorted({name.rpartition("_")[0] for name in PIECES if name.endswith(("_plain", "_unique"))})


def defined(piece: str) -> dict[str, list[str] | None]:
    """Gives the names that a piece defines for scripts, and the parameters of those that are functions."""
    found = re.findall(r"^local (?:function (\w+)\((.*)\)|(\w+) =)", PIECES[piece], re.MULTILINE)
    return {
        function or value: None if value else re.findall(r"\w+", parameters) for function, parameters, value in found
    }


def test_there_are_pieces_for_kinds() -> None:
    assert STEMS == ["leaving", "more_trials", "newcomers", "waiting"]
    assert {f"{stem}_{kind.name.lower()}" for stem in STEMS for kind in QUEUES} <= set(PIECES)
    assert not [name for name, text in SCRIPTS.items() if re.search(r"-- include \w+_(plain|unique)$", text, re.M)]


@pytest.mark.parametrize("stem", STEMS)
def test_pieces_for_kinds_define_the_same(stem: str) -> None:
    """A piece may have tools of its own, which no script uses, and leave out parameters at the end that it ignores."""
    plain, unique = defined(f"{stem}_plain"), defined(f"{stem}_unique")
    users = [text for text in SCRIPTS.values() if f"-- include {stem}_KIND\n" in text]
    shared = plain.keys() & unique.keys()
    assert shared
    for name in plain.keys() ^ unique.keys():
        assert not [text for text in users if re.search(rf"\b{name}\(", text)], name
    for name in shared:
        assert [text for text in users if re.search(rf"\b{name}\b", text)], name
        mine, other = plain[name], unique[name]
        assert (mine is None) == (other is None)
        if mine is not None and other is not None:
            assert mine == other[: len(mine)]
            given = [len(call.split(",")) for text in users for call in re.findall(rf"\b{name}\(([^()]*)\)", text)]
            assert set(given) <= {len(other)}


@pytest.mark.parametrize("name", [name for name, text in PIECES.items() if keys_named(text)])
def test_a_piece_with_a_key_of_its_own_finds_it_at_the_end(name: str) -> None:
    keys, used = keys_named(PIECES[name]), set(re.findall(r"KEYS\[.*?\]", PIECES[name]))
    if name.startswith("more_trials"):
        assert used == {"KEYS[1]"}  # the probe's own; the others are named for the access rules
    else:
        assert f"local {keys[0]} = KEYS[#KEYS]\n" in PIECES[name]
        assert (len(keys), used) == (1, {"KEYS[#KEYS]"})
    for script, kind in LOADED:
        if name in included(script, kind):
            assert load(script, kind).keys[-len(keys) :] == keys


def test_scripts_are_files() -> None:
    package = Path(pyrq.__file__).parent
    found = [path.name for path in package.rglob("*.py") if re.search(r"redis\.p?call|KEYS\[|ARGV\[", path.read_text())]
    assert found == []
    assert {path.relative_to(package).parent.as_posix() for path in package.rglob("*.lua")} == {
        "core/lua",
        "core/lua/lib",
    }
