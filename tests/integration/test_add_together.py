"""Adds of several callers in one call, on real servers: whatever gets lost, each is added once and told the same."""

from __future__ import annotations

from typing import Any

import pytest

from pyrq.backends import connect
from pyrq.core import ops
from pyrq.core.errors import ServerFullError
from pyrq.core.keys import Keys, Kind
from pyrq.core.limits import NO_LIMITS, Limits
from pyrq.core.session import Identity
from tests.proxy import Proxy
from tests.servers import contents

ME = Identity(b"1", 1, 120)
KEYS = {kind: Keys.of("orders", "me-1", kind) for kind in (Kind.PLAIN, Kind.UNIQUE)}
GROUPS = [[b"a", b"b"], [b"c", b"d", b"e"], [b"b"], [b"f"]]
WAITING = {Kind.PLAIN: [b"a", b"b", b"b", b"f"], Kind.UNIQUE: [b"a", b"b", b"f"]}
TOLD = {Kind.PLAIN: [2, -1, 1, 1], Kind.UNIQUE: [2, -1, 0, 1]}

each_kind = pytest.mark.parametrize("kind", KEYS, ids=lambda kind: kind.name)


def waiting(client: Any) -> list[bytes]:
    found: list[bytes] = client.lrange("orders", 0, -1)[::-1]
    return found


@each_kind
@pytest.mark.parametrize("fault", ["drop_request", "drop_reply", "cut_reply"])
def test_one_fault_one_effect(proxy: Proxy, client: Any, kind: Kind, fault: str) -> None:
    backend = connect(proxy.url, retry=10)
    getattr(proxy, fault)("add_together")
    assert backend.run([ops.add_together(KEYS[kind], ME, GROUPS, Limits(max_size=4))]) == [TOLD[kind]]
    assert proxy.hits == [fault]
    assert waiting(client) == WAITING[kind]
    backend.close()


@each_kind
def test_a_thousand_callers(url: str, client: Any, kind: Kind) -> None:
    backend = connect(url)
    call = ops.add_together(KEYS[kind], ME, [[b"%d" % number] for number in range(ops.CHUNK)], NO_LIMITS)
    for _ in range(2):
        assert backend.run([call]) == [[1] * ops.CHUNK]
    assert waiting(client) == [b"%d" % number for number in range(ops.CHUNK)]
    backend.close()


@each_kind
def test_a_full_server_takes_nothing_of_it(url: str, client: Any, kind: Kind) -> None:
    backend = connect(url, retry=0)
    client.config_set("maxmemory", 1)
    before = contents(client)
    with pytest.raises(ServerFullError):
        backend.run([ops.add_together(KEYS[kind], ME, GROUPS, NO_LIMITS)])
    assert contents(client) == before
    backend.close()
