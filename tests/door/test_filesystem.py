"""`lake://` beyond fsspec's own suite: the tree's rules, links, and how many questions it asks."""

import datetime
import errno
import hashlib
import random
import stat
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest
from pymongo import monitoring

from gridfsmount.core.model import Kind
from gridfsmount.door.filesystem import LakeFileSystem
from gridfsmount.door.lakes import Access, Door, close_doors, door_to
from gridfsmount.places import parse
from tests.store.lakes import bare, raw

LARGE: Final = random.Random(7).randbytes((6 << 20) + 4321)


@pytest.fixture
def door(uri: str) -> Door:
    return door_to(Access(uri=uri), writing=True)


class Questions(monitoring.CommandListener):
    """Counts what is asked of the server."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


@pytest.fixture
def questions(uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Questions]:
    """Of a lake that is opened while this listens."""
    counted = Questions()
    monkeypatch.setattr("gridfsmount.store.connection.pymongo.MongoClient", _listening(counted))
    close_doors()
    yield counted
    monkeypatch.undo()
    close_doors()


def _listening(counted: Questions) -> Any:
    from pymongo import MongoClient

    def connect(*args: Any, **options: Any) -> Any:
        return MongoClient(*args, event_listeners=[counted], **options)

    return connect


def link(door: Door, path: str, target: str) -> None:
    """A symbolic link, as a mount makes them."""
    where = parse(path)
    folder, _ = door.paths.folder(where.parent)
    number = door.publisher.new_number()
    node = bare(number, (folder.inode, where.parts[-1]), kind=Kind.SYMLINK, version=folder.version)
    door.lake.commits.create(node.__class__(**{**_fields(node), "target": target}))
    door.paths.forget()


def _fields(node: Any) -> dict[str, Any]:
    return {name: getattr(node, name) for name in node.__slots__}


# --- looking -------------------------------------------------------------------------------------


def test_info_tells_what_stat_would_and_the_hash(fs: LakeFileSystem, version: str) -> None:
    began = time.time()
    fs.pipe_file(f"{version}/a", b"abc")
    info = fs.info(f"lake://{version}/a")
    assert (info["name"], info["type"], info["size"]) == (f"{version}/a", "file", 3)
    assert info["sha256"] == hashlib.sha256(b"abc").hexdigest()
    assert began - 1 < info["mtime"] < time.time() + 1
    assert stat.S_IMODE(info["mode"]) == 0o644
    assert stat.S_ISREG(info["mode"])
    assert fs.info(version)["type"] == fs.info("")["type"] == "directory"
    assert abs(fs.modified(f"{version}/a").timestamp() - began) < 60
    assert fs.created(version).tzinfo is datetime.UTC


def test_keys_and_checksums_follow_the_bytes(fs: LakeFileSystem, version: str) -> None:
    one, other = f"{version}/one", f"{version}/other"
    fs.pipe({one: b"1", other: b"1"})
    assert fs.checksum(one) == fs.checksum(other)
    before = fs.ukey(one), fs.checksum(one)
    assert (fs.ukey(one), fs.checksum(one)) == before
    fs.pipe_file(one, b"2")
    after = fs.ukey(one), fs.checksum(one)
    assert all(new != old for new, old in zip(after, before, strict=True))


def test_a_lake_is_listed_from_its_root_on(fs: LakeFileSystem, version: str) -> None:
    areas = ["datasets", "models", "snapshots", "unsorted"]
    assert fs.ls("", detail=False) == fs.ls("lake://", detail=False) == areas
    assert fs.ls("/datasets/", detail=False) == fs.ls("lake://datasets", detail=False)
    assert version.rpartition("/")[0] in fs.ls("datasets", detail=False)


def test_a_large_folder_is_listed_whole(fs: LakeFileSystem, door: Door, version: str) -> None:
    folder, _ = door.paths.folder(parse(version))
    from tests.store.lakes import Garden

    Garden(door.lake).plant(2500, folder.inode)
    names = [f"{version}/file-{n:06}" for n in range(2500)]
    assert fs.ls(version, detail=False) == names
    assert fs.glob(f"{version}/file-00249?") == names[2490:2500]


def test_latest_and_tags_lead_to_versions(fs: LakeFileSystem, door: Door, version: str) -> None:
    dataset = version.rpartition("/")[0]
    fs.pipe_file(f"{version}/a", b"1")
    fs.pipe_file(f"{dataset}/v2/a", b"2")
    link(door, f"{dataset}/production", "v1")
    assert fs.cat_file(f"{dataset}/latest/a") == b"2"
    assert fs.cat_file(f"{dataset}/production/a") == b"1"
    assert fs.ls(f"{dataset}/production", detail=False) == [f"{dataset}/production/a"]
    assert {each["name"]: each["type"] for each in fs.ls(dataset)} == {
        f"{dataset}/latest": "link",
        f"{dataset}/production": "link",
        f"{dataset}/v1": "directory",
        f"{dataset}/v2": "directory",
    }
    assert fs.isdir(f"{dataset}/latest")
    fs.pipe_file(f"{dataset}/latest/b", b"3")
    assert fs.cat_file(f"{dataset}/v2/b") == b"3"
    with pytest.raises(PermissionError, match="kept by the lake"):
        fs.rm_file(f"{dataset}/latest")
    assert fs.glob(f"{dataset}/*/a") == [f"{dataset}/v1/a", f"{dataset}/v2/a"]
    assert f"{dataset}/production" in fs.glob(f"{dataset}/*")


def test_what_links_lead_to_is_found_once(
    fs: LakeFileSystem, door: Door, version: str, tmp_path: Any
) -> None:
    dataset = version.rpartition("/")[0]
    fs.pipe_file(f"{version}/blobs/x", b"x")
    link(door, f"{version}/file", "blobs/x")
    link(door, f"{version}/loop", "../v1")
    link(door, f"{version}/gone", "nowhere")
    link(door, f"{version}/out", "/etc/passwd")
    link(door, f"{version}/far", "../../../../etc/passwd")
    link(door, f"{version}/self", "self")
    assert fs.find(dataset) == [f"{version}/blobs/x", f"{version}/file"]
    assert fs.cat_file(f"{version}/loop/loop/file") == b"x"
    assert fs.cat([f"{version}/file", f"{version}/loop/blobs/x"]) == {
        f"{version}/file": b"x",
        f"{version}/loop/blobs/x": b"x",
    }
    for name in ("gone", "out", "far", "self"):
        assert not fs.exists(f"{version}/{name}")
        with pytest.raises(FileNotFoundError):
            fs.open(f"{version}/{name}")
    fs.get(dataset, str(tmp_path / "copy"), recursive=True)
    assert (tmp_path / "copy" / "v1" / "file").read_bytes() == b"x"
    fs.rm(dataset, recursive=True)
    assert not fs.exists(dataset)


def test_a_server_that_does_not_answer_is_not_taken_for_an_empty_lake(
    fs: LakeFileSystem, version: str, monkeypatch: pytest.MonkeyPatch, door: Door
) -> None:
    def fail(*_: object, **__: object) -> None:
        from gridfsmount.errors import StoreUnavailable

        raise StoreUnavailable("no answer")

    monkeypatch.setattr("gridfsmount.store.tree.Tree.page", fail)
    monkeypatch.setattr("gridfsmount.store.tree.Tree.find", fail)
    monkeypatch.setattr("gridfsmount.store.openings.Openings.find", fail)
    for look in (fs.exists, fs.isdir, fs.isfile, fs.find, fs.ls, fs.info):
        with pytest.raises(OSError, match="no answer") as caught:
            look(version)
        assert caught.value.errno == errno.EIO


# --- reading many --------------------------------------------------------------------------------


def test_a_thousand_small_files_are_read_with_a_few_questions(
    fs: LakeFileSystem, uri: str, version: str, questions: Questions
) -> None:
    paths = [f"{version}/{n % 3}/{n}" for n in range(60)]
    for n, path in enumerate(paths):
        fs.pipe_file(path, b"%d" % n * n)
    close_doors()  # with what it remembers
    assert fs.exists(version)
    questions.names.clear()
    assert fs.cat(paths) == {path: b"%d" % n * n for n, path in enumerate(paths)}
    assert len(questions.names) <= 3 + 3 * 2 + 4
    questions.names.clear()
    assert set(fs.cat(version, recursive=True)) == set(paths)
    assert "aggregate" not in questions.names[4:]


def test_many_small_files_are_written_with_a_few_questions(
    fs: LakeFileSystem, version: str, questions: Questions
) -> None:
    fs.pipe_file(f"{version}/0/3", b"old")
    lake = door_to(Access(uri=fs.storage_options["uri"]))
    link(lake, f"{version}/link", "0/9")
    link(lake, f"{version}/folder", "0")
    files = {f"{version}/{n % 3}/{n}": b"%d" % n * n for n in range(90)}
    files |= {f"/{version}/3/large": LARGE, f"{version}/link": b"through a link"}
    files |= {f"{version}/folder/new": b"through a folder"}
    questions.names.clear()
    fs.pipe(files)
    assert len(questions.names) < len(files)
    files[f"{version}/0/9"] = files[f"{version}/link"]
    names = [name.removeprefix("/") for name in files]
    assert fs.cat(names) == dict(zip(names, files.values(), strict=True))
    for wrong in (f"{version}/0", f"{version}/0/3/x", "datasets/x", "unsorted/x", ""):
        with pytest.raises(OSError):  # noqa: PT011
            fs.pipe({f"{version}/fine": b"", wrong: b""})


def test_a_small_file_is_opened_and_read_with_one_question(
    fs: LakeFileSystem, version: str, questions: Questions
) -> None:
    fs.pipe({f"{version}/a": b"a" * 1000, f"{version}/b": b"b" * 1000})
    assert fs.cat_file(f"{version}/a") == b"a" * 1000
    questions.names.clear()
    assert fs.cat_file(f"{version}/b") == b"b" * 1000
    assert questions.names == ["aggregate"]


def test_a_large_file_is_read_in_queries_of_many_chunks(
    fs: LakeFileSystem, version: str, questions: Questions
) -> None:
    data = LARGE * 4
    fs.pipe_file(f"{version}/large", data)
    with fs.open(f"{version}/large") as file:
        questions.names.clear()
        assert b"".join(iter(lambda: file.read(100_000), b"")) == data
    assert questions.names.count("find") <= 8


def test_ranges_of_files_are_those_of_slices(fs: LakeFileSystem, version: str) -> None:
    fs.pipe_file(f"{version}/a", LARGE)
    ranges = [(None, None), (0, 10), (5, 5), (-7, None), (-7, -2), (1 << 20, (1 << 20) + 3), (9, 3)]
    ranges += [(len(LARGE) + 5, None), (len(LARGE) - 2, len(LARGE) + 9)]
    for start, end in ranges:
        assert fs.cat_file(f"{version}/a", start, end) == LARGE[start:end]
    starts, ends = map(list, zip(*ranges, strict=True))
    found = fs.cat_ranges([f"{version}/a"] * len(ranges), starts, ends)
    assert found == [LARGE[start:end] for start, end in ranges]
    missing = fs.cat_ranges([f"{version}/a", f"{version}/none"], 0, 3)
    assert missing[0] == LARGE[:3]
    assert isinstance(missing[1], FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges([f"{version}/none"], 0, 3, on_error="raise")


def test_many_files_are_read_although_some_cannot_be(fs: LakeFileSystem, version: str) -> None:
    fs.pipe({f"{version}/a": b"a", f"{version}/empty": b"", f"{version}/large": LARGE})
    fs.mkdir(f"{version}/folder")
    paths = [f"{version}/{name}" for name in ("a", "empty", "large", "folder", "none", "a/b")]
    found = fs.cat(paths, on_error="return")
    assert [found[path] for path in paths[:3]] == [b"a", b"", LARGE]
    kinds = [IsADirectoryError, FileNotFoundError, NotADirectoryError]
    assert [type(found[path]) for path in paths[3:]] == kinds
    assert set(fs.cat(paths, on_error="omit")) == set(paths[:3])
    with pytest.raises(OSError):  # noqa: PT011
        fs.cat(paths)


# --- changing names ------------------------------------------------------------------------------


def test_moving_renames_and_copying_shares_so_that_no_bytes_are_copied(
    fs: LakeFileSystem, door: Door, uri: str, version: str
) -> None:
    fs.pipe_file(f"{version}/a", LARGE)
    content = door.paths.look(parse(f"{version}/a")).content
    with raw(uri) as database:
        chunks = database["fs.chunks"].estimated_document_count()
        fs.mv(f"{version}/a", f"{version}/b")
        fs.cp_file(f"{version}/b", f"{version}/c")
        fs.pipe_file(f"{version}/d", b"old")
        fs.cp_file(f"{version}/b", f"{version}/d")
        fs.mkdir(f"{version}/folder")
        fs.mv(f"{version}/b", f"{version}/folder")
        fs.mv(f"{version}/folder", f"{version}/other")
        assert database["fs.chunks"].estimated_document_count() <= chunks + 1
    assert fs.find(version) == [f"{version}/c", f"{version}/d", f"{version}/other/b"]
    for path in fs.find(version):
        assert door.paths.look(parse(path)).content == content
    fs.rm_file(f"{version}/other/b")
    fs.pipe_file(f"{version}/c", b"new")
    assert fs.cat_file(f"{version}/d") == LARGE
    with raw(uri) as database:
        names = {"$in": [f"{version}/{name}" for name in ("a", "b", "c", "d", "other/b")]}
        seen = database["fs.files"].find({"filename": names}, {"filename": 1, "length": 1})
        assert {each["filename"]: each["length"] for each in seen} == {
            f"{version}/c": 3,
            f"{version}/d": len(LARGE),
        }


def test_a_folder_moves_to_another_version_by_copies_that_share(
    fs: LakeFileSystem, version: str
) -> None:
    other = f"{version.rpartition('/')[0]}/v2"
    fs.pipe({f"{version}/folder/a": b"a", f"{version}/folder/below/b": b"b"})
    fs.mkdir(other)
    with pytest.raises(OSError) as caught:  # noqa: PT011
        fs.mv(f"{version}/folder", f"{other}/folder")
    assert caught.value.errno == errno.EXDEV
    fs.mv(f"{version}/folder", f"{other}/moved", recursive=True)
    assert fs.find(f"{other}/moved") == [f"{other}/moved/a", f"{other}/moved/below/b"]
    assert not fs.exists(f"{version}/folder")


def test_folders_are_made_and_removed_by_the_rules_of_the_tree(
    fs: LakeFileSystem, version: str
) -> None:
    fs.pipe_file(f"{version}/full/file", b"")
    cases: list[tuple[Any, str, type[OSError]]] = [
        (fs.mkdir, version, FileExistsError),
        (fs.makedirs, f"{version}/full", FileExistsError),
        (lambda path: fs.mkdir(path, create_parents=False), f"{version}/x/y", FileNotFoundError),
        (fs.mkdir, f"{version}/full/file/x", NotADirectoryError),
        (fs.mkdir, "elsewhere", FileNotFoundError),
        (fs.mkdir, "unsorted/x", PermissionError),
        (fs.rmdir, f"{version}/full", OSError),
        (fs.rmdir, f"{version}/full/file", NotADirectoryError),
        (fs.rm_file, f"{version}/full", IsADirectoryError),
        (fs.rm, f"{version}/full", IsADirectoryError),
        (fs.rm, f"{version}/none", FileNotFoundError),
        (fs.rm_file, "datasets", PermissionError),
        (lambda path: fs.mv(path, f"{path}/below/it"), f"{version}/full", OSError),
    ]
    for call, path, expected in cases:
        with pytest.raises(expected):
            call(path)
    fs.makedirs(f"{version}/full", exist_ok=True)
    fs.rm(version.rpartition("/")[0], recursive=True)
    assert not fs.exists(version)
    fs.mkdir(version.rpartition("/")[0])
    assert fs.ls(version.rpartition("/")[0]) == []


def test_touching_an_old_file_only_brings_its_time_forward(
    fs: LakeFileSystem, version: str
) -> None:
    fs.pipe_file(f"{version}/a", b"a")
    before = fs.modified(f"{version}/a")
    fs.touch(f"{version}/a", truncate=False)
    assert fs.modified(f"{version}/a") > before
    assert fs.cat_file(f"{version}/a") == b"a"
