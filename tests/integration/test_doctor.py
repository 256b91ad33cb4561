"""`pyrq doctor` on real servers, each with one thing wrong; and that it leaves no trace and gives no secret away."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

import pyrq
from pyrq.backends import urls
from pyrq.backends.embedded import EmbeddedServer
from pyrq.cli.main import main
from tests.conftest import Pair
from tests.faults.watch import SERVICE, watched
from tests.integration.test_errors import pretending
from tests.integration.test_security import USER, permit
from tests.servers import Binary, Server, contents, free_port, wait_until

SECRET = "open-sesame-77"
GOOD = ("--appendonly", "yes", "--appendfsync", "always", "--requirepass", SECRET)

CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQguh0RncwEMUkyUUh8
+oskodRffufx8BOzQXTF9BzVY8ahRANCAAQGzC2r04IK1Z1zHsT5aFF1HMa+KGkw
gmQxAXV3LKhwHZkvzQMSQU3/6iddfg0Q6XEMIF5FHhI27EBKECK8kgLy
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBYTCCAQegAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlweXJxLXRl
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CXB5cnEtdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABAbMLavTggrVnXMe
xPloUXUcxr4oaTCCZDEBdXcsqHAdmS/NAxJBTf/qJ11+DRDpcQwgXkUeEjbsQEoQ
IrySAvKjSDBGMA8GA1UdEwEB/wQFMAMBAf8wHQYDVR0OBBYEFKzQJRKKzl/hCm4C
/6CUVOqhNEN/MBQGA1UdEQQNMAuCCWxvY2FsaG9zdDAKBggqhkjOPQQDAgNIADBF
AiA1CPDUSOyRHLwKj6cvbnXW6fKcV4tYyNrdBRdr2p6TjgIhANQCk7oGUvsuGcL2
ta7hmP5ZxLL3W+qmMrPpiF0DdFWT
-----END CERTIFICATE-----
"""
"""For localhost, by itself, and its key: of use for nothing but these tests."""


class Diagnosis(NamedTuple):
    status: int
    findings: list[dict[str, str]]

    def of(self, text: str) -> tuple[str, str]:
        """The level of the one finding with this text, and what to change."""
        (one,) = [each for each in self.findings if text in each["what"]]
        return one["level"], one["change"]

    def at(self, *levels: str) -> list[str]:
        return [each["what"] for each in self.findings if each["level"] in levels]


Examine = Callable[..., Diagnosis]


@pytest.fixture
def examined(capsys: pytest.CaptureFixture[str]) -> Examine:
    """Runs the doctor, and looks for the password in all that it says."""

    def run(url: str, *options: str) -> Diagnosis:
        capsys.readouterr()
        status = main(["doctor", url, "--json", *options])
        said = capsys.readouterr()
        assert SECRET not in said.out + said.err
        assert said.err == ""
        return Diagnosis(status, json.loads(said.out))

    return run


def with_login(url: str) -> str:
    return url.replace("://", f"://:{SECRET}@", 1)


# Nothing wrong


def test_a_good_server(start_server: Callable[..., Server], examined: Examine) -> None:
    server = start_server(*GOOD)
    diagnosis = examined(with_login(server.url), "--queue", "orders")
    assert diagnosis.status == 0
    assert [what for what in diagnosis.at("warn", "fail", "unknown") if "Lua" not in what] == []
    assert {"survives a crash", "asks for a login", "permitted", "evicts nothing", "orders: 0 waiting"} <= {
        text
        for text in ("survives a crash", "asks for a login", "permitted", "evicts nothing", "orders: 0 waiting")
        if diagnosis.of(text)[0] == "ok"
    }


def test_it_says_who_it_is(server: Server, examined: Examine) -> None:
    name, _, version = server.binary.name.partition("-")
    assert examined(server.url).of(f"{name.capitalize()} {version}")[0] == "ok"


def test_the_whole_of_it_as_a_user_runs_it(start_server: Callable[..., Server]) -> None:
    server = start_server(*GOOD)
    environment = {**os.environ, "PYRQ_URL": with_login(server.url)}
    command = [sys.executable, "-m", "pyrq", "doctor", "--replicas", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (1, "")
    assert "fail 0 of 1 replicas are connected: no change would be confirmed" in lines
    assert all(line.startswith(("ok   ", "warn ", "fail ", "     -> ")) for line in lines[:-1])
    assert lines[-1].endswith(", 0 unknown")


def test_it_changes_nothing(start_server: Callable[..., Server], examined: Examine) -> None:
    server = start_server(*GOOD, tcp=True)
    with server.client(password=SECRET) as client, pyrq.Queue("orders", client) as queue:
        queue.add_items(["a", "b"])
        queue.get_items(1)
        before = contents(client), client.config_get("*"), changes(client)
        for name in ("orders", "none"):
            examined(with_login(server.tcp_url), "--queue", name, "--replicas", "1", "--fsync")
        assert (contents(client), client.config_get("*"), changes(client)) == before


def changes(client: Any) -> int:
    return int(client.info("persistence")["rdb_changes_since_last_save"])


# Memory and disk


@pytest.mark.parametrize(("policy", "level"), [("allkeys-lru", "fail"), ("volatile-lru", "warn"), ("noeviction", "ok")])
def test_what_it_evicts(start_server: Callable[..., Server], examined: Examine, policy: str, level: str) -> None:
    server = start_server("--maxmemory", "100mb", "--maxmemory-policy", policy)
    found, change = examined(server.url).of("evicts")
    assert (found, "CONFIG SET maxmemory-policy noeviction" in change) == (level, level != "ok")


def test_what_it_evicts_goes_away_with_the_change_that_it_names(server: Server, examined: Examine, client: Any) -> None:
    client.config_set("maxmemory", "100mb")
    client.config_set("maxmemory-policy", "allkeys-random")
    try:
        change = examined(server.url).of("evicts")[1].split(",")[0].split()
        client.execute_command(*change)
        assert examined(server.url).of("evicts")[0] == "ok"
    finally:
        client.config_set("maxmemory-policy", "noeviction")


def test_a_full_server(server: Server, examined: Examine, client: Any) -> None:
    client.config_set("maxmemory", int(client.info("memory")["used_memory"] / 0.95))
    assert examined(server.url).of("of maxmemory is used")[0] == "warn"
    client.config_set("maxmemory", "1")
    level, change = examined(server.url).of("of maxmemory is used")
    assert (level, "Take items out" in change) == ("fail", True)


@pytest.mark.parametrize(
    ("options", "level", "text"),
    [
        ((), "fail", "keeps nothing on disk"),
        (("--save", "3600 1"), "warn", "only writes snapshots (save 3600 1)"),
        (("--appendonly", "yes", "--appendfsync", "everysec"), "warn", "up to two seconds"),
        (("--appendonly", "yes", "--appendfsync", "no"), "warn", "appendfsync is no"),
        (("--appendonly", "yes", "--appendfsync", "always"), "ok", "survives a crash"),
    ],
)
def test_what_it_keeps(
    start_server: Callable[..., Server], examined: Examine, options: tuple[str, ...], level: str, text: str
) -> None:
    server = start_server(*options)
    found, change = examined(server.url).of(text)
    assert (found, "appendfsync always" in change) == (level, level != "ok")


def test_a_disk_that_fails(start_server: Callable[..., Server], examined: Examine) -> None:
    server = start_server()
    with server.client() as client:
        Path(client.config_get("dir")["dir"]).joinpath("dump.rdb").mkdir()
        client.set("x", 1)
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] != "ok")
    assert examined(server.url).of("write to the disk failed")[0] == "fail"


# Replicas, and disks that confirm


def test_replicas(pair: Pair, examined: Examine) -> None:
    url = pair.primary.url
    assert examined(url).of("replicas connected: 1, asked for: 0")[0] == "ok"
    assert examined(url, "--replicas", "1").of("replicas connected: 1, asked for: 1")[0] == "ok"
    diagnosis = examined(url, "--replicas", "2")
    assert (diagnosis.status, diagnosis.of("1 of 2 replicas are connected")[0]) == (1, "fail")


def test_a_replica(pair: Pair, examined: Examine) -> None:
    diagnosis = examined(pair.replica.url)
    assert (diagnosis.status, diagnosis.of("it is a replica")[0]) == (1, "fail")
    assert diagnosis.of("permitted")[0] == "ok"


def test_too_few_replicas_for_any_write(start_server: Callable[..., Server], examined: Examine) -> None:
    server = start_server("--min-replicas-to-write", "1")
    level, change = examined(server.url).of("refuses changes: 0 of 1 replicas")
    assert (level, "min-replicas-to-write 0" in change) == ("fail", True)


@pytest.mark.parametrize("appendfsync", ["always", "everysec", "no"])
def test_fsync(start_server: Callable[..., Server], examined: Examine, appendfsync: str) -> None:
    server = start_server("--appendonly", "yes", "--appendfsync", appendfsync)
    level, change = examined(server.url, "--fsync").of("Fsync")
    if not server.binary.has_waitaof:
        assert (level, "Upgrade" in change) == ("fail", True)
    elif appendfsync == "always":
        assert level == "ok"
    else:
        assert "CONFIG SET appendfsync always" in change
        assert level != "ok" or not server.binary.is_valkey


# How it is reached


def test_no_login(start_server: Callable[..., Server], examined: Examine) -> None:
    server = start_server("--requirepass", SECRET)
    diagnosis = examined(server.url)
    assert (diagnosis.status, len(diagnosis.findings)) == (1, 1)
    assert diagnosis.of("The server refused the user name or the password")[0] == "fail"


@pytest.mark.parametrize("login", ["", "nobody"])
def test_a_wrong_password(start_server: Callable[..., Server], examined: Examine, login: str) -> None:
    server = start_server("--requirepass", SECRET, tcp=True)
    for url in (server.url, server.tcp_url):
        wrong = url.replace("://", f"://{login}:{SECRET}-not@", 1)
        assert examined(wrong).of("The server refused the user name or the password")[0] == "fail"


def test_who_is_let_in_without_a_login(start_server: Callable[..., Server], examined: Examine) -> None:
    server = start_server(tcp=True)
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "worker", "on", f">{SECRET}", "~*", "+@all")
        url = server.tcp_url.replace("://", f"://worker:{SECRET}@", 1)
        for reached in (server.tcp_url, url):
            level, change = examined(reached).of("everybody on this machine")
            assert (level, "ACL SETUSER default off" in change) == ("warn", True)
        assert examined(server.url).of("who may open its socket")[0] == "ok"
        client.execute_command("ACL", "SETUSER", "default", "off")
        assert examined(url).of("asks for a login")[0] == "ok"


@pytest.mark.parametrize("url", [f"redis://:{SECRET}@127.0.0.1:{{}}", f"unix://:{SECRET}@/tmp/pyrq-no-such-{{}}"])
def test_a_server_that_is_not_there(examined: Examine, url: str) -> None:
    diagnosis = examined(url.format(free_port()))
    assert (diagnosis.status, diagnosis.of("can't be reached")[0]) == (1, "fail")


def test_a_server_that_is_too_old(examined: Examine) -> None:
    with pretending(b"6.0.16") as url:
        diagnosis = examined(url)
    assert (diagnosis.status, diagnosis.of("Redis 6.0.16 is too old")[0]) == (1, "fail")


def test_a_server_that_refuses_all(start_server: Callable[..., Server], examined: Examine) -> None:
    server = start_server(tcp=True)
    diagnosis = examined(f"{server.tcp_url}/99")
    assert (diagnosis.status, diagnosis.of("DB index is out of range")[0]) == (1, "fail")
    assert diagnosis.at("unknown", "ok") == []
    level, change = examined(f"redis+sentinel://127.0.0.1:{server.port}/orders").of("SENTINEL")
    assert (level, "Check the Sentinels" in change) == ("fail", True)


def test_a_server_without_tls(start_server: Callable[..., Server], examined: Examine) -> None:
    server = start_server(tcp=True)
    diagnosis = examined(server.tcp_url.replace("redis:", "rediss:"))
    assert (diagnosis.status, diagnosis.of("can't be reached")[0], diagnosis.at("ok")) == (1, "fail", [])


def test_the_default_is_named(examined: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "LOCAL", f"redis://127.0.0.1:{free_port()}")
    assert "PYRQ_URL" in examined(urls.LOCAL).of("can't be reached")[1]


@contextlib.contextmanager
def encrypting(path: str, folder: Path) -> Iterator[int]:
    """The port of a TLS server that hands on to a unix socket."""
    pem = folder / "localhost.pem"
    pem.write_text(CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def serve(client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX) as upstream,
            context.wrap_socket(client, server_side=True) as secured,
        ):
            upstream.connect(path)
            back = threading.Thread(target=pump, args=(upstream, secured))
            back.start()
            pump(secured, upstream)
            back.join(10)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],)).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def test_tls(server: Server, examined: Examine, tmp_path: Path) -> None:
    with encrypting(server.path, tmp_path) as port:
        here, trust = f"rediss://localhost:{port}", f"ssl_ca_certs={tmp_path}/localhost.pem"
        good = examined(f"{here}?{trust}&ssl_check_hostname=true")
        assert good.of("TLS, and the certificate is verified")[0] == "ok"
        assert examined(f"{here}?{trust}&ssl_check_hostname=false").of("any other host")[0] == "warn"
        level, change = examined(f"{here}?ssl_cert_reqs=none&ssl_check_hostname=false").of("not verified")
        assert (level, "ssl_cert_reqs=none" in change) == ("fail", True)
        untrusted = examined(here)
        level, change = untrusted.of("Its TLS certificate is not trusted here")
        assert (level, "ssl_ca_certs" in change, untrusted.at("ok")) == ("fail", True, [])
        level, change = examined(f"rediss://127.0.0.1:{port}?{trust}&ssl_check_hostname=true").of("can't be reached")
        assert (level, "for another host" in change) == ("fail", True)


def test_a_sentinel(server_binary: Binary, examined: Examine) -> None:
    with watched(server_binary) as watch:
        watch.wait_for_readiness()
        diagnosis = examined(watch.url, "--replicas", "1")
        assert diagnosis.of("replicas connected: 1, asked for: 1")[0] == "ok"
        assert diagnosis.of("everybody on this machine")[0] == "warn"
        level, change = examined(f"redis://127.0.0.1:{watch.port}").of("this is a Sentinel")
        assert (level, "redis+sentinel://" in change) == ("fail", True)
        level, change = examined(watch.url.replace(SERVICE, "unheard-of")).of("can't be reached")
        assert (level, "know this service" in change) == ("fail", True)
        watch.replica.kill()
        wait_until(lambda: "no replica to promote" in str(examined(watch.url).findings), 30)


def test_a_cluster(start_server: Callable[..., Server], examined: Examine) -> None:
    server = start_server("--cluster-enabled", "yes", "--cluster-port", str(free_port()), tcp=True)
    assert examined(server.url).of("part of a cluster")[0] == "fail"


def test_connections(start_server: Callable[..., Server], examined: Examine) -> None:
    server = start_server("--timeout", "20", "--tcp-keepalive", "0", tcp=True)
    diagnosis = examined(server.tcp_url)
    assert diagnosis.of("silent for 20 s") == ("warn", "CONFIG SET timeout 0, and CONFIG REWRITE to keep it")
    assert diagnosis.of("tcp-keepalive is 0")[0] == "warn"


def test_a_clock_that_is_wrong(server: Server, examined: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "clock" not in str(examined(server.url).findings)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 7200)
    assert examined(server.url).of("7200 s behind the server's")[0] == "warn"


# Rights


def test_the_user_of_one_queue(server: Server, client: Any, examined: Examine) -> None:
    """The rule of SECURITY.md is enough, and what it does not allow to see is unknown, not wrong."""
    diagnosis = examined(permit(client, server.url), "--queue", "orders", "--replicas", "0")
    assert (diagnosis.status, diagnosis.of("permitted")[0]) == (0, "ok")
    assert diagnosis.at("fail") == []
    assert len(diagnosis.at("unknown")) == 4
    assert diagnosis.of("orders: 0 waiting")[0] == "ok"


def test_the_user_of_another_queue(server: Server, client: Any, examined: Examine) -> None:
    url = permit(client, server.url)
    level, change = examined(url, "--queue", "bills").of("keys of the queue")
    assert (level, "~bills ~bills-* ~bills/*" in change) == ("fail", True)
    assert examined(url).of("may not use every key")[0] == "unknown"


@pytest.mark.parametrize("missing", ["lpush", "hset", "evalsha", "blmove", "time", "rename"])
def test_a_command_that_is_not_permitted(server: Server, client: Any, examined: Examine, missing: str) -> None:
    url = permit(client, server.url, f"-{missing}")
    diagnosis = examined(url, "--queue", "orders")
    assert diagnosis.of("not permitted to this user") == ("fail", f"ACL SETUSER USER +{missing}")
    client.execute_command("ACL", "SETUSER", USER, f"+{missing}")
    assert examined(url, "--queue", "orders").of("permitted")[0] == "ok"


def test_no_scripts(server: Server, client: Any, examined: Examine) -> None:
    url = permit(client, server.url, "-eval", "-evalsha")
    assert "EVAL" in examined(url, "--queue", "orders").at("fail")[0]


def test_confirmations_that_are_not_permitted(server: Server, client: Any, examined: Examine) -> None:
    url = permit(client, server.url, "-wait")
    assert examined(url, "--queue", "orders").of("permitted")[0] == "ok"
    assert "WAIT" in examined(url, "--queue", "orders", "--replicas", "1").at("fail")[0]
    if server.binary.has_waitaof:
        assert "WAITAOF" in examined(url, "--queue", "orders", "--fsync").at("fail")[0]


# A queue


def test_a_queue(url: str, client: Any, examined: Examine) -> None:
    with pyrq.Queue("orders", url, codec=pyrq.JsonCodec(), client_id="slow") as queue:
        queue.add_items([1, 2, 3])
        client.rpush("orders", "?")
        assert queue.get_items(2) == [1, 2]
        queue.pause()
        diagnosis = examined(url, "--queue", "orders")
        assert diagnosis.of("orders: 1 waiting, 2 in flight, 0 put off, 1 dead, 1 consumers")[0] == "ok"
        assert diagnosis.of("orders is paused") == ("warn", "queue.resume()")
        assert diagnosis.of("orders has dead letters: 1")[0] == "warn"
        seconds = client.time()[0]
        client.hset("orders-timeouts", queue.processing_queue_name, seconds - 7300)
        level, change = examined(url, "--queue", "orders").of("holds 2 items of orders and has been silent for 730")
        assert (level, "re_enqueue_timeout_items()" in change) == ("warn", True)


def test_a_queue_of_unique_items_and_a_pool(url: str, client: Any, examined: Examine) -> None:
    with pyrq.UniqueQueue("pages", url) as pages, pyrq.Pool("feeds", url) as feeds:
        pages.add_items(["/", "/about"])
        feeds.add_items(["news", "weather"])
        feeds.get_items(1)
        assert examined(url, "--queue", "pages").of("pages: 2 waiting")[0] == "ok"
        assert examined(url, "--queue", "feeds").of("feeds, a pool: 2 items, 1 due")[0] == "ok"


@pytest.mark.parametrize("key", ["orders", "orders-timeouts", "orders/dead", "orders/delayed", "orders-unique"])
def test_a_key_of_another_type(url: str, client: Any, examined: Examine, key: str) -> None:
    client.set(key, "somebody else's")
    diagnosis = examined(url, "--queue", "orders")
    level, change = diagnosis.of(f"{key} is a string")
    assert (level, f"RENAME {key}" in change, diagnosis.status) == ("fail", True, 1)


# The embedded server


@pytest.mark.parametrize(
    ("option", "level", "text"),
    [("", "ok", "survives a crash"), ("?appendfsync=everysec", "warn", "up to two seconds")],
)
def test_an_embedded_server(tmp_path: Path, examined: Examine, option: str, level: str, text: str) -> None:
    url = f"embedded://{tmp_path}/data{option}"
    with pyrq.Queue("orders", url) as queue:
        queue.add_item("a")
    for _ in range(2):  # one that has to be started for it
        diagnosis = examined(url, "--queue", "orders")
        assert diagnosis.of(text)[0] == level
        assert diagnosis.of("orders: 1 waiting")[0] == "ok"
    assert diagnosis.at("fail", "unknown") == []


def test_looking_does_not_change_what_others_chose(tmp_path: Path, examined: Examine) -> None:
    with EmbeddedServer.open(tmp_path, appendfsync="everysec") as server:
        examined(f"embedded://{tmp_path}")
        with redis.Redis(unix_socket_path=server.socket, decode_responses=True) as client:
            assert client.config_get("appendfsync") == {"appendfsync": "everysec"}
