"""The manifest of a version, file by file."""

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeVar

from gridfsmount.core.batches import batches
from gridfsmount.core.manifest import EMPTY_SHA256, manifest_line
from gridfsmount.core.model import Content, ContentId, Inode, Kind, Node
from gridfsmount.errors import Conflict, Damaged
from gridfsmount.store.lake import Lake
from gridfsmount.versions.hashing import Hashed, Hasher
from gridfsmount.versions.walk import Entry, walk

T = TypeVar("T")

BATCH: Final = 1000
"""Files whose contents are asked for together."""


class Line(NamedTuple):
    """One file of a version."""

    line: bytes
    entry: Entry
    content: Content | None
    """None when it is empty."""


def manifest(lake: Lake, version: Node, hasher: Hasher) -> Iterator[Line]:
    """The regular files below a version or a folder, in the order of the manifest.

    Every name of a file has its line. Hashes that are not known are computed, by `hasher`.

    Raises:
        Damaged: a file's content is missing or wrong; the text names the file.
        Conflict: a file of a draft was written or removed meanwhile.
        FileSystemError: the server gives no answer.
    """
    files = (each for each in walk(lake, version) if each.node.kind is Kind.FILE)
    for batch in batches(files, BATCH):
        shown = [each.node.content for each in batch if each.node.content is not None]
        contents = hasher.load(shown)
        for entry in batch:
            node, content = entry.node, None
            if node.content is not None:
                found = contents[node.content]
                content = readable(lake, entry.path, node.inode, node.content, found)
            yield Line(manifest_line(sha256_of(content), entry.path), entry, content)


def readable(lake: Lake, path: str, inode: Inode, content: ContentId, found: Hashed) -> Content:
    """What was found of the content that a file showed.

    Raises:
        Damaged: it is missing or wrong; the text names the file.
        Conflict: the file was written or removed meanwhile, in a draft.
    """
    if isinstance(found, Content):
        return found
    now = lake.tree.get(inode)
    if now is None or now.content != content:
        raise Conflict(f"{path}: it was changed meanwhile; try again")
    raise Damaged(f"{path}: {found}") from found


def sha256_of(content: Content | None) -> bytes:
    """The hash of what a file shows, which a hasher brought."""
    if content is None:
        return EMPTY_SHA256
    assert content.sha256 is not None, "a hasher leaves none without"
    return content.sha256
