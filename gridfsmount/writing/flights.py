"""What writers send and how much they hold: chunks on their way, and what comes of them."""

from dataclasses import dataclass, field
from typing import Final

import trio

from gridfsmount.core.model import Content
from gridfsmount.telemetry.counters import Uploads

DIRTY_BYTES: Final = 64 << 20
"""Dirty bytes of all writers together; above, each keeps as little as it can."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A content that is ready to be published."""

    content: Content
    pages: tuple[tuple[int, bytes], ...] = ()
    """All of its chunks, when they go to the server together with the files document."""


@dataclass(eq=False, slots=True)
class Flight:
    """Chunks on their way to the server."""

    chunks: dict[int, bytes]
    before: trio.Event | None
    """When the flight before it was hashed: the digest takes chunks in their order."""
    hashed: trio.Event = field(default_factory=trio.Event)
    landed: trio.Event = field(default_factory=trio.Event)


class DirtyBudget:
    """How many dirty bytes all writers of a mount hold."""

    def __init__(self, limit: int = DIRTY_BYTES, uploads: Uploads | None = None) -> None:
        """Start at zero of `limit` bytes; what is sent is counted in `uploads`."""
        self.limit = limit
        self.uploads = uploads or Uploads()
        self.used = 0

    @property
    def exceeded(self) -> bool:
        """Whether writers should give back what they can."""
        return self.used > self.limit

    @property
    def far_exceeded(self) -> bool:
        """Whether even the pages that are being filled must go, to be fetched back later."""
        return self.used > 2 * self.limit
