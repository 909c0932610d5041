"""The two trees of a comparison: what is in each, in the same order, and its hashes if need be."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gridfsmount.core.manifest import EMPTY_SHA256, sort_key
from gridfsmount.core.model import ContentId, Inode, Kind, Node
from gridfsmount.store.lake import Lake
from gridfsmount.versions.hashing import Hashed, Hasher
from gridfsmount.versions.manifest import readable, sha256_of
from gridfsmount.versions.walk import walk

_FILE: Final = Kind.FILE.value
_FOLDER: Final = Kind.DIRECTORY.value


@dataclass(frozen=True, slots=True)
class Item:
    """Something in a tree, as far as it is compared."""

    path: str
    """Below the top."""
    kind: str
    """The value of a `Kind`; "device" for what no lake holds."""
    mode: int | None = None
    """Permission bits; None where they are not known, and of symbolic links, which have none."""
    size: int = 0
    """Bytes of a file."""
    target: str = ""
    """Of a symbolic link."""
    inode: Inode | None = None
    """Of what lies in a lake."""
    content: ContentId | None = None
    """Of a file in a lake that is not empty: equal contents have equal bytes."""

    @property
    def key(self) -> bytes:
        """What it is ordered by."""
        return sort_key(self.path, folder=self.is_folder)

    @property
    def is_folder(self) -> bool:
        """Whether it has other things in it."""
        return self.kind == _FOLDER

    @property
    def is_file(self) -> bool:
        """Whether it has bytes."""
        return self.kind == _FILE


class Side(Protocol):
    """One of the two trees."""

    def items(self) -> Iterator[Item]:
        """All that is in it, by `Item.key`, in bounded memory.

        Raises:
            LakeError: it cannot be read; the text says which part of it.
        """

    def hashes(self, files: Sequence[Item]) -> list[bytes]:
        """The SHA-256 of each of a batch of its files.

        Raises:
            LakeError: one cannot be read; the text says which.
        """


class LakeSide:
    """A version, or a folder in one."""

    def __init__(self, lake: Lake, top: Node, hasher: Hasher) -> None:
        """Compare what is below `top`."""
        self._lake = lake
        self._top = top
        self._hasher = hasher

    def items(self) -> Iterator[Item]:
        """See `Side`."""
        for entry in walk(self._lake, self._top):
            node = entry.node
            mode = None if node.kind is Kind.SYMLINK else node.mode
            yield Item(
                entry.path,
                node.kind.value,
                mode,
                node.size,
                node.target,
                node.inode,
                node.content,
            )

    def hashes(self, files: Sequence[Item]) -> list[bytes]:
        """See `Side`."""
        shown = [each.content for each in files if each.content is not None]
        found = self._hasher.load(shown)
        return [self._sha256(each, found) for each in files]

    def _sha256(self, item: Item, found: Mapping[ContentId, Hashed]) -> bytes:
        if item.inode is None or item.content is None:
            return EMPTY_SHA256
        content = readable(self._lake, item.path, item.inode, item.content, found[item.content])
        return sha256_of(content)
