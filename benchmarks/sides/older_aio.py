"""aio-py-rq's way of moving items, in plain redis-py for asyncio, from its behaviour: an add is an LPUSH, a get and an
ack are a script call each, a round trip for each.
"""

from __future__ import annotations

import time
from typing import Any, cast

__all__ = ["OlderAsyncQueue"]

_TAKE = """
local taken = {}
for i = 1, ARGV[1] do
  local item = redis.call('RPOPLPUSH', KEYS[1], KEYS[2])
  if not item then break end
  taken[#taken + 1] = item
end
if redis.call('LLEN', KEYS[2]) > 0 then redis.call('HSET', KEYS[3], KEYS[2], ARGV[2]) end
return taken
"""

_DONE_WITH = """
local removed = redis.call('LREM', KEYS[1], -1, ARGV[1])
if redis.call('LLEN', KEYS[1]) == 0 then redis.call('HDEL', KEYS[2], KEYS[1]) end
return removed
"""


class OlderAsyncQueue:
    """A queue that moves items one by one, in scripts of redis-py's `register_script`.

    Attributes:
        name: the key of the list of waiting items.
    """

    def __init__(self, name: str, client: Any) -> None:
        """Registers the scripts.

        Args:
            name: the queue's name.
            client: a redis-py client for asyncio that decodes replies.
        """
        self.name = name
        self._client = client
        self._processing = f"{name}-processing-older"
        self._timeouts = f"{name}-timeouts"
        self._take = client.register_script(_TAKE)
        self._done_with = client.register_script(_DONE_WITH)

    async def add_item(self, item: str) -> bool:
        """Adds an item."""
        return bool(await self._client.lpush(self.name, item))

    async def get_items(self, count: int) -> list[str]:
        """Takes the oldest items; gives them."""
        keys = [self.name, self._processing, self._timeouts]
        return cast("list[str]", await self._take(keys=keys, args=[count, int(time.time())]))

    async def ack_item(self, item: str) -> bool:
        """Acknowledges one item; says whether it was held."""
        return bool(await self._done_with(keys=[self._processing, self._timeouts], args=[item]))
