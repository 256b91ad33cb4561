"""Both worlds, spoken to in one way, on a fake server whose clock the test sets."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import pytest

from pyrq import aio, sync
from pyrq.aio.dead_letters import DeadLetters
from pyrq.backends import connect
from pyrq.core.call import Call
from pyrq.core.options import Durability
from tests.unit.helpers import raw
from tests.unit.taking_helpers import AsyncRecordingBackend, Moving, RecordingBackend

NOW = 1_700_000_000
"""What time it is at the start, in whole seconds."""
LIMITS: dict[str, Any] = {"max_retry_rollback": 2, "max_timeout_in_queue": 10}
CLASSES = ("Queue", "UniqueQueue", "Pool")
RUNNING = {"batch", "consume", "consume_batches"}
"""Methods that do more than one thing."""
HELD = ["0", "1", "2", "3"]
"""What an object that is prepared holds; 1 and 2 wait again."""


@dataclass
class Timed(Moving):
    """What the two backends do besides recording.

    Attributes:
        now: what time it is on the server, in unix seconds.
        twice: whether what changes something runs twice, as if its first reply were lost; both are answered the same.
        after: called behind each run.
    """

    now: str = f"{NOW}.75"
    twice: bool = False
    after: Callable[[], object] = lambda: None

    def at(self, second: float) -> None:
        """Sets the clock to so many seconds after the time at the start."""
        self.now = f"{NOW + 0.75 + second:.2f}"

    def _timed(self, calls: Sequence[Call[Any]]) -> list[Call[Any]]:
        return [timed(call, self.now) for call in calls]

    def _runs(self, calls: Sequence[Call[Any]]) -> int:
        repeated = self.twice and calls[-1].script.identified
        self.doubts += repeated
        return 1 + repeated

    def _answer(self, answers: list[list[Any]]) -> list[Any]:
        assert all(answer == answers[0] for answer in answers)
        self.after()
        return answers[-1]


def timed(call: Call[Any], now: str) -> Call[Any]:
    """Gives a call another time than the server's."""
    if "now" not in call.script.args:
        return call
    place = call.script.args.index("now")
    return replace(call, args=(*call.args[:place], now.encode(), *call.args[place + 1 :]))


class TimedBackend(Timed, RecordingBackend):
    """For threads."""

    def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        calls = self._timed(calls)
        return self._answer([RecordingBackend.run(self, calls, durability) for _ in range(self._runs(calls))])


class AsyncTimedBackend(Timed, AsyncRecordingBackend):
    """For asyncio."""

    async def run(self, calls: Sequence[Call[Any]], durability: Durability | None = None) -> list[Any]:
        calls = self._timed(calls)
        return self._answer(
            [await AsyncRecordingBackend.run(self, calls, durability) for _ in range(self._runs(calls))]
        )


class Driven:
    """An object of the aio world, driven as if it were of the other."""

    def __init__(self, runner: asyncio.Runner, made: Any) -> None:
        self.runner, self.made = runner, made

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.made, name)
        if inspect.iscoroutine(value):
            return self.runner.run(value)
        if isinstance(value, DeadLetters):
            return Driven(self.runner, value)
        if name == "batch":
            return lambda *args, **options: Driven(self.runner, value(*args, **options))
        if not inspect.iscoroutinefunction(value):
            return value
        return lambda *args, **options: self.runner.run(value(*args, **options))

    def __getitem__(self, index: Any) -> Any:
        return self.made[index]

    def __len__(self) -> int:
        return len(self.made)

    def __repr__(self) -> str:
        return repr(self.made)

    def __enter__(self) -> Driven:
        entered = self.runner.run(self.made.__aenter__())
        return self if entered is self.made else Driven(self.runner, entered)

    def __exit__(self, *error: object) -> bool | None:
        hidden: bool | None = self.runner.run(self.made.__aexit__(*error))
        return hidden


class World:
    """One of the two worlds. What it makes is on its own fake server, and looks the same in both."""

    def __init__(self, name: str) -> None:
        self.is_aio = name == "aio"
        self.module: Any = aio if self.is_aio else sync
        self.backend: TimedBackend | AsyncTimedBackend = AsyncTimedBackend() if self.is_aio else TimedBackend()
        self.client = raw(self.backend.url)
        self._runner = asyncio.Runner()
        self._opened: list[Any] = []

    def make(self, kind: str, *args: Any, **options: Any) -> Any:
        """Makes an object of a class."""
        if not self.is_aio:
            self._opened.append(self.module.__dict__[kind](*args, **options))
            return self._opened[-1]

        async def make() -> Any:
            return self.module.__dict__[kind](*args, **options)

        return self.driven(self._runner.run(make()))

    def driven(self, made: Any) -> Any:
        """Gives an object that was made in another way, such as by copying, as `make` would."""
        self._opened.append(Driven(self._runner, made) if self.is_aio else made)
        return self._opened[-1]

    def bare(self, made: Any) -> Any:
        """Gives the library's own object."""
        return made.made if self.is_aio else made

    def queue(self, **options: Any) -> Any:
        return self.make("Queue", "orders", self.backend, **options)

    def unique(self, **options: Any) -> Any:
        return self.make("UniqueQueue", "orders", self.backend, **options)

    def pool(self, **options: Any) -> Any:
        return self.make("Pool", "orders", self.backend, **options)

    def any(self, kind: str, **options: Any) -> Any:
        """Makes an object of any class; queues have rollback limits."""
        return self.make(kind, "orders", self.backend, **({} if kind == "Pool" else LIMITS), **options)

    def send(self, call: Call[Any]) -> Any:
        """Brings a call to the server, past all objects."""
        return connect(self.backend.url).run([call])[0]

    def dump(self) -> dict[bytes, Any]:
        """Gives all keys, with all that is in them."""
        return dump(self.client)

    def close(self) -> None:
        for made in self._opened:
            made.close()
        self._runner.close()
        self.client.close()


def opened(request: pytest.FixtureRequest) -> Iterator[World]:
    """Gives a world, as a fixture does."""
    world = World(request.param)
    yield world
    world.close()


def dump(client: Any, but: str = "") -> dict[bytes, Any]:
    """Gives all keys with all that is in them, but those with something in their name."""
    readers: dict[bytes, Callable[[bytes], Any]] = {
        b"string": client.get,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"hash": client.hgetall,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    keys = [key for key in sorted(client.scan_iter()) if not but or but.encode() not in key]
    return {key: readers[client.type(key)](key) for key in keys}


def prepared(world: World, kind: str, **options: Any) -> Any:
    """Gives an object with items in all states, on a server with nothing else."""
    world.client.flushall()
    world.backend.twice = False
    one = world.any(kind, **options)
    one.add_items([*HELD, "waits"])
    one.get_items(len(HELD))
    one.add_items(["1", "2"])
    if kind != "Pool":
        one.can_rollback_item("1")
        world.client.sadd("orders-unique", "stale")
    return one


def call(made: Any, name: str, *args: Any) -> Any:
    """Calls a method, by its name or, as `dead.count`, that of what a property gives."""
    return attrgetter(name)(made)(*args)


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last)]


def arguments(kind: str) -> dict[str, tuple[Any, ...]]:
    """Gives right arguments for every method of a class that talks to the server, but for those of `RUNNING`."""
    common: dict[str, tuple[Any, ...]] = {
        **{f"{verb}_item": ("x",) for verb in ("add", "ack", "delete")},
        **{f"{verb}_items": (["x"],) for verb in ("add", "ack", "delete")},
        "get_items": (1,),
        "get_count": (),
    }
    if kind == "Pool":
        return common | {
            "remove_item": ("x",),
            "remove_items": (["x"],),
            "get_all_items": (),
            "is_in_pool": ("x",),
            "get_count_to_process": (),
            "clear_pool": (),
        }
    return (
        common
        | {f"{verb}_item": ("x",) for verb in ("reject", "revert", "can_rollback", "reset_blocked")}
        | {f"{verb}_items": (["x"],) for verb in ("reject", "revert")}
        | {f"{verb}_{which}_items": () for verb in ("re_enqueue", "drop") for which in ("timeout", "all")}
        | {f"dead.{name}": () for name in ("count", "redrive", "purge")}
        | dict.fromkeys(("release", "stats", "in_flight", "pause", "resume"), ())
        | {"ack_and_get": (["x"], 1), "peek": (1,), "dead.peek": (1,)}
        | ({"repair": ()} if kind == "UniqueQueue" else {})
    )
