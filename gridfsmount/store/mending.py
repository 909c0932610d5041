"""Changes that ask for nothing but the revision: for `check --repair`, and for restores."""

import time
from collections.abc import Sequence
from typing import Final

from bson import Int64
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from gridfsmount.core.model import Inode, Kind, Name, Node
from gridfsmount.errors import AlreadyExists, Conflict
from gridfsmount.store.connection import Connection
from gridfsmount.store.encoding import Document, decode_node, encode_name
from gridfsmount.store.undecoded import usable_inodes

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

    def place(self, node: Node, names: Sequence[Name], version: Inode | None) -> Node:
        """Give a node other names, if nobody changed it since, even one that is frozen.

        Who leaves a sealed version for another can change again.

        Raises:
            AlreadyExists: a name is taken.
            Conflict: it changed.
        """
        fields: Document = {
            "names": [encode_name(name) for name in names],
            "ctime_ns": Int64(time.time_ns()),
        }
        change: Document = {"$set": fields, "$unset": {"was": ""}, "$inc": {"rev": 1}}
        if version is not None:
            fields["version"] = Int64(version)
            if version != node.version:
                change["$unset"]["frozen"] = ""
        with self._seam.operation(f"place inode {node.inode}"):
            try:
                document = self._nodes.find_one_and_update(
                    {"_id": node.inode, "rev": node.rev},
                    change,
                    return_document=ReturnDocument.AFTER,
                )
            except DuplicateKeyError as error:
                raise AlreadyExists(names[-1].name) from error
        if document is None:
            raise Conflict(f"inode {node.inode} changed")
        return decode_node(document)

    def set_version_below(self, top: Inode, version: Inode) -> None:
        """Let everything below a folder lie in another version."""
        folders = [top]
        seen = {top}
        while folders:
            some, folders = folders[:BATCH], folders[BATCH:]
            below = {"names.parent": {"$in": some}}
            change = {
                "$set": {"version": Int64(version)},
                "$unset": {"frozen": ""},
                "$inc": {"rev": 1},
            }
            self._seam.insist(
                f"move what is below inode {top}",
                lambda below=below, change=change: self._nodes.update_many(  # type: ignore[misc]
                    {**below, "version": {"$ne": version}}, change
                ),
                factor=20,
            )
            with self._seam.operation(f"look for folders below inode {top}", factor=20):
                found = self._nodes.find({**below, "kind": Kind.DIRECTORY.value}, {"_id": 1})
                inner = usable_inodes(found)
            folders += [each for each in inner if each not in seen]
            seen.update(inner)
