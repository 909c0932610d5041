"""Extended attributes of nodes: kept, told, and in a version acted upon."""

import time
from collections.abc import Callable
from dataclasses import replace

from gridfsmount.core.model import Caller, Inode, Kind, Node
from gridfsmount.errors import NoAttribute, NotPermitted
from gridfsmount.vfs.known_tree import KnownTree
from gridfsmount.vfs.version_attributes import can_be_set, set_on, told_of
from gridfsmount.vfs.xattrs import described, with_attribute


class Annotations:
    """Extended attributes in the tree of one lake."""

    def __init__(self, known: KnownTree) -> None:
        """Work on `known`."""
        self._known = known
        self._lake = known.lake
        self._workers = known.workers
        self._files = known.files
        self._recent = known.recent

    async def get(self, inode: Inode, name: str) -> bytes:
        """Value of an extended attribute.

        Raises:
            NoAttribute: it has none of that name.
        """
        node = await self._known.node(inode)
        value = node.xattrs.get(name)
        if value is None:
            value = told_of(node, name)
        if value is None and node.content is not None and name.startswith("user.lake."):
            content = await self._workers.foreground(self._lake.contents.get, node.content)
            value = described(content, name)
        if value is None:
            raise NoAttribute(name)
        return value

    async def names(self, inode: Inode) -> list[str]:
        """Names of the extended attributes that were set."""
        return sorted((await self._known.node(inode)).xattrs)

    async def set(self, inode: Inode, name: str, value: bytes, caller: Caller) -> None:
        """Set an extended attribute, or do what setting it means."""
        node = await self._known.node(inode)
        if can_be_set(node, name):
            # Sealing may take as long as its files' bytes take to be read.
            self._recent.forget(inode)
            self._known.note_change(
                await self._workers.wait(set_on, self._lake, node, name, value, caller)
            )
            return

        def changed(node: Node) -> dict[str, bytes]:
            if node.kind not in (Kind.FILE, Kind.DIRECTORY):
                raise NotPermitted("only files and directories have user.* attributes")
            return with_attribute(node.xattrs, name, value)

        await self._change_attributes(inode, changed)

    async def remove(self, inode: Inode, name: str) -> None:
        """Remove an extended attribute."""

        def changed(node: Node) -> dict[str, bytes]:
            if name not in node.xattrs:
                raise NoAttribute(name)
            return {key: value for key, value in node.xattrs.items() if key != name}

        await self._change_attributes(inode, changed)

    async def _change_attributes(
        self, inode: Inode, changed: Callable[[Node], dict[str, bytes]]
    ) -> None:
        async def attempt() -> None:
            self._recent.forget(inode)  # all are written anew: another mount's must be among them
            node = await self._known.changeable(inode)
            xattrs = changed(node)
            file = self._files.find(inode)
            if file is not None and file.unlinked:
                file.node = replace(file.node, xattrs=xattrs)
                return
            if self._known.removed.get(inode) is not None:
                self._known.removed.change(inode, {"xattrs": xattrs, "ctime_ns": time.time_ns()})
                return
            self._known.note_change(
                await self._workers.foreground(self._lake.tree.set_xattrs, node, xattrs)
            )

        await self._known.retry(attempt)
