"""The manifest of a version, file by file."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from gridfsmount.core.manifest import EMPTY_SHA256, manifest_line
from gridfsmount.core.model import Content, Kind, Node
from gridfsmount.errors import Conflict, Damaged, FileSystemError
from gridfsmount.store.lake import Lake
from gridfsmount.versions.hashing import Hasher
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
            content = None if entry.node.content is None else contents[entry.node.content]
            if isinstance(content, Damaged):
                raise explained(lake, entry, content)
            sha256 = EMPTY_SHA256 if content is None else content.sha256
            assert sha256 is not None, "the hasher leaves none without"
            yield Line(manifest_line(sha256, entry.path), entry, content)


def explained(lake: Lake, entry: Entry, error: Damaged) -> FileSystemError:
    """Why the bytes of a file cannot be told: in a draft it may just have been written anew."""
    now = lake.tree.get(entry.node.inode)
    if now is None or now.content != entry.node.content:
        return Conflict(f"{entry.path}: it was changed meanwhile; try again")
    return Damaged(f"{entry.path}: {error}")


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Items in lists of `size`, the last of what is left."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
