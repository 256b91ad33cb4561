"""The state machines on real servers."""

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
        (QueueMachine, 100),
        (UniqueMachine, 100),
        (ForeignMachine, 50),
        (PoolMachine, 100),
        (WaitingMachine, 50),
        (WaitingUniqueMachine, 50),
    ],
)
def test_model_on_a_real_server(
    url: str, machine: type[LossyMachine], examples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LossyMachine, "url", url)
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=40))
