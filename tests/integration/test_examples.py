"""The programs in `examples/`, run as a user runs them: on a server that is named, and on an embedded one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples import web
from pyrq import JsonCodec, Queue
from tests.conftest import leftovers, wait_until

ROOT = Path(__file__).parents[2]
LETTERS = """\
  delivered: to Ada
  delivered: to Bob, who moved
first: 8 taken, 2 acked, 3 retried, 2 buried, 1 dropped
  dead: 'to nobody' after 1: it has no address
  dead: 'in a hand that crashes the reader' after 3: ValueError: can't read it
  delivered: in a hand that crashes the reader
then: 2 taken, 1 acked, 1 buried
purged: 1
"""


def environment(url: str) -> dict[str, str]:
    return {**os.environ, "PYRQ_URL": url}


def run(name: str, url: str) -> str:
    """Runs an example to its end; gives what it prints."""
    command = [sys.executable, f"examples/{name}.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, env=environment(url))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@contextmanager
def worker(url: str, said: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process that writes what it says to a file; killed at the end if it is still there."""
    with (
        said.open("wb") as out,
        subprocess.Popen(
            [sys.executable, "examples/worker.py"],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.DEVNULL,
            env=environment(url),
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def packed(said: Path) -> list[int]:
    lines = said.read_text().splitlines()
    return sorted(int(line.split()[-1]) for line in lines if line.startswith("packed order "))


# Items that fail


def test_retry_bury(url: str, client: Any) -> None:
    assert run("retry_bury", url) == LETTERS
    assert leftovers(client) == set()


# The web application


@pytest.fixture
async def browser(url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Asks the application, which runs as a server program runs it."""
    monkeypatch.setenv("PYRQ_URL", url)
    async with AsyncExitStack() as stack:
        state = await stack.enter_async_context(web.app.router.lifespan_context(web.app))
        assert state

        async def with_state(scope: Any, receive: Any, send: Any) -> None:
            await web.app({**scope, "state": dict(state)}, receive, send)

        transport = httpx.ASGITransport(app=with_state)
        yield await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://example"))


async def test_an_order_is_in_the_queue_when_the_answer_comes(browser: httpx.AsyncClient, url: str) -> None:
    answer = await browser.post("/orders", json={"number": 7, "to": "Ada"})
    assert (answer.status_code, answer.json()) == (202, {"order": 7})
    with Queue(web.NAME, url, codec=JsonCodec()) as queue:
        assert queue.peek(10) == [{"number": 7, "to": "Ada"}]
    assert (await browser.get("/orders")).json()["waiting"] == 1


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b'{"numbers": 1}', b"null", b"\xff", b'{"number": NaN}', b'{"number": "\\ud800"}']
)
async def test_what_is_no_order_is_refused(browser: httpx.AsyncClient, client: Any, body: bytes) -> None:
    assert (await browser.post("/orders", content=body)).status_code == 400
    assert client.exists(web.NAME) == 0


async def test_a_full_queue_says_when_to_come_back(browser: httpx.AsyncClient, client: Any) -> None:
    client.lpush(web.NAME, *range(100_000))
    answer = await browser.post("/orders", json={"number": 7})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert client.llen(web.NAME) == 100_000


async def test_the_application_leaves_nothing_but_orders(browser: httpx.AsyncClient, client: Any) -> None:
    await browser.post("/orders", json={"number": 1})
    assert leftovers(client) == {web.NAME.encode()}


# The worker


def test_a_worker_that_is_told_to_stop_holds_nothing(url: str, client: Any, tmp_path: Path) -> None:
    said = tmp_path / "said"
    with Queue("orders", url, codec=JsonCodec()) as queue, worker(url, said) as process:
        queue.add_items({"number": number, "seconds": 0.3} for number in range(30))
        wait_until(lambda: packed(said), 30)
        assert queue.stats().in_flight > 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0

        rest = [order["number"] for order in queue.peek(100)]
        assert rest
        assert sorted(packed(said) + rest) == list(range(30))
        assert rest == sorted(rest)  # they went back as the next out, in their order
        stats = queue.stats()
        assert (stats.in_flight, stats.consumers, stats.delayed, stats.dead) == (0, 0, 0, 0)
        assert said.read_text().splitlines()[-1].startswith("stopped: ")
        assert leftovers(client) == {b"orders"}


def test_a_worker_buries_what_is_no_order(url: str, tmp_path: Path) -> None:
    said = tmp_path / "said"
    with Queue("orders", url, codec=JsonCodec()) as queue, worker(url, said) as process:
        queue.add_items([["no order"], {"number": 1, "seconds": 0}])
        wait_until(lambda: packed(said) == [1] and queue.dead.count() == 1, 30)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert [letter.reason for letter in queue.dead.peek(2)] == ["it has no number"]
    assert "1 buried" in said.read_text().splitlines()


# With no server at all


def test_the_web_application_and_a_worker_on_an_embedded_server(tmp_path: Path) -> None:
    url = f"embedded://{tmp_path / 'data'}"
    answers = run("web", url).splitlines()
    assert [answer.split()[0] for answer in answers[:3]] == ["202"] * 3
    said = tmp_path / "said"
    with worker(url, said) as process:
        wait_until(lambda: packed(said) == [1, 2, 3], 30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    with closing(Queue("orders", url)) as queue:
        assert queue.stats().waiting == queue.stats().in_flight == 0


def test_failing_items_on_an_embedded_server(tmp_path: Path) -> None:
    assert run("retry_bury", f"embedded://{tmp_path / 'data'}") == LETTERS


def test_each_example_says_how_to_run_it() -> None:
    programs = sorted(path for path in (ROOT / "examples").glob("*.py") if path.name != "__init__.py")
    assert [path.name for path in programs] == ["retry_bury.py", "web.py", "worker.py"]
    assert [path for path in programs if f"python examples/{path.name}" not in path.read_text()] == []
