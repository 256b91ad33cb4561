"""The embedded server with real processes: who shares it, who stops it, and what survives whose death."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from pyrq.backends import embedded
from pyrq.backends.embedded import EmbeddedServer
from pyrq.core.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BOUND = 20.0

# A user in a process of its own. It evaluates one expression per line and answers with its value, or the name of its
# error, as JSON. A forked child reads from the second pair of pipes.
USER = """
import contextlib, json, os, signal, sys, threading, time
import redis
from pyrq.backends import embedded
from pyrq.backends.embedded import EmbeddedServer

directory, child_in, child_out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
server = None

def open_it(appendfsync="everysec"):
    global server
    server = EmbeddedServer.open(directory, appendfsync=appendfsync)
    return server.pid

def client():
    return redis.Redis(unix_socket_path=server.socket, decode_responses=True)

def push(name, count):
    with client() as c:
        return [c.rpush(name, n) for n in range(count)][-1]

def ensured():
    server.ensure()
    return server.pid

def alive():
    with client() as c:
        return c.ping()

def fork():
    child = os.fork()
    if not child:
        serve(os.fdopen(child_in), os.fdopen(child_out, "w"))
        sys.exit()
    return child

def fork_while_held(name):
    # Another thread holds a lock while this one forks.
    held, done = threading.Event(), threading.Event()
    def hold():
        with embedded._locked(server.directory / name, 20):
            held.set()
            done.wait()
    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    held.wait()
    return fork()

def fork_while_closing():
    # Another thread waits for start.lock, to close the object, while this one forks.
    with embedded._locked(server.directory / "start.lock", 0):
        thread = threading.Thread(target=server.close)
        thread.start()
        while not server._closed:
            time.sleep(0.001)
        child = fork()
    thread.join()
    return child

def keep():
    # A thread that outlives the interpreter keeps the object from being collected.
    threading.Thread(target=lambda mine: time.sleep(60), args=[server], daemon=True).start()

def churn(count):
    for n in range(count):
        with EmbeddedServer.open(directory) as mine, redis.Redis(unix_socket_path=mine.socket) as c:
            c.rpush("churn", n)
    return count

def serve(lines, out):
    for line in lines:
        try:
            answer = eval(line)
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        print(json.dumps(answer), file=out, flush=True)

serve(sys.stdin, sys.stdout)
"""


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < deadline, f"waited too long until {what}"
        time.sleep(0.005)


def lives(pid: int) -> bool:
    """Whether a process runs; a zombie, which only waits for its parent, does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return not Path("/proc/self").exists()
    return False


def answers(path: str) -> bool:
    return embedded._ask(path, b"PING") == b"+PONG\r\n"


def gone(pid: int, path: str) -> bool:
    return not lives(pid) and embedded._ask(path, b"PING") is None


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not lives(pid), f"process {pid} is dead")


class User:
    """Another process. `ask` evaluates an expression in it; `ask_child` does so in the child that it forked."""

    def __init__(self, directory: Path, servers: set[int]) -> None:
        self._servers = servers
        child_in, self._to_child = os.pipe()
        self._from_child, child_out = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", USER, str(directory), str(child_in), str(child_out)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[child_in, child_out],
        )
        self.pid = self._process.pid
        self.children: list[int] = []
        os.close(child_in)
        os.close(child_out)

    def say(self, expression: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(expression.encode() + b"\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], BOUND)[0], "no answer"
        return json.loads(self._process.stdout.readline())

    def ask(self, expression: str) -> Any:
        self.say(expression)
        return self.hear()

    def open(self, appendfsync: str = "everysec") -> int:
        pid = self.ask(f"open_it({appendfsync!r})")
        assert isinstance(pid, int), pid
        self._servers.add(pid)
        return pid

    def fork(self, expression: str = "fork()") -> int:
        self.children.append(self.ask(expression))
        return self.children[-1]

    def ask_child(self, expression: str) -> Any:
        os.write(self._to_child, expression.encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            assert select.select([self._from_child], [], [], BOUND)[0], "no answer"
            answer += os.read(self._from_child, 4096) or b'"(gone)"\n'
        return json.loads(answer)

    def end(self) -> int:
        """Lets the process come to its normal end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait(BOUND)

    def end_child(self) -> None:
        if self._to_child >= 0:
            os.close(self._to_child)
        self._to_child = -1

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(BOUND)

    def clean_up(self) -> None:
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self.kill()
        self.end_child()
        os.close(self._from_child)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


@pytest.fixture
def servers() -> Iterator[set[int]]:
    """The process ids of the servers that a test knows; those that are left are killed at the end."""
    pids: set[int] = set()
    bring_up = embedded._Server.bring_up

    def noted(server: embedded._Server) -> None:
        bring_up(server)
        pids.add(server.pid())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded._Server, "bring_up", noted)
        yield pids
    for pid in pids:
        if lives(pid) and "valkey" in subprocess.check_output(["ps", "-o", "args=", "-p", str(pid)], text=True):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def directory(tmp_path: Path, servers: set[int]) -> Iterator[Path]:
    place = tmp_path / "data"
    yield place
    for user in list(embedded._users):
        user.close()
    with contextlib.suppress(OSError, ValueError):
        servers.add(int((place / "server.lock").read_text()))


@pytest.fixture
def new_user(directory: Path, servers: set[int]) -> Iterator[Callable[[], User]]:
    users: list[User] = []

    def new() -> User:
        users.append(User(directory, servers))
        return users[-1]

    yield new
    for user in users:
        user.clean_up()


def client(server: EmbeddedServer) -> redis.Redis:
    return redis.Redis(unix_socket_path=server.socket, decode_responses=True)


# One process


def test_the_server_is_private_and_durable(directory: Path) -> None:
    with EmbeddedServer.open(directory) as server, client(server) as c:
        assert server.directory == directory.resolve()
        assert lives(server.pid)
        wanted = {
            "port": "0",
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            "unixsocketperm": "700",
        }
        assert c.config_get(*wanted) == wanted
        assert directory.stat().st_mode & 0o777 == 0o700
        for path in directory.iterdir():
            assert path.stat().st_mode & 0o077 == 0, path


def test_a_directory_with_any_name_will_do(directory: Path) -> None:
    place = directory / 'it\'s "ü" \\n $A'
    with EmbeddedServer.open(place) as server, client(server) as c:
        assert c.config_get("dir") == {"dir": str(place)}
        assert answers(server.socket)


def test_two_ways_to_a_directory_lead_to_one_server(directory: Path, tmp_path: Path) -> None:
    directory.mkdir()
    (tmp_path / "link").symlink_to(directory)
    with EmbeddedServer.open(directory) as one, EmbeddedServer.open(str(tmp_path / "link")) as two:
        assert one.pid == two.pid
        assert one.socket == two.socket


def test_objects_share_one_server_until_the_last_is_closed(directory: Path) -> None:
    one, two, three = (EmbeddedServer.open(directory) for _ in range(3))
    assert one.pid == two.pid == three.pid
    for server in (two, one, one, two):
        server.close()
        assert answers(three.socket)
    with three:
        three.close()
    assert gone(three.pid, three.socket)


def test_a_closed_object_is_of_no_more_use(directory: Path) -> None:
    server = EmbeddedServer.open(directory)
    server.close()
    with pytest.raises(EmbeddedServerError, match="closed"):
        server.ensure()
    assert gone(server.pid, server.socket)


def test_data_is_there_after_the_server_was_stopped(directory: Path) -> None:
    with EmbeddedServer.open(directory) as server, client(server) as c:
        c.set("key", "value")
    with EmbeddedServer.open(directory) as again, client(again) as c:
        assert c.get("key") == "value"
        assert again.pid != server.pid


def test_ensure_costs_no_lock_while_the_server_lives(directory: Path) -> None:
    with EmbeddedServer.open(directory) as server:
        server._patience = 0
        with embedded._locked(directory / "start.lock", 0):
            server.ensure()
            kill(server.pid)
            with pytest.raises(EmbeddedServerError, match=r"start\.lock for too long"):
                server.ensure()
        server.ensure()
        assert answers(server.socket)


def test_a_forgotten_object_lets_go(directory: Path) -> None:
    server = EmbeddedServer.open(directory)
    pid, path = server.pid, server.socket
    del server
    gc.collect()
    assert gone(pid, path)


def test_threads_open_and_close_at_will(directory: Path) -> None:
    def use(_: int) -> None:
        for number in range(10):
            with EmbeddedServer.open(directory) as server, client(server) as c:
                c.rpush("items", number)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(use, range(6)))
    with EmbeddedServer.open(directory) as server, client(server) as c:
        assert c.llen("items") == 60
    assert gone(server.pid, server.socket)


def test_threads_share_an_object(directory: Path) -> None:
    server = EmbeddedServer.open(directory)
    os.kill(server.pid, signal.SIGKILL)

    def use(_: int) -> int:
        server.ensure()
        return server.pid

    with ThreadPoolExecutor(6) as pool:
        (pid,) = set(pool.map(use, range(6)))
        list(pool.map(lambda _: server.close(), range(6)))
    assert gone(pid, server.socket)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")
def test_the_server_inherits_its_own_lock_only(directory: Path) -> None:
    with EmbeddedServer.open(directory), EmbeddedServer.open(directory) as server:
        files = {Path(os.readlink(link)).name for link in Path(f"/proc/{server.pid}/fd").iterdir()}
    assert "server.lock" in files
    assert not {"users.lock", "start.lock"} & files


def test_the_server_is_nobodys_child(new_user: Callable[[], User]) -> None:
    user = new_user()
    assert os.getsid(user.open()) not in (os.getsid(user.pid), user.pid)
    assert "ChildProcessError" in user.ask("os.waitpid(-1, os.WNOHANG)")


def test_the_stronger_appendfsync_wins(directory: Path) -> None:
    with EmbeddedServer.open(directory) as weak, client(weak) as c:
        with EmbeddedServer.open(directory, appendfsync="always"):
            assert c.config_get("appendfsync") == {"appendfsync": "always"}
        with EmbeddedServer.open(directory):
            assert c.config_get("appendfsync") == {"appendfsync": "always"}


def test_a_password_is_no_obstacle(directory: Path) -> None:
    server = EmbeddedServer.open(directory)
    with client(server) as c:
        c.config_set("requirepass", "secret")
    server.ensure()
    with EmbeddedServer.open(directory) as other:
        assert other.pid == server.pid
    server.close()
    assert gone(server.pid, server.socket)


def test_a_long_path_has_its_socket_elsewhere(directory: Path) -> None:
    place = directory / ("deep" * 20) / ("deeper" * 20)
    with EmbeddedServer.open(place) as server, EmbeddedServer.open(place) as other:
        assert len(server.socket) < 100
        assert server.socket == other.socket
        assert server.pid == other.pid
        assert Path(server.socket).parent.stat().st_mode & 0o777 == 0o700
        os.kill(server.pid, signal.SIGKILL)
        server.ensure()
        assert answers(other.socket)
    assert not Path(server.socket).parent.exists()
    assert gone(server.pid, server.socket)


# Several processes


def test_processes_share_one_server_and_the_last_one_out_stops_it(
    directory: Path, new_user: Callable[[], User]
) -> None:
    one, two = new_user(), new_user()
    pid = one.open()
    assert two.open() == pid
    path = one.ask("server.socket")
    one.ask("server.close()")
    assert one.end() == 0
    assert answers(path)
    assert two.ask("alive()") is True
    two.ask("server.close()")
    assert gone(pid, path)


def test_processes_that_start_at_once_get_one_server(new_user: Callable[[], User]) -> None:
    users = [new_user() for _ in range(6)]
    for user in users:
        user.ask("None")  # has started
    for user in users:
        user.say("open_it()")
    pids = {user.hear() for user in users}
    assert len(pids) == 1
    path = users[0].ask("server.socket")
    for user in users[1:]:
        user.say("server.close()")
    assert {user.hear() for user in users[1:]} == {None}
    assert users[0].ask("alive()") is True
    users[0].ask("server.close()")
    assert gone(pids.pop(), path)


def test_processes_come_and_go(directory: Path, new_user: Callable[[], User]) -> None:
    users = [new_user() for _ in range(4)]
    for user in users:
        user.say("churn(15)")
    assert [user.hear() for user in users] == [15] * 4
    with EmbeddedServer.open(directory) as server, client(server) as c:
        assert c.llen("churn") == 60
    assert gone(server.pid, server.socket)


@pytest.mark.parametrize("kept", [False, True])
def test_the_end_of_the_interpreter_stops_the_server(new_user: Callable[[], User], kept: bool) -> None:
    user = new_user()
    pid, path = user.open(), user.ask("server.socket")
    if kept:
        user.ask("keep()")
    assert user.end() == 0
    assert gone(pid, path)


def test_a_user_that_is_killed_leaves_the_data_and_the_server(directory: Path, new_user: Callable[[], User]) -> None:
    user = new_user()
    pid = user.open()
    assert user.ask("push('items', 500)") == 500
    user.kill()
    assert lives(pid)
    with EmbeddedServer.open(directory) as server, client(server) as c:
        assert server.pid == pid
        assert c.llen("items") == 500
    assert gone(pid, server.socket)


def test_a_user_that_is_killed_takes_nothing_from_the_others(new_user: Callable[[], User]) -> None:
    one, two = new_user(), new_user()
    pid = one.open()
    two.open()
    path = one.ask("server.socket")
    one.kill()
    assert two.ask("alive()") is True
    two.ask("server.close()")
    assert gone(pid, path)


def test_a_server_that_is_killed_comes_back_with_all_that_it_acknowledged(
    directory: Path, new_user: Callable[[], User]
) -> None:
    user = new_user()
    with EmbeddedServer.open(directory, appendfsync="always") as server, client(server) as c:
        old = user.open()
        assert user.ask("push('items', 500)") == 500
        kill(old)
        server.ensure()
        assert server.pid != old
        assert user.ask("ensured()") == server.pid
        assert c.llen("items") == 500
        server.ensure()
        assert user.ask("server.close()") is None
        assert answers(server.socket)
    assert gone(server.pid, server.socket)


def test_a_server_and_its_user_that_are_killed_leave_the_data(directory: Path, new_user: Callable[[], User]) -> None:
    user = new_user()
    pid = user.open("always")
    assert user.ask("push('items', 500)") == 500
    kill(pid)
    user.kill()
    assert (directory / "server.sock").exists()
    with EmbeddedServer.open(directory) as server, client(server) as c:
        assert c.llen("items") == 500
    assert gone(server.pid, server.socket)


def test_a_starter_that_is_killed_in_the_midst_is_succeeded(directory: Path, new_user: Callable[[], User]) -> None:
    for _ in range(5):
        user = new_user()
        user.ask("None")
        user.say("open_it()")
        wait_until((directory / "server.lock").exists, "it starts")
        user.kill()
        with EmbeddedServer.open(directory) as server, client(server) as c:
            c.rpush("items", 1)
        assert gone(server.pid, server.socket)
        (directory / "server.lock").unlink()
    with EmbeddedServer.open(directory) as server, client(server) as c:
        assert c.llen("items") == 5


# Forked children


def test_a_child_keeps_the_server_when_its_parent_leaves(new_user: Callable[[], User]) -> None:
    user = new_user()
    pid, path = user.open(), user.ask("server.socket")
    child = user.fork()
    assert user.ask("server.close()") is None
    assert user.end() == 0
    assert answers(path)
    assert user.ask_child("ensured()") == pid
    assert user.ask_child("server.close()") is None
    assert gone(pid, path)
    user.end_child()
    wait_until(lambda: not lives(child), "the child is gone")


def test_a_parent_keeps_the_server_when_its_child_leaves(new_user: Callable[[], User]) -> None:
    user = new_user()
    pid, path = user.open(), user.ask("server.socket")
    user.fork()
    assert user.ask_child("server.close()") is None
    assert answers(path)
    assert user.ask("ensured()") == pid
    assert user.ask("server.close()") is None
    assert gone(pid, path)


@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_a_child_that_goes_without_closing_takes_nothing(new_user: Callable[[], User], how: str) -> None:
    user = new_user()
    pid, path = user.open(), user.ask("server.socket")
    child = user.fork()
    assert user.ask_child("alive()") is True
    if how == "ends":
        user.end_child()
    else:
        os.kill(child, signal.SIGKILL)
    assert user.ask(f"os.waitpid({child}, 0)")[0] == child
    assert answers(path)
    assert user.ask("server.close()") is None
    assert gone(pid, path)


def test_a_child_stops_the_server_when_its_parent_was_killed(new_user: Callable[[], User]) -> None:
    user = new_user()
    pid, path = user.open(), user.ask("server.socket")
    child = user.fork()
    user.kill()
    assert user.ask_child("alive()") is True
    user.end_child()
    wait_until(lambda: not lives(child), "the child is gone")
    assert gone(pid, path)


def test_a_child_is_a_user_before_it_does_anything(new_user: Callable[[], User]) -> None:
    user = new_user()
    pid, path = user.open(), user.ask("server.socket")
    assert user.ask("(fork(), server.close())[1]") is None  # with no time for the child
    assert answers(path)
    assert user.ask_child("ensured()") == pid
    user.children.append(user.ask_child("os.getpid()"))
    assert user.ask_child("server.close()") is None
    assert gone(pid, path)


def test_a_child_of_a_closed_object_holds_nothing(new_user: Callable[[], User]) -> None:
    user = new_user()
    user.open()
    user.ask("server.close()")
    user.fork()
    assert "closed" in user.ask_child("ensured()")


@pytest.mark.parametrize("lock", ["start.lock", "server.lock"])
def test_a_child_does_not_inherit_the_passing_locks_of_a_thread(
    directory: Path, new_user: Callable[[], User], lock: str
) -> None:
    user = new_user()
    pid, path = user.open(), user.ask("server.socket")
    if lock == "server.lock":
        kill(pid)
    user.fork(f"fork_while_held({lock!r})")
    user.kill()
    assert user.ask_child("ensured()") > 0
    with EmbeddedServer.open(directory) as server:
        assert user.ask_child("server.close()") is None
        assert answers(path)
    assert gone(server.pid, path)


def test_a_child_of_an_object_that_is_being_closed_is_no_user(new_user: Callable[[], User]) -> None:
    user = new_user()
    pid, path = user.open(), user.ask("server.socket")
    user.fork("fork_while_closing()")
    assert gone(pid, path)
    assert "closed" in user.ask_child("ensured()")


def test_the_hooks_leave_a_process_as_it_was(directory: Path) -> None:
    """What a child does, done in this process, where it can be measured."""
    with EmbeddedServer.open(directory) as server:
        before = sorted(os.listdir("/dev/fd"))
        for in_child in (False, True):
            embedded._before_fork()
            embedded._after_fork(in_child)
            server.ensure()
            assert sorted(os.listdir("/dev/fd")) == before
            assert answers(server.socket)
    assert gone(server.pid, server.socket)


# What else may be wrong


def test_who_does_not_get_the_start_lock_leaves_the_decision_to_others(directory: Path) -> None:
    one, two = EmbeddedServer.open(directory), EmbeddedServer.open(directory)
    assert one._hold is not None
    copy = os.dup(one._hold)  # as in a process that was forked without Python's knowledge
    one._patience = 0
    with embedded._locked(directory / "start.lock", 0):
        one.close()
    assert answers(two.socket)
    two.close()
    assert gone(two.pid, two.socket)
    os.close(copy)


def test_a_dead_server_leaves_no_socket_when_its_last_user_goes(directory: Path) -> None:
    with EmbeddedServer.open(directory) as server:
        kill(server.pid)
        assert Path(server.socket).exists()
    assert not Path(server.socket).exists()


def test_a_server_of_unknown_process_id_is_stopped_all_the_same(directory: Path) -> None:
    with EmbeddedServer.open(directory) as server:
        pid = server.pid
        (directory / "server.lock").write_text("")  # the disk was full, say
        server.ensure()
        assert server.pid == 0
    assert gone(pid, server.socket)


def test_a_file_where_the_socket_belongs_is_replaced(directory: Path) -> None:
    directory.mkdir()
    (directory / "server.sock").write_text("stale")
    with EmbeddedServer.open(directory) as server:
        assert answers(server.socket)


def test_a_stale_process_id_is_never_killed(directory: Path, tmp_path: Path) -> None:
    stranger = subprocess.Popen(["/bin/sh", "-c", "read line"], stdin=subprocess.PIPE, cwd=tmp_path)
    assert stranger.stdin is not None
    with stranger:
        directory.mkdir()
        (directory / "server.lock").write_text(f"{stranger.pid}\n")
        server = EmbeddedServer.open(directory)
        assert server.pid != stranger.pid
        kill(server.pid)
        (directory / "server.lock").write_text(f"{stranger.pid}\n")
        server.close()
        assert lives(stranger.pid)
        stranger.stdin.close()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_process_that_is_not_the_server_is_never_killed(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_STOP_PATIENCE", 0.05)
    stranger = subprocess.Popen(["/bin/sh", "-c", "read line"], stdin=subprocess.PIPE, cwd=tmp_path)
    assert stranger.stdin is not None
    with stranger:
        server = EmbeddedServer.open(directory)
        kill(server.pid)
        (directory / "server.lock").write_text(f"{stranger.pid}\n")
        with (
            embedded._locked(directory / "server.lock", BOUND),
            pytest.raises(EmbeddedServerError, match="does not stop"),
        ):
            server.close()
        assert lives(stranger.pid)
        stranger.stdin.close()


def test_a_server_that_hangs_is_reported_and_killed_by_the_last_one_out(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EmbeddedServer.open(directory, appendfsync="always")
    with client(server) as c:
        c.set("key", "value")
    for name in ("_PATIENCE", "_PING_PATIENCE", "_STOP_PATIENCE"):
        monkeypatch.setattr(embedded, name, 0.05)
    os.kill(server.pid, signal.SIGSTOP)
    with pytest.raises(EmbeddedServerError, match=rf"runs \(process {server.pid}\), but does not answer"):
        server.ensure()
    with pytest.raises(EmbeddedServerError, match="does not answer"):
        EmbeddedServer.open(directory)
    assert lives(server.pid)
    monkeypatch.setattr(embedded, "_STOP_PATIENCE", 0.5)
    server.close()
    assert gone(server.pid, server.socket)
    monkeypatch.undo()
    with EmbeddedServer.open(directory) as again, client(again) as c:
        assert c.get("key") == "value"


def test_damaged_data_is_reported_with_the_log(directory: Path) -> None:
    with EmbeddedServer.open(directory) as server, client(server) as c:
        for number in range(100):
            c.set(f"key{number}", "value" * 10)
    (data,) = (directory / "appendonlydir").glob("*.incr.aof")
    content = data.read_bytes()
    data.write_bytes(content[:500] + b"rubbish" * 50 + content[500:])
    with pytest.raises(EmbeddedServerError, match="stopped while it started") as caught:
        EmbeddedServer.open(directory)
    assert str(directory) in str(caught.value)
    assert "Bad file format" in str(caught.value)
    assert "value" not in str(caught.value)
    data.write_bytes(content)
    with EmbeddedServer.open(directory) as server, client(server) as c:
        assert c.dbsize() == 100


def test_a_second_server_never_starts_over_a_first_one(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedServer.open(directory) as server:
        monkeypatch.setattr(embedded, "_PATIENCE", 0.05)
        Path(server.socket).unlink()  # it lives, but can't be reached
        with pytest.raises(EmbeddedServerError, match="does not answer"):
            EmbeddedServer.open(directory)
        assert lives(server.pid)
    assert gone(server.pid, server.socket)


def test_a_server_whose_lock_was_removed_is_left_alone(directory: Path) -> None:
    with EmbeddedServer.open(directory) as server:
        (directory / "server.lock").unlink()
        with pytest.raises(EmbeddedServerError, match="unknown server answers"):
            EmbeddedServer.open(directory)
        assert answers(server.socket)
    assert gone(server.pid, server.socket)


@pytest.mark.parametrize("by", ["close", "the end of the interpreter"])
def test_a_removed_directory_does_not_leave_its_server_behind(
    directory: Path, new_user: Callable[[], User], by: str
) -> None:
    user = new_user()
    pid = user.open()
    shutil.rmtree(directory)
    assert lives(pid)
    if by == "close":
        assert user.ask("server.close()") is None
    else:
        assert user.end() == 0
    assert not lives(pid)
    assert not directory.exists()


def test_a_replaced_directory_is_another_one(directory: Path) -> None:
    old = EmbeddedServer.open(directory)
    shutil.rmtree(directory)
    with EmbeddedServer.open(directory) as new:
        assert new.pid != old.pid
        with pytest.raises(EmbeddedServerError, match="removed or replaced"):
            old._attach()
        old.close()
        assert not lives(old.pid)
        assert answers(new.socket)


def test_the_last_words_of_a_server_are_kept(directory: Path) -> None:
    with EmbeddedServer.open(directory) as server:
        first = server.pid
        kill(first)
        server.ensure()
        assert str(first) in (directory / "server.log.old").read_text()
        assert str(server.pid) in (directory / "server.log").read_text()
