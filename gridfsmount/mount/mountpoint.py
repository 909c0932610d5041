"""The directory to mount on: is it fit, and who serves it."""

import errno
import logging
import os
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gridfsmount.errors import MountError
from gridfsmount.vfs.xattrs import ADDRESS, BUCKET, DISK_CACHE, PID

log = logging.getLogger(__name__)

FILE_SYSTEM: Final = "fuse.gridfsmount"

END_SECONDS: Final = 120.0
"""How long a mount may take to flush and, where it has one, to stop its embedded server."""


def check_mountpoint(mountpoint: Path) -> None:
    """Refuse a directory that cannot be mounted on; what `clear_dead` clears away is fine.

    Raises:
        MountError: missing, no directory, busy, another program's dead mount, or not empty.
    """
    try:
        entries = list(mountpoint.iterdir())
    except FileNotFoundError:
        raise MountError(f"{mountpoint} does not exist: make it with mkdir") from None
    except NotADirectoryError:
        raise MountError(f"{mountpoint} is not a directory") from None
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            kind = _topmost(mountpoint)
            if kind == FILE_SYSTEM:
                return
            raise MountError(
                f"{mountpoint} is left from a mount of {kind} that died: umount {mountpoint}"
            ) from error
        raise MountError(f"{mountpoint} cannot be read: {error.strerror}") from error
    if is_mounted(mountpoint):
        raise MountError(
            f"something is mounted on {mountpoint} already: gridfsmount umount {mountpoint}"
        )
    if entries:
        raise MountError(f"{mountpoint} is not empty: mount on an empty directory")


def clear_dead(mountpoint: Path) -> None:
    """Take away what a mount of ours that died has left there, though it may be in use.

    Who has files open in it gets errors for them anyway, now and later.

    Raises:
        MountError: it cannot be taken away, or what comes to light cannot be mounted on.
    """
    while _is_dead(mountpoint):
        done = subprocess.run(
            ["fusermount3", "-u", "-z", "--", os.path.realpath(mountpoint)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise MountError(
                f"{mountpoint} is left from a mount that died, and cannot be unmounted: "
                f"{done.stderr.strip()}"
            )
        log.warning("%s was left from a mount that died: cleared away", mountpoint)
        check_mountpoint(mountpoint)


def is_mounted(mountpoint: Path, file_system: str | None = None) -> bool:
    """Whether something (of that type) is mounted exactly there."""
    path = os.path.realpath(mountpoint)
    return any(point == path and file_system in (None, kind) for point, kind in _mounts())


def mounted_lakes() -> list[Path]:
    """All mount points of lakes on this machine, dead ones too; touches none of them."""
    return [Path(point) for point, kind in _mounts() if kind == FILE_SYSTEM]


def file_system_of(path: Path) -> str:
    """The type of the file system that a path lies in, as in "ext4" and "nfs4"."""
    real = path.resolve()
    kinds = dict(_mounts())  # the last one on a directory covers the others
    return next((kinds[each] for each in map(str, (real, *real.parents)) if each in kinds), "?")


def mount_of(path: Path) -> Path:
    """The mount point of the lake that a path lies in.

    Raises:
        MountError: it lies in none.
    """
    real = path.resolve()
    found = next((each for each in (real, *real.parents) if is_mounted(each, FILE_SYSTEM)), None)
    if found is None:
        raise MountError(f"{path} lies in no mounted lake")
    return found


def disk_cache_of(mountpoint: Path) -> Path:
    """The folder of a mount's disk cache.

    Raises:
        MountError: it has none, or does not answer.
    """
    try:
        return Path(os.fsdecode(os.getxattr(mountpoint, DISK_CACHE)))
    except OSError as error:
        if error.errno == errno.ENODATA:
            raise MountError(
                f"the mount on {mountpoint} has no disk cache: mount it with --disk-cache DIR"
            ) from error
        raise MountError(f"the mount on {mountpoint} does not answer: {error.strerror}") from error


def lake_of(mountpoint: Path) -> tuple[str, str]:
    """The address of the lake that is mounted there, with its password, and its bucket.

    Raises:
        MountError: it does not answer, or not to this user.
    """
    try:
        address, bucket = (os.getxattr(mountpoint, each).decode() for each in (ADDRESS, BUCKET))
    except OSError as error:
        if error.errno == errno.EACCES:
            raise MountError(
                f"the mount on {mountpoint} tells its lake's address only to root and to the user "
                "who mounted it: give the address (--uri, --uri-file) or a configuration file"
            ) from error
        raise MountError(f"the mount on {mountpoint} does not answer: {error.strerror}") from error
    return address, bucket


def unmount(mountpoint: Path) -> None:
    """Unmount and wait until the process that served the mount has ended.

    Raises:
        MountError: not mounted, busy, or it does not end.
    """
    if not is_mounted(mountpoint, FILE_SYSTEM):
        raise MountError(f"no lake is mounted on {mountpoint}")
    server = _server(mountpoint)
    done = subprocess.run(
        ["fusermount3", "-u", "--", os.path.realpath(mountpoint)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        users = ", ".join(sorted(set(_users(mountpoint))))
        busy = f" It is in use by: {users}." if users else ""
        raise MountError(f"cannot unmount {mountpoint}: {done.stderr.strip()}.{busy}")
    if server is not None:
        try:
            ended, _, _ = select.select([server], [], [], END_SECONDS)
        finally:
            os.close(server)
        if not ended:
            raise MountError(
                f"{mountpoint} is unmounted, but the process that served it has not ended yet"
            )


def _topmost(mountpoint: Path) -> str | None:
    """The type of what is mounted exactly there, on top of all else; None if nothing is."""
    path = os.path.realpath(mountpoint)
    return next((kind for point, kind in reversed([*_mounts()]) if point == path), None)


def _is_dead(mountpoint: Path) -> bool:
    """Whether a mount of ours is there that nobody serves any more."""
    try:
        os.scandir(mountpoint).close()  # the kernel may remember its attributes for a moment
    except OSError as error:
        return error.errno == errno.ENOTCONN and _topmost(mountpoint) == FILE_SYSTEM
    return False


def _server(mountpoint: Path) -> int | None:
    """A descriptor that becomes readable when the process behind a mount ends."""
    try:
        return os.pidfd_open(int(os.getxattr(mountpoint, PID)))
    except (OSError, ValueError):
        return None  # dead already, or another user's


def _mounts() -> Iterator[tuple[str, str]]:
    # proc(5): fields up to a lone "-", then the type; blanks in paths are octal escapes.
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        point = fields.split()[4].encode().decode("unicode_escape").encode("latin-1").decode()
        yield point, rest.split()[0]


def _users(mountpoint: Path) -> Iterator[str]:
    """Processes with a file or their working directory below a mount, as far as we may look."""
    prefix = os.path.realpath(mountpoint)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [process / "cwd", *(process / "fd").iterdir()]
            used = [str(link.readlink()) for link in links]
            name = (process / "comm").read_text().strip()
        except OSError:
            continue
        if any(path == prefix or path.startswith(f"{prefix}/") for path in used):
            yield f"{name} ({process.name})"
