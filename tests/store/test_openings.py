"""Opening a file in one round trip: what comes is right, and what is odd costs only the trip."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from bson import Binary, Int64, Regex
from gridfs import GridFSBucket
from pymongo.collection import Collection

from gridfsmount.core.model import Inode, Node
from gridfsmount.errors import Damaged
from gridfsmount.store.connection import connect
from gridfsmount.store.encoding import content_id, content_key, encode_node
from gridfsmount.store.lake import Founder, Lake, open_lake
from gridfsmount.store.openings import WHOLE_BYTES, Opening
from tests.store.lakes import CHUNK, Garden, bare, one_deployment, raw

DATA = bytes(range(256)) * 11  # chunks of 1024, 1024 and 768 bytes
PIECES = [DATA[:CHUNK], DATA[CHUNK : 2 * CHUNK], DATA[2 * CHUNK :]]


@pytest.fixture
def version(garden: Garden) -> Node:
    return garden.version()


def collection(lake: Lake, name: str) -> Collection[Any]:
    return lake.connection.collection(name)


def opened(lake: Lake, inode: int, *, whole: bool = True) -> Opening:
    opening = lake.openings.open(Inode(inode), whole=whole)
    assert opening is not None
    return opening


def plant(lake: Lake, identity: Any, size: int = len(DATA)) -> int:
    """A file that shows the content with some `_id`, as adoption makes one."""
    inode = lake.tree.allocate(1)[0]
    document = encode_node(bare(inode, (5, f"planted-{inode}"), version=5))
    document.update(content=identity, size=Int64(size))
    collection(lake, "tree").insert_one(document)
    return inode


def test_a_small_file_comes_with_its_content_and_bytes(
    store: Lake, garden: Garden, version: Node
) -> None:
    garden.file(version, "other", b"other" * 1000)
    node = garden.file(version, "a", DATA)
    assert node.content is not None
    opening = opened(store, node.inode)
    assert opening.node == store.tree.get(node.inode)
    assert opening.content == store.contents.get(node.content)
    assert opening.chunks == PIECES


def test_without_being_asked_for_no_bytes_come(store: Lake, garden: Garden, version: Node) -> None:
    node = garden.file(version, "a", DATA)
    opening = opened(store, node.inode, whole=False)
    assert opening.content is not None
    assert opening.chunks is None


@one_deployment
@pytest.mark.parametrize(("size", "comes"), [(WHOLE_BYTES, True), (WHOLE_BYTES + 1, False)])
def test_bytes_come_up_to_a_size(
    store: Lake, garden: Garden, version: Node, size: int, comes: bool
) -> None:
    data = bytes(size)
    node = garden.file(version, "a", data)
    opening = opened(store, node.inode)
    assert opening.content is not None
    assert opening.content.length == size
    assert (opening.chunks is not None) == comes
    if opening.chunks is not None:
        assert b"".join(opening.chunks) == data


def test_an_empty_file_has_no_content(store: Lake, garden: Garden, version: Node) -> None:
    node = garden.file(version, "a")
    assert opened(store, node.inode) == Opening(node, None)


@one_deployment
def test_an_empty_file_has_no_content_though_others_left_null_behind(
    store: Lake, garden: Garden, version: Node
) -> None:
    node = garden.file(version, "a")
    collection(store, "files").insert_one({"_id": None, "length": 1, "chunkSize": 1})
    collection(store, "chunks").insert_many([{"n": 0, "data": b"x"}, {"files_id": None, "n": 1}])
    assert opened(store, node.inode) == Opening(node, None)


def test_what_is_not_there_is_none(store: Lake) -> None:
    assert store.openings.open(Inode(999_999), whole=True) is None
    assert store.openings.open(Inode(999_999), whole=False) is None


def test_what_is_no_file_has_no_content(store: Lake, version: Node) -> None:
    node = store.tree.get(version.inode)
    assert node is not None
    assert opened(store, version.inode) == Opening(node, None)


@one_deployment
def test_a_content_that_is_missing_is_none(store: Lake, garden: Garden, version: Node) -> None:
    node = garden.file(version, "a", DATA)
    assert node.content is not None
    store.contents.hide(node.content)
    opening = opened(store, node.inode)
    assert (opening.node.content, opening.content, opening.chunks) == (node.content, None, None)


@one_deployment
def test_a_files_document_that_makes_no_sense_is_damage(
    store: Lake, garden: Garden, version: Node
) -> None:
    node = garden.file(version, "a", DATA)
    collection(store, "files").update_one({}, {"$set": {"length": "long"}})
    with pytest.raises(Damaged):
        store.openings.open(node.inode, whole=True)


@one_deployment
@pytest.mark.parametrize(
    "change",
    [
        {"$set": {"data": bytes(CHUNK)}},
        {"$set": {"data": b"short"}},
        {"$unset": {"data": ""}},
        {"$set": {"n": 7}},
        {"$set": {"n": "one"}},
        {"$unset": {"n": ""}},
        {"$set": {"files_id": "lost"}},
    ],
    ids=str,
)
def test_damaged_chunks_are_left_to_the_read_that_meets_them(
    store: Lake, garden: Garden, version: Node, change: dict[str, Any]
) -> None:
    node = garden.file(version, "a", DATA)
    assert node.content is not None
    assert collection(store, "chunks").update_one({"n": 1}, change).modified_count == 1
    opening = opened(store, node.inode)
    assert opening.content == store.contents.get(node.content)
    assert opening.chunks is None


@one_deployment
def test_a_chunk_too_many_is_damage(store: Lake, garden: Garden, version: Node) -> None:
    node = garden.file(version, "a", DATA)
    (chunk,) = collection(store, "chunks").find({"n": 0}, {"_id": 0})
    collection(store, "chunks").insert_one({**chunk, "n": 3})
    assert opened(store, node.inode).chunks is None


IDS: list[Any] = [
    *(7, Int64(1 << 40), 7.5, "seven", "", "$_id", "ü/.. 😀", True, b"bytes"),
    Binary.from_uuid(uuid.UUID(int=7)),
    {"a": 7, "b": {"c": [1, 2]}},
]


@one_deployment
def test_a_content_of_any_id_comes(store: Lake, any_uri: str) -> None:
    with raw(any_uri) as database:
        bucket = GridFSBucket(database, chunk_size_bytes=CHUNK)
        for number, identity in enumerate(IDS):
            data = DATA + bytes([number])
            bucket.upload_from_stream_with_id(identity, f"{number}", data)
            inode = plant(store, identity, len(data))
            opening = opened(store, inode)
            assert opening.content is not None, identity
            assert opening.content.id == opening.node.content == content_id(identity)
            assert opening.chunks is not None, identity
            assert b"".join(opening.chunks) == data


@one_deployment
@pytest.mark.parametrize("identity", [Regex("even"), [7, 8]])
def test_an_id_that_a_query_takes_for_a_question_matches_nothing(
    store: Lake, any_uri: str, identity: object
) -> None:
    with raw(any_uri) as database:
        bucket = GridFSBucket(database, chunk_size_bytes=CHUNK)
        for other in ("seven", 7):
            bucket.upload_from_stream_with_id(other, str(other), b"wrong" * 100)
        # The server takes neither as `_id`; chunks may name a pattern all the same.
        if isinstance(identity, Regex):
            database["fs.chunks"].insert_one({"files_id": identity, "n": 0, "data": b"x" * 500})
        with pytest.raises(Damaged):
            opened(store, plant(store, identity, 500))
        for other in ("seven", 7):
            assert opened(store, plant(store, other, 500)).chunks == [b"wrong" * 100]


@one_deployment
def test_chunks_too_large_to_be_joined_are_left_out(
    store: Lake, garden: Garden, version: Node
) -> None:
    node = garden.file(version, "a", DATA)
    assert node.content is not None
    key = content_key(node.content)
    for n in range(3, 20):
        chunk = {"files_id": key, "n": n, "data": bytes(1 << 20)}
        collection(store, "chunks").insert_one(chunk)
    opening = opened(store, node.inode)
    assert opening == Opening(opening.node, store.contents.get(node.content), None)


@one_deployment
@pytest.mark.parametrize(
    "whole",
    [True, False],
)
def test_documents_too_large_to_be_joined_are_asked_for_one_by_one(
    any_uri: str, garden: Garden, version: Node, whole: bool
) -> None:
    node = garden.file(version, "a", DATA)
    # Each fits into a document of 16 MiB, both do not.
    large = bytes(17 << 19)
    xattrs = [{"name": "user.x", "value": large}]
    collection(garden.lake, "tree").update_one({"_id": node.inode}, {"$set": {"xattrs": xattrs}})
    collection(garden.lake, "files").update_one({}, {"$set": {"metadata.foreign": large}})
    with opened_lake(any_uri, deadline=2.0) as lake:
        opening = opened(lake, node.inode, whole=whole)
    assert opening.content is not None
    assert opening.content.length == len(DATA)
    assert opening.node.xattrs["user.x"] == large


@contextmanager
def opened_lake(uri: str, *, deadline: float) -> Iterator[Lake]:
    connection = connect(uri, bucket="fs", deadline=deadline)
    try:
        yield open_lake(connection, lease_seconds=300, founder=Founder(0, 0))
    finally:
        connection.close()
