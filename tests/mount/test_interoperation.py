"""Both ways with the official rules of GridFS: what drivers store is read, what is damaged is told.

The stored files of `SPECIFIED` are those of the specification's own tests of downloads
(gridfs/tests/download.yml), with chunks of 4 bytes.
"""

import datetime
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bson import Binary, ObjectId
from gridfs import GridFSBucket
from gridfs.errors import CorruptGridFile
from pymongo.database import Database

from tests.mounting import Mounted, assert_healthy_log, eventually, mounted, run_command
from tests.store.lakes import raw

CHUNK = 4096
DATA = bytes(range(256)) * 40  # two chunks and a half

SPECIFIED: dict[str, tuple[dict[str, Any], list[bytes]]] = {
    "length-0": ({"length": 0}, []),
    "length-0-with-empty-chunk": ({"length": 0}, [b""]),
    "length-2": ({"length": 2, "md5": "8e8a6c1b"}, [b"\x11\x22"]),
    "length-8": (
        {"length": 8, "contentType": "text/plain", "aliases": ["a"]},
        [b"\x11\x22\x33\x44", b"\x55\x66\x77\x88"],
    ),
    "length-10": (
        {"length": 10, "metadata": {}},
        [b"\x11\x22\x33\x44", b"\x55\x66\x77\x88", b"\x99\xaa"],
    ),
}


@pytest.fixture(scope="module")
def lake(
    mongod: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Mounted, Database[dict[str, Any]]]]:
    """One mount for all tests here, and its database."""
    uri = mongod.uri_for(f"lake_{ObjectId()}")
    with raw(uri) as database:
        with mounted(uri, tmp_path_factory.mktemp("lake"), "--chunk-size", "4KiB") as mount:
            yield mount, database
        database.client.drop_database(database.name)
    assert_healthy_log(mount)


def shown(path: Path) -> bytes:
    eventually(path.exists, f"{path} is adopted")
    return path.read_bytes()


def test_the_files_of_the_specification_are_read(
    lake: tuple[Mounted, Database[dict[str, Any]]],
) -> None:
    mount, database = lake
    for name, (fields, chunks) in SPECIFIED.items():
        key = ObjectId()
        for n, data in enumerate(chunks):
            database["fs.chunks"].insert_one({"files_id": key, "n": n, "data": Binary(data)})
        date = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
        database["fs.files"].insert_one(
            {"_id": key, "chunkSize": 4, "uploadDate": date, "filename": name, **fields}
        )
    for name, (_, chunks) in SPECIFIED.items():
        assert shown(mount.path / "unsorted" / name) == b"".join(chunks)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_the_same_bytes_both_ways(
    lake: tuple[Mounted, Database[dict[str, Any]]], size: int
) -> None:
    mount, database = lake
    data = (DATA * 2)[:size]
    bucket = GridFSBucket(database, chunk_size_bytes=CHUNK)
    version = mount.version("datasets/ways/v1")
    theirs = bucket.upload_from_stream(f"datasets/ways/v1/theirs-{size}", data)
    (version / f"ours-{size}").write_bytes(data)
    assert shown(version / f"theirs-{size}") == data
    if size == 0:
        return  # an empty file of the mount has no content
    stream = bucket.open_download_stream_by_name(f"datasets/ways/v1/ours-{size}")
    assert stream.read() == data

    def shape(key: Any) -> list[Any]:
        found = database["fs.chunks"].find({"files_id": key}).sort("n")
        return [(set(each), type(each["n"]), each["n"], each["data"]) for each in found]

    assert shape(stream._id) == shape(theirs)  # as a driver cuts it


def drop(database: Database[dict[str, Any]], key: Any) -> None:
    database["fs.chunks"].delete_one({"files_id": key, "n": 1})


def drop_last(database: Database[dict[str, Any]], key: Any) -> None:
    database["fs.chunks"].delete_one({"files_id": key, "n": 2})


def shorten(database: Database[dict[str, Any]], key: Any) -> None:
    database["fs.chunks"].update_one({"files_id": key, "n": 1}, {"$set": {"data": b"short"}})


def lengthen_last(database: Database[dict[str, Any]], key: Any) -> None:
    change = {"$set": {"data": bytes(len(DATA) - 2 * CHUNK + 1)}}
    database["fs.chunks"].update_one({"files_id": key, "n": 2}, change)


def add(database: Database[dict[str, Any]], key: Any) -> None:
    database["fs.chunks"].insert_one({"files_id": key, "n": 3, "data": b"extra"})


DAMAGE: dict[str, tuple[Callable[[Database[dict[str, Any]], Any], None], str]] = {
    "a missing chunk": (drop, "missing chunk"),
    "a missing last chunk": (drop_last, "missing chunk"),
    "a short chunk": (shorten, "wrong length"),
    "a long last chunk": (lengthen_last, "wrong length"),
    "an extra chunk": (add, "extra chunk"),
}


def test_what_breaks_the_rules_is_an_error_for_both_and_named_by_check(
    lake_uri: str, tmp_path: Path
) -> None:
    with raw(lake_uri) as database, mounted(lake_uri, tmp_path, "--chunk-size", "4KiB") as mount:
        bucket = GridFSBucket(database, chunk_size_bytes=CHUNK)
        version = mount.version("datasets/d/v1")
        keys: dict[str, tuple[Any, str]] = {}
        for what, (damage, fault) in DAMAGE.items():
            for writer in ("theirs", "ours"):
                filename = f"datasets/d/v1/{writer} with {what}"
                if writer == "theirs":
                    bucket.upload_from_stream(filename, DATA)
                else:
                    (mount.path / filename).write_bytes(DATA)
                keys[filename] = (bucket.open_download_stream_by_name(filename)._id, fault)
                eventually((mount.path / filename).exists, f"{filename} is there")
                damage(database, keys[filename][0])
        assert len(list(version.iterdir())) == len(keys)
        for filename, (key, fault) in keys.items():
            if fault != "extra chunk":
                with pytest.raises(OSError, match="Input/output"):
                    (mount.path / filename).read_bytes()
            with pytest.raises(CorruptGridFile):
                bucket.open_download_stream(key).read()
    checked = run_command("check", lake_uri, "--data", "--json")
    assert checked.returncode == 1
    found = {
        (finding["path"], finding["content"], finding["fault"])
        for finding in json.loads(checked.stdout)["findings"]
    }
    assert {(name, str(key), fault) for name, (key, fault) in keys.items()} <= found
