"""The parts of what a mount shows: the lake, the snapshots of its vaults, and its statistics.

Each answers for inodes and handles of its own. Which part a number belongs to is told by the number
alone, so that whoever translates the kernel's requests decides it in one place.
"""

from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from gridfsmount.core.chunks import Bytes
from gridfsmount.core.model import (
    SNAPSHOTS,
    Attributes,
    Caller,
    Change,
    ContentId,
    Inode,
    Kind,
    Space,
)
from gridfsmount.vfs.listing import Entry
from gridfsmount.vfs.open_files import Opened

SNAPSHOTS_FLAG: Final = 1 << 62
"""Set in the numbers of all inodes and handles of snapshots, and in none of the lake."""

STATS: Final = Inode(1 << 61)
"""Number of `.stats`, and a bit in the numbers of its handles: below that of snapshots, above
that of `latest`."""


def is_of_snapshots(inode: int) -> bool:
    """Whether an inode lies in snapshots, or is the folder of all of them."""
    return bool(inode & SNAPSHOTS_FLAG) or inode == SNAPSHOTS


class Tree(Protocol):
    """Names and attributes; see `gridfsmount.vfs.lake_tree.LakeTree`."""

    async def lookup(self, parent: Inode, name: str) -> Attributes:
        """Attributes of a name in a directory."""

    async def attributes(self, inode: Inode) -> Attributes:
        """Attributes of an inode."""

    async def read_link(self, inode: Inode) -> str:
        """Target of a symbolic link."""

    async def space(self) -> Space:
        """Figures of the disk."""

    async def make(
        self, parent: Inode, name: str, kind: Kind, mode: int, caller: Caller, target: str = ""
    ) -> Attributes:
        """Make something that is no open file."""

    async def create(
        self,
        parent: Inode,
        name: str,
        mode: int,
        caller: Caller,
        *,
        exclusive: bool,
        writable: bool,
        append: bool,
        truncate: bool,
        mappable: bool,
    ) -> tuple[Opened, Attributes]:
        """Make a file and open it."""

    async def link(self, inode: Inode, parent: Inode, name: str) -> Attributes:
        """Give a file one more name."""

    async def unlink(self, parent: Inode, name: str) -> None:
        """Remove a name of anything but a directory."""

    async def remove_directory(self, parent: Inode, name: str) -> None:
        """Remove an empty directory."""

    async def change(
        self, inode: Inode, change: Change, caller: Caller, handle: int | None
    ) -> Attributes:
        """Set mode, owner, times and size."""

    async def drop_set_id(self, inode: Inode, caller: Caller) -> bool:
        """Take set-ID bits from a file that `caller` truncates; whether there were any."""


class Renaming(Protocol):
    """Renames; see `gridfsmount.vfs.renaming.Renaming`."""

    async def rename(
        self,
        parent: Inode,
        name: str,
        new_parent: Inode,
        new_name: str,
        *,
        replace_existing: bool = True,
        exchange: bool = False,
    ) -> None:
        """Move a name."""


class OpenedFiles(Protocol):
    """Contents through handles; see `gridfsmount.vfs.files.Files`."""

    async def open(
        self,
        inode: Inode,
        caller: Caller,
        *,
        writable: bool,
        append: bool,
        truncate: bool,
        direct: bool = False,
        mappable: bool = False,
    ) -> Opened:
        """Open a file."""

    async def read(self, number: int, offset: int, size: int) -> Bytes:
        """Bytes of an open file."""

    async def write(self, number: int, offset: int, data: bytes) -> int:
        """Write to an open file."""

    async def commit(self, number: int, *, synced: bool) -> None:
        """Make what was written durable and visible."""

    async def release(self, number: int) -> None:
        """Close a handle."""

    def about(self, number: int) -> tuple[Inode, ContentId | None] | None:
        """Inode and content of a handle, if it is open."""


class Directories(Protocol):
    """Listings through handles; see `gridfsmount.vfs.directories.Directories`."""

    async def open(self, inode: Inode) -> int:
        """A handle to list a directory."""

    def read(self, number: int, position: int) -> AsyncGenerator[Entry, None]:
        """Entries from `position` on."""

    def about(self, number: int) -> Inode | None:
        """The directory of a handle, if it is open."""

    def close(self, number: int) -> None:
        """Forget a handle."""


class Annotations(Protocol):
    """Extended attributes; see `gridfsmount.vfs.annotations.Annotations`."""

    async def get(self, inode: Inode, name: str) -> bytes:
        """Value of one."""

    async def names(self, inode: Inode) -> list[str]:
        """Names of those that were set."""

    async def set(self, inode: Inode, name: str, value: bytes, caller: Caller) -> None:
        """Set one."""

    async def remove(self, inode: Inode, name: str) -> None:
        """Remove one."""


@dataclass(frozen=True, slots=True)
class Part:
    """All that answers for one part."""

    tree: Tree
    renaming: Renaming
    files: OpenedFiles
    directories: Directories
    annotations: Annotations
    forget: Callable[[Iterable[Inode]], None]
    """Told of inodes that the kernel holds no more."""
