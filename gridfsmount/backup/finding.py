"""What is known of contents that a backup shows, before any of them is read.

They may have been removed since: then what they were is in the trash, and so are their chunks. And
what has no SHA-256 in the lake may have had one when the last backup read it.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gridfsmount.backup.snapshots import contents_of
from gridfsmount.core.model import Content, ContentId
from gridfsmount.core.vault import Vault
from gridfsmount.errors import Damaged, NotFound
from gridfsmount.store.lake import Lake
from gridfsmount.store.trash import MOVING_POLL, MOVING_SECONDS
from gridfsmount.vaults.manifest import Manifest
from gridfsmount.versions.hashing import Hashed, look_up

log = logging.getLogger(__name__)


def find(lake: Lake, contents: Sequence[ContentId]) -> dict[ContentId, Hashed]:
    """What the lake knows of a batch of contents, in the trash too."""
    found = look_up(lake, contents)
    until = time.monotonic() + MOVING_SECONDS
    while missing := [each for each, state in found.items() if isinstance(state, Damaged)]:
        there, moving = lake.trash.find(missing)
        found |= {each.id: each for each in there}
        # Once more: it may have come back while it was looked for there.
        rest = [each for each in missing if isinstance(found[each], Damaged)]
        found |= look_up(lake, rest)
        if not moving or time.monotonic() > until:
            break
        time.sleep(MOVING_POLL)
    return found


class Previous:
    """The newest snapshot of a vault that can be read, asked for what it knew of contents."""

    def __init__(self, vault: Vault, folder: Path) -> None:
        """Copy its manifest into `folder` if need be."""
        self._manifest: Manifest | None = None
        for name in reversed(vault.snapshots()):
            try:
                self._manifest = Manifest(vault.manifest(name, folder), name)
                return
            except (Damaged, NotFound) as error:
                log.warning("not of use: %s", error)

    def find(self, contents: Sequence[ContentId]) -> dict[ContentId, Content]:
        """What it knew of some contents; only those that it had a SHA-256 of."""
        known = {} if self._manifest is None else contents_of(self._manifest, contents)
        return {each: content for each, content in known.items() if content.sha256 is not None}

    def close(self) -> None:
        """Let go of the file."""
        if self._manifest is not None:
            self._manifest.close()


def with_hash(content: Content, known: Content | None) -> Content:
    """A content with the SHA-256 that it had in an earlier snapshot, if it is still that one."""
    if known is None or known.length != content.length:
        return content
    if content.chunk_xxh3 is None:
        same = content.uploaded_ms == known.uploaded_ms != 0
    else:
        same = content.chunk_xxh3 == known.chunk_xxh3
    return replace(content, sha256=known.sha256) if same else content
