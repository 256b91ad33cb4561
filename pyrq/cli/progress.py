"""How far it is: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator

__all__ = ["progress"]

_PLAIN_LINES = 4


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """Shows how far it is, for the time of a block.

    Args:
        total: how many files there are; at least one.

    Yields:
        A function to call with how many are done.
    """
    # Imported here, since who pipes the output, or has no `cli` extra, does without it.
    rich = importlib.util.find_spec("rich") if sys.stdout.isatty() else None
    if rich is None:
        yield _plain(total)
        return
    from rich.progress import Progress

    with Progress() as bar:
        task = bar.add_task("counting", total=total)
        yield lambda done: bar.update(task, completed=done)
    print(flush=True)  # rich shows the cursor again without ending the line, and the next line is for programs


def _plain(total: int) -> Callable[[int], None]:
    shown = 0

    def show(done: int) -> None:
        nonlocal shown
        if done * _PLAIN_LINES // total > shown:
            shown = done * _PLAIN_LINES // total
            print(f"counted {done} of {total} files", flush=True)

    return show
