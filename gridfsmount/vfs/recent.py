"""What the mount remembers of nodes for a moment, and the folder times that are to be written.

A tool that copies or removes many files asks for the same nodes again and again. And every create
and remove touches its directory: the times are written once a second, and shown from here until
then.
"""

import time
from dataclasses import replace
from typing import Final

import trio

from gridfsmount.core.model import Inode, Kind, Node, State
from gridfsmount.errors import FileSystemError, NotADirectory, ReadOnly, Stale
from gridfsmount.store.tree import Tree
from gridfsmount.workers import Workers

REMEMBER_SECONDS: Final = 0.4
"""With what the kernel believes on top, another machine's change shows within a second."""

PATH_SECONDS: Final = 1.0
"""Paths only tell drivers where a content is: the tree is the truth."""

_MOST: Final = 10_000


class RecentNodes:
    """Nodes as they were a moment ago, paths of directories, and times to be written."""

    def __init__(self, tree: Tree, workers: Workers) -> None:
        """Look nodes up in `tree`."""
        self._tree = tree
        self._workers = workers
        self._known: dict[Inode, tuple[float, Node]] = {}
        self._paths: dict[Inode, tuple[float, str]] = {}
        self._touched_ns: dict[Inode, int] = {}
        self._writing = trio.Lock()
        """Held while times are on their way to the lake."""

    async def get(self, inode: Inode) -> Node:
        """A node, as it was a moment ago at most.

        Raises:
            NotFound: there is none.
        """
        began = time.monotonic()
        known = self._known.get(inode)
        if known is not None and began - known[0] < REMEMBER_SECONDS:
            return known[1]
        node = await self._workers.foreground(self._tree.get, inode)
        if node is None:
            self.forget(inode)
            raise Stale(f"inode {inode}")
        return self.remember(node, began)

    async def directory(self, inode: Inode) -> Node:
        """The same for a directory.

        Raises:
            NotFound, NotADirectory: it is none.
        """
        node = await self.get(inode)
        if node.kind is not Kind.DIRECTORY:
            raise NotADirectory(f"inode {inode}")
        return node

    async def path(self, inode: Inode) -> str:
        """Path of a directory below the root.

        Raises:
            NotFound: it hangs on nothing any more.
        """
        now = time.monotonic()
        known = self._paths.get(inode)
        if known is not None and now - known[0] < PATH_SECONDS:
            return known[1]
        path = await self._workers.foreground(self._tree.path, inode)
        if path is None:
            raise Stale(f"inode {inode}")
        if len(self._paths) >= _MOST:
            self._paths.clear()
        self._paths[inode] = (now, path)
        return path

    def remember(self, node: Node, seen: float | None = None) -> Node:
        """Note a node as the lake has it now, or had it at `seen` of the monotonic clock."""
        if len(self._known) >= _MOST:
            self._known.clear()
        known = self._known.get(node.inode)
        if known is None or known[1].rev <= node.rev:
            self._known[node.inode] = (time.monotonic() if seen is None else seen, node)
        return node

    def moved(self) -> None:
        """A directory has another path now, and all below it."""
        self._paths.clear()

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

    async def settle(self, inode: Inode) -> None:
        """The directory's times are about to be set: what is pending must not undo that."""
        async with self._writing:
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
        async with self._writing:
            pending = dict(self._touched_ns)
            if not pending:
                return
            try:
                await self._workers.background(self._tree.touch, pending)
            except FileSystemError:
                return  # the next round tries again; the seam's caller has logged the outage
            # No checkpoint from here on: what is no longer pending must not be shown from memory.
            self.forget(*pending)
            for inode, at in pending.items():
                if self._touched_ns.get(inode) == at:
                    del self._touched_ns[inode]
