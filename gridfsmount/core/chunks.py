"""Arithmetic on chunks: which chunk holds which byte.

GridFS cuts a file into chunks of `chunk_size` bytes, numbered from 0; only the last may be
shorter, and an empty file has none (GridFS specification, "Terms").
"""

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

Bytes: TypeAlias = bytes | memoryview
"""A chunk or a piece of one: a view spares a copy of a megabyte."""

DEFAULT_CHUNK_SIZE: Final = 1 << 20
"""1 MiB: measured faster than the drivers' 255 KiB in both directions."""

MIN_CHUNK_SIZE: Final = 4 << 10
"""4 KiB: one page; below that the documents' overhead exceeds the data."""

MAX_CHUNK_SIZE: Final = 8 << 20
"""8 MiB: half of the 16 MiB that a BSON document may have."""

MAX_CHUNKS: Final = (1 << 31) - 1
"""`n` is an int32."""

HASH_BYTES: Final = 8
"""Length of one XXH3-64."""

MAX_HASHES: Final = 8 << 20
"""Bytes of chunk hashes that a files document may hold, of the 16 MiB that it has at most: those
of 1 TiB in chunks of 1 MiB. Larger files go without."""


class Span(NamedTuple):
    """A piece of one chunk: bytes `start` to `stop` of chunk `n`."""

    n: int
    start: int
    stop: int


def chunk_count(length: int, chunk_size: int) -> int:
    """Number of chunks of a file of `length` bytes."""
    return -(-length // chunk_size)


def chunk_length(n: int, length: int, chunk_size: int) -> int:
    """Bytes that chunk `n` of a file of `length` bytes holds; 0 beyond its end."""
    return max(0, min(chunk_size, length - n * chunk_size))


def spans(offset: int, size: int, chunk_size: int) -> Iterator[Span]:
    """Cut the `size` bytes from `offset` into pieces that each lie in one chunk."""
    end = offset + size
    while offset < end:
        n, start = divmod(offset, chunk_size)
        stop = min(chunk_size, start + end - offset)
        yield Span(n, start, stop)
        offset += stop - start


def runs(numbers: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Join ascending numbers into half-open ranges `(first, past the last)`."""
    first = last = None
    for number in numbers:
        if last is not None and number == last + 1:
            last = number
            continue
        if first is not None and last is not None:
            yield first, last + 1
        first = last = number
    if first is not None and last is not None:
        yield first, last + 1


def packed_hash(packed: bytes | None, n: int) -> bytes | None:
    """Hash of chunk `n` in a packed list; None when the list does not know it."""
    if packed is None:
        return None
    found = packed[n * HASH_BYTES : (n + 1) * HASH_BYTES]
    return found if len(found) == HASH_BYTES else None
