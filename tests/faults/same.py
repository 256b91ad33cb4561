"""Fake against real: what the library does in memory, it does on each server: the same replies, the same keys."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pyrq.backends import Backend, connect
from pyrq.core.call import Call
from pyrq.core.errors import RqError
from tests.faults.campaign import Row, Trial
from tests.faults.same_cases import Case, cases
from tests.faults.same_walk import Failure, Place, Side, Walker, nameless
from tests.lossy import raw_client
from tests.servers import redis_client, running

__all__ = ["ROW"]

_TIME = re.compile(rb"\d{7,}(\.\d+)?")
"""What a time is, or the difference between two that are far apart."""
STEPS_PER_WALK = 100
_SLACK = 60
"""By so many seconds may times to live differ: the machine may be slow."""


@dataclass(frozen=True)
class Difference:
    """Something that is not the same, and why.

    Attributes:
        name: what it is called in the ledger.
        why: where it comes from.
        fake: what is heard in memory.
        real: what is heard on a server; the groups of the two must agree.
    """

    name: str
    why: str
    fake: re.Pattern[str]
    real: re.Pattern[str]

    def explains(self, fake: str, real: str) -> bool:
        one, two = self.fake.fullmatch(fake), self.real.fullmatch(real)
        return bool(one and two and one.groups() == two.groups())


DIFFERENCES = (
    Difference(
        "place in script",
        "A server says which line of which script a command failed in (Valkey: which line); fakeredis does not.",
        re.compile(r"(.*\[WRONGTYPE [^\]]*value)\]"),
        re.compile(r"(.*\[WRONGTYPE [^\]]*value) script: (?:[0-9a-f]{40}, )?on @user_script:\d+\.\]"),
    ),
    Difference(
        "words of Lua",
        "fakeredis hands on what lupa says of an error in a script, with a traceback.",
        re.compile(r'(.*\[)Error running script .*: \[string "<python>"\](:\d+: .*)\?stack traceback:.*\]'),
        re.compile(r"(.*\[)user_script(:\d+: .*) script: (?:[0-9a-f]{40}, )?on @user_script:\d+\.\]"),
    ),
)
"""All that is known to differ: the texts of two errors. Anything else is a failure, and so is one that is not seen."""


@dataclass(frozen=True)
class Seen:
    """What a case has led to.

    Attributes:
        told: what the caller heard, of each of its calls.
        keys: what the keys hold, after each.
        lives: for how many seconds they live, after each; -1 for ever.
    """

    told: list[Any]
    keys: list[dict[Any, Any]]
    lives: list[dict[Any, int]]

    def differs(self, other: Seen) -> str:
        """Says in what it differs from another one, or nothing."""
        for one, two in zip(self.told, other.told, strict=True):
            if one != two and not explained(one, two):
                return f"heard {_short(one)} and {_short(two)}"
        if self.keys != other.keys:
            changed = [
                key
                for one, two in zip(self.keys, other.keys, strict=True)
                for key in one.keys() | two.keys()
                if one.get(key) != two.get(key)
            ]
            return f"the contents of {sorted(set(changed))}"
        for one, two in zip(self.lives, other.lives, strict=True):
            for key, seconds in one.items():
                if (seconds < 0) is not (two[key] < 0) or abs(seconds - two[key]) > _SLACK:
                    return f"the life of {key!r}: {seconds} and {two[key]}"
        return ""


def explained(fake: Any, real: Any) -> str:
    """Gives which known difference there is between two errors, or nothing."""
    if isinstance(fake, Failure) and isinstance(real, Failure) and fake.kind == real.kind:
        for known in DIFFERENCES:
            if known.explains(fake.text, real.text):
                return known.name
    return ""


def same(trial: Trial) -> None:
    """Runs each case in memory and on each server, and walks through the library there."""
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(place) for place in _places(trial)]
        _compare_cases(trial, places)
        for walk in range(trial["walks"]):
            _walk(trial, places, walk)


def _compare_cases(trial: Trial, places: Sequence[Place]) -> None:
    fake, *servers = places
    everything = list(cases())
    chosen = trial.rng("cases").sample(everything, min(trial["cases"], len(everything)))
    seen: Counter[str] = Counter()
    for case in chosen:
        expected = _run(trial, fake, case)
        trial.count("cases")
        for server in servers:
            found = _run(trial, server, case)
            difference = expected.differs(found)
            trial.expect(not difference, f"{case.name}: in memory and on {server.name}: {difference}")
            seen.update(explained(*both) for both in zip(expected.told, found.told, strict=True))
    for known in DIFFERENCES:
        trial.count(f"differences ({known.name})", seen[known.name])
        complete = len(chosen) == len(everything) and servers
        trial.expect(seen[known.name] or not complete, f"the difference {known.name!r} is listed, and is not there")


def _walk(trial: Trial, places: Sequence[Place], number: int) -> None:
    """Does the same steps everywhere, up to the first that is not the same."""
    walker = Walker(trial.rng("walk", number))
    for place in places:
        place.client.flushall()
    sides = [Side(place) for place in places]
    for _ in range(STEPS_PER_WALK):
        step = walker.next()
        told = [side.do(step, trial.caught) for side in sides]
        walker.heard(step, told[0])
        seen = [
            Seen([one], *([nameless(each)] for each in look(side.place.client)))
            for one, side in zip(told, sides, strict=True)
        ]
        trial.count("walk steps")
        wrong = [
            f"{side.place.name}: {difference}"
            for side, one in zip(sides, seen, strict=True)
            if (difference := seen[0].differs(one))
        ]
        trial.expect(not wrong, f"walk {number}, {step.method} by {step.who}: in memory and on {wrong}")
        if wrong:
            break
    for side in sides:
        side.close()


def _places(trial: Trial) -> Iterator[contextlib.AbstractContextManager[Place]]:
    yield _memory(trial)
    for binary in trial.binaries():
        yield _server(binary)


@contextlib.contextmanager
def _memory(trial: Trial) -> Iterator[Place]:
    url = f"memory://same-{trial.seed}"
    backend, client = connect(url), raw_client(url)
    with contextlib.closing(backend), contextlib.closing(client):
        yield Place("memory", backend, client)


@contextlib.contextmanager
def _server(binary: Any) -> Iterator[Place]:
    with running(binary) as server:
        url = f"unix://{server.path}"
        backend, client = connect(url), redis_client(url)
        with contextlib.closing(backend), contextlib.closing(client):
            yield Place(binary.name, backend, client)


def _run(trial: Trial, place: Place, case: Case) -> Seen:
    place.client.flushall()
    case.prepare(place.client)
    seen = Seen([], [], [])
    for _ in range(2):
        seen.told.append(_masked(_ask(trial, place.backend, case.call), case.is_timed))
        keys, lives = look(place.client)
        seen.keys.append(_masked(keys, case.is_timed))
        seen.lives.append(lives)
    return seen


def _ask(trial: Trial, backend: Backend, call: Call[Any]) -> Any:
    """Gives the whole reply, its status included, or the error."""
    bare = replace(call, script=replace(call.script, identified=False), parse=_whole)
    try:
        return backend.run([bare])[0]
    except RqError as error:
        trial.caught(error)
        return Failure(type(error).__name__, str(error))


def _whole(reply: Any) -> Any:
    return reply


def look(client: Any) -> tuple[dict[bytes, Any], dict[bytes, int]]:
    """Gives what all keys hold, and for how many seconds they live."""
    names = sorted(client.scan_iter(count=1000))
    kinds, lives = (_piped(client, names, verb) for verb in ("type", "ttl"))
    pipeline = client.pipeline(transaction=False)
    reads = {
        b"list": lambda name: pipeline.lrange(name, 0, -1),
        b"hash": pipeline.hgetall,
        b"set": pipeline.smembers,
        b"zset": lambda name: pipeline.zrange(name, 0, -1, withscores=True),
        b"string": pipeline.get,
    }
    for name, kind in zip(names, kinds, strict=True):
        reads[kind](name)
    return dict(zip(names, pipeline.execute(), strict=True)), dict(zip(names, lives, strict=True))


def _piped(client: Any, names: list[bytes], verb: str) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for name in names:
        getattr(pipeline, verb)(name)
    replies: list[Any] = pipeline.execute()
    return replies


def _masked(value: Any, is_timed: bool) -> Any:
    """Leaves out times where the server's clock was read."""
    if not is_timed:
        return value
    if isinstance(value, bytes):
        return _TIME.sub(b"#", value)
    if isinstance(value, float | int):
        return value if abs(value) < 10**7 else "#"
    if isinstance(value, dict):
        return {_masked(key, True): _masked(each, True) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return type(value)(_masked(each, True) for each in value)
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 600 else f"{text[:600]}…"


ROW = Row(
    name="same",
    what="fake against real: each script in many states, the same replies and the same keys",
    run=same,
    full={"cases": 100_000, "walks": 20},
    quick={"cases": 200, "walks": 1},
)
