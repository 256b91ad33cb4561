"""What a queue leaves behind: keys that hold items, and sessions that expire. Nothing else."""

from __future__ import annotations

from typing import Any

from tests.servers import contents

__all__ = ["leaks", "remains"]


def leaks(client: Any, *names: str) -> dict[bytes, Any]:
    """Gives each key that ought not to be there when no consumer of these queues is, and what it holds.

    Items may wait, be put off, or be dead letters; a session may be there as long as it expires. Deliveries are counted
    only for items that are still there.
    """
    found = contents(client)
    fine: set[bytes] = set()
    for name in (name.encode() for name in names):
        fine |= {name, name + b"/delayed", name + b"/dead", name + b"-unique"}
        fine |= {key for key in found if key.startswith(name + b"/session/") and client.pttl(key) > 0}
        if (
            found.get(name + b"/deliveries", {}).keys() <= _items(found, name)
            and client.pttl(name + b"/deliveries") > 0
        ):
            fine.add(name + b"/deliveries")
    return {key: held for key, held in found.items() if key not in fine}


def remains(client: Any, *names: str) -> dict[bytes, Any]:
    """Gives each key that ought not to be there once these queues have been drained: all but sessions that expire.

    Other than `leaks`, it takes no item for one that may wait, be put off, or be a dead letter.
    """
    sessions = tuple(f"{name}/session/".encode() for name in names)
    return {
        key: held for key, held in contents(client).items() if not (key.startswith(sessions) and client.pttl(key) > 0)
    }


def _items(found: dict[bytes, Any], name: bytes) -> set[bytes]:
    """Gives what waits, and what is put off."""
    delayed = {member.partition(b"\n")[2] for member, _ in found.get(name + b"/delayed", [])}
    return delayed | set(found.get(name, []))
