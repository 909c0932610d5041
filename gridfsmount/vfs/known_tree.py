"""The nodes of a lake, with what this mount knows of them besides.

That is: what is open and being written, what was removed and is still held, what was changed a
moment ago. Shared by all that serves the tree, so that each sees what the others did.
"""

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from gridfsmount.core.model import LATEST_FLAG, SNAPSHOTS, Attributes, Content, Inode, Kind, Node
from gridfsmount.core.names import LATEST
from gridfsmount.errors import Conflict, FileSystemError, NotFound, NotPermitted, ReadOnly
from gridfsmount.reading.folders import FolderAhead
from gridfsmount.store.lake import Lake
from gridfsmount.vfs.directories import Directories
from gridfsmount.vfs.files import Files
from gridfsmount.vfs.presentation import Presentation
from gridfsmount.vfs.recent import RecentNodes
from gridfsmount.vfs.removed import RemovedNodes
from gridfsmount.vfs.rules import Level, level_of
from gridfsmount.workers import Workers

log = logging.getLogger(__name__)

T = TypeVar("T")

_TRIES: Final = 10
"""A change that meets others' that often meets a fault, not a coincidence."""


class KnownTree:
    """What is known of the tree of one lake."""

    def __init__(
        self,
        lake: Lake,
        workers: Workers,
        files: Files,
        folders: FolderAhead,
        recent: RecentNodes,
        presentation: Presentation,
    ) -> None:
        """Know `lake`, and what `files` does with it."""
        self.lake = lake
        self.workers = workers
        self.files = files
        self.folders = folders
        self.recent = recent
        self.presentation = presentation
        self.removed = RemovedNodes()
        self.directories = Directories(
            lake.tree, workers, recent, folders, self.removed, self._listed
        )

    def entry(self, node: Node, content: Content | None = None) -> Attributes:
        """What the kernel is told of a node with its name, to believe in it for a while.

        `content` is the file's, if that is known.
        """
        if node.kind is not Kind.FILE:
            return self.shown(node)
        if self.recent.settled(node.inode) is node:
            self.recent.fleeting.settled(node.inode)
            return self.shown(node)
        told = self.recent.fleeting.told(node, content, time.monotonic())
        return self.shown(node, fleeting=told)

    def shown(self, node: Node, *, fleeting: bool = False) -> Attributes:
        """What `stat` shows of a node that is as the lake has it."""
        if self.recent.settled(node.inode) is node:
            return self.presentation.attributes(node, settled=True)
        file = self.files.find(node.inode)
        if file is not None and file.dirty:
            node = file.shown
        return self.presentation.attributes(self.recent.shown(node), fleeting=fleeting)

    def _listed(self, node: Node) -> Attributes:
        """A node of a page that was read a moment ago: it may have changed here since."""
        node = self.recent.newest(node)
        known = self.recent.peek(node.inode)
        return self.entry(known if known is not None and known.rev > node.rev else node)

    async def find(self, parent: Inode, name: str) -> Node:
        """The node of a name, as the lake has it now.

        Raises:
            NotFound: there is none.
        """
        began = time.monotonic()
        node = await self.workers.foreground(self.lake.tree.find, parent, name)
        if node is None:
            raise NotFound(name)
        return self.recent.remember(node, began)

    async def node(self, inode: Inode) -> Node:
        """The node of a number, also one that is removed and still held.

        Raises:
            NotFound: there is none.
        """
        if inode & LATEST_FLAG:
            folder = await self.recent.directory(Inode(inode & ~LATEST_FLAG))
            return await self.directories.latest(folder)
        file = self.files.find(inode)
        if file is not None and file.unlinked:
            return file.node
        return self.removed.get(inode) or await self.recent.get(inode)

    async def changeable(self, inode: Inode) -> Node:
        """The same, if it may change.

        Raises:
            ReadOnly, NotPermitted: it may not.
        """
        if inode & LATEST_FLAG:
            raise NotPermitted("'latest' is kept by the lake")
        if inode == SNAPSHOTS:
            raise ReadOnly("snapshots cannot be changed")
        node = await self.node(inode)
        if self.removed.get(inode) is None:  # else its version may be gone with it
            await self.recent.check_writable(node.version)
        return node

    async def removable(self, folder: Node, name: str) -> Node:
        """The node of a name that may go.

        Raises:
            ReadOnly, NotPermitted: it may not.
        """
        if name == LATEST and level_of(folder) is Level.FOLDER:
            await self.directories.latest(folder)  # gone with the last version, as rm -rf expects
            raise NotPermitted("'latest' is kept by the lake")
        node = await self.find(folder.inode, name)
        if level_of(node) is not Level.VERSION:
            await self.recent.check_writable(folder.version)
        return node

    def note_change(self, node: Node) -> Node:
        """This mount made a node like that; returns what it is now, if another change was later."""
        node = self.recent.remember(node)
        self.files.changed(node)
        return node

    def note_removal(self, node: Node) -> None:
        """A node has lost its last name."""
        self.recent.forget(node.inode)
        self.recent.fleeting.removed(node)
        self.files.unlinked(node.inode)
        self.removed.note(node)

    async def touch(self, *folders: Node) -> None:
        """The folders' entries changed now."""
        now = time.time_ns()
        inodes = [folder.inode for folder in folders]
        self.recent.touch(*inodes)
        self.directories.changed(inodes)
        for folder in folders:
            # What is pending only brings times forward: one that was set ahead goes back at once.
            if folder.mtime_ns > now:
                with contextlib.suppress(FileSystemError):  # what was asked for is done
                    times = {"mtime_ns": now, "ctime_ns": now}
                    back = await self.workers.foreground(self.lake.tree.update, folder.inode, times)
                    self.recent.remember(back)

    async def retry(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try a change until it meets nobody else's."""
        for _ in range(_TRIES - 1):
            try:
                return await attempt()
            except Conflict as error:
                log.debug("once more: %s", error)
        return await attempt()
