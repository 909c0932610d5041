"""The uncommitted state of one file: its chunks are the pages that writes dirty.

Nothing here is visible to anybody else before the commit. Full chunks go to the server, under the
identity of a content that is not published yet, as soon as more than a few are in memory; a chunk
that is written again is fetched back and replaced. The calls on one writer must not overlap; its
owner holds a lock around them.
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import trio
from xxhash import xxh3_64_digest

from gridfsmount.core.chunks import (
    HASH_BYTES,
    MAX_CHUNK_SIZE,
    MAX_CHUNKS,
    MIN_CHUNK_SIZE,
    Bytes,
    chunk_count,
    chunk_length,
    packed_hash,
    runs,
    spans,
)
from gridfsmount.core.model import Content, ContentId, Inode
from gridfsmount.errors import FileTooBig
from gridfsmount.store.contents import Contents
from gridfsmount.store.leases import Leases
from gridfsmount.workers import Workers

log = logging.getLogger(__name__)

BATCH_BYTES: Final = 4 << 20
"""Bytes of one insert: measured as fast as larger ones, and bounds the copy that it takes."""

WRITER_BYTES: Final = 8 << 20
"""Dirty bytes that one writer keeps before it uploads."""

DIRTY_BYTES: Final = 64 << 20
"""Dirty bytes of all writers together; above, each keeps as little as it can."""


MAX_HASHES: Final = 8 << 20
"""Bytes of chunk hashes that a files document may hold, of the 16 MiB that it has at most: those
of 1 TiB in chunks of 1 MiB. Larger files go without."""

CHUNKS_AT_ONCE: Final = 4096
"""Chunks that are looked at before other tasks get their turn."""

ReadContent: TypeAlias = Callable[[Content, int, int], Awaitable[Bytes]]
"""Bytes of a content: content, offset, size."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A content that is ready to be published."""

    content: Content
    pages: tuple[tuple[int, bytes], ...] = ()
    """All of its chunks, when they go to the server together with the files document."""


class DirtyBudget:
    """How many dirty bytes all writers of a mount hold."""

    def __init__(self, limit: int = DIRTY_BYTES) -> None:
        """Start at zero of `limit` bytes."""
        self.limit = limit
        self.used = 0

    @property
    def exceeded(self) -> bool:
        """Whether writers should give back what they can."""
        return self.used > self.limit

    @property
    def far_exceeded(self) -> bool:
        """Whether even the pages that are being filled must go, to be fetched back later."""
        return self.used > 2 * self.limit


class ChunkedWriter:
    """What a file will be when it is committed."""

    def __init__(
        self,
        *,
        contents: Contents,
        leases: Leases,
        read_base: ReadContent,
        workers: Workers,
        budget: DirtyBudget,
        inode: Inode,
        name: str,
        base: Content | None,
        chunk_size: int,
        whole: bool,
    ) -> None:
        """Start from the content `base`; `chunk_size` serves where that has none to keep.

        `whole`: a small content may be handed over whole, to be committed in one transaction.
        """
        self._whole = whole
        self._contents = contents
        self._leases = leases
        self._read_base = read_base
        self._workers = workers
        self._budget = budget
        self._inode = inode
        self._name = name
        self._default_chunk_size = chunk_size
        self._base = base
        self._kept = 0 if base is None else base.length
        """Bytes of the base, from its start, that no truncation has cut off."""
        # Chunks of the size that the base has can be copied inside the server.
        self._chunk_size = chunk_size
        if base is not None and base.length and MIN_CHUNK_SIZE <= base.chunk_size <= MAX_CHUNK_SIZE:
            self._chunk_size = base.chunk_size
        self.size = self._kept
        self._pages: dict[int, bytearray] = {}
        self._memory = 0
        self._uploaded: dict[int, tuple[int, bytes]] = {}
        """Length and hash of the chunks on the server under `_target`."""
        self._target: ContentId | None = None
        self._sha256 = hashlib.sha256()
        self._hashed = 0
        """Number of full chunks, from the first on, that `_sha256` has taken in."""
        self._tail: tuple[int, bytes] = (-1, b"")
        """The chunk after those, as it was last uploaded while not full."""
        self._past = 0
        """Number after the highest chunk that was uploaded for `_target`."""

    async def write(self, offset: int, data: bytes) -> None:
        """Put `data` at `offset`; what lies between the old end and there reads as zeros.

        Raises:
            FileTooBig: GridFS could not number the chunks.
        """
        self._check_size(offset + len(data))
        view = memoryview(data)
        taken = 0
        for n, start, stop in spans(offset, len(data), self._chunk_size):
            page = await self._page(n, replaced=(start, stop))
            before = len(page)
            if before < start:
                page.extend(bytes(start - before))
            page[start:stop] = view[taken : taken + stop - start]
            taken += stop - start
            self._account(len(page) - before)
            self.size = max(self.size, n * self._chunk_size + stop)
            if self._memory > WRITER_BYTES or self._budget.exceeded:
                await self._spill(current=n)

    async def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`, as a reader of this machine sees them now."""
        stop = min(offset + size, self.size)
        pieces = []
        for n, begin, end in spans(offset, max(0, stop - offset), self._chunk_size):
            page = await self._look(n, begin, end)
            pieces.append(page + bytes(end - begin - len(page)))
        return b"".join(pieces)

    async def truncate(self, size: int) -> None:
        """Cut the file, or extend it with zeros.

        Raises:
            FileTooBig: GridFS could not number the chunks.
        """
        self._check_size(size)
        if size < self.size:
            last, rest = divmod(size, self._chunk_size)
            if rest:
                page = await self._page(last)
                self._account(min(0, rest - len(page)))
                del page[rest:]
            past = last + 1 if rest else last
            for n in [n for n in self._pages if n >= past]:
                self._account(-len(self._pages.pop(n)))
            for n in [n for n in self._uploaded if n >= past]:
                del self._uploaded[n]
            if self._hashed > past:
                self._forget_hash()
            self._kept = min(self._kept, size)
        self.size = size
        if size == 0:
            self._hashed = 0
            self._sha256 = hashlib.sha256()
            if self._target is None:
                self._chunk_size = self._default_chunk_size

    async def finish(self) -> Finished | None:
        """Bring all chunks to the server, or hand them over; None when the file is empty.

        May be called again after a failure: what arrived is not sent twice.
        """
        if self.size == 0:
            return None
        count = chunk_count(self.size, self._chunk_size)
        if self._whole and self._target is None and self.size <= BATCH_BYTES:
            return await self._hand_over(count)
        target = await self._lease()
        copied: list[int] = []
        batch: list[int] = []
        for n in range(count):
            if n % CHUNKS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            if self._is_copyable(n):
                copied.append(n)
            elif not self._is_uploaded(n):
                await self._complete(n)
                batch.append(n)
            if len(batch) * self._chunk_size >= BATCH_BYTES:
                await self._upload(batch)
                batch = []
        await self._upload(batch)
        if copied and self._base is not None:
            ranges = list(runs(iter(copied)))
            self._past = max(self._past, copied[-1] + 1)
            await self._workers.foreground(
                self._contents.copy_chunks, self._base.id, target, ranges
            )
        if self._past > count:
            await self._workers.foreground(self._contents.trim_chunks, target, count)
        hashes = b"".join(self._known_hashes(count))
        return Finished(self._content(target, count, hashes))

    async def _hand_over(self, count: int) -> Finished:
        pages = tuple([(n, bytes(await self._complete(n))) for n in range(count)])
        self._sha256, self._hashed = hashlib.sha256(), 0
        hashes = await self._workers.foreground(self._hash, pages)
        content = self._content(self._contents.new_id(), count, b"".join(hashes))
        return Finished(content, pages)

    def _content(self, target: ContentId, count: int, hashes: bytes) -> Content:
        known = hashes if len(hashes) == count * HASH_BYTES <= MAX_HASHES else None
        return Content(target, self.size, self._chunk_size, self._digest(count), known)

    async def _complete(self, n: int) -> bytearray:
        """The page of chunk `n`, filled up to the length that it will have."""
        page = await self._page(n)
        missing = chunk_length(n, self.size, self._chunk_size) - len(page)
        page.extend(bytes(missing))
        self._account(missing)
        return page

    def committed(self, content: Content | None) -> None:
        """What `finish` returned is the file's content now; go on from there."""
        self._base = content
        self._kept = self.size
        self._target = None
        self._past = 0
        self._uploaded.clear()
        self.drop_pages()

    def drop_pages(self) -> None:
        """Give back all memory; what was not committed is lost."""
        self._pages.clear()
        self._account(-self._memory)

    @property
    def target(self) -> ContentId | None:
        """The content that chunks were uploaded for and that is not committed."""
        return self._target

    @property
    def base(self) -> Content | None:
        """The content that this started from."""
        return self._base

    def _check_size(self, size: int) -> None:
        if chunk_count(size, self._chunk_size) > MAX_CHUNKS:
            raise FileTooBig(f"{self._name}: {size} bytes in chunks of {self._chunk_size}")

    def _account(self, change: int) -> None:
        self._memory += change
        self._budget.used += change

    def _base_length(self, n: int) -> int:
        """Bytes of chunk `n` that come from the base."""
        return chunk_length(n, self._kept, self._chunk_size)

    def _is_copyable(self, n: int) -> bool:
        """Whether the base has exactly this chunk, and nothing newer is known of it."""
        if self._base is None or self._base.chunk_size != self._chunk_size:
            return False
        if n in self._pages or n in self._uploaded:
            return False
        length = chunk_length(n, self.size, self._chunk_size)
        return (
            self._base_length(n) == length
            and chunk_length(n, self._base.length, self._chunk_size) == length
        )

    def _is_uploaded(self, n: int) -> bool:
        known = self._uploaded.get(n)
        return (
            n not in self._pages
            and known is not None
            and known[0] == chunk_length(n, self.size, self._chunk_size)
        )

    async def _page(self, n: int, replaced: tuple[int, int] | None = None) -> bytearray:
        """The page of chunk `n`, with what it held, unless all of that is about to be replaced."""
        page = self._pages.get(n)
        if page is None:
            length = chunk_length(n, self.size, self._chunk_size)
            if replaced is not None and replaced[0] == 0 and replaced[1] >= length:
                page = bytearray()
            else:
                page = bytearray(await self._look(n, 0, self._chunk_size))
            self._pages[n] = page
            self._account(len(page))
        self._uploaded.pop(n, None)
        if n < self._hashed:
            self._forget_hash()
        return page

    async def _look(self, n: int, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` of chunk `n`; fewer where nothing was written yet."""
        page = self._pages.get(n)
        if page is not None:
            return bytes(page[start:stop])
        if n in self._uploaded and self._target is not None:
            length, _ = self._uploaded[n]
            # A content that ends with this chunk, to read and check just that.
            partial = Content(self._target, n * self._chunk_size + length, self._chunk_size)
            (chunk,) = await self._workers.foreground(self._contents.read, partial, n, n + 1)
            return chunk[start:stop]
        length = min(stop, self._base_length(n)) - start
        if self._base is None or length <= 0:
            return b""
        return bytes(await self._read_base(self._base, n * self._chunk_size + start, length))

    async def _spill(self, current: int) -> None:
        """Upload pages, the one that is being filled last."""
        full = [n for n, page in self._pages.items() if n != current]
        limit = max(1, BATCH_BYTES // self._chunk_size)
        for index in range(0, len(full), limit):
            await self._upload(sorted(full)[index : index + limit])
        if self._budget.far_exceeded and current in self._pages:
            await self._upload([current])

    async def _lease(self) -> ContentId:
        if self._target is None:
            target = self._contents.new_id()
            await self._workers.foreground(self._leases.take, target, self._inode, self._name)
            self._target = target
        return self._target

    async def _upload(self, numbers: list[int]) -> None:
        if not numbers:
            return
        target = await self._lease()
        pages = [(n, bytes(self._pages[n])) for n in numbers]
        self._past = max(self._past, numbers[-1] + 1)
        hashes = await self._workers.foreground(self._send, target, pages)
        for (n, page), digest in zip(pages, hashes, strict=True):
            self._uploaded[n] = (len(page), digest)
            self._account(-len(self._pages.pop(n)))

    def _send(self, target: ContentId, pages: Sequence[tuple[int, bytes]]) -> list[bytes]:
        self._contents.put_chunks(target, pages)
        return self._hash(pages)

    def _hash(self, pages: Sequence[tuple[int, bytes]]) -> list[bytes]:
        for n, page in pages:
            if n == self._hashed and len(page) == self._chunk_size:
                self._sha256.update(page)
                self._hashed += 1
            elif n == self._hashed:
                self._tail = (n, page)
        return [xxh3_64_digest(page) for _, page in pages]

    def _forget_hash(self) -> None:
        # Never reached again by counting up: the digest stays unknown until the file is emptied.
        self._hashed = -1

    def _digest(self, count: int) -> bytes | None:
        if self._hashed == count:
            return self._sha256.digest()
        tail, page = self._tail
        if self._hashed == count - 1 == tail and len(page) + tail * self._chunk_size == self.size:
            whole = self._sha256.copy()
            whole.update(page)
            return whole.digest()
        return None

    def _known_hashes(self, count: int) -> Iterator[bytes]:
        base = None if self._base is None else self._base.chunk_xxh3
        for n in range(count):
            uploaded = self._uploaded.get(n)
            known = uploaded[1] if uploaded is not None else packed_hash(base, n)
            if known is not None:
                yield known
