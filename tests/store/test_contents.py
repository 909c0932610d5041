"""Contents: right bytes or an error, never wrong bytes."""

import uuid
from collections.abc import Iterable
from typing import Any

import pytest
from bson import Binary, Decimal128, Int64, ObjectId, Timestamp
from bson.binary import UuidRepresentation
from gridfs import GridFSBucket
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridfsmount.core.chunks import runs
from gridfsmount.core.model import Content, ContentId, Node
from gridfsmount.errors import Damaged
from gridfsmount.store.encoding import content_id, content_key
from gridfsmount.store.lake import Lake
from tests.store.lakes import CHUNK, Garden, one_deployment, raw

pytestmark = one_deployment

DATA = bytes(range(256)) * 11  # chunks of 1024, 1024 and 768 bytes


@pytest.fixture
def node(garden: Garden) -> Node:
    return garden.file(garden.version(), "a", DATA)


@pytest.fixture
def content(store: Lake, node: Node) -> Content:
    assert node.content is not None
    return store.contents.get(node.content)


def chunks(lake: Lake) -> Any:
    return lake.connection.collection("chunks")


@given(first=st.integers(0, 2), count=st.integers(1, 3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_range_of_chunks_is_read(store: Lake, content: Content, first: int, count: int) -> None:
    past = min(first + count, 3)
    assert b"".join(store.contents.read(content, first, past)) == DATA[first * CHUNK : past * CHUNK]


DAMAGE: dict[str, Any] = {
    "short": {"$set": {"data": DATA[:1023]}},
    "long": {"$set": {"data": DATA[:1025]}},
    "empty": {"$set": {"data": b""}},
    "altered": {"$set": {"data": bytes(1024)}},
    "no bytes": {"$set": {"data": "x" * 1024}},
    "no data": {"$unset": {"data": ""}},
    "null": {"$set": {"data": None}},
    "number": {"$set": {"n": 1.5}},
    "missing": {"$set": {"files_id": "lost"}},
}


def test_a_damaged_chunk_is_never_served(store: Lake, garden: Garden) -> None:
    version = garden.version()
    for how, change in DAMAGE.items():
        node = garden.file(version, how, DATA)
        assert node.content is not None
        content = store.contents.get(node.content)
        chunk = {"files_id": ObjectId(str(content.id)), "n": 1}
        assert chunks(store).update_one(chunk, change).modified_count == 1
        with pytest.raises(Damaged, match=str(content.id)):
            store.contents.read(content, 0, 3)
        with pytest.raises(Damaged):
            store.contents.read(content, 1, 2)
        assert store.contents.read(content, 0, 1) == [DATA[:CHUNK]]
        assert store.contents.read(content, 2, 3) == [DATA[2 * CHUNK :]]


def test_a_chunk_that_is_there_twice_is_damage(store: Lake, content: Content) -> None:
    chunks(store).drop_index("files_id_1_n_1")
    double = chunks(store).find_one({"n": 1}, {"_id": 0})
    chunks(store).insert_one(double)
    with pytest.raises(Damaged):
        store.contents.read(content, 0, 3)
    with pytest.raises(Damaged):
        store.contents.read(content, 1, 2)


def test_a_missing_files_document_is_damage(store: Lake, content: Content) -> None:
    store.contents.hide(content.id)
    with pytest.raises(Damaged, match="missing"):
        store.contents.get(content.id)
    assert not store.contents.exists(content.id)
    assert store.contents.read(content, 0, 3) == [
        DATA[:CHUNK],
        DATA[CHUNK : 2 * CHUNK],
        DATA[2 * CHUNK :],
    ]


def test_a_chunk_written_again_replaces_the_first(store: Lake, garden: Garden, node: Node) -> None:
    content = garden.upload(node, DATA)
    store.contents.put_chunks(content.id, [(1, b"x" * CHUNK), (3, b"new")])
    plain = Content(content.id, 3 * CHUNK + 3, CHUNK)
    assert store.contents.read(plain, 1, 2) == [b"x" * CHUNK]
    assert store.contents.read(plain, 3, 4) == [b"new"]
    assert chunks(store).count_documents({"n": 1}) == 2  # one of each content


@given(numbers=st.sets(st.integers(0, 2)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_chunks_are_copied_inside_the_server(
    store: Lake, content: Content, numbers: set[int]
) -> None:
    target = store.contents.new_id()
    store.contents.put_chunks(target, [(1, b"old" * 100)])
    store.contents.copy_chunks(content.id, target, list(runs(iter(sorted(numbers)))))
    copied = numbers
    found = {each["n"]: each for each in chunks(store).find({"files_id": ObjectId(str(target))})}
    assert set(found) == copied | {1}
    for n in copied:
        assert found[n]["data"] == DATA[n * CHUNK : (n + 1) * CHUNK]
        assert type(found[n]["n"]) is int
        assert isinstance(found[n]["_id"], ObjectId)
    if 1 not in copied:
        assert found[1]["data"] == b"old" * 100
    assert len({each["_id"] for each in chunks(store).find()}) == chunks(store).count_documents({})
    store.contents.erase(target)


def test_chunks_that_are_gone_are_not_copied_in_silence(store: Lake, content: Content) -> None:
    chunks(store).delete_one({"files_id": ObjectId(str(content.id)), "n": 1})
    with pytest.raises(Damaged, match="write all anew"):
        store.contents.copy_chunks(content.id, store.contents.new_id(), [(0, 3)])


def test_trimming_keeps_what_is_before(store: Lake, garden: Garden, node: Node) -> None:
    content = garden.upload(node, DATA)
    store.contents.trim_chunks(content.id, 2)
    assert len(store.contents.read(content, 0, 2)) == 2
    with pytest.raises(Damaged):
        store.contents.read(content, 2, 3)


def test_publishing_again_takes_the_newer_path(store: Lake, content: Content) -> None:
    store.contents.publish(content, "elsewhere")
    (document,) = store.connection.collection("files").find()
    assert document["filename"] == document["metadata"]["lake"]["filename"] == "elsewhere"
    assert store.contents.get(content.id) == content


IDS: list[Any] = [
    *(7, Int64(1 << 40), 7.5, "seven", "", "ü/.. 😀", True, b"bytes", Binary(b"\0\xff", 128)),
    Binary.from_uuid(uuid.UUID(int=7)),
    Binary.from_uuid(uuid.UUID(int=7), UuidRepresentation.PYTHON_LEGACY),
    {"a": 7, "b": {"c": [1, 2]}},
    {},
    Decimal128("8.5"),
    Timestamp(7, 7),
]


def test_a_content_of_any_id_is_read_copied_renamed_and_erased(store: Lake, any_uri: str) -> None:
    with raw(any_uri) as database:
        bucket = GridFSBucket(database, chunk_size_bytes=CHUNK)
        for number, identity in enumerate(IDS):
            bucket.upload_from_stream_with_id(identity, f"{number}", DATA)
        uploads = {each.filename: each for each in store.foreign.unmarked()}
        for number, identity in enumerate(IDS):
            upload = uploads[f"{number}"]
            assert upload.id == content_id(identity)
            content = store.contents.get(upload.id)
            assert b"".join(store.contents.read(content, 0, 3)) == DATA
            target = Content(store.contents.new_id(), len(DATA), CHUNK)
            store.contents.copy_chunks(content.id, target.id, [(0, 3)])
            assert b"".join(store.contents.read(target, 0, 3)) == DATA
            store.contents.rename(content.id, "renamed")
            assert bucket.open_download_stream_by_name("renamed").read() == DATA
            store.contents.erase(content.id)
            store.contents.erase(target.id)
            left = len(IDS) - number - 1
            assert database["fs.files"].count_documents({}) == left
            assert database["fs.chunks"].count_documents({}) == 3 * left


def test_a_folders_name_is_no_pattern(store: Lake, garden: Garden) -> None:
    version = garden.version()
    for name in ("$HOME", "$$ROOT", "a.b", "a+b", "x" * 200, "ü" * 100):
        folder = garden.folder(version, name)
        garden.file(folder, "$f", DATA)
        store.contents.rename_folder(f"datasets/test/v1/{name}", f"models/$x/{name}")
        names = {each["filename"] for each in store.connection.collection("files").find()}
        assert f"models/$x/{name}/$f" in names
    assert not any(name.startswith("datasets") for name in names)


def test_a_path_is_no_expression(store: Lake, content: Content) -> None:
    store.contents.rename(content.id, "$filename")
    (document,) = store.connection.collection("files").find()
    assert document["filename"] == document["metadata"]["lake"]["filename"] == "$filename"


# Many at once


def uploads(garden: Garden, version: Node, *sizes: int) -> list[Content]:
    """Contents of files of these sizes."""
    found = []
    for index, size in enumerate(sizes):
        node = garden.file(version, f"{index}", bytes([index + 1]) * size)
        assert node.content is not None
        found.append(garden.lake.contents.get(node.content))
    return found


def by_id(contents: Iterable[Content]) -> dict[ContentId, Content]:
    return {each.id: each for each in contents}


def test_many_files_documents_are_read_at_once(store: Lake, garden: Garden) -> None:
    contents = uploads(garden, garden.version(), *range(1, 300, 7))
    wanted = contents[::2]
    found = store.contents.get_many([each.id for each in wanted])
    assert by_id(found) == by_id(wanted)
    assert len(found) == len(wanted)


def test_those_that_are_missing_or_make_no_sense_are_left_out(store: Lake, garden: Garden) -> None:
    gone, broken, good = uploads(garden, garden.version(), 10, 20, 30)
    store.contents.hide(gone.id)
    files = store.connection.collection("files")
    files.update_one({"length": 20}, {"$set": {"chunkSize": "large"}})
    assert store.contents.get_many([each.id for each in (gone, broken, good)]) == [good]


def test_nothing_is_read_for_nothing(store: Lake, content: Content) -> None:
    assert store.contents.get_many([]) == []
    assert store.contents.read_whole([]) == []


def test_many_small_contents_are_read_whole_at_once(store: Lake, garden: Garden) -> None:
    sizes = [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5]
    contents = uploads(garden, garden.version(), *sizes)
    found = dict(store.contents.read_whole(contents))
    assert set(found) == set(contents)
    for index, content in enumerate(contents):
        past = -(-content.length // CHUNK)
        assert found[content] == store.contents.read(content, 0, past)
        assert b"".join(found[content]) == bytes([index + 1]) * sizes[index]


def test_an_empty_content_is_whole_without_chunks(store: Lake, content: Content) -> None:
    empty = Content(content_id("empty"), 0, CHUNK)
    assert dict(store.contents.read_whole([empty, content]))[empty] == []


def test_contents_with_damage_are_left_out_and_the_others_read(store: Lake, garden: Garden) -> None:
    contents = uploads(garden, garden.version(), *[3 * CHUNK] * (len(DAMAGE) + 2))
    for content, change in zip(contents, DAMAGE.values(), strict=False):
        chunk = {"files_id": content_key(content.id), "n": 1}
        assert chunks(store).update_one(chunk, change).modified_count == 1
    whole, longer = contents[-2:]
    chunks(store).insert_one({"files_id": content_key(longer.id), "n": 3, "data": b"more"})
    found = store.contents.read_whole(contents)
    assert found == [(whole, [bytes([len(DAMAGE) + 1]) * CHUNK] * 3)]


def test_contents_of_any_id_are_read_at_once(store: Lake, any_uri: str) -> None:
    with raw(any_uri) as database:
        bucket = GridFSBucket(database, chunk_size_bytes=CHUNK)
        for number, identity in enumerate(IDS):
            bucket.upload_from_stream_with_id(identity, f"{number}", DATA + bytes([number]))
    wanted = [content_id(identity) for identity in IDS]
    found = by_id(store.contents.get_many(wanted))
    assert set(found) == set(wanted)
    whole = dict(store.contents.read_whole(list(found.values())))
    for number, identity in enumerate(wanted):
        assert b"".join(whole[found[identity]]) == DATA + bytes([number])


def test_a_content_that_is_asked_for_twice_comes_once_or_twice(
    store: Lake, content: Content
) -> None:
    assert store.contents.get_many([content.id, content.id]) == [content]
    assert dict(store.contents.read_whole([content, content])) == {
        content: store.contents.read(content, 0, 3)
    }


def test_settled_contents_come_from_the_primary_unless_told_otherwise(
    store: Lake, content: Content
) -> None:
    assert b"".join(store.contents.read(content, 0, 3, settled=True)) == DATA
