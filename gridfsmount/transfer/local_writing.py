"""Files of this machine as they are made: beside their places first, then moved there, whole.

Paths are bytes, as in `gridfsmount.transfer.local`.
"""

import ctypes
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from typing import Final

from gridfsmount.core.model import Kind, Node
from gridfsmount.errors import LakeError, NotADirectory
from gridfsmount.transfer.local import Owners, read_xattrs

_FILE_MODE: Final = 0o666
_FOLDER_MODE: Final = 0o777
"""Less the umask: of what drivers uploaded, which has none."""

FEW: Final = 32
"""Files that are brought to the disk one by one; for more the whole file system is."""

_PREFIX: Final = b".gridfsmount-"
_SUFFIX: Final = b".part"


class NotKept(LakeError):
    """An attribute that the local disk does not take; the file itself is there."""


class Local:
    """Makes files, folders and links with the attributes of nodes. Safe to share."""

    def __init__(self, owners: Owners, umask: int) -> None:
        """Give owners as `owners` says, and permissions less `umask` where a node has none."""
        self._owners = owners
        self._umask = umask
        self._numbers = count()
        host = socket.gethostname().replace("/", "_").encode()
        self._mine = _PREFIX + host[:64] + b"-"

    def beside(self, path: bytes) -> bytes:
        """A name in the same folder that nobody has."""
        name = self._mine + f"{os.getpid()}-{next(self._numbers)}".encode() + _SUFFIX
        return os.path.join(os.path.dirname(path), name)

    def clear(self, folder: bytes) -> None:
        """Remove what a run that was killed on this machine has left in a folder."""
        with os.scandir(folder) as entries:
            left = [entry for entry in entries if entry.name.startswith(self._mine)]
        for entry in left:
            number = entry.name[len(self._mine) :].split(b"-")[0]
            if number.isdigit() and not _is_running(int(number)):
                with suppress(OSError):  # somebody else was quicker
                    os.unlink(entry.path)

    def make_folder(self, path: bytes) -> bool:
        """Make a folder if there is none; whether it was made.

        Raises:
            NotADirectory: something else is in its place.
        """
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise NotADirectory("something that is no folder is in its place") from None
            return False
        return True

    @contextmanager
    def new_file(self, path: bytes) -> Iterator[int]:
        """A new file, open for writing; removed again if the block fails."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            yield descriptor
        except BaseException:
            with suppress(OSError):
                os.unlink(path)
            raise
        finally:
            os.close(descriptor)

    def make_special(self, path: bytes, node: Node) -> None:
        """Make a symbolic link or a FIFO."""
        if node.kind is Kind.SYMLINK:
            os.symlink(node.target.encode(), path)
            if self._owners.keep and node.uid is not None and node.gid is not None:
                os.lchown(path, node.uid, node.gid)
            os.utime(path, ns=_times(node), follow_symlinks=False)
        else:
            os.mkfifo(path, 0o600)
            self.dress(path, node)

    def dress(self, target: bytes | int, node: Node) -> None:
        """Give a file, folder or FIFO the attributes of a node.

        Raises:
            NotKept: not all of them; the rest is set.
        """
        wrong = self._set_xattrs(target, node) if node.kind is not Kind.FIFO else None
        if self._owners.keep and node.uid is not None and node.gid is not None:
            os.chown(target, node.uid, node.gid)
        os.chmod(target, self.mode(node))  # after chown(2), which takes bits away
        os.utime(target, ns=_times(node))
        if wrong is not None:
            raise NotKept(f"it is there, but without its extended attributes: {wrong}")

    def mode(self, node: Node) -> int:
        """Permission bits for a node."""
        if node.mode is None:
            full = _FOLDER_MODE if node.kind is Kind.DIRECTORY else _FILE_MODE
            return full & ~self._umask
        # As cp(1): rights of one owner are not given to another.
        return node.mode if self._owners.keep else node.mode & 0o1777

    def is_dressed(self, path: bytes, status: os.stat_result, node: Node) -> bool:
        """Whether a file or folder has the attributes of a node."""
        return (
            self.is_owned(status, node)
            and stat.S_IMODE(status.st_mode) == self.mode(node)
            and status.st_mtime_ns == node.mtime_ns
            and read_xattrs(path) == node.xattrs
        )

    def is_owned(self, status: os.stat_result, node: Node) -> bool:
        """Whether what is there has the owner that it should have."""
        owner = (status.st_uid, status.st_gid)
        return not self._owners.keep or (node.uid, node.gid) in (owner, (None, None))

    def _set_xattrs(self, target: bytes | int, node: Node) -> str | None:
        try:
            there = read_xattrs(target)
            for name in there.keys() - node.xattrs.keys():
                os.removexattr(target, name.encode())
            for name, value in node.xattrs.items():
                if there.get(name) != value:
                    os.setxattr(target, name.encode(), value)
        except OSError as error:
            return error.strerror
        return None


def sync(paths: Sequence[bytes]) -> None:
    """Bring files and folders of one file system to its disk."""
    if len(paths) > FEW:
        _sync_file_system(paths[0])
        return
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except PermissionError:  # it is ours, and has a mode that keeps us from reading it
            _sync_file_system(path)
            continue
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sync_file_system(path: bytes) -> None:
    """syncfs(2): one call, but it takes along whatever others have written."""
    folder = os.open(os.path.dirname(path) or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _LIBC.syncfs(folder) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
    finally:
        os.close(folder)


_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def _times(node: Node) -> tuple[int, int]:
    return (node.mtime_ns if node.atime_ns is None else node.atime_ns, node.mtime_ns)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True
