"""Bytes of local files into contents: hashed on the way, verified if that is asked for."""

import contextlib
import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from xxhash import xxh3_64_digest

from gridfsmount.core.chunks import MAX_CHUNKS, MAX_HASHES, chunk_count
from gridfsmount.core.model import Content, ContentId, Inode
from gridfsmount.errors import Damaged, FileSystemError, FileTooBig
from gridfsmount.store.lake import Lake
from gridfsmount.transfer.local import Source
from gridfsmount.transfer.report import Report

INSERT_BYTES: Final = 4 << 20
"""Bytes of one insert: measured as fast as larger ones."""

IN_FLIGHT: Final = 4
"""Inserts under way: each holds its bytes about three times on its way to the socket."""

VERIFY_BYTES: Final = 8 << 20
"""Bytes of one query that reads back."""


class Uploader:
    """Writes contents of large files; safe to share."""

    def __init__(self, lake: Lake, report: Report, chunk_size: int) -> None:
        """Write chunks of `chunk_size` bytes."""
        self._lake = lake
        self._report = report
        self._chunk_size = chunk_size
        self._pool = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="insert")
        self._room = threading.BoundedSemaphore(IN_FLIGHT)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    @contextlib.contextmanager
    def leased(self, inode: Inode, name: str) -> Iterator[ContentId]:
        """A content to write; its chunks go again if the block fails."""
        content = self._lake.contents.new_id()
        self._lake.leases.take(content, inode, name)
        try:
            yield content
        except BaseException:
            # What cannot be removed now is removed by the sweep.
            with contextlib.suppress(FileSystemError):
                self._lake.commits.abandon(content)
            raise

    def upload(self, source: Source, target: ContentId) -> Content:
        """Send all chunks, and return the content that is ready to be published.

        Raises:
            Halted: the transfer ends.
            Changed: somebody wrote to the file meanwhile.
            FileTooBig: GridFS could not number its chunks.
            FileSystemError: the server took them not.
        """
        count = chunk_count(source.status.st_size, self._chunk_size)
        if count > MAX_CHUNKS:
            raise FileTooBig(f"it would have more than {MAX_CHUNKS:,} chunks")
        digest = hashlib.sha256()
        hashes = bytearray()
        flights: deque[Future[None]] = deque()
        size = n = 0
        try:
            for chunks in self._groups(source):
                self._report.check()
                flights.append(self._send(target, n, chunks))
                for chunk in chunks:  # hashed while they are on their way
                    digest.update(chunk)
                    hashes += xxh3_64_digest(chunk)
                    size += len(chunk)
                n += len(chunks)
                while flights and flights[0].done():
                    flights.popleft().result()
        finally:
            # Whatever happened, none may arrive after the content was given up.
            errors = [error for each in flights if (error := each.exception()) is not None]
        if errors:
            raise errors[0]
        source.check(size)
        known = bytes(hashes) if len(hashes) <= MAX_HASHES else None
        return Content(target, size, self._chunk_size, digest.digest(), known)

    def verify(self, content: Content) -> None:
        """Read it all back from the server.

        Raises:
            Damaged: it is not what was sent.
        """
        count = chunk_count(content.length, content.chunk_size)
        step = max(1, VERIFY_BYTES // content.chunk_size)
        digest = hashlib.sha256()
        for first in range(0, count, step):
            self._report.check()
            for chunk in self._lake.contents.read(content, first, min(count, first + step)):
                digest.update(chunk)
        if digest.digest() != content.sha256:
            raise Damaged("what the server returns is not what was sent")

    def _groups(self, source: Source) -> Iterator[list[bytes]]:
        """Chunks in groups of one insert; no more than the file had when it was opened, and one."""
        most = max(1, INSERT_BYTES // self._chunk_size)
        left = source.status.st_size + 1  # a byte more shows that it grew
        group: list[bytes] = []
        while left > 0 and (chunk := source.read(min(self._chunk_size, left))):
            left -= len(chunk)
            group.append(chunk)
            if len(group) == most:
                yield group
                group = []
        if group:
            yield group

    def _send(self, target: ContentId, first: int, chunks: Sequence[bytes]) -> Future[None]:
        self._room.acquire()
        return self._pool.submit(
            self._releasing, lambda: self._put(target, list(enumerate(chunks, first)))
        )

    def _put(self, target: ContentId, chunks: list[tuple[int, bytes]]) -> None:
        self._lake.contents.put_chunks(target, chunks)
        self._report.moved(sum(len(data) for _, data in chunks))

    def _releasing(self, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            self._room.release()


def whole_content(content: ContentId, data: bytes, chunk_size: int) -> tuple[Content, list[bytes]]:
    """A content and its chunks, from all of its bytes."""
    if len(data) <= chunk_size:
        chunks = [data]
    else:
        chunks = [data[at : at + chunk_size] for at in range(0, len(data), chunk_size)]
    hashes = b"".join([xxh3_64_digest(chunk) for chunk in chunks])
    digest = hashlib.sha256(data).digest()
    return Content(content, len(data), chunk_size, digest, hashes), chunks
