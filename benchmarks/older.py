"""The older library's way of moving items, in plain redis-py, to compare with.

Written from its behaviour, and in the form that is hard to beat: an add is one transaction of LPUSHes of ten items, an
ack of a batch one transaction of a script call per item, as the older library sent them; not a round trip each.
"""

from __future__ import annotations

import time
from typing import Any, cast

__all__ = ["OlderQueue"]

_CHUNK = 10

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

    def add_items(self, items: list[str]) -> int:
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

    def close(self) -> None:
        """Deletes what is left."""
        self._client.delete(self.name, self._processing, self._timeouts)
