"""What is wrong with a server, and what to change: decisions of `pyrq doctor`, from facts to findings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pyrq.cli.facts import Asked, Facts, QueueFacts, Way
from pyrq.core.consuming import OLD_TIMEOUT
from pyrq.core.wire import LEAST_FOR_FSYNC, LEAST_VERSION

__all__ = ["Finding", "Level", "advise", "advise_way"]


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: how bad it is.
        what: what was found.
        change: what to do about it; how to find out, for what is unknown.
    """

    level: Level
    what: str
    change: str = ""


Findings = Iterator[Finding]

_LUA_MENDED: dict[str, dict[tuple[int, ...], int]] = {
    "redis": {(6, 2): 20, (7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2},
    "valkey": {(7, 2): 12, (8, 0): 7, (8, 1): 6, (9, 0): 2},
}
"""The patch level of each branch in which known weaknesses of the Lua engine are mended, as in SECURITY.md. Newer
branches began without them.
"""
_FALSE_FSYNC = {"redis": ((7, 4, 0), (7, 4, 2)), "valkey": ((0,), (9, 1, 2))}
"""WAITAOF answers before the fsync with everysec: Valkey measured, Redis https://github.com/redis/redis/issues/13793."""
_NEARLY_FULL = 0.9
_SKEW = 2.0
_SHORT_IDLE = 60
_READ_AS_ADMIN = "Give the URL of a user who may run INFO and CONFIG GET, or look it up where the server is managed"


def advise(facts: Facts, asked: Asked) -> list[Finding]:
    """Says what is wrong with a server.

    Args:
        facts: what is known of it.
        asked: what is asked of it.

    Returns:
        The findings, in the order in which to read them.
    """
    if facts.mode == "sentinel":
        change = "Use redis+sentinel://HOST:PORT/SERVICE, with the name of the service it watches"
        return [Finding(Level.FAIL, "this is a Sentinel, and no server to keep a queue on", change)]
    found: list[Finding] = []
    for rule in (_version, _lua, _role, _rights, _eviction, _memory, _persistence, _disk, _failover):
        found += rule(facts)
    found += _replicas(facts, asked)
    found += _fsync(facts, asked) if asked.fsync else ()
    found += _door(facts)
    found += advise_way(facts.way)
    for rule in (_connections, _clock):
        found += rule(facts)
    if facts.queue is not None:
        found += (_pool if facts.queue.is_pool else _queue)(facts.queue)
    return found


def _keep(name: str, value: object) -> str:
    return f"CONFIG SET {name} {value}, and CONFIG REWRITE to keep it"


def _dots(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _named(facts: Facts) -> str:
    return f"{facts.kind.capitalize()} {_dots(facts.version)}".strip()


# What it is


def _version(facts: Facts) -> Findings:
    least = LEAST_VERSION.get(facts.kind)
    if least is None or not facts.version:
        yield Finding(Level.UNKNOWN, f"{_named(facts)}: py-rq is not tested with it", "Use Redis or Valkey")
    elif facts.version < least:
        yield Finding(
            Level.FAIL, f"{_named(facts)} is too old", "Upgrade to Redis 6.2 or newer, or Valkey 7.2 or newer"
        )
    else:
        yield Finding(Level.OK, _named(facts))


def _lua(facts: Facts) -> Findings:
    branches = _LUA_MENDED.get(facts.kind)
    if branches is None or not facts.version or facts.version < LEAST_VERSION[facts.kind]:
        return
    branch, patch = facts.version[:2], branches.get(facts.version[:2])
    if branch > max(branches) or (patch is not None and facts.version >= (*branch, patch)):
        yield Finding(Level.OK, "its Lua engine has no weakness that SECURITY.md knows a version for")
    else:
        newer = [each for each in branches if each > branch]
        to = (*branch, patch) if patch is not None else (*newer[0], branches[newer[0]])
        change = f"Upgrade to {_dots(to)} or newer; or see that your distribution mended its package (SECURITY.md)"
        yield Finding(Level.WARN, "its Lua engine may have known weaknesses, such as CVE-2025-49844", change)


def _role(facts: Facts) -> Findings:
    if facts.mode == "cluster":
        change = "Use a server, or a primary with replicas and Sentinels"
        yield Finding(Level.FAIL, "it is part of a cluster, and clusters are not supported yet", change)
    if facts.role is None:
        yield Finding(Level.UNKNOWN, "whether it is the primary", _READ_AS_ADMIN)
    elif facts.role != "master":
        change = "Connect to the primary, or through redis+sentinel://"
        yield Finding(Level.FAIL, "it is a replica: it refuses every change", change)


def _rights(facts: Facts) -> Findings:
    rights = facts.rights
    if rights is None:
        change = "Make a queue object: its first call names what is refused. Or compare with the rule in SECURITY.md"
        yield Finding(Level.UNKNOWN, "whether all commands and keys are permitted", change)
    elif rights.keys and facts.queue is None:
        change = "Name a queue with --queue, and its keys are tried"
        yield Finding(Level.UNKNOWN, "whether all commands are permitted: this user may not use every key", change)
    elif rights.keys:
        name = facts.queue.name if facts.queue else "NAME"
        change = f"ACL SETUSER USER ~{name} ~{name}-* ~{name}/* (SECURITY.md has the whole rule)"
        yield Finding(Level.FAIL, "the keys of the queue are not permitted to this user", change)
    elif rights.commands:
        change = "ACL SETUSER USER " + " ".join(f"+{command.lower()}" for command in rights.commands)
        yield Finding(Level.FAIL, f"not permitted to this user: {', '.join(rights.commands)}", change)
    else:
        yield Finding(Level.OK, "all commands that are needed are permitted")


# What it keeps


def _eviction(facts: Facts) -> Findings:
    if facts.maxmemory is None or facts.policy is None:
        yield Finding(
            Level.UNKNOWN, "whether it evicts keys when its memory is full (maxmemory-policy)", _READ_AS_ADMIN
        )
    elif facts.maxmemory == 0:
        yield Finding(Level.OK, "it evicts nothing: no maxmemory is set")
    elif facts.policy == "noeviction":
        yield Finding(Level.OK, "it evicts nothing: maxmemory-policy is noeviction")
    elif facts.policy.startswith("volatile-"):
        what = (
            f"when its memory is full it evicts keys that expire ({facts.policy}): it forgets calls that it has done, "
            "and one that is sent again takes effect twice"
        )
        yield Finding(Level.WARN, what, _keep("maxmemory-policy", "noeviction"))
    else:
        what = f"when its memory is full it evicts any key ({facts.policy}): queues vanish, without an error"
        yield Finding(Level.FAIL, what, _keep("maxmemory-policy", "noeviction"))


def _memory(facts: Facts) -> Findings:
    if not facts.maxmemory or facts.used is None:
        return
    share = facts.used / facts.maxmemory
    what = f"{share:.0%} of maxmemory is used"
    change = f"Take items out, or CONFIG SET maxmemory {2 * facts.maxmemory}"
    if share >= 1:
        yield Finding(Level.FAIL, f"{what}: adds are refused", change)
    elif share >= _NEARLY_FULL:
        yield Finding(Level.WARN, f"{what}: adds will be refused soon", change)


def _persistence(facts: Facts) -> Findings:
    always = _keep("appendfsync", "always")
    if facts.append_only is None:
        yield Finding(Level.UNKNOWN, "what it keeps on disk (appendonly)", _READ_AS_ADMIN)
    elif not facts.append_only:
        yield from _snapshots(facts)
    elif facts.appendfsync is None:
        what = "it keeps an append-only file; when it forces that to the disk (appendfsync) is not known"
        yield Finding(Level.UNKNOWN, what, _READ_AS_ADMIN)
    elif facts.appendfsync == "always":
        yield Finding(Level.OK, "what it accepted survives a crash and a power loss: appendfsync is always")
    elif facts.appendfsync == "everysec":
        what = "appendfsync is everysec: up to two seconds of accepted items are lost when the power fails"
        yield Finding(Level.WARN, what, always)
    else:
        what = (
            f"appendfsync is {facts.appendfsync}: all that the system has not written by itself is lost with the power"
        )
        yield Finding(Level.WARN, what, always)


def _snapshots(facts: Facts) -> Findings:
    change = f"{_keep('appendonly', 'yes')}; CONFIG SET appendfsync always"
    if facts.snapshots is None:
        what = "it keeps no append-only file: a crash loses what came after the last snapshot, if there is any"
        yield Finding(Level.WARN, what, change)
    elif facts.snapshots:
        what = f"it only writes snapshots (save {facts.snapshots}): a crash loses what came after the last one"
        yield Finding(Level.WARN, what, change)
    else:
        what = "it keeps nothing on disk: a restart loses every item, and its replicas follow it"
        yield Finding(Level.FAIL, what, change)


def _disk(facts: Facts) -> Findings:
    if facts.disk_fails:
        change = "Look at its log, and at the space on its disk"
        yield Finding(Level.FAIL, "its last write to the disk failed: it may refuse changes", change)


# What confirms


def _failover(facts: Facts) -> Findings:
    if facts.way.scheme == "redis+sentinel" and facts.replicas == 0:
        yield Finding(
            Level.WARN, "the Sentinels have no replica to promote", "Connect one: REPLICAOF, on another server"
        )


def _replicas(facts: Facts, asked: Asked) -> Findings:
    count, least = facts.replicas, facts.min_replicas
    if count is None:
        yield Finding(Level.UNKNOWN, "how many replicas are connected", _READ_AS_ADMIN)
        return
    if least and least > count:
        change = f"Bring the replicas back, or CONFIG SET min-replicas-to-write {count}"
        yield Finding(Level.FAIL, f"it refuses changes: {count} of {least} replicas (min-replicas-to-write)", change)
    if count < asked.replicas:
        change = "Connect more (REPLICAOF on another server), or ask for fewer"
        what = f"{count} of {asked.replicas} replicas are connected: no change would be confirmed"
        yield Finding(Level.FAIL, what, change)
    elif asked.replicas < count and asked.replicas:
        what = (
            f"{asked.replicas} of {count} replicas confirm; only Replicas({count}) is safe "
            "whichever of them a failover promotes"
        )
        yield Finding(Level.OK, what)
    else:
        yield Finding(Level.OK, f"replicas connected: {count}, asked for: {asked.replicas}")


def _fsync(facts: Facts, asked: Asked) -> Findings:
    change = f"{_keep('appendonly', 'yes')}; CONFIG SET appendfsync always"
    first, last = _FALSE_FSYNC.get(facts.kind, ((), ()))
    if facts.version and facts.version < LEAST_FOR_FSYNC.get(facts.kind, (0,)):
        yield Finding(Level.FAIL, "Fsync needs Redis 7.2 or newer, or Valkey 7.2 or newer", "Upgrade, or use Replicas")
    elif facts.append_only is False:
        yield Finding(Level.FAIL, "Fsync is refused: there is no append-only file", change)
    elif facts.append_only is None or facts.appendfsync is None:
        yield Finding(Level.UNKNOWN, "whether Fsync confirms (appendonly, appendfsync)", _READ_AS_ADMIN)
    elif facts.appendfsync == "no":
        yield Finding(Level.FAIL, "Fsync is never confirmed: appendfsync is no", _keep("appendfsync", "always"))
    elif facts.appendfsync == "always":
        yield Finding(Level.OK, "Fsync means what it says")
    elif first <= facts.version <= last:
        what = f"Fsync is a lie: with everysec, {_named(facts)} confirms before it has written to the disk"
        yield Finding(Level.FAIL, what, _keep("appendfsync", "always"))
    elif facts.kind == "redis":
        yield Finding(Level.OK, "Fsync is confirmed within about a second: appendfsync is everysec")
    else:
        what = f"whether Fsync means what it says on {_named(facts)} with everysec: up to Valkey 9.1.2 it does not"
        yield Finding(Level.UNKNOWN, what, _keep("appendfsync", "always"))


# The way there


def _door(facts: Facts) -> Findings:
    change = "Give each user a login (SECURITY.md), then ACL SETUSER default off"
    if facts.door_open is None:
        yield Finding(Level.UNKNOWN, "whether it lets in who shows no login", "redis-cli -h HOST -p PORT PING")
    elif not facts.door_open:
        yield Finding(Level.OK, "it asks for a login")
    elif facts.way.socket:
        yield Finding(Level.OK, "it lets in everybody who may open its socket: see to the socket's mode")
    else:
        who = "everybody who reaches it" if facts.way.remote else "everybody on this machine"
        yield Finding(Level.FAIL if facts.way.remote else Level.WARN, f"it lets in {who}, without a login", change)


def advise_way(way: Way) -> Findings:
    """Says what is wrong with the way to a server, whether or not there is one.

    Args:
        way: how a URL leads there.

    Yields:
        The findings.
    """
    if way.encrypted and not way.verified:
        change = "Take ssl_cert_reqs=none out of the URL; ssl_ca_certs=/path names an authority of your own"
        yield Finding(Level.FAIL, "TLS, but the certificate is not verified: anybody may be in between", change)
    elif way.encrypted and not way.name_checked:
        change = "Put ssl_check_hostname=true into the URL"
        yield Finding(Level.WARN, "TLS, but a certificate for any other host is taken, too", change)
    elif way.encrypted:
        yield Finding(Level.OK, "TLS, and the certificate is verified")
    elif way.remote:
        change = "Use rediss:// (valkeys://), with a server that has a tls-port"
        yield Finding(Level.WARN, "passwords and items cross the network in the clear", change)


def _connections(facts: Facts) -> Findings:
    if facts.idle_timeout and facts.idle_timeout < _SHORT_IDLE:
        what = (
            f"it closes connections that are silent for {facts.idle_timeout} s: idle consumers connect again and again"
        )
        yield Finding(Level.WARN, what, _keep("timeout", 0))
    if facts.keepalive == 0 and not facts.way.socket:
        what = (
            "it does not notice clients whose machine is gone (tcp-keepalive is 0), and moves items to those that wait"
        )
        yield Finding(Level.WARN, what, _keep("tcp-keepalive", 300))


def _clock(facts: Facts) -> Findings:
    if facts.skew is not None and abs(facts.skew) > _SKEW:
        side = "ahead of" if facts.skew > 0 else "behind"
        what = (
            f"this machine's clock is {abs(facts.skew):.0f} s {side} the server's: py-rq does not mind, "
            "consumers of the older libraries are swept early or late by as much"
        )
        yield Finding(Level.WARN, what, "Let both machines follow a time server (NTP)")


# The queue


def _strange(queue: QueueFacts) -> Findings:
    if queue.strange is None:
        yield Finding(
            Level.UNKNOWN, f"the types of the keys of {queue.name}", "Give the URL of a user who may run TYPE"
        )
        return
    for key, found, wanted in queue.strange:
        change = f"Choose another name, or move the key away: RENAME {key} OTHER"
        yield Finding(Level.FAIL, f"{key} is a {found}, not a {wanted}: something else uses the name", change)


def _queue(queue: QueueFacts) -> Findings:
    yield from _strange(queue)
    stats = queue.stats
    if stats is None:
        if not queue.strange:
            yield Finding(Level.UNKNOWN, f"how {queue.name} is doing", "queue.stats(), with rights to its keys")
        return
    parts = (
        f"{stats.waiting} waiting, {stats.in_flight} in flight, {stats.delayed} put off, {stats.dead} dead, "
        f"{stats.consumers} consumers"
    )
    yield Finding(Level.OK, f"{queue.name}: {parts}")
    if stats.paused:
        yield Finding(Level.WARN, f"{queue.name} is paused: consumers take nothing", "queue.resume()")
    if stats.dead:
        change = "queue.dead.peek(10) shows them, redrive() tries them again, purge() deletes them"
        yield Finding(Level.WARN, f"{queue.name} has dead letters: {stats.dead}", change)
    yield from _silent(queue)


def _silent(queue: QueueFacts) -> Findings:
    for holder in queue.holders:
        # A lease is swept within half of it, if there is one who sweeps.
        allowed = OLD_TIMEOUT if holder.lease is None else 2 * holder.lease
        if holder.count and holder.idle > allowed:
            what = (
                f"{holder.consumer} holds {holder.count} items of {queue.name} and has been silent for "
                f"{holder.idle:.0f} s: nobody sweeps"
            )
            change = "queue.re_enqueue_timeout_items(), or run a consumer: queue.consume(handler)"
            yield Finding(Level.WARN, what, change)


def _pool(queue: QueueFacts) -> Findings:
    yield from _strange(queue)
    if queue.size is None:
        yield Finding(Level.UNKNOWN, f"how {queue.name} is doing", "pool.get_count(), with rights to its keys")
    else:
        yield Finding(Level.OK, f"{queue.name}, a pool: {queue.size} items, {queue.due} due")
