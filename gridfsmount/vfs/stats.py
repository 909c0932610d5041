"""`.stats` in the root: what the mount counts, as a file of JSON. It is there for who names it.

Each open takes the figures anew. Nothing here asks the server, so that a mount whose server is gone
still tells how it is.
"""

import itertools
import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final, NoReturn

from gridfsmount.core.model import Attributes, Caller, ContentId, Inode, Kind, Space
from gridfsmount.errors import InvalidArgument, NoAttribute, NotADirectory, NotPermitted
from gridfsmount.vfs.listing import Entry
from gridfsmount.vfs.open_files import Opened
from gridfsmount.vfs.parts import STATS, Part
from gridfsmount.vfs.unchanging import UnchangingNames

NAME: Final = ".stats"

_MODE: Final = 0o444


def stats_part(report: Callable[[], Mapping[str, Any]], owner: tuple[int, int]) -> Part:
    """The part of a mount that is its statistics; `owner` is a user and a group."""
    stats = _Stats(report, owner)
    return Part(stats, stats, stats, _NoDirectories(), stats, lambda inodes: None)


class _Stats(UnchangingNames):
    """The one file; see the protocols of `gridfsmount.vfs.parts`."""

    def __init__(self, report: Callable[[], Mapping[str, Any]], owner: tuple[int, int]) -> None:
        self._report = report
        self._owner = owner
        self._handles: dict[int, bytes] = {}
        self._numbers = itertools.count(STATS)

    def refuse(self) -> NoReturn:
        """Refuse a change."""
        raise NotPermitted(f"{NAME} is kept by the mount")

    # --- names and attributes ------------------------------------------------------------------

    async def lookup(self, parent: Inode, name: str) -> Attributes:
        """The file, whatever the name."""
        return await self.attributes(STATS)

    async def attributes(self, inode: Inode) -> Attributes:
        """Of now; as in proc(5), its size is told when it is read."""
        uid, gid = self._owner
        now = time.time_ns()
        return Attributes(STATS, Kind.FILE, _MODE, 1, uid, gid, 0, now, now, now)

    async def read_link(self, inode: Inode) -> str:
        """It is no link."""
        raise InvalidArgument(f"{NAME} is no symbolic link")

    async def space(self) -> Space:
        """It takes none."""
        return Space(0, 0, 0)

    # --- contents ------------------------------------------------------------------------------

    async def open(
        self,
        inode: Inode,
        caller: Caller,
        *,
        writable: bool,
        append: bool,
        truncate: bool,
        direct: bool = False,
        mappable: bool = False,
    ) -> Opened:
        """Take the figures; reads through this handle show them as they are now."""
        if writable or truncate:
            self.refuse()
        number = next(self._numbers)
        self._handles[number] = json.dumps(self._report(), indent=1).encode() + b"\n"
        # Past the kernel's cache, which would believe in the size of 0.
        return Opened(number, keep_cache=False, direct_io=True)

    async def read(self, number: int, offset: int, size: int) -> bytes:
        """Bytes of the figures."""
        return self._handles[number][offset : offset + size]

    async def write(self, number: int, offset: int, data: bytes) -> int:
        """It cannot be written."""
        self.refuse()

    async def commit(self, number: int, *, synced: bool) -> None:
        """Nothing was written."""

    async def release(self, number: int) -> None:
        """Close a handle."""
        del self._handles[number]

    def about(self, number: int) -> tuple[Inode, ContentId | None] | None:
        """All handles are of the one file."""
        return STATS, None

    # --- extended attributes -------------------------------------------------------------------

    async def get(self, inode: Inode, name: str) -> bytes:
        """It has none."""
        raise NoAttribute(name)

    async def names(self, inode: Inode) -> list[str]:
        """It has none."""
        return []

    async def set(self, inode: Inode, name: str, value: bytes, caller: Caller) -> None:
        """It gets none."""
        self.refuse()

    async def remove(self, inode: Inode, name: str) -> None:
        """It has none."""
        self.refuse()


class _NoDirectories:
    """It is no folder; see `gridfsmount.vfs.parts.Directories`."""

    async def open(self, inode: Inode) -> int:
        """It cannot be listed."""
        raise NotADirectory(NAME)

    async def read(self, number: int, position: int) -> AsyncGenerator[Entry, None]:
        """No such handle was ever given."""
        for entry in list[Entry]():
            yield entry

    def about(self, number: int) -> Inode | None:
        """No such handle was ever given."""
        return None

    def close(self, number: int) -> None:
        """No such handle was ever given."""
