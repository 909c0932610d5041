"""Contents whose chunks or files documents are missing or wrong: EIO, and never wrong bytes."""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bson import Binary, Decimal128, Int64, ObjectId

from tests.faults.lakes import MIB, Document, Lake, assert_alive, errno_of
from tests.mongod import Mongod
from tests.mounting import Mounted, eventually, mounted

CHUNK = 64 << 10
CHUNKS = 6
DAMAGED = 2
DATA = os.urandom(CHUNK * CHUNKS - 1000)


def part(n: int) -> bytes:
    """What chunk `n` holds."""
    return DATA[n * CHUNK : (n + 1) * CHUNK]


@dataclass(frozen=True, slots=True)
class Victim:
    """A file of a mount that has read nothing of it yet."""

    lake: Lake
    mount: Mounted
    path: Path
    content: Any

    def chunk(self, n: int) -> Document:
        return {"files_id": self.content, "n": n}

    def read(self, n: int) -> bytes:
        """The part of the file that chunk `n` holds."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            # The kernel would read more than it is asked for.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
            return os.pread(descriptor, CHUNK, n * CHUNK)
        finally:
            os.close(descriptor)


@pytest.fixture(scope="module")
def mount(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """A mount for all tests of this module; each file was written by another one."""
    uri = mongod.uri_for("lake_damaged")
    with mounted(uri, tmp_path_factory.mktemp("damaged"), f"--chunk-size={CHUNK}") as mount:
        folder = mount.version()
        for number in range(40):
            # Each in a folder of its own: what lies beside a file that is read is read ahead.
            home = folder / f"folder{number}"
            home.mkdir()
            (home / f"file{number}").write_bytes(DATA)
        mount.restart()
        yield mount
    with Lake(uri) as lake:
        lake.database.client.drop_database("lake_damaged")


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return iter(range(40))


@pytest.fixture
def victim(mount: Mounted, numbers: Iterator[int]) -> Iterator[Victim]:
    number = next(numbers)
    path = mount.path / f"datasets/test/v1/folder{number}/file{number}"
    with Lake(mount.uri) as lake:
        yield Victim(lake, mount, path, lake.node(path.name)["content"])
    assert_alive(mount)


def set_data(value: object) -> Callable[[Victim, Document], None]:
    def damage(victim: Victim, chunk: Document) -> None:
        victim.lake.chunks.update_one({"_id": chunk["_id"]}, {"$set": {"data": value}})

    return damage


def set_number(value: object) -> Callable[[Victim, Document], None]:
    def damage(victim: Victim, chunk: Document) -> None:
        victim.lake.chunks.update_one({"_id": chunk["_id"]}, {"$set": {"n": value}})

    return damage


def drop(victim: Victim, chunk: Document) -> None:
    victim.lake.chunks.delete_one({"_id": chunk["_id"]})


def drop_data(victim: Victim, chunk: Document) -> None:
    victim.lake.chunks.update_one({"_id": chunk["_id"]}, {"$unset": {"data": ""}})


def shorten(victim: Victim, chunk: Document) -> None:
    set_data(chunk["data"][:-1])(victim, chunk)


def lengthen(victim: Victim, chunk: Document) -> None:
    set_data(chunk["data"] + b"x")(victim, chunk)


def flip(victim: Victim, chunk: Document) -> None:
    data = bytearray(chunk["data"])
    data[len(data) // 2] ^= 1
    set_data(bytes(data))(victim, chunk)


def double(victim: Victim, chunk: Document) -> None:
    if "files_id_1_n_1" in victim.lake.chunks.index_information():
        victim.lake.chunks.drop_index("files_id_1_n_1")
    victim.lake.chunks.insert_one({**chunk, "_id": ObjectId()})


def double_with_other_bytes(victim: Victim, chunk: Document) -> None:
    double(victim, {**chunk, "data": bytes(len(chunk["data"]))})


DAMAGES: dict[str, Callable[[Victim, Document], None]] = {
    "missing": drop,
    "too short": shorten,
    "too long": lengthen,
    "empty": set_data(b""),
    "altered": flip,
    "zeros": set_data(bytes(CHUNK)),
    "without data": drop_data,
    "data is text": set_data("x" * CHUNK),
    "data is null": set_data(None),
    "data is an array": set_data([1, 2, 3]),
    "data is a number": set_data(CHUNK),
    "n is text": set_number(str(DAMAGED)),
    "n is null": set_number(None),
    "n is a fraction": set_number(DAMAGED + 0.5),
    "n is another": set_number(1000),
    "doubled": double,
    "doubled with other bytes": double_with_other_bytes,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_chunk_is_an_error_and_the_rest_can_be_read(
    victim: Victim, damage: Callable[[Victim, Document], None]
) -> None:
    chunk = victim.lake.chunks.find_one(victim.chunk(DAMAGED))
    assert chunk is not None
    damage(victim, chunk)

    assert errno_of(lambda: victim.read(DAMAGED)) == errno.EIO
    for n in range(CHUNKS):
        if n != DAMAGED:
            assert victim.read(n) == part(n)
    assert errno_of(lambda: victim.read(DAMAGED)) == errno.EIO
    assert errno_of(victim.path.read_bytes) == errno.EIO
    assert str(victim.content) in victim.mount.log_text()
    assert f"chunk {DAMAGED}" in victim.mount.log_text()


@pytest.mark.parametrize("n", [0, CHUNKS - 1], ids=["first", "last"])
@pytest.mark.parametrize("damage", [drop, shorten, lengthen, flip])
def test_also_at_the_ends(
    victim: Victim, damage: Callable[[Victim, Document], None], n: int
) -> None:
    chunk = victim.lake.chunks.find_one(victim.chunk(n))
    assert chunk is not None
    damage(victim, chunk)

    assert errno_of(victim.path.read_bytes) == errno.EIO
    assert errno_of(lambda: victim.read(n)) == errno.EIO
    assert victim.read(1) == part(1)


@pytest.mark.parametrize("value", [float(DAMAGED), Int64(DAMAGED)])
def test_a_number_of_another_type_is_a_number(victim: Victim, value: object) -> None:
    chunk = victim.lake.chunks.find_one(victim.chunk(DAMAGED))
    assert chunk is not None
    set_number(value)(victim, chunk)

    assert victim.path.read_bytes() == DATA


def test_a_chunk_too_many_does_not_matter(victim: Victim) -> None:
    victim.lake.chunks.insert_one({**victim.chunk(CHUNKS), "data": b"more"})

    assert victim.path.read_bytes() == DATA


def test_a_damaged_chunk_is_not_laundered_by_a_write_beside_it(
    lake_uri: str, tmp_path: Path
) -> None:
    data = os.urandom(8 * MIB)
    with mounted(lake_uri, tmp_path) as mount, Lake(lake_uri) as lake:
        path = mount.version() / "file"
        path.write_bytes(data)
        mount.restart()
        chunk = lake.chunks.find_one({"n": 1})
        assert chunk is not None
        lake.chunks.update_one({"_id": chunk["_id"]}, {"$set": {"data": bytes(MIB)}})

        with path.open("r+b", buffering=0) as file:
            file.seek(5 * MIB)
            file.write(b"new")
            errno_of(lambda: os.fsync(file.fileno()))

        mount.restart()
        with path.open("rb", buffering=0) as file:
            assert errno_of(lambda: os.pread(file.fileno(), MIB, MIB)) == errno.EIO
            assert os.pread(file.fileno(), MIB, 7 * MIB) == data[7 * MIB :]
        assert_alive(mount)


def test_a_file_with_a_damaged_chunk_can_be_replaced_and_removed(victim: Victim) -> None:
    chunk = victim.lake.chunks.find_one(victim.chunk(DAMAGED))
    assert chunk is not None
    drop(victim, chunk)
    assert errno_of(victim.path.read_bytes) == errno.EIO

    victim.path.write_bytes(b"whole again")
    assert victim.path.read_bytes() == b"whole again"
    victim.path.unlink()
    assert not victim.path.exists()


def test_a_file_whose_document_vanished_is_an_error_and_then_disappears(victim: Victim) -> None:
    victim.lake.files.delete_one({"_id": victim.content})

    assert errno_of(victim.path.read_bytes) in {errno.EIO, errno.ENOENT}
    eventually(lambda: not victim.path.exists(), "the file disappears")
    assert victim.path.name not in {each.name for each in victim.path.parent.iterdir()}


@pytest.mark.parametrize(
    "change",
    [
        {"length": Int64(len(DATA) - 1)},
        {"length": Int64(len(DATA) + 1)},
        {"length": Int64(0)},
        {"length": "long"},
        {"length": -1},
        {"chunkSize": CHUNK * 2},
        {"chunkSize": CHUNK // 2},
        {"chunkSize": 0},
        {"chunkSize": None},
    ],
    ids=str,
)
def test_a_files_document_that_was_altered_is_an_error(victim: Victim, change: Document) -> None:
    victim.lake.files.update_one({"_id": victim.content}, {"$set": change})

    assert errno_of(victim.path.read_bytes) == errno.EIO
    assert str(victim.content) in victim.mount.log_text()


HOSTILE_CONTENTS: dict[str, Document] = {
    "chunk size 0": {"length": 5, "chunkSize": 0},
    "chunk size negative": {"length": 5, "chunkSize": -1},
    "chunk size 2**31": {"length": 5, "chunkSize": Int64(1 << 31)},
    "chunk size text": {"length": 5, "chunkSize": "255"},
    "chunk size missing": {"length": 5},
    "length missing": {"chunkSize": 5},
    "length negative": {"length": -1, "chunkSize": 5},
    "length not a number": {"length": float("nan"), "chunkSize": 5},
    "length infinite": {"length": float("inf"), "chunkSize": 5},
    "length a fraction": {"length": 4.5, "chunkSize": 5},
    "length beyond int64": {"length": Decimal128("1E+30"), "chunkSize": 5},
    "length huge, chunks huge": {"length": Int64(1 << 62), "chunkSize": (1 << 31) - 1},
    "length huge, chunks tiny": {"length": Int64(1 << 62), "chunkSize": 1},
    "length almost 2**63": {"length": Int64((1 << 63) - 1), "chunkSize": 1 << 20},
    "no chunks": {"length": 5, "chunkSize": 5},
    "metadata text": {"length": 5, "chunkSize": 5, "metadata": "text"},
    "metadata of ours": {"length": 5, "chunkSize": 5, "metadata": {"lake": "text"}},
}


@pytest.fixture(scope="module")
def strange(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """A mount of a bucket that had all hostile contents in it before it became a lake."""
    uri = mongod.uri_for("lake_strange")
    with Lake(uri) as lake:
        for name, document in HOSTILE_CONTENTS.items():
            filename = f"datasets/test/v1/{name}"
            lake.files.insert_one({"_id": name, "filename": filename, **document})
        lake.bucket.upload_from_stream("datasets/test/v1/good", b"good")
        with mounted(uri, tmp_path_factory.mktemp("strange")) as mount:
            eventually((mount.version() / "good").exists, "the good upload is adopted")
            yield mount
        lake.database.client.drop_database("lake_strange")


def test_uploads_that_make_no_sense_are_listed_beside_those_that_do(strange: Mounted) -> None:
    names = {each.name for each in strange.version().iterdir()}

    assert names == {*HOSTILE_CONTENTS, "good"}
    assert (strange.version() / "good").read_bytes() == b"good"


@pytest.mark.parametrize("name", HOSTILE_CONTENTS)
def test_an_upload_that_makes_no_sense_cannot_be_read_but_replaced_and_removed(
    strange: Mounted, name: str
) -> None:
    path = strange.version() / name
    size = path.stat().st_size

    for offset in (0, size // 2, max(0, size - 200)):
        assert errno_of(partial(read_at, path, offset)) == errno.EIO
    assert errno_of(partial(append_to, path)) in {errno.EIO, errno.EFBIG, errno.EINVAL}
    path.write_bytes(b"replaced")
    assert path.read_bytes() == b"replaced"
    path.unlink()
    assert not path.exists()
    assert_alive(strange)


def read_at(path: Path, offset: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), 100, offset)


def append_to(path: Path) -> None:
    with path.open("ab", buffering=0) as file:
        file.write(b"more")


def test_a_chunk_of_one_byte_each_is_slow_but_right(
    breakable: Lake, lake_uri: str, tmp_path: Path
) -> None:
    data = os.urandom(3000)
    breakable.bucket.upload_from_stream("datasets/test/v1/crumbs", data, chunk_size_bytes=1)

    with mounted(lake_uri, tmp_path) as mount:
        path = mount.version() / "crumbs"
        eventually(path.exists, "the upload is adopted")
        assert path.read_bytes() == data
        with path.open("r+b") as file:
            file.seek(10)
            file.write(b"new")
        assert path.read_bytes() == data[:10] + b"new" + data[13:]
        assert_alive(mount)


def test_binary_data_of_another_subtype_is_data(
    breakable: Lake, lake_uri: str, tmp_path: Path
) -> None:
    breakable.files.insert_one(
        {"_id": 1, "filename": "datasets/test/v1/file", "length": 4, "chunkSize": 4}
    )
    breakable.chunks.insert_one({"files_id": 1, "n": 0, "data": Binary(b"data", 128)})

    with mounted(lake_uri, tmp_path) as mount:
        path = mount.version() / "file"
        eventually(path.exists, "the upload is adopted")
        assert path.read_bytes() == b"data"
