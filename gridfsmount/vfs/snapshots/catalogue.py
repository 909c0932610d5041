"""The snapshots of all vaults of a mount, by the names that they are shown under."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from gridfsmount.core.model import SNAPSHOTS, Attributes, Inode, Kind
from gridfsmount.core.names import LATEST
from gridfsmount.errors import NotFound, Stale
from gridfsmount.vfs.snapshots.numbers import LATEST_LINK, top
from gridfsmount.vfs.snapshots.shelf import Shelf
from gridfsmount.vfs.snapshots.slots import Slots
from gridfsmount.vfs.snapshots.snapshot import Snapshot

FOLDER_MODE: Final = 0o755
"""As the root of a lake has it, so that a copy can be removed again."""


class Catalogue:
    """What `/snapshots` lists."""

    def __init__(self, shelves: Sequence[Shelf], slots: Slots, folder: Attributes) -> None:
        """List the snapshots of `shelves`.

        Args:
            shelves: the first one's snapshots have the plain name where two have the same.
            slots: of the mount.
            folder: how the folder of all looks, and each snapshot's but for its times.
        """
        self.shelves = shelves
        self.folder = folder
        self._slots = slots

    def entries(self) -> list[tuple[str, Attributes]]:
        """Names and attributes, the oldest first; `latest` last."""
        shown: dict[str, Snapshot] = {}
        for shelf in self.shelves:
            for name, snapshot in shelf.snapshots.items():
                shown[f"{name}@{shelf.place.label}" if name in shown else name] = snapshot
        entries = [(name, self.attributes(shown[name])) for name in sorted(shown)]
        return [*entries, (LATEST, self.latest())] if shown else entries

    def find(self, name: str) -> Attributes:
        """What a name in the folder of all is. `T@label` always is, though `T` may do.

        Raises:
            NotFound: there is none.
        """
        if name == LATEST:
            return self.latest()
        plain, _, label = name.partition("@")
        for shelf in self.shelves:
            if label in ("", shelf.place.label) and plain in shelf.snapshots:
                return self.attributes(shelf.snapshots[plain])
        raise NotFound(name)

    def newest(self) -> Snapshot:
        """The newest of all.

        Raises:
            NotFound: there is none.
        """
        newest: Snapshot | None = None
        for shelf in self.shelves:
            for name, snapshot in shelf.snapshots.items():
                if newest is None or name > newest.name:
                    newest = snapshot
        if newest is None:
            raise NotFound(LATEST)
        return newest

    def latest(self) -> Attributes:
        """The link to the newest.

        Raises:
            NotFound: there is none.
        """
        newest = self.newest()
        link = replace(self.attributes(newest), kind=Kind.SYMLINK, mode=0o777)
        return replace(link, inode=LATEST_LINK, size=len(newest.name))

    def attributes(self, snapshot: Snapshot) -> Attributes:
        """What `stat` shows of a snapshot's folder, which need not be opened for it."""
        taken = snapshot.taken_ns
        return replace(
            self.folder,
            inode=top(snapshot.slot),
            mode=FOLDER_MODE,
            atime_ns=taken,
            mtime_ns=taken,
            ctime_ns=taken,
        )

    def at(self, inode: Inode) -> tuple[Shelf, Snapshot]:
        """The snapshot that an inode lies in, and its vault.

        Raises:
            Stale: it lies in none.
        """
        if inode == SNAPSHOTS:
            raise Stale(f"inode {inode}")
        snapshot = self._slots.of(inode)
        return self.shelves[snapshot.vault], snapshot
