"""What the mount remembers of directories: themselves for a moment, and times to be written.

Every create and remove touches its directory; the times are written once a second instead, and
shown from here until then.
"""

import time
from dataclasses import replace
from typing import Final

from gridfsmount.core.model import Inode, Kind, Node, State
from gridfsmount.errors import FileSystemError, NotADirectory, NotFound, ReadOnly
from gridfsmount.store.tree import Tree
from gridfsmount.workers import Workers

REMEMBER_SECONDS: Final = 1.0
"""As long as the kernel believes attributes; the same staleness, no more."""

_MOST: Final = 10_000


class Folders:
    """Directories as parents: their place in the tree, their state, their times."""

    def __init__(self, tree: Tree, workers: Workers) -> None:
        """Look directories up in `tree`."""
        self._tree = tree
        self._workers = workers
        self._known: dict[Inode, tuple[float, Node]] = {}
        self._touched_ns: dict[Inode, int] = {}

    async def get(self, inode: Inode) -> Node:
        """A directory, as it was at most a second ago.

        Raises:
            NotFound, NotADirectory: it is none.
        """
        now = time.monotonic()
        known = self._known.get(inode)
        if known is not None and now - known[0] < REMEMBER_SECONDS:
            return known[1]
        node = await self._workers.foreground(self._tree.get, inode)
        if node is None:
            raise NotFound(f"inode {inode}")
        if node.kind is not Kind.DIRECTORY:
            raise NotADirectory(f"inode {inode}")
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[inode] = (now, node)
        return node

    async def check_writable(self, version: Inode | None) -> None:
        """Refuse changes in a sealed version.

        Raises:
            ReadOnly: it is sealed.
        """
        if version is None:
            return
        if (await self.get(version)).state is State.SEALED:
            raise ReadOnly("the version is sealed: fork it to change something")

    def forget(self, *inodes: Inode) -> None:
        """Look these up anew next time."""
        for inode in inodes:
            self._known.pop(inode, None)

    def touch(self, *inodes: Inode) -> None:
        """The directories' entries changed now."""
        now = time.time_ns()
        for inode in inodes:
            self._touched_ns[inode] = now

    def settle(self, inode: Inode) -> None:
        """The directory's times were set on purpose: what is pending must not undo that."""
        self._touched_ns.pop(inode, None)

    def shown(self, node: Node) -> Node:
        """A node with the times that are still to be written."""
        touched = self._touched_ns.get(node.inode)
        if touched is None or node.kind is not Kind.DIRECTORY:
            return node
        return replace(
            node, mtime_ns=max(node.mtime_ns, touched), ctime_ns=max(node.ctime_ns, touched)
        )

    async def write_times(self) -> None:
        """Write the times that are pending; they stay pending if that fails."""
        pending = dict(self._touched_ns)
        if not pending:
            return
        try:
            await self._workers.background(self._tree.touch, pending)
        except FileSystemError:
            return  # the next round tries again; the seam's caller has logged the outage
        for inode, at in pending.items():
            if self._touched_ns.get(inode) == at:
                del self._touched_ns[inode]
