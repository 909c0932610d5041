"""opendir(3) and its kin, as C programs use them."""

import ctypes
from pathlib import Path
from typing import Self


class Directory:
    """opendir(3) and its kin, of which Python shows only the simplest."""

    class Entry(ctypes.Structure):
        _fields_ = (
            ("inode", ctypes.c_uint64),
            ("next", ctypes.c_int64),
            ("length", ctypes.c_uint16),
            ("type", ctypes.c_uint8),
            ("name", ctypes.c_char * 256),
        )

    def __init__(self, path: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        for name in ("opendir", "readdir"):
            getattr(self._libc, name).restype = ctypes.c_void_p
        self._libc.telldir.restype = ctypes.c_long
        self._stream = ctypes.c_void_p(self._libc.opendir(bytes(path)))
        assert self._stream.value, path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._libc.closedir(self._stream)

    def read(self) -> str | None:
        address = self._libc.readdir(self._stream)
        if address is None:
            return None
        name: bytes = self.Entry.from_address(address).name
        return name.decode()

    def rest(self) -> list[str]:
        return list(iter(self.read, None))

    def tell(self) -> int:
        position: int = self._libc.telldir(self._stream)
        return position

    def seek(self, position: int) -> None:
        self._libc.seekdir(self._stream, ctypes.c_long(position))

    def rewind(self) -> None:
        self._libc.rewinddir(self._stream)
