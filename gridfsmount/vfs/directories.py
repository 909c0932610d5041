"""Directories as lists, and the link `latest` that each folder of versions shows."""

import itertools
from collections.abc import AsyncGenerator, Callable, Container

from gridfsmount.core.model import ROOT, Attributes, Inode, Kind, Node
from gridfsmount.core.names import LATEST
from gridfsmount.core.versions import latest_link
from gridfsmount.errors import NotFound
from gridfsmount.reading.folders import FolderAhead
from gridfsmount.store.naming import Page
from gridfsmount.store.tree import Tree
from gridfsmount.vfs.listing import Entry, Listing
from gridfsmount.vfs.recent import RecentNodes
from gridfsmount.vfs.removed import RemovedNodes
from gridfsmount.vfs.rules import Level, level_of
from gridfsmount.workers import Workers


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
        self._listings: dict[int, Listing] = {}
        self._numbers = itertools.count(1)

    async def open(self, inode: Inode) -> int:
        """A handle to list a directory; of one that was removed the kernel asks for no entries."""
        removed = self._removed.get(inode)
        if removed is not None:
            return self._enter(Listing(inode, [(".", removed)]))
        folder = await self._recent.directory(inode)
        await self._recent.learn(folder.version)
        return self._enter(Listing(inode, [(".", folder), ("..", await self._parent(folder))]))

    async def read(self, number: int, position: int) -> AsyncGenerator[Entry, None]:
        """Entries from `position` on; `.` and `..` come first."""
        listing = self._listings[number]
        if position == 0:
            listing.rewind()

        def note(page: Page, began: float, first: bool) -> None:
            self._recent.listed([node for _, node in page.entries], began)
            self._folders.listed(listing.inode, page.entries, began, first=first)

        for index, (name, node) in enumerate(listing.extra[position:], position):
            yield Entry(name, self._show(node), index + 1)
        offset = len(listing.extra)
        index = max(0, position - offset)
        while True:
            rest = await listing.from_index(self._tree, self._workers, index, note)
            empty = True
            for at, name, node in rest:
                empty = False
                index = at + 1
                yield Entry(name, self._show(node), offset + index)
            if empty:
                break
        if index <= listing.length:
            latest = await self._latest_entry(listing, offset + listing.length + 1)
            if latest is not None:
                yield latest

    def close(self, number: int) -> None:
        """Forget a handle."""
        del self._listings[number]

    def has_open(self, inode: Inode) -> bool:
        """Whether a directory has a handle."""
        return any(listing.inode == inode for listing in self._listings.values())

    def changed(self, folders: Container[Inode]) -> None:
        """Names in these directories came or went.

        The kernel takes what a listing shows for what there is. So nothing may be shown from a page
        that was read before.
        """
        for listing in self._listings.values():
            if listing.inode in folders:
                listing.outdate()

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

    def _enter(self, listing: Listing) -> int:
        number = next(self._numbers)
        self._listings[number] = listing
        return number

    async def _parent(self, folder: Node) -> Node:
        return folder if folder.inode == ROOT else await self._recent.directory(folder.parent)

    async def _latest_entry(self, listing: Listing, position: int) -> Entry | None:
        folder = listing.extra[0][1]
        if level_of(folder) is not Level.FOLDER:
            return None
        try:
            return Entry(LATEST, self._show(await self.latest(folder)), position)
        except NotFound:
            return None
