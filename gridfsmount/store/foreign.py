"""Contents that other GridFS clients made, renamed or removed.

A foreign content is one without our marker, a number in `metadata.lake.format`. Once it has a
node it gets the marker, with the filename it had then: a filename that differs from that copy
later on was changed by a driver, since the mount always changes both.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import pymongo
from pymongo.change_stream import CollectionChangeStream
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from gridfsmount.core.model import Content, ContentId
from gridfsmount.errors import Damaged, StoreUnavailable
from gridfsmount.store.connection import Connection
from gridfsmount.store.encoding import (
    CONTENT_FORMAT,
    Document,
    content_id,
    content_key,
    decode_content,
    lake_metadata,
)

log = logging.getLogger(__name__)

_FIELDS: Final = {
    "length": 1,
    "chunkSize": 1,
    "uploadDate": 1,
    "filename": 1,
    "metadata.lake.format": 1,
    "metadata.lake.filename": 1,
}
_BATCH: Final = 500

# `$not`, and not null or `$exists`: metadata may be anything, and an empty array is neither.
_MARKED: Final = {"$gte": 1}
_UNMARKED: Final = {"$not": _MARKED}

_MAX_NS: Final = (1 << 63) - 1
"""What an int64 holds: the year 2262. A driver's date may be any."""
_UPDATED: Final = "updateDescription.updatedFields"

WATCH_SECONDS: Final = 5.0
"""How long the server holds an idle question for changes open."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A content as a driver sees it."""

    id: ContentId
    filename: object
    """Of any BSON type; None when missing."""
    marked: bool
    """Whether it has been given a node, by this mount or another."""
    marked_filename: object
    """The filename it had when it got its node."""
    uploaded_ns: int
    content: Content | None
    """None when length or chunk size make no sense."""

    @property
    def renamed(self) -> bool:
        """Whether a driver changed the filename since it got its node."""
        return self.marked and self.filename != self.marked_filename


class Foreign:
    """What other clients did to the bucket."""

    def __init__(self, connection: Connection) -> None:
        """Watch the bucket of `connection`."""
        self._seam = connection.seam
        self._files = connection.collection("files")
        self._tree = connection.collection("tree")

    def unmarked(self, limit: int = _BATCH) -> list[Upload]:
        """Contents without the marker, oldest first within what the index yields."""
        with self._seam.operation("look for foreign contents"):
            documents = list(
                self._files.find({"metadata.lake.format": _UNMARKED}, _FIELDS).limit(limit)
            )
        return _uploads(documents)

    def get(self, content: ContentId) -> Upload | None:
        """One content as a driver sees it, if it is there."""
        with self._seam.operation(f"read content {content}"):
            document = self._files.find_one({"_id": {"$eq": content_key(content)}}, _FIELDS)
        return None if document is None else _upload(document)

    def newest(self, filename: object) -> Upload | None:
        """The newest revision under a filename."""
        if filename is None:
            return None
        with self._seam.operation("look for revisions"):
            document = self._files.find_one(
                {"filename": {"$eq": filename}},
                _FIELDS,
                sort=[("uploadDate", pymongo.DESCENDING), ("_id", pymongo.DESCENDING)],
            )
        return None if document is None else _upload(document)

    def mark(self, contents: Sequence[ContentId]) -> None:
        """Note that contents have their nodes, under the filenames that they have now."""
        filename = {"filename": {"$ifNull": ["$filename", None]}}
        marker = {"format": CONTENT_FORMAT, **filename, "adopted": True}
        metadata = {
            "$switch": {
                "branches": [
                    {  # Ours already: it knows hashes, which stay.
                        "case": {"$isNumber": "$metadata.lake.format"},
                        "then": {
                            "$mergeObjects": [
                                "$metadata",
                                {"lake": {"$mergeObjects": ["$metadata.lake", filename]}},
                            ]
                        },
                    },
                    {  # A field of that name that is not ours is kept below the marker.
                        "case": {"$eq": [{"$type": "$metadata"}, "object"]},
                        "then": {
                            "$mergeObjects": [
                                "$metadata",
                                {"lake": {"$mergeObjects": [marker, {"lake": "$metadata.lake"}]}},
                            ]
                        },
                    },
                ],
                # And so is metadata that is no document.
                "default": {"lake": {"$mergeObjects": [marker, {"metadata": "$metadata"}]}},
            }
        }
        with self._seam.operation(f"mark {len(contents)} contents"):
            self._files.update_many(
                {"_id": {"$in": [content_key(each) for each in contents]}},
                [{"$set": {"metadata": metadata}}],
            )

    def renamed(self) -> list[Upload]:
        """Marked contents whose filename a driver changed, a batch of them.

        Reads the whole collection.
        """
        with self._seam.operation("look for contents that drivers renamed", factor=10):
            documents = list(
                self._files.find(
                    {
                        "metadata.lake.format": _MARKED,
                        "$expr": {
                            "$ne": [
                                {"$ifNull": ["$filename", None]},
                                {"$ifNull": ["$metadata.lake.filename", None]},
                            ]
                        },
                    },
                    _FIELDS,
                ).limit(_BATCH)
            )
        return _uploads(documents)

    def missing(self) -> list[ContentId]:
        """Contents that nodes show and that are gone, a batch of them; reads the whole tree."""
        pipeline: list[Document] = [
            {"$match": {"content": {"$exists": True}}},
            {
                "$lookup": {
                    "from": self._files.name,
                    "localField": "content",
                    "foreignField": "_id",
                    "pipeline": [{"$project": {"_id": 1}}],
                    "as": "found",
                }
            },
            {"$match": {"found": []}},
            {"$limit": _BATCH},
            {"$project": {"content": 1}},
        ]
        with self._seam.operation("look for contents that drivers removed", factor=10):
            return [content_id(each["content"]) for each in self._tree.aggregate(pipeline)]

    def watch(self) -> "ContentChanges":
        """Follow changes of the bucket from now on; needs a replica set or a sharded cluster."""
        changed: list[Document] = [
            {"operationType": "insert", "fullDocument.metadata.lake.format": _UNMARKED},
            {"operationType": "replace"},
            {"operationType": "delete"},
            {
                "operationType": "update",
                f"{_UPDATED}.filename": {"$exists": True},
            },
        ]
        with self._seam.operation("watch the bucket"):
            stream = self._files.with_options(read_concern=ReadConcern("majority")).watch(
                [{"$match": {"$or": changed}}, {"$project": {"documentKey": 1, _UPDATED: 1}}],
                max_await_time_ms=round(WATCH_SECONDS * 1000),
            )
        return ContentChanges(stream)


class ContentChanges:
    """A change stream on `fs.files`."""

    def __init__(self, stream: CollectionChangeStream[Document]) -> None:
        """Wrap an open stream."""
        self._stream = stream

    def next_change(self) -> ContentId | None:
        """A content that a driver may have changed; None after WATCH_SECONDS without one,
        or when no query can name it.

        Raises:
            StoreUnavailable: the stream broke; what happens from now on must be found by looking.
        """
        try:
            change = self._stream.try_next()
        except PyMongoError as error:
            raise StoreUnavailable(f"the change stream broke: {error}") from error
        if change is not None:
            updated = change.get("updateDescription", {}).get("updatedFields", {})
            if "metadata.lake.filename" in updated:
                return None  # a mount renamed it
            try:
                return content_id(change["documentKey"]["_id"])
            except Damaged as error:
                log.warning("cannot be shown: %s", error)
                return None
        if not self._stream.alive:
            raise StoreUnavailable("the change stream ended")
        return None

    def close(self) -> None:
        """End the stream."""
        try:
            self._stream.close()
        except PyMongoError as error:
            log.debug("closing the change stream: %s", error)


def _uploads(documents: Iterable[Document]) -> list[Upload]:
    uploads = []
    for document in documents:
        try:
            content_id(document["_id"])
        except Damaged as error:
            log.debug("cannot be shown: %s", error)  # told when it came, and at every look
            continue
        uploads.append(_upload(document))
    return uploads


def _upload(document: Document) -> Upload:
    try:
        content = decode_content(document)
    except Damaged as error:
        log.warning("%s", error)
        content = None
    uploaded = document.get("uploadDate")
    if not isinstance(uploaded, datetime):
        uploaded = datetime.fromtimestamp(0, UTC)
    lake = lake_metadata(document)
    return Upload(
        id=content_id(document["_id"]),
        filename=document.get("filename"),
        marked=isinstance(lake.get("format"), int | float),
        marked_filename=lake.get("filename"),
        uploaded_ns=max(-_MAX_NS, min(round(uploaded.timestamp() * 1_000) * 1_000_000, _MAX_NS)),
        content=content,
    )
