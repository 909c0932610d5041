"""What there is of a file while it is open, and of each handle on it."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import trio

from gridfsmount.core.model import Content, Node
from gridfsmount.errors import FileSystemError
from gridfsmount.vfs.recent import REMEMBER_SECONDS
from gridfsmount.writing.writer import ChunkedWriter

MIN_PAGE: Final = 4096
"""Bytes: where the kernel's pages are larger, they begin at multiples of this as well."""


@dataclass(eq=False, slots=True)
class OpenFile:
    """The state of an inode while handles are open."""

    node: Node
    content: Content | None
    lock: trio.Lock = field(default_factory=trio.Lock)
    writer: ChunkedWriter | None = None
    dirty: bool = False
    """The writer has something that is not committed."""
    mtime_ns: int = 0
    """Time of the last write, or what was set since; counts while dirty."""
    unlinked: bool = False
    """No name is left: nothing is committed any more, the handles just go on."""
    lost: float = -math.inf
    """When another mount was seen to have removed its last name."""
    failure: FileSystemError | None = None
    """Why a write was lost: nothing of it may be committed."""
    kill_set_id: bool = False
    """Somebody other than root wrote: the set-user-ID and set-group-ID bits must go."""
    seen: float = field(default_factory=time.monotonic)
    """When the node was read from the lake."""
    handles: int = 0
    writers: int = 0
    settled: bool = False
    """It lies in a sealed version: nothing of this changes any more."""
    fresh: bool = False
    """Moreover, the kernel remembers nothing from before that."""

    @property
    def authoritative(self) -> bool:
        """Whether this knows better than the lake, or as well as the kernel would believe."""
        recent = time.monotonic() - self.seen < REMEMBER_SECONDS
        return self.dirty or self.unlinked or self.settled or recent

    @property
    def shown(self) -> Node:
        """The node as processes of this machine see it now."""
        node = self.node
        if self.unlinked:
            node = replace(node, names=())
        if self.dirty and self.writer is not None:
            node = replace(
                node,
                size=self.writer.size,
                mtime_ns=self.mtime_ns,
                ctime_ns=max(node.ctime_ns, min(self.mtime_ns, time.time_ns())),
            )
        return node


@dataclass(slots=True)
class Handle:
    """One open(2)."""

    file: OpenFile
    writable: bool
    append: bool
    uid: int
    direct: bool = False
    """Opened with O_DIRECT: what is read is to be on the local disk, wherever it came from."""
    mappable: bool = False
    """Opened for reading and writing: pages may be mapped, and written through that."""
    wrote: bool = False
    """Since the last commit through this handle."""
    refused: bool = False
    """The last commit through this handle failed."""


def may_be_page(file: OpenFile, offset: int, handles: Iterable[Handle]) -> bool:
    """Whether what is written to a file at `offset` may be a page of a mapping.

    The kernel writes those back through any handle that can write, also one that appends, and
    pyfuse3 does not tell which they are. It does so before the last mapping's handle is closed.
    """
    inode = file.node.inode
    return offset % MIN_PAGE == 0 and any(
        each.mappable and each.file.node.inode == inode for each in handles
    )


@dataclass(frozen=True, slots=True)
class Opened:
    """What the kernel should know of a new handle."""

    handle: int
    keep_cache: bool
    """What the kernel has cached of this inode is still right."""
    direct_io: bool
    """Bypass the kernel's cache: it serves handles that hold an older content."""
