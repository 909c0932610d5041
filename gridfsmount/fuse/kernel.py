"""What the kernel can be told beside its requests: pages, and how it should behave."""

import contextlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

import pyfuse3
from pyfuse3 import InodeT

from gridfsmount.core.chunks import Bytes
from gridfsmount.core.model import Inode

log = logging.getLogger(__name__)

READ_AHEAD_KIB: Final = 1024
"""How far the kernel reads ahead by itself. It is what lets its requests grow from 128 KiB to the
1 MiB that FUSE allows: twice the speed of cold reads. More brought nothing."""

MAX_BACKGROUND: Final = 64
"""Requests of read-ahead that the kernel has under way at once; its default is 12."""

_SETTINGS: Final = Path("/sys")


def fill(inode: Inode, chunks: Sequence[Bytes]) -> bool:
    """Give the kernel all pages of a file that never changes; false if it does not want them.

    Blocks while the kernel has a page of it locked, which it has only for the length of a request.
    """
    offset = 0
    try:
        for chunk in chunks:
            # Any buffer will do, whatever its annotations say.
            pyfuse3.notify_store(InodeT(inode), offset, cast(bytes, chunk))
            offset += len(chunk)
    except OSError:  # ENOENT: the kernel does not know the inode
        return False
    return True


def forget_attributes(inode: Inode) -> None:
    """Make the kernel ask for an inode's attributes again, whatever it was told before.

    Does not block: it takes no lock that a request may hold. The kernel's other notices do (one
    about a name waits for who uses its directory, one about pages for who reads them): were the
    mount killed just then, who holds the lock would wait for it, and it for them, forever.
    Call on the event loop, where the session cannot end meanwhile.
    """
    # ENOENT: the kernel does not know the inode; or it is a number that no inode can have.
    with contextlib.suppress(OSError, OverflowError):
        pyfuse3.invalidate_inode(InodeT(inode), attr_only=True)


def tune(device: int) -> None:
    """Make the kernel ask for more at once. Needs root; without it, reads are slower.

    `device` is the number of the mount's file system, as in stat(2).
    """
    major, minor = os.major(device), os.minor(device)
    _set(_SETTINGS / f"class/bdi/{major}:{minor}/read_ahead_kb", READ_AHEAD_KIB)
    _set(_SETTINGS / f"fs/fuse/connections/{minor}/max_background", MAX_BACKGROUND)


def _set(setting: Path, value: int) -> None:
    try:
        setting.write_text(str(value))
    except OSError as error:
        level = logging.INFO if setting.name == "read_ahead_kb" else logging.DEBUG
        log.log(level, "%s stays as it is: %s", setting, error.strerror)
