"""Files of this machine: their attributes, and their bytes as long as nobody changes them.

Paths are bytes, so that every name that the kernel has can at least be named in a message.
"""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from gridfsmount.core.model import Kind, Node
from gridfsmount.errors import LakeError, NotUtf8
from gridfsmount.transfer.report import Report

LAKE_PREFIX: Final = b"user.lake."
"""What a mount tells of itself, and nobody can set."""

MAX_XATTRS: Final = 1 << 20
"""Bytes of all extended attributes of a node: docs/format.md."""

HASH_BYTES: Final = 1 << 20
"""Bytes that are read at a time for a comparison."""

_NO_XATTRS: Final = frozenset({errno.ENOTSUP, errno.ENODATA, errno.EPERM, errno.ENOSYS})

KINDS: Final = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFIFO: Kind.FIFO,
}
"""What is copied: sockets and devices are not."""


class Changed(LakeError):
    """A file that somebody wrote to while it was read."""


@dataclass(frozen=True, slots=True)
class Owners:
    """Whether owners and groups are kept, and whose things are if not."""

    keep: bool
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is kept of a file beside its bytes."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: dict[str, bytes]

    def fit(self, node: Node) -> bool:
        """Whether a node has the same."""
        return (
            (node.mode, node.uid, node.gid) == (self.mode, self.uid, self.gid)
            and node.mtime_ns == self.mtime_ns
            and node.xattrs == self.xattrs
        )


def kind_of(status: os.stat_result) -> Kind | None:
    """What a lake calls it; None for what it does not hold."""
    return KINDS.get(stat.S_IFMT(status.st_mode))


def attributes_of(target: bytes | int, status: os.stat_result, owners: Owners) -> Attributes:
    """Attributes of a file, given by its path or its open descriptor.

    Raises:
        OSError: they cannot be read.
        NotUtf8: the name of an extended attribute is none that a lake can hold.
    """
    mode = stat.S_IMODE(status.st_mode)
    xattrs = {} if stat.S_ISLNK(status.st_mode) else read_xattrs(target)
    if owners.keep:
        return Attributes(mode, status.st_uid, status.st_gid, status.st_mtime_ns, xattrs)
    if (status.st_uid, status.st_gid) != (owners.uid, owners.gid):
        mode &= 0o1777  # as cp(1): rights of one owner are not given to another
    return Attributes(mode, owners.uid, owners.gid, status.st_mtime_ns, xattrs)


def read_xattrs(target: bytes | int) -> dict[str, bytes]:
    """The `user.*` attributes of a file or folder."""
    try:
        names = os.listxattr(target)
    except OSError as error:
        if error.errno in _NO_XATTRS:
            return {}
        raise
    found = {}
    for name in names:
        raw = os.fsencode(name)
        if raw.startswith(b"user.") and not raw.startswith(LAKE_PREFIX):
            try:
                found[raw.decode()] = os.getxattr(target, raw)
            except UnicodeDecodeError as error:
                raise NotUtf8(f"the extended attribute {raw!r} is not UTF-8") from error
    if sum(len(key) + len(value) for key, value in found.items()) > MAX_XATTRS:
        raise OSError(errno.E2BIG, "its extended attributes have more than 1 MiB together")
    return found


class Source:
    """A regular file that is being read from its start to its end."""

    def __init__(self, descriptor: int, path: bytes) -> None:
        """Read an open file."""
        self.descriptor = descriptor
        self.status = os.fstat(descriptor)
        if not stat.S_ISREG(self.status.st_mode):
            raise Changed("it was replaced by something else while it was copied")
        self.path = path

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer at the end."""
        data = os.read(self.descriptor, size)
        if len(data) == size or not data:
            return data
        pieces = [data]
        missing = size - len(data)
        while missing and (data := os.read(self.descriptor, missing)):
            pieces.append(data)
            missing -= len(data)
        return b"".join(pieces)

    def check(self, size: int) -> None:
        """Make sure that the `size` bytes that were read are all, and of one moment.

        Raises:
            Changed: they are not.
        """
        now = os.fstat(self.descriptor)
        if size != now.st_size or (now.st_size, now.st_mtime_ns) != (
            self.status.st_size,
            self.status.st_mtime_ns,
        ):
            raise Changed("it changed while it was read; put it again")


@contextlib.contextmanager
def opened(path: bytes) -> Iterator[Source]:
    """A regular file, open for reading."""
    # Not to wait for ever for the other end, should a FIFO have taken its place.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield Source(descriptor, path)
    finally:
        os.close(descriptor)


def digest_of(path: bytes, report: Report) -> bytes:
    """The SHA-256 of a file.

    Raises:
        Halted: the transfer ends.
    """
    digest = hashlib.sha256()
    with opened(path) as source:
        while data := source.read(HASH_BYTES):
            report.check()
            digest.update(data)
    return digest.digest()


def reason(error: Exception) -> str:
    """Why, for a message that names the file already."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def applied(node: Node, attributes: Attributes) -> Node:
    """A node with these attributes."""
    return replace(
        node,
        mode=attributes.mode,
        uid=attributes.uid,
        gid=attributes.gid,
        mtime_ns=attributes.mtime_ns,
        xattrs=attributes.xattrs,
    )
