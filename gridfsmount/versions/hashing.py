"""The SHA-256 of contents: as it is known, or computed from their bytes and noted for next time.

Uploads of drivers have none, and neither have files that were changed in part. Blocking.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from xxhash import xxh3_64_digest

from gridfsmount.core.chunks import HASH_BYTES, MAX_HASHES, chunk_count
from gridfsmount.core.model import Content, ContentId
from gridfsmount.errors import AccessDenied, Damaged
from gridfsmount.scanning import IN_FLIGHT, Piece, scan
from gridfsmount.store.lake import Lake

Hashed: TypeAlias = Content | Damaged
"""A content with its SHA-256, or what is wrong with it."""

Progress: TypeAlias = Callable[[int, int], None]
"""Told how many contents and bytes are done, in addition to what was. It may raise, to end it."""

NOTED_BYTES: Final = 256 << 20
"""Hashes of so many bytes are noted together: what an interruption costs."""


def nothing(contents: int, size: int) -> None:
    """The progress that nobody wants to know of."""


class Hasher:
    """Brings contents with their hashes."""

    def __init__(self, lake: Lake, jobs: int = IN_FLIGHT, progress: Progress = nothing) -> None:
        """Read with `jobs` queries at once; hashes are noted if the user may write."""
        self._lake = lake
        self._jobs = jobs
        self._progress = progress
        self._notes = lake.connection.deployment.writable

    def load(self, contents: Iterable[ContentId]) -> dict[ContentId, Hashed]:
        """Some contents, a batch of them, each with its SHA-256.

        Raises:
            FileSystemError: the server gives no answer.
        """
        found = look_up(self._lake, contents)
        lacking: list[Content] = []
        for each in found.values():
            if isinstance(each, Content) and each.sha256 is None:
                lacking.append(each)
            else:
                self._progress(1, each.length if isinstance(each, Content) else 0)
        computed = self._compute(dict.fromkeys(lacking))
        return {
            identity: computed.get(each, each) if isinstance(each, Content) else each
            for identity, each in found.items()
        }

    def _compute(self, contents: Iterable[Content]) -> dict[Content, Hashed]:
        done: dict[Content, Hashed] = {}
        fresh: dict[Content, Content] = {}
        size = 0
        for seen, now in hash_all(self._lake, contents, self._jobs, self._progress):
            self._progress(1, 0)
            if isinstance(now, Damaged):
                done[seen] = now
                continue
            fresh[seen] = now
            size += now.length
            if size >= NOTED_BYTES:
                done |= self.note(fresh)
                fresh, size = {}, 0
        return done | self.note(fresh)

    def note(self, fresh: Mapping[Content, Content]) -> dict[Content, Hashed]:
        """Note hashes, and look whether their contents are still those that were read."""
        if self._notes and fresh:
            try:
                self._lake.contents.add_hashes(list(fresh.items()))
            except AccessDenied:
                self._notes = False  # then they are computed again by whoever asks next
        there = look_up(self._lake, [seen.id for seen in fresh])
        return {
            seen: now
            if is_same(seen, now, there[seen.id])
            else Damaged(f"content {seen.id}: it was replaced while it was read")
            for seen, now in fresh.items()
        }


def look_up(lake: Lake, contents: Iterable[ContentId]) -> dict[ContentId, Hashed]:
    """What the files documents say of a batch of contents, with one query if all are well."""
    wanted = list(dict.fromkeys(contents))
    if not wanted:
        return {}
    there = {each.id: each for each in lake.contents.get_many(wanted)}
    found: dict[ContentId, Hashed] = {}
    for identity in wanted:
        try:
            # Asked for by itself, the one that is 1 there and 1.0 here is found too.
            found[identity] = there.get(identity) or lake.contents.get(identity)
        except Damaged as error:
            found[identity] = error
    return found


def hash_all(
    lake: Lake, contents: Iterable[Content], jobs: int, progress: Progress
) -> Iterator[tuple[Content, Hashed]]:
    """Contents as they are given, in that order, and as all of their bytes say they are.

    `progress` is told of the bytes. The first chunk that is missing, altered or of the wrong
    length makes it `Damaged`.
    """
    reading: _Reading | None = None
    for piece in scan(lake, contents, jobs):
        if reading is None:
            reading = _Reading(piece.content)
        progress(0, reading.add(piece))
        if reading.complete:
            yield piece.content, reading.result()
            reading = None


class _Reading:
    """A content on its way."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._count = chunk_count(content.length, content.chunk_size)
        self._next = 0
        self._sha256 = hashlib.sha256()
        self._wants_xxh3 = content.chunk_xxh3 is None and self._count * HASH_BYTES <= MAX_HASHES
        self._xxh3 = bytearray()
        self._fault: Damaged | None = None

    @property
    def complete(self) -> bool:
        """Whether all chunks were added."""
        return self._next >= self._count

    def add(self, piece: Piece) -> int:
        """Take in the next chunks; returns their bytes."""
        size = 0
        for n, chunk in enumerate(piece.chunks, piece.first):
            if not isinstance(chunk, bytes):
                missing = Damaged(f"content {self._content.id}: chunk {n} is missing")
                self._fault = self._fault or chunk or missing
                continue
            size += len(chunk)
            if self._fault is None:
                self._sha256.update(chunk)
            if self._wants_xxh3:
                self._xxh3 += xxh3_64_digest(chunk)
        self._next = piece.first + len(piece.chunks)
        return size

    def result(self) -> Hashed:
        if self._fault is not None:
            return self._fault
        digest = self._sha256.digest()
        if self._wants_xxh3:
            return replace(
                self._content, sha256=digest, chunk_xxh3=bytes(self._xxh3), uploaded_ms=0
            )
        return replace(self._content, sha256=digest)


def is_same(seen: Content, now: Content, there: Hashed) -> bool:
    """Whether a content is the one that was read, as far as that can be told."""
    if isinstance(there, Damaged):
        return False
    return there == seen or (there.sha256, there.length) == (now.sha256, now.length)
