"""`fs.files` and `fs.chunks`: contents, written by the letter of the GridFS specification.

Source: "GridFS Spec" of the MongoDB driver specifications. The files document comes last when a
content is made and goes first when it is removed, so that no driver ever sees half of one.
"""

import contextlib
import logging
import math
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import bson
from bson import Binary, Int64
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from pymongo import ReplaceOne, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, DuplicateKeyError
from xxhash import xxh3_64_digest

from gridfsmount.core.chunks import chunk_count, chunk_length, packed_hash
from gridfsmount.core.model import Content, ContentId
from gridfsmount.errors import Damaged, StoreUnavailable
from gridfsmount.store.connection import Connection
from gridfsmount.store.encoding import (
    CONTENT_FORMAT,
    Document,
    content_id,
    content_key,
    decode_content,
    encode_content,
)
from gridfsmount.store.seam import DUPLICATE
from gridfsmount.store.undecoded import total

log = logging.getLogger(__name__)

SECONDARY_REST: Final = 30.0
"""Seconds until secondaries are asked again after none answered."""

WHOLE_BATCH: Final = 100_000
"""More documents than any query for small contents brings."""

SECONDARY_SHARE: Final = 0.1
"""Part of the deadline that a secondary has to answer before the primary is asked."""


class Contents:
    """The contents of a lake."""

    def __init__(self, connection: Connection, writer: str) -> None:
        """Work on the lake of `connection`; `writer` names this mount in what it writes."""
        self._seam = connection.seam
        self._files = connection.collection("files")
        self._chunks = connection.collection("chunks")
        self._connection = connection
        self._anywhere = connection.anywhere("chunks")
        self._primary_until = -math.inf
        """Monotonic time until which no secondary is asked, since none answered."""
        self._relaxed = connection.acknowledged("files")
        # On its way to the trash and back a document stays as it is, to the byte.
        self._raw = connection.raw("files")
        self._writer = writer

    @staticmethod
    def new_id() -> ContentId:
        """Identity for a content that is about to be written."""
        return content_id(bson.ObjectId())

    def get(self, content: ContentId) -> Content:
        """What the files document says of a content.

        Raises:
            Damaged: there is no such document, or it makes no sense.
        """
        with self._seam.operation(f"read content {content}"):
            document = self._files.find_one({"_id": {"$eq": content_key(content)}})
        if document is None:
            raise Damaged(f"content {content}: its files document is missing")
        return decode_content(document)

    def exists(self, content: ContentId) -> bool:
        """Whether there is a files document."""
        with self._seam.operation(f"look for content {content}"):
            found = self._files.find_one({"_id": {"$eq": content_key(content)}}, {"_id": 1})
        return found is not None

    def get_many(self, contents: Sequence[ContentId]) -> list[Content]:
        """Those of `contents` that have a files document which makes sense, in any order."""
        with self._seam.operation(f"read {len(contents)} contents"):
            documents = list(
                self._files.find({"_id": {"$in": _keys(contents)}}).batch_size(len(contents) + 1)
            )
        found = []
        for document in documents:
            with contextlib.suppress(Damaged):  # whoever opens that one is told
                found.append(decode_content(document))
        return found

    def read(
        self, content: Content, first: int, past: int, *, settled: bool = False
    ) -> list[bytes]:
        """Chunks `first` up to, not including, `past`, each checked.

        A `settled` content is shown in a sealed version: with its hashes it may come from a
        secondary, where it is right or not there yet; then the primary is asked.

        Raises:
            Damaged: a chunk is missing, doubled, of the wrong length, or altered.
        """
        anywhere = self._anywhere if settled and content.chunk_xxh3 is not None else None
        if anywhere is not None and self._may_ask_anywhere():
            try:
                return self._read(anywhere, content, first, past, SECONDARY_SHARE)
            except Damaged as error:
                log.debug("asking the primary: %s", error)
            except StoreUnavailable as error:
                self._primary_until = time.monotonic() + SECONDARY_REST
                log.info("asking the primary for %.0f s: %s", SECONDARY_REST, error)
        return self._read(self._chunks, content, first, past, 1.0)

    def _may_ask_anywhere(self) -> bool:
        return time.monotonic() >= self._primary_until and self._connection.answers_anywhere()

    def _read(
        self,
        chunks: Collection[Document],
        content: Content,
        first: int,
        past: int,
        share: float,
    ) -> list[bytes]:
        what = f"read chunks {first} to {past - 1} of content {content.id}"
        with self._seam.operation(what, factor=share):
            # No projection: it would make the server copy every chunk once more.
            documents = list(
                chunks.find(
                    {
                        "files_id": {"$eq": content_key(content.id)},
                        "n": {"$gte": first, "$lt": past},
                    }
                ).sort("n", 1)
            )
        return [_check(content, n, each) for n, each in _pair(content, first, past, documents)]

    def read_whole(self, contents: Sequence[Content]) -> list[tuple[Content, list[bytes]]]:
        """All chunks of many small contents in one query; those that are damaged are left out."""
        keys = _keys([each.id for each in contents])
        with self._seam.operation(f"read {len(contents)} contents whole"):
            # In one batch, as far as 16 MiB of it will do.
            found = self._chunks.find({"files_id": {"$in": keys}}).batch_size(WHOLE_BATCH)
            documents = list(found)
        parts: dict[ContentId, list[Document]] = {}
        for document in documents:
            with contextlib.suppress(Damaged):
                parts.setdefault(content_id(document["files_id"]), []).append(document)
        whole = []
        for content in contents:
            with contextlib.suppress(Damaged):
                chunks = check_whole(content, parts.get(content.id, []))
                whole.append((content, chunks))
        return whole

    def examine(self, content: Content, first: int, past: int) -> list[bytes | Damaged | None]:
        """Chunks as `read` brings them; in place of a damaged one what is wrong, of none None."""
        with self._seam.operation(f"read chunks {first} to {past - 1} of content {content.id}"):
            documents = list(
                self._chunks.find(
                    {
                        "files_id": {"$eq": content_key(content.id)},
                        "n": {"$gte": first, "$lt": past},
                    }
                )
            )
        found = {document.get("n"): document for document in documents}
        return [_judge(content, n, found.get(n)) for n in range(first, past)]

    def examine_whole(self, contents: Sequence[Content]) -> list[list[bytes | Damaged | None]]:
        """All chunks of many small contents, as `examine` brings them, in one query."""
        counts = [chunk_count(each.length, each.chunk_size) for each in contents]
        query = {"files_id": {"$in": _keys([each.id for each in contents])}}
        with self._seam.operation(f"read {len(contents)} contents whole"):
            documents = list(
                self._chunks.find({**query, "n": {"$lt": max(counts, default=0)}}).batch_size(
                    WHOLE_BATCH
                )
            )
        found: dict[ContentId, dict[object, Document]] = {}
        for document in documents:
            with contextlib.suppress(Damaged):
                numbered = found.setdefault(content_id(document["files_id"]), {})
                numbered[document.get("n")] = document
        return [
            [_judge(content, n, found[content.id].get(n)) for n in range(count)]
            if content.id in found
            else self.examine(content, 0, count)  # 1 where the chunks say 1.0, say
            for content, count in zip(contents, counts, strict=True)
        ]

    def next_chunk(self, content: ContentId, n: int) -> int | None:
        """The number of the first chunk from `n` on that is there; from the index alone."""
        query = {"files_id": {"$eq": content_key(content)}, "n": {"$gte": n}}
        with self._seam.operation(f"look for chunks of content {content}"):
            found = self._chunks.find_one(query, {"_id": 0, "n": 1}, sort=[("n", 1)])
        return None if found is None else max(n, total(found["n"]))

    def put_chunks(self, content: ContentId, chunks: Sequence[tuple[int, bytes]]) -> None:
        """Write chunks of a content that is not published yet; a number may come again."""
        documents = _chunk_documents(content, chunks)
        with self._seam.operation(f"write {len(chunks)} chunks of content {content}"):
            try:
                self._chunks.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                # Written before: by an attempt whose answer was lost, or with older bytes.
                failures = error.details["writeErrors"]
                if any(each["code"] != DUPLICATE for each in failures):
                    raise
                self._replace([documents[each["index"]] for each in failures])

    def _replace(self, documents: Iterable[Document]) -> None:
        self._chunks.bulk_write(
            [
                ReplaceOne(
                    {"files_id": {"$eq": each["files_id"]}, "n": each["n"]},
                    {"files_id": each["files_id"], "n": each["n"], "data": each["data"]},
                    upsert=True,
                )
                for each in documents
            ]
        )

    def copy_chunks(
        self, source: ContentId, target: ContentId, ranges: Sequence[tuple[int, int]]
    ) -> None:
        """Copy ranges of chunks, `(first, past the last)`, inside the server.

        Raises:
            Damaged: not all are there: the content was replaced and erased meanwhile, say.
        """
        if not ranges:
            return
        pipeline: list[Document] = [
            {"$match": _in_ranges(source, ranges)},
            {"$set": {"files_id": {"$literal": content_key(target)}, "n": {"$toInt": "$n"}}},
            {"$unset": "_id"},
            {
                "$merge": {
                    "into": self._chunks.name,
                    "on": ["files_id", "n"],
                    "whenMatched": "replace",
                    "whenNotMatched": "insert",
                }
            },
        ]
        # As long as the bytes take: 60 MiB were copied in 0.2 s.
        self._seam.insist(
            f"copy chunks of content {source}",
            lambda: self._chunks.aggregate(pipeline).close(),
            factor=20,
        )
        with self._seam.operation(f"count the copied chunks of content {source}"):
            count = self._chunks.count_documents(_in_ranges(target, ranges))
        if count != sum(past - first for first, past in ranges):
            raise Damaged(f"content {source}: chunks to be copied are missing: write all anew")

    def trim_chunks(self, content: ContentId, count: int) -> None:
        """Remove the chunks from number `count` on, of a content that is not published yet."""
        beyond = {"files_id": {"$eq": content_key(content)}, "n": {"$gte": count}}
        self._seam.insist(f"trim content {content}", lambda: self._chunks.delete_many(beyond))

    def put_whole(
        self,
        content: Content,
        chunks: Sequence[tuple[int, bytes]],
        path: str,
        session: ClientSession | None,
    ) -> None:
        """Write all chunks and the files document, inside a transaction."""
        with self._seam.operation(f"write {path}"):
            self._chunks.insert_many(_chunk_documents(content.id, chunks), session=session)
            self._files.insert_one(self.file_document(content, path), session=session)

    def publish(self, content: Content, path: str) -> None:
        """Write the files document: from now on every driver sees the content at `path`."""
        document = self.file_document(content, path)
        with self._seam.operation(f"publish {path}"):
            try:
                self._files.insert_one(document)
            except DuplicateKeyError:
                # An attempt whose answer was lost had arrived; the path may have changed since.
                self._files.replace_one({"_id": {"$eq": document["_id"]}}, document)

    def file_document(self, content: Content, path: str) -> Document:
        """What `fs.files` says of a content that is complete now."""
        return {
            "_id": content_key(content.id),
            "length": Int64(content.length),
            "chunkSize": content.chunk_size,
            "uploadDate": datetime.now(UTC),
            "filename": path,
            "metadata": {
                "lake": {
                    "format": CONTENT_FORMAT,
                    "content": content_key(content.id),
                    "filename": path,
                    "writer": self._writer,
                    **encode_content(content),
                }
            },
        }

    def add_hashes(self, found: Sequence[tuple[Content, Content]]) -> None:
        """Note hashes of contents, given as they were seen and with what was computed since.

        Not of one that is another by now: a driver may have removed it, and uploaded something
        with its `_id`. Nor of one that was not given a node yet: it is not ours to write to.
        """
        changes = [UpdateOne(_unhashed(seen), {"$set": _hashes(now)}) for seen, now in found]
        if changes:
            with self._seam.operation(f"note the hashes of {len(changes)} contents"):
                self._relaxed.bulk_write(changes, ordered=False)

    def filename(self, content: ContentId) -> str | None:
        """The name that drivers know a content by, if it is one that can be given again."""
        with self._seam.operation(f"read content {content}"):
            document = self._files.find_one({"_id": {"$eq": content_key(content)}}, {"filename": 1})
        filename = None if document is None else document.get("filename")
        if not isinstance(filename, str) or not filename.isprintable():
            return None
        return filename

    def lacks_hashes(self, path: str) -> bool:
        """Whether drivers see any content below a path whose SHA-256 is not known."""
        query = {
            "filename": {"$gte": f"{path}/", "$lt": f"{path}0"},
            "metadata.lake.sha256": {"$exists": False},
        }
        with self._seam.operation(f"look for contents without a hash below {path}", factor=5):
            return self._files.find_one(query, {"_id": 1}) is not None

    def hide(self, content: ContentId) -> RawBSONDocument | None:
        """Remove the files document: no driver sees the content any more; its chunks stay.

        Returns the document, if there was one.
        """
        with self._seam.operation(f"hide content {content}"):
            return self._raw.find_one_and_delete({"_id": {"$eq": content_key(content)}})

    def raw(self, contents: Sequence[ContentId]) -> list[RawBSONDocument]:
        """The files documents of those of some contents that have one, as they are."""
        with self._seam.operation(f"read {len(contents)} contents"):
            return list(self._raw.find({"_id": {"$in": _keys(contents)}}))

    def hide_many(self, contents: Sequence[ContentId]) -> None:
        """Remove files documents; the chunks stay."""
        self._seam.insist(
            f"hide {len(contents)} contents",
            lambda: self._relaxed.delete_many({"_id": {"$in": _keys(contents)}}),
            factor=5,
        )

    def restore(self, document: RawBSONDocument) -> None:
        """Put a hidden files document back, if it is not there."""
        with self._seam.operation("restore a content"):
            try:
                self._raw.insert_one(document)
            except DuplicateKeyError:
                log.debug("the content was there already")

    def restore_many(self, documents: Sequence[RawBSONDocument]) -> None:
        """The same for many."""
        if not documents:
            return
        with self._seam.operation(f"restore {len(documents)} contents"):
            try:
                self._raw.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                if any(each["code"] != DUPLICATE for each in error.details["writeErrors"]):
                    raise

    def erase(self, content: ContentId) -> None:
        """Remove a content for good, the files document first."""
        self.hide(content)
        self.trim_chunks(content, 0)

    def erase_many(self, contents: Sequence[ContentId]) -> None:
        """The same for many contents at once."""
        keys = _keys(contents)
        # As long as the bytes take; what was done when the deadline comes stays done.
        self._seam.insist(
            f"erase {len(keys)} contents",
            lambda: self._relaxed.delete_many({"_id": {"$in": keys}}),
        )
        self._seam.insist(
            f"erase {len(keys)} contents",
            lambda: self._chunks.delete_many({"files_id": {"$in": keys}}),
            factor=20,
        )

    def rename(self, content: ContentId, path: str) -> None:
        """Tell drivers the new path of one content."""
        with self._seam.operation(f"rename content {content}"):
            self._relaxed.update_one(
                {"_id": {"$eq": content_key(content)}}, [set_filename({"$literal": path})]
            )

    def rename_folder(self, old: str, new: str) -> None:
        """Tell drivers the new paths of all contents below a folder."""
        rest = {"$substrBytes": ["$filename", len(old.encode()), {"$strLenBytes": "$filename"}]}
        path = {"$concat": [{"$literal": new}, rest]}
        below = {
            # "0" is the character after "/": a range on the standard index.
            "filename": {"$gte": f"{old}/", "$lt": f"{old}0"},
            "metadata.lake.format": {"$exists": True},
        }
        self._seam.insist(
            f"rename contents below {old}",
            lambda: self._relaxed.update_many(below, [set_filename(path)]),
            factor=20,
        )


def check_whole(content: Content, documents: Sequence[Document]) -> list[bytes]:
    """All chunks of a content, from documents in any order, each checked.

    Raises:
        Damaged: as for `Contents.read`.
    """
    count = chunk_count(content.length, content.chunk_size)
    ordered = sorted(documents, key=_number)
    return [_check(content, n, each) for n, each in _pair(content, 0, count, ordered)]


def _number(document: Document) -> float:
    n = document.get("n")
    return n if isinstance(n, (int, float)) else math.inf


def _keys(contents: Iterable[ContentId]) -> list[Any]:
    """The `_id`s for `$in`, where a regular expression would be a pattern and not a value."""
    keys = (content_key(each) for each in contents)
    return [key for key in keys if not isinstance(key, (bson.Regex, re.Pattern))]


def _unhashed(content: Content) -> Document:
    """The query for a content without a SHA-256, if it is still the one that was seen."""
    query: Document = {
        "_id": {"$eq": content_key(content.id)},
        "length": content.length,
        "metadata.lake.format": {"$gte": 1},
        "metadata.lake.sha256": {"$exists": False},
    }
    if content.chunk_xxh3 is not None:
        return {**query, "metadata.lake.chunk_xxh3": Binary(content.chunk_xxh3)}
    return {
        **query,
        "metadata.lake.chunk_xxh3": {"$exists": False},
        "uploadDate": DatetimeMS(content.uploaded_ms),
    }


def _hashes(content: Content) -> Document:
    return {f"metadata.lake.{name}": value for name, value in encode_content(content).items()}


def _in_ranges(content: ContentId, ranges: Sequence[tuple[int, int]]) -> Document:
    """The query for a content's chunks in these ranges, `(first, past the last)`."""
    return {
        "files_id": {"$eq": content_key(content)},
        "$or": [{"n": {"$gte": first, "$lt": past}} for first, past in ranges],
    }


def _chunk_documents(content: ContentId, chunks: Sequence[tuple[int, bytes]]) -> list[Document]:
    key = content_key(content)
    return [{"_id": bson.ObjectId(), "files_id": key, "n": n, "data": data} for n, data in chunks]


def set_filename(expression: Document) -> Document:
    """The stage of an update that tells drivers a path."""
    # The copy tells a rename of ours from one that a driver made.
    return {"$set": {"filename": expression, "metadata.lake.filename": expression}}


def _pair(
    content: Content, first: int, past: int, documents: Sequence[Document]
) -> Iterator[tuple[int, Document]]:
    for index, n in enumerate(range(first, past)):
        if index >= len(documents) or documents[index].get("n") != n:
            raise Damaged(f"content {content.id}: chunk {n} is missing")
        yield n, documents[index]
    if len(documents) > past - first:
        raise Damaged(f"content {content.id}: chunk {documents[-1].get('n')} is there twice")


def _judge(content: Content, n: int, document: Document | None) -> bytes | Damaged | None:
    if document is None:
        return None
    try:
        return _check(content, n, document)
    except Damaged as error:
        return error


def _check(content: Content, n: int, document: Document) -> bytes:
    data = document.get("data")
    if not isinstance(data, bytes):
        raise Damaged(f"content {content.id}: chunk {n} holds no bytes")
    expected = chunk_length(n, content.length, content.chunk_size)
    if len(data) != expected:
        raise Damaged(f"content {content.id}: chunk {n} has {len(data)} bytes, not {expected}")
    known = packed_hash(content.chunk_xxh3, n)
    if known is not None and xxh3_64_digest(data) != known:
        raise Damaged(f"content {content.id}: chunk {n} was altered")
    return data
