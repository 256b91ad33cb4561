from __future__ import annotations

import os
import re
import socket

import pytest

from pyrq.backends.identity import client_id, process_id
from pyrq.core.keys import check_label


def test_a_label_and_a_unique_part() -> None:
    assert re.fullmatch(r"me-[0-9a-f]{32}", client_id("me"))


def test_no_two_are_equal() -> None:
    assert len({client_id("me") for _ in range(500)}) == 500


def test_the_default_label_is_host_and_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "web-1.example")
    assert re.fullmatch(rf"web-1\.example\[{os.getpid()}\]-[0-9a-f]{{32}}", client_id(None))


@pytest.mark.parametrize(
    ("host", "shown"), [("a/b {c}", "a_b__c_"), ("ü\n", "__"), ("h" * 300, "h" * 60), ("", "host")]
)
def test_the_default_label_is_a_label_on_any_host(monkeypatch: pytest.MonkeyPatch, host: str, shown: str) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    label = client_id(None).rpartition("-")[0]
    assert label == f"{shown}[{os.getpid()}]"
    assert check_label("client_id", label) == label


def test_a_wrong_label() -> None:
    with pytest.raises(ValueError, match=r"^client_id must be"):
        client_id("a/b")
    with pytest.raises(TypeError, match=r"^client_id must be text"):
        client_id(5)  # type: ignore[arg-type]  # the mistake


def test_a_process() -> None:
    assert process_id() == os.getpid()
