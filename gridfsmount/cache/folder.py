"""The folder of a disk cache: what makes it one, and the files in it.

    gridfsmount-cache.json      {"format": 1}: without it no folder with something in it is touched
    v1/ab/abcdef...-0           segments (see `gridfsmount.cache.segments`), named by the key of
                                their content and their number in it

A segment's modification time is when it was last used. Has no state and decides nothing: any
thread of any process may do anything here at any time.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from gridfsmount.cache.segments import ForeignSegment
from gridfsmount.errors import ConfigError

MARKER: Final = "gridfsmount-cache.json"
FORMAT: Final = 1
MARKER_BYTES: Final = b'{"format": %d}\n' % FORMAT
SEGMENTS: Final = "v1"

FOREIGN_ERRNOS: Final = frozenset({errno.ELOOP, errno.ENXIO, errno.EISDIR})
"""What `open` says of a symbolic link, a socket, a folder: no segment is any of them."""

BLOCK: Final = 512
"""Bytes: the unit of `st_blocks` (stat(2))."""

_NAME: Final = re.compile(r"[0-9a-f]{32}-[0-9]+")


class StoredSegment(NamedTuple):
    """A segment's file as it was when it was seen; the least recently used sorts first."""

    used_ns: int
    name: str
    size: int
    """Bytes of disk."""


class CacheFolder:
    """A folder that is a cache."""

    def __init__(self, path: Path) -> None:
        """Make the folder a cache if it is missing or empty.

        Raises:
            ConfigError: it is or holds something else, or cannot be made or read.
        """
        self.path = path
        self._root = str(path / SEGMENTS)
        try:
            _prepare(path)
        except OSError as error:
            raise ConfigError(
                f"the cache folder {path} cannot be used: {error.strerror}"
            ) from error

    def is_writable(self) -> bool:
        """Whether files can be made in it, as far as can be told without making one."""
        return os.access(self._root, os.W_OK | os.X_OK, effective_ids=True)

    def open(self, name: str, flags: int = os.O_RDONLY) -> int | None:
        """A descriptor of a segment's file, made with `O_CREAT`; None if there is none.

        Raises:
            ForeignSegment: there is something that is no file.
            OSError: the disk refuses.
        """
        path = f"{self._root}/{name}"
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK  # a FIFO is not waited for
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                return None
            Path(path).parent.mkdir(mode=0o700, exist_ok=True)
            return os.open(path, flags, 0o600)
        except OSError as error:
            if error.errno in FOREIGN_ERRNOS:
                raise ForeignSegment from error
            raise

    def remove(self, name: str, used_ns: int | None = None) -> int | None:
        """Remove one file, or not if it was not used last at `used_ns`.

        Returns:
            The bytes of disk that it had, 0 if it was left; None if it is gone already.

        Raises:
            OSError: the disk refuses.
        """
        path = Path(self._root, name)
        try:
            status = path.lstat()
            if used_ns not in {None, status.st_mtime_ns} or stat.S_ISDIR(status.st_mode):
                return 0
            path.unlink()
        except FileNotFoundError:
            return None
        return status.st_blocks * BLOCK

    def free(self) -> int:
        """Bytes that the disk has free; a folder that was removed is made again.

        Raises:
            ConfigError: there is something else in its place.
            OSError: the disk refuses.
        """
        try:
            status = os.statvfs(self._root)
        except FileNotFoundError:
            _prepare(self.path)
            status = os.statvfs(self._root)
        return status.f_bavail * status.f_frsize

    def walk(self, *, clear: bool) -> Iterator[StoredSegment]:
        """All segments; files of other names are removed if `clear` says so.

        Raises:
            OSError: the disk refuses.
        """
        for folder in _entries(self._root):
            if not folder.is_dir(follow_symlinks=False):
                if clear:
                    self.remove(folder.name)
                continue
            for entry in _entries(folder.path):
                name = f"{folder.name}/{entry.name}"
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(status.st_mode) and _NAME.fullmatch(entry.name):
                    yield StoredSegment(status.st_mtime_ns, name, status.st_blocks * BLOCK)
                elif clear:
                    self.remove(name)


def _entries(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except FileNotFoundError:  # somebody removed the folder
        return []


def _prepare(folder: Path) -> None:
    """Make the folder a cache, or see that it is one.

    Raises:
        ConfigError: it is or holds something else.
        OSError: it cannot be made or read.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"the cache folder {folder} is no folder; choose another one")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    marker = folder / MARKER
    try:
        text = marker.read_bytes()
    except FileNotFoundError:
        # The root of a file system of its own has lost+found from the beginning; the marker may
        # come from another process right now.
        names = {each.name for each in folder.iterdir()} - {"lost+found"}
        if names and MARKER not in names:
            raise ConfigError(
                f"the cache folder {folder} holds files and is not a cache; "
                "choose an empty or a new folder"
            ) from None
        text = b""
    if text != MARKER_BYTES and MARKER_BYTES.startswith(text):  # new, or cut short by a crash
        with marker.open("wb") as file:
            file.write(MARKER_BYTES)
            file.flush()
            os.fsync(file.fileno())
    elif (found := _format(text)) != FORMAT:
        raise ConfigError(
            f"the cache folder {folder} has a format that this version does not know "
            f"({found or 'unreadable'}); choose another folder, or remove it"
        )
    segments = folder / SEGMENTS
    if not segments.is_dir():
        segments.mkdir(mode=0o700, exist_ok=True)


def _format(text: bytes) -> object:
    try:
        marker = json.loads(text)
    except ValueError:
        return None
    return marker.get("format") if isinstance(marker, dict) else None
