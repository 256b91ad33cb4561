"""Who a facade object is: a label, and a part that no other object has."""

from __future__ import annotations

import os
import re
import socket
import uuid

from pyrq.core.keys import check_label

__all__ = ["client_id", "process_id"]


def client_id(label: str | None) -> str:
    """Makes the id of a new session.

    Args:
        label: what to show of it, 1 to 100 bytes; None for `host[pid]`.

    Returns:
        The label and a uuid4. The older libraries used host, pid and second, which collide within a second, after a
        fork and between containers.

    Raises:
        TypeError: the label is no text.
        ValueError: the label is not as the rule says.
    """
    shown = _default_label() if label is None else check_label("client_id", label)
    return f"{shown}-{uuid.uuid4().hex}"


def _default_label() -> str:
    host = re.sub(r"[^A-Za-z0-9._-]", "_", socket.gethostname())[:60] or "host"
    return f"{host}[{os.getpid()}]"


process_id = os.getpid
"""Tells a process from its forks."""
