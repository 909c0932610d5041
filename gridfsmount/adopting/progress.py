"""How far the adoption of a backlog is, in the log: a line now and then, not one a batch."""

import logging
from typing import Final

log = logging.getLogger(__name__)

TELL_SECONDS: Final = 10.0


class Progress:
    """Counts what was adopted, and tells."""

    def __init__(self, total: int, now: float) -> None:
        """Begin with `total` contents to adopt, at `now` in seconds."""
        self.done = 0
        self._total = total
        self._began = now
        self._told = now
        log.info(
            "adopting %s contents that other clients uploaded, in the background", f"{total:,}"
        )

    def add(self, count: int, now: float) -> None:
        """Count a batch."""
        self.done += count
        if now - self._told >= TELL_SECONDS:
            self._told = now
            log.info(
                "adopting other clients' uploads: %s contents done, about %s left, %.0f a second",
                f"{self.done:,}",
                f"{max(0, self._total - self.done):,}",
                self.done / (now - self._began),
            )

    def end(self, now: float) -> None:
        """Tell that there is nothing left."""
        log.info(
            "adopted %s contents that other clients uploaded, in %.0f s",
            f"{self.done:,}",
            now - self._began,
        )
