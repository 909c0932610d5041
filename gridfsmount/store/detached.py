"""Versions that hang in no folder: those in the making, and those that are being removed.

Folders that are restored into a version are such as well.

Such a version has a name of parent 0 and the field `detached`, which says who is at it, with a
heartbeat of the server's clock. Nobody sees it, nor what is below it. One update takes a version
out of its folder, or gives a fork its place, so that either appears or disappears whole. One that
nobody renews any more is to be removed, by whoever meets it.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bson import Int64
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from gridfsmount.core.model import NO_FOLDER, Inode, Name, Node, Seal, State
from gridfsmount.errors import AlreadyExists, Conflict
from gridfsmount.store.connection import Connection
from gridfsmount.store.encoding import Document, decode_node, encode_name, encode_node, encode_seal
from gridfsmount.store.undecoded import text, usable_inode

ABANDONED_SECONDS: Final = 60.0
"""Who gave no sign of life for so long is not at it any more. They give one with every batch, and a
batch takes a second, or as long as the server's deadline if that is slow."""

_REMAINS: Final[Document] = {
    "names.parent": NO_FOLDER,
    "detached": {"$exists": True},
    "$expr": {"$lt": ["$detached.beat", {"$subtract": ["$$NOW", round(ABANDONED_SECONDS * 1000)]}]},
}


@dataclass(frozen=True, slots=True)
class Remains:
    """A detached version that nobody is at any more."""

    version: Inode
    path: str
    """Where it was, or was to be."""
    by: str
    """Who was at it."""


class Detached:
    """Takes versions out of the tree, and puts new ones in."""

    def __init__(self, connection: Connection) -> None:
        """Work on the tree of `connection`."""
        self._seam = connection.seam
        self._nodes = connection.collection("tree")

    def make_node(self, node: Node, path: str, by: str) -> str:
        """Add a version, or a folder, that will hang at `path`; returns the attempt's name."""
        return self.make(encode_node(node), path, by)

    def make(self, document: Mapping[str, Any], path: str, by: str) -> str:
        """Add the node of a version that will hang at `path`; returns the attempt's name.

        Args:
            document: as in the tree, but for `names`.
            path: for people.
            by: who makes it.
        """
        attempt = uuid.uuid4().hex
        fields = {name: value for name, value in document.items() if name != "_id"}
        fields["names"] = [_nowhere(document["_id"])]
        fields |= {
            "detached.attempt": attempt,
            "detached.path": path,
            "detached.by": by,
        }
        with self._seam.operation(f"begin to make {path}"):
            self._nodes.update_one(
                {"_id": document["_id"]},
                {"$setOnInsert": fields, "$currentDate": {"detached.beat": True}},
                upsert=True,
            )
        return attempt

    def detach(self, node: Node, path: str, by: str) -> str:
        """Take a version out of the tree, whether sealed or not; returns the attempt's name.

        From here on it is gone for good, for everybody: what is left is to be removed.

        Raises:
            Conflict: it changed since it was read, or is gone.
        """
        attempt = uuid.uuid4().hex
        # $literal where text comes from people: "$x" would be a field.
        detached: Document = {
            "attempt": attempt,
            "path": {"$literal": path},
            "by": {"$literal": by},
            "beat": "$$NOW",
        }
        fields: Document = {
            "names": {"$literal": [_nowhere(node.inode)]},
            "detached": detached,
            "rev": Int64(node.rev + 1),
        }
        with self._seam.operation(f"remove {path}"):
            done = self._nodes.update_one(
                {"_id": node.inode, "rev": node.rev}, [{"$set": fields}, {"$unset": "sealing"}]
            )
        if done.matched_count != 1:
            raise Conflict(f"{path} changed at this moment")
        return attempt

    def renew(self, version: Inode, attempt: str) -> bool:
        """Go on with an attempt; False when somebody else took it over."""
        with self._seam.operation(f"go on with inode {version}"):
            done = self._nodes.update_one(
                {"_id": version, "detached.attempt": attempt},
                {"$currentDate": {"detached.beat": True}},
            )
        return done.matched_count == 1

    def hangs(self, version: Inode) -> bool:
        """Whether a version has its place."""
        with self._seam.operation(f"look whether inode {version} appeared"):
            found = self._nodes.find_one(
                {"_id": version, "detached": {"$exists": False}}, {"_id": 1}
            )
        return found is not None

    def hang(self, version: Inode, attempt: str, name: Name, seal: Seal | None = None) -> Node:
        """Give a version that is complete its place, sealed if all in it is frozen.

        Raises:
            AlreadyExists: the name is taken.
            Conflict: somebody else took it over, since it had given no sign of life.
        """
        change: Document = {
            "$set": {"names": [encode_name(name)]},
            "$unset": {"detached": ""},
            "$inc": {"rev": 1},
        }
        if seal is not None:
            change["$set"] |= {"state": State.SEALED.value, "seal": encode_seal(seal)}
        with self._seam.operation(f"make {name.name!r} appear"):
            try:
                found = self._nodes.find_one_and_update(
                    {"_id": version, "detached.attempt": attempt},
                    change,
                    return_document=ReturnDocument.AFTER,
                )
            except DuplicateKeyError as error:
                raise AlreadyExists(name.name) from error
            if found is None:  # an attempt whose answer was lost may have arrived
                found = self._nodes.find_one({"_id": version, "names": [encode_name(name)]})
        if found is None:
            raise Conflict("it took too long without a sign of life, and was given up")
        return decode_node(found)

    def remains(self) -> list[Remains]:
        """Versions that nobody is at any more: what is left of them is to be removed."""
        with self._seam.operation("look for versions that were left behind"):
            documents = list(self._nodes.find(_REMAINS, {"detached": 1}))
        return [
            Remains(version, text(each["detached"].get("path")), text(each["detached"].get("by")))
            for each in documents
            if isinstance(each["detached"], dict)
            and (version := usable_inode(each["_id"])) is not None
        ]

    def take_over(self, version: Inode) -> str | None:
        """Be the one who removes what was left behind; None when somebody else is."""
        attempt = uuid.uuid4().hex
        with self._seam.operation(f"take inode {version} over"):
            done = self._nodes.update_one(
                {"_id": version, **_REMAINS},
                {"$set": {"detached.attempt": attempt}, "$currentDate": {"detached.beat": True}},
            )
        return attempt if done.matched_count == 1 else None


def _nowhere(inode: int) -> Document:
    return {"parent": Int64(NO_FOLDER), "name": str(inode)}
