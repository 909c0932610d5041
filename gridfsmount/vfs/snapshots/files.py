"""Contents of files in snapshots, through handles."""

import itertools
from dataclasses import dataclass

from gridfsmount.core.chunks import Bytes
from gridfsmount.core.model import ROOT, SNAPSHOTS, Caller, Content, ContentId, Inode, Kind
from gridfsmount.errors import (
    Damaged,
    FileSystemError,
    InvalidArgument,
    StoreFailed,
    StoreUnavailable,
)
from gridfsmount.vfs.open_files import Opened
from gridfsmount.vfs.parts import SNAPSHOTS_FLAG
from gridfsmount.vfs.snapshots.catalogue import Catalogue
from gridfsmount.vfs.snapshots.shelf import Shelf
from gridfsmount.vfs.snapshots.snapshot import Snapshot
from gridfsmount.vfs.snapshots.unchanging import refuse


@dataclass(frozen=True, slots=True)
class _Handle:
    """One open(2)."""

    inode: Inode
    content: Content | None
    shelf: Shelf
    snapshot: Snapshot
    direct: bool


class SnapshotFiles:
    """Reads through handles; see `gridfsmount.vfs.parts.OpenedFiles`."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Serve `catalogue`."""
        self._catalogue = catalogue
        self._handles: dict[int, _Handle] = {}
        self._numbers = itertools.count(SNAPSHOTS_FLAG)

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
        """Open a file to be read.

        Raises:
            ReadOnly: it is to be written.
            Damaged: there is nothing to read.
        """
        if writable or truncate:
            refuse()
        if inode in (ROOT, SNAPSHOTS):
            raise InvalidArgument(f"inode {inode} is no regular file")
        shelf, snapshot = self._catalogue.at(inode)
        node = await shelf.node(snapshot, inode)
        if node.kind is not Kind.FILE:
            raise InvalidArgument(f"inode {inode} is no regular file")
        shelf.folders.opened(node)
        try:
            content = await shelf.content(snapshot, node)
        except (Damaged, StoreUnavailable, StoreFailed) as error:
            raise await _placed(shelf, snapshot, inode, error) from error
        number = next(self._numbers)
        self._handles[number] = _Handle(inode, content, shelf, snapshot, direct)
        return Opened(number, keep_cache=True, direct_io=False)

    async def read(self, number: int, offset: int, size: int) -> Bytes:
        """Bytes of an open file.

        Raises:
            Damaged, StoreUnavailable: they cannot be had; the text says of which file.
        """
        handle = self._handles[number]
        if handle.content is None:
            return b""
        try:
            return await handle.shelf.reader.read(
                handle.content, offset, size, settled=True, keep=handle.direct
            )
        except (Damaged, StoreUnavailable, StoreFailed) as error:
            raise await _placed(handle.shelf, handle.snapshot, handle.inode, error) from error

    def about(self, number: int) -> tuple[Inode, ContentId | None] | None:
        """Inode and content of a handle, if it is open."""
        handle = self._handles.get(number)
        if handle is None:
            return None
        return handle.inode, None if handle.content is None else handle.content.id

    async def write(self, number: int, offset: int, data: bytes) -> int:
        """Nothing can be written."""
        refuse()

    async def commit(self, number: int, *, synced: bool) -> None:
        """Nothing was written."""

    async def release(self, number: int) -> None:
        """Close a handle."""
        del self._handles[number]


async def _placed(
    shelf: Shelf, snapshot: Snapshot, inode: Inode, error: FileSystemError
) -> FileSystemError:
    """The same error, with the path of the file in its text."""
    try:
        path = await shelf.workers.foreground(snapshot.path, inode)
    except FileSystemError:
        path = snapshot.name
    return type(error)(f"snapshots/{path}: {error}")
