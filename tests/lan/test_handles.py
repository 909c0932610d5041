"""File handles, by which NFS servers remember files: the numbers in them are for good."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gridfsmount.vaults.opening import make_vault
from tests.mounting import Mounted, eventually
from tests.posix.users import needs_root
from tests.snapshots.conftest import LAKE, MountedAlone
from tests.snapshots.planting import Planted

pytestmark = needs_root  # open_by_handle_at(2) asks for CAP_DAC_READ_SEARCH

LIBC: Final = ctypes.CDLL(None, use_errno=True)
HERE: Final = -100  # AT_FDCWD


class _Handle(ctypes.Structure):
    """`struct file_handle`, with the most bytes that one has."""

    _fields_ = (
        ("size", ctypes.c_uint),
        ("type", ctypes.c_int),
        ("bytes", ctypes.c_ubyte * 128),
    )


@dataclass(frozen=True)
class Handle:
    """What name_to_handle_at(2) gives for a file."""

    type: int
    data: bytes


def handle_of(path: Path) -> Handle:
    handle = _Handle(size=128)
    mount = ctypes.c_int()
    done = LIBC.name_to_handle_at(HERE, bytes(path), ctypes.byref(handle), ctypes.byref(mount), 0)
    assert done == 0, os.strerror(ctypes.get_errno())
    return Handle(handle.type, bytes(handle.bytes[: handle.size]))


@contextlib.contextmanager
def opened(mount: Mounted, handle: Handle, flags: int) -> Iterator[int]:
    """Open a file by its handle, in a mount."""
    given = _Handle(size=len(handle.data), type=handle.type)
    given.bytes[: len(handle.data)] = handle.data
    root = os.open(mount.path, os.O_RDONLY)
    try:
        file = LIBC.open_by_handle_at(root, ctypes.byref(given), flags)
        if file < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        try:
            yield file
        finally:
            os.close(file)
    finally:
        os.close(root)


def is_stale(mount: Mounted, handle: Handle) -> bool:
    with contextlib.suppress(OSError), opened(mount, handle, os.O_RDONLY):
        return False
    return True


def assert_kept_by_a_new_mount(mount: Mounted, paths: list[Path]) -> None:
    before = [(path.lstat().st_ino, handle_of(path)) for path in paths]
    mount.restart()
    for (number, handle), path in zip(before, paths, strict=True):
        # By the handle first: the kernel has no name for it yet, and asks for `.` in it.
        with opened(mount, handle, os.O_PATH | os.O_NOFOLLOW) as file:
            assert os.fstat(file).st_ino == number, path
    assert [(path.lstat().st_ino, handle_of(path)) for path in paths] == before


def test_inode_numbers_and_file_handles_are_the_same_after_a_new_mount(served: Mounted) -> None:
    folder = served.version("datasets/handles/v1") / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(b"kept")
    paths = [folder / "file", folder, folder.parent, folder.parents[1] / "latest"]
    paths += [folder.parents[1], folder.parents[2], served.path]
    assert_kept_by_a_new_mount(served, paths)
    handle = handle_of(folder)
    with opened(served, handle, os.O_RDONLY) as file:
        assert Path(f"/proc/self/fd/{file}").readlink() == folder


def test_files_of_a_snapshot_are_found_by_their_handles(tmp_path: Path) -> None:
    vault = make_vault(str(tmp_path / "vault"), LAKE)
    tree = Planted()
    tree.file("datasets/mnist/v1/sub/file", b"kept")
    tree.publish(vault, "2026-11-22T03-00-00Z")
    vault.close()
    # With more than one snapshot, the numbers would depend on which there are.
    with MountedAlone(tmp_path, "--vault", tmp_path / "vault") as mount:
        assert_kept_by_a_new_mount(mount, [mount.path, *sorted(mount.path.rglob("*"))])


def test_a_file_is_read_and_written_by_its_handle_whatever_its_name(served: Mounted) -> None:
    version = served.version("datasets/handles/v2")
    (version / "file").write_bytes(b"by handle")
    handle = handle_of(version / "file")
    (version / "file").rename(version / "renamed")
    with opened(served, handle, os.O_RDWR) as file:
        assert os.read(file, 100) == b"by handle"
        os.pwrite(file, b"BY", 0)
    assert (version / "renamed").read_bytes() == b"BY handle"
    (version / "renamed").unlink()
    eventually(lambda: is_stale(served, handle), "the kernel has forgotten the file")
