"""The stateful models: what the library does, step by step, is what plain Python says, whatever gets lost."""

from __future__ import annotations

import contextlib
import io
import re
import traceback
from collections import Counter
from collections.abc import Iterator
from math import ceil
from typing import ClassVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.campaign import Row, Trial
from tests.lossy import LossyMachine
from tests.machine import QueueMachine
from tests.pool_machine import PoolMachine
from tests.servers import running
from tests.unique_machine import ForeignMachine, UniqueMachine
from tests.waiting_machine import WaitingMachine, WaitingUniqueMachine

__all__ = ["ROW"]

SHARES: dict[type[LossyMachine], float] = {
    QueueMachine: 0.25,
    UniqueMachine: 0.2,
    ForeignMachine: 0.1,
    PoolMachine: 0.15,
    WaitingMachine: 0.18,
    WaitingUniqueMachine: 0.12,
}
"""Which part of the steps each does."""
MOST_PER_EXAMPLE = 40

_INVARIANT = re.compile(r"state\.\w+\(\)")


def models(trial: Trial) -> None:
    """Walks through each model: in each world, in memory and on each server."""
    for place, url in _places(trial):
        for world in ("sync", "aio"):
            for model, share in SHARES.items():
                _walk(trial, model, ceil(trial["steps"] * share), world, place, url)
            trial.count("combinations")


def _places(trial: Trial) -> Iterator[tuple[str, str]]:
    yield "memory", f"memory://models-{trial.seed}"
    for binary in trial.binaries():
        with running(binary) as server:
            yield binary.name, f"unix://{server.path}"


def _walk(trial: Trial, model: type[LossyMachine], steps: int, world: str, place: str, url: str) -> None:
    """Does so many steps, or more; after a step that went wrong, no more."""
    machine = _machine(trial, model, world, url)
    rng = trial.rng(model.__name__, world, place)
    while (left := steps - machine.figures["steps"]) > 0:
        examples = settings(
            max_examples=ceil(left / MOST_PER_EXAMPLE),
            stateful_step_count=min(left, MOST_PER_EXAMPLE),
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        told = io.StringIO()
        try:
            with contextlib.redirect_stdout(told):
                run_state_machine_as_test(seed(rng.getrandbits(64))(machine), settings=examples)
        except Exception as error:  # noqa: BLE001 - whatever went wrong in a model, the others go on
            trial.blame("failed", 1, f"{model.__name__}, {world}, {place}\n{_text_of(error)}{told.getvalue()}")
            break
    for figure, many in machine.figures.items():
        trial.count(figure, many)


def _machine(trial: Trial, model: type[LossyMachine], world: str, place: str) -> type[LossyMachine]:
    """Makes a machine whose objects are all of one world."""

    class Machine(model):  # type: ignore[valid-type, misc]
        url = place
        worlds = (world,) * 3
        figures: ClassVar[Counter[str]] = Counter()

        @classmethod
        def heard(cls, error: BaseException) -> None:
            trial.caught(error)

    Machine.__name__ = Machine.__qualname__ = model.__name__
    return Machine


def _text_of(error: BaseException) -> str:
    """Says what went wrong, and by which steps; without the invariants, which are looked at after each."""
    lines = "".join(traceback.format_exception(error, limit=-2)).splitlines()
    return "\n".join(line for line in lines if not _INVARIANT.fullmatch(line))


ROW = Row(
    name="models",
    what="stateful models, sync and aio, in memory and on each server, with lost and cancelled calls",
    run=models,
    full={"steps": 10_000},
    quick={"steps": 200},
)
