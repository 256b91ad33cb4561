"""The README's examples, run as they stand there."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from redis import Redis

from pyrq import Queue, Stats
from tests.servers import Server, wait_until

README = Path(__file__).parents[2] / "README.md"
NEEDS_REPLICA = "<!-- needs a server with a replica -->"
EXAMPLE = re.compile(rf"({re.escape(NEEDS_REPLICA)}\n)?```python\n(.*?)```", re.DOTALL)
EXAMPLES = EXAMPLE.findall(README.read_text(encoding="utf-8"))


def run(source: str, names: dict[str, Any]) -> None:
    """Runs an example; one that awaits, in an event loop."""
    code: CodeType = compile(source, str(README), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if not code.co_flags & inspect.CO_COROUTINE:
        exec(code, names)
        return

    async def main() -> None:
        await eval(code, names)
        await names["redis_client"].aclose()

    asyncio.run(main())


def test_there_are_examples_of_every_kind() -> None:
    assert [bool(needs) for needs, _ in EXAMPLES] == [False] * 3 + [True] * 2 + [False] * 3
    sources = "".join(source for _, source in EXAMPLES)
    shown = "consume( delay= timeout= ack_and_get( batch( max_size= pause( resume( stats( dead. Retry( Bury("
    assert [name for name in shown.split() if name not in sources] == []


@pytest.mark.parametrize("source", [source for needs, source in EXAMPLES if not needs])
def test_examples_with_an_embedded_server(source: str, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    run(source.replace("/tmp/pyrq-example", str(directory)), {"__name__": "example"})
    with Queue("orders", f"embedded://{directory}") as queue:
        assert queue.stats() == Stats(waiting=0, in_flight=0, delayed=0, dead=0, consumers=0, paused=False)


@pytest.mark.parametrize("source", [source for needs, source in EXAMPLES if needs])
def test_examples_of_the_older_libraries(source: str, start_server: Callable[..., Server]) -> None:
    primary = start_server("--repl-diskless-sync-delay", "0", tcp=True)
    start_server(primary=primary)
    plain = primary.client()
    wait_until(lambda: plain.incr("warm-up") and plain.wait(1, 1000))
    plain.delete("warm-up")
    plain.config_set("requirepass", "secret")
    names: dict[str, Any] = {
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": primary.port,
        "REDIS_DB": 0,
        "REDIS_PASSWORD": "secret",
        "QUEUE_NAME": "orders",
        "COUNT": 1,
        "TIMEOUT": 3000,
        "value": "an item",
    }
    run(source, names)
    assert names["list_of_values"] == ["an item"]
    # The example acknowledges, so that there is nothing left to revert.
    assert plain.keys("orders*") == [names["queue"]._run.member().keys.session]
    plain.close()
    if isinstance(names["redis_client"], Redis):
        names["redis_client"].close()
