"""A model of the queue of unique items: the queue's, with a set of what waits beside the list."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from pyrq import UniqueQueue, aio
from tests.lossy import CALLERS, FAULTS, fields_of, marked
from tests.machine import QueueMachine

LETTERS = marked("abcdefgh")
LETTER = st.sampled_from(LETTERS)
MOST_ROLLBACKS = 2
WINDOW = 10
"""Minutes; time passes an hour at a time, so that no decision hangs on a minute."""


class UniqueMachine(QueueMachine):
    """As the queue's, but that what waits does not join again; with rollback limits and repairs."""

    classes = UniqueQueue, aio.UniqueQueue
    letters = LETTERS

    def __init__(self) -> None:
        super().__init__()
        self.members: set[str] = set()
        self.rollbacks: dict[str, int] = {}
        self.hours: dict[str, int] = {}

    def options(self, who: int) -> dict[str, Any]:
        return {"max_retry_rollback": MOST_ROLLBACKS, "max_timeout_in_queue": WINDOW}

    # Rules

    @rule(who=CALLERS, other=CALLERS, fault=FAULTS)
    def add_again(self, who: int, other: int, fault: str) -> None:
        """What a consumer holds waits again."""
        if not self.who[other].held:
            self.get(other, 5, "none")
        if self.who[other].held:
            self.add(who, self.who[other].held[::2], fault)

    @rule(who=CALLERS, fault=FAULTS)
    def repair(self, who: int, fault: str) -> None:
        self.perform(who, fault, "repair", (), self._repair)

    @rule(
        who=CALLERS,
        item=st.sampled_from(LETTERS[:2]),
        action=st.sampled_from(["count", "count", "hour", "reset"]),
        fault=FAULTS,
    )
    def roll_back(self, who: int, item: str, action: str, fault: str) -> None:
        if action == "count":
            self.perform(who, fault, "can_rollback_item", (item,), partial(self._roll_back, item), burns=True)
        elif action == "reset":
            self.perform(who, fault, "reset_blocked_item", (item,), partial(self._reset, item))
        else:
            for each in self.rollbacks:
                self.look.hincrby(f"{self.name}-retry-timeout", each, -60)
                self.hours[each] += 1

    # The model

    def _state(self) -> object:
        return super()._state(), set(self.members), dict(self.rollbacks)

    def _join(self, items: list[str]) -> int:
        new = self._strangers(items)
        self.waiting += new
        self.members.update(new)
        return len(new)

    def _leave(self, items: list[str]) -> None:
        self.members.difference_update(items)

    def _go_back(self, items: list[str]) -> int:
        new = self._strangers(items[::-1])
        self.waiting = new[::-1] + self.waiting
        self.members.update(new)
        return len(new)

    def _strangers(self, items: list[str]) -> list[str]:
        """Gives those that do not wait, each once."""
        return [item for item in dict.fromkeys(items) if item not in self.members]

    def _delete(self, items: list[str], count: int) -> int:
        self.members.difference_update(items)
        return super()._delete(items, 0)

    def _repair(self) -> int:
        changed = self.members ^ set(self.waiting)
        self.members = set(self.waiting)
        return len(changed)

    def _roll_back(self, item: str) -> bool:
        self.rollbacks[item] = self.rollbacks.get(item, 0) + 1
        self.hours.setdefault(item, 0)
        return self.rollbacks[item] <= MOST_ROLLBACKS or not self.hours[item]

    def _reset(self, item: str) -> bool:
        self.hours.pop(item, None)
        return bool(self.rollbacks.pop(item, 0))

    # What must hold

    @invariant()
    def set_and_rollbacks_are_what_they_must_be(self) -> None:
        one = self.objects[0]
        members, counts, firsts = self.read(
            lambda pipeline: pipeline.smembers(one.set_name),
            fields_of(one.retry_count_name),
            fields_of(one.retry_timeout_name),
        )
        assert {item.decode() for item in members} == self.members
        assert {item.decode(): int(count) for item, count in counts.items()} == self.rollbacks
        hours = {item.decode(): self._minutes_since(int(first)) // 60 for item, first in firsts.items()}
        assert hours == self.hours

    def _minutes_since(self, first: int) -> int:
        return self.look.time()[0] // 60 - first

    @invariant()
    def set_and_list_agree(self) -> None:
        assert len(set(self.waiting)) == len(self.waiting)
        assert self.members == set(self.waiting)

    def _read_set(self) -> set[str]:
        members = cast(set[bytes], self.look.smembers(self.objects[0].set_name))
        return {item.decode() for item in members}

    def drain(self) -> None:
        super().drain()
        for item in self.rollbacks:
            assert self.call(0, "reset_blocked_item", item)


class ForeignMachine(UniqueMachine):
    """As the machine of unique items, while others write to list and set as they like, until a repair."""

    @rule(items=st.lists(LETTER, min_size=1, max_size=4))
    def push(self, items: list[str]) -> None:
        self.look.lpush(self.name, *items)
        self.waiting += items

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def pull(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self.waiting))
        self.look.lrem(self.name, 0, item)
        self.waiting = [other for other in self.waiting if other != item]

    @rule(items=st.sets(LETTER, min_size=1, max_size=4), add=st.booleans())
    def mark(self, items: set[str], add: bool) -> None:
        if add:
            self.look.sadd(f"{self.name}-unique", *items)
            self.members |= items
        else:
            self.look.srem(f"{self.name}-unique", *items)
            self.members -= items

    @invariant()
    def set_and_list_agree(self) -> None:
        """They need not, until they are repaired."""

    def drain(self) -> None:
        self.call(1, "repair")
        assert self._read_set() == set(self._list(self.name))
        super().drain()
