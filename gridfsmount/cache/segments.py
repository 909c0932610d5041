"""One segment of the disk cache: how consecutive chunks of a content lie in one file.

A content is cut into segments of as many chunks as make `SEGMENT_BYTES` (at least one, at most
`MAX_SLOTS`). The file of a segment, all of it at fixed places:

    0            8 bytes    MAGIC
    8            16 bytes   key of the content (see `content_key`)
    24           8 bytes    number of the segment, big-endian
    32           8 bytes    for each chunk: XXH3-64 of its bytes, big-endian; zero: not here
    data start              the chunks, chunk_size bytes apart, the last one of the content shorter

The data start at the first multiple of `PAGE` after the hashes. Chunks that are not here are holes.

A chunk's bytes are written before its hash and believed only if they have that hash, so a reader
never waits for a writer, in this process or another: whatever is half there is a miss. Nothing is
locked, flushed or renamed. Knows files and bytes, not where the files lie or how many there may be.
"""

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

from xxhash import xxh3_64_digest

from gridfsmount.core.chunks import HASH_BYTES, chunk_count, chunk_length, packed_hash, runs
from gridfsmount.core.model import Content

MAGIC: Final = b"gfm-seg1"

PREFIX_BYTES: Final = 32
"""What precedes the hashes."""

PAGE: Final = 4096
"""Bytes: the data start at a multiple of it, and disks give space in units of it."""

SEGMENT_BYTES: Final = 16 << 20
"""Most bytes of chunks in a segment: few files to count, and small steps to evict in."""

MAX_SLOTS: Final = 4096
"""Most chunks in a segment: foreign chunks may be a few bytes, the hashes shall fill 32 KiB."""

ONE_READ_BYTES: Final = 64 << 10
"""A file up to this long is read at once, hashes and chunks together: most files of a training
set of small ones."""

IOV_MAX: Final = 1024
"""Buffers that one `pwritev` takes (limits.h)."""

KEY_BYTES: Final = 16

ABSENT: Final = bytes(HASH_BYTES)
"""The hash of a chunk that is not here; one that really has it is never cached."""


class ForeignSegment(Exception):
    """The file is nothing that this cache wrote under that name."""


class Piece(NamedTuple):
    """One chunk to be written."""

    n: int
    data: bytes | memoryview
    digest: bytes


class Read(NamedTuple):
    """What was found of a range of chunks."""

    chunks: list[memoryview | None]
    """Chunk by chunk: verified bytes, or None."""
    altered: list[int]
    """Numbers of the chunks whose bytes are not those that were written."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Where things lie in one segment's file."""

    name: str
    """Path of the file, relative to the folder of segments."""
    prefix: bytes
    content: Content
    first: int
    """Number of its first chunk."""
    past: int
    """One more than the number of its last chunk."""
    data_start: int

    def slot(self, n: int) -> int:
        """Where the hash of chunk `n` lies."""
        return PREFIX_BYTES + (n - self.first) * HASH_BYTES

    def offset(self, n: int) -> int:
        """Where the bytes of chunk `n` begin; for the number past the last one, where they end."""
        start = self.data_start + (n - self.first) * self.content.chunk_size
        return min(start, self.size)

    @property
    def size(self) -> int:
        """Bytes of the file when all chunks are here."""
        start = self.first * self.content.chunk_size
        stop = min(self.past * self.content.chunk_size, self.content.length)
        return self.data_start + stop - start

    def cost(self, pieces: Sequence[Piece]) -> int:
        """Most bytes of disk that the file can grow by when `pieces` are written."""
        pages = 0
        for begin, end in runs(piece.n for piece in pieces):
            pages += -(-self.offset(end) // PAGE) - self.offset(begin) // PAGE
        return self.data_start + pages * PAGE


def content_key(lake: str, content: Content) -> bytes:
    """What the segments of a content are filed under: all that tells it from any other content.

    An `_id` alone does not: it may occur in two lakes, and other clients may remove a content and
    upload another one under the same `_id`. Where all hashes are known, they do, so that what a
    snapshot shows is found under the same key as what the lake shows.
    """
    if content.sha256 is not None and content.chunk_xxh3 is not None:
        identity = (b"sha256", content.sha256, b"")
    else:
        identity = (b"_id", content.id.bson, b"%d" % content.uploaded_ms)
    parts = (
        lake.encode(),
        *identity,
        b"%d" % content.length,
        b"%d" % content.chunk_size,
        content.chunk_xxh3 or b"",
    )
    digest = hashlib.blake2b(digest_size=KEY_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def cut(content: Content, key: bytes, first: int, past: int) -> Iterator[tuple[Segment, int, int]]:
    """Cut chunks `first` to `past` by segments: each with the part of the range it holds."""
    slots = _slots(content)
    count = chunk_count(content.length, content.chunk_size)
    name = key.hex()
    while first < past:
        number = first // slots
        begin = number * slots
        # Beyond the end of the content there is a segment too, without chunks.
        end = max(begin, min(begin + slots, count))
        stop = min(past, begin + slots)
        hashes_end = PREFIX_BYTES + (end - begin) * HASH_BYTES
        segment = Segment(
            name=f"{name[:2]}/{name}-{number}",
            prefix=MAGIC + key + number.to_bytes(8, "big"),
            content=content,
            first=begin,
            past=end,
            data_start=-(-hashes_end // PAGE) * PAGE,
        )
        yield segment, first, stop
        first = stop


def batches(
    content: Content, key: bytes, chunks: Iterable[tuple[int, bytes | memoryview]]
) -> Iterator[tuple[Segment, list[Piece]]]:
    """Sort chunks by segments, ready to be written, without those that are not the content's."""
    slots = _slots(content)
    pieces = {n: piece for n, data in chunks if (piece := _check(content, n, data)) is not None}
    for _, numbers in groupby(sorted(pieces), lambda n: n // slots):
        batch = [pieces[n] for n in numbers]
        segment, _, _ = next(cut(content, key, batch[0].n, batch[-1].n + 1))
        yield segment, batch


def present(descriptor: int, segment: Segment, first: int, past: int) -> bool:
    """Whether all these chunks are said to be here; their bytes are not looked at.

    Raises:
        ForeignSegment: the file is not this segment's.
        OSError: the file cannot be read.
    """
    head = os.pread(descriptor, segment.slot(past), 0)
    return len(_wanted(head, segment, first, past)) == past - first


def read(descriptor: int, segment: Segment, first: int, past: int) -> Read:
    """Chunks `first` to `past`, verified.

    Raises:
        ForeignSegment: the file is not this segment's.
        OSError: the file cannot be read.
    """
    at_once = segment.size <= ONE_READ_BYTES
    head = os.pread(descriptor, segment.size if at_once else segment.slot(past), 0)
    wanted = _wanted(head, segment, first, past)
    found = Read([None] * (past - first), [])
    for begin, end in runs(iter(wanted)):
        start, stop = segment.offset(begin), segment.offset(end)
        if at_once:
            data = memoryview(head)[start:stop]
        else:
            data = memoryview(os.pread(descriptor, stop - start, start))
        for n in range(begin, end):
            chunk = data[segment.offset(n) - start : segment.offset(n + 1) - start]
            # Shorter than it should be, where the file is cut off: it has another hash then.
            if xxh3_64_digest(chunk) == wanted[n]:
                found.chunks[n - first] = chunk
            else:
                found.altered.append(n)
    return found


def write(descriptor: int, segment: Segment, pieces: Sequence[Piece]) -> None:
    """Write chunks, in ascending order, those that are not there yet.

    Raises:
        ForeignSegment: the file is not this segment's.
        OSError: the file cannot be written.
    """
    head = os.pread(descriptor, segment.slot(pieces[-1].n + 1), 0)
    fresh = not _is_begun(head, segment)
    missing = {
        piece.n: piece
        for piece in pieces
        if head[segment.slot(piece.n) : segment.slot(piece.n + 1)] != piece.digest or fresh
    }
    stretches = list(runs(iter(missing)))
    for begin, end in stretches:
        _write_all(descriptor, [missing[n].data for n in range(begin, end)], segment.offset(begin))
    for begin, end in stretches:
        # Nothing but our own slots, since somebody else may be writing the others.
        hashes = b"".join(missing[n].digest for n in range(begin, end))
        if fresh and begin == segment.first:
            _write_all(descriptor, [segment.prefix + hashes], 0)
            fresh = False
        else:
            _write_all(descriptor, [hashes], segment.slot(begin))
    if fresh:
        _write_all(descriptor, [segment.prefix], 0)


def forget(descriptor: int, segment: Segment, numbers: Sequence[int]) -> None:
    """Mark chunks as not here, so that they are written again.

    Raises:
        OSError: the file cannot be written.
    """
    for n in numbers:
        _write_all(descriptor, [ABSENT], segment.slot(n))


def _slots(content: Content) -> int:
    return max(1, min(MAX_SLOTS, SEGMENT_BYTES // content.chunk_size))


def _check(content: Content, n: int, data: bytes | memoryview) -> Piece | None:
    length = chunk_length(n, content.length, content.chunk_size)
    if n < 0 or not length or len(data) != length:
        return None
    digest = xxh3_64_digest(data)
    if digest == ABSENT or packed_hash(content.chunk_xxh3, n) not in {None, digest}:
        return None
    return Piece(n, data, digest)


def _wanted(head: bytes, segment: Segment, first: int, past: int) -> dict[int, bytes]:
    """Hashes of the chunks in the range that are here and can be what the content says."""
    if not _is_begun(head, segment):
        return {}
    found = {}
    for n in range(first, min(past, segment.past)):
        digest = head[segment.slot(n) : segment.slot(n + 1)]
        known = packed_hash(segment.content.chunk_xxh3, n)
        if len(digest) == HASH_BYTES and digest != ABSENT and known in {None, digest}:
            found[n] = digest
    return found


def _is_begun(head: bytes, segment: Segment) -> bool:
    """Whether the file has its prefix yet: it is written after the first chunks."""
    prefix = head[:PREFIX_BYTES]
    if prefix == segment.prefix:
        return True
    if prefix.strip(b"\0"):
        raise ForeignSegment
    return False


def _write_all(descriptor: int, buffers: Sequence[bytes | memoryview], offset: int) -> None:
    for at in range(0, len(buffers), IOV_MAX):
        batch = buffers[at : at + IOV_MAX]
        size = sum(map(len, batch))
        if os.pwritev(descriptor, batch, offset) < size:  # what a disk does that runs full
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        offset += size
