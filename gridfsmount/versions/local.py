"""A folder of this machine as one side of a comparison.

Paths are bytes here, and text with surrogates for what is not UTF-8 in an `Item`.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from gridfsmount.core.model import Kind
from gridfsmount.errors import Conflict, LakeError
from gridfsmount.scanning import IN_FLIGHT
from gridfsmount.versions.hashing import Progress, nothing
from gridfsmount.versions.sides import Item

PIECE: Final = 1 << 20
"""Bytes that are read at a time."""

_KINDS: Final = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFSOCK: Kind.SOCKET,
}


class Unreadable(LakeError):
    """A file or folder of this machine that cannot be read."""


class LocalSide:
    """What is below a folder. Memory is bounded by the largest one."""

    def __init__(self, top: bytes, jobs: int = IN_FLIGHT, progress: Progress = nothing) -> None:
        """Compare what is below `top`; hash `jobs` files at once."""
        self._top = top
        self._jobs = jobs
        self._progress = progress

    def items(self) -> Iterator[Item]:
        """See `Side`; what goes away meanwhile is not there."""
        levels = [(b"", iter(_listed(self._top)))]
        while levels:
            above, names = levels[-1]
            name = next(names, None)
            if name is None:
                levels.pop()
                continue
            path = above + name.rstrip(b"/")
            item = self._item(path)
            if item is not None:
                yield item
            if item is not None and item.is_folder:
                levels.append((path + b"/", iter(_listed(os.path.join(self._top, path)))))

    def hashes(self, files: Sequence[Item]) -> list[bytes]:
        """See `Side`."""
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="hash") as pool:
            try:
                return list(pool.map(self._sha256, files))
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _item(self, path: bytes) -> Item | None:
        full = os.path.join(self._top, path)
        try:
            status = os.lstat(full)
            kind = _KINDS.get(stat.S_IFMT(status.st_mode))
            target = os.readlink(full) if kind is Kind.SYMLINK else b""
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(full, error) from error
        return Item(
            _text(path),
            "device" if kind is None else kind.value,
            None if kind is Kind.SYMLINK else stat.S_IMODE(status.st_mode),
            status.st_size if kind is Kind.FILE else 0,
            _text(target),
        )

    def _sha256(self, item: Item) -> bytes:
        full = os.path.join(self._top, os.fsencode(item.path))
        digest = hashlib.sha256()
        size = 0
        try:
            # Not to wait for ever for the other end, should a FIFO have taken its place.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            with open(os.open(full, flags), "rb", buffering=0) as file:
                before = os.fstat(file.fileno())
                while data := file.read(PIECE):
                    digest.update(data)
                    size += len(data)
                    self._progress(0, len(data))
                after = os.fstat(file.fileno())
        except OSError as error:
            raise _unreadable(full, error) from error
        if size != item.size or _stamp(before) != _stamp(after):
            raise Conflict(f"{_text(full)}: it was changed meanwhile; try again")
        self._progress(1, 0)
        return digest.digest()


def _listed(folder: bytes) -> list[bytes]:
    """Names in a folder, in order; those of folders with a slash."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name + b"/" if entry.is_dir(follow_symlinks=False) else entry.name
                for entry in entries
            )
    except OSError as error:
        raise _unreadable(folder, error) from error


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def _unreadable(path: bytes, error: OSError) -> Unreadable:
    return Unreadable(f"{_text(path)}: {error.strerror or error}")
