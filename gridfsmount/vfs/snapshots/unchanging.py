"""How snapshots answer whoever wants to change them."""

from typing import NoReturn

from gridfsmount.core.model import Attributes, Caller, Change, Inode, Kind
from gridfsmount.errors import CrossVersion, ReadOnly
from gridfsmount.vfs.open_files import Opened
from gridfsmount.vfs.parts import is_of_snapshots


def refuse() -> NoReturn:
    """Refuse a change."""
    raise ReadOnly("snapshots cannot be changed")


class UnchangingNames:
    """All changes of names and attributes, refused; see `gridfsmount.vfs.parts.Tree`."""

    async def make(
        self, parent: Inode, name: str, kind: Kind, mode: int, caller: Caller, target: str = ""
    ) -> Attributes:
        """Nothing can be made."""
        refuse()

    async def create(
        self,
        parent: Inode,
        name: str,
        mode: int,
        caller: Caller,
        *,
        exclusive: bool,
        writable: bool,
        append: bool,
        truncate: bool,
        mappable: bool,
    ) -> tuple[Opened, Attributes]:
        """Nothing can be made."""
        refuse()

    async def link(self, inode: Inode, parent: Inode, name: str) -> Attributes:
        """No name can be added; nor can a snapshot's file get one in the lake."""
        if not is_of_snapshots(parent):
            raise CrossVersion("a hard link cannot lead from the lake into a snapshot: copy it")
        refuse()

    async def unlink(self, parent: Inode, name: str) -> None:
        """Nothing can be removed."""
        refuse()

    async def remove_directory(self, parent: Inode, name: str) -> None:
        """Nothing can be removed."""
        refuse()

    async def rename(
        self,
        parent: Inode,
        name: str,
        new_parent: Inode,
        new_name: str,
        *,
        replace_existing: bool = True,
        exchange: bool = False,
    ) -> None:
        """Nothing can be moved, neither in nor out."""
        refuse()

    async def change(
        self, inode: Inode, change: Change, caller: Caller, handle: int | None
    ) -> Attributes:
        """No attribute can be set."""
        refuse()

    async def drop_set_id(self, inode: Inode, caller: Caller) -> bool:
        """Nothing is truncated."""
        refuse()
