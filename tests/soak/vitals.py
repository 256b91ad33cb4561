"""What must not grow: memory, file descriptors, files; and the keys that must not be left."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyrq.core.options import DEFAULT_DEADLINE
from pyrq.core.session import session_ttl
from tests.servers import Server, wait_until

__all__ = ["Vitals", "bytes_in", "descriptors", "forget_sessions", "stranded"]

MEBIBYTE = 1 << 20
_GONE = -2
_LONGEST_SESSION = session_ttl(DEFAULT_DEADLINE)


@dataclass(frozen=True)
class Vitals:
    """How a server is, with one client.

    Attributes:
        memory: `used_memory`, in bytes.
        descriptors: how many files and sockets it has open.
    """

    memory: int
    descriptors: int

    @classmethod
    def of(cls, server: Server) -> Vitals:
        """Looks, once all others have gone and all that it frees later is freed."""
        with server.client(single_connection_client=True) as client:
            replicas = client.info("replication")["connected_slaves"]
            wait_until(
                lambda: _others(client) <= replicas and not client.info("memory")["lazyfree_pending_objects"], 30
            )
            client.execute_command("MEMORY", "PURGE")
            return cls(client.info("memory")["used_memory"], descriptors(server.pid))

    def growth(self, since: Vitals) -> list[str]:
        """Says in words what has grown, beyond 1 MiB of memory."""
        grown = []
        if self.memory - since.memory > MEBIBYTE:
            grown.append(f"used_memory from {since.memory} to {self.memory}")
        if self.descriptors > since.descriptors:
            grown.append(f"file descriptors from {since.descriptors} to {self.descriptors}")
        return grown


def _others(client: Any) -> int:
    """Gives how many clients there are besides this one; replicas are some, a primary is another."""
    return len([one for one in client.client_list() if "M" not in one["flags"]]) - 1


def descriptors(pid: int) -> int:
    """Gives how many files and sockets a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def bytes_in(folder: Path) -> int:
    """Gives how much lies in a folder."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a server renames and removes its files
            total += path.lstat().st_size
    return total


def stranded(client: Any) -> dict[bytes, int]:
    """Gives the keys that ought not to be there when all is drained, and in how many milliseconds each expires, or -1.

    Those are all but sessions that expire soon.
    """
    times = {key: client.pttl(key) for key in client.scan_iter(count=1000)}
    return {key: left for key, left in times.items() if left != _GONE and not _is_session(key, left)}


def _is_session(key: bytes, left: int) -> bool:
    return b"/session/" in key and 0 <= left <= 1000 * _LONGEST_SESSION


def forget_sessions(client: Any) -> int:
    """Deletes the sessions that have not expired yet, so that they do not count as memory; gives how many."""
    keys = [key for key in client.scan_iter(count=1000) if b"/session/" in key]
    for key in keys:
        client.delete(key)
    return len(keys)
