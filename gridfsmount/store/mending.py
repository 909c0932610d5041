"""Changes that only `check --repair` makes: what the tree says of a node, put right."""

from typing import Final

from bson import Int64

from gridfsmount.core.model import Inode, Kind, Node
from gridfsmount.errors import Conflict
from gridfsmount.store.connection import Connection

BATCH: Final = 1000
"""Folders whose entries are changed together."""


class Mending:
    """Puts documents of the tree right."""

    def __init__(self, connection: Connection) -> None:
        """Work on the tree of `connection`."""
        self._seam = connection.seam
        self._nodes = connection.collection("tree")

    def set_size(self, node: Node, size: int) -> None:
        """Let a node say the size of its content, if nobody changed it since.

        Raises:
            Conflict: it changed.
        """
        with self._seam.operation(f"set the size of inode {node.inode}"):
            result = self._nodes.update_one(
                {"_id": node.inode, "rev": node.rev},
                {"$set": {"size": Int64(size)}, "$inc": {"rev": 1}},
            )
        if result.matched_count != 1:
            raise Conflict(f"inode {node.inode} changed")

    def set_version_below(self, top: Inode, version: Inode) -> None:
        """Let everything below a folder lie in another version."""
        folders = [top]
        seen = {top}
        while folders:
            some, folders = folders[:BATCH], folders[BATCH:]
            below = {"names.parent": {"$in": some}}
            change = {"$set": {"version": Int64(version)}, "$inc": {"rev": 1}}
            self._seam.insist(
                f"move what is below inode {top}",
                lambda below=below, change=change: self._nodes.update_many(  # type: ignore[misc]
                    {**below, "version": {"$ne": version}}, change
                ),
                factor=20,
            )
            with self._seam.operation(f"look for folders below inode {top}", factor=20):
                found = self._nodes.find({**below, "kind": Kind.DIRECTORY.value}, {"_id": 1})
                inner = [Inode(each["_id"]) for each in found]
            folders += [each for each in inner if each not in seen]
            seen.update(inner)
