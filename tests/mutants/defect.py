"""What a deliberate defect is: an exact replacement in a file of the library, and the test that must see it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Defect", "DefectError"]


class DefectError(Exception):
    """A defect does not fit the library any more, so that nothing is known of its test."""


@dataclass(frozen=True, slots=True)
class Defect:
    """One wrong change.

    Attributes:
        name: what it is called.
        what: what the library does wrong with it.
        file: which file it is in, below the folder of the library.
        before: the text that is replaced.
        after: the text in its place.
        test: the test that fails with it, as pytest names it.
        times: how often `before` is in the file; each is replaced.
    """

    name: str
    what: str
    file: str
    before: str
    after: str
    test: str
    times: int = 1

    def apply(self, library: Path) -> str:
        """Gives the text of the file with the defect.

        Args:
            library: the folder of the library.

        Raises:
            DefectError: the text to be replaced is not there as often as it says.
        """
        path = library / self.file
        if not path.is_file():
            raise DefectError(f"{self.name}: there is no {self.file}")
        text = path.read_text(encoding="utf-8")
        found = text.count(self.before)
        if found != self.times:
            raise DefectError(f"{self.name}: {found} times in {self.file}, not {self.times}: {self.before!r}")
        if self.before == self.after:
            raise DefectError(f"{self.name}: it changes nothing")
        return text.replace(self.before, self.after)
