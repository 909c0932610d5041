"""The uncommitted state of one file: its chunks are the pages that writes dirty.

Nothing here is visible to anybody else before the commit. Chunks that are full go to the server in
the background while the program goes on writing, several *flights* at once, under the identity of
a content that is not published yet; a chunk that is written again is replaced there. Memory is
bounded: a write waits for flights to land when there is more than the writer may keep.

The calls on one writer must not overlap, and its owner holds a lock around them; flights run
beside them. What fails in a flight is back in memory, and the next write or commit tells: a write
raises, a commit tries once more.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final, TypeAlias

import trio

from gridfsmount.core.chunks import (
    HASH_BYTES,
    MAX_CHUNK_SIZE,
    MAX_CHUNKS,
    MAX_HASHES,
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
from gridfsmount.workers import Errands, Workers
from gridfsmount.writing.digest import Digest, hash_chunks
from gridfsmount.writing.flights import DirtyBudget, Finished, Flight
from gridfsmount.writing.pages import Page

log = logging.getLogger(__name__)

BATCH_BYTES: Final = 4 << 20
"""Bytes of one insert: measured as fast as larger ones, and bounds the copy that it takes."""

FLIGHTS: Final = 3
"""Inserts of one writer that are on their way at once: one is hashed, two are at the server."""

WRITER_BYTES: Final = 16 << 20
"""Bytes that one writer keeps, those on their way among them, before writes wait."""

CHUNKS_AT_ONCE: Final = 4096
"""Chunks that are looked at before other tasks get their turn."""

ReadContent: TypeAlias = Callable[[Content, int, int], Awaitable[Bytes]]
"""Bytes of a content: content, offset, size."""


class ChunkedWriter:
    """What a file will be when it is committed."""

    def __init__(
        self,
        *,
        contents: Contents,
        leases: Leases,
        read_base: ReadContent,
        workers: Workers,
        errands: Errands,
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
        self._errands = errands
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
        self._pages: dict[int, Page] = {}
        self._ripe: set[int] = set()
        """Pages that were filled to the end: they will hardly be written again."""
        self._flying: dict[int, Flight] = {}
        """Where the newest bytes of a chunk are while they are on their way."""
        self._flights: set[Flight] = set()
        self._hashed: trio.Event | None = None
        """When the last flight was hashed."""
        self._landing = trio.Event()
        """When the next flight lands."""
        self._failure: Exception | None = None
        """Why a flight failed that nobody was told of."""
        self._memory = 0
        self._uploaded: dict[int, tuple[int, bytes]] = {}
        """Length and hash of the chunks on the server under `_target`."""
        self._target: ContentId | None = None
        self._leased = False
        self._digest: Digest | None = Digest(self._chunk_size)
        """None once a chunk that it took in was written again."""
        self._past = 0
        """Number after the highest chunk that was uploaded for `_target`."""

    async def write(self, offset: int, data: bytes) -> None:
        """Put `data` at `offset`; what lies between the old end and there reads as zeros.

        Raises:
            FileTooBig: GridFS could not number the chunks.
            FileSystemError: what was written before cannot be brought to the server.
        """
        self._check_size(offset + len(data))
        self._check_flights()
        view = memoryview(data)
        taken = 0
        for n, start, stop in spans(offset, len(data), self._chunk_size):
            page = await self._page(n, replaced=(start, stop))
            before = len(page)
            piece = data if stop - start == len(data) else view[taken : taken + stop - start]
            page.write(start, piece)
            taken += stop - start
            self._account(len(page) - before)
            self.size = max(self.size, n * self._chunk_size + stop)
            if stop == self._chunk_size:
                self._ripe.add(n)
            if len(self._ripe) * self._chunk_size >= BATCH_BYTES and self.size > BATCH_BYTES:
                await self._launch(sorted(self._ripe))
            await self._make_room(current=n)

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
                page.cut(rest)
            past = last + 1 if rest else last
            if self._digest is not None and (self._digest.taken > past or self._flying):
                self._digest = None
            for n in [n for n in self._pages if n >= past]:
                self._account(-len(self._pages.pop(n)))
            for known in (self._uploaded, self._flying):
                for n in [n for n in known if n >= past]:
                    del known[n]
            self._ripe = {n for n in self._ripe if n < last}
            self._kept = min(self._kept, size)
        self.size = size
        if size == 0:
            if self._target is None:
                self._chunk_size = self._default_chunk_size
            self._digest = Digest(self._chunk_size)

    async def finish(self) -> Finished | None:
        """Bring all chunks to the server, or hand them over; None when the file is empty.

        May be called again after a failure: what arrived is not sent twice.

        Raises:
            FileSystemError: they cannot be brought there.
        """
        await self.landed()
        self._failure = None  # what failed is in memory, and is tried once more here
        if self.size == 0:
            return None
        count = chunk_count(self.size, self._chunk_size)
        if self._whole and self._target is None and self.size <= BATCH_BYTES:
            return await self._hand_over(count)
        copied = await self._send_rest(count)
        target = await self._lease()
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

    async def _send_rest(self, count: int) -> list[int]:
        """Upload what is not there yet; returns the chunks that the base has."""
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
                await self._launch(batch)
                batch = []
                while self._memory > WRITER_BYTES and self._flights:
                    await self._landing.wait()
        await self._launch(batch)
        await self.landed()
        self._check_flights()
        return copied

    async def _hand_over(self, count: int) -> Finished:
        pages = tuple([(n, (await self._complete(n)).whole()) for n in range(count)])
        self._digest = Digest(self._chunk_size)
        hashes = await self._workers.foreground(hash_chunks, pages, self._digest)
        content = self._content(self._contents.new_id(), count, b"".join(hashes))
        return Finished(content, pages)

    def _content(self, target: ContentId, count: int, hashes: bytes) -> Content:
        known = hashes if len(hashes) == count * HASH_BYTES <= MAX_HASHES else None
        digest = None if self._digest is None else self._digest.of(self.size)
        return Content(target, self.size, self._chunk_size, digest, known)

    async def _complete(self, n: int) -> Page:
        """The page of chunk `n`, filled up to the length that it will have."""
        page = await self._page(n)
        missing = chunk_length(n, self.size, self._chunk_size) - len(page)
        page.extend(missing)
        self._account(missing)
        return page

    def committed(self, content: Content | None) -> None:
        """What `finish` returned is the file's content now; go on from there."""
        self._base = content
        self._kept = self.size
        self._target = None
        self._leased = False
        self._past = 0
        self._uploaded.clear()
        self.drop_pages()

    def drop_pages(self) -> None:
        """Give back all memory; what was not committed is lost."""
        for page in self._pages.values():
            self._account(-len(page))
        self._pages.clear()
        self._ripe.clear()
        self._flying.clear()

    async def landed(self) -> None:
        """Wait until nothing is on its way any more."""
        while self._flights:
            await self._landing.wait()

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

    def _check_flights(self) -> None:
        """Tell of a flight that failed, once."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

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
        if n in self._pages or n in self._uploaded or n in self._flying:
            return False
        length = chunk_length(n, self.size, self._chunk_size)
        return (
            self._base_length(n) == length
            and chunk_length(n, self._base.length, self._chunk_size) == length
        )

    def _is_uploaded(self, n: int) -> bool:
        """Whether chunk `n` is on the server as it will be, or on its way."""
        if n in self._pages:
            return False
        length = chunk_length(n, self.size, self._chunk_size)
        flight, known = self._flying.get(n), self._uploaded.get(n)
        if flight is not None:
            return len(flight.chunks[n]) == length
        return known is not None and known[0] == length

    async def _page(self, n: int, replaced: tuple[int, int] | None = None) -> Page:
        """The page of chunk `n`, with what it held, unless all of that is about to be replaced."""
        page = self._pages.get(n)
        if page is None:
            length = chunk_length(n, self.size, self._chunk_size)
            if replaced is not None and replaced[0] == 0 and replaced[1] >= length:
                page = Page()
            else:
                page = Page(await self._look(n, 0, self._chunk_size))
            self._pages[n] = page
            self._account(len(page))
        self._uploaded.pop(n, None)
        flying = self._flying.pop(n, None)
        if self._digest is not None and (n < self._digest.taken or flying is not None):
            self._digest = None
        return page

    async def _look(self, n: int, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` of chunk `n`; fewer where nothing was written yet."""
        page = self._pages.get(n)
        if page is not None:
            return page.read(start, stop)
        flight = self._flying.get(n)
        if flight is not None:
            return flight.chunks[n][start:stop]
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

    async def _make_room(self, current: int) -> None:
        """Wait until the bounds are kept, uploading what it takes; the current page last."""
        while self._memory > WRITER_BYTES or self._budget.exceeded:
            waiting = sorted(n for n in self._pages if n != current)
            if waiting and len(self._flights) < FLIGHTS:
                await self._launch(waiting[: self._batch])
            elif self._flights:
                await self._landing.wait()
                self._check_flights()
            else:
                break
        if self._budget.far_exceeded and current in self._pages:
            await self._launch([current])
            await self.landed()
            self._check_flights()

    @property
    def _batch(self) -> int:
        """Chunks in one insert."""
        return max(1, BATCH_BYTES // self._chunk_size)

    async def _launch(self, numbers: Sequence[int]) -> None:
        """Send pages on their way; waits while there are as many flights as there may be."""
        for at in range(0, len(numbers), self._batch):
            part = numbers[at : at + self._batch]
            # An older flight of the same chunk must not arrive after this one.
            for older in [
                each for each in self._flights if not each.chunks.keys().isdisjoint(part)
            ]:
                await older.landed.wait()
            while len(self._flights) >= FLIGHTS:
                await self._landing.wait()
            # No checkpoint from here on: what is in flight is in no page, and the other way round.
            if self._target is None:
                self._target = self._contents.new_id()
            flight = Flight({n: self._pages.pop(n).whole() for n in part}, self._hashed)
            self._hashed = flight.hashed
            self._ripe.difference_update(part)
            self._flights.add(flight)
            self._flying.update(dict.fromkeys(part, flight))
            self._past = max(self._past, max(part) + 1)
            self._errands.start(self._fly, flight, self._digest)

    async def _fly(self, flight: Flight, digest: Digest | None) -> None:
        chunks = sorted(flight.chunks.items())
        hashes: list[bytes] | None = None
        arrived = False
        size = sum(len(chunk) for _, chunk in chunks)
        self._budget.uploads.began(size)
        try:
            if flight.before is not None:
                await flight.before.wait()
            target = await self._lease()
            hashes = await self._workers.upload(hash_chunks, chunks, digest)
            flight.hashed.set()
            await self._workers.upload(self._contents.put_chunks, target, chunks)
            arrived = True
        except Exception as error:  # whatever it is, the next write or commit tells of it
            self._failure = error
        finally:
            self._budget.uploads.ended(len(chunks), size, arrived=arrived)
            flight.hashed.set()
            self._land(flight, chunks, hashes if arrived else None)

    def _land(
        self, flight: Flight, chunks: Iterable[tuple[int, bytes]], hashes: list[bytes] | None
    ) -> None:
        for index, (n, chunk) in enumerate(chunks):
            newest = self._flying.get(n) is flight
            if newest:
                del self._flying[n]
            if newest and hashes is None:
                self._pages[n] = Page(chunk)
                continue
            self._account(-len(chunk))
            if newest and hashes is not None:
                self._uploaded[n] = (len(chunk), hashes[index])
        self._flights.discard(flight)
        flight.landed.set()
        self._landing.set()
        self._landing = trio.Event()

    async def _lease(self) -> ContentId:
        """Make sure of the claim on the target; one flight at a time comes here."""
        if self._target is None:
            self._target = self._contents.new_id()
        if not self._leased:
            await self._workers.foreground(self._leases.take, self._target, self._inode, self._name)
            self._leased = True
        return self._target

    def _known_hashes(self, count: int) -> Iterator[bytes]:
        base = None if self._base is None else self._base.chunk_xxh3
        for n in range(count):
            uploaded = self._uploaded.get(n)
            known = uploaded[1] if uploaded is not None else packed_hash(base, n)
            if known is not None:
                yield known
