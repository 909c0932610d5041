"""Contents of snapshots, from a vault: chunks of blobs, each checked. Blocking.

A content of a snapshot is told from others by its SHA-256 and its chunk size, never by the `_id`
that the lake had for it: a driver may have given that to another one since.
"""

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from xxhash import xxh3_64_digest

from gridfsmount.core.chunks import (
    DEFAULT_CHUNK_SIZE,
    HASH_BYTES,
    Bytes,
    chunk_count,
    chunk_length,
    packed_hash,
)
from gridfsmount.core.model import Content, ContentId
from gridfsmount.core.vault import Vault
from gridfsmount.errors import Damaged

STEP_BYTES: Final = 64 << 20
"""Bytes that are hashed in one go, of a content whose chunks have no hashes yet."""

_MARK: Final = b"blob"  # no BSON document begins like that: its length would be 1.6 GB


def blob_content(content: Content, vault: int) -> Content | None:
    """A content of a manifest, as one of the `vault`-th vault; None if it was not copied there.

    Without the hashes of its chunks these are cut as is best here: the vault has none.
    """
    if content.sha256 is None:
        return None
    hashes = content.chunk_xxh3
    count = chunk_count(content.length, content.chunk_size) if content.chunk_size > 0 else -1
    if hashes is not None and len(hashes) != count * HASH_BYTES:
        hashes = None
    size = DEFAULT_CHUNK_SIZE if hashes is None else content.chunk_size
    how = b"-" if hashes is None else b"+"
    return Content(
        id=ContentId(
            _MARK + how + vault.to_bytes(2, "big") + size.to_bytes(8, "big") + content.sha256,
            f"blob {content.sha256.hex()}",
        ),
        length=content.length,
        chunk_size=size,
        sha256=content.sha256,
        chunk_xxh3=hashes,
    )


def sha256_of(content: ContentId) -> bytes:
    """The blob that a content of a snapshot is."""
    return content.bson[len(_MARK) + 11 :]


def is_verifiable(content: Content) -> bool:
    """Whether a part of it can be checked without the rest."""
    return content.chunk_xxh3 is not None or content.length <= content.chunk_size


class Blobs:
    """The blobs of one vault, as contents; see `gridfsmount.reading.source.Chunked`."""

    def __init__(self, vault: Callable[[], Vault]) -> None:
        """Read from `vault`, which raises StoreUnavailable while it cannot be opened."""
        self._vault = vault

    def read(
        self, content: Content, first: int, past: int, *, settled: bool = False
    ) -> Sequence[Bytes]:
        """Chunks, each checked: by its hash, or a blob of one chunk by its SHA-256."""
        start = first * content.chunk_size
        size = min(past * content.chunk_size, content.length) - start
        data = self._vault().read(sha256_of(content.id), start, size)
        view = memoryview(data)
        chunks: list[Bytes] = []
        for n in range(first, past):
            length = chunk_length(n, content.length, content.chunk_size)
            at = n * content.chunk_size - start
            chunk = data if length == len(data) else view[at : at + length]
            if len(chunk) != length:
                raise Damaged(f"{content.id} ends after {start + len(data):,} bytes")
            if not _is_right(content, n, chunk):
                raise Damaged(f"chunk {n} of {content.id} is altered")
            chunks.append(chunk)
        return chunks

    def read_whole(self, contents: Sequence[Content]) -> Sequence[tuple[Content, Sequence[Bytes]]]:
        """All chunks of small blobs; those that are damaged are left out."""
        whole: list[tuple[Content, Sequence[Bytes]]] = []
        for content in contents:
            count = chunk_count(content.length, content.chunk_size)
            with contextlib.suppress(Damaged):
                whole.append((content, self.read(content, 0, count)))
        return whole


class Hashing:
    """Gives the chunks of a blob their hashes, so that each can be checked from then on."""

    def __init__(self, vault: Callable[[], Vault], content: Content) -> None:
        """Read `content` from `vault`."""
        self._vault = vault
        self._content = content
        self._sha256 = hashlib.sha256()
        self._hashes: list[bytes] = []
        self._offset = 0

    def step(self) -> Content | None:
        """Read on; the content with its hashes once all of it has been read.

        Raises:
            Damaged: the blob is not what its name says.
        """
        content = self._content
        blob = sha256_of(content.id)
        data = memoryview(self._vault().read(blob, self._offset, STEP_BYTES))
        self._sha256.update(data)
        self._hashes += [
            xxh3_64_digest(data[at : at + content.chunk_size])
            for at in range(0, len(data), content.chunk_size)
        ]
        self._offset += len(data)
        if len(data) == STEP_BYTES:
            return None
        if self._sha256.digest() != blob or self._offset != content.length:
            raise Damaged(f"{content.id} is altered")
        return replace(content, chunk_xxh3=b"".join(self._hashes))


def _is_right(content: Content, n: int, chunk: Bytes) -> bool:
    known = packed_hash(content.chunk_xxh3, n)
    if known is not None:
        return xxh3_64_digest(chunk) == known
    return content.length == len(chunk) and hashlib.sha256(chunk).digest() == sha256_of(content.id)
