"""Giving foreign contents their nodes, without a mount: what drivers may store, and do later."""

import datetime
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import bson
import pytest
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from gridfs import GridFSBucket
from pymongo.database import Database

from gridfsmount.adopting.adopter import Adopter
from gridfsmount.adopting.follower import Follower
from gridfsmount.core.model import (
    AREAS,
    NO_FOLDER,
    UNSORTED,
    ContentId,
    Inode,
    Kind,
    Name,
    Node,
    State,
)
from gridfsmount.errors import Damaged
from gridfsmount.store.backlog import Turn
from gridfsmount.store.encoding import content_id
from gridfsmount.store.lake import Lake
from gridfsmount.store.seam import Seam
from tests.mounting import eventually
from tests.store.lakes import Garden, at_once, one_deployment, opened, orphans, raw

pytestmark = one_deployment

MAX_INT64 = (1 << 63) - 1


class Bucket:
    """The bucket as another GridFS client uses it."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self.database = database
        self.files = database["fs.files"]
        self.chunks = database["fs.chunks"]
        self.gridfs = GridFSBucket(database, chunk_size_bytes=1000)

    def upload(self, filename: str, data: bytes = b"data", **options: Any) -> Any:
        return self.gridfs.upload_from_stream(filename, data, **options)

    def insert(self, document: dict[str, Any] | bytes, data: bytes = b"") -> Any:
        """Insert a files document as it is, with one chunk if there is data."""
        if isinstance(document, bytes):
            self.files.insert_one(RawBSONDocument(document))
            return None
        identity = document.setdefault("_id", bson.ObjectId())
        if data:
            self.chunks.insert_one({"files_id": identity, "n": 0, "data": data})
        self.files.insert_one({"length": len(data), "chunkSize": 1000, **document})
        return identity

    def metadata(self, identity: Any) -> Any:
        document = self.files.find_one({"_id": identity})
        assert document is not None
        return document.get("metadata")


@pytest.fixture
def bucket(store: Lake, any_uri: str) -> Any:
    with raw(any_uri) as database:
        yield Bucket(database)


def adopt(store: Lake) -> None:
    adopter = Adopter(store)
    for _ in range(10):
        if not adopter.adopt_batch():
            return
    raise AssertionError("there is always more to adopt")


def reconcile(store: Lake) -> None:
    follower = Follower(store)
    for _ in range(10):
        if not follower.follow_renames():
            break
    else:
        raise AssertionError("there is always more to follow")
    after: Inode | None = NO_FOLDER
    while after is not None:
        _, after = follower.follow_removals(after)


def files(store: Lake) -> dict[str, Node]:
    """All files of the lake, by path."""
    nodes = {
        each["_id"]: store.tree.get(each["_id"])
        for each in store.connection.collection("tree").find({"kind": "file"}, {"_id": 1})
    }
    paths = store.tree.paths([Inode(number) for number in nodes])
    return {paths[number]: node for number, node in nodes.items() if node is not None}


def shown(store: Lake) -> dict[str, bytes | None]:
    """All files of the lake with their bytes, None for those that cannot be read."""
    found: dict[str, bytes | None] = {}
    for path, node in files(store).items():
        try:
            found[path] = Garden(store).read(node)
        except Damaged:
            found[path] = None
    return found


def assert_sound(store: Lake) -> None:
    assert orphans(store) == []
    assert store.tree.existing(list(AREAS.values())) == set(AREAS.values())
    contents = [node.content for node in files(store).values() if node.content]
    assert len(set(contents)) == len(contents)


# --- where uploads appear -----------------------------------------------------------------------


def test_an_upload_below_a_version_makes_its_folders(store: Lake, bucket: Bucket) -> None:
    bucket.upload("datasets/mnist/v1/train/a.bin", b"bytes")
    adopt(store)
    assert shown(store) == {"datasets/mnist/v1/train/a.bin": b"bytes"}
    mnist = store.tree.find(AREAS["datasets"], "mnist")
    assert mnist is not None
    assert mnist.version is None
    version = store.tree.find(mnist.inode, "v1")
    assert version is not None
    assert (version.version, version.state) == (version.inode, State.DRAFT)
    train = store.tree.find(version.inode, "train")
    assert train is not None
    assert (train.version, train.state, train.mode) == (version.inode, None, None)
    (file,) = files(store).values()
    assert (file.version, file.mode, file.uid) == (version.inode, None, None)


def test_everything_else_appears_below_unsorted(store: Lake, bucket: Bucket) -> None:
    for name in ("x", "a/b/c", "datasets/x", "datasets/mnist/v1", "../x", "/etc/passwd", "a//b"):
        bucket.upload(name, name.encode())
    adopt(store)
    assert shown(store) == {
        "unsorted/x": b"x",
        "unsorted/a/b/c": b"a/b/c",
        "unsorted/datasets/x": b"datasets/x",
        "unsorted/datasets/mnist/v1": b"datasets/mnist/v1",
        "unsorted/..%2Fx": b"../x",
        "unsorted/%2Fetc%2Fpasswd": b"/etc/passwd",
        "unsorted/a%2F%2Fb": b"a//b",
    }
    assert {node.version for node in files(store).values()} == {UNSORTED}
    assert_sound(store)


def test_the_time_of_the_upload_is_the_files(store: Lake, bucket: Bucket) -> None:
    at = datetime.datetime(2001, 2, 3, 4, 5, 6, 789_000, datetime.UTC)
    bucket.insert({"filename": "x", "uploadDate": at}, b"data")
    adopt(store)
    (node,) = files(store).values()
    assert node.mtime_ns == 981_173_106_789_000_000


DATES = [
    *(None, "yesterday", 5, DatetimeMS(MAX_INT64), DatetimeMS(-MAX_INT64)),
    *(DatetimeMS(253_402_300_799_999), DatetimeMS(-62_135_596_800_000)),
    *(DatetimeMS(9_223_372_036_855), DatetimeMS(-1)),
]


def test_an_upload_of_any_date_is_adopted(store: Lake, bucket: Bucket) -> None:
    for number, date in enumerate(DATES):
        bucket.insert({"filename": f"{number}", "uploadDate": date}, b"data")
    adopt(store)
    assert shown(store) == {f"unsorted/{number}": b"data" for number in range(len(DATES))}
    assert all(-MAX_INT64 <= node.mtime_ns <= MAX_INT64 for node in files(store).values())


METADATA: list[Any] = [
    *(None, {}, [], [1, {"lake": 5}], "text", 7),
    {"lake": "Constance"},
    {"lake": None},
    {"lake": []},
    {"lake": {"depth": 251}},
    {"lake": {"format": "jpeg"}},
    {"lake": {"format": None}},
    {"lake": {"format": 0}},
    {"lake": {"format": True}},
    {"lake": {"format": []}},
    {"lake": {"filename": "other", "sha256": "wrong", "chunk_xxh3": b"wrong"}},
    {"author": "me", "nested": {"a.b": 1, "$x": [2]}},
]


def test_metadata_of_any_shape_is_adopted_and_nothing_of_it_is_lost(
    store: Lake, bucket: Bucket
) -> None:
    for number, metadata in enumerate(METADATA):
        bucket.insert({"_id": number, "filename": f"{number}", "metadata": metadata}, b"data")
    adopt(store)
    assert shown(store) == {f"unsorted/{number}": b"data" for number in range(len(METADATA))}
    for number, metadata in enumerate(METADATA):
        found = bucket.metadata(number)
        marker = found.pop("lake")
        assert (marker["format"], marker["adopted"]) == (1, True)
        assert marker["filename"] == f"{number}"
        kept = marker.get("metadata", found)
        if "lake" in marker:
            kept["lake"] = marker["lake"]
        assert kept == metadata


def test_no_metadata_is_as_good_as_any(store: Lake, bucket: Bucket) -> None:
    identity = bucket.insert({"filename": "x"}, b"data")
    adopt(store)
    assert shown(store) == {"unsorted/x": b"data"}
    assert set(bucket.metadata(identity)) == {"lake"}


def test_a_filename_of_any_type_is_adopted(store: Lake, bucket: Bucket) -> None:
    filenames: list[object] = [None, None, 5, 5, True, b"x", ["x"], {"x": 1}, "", ""]
    for number, filename in enumerate(filenames):
        bucket.insert({"_id": number, "filename": filename}, b"%d" % number)
    adopt(store)
    expected = {f"unsorted/untitled-{n}": b"%d" % n for n in range(len(filenames))}
    assert shown(store) == expected


def test_missing_filenames_are_adopted(store: Lake, bucket: Bucket) -> None:
    for identity in (5, "5", "../x"):
        bucket.insert({"_id": identity}, str(identity).encode())
    adopt(store)
    found = shown(store)
    assert len(found) == 3
    assert set(found.values()) == {b"5", b"../x"}
    assert "unsorted/untitled-..%2Fx" in found


def test_an_upload_without_usable_sizes_is_shown_and_cannot_be_read(
    store: Lake, bucket: Bucket
) -> None:
    sizes = [(-1, 1000), ("4", 1000), (None, 1000), (4, 0), (4, None), (1e300, 4)]
    for number, (length, chunk_size) in enumerate(sizes):
        bucket.insert({"filename": f"{number}", "length": length, "chunkSize": chunk_size})
    bucket.upload("y", b"fine")
    adopt(store)
    expected: dict[str, bytes | None] = {f"unsorted/{number}": None for number in range(6)}
    assert shown(store) == expected | {"unsorted/y": b"fine"}


# --- what no driver writes, and a broken one does -----------------------------------------------


def bson_string(key: bytes, value: bytes) -> bytes:
    """A BSON element that may hold what is not UTF-8."""
    return b"\x02" + key + b"\0" + (len(value) + 1).to_bytes(4, "little") + value + b"\0"


def bson_document(*elements: bytes) -> bytes:
    body = b"".join(elements)
    return (len(body) + 5).to_bytes(4, "little") + body + b"\0"


def elements(document: dict[str, Any]) -> bytes:
    return bson.encode(document)[4:-1]


BROKEN = bson_string(b"filename", b"caf\xe9 \xff/\xed\xa0\x80")
SIZES = elements({"length": 4, "chunkSize": 1000})


def test_a_filename_that_is_not_utf8_is_adopted(store: Lake, bucket: Bucket) -> None:
    bucket.chunks.insert_one({"files_id": 1, "n": 0, "data": b"data"})
    bucket.insert(bson_document(elements({"_id": 1}), SIZES, BROKEN))
    bucket.upload("y", b"fine")
    adopt(store)
    adopt(store)
    found = shown(store)
    assert set(found.values()) == {b"data", b"fine"}
    assert len(found) == 2
    reconcile(store)
    assert shown(store) == found


def test_an_id_that_is_not_utf8_disturbs_nobody(store: Lake, bucket: Bucket) -> None:
    bucket.upload("y", b"fine")
    bucket.insert(bson_document(bson_string(b"_id", b"\xff"), SIZES, elements({"filename": "x"})))
    adopt(store)
    reconcile(store)
    assert shown(store) == {"unsorted/y": b"fine"}


def test_an_id_of_null_disturbs_nobody(store: Lake, bucket: Bucket) -> None:
    garden = Garden(store)
    empty = garden.file(garden.version(), "empty")
    bucket.insert({"_id": None, "filename": "x"})
    bucket.upload("y", b"fine")
    adopt(store)
    reconcile(store)
    assert shown(store) == {"unsorted/y": b"fine", "datasets/test/v1/empty": b""}
    assert store.tree.get(empty.inode) == empty


def test_removing_a_content_whose_id_is_null_removes_nothing_else(
    store: Lake, bucket: Bucket
) -> None:
    # A query for null finds all nodes without a content: every folder, and the root.
    garden = Garden(store)
    garden.file(garden.version(), "empty")
    changes = store.foreign.watch()
    bucket.insert({"_id": None, "filename": "x"})
    bucket.files.delete_one({"_id": None})
    before = list(store.connection.collection("tree").find())
    for _ in range(2):
        change = changes.next_change()
        if change is not None:
            Follower(store).follow([change.content])
    changes.close()
    assert list(store.connection.collection("tree").find()) == before


def test_metadata_that_is_not_utf8_can_be_removed_and_restored(store: Lake, bucket: Bucket) -> None:
    bucket.chunks.insert_one({"files_id": 1, "n": 0, "data": b"data"})
    metadata = b"\x03metadata\0" + bson_document(bson_string(b"author", b"Andr\xe9"))
    bucket.insert(bson_document(elements({"_id": 1, "filename": "x"}), SIZES, metadata))
    adopt(store)
    (node,) = files(store).values()
    store.commits.unlink(node, node.names[0])
    assert shown(store) == {}
    assert bucket.files.count_documents({}) == 0
    store.tree.insert(node)
    store.trash.sweep(-1)
    assert shown(store) == {"unsorted/x": b"data"}


# --- names that clash ---------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("x", "x/y", "x/y/z"), ("x/y/z", "x/y", "x")])
@pytest.mark.parametrize("batches", [1, 3])
def test_a_name_that_is_also_a_folder(
    store: Lake, bucket: Bucket, order: tuple[str, ...], batches: int
) -> None:
    identities = {}
    for name in order:
        identities[name] = bucket.upload(name, name.encode())
        if batches > 1:
            adopt(store)
    adopt(store)
    found = shown(store)
    assert sorted(body for body in found.values() if body) == [b"x", b"x/y", b"x/y/z"]
    assert_sound(store)
    for path in found:
        assert path in {
            *("unsorted/x", "unsorted/x/y", "unsorted/x/y/z", "unsorted/x%2Fy"),
            *("unsorted/x%2Fy%2Fz", f"unsorted/x~{identities['x']}"),
            f"unsorted/x%2Fy~{identities['x/y']}",
        }


def test_a_clean_name_and_a_hostile_one_may_share_an_encoding(store: Lake, bucket: Bucket) -> None:
    bucket.upload("..", b"hostile")
    bucket.upload("%2E%2E", b"clean")
    adopt(store)
    found = shown(store)
    assert sorted(body for body in found.values() if body) == [b"clean", b"hostile"]
    assert found["unsorted/%2E%2E"] == b"hostile"


def test_an_upload_into_a_sealed_version_goes_to_unsorted(store: Lake, bucket: Bucket) -> None:
    version = Garden(store).version()
    store.tree.update(version.inode, {"state": "sealed"})
    bucket.upload("datasets/test/v1/x", b"late")
    adopt(store)
    assert shown(store) == {"unsorted/datasets%2Ftest%2Fv1%2Fx": b"late"}


def test_an_upload_below_a_file_or_a_tag_goes_to_unsorted(store: Lake, bucket: Bucket) -> None:
    garden = Garden(store)
    version = garden.version()
    garden.file(version, "file", b"mine")
    tag = replace(
        garden.file(version, "x"),
        inode=Inode(garden.number()),
        kind=Kind.SYMLINK,
        names=(Name(version.parent, "tag"),),
        target="v1",
        version=None,
    )
    store.tree.insert(tag)
    bucket.upload("datasets/test/v1/file/below", b"1")
    bucket.upload("datasets/test/tag/below", b"2")
    adopt(store)
    found = shown(store)
    assert found["unsorted/datasets%2Ftest%2Fv1%2Ffile%2Fbelow"] == b"1"
    assert found["unsorted/datasets%2Ftest%2Ftag%2Fbelow"] == b"2"
    assert found["datasets/test/v1/file"] == b"mine"


# --- revisions ----------------------------------------------------------------------------------


def at(second: int) -> datetime.datetime:
    return datetime.datetime(2020, 1, 1, 0, 0, second, tzinfo=datetime.UTC)


@pytest.mark.parametrize("batches", [1, 3])
def test_the_newest_revision_is_shown(store: Lake, bucket: Bucket, batches: int) -> None:
    names = [
        f"{name}-{''.join(map(str, seconds))}"
        for name in ("x", "datasets/d/v1/x", "../x", "y" * 300)
        for seconds in ((1, 2, 3), (3, 2, 1), (2, 3, 1))
    ]
    for turn in range(3):
        for name in names:
            second = int(name[-3:][turn])
            bucket.insert({"filename": name, "uploadDate": at(second)}, b"%d" % second)
        if batches > 1:
            adopt(store)
    adopt(store)
    assert list(shown(store).values()) == [b"3"] * len(names)
    assert bucket.files.count_documents({}) == 3 * len(names)
    newest = round(at(3).timestamp()) * 1_000_000_000
    assert {(node.size, node.mtime_ns) for node in files(store).values()} == {(1, newest)}


def test_when_the_newest_is_removed_the_one_before_shows(store: Lake, bucket: Bucket) -> None:
    names = ("x", "datasets/d/v1/x", "../x")
    for second in (1, 2, 3):
        for name in names:
            bucket.insert({"filename": name, "uploadDate": at(second)}, b"%d" % second)
    adopt(store)
    inodes = {path: node.inode for path, node in files(store).items()}
    for second in (3, 2):
        bucket.files.delete_many({"uploadDate": at(second)})
        reconcile(store)
        assert list(shown(store).values()) == [b"%d" % (second - 1)] * 3
        assert {path: node.inode for path, node in files(store).items()} == inodes
    bucket.files.delete_many({})
    reconcile(store)
    assert files(store) == {}


def test_removing_an_older_revision_changes_nothing(store: Lake, bucket: Bucket) -> None:
    old = bucket.insert({"filename": "x", "uploadDate": at(1)}, b"1")
    bucket.insert({"filename": "x", "uploadDate": at(2)}, b"2")
    adopt(store)
    bucket.gridfs.delete(old)
    Follower(store).follow([content_id(old)])
    assert shown(store) == {"unsorted/x": b"2"}


def test_an_upload_over_a_file_of_the_mount_is_a_revision(store: Lake, bucket: Bucket) -> None:
    garden = Garden(store)
    node = garden.file(garden.version(), "x", b"ours")
    newer = bucket.upload("datasets/test/v1/x", b"theirs")
    adopt(store)
    assert shown(store) == {"datasets/test/v1/x": b"theirs"}
    found = files(store)["datasets/test/v1/x"]
    assert (found.inode, found.mode) == (node.inode, node.mode)
    bucket.gridfs.delete(newer)
    reconcile(store)
    assert shown(store) == {"datasets/test/v1/x": b"ours"}


def test_an_upload_over_an_empty_file_of_the_mount_is_a_revision(
    store: Lake, bucket: Bucket
) -> None:
    garden = Garden(store)
    garden.file(garden.version(), "x")
    bucket.upload("datasets/test/v1/x", b"theirs")
    adopt(store)
    assert shown(store) == {"datasets/test/v1/x": b"theirs"}


# --- renames and removals by drivers ------------------------------------------------------------


RENAMES = [
    ("x1", "y1", "unsorted/y1"),
    ("x2", "datasets/d/v1/x2", "datasets/d/v1/x2"),
    ("datasets/d/v1/x3", "datasets/d/v1/deep/y3", "datasets/d/v1/deep/y3"),
    ("datasets/d/v1/x4", "models/m/v2/x4", "models/m/v2/x4"),
    ("datasets/d/v1/x5", "x5", "unsorted/x5"),
    ("x6", "../y6", "unsorted/..%2Fy6"),
    ("../y7", "y7", "unsorted/y7"),
]


def test_renamed_uploads_move(store: Lake, bucket: Bucket) -> None:
    identities = {new: bucket.upload(old, new.encode()) for old, new, _ in RENAMES}
    adopt(store)
    before = {node.inode: node.content for node in files(store).values()}
    for new, identity in identities.items():
        bucket.gridfs.rename(identity, new)
    reconcile(store)
    assert shown(store) == {path: new.encode() for _, new, path in RENAMES}
    assert {node.inode: node.content for node in files(store).values()} == before
    for new, identity in identities.items():
        assert bucket.metadata(identity)["lake"]["filename"] == new
    assert store.foreign.renamed() == []
    assert_sound(store)


def test_a_driver_that_renames_a_file_of_the_mount_keeps_its_hashes(
    store: Lake, bucket: Bucket
) -> None:
    garden = Garden(store)
    node = garden.file(garden.version(), "x", b"ours" * 1000)
    assert node.content is not None
    before = store.contents.get(node.content)
    bucket.gridfs.rename(bson.ObjectId(str(node.content)), "datasets/test/v1/y")
    reconcile(store)
    assert shown(store) == {"datasets/test/v1/y": b"ours" * 1000}
    after = store.contents.get(node.content)
    assert after == before
    assert after.sha256 is not None
    assert after.chunk_xxh3 is not None


def test_a_rename_of_what_several_files_show_moves_the_one_that_drivers_know(
    store: Lake, bucket: Bucket
) -> None:
    garden = Garden(store)
    first = garden.file(garden.version(), "x", b"shared")
    fork = garden.version("datasets/test/v2")
    store.tree.insert(
        replace(
            first,
            inode=Inode(garden.number()),
            names=(Name(fork.inode, "x"),),
            version=fork.inode,
        )
    )
    renamed = {"$set": {"filename": "datasets/test/v1/y"}}
    bucket.files.update_one({"filename": "datasets/test/v1/x"}, renamed)
    reconcile(store)
    assert shown(store) == {"datasets/test/v1/y": b"shared", "datasets/test/v2/x": b"shared"}
    assert store.foreign.renamed() == []


def test_a_name_that_is_taken_away_is_followed(store: Lake, bucket: Bucket) -> None:
    identity = bucket.upload("x", b"data")
    adopt(store)
    bucket.files.update_one({"_id": identity}, {"$unset": {"filename": ""}})
    reconcile(store)
    assert shown(store) == {f"unsorted/untitled-{identity}": b"data"}
    assert store.foreign.renamed() == []


def test_a_rename_between_the_look_and_the_mark_is_not_lost(
    store: Lake, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = bucket.upload("x.part", b"data")
    mark = store.foreign.mark

    def slow_mark(*arguments: Any) -> None:
        bucket.gridfs.rename(identity, "x")  # as soon as the upload is complete
        mark(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(type(store.foreign), "mark", lambda self, *a: slow_mark(*a))
        adopt(store)
    reconcile(store)
    assert shown(store) == {"unsorted/x": b"data"}


def test_when_the_newest_revision_is_renamed_the_one_before_shows(
    store: Lake, bucket: Bucket
) -> None:
    bucket.insert({"filename": "x", "uploadDate": at(1)}, b"1")
    newest = bucket.insert({"filename": "x", "uploadDate": at(2)}, b"2")
    adopt(store)
    bucket.gridfs.rename(newest, "y")
    reconcile(store)
    assert shown(store) == {"unsorted/x": b"1", "unsorted/y": b"2"}


def test_an_older_revision_that_is_renamed_shows_under_its_new_name(
    store: Lake, bucket: Bucket
) -> None:
    oldest = bucket.insert({"filename": "x", "uploadDate": at(1)}, b"1")
    bucket.insert({"filename": "x", "uploadDate": at(2)}, b"2")
    adopt(store)
    bucket.gridfs.rename(oldest, "y")
    reconcile(store)
    assert shown(store) == {"unsorted/x": b"2", "unsorted/y": b"1"}


def test_all_revisions_that_are_renamed_stay_one_file(store: Lake, bucket: Bucket) -> None:
    for second in (1, 2, 3):
        bucket.insert({"filename": "x", "uploadDate": at(second)}, b"%d" % second)
    adopt(store)
    bucket.files.update_many({"filename": "x"}, {"$set": {"filename": "y"}})
    reconcile(store)
    reconcile(store)
    assert shown(store) == {"unsorted/y": b"3"}


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
def test_a_rename_onto_another_upload_makes_it_a_revision(
    store: Lake, bucket: Bucket, first: int, second: int
) -> None:
    bucket.insert({"filename": "x", "uploadDate": at(first)}, b"%d" % first)
    other = bucket.insert({"filename": "y", "uploadDate": at(second)}, b"%d" % second)
    adopt(store)
    bucket.gridfs.rename(other, "x")
    reconcile(store)
    assert shown(store) == {"unsorted/x": b"2"}
    assert_sound(store)


def test_more_renames_and_removals_than_a_batch_are_followed(
    store: Lake, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gridfsmount.store.foreign._BATCH", 10)
    monkeypatch.setattr("gridfsmount.store.foreign.STRETCH", 10)
    for number in range(50):
        bucket.insert({"_id": number, "filename": f"a/{number}"})
    adopt(store)
    renamed = [{"$set": {"filename": {"$concat": ["b/", {"$toString": "$_id"}]}}}]
    bucket.files.update_many({"_id": {"$lt": 25}}, renamed)
    bucket.files.delete_many({"_id": {"$gte": 25}})
    reconcile(store)
    assert set(files(store)) == {f"unsorted/b/{number}" for number in range(25)}


def test_what_a_sealed_version_lost_stays_and_ends_no_look(store: Lake, bucket: Bucket) -> None:
    garden = Garden(store)
    version = garden.version()
    sealed = garden.file(version, "x", b"sealed")
    gone = bucket.upload("y")
    adopt(store)
    store.tree.update(version.inode, {"state": "sealed"})
    bucket.files.delete_many({"filename": "datasets/test/v1/x"})
    bucket.gridfs.delete(gone)
    reconcile(store)
    assert set(files(store)) == {"datasets/test/v1/x"}
    assert store.tree.get(sealed.inode) == sealed


def test_a_driver_that_drops_our_mark_is_adopted_again(store: Lake, bucket: Bucket) -> None:
    identity = bucket.upload("x", b"data")
    adopt(store)
    bucket.files.update_one({"_id": identity}, {"$set": {"metadata": {"mine": 1}}})
    adopt(store)
    assert shown(store) == {"unsorted/x": b"data"}
    assert bucket.metadata(identity)["mine"] == 1
    assert_sound(store)


@pytest.mark.parametrize("filename", ["datasets/test/v1/x", "datasets/test/v1/y"])
@pytest.mark.parametrize("ours", [True, False], ids=["a mount's", "a driver's"])
@pytest.mark.parametrize("told", [True, False])
def test_an_upload_with_the_metadata_of_another_is_a_new_one(
    store: Lake, bucket: Bucket, filename: str, ours: bool, told: bool
) -> None:
    if ours:
        Garden(store).file(Garden(store).version(), "x", b"old")
    else:
        bucket.upload("datasets/test/v1/x", b"old", metadata={"mine": 1})
        adopt(store)
    (old,) = bucket.gridfs.find({"filename": "datasets/test/v1/x"})
    assert old.metadata is not None
    changes = store.foreign.watch()
    copy = bucket.upload(filename, b"other bytes", metadata=old.metadata)
    change = changes.next_change()
    changes.close()
    assert change is not None
    assert change.new
    if told:
        Adopter(store).adopt_these([change.content])
    else:
        reconcile(store)
    assert shown(store) == {"datasets/test/v1/x": b"old", filename: b"other bytes"}
    kept = bucket.metadata(copy)
    assert kept.get("mine") == old.metadata.get("mine")
    assert kept["lake"]["lake"] == old.metadata["lake"]
    assert kept["lake"]["content"] == copy
    # All is said: nothing more is found, and what drivers rename is followed as ever.
    assert Follower(store).follow_renames() == 0
    bucket.gridfs.rename(copy, "datasets/test/v1/z")
    reconcile(store)
    assert shown(store)["datasets/test/v1/z"] == b"other bytes"
    assert_sound(store)


@pytest.mark.parametrize("ours", [True, False], ids=["a mount's", "a driver's"])
def test_a_content_that_is_given_the_metadata_of_another_keeps_its_bytes(
    store: Lake, bucket: Bucket, ours: bool
) -> None:
    garden = Garden(store)
    version = garden.version()
    garden.file(version, "x", b"old")
    if ours:
        garden.file(version, "y", b"other bytes")
    else:
        bucket.upload("datasets/test/v1/y", b"other bytes")
        adopt(store)
    (old,) = bucket.gridfs.find({"filename": "datasets/test/v1/x"})
    bucket.files.update_one(
        {"filename": "datasets/test/v1/y"}, {"$set": {"metadata": old.metadata}}
    )
    expected = {"datasets/test/v1/x": b"old", "datasets/test/v1/y": b"other bytes"}
    assert shown(store) == expected
    reconcile(store)
    assert shown(store) == expected
    assert Follower(store).follow_renames() == 0
    assert_sound(store)


def test_an_adoption_that_was_interrupted_is_finished(
    store: Lake, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.upload("x", b"data")

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(store.foreign), "mark", crash)
        with pytest.raises(KeyboardInterrupt):
            adopt(store)
    adopt(store)
    assert shown(store) == {"unsorted/x": b"data"}
    assert_sound(store)


# --- several mounts -----------------------------------------------------------------------------


@pytest.mark.parametrize("turn", range(2))
def test_mounts_that_adopt_at_once_make_one_node_each(
    store: Lake, bucket: Bucket, any_uri: str, turn: int, caplog: pytest.LogCaptureFixture
) -> None:
    expected = set()
    for number in range(20):
        name = ["x{}", "f/{}", "../{}", "datasets/d{}/v1/y", "c/{}/d"][number % 5].format(number)
        expected.add(bucket.upload(name, b"%d" % number))
    for name in ("c/4/d/below", "f", "x0", "x0"):  # what clashes
        expected.add(bucket.upload(name, name.encode()))

    def adopt_all() -> None:
        with opened(any_uri) as lake:
            adopt(lake)

    outcomes = at_once(*[adopt_all] * 3)
    assert outcomes == [None] * 3
    assert_sound(store)
    contents = {str(node.content) for node in files(store).values()}
    assert contents <= set(map(str, expected))
    assert len(contents) == len(expected) - 2  # two revisions of x0 are not shown
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []


@pytest.mark.parametrize("turn", range(2))
def test_mounts_that_follow_at_once_agree(
    store: Lake, bucket: Bucket, any_uri: str, turn: int
) -> None:
    for number in range(12):
        bucket.insert({"_id": number, "filename": f"x{number}", "uploadDate": at(1)}, b"old")
        bucket.insert({"filename": f"x{number}", "uploadDate": at(2)}, b"%d" % number)
    adopt(store)
    bucket.files.update_many(
        {"uploadDate": at(2)}, [{"$set": {"filename": {"$concat": ["y", "$filename"]}}}]
    )
    bucket.files.delete_many({"_id": {"$in": [0, 1, 2]}})

    def follow_all() -> None:
        with opened(any_uri) as lake:
            reconcile(lake)

    outcomes = at_once(*[follow_all] * 3)
    assert outcomes == [None] * 3
    assert shown(store) == {f"unsorted/yx{n}": b"%d" % n for n in range(12)} | {
        f"unsorted/x{n}": b"old" for n in range(3, 12)
    }
    assert_sound(store)


# --- following one change -----------------------------------------------------------------------

CHANGES: dict[str, Callable[[Bucket], object]] = {
    "upload": lambda bucket: bucket.upload("new", b"new"),
    "rename": lambda bucket: bucket.files.update_one(
        {"filename": "old"}, {"$set": {"filename": "new"}}
    ),
    "removal": lambda bucket: bucket.files.delete_one({"filename": "old"}),
    "replacement": lambda bucket: bucket.files.replace_one(
        {"filename": "old"}, {"filename": "new", "length": 3, "chunkSize": 1000}
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_server_tells_of_every_change(store: Lake, bucket: Bucket, what: str) -> None:
    bucket.upload("old", b"old")
    adopt(store)
    changes = store.foreign.watch()
    CHANGES[what](bucket)
    change = changes.next_change()
    changes.close()
    assert change is not None
    assert change.new == (what == "upload")
    Follower(store).follow([change.content])
    expected: dict[str, dict[str, bytes]] = {
        "upload": {"unsorted/old": b"old", "unsorted/new": b"new"},
        "rename": {"unsorted/new": b"old"},
        "removal": {},
        "replacement": {"unsorted/new": b"old"},
    }
    assert shown(store) == expected[what]


def test_the_server_does_not_tell_of_what_mounts_do(
    store: Lake, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gridfsmount.store.foreign.WATCH_SECONDS", 0.5)
    garden = Garden(store)
    version = garden.version()
    folder = garden.folder(version, "folder")
    changes = store.foreign.watch()
    node = garden.file(folder, "x", b"data")
    node = store.commits.rename(node, node.names[0], Name(folder.inode, "y"), None, None)
    store.commits.rename(folder, folder.names[0], Name(version.inode, "other"), None, None)
    told = [changes.next_change() for _ in range(4)]
    changes.close()
    assert told == [None] * 4


# --- many at once -------------------------------------------------------------------------------


def test_many_uploads_cost_no_more_questions_than_a_few(
    store: Lake, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    operation = Seam.operation

    def counted(seam: Seam, what: str, **options: Any) -> Any:
        asked.append(what)
        return operation(seam, what, **options)

    adopter = Adopter(store)
    monkeypatch.setattr(Seam, "operation", counted)
    costs = []
    for turn, count in enumerate((2, 400)):
        for name in ("datasets/d/v1/{}/{}", "f{}/{}"):
            bucket.files.insert_many(
                {"filename": name.format(n % 50, f"{turn}-{n}"), "length": 0, "chunkSize": 1}
                for n in range(count)
            )
        asked.clear()
        assert adopter.adopt_batch(1000) == 2 * count
        costs.append(len(asked))
    assert costs[1] < costs[0] + 5
    assert len(files(store)) == 804


def test_what_came_last_is_adopted_first(store: Lake, bucket: Bucket) -> None:
    for number in range(30):
        bucket.insert({"_id": number, "filename": f"x{number:02}"}, b"data")
    assert Adopter(store).adopt_batch(5) == 5
    assert sorted(files(store)) == [f"unsorted/x{number}" for number in range(25, 30)]


def test_a_backlog_is_read_to_its_end_while_it_gets_its_nodes(
    store: Lake, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gridfsmount.store.backlog.BATCH", 10)
    keys = [f"x{number}" for number in range(25)]
    for key in keys:
        bucket.insert({"_id": key, "filename": key}, b"data")
    assert store.backlog.count() == 25
    sizes = []
    for uploads in store.backlog.batches():
        sizes.append(len(uploads))
        Adopter(store).adopt(uploads)
    assert sizes == [10, 10, 5]
    assert store.backlog.count() == 0
    assert set(files(store)) == {f"unsorted/{key}" for key in keys}
    assert_sound(store)


def test_mounts_take_turns_at_a_backlog(
    store: Lake, any_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(any_uri) as other:
        assert store.backlog.turn() is None
        assert store.backlog.take_turn()
        assert store.backlog.take_turn(500)
        assert not other.backlog.take_turn()
        assert store.backlog.turn() == Turn(store.mount, 500)
        other.backlog.end_turn()
        assert not other.backlog.take_turn()
        store.backlog.end_turn()
        assert other.backlog.take_turn()
        monkeypatch.setattr("gridfsmount.store.backlog.TURN_SECONDS", 0)  # it died
        eventually(store.backlog.take_turn, "the turn of a dead mount is free")


def test_mounts_that_want_the_turn_at_once_get_it_one_by_one(store: Lake, any_uri: str) -> None:
    def take() -> bool:
        with opened(any_uri) as lake:
            return lake.backlog.take_turn()

    outcomes = at_once(*[take] * 4)
    assert sorted(map(str, outcomes)) == ["False", "False", "False", "True"]


# --- at the same moment -------------------------------------------------------------------------


def before(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, happens: Callable[[], object]
) -> None:
    """Let something happen just before a method is called for the first time."""
    method = getattr(owner, name)
    todo = [happens]

    def first(*args: Any, **options: Any) -> Any:
        while todo:
            todo.pop()()
        return method(*args, **options)

    monkeypatch.setattr(type(owner), name, lambda _, *args, **options: first(*args, **options))


def test_an_upload_that_is_removed_while_it_is_adopted_leaves_nothing(
    store: Lake, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = bucket.upload("x")
    bucket.upload("y", b"stays")
    before(monkeypatch, store.foreign, "mark", lambda: bucket.gridfs.delete(key))
    adopt(store)
    assert shown(store) == {"unsorted/y": b"stays"}


NEW_NAMES: dict[str, Callable[[Bucket, Any], object]] = {
    "renamed": lambda bucket, key: bucket.gridfs.rename(key, "x"),
    "uploaded again": lambda bucket, key: (
        bucket.gridfs.delete(key),
        bucket.gridfs.upload_from_stream_with_id(key, "x", b"data"),
    ),
}


@pytest.mark.parametrize("how", NEW_NAMES)
@pytest.mark.parametrize("adopted", [True, False], ids=["and adopted", "only"])
@pytest.mark.parametrize("moment", ["before its node", "before its mark", "after its mark"])
def test_an_upload_that_is_renamed_while_it_is_adopted_has_its_new_name_alone(
    store: Lake,
    bucket: Bucket,
    any_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    adopted: bool,
    how: str,
) -> None:
    key = bucket.upload("x.part", b"data")
    told: list[ContentId] = []

    def rename() -> None:
        NEW_NAMES[how](bucket, key)
        if adopted:
            with opened(any_uri) as other:
                adopt(other)
                Follower(other).follow([content_id(key)])
        else:
            told.append(content_id(key))

    moments: dict[str, tuple[object, str]] = {
        "before its node": (store.tree, "insert_many"),
        "before its mark": (store.foreign, "mark"),
        "after its mark": (store.tree, "touch"),
    }
    with monkeypatch.context() as patch:
        before(patch, *moments[moment], rename)
        adopt(store)
    Follower(store).follow(told)  # the server tells of it after the upload
    assert shown(store) == {"unsorted/x": b"data"}
    assert_sound(store)


def test_an_upload_whose_folder_is_removed_meanwhile_gets_a_new_one(
    store: Lake, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Garden(store).folder(Garden(store).version(), "folder")
    bucket.upload("datasets/test/v1/folder/new/x", b"data")
    before(monkeypatch, store.tree, "open_folders", lambda: store.tree.discard(folder.inode))
    adopt(store)
    assert shown(store) == {"datasets/test/v1/folder/new/x": b"data"}
    assert_sound(store)


def test_an_upload_into_a_version_that_is_sealed_meanwhile_goes_to_unsorted(
    store: Lake, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = Garden(store).version()
    nodes = store.connection.collection("tree")
    bucket.upload("datasets/test/v1/new/x", b"late")
    before(
        monkeypatch,
        store.tree,
        "open_folders",
        lambda: nodes.update_one({"_id": version.inode}, {"$set": {"frozen": "attempt"}}),
    )
    adopt(store)
    assert shown(store) == {"unsorted/datasets%2Ftest%2Fv1%2Fnew%2Fx": b"late"}
    assert not store.tree.has_children(version.inode)


@pytest.fixture
def older(store: Lake, bucket: Bucket) -> Any:
    """An older revision of `unsorted/x`, which shows another one."""
    found = bucket.insert({"filename": "x", "uploadDate": at(1)}, b"older")
    newest = bucket.insert({"filename": "x", "uploadDate": at(2)}, b"newest")
    adopt(store)
    bucket.gridfs.delete(newest)
    return found


def test_an_older_revision_that_is_being_erased_is_not_shown(
    store: Lake, bucket: Bucket, older: Any
) -> None:
    bucket.database["fs.trash"].insert_one({"_id": older, "since": at(1), "claim": "a sweep"})
    reconcile(store)
    assert files(store) == {}


def test_an_older_revision_that_is_shown_again_is_kept_from_the_sweep(
    store: Lake, bucket: Bucket, older: Any
) -> None:
    bucket.database["fs.trash"].insert_one({"_id": older, "since": at(1)})
    reconcile(store)
    store.trash.sweep(3600)
    assert shown(store) == {"unsorted/x": b"older"}


def test_an_older_revision_that_a_sweep_has_just_not_found_is_erased_and_not_shown(
    store: Lake, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, older: Any
) -> None:
    bucket.database["fs.trash"].insert_one({"_id": older, "since": at(1)})
    before(monkeypatch, store.contents, "erase_many", lambda: reconcile(store))
    store.trash.sweep(3600)
    assert files(store) == {}
    assert bucket.files.find_one({"_id": older}) is None
