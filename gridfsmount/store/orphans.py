"""Nodes that no directory leads to: what is left of a creation in a directory that went away.

They are found a stretch of inode numbers at a time, so that a lake of ten million nodes can be
looked through at leisure: the server reduces each stretch to the directories that it names, and
looks which of them are missing.
"""

import logging
from dataclasses import dataclass
from typing import Final

from gridfsmount.core.model import FIRST_FREE_INODE, NO_FOLDER, Inode, Node
from gridfsmount.errors import Conflict
from gridfsmount.store.commits import Commits
from gridfsmount.store.connection import Connection
from gridfsmount.store.encoding import Document
from gridfsmount.store.naming import decode_leniently
from gridfsmount.store.tree import Tree
from gridfsmount.store.undecoded import usable_inodes

log = logging.getLogger(__name__)

STRETCH: Final = 20_000
"""Nodes that are looked at together: some 0.1 s of the server's time."""

ORPHAN_GRACE: Final = 3600.0
"""Seconds for which an orphan is left alone: it may be in the making, on whatever clock."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Orphans among some nodes."""

    orphans: tuple[Node, ...]
    last: Inode | None
    """Where to go on; None at the end."""


class Orphans:
    """Finds and removes nodes without a place in the tree."""

    def __init__(self, connection: Connection, tree: Tree, commits: Commits) -> None:
        """Work on the lake of `connection`."""
        self._seam = connection.seam
        self._nodes = connection.collection("tree")
        self._lake = connection.collection("lake")
        self._tree = tree
        self._commits = commits

    def is_due(self, seconds: float) -> bool:
        """Whether nobody has asked this for so long; who is told yes, does the work.

        In a new lake that is never so at once.
        """
        age = {"$subtract": ["$$NOW", round(seconds * 1000)]}
        with self._seam.operation("ask when orphans were last looked for"):
            claimed = self._lake.update_one(
                {"_id": "orphans", "$expr": {"$lt": ["$at", age]}}, {"$currentDate": {"at": True}}
            )
            if claimed.matched_count == 0:
                first = [{"$set": {"at": {"$ifNull": ["$at", "$$NOW"]}}}]
                self._lake.update_one({"_id": "orphans"}, first, upsert=True)
        return claimed.matched_count == 1

    def look(self, after: Inode, grace: float) -> Stretch:
        """Orphans among the nodes after a number, unchanged for `grace` seconds.

        A directory with entries is none: that is for `check` to attach again.
        """
        with self._seam.operation("look for nodes without a place"):
            edge = next(
                self._nodes.find({"_id": {"$gt": after}}, {"_id": 1})
                .sort("_id", 1)
                .skip(STRETCH - 1)
                .limit(1),
                None,
            )
            numbers: Document = {"$gt": after}
            if edge is not None:
                numbers["$lte"] = edge["_id"]
            missing = usable_inodes(self._nodes.aggregate(self._missing(numbers)))
            documents = [] if not missing else list(self._nodes.find(_old(numbers, missing, grace)))
        nodes = [node for each in documents if (node := decode_leniently(each)) is not None]
        orphans = tuple(node for node in nodes if self._is_orphan(node))
        return Stretch(orphans, None if edge is None else Inode(edge["_id"]))

    def remove(self, node: Node) -> bool:
        """Remove an orphan if it still is one, its content to the trash; whether it did."""
        if not self._is_orphan(node):
            return False
        try:
            self._commits.remove(node)
        except Conflict as error:
            log.debug("no orphan any more: %s", error)
            return False
        log.info("removed %r (inode %s): no folder leads to it", node.names[0].name, node.inode)
        return True

    def _is_orphan(self, node: Node) -> bool:
        parents = [each.parent for each in node.names]
        if node.inode < FIRST_FREE_INODE or NO_FOLDER in parents:
            return False
        return not self._tree.existing(parents) and not self._tree.has_children(node.inode)

    def _missing(self, numbers: Document) -> list[Document]:
        """The directories that a stretch of nodes names and that are not there."""
        return [
            {"$match": {"_id": numbers}},
            {"$project": {"names.parent": 1}},
            {"$unwind": "$names"},
            {"$group": {"_id": "$names.parent"}},
            {"$match": {"_id": {"$gt": NO_FOLDER}}},
            {
                "$lookup": {
                    "from": self._nodes.name,
                    "localField": "_id",
                    "foreignField": "_id",
                    "pipeline": [{"$project": {"_id": 1}}],
                    "as": "found",
                }
            },
            {"$match": {"found": []}},
            {"$project": {"_id": 1}},
        ]


def _old(numbers: Document, missing: list[Inode], grace: float) -> Document:
    now_ns = {"$multiply": [{"$toLong": "$$NOW"}, 1_000_000]}
    past_ns = {"$subtract": [now_ns, round(grace * 1_000_000_000)]}
    return {
        "_id": numbers,
        "names.parent": {"$in": missing},
        "$expr": {"$lt": ["$ctime_ns", past_ns]},
    }
