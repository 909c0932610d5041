"""Inode numbers of snapshots: all of them have a bit that no number of the lake has. Pure.

bit 62       SNAPSHOTS_FLAG
bit 60       LATEST_FLAG: the link `latest` of the folder whose number the rest is
bits 40-59   which snapshot, counted from 1 as this mount came to know them; 0: none
bits 0-39    the inode's number in its manifest
"""

from typing import Final

from gridfsmount.core.model import LATEST_FLAG, NO_FOLDER, ROOT, Inode
from gridfsmount.errors import Damaged
from gridfsmount.vfs.parts import SNAPSHOTS_FLAG

_BITS: Final = 40
_MOST: Final = (1 << _BITS) - 1

MOST_SNAPSHOTS: Final = (1 << 20) - 1
"""Hourly ones for a century."""

LATEST_LINK: Final = Inode(SNAPSHOTS_FLAG | LATEST_FLAG)
"""The link to the newest snapshot."""


def number(slot: int, inode: Inode) -> Inode:
    """The number in the mount of an inode of the snapshot in a slot.

    Raises:
        Damaged: no lake gives such numbers.
    """
    if not 0 <= inode <= _MOST:
        raise Damaged(f"a snapshot with an inode numbered {inode}")
    return Inode(SNAPSHOTS_FLAG | slot << _BITS | inode)


def top(slot: int) -> Inode:
    """The number of a snapshot's folder."""
    return number(slot, ROOT)


def split(inode: Inode) -> tuple[int, Inode]:
    """The slot that a number belongs to, and the inode's number there."""
    return inode >> _BITS & MOST_SNAPSHOTS, Inode(inode & _MOST)


def parent_number(slot: int, inode: Inode) -> Inode:
    """The same as `number` for a folder that may be none."""
    return inode if inode == NO_FOLDER else number(slot, inode)
