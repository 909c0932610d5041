"""Blobs that a vault lost, brought back from the lake."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from gridfsmount.core.model import Content
from gridfsmount.core.vault import Vault
from gridfsmount.errors import Damaged
from gridfsmount.scanning import scan
from gridfsmount.store.lake import Lake


def heal(vault: Vault, lake: Lake, blob: bytes, sources: Sequence[Content]) -> None:
    """Copy a blob anew, from the first of some contents of the lake that is right.

    Args:
        vault: where the blob is missing, or known to be damaged.
        lake: where the bytes may be still, in the trash too.
        blob: its SHA-256.
        sources: what the lake had with these bytes, as manifests tell.

    Raises:
        Damaged: none of them is right any more.
    """
    reason = Damaged("nothing in the lake had these bytes")
    for content in sources:
        try:
            # As the manifest says, not the files document: that of a removed file is in the trash.
            vault.put(blob, content.length, _bytes_of(lake, replace(content, sha256=None)))
        except Damaged as error:
            reason = error
        else:
            return
    raise reason


def _bytes_of(lake: Lake, content: Content) -> Iterator[bytes]:
    for piece in scan(lake, [content]):
        for n, chunk in enumerate(piece.chunks, piece.first):
            if not isinstance(chunk, bytes):
                raise chunk or Damaged(f"content {content.id}: chunk {n} is missing")
            yield chunk
