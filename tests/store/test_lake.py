"""Opening a lake: it is complete, whoever comes first and however often."""

from typing import Any

import pytest
from bson import Int64
from gridfs import GridFSBucket
from pymongo.database import Database

from gridfsmount.core.model import AREAS, FIRST_FREE_INODE, ROOT, Kind
from gridfsmount.errors import LakeFormatError
from gridfsmount.store.lake import LAKE_FORMAT, Lake
from tests.store.lakes import at_once, opened, raw


def everything(database: Database[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    return {
        name: sorted(database[name].find(), key=lambda document: str(document["_id"]))
        for name in sorted(database.list_collection_names())
    }


def indexes(database: Database[dict[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    found = database[name].index_information()
    return {
        each: {key: value for key, value in found[each].items() if key != "v"} for each in found
    }


def test_the_indexes_are_those_of_the_format(store: Lake, any_uri: str) -> None:
    identity = {"_id_": {"key": [("_id", 1)]}}
    with raw(any_uri) as database:
        assert indexes(database, "fs.files") == identity | {
            "filename_1_uploadDate_1": {"key": [("filename", 1), ("uploadDate", 1)]},
            "lake_format": {"key": [("metadata.lake.format", 1)]},
        }
        assert indexes(database, "fs.chunks") == identity | {
            "files_id_1_n_1": {"key": [("files_id", 1), ("n", 1)], "unique": True},
        }
        assert indexes(database, "fs.tree") == identity | {
            "names": {"key": [("names.parent", 1), ("names.name", 1)], "unique": True},
            "content": {"key": [("content", 1)], "sparse": True},
            "versions": {"key": [("created_ns", 1)], "sparse": True},
            "sealing": {"key": [("sealing.attempt", 1)], "sparse": True},
        }
        assert indexes(database, "fs.uploads") == identity | {"mount": {"key": [("mount", 1)]}}


def test_a_new_lake_has_its_folders_and_its_format(store: Lake, any_uri: str) -> None:
    for name, inode in AREAS.items():
        node = store.tree.find(ROOT, name)
        assert node is not None
        assert (node.inode, node.kind) == (inode, Kind.DIRECTORY)
    root = store.tree.get(ROOT)
    assert root is not None
    assert root.kind is Kind.DIRECTORY
    with raw(any_uri) as database:
        found = database["fs.lake"].find_one({"_id": "lake"})
        assert found is not None
        assert found["format"] == LAKE_FORMAT == 1
        assert len(found["id"]) == 32
        counter = database["fs.lake"].find_one({"_id": "inodes"})
        assert counter == {"_id": "inodes", "next": FIRST_FREE_INODE}
        assert isinstance(counter["next"], Int64)


def test_opening_again_changes_nothing(any_uri: str) -> None:
    with opened(any_uri) as first, raw(any_uri) as database:
        first.tree.allocate(10)
        before = everything(database)
        with opened(any_uri):
            pass
        assert everything(database) == before


def test_many_may_open_a_new_lake_at_once(any_uri: str) -> None:
    def once() -> str:
        with opened(any_uri) as lake:
            return lake.mount

    mounts = at_once(*[once] * 6)
    assert [each for each in mounts if isinstance(each, Exception)] == []
    assert len(set(mounts)) == 6
    with raw(any_uri) as database:
        assert database["fs.tree"].count_documents({}) == len(AREAS) + 1
        assert database["fs.lake"].count_documents({}) == 2
        assert len(indexes(database, "fs.tree")) == 5


def test_a_bucket_that_a_driver_made_keeps_its_indexes(any_uri: str) -> None:
    with raw(any_uri) as database:
        GridFSBucket(database).upload_from_stream("x", b"data")
        before = indexes(database, "fs.chunks")
        with opened(any_uri):
            assert indexes(database, "fs.chunks") == before
            assert set(indexes(database, "fs.files")) == {
                *("_id_", "filename_1_uploadDate_1", "lake_format")
            }


def test_indexes_of_shells_with_doubles_are_taken(any_uri: str) -> None:
    with raw(any_uri) as database:
        for name, *fields in (("chunks", "files_id", "n"), ("files", "filename", "uploadDate")):
            index = {"name": "from_a_shell", "key": dict.fromkeys(fields, 1.0)}
            unique = {"unique": True} if name == "chunks" else {}
            database.command("createIndexes", f"fs.{name}", indexes=[index | unique])
        with opened(any_uri):
            assert len(indexes(database, "fs.chunks")) == 2
            assert len(indexes(database, "fs.files")) == 3


def test_a_newer_format_is_refused_and_left_alone(any_uri: str) -> None:
    with raw(any_uri) as database:
        database["fs.lake"].insert_one({"_id": "lake", "format": LAKE_FORMAT + 1})
        with pytest.raises(LakeFormatError, match="upgrade"), opened(any_uri):
            pass
        assert database.list_collection_names() == ["fs.lake"]


def test_another_programs_collection_is_refused(any_uri: str) -> None:
    with raw(any_uri) as database:
        for found in (None, "1", 0, -1, True, [1]):
            database["fs.lake"].replace_one({"_id": "lake"}, {"format": found}, upsert=True)
            with pytest.raises(LakeFormatError, match="another program"), opened(any_uri):
                pass


def test_chunks_that_break_the_rules_are_told(any_uri: str) -> None:
    with raw(any_uri) as database:
        database["fs.chunks"].insert_many([{"files_id": 1, "n": 0}, {"files_id": 1, "n": 0}])
        with pytest.raises(LakeFormatError, match="index"), opened(any_uri):
            pass


def test_a_reader_makes_nothing(any_uri: str) -> None:
    with raw(any_uri) as database:
        with pytest.raises(LakeFormatError, match="no lake"), opened(any_uri, read_only=True):
            pass
        assert database.list_collection_names() == []


def test_a_reader_opens_what_a_writer_made(store: Lake, any_uri: str) -> None:
    with opened(any_uri, read_only=True) as lake:
        assert lake.tree.get(ROOT) == store.tree.get(ROOT)
