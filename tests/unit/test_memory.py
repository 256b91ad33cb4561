from __future__ import annotations

import builtins
import sys
from typing import Any

import pytest

from pyrq.backends import connect, connect_async
from pyrq.core import ops
from pyrq.core.errors import MissingExtraError
from pyrq.core.keys import Keys
from pyrq.core.limits import NO_LIMITS
from pyrq.core.options import Fsync, Replicas
from pyrq.core.session import Identity
from tests.unit.helpers import ME, fresh

KEYS = Keys.of("orders", "me-1")


async def test_a_name_is_one_server_in_both_worlds() -> None:
    url = fresh()
    one, other, awaited = connect(url), connect(url), connect_async(url)
    assert one.run([ops.add(KEYS, ME, [b"a"], NO_LIMITS)]) == [1]
    assert other.run([ops.count(KEYS)]) == [1]
    assert await awaited.run([ops.add(KEYS, Identity(b"8", 1, 120), [b"b", b"c"], NO_LIMITS), ops.count(KEYS)]) == [
        2,
        3,
    ]
    one.close()
    assert other.run([ops.count(KEYS)]) == [3]
    await awaited.close()


def test_another_name_is_another_server() -> None:
    connect("memory://one").run([ops.add(KEYS, ME, [b"a"], NO_LIMITS)])
    assert connect(fresh()).run([ops.count(KEYS)]) == [0]


@pytest.mark.parametrize("durability", [Replicas(3, 200), Fsync(1, 2)])
async def test_what_there_is_one_of_confirms_at_once(durability: Any) -> None:
    assert connect(fresh()).run([ops.add(KEYS, ME, [b"a"], NO_LIMITS)], durability) == [1]
    awaited = connect_async(fresh())
    assert await awaited.run([ops.add(KEYS, ME, [b"a"], NO_LIMITS)], durability) == [1]
    await awaited.close()


def test_a_repeated_call_takes_effect_once() -> None:
    backend = connect(fresh())
    call = ops.add(KEYS, ME, [b"a"], NO_LIMITS)
    assert backend.run([call]) == backend.run([call]) == [1]
    assert backend.run([ops.count(KEYS)]) == [1]


@pytest.mark.parametrize("missing", ["fakeredis", "lupa"])
def test_an_extra_is_named(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == missing:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, missing, raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    for make in (connect, connect_async):
        with pytest.raises(MissingExtraError, match=r"memory:// needs fakeredis: pip install 'py-rq\[testing\]'"):
            make("memory://x")
