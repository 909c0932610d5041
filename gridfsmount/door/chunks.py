"""Chunks through the caches, one query for neighbours; and whole small contents, many at once.

Two threads that want the same chunk at the same moment may both ask for it. Nothing is fetched in
the background: what is read ahead comes with the query that was due anyway.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from gridfsmount.cache.memory import ChunkCache
from gridfsmount.core.chunks import Bytes, chunk_count, runs
from gridfsmount.core.model import Content, ContentId
from gridfsmount.reading.source import Source

FETCH_BYTES: Final = 8 << 20
"""Most bytes of one query: larger ones delay the first byte and gain little."""

FETCH_CHUNKS: Final = 4096
"""Most chunks of one query: foreign contents may have chunks of a few bytes."""

SMALL_BYTES: Final = 1 << 20
"""Contents up to here are fetched many in one query."""

GROUP: Final = 1000
"""Most contents of one query."""


class Chunks:
    """The chunks of one lake's contents, each checked."""

    def __init__(self, source: Source, memory: ChunkCache) -> None:
        """Read from `source`, through `memory`, which nobody else uses."""
        self._source = source
        self._memory = memory
        self._lock = threading.Lock()
        """Guards `memory`; never held over a call that may block."""

    def holds(self, content: Content, n: int) -> bool:
        """Whether a chunk is in memory."""
        with self._lock:
            return (_key(content), n) in self._memory

    def remember(self, content: Content, chunks: Sequence[Bytes], first: int = 0) -> None:
        """Keep chunks that were checked."""
        key = _key(content)
        with self._lock:
            for n, chunk in enumerate(chunks, first):
                # A view may be part of something much larger.
                self._memory.put(key, n, chunk if isinstance(chunk, bytes) else bytes(chunk))

    def read_into(self, content: Content, offset: int, target: memoryview, ahead: int = 0) -> int:
        """Fill `target` with the bytes from `offset` on, as far as there are; returns how many.

        `ahead` bytes more are brought into memory, if something must be asked for anyway.

        Raises:
            Damaged: a chunk is missing or altered.
            StoreUnavailable: no answer within the deadline.
        """
        size = content.chunk_size
        end = min(content.length, offset + len(target))
        most = max(1, min(FETCH_BYTES // size, FETCH_CHUNKS))
        at = offset
        while at < end:
            first = at // size
            past = min(-(-end // size), first + most)
            more = min(ahead // size, most - (past - first)) if past * size >= end else 0
            # What goes by in one large piece would only push out what may be read again.
            keep = end - offset < FETCH_BYTES
            for n, chunk in enumerate(self._load(content, first, past, more, keep), first):
                piece = memoryview(chunk)[at - n * size :][: end - at]
                target[at - offset : at - offset + len(piece)] = piece
                at += len(piece)
        return max(0, at - offset)

    def read_whole(self, contents: Sequence[Content]) -> Iterator[tuple[Content, bytes]]:
        """Small contents whole, as far as they are right, in any order and in few queries."""
        missing: list[Content] = []
        for content in contents:
            found = self._whole_from_memory(content)
            if found is None:
                missing.append(content)
            else:
                yield content, found
        for group in _groups(missing):
            whole, fresh = self._source.load_whole(group)
            for content, numbered in fresh:
                self._source.keep(content, numbered)
            for content, chunks in whole:
                self.remember(content, chunks)
                yield content, _joined(chunks)

    def _whole_from_memory(self, content: Content) -> bytes | None:
        key, count = _key(content), chunk_count(content.length, content.chunk_size)
        with self._lock:
            chunks = [self._memory.get(key, n) for n in range(count)]
        present = [chunk for chunk in chunks if chunk is not None]
        return _joined(present) if len(present) == count else None

    def _load(self, content: Content, first: int, past: int, more: int, keep: bool) -> list[Bytes]:
        key = _key(content)
        with self._lock:
            found = {n: self._memory.get(key, n) for n in range(first, past)}
            if all(chunk is not None for chunk in found.values()):
                more = 0
            until = min(chunk_count(content.length, content.chunk_size), past + more)
            wanted = [
                *(n for n, chunk in found.items() if chunk is None),
                *(n for n in range(past, until) if (key, n) not in self._memory),
            ]
        for begin, end in runs(iter(wanted)):
            chunks, fresh = self._source.load(content, begin, end, settled=False)
            self._source.keep(content, fresh)
            found.update(enumerate(chunks, begin))
            if keep:
                self.remember(content, chunks, begin)
        return [chunk for n in range(first, past) if (chunk := found[n]) is not None]


def _key(content: Content) -> ContentId:
    # A driver may upload other bytes under an `_id` that it has removed.
    return replace(content.id, bson=content.id.bson + b"%d" % content.uploaded_ms)


def _joined(chunks: Sequence[Bytes]) -> bytes:
    only = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    return only if isinstance(only, bytes) else bytes(only)


def _groups(contents: Sequence[Content]) -> Iterator[list[Content]]:
    group: list[Content] = []
    size = 0
    for content in contents:
        if group and (len(group) == GROUP or size + content.length > FETCH_BYTES):
            yield group
            group, size = [], 0
        group.append(content)
        size += content.length
    if group:
        yield group
