"""Two servers, one of which replicates the other, and a Sentinel that promotes it when the other one fails."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import redis

from tests.servers import Binary, Server, free_port, redis_client, running, wait_until

__all__ = ["SERVICE", "Watch", "catch_up", "watched"]

SERVICE = "orders-primary"
_PATIENCE = 60.0
_HURRY = ("info-period", "300", "publish-period", "300")
_CONFIG = """
port {port}
bind 127.0.0.1
dir {directory}
logfile {directory}/log
sentinel monitor {service} 127.0.0.1 {primary} 1
sentinel down-after-milliseconds {service} 500
sentinel failover-timeout {service} 2000
"""


class Watch:
    """A Sentinel and its two servers.

    Attributes:
        primary: who is the primary, as far as the Sentinel has been asked.
        replica: the other one.
        port: the Sentinel's.
    """

    def __init__(self, binary: Binary, primary: Server, replica: Server) -> None:
        """Starts the Sentinel.

        Args:
            binary: its program.
            primary: has a replica.
            replica: of it.
        """
        self.primary, self.replica = primary, replica
        self.port = free_port()
        self._directory = Path(tempfile.mkdtemp(prefix="pyrq-sentinel-"))
        config = self._directory / "sentinel.conf"
        told = {"port": self.port, "directory": self._directory, "service": SERVICE, "primary": primary.port}
        config.write_text(_CONFIG.format(**told))
        command = [cast("str", binary.path), str(config), "--sentinel"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self._client = redis_client(f"redis://127.0.0.1:{self.port}")
        wait_until(self._hurry, _PATIENCE)

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.port}/{SERVICE}"

    def wait_for_readiness(self) -> None:
        """Waits until the Sentinel knows both servers, as they are now, and would promote the replica."""
        wait_until(self._is_ready, _PATIENCE)

    def wait_for_failover(self) -> None:
        """Waits until the Sentinel sends clients to the other server."""
        wait_until(lambda: self._address() == self.replica.port, _PATIENCE)
        self.primary, self.replica = self.replica, self.primary

    def fail_over(self) -> None:
        """Tells the Sentinel to promote the replica, although nothing is wrong."""
        self._client.execute_command("SENTINEL", "FAILOVER", SERVICE)

    def wait_for_return(self) -> None:
        """Waits until the server that was the primary is a replica, made so by the Sentinel, and has everything."""
        catch_up(self.primary)

    def _address(self) -> int:
        return int(self._client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])

    def _hurry(self) -> bool:
        """Lets it look at its servers more often than every 10 seconds; before Redis 7 it can't."""
        with contextlib.suppress(redis.ConnectionError):  # it has just been started
            with contextlib.suppress(redis.ResponseError):
                self._client.execute_command("SENTINEL", "DEBUG", *_HURRY)
            return True
        return False

    def _is_ready(self) -> bool:
        told = self._client.execute_command("SENTINEL", "REPLICAS", SERVICE)
        known = [_facts(each) for each in told]
        return [
            (int(each[b"port"]), each[b"flags"], each[b"role-reported"], each[b"master-link-status"]) for each in known
        ] == [(self.replica.port, b"slave", b"slave", b"ok")]

    def close(self) -> None:
        """Ends the Sentinel."""
        self._client.close()
        self._process.kill()
        self._process.wait(10)
        shutil.rmtree(self._directory, ignore_errors=True)


def catch_up(primary: Server) -> None:
    """Waits until a replica has all that its primary has."""
    with primary.client() as client:
        wait_until(lambda: client.set("ready", 1) and client.wait(1, 1000) == 1, _PATIENCE)
        client.delete("ready")


def _facts(told: Any) -> dict[bytes, bytes]:
    return told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))


@contextlib.contextmanager
def watched(binary: Binary) -> Iterator[Watch]:
    """Two servers and their Sentinel for the time of a block."""
    with running(binary, "--hz", "100", tcp=True) as primary, running(binary, "--hz", "100", tcp=True) as replica:
        with replica.client() as client:
            client.replicaof("127.0.0.1", str(primary.port))
        watch = Watch(binary, primary, replica)
        try:
            yield watch
        finally:
            watch.close()
