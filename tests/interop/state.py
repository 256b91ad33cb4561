"""What a queue's keys hold, read in one step, and copied to another queue in the same one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, cast

__all__ = ["State", "Twins", "about"]

# How far apart two clock readings of one step may be: far more than a step takes, far less than what a test ages by.
NEAR = 60.0

# ARGV: the names of two queues, and whether to make the second one as the first is. Gives the keys of both as they are:
# {{key, type, time to live, {entry, ...}}, ...} each.
_LOOK = """
local function entries(kind, key)
  if kind == 'list' then return redis.call('LRANGE', key, 0, -1) end
  if kind == 'hash' then return redis.call('HGETALL', key) end
  if kind == 'set' then return redis.call('SMEMBERS', key) end
  if kind == 'zset' then return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end
  return {}
end
local function look(name)
  local found = {}
  for _, key in ipairs(redis.call('KEYS', name .. '*')) do
    local kind = redis.call('TYPE', key).ok
    found[#found + 1] = {key, kind, redis.call('TTL', key), entries(kind, key)}
  end
  return found
end
local first, second = ARGV[1], ARGV[2]
local answer = {look(first), look(second)}
if ARGV[3] == '1' then
  for _, found in ipairs(answer[2]) do redis.call('DEL', found[1]) end
  for _, found in ipairs(answer[1]) do
    local key, name, own = found[1], second .. string.sub(found[1], #first + 1), found[4]
    if string.sub(key, #first + 1, #first + 1) == '/' then
      -- what the older library does not know
    elseif key == first .. '-timeouts' then
      for i = 1, #own, 2 do redis.call('HSET', name, second .. string.sub(own[i], #first + 1), own[i + 1]) end
    else
      redis.call('COPY', key, name)
    end
  end
end
return answer
"""


@dataclass
class State:
    """The keys of a queue in the older libraries' layout, without its name; and the names of all others.

    Attributes:
        waiting: the list, head first: the next out is the last.
        unique: the set of a UniqueQueue.
        held: what each consumer holds, head first.
        stamps: each consumer's last contact, as it is written.
        scores: a pool's, as the server writes them.
        retries: the rollback counts.
        minutes: when items were rolled back first.
        others: other keys, below `<name>/`: their time to live (-1 for none) and entries.
    """

    waiting: list[str] = field(default_factory=list)
    unique: set[str] = field(default_factory=set)
    held: dict[str, list[str]] = field(default_factory=dict)
    stamps: dict[str, str] = field(default_factory=dict)
    scores: dict[str, str] = field(default_factory=dict)
    retries: dict[str, str] = field(default_factory=dict)
    minutes: dict[str, str] = field(default_factory=dict)
    others: dict[str, tuple[int, list[str]]] = field(default_factory=dict)

    @classmethod
    def read(cls, name: str, found: list[Any]) -> State:
        state = cls()
        for key, kind, ttl, entries in found:
            rest = key.removeprefix(name)
            pairs = dict(zip(entries[::2], entries[1::2], strict=True)) if kind in ("hash", "zset") else {}
            match rest, kind:
                case "", "list":
                    state.waiting = entries
                case "", "zset":
                    state.scores = pairs
                case "-unique", "set":
                    state.unique = set(entries)
                case "-timeouts", "hash":
                    state.stamps = {at.removeprefix(f"{name}-processing-"): stamp for at, stamp in pairs.items()}
                case "-retry-count", "hash":
                    state.retries = pairs
                case "-retry-timeout", "hash":
                    state.minutes = pairs
                case _, "list" if rest.startswith("-processing-"):
                    state.held[rest.removeprefix("-processing-")] = entries
                case _ if rest.startswith("/"):
                    state.others[rest] = ttl, entries
                case _:
                    raise AssertionError(f"not a key of a queue: {key} ({kind})")
            if not rest.startswith("/"):
                assert ttl == -1, f"{key} has a time to live"
        return state

    def copy(self) -> State:
        """Gives another one, of which the stamps and scores may be changed, and the other attributes set."""
        return dataclasses.replace(self, stamps=dict(self.stamps), scores=dict(self.scores))

    @property
    def items(self) -> list[str]:
        """All items, waiting and held."""
        return [*self.waiting, *(item for held in self.held.values() for item in held)]

    def unlike(self, other: State) -> list[str]:
        """Says in what the older layout's keys are not the same as another state's; clock readings may be near."""
        found = [
            f"{name}: {getattr(self, name)} != {getattr(other, name)}"
            for name in ("waiting", "unique", "held", "retries")
            if getattr(self, name) != getattr(other, name)
        ]
        for name, near in (("stamps", about), ("scores", about), ("minutes", _minutes_about)):
            ours, theirs = cast("dict[str, str]", getattr(self, name)), cast("dict[str, str]", getattr(other, name))
            if ours.keys() != theirs.keys() or not all(near(ours[key], theirs[key]) for key in ours):
                found.append(f"{name}: {ours} != {theirs}")
        return found


def about(one: str, other: str) -> bool:
    """Whether two unix times are the same, or were read from a clock in the same step; in the same form.

    The form of a stamp is whether it has a fraction, that of a score whether it is marked as handed out: by more than
    0.01. A marked score is written as .1 or, by older servers, as .0999999.
    """
    return one == other or (_marked(one) == _marked(other) and abs(float(one) - float(other)) < NEAR)


def _marked(text: str) -> bool:
    return "." in text


def _minutes_about(one: str, other: str) -> bool:
    return abs(int(one) - int(other)) <= 1


class Twins:
    """Two queues on a server: the one of a mixed fleet, and the one of an old fleet that is made to follow it."""

    def __init__(self, client: Any, mixed: str, old: str) -> None:
        self._names = mixed, old
        self._client = client
        self._look = client.register_script(_LOOK)

    def look(self, *, align: bool = True) -> tuple[State, State]:
        """Reads both; then, in the same step, makes the old one as the mixed one is."""
        found = self._look(args=[*self._names, int(align)])
        mixed, old = (State.read(name, keys) for name, keys in zip(self._names, found, strict=True))
        return mixed, old

    def remove(self) -> None:
        for name in self._names:
            for key in self._client.scan_iter(f"{name}*", count=1000):
                self._client.delete(key)
