"""Contents of a lake that lost chunks, healed from a vault. Blocking; for one thread.

A content that knows its SHA-256 is healed from the blob of that name; another one from what a
snapshot says of it, if it is the same still. A blob is read through before a byte of it is written.
"""

import hashlib
import logging
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from xxhash import xxh3_64_digest

from gridfsmount.core.chunks import chunk_count, packed_hash
from gridfsmount.core.model import Content, ContentId
from gridfsmount.core.vault import Vault
from gridfsmount.errors import Damaged, NotFound
from gridfsmount.store.lake import Lake
from gridfsmount.vaults.manifest import Manifest

log = logging.getLogger(__name__)

READ_BYTES: Final = 4 << 20
"""Bytes that are compared together."""

READ_CHUNKS: Final = 10_000
"""Chunks that are compared together, should they be tiny."""


class Healer:
    """Brings the bytes of contents back from one vault."""

    def __init__(self, lake: Lake, vault: Vault) -> None:
        """Heal `lake` from `vault`, which is one of the same lake."""
        self._lake = lake
        self._vault = vault
        self._stack = ExitStack()
        self._manifests: list[Manifest] = []
        """Those of the newest snapshots, as far as they were needed."""
        self._others = iter(vault.snapshots()[::-1])

    def close(self) -> None:
        """Let go of the manifests."""
        self._stack.close()

    def heal(self, identity: ContentId) -> bool:
        """Put right chunks of a content that are missing or not what they were.

        Returns False when the vault does not have it.

        Raises:
            Damaged: neither is right.
            FileSystemError: either gives no answer.
        """
        return self._heal(self._lake.contents.get(identity))

    def bring_back(self, identity: ContentId, path: str) -> bool:
        """Make a content anew that is gone altogether, for the file at a path that shows it.

        Returns False when the vault does not have it; raises as `heal`.
        """
        known = self._known(identity)
        if known is None or self._lake.contents.exists(identity) or not self._heal(known):
            return False
        self._lake.contents.publish(replace(known, uploaded_ms=0), path)
        return True

    def _heal(self, content: Content) -> bool:
        known = content
        if content.sha256 is None:
            backed = self._known(content.id)
            if backed is None or not _is_same(content, backed):
                return False
            known = replace(content, sha256=backed.sha256)
        assert known.sha256 is not None
        if not self._vault.present([known.sha256]):
            return False
        hashes = self._hashes(known)
        count = chunk_count(known.length, known.chunk_size)
        step = max(1, min(READ_BYTES // known.chunk_size, READ_CHUNKS))
        for first in range(0, count, step):
            self._mend(known, hashes, first, min(first + step, count))
        return True

    def _hashes(self, content: Content) -> bytes:
        """The XXH3-64 of each chunk, of a blob that is right.

        Raises:
            Damaged: it is not.
        """
        digest, hashes = hashlib.sha256(), bytearray()
        for piece in self._pieces(content):
            digest.update(piece)
            for at in range(0, len(piece), content.chunk_size):
                hashes += xxh3_64_digest(piece[at : at + content.chunk_size])
        if digest.digest() != content.sha256:
            assert content.sha256 is not None
            raise Damaged(f"the blob {content.sha256.hex()} in {self._vault.address} is damaged")
        if content.chunk_xxh3 not in (None, bytes(hashes)):
            raise Damaged(f"content {content.id}: its hashes of chunks do not fit its SHA-256")
        return bytes(hashes)

    def _pieces(self, content: Content) -> Iterator[bytes]:
        assert content.sha256 is not None
        step = max(1, min(READ_BYTES // content.chunk_size, READ_CHUNKS)) * content.chunk_size
        for offset in range(0, content.length, step):
            size = min(step, content.length - offset)
            yield self._vault.read(content.sha256, offset, size)

    def _mend(self, content: Content, hashes: bytes, first: int, past: int) -> None:
        bad = self._bad(content, hashes, first, past)
        if not bad:
            return
        assert content.sha256 is not None
        size = content.chunk_size
        chunks = [(n, self._vault.read(content.sha256, n * size, size)) for n in bad]
        for n, data in chunks:
            if xxh3_64_digest(data) != packed_hash(hashes, n):
                raise Damaged(f"the blob {content.sha256.hex()} changed while it was read")
        self._lake.contents.put_chunks(content.id, chunks)
        if self._bad(content, hashes, first, past):
            raise Damaged(f"content {content.id}: what was written is not what the server returns")
        log.info("healed %d chunks of content %s", len(chunks), content.id)

    def _bad(self, content: Content, hashes: bytes, first: int, past: int) -> list[int]:
        found = self._lake.contents.examine(content, first, past)
        return [
            n
            for n, chunk in enumerate(found, first)
            if not isinstance(chunk, bytes) or xxh3_64_digest(chunk) != packed_hash(hashes, n)
        ]

    def _known(self, identity: ContentId) -> Content | None:
        """What the newest snapshot that knows a content says of it."""
        for manifest in self._opened():
            rows = manifest.query(
                "SELECT id FROM content WHERE lake_id = ? AND sha256 IS NOT NULL", (identity.bson,)
            )
            for each in manifest.contents(row[0] for row in rows).values():
                return each.content
        return None

    def _opened(self) -> Iterator[Manifest]:
        """Manifests, the newest first: nearly always one is enough."""
        yield from list(self._manifests)
        for name in self._others:
            place = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="gridfsmount-"))
            try:
                manifest = Manifest(self._vault.manifest(name, Path(place)), name)
            except (Damaged, NotFound) as error:
                log.warning("left out: %s", error)
                continue
            self._stack.callback(manifest.close)
            self._manifests.append(manifest)
            yield manifest


def _is_same(content: Content, backed: Content) -> bool:
    """Whether a content without a SHA-256 is the one that was backed up."""
    if (content.length, content.chunk_size) != (backed.length, backed.chunk_size):
        return False
    if content.chunk_xxh3 is not None:
        return content.chunk_xxh3 == backed.chunk_xxh3
    return content.uploaded_ms == backed.uploaded_ms
