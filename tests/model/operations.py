"""What programs do to files, as values: done below any folder, each tells what came of it.

An outcome is plain data that must be equal on every file system: results, bytes read, `Look`s,
or the name of the errno.
"""

# The system calls themselves, since pathlib normalizes paths.
# ruff: noqa: PTH101, PTH102, PTH106, PTH108, PTH113, PTH115, PTH116, PTH211

import abc
import ctypes
import errno
import hashlib
import mmap
import os
import stat
import time
from dataclasses import dataclass, field
from typing import ClassVar, Self

HOUR_NS = 3600 * 10**9

RENAME_NOREPLACE = 1  # linux/fs.h
RENAME_EXCHANGE = 2

_LIBC = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD = -100  # fcntl.h


@dataclass(slots=True)
class Place:
    """A folder to work in, and the files that are open there."""

    root: str
    handles: dict[int, int] = field(default_factory=dict)
    """Descriptors by the slot that operations call them by."""

    def at(self, path: str) -> str:
        return f"{self.root}/{path}"

    def handle(self, slot: int) -> int:
        if slot not in self.handles:
            raise OSError(errno.EBADF, "nothing is open in this slot")
        return self.handles[slot]

    def open(self, slot: int, path: str, flags: int, mode: int) -> None:
        if slot in self.handles:
            self.close(slot)
        self.handles[slot] = os.open(self.at(path), flags, mode)

    def close(self, slot: int) -> None:
        if slot not in self.handles:
            raise OSError(errno.EBADF, "nothing is open in this slot")
        os.close(self.handles.pop(slot))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for slot in list(self.handles):
            self.close(slot)


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes that are unlike others, so that none can be in another's place unnoticed."""

    seed: int
    size: int

    @property
    def bytes(self) -> bytes:
        return hashlib.shake_128(bytes([self.seed])).digest(self.size)


@dataclass(frozen=True, slots=True)
class Look:
    """What stat(2) must show alike everywhere.

    Left out, as documented: inode numbers, st_dev, st_blocks and st_blksize are the file
    system's own; atime is only what was set; ctime is always "now" here.
    """

    kind: int
    mode: int
    owner: tuple[int, int]
    size: int | None
    """None for directories: their size is the file system's own."""
    links: int | None
    """None for directories: 1 in the mount, as on btrfs, until they are removed."""
    mtime_ns: int | None
    """None for the present; what was set is at least an hour away from that."""


def look(status: os.stat_result) -> Look:
    is_folder = stat.S_ISDIR(status.st_mode)
    is_now = abs(status.st_mtime_ns - time.time_ns()) < HOUR_NS
    return Look(
        kind=stat.S_IFMT(status.st_mode),
        mode=stat.S_IMODE(status.st_mode),
        owner=(status.st_uid, status.st_gid),
        size=None if is_folder else status.st_size,
        links=None if is_folder else status.st_nlink,
        mtime_ns=None if is_now else status.st_mtime_ns,
    )


def user_attributes(target: str | int, *, follow: bool = True) -> list[str]:
    """Names of `user.*` attributes; what a security module adds is not ours."""
    return sorted(
        name for name in os.listxattr(target, follow_symlinks=follow) if name.startswith("user.")
    )


class Operation(abc.ABC):
    """One system call, or the few that belong together."""

    __slots__ = ()

    @abc.abstractmethod
    def run(self, place: Place) -> object:
        """Do it; returns what must be equal everywhere, or raises OSError."""


def outcome(operation: Operation, place: Place) -> object:
    try:
        return operation.run(place)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


# --- open files ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Open(Operation):
    slot: int
    path: str
    flags: int
    mode: int

    # Always: opening a FIFO would wait for its other end.
    ALWAYS: ClassVar[int] = os.O_NONBLOCK

    def run(self, place: Place) -> None:
        place.open(self.slot, self.path, self.flags | self.ALWAYS, self.mode)


@dataclass(frozen=True, slots=True)
class Close(Operation):
    slot: int

    def run(self, place: Place) -> None:
        place.close(self.slot)


@dataclass(frozen=True, slots=True)
class CloseDuplicate(Operation):
    """As when a child process ends that has inherited the file."""

    slot: int

    def run(self, place: Place) -> None:
        os.close(os.dup(place.handle(self.slot)))


@dataclass(frozen=True, slots=True)
class Write(Operation):
    slot: int
    data: Data

    def run(self, place: Place) -> object:
        return os.write(place.handle(self.slot), self.data.bytes)


@dataclass(frozen=True, slots=True)
class WriteAt(Operation):
    slot: int
    offset: int
    data: Data

    def run(self, place: Place) -> object:
        return os.pwrite(place.handle(self.slot), self.data.bytes, self.offset)


@dataclass(frozen=True, slots=True)
class WriteMapped(Operation):
    """Through shared memory, as far as the file reaches."""

    slot: int
    offset: int
    data: Data

    def run(self, place: Place) -> object:
        descriptor = place.handle(self.slot)
        size = os.fstat(descriptor).st_size
        if not os.path.isfile(f"/proc/self/fd/{descriptor}") or not size:
            return "nothing to map"
        with mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as view:
            piece = self.data.bytes[: max(0, size - self.offset)]
            view[self.offset : self.offset + len(piece)] = piece
            view.flush()
        return len(piece)


@dataclass(frozen=True, slots=True)
class Read(Operation):
    slot: int
    size: int

    def run(self, place: Place) -> object:
        return os.read(place.handle(self.slot), self.size)


@dataclass(frozen=True, slots=True)
class ReadAt(Operation):
    slot: int
    offset: int
    size: int

    def run(self, place: Place) -> object:
        return os.pread(place.handle(self.slot), self.size, self.offset)


@dataclass(frozen=True, slots=True)
class Seek(Operation):
    slot: int
    offset: int
    whence: int

    def run(self, place: Place) -> object:
        descriptor = place.handle(self.slot)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return "positions in directories are the file system's own"
        return os.lseek(descriptor, self.offset, self.whence)


@dataclass(frozen=True, slots=True)
class TruncateOpen(Operation):
    slot: int
    size: int

    def run(self, place: Place) -> None:
        os.ftruncate(place.handle(self.slot), self.size)


@dataclass(frozen=True, slots=True)
class Sync(Operation):
    slot: int
    data_only: bool

    def run(self, place: Place) -> None:
        descriptor = place.handle(self.slot)
        (os.fdatasync if self.data_only else os.fsync)(descriptor)


@dataclass(frozen=True, slots=True)
class LookOpen(Operation):
    slot: int

    def run(self, place: Place) -> object:
        return look(os.fstat(place.handle(self.slot)))


@dataclass(frozen=True, slots=True)
class ChangeModeOpen(Operation):
    slot: int
    mode: int

    def run(self, place: Place) -> None:
        os.fchmod(place.handle(self.slot), self.mode)


@dataclass(frozen=True, slots=True)
class SetTimesOpen(Operation):
    slot: int
    mtime_ns: int | None

    def run(self, place: Place) -> None:
        _set_times(place.handle(self.slot), self.mtime_ns, follow=True)


@dataclass(frozen=True, slots=True)
class SetAttributeOpen(Operation):
    slot: int
    name: str
    value: bytes

    def run(self, place: Place) -> None:
        os.setxattr(place.handle(self.slot), self.name, self.value)


@dataclass(frozen=True, slots=True)
class ListAttributesOpen(Operation):
    slot: int

    def run(self, place: Place) -> object:
        return user_attributes(place.handle(self.slot))


# --- whole files ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WriteFile(Operation):
    path: str
    data: Data

    def run(self, place: Place) -> object:
        return _write(place.at(self.path), os.O_TRUNC, self.data.bytes)


@dataclass(frozen=True, slots=True)
class AppendToFile(Operation):
    path: str
    data: Data

    def run(self, place: Place) -> object:
        return _write(place.at(self.path), os.O_APPEND, self.data.bytes)


@dataclass(frozen=True, slots=True)
class ReadFile(Operation):
    path: str

    def run(self, place: Place) -> object:
        return read_file(place.at(self.path))


@dataclass(frozen=True, slots=True)
class Truncate(Operation):
    path: str
    size: int

    def run(self, place: Place) -> None:
        os.truncate(place.at(self.path), self.size)


# --- names ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MakeFolder(Operation):
    path: str
    mode: int

    def run(self, place: Place) -> None:
        os.mkdir(place.at(self.path), self.mode)


@dataclass(frozen=True, slots=True)
class MakeNode(Operation):
    """A FIFO, a socket, or an empty file.

    No device: the mount refuses those (EPERM).
    """

    path: str
    kind: int
    mode: int

    def run(self, place: Place) -> None:
        os.mknod(place.at(self.path), self.kind | self.mode)


@dataclass(frozen=True, slots=True)
class MakeSymlink(Operation):
    path: str
    target: str

    def run(self, place: Place) -> None:
        os.symlink(self.target, place.at(self.path))


@dataclass(frozen=True, slots=True)
class MakeLink(Operation):
    path: str
    new: str

    def run(self, place: Place) -> None:
        os.link(place.at(self.path), place.at(self.new), follow_symlinks=False)


@dataclass(frozen=True, slots=True)
class Unlink(Operation):
    path: str

    def run(self, place: Place) -> None:
        os.unlink(place.at(self.path))


@dataclass(frozen=True, slots=True)
class RemoveFolder(Operation):
    path: str

    def run(self, place: Place) -> None:
        os.rmdir(place.at(self.path))


@dataclass(frozen=True, slots=True)
class Rename(Operation):
    path: str
    new: str
    flags: int = 0

    def run(self, place: Place) -> None:
        result: int = _LIBC.renameat2(
            _AT_FDCWD,
            place.at(self.path).encode(),
            _AT_FDCWD,
            place.at(self.new).encode(),
            self.flags,
        )
        if result:
            raise OSError(ctypes.get_errno(), "renameat2")


@dataclass(frozen=True, slots=True)
class List(Operation):
    path: str

    def run(self, place: Place) -> object:
        with os.scandir(place.at(self.path)) as entries:
            return sorted(
                (each.name, each.is_dir(follow_symlinks=False), each.is_symlink())
                for each in entries
            )


# --- attributes ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LookAt(Operation):
    path: str
    follow: bool

    def run(self, place: Place) -> object:
        return look(os.stat(place.at(self.path), follow_symlinks=self.follow))


@dataclass(frozen=True, slots=True)
class ReadLink(Operation):
    path: str

    def run(self, place: Place) -> object:
        return os.readlink(place.at(self.path))


@dataclass(frozen=True, slots=True)
class ChangeMode(Operation):
    path: str
    mode: int

    def run(self, place: Place) -> None:
        os.chmod(place.at(self.path), self.mode)


@dataclass(frozen=True, slots=True)
class ChangeOwner(Operation):
    path: str
    uid: int
    gid: int
    follow: bool

    def run(self, place: Place) -> None:
        os.chown(place.at(self.path), self.uid, self.gid, follow_symlinks=self.follow)


@dataclass(frozen=True, slots=True)
class SetTimes(Operation):
    path: str
    mtime_ns: int | None
    follow: bool

    def run(self, place: Place) -> None:
        _set_times(place.at(self.path), self.mtime_ns, follow=self.follow)


@dataclass(frozen=True, slots=True)
class SetAttribute(Operation):
    path: str
    name: str
    value: bytes
    flags: int
    follow: bool

    def run(self, place: Place) -> None:
        path = place.at(self.path)
        os.setxattr(path, self.name, self.value, self.flags, follow_symlinks=self.follow)


@dataclass(frozen=True, slots=True)
class GetAttribute(Operation):
    path: str
    name: str
    follow: bool

    def run(self, place: Place) -> object:
        return os.getxattr(place.at(self.path), self.name, follow_symlinks=self.follow)


@dataclass(frozen=True, slots=True)
class ListAttributes(Operation):
    path: str
    follow: bool

    def run(self, place: Place) -> object:
        return user_attributes(place.at(self.path), follow=self.follow)


@dataclass(frozen=True, slots=True)
class RemoveAttribute(Operation):
    path: str
    name: str
    follow: bool

    def run(self, place: Place) -> None:
        os.removexattr(place.at(self.path), self.name, follow_symlinks=self.follow)


def read_file(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        pieces = []
        while piece := os.read(descriptor, 1 << 20):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def _write(path: str, flags: int, data: bytes) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | flags, 0o666)
    try:
        return os.write(descriptor, data)
    finally:
        os.close(descriptor)


def _set_times(target: str | int, mtime_ns: int | None, *, follow: bool) -> None:
    if mtime_ns is None:
        os.utime(target, follow_symlinks=follow)
    else:
        os.utime(target, ns=(mtime_ns, mtime_ns), follow_symlinks=follow)
