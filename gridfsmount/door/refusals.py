"""The lake's errors as Python's own: FileNotFoundError and its kin, each with its errno."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from gridfsmount.core.errnos import errno_of
from gridfsmount.errors import FileSystemError, NotFound, ReadOnly
from gridfsmount.transfer.report import printable


def os_error(error: FileSystemError, path: str | None) -> OSError:
    """What a Python program expects; what cannot change is a PermissionError, with EROFS."""
    text = printable(error)
    if isinstance(error, ReadOnly):
        return PermissionError(errno.EROFS, text, path)
    # ESTALE makes the kernel look again; here somebody has done so.
    number = errno.ENOENT if isinstance(error, NotFound) else errno_of(error)
    return OSError(number, text, path)


@contextmanager
def translated(path: str | None) -> Iterator[None]:
    """Let a block that works on `path`, or on many, fail as any file system would."""
    try:
        yield
    except FileSystemError as error:
        raise os_error(error, path) from error
