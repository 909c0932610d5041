"""The backlog: foreign contents that have no node yet, when they are many.

Any number of mounts may adopt at once and nothing goes wrong, but they would all do the same work.
So for a backlog they take turns: a document in `fs.lake` names the mount that works it off, and how
far it is. A mount that dies loses its turn when it has not renewed it for `TURN_SECONDS`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from bson import Int64
from pymongo import ReturnDocument

from gridfsmount.store.connection import Connection
from gridfsmount.store.encoding import Document
from gridfsmount.store.foreign import FIELDS, UNMARKED, Upload, uploads_of
from gridfsmount.store.undecoded import total

TURN_SECONDS: Final = 5.0
"""Many times what a batch takes; so long must a mount wait that takes over from one that died."""

BATCH: Final = 1000
"""Uploads that are adopted together."""

PASS: Final = 200 * BATCH
"""Uploads that one cursor brings: the server adds up its time, and has a limit for that."""

_TURN: Final = "adopting"


@dataclass(frozen=True, slots=True)
class Turn:
    """A mount that works off the backlog."""

    mount: str
    done: int
    """Contents that it has adopted in this turn."""


class Backlog:
    """What is to be adopted, and whose turn that is."""

    def __init__(self, connection: Connection, mount: str) -> None:
        """Take turns in the name of `mount`."""
        self._seam = connection.seam
        self._files = connection.collection("files")
        self._lake = connection.acknowledged("lake")
        self._mount = mount

    def count(self) -> int:
        """Contents without a node, from the index of the marker."""
        with self._seam.operation("count what is to be adopted", factor=10):
            return self._files.count_documents(UNMARKED)

    def batches(self) -> Iterator[list[Upload]]:
        """Up to `PASS` contents without a node, in batches, oldest first.

        One cursor: a new question would begin with all that the server still remembers of contents
        that just got theirs.
        """
        cursor = self._files.find(UNMARKED, FIELDS).limit(PASS).batch_size(BATCH)
        while True:
            with self._seam.operation("look for foreign contents"):
                documents = list(islice(cursor, BATCH))
            if not documents:
                return
            uploads = uploads_of(documents)
            if uploads:
                yield uploads

    def take_turn(self, done: int = 0) -> bool:
        """Begin or go on with this mount's turn; False while it is another's."""
        fields = {"mount": self._mount, "done": Int64(done), "at": "$$NOW"}
        # One that is not there has expired, too: what is missing comes before every date.
        free = {"$or": [{"$eq": ["$mount", self._mount]}, {"$lt": ["$at", _ago(TURN_SECONDS)]}]}
        change = [{"$replaceWith": {"$mergeObjects": ["$$ROOT", {"$cond": [free, fields, {}]}]}}]
        with self._seam.operation("take the turn to adopt"):
            turn = self._lake.find_one_and_update(
                {"_id": _TURN}, change, upsert=True, return_document=ReturnDocument.AFTER
            )
        return turn is not None and turn.get("mount") == self._mount

    def end_turn(self) -> None:
        """Let another mount have the next turn."""
        with self._seam.operation("end the turn to adopt"):
            self._lake.delete_one({"_id": _TURN, "mount": self._mount})

    def turn(self) -> Turn | None:
        """Whose turn it is; None when nobody has renewed it in time."""
        fresh = {"$gte": ["$at", _ago(TURN_SECONDS)]}
        with self._seam.operation("ask who adopts"):
            found = self._lake.find_one({"_id": _TURN, "$expr": fresh})
        return None if found is None else Turn(str(found.get("mount")), total(found.get("done")))


def _ago(seconds: float) -> Document:
    return {"$subtract": ["$$NOW", round(seconds * 1000)]}
