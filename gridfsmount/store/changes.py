"""What happens to the nodes of a lake, as the server tells it: a change stream on `fs.tree`.

Needs a replica set or a sharded cluster. An event says which node changed and in what way, not
how it is now: small, however large the node. A new node is not told of, since nobody can have a
wrong idea of it. Every event comes at least once, in order, after the majority has the change.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pymongo
from pymongo.change_stream import CollectionChangeStream
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from gridfsmount.core.model import Inode, State
from gridfsmount.errors import StoreUnavailable
from gridfsmount.store.connection import Connection
from gridfsmount.store.encoding import Document
from gridfsmount.store.seam import translate

log = logging.getLogger(__name__)

WATCH_SECONDS: Final = 5.0
"""How long the server holds an idle question for changes open: what a quiet lake costs."""

_UPDATED: Final = "$updateDescription.updatedFields"

_PIPELINE: Final[list[Document]] = [
    {
        "$match": {
            "operationType": {"$in": ["update", "replace", "delete"]},
            # Nothing is seen of that: the version tells, once, what holds for all nodes in it.
            "updateDescription.updatedFields.frozen": {"$exists": False},
            "updateDescription.removedFields": {"$ne": "frozen"},
        }
    },
    {
        "$project": {
            "operationType": 1,
            "documentKey._id": 1,
            "rev": f"{_UPDATED}.rev",
            "state": f"{_UPDATED}.state",
            # Their names alone: extended attributes may be a megabyte.
            "fields": {"$map": {"input": {"$objectToArray": _UPDATED}, "in": "$$this.k"}},
        }
    },
]


@dataclass(frozen=True, slots=True)
class NodeChange:
    """What happened to one node."""

    inode: Inode
    rev: int | None
    """The `rev` that it has since; None when that is not known."""
    gone: bool = False
    renamed: bool = False
    """Its names are others now: one more, one less, or another."""
    sealed: bool = False
    """It is a version, and sealed from now on."""
    sealing: bool = False
    """It is a version that somebody is about to seal."""


class Changes:
    """Follows the nodes of a lake."""

    def __init__(self, connection: Connection) -> None:
        """Follow those of the lake that `connection` leads to."""
        self._seam = connection.seam
        self._nodes = connection.collection("tree")

    def watch(self) -> "NodeChanges":
        """A stream of what happens from now on."""
        with self._seam.operation("follow what other mounts change"):
            stream = self._nodes.with_options(read_concern=ReadConcern("majority")).watch(
                _PIPELINE, max_await_time_ms=round(WATCH_SECONDS * 1000)
            )
        return NodeChanges(stream, self._seam.deadline)


class NodeChanges:
    """One change stream. The driver resumes it by itself after a lost connection."""

    def __init__(self, stream: CollectionChangeStream[Document], deadline: float) -> None:
        """Wrap an open stream; `deadline` is how long the server may be silent, in seconds."""
        self._stream = stream
        self._silence = WATCH_SECONDS + deadline

    def deliver(self, hear: Callable[[NodeChange], None]) -> None:
        """Call `hear` for every change, in the calling thread, until the stream breaks.

        Raises:
            StoreUnavailable: it broke: something may have been missed.
        """
        while True:
            change = self._next()
            if change is not None:
                hear(change)

    def close(self) -> None:
        """End the stream."""
        try:
            self._stream.close()
        except PyMongoError as error:
            log.debug("closing the change stream: %s", error)

    def _next(self) -> NodeChange | None:
        try:
            with pymongo.timeout(self._silence):
                event = self._stream.try_next()
        except PyMongoError as error:
            raise StoreUnavailable(str(translate("the change stream broke", error))) from error
        if event is None and not self._stream.alive:
            raise StoreUnavailable("the change stream ended: the collection is gone")
        return None if event is None else decode_change(event)


def decode_change(event: Document) -> NodeChange | None:
    """A change from its event; None for a document that is no node."""
    inode: Any = event["documentKey"]["_id"]
    if not isinstance(inode, int) or isinstance(inode, bool) or inode <= 0:
        return None
    kind, rev = event["operationType"], event.get("rev")
    fields = event.get("fields") or []
    return NodeChange(
        Inode(int(inode)),
        rev if isinstance(rev, int) else None,
        gone=kind == "delete",
        # An element of an array comes as `names.0`; a replaced document may have any.
        renamed=kind == "replace" or any(each.split(".")[0] == "names" for each in fields),
        sealed=event.get("state") == State.SEALED.value,
        sealing="sealing" in fields,
    )
