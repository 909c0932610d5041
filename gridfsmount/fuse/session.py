"""The life of a FUSE session: mount, serve, unmount."""

import errno
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pyfuse3
import trio

from gridfsmount.errors import MountError
from gridfsmount.fuse.adapter import LakeOperations
from gridfsmount.fuse.polling import Linger

log = logging.getLogger(__name__)

MIN_REQUESTS: Final = 8
"""Idle tasks that are kept: making one costs more than it."""

MAX_REQUESTS: Final = 64
"""Requests served at once; each costs a buffer of a megabyte when it was a write."""


def open_session(
    operations: LakeOperations,
    mountpoint: Path,
    *,
    name: str,
    read_only: bool,
    allow_other: bool,
    noexec: bool = False,
) -> None:
    """Mount; from now on the kernel's requests queue up.

    Args:
        operations: who answers them.
        mountpoint: an empty directory.
        name: what df(1) and /proc/mounts show; never a secret.
        read_only: refuse changes in the kernel already.
        allow_other: let other users in; the permission bits decide what they may do.
        noexec: let the kernel run no program from it.

    Raises:
        MountError: the kernel or fusermount3 refuses.
    """
    options = {"default_permissions", f"fsname={_escaped(name)}", "subtype=gridfsmount"}
    if read_only:
        options.add("ro")
    if allow_other:
        options.add("allow_other")
    if noexec:
        options.add("noexec")
    try:
        pyfuse3.init(operations, str(mountpoint), options)
    except RuntimeError as error:
        raise MountError(_reason(mountpoint, allow_other)) from error


async def serve(busy: Callable[[], bool]) -> None:
    """Answer requests until the mount is gone or `stop` is called.

    `busy` says whether threads are at work for them.
    """
    linger = Linger(busy)
    trio.lowlevel.add_instrument(linger)
    try:
        await pyfuse3.main(min_tasks=MIN_REQUESTS, max_tasks=MAX_REQUESTS)
    finally:
        trio.lowlevel.remove_instrument(linger)


def stop() -> None:
    """Make `serve` return; call on the event loop."""
    pyfuse3.terminate()


def close_session() -> None:
    """Unmount, if that has not happened, and release the device."""
    pyfuse3.close(unmount=True)


def _escaped(name: str) -> str:
    plain = name.encode("ascii", "replace").decode()  # pyfuse3 takes ASCII only
    return plain.replace("\\", "\\\\").replace(",", "\\,")


def _reason(mountpoint: Path, allow_other: bool) -> str:
    device = Path("/dev/fuse")
    try:
        device.open("rb").close()
    except FileNotFoundError:
        return "there is no /dev/fuse: load the module (modprobe fuse), or give it to the container"
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            return "/dev/fuse may not be opened: add the user to its group, or use sudo"
        return f"/dev/fuse cannot be opened: {error.strerror}"
    hint = ""
    if allow_other:
        hint = "; --allow-other needs root, or user_allow_other in /etc/fuse.conf"
    return f"FUSE cannot mount on {mountpoint} (its reason is printed above){hint}"
