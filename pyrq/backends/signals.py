"""SIGTERM and SIGINT for consumers, in both worlds.

Several may run at a time: the first one takes the signals, all are told, and the last one gives the signals back. They
are taken with `signal.signal`, not `loop.add_signal_handler`: what a host has registered there can't be read, so it
could not be put back; and it is still called.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pyrq.backends.identity import process_id

__all__ = ["stopped_by_signals"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_listeners: list[Callable[[], object]] = []
_before: dict[signal.Signals, Any] = {}
_process = 0


@contextmanager
def stopped_by_signals(stop: Callable[[], object]) -> Iterator[None]:
    """Calls a function at each SIGTERM and SIGINT, for the time of the block.

    Outside the main thread it does nothing: only that may take signals (https://docs.python.org/3/library/signal.html).

    Args:
        stop: the function. It is called between any two instructions of the main thread, so it must not wait for a
            lock that this may hold.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    global _process
    if not _listeners:
        _process = process_id()
        _before.update({each: signal.signal(each, _tell) for each in _SIGNALS})
    _listeners.append(stop)
    try:
        yield
    finally:
        _listeners.remove(stop)
        if not _listeners:
            for each, handler in _before.items():
                if signal.getsignal(each) is _tell:  # else somebody took it meanwhile
                    signal.signal(each, signal.SIG_DFL if handler is None else handler)
            _before.clear()


def _tell(number: int, frame: object) -> None:
    if process_id() != _process:  # a child that a handler forked: it is no consumer
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
        return
    for stop in _listeners:
        stop()
