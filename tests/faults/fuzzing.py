"""What nobody should send, made at random from a seed, and how what becomes of it is judged."""

from __future__ import annotations

import random
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import strategies

from pyrq.core.wire import TryLater
from pyrq.errors import RqError
from tests.faults.campaign import Trial
from tests.faults.ledger import MARK, SECRET

__all__ = ["CALLS", "REFUSED", "Calls", "Fuzzer", "Outcome", "attempt", "hypothetical", "judged", "split"]

REFUSED = (TypeError, ValueError)
"""Besides the library's own errors, what a wrong argument may raise; it names the argument."""

_NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2, 7, 999, 1000, 1001, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**25, 10**400, -(10**400), 10**5000),
    *(0.0, -0.0, 0.5, -0.5, 1.0, 1e-320, 1e308, float("nan"), float("inf"), float("-inf")),
    *(True, False, Fraction(1, 3), Fraction(10**400), Decimal(5), Decimal("nan"), 1j),
)
_PIECES = (
    *(
        "",
        " ",
        "/",
        "/dead",
        "/meta",
        "{",
        "}",
        "{}",
        "{a}",
        "-processing-",
        "-timeouts",
        "-unique",
        "-retry-count",
        "-processing",
    ),
    *("\0", "\n", "\r\n", "\x7f", "\x85", "\u2028", "\ud800", "\udcff", "\udc80", "é", "💥", "e\u0301", "\ufeff"),
    *("*", "?", "[", "]", "%", "%00", "%s", "{0}", "\\", "'", '"', "`", "None", "-1", "0", "a" * 199, "é" * 101),
    *("$5\r\nhello\r\n", "*1\r\n", ":", "@", "#", "&", "=", "//", "::1", "..", "orders", MARK),
)


class Broken:
    """An object that can't be made text of."""

    def __init__(self, raised: type[BaseException] | None) -> None:
        """Makes one.

        Args:
            raised: what it raises instead; None to give something that is no text.
        """
        self._raised = raised

    def __str__(self) -> str:
        if self._raised is None:
            return 5  # type: ignore[return-value]
        raise self._raised(f"{MARK} {SECRET}")

    __repr__ = __str__


class Index:
    """A number by its `__index__` only."""

    def __index__(self) -> int:
        return 3


class Text(str):
    """A text that says something else of itself."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"{MARK} other"


class Fuzzer:
    """Makes what nobody expects."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def text(self, valid: str = "") -> str:
        """Makes a text, from a valid one if there is one."""
        rng = self.rng
        text = valid or rng.choice(_PIECES)
        for _ in range(rng.choice((1, 1, 2, 3, 8))):
            at, upto = sorted(rng.randrange(len(text) + 1) for _ in range(2))
            piece = rng.choice(_PIECES) if rng.random() < 0.6 else chr(rng.randrange(0x110000))
            text = rng.choice((text[:at] + piece + text[at:], text[:at] + text[upto:], text[:at] + piece + text[upto:]))
        return text[:3000]

    def data(self) -> bytes:
        """Makes bytes."""
        return self.rng.randbytes(self.rng.choice((0, 1, 3, 20, 300)))

    def number(self) -> Any:
        """Makes a number, of any type."""
        return self.rng.choice(_NUMBERS) if self.rng.random() < 0.8 else self.rng.uniform(-1e4, 1e4)

    def value(self, depth: int = 0) -> Any:
        """Makes any value."""
        made: tuple[Callable[[], Any], ...] = (
            *(self.number, self.text, self.data, self.number, self.text, lambda: self.text(MARK)),
            *(
                lambda: None,
                object,
                Index,
                lambda: Text("x"),
                lambda: bytearray(self.data()),
                lambda: int,
                Ellipsis.__str__,
            ),
            lambda: memoryview(self.data()),
            lambda: Broken(self.rng.choice((ValueError, KeyError, UnicodeError, RecursionError, None))),
        )
        nested: tuple[Callable[[], Any], ...] = (
            lambda: [self.value(depth + 1) for _ in range(self.rng.randrange(4))],
            lambda: {self.text(): self.value(depth + 1) for _ in range(self.rng.randrange(3))},
            lambda: (self.value(depth + 1),),
            lambda: iter([self.value(depth + 1)]),
        )
        return self.rng.choice(made if depth > 2 else made + nested)()

    # Replies

    def reply(self, depth: int = 0) -> Any:
        """Makes a reply as redis-py would give it, but for errors."""
        rng = self.rng
        if depth < 4 and rng.random() < 0.35:
            return [self.reply(depth + 1) for _ in range(rng.randrange(7))]
        return rng.choice(
            (
                *(None, 0, 1, 2, 3, 4, -1, 2**63 - 1, -(2**63), 10**400, True, False, 0.5, float("nan")),
                *(b"", b"1", b"OK", b"nan", b"1e999", self.data(), MARK.encode(), "text", {}, {b"a": 1}, {1: []}),
            )
        )

    def mutated(self, reply: Any) -> Any:
        """Makes something like a valid reply."""
        rng = self.rng
        if not isinstance(reply, list) or not reply or rng.random() < 0.2:
            return self.reply()
        copy, at = list(reply), rng.randrange(len(reply))
        match rng.randrange(5):
            case 0:
                del copy[at:]
            case 1:
                copy.insert(at, self.reply())
            case 2:
                copy[at] = self.mutated(copy[at])
            case 3:
                copy[at] = self.reply()
            case _:
                copy = copy * 2
        return copy

    def error_text(self, *quoted: bytes) -> str:
        """Makes the text of an error reply; it may quote something."""
        rng = self.rng
        code = rng.choice(
            (
                *("ERR", "OOM", "NOPERM", "WRONGTYPE", "WRONGPASS", "NOAUTH", "READONLY", "LOADING", "BUSY", "MISCONF"),
                *(
                    "NOREPLICAS",
                    "MOVED",
                    "ASK",
                    "TRYAGAIN",
                    "CLUSTERDOWN",
                    "UNBLOCKED",
                    "EXECABORT",
                    "NOSCRIPT",
                    "",
                    "é",
                ),
            )
        )
        whole = rng.choice(quoted).decode("utf-8", "replace") if quoted else ""
        part = whole[rng.randrange(4) :][: rng.randrange(20, 400)] if rng.random() < 0.5 else whole
        other = self.text().replace(MARK, "")
        parts = ("", "unknown command", "can't run", "appendonly is disabled", part, f"'{part}'", other)
        text = " ".join((code, *rng.choices(parts, k=3)))
        return rng.choice((text, text, f"ERR Error running script: -{text}"))

    def resp(self, depth: int = 0) -> bytes:
        """Makes what a server might say, in RESP 2 or 3, right or wrong."""
        rng = self.rng
        if depth < 3 and rng.random() < 0.3:
            size = rng.randrange(6)
            body = b"".join(self.resp(depth + 1) for _ in range(size))
            return rng.choice((b"*%d\r\n", b"*%d\r\n", b"~%d\r\n", b">%d\r\n")) % size + body
        return rng.choice(
            (
                *(b"+OK\r\n", b":1\r\n", b":0\r\n", b":-5\r\n", b"$-1\r\n", b"*-1\r\n", b"$3\r\nabc\r\n", b"*0\r\n"),
                *(
                    b":12x\r\n",
                    b":99999999999999999999999\r\n",
                    b"$-7\r\n",
                    b"$99999999\r\nabc\r\n",
                    b"$x\r\n",
                    b"*x\r\n",
                ),
                *(b"#t\r\n", b"#x\r\n", b",nan\r\n", b",x\r\n", b"_\r\n", b"(" + b"9" * 5000 + b"\r\n", b"(x\r\n"),
                *(b"%1\r\n+a\r\n:1\r\n", b"%1\r\n*0\r\n:1\r\n", b"%1\r\n", b"=7\r\ntxt:abc\r\n", b"=2\r\nab\r\n"),
                *(
                    b"!5\r\nERR \xff\r\n",
                    b"-\r\n",
                    b"- \r\n",
                    b"-ERR \xff\xfe\r\n",
                    b"\r\n",
                    b"\n",
                    b"\0",
                    b"HTTP/1.1 400\r\n",
                ),
                *(b"-%s\r\n" % self.error_text().encode("utf-8", "replace").replace(b"\r", b"").replace(b"\n", b""),),
                *(self.data(), b"|1\r\n+a\r\n:1\r\n:1\r\n", b"*1000000\r\n", b"*3\r\n:1\r\n"),
            )
        )


class Calls:
    """What is being called, in whatever thread, and since when."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._under_way: dict[int, tuple[float, str]] = {}

    @contextmanager
    def calling(self, what: str) -> Iterator[None]:
        """Notes a call for as long as it takes."""
        me = threading.get_ident()
        self._under_way[me] = self._clock(), what
        try:
            yield
        finally:
            del self._under_way[me]

    def hanging(self, seconds: float) -> list[str]:
        """Gives the calls that take longer than that, and where they are."""
        frames = sys._current_frames()
        return [
            f"{what} takes {self._clock() - began:.0f} s ({_innermost(traceback.extract_stack(frames.get(thread)))})"
            for thread, (began, what) in list(self._under_way.items())
            if self._clock() - began > seconds
        ]


CALLS = Calls()
"""Of all that is judged here."""


@dataclass(frozen=True)
class Outcome:
    """What a call gave, or raised."""

    result: Any = None
    error: Exception | None = None

    @property
    def is_refusal(self) -> bool:
        """Whether an argument was refused."""
        return isinstance(self.error, REFUSED)


def attempt(trial: Trial, act: Callable[[], Any], *arguments: str) -> Any:
    """Does something with a hostile input, as `judged`, and counts it; gives what it gives, or None."""
    trial.count("inputs")
    return judged(trial, act, *arguments).result


def judged(trial: Trial, act: Callable[[], Any], *arguments: str) -> Outcome:
    """Does something that may raise, and judges what comes of it.

    Args:
        trial: is told.
        act: what to do.
        arguments: what a TypeError or ValueError must name, one of these; none are allowed if there are none.

    Returns:
        What it gives or raises.
    """
    try:
        with CALLS.calling(f"a call with {arguments}" if arguments else "a call"):
            return Outcome(result=act())
    except TryLater as later:  # the core's word for an error that is raised when the time is up
        trial.caught(later.error)
        return Outcome(error=later.error)
    except RqError as error:
        trial.caught(error)
        return Outcome(error=error)
    except REFUSED as error:
        trial.caught(error)
        named = any(argument in str(error) for argument in arguments)
        trial.expect(named, f"{arguments}: a {type(error).__name__} does not name the argument ({_where(error)})")
        return Outcome(error=error)
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        trial.blame("failed", 1, f"{arguments}: a {type(error).__name__} came out ({_where(error)})")
        return Outcome(error=error)


def _where(error: BaseException) -> str:
    return _innermost(traceback.extract_tb(error.__traceback__))


def _innermost(frames: traceback.StackSummary) -> str:
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames[-4:]))


def hypothetical(
    rng: random.Random, strategy: strategies.SearchStrategy[Any], many: int, try_it: Callable[[Any], object]
) -> int:
    """Tries values that hypothesis makes; gives how many it tried."""
    tried = 0
    if not many:
        return 0

    @hypothesis.seed(rng.randrange(2**32))
    @hypothesis.settings(
        max_examples=many, database=None, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(strategy)
    def test(value: Any) -> None:
        nonlocal tried
        tried += 1
        try_it(value)

    test()
    return tried


def split(many: int, parts: int) -> list[int]:
    """Divides a number of things into parts that differ by one at the most, and are all of it together."""
    return [len(range(part, many, parts)) for part in range(parts)]
