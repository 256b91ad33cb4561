"""What goes over the wire for some calls, and what its answers mean. Pure; the backends do the sending.

One pipeline, one connection: the calls in order, then at most one WAIT or WAITAOF. Those compare replicas with the
offset of the connection's own last write, so they mean something only behind that write, on that connection
(measured: asked on another connection, both servers confirm falsely; https://redis.io/commands/wait).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyrq.core import errors
from pyrq.core.call import Call, settle, wrote
from pyrq.core.options import Durability, Fsync, Replicas
from pyrq.core.replies import number

__all__ = [
    "LEAST_FOR_FSYNC",
    "LEAST_VERSION",
    "NeedsSource",
    "Refusal",
    "TryLater",
    "check_server",
    "commands",
    "error_of",
    "failure_of",
    "kill",
    "move_commands",
    "moved",
    "unblock",
    "results",
    "trial",
    "trial_failure",
]

Command = tuple[bytes, ...]

_WRITTEN = "The items are written"

_RETRYABLE: dict[str, type[errors.RqError]] = {
    "READONLY": errors.ReadOnlyReplicaError,
    "NOREPLICAS": errors.NotEnoughReplicasError,
    "MISCONF": errors.ServerConfigError,
    "LOADING": errors.ServerBusyError,
    "BUSY": errors.ServerBusyError,
    "UNBLOCKED": errors.ServerBusyError,
    "MASTERDOWN": errors.ServerBusyError,
    "CLUSTERDOWN": errors.ServerBusyError,
    "TRYAGAIN": errors.ServerBusyError,
    "MOVED": errors.ServerBusyError,
    "ASK": errors.ServerBusyError,
}
_FINAL: dict[str, type[errors.RqError]] = {
    "WRONGTYPE": errors.WrongTypeError,
    "OOM": errors.ServerFullError,
    "NOPERM": errors.PermissionDeniedError,
    "NOAUTH": errors.AuthenticationError,
    "WRONGPASS": errors.AuthenticationError,
}
_TEXTS: dict[str, type[errors.RqError]] = {
    "can't run this command": errors.PermissionDeniedError,  # inside a script, Redis
    "can't access at least one of the keys": errors.PermissionDeniedError,
    "ACL failure in script": errors.PermissionDeniedError,  # Valkey
    "appendonly is disabled": errors.ServerConfigError,
    "unknown command 'SENTINEL'": errors.ServerRefusedError,  # a server where a Sentinel was looked for
    "unknown command": errors.ServerTooOldError,
    "Unknown Redis command called from": errors.ServerTooOldError,
}
_CODE = re.compile(r"(?:^|[:\-] ?)(" + "|".join(("NOSCRIPT", *_RETRYABLE, *_FINAL)) + r")\b")
_QUOTES = re.compile(r",? with args beginning with.*", re.DOTALL)
"""The one error text of the servers that quotes arguments, and so perhaps an item."""
_LONGEST_TEXT = 200
_SHORTEST_QUOTE, _STEP = 8, 4
"""So many characters of an argument in a row are a quotation; it is found if it has `_STEP` - 1 more."""
_MOST_SEARCHED = 1 << 18
"""Among more bytes than these no quotation is looked for: the error's text is left out."""

_STRANGE = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What it raises to read a reply that is not what its script gives."""

LEAST_VERSION = {"redis": (6, 2), "valkey": (7, 2)}
LEAST_FOR_FSYNC = {"redis": (7, 2), "valkey": (7, 2)}
_MOST_OF_VERSION = 20
_WHO_IS_IT = "Is it Redis or Valkey, and nothing in between?"
_ON_A_REPLICA = "cannot be used with replica instances"


class NeedsSource(Exception):
    """The server does not have a script: say it in full. That script did not run.

    Attributes:
        partly: whether another call of the pipeline ran.
    """

    def __init__(self, partly: bool = False) -> None:
        super().__init__()
        self.partly = partly


class TryLater(Exception):
    """The server refuses now, and may not a little later. That call did not run.

    Attributes:
        error: what to raise if it is not tried again.
        partly: whether another call of the pipeline ran.
    """

    def __init__(self, error: errors.RqError, partly: bool = False) -> None:
        super().__init__()
        self.error = error
        self.partly = partly


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error reply.

    Attributes:
        text: its code and message.
    """

    text: str

    @property
    def code(self) -> str:
        """The code, wherever it stands: older servers wrap an error inside a script into another one."""
        found = _CODE.search(self.text)
        return found[1] if found else ""


def commands(calls: Sequence[Call[Any]], durability: Durability | None, *, in_full: bool) -> list[Command]:
    """Gives the commands of one pipeline.

    Args:
        calls: what to run, in order.
        durability: what to wait for behind them.
        in_full: whether to send the scripts' texts instead of their names (after a NOSCRIPT).

    Returns:
        The commands.
    """
    sent: list[Command] = []
    for call in calls:
        script = (b"EVAL", call.script.source) if in_full else (b"EVALSHA", call.script.sha)
        sent.append((*script, b"%d" % len(call.keys), *call.keys, *call.args))
    if durability is not None:
        sent.append(_wait(durability))
    return sent


def _wait(durability: Durability) -> Command:
    if isinstance(durability, Replicas):
        return b"WAIT", b"%d" % durability.count, b"%d" % durability.timeout_ms
    return b"WAITAOF", b"%d" % durability.local, b"%d" % durability.replicas, b"%d" % durability.timeout_ms


def move_commands(source: bytes, target: bytes, seconds: float) -> list[Command]:
    """Gives the commands of a blocking move: who asks (https://redis.io/commands/client-id), so that another connection
    can wake it, and the move itself (https://redis.io/commands/blmove).
    """
    return [(b"CLIENT", b"ID"), (b"BLMOVE", source, target, b"RIGHT", b"LEFT", b"%.3f" % seconds)]


def moved(reply: Any) -> bool:
    """Reads the answer of a blocking move.

    Args:
        reply: an item, None, or a `Refusal`.

    Returns:
        Whether an item was moved.

    Raises:
        OutcomeUnknown: it can't be read; an item may have been moved.
        RqError: refused; nothing was moved.
    """
    if isinstance(reply, Refusal):
        raise error_of(reply)
    if not isinstance(reply, bytes | None):
        raise errors.OutcomeUnknown(f"The answer of a blocking move can't be read. {_WHO_IS_IT}")
    return reply is not None


def unblock(connection: int) -> Command:
    """Gives the command that wakes a blocked connection (https://redis.io/commands/client-unblock)."""
    return b"CLIENT", b"UNBLOCK", b"%d" % connection


def kill(connection: int) -> Command:
    """Gives the command that closes a connection (https://redis.io/commands/client-kill): what it sent and the server
    has not read yet is never done.
    """
    return b"CLIENT", b"KILL", b"ID", b"%d" % connection


def trial(durability: Durability) -> Command:
    """Gives a wait that is answered at once: it shows before any write whether the server accepts such a command."""
    if isinstance(durability, Replicas):
        return b"WAIT", b"0", b"1"
    return b"WAITAOF", b"%d" % durability.local, b"0", b"1"


def results(calls: Sequence[Call[Any]], durability: Durability | None, replies: Sequence[Any]) -> list[Any]:
    """Reads the answers of one pipeline.

    Args:
        calls: what was sent.
        durability: what was waited for.
        replies: an answer for each command; an error reply as a `Refusal`.

    Returns:
        A result for each call.

    Raises:
        NeedsSource: send everything again, in full.
        TryLater: send everything again, later.
        NotEnoughSyncedSlavesError: all is written, and too few confirmed.
        OutcomeUnknown: stale, or an answer that can't be read: what it answers may have run.
        RqError: refused.
    """
    if refusals := [reply for reply in replies[: len(calls)] if type(reply) is Refusal]:
        answers = zip(calls, replies, strict=False)
        partly = any(_may_have_run(call, reply) for call, reply in answers if not isinstance(reply, Refusal))
        raise _refused(refusals, calls, partly)
    settled = _settle_all(calls, replies)
    if durability is None or not any(wrote(call, reply) for call, reply in zip(calls, replies, strict=False)):
        return settled
    if short := _shortfall(durability, replies[len(calls)], calls):
        changed = [result for call, result in zip(calls, settled, strict=True) if call.script.identified]
        short._results = changed
        short.done = next(filter(None, map(_items_in, reversed(changed))), 0)
        raise short
    return settled


def _settle_all(calls: Sequence[Call[Any]], replies: Sequence[Any]) -> list[Any]:
    try:
        return [settle(call, reply) for call, reply in zip(calls, replies, strict=False)]
    except _STRANGE as error:
        kind = type(error).__name__
    # Out here, so that nothing is chained: the text of such an exception may quote what could not be read.
    raise _misunderstood(calls, kind)


def _may_have_run(call: Call[Any], reply: Any) -> bool:
    """Says whether a call has written; one whose answer can't be read is reckoned to have."""
    if not call.script.identified:
        return False
    try:
        settle(call, reply)
    except errors.RqError:
        return wrote(call, reply)
    except _STRANGE:
        return True
    return wrote(call, reply)


def _misunderstood(calls: Sequence[Call[Any]], kind: str) -> errors.RqError:
    """Gives the error for an answer that can't be read. That something ran is not known, and not that nothing did."""
    why = f"The server answered something that py-rq does not understand ({kind}). {_WHO_IS_IT}"
    strange = errors.ServerRefusedError(why)
    if not any(call.script.identified for call in calls):
        return strange
    unknown = errors.OutcomeUnknown("The answer can't be read: the call took effect once or not at all.")
    unknown.__cause__ = strange
    return unknown


def _items_in(result: Any) -> int:
    """Says how many items a call handled: what it gives, or begins with, if that is a number."""
    first = result[0] if isinstance(result, tuple) else result
    return first if isinstance(first, int) else 0


def _refused(refusals: Sequence[Refusal], calls: Sequence[Call[Any]], partly: bool) -> Exception:
    """Chooses what to raise for a pipeline in which something was refused, and something else may have run."""
    if any(refusal.code == "NOSCRIPT" for refusal in refusals):
        return NeedsSource(partly)
    failure = failure_of(refusals[0], calls)
    if isinstance(failure, TryLater):
        return TryLater(failure.error, partly)
    return errors.OutcomeUnknown.after(failure) if partly else failure


def _shortfall(
    durability: Durability, reply: Any, calls: Sequence[Call[Any]]
) -> errors.NotEnoughSyncedSlavesError | None:
    """Reads the answer to a wait; gives what to raise if too few confirmed."""
    if isinstance(reply, Refusal):
        why = f"{_WRITTEN}, but whether replicas or disks have them could not be asked: {error_of(reply, calls)}"
        return errors.NotEnoughSyncedSlavesError(why, wanted=_wanted(durability))
    try:
        # Nobody confirmed what can't be read.
        local, replicas = map(number, reply if isinstance(durability, Fsync) else (0, reply))
    except _STRANGE:
        local = replicas = 0
    if isinstance(durability, Fsync):
        short = local < durability.local or replicas < durability.replicas
        what = f"{local} of {durability.local} local and {replicas} of {durability.replicas} replica disks"
    else:
        short = replicas < durability.count
        what = f"{replicas} of {durability.count} replicas"
    if not short:
        return None
    return errors.NotEnoughSyncedSlavesError(
        f"{_WRITTEN}, but only {what} confirmed within {durability.timeout_ms} ms. Do not add them again: "
        "confirm() asks again",
        confirmed=replicas,
        wanted=_wanted(durability),
    )


def _wanted(durability: Durability) -> int:
    return durability.count if isinstance(durability, Replicas) else durability.replicas


def error_of(refusal: Refusal, calls: Sequence[Call[Any]] = ()) -> errors.RqError:
    """Turns an error reply into an error of this library.

    Args:
        refusal: the error reply.
        calls: what was sent.

    Returns:
        An error of the class that says what to do; its text quotes no argument.
    """
    code, said = refusal.code, _QUOTES.sub("", refusal.text)
    kind = _RETRYABLE.get(code) or _FINAL.get(code)
    if kind is None:
        kind = next((kind for text, kind in _TEXTS.items() if text in said), errors.ServerRefusedError)
    said = said[:_LONGEST_TEXT]
    shown = "".join(each if each.isprintable() else "?" for each in said)
    # What is tried again often need not be searched each time.
    if kind is errors.AuthenticationError or code in _RETRYABLE or _quotes(said, calls):
        shown = code or "its text is left out: it quotes what was sent"
    return kind(f"{kind._default_message()} [{shown}]")


def _quotes(text: str, calls: Sequence[Call[Any]]) -> bool:
    """Says whether a text quotes an argument: something between here and the server may. Keys' names are no secret."""
    sent = [arg for call in calls for arg in call.args if not any(arg in key for key in call.keys)]
    if sum(map(len, sent)) > _MOST_SEARCHED:
        return True
    blob = b"\n".join(sent).decode("utf-8", "replace")
    pieces = (text[at : at + _SHORTEST_QUOTE] for at in range(0, len(text) - _SHORTEST_QUOTE + 1, _STEP))
    return any(piece in blob for piece in pieces)


def failure_of(refusal: Refusal, calls: Sequence[Call[Any]] = ()) -> Exception:
    """Turns an error reply into what is to be raised: a TryLater for one that may pass, else an RqError.

    Args:
        refusal: the error reply.
        calls: what was sent.
    """
    error = error_of(refusal, calls)
    return TryLater(error) if refusal.code in _RETRYABLE else error


def trial_failure(refusal: Refusal) -> Exception:
    """Turns a refused `trial` into what is to be raised: a replica says that it is one, without a code."""
    return TryLater(errors.ReadOnlyReplicaError()) if _ON_A_REPLICA in refusal.text else failure_of(refusal)


def check_server(hello: Any, durability: Durability | None) -> None:
    """Checks the server's version (https://redis.io/commands/hello).

    Args:
        hello: the reply to HELLO: a map (RESP3), or its flat list (RESP2), or a Refusal.
        durability: what will be waited for.

    Raises:
        ServerTooOldError: the server, or what is waited for, is not supported.
        RqError: the server refused.
    """
    if isinstance(hello, Refusal):
        raise failure_of(hello)
    try:
        server, text, version = _read_hello(hello)
    except _STRANGE as error:
        raise _misunderstood((), type(error).__name__) from None
    if version < LEAST_VERSION.get(server, (0,)):
        raise errors.ServerTooOldError(f"{errors.ServerTooOldError._default_message()} This is {server} {text}.")
    if isinstance(durability, Fsync) and version < LEAST_FOR_FSYNC.get(server, (0,)):
        raise errors.ServerTooOldError(
            f"Fsync needs Redis 7.2 or newer, or Valkey 7.2 or newer. This is {server} {text}."
        )


def _read_hello(hello: Any) -> tuple[str, str, tuple[int, ...]]:
    """Gives a server's name and version, as text and in numbers; no more of its words, for it was told a password."""
    facts = hello if isinstance(hello, dict) else dict(zip(hello[::2], hello[1::2], strict=False))
    server, text = facts[b"server"].decode("ascii"), facts[b"version"].decode("ascii")
    text = re.sub(r"[^\d.]", "", text)[:_MOST_OF_VERSION]
    version = tuple(int(part) for part in re.findall(r"\d+", text)[:2])
    return server if server in LEAST_VERSION else "another server", text, version
