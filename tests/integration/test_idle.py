"""A thousand consumers that wait in one event loop: what they cost the server, and that one item wakes one of them.

What was asked of the server is read from its own counts, in one step with its clock and with what is registered: who
blocks has written into `orders/consumers` until when. An entry that is the same as before tells that there was no get.
`pytest --log-cli-level=INFO` shows the figures.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from redis import asyncio as redis_asyncio

from pyrq import Queue, aio
from pyrq.errors import QueueClosedError
from tests.proxy import ALL
from tests.servers import Server, wait_until

MANY = 1000
PATIENCE = 600.0
"""For how many seconds they wait: longer than any test."""
MARGIN = 5.0
"""A registration lasts so many seconds longer than its move is to block."""
SPREAD = 0.9
"""Slices are shortened at random, to this part at the least."""
WAKERS, SCRIPTS_OF_A_WAKER = 3, 3
"""So many wake for the next delayed item; each when its slice is over, shortly before the item is due, and then."""
WHILE_PUT_OFF = 1.0
"""For how many seconds the others block while something is put off."""
READS_OF_A_SWEEP = 5
"""So many hashes a sweep reads whole, at the most. Nothing else does that here."""
QUIET = 0.2
"""For so many more seconds we look, so that what ought not to happen could."""
TELLING = MANY / 10
"""So many must have blocked all the time, or what they did not do tells nothing."""
ROUNDS = 8

_log = logging.getLogger(__name__)


@pytest.fixture(autouse=True)
def _many_files() -> Iterator[None]:
    """Allows what is needed: a connection for each that waits, and one more to wake it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * MANY + 500
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(autouse=True)
def _scripts_are_known(client: Any) -> None:
    """Else each of the first thousand calls would be sent twice."""
    for script in ALL:
        client.script_load(script.source)


@pytest.fixture
def producer(url: str) -> Iterator[Queue[str]]:
    """Adds, from outside; its first call is done, so that the next one is one script."""
    with Queue("orders", url) as queue:
        queue.get_count()
        yield queue


# Looking


@dataclass(frozen=True)
class Look:
    """What the server knew at one moment: its time, what it had counted, and who had registered until when."""

    at: float
    scripts: int
    moves: int
    reads: int
    until: dict[str, float]
    waking: str

    @classmethod
    def now(cls, client: Any) -> Look:
        with client.pipeline(transaction=True) as together:
            # Not HGETALL: that would count as a sweep's.
            together.time().info("commandstats").hkeys("orders/consumers").hvals("orders/consumers")
            together.hget("orders/meta", "waking")
            (seconds, micros), stats, names, values, waking = together.execute()
        calls = {name.removeprefix("cmdstat_"): told["calls"] for name, told in stats.items()}
        registered = {
            name.decode().removesuffix("/landing"): float(value)
            for name, value in zip(names, values, strict=True)
            if name.endswith(b"/landing")
        }
        named, in_full, moves, reads = (calls.get(name, 0) for name in ("evalsha", "eval", "blmove", "hgetall"))
        scripts = named + in_full  # one that the server did not have counts twice
        return cls(seconds + micros / 1e6, scripts, moves, reads, registered, (waking or b"0").decode())

    def wakers(self, due: float) -> list[str]:
        """Gives who wakes when the next delayed item is due."""
        score, *names = self.waking.split("/")
        return names if float(score) == due else []

    def ends_by(self, when: float) -> set[str]:
        """Gives whose slices are over at some time; nobody else has a reason to ask again until then."""
        return {who for who, until in self.until.items() if until - MARGIN <= when}


@dataclass(frozen=True)
class Between:
    """What happened between two looks."""

    before: Look
    after: Look

    def __str__(self) -> str:
        over = len(self.over)
        return f"{self.scripts} scripts, {self.moves} moves, {over} whose slices ended, in {self.seconds:.3f} s"

    @property
    def seconds(self) -> float:
        return self.after.at - self.before.at

    @property
    def scripts(self) -> int:
        return self.after.scripts - self.before.scripts

    @property
    def moves(self) -> int:
        return self.after.moves - self.before.moves

    @property
    def over(self) -> set[str]:
        """Whose slices ended in between."""
        return self.before.ends_by(self.after.at)

    @property
    def not_back(self) -> int:
        """How many have, at the end, a move behind them and not asked again yet."""
        return len(self.after.ends_by(self.after.at + 0.01))

    def most_in_time(self, slice_seconds: float) -> int:
        """Gives how often, at the most, one that blocks for so many seconds begins to."""
        return int(self.seconds / slice_seconds) + 1

    def most(self, slice_seconds: float) -> int:
        """Gives how often all of them began to, if each blocks for at least so long: then its end moves on so far.

        A hundredth less will do: ends are of the server's wall clock, and that may be set right meanwhile.
        """
        ends = self.before.until
        moved_on = ((self.after.until.get(who, end) - end) for who, end in ends.items())
        return sum(int(seconds / slice_seconds + 0.01) for seconds in moved_on)

    def check_undisturbed(self, *others: str) -> int:
        """Checks that who blocked all the time ran nothing, but for some; gives how many these were."""
        still = self.before.until.keys() - self.over - set(others)
        assert {who for who in still if self.before.until[who] != self.after.until.get(who)} == set()
        return len(still)


async def until(condition: Callable[[], object], timeout: float = 30.0) -> None:
    """Waits until a condition holds, and lets the event loop run meanwhile."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.01)


async def look_after(client: Any, seconds: float) -> Look:
    """Looks when so much time has passed on the server."""
    at = server_time(client) + seconds
    await until(lambda: server_time(client) >= at)
    return Look.now(client)


def server_time(client: Any) -> float:
    seconds, micros = client.time()
    return float(seconds + micros / 1e6)


def blocked(client: Any) -> int:
    number: int = client.info("clients")["blocked_clients"]
    return number


# A thousand of them


@asynccontextmanager
async def connections(server: Server, reply_timeout: float | None = None) -> AsyncIterator[Any]:
    """A client for all of them, with as many connections as they need; in the end none is left, and no task."""
    async with redis_asyncio.Redis.from_url(
        server.url, max_connections=10 * MANY, socket_timeout=reply_timeout
    ) as shared:
        yield shared
    assert asyncio.all_tasks() == {asyncio.current_task()}


@dataclass
class Crowd:
    """Queue objects, each of which waits for one item."""

    queues: dict[str, aio.Queue[str]]
    tasks: dict[str, asyncio.Task[list[str]]]

    def served(self) -> dict[str, list[str]]:
        """Gives who got what."""
        return {who: task.result() for who, task in self.tasks.items() if task.done()}

    async def wait_for(self, count: int) -> dict[str, list[str]]:
        """Waits until so many got something."""
        await until(lambda: len(self.served()) >= count)
        return self.served()


@asynccontextmanager
async def crowd(server: Server, client: Any, reply_timeout: float | None = None) -> AsyncIterator[Crowd]:
    """A thousand that block; in the end they acknowledge what they got, and close."""
    async with connections(server, reply_timeout) as shared:
        queues = {queue.client_id: queue for queue in (aio.Queue("orders", shared) for _ in range(MANY))}
        tasks = {who: asyncio.create_task(queue.get_items(1, PATIENCE)) for who, queue in queues.items()}
        together = Crowd(queues, tasks)
        try:
            await until(lambda: blocked(client) == MANY)
            yield together
            for who, items in together.served().items():
                assert await queues[who].ack_items(items) == 1
        finally:
            await asyncio.gather(*(queue.close() for queue in queues.values()))
            ends = await asyncio.gather(*tasks.values(), return_exceptions=True)
        assert {type(end) for end in ends} <= {QueueClosedError, list}


def check_nothing_is_left(client: Any, producer: Queue[str]) -> None:
    producer.close()
    assert client.keys("*") == []
    wait_until(lambda: len(client.client_list()) == 1)  # the one that asks


# Waiting costs one script and one move per slice


@pytest.mark.parametrize(("reply_timeout", "longest"), [(None, 5.0), (5.0, 3.9)])
async def test_a_thousand_that_wait_ask_once_per_slice(
    reply_timeout: float | None,
    longest: float,
    server: Server,
    client: Any,
    producer: Queue[str],
) -> None:
    async with crowd(server, client, reply_timeout):
        before = Look.now(client)
        assert len(before.until) == MANY
        assert max(before.until.values()) <= before.at + longest + MARGIN
        after = await look_after(client, longest + 1)
        while any(after.until.get(who) == until for who, until in before.until.items()):
            after = await look_after(client, QUIET)  # all of them go on

        spent = Between(before, after)
        most = spent.most(longest * SPREAD)
        _log.info("%s; at most %d of each", spent, most)
        assert MANY <= spent.scripts <= most
        assert spent.moves <= most + spent.not_back
        await until(lambda: blocked(client) == MANY)
    check_nothing_is_left(client, producer)


# One item wakes one


async def in_the_middle_of_slices(client: Any) -> Look:
    """Waits for a moment when for most of them no slice is about to end."""
    while True:
        look = Look.now(client)
        if len(look.ends_by(look.at + 5 * QUIET)) < MANY / 2 and blocked(client) == len(look.until):
            return Look.now(client)
        await asyncio.sleep(0.01)


async def check_wakes(client: Any, crowd: Crowd, add: Callable[[], object], items: Sequence[str], own: int) -> Between:
    """Adds items, `own` scripts long, and checks that each wakes one, and nobody else; gives what happened."""
    earlier = crowd.served()
    before = await in_the_middle_of_slices(client)
    add()
    await crowd.wait_for(len(earlier) + len(items))
    spent = Between(before, await look_after(client, QUIET))
    served = {who: got for who, got in crowd.served().items() if who not in earlier}
    assert sorted(served.values()) == sorted([item] for item in items)

    assert spent.check_undisturbed(*served) >= TELLING
    for who, got in served.items():
        assert client.lrange(crowd.queues[who].processing_queue_name, 0, -1) == [item.encode() for item in got]
        assert who not in spent.after.until
    others = len(spent.over - served.keys())
    # Servers count a move when it begins or when it ends; each that was served had begun before.
    assert own + len(items) <= spent.scripts <= own + len(items) + others
    assert spent.moves <= len(items) + others
    return spent


async def test_one_item_wakes_one_of_a_thousand(server: Server, client: Any, producer: Queue[str]) -> None:
    async with crowd(server, client) as waiting:
        many = [f"item {number}" for number in range(20)]
        steps: list[tuple[Callable[[], object], list[str], int]] = [
            (lambda: producer.add_item("a"), ["a"], 1),
            (lambda: client.lpush("orders", "b"), ["b"], 0),  # in any language
            (lambda: producer.add_items(many), many, 1),
        ]
        for add, items, own in steps:
            spent = await check_wakes(client, waiting, add, items, own)
            _log.info("%d added: %s", len(items), spent)
        assert client.llen("orders") == 0
        await until(lambda: blocked(client) == MANY - len(many) - 2)
    check_nothing_is_left(client, producer)


# A delayed item wakes few


def due_times(client: Any) -> list[float]:
    return [score for _, score in client.zrange("orders/delayed", 0, -1, withscores=True)]


async def last_look_before(client: Any, when: float) -> Look:
    look = Look.now(client)
    assert look.at < when
    while True:
        await asyncio.sleep(0.005)
        later = Look.now(client)
        if later.at >= when:
            return look
        look = later


async def check_few_wake(client: Any, crowd: Crowd, producer: Queue[str], item: str) -> int:
    """Delays an item and checks who wakes when it is due; gives how many others blocked all the time."""
    earlier = crowd.served()
    await until(lambda: not (look := Look.now(client)).ends_by(look.at + QUIET))
    producer.add_item(item, delay=1.2)  # when they will have looked once
    due = due_times(client)[0]
    await until(lambda: len(Look.now(client).wakers(due)) >= WAKERS)
    before = await last_look_before(client, due)
    names = before.wakers(due)
    assert len(names) == WAKERS
    served = await crowd.wait_for(len(earlier) + 1)
    spent = Between(before, await look_after(client, QUIET))
    ((winner, got),) = ((who, got) for who, got in crowd.served().items() if who not in earlier)
    assert got == [item]
    assert crowd.served() == served
    late = float(client.hget("orders-timeouts", crowd.queues[winner].processing_queue_name)) - due
    assert late >= 0
    still = spent.check_undisturbed(winner, *names)
    _log.info("%s; %d undisturbed; %.3f s late, for waker: %s", spent, still, late, winner in names)
    over = len(spent.over - set(names))
    assert spent.scripts <= WAKERS * SCRIPTS_OF_A_WAKER + over * spent.most_in_time(WHILE_PUT_OFF)
    return still


async def test_a_delayed_item_wakes_few_of_a_thousand(server: Server, client: Any, producer: Queue[str]) -> None:
    producer.add_item("far", delay=3600)  # so they block for no longer than a second
    async with crowd(server, client) as waiting:
        for number in range(ROUNDS):
            # They tend to go on together; while their slices end, nobody is undisturbed.
            if await check_few_wake(client, waiting, producer, f"soon {number}") >= TELLING:
                break
        else:
            pytest.fail("each time, nearly all slices ended just then")
        (member,) = client.zrange("orders/delayed", 0, -1)
        client.zadd("orders/delayed", {member: server_time(client)})
        served = await waiting.wait_for(number + 2)
        assert sorted(served.values()) == [["far"], *([f"soon {each}"] for each in range(number + 1))]
    check_nothing_is_left(client, producer)


# Sweeps are once per half a lease, for all of them


@dataclass
class Team:
    """What consumers handled, and what they say in the end."""

    handled: list[str]
    ends: list[aio.Totals]


@asynccontextmanager
async def team(server: Server, client: Any, lease: float) -> AsyncIterator[Team]:
    """A thousand consumers that wait; in the end they are stopped."""
    async with connections(server) as shared:
        handled: list[str] = []

        async def handle(item: str) -> None:
            handled.append(item)

        queues = [aio.Queue("orders", shared) for _ in range(MANY)]
        consumers = [aio.Consumer(queue, handle, lease=lease) for queue in queues]
        runs = [asyncio.create_task(consumer.run()) for consumer in consumers]
        here = Team(handled, [])
        try:
            await until(lambda: blocked(client) == MANY)
            yield here
        finally:
            for consumer in consumers:
                consumer.stop()
            here.ends += await asyncio.gather(*runs)
            await asyncio.gather(*(queue.close() for queue in queues))


def be_silent(client: Any, item: str, seconds: float) -> None:
    """Holds an item as a consumer of an older library would, that died so many seconds ago."""
    client.lpush("orders-processing-dead", item)
    client.hset("orders-timeouts", "orders-processing-dead", server_time(client) - seconds)


async def sweeps(client: Any, count: int) -> list[float]:
    """Waits until so many sweeps have begun; gives when that was, by the server."""
    seen: list[float] = []

    def is_enough() -> bool:
        swept = float(client.hget("orders/meta", "swept"))
        if swept not in seen:
            seen.append(swept)
        return len(seen) > count  # the first one had begun before

    await until(is_enough)
    return seen


async def test_a_thousand_with_a_lease_sweep_once_per_half_of_it(
    server: Server, client: Any, producer: Queue[str]
) -> None:
    lease = 4.0
    async with team(server, client, lease) as here:
        before = Look.now(client)
        be_silent(client, "a", 7201)
        begun = await sweeps(client, 2)
        spent = Between(before, Look.now(client))
        gaps = [later - earlier for earlier, later in pairwise(begun)]
        reads = spent.after.reads - spent.before.reads
        slices = spent.most(lease / 2 * SPREAD)
        _log.info("%s, at most %d for slices; sweeps %s s apart, which read %d hashes", spent, slices, gaps, reads)
        assert min(gaps) >= lease / 2
        assert len(begun) - 1 <= reads <= READS_OF_A_SWEEP * len(begun)
        # Besides, who sweeps asks again at once; and an item came back, was taken, acknowledged, and waited for again.
        assert spent.scripts <= slices + 2 * len(begun) + 3
        assert spent.moves <= slices + spent.not_back + 1
        await until(lambda: here.handled == ["a"])
        await until(lambda: blocked(client) == MANY)
    told = [(end.swept, end.taken, end.acked) for end in here.ends]
    assert [sum(column) for column in zip(*told, strict=True)] == [1, 1, 1]
    check_nothing_is_left(client, producer)
