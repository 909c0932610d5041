"""How snapshots answer whoever wants to change them."""

from typing import NoReturn

from gridfsmount.core.model import Attributes, Inode
from gridfsmount.errors import CrossVersion, ReadOnly
from gridfsmount.vfs.parts import is_of_snapshots
from gridfsmount.vfs.unchanging import UnchangingNames


def refuse() -> NoReturn:
    """Refuse a change."""
    raise ReadOnly("snapshots cannot be changed")


class UnchangingSnapshots(UnchangingNames):
    """Changes of names and attributes in snapshots, refused."""

    def refuse(self) -> NoReturn:
        """Refuse a change."""
        refuse()

    async def link(self, inode: Inode, parent: Inode, name: str) -> Attributes:
        """No name can be added; nor can a snapshot's file get one in the lake."""
        if not is_of_snapshots(parent):
            raise CrossVersion("a hard link cannot lead from the lake into a snapshot: copy it")
        refuse()
