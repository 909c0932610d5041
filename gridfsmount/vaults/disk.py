"""Files written, read and synced: what a vault in a directory needs of the system.

Raises OSError, to be translated where it is known what was being done.
"""

import ctypes
import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gridfsmount.core.chunks import Bytes

NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
"""Flags of a file that is made."""

_COPY_BYTES: Final = 1 << 20

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
