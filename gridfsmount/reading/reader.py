"""Bytes of contents, through the chunk cache.

Runs on the event loop; no lock is held across a fetch. A chunk is fetched once however many
readers want it: the others wait for the first.
"""

import itertools
from collections.abc import Iterable
from typing import Final

import trio

from gridfsmount.cache.memory import ChunkCache
from gridfsmount.core.chunks import chunk_count, runs
from gridfsmount.core.model import Content, ContentId
from gridfsmount.errors import Damaged
from gridfsmount.store.contents import Contents
from gridfsmount.workers import Workers

FETCH_BYTES: Final = 4 << 20
"""Most bytes of one query: larger ones delay the first byte and gain nothing."""

FETCH_CHUNKS: Final = 4096
"""Most chunks of one query: foreign contents may have chunks of a few bytes."""


class Reader:
    """Reads ranges of bytes."""

    def __init__(self, contents: Contents, workers: Workers, cache: ChunkCache) -> None:
        """Read from `contents`, keeping chunks in `cache`."""
        self._contents = contents
        self._workers = workers
        self._cache = cache
        self._flights: dict[tuple[ContentId, int], trio.Event] = {}

    async def read(self, content: Content, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer only at the end of the content.

        Raises:
            Damaged: a chunk in the range is missing or altered.
            StoreUnavailable: no answer within the deadline.
        """
        stop = min(offset + size, content.length)
        if offset >= stop:
            return b""
        first = offset // content.chunk_size
        past = chunk_count(stop, content.chunk_size)
        chunks = await self._chunks(content, first, past)
        start = offset - first * content.chunk_size
        if len(chunks) == 1:
            return chunks[0][start : start + stop - offset]
        return b"".join(chunks)[start : start + stop - offset]

    async def _chunks(self, content: Content, first: int, past: int) -> list[bytes]:
        found: dict[int, bytes] = {}
        while True:
            # No checkpoint between looking and registering a flight, or two would fetch the same.
            waiting: list[trio.Event] = []
            wanted: list[int] = []
            for n in range(first, past):
                if n in found:
                    continue
                chunk = self._cache.get(content.id, n)
                if chunk is not None:
                    found[n] = chunk
                elif (content.id, n) in self._flights:
                    waiting.append(self._flights[content.id, n])
                else:
                    wanted.append(n)
            if wanted:
                begin, end = next(runs(iter(wanted)))  # then look again: much may have happened
                found.update(await self._fetch(content, begin, end))
            elif waiting:
                await waiting[0].wait()
            else:
                return [found[n] for n in range(first, past)]

    async def _fetch(self, content: Content, first: int, past: int) -> dict[int, bytes]:
        limit = _batch(content)
        ahead = past
        if (content.id, first - 1) in self._cache:  # somebody reads on from there
            ahead = min(max(past, first + limit), chunk_count(content.length, content.chunk_size))
            free = itertools.takewhile(lambda n: self._is_free(content, n), range(past, ahead))
            ahead = past + sum(1 for _ in free)
        flight = trio.Event()
        numbers = range(first, ahead)
        self._flights.update(((content.id, n), flight) for n in numbers)
        try:
            try:
                chunks = await self._query(content, first, ahead)
            except Damaged:
                if ahead == past:
                    raise
                # What is damaged may lie in the part that nobody asked for.
                chunks = await self._query(content, first, past)
        finally:
            for n in numbers:
                del self._flights[content.id, n]
            flight.set()
        return chunks

    def _is_free(self, content: Content, n: int) -> bool:
        key = (content.id, n)
        return key not in self._cache and key not in self._flights

    async def _query(self, content: Content, first: int, past: int) -> dict[int, bytes]:
        limit = _batch(content)
        found: dict[int, bytes] = {}
        for begin in range(first, past, limit):
            end = min(past, begin + limit)
            chunks = await self._workers.foreground(self._contents.read, content, begin, end)
            self._keep(content.id, enumerate(chunks, begin))
            found.update(enumerate(chunks, begin))
        return found

    def _keep(self, content: ContentId, chunks: Iterable[tuple[int, bytes]]) -> None:
        for n, chunk in chunks:
            self._cache.put(content, n, chunk)


def _batch(content: Content) -> int:
    return max(1, min(FETCH_CHUNKS, FETCH_BYTES // content.chunk_size))
