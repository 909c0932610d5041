"""All datasets and models of a lake with their versions, at a glance.

A few queries, however many files there are: what a draft holds is not counted, and what a sealed
version holds was counted when it was sealed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gridfsmount.core.model import AREAS, SHELVES, Inode, Kind, Node, State
from gridfsmount.core.versions import newest
from gridfsmount.store.lake import Lake
from gridfsmount.versions.history import dated_ns


@dataclass(frozen=True, slots=True)
class Shelf:
    """A dataset or a model."""

    area: str
    """datasets or models."""
    name: str
    versions: Sequence[Node]
    """The newest first: by the time when it was sealed, or when a draft was made."""
    latest: Node | None
    """What `latest` leads to; None without any version."""

    @property
    def sealed(self) -> int:
        """How many of the versions are sealed."""
        return sum(each.state is State.SEALED for each in self.versions)

    @property
    def drafts(self) -> int:
        """How many are not."""
        return len(self.versions) - self.sealed


def catalogue(lake: Lake) -> list[Shelf]:
    """Datasets, then models, each by name."""
    by_folder: dict[Inode, list[Node]] = {}
    for node in lake.versions.all():
        by_folder.setdefault(node.parent, []).append(node)
    shelves = []
    for area, inode in AREAS.items():
        if inode not in SHELVES:
            continue
        names = {
            name.name: folder
            for folder in lake.tree.children_of_kind(inode, Kind.DIRECTORY)
            for name in folder.names
            if name.parent == inode
        }
        for name, folder in sorted(names.items()):
            versions = by_folder.get(folder.inode, [])
            versions.sort(key=lambda node: (dated_ns(node), node.inode), reverse=True)
            shelves.append(Shelf(area, name, versions, newest(versions)))
    return shelves
