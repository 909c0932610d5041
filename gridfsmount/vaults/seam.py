"""Errors of the local file system, translated where a vault meets them."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gridfsmount.errors import (
    AccessDenied,
    FileSystemError,
    NoSpace,
    NotFound,
    ReadOnly,
    StoreFailed,
    StoreUnavailable,
)

_KINDS: Final[dict[int, type[FileSystemError]]] = {
    errno.ENOENT: NotFound,
    errno.ENOTDIR: NotFound,
    errno.ENOSPC: NoSpace,
    errno.EDQUOT: NoSpace,
    errno.EROFS: ReadOnly,
    errno.EACCES: AccessDenied,
    errno.EPERM: AccessDenied,
    errno.ESTALE: StoreUnavailable,
    errno.ETIMEDOUT: StoreUnavailable,
    errno.ENODEV: StoreUnavailable,
    errno.ENXIO: StoreUnavailable,
    errno.ENOTCONN: StoreUnavailable,
    errno.ECONNABORTED: StoreUnavailable,
    errno.EHOSTDOWN: StoreUnavailable,
    errno.EHOSTUNREACH: StoreUnavailable,
}


@contextmanager
def refused(address: str, what: str) -> Iterator[None]:
    """Translate the system's errors in the block, and say what was being done where."""
    try:
        yield
    except OSError as error:
        kind = _KINDS.get(error.errno or 0, StoreFailed)
        raise kind(f"{address}: cannot {what}: {error.strerror or error}") from error
