"""How what nobody can change answers whoever wants to: with one refusal for everything."""

import abc
from typing import NoReturn

from gridfsmount.core.model import Attributes, Caller, Change, Inode, Kind
from gridfsmount.vfs.open_files import Opened


class UnchangingNames(abc.ABC):
    """All changes of names and attributes, refused; see `gridfsmount.vfs.parts.Tree`."""

    @abc.abstractmethod
    def refuse(self) -> NoReturn:
        """Refuse a change."""

    async def make(
        self, parent: Inode, name: str, kind: Kind, mode: int, caller: Caller, target: str = ""
    ) -> Attributes:
        """Nothing can be made."""
        self.refuse()

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
        self.refuse()

    async def link(self, inode: Inode, parent: Inode, name: str) -> Attributes:
        """No name can be added."""
        self.refuse()

    async def unlink(self, parent: Inode, name: str) -> None:
        """Nothing can be removed."""
        self.refuse()

    async def remove_directory(self, parent: Inode, name: str) -> None:
        """Nothing can be removed."""
        self.refuse()

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
        self.refuse()

    async def change(
        self, inode: Inode, change: Change, caller: Caller, handle: int | None
    ) -> Attributes:
        """No attribute can be set."""
        self.refuse()

    async def drop_set_id(self, inode: Inode, caller: Caller) -> bool:
        """Nothing is truncated."""
        self.refuse()
