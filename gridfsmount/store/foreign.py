"""Contents that other GridFS clients made, renamed or removed.

A foreign content is one without our marker, a number in `metadata.lake.format`. Once it has a
node it gets the marker, with the filename it had then: a filename that differs from that copy
later on was changed by a driver, since the mount always changes both. A marker names its content
as well: one of another content came along when a driver copied the metadata, and marks nothing.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import bson
import pymongo
from pymongo import UpdateOne
from pymongo.change_stream import CollectionChangeStream
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from gridfsmount.core.model import Content, ContentId, Inode
from gridfsmount.errors import Damaged, StoreUnavailable
from gridfsmount.store.connection import Connection
from gridfsmount.store.encoding import (
    CODEC,
    CONTENT_FORMAT,
    Document,
    content_id,
    content_key,
    decode_content,
    lake_metadata,
)
from gridfsmount.store.seam import translate

log = logging.getLogger(__name__)

FIELDS: Final = {
    "length": 1,
    "chunkSize": 1,
    "uploadDate": 1,
    "filename": 1,
    "metadata.lake.format": 1,
    "metadata.lake.content": 1,
    "metadata.lake.filename": 1,
}
_BATCH: Final = 500

STRETCH: Final = 10_000
"""Nodes whose contents are looked for together: well within a deadline."""

LOOK: Final = 100
"""Uploads of one look at what came last: more than that are a backlog (`store/backlog`)."""

# `$not`, and not null or `$exists`: metadata may be anything, and an empty array is neither.
_MARKED: Final = {"$gte": 1}
UNMARKED: Final = {"metadata.lake.format": {"$not": _MARKED}}
"""Contents without a marker, by its index; not those with another content's."""

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


@dataclass(frozen=True, slots=True)
class Missing:
    """Contents that are gone, among those of some nodes."""

    contents: tuple[ContentId, ...]
    last: Inode | None
    """Where to go on; None at the end."""


class Foreign:
    """What other clients did to the bucket."""

    def __init__(self, connection: Connection) -> None:
        """Watch the bucket of `connection`."""
        self._seam = connection.seam
        self._files = connection.collection("files")
        self._tree = connection.collection("tree")

    def unmarked(self, limit: int = LOOK) -> list[Upload]:
        """Contents without the marker: those that came last, in the order in which they came."""
        with self._seam.operation("look for foreign contents"):
            found = self._files.find(UNMARKED, FIELDS)
            # Backwards along the index of the marker: what came last is at the end of no marker.
            found = found.sort("metadata.lake.format", pymongo.DESCENDING).limit(limit)
            return uploads_of(found)[::-1]

    def get(self, content: ContentId) -> Upload | None:
        """One content as a driver sees it, if it is there."""
        return next(iter(self.get_many([content])), None)

    def get_many(self, contents: Collection[ContentId]) -> list[Upload]:
        """Those of `contents` that are there, as a driver sees them, in any order."""
        if not contents:
            return []
        keys = [content_key(each) for each in contents]
        with self._seam.operation(f"read {len(keys)} contents"):
            found = self._files.find({"_id": {"$in": keys}}, FIELDS).batch_size(len(keys) + 1)
            return uploads_of(found)

    def newest(self, filename: object, but: Collection[ContentId] = ()) -> Upload | None:
        """The newest revision under a filename, some contents left out."""
        if filename is None or not _is_utf8(filename):
            return None
        with self._seam.operation("look for revisions"):
            document = self._files.find_one(
                {
                    "filename": {"$eq": filename},
                    "_id": {"$nin": [content_key(each) for each in but]},
                },
                FIELDS,
                sort=[("uploadDate", pymongo.DESCENDING), ("_id", pymongo.DESCENDING)],
            )
        return None if document is None else _upload(document)

    def mark(self, uploads: Sequence[Upload]) -> bool:
        """Note that contents have their nodes, under the filenames that were seen.

        Not those that they have now: a driver may have renamed one since. Returns whether that is
        known to be all that there is to do: else one may have been renamed, or removed.
        """
        if not uploads:
            return True
        with self._seam.operation(f"mark {len(uploads)} contents"):
            names = [each.filename for each in uploads]
            if all(isinstance(name, str | None) and _is_utf8(name) for name in names):
                # What nearly all need, and a fifth of the server's time.
                quick = [
                    UpdateOne(
                        {**_this(each), "filename": each.filename, **_PLAIN}, _plain_mark(each)
                    )
                    for each in uploads
                ]
                if self._files.bulk_write(quick, ordered=False).matched_count == len(uploads):
                    return True
            changes = [
                UpdateOne(
                    _this(each), [{"$set": {"metadata": _marked_metadata(_seen_filename(each))}}]
                )
                for each in uploads
            ]
            self._files.bulk_write(changes, ordered=False)
        return False

    def renamed(self) -> list[Upload]:
        """Contents whose filename is not the marker's, or whose marker is another's: a batch.

        Reads the whole collection.
        """
        with self._seam.operation("look for contents that drivers renamed", factor=10):
            documents = list(
                self._files.find(
                    {
                        "metadata.lake.format": _MARKED,
                        "$expr": {
                            "$or": [
                                {
                                    "$ne": [
                                        {"$ifNull": ["$filename", None]},
                                        {"$ifNull": ["$metadata.lake.filename", None]},
                                    ]
                                },
                                _anothers(),
                            ]
                        },
                    },
                    FIELDS,
                ).limit(_BATCH)
            )
        return uploads_of(documents)

    def missing(self, after: Inode) -> Missing:
        """Contents that nodes show and that are gone, among a stretch of nodes after a number."""
        with self._seam.operation("look for contents that drivers removed"):
            numbers: Document = {"$gt": after}
            found = self._tree.find({"_id": numbers}, {"_id": 1}).sort("_id", pymongo.ASCENDING)
            edge = next(found.skip(STRETCH - 1).limit(1), None)
            if edge is not None:
                numbers["$lte"] = edge["_id"]
            pipeline: list[Document] = [
                {"$match": {"_id": numbers, "content": {"$exists": True}}},
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
                {"$project": {"content": 1}},
            ]
            lost = [_tolerant_id(each["content"]) for each in self._tree.aggregate(pipeline)]
        contents = tuple(content for content in lost if content is not None)
        return Missing(contents, None if edge is None else Inode(edge["_id"]))

    def watch(self) -> "ContentChanges":
        """Follow changes of the bucket from now on; needs a replica set or a sharded cluster."""
        changed: list[Document] = [
            {
                "operationType": "insert",
                "$or": [
                    {"fullDocument.metadata.lake.format": {"$not": _MARKED}},
                    {"$expr": _anothers("fullDocument.")},
                ],
            },
            {"operationType": "replace"},
            {"operationType": "delete"},
            {
                "operationType": "update",
                f"{_UPDATED}.filename": {"$exists": True},
            },
        ]
        with self._seam.operation("watch the bucket"):
            stream = self._files.with_options(read_concern=ReadConcern("majority")).watch(
                [
                    {"$match": {"$or": changed}},
                    {"$project": {"operationType": 1, "documentKey": 1, _UPDATED: 1}},
                ],
                max_await_time_ms=round(WATCH_SECONDS * 1000),
            )
        return ContentChanges(stream, self._seam.deadline)


@dataclass(frozen=True, slots=True)
class ContentChange:
    """Something that a driver may have done to a content."""

    content: ContentId
    new: bool
    """It was uploaded; else it was renamed, replaced or removed."""


class ContentChanges:
    """A change stream on `fs.files`. The driver resumes it by itself after a lost connection."""

    def __init__(self, stream: CollectionChangeStream[Document], deadline: float) -> None:
        """Wrap an open stream; `deadline` is how long the server may be silent, in seconds."""
        self._stream = stream
        self._silence = WATCH_SECONDS + deadline

    def deliver(self, hear: Callable[[ContentChange], None]) -> None:
        """Call `hear` for every change, in the calling thread, until the stream breaks.

        Raises:
            StoreUnavailable: it broke: what happens from now on must be found by looking.
        """
        while True:
            change = self.next_change()
            if change is not None:
                hear(change)

    def next_change(self) -> ContentChange | None:
        """What a driver may have done next; None after WATCH_SECONDS without anything.

        Raises:
            StoreUnavailable: the stream broke, or the server is silent.
        """
        try:
            with pymongo.timeout(self._silence):
                event = self._stream.try_next()
        except PyMongoError as error:
            raise StoreUnavailable(str(translate("the change stream broke", error))) from error
        if event is None:
            if not self._stream.alive:
                raise StoreUnavailable("the change stream ended: the collection is gone")
            return None
        updated = event.get("updateDescription", {}).get("updatedFields", {})
        if "metadata.lake.filename" in updated:
            return None  # a mount renamed it
        content = _tolerant_id(event["documentKey"]["_id"])
        return (
            None if content is None else ContentChange(content, event["operationType"] == "insert")
        )

    def close(self) -> None:
        """End the stream."""
        try:
            self._stream.close()
        except PyMongoError as error:
            log.debug("closing the change stream: %s", error)


_PLAIN: Final = {
    "$or": [
        {"metadata": {"$exists": False}},
        # `$type` looks into arrays as well.
        {
            "metadata": {"$type": "object", "$not": {"$type": "array"}},
            "metadata.lake": {"$exists": False},
        },
    ]
}
"""Files documents where a marker can be put in without regard for what is there."""


def _this(upload: Upload) -> Document:
    return {"_id": {"$eq": content_key(upload.id)}}


def _plain_mark(upload: Upload) -> Document:
    marker = {**_MARKER, "content": content_key(upload.id), "filename": upload.filename}
    return {"$set": {"metadata.lake": marker}}


_MARKER: Final = {"format": CONTENT_FORMAT, "adopted": True}


def _anothers(prefix: str = "") -> Document:
    """Whether the marker is another content's; one that names none is its content's own."""
    identity = f"${prefix}_id"
    return {"$ne": [{"$ifNull": [f"${prefix}metadata.lake.content", identity]}, identity]}


def _marked_metadata(filename: object) -> Document:
    """What `metadata` becomes; nothing in it is lost."""
    marker = {**_MARKER, "content": "$_id", "filename": filename}
    found = "$metadata.lake.format"
    ours = {"$and": [{"$isNumber": found}, {"$gte": [found, 1]}, {"$not": [_anothers()]}]}
    hashes_kept = {"$mergeObjects": ["$metadata.lake", {"filename": filename}]}
    theirs_kept = {"$mergeObjects": [marker, {"lake": "$metadata.lake"}]}
    return {
        "$switch": {
            "branches": [
                {"case": ours, "then": {"$mergeObjects": ["$metadata", {"lake": hashes_kept}]}},
                {
                    "case": {"$eq": [{"$type": "$metadata"}, "object"]},
                    "then": {"$mergeObjects": ["$metadata", {"lake": theirs_kept}]},
                },
            ],
            # Metadata that is no document is kept beside the marker.
            "default": {"lake": {"$mergeObjects": [marker, {"metadata": "$metadata"}]}},
        }
    }


def _seen_filename(upload: Upload) -> Document:
    if _is_utf8(upload.filename):
        return {"$literal": upload.filename}
    return {"$ifNull": ["$filename", None]}  # only the server can copy it


def _is_utf8(value: object) -> bool:
    """Whether all strings in a value can be sent back to the server."""
    try:
        bson.encode({"": value}, codec_options=CODEC)
    except UnicodeEncodeError:
        return False
    return True


def _is_marked(lake: Mapping[str, object]) -> bool:
    found = lake.get("format")
    return isinstance(found, int | float) and not isinstance(found, bool) and found >= 1


def _tolerant_id(value: object) -> ContentId | None:
    try:
        return content_id(value)
    except Damaged as error:
        log.debug("cannot be shown: %s", error)
        return None


def uploads_of(documents: Iterable[Document]) -> list[Upload]:
    """Contents from their files documents, but for those that no query can name."""
    return [_upload(each) for each in documents if _tolerant_id(each["_id"]) is not None]


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
        marked=_is_marked(lake),
        marked_filename=lake.get("filename"),
        uploaded_ns=max(-_MAX_NS, min(round(uploaded.timestamp() * 1_000) * 1_000_000, _MAX_NS)),
        content=content,
    )
