"""What is in vaults, for a page: asked anew each time, and waited for only so long.

A vault on a disk of another machine may hang, and whoever reads it with it. So a thread of its
own reads each, one at a time, and whoever asks meanwhile waits for the same answer.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Final

from gridfsmount.core.vault import Vault
from gridfsmount.errors import LakeError, StoreUnavailable
from gridfsmount.vaults.stock import Stocked, stock

SECONDS: Final = 10.0
"""How long a page waits for a vault."""

Opener = Callable[[], AbstractContextManager[Vault]]


@dataclass(frozen=True, slots=True)
class Stock:
    """A vault, and what is in it."""

    name: str
    snapshots: Sequence[Stocked]
    """The newest first."""
    error: str
    """Why it cannot be told; empty if it can."""


class VaultReader:
    """Reads one vault."""

    def __init__(self, name: str, opener: Opener, seconds: float = SECONDS) -> None:
        """Open the vault that people call `name` with `opener`, for each answer."""
        self.name = name
        self._opener = opener
        self._seconds = seconds
        self._lock = threading.Lock()
        self._answer: Future[list[Stocked]] | None = None

    def read(self) -> Callable[[], Stock]:
        """Begin to look what is in it now; what is returned waits for the answer."""
        with self._lock:
            answer = self._answer
            if answer is None or answer.done():
                answer = self._answer = Future()
                # A daemon: one that hangs must not keep the process.
                threading.Thread(target=self._fetch, args=(answer,), daemon=True).start()
        return partial(self._wait, answer, time.monotonic() + self._seconds)

    def _wait(self, answer: "Future[list[Stocked]]", until: float) -> Stock:
        try:
            snapshots = answer.result(max(0.0, until - time.monotonic()))
        except TimeoutError:
            return Stock(self.name, (), f"it gave no answer within {self._seconds:g} seconds")
        except LakeError as error:
            return Stock(self.name, (), str(error))
        return Stock(self.name, sorted(snapshots, key=lambda each: each.snapshot, reverse=True), "")

    def _fetch(self, answer: "Future[list[Stocked]]") -> None:
        try:
            with self._opener() as vault:
                answer.set_result(stock(vault))
        except LakeError as error:
            answer.set_exception(error)
        except Exception as error:
            # Nobody else would answer whoever waits.
            failed = StoreUnavailable(f"it cannot be read: {error!r}")
            failed.__cause__ = error
            answer.set_exception(failed)
