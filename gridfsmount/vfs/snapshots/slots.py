"""All snapshots that a mount has come to know, by the slots of their inode numbers."""

from collections.abc import Callable

from gridfsmount.core.model import Inode
from gridfsmount.errors import Stale, StoreFailed
from gridfsmount.vfs.snapshots.numbers import MOST_SNAPSHOTS, split
from gridfsmount.vfs.snapshots.snapshot import Snapshot


class Slots:
    """A slot for each; none is ever used again."""

    def __init__(self) -> None:
        """None yet."""
        self._snapshots: list[Snapshot] = []

    def add(self, make: Callable[[int], Snapshot]) -> Snapshot:
        """Make a snapshot in the next slot.

        Raises:
            StoreFailed: there is none left.
        """
        slot = len(self._snapshots) + 1
        if slot > MOST_SNAPSHOTS:
            raise StoreFailed("more snapshots than one mount can number: mount anew")
        self._snapshots.append(make(slot))
        return self._snapshots[-1]

    def of(self, inode: Inode) -> Snapshot:
        """The snapshot that a number belongs to.

        Raises:
            Stale: there is none.
        """
        slot, _ = split(inode)
        if not 0 < slot <= len(self._snapshots):
            raise Stale(f"inode {inode}")
        return self._snapshots[slot - 1]
