"""Open files: whole or not at all when written, checked when read."""

import errno
import io
import itertools
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import fsspec
import pytest

import gridfsmount
from gridfsmount.core.model import Content, Node
from gridfsmount.door.filesystem import LakeFileSystem
from gridfsmount.door.lakes import Access, Door, close_doors, door_to
from gridfsmount.errors import LakeFormatError
from gridfsmount.places import parse
from gridfsmount.store.embedded import running_uri
from tests.mounting import eventually
from tests.sealing import seal
from tests.store.lakes import raw

MIB: Final = 1 << 20

LARGE: Final = random.Random(7).randbytes(6 * MIB + 4321)
"""More than is kept in memory, so that most of it is sent before it is closed."""

SMALL: Final = b"a small file\n"

both_sizes = pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])


class Stopped(Exception):
    """What a program fails with."""


@pytest.fixture
def path(version: str) -> str:
    return f"{version}/file"


@pytest.fixture
def door(uri: str) -> Door:
    return door_to(Access(uri=uri), writing=True)


def node_at(door: Door, path: str) -> Node:
    return door.paths.look(parse(path))


def fail_while_writing(file: Any, data: bytes | str) -> None:
    with file:
        file.write(data)
        raise Stopped


def content_at(door: Door, path: str) -> Content:
    content = node_at(door, path).content
    assert content is not None
    return door.lake.contents.get(content)


def leftovers(uri: str) -> int:
    """Chunks of contents that are not published."""
    with raw(uri) as database:
        published = database["fs.files"].distinct("_id")
        trash = database["fs.trash"].distinct("_id")
        return database["fs.chunks"].count_documents({"files_id": {"$nin": published + trash}})


# --- writing -------------------------------------------------------------------------------------


@both_sizes
def test_what_is_written_appears_whole_when_it_is_closed(
    fs: LakeFileSystem, uri: str, path: str, data: bytes
) -> None:
    with gridfsmount.open(path, "wb", uri=uri) as file:
        for at in range(0, len(data), 100_000):
            file.write(data[at : at + 100_000])
        assert file.tell() == len(data)
        assert not fs.exists(path)
    assert fs.cat_file(path) == data


@both_sizes
def test_a_block_that_raises_leaves_the_old_content_and_no_bytes(
    fs: LakeFileSystem, uri: str, path: str, data: bytes
) -> None:
    fs.pipe_file(path, b"old")
    before = leftovers(uri)
    file = gridfsmount.open(path, "wb", uri=uri)
    with pytest.raises(Stopped):
        fail_while_writing(file, data)
    assert file.closed
    assert fs.cat_file(path) == b"old"
    assert leftovers(uri) == before


@pytest.mark.parametrize("mode", ["w", "x"])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_block_that_raises_publishes_no_text_and_nothing_compressed(
    fs: LakeFileSystem, path: str, mode: str, compression: str | None
) -> None:
    with pytest.raises(Stopped):
        fail_while_writing(fs.open(path, mode, compression=compression), "half a sen")
    assert not fs.exists(path)


@pytest.mark.parametrize("mode", ["wb", "w"])
def test_a_file_that_nobody_closed_is_not_published(
    fs: LakeFileSystem, path: str, mode: str
) -> None:
    with pytest.warns(ResourceWarning, match="not closed"):
        fs.open(path, mode).write(b"half" if mode == "wb" else "half")
    assert not fs.exists(path)


def test_compressed_text_is_read_as_it_was_written(fs: LakeFileSystem, path: str) -> None:
    with fs.open(path, "w", compression="gzip", encoding="latin-1") as file:
        file.write("Zeile\nnächste\n")
    assert fs.cat_file(path)[:2] == b"\x1f\x8b"
    with fs.open(path, "r", compression="gzip", encoding="latin-1") as file:
        assert list(file) == ["Zeile\n", "nächste\n"]


def test_a_transaction_publishes_all_its_files_or_none(
    fs: LakeFileSystem, version: str, uri: str
) -> None:
    paths = [f"{version}/{n}" for n in range(3)]

    def fail() -> None:
        with fs.transaction:
            fs.pipe(dict.fromkeys(paths, SMALL))
            raise Stopped

    with pytest.raises(Stopped):
        fail()
    assert not any(map(fs.exists, paths))
    with fs.transaction:
        fs.pipe(dict.fromkeys(paths, LARGE))
        assert not any(map(fs.exists, paths))
    assert all(data == LARGE for data in fs.cat(paths).values())


def test_text_is_encoded_and_decoded_as_by_the_built_in_open(
    uri: str, path: str, tmp_path: Path
) -> None:
    lines = ["Grüße\n", "zweite\r\n", "dritte"]
    for options in ({"encoding": "latin-1"}, {"newline": "\r\n"}, {"newline": "", "errors": None}):
        local: Any = {"encoding": "utf-8", **options}
        for opened in (
            gridfsmount.open(path, "w", uri=uri, **local),
            (tmp_path / "file").open("w", **local),
        ):
            with opened as file:
                file.writelines(lines)
        with gridfsmount.open(path, uri=uri) as file:
            assert file.read() == (tmp_path / "file").read_bytes()
        with (
            gridfsmount.open(path, "r", uri=uri, **local) as file,
            (tmp_path / "file").open(**local) as model,
        ):
            assert list(file) == list(model)


def test_exclusive_creation_makes_a_file_once(fs: LakeFileSystem, uri: str, path: str) -> None:
    with gridfsmount.open(path, "xb", uri=uri) as first:
        with gridfsmount.open(path, "xb", uri=uri) as second:
            second.write(b"second")
        first.write(b"first")
        with pytest.raises(FileExistsError):
            first.close()
    assert fs.cat_file(path) == b"second"
    with pytest.raises(FileExistsError):
        gridfsmount.open(path, "xb", uri=uri)


@both_sizes
def test_appending_keeps_what_was_there(
    fs: LakeFileSystem, door: Door, uri: str, path: str, data: bytes
) -> None:
    expected = b""
    for piece in (b"begin", data, b"", b"end"):
        with gridfsmount.open(path, "ab", uri=uri) as file:
            assert file.tell() == len(expected)
            file.write(piece)
        expected += piece
        assert fs.cat_file(path) == expected
    hashes = content_at(door, path).chunk_xxh3
    assert hashes is not None
    assert len(hashes) == 8 * -(-len(expected) // MIB)


def test_a_large_file_is_appended_to_without_bringing_it_here(
    fs: LakeFileSystem, door: Door, uri: str, path: str
) -> None:
    fs.pipe_file(path, LARGE)
    old = content_at(door, path)
    with raw(uri) as database:
        last = {"files_id": database["fs.files"].find_one({"filename": path})["_id"], "n": 6}  # type: ignore[index]
        reads = database.command("serverStatus")["network"]["bytesOut"]
        with gridfsmount.open(path, "ab", uri=uri) as file:
            file.write(b"end")
        assert database.command("serverStatus")["network"]["bytesOut"] - reads < 2 * MIB
        assert database["fs.chunks"].count_documents(last) == 1  # in the trash, for who reads it
    assert content_at(door, path).id != old.id
    assert fs.cat_file(path) == LARGE + b"end"


def test_the_lease_of_an_upload_is_renewed_while_its_file_is_open(
    fs: LakeFileSystem, door: Door, uri: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door.lake.leases, "seconds", 0.2)
    with raw(uri) as database:

        def beat() -> Any:
            return database["fs.uploads"].find_one({"name": "file"}, {"beat": 1, "_id": 0})

        with fs.open(path, "wb") as file:
            file.write(LARGE)
            first = beat()
            eventually(lambda: beat() != first, "the lease was renewed")
        assert beat() is None
    assert fs.cat_file(path) == LARGE


def test_the_last_to_close_wins_whole(fs: LakeFileSystem, path: str) -> None:
    with fs.open(path, "wb") as one, fs.open(path, "wb") as other:
        one.write(LARGE)
        other.write(SMALL)
    assert fs.cat_file(path) == LARGE


def test_a_file_that_is_removed_meanwhile_is_made_again(fs: LakeFileSystem, path: str) -> None:
    for data in (SMALL, LARGE):
        fs.pipe_file(path, b"old")
        with fs.open(path, "wb") as file:
            file.write(data)
            fs.rm_file(path)
        assert fs.cat_file(path) == data


@pytest.mark.parametrize("mode", ["r+b", "w+b", "rw", "b", "U", "rbt"])
def test_modes_that_make_no_sense_here_are_refused(uri: str, path: str, mode: str) -> None:
    with pytest.raises(ValueError, match="mode"):
        gridfsmount.open(path, mode, uri=uri)


# --- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_size", [4096, 70_000, MIB])
def test_reads_bring_the_bytes_that_any_file_has_there(
    uri: str, path: str, chunk_size: int
) -> None:
    data = LARGE[: 40 * chunk_size + 5] if chunk_size < MIB else LARGE
    with gridfsmount.open(path, "wb", uri=uri, chunk_size=chunk_size) as file:
        file.write(data)
    chance = random.Random(chunk_size)
    with gridfsmount.open(path, uri=uri, cache_size=3 * chunk_size) as file:
        model = io.BytesIO(data)
        for _ in range(300):
            if chance.random() < 0.4:
                at = chance.randrange(len(data) + 10)
                assert file.seek(at) == model.seek(at)
            size = chance.choice([0, 1, 100, 5000, 70_000, chunk_size, 3 * chunk_size + 1])
            assert file.read(size) == model.read(size)
            assert file.tell() == model.tell()
        assert file.seek(-10, io.SEEK_END) == len(data) - 10
        assert file.read() == data[-10:]
        assert file.read() == b""


def test_a_file_of_lines_is_read_line_by_line(fs: LakeFileSystem, path: str) -> None:
    lines = [b"%d: " % n + b"x" * (n % 97) + b"\n" for n in range(30_000)]
    fs.pipe_file(path, b"".join(lines))
    with fs.open(path) as file:
        assert file.size == sum(map(len, lines))
        assert all(found == line for found, line in itertools.zip_longest(file, lines))


def test_a_reader_keeps_the_content_that_it_opened(fs: LakeFileSystem, path: str) -> None:
    fs.pipe_file(path, LARGE)
    with fs.open(path) as file:
        fs.pipe_file(path, SMALL)
        with fs.open(path) as newer:
            assert newer.read() == SMALL
        assert file.read() == LARGE
        fs.rm_file(path)
        file.seek(5)
        assert file.read(100) == LARGE[5:105]


@both_sizes
def test_altered_missing_and_short_chunks_are_errors(
    fs: LakeFileSystem, uri: str, version: str, data: bytes
) -> None:
    spoilt: dict[str, dict[str, Any]] = {
        "altered": {"$set": {"data": data[:MIB][::-1]}},
        "short": {"$set": {"data": data[:MIB][:-1]}},
        "missing": {"$set": {"n": 99}},
    }
    for name, change in spoilt.items():
        path = f"{version}/{name}"
        fs.pipe_file(path, data)
        with raw(uri) as database:
            file = database["fs.files"].find_one({"filename": path})
            assert file is not None
            database["fs.chunks"].update_one({"files_id": file["_id"], "n": 0}, change)
        with pytest.raises(OSError, match="chunk 0") as caught, fs.open(path) as opened:
            opened.read()
        assert caught.value.errno == errno.EIO
        found = fs.cat([path, f"{version}/none"], on_error="return")
        assert [found[path].errno, found[f"{version}/none"].errno] == [errno.EIO, errno.ENOENT]


def test_what_the_disk_cache_has_is_read_without_the_server(
    fs: LakeFileSystem, uri: str, path: str, tmp_path: Path
) -> None:
    fs.pipe_file(path, LARGE)
    options = {"uri": uri, "disk_cache": tmp_path / "cache", "cache_size": 0}
    with gridfsmount.open(path, **options) as file:  # type: ignore[arg-type]
        assert file.read() == LARGE
        with raw(uri) as database:
            database["fs.chunks"].delete_many({"n": {"$gt": 0}})
        file.seek(0)
        assert file.read() == LARGE


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "mode", "expected", "number"),
    [
        ("datasets/none/v1/file", "rb", FileNotFoundError, errno.ENOENT),
        ("elsewhere/file", "rb", FileNotFoundError, errno.ENOENT),
        ("{version}/none", "rb", FileNotFoundError, errno.ENOENT),
        ("{version}", "rb", IsADirectoryError, errno.EISDIR),
        ("{version}", "wb", IsADirectoryError, errno.EISDIR),
        ("", "wb", IsADirectoryError, errno.EISDIR),
        ("{version}/file/below", "rb", NotADirectoryError, errno.ENOTDIR),
        ("{version}/file/below", "wb", NotADirectoryError, errno.ENOTDIR),
        ("{version}/../file", "rb", OSError, errno.EINVAL),
        ("{version}/" + "x" * 256, "wb", OSError, errno.ENAMETOOLONG),
        ("file", "wb", FileNotFoundError, errno.ENOENT),
        ("datasets/file", "wb", PermissionError, errno.EPERM),
        ("datasets/some/file", "wb", PermissionError, errno.EPERM),
        ("datasets/no good name/v1/file", "wb", OSError, errno.EINVAL),
        ("unsorted/file", "wb", PermissionError, errno.EPERM),
        ("snapshots/file", "wb", PermissionError, errno.EROFS),
    ],
)
def test_refusals_are_those_of_any_file_system(
    fs: LakeFileSystem,
    uri: str,
    version: str,
    path: str,
    mode: str,
    expected: type[OSError],
    number: int,
) -> None:
    fs.touch(f"{version}/file")
    with pytest.raises(expected) as caught:
        gridfsmount.open(path.format(version=version), mode, uri=uri)
    assert caught.value.errno == number
    assert caught.value.strerror


def test_control_characters_of_a_name_are_not_printed(fs: LakeFileSystem, version: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        fs.open(f"{version}/a\x1b[2Jb")
    assert "\x1b" not in str(caught.value)


def test_a_sealed_version_is_read_and_never_changed(fs: LakeFileSystem, uri: str) -> None:
    path = "datasets/sealed/v1"
    fs.pipe({f"{path}/a": b"a", f"{path}/below/b": b"b"})
    writer = fs.open(f"{path}/c", "wb")
    with raw(uri) as database:
        seal(database, "sealed", "v1")
    changes: list[Any] = [
        writer.close,
        lambda: fs.open(f"{path}/a", "wb"),
        lambda: fs.pipe_file(f"{path}/new", b""),
        lambda: fs.mkdir(f"{path}/folder"),
        lambda: fs.rm_file(f"{path}/a"),
        lambda: fs.rm(path, recursive=True),
        lambda: fs.rmdir(path),
        lambda: fs.mv(f"{path}/a", f"{path}/z"),
        lambda: fs.mv(path, "datasets/sealed/v2"),
        lambda: fs.cp_file(f"{path}/a", f"{path}/z"),
        lambda: fs.touch(f"{path}/a", truncate=False),
    ]
    for change in changes:
        with pytest.raises(PermissionError) as caught:
            change()
        assert caught.value.errno == errno.EROFS
    assert fs.find(path) == [f"{path}/a", f"{path}/below/b"]
    fs.cp_file(f"{path}/a", "datasets/sealed/v2/a")
    assert fs.cat_file("datasets/sealed/v2/a") == b"a"


def test_a_lake_that_is_not_there_is_made_by_writing_only(mongod: Any, uri: str) -> None:
    name = f"{uri.rpartition('/')[2].split('?')[0]}_new"
    new = mongod.uri_for(name)
    with pytest.raises(LakeFormatError, match="holds no lake"):
        gridfsmount.open("datasets/x/v1/file", uri=new)
    with mongod.client() as client:
        assert name not in client.list_database_names()
        with gridfsmount.open("datasets/x/v1/file", "wb", uri=new) as file:
            file.write(SMALL)
        assert fsspec.filesystem("lake", uri=new).cat_file("datasets/x/v1/file") == SMALL
        client.drop_database(name)


def test_a_user_who_may_only_read_is_told_so(
    fs: LakeFileSystem, door: Door, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs.pipe_file(path, SMALL)
    deployment = replace(door.lake.connection.deployment, writable=False)
    monkeypatch.setattr(door.lake.connection, "deployment", deployment)
    changes: list[Any] = [
        lambda: fs.open(path, "wb"),
        lambda: fs.pipe_file(path, b""),
        lambda: fs.rm_file(path),
        lambda: fs.mkdir(f"{path}-folder"),
        lambda: fs.mv(path, f"{path}-moved"),
        lambda: fs.cp_file(path, f"{path}-copied"),
    ]
    for change in changes:
        with pytest.raises(PermissionError, match="readWrite") as caught:
            change()
        assert caught.value.errno == errno.EACCES
    assert fs.cat_file(path) == SMALL


# --- other deployments ---------------------------------------------------------------------------


def test_a_standalone_server_keeps_the_same_promises(standalone_uri: str) -> None:
    fs = LakeFileSystem(uri=standalone_uri)
    for name, data in {"small": SMALL, "large": LARGE}.items():
        path = f"datasets/x/v1/{name}"
        for content in (data, data[::-1], b"", data):
            fs.pipe_file(path, content)
            assert fs.cat_file(path) == content
        with fs.open(path, "ab") as file:
            file.write(b"more")
        fs.cp_file(path, f"{path}-copied")
        fs.mv(path, f"{path}-moved")
        with pytest.raises(Stopped):
            fail_while_writing(fs.open(f"{path}-moved", "wb"), data)
        found = fs.cat([f"{path}-copied", f"{path}-moved"])
        assert set(found.values()) == {data + b"more"}
    with raw(standalone_uri) as database:
        assert database["fs.uploads"].count_documents({}) == 0
    assert leftovers(standalone_uri) == 0
    close_doors()


def test_a_private_server_runs_for_as_long_as_the_program(tmp_path: Path) -> None:
    script = """
import sys, threading, gridfsmount
def append():
    try:
        with gridfsmount.open("datasets/x/v1/a", "ab", embedded=sys.argv[1]) as file:
            file.write(b".")
    except gridfsmount.errors.ConfigError as error:
        print(error)
thread = threading.Thread(target=append)
thread.start()
thread.join()
append()
with gridfsmount.open("datasets/x/v1/a", embedded=sys.argv[1]) as file:
    print(file.read())
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "lake")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    refusal, found = done.stdout.splitlines()
    assert "main thread" in refusal
    assert found == "b'.'"
    assert running_uri(tmp_path / "lake") is None
