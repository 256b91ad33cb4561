"""Lua scripts: real files beside this module, read once.

A script's header names its slots; its first lines of code give them names. A unit test holds the two together and
checks that every builder fills exactly these slots. Shared pieces lie in `lua/lib/` and are put in, one level deep,
where a line says `-- include NAME`. What differs between kinds of queues lies in pieces of the same functions, one for
each kind: a line `-- include NAME_KIND` takes the one of the kind that the script is loaded for. Such a piece may name
KEYS of its own, which come behind the script's.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from pyrq.core.keys import Kind

__all__ = ["Script", "load"]

_HEADER = re.compile(r"^-- (KEYS|ARGV)(?: +(.*))?$", re.MULTILINE)
_INCLUDE = re.compile(r"^-- include (\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n|\s+-- .*$", re.MULTILINE)
_IDENTITY = ("lane", "sequence", "ttl")


@dataclass(frozen=True, slots=True)
class Script:
    """A script as it goes to the server.

    Attributes:
        name: the file's name without `.lua`.
        source: the text with its includes, without comments.
        sha: what EVALSHA calls it.
        keys: the names of its KEYS, in order.
        args: the names of its ARGV, in order; a last one with `...` stands for any number.
        identified: whether its calls carry an identity (lane, sequence), so that a repeated call takes effect once
            and its reply begins with a `Status`.
    """

    name: str
    source: bytes = field(repr=False)
    sha: bytes = field(repr=False)
    keys: tuple[str, ...] = field(repr=False)
    args: tuple[str, ...] = field(repr=False)
    identified: bool = field(repr=False)


def load(name: str, kind: Kind = Kind.PLAIN) -> Script:
    """Reads a script and the pieces that it includes.

    Args:
        name: the file's name without `.lua`.
        kind: for which kind of queue.

    Returns:
        The script, its SHA computed.

    Raises:
        ValueError: an included piece includes another one.
    """
    text = _INCLUDE.sub(lambda found: _piece(found[1], kind), _read(f"{name}.lua"))
    slots: dict[str, tuple[str, ...]] = {}
    for slot, names in _HEADER.findall(text):
        slots[slot] = (*slots.get(slot, ()), *names.split())
    source = _COMMENT.sub(lambda found: "\n" if found[0].endswith("\n") else "", text)
    source = re.sub(r"\n{2,}", "\n", source).strip() + "\n"
    data = source.encode()
    args = slots["ARGV"]
    return Script(
        name=name,
        source=data,
        sha=hashlib.sha1(data, usedforsecurity=False).hexdigest().encode(),
        keys=slots["KEYS"],
        args=args,
        identified=args[: len(_IDENTITY)] == _IDENTITY,
    )


def _piece(name: str, kind: Kind) -> str:
    if name.endswith("_KIND"):
        name = name.removesuffix("KIND") + kind.name.lower()
    text = _read(f"lib/{name}.lua")
    if _INCLUDE.search(text):
        raise ValueError(f"lib/{name}.lua includes another piece; only one level is allowed")
    return text


@cache
def _read(path: str) -> str:
    return files(__package__).joinpath("lua", path).read_text(encoding="utf-8")
