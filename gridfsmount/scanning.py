"""Contents read through: every chunk, each content's in order, a few queries ahead.

Blocking. Memory is bounded by the queries in flight, whatever the contents are.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from gridfsmount.core.chunks import chunk_count
from gridfsmount.core.model import Content
from gridfsmount.errors import Damaged
from gridfsmount.store.lake import Lake

READ_BYTES: Final = 8 << 20
"""Bytes of one query."""

READ_CHUNKS: Final = 10_000
"""Chunks of one query, should they be tiny: each takes some hundred bytes by itself."""

SMALL: Final = 256 << 10
"""Contents up to this size come many in one query."""

TOGETHER: Final = 1000
"""Contents of one query."""

PLAUSIBLE: Final = 100
"""Queries for one content before it is asked, each time, whether there is more of it."""

IN_FLIGHT: Final = 4
"""Queries at once, and pieces of READ_BYTES in memory."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring chunks of a content."""

    content: Content
    first: int
    chunks: list[bytes | Damaged | None]
    """What is wrong in place of a damaged one, None in place of one that is missing."""


_Flight: TypeAlias = Callable[[], list[Piece]]


def scan(lake: Lake, contents: Iterable[Content], in_flight: int = IN_FLIGHT) -> Iterator[Piece]:
    """All chunks of contents, in order; an empty content has one piece without chunks.

    Where much of a large content is missing, one chunk that is missing stands for all in a row.

    Raises:
        FileSystemError: the server gives no answer.
    """
    with ThreadPoolExecutor(in_flight, thread_name_prefix="scan") as pool:
        flights: deque[Future[list[Piece]]] = deque()
        try:
            for flight in _flights(lake, contents):
                if len(flights) == in_flight:
                    yield from flights.popleft().result()
                flights.append(pool.submit(flight))
            while flights:
                yield from flights.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _flights(lake: Lake, contents: Iterable[Content]) -> Iterator[_Flight]:
    """Queries that bring everything: many small contents in one, a large one in several."""
    group: list[Content] = []
    size = chunks = 0
    for content in contents:
        count = chunk_count(content.length, content.chunk_size)
        large = content.length > SMALL or count > READ_CHUNKS
        if group and (
            large
            or size + content.length > READ_BYTES
            or chunks + count > READ_CHUNKS
            or len(group) == TOGETHER
        ):
            yield partial(_fly_whole, lake, group)
            group, size, chunks = [], 0, 0
        if large:
            yield from _flights_of(lake, content, count)
            continue
        group.append(content)
        size += content.length
        chunks += count
    if group:
        yield partial(_fly_whole, lake, group)


def _flights_of(lake: Lake, content: Content, count: int) -> Iterator[_Flight]:
    """Queries for a large content; where nothing of it is there, one piece says so.

    A length may be anything, and whoever believes one would ask for what is not there for years.
    """
    step = max(1, min(READ_CHUNKS, READ_BYTES // content.chunk_size))
    first = 0
    while first < count:
        if count > PLAUSIBLE * step:
            there = lake.contents.next_chunk(content.id, first)
            if there is None or there >= count:
                yield partial(_missing, content, count - 1)
                return
            if there > first:
                yield partial(_missing, content, first)
                first = there
        past = min(first + step, count)
        yield partial(_fly, lake, content, first, past)
        first = past


def _missing(content: Content, n: int) -> list[Piece]:
    return [Piece(content, n, [None])]


def _fly(lake: Lake, content: Content, first: int, past: int) -> list[Piece]:
    return [Piece(content, first, lake.contents.examine(content, first, past))]


def _fly_whole(lake: Lake, contents: Sequence[Content]) -> list[Piece]:
    found = iter(lake.contents.examine_whole([each for each in contents if each.length]))
    return [Piece(each, 0, next(found) if each.length else []) for each in contents]
