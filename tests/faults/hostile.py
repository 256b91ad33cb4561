"""Hostile input: names, items, options, URLs and replies that nobody should send.

Whatever it is, there must be a right result or a clear error: one of the library, or a TypeError or ValueError that
names the argument. Nothing may be lost by it, and no text may quote an item or a password.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from hypothesis import strategies

import pyrq
from pyrq import BytesCodec, JsonCodec
from pyrq.backends import connect
from pyrq.core.keys import Keys
from tests.faults.campaign import Row, Trial
from tests.faults.fuzzing import CALLS, Fuzzer, attempt, hypothetical, split
from tests.faults.hostile_options import options
from tests.faults.hostile_replies import garbled, replies
from tests.faults.hostile_urls import urls
from tests.faults.ledger import MARK
from tests.integration.leaks import remains
from tests.servers import Server, World, running

__all__ = ["ROW"]

_HANGS_AFTER = 30.0
"""No call may take as long."""
_ENDS_AFTER = 300.0
"""No part may take as long."""
_TOGETHER = 50
_HYPOTHETICAL = 20
"""Of every so many inputs one is hypothesis's, which is slow, and finds other things."""


def run(trial: Trial) -> None:
    """Runs each part on each server."""
    for which, binary in enumerate(trial.binaries()):
        with running(binary, tcp=True) as server:
            for part in (names, items, options, urls, replies, garbled):
                many, before = trial.share(part.__name__, which), trial.ledger.figures["inputs"]
                _watched(trial, part, server, Fuzzer(trial.rng(part.__name__, binary.name)), many)
                done = trial.ledger.figures["inputs"] - before
                trial.expect(done == many, f"{part.__name__}: {done} inputs instead of {many}")


def _watched(trial: Trial, part: Callable[..., None], server: Server, fuzzer: Fuzzer, many: int) -> None:
    """Runs a part in a thread, because a call that hangs is one of the things that it looks for."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            part(trial, server, fuzzer, many)
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    until = time.monotonic() + _ENDS_AFTER
    while thread.is_alive() and time.monotonic() < until and not CALLS.hanging(_HANGS_AFTER):
        thread.join(0.5)
    if thread.is_alive():
        # What hangs can't be ended, and would be found in the next part again: this ends the row.
        reason = "; ".join(CALLS.hanging(_HANGS_AFTER)) or f"it takes more than {_ENDS_AFTER:g} s"
        raise AssertionError(f"{part.__name__}: {reason}")
    if failures:
        raise failures[0]


# Names


def names(trial: Trial, server: Server, fuzzer: Fuzzer, many: int) -> None:
    """Names are refused, or queues of that name work, and share no key with another."""
    owners: dict[bytes, str] = {}
    backend = connect(server.url)

    def try_one(name: Any) -> None:
        kind, argument = fuzzer.rng.choice((("Queue", "name"), ("UniqueQueue", "queue_name"), ("Pool", "name")))
        made = attempt(trial, lambda: getattr(pyrq, kind)(name, backend), argument)
        if made is None:
            return
        trial.count("accepted")
        keys = Keys.of(made.name, "me", made._setup.kind)
        for key in (value for field, value in _fields(keys) if isinstance(value, bytes) and field != "consumer"):
            owner = owners.setdefault(key, made.name)
            trial.expect(owner == made.name, "two names share a key")
        if fuzzer.rng.random() < 0.1:
            _works(trial, made)

    try_one("orders")
    some = strategies.text() | strategies.from_regex(r"[a-z{}/-]{1,9}")
    tried = 1 + hypothetical(fuzzer.rng, some, many // _HYPOTHETICAL, try_one)
    for _ in range(many - tried):
        try_one(fuzzer.text("orders") if fuzzer.rng.random() < 0.8 else fuzzer.value())
    backend.close()
    with server.client() as client:
        trial.blame("stranded", sum(b"/session/" not in key for key in client.scan_iter(count=1000)), "by a name")


def _fields(keys: Keys) -> list[tuple[str, Any]]:
    return [(field, getattr(keys, field)) for field in Keys.__slots__]


def _works(trial: Trial, made: Any) -> None:
    item = f"{MARK} of a name"
    with CALLS.calling("a queue of an odd name"):
        fine = made.add_item(item) and made.get_items(1) == [item]
        settled = made.remove_item(item) if isinstance(made, pyrq.Pool) else made.ack_item(item)
        made.close()
    trial.expect(fine and settled, "a queue with an odd name does not work")


# Items


def items(trial: Trial, server: Server, fuzzer: Fuzzer, many: int) -> None:
    """Items are refused, or come out as they went in, in order, and are acknowledged by their value."""
    worlds = [World("sync"), World("aio")]
    try:
        lots = list(itertools.product(worlds, _CODECS))
        for (world, (name, codec, expected)), share in zip(lots, split(many, len(lots)), strict=True):
            queue = world.queue(f"items-{name}", server.url, codec=codec)
            lot = Lot(trial, queue, expected)
            some = _any_json() | strategies.binary()
            tried = hypothetical(fuzzer.rng, some, share // _HYPOTHETICAL, lot.put)
            for _ in range(share - tried):
                lot.put(fuzzer.value())
            lot.take()
            queue.close()
    finally:
        for world in worlds:
            world.close()
    with server.client() as client:
        trial.blame("stranded", len(remains(client, *(f"items-{name}" for name, _, _ in _CODECS))), "keys of odd items")


class Lot:
    """Items that are in a queue, and how they have to come out."""

    def __init__(self, trial: Trial, queue: Any, expected: Callable[[Any], Any]) -> None:
        self._trial = trial
        self._queue = queue
        self._expected = expected
        self._in: list[tuple[Any, Any]] = []

    def put(self, value: Any) -> None:
        """Adds an item, if it is one."""
        if fine := attempt(self._trial, lambda: self._queue.add_item(value)):
            self._trial.count("accepted")
        try:
            expected = None if value is None else self._expected(value)
        except Exception:  # noqa: BLE001 - what can't be encoded is to be refused
            expected = None
        self._trial.expect(
            bool(fine) is (expected is not None), f"{type(value).__name__} as an item: accepted is {fine}"
        )
        if fine:
            self._in.append((value, expected))
        if len(self._in) >= _TOGETHER:
            self.take()

    def take(self) -> None:
        """Takes all items out and acknowledges them by what they were made of."""
        with CALLS.calling("a get of odd items"):
            found = self._queue.get_items(2 * _TOGETHER)
        self._trial.blame("lost", max(0, len(self._in) - len(found)), "items of odd content")
        same = all(type(item) is type(want) and item == want for item, (_, want) in zip(found, self._in, strict=False))
        self._trial.expect(same, "an item came out as another")
        with CALLS.calling("an ack of odd items"):
            acked = self._queue.ack_items([value for value, _ in self._in])
        self._trial.expect(acked == len(self._in), f"{acked} of {len(self._in)} odd items were acknowledged")
        self._in.clear()


def _as_text(value: Any) -> str:
    data = (
        bytes(value)
        if isinstance(value, bytes | bytearray | memoryview)
        else str(value).encode(errors="surrogateescape")
    )
    return data.decode(errors="surrogateescape")


def _as_bytes(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError
    return bytes(value)


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True).encode())


_CODECS: tuple[tuple[str, Any, Callable[[Any], Any]], ...] = (
    ("text", None, _as_text),
    ("bytes", BytesCodec(), _as_bytes),
    ("json", JsonCodec(), _as_json),
)


def _any_json() -> strategies.SearchStrategy[Any]:
    leaves = strategies.none() | strategies.booleans() | strategies.floats() | strategies.integers() | strategies.text()
    return strategies.recursive(
        leaves, lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(), inner)
    )


ROW = Row(
    "hostile",
    "hostile names, items, options, URLs and replies",
    run,
    full={"names": 20_000, "items": 22_000, "options": 18_000, "urls": 7_000, "replies": 31_000, "garbled": 2_000},
    quick={"names": 900, "items": 800, "options": 900, "urls": 260, "replies": 1_100, "garbled": 80},
)
