"""What the mount writes satisfies the GridFS specification to the letter.

Source: "GridFS Spec" of the MongoDB driver specifications; "Terms", "Files collection document",
"Chunks collection document" and "Indexes" there.
"""

import contextlib
import hashlib
import itertools
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import Int64, ObjectId
from gridfs import GridFS, GridFSBucket, NoFile
from pymongo import MongoClient
from pymongo.database import Database

from tests.mongod import Mongod
from tests.mounting import Mounted, assert_healthy_log, eventually

CHUNK = 64 << 10
SMALL = random.Random(1).randbytes(3 * CHUNK + 1000)
OTHER = random.Random(2).randbytes(2 * CHUNK)  # full chunks only
LARGE = random.Random(3).randbytes((10 << 20) + 12345)
"""More than a writer keeps in memory."""

_numbers = itertools.count()


@dataclass(frozen=True)
class Lake:
    """A mount, and its database as any driver sees it."""

    mount: Mounted
    database: Database[dict[str, Any]]

    @property
    def bucket(self) -> GridFSBucket:
        return GridFSBucket(self.database)

    def version(self) -> tuple[Path, str]:
        """A new version, and what its paths begin with in the database."""
        name = f"datasets/x{next(_numbers)}/v1"
        return self.mount.version(name), name

    def documents(self, prefix: str) -> dict[str, dict[str, Any]]:
        found = list(self.database["fs.files"].find({"filename": {"$regex": f"^{prefix}/"}}))
        assert len({each["filename"] for each in found}) == len(found)
        return {each["filename"].removeprefix(f"{prefix}/"): each for each in found}

    def chunks(self, content: Any) -> list[dict[str, Any]]:
        return list(self.database["fs.chunks"].find({"files_id": content}).sort("n", 1))


@pytest.fixture(scope="module", params=["replica set", "standalone"])
def lake(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lake]:
    """One mount for all tests here, each in a version of its own."""
    name = "mongod" if request.param == "replica set" else "standalone"
    server: Mongod = request.getfixturevalue(name)
    uri = server.uri_for("lake_by_the_letter")
    folder = tmp_path_factory.mktemp("lake")
    client: MongoClient[dict[str, Any]] = MongoClient(uri)
    with client, Mounted(uri, folder, "--chunk-size", "64KiB") as mount:
        try:
            yield Lake(mount, client.get_default_database())
        finally:
            mount.stop()
            client.drop_database("lake_by_the_letter")
    assert_healthy_log(mount)


def assert_by_the_letter(
    lake: Lake, prefix: str, name: str, data: bytes, chunk_size: int = CHUNK
) -> dict[str, Any]:
    """One content, its documents exact, and its bytes what drivers read."""
    document = lake.documents(prefix)[name]
    path = f"{prefix}/{name}"
    assert set(document) == {"_id", "length", "chunkSize", "uploadDate", "filename", "metadata"}
    assert type(document["_id"]) is ObjectId
    assert type(document["length"]) is Int64
    assert document["length"] == len(data)
    assert type(document["chunkSize"]) is int  # what pymongo makes of an int32
    assert document["chunkSize"] == chunk_size
    assert type(document["uploadDate"]) is datetime
    age = datetime.now(UTC).replace(tzinfo=None) - document["uploadDate"]
    assert timedelta(seconds=-5) < age < timedelta(minutes=5)
    assert type(document["filename"]) is str
    assert set(document["metadata"]) == {"lake"}

    chunks = lake.chunks(document["_id"])
    assert [chunk["n"] for chunk in chunks] == list(range(-(-len(data) // chunk_size)))
    for chunk in chunks:
        assert set(chunk) == {"_id", "files_id", "n", "data"}
        assert type(chunk["_id"]) is ObjectId
        assert type(chunk["files_id"]) is ObjectId
        assert type(chunk["n"]) is int
        assert type(chunk["data"]) is bytes  # what pymongo makes of subtype 0
    assert all(len(chunk["data"]) == chunk_size for chunk in chunks[:-1])
    assert b"".join(chunk["data"] for chunk in chunks) == data

    assert lake.bucket.open_download_stream_by_name(path).read() == data
    assert lake.bucket.open_download_stream(document["_id"]).read() == data
    assert GridFS(lake.database).get_last_version(path).read() == data
    return document


def assert_hidden(lake: Lake, prefix: str, name: str) -> None:
    with pytest.raises(NoFile):
        lake.bucket.open_download_stream_by_name(f"{prefix}/{name}")


def assert_no_stray_chunks(lake: Lake) -> None:
    """Every chunk belongs to a content, to one in the trash, or to one that is being written."""

    def stray() -> set[Any]:
        found = set(lake.database["fs.chunks"].distinct("files_id"))
        for name in ("files", "trash", "uploads"):
            found -= set(lake.database[f"fs.{name}"].distinct("_id"))
        return found

    eventually(lambda: not stray(), "all chunks belong to a content")


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_file_is_a_gridfs_file(lake: Lake, size: int) -> None:
    folder, prefix = lake.version()
    (folder / "train.bin").write_bytes(SMALL[:size])
    assert_by_the_letter(lake, prefix, "train.bin", SMALL[:size])


def test_a_large_file_is_a_gridfs_file(lake: Lake) -> None:
    folder, prefix = lake.version()
    (folder / "train.bin").write_bytes(LARGE)
    assert_by_the_letter(lake, prefix, "train.bin", LARGE)
    assert_no_stray_chunks(lake)


def test_an_empty_file_has_no_chunks(lake: Lake) -> None:
    folder, prefix = lake.version()
    before = lake.database["fs.chunks"].count_documents({})
    (folder / "empty").touch()
    (folder / "written").write_bytes(b"")
    assert lake.database["fs.chunks"].count_documents({}) == before
    assert lake.documents(prefix) == {}


def test_the_indexes_are_the_standard_ones(lake: Lake) -> None:
    lake.version()[0].joinpath("x").write_bytes(b"x")
    files = lake.database["fs.files"].index_information()
    assert files["filename_1_uploadDate_1"]["key"] == [("filename", 1), ("uploadDate", 1)]
    assert set(files) == {"_id_", "filename_1_uploadDate_1", "lake_format"}
    chunks = lake.database["fs.chunks"].index_information()
    assert chunks["files_id_1_n_1"]["key"] == [("files_id", 1), ("n", 1)]
    assert chunks["files_id_1_n_1"]["unique"] is True
    assert set(chunks) == {"_id_", "files_id_1_n_1"}


def test_names_of_any_script_are_filenames(lake: Lake) -> None:
    folder, prefix = lake.version()
    names = ["größe/ü.bin", "数据/训练 1.bin", "😀", "$HOME/{a}", "a\nb", "-rf"]
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(name.encode())
    for name in names:
        assert_by_the_letter(lake, prefix, name, name.encode())


def test_an_overwritten_file_is_one_new_gridfs_file(lake: Lake) -> None:
    folder, prefix = lake.version()
    (folder / "x").write_bytes(SMALL)
    before = assert_by_the_letter(lake, prefix, "x", SMALL)
    (folder / "x").write_bytes(OTHER)
    after = assert_by_the_letter(lake, prefix, "x", OTHER)
    assert after["_id"] != before["_id"]
    assert after["uploadDate"] >= before["uploadDate"]


@pytest.mark.parametrize("size", [1000, len(OTHER), len(LARGE)])
def test_an_appended_file(lake: Lake, size: int) -> None:
    folder, prefix = lake.version()
    data = LARGE[:size]
    (folder / "x").write_bytes(data)
    for _ in range(3):
        with (folder / "x").open("ab") as file:
            file.write(SMALL)
        data += SMALL
        assert_by_the_letter(lake, prefix, "x", data)
    assert_no_stray_chunks(lake)


def test_a_file_that_is_written_in_the_middle(lake: Lake) -> None:
    folder, prefix = lake.version()
    (folder / "x").write_bytes(LARGE)
    data = bytearray(LARGE)
    with (folder / "x").open("r+b") as file:
        for offset in (0, 5 * CHUNK - 3, 9 << 20, len(data) - 2):
            file.seek(offset)
            file.write(b"patch")
            data[offset : offset + 5] = b"patch"
    assert_by_the_letter(lake, prefix, "x", bytes(data))
    assert_no_stray_chunks(lake)


@pytest.mark.parametrize("source", [SMALL, LARGE], ids=["small", "large"])
def test_a_truncated_file(lake: Lake, source: bytes) -> None:
    folder, prefix = lake.version()
    (folder / "x").write_bytes(source)
    for size in (3 * CHUNK, 2 * CHUNK + 7, 5 * CHUNK, 5 * CHUNK + 3, CHUNK, 1):
        source = source[:size] + bytes(max(0, size - len(source)))
        os.truncate(folder / "x", size)
        assert_by_the_letter(lake, prefix, "x", source)
    os.truncate(folder / "x", 0)
    assert_hidden(lake, prefix, "x")
    assert_no_stray_chunks(lake)


def test_a_file_with_a_hole(lake: Lake) -> None:
    folder, prefix = lake.version()
    with (folder / "x").open("wb") as file:
        file.seek(4 * CHUNK + 100)
        file.write(b"end")
    assert_by_the_letter(lake, prefix, "x", bytes(4 * CHUNK + 100) + b"end")


def test_a_file_is_there_after_fsync(lake: Lake) -> None:
    folder, prefix = lake.version()
    with (folder / "x").open("wb") as file:
        file.write(SMALL)
        file.flush()
        os.fsync(file.fileno())
        assert_by_the_letter(lake, prefix, "x", SMALL)
        file.write(OTHER)
    assert_by_the_letter(lake, prefix, "x", SMALL + OTHER)
    assert_no_stray_chunks(lake)


def test_nothing_is_seen_before_the_file_is_closed(lake: Lake) -> None:
    folder, prefix = lake.version()
    (folder / "x").write_bytes(SMALL)
    with (folder / "x").open("wb") as file, (folder / "y").open("wb") as new:
        file.write(LARGE)
        new.write(LARGE)
        assert_by_the_letter(lake, prefix, "x", SMALL)
        assert_hidden(lake, prefix, "y")
    assert_by_the_letter(lake, prefix, "x", LARGE)
    assert_by_the_letter(lake, prefix, "y", LARGE)


def test_the_filename_follows_a_renamed_file(lake: Lake) -> None:
    folder, prefix = lake.version()
    (folder / "sub").mkdir()
    (folder / "x").write_bytes(SMALL)
    before = assert_by_the_letter(lake, prefix, "x", SMALL)
    (folder / "x").rename(folder / "sub" / "y")
    after = assert_by_the_letter(lake, prefix, "sub/y", SMALL)
    assert_hidden(lake, prefix, "x")
    assert (after["_id"], after["uploadDate"]) == (before["_id"], before["uploadDate"])


def test_the_filename_follows_into_another_version(lake: Lake) -> None:
    folder, prefix = lake.version()
    other, other_prefix = lake.version()
    (folder / "x").write_bytes(SMALL)
    (folder / "x").rename(other / "x")
    assert_by_the_letter(lake, other_prefix, "x", SMALL)
    assert_hidden(lake, prefix, "x")


def test_filenames_follow_renamed_folders_versions_and_datasets(lake: Lake) -> None:
    folder, prefix = lake.version()
    (folder / "a" / "b").mkdir(parents=True)
    for name in ("a/x", "a/b/y", "a0"):
        (folder / name).write_bytes(name.encode())
    (folder / "a").rename(folder / "ä")
    assert set(lake.documents(prefix)) == {"ä/x", "ä/b/y", "a0"}
    folder = folder.rename(folder.with_name("v2"))
    prefix = f"{prefix.removesuffix('v1')}v2"
    assert set(lake.documents(prefix)) == {"ä/x", "ä/b/y", "a0"}
    renamed = folder.parent.rename(folder.parent.with_name(f"{folder.parent.name}-renamed"))
    prefix = f"datasets/{renamed.name}/v2"
    assert set(lake.documents(prefix)) == {"ä/x", "ä/b/y", "a0"}
    moved = renamed.rename(lake.mount.path / "models" / renamed.name)
    prefix = f"models/{moved.name}/v2"
    assert_by_the_letter(lake, prefix, "ä/b/y", b"a/b/y")
    assert (moved / "v2" / "ä" / "b" / "y").read_bytes() == b"a/b/y"


def test_a_replaced_file_is_one_gridfs_file(lake: Lake) -> None:
    folder, prefix = lake.version()
    (folder / "x").write_bytes(SMALL)
    (folder / "x.tmp").write_bytes(OTHER)
    (folder / "x.tmp").replace(folder / "x")
    assert_by_the_letter(lake, prefix, "x", OTHER)
    assert set(lake.documents(prefix)) == {"x"}


def test_a_hard_link_is_seen_under_its_first_name(lake: Lake) -> None:
    folder, prefix = lake.version()
    (folder / "x").write_bytes(SMALL)
    (folder / "y").hardlink_to(folder / "x")
    assert set(lake.documents(prefix)) == {"x"}
    (folder / "y").write_bytes(OTHER)
    assert_by_the_letter(lake, prefix, "x", OTHER)
    (folder / "x").unlink()
    assert_by_the_letter(lake, prefix, "y", OTHER)


def test_a_removed_file_is_gone_for_drivers(lake: Lake) -> None:
    folder, prefix = lake.version()
    (folder / "x").write_bytes(SMALL)
    document = assert_by_the_letter(lake, prefix, "x", SMALL)
    (folder / "x").unlink()
    assert_hidden(lake, prefix, "x")
    with pytest.raises(NoFile):
        lake.bucket.open_download_stream(document["_id"])
    assert_no_stray_chunks(lake)


def test_a_removed_file_stays_readable_through_open_handles(lake: Lake) -> None:
    folder, prefix = lake.version()
    (folder / "x").write_bytes(LARGE)
    with (folder / "x").open("rb") as file:
        (folder / "x").unlink()
        assert_hidden(lake, prefix, "x")
        assert file.read() == LARGE


def test_a_file_that_was_removed_while_it_was_written_is_never_seen(lake: Lake) -> None:
    folder, prefix = lake.version()
    with (folder / "x").open("w+b") as file:
        file.write(LARGE)
        (folder / "x").unlink()
        file.seek(0)
        assert file.read() == LARGE
    assert lake.documents(prefix) == {}
    assert_no_stray_chunks(lake)


def test_nothing_is_left_of_an_upload_that_was_truncated_away(lake: Lake) -> None:
    folder, prefix = lake.version()
    with (folder / "x").open("wb") as file:
        file.write(LARGE)
        file.truncate(0)
        file.seek(0)
    assert lake.documents(prefix) == {}
    leases = lake.database["fs.uploads"]
    eventually(lambda: not leases.count_documents({}), "the lease is given back", seconds=3)


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_digest_and_content_are_told(lake: Lake, data: bytes) -> None:
    folder, prefix = lake.version()
    (folder / "x").write_bytes(data)
    document = assert_by_the_letter(lake, prefix, "x", data)
    digest = hashlib.sha256(data).hexdigest()
    assert os.getxattr(folder / "x", "user.lake.sha256") == digest.encode()
    assert os.getxattr(folder / "x", "user.lake.content") == str(document["_id"]).encode()
    assert document["metadata"]["lake"]["sha256"] == digest


def test_a_driver_reads_any_part(lake: Lake) -> None:
    folder, prefix = lake.version()
    (folder / "x").write_bytes(LARGE)
    with lake.bucket.open_download_stream_by_name(f"{prefix}/x") as stream:
        for offset in (0, CHUNK - 5, 7 * CHUNK, len(LARGE) - 10):
            stream.seek(offset)
            assert stream.read(20) == LARGE[offset : offset + 20]


def test_writers_at_once_leave_one_gridfs_file(lake: Lake) -> None:
    folder, prefix = lake.version()
    (folder / "x").write_bytes(SMALL)
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context((folder / "x").open("r+b")) for _ in range(4)]
        for number, file in enumerate(files):
            file.seek(number * 1000)
            file.write(bytes([number]) * 1000)
    expected = b"".join(bytes([number]) * 1000 for number in range(4)) + SMALL[4000:]
    assert (folder / "x").read_bytes() == expected
    assert_by_the_letter(lake, prefix, "x", expected)
    assert_no_stray_chunks(lake)
