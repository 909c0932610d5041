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
        self.fetched = 0
        """Chunks that came before anybody asked for them."""
        self.used = 0
        """Of those: asked for since."""
        self.wasted = 0
        """Of those: gone before anybody asked."""
        self._chunks: OrderedDict[tuple[ContentId, int], Bytes] = OrderedDict()
        self._unasked: set[tuple[ContentId, int]] = set()

    def get(self, content: ContentId, n: int) -> Bytes | None:
        """Chunk `n`, if it is here."""
        chunk = self._chunks.get((content, n))
        if chunk is not None:
            self._chunks.move_to_end((content, n))
            if self._unasked:
                self.asked(content, n)
        return chunk

    def asked(self, content: ContentId, n: int) -> None:
        """Somebody got a chunk, if not from here: it did not come for nothing."""
        if (content, n) in self._unasked:
            self._unasked.remove((content, n))
            self.used += 1

    def __contains__(self, key: tuple[ContentId, int]) -> bool:
        """Whether a chunk is here; does not count as a use."""
        return key in self._chunks

    def drop(self, content: ContentId, n: int) -> None:
        """Forget a chunk."""
        dropped = self._chunks.pop((content, n), None)
        if dropped is not None:
            self.size -= _cost(dropped)
            self._lose((content, n))

    def room(self, chunk_size: int) -> int:
        """Bytes of chunks of that size that fit in."""
        return self.capacity // (chunk_size + ENTRY_BYTES) * chunk_size

    def put(self, content: ContentId, n: int, chunk: Bytes, *, ahead: bool = False) -> None:
        """Remember a chunk; one that exceeds the capacity by itself is not kept.

        `ahead`: nobody has asked for it yet.
        """
        if _cost(chunk) > self.capacity:
            return
        previous = self._chunks.pop((content, n), None)
        if previous is not None:
            self.size -= _cost(previous)
        self._chunks[content, n] = chunk
        self.size += _cost(chunk)
        if ahead and previous is None:
            self.fetched += 1
            self._unasked.add((content, n))
        while self.size > self.capacity:
            key, dropped = self._chunks.popitem(last=False)
            self.size -= _cost(dropped)
            self._lose(key)

    def _lose(self, key: tuple[ContentId, int]) -> None:
        if key in self._unasked:
            self._unasked.remove(key)
            self.wasted += 1


def _cost(chunk: Bytes) -> int:
    return len(chunk) + ENTRY_BYTES
