"""Directories as lists, and the link `latest` that each folder of versions shows."""

import itertools
from collections.abc import AsyncGenerator, Callable, Container
from dataclasses import dataclass

from gridfsmount.core.model import ROOT, Attributes, Inode, Kind, Node
from gridfsmount.core.names import LATEST
from gridfsmount.core.versions import latest_link
from gridfsmount.errors import NotFound
from gridfsmount.reading.folders import FolderAhead
from gridfsmount.store.naming import Page
from gridfsmount.store.tree import Tree
from gridfsmount.vfs.listing import Entry, Listing, Listings, index_of, position_of
from gridfsmount.vfs.recent import RecentNodes
from gridfsmount.vfs.removed import RemovedNodes
from gridfsmount.vfs.rules import Level, level_of
from gridfsmount.workers import Workers


@dataclass(slots=True)
class _Handle:
    """An open directory."""

    inode: Inode
    extra: list[tuple[str, Node]]
    """Entries that have no node in the tree, before all others."""
    listing: Listing | None = None
    """That it last read in."""


class Directories:
    """Lists directories through handles."""

    def __init__(
        self,
        tree: Tree,
        workers: Workers,
        recent: RecentNodes,
        folders: FolderAhead,
        removed: RemovedNodes,
        show: Callable[[Node], Attributes],
    ) -> None:
        """List `tree`; `show` gives the attributes of an entry."""
        self._tree = tree
        self._workers = workers
        self._recent = recent
        self._folders = folders
        self._removed = removed
        self._show = show
        self._listings = Listings()
        self._handles: dict[int, _Handle] = {}
        self._numbers = itertools.count(1)

    async def open(self, inode: Inode) -> int:
        """A handle to list a directory; of one that was removed the kernel asks for no entries."""
        removed = self._removed.get(inode)
        if removed is not None:
            return self._enter(_Handle(inode, [(".", removed)]))
        folder = await self._recent.directory(inode)
        await self._recent.learn(folder.version)
        return self._enter(_Handle(inode, [(".", folder), ("..", await self._parent(folder))]))

    async def read(self, number: int, position: int) -> AsyncGenerator[Entry, None]:
        """Entries from `position` on, which any handle gave; `.` and `..` come first."""
        handle = self._handles[number]
        if position == 0:
            listing = self._listings.begin(handle.inode)
        else:
            listing = self._listings.resume(handle.inode, position, handle.listing)
        if handle.listing is not None and handle.listing is not listing:
            self._listings.left(handle.listing)
        handle.listing = listing

        def note(page: Page, began: float, first: bool) -> None:
            self._recent.listed([node for _, node in page.entries], began)
            self._folders.listed(listing.inode, page.entries, began, first=first)

        start = index_of(position)
        for index, (name, node) in enumerate(handle.extra[start:], start):
            yield Entry(name, self._show(node), position_of(listing, index + 1))
        offset = len(handle.extra)
        index = max(0, start - offset)
        while True:
            rest = await listing.from_index(self._tree, self._workers, index, note)
            empty = True
            for at, name, node in rest:
                empty = False
                index = at + 1
                yield Entry(name, self._show(node), position_of(listing, offset + index))
            if empty:
                break
        if index <= listing.length:
            latest = await self._latest(handle)
            if latest is not None:
                position = position_of(listing, offset + listing.length + 1)
                yield Entry(LATEST, self._show(latest), position)

    def about(self, number: int) -> Inode | None:
        """The directory of a handle, if it is open."""
        handle = self._handles.get(number)
        return None if handle is None else handle.inode

    def close(self, number: int) -> None:
        """Forget a handle."""
        handle = self._handles.pop(number)
        if handle.listing is not None:
            self._listings.left(handle.listing)

    def has_open(self, inode: Inode) -> bool:
        """Whether a directory has a handle."""
        return any(handle.inode == inode for handle in self._handles.values())

    def changed(self, folders: Container[Inode]) -> None:
        """Names in these directories came or went.

        The kernel takes what a listing shows for what there is. So nothing may be shown from a page
        that was read before.
        """
        self._listings.changed(folders)
        for handle in self._handles.values():
            if handle.listing is not None and handle.inode in folders:
                handle.listing.outdate()

    async def latest(self, folder: Node) -> Node:
        """The link `latest` of a folder, which has no document of its own.

        Raises:
            NotFound: the folder has no version to point to.
        """
        nodes = await self._workers.foreground(
            self._tree.children_of_kind, folder.inode, Kind.DIRECTORY
        )
        link = latest_link(folder, nodes)
        if link is None:
            raise NotFound(LATEST)
        return link

    def _enter(self, handle: _Handle) -> int:
        number = next(self._numbers)
        self._handles[number] = handle
        return number

    async def _parent(self, folder: Node) -> Node:
        return folder if folder.inode == ROOT else await self._recent.directory(folder.parent)

    async def _latest(self, handle: _Handle) -> Node | None:
        folder = handle.extra[0][1]
        if level_of(folder) is not Level.FOLDER:
            return None
        try:
            return await self.latest(folder)
        except NotFound:
            return None
