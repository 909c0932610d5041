"""Chunks in memory: least recently used go first, bounded by bytes.

Used by the event loop alone, so there is nothing to lock. Contents never change, so nothing ever
needs to be invalidated.
"""

from collections import OrderedDict
from typing import Final

from gridfsmount.core.chunks import Bytes
from gridfsmount.core.model import ContentId

ENTRY_BYTES: Final = 256
"""What an entry costs besides its bytes: it counts, since chunks may be tiny."""


class ChunkCache:
    """Verified chunks, by content and number."""

    def __init__(self, capacity: int) -> None:
        """Hold at most `capacity` bytes of chunks."""
        self.capacity = capacity
        self.size = 0
        self._chunks: OrderedDict[tuple[ContentId, int], Bytes] = OrderedDict()

    def get(self, content: ContentId, n: int) -> Bytes | None:
        """Chunk `n`, if it is here."""
        chunk = self._chunks.get((content, n))
        if chunk is not None:
            self._chunks.move_to_end((content, n))
        return chunk

    def __contains__(self, key: tuple[ContentId, int]) -> bool:
        """Whether a chunk is here; does not count as a use."""
        return key in self._chunks

    def drop(self, content: ContentId, n: int) -> None:
        """Forget a chunk."""
        dropped = self._chunks.pop((content, n), None)
        if dropped is not None:
            self.size -= _cost(dropped)

    def room(self, chunk_size: int) -> int:
        """Bytes of chunks of that size that fit in."""
        return self.capacity // (chunk_size + ENTRY_BYTES) * chunk_size

    def put(self, content: ContentId, n: int, chunk: Bytes) -> None:
        """Remember a chunk; one that exceeds the capacity by itself is not kept."""
        if _cost(chunk) > self.capacity:
            return
        previous = self._chunks.pop((content, n), None)
        if previous is not None:
            self.size -= _cost(previous)
        self._chunks[content, n] = chunk
        self.size += _cost(chunk)
        while self.size > self.capacity:
            _, dropped = self._chunks.popitem(last=False)
            self.size -= _cost(dropped)


def _cost(chunk: Bytes) -> int:
    return len(chunk) + ENTRY_BYTES
