"""Restores of whole lakes: into an empty one, gone on with after an interruption.

A document in `fs.lake` says that it is under way. Then what is there already is of the same
snapshot, since all that is restored appears whole.
"""

from typing import Final

from gridfsmount.core.model import DATASETS, MODELS, UNSORTED
from gridfsmount.store.connection import Connection
from gridfsmount.store.tree import Tree

_MARK: Final = {"_id": "restoring"}


class Restores:
    """What is known of the restore of a lake."""

    def __init__(self, connection: Connection, tree: Tree) -> None:
        """Work on the lake of `connection`."""
        self._seam = connection.seam
        self._lake = connection.collection("lake")
        self._files = connection.collection("files")
        self._tree = tree

    def is_empty(self) -> bool:
        """Whether there is nothing but the fixed folders, and no content that drivers see."""
        with self._seam.operation("look whether the lake is empty"):
            if self._files.find_one({}, {"_id": 1}) is not None:
                return False
        return not any(self._tree.has_children(each) for each in (DATASETS, MODELS, UNSORTED))

    def under_way(self) -> str | None:
        """The snapshot that is being restored, of whatever vault, if any."""
        with self._seam.operation("look for a restore"):
            found = self._lake.find_one(_MARK)
        return None if found is None else str(found.get("snapshot"))

    def begin(self, snapshot: str) -> None:
        """Note that all of a snapshot is being restored."""
        with self._seam.operation("begin the restore"):
            self._lake.update_one(_MARK, {"$set": {"snapshot": snapshot}}, upsert=True)

    def finish(self, lake: str) -> None:
        """Note that all is there: from now on this is the lake that was backed up."""
        with self._seam.operation("finish the restore"):
            self._lake.update_one({"_id": "lake"}, {"$set": {"id": lake}})
            self._lake.delete_one(_MARK)
