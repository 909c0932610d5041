"""A client of NFS 4 without the kernel: the programs and the library of libnfs."""

import ctypes
import ctypes.util
import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

PIECE: Final = 2048
"""Bytes of one write. libnfs 4 cannot send more than 4 KiB in NFS 4, whoever the server is."""

_KNOWN: Final = ("13", "14")
"""Versions of the library whose functions take their arguments in the order that is used here."""


class _Entry(ctypes.Structure):
    """The beginning of `struct nfsdirent`."""


_Entry._fields_ = [
    ("next", ctypes.POINTER(_Entry)),
    ("name", ctypes.c_char_p),
    ("inode", ctypes.c_uint64),
]


class _Status(ctypes.Structure):
    """`struct nfs_stat_64`."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            *("dev", "inode", "mode", "nlink", "uid", "gid", "rdev", "size"),
            *("block_size", "blocks", "atime", "mtime", "ctime"),
            *("atime_ns", "mtime_ns", "ctime_ns", "used"),
        )
    )


class NfsClient:
    """One client of an export of a server on loopback, with the rights of one user."""

    def __init__(self, port: int, export: str, uid: int = 0) -> None:
        """Mount `export`; errors are OSError, as from the kernel's client."""
        found = ctypes.util.find_library("nfs") or ""
        assert re.sub(r".*\.so\.", "", found) in _KNOWN, f"libnfs is {found!r}: adapt this module"
        self._library: Any = ctypes.CDLL(found)
        self._library.nfs_init_context.restype = ctypes.c_void_p
        self._library.nfs_get_error.restype = ctypes.c_char_p
        self._library.nfs_readdir.restype = ctypes.POINTER(_Entry)
        self._context = ctypes.c_void_p(self._library.nfs_init_context())
        self._library.nfs_parse_url_dir.restype = ctypes.c_void_p
        self.address = f"nfs://127.0.0.1{export}"
        self.options = f"nfsport={port}&version=4&uid={uid}&gid={uid}"
        url = self._library.nfs_parse_url_dir(self._context, self.url("").encode())
        assert url, self._reason()
        self._library.nfs_destroy_url(ctypes.c_void_p(url))
        # By itself, two clients of one process and second get the same name, and are one.
        self._name = ctypes.create_string_buffer(uuid.uuid4().hex.encode())
        self._library.nfs4_set_client_name(self._context, self._name)
        self._library.nfs_set_autoreconnect(self._context, -1)
        self._do("mount", b"127.0.0.1", export.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._library.nfs_destroy_context(self._context)

    def url(self, path: str) -> str:
        """What the programs of libnfs take."""
        return f"{self.address}/{path}?{self.options}"

    def read(self, path: str) -> bytes:
        """A file's bytes, as `nfs-cat` prints them."""
        return _run("nfs-cat", self.url(path)).encode("latin-1")

    def copy(self, source: str | Path, target: str | Path) -> None:
        """`nfs-cp`."""
        _run("nfs-cp", str(source), str(target))

    def write(self, path: str, data: bytes) -> None:
        """Make a file with these bytes, or replace those it has."""
        handle = ctypes.c_void_p()
        try:  # with O_CREAT, this library always asks for a new file
            flags = os.O_WRONLY | os.O_CREAT
            self._do("open2", path.encode(), flags, 0o644, ctypes.byref(handle))
        except FileExistsError:
            flags = os.O_WRONLY | os.O_TRUNC
            self._do("open2", path.encode(), flags, 0o644, ctypes.byref(handle))
        try:
            for start in range(0, len(data), PIECE):
                piece = data[start : start + PIECE]
                position, size = ctypes.c_uint64(start), ctypes.c_uint64(len(piece))
                assert self._do("pwrite", handle, position, size, piece) == len(piece)
            self._do("fsync", handle)
        finally:
            self._do("close", handle)

    def names(self, path: str) -> list[str]:
        """What a directory lists, but `.` and `..`."""
        return sorted(name for name in self._listed(path) if name not in (".", ".."))

    def make_directory(self, path: str) -> None:
        self._do("mkdir", path.encode())

    def remove_directory(self, path: str) -> None:
        self._do("rmdir", path.encode())

    def remove(self, path: str) -> None:
        self._do("unlink", path.encode())

    def rename(self, path: str, new: str) -> None:
        self._do("rename", path.encode(), new.encode())

    def size(self, path: str) -> int:
        return int(self._status(path).size)

    def _status(self, path: str) -> _Status:
        status = _Status()
        self._do("lstat64", path.encode(), ctypes.byref(status))
        return status

    def _listed(self, path: str) -> Iterator[str]:
        stream = ctypes.c_void_p()
        self._do("opendir", path.encode(), ctypes.byref(stream))
        try:
            while entry := self._library.nfs_readdir(self._context, stream):
                yield entry.contents.name.decode()
        finally:
            self._library.nfs_closedir(self._context, stream)

    def _do(self, function: str, *arguments: Any) -> int:
        answer = int(getattr(self._library, f"nfs_{function}")(self._context, *arguments))
        if answer < 0:
            raise OSError(-answer, f"{function}: {os.strerror(-answer)}: {self._reason()}")
        return answer

    def _reason(self) -> str:
        return (self._library.nfs_get_error(self._context) or b"").decode()


def _run(*command: str) -> str:
    """What a program of libnfs prints; they tell errors as text, and some end with 0 then."""
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, (command, done.stderr)
    assert not done.stderr.strip(), (command, done.stderr)
    return done.stdout.decode("latin-1")
