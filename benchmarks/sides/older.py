"""The older libraries' way of moving items, in plain redis-py, to compare with.

Written from their behaviour, and where they differ in the form that is hard to beat. In a queue an add is one
transaction of LPUSHes of ten items, an ack of a batch one transaction of a script call per item. A queue of unique
items runs a script per item in an add, ten in a transaction, each transaction awaited. A pool runs a script per item
in an ack, each awaited: there was a pipeline, but nothing was put into it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

from benchmarks.sides.side import chunks, must_be

__all__ = ["OlderPool", "OlderQueue", "OlderUniqueQueue"]

_CHUNK = 10
_POOL_CHUNK = 100
_ACK_TTL, _ACK_VALID_FOR = 600, 129_600

_TAKE = """
redis.call('HSET', KEYS[3], KEYS[2], ARGV[2])
local taken = {}
while #taken < tonumber(ARGV[1]) do
  local item = redis.call('RPOPLPUSH', KEYS[1], KEYS[2])
  if not item then break end
  taken[#taken + 1] = item
end
return taken
"""

_DONE_WITH = """
local removed = redis.call('LREM', KEYS[1], -1, ARGV[1])
if redis.call('LLEN', KEYS[1]) == 0 then redis.call('HDEL', KEYS[2], KEYS[1]) end
return removed
"""

_ADD_UNIQUE = """
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then return 0 end
redis.call('LPUSH', KEYS[1], ARGV[1])
return redis.call('SADD', KEYS[2], ARGV[1])
"""

_TAKE_UNIQUE = """
redis.call('HSET', KEYS[3], KEYS[2], ARGV[2])
local taken = {}
while #taken < tonumber(ARGV[1]) do
  local item = redis.call('RPOPLPUSH', KEYS[1], KEYS[2])
  if not item then break end
  redis.call('SREM', KEYS[4], item)
  taken[#taken + 1] = item
end
return taken
"""

_LEND = """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[2], 'WITHSCORES', 'LIMIT', 0, ARGV[1])
local lent = {}
for i = 1, #due, 2 do
  redis.call('ZADD', KEYS[1], math.floor(due[i + 1]) + tonumber(ARGV[3]) + 0.1, due[i])
  lent[#lent + 1] = due[i]
end
return lent
"""

_RETURNED = """
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not score or score - math.floor(score) <= 0.01 then return 0 end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return 1
"""


class OlderQueue:
    """A queue that moves items one by one, in scripts of redis-py's `register_script`.

    Attributes:
        name: the key of the list of waiting items.
    """

    def __init__(self, name: str, client: Any) -> None:
        """Registers the scripts.

        Args:
            name: the queue's name.
            client: a redis-py client that decodes replies.
        """
        self.name = name
        self._client = client
        self._processing = f"{name}-processing-older"
        self._timeouts = f"{name}-timeouts"
        self._take = client.register_script(_TAKE)
        self._done_with = client.register_script(_DONE_WITH)

    def fill(self, items: Sequence[str]) -> None:
        """Lets items wait."""
        self._client.lpush(self.name, *items)

    def add(self, items: Sequence[str], batch: int) -> None:
        """Adds items, with `add_item` or `add_items`."""
        for chunk in chunks(items, batch):
            if batch == 1:
                self._client.lpush(self.name, chunk[0])
            else:
                self.add_items(chunk)

    def work_off(self, batch: int, batches: int) -> None:
        """Takes with `get_items` and acknowledges with `ack_item` or `ack_items`."""
        for _ in range(batches):
            items = self.get_items(batch)
            must_be(batch, self.ack_item(items[0]) if batch == 1 else self.ack_items(items))

    def add_items(self, items: Sequence[str]) -> int:
        """Adds items in chunks of ten; gives how many."""
        pipeline = self._client.pipeline()
        for start in range(0, len(items), _CHUNK):
            pipeline.lpush(self.name, *items[start : start + _CHUNK])
        pipeline.execute()
        return len(items)

    def get_items(self, count: int) -> list[str]:
        """Takes the oldest items, one by one inside one script; gives them."""
        keys = [self.name, self._processing, self._timeouts]
        return cast("list[str]", self._take(keys=keys, args=[count, int(time.time())]))

    def ack_item(self, item: str) -> bool:
        """Acknowledges one item; says whether it was held."""
        return bool(self._done_with(keys=[self._processing, self._timeouts], args=[item]))

    def ack_items(self, items: list[str]) -> int:
        """Acknowledges items, a script call for each; gives how many were held."""
        pipeline = self._client.pipeline()
        for item in items:
            self._done_with(keys=[self._processing, self._timeouts], args=[item], client=pipeline)
        return sum(pipeline.execute())

    def drop_all_items(self) -> int:
        """Deletes what is held; gives how many items."""
        held = int(self._client.llen(self._processing))
        self._client.delete(self._processing, self._timeouts)
        return held


class OlderUniqueQueue(OlderQueue):
    """The same with a set of what waits beside the list, written item by item."""

    def __init__(self, name: str, client: Any) -> None:
        super().__init__(name, client)
        self._set = f"{name}-unique"
        self._add = client.register_script(_ADD_UNIQUE)
        self._take_unique = client.register_script(_TAKE_UNIQUE)

    def add_items(self, items: Sequence[str]) -> int:
        """Adds those that do not wait, a script call for each, ten in a round trip; gives how many."""
        added = 0
        for start in range(0, len(items), _CHUNK):
            pipeline = self._client.pipeline()
            for item in items[start : start + _CHUNK]:
                self._add(keys=[self.name, self._set], args=[item], client=pipeline)
            added += sum(pipeline.execute())
        return added

    def get_items(self, count: int) -> list[str]:
        """Takes the oldest items, one by one inside one script; gives them."""
        keys = [self.name, self._processing, self._timeouts, self._set]
        return cast("list[str]", self._take_unique(keys=keys, args=[count, int(time.time())]))


class OlderPool:
    """A pool whose items are acknowledged one by one.

    Attributes:
        name: the key of the sorted set.
    """

    def __init__(self, name: str, client: Any) -> None:
        """Registers the scripts.

        Args:
            name: the pool's name.
            client: a redis-py client that decodes replies.
        """
        self.name = name
        self._client = client
        self._lend = client.register_script(_LEND)
        self._returned = client.register_script(_RETURNED)

    def get_items(self, count: int) -> list[str]:
        """Hands out what is due, one by one inside one script; gives it."""
        args = [count, int(time.time()), _ACK_TTL]
        return cast("list[str]", self._lend(keys=[self.name], args=args))

    def ack_items(self, items: list[str]) -> int:
        """Acknowledges items, a round trip for each; gives how many were handed out."""
        acked = 0
        for start in range(0, len(items), _POOL_CHUNK):
            pipeline = self._client.pipeline()
            for item in items[start : start + _POOL_CHUNK]:
                acked += self._returned(keys=[self.name], args=[item, int(time.time()) + _ACK_VALID_FOR])
            pipeline.execute()
        return acked
