"""Where nodes are: paths, and what is wrong on the way up.

Remembers the folders it met, up to a bound, so that the nodes of one folder cost one look.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gridfsmount.core.model import NO_FOLDER, ROOT, Inode, Kind, Name, State
from gridfsmount.store.audit import Audit, Folder

REMEMBERED: Final = 200_000
"""Folders in memory: some 60 MiB."""


@dataclass(frozen=True, slots=True)
class Place:
    """What there is above a name."""

    path: str | None
    """None when it hangs on nothing."""
    cycle: frozenset[Inode] = frozenset()
    """The folders that lead to each other, if that is why."""


class Places:
    """Finds paths."""

    def __init__(self, audit: Audit) -> None:
        """Look at the tree through `audit`."""
        self._audit = audit
        self._folders: dict[Inode, Folder | None] = {}

    def forget(self) -> None:
        """Look at everything anew."""
        self._folders.clear()

    def load(self, inodes: Iterable[Inode]) -> None:
        """Read nodes and all that is above them, as far as that is not known."""
        if len(self._folders) > REMEMBERED:
            self._folders.clear()
        wanted = set(inodes) - self._folders.keys()
        while wanted:
            found = self._audit.folders(wanted)
            self._folders.update({inode: found.get(inode) for inode in wanted})
            above = {folder.name.parent for folder in found.values() if folder.name is not None} - {
                NO_FOLDER
            }
            wanted = above - self._folders.keys()

    def holds(self, parent: Inode) -> bool:
        """Whether a loaded node is a directory that is there."""
        folder = self._folders.get(parent)
        return folder is not None and folder.kind is Kind.DIRECTORY

    def is_sealed(self, version: Inode | None) -> bool:
        """Whether a loaded version is sealed."""
        folder = None if version is None else self._folders.get(version)
        return folder is not None and folder.state is State.SEALED

    def of(self, name: Name) -> Place:
        """The place of a name whose parent was loaded."""
        parts = [name.name]
        seen: list[Inode] = []
        parent = name.parent
        while parent != ROOT:
            folder = self._folders.get(parent)
            if parent in seen:
                return Place(None, frozenset(seen[seen.index(parent) :]))
            if folder is None or folder.kind is not Kind.DIRECTORY or folder.name is None:
                return Place(None)
            seen.append(parent)
            parts.append(folder.name.name)
            parent = folder.name.parent
        return Place("/".join(reversed(parts)))
