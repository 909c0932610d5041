"""Bytes that move no faster than they may."""

import threading
import time
from typing import Final

BURST_SECONDS: Final = 1.0
"""What was not used of the last second may be caught up with."""


class Bucket:
    """How long each must wait so that all together keep to a rate. Pure; not to be shared."""

    def __init__(self, rate: float, burst_seconds: float = BURST_SECONDS) -> None:
        """Let `rate` bytes pass a second, and at once no more than in `burst_seconds`."""
        self._rate = rate
        self._burst = burst_seconds
        self._paid_until = float("-inf")

    def take(self, size: int, now: float) -> float:
        """Let `size` bytes pass at `now`, in seconds; returns how long to wait after them."""
        self._paid_until = max(self._paid_until, now - self._burst) + size / self._rate
        return max(0.0, self._paid_until - now)


class Pace:
    """Keeps several threads to one rate together."""

    def __init__(self, rate: int | None, stop: threading.Event) -> None:
        """Allow `rate` bytes a second, or any; who waits goes on at once when `stop` is set."""
        self._bucket = None if rate is None else Bucket(rate)
        self._stop = stop
        self._lock = threading.Lock()

    def keep(self, size: int) -> None:
        """Wait as long as `size` more bytes take."""
        if self._bucket is None:
            return
        with self._lock:
            seconds = self._bucket.take(size, time.monotonic())
        self._stop.wait(seconds)
