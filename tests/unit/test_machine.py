"""The state machines on memory."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.lossy import LossyMachine
from tests.machine import QueueMachine
from tests.pool_machine import PoolMachine
from tests.unique_machine import ForeignMachine, UniqueMachine
from tests.waiting_machine import WaitingMachine, WaitingUniqueMachine


@pytest.mark.parametrize(
    ("machine", "examples"),
    [
        (QueueMachine, 150),
        (UniqueMachine, 150),
        (ForeignMachine, 50),
        (PoolMachine, 150),
        (WaitingMachine, 30),
        (WaitingUniqueMachine, 30),
    ],
)
def test_model_on_memory(machine: type[LossyMachine], examples: int) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=40))
