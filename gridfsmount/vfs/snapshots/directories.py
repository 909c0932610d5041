"""Listings of snapshots, and of what is in them, through handles."""

import itertools
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from gridfsmount.core.model import ROOT, SNAPSHOTS, Attributes, Inode, Kind
from gridfsmount.core.names import LATEST
from gridfsmount.errors import NotADirectory
from gridfsmount.store.naming import Page
from gridfsmount.vfs.listing import Entry, Listing
from gridfsmount.vfs.parts import SNAPSHOTS_FLAG
from gridfsmount.vfs.snapshots.catalogue import Catalogue
from gridfsmount.vfs.snapshots.shelf import Shelf
from gridfsmount.vfs.snapshots.snapshot import Snapshot
from gridfsmount.vfs.snapshots.tree import AREA, SnapshotTree

_DOTS: Final = 2
"""Entries that come first: `.` and `..`."""


@dataclass(slots=True)
class _Fixed:
    """A handle on the root, or on the folder of all snapshots."""

    inode: Inode
    entries: list[tuple[str, Attributes]]


@dataclass(slots=True)
class _Inside:
    """A handle on a folder in a snapshot."""

    dots: list[tuple[str, Attributes]]
    listing: Listing
    shelf: Shelf
    snapshot: Snapshot


class SnapshotDirectories:
    """Lists through handles; see `gridfsmount.vfs.parts.Directories`."""

    def __init__(self, catalogue: Catalogue, tree: SnapshotTree) -> None:
        """List `catalogue`, with the attributes of `tree`."""
        self._catalogue = catalogue
        self._tree = tree
        self._handles: dict[int, _Fixed | _Inside] = {}
        self._numbers = itertools.count(SNAPSHOTS_FLAG)

    async def open(self, inode: Inode) -> int:
        """A handle to list a folder."""
        number = next(self._numbers)
        self._handles[number] = await self._handle(inode)
        return number

    async def _handle(self, inode: Inode) -> _Fixed | _Inside:
        here = await self._tree.attributes(inode)
        if here.kind is not Kind.DIRECTORY:
            raise NotADirectory(f"inode {inode} is no folder")
        above = await self._tree.attributes(await self._tree.parent(inode))
        dots = [(".", here), ("..", above)]
        if inode in (ROOT, SNAPSHOTS):
            return _Fixed(inode, dots)
        shelf, snapshot = self._catalogue.at(inode)
        return _Inside(dots, Listing(inode), shelf, snapshot)

    async def read(self, number: int, position: int) -> AsyncGenerator[Entry, None]:
        """Entries from `position` on; `.` and `..` come first."""
        handle = self._handles[number]
        if isinstance(handle, _Inside):
            entries = self._inside(handle, position)
        else:
            entries = self._fixed(handle, position)
        async for entry in entries:
            yield entry

    async def _fixed(self, handle: _Fixed, position: int) -> AsyncGenerator[Entry, None]:
        if position == 0 or len(handle.entries) == _DOTS:  # or another handle gave the position
            inside = (
                [(AREA, self._catalogue.folder)]
                if handle.inode == ROOT
                else self._catalogue.entries()
            )
            handle.entries[_DOTS:] = inside
        for index, (name, attributes) in enumerate(handle.entries[position:], position):
            yield Entry(name, attributes, index + 1)

    async def _inside(self, handle: _Inside, position: int) -> AsyncGenerator[Entry, None]:
        listing, shelf = handle.listing, handle.shelf
        if position == 0:
            listing.rewind()

        def note(page: Page, began: float, first: bool) -> None:
            for _, node in page.entries:
                shelf.remember(node)
            shelf.folders.listed(listing.inode, page.entries, began, first=first)

        for index, (name, attributes) in enumerate(handle.dots[position:], position):
            yield Entry(name, attributes, index + 1)
        offset = len(handle.dots)
        index = max(0, position - offset)
        while True:
            rest = await listing.from_index(shelf, shelf.workers, index, note)
            if not rest:
                break
            for at, name, node in rest:
                index = at + 1
                yield Entry(name, self._tree.shown(node), offset + index)
        if index <= listing.length:
            latest = await shelf.workers.foreground(handle.snapshot.latest, listing.inode)
            if latest is not None:
                yield Entry(LATEST, self._tree.shown(latest), offset + listing.length + 1)

    def about(self, number: int) -> Inode | None:
        """The directory of a handle, if it is open."""
        handle = self._handles.get(number)
        if handle is None:
            return None
        return handle.inode if isinstance(handle, _Fixed) else handle.listing.inode

    def close(self, number: int) -> None:
        """Forget a handle."""
        del self._handles[number]
