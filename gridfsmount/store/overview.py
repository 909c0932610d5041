"""How much there is in a lake: figures that cost nothing, however large it is.

From collections' statistics, from indexes, or from collections that are small; so some of them are
only nearly right after a crash of the server, and say "about".
"""

from dataclasses import dataclass

from gridfsmount.core.model import DATASETS, MODELS, Kind, State
from gridfsmount.store.connection import Connection
from gridfsmount.store.encoding import Document
from gridfsmount.store.undecoded import text


@dataclass(frozen=True, slots=True)
class Volume:
    """About how much is stored."""

    nodes: int
    contents: int
    bytes: int
    """Of all chunks, those in the trash too."""
    stored: int
    """Bytes that they take on the server's disk, compressed."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """Named folders, and their versions."""

    datasets: int
    models: int
    drafts: int
    sealed: int


@dataclass(frozen=True, slots=True)
class Uploads:
    """Contents that are being written."""

    running: int
    forgotten: int
    """Those whose lease nobody renewed or swept for long."""


class Overview:
    """Counts."""

    def __init__(self, connection: Connection) -> None:
        """Count in the lake of `connection`."""
        self._connection = connection
        self._seam = connection.seam
        self._nodes = connection.collection("tree")

    def volume(self) -> Volume:
        """About how much is stored, from the collections' statistics."""
        with self._seam.operation("ask how much is stored"):
            nodes, contents = (
                self._connection.collection(name).estimated_document_count()
                for name in ("tree", "files")
            )
            # One document for each shard.
            chunks = list(
                self._connection.collection("chunks").aggregate(
                    [
                        {"$collStats": {"storageStats": {}}},
                        {"$project": {"storageStats.size": 1, "storageStats.storageSize": 1}},
                    ]
                )
            )
        size, stored = (
            sum(int(each.get("storageStats", {}).get(field, 0)) for each in chunks)
            for field in ("size", "storageSize")
        )
        return Volume(nodes, contents, size, stored)

    def trash(self) -> int:
        """About how many contents were removed or replaced, and are not erased yet."""
        with self._seam.operation("count what is in the trash"):
            return self._connection.collection("trash").estimated_document_count()

    def catalog(self) -> Catalog:
        """Datasets, models and their versions, from indexes."""
        by_state: list[Document] = [
            {"$match": {"created_ns": {"$gt": 0}, "detached": {"$exists": False}}},
            {"$group": {"_id": "$state", "count": {"$sum": 1}}},
        ]
        with self._seam.operation("count versions"):
            shelves = {
                shelf: self._nodes.count_documents(
                    {"names.parent": shelf, "kind": Kind.DIRECTORY.value}
                )
                for shelf in (DATASETS, MODELS)
            }
            counted = list(self._nodes.aggregate(by_state))
        # Of any type, and so perhaps no key.
        states = {text(each["_id"]): int(each["count"]) for each in counted}
        return Catalog(
            datasets=shelves[DATASETS],
            models=shelves[MODELS],
            drafts=states.get(State.DRAFT.value, 0),
            sealed=states.get(State.SEALED.value, 0),
        )

    def uploads(self, forgotten_seconds: float) -> Uploads:
        """Leases, and how many of them nobody renewed for so long."""
        past = {"$subtract": ["$$NOW", round(forgotten_seconds * 1000)]}
        with self._seam.operation("count uploads"):
            leases = self._connection.collection("uploads")
            forgotten = leases.count_documents({"$expr": {"$lt": ["$beat", past]}})
            return Uploads(leases.estimated_document_count(), forgotten)
