"""What `pyrq doctor` makes of facts, how it prints that, and what it takes. On real servers: tests/integration."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from pyrq.backends import urls
from pyrq.cli import doctor, examine
from pyrq.cli import main as cli
from pyrq.cli.advice import Finding, Level, advise
from pyrq.cli.facts import Asked, Facts, QueueFacts, Rights, Way
from pyrq.core import ops, pool_ops
from pyrq.core.errors import ServerBusyError, ServerGoneError
from pyrq.core.keys import Keys, Kind
from pyrq.core.views import InFlight, Stats

SECURITY = Path(__file__).parents[2].joinpath("SECURITY.md").read_text(encoding="utf-8")
PASSWORD = "open-sesame-77"
OK, WARN, FAIL, UNKNOWN = Level.OK, Level.WARN, Level.FAIL, Level.UNKNOWN

GOOD = Facts(
    kind="valkey",
    version=(9, 1, 2),
    mode="standalone",
    role="master",
    maxmemory=1000,
    used=100,
    policy="noeviction",
    append_only=True,
    appendfsync="always",
    snapshots="",
    disk_fails=False,
    replicas=0,
    min_replicas=0,
    idle_timeout=0,
    keepalive=300,
    skew=0.1,
    rights=Rights(),
    door_open=False,
)
STATS = Stats(waiting=3, in_flight=2, delayed=1, dead=0, consumers=1, paused=False)
QUEUE = QueueFacts("orders", stats=STATS)
NONE = Asked()
FSYNC = Asked(fsync=True)
TLS = Way(scheme="rediss", remote=True, encrypted=True)


def changed(**changes: Any) -> Facts:
    return replace(GOOD, **changes)


def queue(**changes: Any) -> Facts:
    return changed(queue=replace(QUEUE, **changes))


def found(facts: Facts, asked: Asked = NONE) -> list[Finding]:
    return advise(facts, asked)


def test_nothing_is_wrong_with_a_good_server() -> None:
    assert {each.level for each in found(GOOD)} == {OK}
    assert {each.level for each in found(changed(queue=QUEUE, replicas=1, way=TLS), Asked(1, True))} == {OK}


def test_nothing_known_is_nothing_well_and_no_alarm() -> None:
    findings = found(Facts(queue=QueueFacts("orders", strange=None)), Asked(1, True))
    assert {each.level for each in findings} == {UNKNOWN}
    assert len(findings) == 10


# One thing wrong, and so one finding, which says what to change

CASES: list[tuple[Facts, Asked, Level, str, str]] = [
    (changed(kind="redis", version=(6, 0, 16)), NONE, FAIL, "Redis 6.0.16 is too old", "Redis 6.2 or newer"),
    (changed(kind="valkey", version=(7, 1)), NONE, FAIL, "Valkey 7.1 is too old", "Valkey 7.2 or newer"),
    (changed(kind="dragonfly", version=(1, 2)), NONE, UNKNOWN, "Dragonfly 1.2", "Use Redis or Valkey"),
    (changed(version=()), NONE, UNKNOWN, "Valkey: ", "Use Redis or Valkey"),
    (changed(kind="redis", version=(7, 0, 15)), NONE, WARN, "Lua engine", "Upgrade to 7.2.11 or newer; .*distribution"),
    (changed(kind="redis", version=(6, 2, 19)), NONE, WARN, "Lua engine", "Upgrade to 6.2.20"),
    (changed(kind="redis", version=(8, 2, 1)), NONE, WARN, "Lua engine", "Upgrade to 8.2.2"),
    (changed(kind="valkey", version=(8, 1, 5)), NONE, WARN, "Lua engine", "Upgrade to 8.1.6"),
    (changed(mode="cluster"), NONE, FAIL, "clusters are not supported", "replicas and Sentinels"),
    (changed(role="slave"), NONE, FAIL, "it is a replica", "redis\\+sentinel://"),
    (changed(role=None), NONE, UNKNOWN, "the primary", "INFO"),
    (changed(rights=None), NONE, UNKNOWN, "commands and keys are permitted", "SECURITY.md"),
    (changed(rights=Rights(("HSET", "LPUSH"))), NONE, FAIL, "HSET, LPUSH", "SETUSER USER \\+hset \\+lpush$"),
    (changed(rights=Rights(keys=True)), NONE, UNKNOWN, "every key", "--queue"),
    (
        changed(rights=Rights(keys=True), queue=QUEUE),
        NONE,
        FAIL,
        "keys of the queue",
        "~orders/\\*",
    ),
    (changed(maxmemory=None), NONE, UNKNOWN, "maxmemory-policy", "CONFIG GET"),
    (changed(policy=None), NONE, UNKNOWN, "maxmemory-policy", "CONFIG GET"),
    (changed(policy="allkeys-lru"), NONE, FAIL, "allkeys-lru", "CONFIG SET maxmemory-policy noeviction"),
    (changed(policy="volatile-ttl"), NONE, WARN, "takes effect twice", "CONFIG SET maxmemory-policy noeviction"),
    (changed(used=900), NONE, WARN, "90% of maxmemory", "CONFIG SET maxmemory 2000"),
    (changed(used=1000), NONE, FAIL, "100% of maxmemory", "CONFIG SET maxmemory 2000"),
    (changed(append_only=None), NONE, UNKNOWN, "appendonly", "INFO"),
    (changed(append_only=False), NONE, FAIL, "nothing on disk", "CONFIG SET appendonly yes.*appendfsync always"),
    (changed(append_only=False, snapshots="3600 1"), NONE, WARN, "save 3600 1", "CONFIG SET appendonly yes"),
    (changed(append_only=False, snapshots=None), NONE, WARN, "no append-only file", "CONFIG SET appendonly yes"),
    (changed(appendfsync=None), NONE, UNKNOWN, "appendfsync", "CONFIG GET"),
    (changed(appendfsync="everysec"), NONE, WARN, "two seconds", "CONFIG SET appendfsync always"),
    (changed(appendfsync="no"), NONE, WARN, "lost with the power", "CONFIG SET appendfsync always"),
    (changed(disk_fails=True), NONE, FAIL, "write to the disk failed", "log"),
    (changed(way=Way("redis+sentinel")), NONE, WARN, "no replica to promote", "REPLICAOF"),
    (changed(replicas=None), NONE, UNKNOWN, "replicas", "INFO"),
    (changed(replicas=1), Asked(2), FAIL, "1 of 2 replicas are connected", "ask for fewer"),
    (changed(replicas=None), Asked(2), UNKNOWN, "replicas", "INFO"),
    (changed(idle_timeout=30), NONE, WARN, "silent for 30 s", "CONFIG SET timeout 0"),
    (changed(keepalive=0), NONE, WARN, "tcp-keepalive is 0", "CONFIG SET tcp-keepalive 300"),
    (changed(skew=7201.0), NONE, WARN, "7201 s ahead of", "NTP"),
    (changed(skew=-3.0), NONE, WARN, "3 s behind", "NTP"),
    (changed(door_open=None), NONE, UNKNOWN, "without? a?login|no login", "PING"),
    (changed(door_open=True), NONE, WARN, "everybody on this machine", "ACL SETUSER default off"),
    (changed(door_open=True, way=TLS), NONE, FAIL, "everybody who reaches it", "ACL SETUSER default off"),
    (changed(way=Way(remote=True)), NONE, WARN, "in the clear", "rediss://"),
    (changed(way=replace(TLS, verified=False)), NONE, FAIL, "not verified", "ssl_cert_reqs=none"),
    (changed(way=replace(TLS, name_checked=False)), NONE, WARN, "any other host", "ssl_check_hostname=true"),
    (queue(stats=replace(STATS, paused=True)), NONE, WARN, "orders is paused", "resume"),
    (queue(stats=replace(STATS, dead=4)), NONE, WARN, "dead letters: 4", "peek"),
    (queue(stats=None), NONE, UNKNOWN, "how orders is doing", "rights"),
    (queue(stats=None, is_pool=True), NONE, UNKNOWN, "how orders is doing", "rights"),
    (queue(strange=None), NONE, UNKNOWN, "types of the keys", "TYPE"),
    (
        queue(stats=None, strange=(("orders", "string", "list"),)),
        NONE,
        FAIL,
        "orders is a string, not a list",
        "RENAME",
    ),
    (queue(holders=(InFlight("old", 5, 7201, None),)), NONE, WARN, "old holds 5 items", "re_enqueue_timeout_items"),
    (queue(holders=(InFlight("new", 5, 61, 30.0),)), NONE, WARN, "new holds 5 items", "re_enqueue_timeout_items"),
]
FSYNC_CASES: list[tuple[Facts, Level, str, str]] = [
    (changed(kind="redis", version=(7, 0, 15)), FAIL, "Fsync needs Redis 7.2", "Upgrade"),
    (changed(append_only=False), FAIL, "no append-only file", "appendonly yes"),
    (changed(append_only=None), UNKNOWN, "whether Fsync confirms", "CONFIG GET"),
    (changed(appendfsync=None), UNKNOWN, "whether Fsync confirms", "CONFIG GET"),
    (changed(appendfsync="no"), FAIL, "never confirmed", "appendfsync always"),
    (changed(appendfsync="everysec"), FAIL, "a lie: with everysec, Valkey 9.1.2", "appendfsync always"),
    (changed(appendfsync="everysec", version=(9, 1, 3)), UNKNOWN, "Valkey 9.1.3", "appendfsync always"),
    (changed(appendfsync="everysec", kind="redis", version=(7, 4, 2)), FAIL, "a lie: .*Redis 7.4.2", "appendfsync"),
]
FSYNC_MEANT = [
    changed(),
    changed(appendfsync="everysec", kind="redis", version=(7, 4, 3)),
    changed(appendfsync="everysec", kind="redis", version=(7, 2, 12)),
]


@pytest.mark.parametrize(("facts", "asked", "level", "what", "change"), CASES, ids=[case[3] for case in CASES])
def test_one_thing_wrong_is_one_finding(facts: Facts, asked: Asked, level: Level, what: str, change: str) -> None:
    (bad,) = [each for each in found(facts, asked) if each.level is not OK]
    assert bad.level is level
    assert re.search(what, bad.what)
    assert re.search(change, bad.change)


@pytest.mark.parametrize(("facts", "level", "what", "change"), FSYNC_CASES)
def test_what_fsync_needs(facts: Facts, level: Level, what: str, change: str) -> None:
    (told,) = [each for each in found(facts, FSYNC) if each not in found(facts)]
    assert told.level is level
    assert re.search(what, told.what)
    assert re.search(change, told.change)


@pytest.mark.parametrize("facts", FSYNC_MEANT)
def test_where_fsync_means_what_it_says(facts: Facts) -> None:
    assert [each.level for each in found(facts, FSYNC) if each not in found(facts)] == [OK]


@pytest.mark.parametrize(
    "facts",
    [
        changed(maxmemory=0, policy="allkeys-lru"),
        changed(maxmemory=0, used=5000),
        changed(used=899),
        changed(idle_timeout=60),
        changed(keepalive=0, way=Way("unix", socket=True)),
        changed(door_open=True, way=Way("unix", socket=True)),
        changed(skew=-1.9),
        changed(skew=None),
        changed(replicas=2),
        changed(kind="redis", version=(8, 6, 0)),
        changed(kind="redis", version=(8, 0, 4)),
        changed(kind="redis", version=(6, 2, 20)),
        queue(holders=(InFlight("old", 5, 7199, None), InFlight("new", 5, 59, 30.0), InFlight("none", 0, 9e9, None))),
        queue(is_pool=True, size=5, due=1),
    ],
)
def test_what_is_no_reason_to_warn(facts: Facts) -> None:
    assert {each.level for each in found(facts)} == {OK}


def test_too_few_replicas_for_any_write() -> None:
    (bad,) = [each for each in found(changed(min_replicas=2, replicas=1)) if each.level is not OK]
    assert (bad.level, "CONFIG SET min-replicas-to-write 1" in bad.change) == (FAIL, True)


def test_fewer_confirmations_than_replicas_are_no_failure_but_told() -> None:
    (told,) = [each for each in found(changed(replicas=2), Asked(1)) if "confirm" in each.what]
    assert told == Finding(
        OK, "1 of 2 replicas confirm; only Replicas(2) is safe whichever of them a failover promotes"
    )


def test_a_sentinel_is_told_at_once() -> None:
    (only,) = found(Facts(mode="sentinel"))
    assert (only.level, "redis+sentinel://" in only.change) == (FAIL, True)


@pytest.mark.parametrize("case", [*CASES, *FSYNC_CASES])
def test_whatever_is_wrong_has_something_to_do(case: tuple[Any, ...]) -> None:
    asked = case[1] if isinstance(case[1], Asked) else FSYNC
    assert [each for each in found(case[0], asked) if each.level is not OK and not each.change] == []


def test_the_page_names_the_versions_that_the_doctor_knows() -> None:
    from pyrq.cli.advice import _LUA_MENDED

    for kind, branches in _LUA_MENDED.items():
        row = re.findall(rf"{kind.capitalize()} ((?:\d+\.\d+\.\d+(?:, )?)+)", SECURITY)
        versions = {".".join(map(str, (*branch, patch))) for branch, patch in branches.items()}
        assert versions in [set(each.rstrip(", ").split(", ")) for each in row]


# How facts are read, where no server shows it


@pytest.mark.parametrize(
    ("call", "kind"), [(ops.probe, Kind.PLAIN), (ops.probe, Kind.UNIQUE), (pool_ops.probe, Kind.POOL)]
)
def test_a_probe_can_be_told_to_pass_over_what_may_not_write(call: Any, kind: Kind) -> None:
    source = call(Keys.of("orders", "doctor", kind)).script.source
    assert source.count(examine._IS_AFTERMATH) == 1


@pytest.mark.parametrize(
    ("url", "way"),
    [
        ("redis://localhost", Way()),
        ("redis://127.0.0.2:1", Way()),
        ("redis://[::1]:1", Way()),
        ("valkey://LOCALHOST", Way("valkey")),
        ("redis://10.0.0.1", Way(remote=True)),
        ("redis://localhost.example", Way(remote=True)),
        ("unix:///tmp/s", Way("unix", socket=True)),
        ("embedded:///tmp/s", Way("embedded", socket=True)),
        ("rediss://h?ssl_cert_reqs=none&ssl_check_hostname=false", Way("rediss", True, False, True, False, False)),
        ("rediss://h?ssl_check_hostname=false", Way("rediss", True, False, True, True, False)),
        ("rediss://h?ssl_check_hostname=true", Way("rediss", True, False, True, True, True)),
        ("valkeys://localhost?ssl_check_hostname=true", Way("valkeys", False, False, True, True, True)),
        ("redis+sentinel://localhost:1,127.0.0.1:2/orders", Way("redis+sentinel")),
        ("redis+sentinel://user:a@localhost:1,10.0.0.1:2/orders", Way("redis+sentinel", True)),
    ],
)
def test_where_a_url_leads(url: str, way: Way) -> None:
    assert examine.way_of(url) == way


@pytest.mark.parametrize(
    ("hello", "info", "told"),
    [
        ({"server": "redis", "version": "7.0.15"}, {}, ("redis", (7, 0, 15))),
        ({"server": "valkey", "version": "9.1.2"}, {"redis_version": "7.2.4", "valkey_version": "9.1.2"}, "valkey"),
        ({"server": "redis", "version": "7.2.4"}, {"redis_version": "7.2.4", "valkey_version": "9.1.2"}, "valkey"),
        ({}, {"redis_version": "5.0.14"}, ("redis", (5, 0, 14))),
        ({"server": "other", "version": "1.x"}, {}, ("other", (1,))),
        ({}, {}, ("server", ())),
    ],
)
def test_who_it_is(hello: dict[str, Any], info: dict[str, Any], told: object) -> None:
    expected = ("valkey", (9, 1, 2)) if told == "valkey" else told
    assert examine._version(hello, info) == expected


def test_only_replicas_that_are_there_are_counted() -> None:
    info = {"connected_slaves": 3, "slave0": {"state": "online"}, "slave1": {"state": "wait_bgsave"}, "slave2": "odd"}
    assert examine._replicas(info) == 2
    assert examine._replicas({}) is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (redis.ConnectionError(PASSWORD), ServerGoneError),
        (redis.TimeoutError(PASSWORD), ServerGoneError),
        (OSError(PASSWORD), ServerGoneError),
        (redis.exceptions.BusyLoadingError(PASSWORD), ServerBusyError),
    ],
)
def test_a_server_that_is_not_there(error: Exception, kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    server = examine._Server(urls.make_pool("redis://"))
    monkeypatch.setattr(server._client, "execute_command", fail)
    with pytest.raises(kind) as caught:
        server.ask("PING")
    assert type(caught.value) is kind


# The command

FINDINGS = [Finding(OK, "fine"), Finding(WARN, "odd \x1b[2J", "mend it"), Finding(UNKNOWN, "dark", "look")]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What the doctor finds in this test."""
    findings = list(FINDINGS)
    monkeypatch.setattr(doctor, "examine", lambda *_: GOOD)
    monkeypatch.setattr(doctor, "advise", lambda *_: findings)
    return findings


def test_a_line_for_each_finding(told: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "redis://"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok   fine",
        "warn odd ?[2J",
        "     -> mend it",
        "unknown dark",
        "     -> look",
        "1 ok, 1 warn, 0 fail, 1 unknown",
    ]


def test_for_programs(told: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "redis://", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[1] == {"level": "warn", "what": "odd \x1b[2J", "change": "mend it"}


@pytest.mark.parametrize(
    ("levels", "status", "strict_status"),
    [([OK, UNKNOWN], 0, 0), ([OK, WARN], 0, 1), ([WARN, FAIL], 1, 1), ([], 0, 0)],
)
def test_the_exit_status(told: list[Finding], levels: list[Level], status: int, strict_status: int) -> None:
    told[:] = [Finding(level, "x", "y") for level in levels]
    assert cli.main(["doctor", "redis://"]) == status
    assert cli.main(["doctor", "redis://", "--strict"]) == strict_status


def test_the_url_of_the_environment(monkeypatch: pytest.MonkeyPatch, told: list[Finding]) -> None:
    asked: list[object] = []
    monkeypatch.setattr(doctor, "examine", lambda *given: asked.append(given))
    monkeypatch.setenv("PYRQ_URL", "redis://there")
    assert cli.main(["doctor", "--queue", "orders", "--replicas", "2", "--fsync"]) == 0
    assert asked == [("redis://there", "orders", Asked(2, True))]


def test_memory_is_a_fake(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "memory://orders"]) == 0
    assert capsys.readouterr().out.startswith("warn memory:// is a fake in this process")


def test_an_embedded_server_is_not_made_by_looking(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", f"embedded://{tmp_path}/none"]) == 1
    assert capsys.readouterr().out.startswith(f"fail There is nothing in {tmp_path}/none yet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["http://h"], "url must begin with one of"),
        ([f"redis://:{PASSWORD}@h:port"], "wrong host, port, path or option"),
        ([f"redis+sentinel://:{PASSWORD}@h"], "wrong host, port, path or option"),
        ([f"embedded:///tmp?x={PASSWORD}"], "appendfsync"),
        (["redis://", "--queue", "a/b"], "--queue must be"),
        (["redis://", "--replicas", "-1"], "--replicas: must be a whole number from 0 to 1000"),
        (["redis://", "--replicas", "many"], "--replicas: must be a whole number from 0 to 1000"),
    ],
)
def test_a_wrong_argument(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["doctor", *arguments])
    assert caught.value.code == 2
    shown = capsys.readouterr()
    assert re.sub(r"\s+", " ", text) in re.sub(r"\s+", " ", shown.err)
    assert PASSWORD not in shown.err + shown.out


def test_what_a_url_tells_is_told_although_nobody_is_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise ServerGoneError

    monkeypatch.setattr(doctor, "examine", gone)
    assert cli.main(["doctor", "rediss://h?ssl_cert_reqs=none"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line[:4] for line in lines[:2]] == ["fail", "fail"]
    assert "ssl_cert_reqs=none" in lines[2]
