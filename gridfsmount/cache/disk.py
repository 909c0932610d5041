"""Chunks on a local disk: for training sets larger than memory, kept from one mount to the next.

What lies in the folder is told in `gridfsmount.cache.folder`, what lies in a file there in
`gridfsmount.cache.segments`. Segments are what is counted and evicted, the least recently used
first. Every chunk is verified when it is read, so nothing in the folder needs to be trusted: what
is torn, altered, cut off or foreign is a miss, and is written again.

Blocking, and safe to use from several threads at once; several processes may share the folder.
Knows no store. Once made it raises nothing: a disk that fails costs the cache, never the read.
"""

import errno
import heapq
import logging
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from gridfsmount.cache.folder import BLOCK, CacheFolder, StoredSegment
from gridfsmount.cache.segments import (
    ForeignSegment,
    Piece,
    Segment,
    batches,
    content_key,
    cut,
    forget,
    present,
    read,
    write,
)
from gridfsmount.core.model import Content
from gridfsmount.errors import ConfigError

log = logging.getLogger(__name__)

RESERVE: Final = 1 << 30
"""Bytes of the disk that are left to others."""

SLACK: Final = 20
"""One part in this many of the capacity is freed at once, so that most writes free nothing; and
after as much has been written the folder is counted again, since others may write to it too."""

COUNT_SECONDS: Final = 60
"""The folder is not counted more often without need."""

PAUSE_SECONDS: Final = 60
"""How long nothing is written after the disk refused."""

QUIET_SECONDS: Final = 60
"""How long the log has nothing about a trouble it has just told of."""

USE_SECONDS: Final = 300
"""Segments used closer together than this count as used at the same time: it spares writes."""

MOST_CANDIDATES: Final = 1 << 18
"""Most segments remembered as the next to go: some 50 MB of memory at worst."""

KEYS: Final = 256
"""Contents whose keys are remembered: hashing a list of many chunks takes its time."""


class DiskCache:
    """Verified chunks of one lake's contents, in a folder that other caches may share."""

    def __init__(
        self,
        folder: Path,
        capacity: int,
        *,
        lake: str,
        reserve: int = RESERVE,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Keep at most about `capacity` bytes in `folder`, which is made if it is missing.

        Args:
            folder: where; must be empty, or a cache of this format. One that cannot be written is
                only read.
            capacity: bytes of disk.
            lake: id of the lake: the `_id`s of two lakes may be equal.
            reserve: nothing is written that would leave fewer bytes than this free on the disk.
            now: seconds since 1970.

        Raises:
            ConfigError: the folder cannot be used.
        """
        self.folder = folder.absolute()
        self.capacity = capacity
        self._reserve = reserve
        self._now = now
        self._key = lru_cache(KEYS)(partial(content_key, lake))
        self._lock = threading.Lock()
        """Guards what follows; never held over a call that may block."""
        self._size = 0
        self._reserved = 0
        """Most bytes that the writes under way can add."""
        self._written = 0
        """Bytes written since the last count."""
        self._paused_until = -math.inf
        self._told: dict[str, float] = {}
        self._closed = False
        self._sweeping = threading.Lock()
        """Held by the one thread that counts or evicts. Guards what follows."""
        self._counted = -math.inf
        self._candidates: deque[StoredSegment] = deque()
        self._files = CacheFolder(self.folder)
        if not self._files.is_writable():
            log.warning("disk cache %s: it cannot be written, only read", self.folder)
            self._paused_until = math.inf

    @property
    def size(self) -> int:
        """Bytes of disk in use, as far as this process knows: right after a `scan`."""
        return max(0, self._size)  # below: of files that were not counted, and are gone

    def get(self, content: Content, first: int, past: int) -> list[memoryview | None]:
        """Chunks `first` to `past`: for each its verified bytes, or None.

        The views of one call may share memory: keeping one of them keeps up to 16 MiB.
        """
        found: list[memoryview | None] = []
        for segment, begin, end in cut(content, self._key(content), first, past):
            try:
                chunks = self._read(segment, begin, end)
            except OSError as error:
                self._complain("read", error)
                chunks = None
            found.extend([None] * (end - begin) if chunks is None else chunks)
        return found

    def holds(self, content: Content, first: int, past: int) -> bool:
        """Whether all these chunks seem to be here: a guess, their bytes are not looked at."""
        try:
            return all(
                self._is_present(segment, begin, end)
                for segment, begin, end in cut(content, self._key(content), first, past)
            )
        except (OSError, ForeignSegment):
            return False

    def put(self, content: Content, chunks: Sequence[tuple[int, bytes | memoryview]]) -> None:
        """Keep chunks, as far as there is room; those that are not the content's are left out.

        May take seconds when there is much to evict; other threads do not wait meanwhile, they
        write nothing if there is no room.
        """
        if not self._may_write():
            return
        try:
            for segment, pieces in batches(content, self._key(content), chunks):
                self._store(segment, pieces)
        except (OSError, ConfigError) as error:
            self._refused("write", error)

    def scan(self) -> None:
        """Count what is there, and evict what is too much.

        For the start, and from time to time when other processes share the folder. Takes a second
        for some 100,000 segments; the cache can be used meanwhile.
        """
        try:
            with self._sweeping:
                self._count()
                if self._may_write():
                    self._evict(self._excess(0))
        except (OSError, ConfigError) as error:
            self._refused("count", error)

    def close(self) -> None:
        """From now on nothing is found and nothing is kept."""
        self._closed = True

    # Reading and writing segments

    def _read(self, segment: Segment, first: int, past: int) -> list[memoryview | None] | None:
        descriptor = None if self._closed else self._open(segment)
        if descriptor is None:
            return None
        try:
            used = os.fstat(descriptor).st_mtime
            found = read(descriptor, segment, first, past)
            if found.altered:
                self._forget(segment, found.altered)
            if abs(self._now() - used) > USE_SECONDS and any(found.chunks):
                self._touch(descriptor)
        except ForeignSegment:
            self._discard(segment)
            return None
        except OSError as error:
            if error.errno in {errno.EIO, errno.ESPIPE}:  # a bad sector; a FIFO
                self._discard(segment)
            raise
        finally:
            os.close(descriptor)
        return found.chunks

    def _is_present(self, segment: Segment, first: int, past: int) -> bool:
        descriptor = None if self._closed else self._files.open(segment.name)
        if descriptor is None:
            return False
        try:
            return present(descriptor, segment, first, past)
        finally:
            os.close(descriptor)

    def _store(self, segment: Segment, pieces: Sequence[Piece]) -> None:
        most = segment.cost(pieces)
        if most > self.capacity:
            if len(pieces) > 1:
                for piece in pieces:
                    self._store(segment, [piece])
            return
        if not self._take(most):
            return
        grown = 0
        try:
            descriptor = self._open(segment, os.O_RDWR | os.O_CREAT)
            if descriptor is None:
                return
            before = os.fstat(descriptor)
            try:
                write(descriptor, segment, pieces)
                self._touch(descriptor)
            except ForeignSegment:
                self._discard(segment)
            except OSError:
                if not before.st_size:
                    self._discard(segment)
                raise
            finally:
                # Another thread may be writing the same file: what it grew by may be in both
                # sums, until the next count.
                after = os.fstat(descriptor)
                os.close(descriptor)
                grown = max(0, min(most, (after.st_blocks - before.st_blocks) * BLOCK))
        finally:
            with self._lock:
                self._reserved -= most
                self._size += grown
                self._written += grown

    def _open(self, segment: Segment, flags: int = os.O_RDONLY) -> int | None:
        """A descriptor of the segment's file; None if there is none."""
        try:
            return self._files.open(segment.name, flags)
        except ForeignSegment:
            self._discard(segment)
            return None

    def _touch(self, descriptor: int) -> None:
        """Count it as used now."""
        if self._may_write():
            used_ns = int(self._now() * 1e9)
            try:
                os.utime(descriptor, ns=(used_ns, used_ns))
            except OSError as error:
                self._refused("write", error)

    def _forget(self, segment: Segment, numbers: Sequence[int]) -> None:
        """Have altered chunks written again the next time."""
        self._tell("altered", "chunks were altered on disk; they will be fetched again")
        if not self._may_write():
            return
        try:
            descriptor = self._open(segment, os.O_RDWR)
            if descriptor is not None:
                try:
                    forget(descriptor, segment, numbers)
                finally:
                    os.close(descriptor)
        except OSError as error:
            self._refused("write", error)

    def _discard(self, segment: Segment) -> None:
        """Remove what lies under a segment's name and is none."""
        if self._may_write():
            try:
                self._freed(self._files.remove(segment.name) or 0)
            except OSError as error:
                self._refused("remove", error)

    # Room

    def _take(self, size: int) -> bool:
        """Reserve room for `size` bytes, evicting others if need be.

        Raises:
            ConfigError: the folder is gone, and there is something else in its place.
            OSError: the disk refuses.
        """
        excess = self._excess(size)
        due = self._written * SLACK > self.capacity and self._is_stale()
        # Without waiting: somebody else may be counting for minutes.
        if (due or excess > 0) and self._sweeping.acquire(blocking=False):
            try:
                if self._is_stale():
                    self._count()
                if self._shortage(size) <= self._size:  # else all would go, and for nothing
                    self._evict(self._excess(size))
                excess = self._excess(size)
            finally:
                self._sweeping.release()
            if self._shortage(size) > 0:
                self._pause()
                self._tell("room", "the disk has no room to spare; nothing is written for a while")
        if excess > 0:
            return False
        with self._lock:
            if self._size + self._reserved + size > self.capacity:
                return False
            self._reserved += size
        return True

    def _is_stale(self) -> bool:
        return self._now() - self._counted > COUNT_SECONDS

    def _excess(self, size: int) -> int:
        """Bytes to evict before `size` more can be written."""
        over = self._size + self._reserved + size - self.capacity
        if over > 0:
            over += self.capacity // SLACK
        return max(over, self._shortage(size))

    def _shortage(self, size: int) -> int:
        """Bytes that the disk must have free besides before `size` more can be written."""
        return self._reserve + size - self._files.free()

    def _evict(self, excess: int) -> None:
        """Remove the least recently used, at least `excess` bytes of them if there are as many.

        What is freed is added up, not asked for: some file systems tell it much later.
        """
        while excess > 0 and not self._closed:
            if not self._candidates:
                self._count()
            if not self._candidates:
                return
            candidate = self._candidates.popleft()
            freed = self._files.remove(candidate.name, candidate.used_ns)
            if freed is None:  # another process was first
                freed = candidate.size
            self._freed(freed)
            excess -= freed

    def _count(self) -> None:
        with self._lock:
            self._written = 0
        total = 0

        def segments() -> Iterator[StoredSegment]:
            nonlocal total
            for segment in self._files.walk(clear=self._may_write()):
                if self._closed:
                    return
                total += segment.size
                yield segment

        self._candidates = deque(heapq.nsmallest(MOST_CANDIDATES, segments()))
        self._counted = self._now()
        with self._lock:
            # What was written meanwhile may be in both; rather too much than too little.
            self._size = total + self._written

    def _freed(self, size: int) -> None:
        with self._lock:
            self._size -= size

    # Trouble

    def _may_write(self) -> bool:
        return not self._closed and self._now() >= self._paused_until

    def _pause(self) -> None:
        with self._lock:
            self._paused_until = max(self._paused_until, self._now() + PAUSE_SECONDS)

    def _refused(self, doing: str, error: OSError | ConfigError) -> None:
        self._pause()
        self._complain(doing, error)

    def _complain(self, doing: str, error: OSError | ConfigError) -> None:
        if isinstance(error, OSError):
            self._tell(f"{doing} {error.errno}", f"cannot {doing}: {error.strerror or error}")
        else:
            self._tell(doing, f"cannot {doing}: {error}")

    def _tell(self, trouble: str, text: str) -> None:
        with self._lock:
            now = self._now()
            if now - self._told.get(trouble, -math.inf) < QUIET_SECONDS:
                return
            self._told[trouble] = now
        log.warning("disk cache %s: %s", self.folder, text)
