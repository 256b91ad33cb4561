"""The state machine on real servers."""

from __future__ import annotations

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.machine import QueueMachine


def test_model_on_a_real_server(url: str) -> None:
    class Machine(QueueMachine):
        pass

    Machine.url = url
    run_state_machine_as_test(Machine, settings=settings(max_examples=100, stateful_step_count=40))
