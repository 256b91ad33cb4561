"""The lines between the benchmarks and a peer. Pure, and read by the interpreters of both ends.

To the peer: `open URL NAME`, once; then `run OPERATION BATCH BATCHES`, any number of times. From the peer, a line for
each: `ready VERSIONS`; `done SECONDS`; `cannot WHY`, for an operation that its library does not have; `failed WHY`.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["OPERATIONS", "Answer", "Open", "Run", "answer_of", "line_of", "order_of"]

OPERATIONS = ("add", "work", "add_tasks", "work_tasks")
"""To add; to take and acknowledge; the same, by so many tasks at a time as the batch says, an item each."""

_KINDS = ("ready", "done", "cannot", "failed")


@dataclass(frozen=True)
class Open:
    """Which server and queue to work on; the queue's name is what the names of all keys begin with."""

    url: str
    name: str


@dataclass(frozen=True)
class Run:
    """What to do, with batches of which size, how many of them."""

    operation: str
    batch: int
    batches: int


@dataclass(frozen=True)
class Answer:
    """What a peer says: a kind, and what stands behind it."""

    kind: str
    text: str

    @property
    def seconds(self) -> float:
        """How long it took, of a `done`."""
        if self.kind != "done":
            raise ValueError(self.text)
        return float(self.text)


def line_of(message: Open | Run | Answer) -> str:
    """Gives the line for a message, with its end."""
    if isinstance(message, Open):
        words = ["open", message.url, message.name]
    elif isinstance(message, Run):
        words = ["run", message.operation, str(message.batch), str(message.batches)]
    else:
        words = [message.kind, " ".join(message.text.split())]
    return " ".join(words) + "\n"


def order_of(line: str) -> Open | Run:
    """Reads a line to a peer.

    Raises:
        ValueError: it is none.
    """
    verb, *words = line.split()
    if verb == "open" and len(words) == 2:
        return Open(words[0], words[1])
    if verb == "run" and len(words) == 3 and words[0] in OPERATIONS:
        return Run(words[0], int(words[1]), int(words[2]))
    raise ValueError("no order that a peer knows")


def answer_of(line: str) -> Answer:
    """Reads a line from a peer.

    Raises:
        ValueError: it is none.
    """
    kind, _, text = line.strip().partition(" ")
    if kind not in _KINDS:
        raise ValueError("no answer that a peer gives")
    answer = Answer(kind, text)
    if kind == "done":
        float(text)
    return answer
