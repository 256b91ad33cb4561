"""What becomes of items that fail: a retry, a drop, dead letters, and how these are delivered again.

    python examples/retry_bury.py

It adds five letters, works on them until each has met its end, mends what was wrong, and works on the rest.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from pyrq import Backoff, Bury, ConsumerEvent, Drop, EventKind, Queue, Retry, Totals

URL = os.environ.get("PYRQ_URL") or "embedded:///tmp/pyrq-examples"
NAME = "letters"

LETTERS = ["to Ada", "to Bob, who moved", "to nobody", "an advertisement", "in a hand that crashes the reader"]
ENDS = {EventKind.ACKED, EventKind.BURIED, EventKind.DROPPED}


class Office:
    """Delivers letters; it learns."""

    def __init__(self) -> None:
        self.reads_anything = False
        self._asked_for_bob = False

    def deliver(self, letter: str) -> None:
        """Handles one letter. It is acknowledged when this returns."""
        if "advertisement" in letter:
            raise Drop  # acknowledged, although it was not delivered
        if "nobody" in letter:
            raise Bury("it has no address")  # a dead letter, at once
        if "Bob" in letter and not self._asked_for_bob:
            self._asked_for_bob = True
            raise Retry(after=0.2)  # again, and when
        if "crashes" in letter and not self.reads_anything:
            raise ValueError("can't read it")  # again after a while; a dead letter after max_deliveries
        print(f"  delivered: {letter}")


def work_off(queue: Queue[str], handler: Callable[[str], None], count: int) -> Totals:
    """Consumes until so many items have met their end. A worker would go on until a signal."""
    stop, left = threading.Event(), count

    def count_down(event: ConsumerEvent) -> None:
        nonlocal left
        left -= event.count * (event.kind in ENDS)
        if left <= 0:
            stop.set()

    # The wait after a failure doubles: 0.1 s, 0.2 s; with the default it is 1 s at first and 5 minutes at the most.
    return queue.consume(handler, max_deliveries=3, backoff=Backoff(first=0.1), stop=stop, on_event=count_down)


def main() -> None:
    """Works on all letters twice: as they are, and when what was wrong is mended."""
    office = Office()
    with Queue(NAME, URL) as queue:
        queue.add_items(LETTERS)
        print(f"first: {work_off(queue, office.deliver, len(LETTERS))}")

        for letter in queue.dead.peek(100):
            print(f"  dead: {letter.item!r} after {letter.deliveries}: {letter.reason}")

        office.reads_anything = True
        again = queue.dead.redrive()  # all of them, at the end of the queue, as if they were new
        print(f"then: {work_off(queue, office.deliver, again)}")

        print(f"purged: {queue.dead.purge()}")


if __name__ == "__main__":
    main()
