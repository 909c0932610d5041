"""Opens that the kernel tries once more, since the file was replaced between look-up and open.

Upon ESTALE the kernel looks the names of a path up again, in the same system call and once only; if
the file was replaced again meanwhile, the program gets the error. But what was looked up for that
try was there after the call had begun: its old content is an answer too. So who asks for the second
time in a row may have it.
"""

import time
from typing import Final

KEPT: Final = 1000
"""Threads that are remembered."""


class Retries:
    """Which threads were answered with ESTALE last, and when."""

    def __init__(self) -> None:
        """None yet."""
        self._refused: dict[int, float] = {}

    def take(self, thread: int) -> float | None:
        """When a thread was refused in its last open, if it was; asked with each open."""
        return self._refused.pop(thread, None)

    def refused(self, thread: int) -> None:
        """A thread's open is answered with ESTALE: it will try once more."""
        if len(self._refused) >= KEPT:
            del self._refused[next(iter(self._refused))]
        self._refused[thread] = time.monotonic()
