"""Names and attributes of snapshots."""

from dataclasses import replace

from gridfsmount.core.model import ROOT, SNAPSHOTS, Attributes, Inode, Kind, Node, Space
from gridfsmount.errors import InvalidArgument, NeverFound, NotFound
from gridfsmount.vfs.presentation import Presentation
from gridfsmount.vfs.snapshots.catalogue import Catalogue
from gridfsmount.vfs.snapshots.numbers import LATEST_LINK, top
from gridfsmount.vfs.snapshots.unchanging import UnchangingSnapshots

AREA = "snapshots"
"""Name of the folder of all snapshots."""


class SnapshotTree(UnchangingSnapshots):
    """The tree below `/snapshots`; see `gridfsmount.vfs.parts.Tree`.

    In a mount without a lake, its root as well, which then has nothing else in it.
    """

    def __init__(self, catalogue: Catalogue, presentation: Presentation) -> None:
        """Show `catalogue`."""
        self._catalogue = catalogue
        self._presentation = presentation

    async def lookup(self, parent: Inode, name: str) -> Attributes:
        """Attributes of a name in a folder.

        Raises:
            NotFound: there is none.
            NeverFound: nor will there be.
        """
        if name == ".":
            return await self.attributes(parent)
        if name == "..":
            return await self.attributes(await self.parent(parent))
        if parent == ROOT:
            if name != AREA:
                raise NotFound(name)
            return self._catalogue.folder
        if parent == SNAPSHOTS:
            return self._catalogue.find(name)
        shelf, snapshot = self._catalogue.at(parent)
        node = await shelf.workers.foreground(snapshot.find, parent, name)
        if node is None:
            raise NeverFound(name)
        return self.shown(shelf.remember(node))

    async def attributes(self, inode: Inode) -> Attributes:
        """Attributes of an inode.

        Raises:
            NotFound: it is gone.
        """
        if inode == ROOT:
            return replace(self._catalogue.folder, inode=ROOT)
        if inode == SNAPSHOTS:
            return self._catalogue.folder
        if inode == LATEST_LINK:
            return self._catalogue.latest()
        shelf, snapshot = self._catalogue.at(inode)
        if inode == top(snapshot.slot):
            return self._catalogue.attributes(snapshot)
        return self.shown(await shelf.node(snapshot, inode))

    async def parent(self, inode: Inode) -> Inode:
        """The folder that a folder lies in; the root lies in itself."""
        if inode in (ROOT, SNAPSHOTS):
            return ROOT
        shelf, snapshot = self._catalogue.at(inode)
        if inode == top(snapshot.slot):
            return SNAPSHOTS
        return (await shelf.node(snapshot, inode)).parent

    async def read_link(self, inode: Inode) -> str:
        """Target of a symbolic link."""
        if inode == LATEST_LINK:
            return self._catalogue.newest().name
        if inode in (ROOT, SNAPSHOTS):
            raise InvalidArgument(f"inode {inode} is no symbolic link")
        shelf, snapshot = self._catalogue.at(inode)
        node = await shelf.node(snapshot, inode)
        if node.kind is not Kind.SYMLINK:
            raise InvalidArgument(f"inode {inode} is no symbolic link")
        return node.target

    async def space(self) -> Space:
        """Nothing can be added, so there is no room to tell of."""
        return Space(0, 0, 0)

    def shown(self, node: Node) -> Attributes:
        """What `stat` shows of a node, for good."""
        return self._presentation.attributes(node, settled=True)
