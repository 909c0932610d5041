"""While files are open for writing: their leases kept, their versions not sealed.

One thread gives the signs of life of all files that a process has open for writing, as long as
there are any.
"""

import threading
from collections import Counter
from contextlib import suppress

from gridfsmount.core.model import Inode
from gridfsmount.errors import FileSystemError
from gridfsmount.store.lake import Lake
from gridfsmount.store.processes import BEAT_SECONDS

WHAT = "a Python program"


class Presence:
    """Of one process in one lake; safe to share between threads."""

    def __init__(self, lake: Lake) -> None:
        """Speak to `lake`."""
        self._lake = lake
        self._lock = threading.Lock()
        """Guards what follows, and is held while it is told, so that the last word is right."""
        self._open: Counter[Inode | None] = Counter()
        self._over = threading.Event()

    def begin(self, version: Inode | None) -> None:
        """A file of that version is being written from now on; None: of one that is to be made."""
        with self._lock:
            if not self._open.total():
                self._over = threading.Event()
                threading.Thread(
                    target=self._repeat, args=(self._over,), name="presence", daemon=True
                ).start()
            self._open[version] += 1
            self._announce()

    def end(self, version: Inode | None) -> None:
        """It is closed."""
        with self._lock:
            self._open -= Counter([version])
            if self._open.total():
                self._announce()
                return
            self._over.set()
            with suppress(FileSystemError):  # else it counts as dead soon
                self._lake.processes.leave()

    def _repeat(self, over: threading.Event) -> None:
        while not over.wait(min(BEAT_SECONDS, self._lake.leases.seconds / 4)):
            with self._lock:
                if not over.is_set():
                    self._announce()

    def _announce(self) -> None:
        versions = [version for version in self._open if version is not None]
        with suppress(FileSystemError):  # an outage only postpones it
            self._lake.processes.announce(WHAT, writing=versions)
            if self._lake.leases.active:
                self._lake.leases.renew()
