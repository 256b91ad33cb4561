"""A worker: it packs orders until SIGTERM or Ctrl-C, and then holds none.

    python examples/worker.py

Any number of them may run. `python examples/web.py` brings orders.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from pyrq import Bury, ConsumerEvent, EventKind, JsonCodec, Queue, current_lease

URL = os.environ.get("PYRQ_URL") or "embedded:///tmp/pyrq-examples"
NAME = "orders"

# What somebody should look at. Each event says what happened to how many items, and holds none.
TROUBLE = {EventKind.BURIED, EventKind.LOST, EventKind.SWEPT}


def pack(order: Any) -> None:
    """Packs one order; in a thread of its own. The order is done with when this returns."""
    if not isinstance(order, dict) or "number" not in order:
        raise Bury("it has no number")
    lease = current_lease()
    if lease.wait(order.get("seconds", 0.1)):  # this is the work; it ends early where the lease is lost
        return  # another worker has the order now
    print(f"packed order {order['number']}\n", end="", flush=True)  # one write: others print at the same time


def tell(event: ConsumerEvent) -> None:
    """Says what happened, where it matters."""
    if event.kind in TROUBLE:
        print(f"{event.count} {event.kind}", flush=True)


def main() -> None:
    """Works until it is told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    with Queue(NAME, URL, codec=JsonCodec()) as queue:
        print("working; Ctrl-C or SIGTERM ends it", flush=True)
        # Four orders at a time. On a signal it takes no more, gives the four ten seconds, and gives back the rest.
        totals = queue.consume(pack, batch=8, concurrency=4, lease=30, max_deliveries=5, grace=10, on_event=tell)
    print(f"stopped: {totals}", flush=True)


if __name__ == "__main__":
    main()
