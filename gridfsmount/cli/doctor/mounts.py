"""Mounts of this machine, the directory for a new one, and the folders that mounts write to."""

import errno
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gridfsmount.cache.folder import MARKER
from gridfsmount.cli.doctor.findings import NEXT, Finding, ok, problem, warning
from gridfsmount.cli.logs import LOG_BYTES, LOG_FILES
from gridfsmount.core.wording import sized
from gridfsmount.errors import MountError
from gridfsmount.mount.daemon import default_log_file
from gridfsmount.mount.mountpoint import check_mountpoint, file_system_of
from gridfsmount.vfs.xattrs import PID

LITTLE_CACHE: Final = 1 << 30
"""Bytes: a disk cache leaves as many to others, and so keeps nothing on a disk with less."""

_NOBODYS: Final = ".gridfsmount-doctor"
"""A name that no dataset can have: whether it is there, no cache knows, and the server must say."""

_FAR: Final = ("nfs", "cifs", "smb", "fuse", "9p", "ceph", "glusterfs", "afs")
"""Beginnings of the names of file systems that may be slower than the lake, and that may hang."""

_MEMORY: Final = ("tmpfs", "ramfs")


def mount(point: Path) -> Iterator[Finding]:
    """Whether a mount of a lake answers, and its server."""
    name = "mount"
    began = time.monotonic()
    try:
        os.getxattr(point, PID)  # known without the server
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            yield problem(name, f"{point}: its process has died", f"gridfsmount umount {point}")
        elif error.errno == errno.EACCES:
            yield ok(name, f"{point} is another user's, and lets nobody else in")
        else:
            yield _silent(point, error)
        return
    took = (time.monotonic() - began) * 1000
    yield ok(
        name,
        f"{point}: its process answers, after {took:.0f} ms",
        **{NEXT: f"the server of {point}"},
    )
    try:
        (point / "datasets" / _NOBODYS).lstat()
    except FileNotFoundError:
        yield ok(name, f"{point}: its server answers, too")
    except OSError as error:
        yield _silent(point, error)


def _silent(point: Path, error: OSError) -> Finding:
    text = f"{point}: its server does not answer ({error.strerror})"
    return problem("mount", text, "see its log; it goes on by itself when the server is back")


def mountpoint(point: Path) -> Iterator[Finding]:
    """Whether a directory could be mounted on."""
    try:
        check_mountpoint(point)
    except MountError as error:
        yield problem("mount point", str(error))
        return
    if os.geteuid() != 0 and not os.access(point, os.W_OK):
        mend = f"as root: chown {os.geteuid()} {point}"
        yield problem("mount point", f"{point} is not yours: fusermount3 will refuse it", mend)
    else:
        yield ok("mount point", f"{point} can be mounted on")


def logs(point: Path) -> Iterator[Finding]:
    """Where mounts in the background log."""
    folder = default_log_file(point).parent
    existing = _existing(folder)
    if not os.access(existing, os.W_OK | os.X_OK):
        mend = f"mkdir -p {folder}; chown {os.geteuid()} {folder}; or use --log-file"
        yield problem("log folder", f"{folder} cannot be written", mend)
        return
    free = shutil.disk_usage(existing).free
    needed = LOG_BYTES * (LOG_FILES + 1)
    if free < needed:
        mend = "make room, or log elsewhere with --log-file"
        yield warning("log folder", f"{folder} has {sized(free)} free of {sized(needed)}", mend)
    else:
        yield ok("log folder", f"{folder}, {sized(free)} free")


def disk_cache(folder: Path) -> Iterator[Finding]:
    """Whether a folder can be a disk cache, and is worth it."""
    name = "disk cache"
    existing = _existing(folder)
    if not existing.is_dir():
        yield problem(name, f"{existing} is no folder", "choose another one")
        return
    if not os.access(existing, os.W_OK | os.X_OK):
        yield problem(
            name, f"{existing} cannot be written", f"as root: chown {os.geteuid()} {existing}"
        )
        return
    if existing == folder:
        names = {each.name for each in folder.iterdir()} - {"lost+found"}
        if names and MARKER not in names:
            yield problem(
                name, f"{folder} holds files and is no cache", "choose an empty or a new folder"
            )
            return
        if stat.S_IMODE(folder.stat().st_mode) & 0o077:
            yield warning(
                name,
                f"others may look into {folder}, and read the lake's bytes",
                f"chmod 700 {folder}",
            )
    kind = file_system_of(existing)
    if kind.startswith(_FAR):
        yield warning(name, f"{folder} is on {kind}: a disk of this machine is quicker")
    elif kind in _MEMORY:
        yield warning(name, f"{folder} is in memory ({kind}): --cache-size does that better")
    free = shutil.disk_usage(existing).free
    if free < LITTLE_CACHE:
        yield warning(
            name, f"the disk of {folder} has {sized(free)} free: nothing will be kept", "make room"
        )
    else:
        new = "" if existing == folder else ", to be made"
        yield ok(name, f"{folder} ({kind}{new}), {sized(free)} free")


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.absolute().parents) if each.exists())
