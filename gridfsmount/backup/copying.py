"""Contents from a lake into a vault: read, checked and written at once, in several threads.

Each task is a batch of small contents, or a large one, so that memory is bounded by their number.
What a content lacks is found out on the way: its SHA-256, and whether it can be read at all.
"""

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, Self, TypeAlias

from xxhash import xxh3_64_digest

from gridfsmount.backup.finding import find
from gridfsmount.backup.pacing import Pace
from gridfsmount.core.chunks import HASH_BYTES, MAX_HASHES
from gridfsmount.core.model import Content
from gridfsmount.core.vault import Claim, Vault
from gridfsmount.errors import AccessDenied, Damaged, NoSpace
from gridfsmount.scanning import READ_BYTES, Piece, scan
from gridfsmount.store.lake import Lake
from gridfsmount.vaults.manifest import Backed
from gridfsmount.versions.hashing import hash_all, is_same

SMALL_BYTES: Final = 4 << 20
"""Contents up to this size are written many at once: the disk is awaited once for all of them."""

BATCH_BYTES: Final = 32 << 20
"""Bytes of one such batch."""

BATCH: Final = 1000
"""Contents of one."""

QUEUED: Final = 2
"""Tasks for each thread, under way or waiting."""

AHEAD: Final = 2
"""Queries under way for one large content."""

Advance: TypeAlias = Callable[[int, int], None]
"""Told how many contents and bytes are done, in addition to what was; from any thread."""


class Halted(Exception):
    """The backup ends before it is done; who raised `stop` says why."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What came of one content."""

    number: int
    """Its row in the manifest."""
    content: Content
    """With its SHA-256, unless there is a fault."""
    fault: str = ""
    """Why it could not be copied."""
    new: bool = False
    """The vault did not have it."""


class Copier:
    """Copies contents; safe to call from several threads."""

    def __init__(
        self,
        lake: Lake,
        vault: Vault,
        claim: Claim,
        pace: Pace,
        stop: threading.Event,
        advance: Advance,
    ) -> None:
        """Copy from `lake` into `vault`, whose lease is `claim`; end soon when `stop` is set."""
        self._lake = lake
        self._vault = vault
        self._claim = claim
        self._pace = pace
        self._stop = stop
        self._advance = advance
        self._notes = lake.connection.deployment.writable

    def copy(self, task: Sequence[Backed]) -> list[Copied]:
        """Copy small contents, or one of any size.

        Raises:
            FileSystemError: the server or the vault fails.
            Halted: the backup was stopped.
        """
        if len(task) == 1 and task[0].content.length > SMALL_BYTES:
            return [self._copy_large(task[0])]
        return self._copy_small(task)

    # --- small ---------------------------------------------------------------------------------

    def _copy_small(self, task: Sequence[Backed]) -> list[Copied]:
        done: list[Copied] = []
        data: dict[int, bytes] = {}
        for group in _groups(task):
            filled = [each.content for each in group if each.content.length]
            whole = iter(self._lake.contents.examine_whole(filled))
            for each in group:
                chunks = next(whole) if each.content.length else []
                try:
                    now, data[each.number] = _read(each.content, chunks)
                except Damaged as error:
                    done.append(Copied(each.number, each.content, str(error)))
                else:
                    done.append(Copied(each.number, now))
            size = sum(each.content.length for each in group)
            self._pace.keep(size)
            self._go_on(len(group), size)
        seen = {each.number: each.content for each in task}
        done = self._settled(done, seen)
        good = {each.content.sha256: each for each in done if not each.fault}
        blobs = [blob for blob in good if blob is not None]
        if any(seen[each.number].sha256 is None for each in good.values()):
            there = self._vault.present(blobs)
            blobs = [each for each in blobs if each not in there]
        self._claim.renew()
        self._vault.put_many([(each, data[good[each].number]) for each in blobs])
        new = {good[each].number for each in blobs}
        return [replace(each, new=each.number in new) for each in done]

    # --- large ---------------------------------------------------------------------------------

    def _copy_large(self, task: Backed) -> Copied:
        content = task.content
        if content.sha256 is None:
            (result,) = self._settled([self._hash(task)], {task.number: content})
            blob = result.content.sha256
            if result.fault or blob is None:
                return result
            if self._vault.present([blob]):
                self._advance(1, 0)
                return result
            content = result.content
        assert content.sha256 is not None
        self._claim.renew()
        told = task.content.sha256 is not None
        try:
            self._vault.put(content.sha256, content.length, self._pieces(content, told=told))
        except Damaged as error:
            return Copied(task.number, content, str(error))
        self._advance(1, 0)
        return Copied(task.number, content, new=True)

    def _hash(self, task: Backed) -> Copied:
        def progress(contents: int, size: int) -> None:
            self._pace.keep(size)
            self._go_on(contents, size)

        ((_, now),) = hash_all(self._lake, [task.content], AHEAD, progress)
        if isinstance(now, Damaged):
            return Copied(task.number, task.content, str(now))
        return Copied(task.number, now)

    def _pieces(self, content: Content, *, told: bool) -> Iterator[bytes]:
        for piece in scan(self._lake, [content], AHEAD):
            chunks = _sound(piece)
            yield from chunks
            size = sum(map(len, chunks))
            self._pace.keep(size)
            self._go_on(0, size if told else 0)

    # --- both ----------------------------------------------------------------------------------

    def _go_on(self, contents: int, size: int) -> None:
        if self._stop.is_set():
            raise Halted
        self._advance(contents, size)

    def _settled(self, done: list[Copied], seen: dict[int, Content]) -> list[Copied]:
        """Note new hashes in the lake, and look whether their contents are still what was read.

        In the manifest stays when they were uploaded: the next backup knows them by that.
        """
        fresh = [each for each in done if not each.fault and seen[each.number].sha256 is None]
        if not fresh:
            return done
        if self._notes:
            try:
                self._lake.contents.add_hashes(
                    [(seen[each.number], replace(each.content, uploaded_ms=0)) for each in fresh]
                )
            except (AccessDenied, NoSpace):
                self._notes = False  # then they are read again next time
        there = find(self._lake, [each.content.id for each in fresh])
        lost = {
            each.number
            for each in fresh
            if not is_same(seen[each.number], each.content, there[each.content.id])
        }
        changed = "it was replaced while it was read"
        return [
            replace(each, fault=f"content {each.content.id}: {changed}")
            if each.number in lost
            else replace(
                each,
                content=replace(each.content, uploaded_ms=seen[each.number].uploaded_ms),
            )
            for each in done
        ]


class Lanes:
    """Threads that copy; what they copied is taken in by the thread that adds tasks."""

    def __init__(
        self, copier: Copier, jobs: int, take_in: Callable[[Sequence[Copied]], None]
    ) -> None:
        """Copy with `jobs` threads, and tell `take_in` in the order of tasks."""
        self._copier = copier
        self._take_in = take_in
        self._pool = ThreadPoolExecutor(jobs, thread_name_prefix="backup")
        self._most = QUEUED * jobs
        self._flights: deque[tuple[Future[list[Copied]], list[Backed]]] = deque()
        self._group: list[Backed] = []
        self._size = 0
        self.coming: set[bytes] = set()
        """Blobs on their way to the vault."""

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for what is under way; what has not begun is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def add(self, backed: Backed) -> None:
        """Copy a content, soon."""
        content = backed.content
        if content.sha256 is not None:
            self.coming.add(content.sha256)
        if content.length > SMALL_BYTES:
            self._submit([backed])
            return
        if self._size + content.length > BATCH_BYTES or len(self._group) == BATCH:
            self._flush()
        self._group.append(backed)
        self._size += content.length

    def drain(self) -> None:
        """Wait until all that was added is copied."""
        self._flush()
        while self._flights:
            self._land()

    def _flush(self) -> None:
        group, self._group, self._size = self._group, [], 0
        if group:
            self._submit(group)

    def _submit(self, task: list[Backed]) -> None:
        while len(self._flights) >= self._most or (self._flights and self._flights[0][0].done()):
            self._land()
        self._flights.append((self._pool.submit(self._copier.copy, task), task))

    def _land(self) -> None:
        flight, task = self._flights.popleft()
        self._take_in(flight.result())
        self.coming -= {each.content.sha256 for each in task if each.content.sha256}


def _groups(task: Iterable[Backed]) -> Iterator[list[Backed]]:
    """Contents of one query each."""
    group: list[Backed] = []
    size = 0
    for each in task:
        if group and size + each.content.length > READ_BYTES:
            yield group
            group, size = [], 0
        group.append(each)
        size += each.content.length
    if group:
        yield group


def _read(content: Content, chunks: Sequence[bytes | Damaged | None]) -> tuple[Content, bytes]:
    """A content with its SHA-256, and its bytes.

    Raises:
        Damaged: they are not all there, or not what they should be.
    """
    sound = _sound(Piece(content, 0, list(chunks)))
    data = sound[0] if len(sound) == 1 else b"".join(sound)
    digest = hashlib.sha256(data).digest()
    if content.sha256 is not None:
        if digest != content.sha256:
            raise Damaged(f"content {content.id}: its bytes have another SHA-256 than is noted")
        return content, data
    if content.chunk_xxh3 is None and len(sound) * HASH_BYTES <= MAX_HASHES:
        content = replace(content, chunk_xxh3=b"".join(map(xxh3_64_digest, sound)))
    return replace(content, sha256=digest), data


def _sound(piece: Piece) -> list[bytes]:
    sound = []
    for n, chunk in enumerate(piece.chunks, piece.first):
        if not isinstance(chunk, bytes):
            raise chunk or Damaged(f"content {piece.content.id}: chunk {n} is missing")
        sound.append(chunk)
    return sound
