"""Hostile replies: what the core makes of them, and what whole calls do when something in between garbles them."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from hypothesis import strategies

from pyrq.core.call import Call
from pyrq.core.options import Durability, Fsync, Replicas
from pyrq.core.wire import NeedsSource, Refusal, check_server, moved, results
from pyrq.errors import OutcomeUnknown
from tests.faults.campaign import Trial
from tests.faults.fuzzing import Fuzzer, attempt, hypothetical, judged, split
from tests.faults.ledger import MARK, Account
from tests.faults.middle import Replace, middle
from tests.integration.leaks import remains
from tests.servers import Server, World, wait_until
from tests.unit.builders import ANY_BUILDERS, POOL_BUILDERS, QUEUE_BUILDERS, fill

__all__ = ["garbled", "replies"]

_ITEMS = [f"{MARK} first".encode(), f"{MARK} {'second' * 40}".encode()]
_DURABILITIES: tuple[Durability | None, ...] = (None, None, Replicas(2), Fsync(1, 1))


# As the core reads them


def replies(trial: Trial, server: Server, fuzzer: Fuzzer, many: int) -> None:
    """Reads random answers to every call that there is."""
    samples = _samples(server)
    rng = fuzzer.rng

    def try_one(reply: Any) -> None:
        call, right = rng.choice(samples)
        durability = rng.choice(_DURABILITIES)
        answers = [reply, fuzzer.reply(1) if durability else 0]
        attempt(trial, partial(_read, [call], durability, answers, right))

    def any_reply(call: Call[Any]) -> Any:
        # What was not sent with the call can't be told from the server's own words.
        sent = [arg for arg in call.args if arg in _ITEMS]
        return Refusal(fuzzer.error_text(*sent)) if rng.random() < 0.2 else fuzzer.reply()

    tried = hypothetical(rng, _any_reply(), many // 20, try_one)
    for number in range(many - tried):
        if number % 12 >= 10:
            # No item was sent with these.
            other = Refusal(fuzzer.error_text()) if rng.random() < 0.2 else fuzzer.reply()
            attempt(trial, partial(check_server, other, None) if number % 2 else partial(moved, other))
            continue
        call, right = samples[number % len(samples)]
        durability = rng.choice(_DURABILITIES)
        reply = fuzzer.mutated(right) if rng.random() < 0.6 else any_reply(call)
        answers = [reply, any_reply(call) if durability and rng.random() < 0.5 else 0]
        attempt(trial, partial(_read, [call], durability, answers, right))


def _samples(server: Server) -> list[tuple[Call[Any], Any]]:
    """Gives each call there is, and a right answer."""
    samples: list[tuple[Call[Any], Any]] = []
    with server.client() as client:
        for builder in (*QUEUE_BUILDERS, *POOL_BUILDERS, *ANY_BUILDERS):
            client.flushall()
            fill(client, builder.kind)
            call = builder(items=_ITEMS, item=_ITEMS[0])
            samples.append((call, client.eval(call.script.source, len(call.keys), *call.keys, *call.args)))
        client.flushall()
    return samples


def _read(calls: list[Call[Any]], durability: Durability | None, answers: list[Any], right: Any) -> None:
    """Reads an answer, and checks that what is made of it is of the kind that the right one is made into."""
    try:
        result = results(calls, durability, answers)[0]
    except NeedsSource:
        return
    if _shape(result) != _shape(results(calls, None, [right])[0]):
        raise AssertionError("a result of another kind")


def _shape(result: Any) -> Any:
    return [type(each) for each in result] if isinstance(result, tuple) else type(result)


def _any_reply() -> strategies.SearchStrategy[Any]:
    leaves = (
        strategies.none() | strategies.booleans() | strategies.integers() | strategies.binary() | strategies.floats()
    )
    return strategies.recursive(leaves, strategies.lists)


# As whole calls meet them

_UNREADABLE = (
    *(b"$-1", b"+OK", b"$3\r\nabc", b"*0", b"*1\r\n$1\r\n1", b"*2\r\n$-1\r\n:1", b"*-1", b"_", b",1.5", b"%0"),
    *(b"*2\r\n#t\r\n:1", b"~1\r\n:9", b"=7\r\ntxt:abc", b":99999999999999999999", b"$x", b"$-7", b"*x", b"\0\xff\xfe"),
    *(b"HTTP/1.1 400 Bad Request", b"", b"(" + b"9" * 5000, b"*1\r\n" * 500 + b":1", b"%1\r\n*0\r\n:1"),
)
"""What no script answers, in place of all that it does: there is no telling from it what the call did."""
_UNFINISHED = (b"$536870912\r\nabc", b"*3\r\n:1\r\n", b"*1000000\r\n", b"+OK")
_OF_HANDSHAKES = 0.05
"""So many of the answers to what redis-py says first: with more there would be no connection."""
_COMMANDS = (b"EVALSHA\r\n", b"EVAL\r\n", b"BLMOVE\r\n", b"CLIENT\r\n", b"HELLO\r\n")


def garbled(trial: Trial, server: Server, fuzzer: Fuzzer, many: int) -> None:
    """Runs calls through something that makes answers unreadable, then through something that makes them up.

    In the first case nothing may be lost or doubled, by what each call said of itself. A lie can't be seen through; but
    it too ends in an error of the library. It is the answers that are counted as inputs, not the calls.
    """
    account = Account()
    unreadable, made_up = split(many, 2)
    spoiled = Spoiled(trial, unreadable, _garbling(fuzzer.rng))
    with middle(server.path, spoiled) as between, ThreadPoolExecutor(2) as threads:
        url = f"{between.url}?socket_timeout=0.5"
        list(threads.map(partial(_work, trial, url, account, spoiled), ("sync", "aio")))
    for name, share in zip(("sync", "aio"), split(made_up, 2), strict=True):
        spoiled = Spoiled(trial, share, _lying(fuzzer))
        with middle(server.path, spoiled) as between:
            _believe(trial, name, f"{between.url}?socket_timeout=0.2", spoiled)
    _close(trial, server, account)


class Spoiled:
    """Replaces answers, until so many are replaced.

    Attributes:
        left: how many are still to be.
    """

    def __init__(self, trial: Trial, many: int, replace: Replace) -> None:
        self.left = many
        self._trial = trial
        self._replace = replace

    def __call__(self, asked: bytes, said: bytes) -> tuple[bytes, bool]:
        made, cut = self._replace(asked, said) if self.left else (said, False)
        if cut or made != said:
            self.left -= 1
            self._trial.count("inputs")
        return made, cut


def _is_work(asked: bytes) -> bool:
    return b"EVAL" in asked or b"BLMOVE" in asked


def _garbling(rng: random.Random) -> Replace:
    def replace(asked: bytes, said: bytes) -> tuple[bytes, bool]:
        if rng.random() > (0.3 if _is_work(asked) else _OF_HANDSHAKES):
            return said, False
        match rng.randrange(8):
            case 0:
                return said[: rng.randrange(len(said))], True
            case 1 if _is_work(asked) and b"SETINFO" not in said:
                # Not at redis-py's handshake: what was refused there would be taken for the call, and that is a lie.
                return said + rng.choice((b":7\r\n", b"+OK\r\n")), False
            case 2:
                return rng.randbytes(20), True
            case 3:
                # Sometimes the client is to wait in vain.
                return rng.choice(_UNFINISHED), rng.random() < 0.95
        # One for each answer that the client waits for.
        return (rng.choice(_UNREADABLE) + b"\r\n") * max(1, sum(map(asked.count, _COMMANDS))), False

    return replace


def _lying(fuzzer: Fuzzer) -> Replace:
    def replace(asked: bytes, said: bytes) -> tuple[bytes, bool]:
        if fuzzer.rng.random() > (0.9 if _is_work(asked) else _OF_HANDSHAKES):
            return said, False
        made = b"".join(fuzzer.resp() for _ in range(max(1, sum(map(asked.count, _COMMANDS)))))
        # What is not finished is mostly cut: the client need not wait for the rest.
        return made, fuzzer.rng.random() < 0.9

    return replace


class Worker:
    """Makes calls, and accounts for what they say they did."""

    def __init__(self, trial: Trial, world: World, url: str, account: Account) -> None:
        self._rng = trial.rng("worker", world.name, url.partition("?")[2])
        self._trial = trial
        self._queue: Any = world.queue("orders", url, retry=1)
        self._account = account
        self._who = world.name
        self._made = 0
        self._hand: list[str] = []

    def work(self, spoiled: Spoiled) -> None:
        """Makes calls for as long as answers are spoiled."""
        queue = self._queue
        looks = (queue.get_count, queue.stats, partial(queue.peek, 3), queue.in_flight, queue.release)
        calls = (*2 * (self._get, self._add, self._ack), self._reject, *looks)
        while spoiled.left:
            self._trial.count("calls")
            judged(self._trial, self._rng.choice(calls))

    def _get(self) -> None:
        found = self._queue.get_items(self._rng.randrange(1, 12), timeout=self._rng.choice((None, None, 0.02)))
        self._account.seen(found)
        self._hand += found

    def _add(self) -> None:
        size = self._rng.randrange(1, 6)
        self._made += size
        # Of each there are two.
        items = [f"{MARK} {self._who} {number // 2}" for number in range(self._made - size, self._made)]
        self._settle(items, self._queue.add_items, self._account.added, self._account.perhaps_added)

    def _ack(self) -> None:
        self._settle(self._pick(), self._queue.ack_items, self._account.acked, self._account.perhaps_acked)

    def _reject(self) -> None:
        def nothing(_: list[str]) -> None:
            """Done or not, it is found at the end."""

        self._settle(self._pick(), self._queue.reject_items, nothing, nothing)

    def _pick(self) -> list[str]:
        many = min(len(self._hand), self._rng.randrange(1, 8))
        return [self._hand.pop(self._rng.randrange(len(self._hand))) for _ in range(many)]

    def _settle(
        self,
        items: list[str],
        call: Callable[[list[str]], int],
        note: Callable[[list[str]], None],
        perhaps: Callable[[list[str]], None],
    ) -> None:
        try:
            counted = call(items)
        except OutcomeUnknown:
            perhaps(items)
            raise
        note(items)
        self._trial.expect(counted == len(items), f"{call.__name__} of {len(items)} items counted {counted}")


def _work(trial: Trial, url: str, account: Account, spoiled: Spoiled, name: str) -> None:
    world = World(name)
    try:
        Worker(trial, world, url, account).work(spoiled)
    finally:
        world.close()


def _believe(trial: Trial, name: str, url: str, spoiled: Spoiled) -> None:
    """Makes calls of all kinds to something that lies."""
    world, rng = World(name), trial.rng("believe", name)
    queue, pool = (world.make(kind, f"lies-{kind}", url, retry=0.02) for kind in ("Queue", "Pool"))
    limits = {"max_retry_rollback": 1, "max_timeout_in_queue": 1}
    unique = world.make("UniqueQueue", "lies-UniqueQueue", url, retry=0.02, **limits)
    item = f"{MARK} believed"
    calls: tuple[Callable[[], object], ...] = (
        *(partial(each.add_item, item) for each in (queue, unique, pool)),
        *(partial(each.get_items, 2) for each in (queue, unique, pool)),
        *(partial(each.ack_items, [item, item]) for each in (queue, unique, pool)),
        *(partial(each.get_count) for each in (queue, unique, pool)),
        *(partial(queue.get_items, 1, timeout=0.02), partial(queue.ack_and_get, [item], 2), partial(queue.peek, 2)),
        *(queue.re_enqueue_all_items, queue.drop_all_items, queue.stats, queue.in_flight, queue.pause, queue.resume),
        *(partial(queue.add_item, item, 60), queue.release, unique.repair, partial(unique.can_rollback_item, item)),
        *(
            partial(queue.reject_items, [item]),
            partial(queue.delete_items, [item]),
            pool.clear_pool,
            pool.get_all_items,
        ),
        *(pool.get_count_to_process, partial(pool.is_in_pool, item), partial(pool.remove_items, [item])),
    )
    try:
        while spoiled.left:
            trial.count("calls")
            judged(trial, rng.choice(calls))
    finally:
        world.close()


def _close(trial: Trial, server: Server, account: Account) -> None:
    """Takes out what is left, from the server itself, and draws the balance."""
    with server.client() as client:
        for key in client.scan_iter("lies-*", count=1000):
            client.delete(key)
        world = World("sync")
        try:
            queue = world.queue("orders", server.url)
            queue.re_enqueue_all_items()
            # The registration of a consumer whose end was garbled goes with a sweep, once its time has passed.
            with contextlib.suppress(AssertionError):
                wait_until(lambda: not (queue.re_enqueue_all_items() or client.exists("orders/consumers")), 30)
            while items := queue.get_items(1000):
                trial.expect(queue.ack_items(items) == len(items), "an ack at the end did not count")
                account.acked(items)
        finally:
            world.close()
        trial.blame("stranded", len(remains(client, "orders")), "keys after unreadable answers")
    account.close(trial.ledger)
