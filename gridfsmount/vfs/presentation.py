"""How a node looks to `stat`: defaults filled in, owners squashed."""

from dataclasses import dataclass

from gridfsmount.core.model import Attributes, Kind, Node

DIRECTORY_SIZE = 4096
"""Bytes that a directory shows: what tools are used to."""


@dataclass(frozen=True, slots=True)
class Presentation:
    """The mount's choices for what the lake does not know."""

    uid: int
    """Owner of adopted nodes."""
    gid: int
    """Group of adopted nodes."""
    umask: int
    """Permission bits that adopted nodes lack."""
    squash: tuple[int, int] | None = None
    """Owner and group of everything, whatever the lake knows."""

    def attributes(
        self, node: Node, *, settled: bool = False, fleeting: bool = False
    ) -> Attributes:
        """What `stat` shows of a node; `settled`: for good, `fleeting`: for whoever asks now."""
        uid, gid = self.squash or (
            self.uid if node.uid is None else node.uid,
            self.gid if node.gid is None else node.gid,
        )
        return Attributes(
            inode=node.inode,
            kind=node.kind,
            mode=self.mode(node),
            # A directory has one name, or none when it was removed. As on btrfs, 1 tells find(1)
            # that the number of subdirectories is not known.
            nlink=len(node.names),
            uid=uid,
            gid=gid,
            size=_size(node),
            atime_ns=node.mtime_ns if node.atime_ns is None else node.atime_ns,
            mtime_ns=node.mtime_ns,
            ctime_ns=node.ctime_ns,
            settled=settled,
            fleeting=fleeting,
        )

    def mode(self, node: Node) -> int:
        """Permission bits, with the default for adopted nodes."""
        if node.kind is Kind.SYMLINK:
            return 0o777
        if node.mode is not None:
            return node.mode
        return (0o777 if node.kind is Kind.DIRECTORY else 0o666) & ~self.umask


def _size(node: Node) -> int:
    if node.kind is Kind.DIRECTORY:
        return DIRECTORY_SIZE
    return len(node.target.encode()) if node.kind is Kind.SYMLINK else node.size
