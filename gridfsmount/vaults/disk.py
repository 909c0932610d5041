"""Files written, read and synced: what a vault in a directory needs of the system.

Raises OSError, to be translated where it is known what was being done.
"""

import ctypes
import errno
import fcntl
import hashlib
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gridfsmount.core.chunks import Bytes

NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
"""Flags of a file that is made."""

_COPY_BYTES: Final = 1 << 20

_DIRECT_BYTES: Final = 4 << 20
"""Bytes of one write past the page cache: of 1 MiB and of 16 they took as long."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


@contextmanager
def opened(path: Path | str) -> Iterator[int]:
    """A descriptor to read a file or a folder, for as long as a block runs."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: Bytes) -> None:
    """Write all of it."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


class Appending:
    """Writes a new file from its start to its end, past the page cache where that can be done.

    What is backed up is read months later, if ever: nobody's pages need to make room for it. And
    the copy into fresh pages took 0.4 to 2.5 s of a processor a GiB; this takes 0.1.
    """

    def __init__(self, descriptor: int) -> None:
        """Write to a file that was just made."""
        self._descriptor = descriptor
        self._buffer = mmap.mmap(-1, _DIRECT_BYTES)  # on a page's border, as such writes have to be
        self._filled = 0
        self._written = 0
        with suppress(OSError):  # some file systems know no such thing
            _go_direct(self._descriptor, True)

    def write(self, data: Bytes) -> None:
        """Take all of it; it may be written later."""
        rest = memoryview(data)
        while rest:
            size = min(len(rest), _DIRECT_BYTES - self._filled)
            self._buffer[self._filled : self._filled + size] = rest[:size]
            self._filled += size
            rest = rest[size:]
            if self._filled == _DIRECT_BYTES:
                self._empty()

    def finish(self) -> None:
        """Return when all of it is on the disk."""
        _go_direct(self._descriptor, False)  # the end is no whole block
        self._empty()
        os.fsync(self._descriptor)

    def _empty(self) -> None:
        with memoryview(self._buffer) as whole, whole[: self._filled] as data:
            try:
                write_all(self._descriptor, data)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                # Larger blocks than a page, or a disk so full that it took a part of a block. What
                # was written of it is written again.
                _go_direct(self._descriptor, False)
                os.lseek(self._descriptor, self._written, os.SEEK_SET)
                write_all(self._descriptor, data)
        self._written += self._filled
        self._filled = 0


def read_all(descriptor: int, offset: int, size: int) -> bytes:
    """Read `size` bytes from `offset`; fewer only at the end."""
    parts = []
    while size > 0 and (part := os.pread(descriptor, size, offset)):
        parts.append(part)
        offset += len(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def copy(source: Path, target: Path) -> str:
    """Copy a file to a new one; returns its SHA-256, in hex."""
    digest = hashlib.sha256()
    with source.open("rb") as reading, target.open("xb") as writing:
        while piece := reading.read(_COPY_BYTES):
            digest.update(piece)
            writing.write(piece)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Return when a file is on the disk."""
    with opened(path) as descriptor:
        os.fsync(descriptor)


def sync_folder(path: Path) -> None:
    """Return when the names in a folder are on the disk."""
    try:
        sync(path)
    except OSError as error:
        # Some network file systems know no such thing: names are on the server at once.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def sync_file_system(descriptor: int) -> None:
    """Write all of an open file's file system to its disk: one wait for many. See syncfs(2).

    It tells of all that could not be written since the descriptor was opened.
    """
    if _libc.syncfs(descriptor) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _go_direct(descriptor: int, direct: bool) -> None:
    """Write to an open file past the page cache from now on, or through it. See open(2)."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    flags = flags | os.O_DIRECT if direct else flags & ~os.O_DIRECT
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
