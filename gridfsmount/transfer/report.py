"""What a transfer has done so far, and whether it should go on; shared by its threads."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from gridfsmount.errors import AccessDenied, LakeError, NoSpace, StoreFailed, StoreUnavailable

Progress: TypeAlias = Callable[[int, int], None]
"""Told how many files and bytes are done, in addition to what was; from any thread."""

KEPT_FAILURES: Final = 1000
"""Messages that are kept; beyond, failures are counted."""

FATAL: Final = (AccessDenied, NoSpace, StoreFailed, StoreUnavailable)
"""What would meet every further file as well."""


class Halted(Exception):
    """The transfer ends here."""


@dataclass(frozen=True, slots=True)
class Total:
    """Figures for the summary."""

    files: int
    """Files and links that were copied."""
    bytes: int
    same: int
    """Files that were there already."""
    failures: int


class Report:
    """Counts, failures, and the wish to stop."""

    def __init__(self, progress: Progress = lambda files, size: None) -> None:
        """Begin at nothing."""
        self._progress = progress
        self._lock = threading.Lock()
        self._files = self._bytes = self._same = self._failed = 0
        self._halt = threading.Event()
        self.failures: list[str] = []
        self.reason: str | None = None
        """Why it ended before its end, if it was not told to."""

    @property
    def total(self) -> Total:
        """The figures as they are now."""
        with self._lock:
            return Total(self._files, self._bytes, self._same, self._failed)

    def done(self, files: int, size: int) -> None:
        """Files that were copied, and their bytes as far as `moved` did not tell them."""
        with self._lock:
            self._files += files
            self._bytes += size
        self._progress(files, size)

    def moved(self, size: int) -> None:
        """Bytes of a file that is under way."""
        self.done(0, size)

    def unchanged(self, size: int) -> None:
        """A file that was there already."""
        with self._lock:
            self._same += 1
        self._progress(1, size)

    def fail(self, what: object, reason: object) -> None:
        """Something that was not copied; the rest goes on."""
        with self._lock:
            self._failed += 1
            if len(self.failures) < KEPT_FAILURES:
                self.failures.append(f"{printable(what)}: {reason}")

    def fail_with(self, what: object, error: LakeError) -> None:
        """The same for an error of the lake's; one that would meet all others ends it."""
        if isinstance(error, FATAL):
            self.stop(str(error))
        else:
            self.fail(what, error)

    def stop(self, reason: str | None = None) -> None:
        """Let all threads end at the next file or chunk."""
        with self._lock:
            self.reason = self.reason or reason
        self._halt.set()

    @property
    def halted(self) -> bool:
        """Whether it should stop, or has."""
        return self._halt.is_set()

    def check(self) -> None:
        """Go on, or not.

        Raises:
            Halted: not.
        """
        if self._halt.is_set():
            raise Halted


def printable(what: object) -> str:
    """A name for a message, whatever bytes it has."""
    text = what.decode("utf-8", "backslashreplace") if isinstance(what, bytes) else str(what)
    return text if text.isprintable() else ascii(text)[1:-1]
