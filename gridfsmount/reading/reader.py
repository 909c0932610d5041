"""Bytes of contents, through the chunk cache, with reading ahead.

Runs on the event loop; no lock is held across a fetch. A chunk is fetched once however many
readers want it: it is on a *flight*, and the others wait for that. A flight that was started for
what somebody may want soon waits for its turn; when somebody does want it, he does not: he flies
it himself, on the foreground's lane.
"""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from gridfsmount.cache.memory import ChunkCache
from gridfsmount.core.chunks import Bytes, chunk_count, runs
from gridfsmount.core.model import Content, ContentId
from gridfsmount.core.readahead import ReadAhead
from gridfsmount.errors import Damaged, FileSystemError, StoreUnavailable
from gridfsmount.reading.source import Numbered, Source
from gridfsmount.telemetry.counters import Reading
from gridfsmount.workers import AHEAD_THREADS, Errands, Workers

log = logging.getLogger(__name__)

FETCH_BYTES: Final = 8 << 20
"""Most bytes of one query: larger ones delay the first byte and gain little."""

FETCH_CHUNKS: Final = 4096
"""Most chunks of one query: foreign contents may have chunks of a few bytes."""

CONTENTS_FOLLOWED: Final = 256
"""Contents whose streams are remembered: those that are read at the same time."""

SHARING_NOTES: Final = 64
"""A content of which none of so many reads was takes no part of what may be read ahead."""

KEEP_SECONDS: Final = 0.5
"""How long a read waits for the local disk to take what others brought before."""

KEEPING: Final = 8
"""Flights whose chunks are still on their way to the local disk; more wait for it."""


@dataclass(eq=False, slots=True)
class Streams:
    """How one content is read."""

    ahead: ReadAhead
    noted: int
    """Number of the last read."""
    sharing: int
    """Contents that shared the budget then."""


Loaded = tuple[list[Bytes], Numbered]
Load = Callable[[Content, int, int, bool], Loaded]
Lane = Callable[[Load, Content, int, int, bool], Awaitable[Loaded]]


@dataclass(eq=False, slots=True)
class Flight:
    """A query for some chunks of one content."""

    content: Content
    first: int
    past: int
    settled: bool
    started: bool = False
    done: trio.Event = field(default_factory=trio.Event)
    error: StoreUnavailable | None = None
    """Why nobody should ask again at once."""
    found: dict[int, Bytes] = field(default_factory=dict)
    """What it brought, for those who wait: another reader may be past it before they look."""


class Reader:
    """Reads ranges of bytes."""

    def __init__(
        self,
        source: Source,
        workers: Workers,
        cache: ChunkCache,
        errands: Errands,
        counts: Reading | None = None,
    ) -> None:
        """Read from `source`, keeping chunks in `cache`; what reads ahead is one of `errands`.

        Where chunks come from is counted in `counts`.
        """
        self._source = source
        self._workers = workers
        self._cache = cache
        self._errands = errands
        self._counts = counts or Reading()
        self._flights: dict[tuple[ContentId, int], Flight] = {}
        self._streams: OrderedDict[ContentId, Streams] = OrderedDict()
        self._notes = 0
        self._sharing = 1
        """Contents that were read lately: they share what may be read ahead."""
        self._turns = trio.Semaphore(AHEAD_THREADS)
        self._keeping = trio.CapacityLimiter(KEEPING)
        self._stuck = False
        """The local disk did not answer for long."""

    async def read(
        self,
        content: Content,
        offset: int,
        size: int,
        *,
        settled: bool = False,
        keep: bool = False,
    ) -> Bytes:
        """Up to `size` bytes from `offset`; fewer only at the end of the content.

        What is fetched goes to the local disk. With `keep`, so does what is in memory already.

        Raises:
            Damaged: a chunk in the range is missing or altered.
            StoreUnavailable: no answer within the deadline.
        """
        stop = min(offset + size, content.length)
        if offset >= stop:
            return b""
        first = offset // content.chunk_size
        past = chunk_count(stop, content.chunk_size)
        if content.length > content.chunk_size:
            self._look_ahead(content, offset, stop - offset, settled)
        in_memory = [
            (n, chunk)
            for n in (range(first, past) if keep and self._source.keeps else ())
            if (chunk := self._cache.get(content.id, n)) is not None
        ]
        chunks = await self._gather(content, first, past, settled)
        await self.keep(content, in_memory)
        start = offset - first * content.chunk_size
        if len(chunks) == 1:
            chunk = chunks[0]
            if start == 0 and stop == offset + len(chunk):
                return chunk
            return memoryview(chunk)[start : start + stop - offset]
        chunks[0] = memoryview(chunks[0])[start:]
        chunks[-1] = memoryview(chunks[-1])[: stop - (past - 1) * content.chunk_size]
        return b"".join(chunks)

    def holds(self, content: ContentId) -> bool:
        """Whether a content's first chunk is in memory, or on its way."""
        return (content, 0) in self._cache or (content, 0) in self._flights

    def put(
        self, content: Content, chunks: Sequence[Bytes], *, fresh: bool = True, ahead: bool = False
    ) -> None:
        """Take all chunks of a small content, checked by whoever read them.

        `fresh`: they are not from the local disk; `ahead`: nobody has asked for them yet.
        """
        for n, chunk in enumerate(chunks):
            self._cache.put(content.id, n, chunk, ahead=ahead)
        layer = self._counts.server if fresh else self._counts.disk
        layer.add(len(chunks), sum(map(len, chunks)))

    def given(self, content: ContentId, count: int) -> None:
        """The first `count` chunks of a content were given to the kernel."""
        for n in range(count):
            self._cache.asked(content, n)

    def take(self, content: Content, chunks: Sequence[Bytes]) -> None:
        """Take all chunks of a small content that the local disk lacks."""
        self.put(content, chunks)
        if self._source.keeps:
            self._errands.start(self.keep, content, list(enumerate(chunks)))

    async def keep(self, content: Content, chunks: Numbered) -> None:
        """Put chunks on the local disk; returns soon unless the disk is behind."""
        if not chunks:
            return
        if not self._keeping.available_tokens:
            if self._stuck:
                return
            with trio.move_on_after(KEEP_SECONDS) as patience:
                async with self._keeping:
                    pass
            if patience.cancelled_caught:
                log.warning("the local disk does not answer: nothing is kept on it meanwhile")
                self._stuck = True
                return
        self._errands.start(self._keep, content, chunks)

    async def _keep(self, content: Content, chunks: Numbered) -> None:
        async with self._keeping:
            await self._workers.disk(self._source.keep, content, chunks)
        self._stuck = False

    def _look_ahead(self, content: Content, offset: int, size: int, settled: bool) -> None:
        streams = self._streams_of(content)
        limit = _batch(content)
        for first, past in streams.note(offset, size):
            free = (n for n in range(first, past) if self._is_free(content.id, n))
            for begin, end in list(runs(free)):
                for at in range(begin, end, limit):
                    flight = self._register(content, at, min(end, at + limit), settled)
                    self._errands.start(self._fly_in_turn, flight)
        # The kernel has their pages. Memory that is used again at once is still in the
        # processor's cache: this is worth half of the time that the mount needs for a read.
        for n in streams.left_behind():
            self._cache.drop(content.id, n)

    def _streams_of(self, content: Content) -> ReadAhead:
        self._notes += 1
        found = self._streams.get(content.id)
        if found is None or self._notes % SHARING_NOTES == 0:
            lately = self._notes - SHARING_NOTES
            self._sharing = 1 + sum(
                each.noted > lately for each in self._streams.values() if each is not found
            )
        # Half of the cache: the other half holds what is still being read.
        budget = self._cache.room(content.chunk_size) // 2 // self._sharing
        if found is None:
            ahead = ReadAhead(content.length, content.chunk_size, budget=budget)
            found = self._streams[content.id] = Streams(ahead, self._notes, self._sharing)
            if len(self._streams) > CONTENTS_FOLLOWED:
                self._streams.popitem(last=False)
        else:
            self._streams.move_to_end(content.id)
            if found.sharing != self._sharing:
                found.sharing = self._sharing
                found.ahead.resize(budget)
            found.noted = self._notes
        return found.ahead

    def _is_free(self, content: ContentId, n: int) -> bool:
        key = (content, n)
        return key not in self._cache and key not in self._flights

    async def _gather(self, content: Content, first: int, past: int, settled: bool) -> list[Bytes]:
        found: dict[int, Bytes] = {}
        looked = False
        while True:
            # No checkpoint between looking and registering a flight, or two would fetch the same.
            waiting: Flight | None = None
            wanted: list[int] = []
            for n in range(first, past):
                if n in found:
                    continue
                chunk = self._cache.get(content.id, n)
                if chunk is not None:
                    found[n] = chunk
                elif (content.id, n) in self._flights:
                    waiting = waiting or self._flights[content.id, n]
                else:
                    wanted.append(n)
            if not looked:
                hits, misses, looked = len(found), len(wanted), True
                self._counts.looked(hits, past - first - hits - misses, misses)
            if waiting is not None and not waiting.started:
                found.update(_within(await self._fly(waiting), first, past))
            elif wanted:
                begin, end = next(runs(iter(wanted)))  # then look again: much may have happened
                found.update(await self._fetch(content, begin, end, settled))
            elif waiting is not None:
                await waiting.done.wait()
                if waiting.error is not None:
                    raise StoreUnavailable(str(waiting.error)) from waiting.error
                brought = _within(waiting.found, first, past)
                for n in brought:
                    self._cache.asked(content.id, n)
                found.update(brought)
            else:
                return [found[n] for n in range(first, past)]

    async def _fetch(
        self, content: Content, first: int, past: int, settled: bool
    ) -> dict[int, Bytes]:
        """Chunks that somebody waits for and no flight brings."""
        found: dict[int, Bytes] = {}
        limit = _batch(content)
        parts = [(at, min(past, at + limit)) for at in range(first, past, limit)]
        flights = [self._register(content, begin, end, settled, True) for begin, end in parts]
        try:
            for flight in flights:
                found.update(await self._load(flight, self._workers.foreground))
        except StoreUnavailable as error:
            for flight in flights:
                flight.error = error
            raise
        finally:
            for flight in flights:
                self._land(flight)
        return found

    async def _fly(self, flight: Flight) -> dict[int, Bytes]:
        """Bring at once what was to be brought in its turn; nothing if it is damaged."""
        flight.started = True
        try:
            return await self._load(flight, self._workers.foreground)
        except Damaged:
            return {}  # what is damaged may lie in the part that nobody asked for
        finally:
            self._land(flight)

    async def _fly_in_turn(self, flight: Flight) -> None:
        async with self._turns:
            if flight.started:
                return  # somebody could not wait
            flight.started = True
            try:
                await self._load(flight, self._workers.ahead, ahead=True)
            except FileSystemError as error:
                log.debug("not read ahead: %s", error)
            finally:
                self._land(flight)

    async def _load(self, flight: Flight, lane: Lane, *, ahead: bool = False) -> dict[int, Bytes]:
        content = flight.content
        try:
            chunks, fresh = await lane(
                self._source.load, content, flight.first, flight.past, flight.settled
            )
        except StoreUnavailable as error:
            flight.error = error
            raise
        flight.found = found = dict(enumerate(chunks, flight.first))
        for n, chunk in found.items():
            self._cache.put(content.id, n, chunk, ahead=ahead)
        self._count(chunks, fresh)
        self._land(flight)
        await self.keep(content, fresh)
        return found

    def _count(self, chunks: Sequence[Bytes], fresh: Numbered) -> None:
        size = sum(map(len, chunks))
        if not self._source.keeps:
            self._counts.server.add(len(chunks), size)
            return
        fresh_size = sum(len(chunk) for _, chunk in fresh)
        self._counts.server.add(len(fresh), fresh_size)
        self._counts.disk.add(len(chunks) - len(fresh), size - fresh_size)

    def _register(
        self, content: Content, first: int, past: int, settled: bool, started: bool = False
    ) -> Flight:
        flight = Flight(content, first, past, settled, started)
        for n in range(first, past):
            self._flights[content.id, n] = flight
        return flight

    def _land(self, flight: Flight) -> None:
        if flight.done.is_set():
            return
        for n in range(flight.first, flight.past):
            del self._flights[flight.content.id, n]
        flight.done.set()


def _within(chunks: dict[int, Bytes], first: int, past: int) -> dict[int, Bytes]:
    return {n: chunk for n, chunk in chunks.items() if first <= n < past}


def _batch(content: Content) -> int:
    return max(1, min(FETCH_CHUNKS, FETCH_BYTES // content.chunk_size))
