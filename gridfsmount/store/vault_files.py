"""The files of a vault in MongoDB: ordinary GridFS files, each with a name of its own.

A file is there when its files document is. What is begun and not finished, in either direction, is
noted beforehand, so that a crash leaves no chunks that nobody knows.
"""

import contextlib
import hashlib
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import bson
from bson import Int64
from pymongo.errors import BulkWriteError, DuplicateKeyError

from gridfsmount.core.chunks import DEFAULT_CHUNK_SIZE, Bytes
from gridfsmount.core.model import Content
from gridfsmount.errors import AlreadyExists, Damaged
from gridfsmount.store.connection import Connection
from gridfsmount.store.contents import Contents
from gridfsmount.store.encoding import Document, content_id
from gridfsmount.store.seam import DUPLICATE

log = logging.getLogger(__name__)

INSERT_BYTES: Final = 4 << 20
"""Bytes of one insert: measured as fast as larger ones."""

IN_FLIGHT: Final = 3
"""Inserts of one file under way."""

BATCH: Final = 1000
"""Names, or files to be removed, of one command."""

PAGE: Final = 10_000
"""Files of one query of a listing."""

UNLEASED_SECONDS: Final = 3600
"""What was begun without the lease was left behind by a crash after so long."""

_UNFINISHED: Final = "unfinished "


@dataclass(frozen=True, slots=True)
class File:
    """A files document of a vault."""

    name: str
    content: Content
    verified: datetime | None
    """When it was last found to be right."""


class VaultFiles:
    """GridFS files by their names."""

    def __init__(self, connection: Connection) -> None:
        """Work in the bucket of `connection`."""
        self._seam = connection.seam
        self._connection = connection
        self._files = connection.collection("files")
        self._relaxed = connection.acknowledged("vault")
        self._chunks = connection.acknowledged("chunks")
        self._contents = Contents(connection, "")

    # --- asking --------------------------------------------------------------------------------

    def present(self, names: Sequence[str]) -> set[str]:
        """Those of some names that there are files of."""
        found: set[str] = set()
        for first in range(0, len(names), BATCH * 5):
            batch = list(names[first : first + BATCH * 5])
            with self._seam.operation(f"look for {len(batch)} files"):
                # From the index alone, in one batch.
                documents = self._files.find(
                    {"filename": {"$in": batch}}, {"_id": 0, "filename": 1}
                ).batch_size(len(batch) + 1)
                found.update(each["filename"] for each in documents)
        return found

    def find(self, names: Sequence[str]) -> list[File]:
        """Those of some files that are there."""
        with self._seam.operation(f"look for {names[0] if len(names) == 1 else len(names)}"):
            return [_decode(each) for each in self._files.find({"filename": {"$in": list(names)}})]

    def below(self, folder: str) -> Iterator[list[File]]:
        """Files whose names begin with a folder, in batches, in the order of their names."""
        last = f"{folder}/"
        while True:
            with self._seam.operation(f"list {folder}"):
                documents = list(
                    # "0" is the character after "/": a range on the index.
                    self._files.find({"filename": {"$gt": last, "$lt": f"{folder}0"}})
                    .sort("filename", 1)
                    .limit(PAGE)
                )
            if not documents:
                return
            last = documents[-1]["filename"]
            yield [_decode(each) for each in documents]

    def names_below(self, folder: str) -> list[str]:
        """Names that begin with a folder, from the index alone."""
        query = {"filename": {"$gt": f"{folder}/", "$lt": f"{folder}0"}}
        with self._seam.operation(f"list {folder}", factor=2):
            found = self._files.find(query, {"_id": 0, "filename": 1}).sort("filename", 1)
            return [each["filename"] for each in found]

    def read(self, file: File, offset: int, size: int) -> bytes:
        """Bytes of a file.

        Raises:
            Damaged: a chunk is missing, or has another length.
        """
        content = file.content
        end = min(offset + size, content.length)
        if offset >= end:
            return b""
        first = offset // content.chunk_size
        chunks = self._contents.read(content, first, math.ceil(end / content.chunk_size))
        start = first * content.chunk_size
        if len(chunks) == 1:
            return chunks[0][offset - start : end - start]
        return b"".join(chunks)[offset - start : end - start]

    def pieces(self, file: File) -> Iterator[bytes]:
        """All bytes of a file, in order."""
        for offset in range(0, file.content.length, INSERT_BYTES):
            yield self.read(file, offset, INSERT_BYTES)

    # --- writing -------------------------------------------------------------------------------

    def put(
        self,
        name: str,
        pieces: Iterable[Bytes],
        check: Callable[[str, int], None],
        fence: Callable[[], None] | None = None,
        *,
        leased: bool = True,
    ) -> None:
        """Add a file; if there is one of the name, that one stays.

        Args:
            name: of the file.
            pieces: its bytes.
            check: is given their SHA-256 in hex, and their number; what it raises ends this.
            fence: is called right before the file appears, which takes half a deadline at most;
                what it raises ends this.
            leased: whether whoever calls holds the lease.

        Raises:
            AlreadyExists: if there is a `fence`, and a file of the name.
        """
        key = bson.ObjectId()
        with self._unfinished([key], leased=leased):
            document = self._upload(name, key, pieces, check)
            if fence is not None:
                fence()
            with self._seam.operation(f"publish {name}", factor=0.5):
                try:
                    self._files.insert_one(document)
                    return
                except DuplicateKeyError:
                    log.debug("%s is there already", name)
            # By somebody else; or by this call, whose answer was lost.
            if self._erase_unnamed([key]) and fence is not None:
                raise AlreadyExists(f"there is a file {name} already")

    def _upload(
        self,
        name: str,
        key: bson.ObjectId,
        pieces: Iterable[Bytes],
        check: Callable[[str, int], None],
    ) -> Document:
        content = content_id(key)
        digest, size = hashlib.sha256(), 0
        group: list[tuple[int, bytes]] = []
        flights: deque[Future[None]] = deque()
        with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="vault") as pool:
            for n, chunk in enumerate(_chunks(pieces)):
                digest.update(chunk)
                size += len(chunk)
                group.append((n, chunk))
                if len(group) * DEFAULT_CHUNK_SIZE >= INSERT_BYTES:
                    while len(flights) >= IN_FLIGHT:
                        flights.popleft().result()
                    flights.append(pool.submit(self._contents.put_chunks, content, group))
                    group = []
            check(digest.hexdigest(), size)
            if group:
                self._contents.put_chunks(content, group)
            for each in flights:
                each.result()
        return _document(name, key, size)

    def put_many(self, files: Sequence[tuple[str, Bytes]]) -> None:
        """Add many small files, with one wait for the disks of the majority for each collection."""
        there = self.present([name for name, _ in files])
        wanted = {name: data for name, data in files if name not in there}
        if not wanted:
            return
        documents = [_document(name, bson.ObjectId(), len(data)) for name, data in wanted.items()]
        chunks = [
            {"_id": bson.ObjectId(), "files_id": each["_id"], "n": n, "data": chunk}
            for each in documents
            for n, chunk in enumerate(_chunks([wanted[each["filename"]]]))
        ]
        with self._unfinished([each["_id"] for each in documents], leased=True):
            with self._seam.operation(f"write {len(documents)} files"):
                if chunks:
                    self._connection.collection("chunks").insert_many(chunks, ordered=False)
                try:
                    self._files.insert_many(documents, ordered=False)
                    return
                except BulkWriteError as error:
                    failures = error.details["writeErrors"]
                    if any(each["code"] != DUPLICATE for each in failures):
                        raise
            # Put by somebody else meanwhile, or by this call, whose answer was lost.
            self._erase_unnamed([documents[each["index"]]["_id"] for each in failures])

    def remove(self, names: Sequence[str]) -> None:
        """Remove files: their names first, all at once."""
        for first in range(0, len(names), BATCH):
            query = {"filename": {"$in": list(names[first : first + BATCH])}}
            with self._seam.operation("look for files to remove"):
                keys = [each["_id"] for each in self._files.find(query, {"_id": 1})]
            if not keys:
                continue
            with self._unfinished(keys, leased=True):
                self._contents.erase_many([content_id(each) for each in keys])

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, if it is there; one that has it goes."""
        for _ in range(2):
            with self._seam.operation(f"rename {old}"):
                try:
                    self._files.update_one({"filename": old}, {"$set": {"filename": new}})
                    return
                except DuplicateKeyError:
                    log.debug("%s makes way for %s", new, old)
            self.remove([new])

    def touch(self, names: Sequence[str]) -> None:
        """Note that files were found to be right now."""
        for first in range(0, len(names), BATCH):
            query = {"filename": {"$in": list(names[first : first + BATCH])}}
            self._seam.insist(
                "note what was verified",
                partial(
                    self._files.update_many, query, {"$currentDate": {"metadata.verified": True}}
                ),
            )

    # --- what a crash leaves -------------------------------------------------------------------

    @contextlib.contextmanager
    def _unfinished(self, keys: Sequence[bson.ObjectId], *, leased: bool) -> Iterator[None]:
        """Note which files may have chunks and no name, for as long as that may be."""
        note = f"{_UNFINISHED}{bson.ObjectId()}"
        with self._seam.operation("note what is begun"):
            self._relaxed.update_one(
                {"_id": note},
                {"$set": {"files": list(keys), "leased": leased}, "$currentDate": {"at": True}},
                upsert=True,
            )
        try:
            yield
        except Damaged:
            self._erase_unnamed(keys)
            self._end(note)
            raise
        # After any other error a name may still be on its way: the sweep looks, later on.
        self._end(note)

    def _end(self, note: object) -> None:
        with self._seam.operation("note what is done"):
            self._relaxed.delete_one({"_id": note})

    def sweep(self) -> None:
        """Remove what those who died left half done; the lease is held."""
        age = {"$subtract": ["$$NOW", UNLEASED_SECONDS * 1000]}
        query = {
            "_id": {"$gt": _UNFINISHED, "$lt": _UNFINISHED + "~"},
            "$or": [{"leased": True}, {"$expr": {"$lt": ["$at", age]}}],
        }
        with self._seam.operation("look for what was left half done"):
            left = list(self._relaxed.find(query))
        for each in left:
            self._erase_unnamed(each["files"])
            self._end(each["_id"])

    def _erase_unnamed(self, keys: Sequence[Any]) -> bool:
        """Remove the chunks of those files that have no name; returns whether there are any."""
        with self._seam.operation("look which files have a name"):
            named = {each["_id"] for each in self._files.find({"_id": {"$in": keys}}, {"_id": 1})}
        gone = [each for each in keys if each not in named]
        if gone:
            self._seam.insist(
                "remove chunks without a name",
                lambda: self._chunks.delete_many({"files_id": {"$in": gone}}),
                factor=20,
            )
        return bool(gone)


def _decode(document: Document) -> File:
    name = str(document.get("filename"))
    try:
        metadata = document.get("metadata") or {}
        verified = metadata.get("verified", document.get("uploadDate"))
        return File(
            name,
            Content(
                id=content_id(document["_id"]),
                length=int(document["length"]),
                chunk_size=max(1, int(document["chunkSize"])),
            ),
            verified if isinstance(verified, datetime) else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"{name}: its files document makes no sense: {error!r}") from error


def _document(name: str, key: bson.ObjectId, size: int) -> Document:
    return {
        "_id": key,
        "length": Int64(size),
        "chunkSize": DEFAULT_CHUNK_SIZE,
        "uploadDate": datetime.now(UTC),
        "filename": name,
    }


def _chunks(pieces: Iterable[Bytes]) -> Iterator[bytes]:
    rest = bytearray()
    for piece in pieces:
        if not rest and len(piece) == DEFAULT_CHUNK_SIZE:
            yield bytes(piece)
            continue
        rest += piece
        while len(rest) >= DEFAULT_CHUNK_SIZE:
            yield bytes(rest[:DEFAULT_CHUNK_SIZE])
            del rest[:DEFAULT_CHUNK_SIZE]
    if rest:
        yield bytes(rest)
