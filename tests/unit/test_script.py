from __future__ import annotations

import hashlib
from dataclasses import FrozenInstanceError
from importlib.resources import files
from typing import Any

import pytest

from pyrq.core import script
from pyrq.core.keys import Kind
from pyrq.core.script import Script, load
from tests.unit.builders import POOL_BUILDERS, QUEUE_BUILDERS, QUEUES

NAMES = sorted(
    path.name.removesuffix(".lua") for path in files("pyrq.core").joinpath("lua").iterdir() if path.is_file()
)


def fake_files(monkeypatch: pytest.MonkeyPatch, texts: dict[str, str]) -> None:
    monkeypatch.setattr(script, "_read", texts.__getitem__)


def test_there_is_one_script_for_each_builder() -> None:
    assert sorted({builder().script.name for builder in (*QUEUE_BUILDERS, *POOL_BUILDERS)}) == NAMES


@pytest.mark.parametrize("kind", QUEUES)
@pytest.mark.parametrize("name", NAMES)
def test_a_script_is_read(name: str, kind: Kind) -> None:
    read = load(name, kind)
    assert read.name == name
    assert read.sha == hashlib.sha1(read.source).hexdigest().encode()
    assert read == load(name, kind)
    assert read.source.endswith(b"\n")


@pytest.mark.parametrize("kind", QUEUES)
@pytest.mark.parametrize("name", NAMES)
def test_no_comment_goes_to_the_server(name: str, kind: Kind) -> None:
    lines = load(name, kind).source.decode().splitlines()
    assert not [line for line in lines if "--" in line or not line.strip()]


@pytest.mark.parametrize(
    ("name", "identified"),
    [
        *(("add", True), ("get", True), ("confirm", True), ("repair", True), ("roll_back", True), ("pool_get", True)),
        *(("count", False), ("burn", False), ("probe", False), ("pool_has", False), ("pool_count_due", False)),
    ],
)
def test_which_scripts_carry_an_identity(name: str, identified: bool) -> None:
    assert load(name).identified is identified


def test_the_header_is_read_and_pieces_are_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_files(
        monkeypatch,
        {
            "x.lua": "-- x: does it.\n--\n-- KEYS session queue\n-- ARGV lane sequence ttl item...\n-- REPLY 1\n"
            "-- include one\n\nlocal a = 1  -- why\n\n  -- and\nreturn a\n",
            "lib/one.lua": "-- a piece\nlocal b = 2\n",
        },
    )
    assert load("x") == Script(
        name="x",
        source=b"local b = 2\nlocal a = 1\nreturn a\n",
        sha=hashlib.sha1(b"local b = 2\nlocal a = 1\nreturn a\n").hexdigest().encode(),
        keys=("session", "queue"),
        args=("lane", "sequence", "ttl", "item..."),
        identified=True,
    )


def test_a_header_without_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_files(monkeypatch, {"x.lua": "-- KEYS queue\n-- ARGV\n-- REPLY 1\nreturn 1\n"})
    assert (load("x").keys, load("x").args, load("x").identified) == (("queue",), (), False)


@pytest.mark.parametrize("header", ["-- KEYS queue\n", "-- ARGV\n", ""])
def test_a_header_must_be_whole(monkeypatch: pytest.MonkeyPatch, header: str) -> None:
    fake_files(monkeypatch, {"x.lua": header + "return 1\n"})
    with pytest.raises(KeyError, match="ARGV" if "KEYS" in header else "KEYS|ARGV"):
        load("x")


def test_pieces_are_one_level_deep(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_files(
        monkeypatch,
        {
            "x.lua": "-- KEYS queue\n-- ARGV\n-- include one\nreturn 1\n",
            "lib/one.lua": "-- include two\n",
            "lib/two.lua": "\n",
        },
    )
    with pytest.raises(ValueError, match=r"^lib/one.lua includes another piece; only one level is allowed$"):
        load("x")


# Kinds

OF_KINDS = {
    "x.lua": "-- x: does it.\n--\n-- KEYS session queue\n-- ARGV item...\n-- REPLY 1\n"
    "-- include common\n-- include one_KIND\n\nreturn a + b\n",
    "lib/common.lua": "local a = 1\n",
    "lib/one_plain.lua": "local b = 2\n",
    "lib/one_unique.lua": "-- more\n--\n-- KEYS unique repair\n\nlocal b = 3\n",
}


def test_a_piece_is_that_of_the_kind_and_its_keys_come_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_files(monkeypatch, OF_KINDS)
    plain, unique = load("x"), load("x", Kind.UNIQUE)
    assert load("x", Kind.PLAIN) == plain != unique
    assert plain.source == b"local a = 1\nlocal b = 2\nreturn a + b\n"
    assert unique.source == b"local a = 1\nlocal b = 3\nreturn a + b\n"
    assert (plain.keys, plain.args) == (("session", "queue"), ("item...",))
    assert (unique.keys, unique.args) == (("session", "queue", "unique", "repair"), ("item...",))
    assert plain.name == unique.name == "x"
    assert plain.sha != unique.sha


@pytest.mark.parametrize("missing", ["-- KEYS session queue\n", "-- ARGV item...\n"])
def test_a_piece_that_has_a_header_makes_up_for_no_script_without(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    fake_files(monkeypatch, {**OF_KINDS, "x.lua": OF_KINDS["x.lua"].replace(missing, "")})
    with pytest.raises(KeyError):
        load("x")


def test_there_must_be_a_piece_for_the_kind() -> None:
    with pytest.raises(FileNotFoundError, match=r"waiting_pool\.lua"):
        load("add", Kind.POOL)


def test_a_script_of_all_kinds_is_the_same_for_each() -> None:
    assert load("count") == load("count", Kind.UNIQUE) == load("count", Kind.POOL)


def test_a_script_is_frozen_and_its_repr_is_short() -> None:
    read: Any = load("count")
    with pytest.raises(FrozenInstanceError):
        read.source = b""
    assert repr(read) == "Script(name='count')"
