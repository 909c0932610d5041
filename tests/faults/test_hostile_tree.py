"""Nodes that make no sense: left out or answered with an error, and a nuisance to nobody else."""

import errno
import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MinKey, Regex, encode
from bson.raw_bson import RawBSONDocument

from tests.faults.lakes import Document, Lake, assert_alive, errno_of
from tests.mongod import Mongod
from tests.mounting import Mounted, mounted, run_command

ABSENT: Final = object()
"""In place of a value: the field is missing."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """A mounted version, and the means to put nodes into it that no mount would make."""

    lake: Lake
    mount: Mounted
    name: str
    inodes: list[object] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.mount.version(f"datasets/test/{self.name}")

    def node(self, name: object, **fields: Any) -> Document:
        """A node called `name`, a good file but for `fields`."""
        version = self.folder.stat().st_ino
        good = {
            "_id": Int64(self._next_inode()),
            "names": [{"parent": Int64(version), "name": name}],
            "kind": "file",
            "mode": 0o644,
            "uid": 0,
            "gid": 0,
            "mtime_ns": Int64(0),
            "ctime_ns": Int64(0),
            "size": Int64(0),
            "version": Int64(version),
            "rev": Int64(0),
        }
        return {key: value for key, value in {**good, **fields}.items() if value is not ABSENT}

    def put(self, name: object, **fields: Any) -> int:
        document = self.node(name, **fields)
        self.lake.tree.insert_one(document)
        self.inodes.append(document["_id"])
        return int(document["_id"]) if isinstance(document["_id"], int) else 0

    def names(self) -> set[str]:
        return {each.name for each in self.folder.iterdir()}

    def _next_inode(self) -> int:
        counter = self.lake.database["fs.lake"].find_one_and_update(
            {"_id": "inodes"}, {"$inc": {"next": 1}}
        )
        assert counter is not None
        return int(counter["next"])


@pytest.fixture(scope="module")
def mount(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    uri = mongod.uri_for("lake_hostile")
    with mounted(uri, tmp_path_factory.mktemp("hostile")) as mount:
        yield mount
    with Lake(uri) as lake:
        lake.database.client.drop_database("lake_hostile")


@pytest.fixture
def workshop(mount: Mounted) -> Iterator[Workshop]:
    with Lake(mount.uri) as lake:
        workshop = Workshop(lake, mount, f"v-{uuid.uuid4().hex}")
        (workshop.folder / "good").write_bytes(b"good")
        yield workshop
        lake.tree.delete_many({"_id": {"$in": workshop.inodes}})
    assert_alive(mount)


MALFORMED: dict[str, Document] = {
    "no kind": {"kind": ABSENT},
    "an unknown kind": {"kind": "device"},
    "a kind that is a list": {"kind": ["file"]},
    "a kind that is null": {"kind": None},
    "an inode of text": {"_id": "x"},
    "an inode of 0": {"_id": Int64(0)},
    "a negative inode": {"_id": Int64(-5)},
    "an inode of a fraction": {"_id": 5000.5},
    "an inode that is a document": {"_id": {"inode": 5000}},
    "no times": {"mtime_ns": ABSENT},
    "times of text": {"ctime_ns": "now"},
    "times beyond int64": {"mtime_ns": Decimal128("1E+300")},
    "times that are no number": {"mtime_ns": float("nan")},
    "infinite times": {"mtime_ns": float("inf")},
    "times that are dates": {"mtime_ns": DatetimeMS(1 << 61)},
    "a negative mode": {"mode": -1},
    "a mode of too many bits": {"mode": 0o100644},
    "a mode of text": {"mode": "rw"},
    "a user beyond uint32": {"uid": Int64(1 << 32)},
    "a negative group": {"gid": -1},
    "a negative size": {"size": -1},
    "a size of text": {"size": "large"},
    "a size that is true": {"size": True},
    "a target of another type": {"kind": "symlink", "target": 5},
    "xattrs that are a document": {"xattrs": {"user.x": b"x"}},
    "xattrs without a value": {"xattrs": [{"name": "user.x"}]},
    "an xattr of 2**40 bytes": {"xattrs": [{"name": "user.x", "value": Int64(1 << 40)}]},
    "an xattr of text": {"xattrs": [{"name": "user.x", "value": "text"}]},
    "xattrs of nulls": {"xattrs": [None]},
    "a version of text": {"version": "v1"},
    "an unknown state": {"kind": "dir", "state": "frozen"},
    "a negative revision": {"rev": -1},
}


def test_malformed_nodes_are_left_out_and_the_others_stay_usable(workshop: Workshop) -> None:
    for name, fields in MALFORMED.items():
        workshop.put(name, **fields)

    assert workshop.names() == {"good"}
    assert (workshop.folder / "good").read_bytes() == b"good"
    (workshop.folder / "other").write_bytes(b"other")
    assert workshop.names() == {"good", "other"}
    assert workshop.mount.log_text().count("left out") >= len(MALFORMED)


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_node_is_an_error_when_asked_for(workshop: Workshop, name: str) -> None:
    workshop.put(name, **MALFORMED[name])
    path = workshop.folder / name

    assert errno_of(path.lstat) == errno.EIO
    assert errno_of(path.read_bytes) == errno.EIO
    assert errno_of(partial(path.write_bytes, b"new")) == errno.EIO
    assert errno_of(path.unlink) == errno.EIO
    assert errno_of(partial((workshop.folder / "good").rename, path)) == errno.EIO
    assert (workshop.folder / "good").read_bytes() == b"good"


NAMES: list[object] = [
    "a/b",
    "/etc/passwd",
    "..",
    ".",
    "",
    "nul\0nul",
    "x" * 256,
    "é" * 128,
    5,
    None,
    True,
    b"bytes",
    ["list"],
    {"$gt": ""},
    Regex("x"),
    Code("x"),
    MinKey(),
]


def test_names_that_cannot_be_are_never_shown(workshop: Workshop) -> None:
    for name in NAMES:
        workshop.put(name)

    assert workshop.names() == {"good"}
    listing = subprocess.run(["find", workshop.folder], capture_output=True, text=True, check=False)
    assert (listing.returncode, listing.stderr) == (0, "")
    assert errno_of((workshop.folder / ("x" * 256)).stat) == errno.ENAMETOOLONG


def test_a_name_that_is_not_utf8_is_never_shown(workshop: Workshop) -> None:
    document = encode(workshop.node("not#utf8"))
    workshop.lake.tree.insert_one(RawBSONDocument(document.replace(b"not#utf8", b"not\xffutf8")))
    target = encode(workshop.node("link", kind="symlink", target="not#utf8"))
    workshop.lake.tree.insert_one(RawBSONDocument(target.replace(b"not#utf8", b"not\xffutf8")))

    assert workshop.names() == {"good"}
    assert (
        errno_of(partial(os.stat, os.fsencode(workshop.folder) + b"/not\xffutf8")) == errno.EILSEQ
    )


HANGING: list[object] = [
    ABSENT,
    [],
    None,
    "good",
    5,
    {"parent": 1},
    [5],
    [{}],
    [{"parent": 1}],
    [{"name": "good"}],
    [[{"parent": 1, "name": "x"}]],
    [{"parent": "root", "name": "x"}],
    [{"parent": -1, "name": "x"}],
]


def test_nodes_that_hang_on_nothing_harm_nobody(workshop: Workshop) -> None:
    for number, names in enumerate(HANGING):
        workshop.put("unused", names=names)

        assert "unused" not in workshop.names()
        file = workshop.folder / f"file{number}"
        file.write_bytes(b"new")
        assert file.read_bytes() == b"new"
        if names is not HANGING[-1]:  # since no two nodes may hang on nothing in the same way
            workshop.lake.tree.delete_one({"_id": workshop.inodes[-1]})

    workshop.mount.restart()
    assert workshop.names() == {"good", *(f"file{number}" for number in range(len(HANGING)))}


def test_a_folder_that_becomes_malformed_in_use_is_an_error(workshop: Workshop) -> None:
    folder = workshop.folder / "folder"
    folder.mkdir()
    descriptor = os.open(folder / "file", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"content")
    workshop.lake.tree.update_one(
        {"_id": folder.stat().st_ino}, {"$set": {"names": [{"parent": "x", "name": 5}]}}
    )

    assert errno_of(partial(os.close, descriptor)) == errno.EIO
    assert workshop.names() == {"good"}


def test_folders_in_a_loop_cannot_be_walked_forever(workshop: Workshop) -> None:
    version = workshop.folder.stat().st_ino
    # version/loop/a/b is version/loop again, and so is version/self/self.
    outer = workshop.put("loop", kind="dir")
    inner = workshop.put("a", kind="dir", names=[{"parent": outer, "name": "a"}])
    workshop.lake.tree.update_one(
        {"_id": outer}, {"$push": {"names": {"parent": Int64(inner), "name": "b"}}}
    )
    itself = workshop.put("self", kind="dir")
    workshop.lake.tree.update_one(
        {"_id": itself}, {"$push": {"names": {"parent": Int64(itself), "name": "self"}}}
    )
    # Two that are each other's parent hang on nothing.
    one = workshop.put("one", kind="dir")
    other = workshop.put("other", kind="dir", names=[{"parent": one, "name": "other"}])
    workshop.lake.tree.update_one(
        {"_id": one}, {"$set": {"names": [{"parent": Int64(other), "name": "one"}]}}
    )

    walked = subprocess.run(
        ["find", workshop.folder], capture_output=True, text=True, check=False, timeout=60
    )

    assert len(walked.stdout.splitlines()) < 10
    assert workshop.names() == {"good", "loop", "self"}
    assert workshop.folder.stat().st_ino == version
    file = workshop.folder / "loop" / "a" / "file"
    file.write_bytes(b"content")
    assert file.read_bytes() == b"content"
    assert workshop.lake.read(f"datasets/test/{workshop.name}/loop/a/file") == b"content"
    file.rename(workshop.folder / "moved")
    assert (workshop.folder / "moved").read_bytes() == b"content"
    moved = errno_of(
        partial((workshop.folder / "loop").rename, workshop.folder / "loop" / "a" / "c")
    )
    assert moved in {errno.EINVAL, errno.ELOOP}
    (workshop.folder / "loop" / "a" / "new").mkdir()


def test_a_file_in_a_loop_that_hangs_on_nothing_is_not_lost_silently(workshop: Workshop) -> None:
    folder = workshop.folder / "folder"
    folder.mkdir()
    descriptor = os.open(folder / "file", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"content")
    workshop.lake.tree.update_one(
        {"_id": folder.stat().st_ino},
        {"$set": {"names": [{"parent": Int64(folder.stat().st_ino), "name": "folder"}]}},
    )

    assert errno_of(partial(os.close, descriptor)) == errno.EIO


@pytest.mark.parametrize("content", [None, "gone", 5, Binary(b"x", 4), DatetimeMS(1 << 61)])
def test_a_size_without_a_content_is_an_error(workshop: Workshop, content: object) -> None:
    size = 1 << 62
    workshop.put("huge", size=Int64(size), content=content)
    path = workshop.folder / "huge"

    assert path.stat().st_size == size
    for offset in (0, size // 2):
        assert errno_of(partial(read_at, path, offset)) == errno.EIO
    path.write_bytes(b"replaced")
    assert path.read_bytes() == b"replaced"


@pytest.mark.parametrize("content", [Regex("x"), {"$gt": ""}, [1], []], ids=str)
def test_a_content_that_no_file_can_have_is_an_error(workshop: Workshop, content: object) -> None:
    workshop.put("file", size=5, content=content)
    path = workshop.folder / "file"

    assert errno_of(path.read_bytes) == errno.EIO
    assert errno_of(partial(path.write_bytes, b"new")) in {None, errno.EIO}
    assert errno_of(path.unlink) in {None, errno.EIO}
    assert (workshop.folder / "good").read_bytes() == b"good"


def read_at(path: Path, offset: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), 100, offset)


@pytest.mark.parametrize(
    "target", ["", "nul\0nul", "x" * 4095, "x" * 100_000, "../" * 1000], ids=len
)
def test_a_link_with_a_strange_target_can_be_seen_and_removed(
    workshop: Workshop, target: str
) -> None:
    workshop.put("link", kind="symlink", target=target)
    link = workshop.folder / "link"

    assert link.is_symlink()
    errno_of(link.readlink)
    errno_of(link.stat)
    assert workshop.names() == {"good", "link"}
    link.unlink()
    assert workshop.names() == {"good"}


def test_strange_numbers_that_make_sense_are_shown(workshop: Workshop) -> None:
    latest = (1 << 63) - 1
    workshop.put("late", mtime_ns=Int64(latest), ctime_ns=Int64(latest))
    workshop.put("early", mtime_ns=Int64(-latest), ctime_ns=Int64(-latest))
    workshop.put("floats", mode=420.0, uid=1.0, mtime_ns=1e9, size=Decimal128("0"), rev=3.0)
    workshop.put("strangers", uid=0xFFFFFFFF, gid=0xFFFFFFFF)
    workshop.put("many xattrs", xattrs=[{"name": f"user.{n}", "value": b"x"} for n in range(5000)])
    workshop.put(
        "odd xattrs", xattrs=[{"name": "", "value": b"x"}, {"name": "a\0b", "value": b"x"}]
    )
    workshop.put("high inode", _id=Int64((1 << 63) - 1))
    workshop.put("flagged inode", _id=Int64((1 << 60) + 2))

    listed = {each.name for each in workshop.folder.iterdir()}
    assert {"good", "late", "early", "floats", "high inode"} <= listed
    assert (workshop.folder / "floats").stat().st_mtime_ns == 10**9
    for name in listed:
        errno_of((workshop.folder / name).stat)
        errno_of(partial(os.listxattr, workshop.folder / name))
    assert (workshop.folder / "good").read_bytes() == b"good"


def test_claims_to_seal_that_make_no_sense_end_no_mount_and_hinder_no_seal(
    workshop: Workshop,
) -> None:
    version = Int64(workshop.folder.stat().st_ino)
    state = {"kind": "dir", "state": "draft", "created_ns": Int64(1), "version": version}
    for number, sealing in enumerate(
        ([{"attempt": "x"}], {"attempt": 5}, {"attempt": "x", "answers": 5}, {"attempt": "x"})
    ):
        workshop.put(f"claimed {number}", sealing=sealing, **state)
    workshop.put("numberless", _id={"x": workshop.name}, sealing={"attempt": "x"}, **state)

    sealed = run_command(
        "seal", f"datasets/test/{workshop.name}", env={"GRIDFSMOUNT_URI": workshop.lake.uri}
    )

    assert sealed.returncode == 0, sealed.stderr
    assert_alive(workshop.mount)


def test_many_malformed_nodes_do_not_end_a_listing_early(workshop: Workshop) -> None:
    good = {f"file{number:04}": "file" for number in range(40)}
    # More than two pages of the listing, all in one place.
    bad = {f"file0020-{number:04}": "?" for number in range(2500)}
    node = workshop.node("model")
    (name,) = node["names"]
    workshop.lake.tree.insert_many(
        {**node, "_id": Int64((1 << 50) + n), "names": [{**name, "name": each}], "kind": kind}
        for n, (each, kind) in enumerate({**good, **bad}.items())
    )

    assert workshop.names() == {"good", *good}


def test_a_mount_of_a_lake_with_a_malformed_area_still_shows_the_others(
    breakable: Lake, lake_uri: str, tmp_path: Path
) -> None:
    with mounted(lake_uri, tmp_path) as mount:
        (mount.version() / "file").write_bytes(b"content")
        mount.stop()
        breakable.tree.update_one({"_id": 3}, {"$set": {"kind": "?"}})
        mount.start()

        assert (mount.version() / "file").read_bytes() == b"content"
        assert errno_of(partial(os.listdir, mount.path / "models")) == errno.EIO
        assert "models" not in {each.name for each in mount.path.iterdir()}
        assert_alive(mount)
