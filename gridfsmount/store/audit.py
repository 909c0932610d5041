"""Questions of `check`: what there is, a batch at a time, with what belongs to it.

Nothing here reads the bytes of chunks, and no answer grows with the lake. Keys come from walks
along an index, so that a batch costs the same at the end of a collection as at its beginning.
"""

import logging
import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from bson import MaxKey, ObjectId
from pymongo.collection import Collection

from gridfsmount.core.model import Content, ContentId, Inode, Kind, Name, Node, State
from gridfsmount.errors import Damaged
from gridfsmount.store.connection import Connection
from gridfsmount.store.encoding import (
    Document,
    content_id,
    content_key,
    decode_content,
    decode_node,
    lake_metadata,
    same,
    whole_number,
)
from gridfsmount.store.naming import first_name
from gridfsmount.store.undecoded import total, usable_inode

log = logging.getLogger(__name__)

BATCH: Final = 1000
"""Nodes or contents of one answer."""

CHUNK_BATCH: Final = 10_000
"""Entries of the chunks' index that are walked along in one question."""

LONG: Final = 20
"""Multiple of the deadline for what may have to count the chunks of large contents."""

_FILE_FIELDS: Final = {
    "length": 1,
    "chunkSize": 1,
    "filename": 1,
    "metadata.lake.format": 1,
    "metadata.lake.content": 1,
    "metadata.lake.filename": 1,
    "metadata.lake.adopted": 1,
}


@dataclass(frozen=True, slots=True)
class FileState:
    """What a files document says, without its hashes."""

    id: ContentId
    content: Content | None
    problem: str
    """Why `content` is None."""
    filename: object
    known_filename: object
    """As the lake knows it."""
    marked: bool
    adopted: bool


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node and the files document of its content."""

    inode: Inode
    node: Node | None
    problem: str
    """Why `node` is None."""
    file: FileState | None


@dataclass(frozen=True, slots=True)
class Folder:
    """What a path needs to know of a node on its way."""

    kind: Kind | None
    name: Name | None
    """None when it is malformed."""
    state: State | None


@dataclass(frozen=True, slots=True)
class ContentState:
    """A content and who refers to it."""

    file: FileState
    shown: bool
    in_trash: bool
    leased: bool


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of a content's chunks."""

    count: int
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Stray:
    """Chunks that belong to nothing."""

    id: ContentId
    chunks: int
    age: float
    """Seconds since the newest of them was made."""


class Audit:
    """Reads a lake through."""

    def __init__(self, connection: Connection) -> None:
        """Read the lake of `connection`."""
        self._seam = connection.seam
        self._nodes = connection.collection("tree")
        self._files = connection.collection("files")
        self._chunks = connection.collection("chunks")
        self._trash = connection.collection("trash")
        self._uploads = connection.collection("uploads")

    def sizes(self) -> tuple[int, int]:
        """About how many nodes and contents there are."""
        with self._seam.operation("count nodes and contents"):
            return self._nodes.estimated_document_count(), self._files.estimated_document_count()

    def bytes(self) -> int:
        """Length of all contents together."""
        pipeline = [{"$group": {"_id": None, "bytes": {"$sum": "$length"}}}]
        with self._seam.operation("add up the lengths", factor=LONG):
            return total(next(self._files.aggregate(pipeline), {}).get("bytes"))

    # --- nodes ---------------------------------------------------------------------------------

    def inodes(self, after: Inode) -> tuple[list[Inode], list[str], Inode | None]:
        """The next numbers of nodes, ascending; those that are not whole; and where to go on."""
        with self._seam.operation("walk along the nodes"):
            found = self._nodes.find({"_id": {"$gt": after}}, {"_id": 1}).sort("_id", 1)
            numbers = [each["_id"] for each in found.limit(BATCH)]
        usable, odd = [], []
        for number in numbers:
            inode = usable_inode(number)
            if inode is None:
                odd.append(str(number))
            else:
                usable.append(inode)
        return usable, odd, numbers[-1] if numbers else None

    def odd_nodes(self) -> list[str]:
        """Documents of the tree whose `_id` is no number."""
        with self._seam.operation("look for odd nodes", factor=LONG):
            odd = self._nodes.find({"_id": {"$not": {"$type": "number"}}}, {"_id": 1})
            return [repr(each["_id"]) for each in odd.limit(BATCH)]

    def nodes(self, inodes: Sequence[Inode]) -> list[NodeState]:
        """What there is of some nodes."""
        with self._seam.operation(f"read {len(inodes)} nodes"):
            documents = list(self._nodes.find({"_id": {"$in": list(inodes)}}))
        nodes = [_node_state(each) for each in documents]
        shown = [each.node.content for each in nodes if each.node and each.node.content]
        # Two questions: a join would look each of them up by itself.
        with self._seam.operation(f"read {len(shown)} contents"):
            keys = [content_key(each) for each in shown]
            found = list(self._files.find({"_id": {"$in": keys}}, _FILE_FIELDS))
        files = {same(each["_id"]): _file_state(each) for each in found}
        return [
            replace(each, file=files.get(same(content_key(each.node.content))))
            if each.node and each.node.content
            else each
            for each in nodes
        ]

    def folders(self, inodes: Iterable[Inode]) -> dict[Inode, Folder]:
        """Those of some nodes that there are."""
        fields = {"names": {"$slice": 1}, "kind": 1, "state": 1}
        with self._seam.operation("read folders"):
            documents = list(self._nodes.find({"_id": {"$in": list(inodes)}}, fields))
        return {Inode(each["_id"]): _folder(each) for each in documents}

    # --- contents ------------------------------------------------------------------------------

    def contents(self, after: ContentId | None) -> tuple[list[ContentId], list[str]]:
        """The next contents, and `_id`s among them that no query can name."""
        with self._seam.operation("walk along the contents"):
            documents = list(_walk(self._files, "_id_", ["_id"], after, BATCH + 1))
        usable, odd = [], []
        for document in documents:
            try:
                usable.append(content_id(document["_id"]))
            except Damaged as error:
                odd.append(str(error))
        if usable and usable[0] == after:
            del usable[0]
        return usable, odd

    def content_states(self, contents: Sequence[ContentId]) -> list[ContentState]:
        """What there is of some contents, and who refers to them."""
        keys = [content_key(each) for each in contents]
        with self._seam.operation(f"read {len(keys)} contents"):
            files = list(self._files.find({"_id": {"$in": keys}}, _FILE_FIELDS))
            shown = _keys(self._nodes.find({"content": {"$in": keys}}, {"content": 1}), "content")
            rest = [key for key in keys if same(key) not in shown]
            trash = _keys(self._trash.find({"_id": {"$in": rest}}, {"_id": 1}), "_id")
            leased = _keys(self._uploads.find({"_id": {"$in": rest}}, {"_id": 1}), "_id")
        return [
            ContentState(
                _file_state(each),
                same(each["_id"]) in shown,
                same(each["_id"]) in trash,
                same(each["_id"]) in leased,
            )
            for each in files
        ]

    def numbers(self, contents: Sequence[ContentId]) -> dict[ContentId, Numbers]:
        """The chunks' numbers of those of some contents that have any; from the index alone."""
        pipeline: list[Document] = [
            {"$match": {"files_id": {"$in": [content_key(each) for each in contents]}}},
            {"$project": {"_id": 0, "files_id": 1, "n": 1}},
            {
                "$group": {
                    "_id": "$files_id",
                    "count": {"$sum": 1},
                    "first": {"$min": "$n"},
                    "last": {"$max": "$n"},
                }
            },
        ]
        with self._seam.operation(f"count the chunks of {len(contents)} contents", factor=LONG):
            documents = list(self._chunks.aggregate(pipeline))
        found = {
            same(each["_id"]): Numbers(each["count"], _number(each["first"]), _number(each["last"]))
            for each in documents
        }
        keys = {content: same(content_key(content)) for content in contents}
        return {content: found[key] for content, key in keys.items() if key in found}

    def faults_in_numbers(self, content: ContentId, count: int) -> tuple[list[int], list[str]]:
        """The first numbers below `count` that are missing, and the first that should not be."""
        missing: list[int] = []
        extra: list[str] = []
        expected = 0
        query = {"files_id": {"$eq": content_key(content)}}
        with self._seam.operation(f"look at the chunks of content {content}", factor=LONG):
            for each in self._chunks.find(query, {"_id": 0, "n": 1}).sort("n", 1):
                n = _number(each.get("n"))
                if n != int(n) or not 0 <= n < count or n < expected:
                    extra.append(str(each.get("n")))
                    continue
                missing.extend(range(expected, min(int(n), expected + BATCH)))
                expected = int(n) + 1
                if len(missing) + len(extra) > BATCH:
                    return missing, extra
        missing.extend(range(expected, min(count, expected + BATCH)))
        return missing, extra

    # --- chunks --------------------------------------------------------------------------------

    def owners(self, after: ContentId | None) -> tuple[list[ContentId], ContentId | None]:
        """The next contents that chunks say they belong to, and where to go on."""
        with self._seam.operation("walk along the chunks"):
            index = _index_name(self._chunks, ["files_id", "n"])
            if index is None:
                return [], None
            documents = list(_walk(self._chunks, index, ["files_id", "n"], after, CHUNK_BATCH))
        found: dict[ContentId, None] = {}
        for document in documents:
            try:
                found[content_id(document.get("files_id"))] = None
            except Damaged as error:
                log.warning("a chunk belongs to nothing that can be named: %s", error)
        owners = list(found)
        full = len(documents) == CHUNK_BATCH
        return owners, owners[-1] if owners and full and owners[-1] != after else None

    def nameless(self) -> int:
        """Chunks that say of nothing that they belong to it."""
        with self._seam.operation("look for chunks without a content"):
            return self._chunks.count_documents({"files_id": None})

    def strays(self, owners: Sequence[ContentId]) -> list[Stray]:
        """Those of some owners that are neither contents, nor in the trash, nor being written."""
        keys = [content_key(each) for each in owners]
        with self._seam.operation("look for the owners of chunks"):
            # In this order: a commit makes the content before its lease goes, a removal keeps
            # the entry until the chunks are gone.
            known: set[Hashable] = set()
            for collection in (self._uploads, self._files, self._trash):
                rest = [key for key in keys if same(key) not in known]
                known |= _keys(collection.find({"_id": {"$in": rest}}, {"_id": 1}), "_id")
        lost = [each for each in owners if same(content_key(each)) not in known]
        if not lost:
            return []
        pipeline: list[Document] = [
            {"$match": {"files_id": {"$in": [content_key(each) for each in lost]}}},
            {"$project": {"files_id": 1}},
            {"$group": {"_id": "$files_id", "count": {"$sum": 1}, "newest": {"$max": "$_id"}}},
            {"$set": {"now": "$$NOW"}},
        ]
        with self._seam.operation("count chunks without an owner", factor=LONG):
            documents = list(self._chunks.aggregate(pipeline))
        return [
            Stray(content_id(each["_id"]), each["count"], _age(each["newest"], each["now"]))
            for each in documents
        ]


def _walk(
    collection: Collection[Document],
    index: str,
    fields: Sequence[str],
    after: ContentId | None,
    limit: int,
) -> Iterable[Document]:
    """Documents along an index, from a key on; past all of its chunks, for an index of those.

    By `min`, and not by `$gt`, which would stop at the end of the key's type.
    """
    found = collection.find({}, {"_id": 0, **dict.fromkeys(fields, 1)}).hint(index).limit(limit)
    # Not a number sorts before all numbers, and those after null, which is nobody's key.
    first = math.nan if after is None else content_key(after)
    bound: list[tuple[str, Any]] = [(fields[0], first)]
    return found.min(bound + [(field, MaxKey()) for field in fields[1:]])


def _index_name(collection: Collection[Document], fields: Sequence[str]) -> str | None:
    for index in collection.list_indexes():
        if list(index["key"]) == list(fields):
            return str(index["name"])
    return None


def _node_state(document: Document) -> NodeState:
    inode = Inode(whole_number(document["_id"]) or 0)
    try:
        return NodeState(inode, decode_node(document), "", None)
    except Damaged as error:
        return NodeState(inode, None, str(error), None)


def _file_state(document: Document) -> FileState:
    content, problem = None, ""
    try:
        content = decode_content(document)
    except Damaged as error:
        problem = str(error)
    lake = lake_metadata(document)
    marker = lake.get("format")
    return FileState(
        id=content_id(document["_id"]),
        content=content,
        problem=problem,
        filename=document.get("filename"),
        known_filename=lake.get("filename"),
        marked=isinstance(marker, int | float) and not isinstance(marker, bool) and marker >= 1,
        adopted=lake.get("adopted") is True,
    )


def _folder(document: Document) -> Folder:
    kind, state = document.get("kind"), document.get("state")
    return Folder(
        next((each for each in Kind if each.value == kind), None),
        first_name(document),
        next((each for each in State if each.value == state), None),
    )


def _keys(documents: Iterable[Document], field: str) -> set[Hashable]:
    return {same(each[field]) for each in documents}


def _number(value: object) -> float:
    return value if isinstance(value, int | float) and math.isfinite(value) else -1


def _age(newest: object, now: datetime) -> float:
    if not isinstance(newest, ObjectId):
        return float("inf")
    return (now - newest.generation_time).total_seconds()
