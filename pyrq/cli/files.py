"""The work of the demo: which files there are, and what is in each."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["FileCount", "FileCountCodec", "count_file", "walk"]

_LEFT_OUT = frozenset((b"site-packages", b"dist-packages", b"__pycache__"))
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class FileCount:
    """What is in a file.

    Attributes:
        path: where it is, as the bytes that the system knows.
        lines: how many lines it has; a last one without a newline counts.
        words: how many words it has, separated by ASCII white space.
        digest: its SHA-256; `unreadable:REASON` if it can't be read.
    """

    path: bytes
    lines: int
    words: int
    digest: str


class FileCountCodec:
    """Makes a FileCount an item of a queue. The path comes last: it alone may hold spaces, and any other byte."""

    def encode(self, value: FileCount, /) -> bytes:
        """Gives the bytes of a count."""
        return b"%d %d %s %s" % (value.lines, value.words, value.digest.encode(), value.path)

    def decode(self, data: bytes, /) -> FileCount:
        """Gives the count of the bytes; raises ValueError for others."""
        lines, words, digest, path = data.split(b" ", 3)
        return FileCount(path, int(lines), int(words), digest.decode())


def walk(directory: bytes) -> Iterator[bytes]:
    """Finds the regular files below a directory, in an order that does not change.

    Links are left out, and so are `site-packages`, `dist-packages`, `__pycache__` and what can't be looked into.

    Args:
        directory: where to begin; bytes, since a file's name need not be text.

    Yields:
        The absolute path of each file.
    """
    for place, directories, names in os.walk(os.path.abspath(directory)):
        directories[:] = sorted(set(directories) - _LEFT_OUT)
        for name in sorted(names):
            path = os.path.join(place, name)
            with contextlib.suppress(OSError):  # it went away: it is no file any more
                if stat.S_ISREG(os.lstat(path).st_mode):
                    yield path


def count_file(path: bytes, check: Callable[[], None] = lambda: None) -> FileCount:
    """Counts what is in a file, which may be larger than the memory.

    Args:
        path: the file.
        check: called before each piece that is read; what it raises ends the count.

    Returns:
        The count. A file that can't be read has one too, which says why.
    """
    lines = words = 0
    digest = hashlib.sha256()
    before = b"\n"  # the byte before the chunk: a word or a line may go on in the next one
    try:
        with open(path, "rb") as file:
            while True:
                check()
                chunk = file.read(_CHUNK)
                if not chunk:
                    break
                digest.update(chunk)
                lines += chunk.count(b"\n")
                words += len(chunk.split()) - (not before.isspace() and not chunk[:1].isspace())
                before = chunk[-1:]
    except OSError as error:
        return FileCount(path, 0, 0, f"unreadable:{errno.errorcode.get(error.errno or 0, type(error).__name__)}")
    return FileCount(path, lines + (before != b"\n"), words, digest.hexdigest())
