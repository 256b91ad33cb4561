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
from pyrq.core.script import load

LUA = files("pyrq.core").joinpath("lua")
SCRIPTS = {path.name.removesuffix(".lua"): path.read_text() for path in LUA.iterdir() if path.name.endswith(".lua")}
PIECES = {path.name.removesuffix(".lua"): path.read_text() for path in LUA.joinpath("lib").iterdir()}
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


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_compiles_and_uses_no_undeclared_name(name: str) -> None:
    assert problems(load(name).source) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_taking_out_the_comments_changes_no_code(name: str) -> None:
    whole = re.sub(r"^-- include (\w+)$", lambda found: PIECES[found[1]], SCRIPTS[name], flags=re.MULTILINE)
    assert functions(whole.encode()) == functions(load(name).source)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_header_names_the_script_its_slots_and_its_reply(name: str) -> None:
    header = re.match(r"(--.*\n)+", SCRIPTS[name])
    assert header
    assert SCRIPTS[name].startswith(f"-- {name}: ")
    kinds = re.findall(r"^-- (KEYS|ARGV|REPLY)\b", header[0], re.MULTILINE)
    assert kinds == ["KEYS", "ARGV", "REPLY"]
    assert re.search(r"^-- REPLY \S", header[0], re.MULTILINE)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_keys_have_the_names_of_the_header(name: str) -> None:
    text, keys = load(name).source.decode(), load(name).keys
    assert keys
    if named := re.search(r"^local ([\w, ]+) = unpack\(KEYS\)$", text, re.MULTILINE):
        assert tuple(named[1].split(", ")) == keys
    elif named := re.search(r"^local (\w+) = KEYS\[1\]$", text, re.MULTILINE):
        # The probe's other keys are declared for the sake of access rules, and not touched.
        assert named[1] == keys[0]
        assert name == "probe" or len(keys) == 1
    else:
        assert len(keys) == 1
        assert "KEYS[1]" in text
    assert not re.findall(r"KEYS\[(?!1\])", text)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_arguments_have_the_names_of_the_header(name: str) -> None:
    text, args = load(name).source.decode(), load(name).args
    fixed = tuple(slot for slot in args if not slot.endswith("..."))
    if not args:
        assert "ARGV" not in text
        return
    if named := re.search(r"^local ([\w, ]+) = unpack\(ARGV(?:, 1, (\d+))?\)$", text, re.MULTILINE):
        assert tuple(named[1].split(", ")) == fixed
        assert named[2] == (None if args == fixed else str(len(fixed)))
    else:
        named = re.search(r"^local (\w+) = ARGV\[1\]$", text, re.MULTILINE)
        assert named
        assert (named[1],) == fixed
    if args != fixed:
        assert args[-1].endswith("...")
        first = re.search(r"^local FIRST = (\d+)$", text, re.MULTILINE) or re.search(
            r"^for i = (\d+), #ARGV", text, re.MULTILINE
        )
        assert first
        assert int(first[1]) == len(fixed) + 1


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_slot_is_named_once(name: str) -> None:
    script = load(name)
    assert len({*script.keys, *script.args}) == len(script.keys) + len(script.args)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_that_changes_something_looks_first_whether_it_has_run(name: str) -> None:
    text = load(name).source.decode()
    if load(name).identified and name not in ("confirm", "get"):
        first = text.index("local known = recall(session, lane, sequence, ttl)\nif known then return known end")
        assert "redis.call" not in text[text.rindex("unpack(ARGV", 0, first) : first]
        assert "return remember(session, lane, sequence, ttl" in text


@pytest.mark.parametrize("name", SCRIPTS)
def test_includes_exist_and_come_once(name: str) -> None:
    included = re.findall(r"^-- include (.*)$", SCRIPTS[name], re.MULTILINE)
    assert set(included) <= set(PIECES)
    assert len(set(included)) == len(included)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_reads_no_other_clock_and_no_dice(name: str) -> None:
    source = load(name).source
    assert b"math.random" not in source
    assert (b"'TIME'" in source) == (name == "probe" or "server_time" in SCRIPTS[name])


# Where scripts are


@pytest.mark.parametrize("name", PIECES)
def test_a_piece_includes_nothing_and_is_used(name: str) -> None:
    assert "-- include" not in PIECES[name]
    assert [script for script, text in SCRIPTS.items() if f"-- include {name}\n" in text]


@pytest.mark.parametrize("name", PIECES)
def test_a_piece_makes_no_global_name(name: str) -> None:
    assert global_names(PIECES[name].encode(), SET_GLOBAL) == set()


def test_scripts_are_files() -> None:
    package = Path(pyrq.__file__).parent
    found = [path.name for path in package.rglob("*.py") if re.search(r"redis\.p?call|KEYS\[|ARGV\[", path.read_text())]
    assert found == []
    assert {path.relative_to(package).parent.as_posix() for path in package.rglob("*.lua")} == {
        "core/lua",
        "core/lua/lib",
    }
