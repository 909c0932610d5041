"""Bytes of local files into contents: hashed on the way, verified if that is asked for."""

import contextlib
import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Final

from xxhash import xxh3_64_digest

from gridfsmount.core.chunks import HASH_BYTES, MAX_CHUNKS, MAX_HASHES, chunk_count
from gridfsmount.core.model import Content, ContentId, Inode
from gridfsmount.errors import Damaged, FileSystemError, FileTooBig
from gridfsmount.repeating import repeating
from gridfsmount.store.lake import Lake
from gridfsmount.transfer.local import Source
from gridfsmount.transfer.report import Report

INSERT_BYTES: Final = 4 << 20
"""Bytes of one insert: measured as fast as larger ones."""

IN_FLIGHT: Final = 4
"""Inserts under way: each holds its bytes about three times on its way to the socket."""

VERIFY_BYTES: Final = 8 << 20
"""Bytes of one query that reads back."""


class Upload:
    """One content on its way to the server, its chunks in order. For one thread."""

    def __init__(
        self, uploader: "Uploader", target: ContentId, chunk_size: int, kept: Content | None = None
    ) -> None:
        """Send to `target`, through `uploader`, what follows the full chunks of `kept`.

        Those are there already, copied from a content of the same chunk size.
        """
        self._uploader = uploader
        self._target = target
        self._chunk_size = chunk_size
        self._flights: deque[Future[None]] = deque()
        self._digest = hashlib.sha256() if kept is None else None
        self._count = 0 if kept is None else kept.length // chunk_size
        self._hashes: bytearray | None = bytearray()
        if kept is not None:
            known = kept.chunk_xxh3
            self._hashes = None if known is None else bytearray(known[: self._count * HASH_BYTES])
        self.size = self._count * chunk_size
        """Bytes of the content so far."""

    def send(self, chunks: Sequence[bytes]) -> None:
        """Send the next chunks: all full, but for the very last.

        Raises:
            FileTooBig: GridFS could not number them.
            FileSystemError: the server did not take earlier ones.
        """
        if self._count + len(chunks) > MAX_CHUNKS:
            raise FileTooBig(f"it would have more than {MAX_CHUNKS:,} chunks")
        self._flights.append(self._uploader.send(self._target, self._count, chunks))
        for chunk in chunks:  # hashed while they are on their way
            if self._digest is not None:
                self._digest.update(chunk)
            if self._hashes is not None:
                self._hashes += xxh3_64_digest(chunk)
            self.size += len(chunk)
        self._count += len(chunks)
        while self._flights and self._flights[0].done():
            self._flights.popleft().result()

    def wait(self) -> None:
        """Return when none is under way any more, whatever became of them."""
        for each in self._flights:
            each.exception()

    def content(self) -> Content:
        """The content, ready to be published; waits for what is under way.

        Raises:
            FileSystemError: the server did not take all of it.
        """
        self.wait()
        for each in self._flights:
            each.result()
        known = self._hashes
        return Content(
            self._target,
            self.size,
            self._chunk_size,
            None if self._digest is None else self._digest.digest(),
            bytes(known) if known is not None and len(known) <= MAX_HASHES else None,
        )


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
        upload = Upload(self, target, self._chunk_size)
        try:
            for chunks in self._groups(source):
                self._report.check()
                upload.send(chunks)
        finally:
            # Whatever happened, none may arrive after the content was given up.
            upload.wait()
        content = upload.content()
        source.check(content.length)
        return content

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

    def send(self, target: ContentId, first: int, chunks: Sequence[bytes]) -> Future[None]:
        """Send chunks from number `first` on in the background, after others if there are many."""
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


def renewing(lake: Lake) -> AbstractContextManager[None]:
    """Keep the leases of all that is being written while a block runs."""

    def renew() -> None:
        if lake.leases.active:
            with contextlib.suppress(FileSystemError):  # an outage only postpones it
                lake.leases.renew()

    return repeating(renew, lake.leases.seconds / 4, "renew")
