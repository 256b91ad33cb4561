"""What `pyrq doctor` has found out about a server, as a value. What could not be found out is None."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyrq.core.views import InFlight, Stats

__all__ = ["Asked", "Facts", "QueueFacts", "Rights", "Way"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the server.

    Attributes:
        replicas: how many replicas are to confirm each change.
        fsync: whether its disk is to.
    """

    replicas: int = 0
    fsync: bool = False


@dataclass(frozen=True, slots=True)
class Way:
    """How a URL leads to the server.

    Attributes:
        scheme: of the URL.
        remote: whether it leaves this machine, as far as the name of the host tells.
        socket: whether it is a unix socket.
        encrypted: whether by TLS.
        verified: whether the server's certificate is looked at.
        name_checked: whether it must be one for this host.
    """

    scheme: str = "redis"
    remote: bool = False
    socket: bool = False
    encrypted: bool = False
    verified: bool = True
    name_checked: bool = True


@dataclass(frozen=True, slots=True)
class Rights:
    """What the access rules do not allow.

    Attributes:
        commands: those that are refused.
        keys: whether keys are.
    """

    commands: tuple[str, ...] = ()
    keys: bool = False


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """What is on the server under a queue's name.

    Attributes:
        name: the name.
        is_pool: whether it is a pool.
        strange: for each key of a wrong type: the key, what it is, and what it should be.
        stats: how it is doing.
        holders: who holds what.
        due: how many items of a pool are due.
        size: how many there are in it.
    """

    name: str
    is_pool: bool = False
    strange: tuple[tuple[str, str, str], ...] | None = ()
    stats: Stats | None = None
    holders: tuple[InFlight, ...] = ()
    due: int = 0
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known.

    Attributes:
        way: how it is reached.
        kind: `redis`, `valkey`, or how else it calls itself.
        version: its version, in numbers; empty if it does not tell.
        mode: `standalone`, `sentinel` or `cluster`.
        role: `master`, or what it is instead.
        maxmemory: how many bytes it may use, 0 for any number.
        used: how many it uses.
        policy: what it does when they are used up.
        append_only: whether it keeps an append-only file.
        appendfsync: when that is forced to the disk.
        snapshots: when it writes snapshots, as in its setting `save`; empty for never.
        disk_fails: whether its last write to the disk failed.
        replicas: how many replicas are connected.
        min_replicas: with how few it refuses writes.
        idle_timeout: after how many seconds it closes connections that are silent, 0 for never.
        keepalive: after how many it asks a silent connection whether there is still anybody, 0 for never.
        skew: by how many seconds this machine's clock is ahead.
        rights: what is not allowed.
        door_open: whether it lets in who shows no login.
        queue: what is under the queue's name; None if none was named.
    """

    way: Way = field(default_factory=Way)
    kind: str = "redis"
    version: tuple[int, ...] = ()
    mode: str | None = None
    role: str | None = None
    maxmemory: int | None = None
    used: int | None = None
    policy: str | None = None
    append_only: bool | None = None
    appendfsync: str | None = None
    snapshots: str | None = None
    disk_fails: bool | None = None
    replicas: int | None = None
    min_replicas: int | None = None
    idle_timeout: int | None = None
    keepalive: int | None = None
    skew: float | None = None
    rights: Rights | None = None
    door_open: bool | None = None
    queue: QueueFacts | None = None
