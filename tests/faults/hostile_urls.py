"""Hostile URLs: every scheme with parts that are changed at random. The password in them shows in no text."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import quote

import pyrq
import pyrq.aio
from pyrq.backends.urls import appendfsync_of
from pyrq.errors import OutcomeUnknown
from tests.faults.campaign import Trial
from tests.faults.fuzzing import Fuzzer, attempt
from tests.faults.ledger import MARK, SECRET
from tests.servers import Server, contents

__all__ = ["urls"]

_OPTIONS = (
    *("db", "socket_timeout", "socket_connect_timeout", "max_connections", "protocol", "encoding", "encoding_errors"),
    *("decode_responses", "client_name", "username", "password", "health_check_interval", "retry_on_timeout"),
    *("socket_keepalive", "lib_name", "lib_version", "retry", "retry_on_error", "ssl_cert_reqs", "ssl_min_version"),
    *("ssl_check_hostname", "ssl_ca_certs", "redis_connect_func", "parser_class", "command_packer", "socket_type"),
    *("socket_read_size", "credential_provider", "cache", "cache_config", "event_dispatcher", "connection_class"),
    *("host", "port", "path", "sentinel_username", "sentinel_password", "sentinel_kwargs", "min_other_sentinels"),
    *("maint_notifications_config", "appendfsync", "driver_info", "name", "_get_from_pool", ""),
)
_VALUES = (
    *("", "0", "1", "2", "3", "4", "-1", "0.001", "1e999", "nan", "inf", "99999999999999999999", "yes", "no", "None"),
    *(
        "utf-8",
        "utf-16",
        "foo",
        "ignore",
        "required",
        "none",
        "always",
        "%00",
        "a b",
        "é",
        "%ff",
        "[]",
        "localhost",
        "\0",
    ),
)


def urls(trial: Trial, server: Server, fuzzer: Fuzzer, many: int) -> None:
    """Makes queues from URLs, and uses those that lead to the server."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "worker", "on", f">{SECRET}", "~*", "+@all")
    loop = asyncio.new_event_loop()
    try:
        for _ in range(many):
            url = _url(fuzzer, server)
            while url.startswith("embedded://") and _would_start(url):
                url = _url(fuzzer, server)
            act = _use_aio if fuzzer.rng.random() < 0.5 else _use
            attempt(trial, partial(act, trial, server, loop, url), "url")
    finally:
        loop.close()
        server.reset()


def _url(fuzzer: Fuzzer, server: Server) -> str:
    rng = fuzzer.rng
    bases = (
        f"redis://worker:{SECRET}@127.0.0.1:{server.port}/0",
        f"valkey://worker:{SECRET}@127.0.0.1:{server.port}",
        f"unix://worker:{SECRET}@{quote(server.path)}",
        f"redis://127.0.0.1:{server.port}?username=worker&password={SECRET}",
        f"rediss://worker:{SECRET}@127.0.0.1:{server.port}/0?ssl_cert_reqs=none",
        f"valkeys://worker:{SECRET}@127.0.0.1:1",
        f"redis+sentinel://worker:{SECRET}@127.0.0.1:1,127.0.0.1:2/primary/0?sentinel_password={SECRET}",
        f"memory://{SECRET}",
        f"embedded:///nowhere/{SECRET}?appendfsync=always",
    )
    url = rng.choice(bases)
    for _ in range(rng.choice((0, 1, 1, 2))):
        mark = "&" if "?" in url else "?"
        value = rng.choice(_VALUES) if rng.random() < 0.8 else fuzzer.text("1")
        url += f"{mark}{rng.choice(_OPTIONS)}={value}"
    return fuzzer.text(url) if rng.random() < 0.5 else url


def _would_start(url: str) -> bool:
    try:
        appendfsync_of(url)
    except ValueError:
        return False
    return True


def _leads_here(queue: Any, server: Server) -> bool:
    """Says whether it is this server that a queue would connect to: a random name is not to be looked up."""
    pool = queue._run.backend._pool
    kwargs, kind = pool.connection_kwargs, pool.connection_class.__name__
    if "SSL" in kind or "Sentinel" in kind:
        return False
    return kwargs.get("path") == server.path or (kwargs.get("host"), kwargs.get("port")) == ("127.0.0.1", server.port)


@contextlib.contextmanager
def _looked_at(trial: Trial, server: Server, queue: Any) -> Iterator[None]:
    """Checks what is there after a block that adds `MARK`, and that it is where the URL says."""
    counts = {0}
    try:
        yield
        counts = {1}
    except OutcomeUnknown:
        counts = {0, 1}
        raise
    finally:
        found = _found(server)
        there = found.pop((f"db{queue._run.backend._pool.connection_kwargs.get('db') or 0}", b"orders"), [])
        trial.expect(not found, "an add by a URL wrote elsewhere")
        trial.blame("lost", int(counts == {1} and not there), "an item that was added by a URL")
        trial.expect(there == len(there) * [MARK.encode()], "an item came out as another")
        trial.expect(len(there) in counts, f"{len(there)} items are there, not {counts}")


def _found(server: Server) -> dict[tuple[str, bytes], Any]:
    """Gives what is in all databases, but for sessions, and empties them."""
    found = {}
    with server.client(single_connection_client=True) as client:
        # What the server was sent before, it has read when it has answered twice.
        for _ in range(2):
            client.ping()
        for name in client.info("keyspace"):
            client.select(int(name.removeprefix("db")))
            found.update({(name, key): held for key, held in contents(client).items() if b"/session/" not in key})
        client.flushall()
    return found


def _use(trial: Trial, server: Server, _: asyncio.AbstractEventLoop, url: str) -> None:
    queue = pyrq.Queue("orders", url, retry=0)
    trial.read("repr of a queue", repr(queue), str(queue))
    if _leads_here(queue, server):
        trial.count("accepted")
        try:
            with _looked_at(trial, server, queue):
                trial.expect(queue.add_item(MARK), "an add by a URL gave False")
        finally:
            queue._run.backend.close()


def _use_aio(trial: Trial, server: Server, loop: asyncio.AbstractEventLoop, url: str) -> None:
    async def use() -> None:
        queue = pyrq.aio.Queue("orders", url, retry=0)
        trial.read("repr of a queue", repr(queue), str(queue))
        if _leads_here(queue, server):
            trial.count("accepted")
            try:
                with _looked_at(trial, server, queue):
                    trial.expect(await queue.add_item(MARK), "an add by a URL gave False")
            finally:
                await queue._run.backend.close()

    loop.run_until_complete(use())
