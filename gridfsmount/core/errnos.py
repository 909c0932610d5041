"""The errno for every error of the lake: the one table."""

import errno
from typing import Final

from gridfsmount import errors

_ERRNO: Final[dict[type[errors.FileSystemError], int]] = {
    errors.NotFound: errno.ENOENT,
    errors.NeverFound: errno.ENOENT,
    errors.Stale: errno.ESTALE,  # makes the kernel look again, see path_openat in fs/namei.c
    errors.AlreadyExists: errno.EEXIST,
    errors.NotADirectory: errno.ENOTDIR,
    errors.IsADirectory: errno.EISDIR,
    errors.DirectoryNotEmpty: errno.ENOTEMPTY,
    errors.NotPermitted: errno.EPERM,
    errors.AccessDenied: errno.EACCES,
    errors.ReadOnly: errno.EROFS,
    errors.CrossVersion: errno.EXDEV,
    errors.NameTooLong: errno.ENAMETOOLONG,
    errors.NotUtf8: errno.EILSEQ,
    errors.InvalidArgument: errno.EINVAL,
    errors.NoAttribute: errno.ENODATA,
    errors.TooLarge: errno.ENOSPC,
    errors.FileTooBig: errno.EFBIG,
    errors.TooManyLinks: errno.EMLINK,
    errors.NotSupported: errno.EOPNOTSUPP,
    errors.NoSpace: errno.ENOSPC,
    errors.StoreUnavailable: errno.EIO,
    errors.StoreFailed: errno.EIO,
    errors.Damaged: errno.EIO,
    errors.InUse: errno.EBUSY,
    errors.Conflict: errno.EBUSY,
}

FAULTS: Final = frozenset({errno.EIO, errno.ENOSPC, errno.EBUSY, errno.EACCES})
"""Answers that tell of trouble, not of a rule: they are logged as warnings."""


def errno_of(error: errors.FileSystemError) -> int:
    """What the kernel is told."""
    for kind in type(error).__mro__:
        found = _ERRNO.get(kind)
        if found is not None:
            return found
    return errno.EIO
