from __future__ import annotations

import hashlib
from dataclasses import FrozenInstanceError
from importlib.resources import files
from typing import Any

import pytest

from pyrq.core import ops, script
from pyrq.core.script import Script, load

NAMES = sorted(
    path.name.removesuffix(".lua") for path in files("pyrq.core").joinpath("lua").iterdir() if path.is_file()
)


def fake_files(monkeypatch: pytest.MonkeyPatch, texts: dict[str, str]) -> None:
    monkeypatch.setattr(script, "_read", texts.__getitem__)


def test_there_is_one_script_for_each_builder() -> None:
    assert sorted(set(ops.__all__) - {"CHUNK"}) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_script_is_read(name: str) -> None:
    read = load(name)
    assert read.name == name
    assert read.sha == hashlib.sha1(read.source).hexdigest().encode()
    assert read == load(name)
    assert read.source.endswith(b"\n")


@pytest.mark.parametrize("name", NAMES)
def test_no_comment_goes_to_the_server(name: str) -> None:
    lines = load(name).source.decode().splitlines()
    assert not [line for line in lines if "--" in line or not line.strip()]


@pytest.mark.parametrize(
    ("name", "identified"),
    [("add", True), ("get", True), ("confirm", True), ("count", False), ("burn", False), ("probe", False)],
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
    with pytest.raises(LookupError):
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


def test_a_script_is_frozen_and_its_repr_is_short() -> None:
    read: Any = load("count")
    with pytest.raises(FrozenInstanceError):
        read.source = b""
    assert repr(read) == "Script(name='count')"
