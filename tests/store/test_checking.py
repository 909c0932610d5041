"""`check` finds each fault, names the file, and mends what it promises to mend."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId, Regex
from gridfs import GridFSBucket

from gridfsmount.adopting.adopter import Adopter
from gridfsmount.checking import checker
from gridfsmount.checking.checker import Checker
from gridfsmount.checking.findings import Fault, Finding
from gridfsmount.checking.mender import Mender
from gridfsmount.core.model import UNSORTED, Inode, Kind, Name, Node, State
from gridfsmount.store.audit import Audit
from gridfsmount.store.lake import Lake
from gridfsmount.versions.hashing import Hasher
from gridfsmount.versions.sealing import Sealer
from tests.store.lakes import CHUNK, Garden, bare, one_deployment, opened, raw

pytestmark = one_deployment

DATA = bytes(range(256)) * 20  # five chunks
A = "datasets/test/v1/a"
NOWHERE = 999_999
COLLECTIONS = ("files", "chunks", "tree", "uploads", "trash")


@pytest.fixture
def version(garden: Garden) -> Node:
    return garden.version()


@pytest.fixture
def node(garden: Garden, version: Node) -> Node:
    node = garden.file(version, "a", DATA)
    garden.lake.leases.release_finished()
    return node


def check(
    lake: Lake,
    *,
    data: bool = False,
    repair: bool = False,
    meanwhile: Callable[[float], None] = lambda _: None,
) -> list[Finding]:
    found: list[Finding] = []
    mender = Mender(lake)

    def told(finding: Finding) -> None:
        found.append(finding)
        if repair:
            mender.mend(finding)

    examination = Checker(lake, data=data, told=told, moved=lambda _: None, pause=meanwhile)
    examination.run()
    if mender.moved_folders:
        examination.run_nodes()
    return found


def faults(lake: Lake, *, data: bool = False) -> list[tuple[Fault, str]]:
    return [(each.fault, each.path) for each in check(lake, data=data)]


def assert_mended(lake: Lake) -> None:
    """One repair is enough, and nothing is less afterwards."""
    before = [collection(lake, name).count_documents({}) for name in COLLECTIONS]
    assert check(lake, repair=True) != []
    assert check(lake) == []
    after = [collection(lake, name).count_documents({}) for name in COLLECTIONS]
    assert all(now >= then for then, now in zip(before, after, strict=True))


def collection(lake: Lake, name: str) -> Any:
    return lake.connection.collection(name)


def key(node: Node) -> Any:
    assert node.content is not None
    return ObjectId(str(node.content))


# --- clean --------------------------------------------------------------------------------------


def test_a_lake_with_everything_in_it_is_clean(store: Lake, garden: Garden, any_uri: str) -> None:
    version = garden.version()
    folder = garden.folder(version, "folder")
    file = garden.file(folder, "file", DATA)
    store.commits.add_link(file, Name(version.inode, "link"))
    shared = store.tree.get(file.inode)
    assert shared is not None
    store.commits.create(
        replace(shared, inode=Inode(garden.number()), names=(Name(version.inode, "fork"),))
    )
    garden.file(version, "empty")
    link = bare(garden.number(), (version.inode, "symlink"), kind=Kind.SYMLINK)
    store.commits.create(replace(link, target="anywhere"))
    loose = bare(garden.number(), (UNSORTED, "loose"), version=UNSORTED)
    store.commits.create(loose)
    garden.write(loose, DATA)
    garden.file(version, "replaced", DATA)
    replaced = store.tree.find(version.inode, "replaced")
    assert replaced is not None
    garden.write(replaced, b"new")
    removed = garden.file(version, "removed", DATA)
    store.commits.unlink(removed, removed.names[0])
    garden.upload(file, DATA)  # and not committed yet
    with raw(any_uri) as database:
        bucket = GridFSBucket(database, chunk_size_bytes=1000)
        bucket.upload_from_stream("not/adopted yet", DATA)
        database["fs.chunks"].insert_one({"files_id": ObjectId(), "n": 0, "data": b"uploading"})
    assert check(store, data=True) == []


def test_a_sealed_version_is_clean_and_its_filenames_are_checked(
    store: Lake, version: Node, node: Node
) -> None:
    store.tree.update(version.inode, {"state": State.SEALED.value})
    assert check(store, data=True) == []
    collection(store, "files").update_one({}, {"$set": {"filename": "elsewhere"}})
    assert faults(store) == [(Fault.WRONG_FILENAME, A)]
    assert_mended(store)


def test_the_second_look_spares_what_has_moved_on(store: Lake, node: Node) -> None:
    collection(store, "tree").update_one({"_id": node.inode}, {"$set": {"size": Int64(1)}})

    def meanwhile(_: float) -> None:
        collection(store, "tree").update_one(
            {"_id": node.inode}, {"$set": {"size": Int64(len(DATA))}}
        )

    assert check(store, meanwhile=meanwhile) == []


def test_what_is_different_at_each_look_is_work_in_progress(store: Lake, node: Node) -> None:
    looks: list[float] = []

    def meanwhile(_: float) -> None:
        looks.append(0)
        collection(store, "tree").update_one({"_id": node.inode}, {"$inc": {"size": 1}})

    collection(store, "tree").update_one({"_id": node.inode}, {"$inc": {"size": 1}})
    assert check(store, meanwhile=meanwhile) == []
    assert len(looks) == checker.LOOKS - 1


def test_work_in_progress_is_never_told(store: Lake, version: Node, any_uri: str) -> None:
    stop = threading.Event()

    def work(name: str) -> None:
        with opened(any_uri) as lake:  # as another mount
            garden = Garden(lake)
            while not stop.is_set():
                node = garden.file(version, name, DATA)
                node = garden.write(node, DATA[:CHUNK])
                target = lake.tree.find(version.inode, f"{name}-new")
                old, new = node.names[0], Name(version.inode, f"{name}-new")
                node = lake.commits.rename(node, old, new, target, None)
                lake.leases.release_finished()

    threads = [threading.Thread(target=work, args=(f"{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    suspected: list[float] = []

    def meanwhile(_: float) -> None:
        suspected.append(0)
        time.sleep(0.2)  # the mounts go on

    try:
        deadline = time.monotonic() + 60
        while len(suspected) < 5:
            assert check(store, data=True, meanwhile=meanwhile) == []
            assert time.monotonic() < deadline, "nothing ever looked wrong"
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert check(store, data=True) == []


# --- chunks -------------------------------------------------------------------------------------


def test_missing_chunks(store: Lake, node: Node) -> None:
    collection(store, "chunks").delete_many({"n": {"$in": [0, 2, 3]}})
    (found,) = check(store)
    assert (found.fault, found.path, found.content) == (Fault.MISSING_CHUNK, A, node.content)
    assert found.detail == "chunks 0, 2 to 3 of 5"


def test_all_chunks_missing(store: Lake, node: Node) -> None:
    collection(store, "chunks").delete_many({})
    assert faults(store, data=True) == [(Fault.MISSING_CHUNK, A)]


def test_extra_chunks(store: Lake, node: Node) -> None:
    collection(store, "chunks").insert_many(
        [{"files_id": key(node), "n": n, "data": b"more"} for n in (5, 7)]
    )
    (found,) = check(store)
    assert (found.fault, found.path) == (Fault.EXTRA_CHUNK, A)
    assert found.detail == "5, 7 of 5"


def test_doubled_chunks(store: Lake, node: Node) -> None:
    collection(store, "chunks").drop_indexes()
    collection(store, "chunks").create_index([("files_id", 1), ("n", 1)])
    collection(store, "chunks").insert_one({"files_id": key(node), "n": 1, "data": b"again"})
    found = check(store)
    assert [each.fault for each in found] == [Fault.MISSING_INDEX, Fault.EXTRA_CHUNK]
    assert found[0].detail == "fs.chunks: files_id, n (unique)"
    assert found[1].detail == "1 of 5"


def test_bytes_are_looked_at_only_when_asked_for(store: Lake, node: Node) -> None:
    chunks = collection(store, "chunks")
    chunks.update_one({"n": 1}, {"$set": {"data": b"\0" * CHUNK}})
    chunks.update_one({"n": 3}, {"$set": {"data": b"short"}})
    assert check(store) == []
    altered, short = check(store, data=True)
    assert (altered.fault, altered.path, altered.detail) == (
        Fault.WRONG_HASH,
        A,
        "chunk 1 altered",
    )
    assert (short.fault, short.path, short.detail) == (
        Fault.WRONG_LENGTH,
        A,
        f"chunk 3 has 5 bytes, not {CHUNK}",
    )


def test_the_hash_of_the_whole_is_verified(store: Lake, node: Node) -> None:
    collection(store, "files").update_one({}, {"$set": {"metadata.lake.sha256": "0" * 64}})
    assert faults(store, data=True) == [(Fault.WRONG_HASH, A)]
    collection(store, "files").update_one({}, {"$unset": {"metadata.lake.sha256": ""}})
    assert check(store, data=True) == []


def test_large_contents_are_verified_piece_by_piece(
    store: Lake, garden: Garden, version: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gridfsmount.scanning.SMALL", CHUNK)
    monkeypatch.setattr("gridfsmount.scanning.READ_BYTES", 3 * CHUNK)
    read: list[int] = []
    told: list[Finding] = []
    for number in range(10):
        garden.file(version, f"large-{number}", DATA * 3)
        garden.file(version, f"small-{number}", b"small" * (number + 1))
    Checker(store, data=True, told=told.append, moved=lambda now: read.append(now.bytes)).run()
    assert (told, read[-1]) == ([], 10 * len(DATA * 3) + 55 * 5)
    store.connection.collection("chunks").update_one({"n": 7}, {"$set": {"data": b"\0" * CHUNK}})
    (found,) = check(store, data=True)
    assert found.detail == "chunk 7 altered"


def test_contents_of_drivers_are_verified_as_far_as_can_be(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    with raw(any_uri) as database:
        GridFSBucket(database, chunk_size_bytes=1000).upload_from_stream("loose", DATA)
        database["fs.chunks"].update_one({"n": 2}, {"$set": {"data": b"x" * 999}})
    assert faults(store, data=True) == [(Fault.WRONG_LENGTH, "loose")]


def test_stray_chunks_are_told_once_no_upload_can_be_behind_them(store: Lake, node: Node) -> None:
    old = ObjectId.from_datetime(datetime.now(UTC) - timedelta(hours=2))
    chunks = collection(store, "chunks")
    chunks.insert_many(
        [
            {"_id": ObjectId(), "files_id": "new", "n": 0, "data": b"x"},
            {"_id": old, "files_id": "old", "n": 0, "data": b"x"},
            {"files_id": "old, and written on", "n": 0, "data": b"x"},
        ]
    )
    (found,) = check(store)
    assert (found.fault, str(found.content)) == (Fault.STRAY_CHUNKS, "old")


def test_every_owner_of_chunks_is_looked_at(
    store: Lake, garden: Garden, version: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gridfsmount.store.audit.CHUNK_BATCH", 3)
    for number in range(5):
        garden.file(version, f"{number}", DATA)
    lost = [7, 7.5, "seven", {"a": 7}, True, datetime(2020, 1, 1, tzinfo=UTC)]
    collection(store, "chunks").insert_many(
        [
            {"_id": f"{each}{n}", "files_id": each, "n": n, "data": b"x"}
            for each in lost
            for n in (0, 1)
        ]
    )
    found = check(store)
    assert [each.fault for each in found] == [Fault.STRAY_CHUNKS] * len(lost)


def test_patterns_in_place_of_keys_match_nothing(store: Lake, node: Node) -> None:
    collection(store, "chunks").insert_one({"files_id": Regex("("), "n": 0, "data": b"x"})
    collection(store, "tree").update_one({"_id": node.inode}, {"$set": {"content": Regex("(")}})
    malformed = (Fault.MALFORMED_NODE, f"inode {node.inode}")
    assert set(faults(store)) == {malformed, (Fault.UNREACHABLE_CONTENT, A)}


def test_chunks_without_any_content_are_counted(store: Lake, node: Node) -> None:
    collection(store, "chunks").insert_many([{"n": 0}, {"n": 1}])
    (found,) = check(store)
    assert (found.fault, found.detail) == (Fault.STRAY_CHUNKS, "2 chunks without files_id")


# --- contents -----------------------------------------------------------------------------------


def test_a_dangling_file_gets_its_files_document_back_from_the_trash(
    store: Lake, garden: Garden, node: Node
) -> None:
    document = collection(store, "files").find_one()
    assert node.content is not None
    collection(store, "files").delete_one({})
    assert faults(store) == [(Fault.DANGLING, A)]
    check(store, repair=True)
    assert faults(store) == [(Fault.DANGLING, A)]  # nothing can be done
    store.trash.announce(node.content, "a")
    collection(store, "trash").update_one({}, {"$set": {"file": document}})
    assert_mended(store)
    assert garden.read(node) == DATA


def test_an_unreachable_content_comes_to_light_in_unsorted(
    store: Lake, garden: Garden, node: Node
) -> None:
    collection(store, "tree").delete_one({"_id": node.inode})
    assert faults(store) == [(Fault.UNREACHABLE_CONTENT, A)]
    assert_mended(store)
    folder = store.tree.find(UNSORTED, "lost+found")
    assert folder is not None
    ((name, found),) = store.tree.page(folder.inode, "", 10).entries
    assert name == "datasets%2Ftest%2Fv1%2Fa"
    assert garden.read(found) == DATA


def test_two_unreachable_contents_of_one_name_both_come_to_light(
    store: Lake, garden: Garden, version: Node
) -> None:
    for text in (b"one", b"two"):
        node = garden.file(version, "a", text)
        collection(store, "tree").delete_one({"_id": node.inode})
    store.leases.release_finished()
    assert_mended(store)
    folder = store.tree.find(UNSORTED, "lost+found")
    assert folder is not None
    entries = store.tree.page(folder.inode, "", 10).entries
    assert {garden.read(found) for _, found in entries} == {b"one", b"two"}


@pytest.mark.parametrize("refuge", ["uploads", "trash"])
def test_a_content_that_is_being_made_or_removed_is_not_unreachable(
    store: Lake, node: Node, refuge: str
) -> None:
    collection(store, "tree").delete_one({"_id": node.inode})
    collection(store, refuge).insert_one({"_id": key(node)})
    assert check(store) == []


def test_revisions_of_drivers_need_no_node(store: Lake, node: Node) -> None:
    collection(store, "tree").delete_one({"_id": node.inode})
    collection(store, "files").update_one({}, {"$set": {"metadata.lake.adopted": True}})
    assert check(store) == []


def test_what_a_driver_has_replaced_needs_no_node(
    store: Lake, garden: Garden, node: Node, any_uri: str
) -> None:
    with raw(any_uri) as database:
        newer = GridFSBucket(database).upload_from_stream(A, b"newer")
        assert Adopter(store).adopt_batch() == 1
        now = store.tree.get(node.inode)
        assert now is not None
        assert garden.read(now) == b"newer"
        assert check(store) == []
        # But once that is gone as well, it is one more that nobody sees.
        store.commits.unlink(now, now.names[0])
        assert database["fs.files"].find_one({"_id": newer}) is None
    assert faults(store) == [(Fault.UNREACHABLE_CONTENT, A)]


def test_a_wrong_filename(store: Lake, node: Node) -> None:
    wrong = {"filename": "datasets/old/a", "metadata.lake.filename": "datasets/old/a"}
    collection(store, "files").update_one({}, {"$set": wrong})
    (found,) = check(store)
    assert (found.fault, found.path) == (Fault.WRONG_FILENAME, A)
    assert "'datasets/old/a'" in found.detail
    assert_mended(store)
    document = collection(store, "files").find_one()
    assert (document["filename"], document["metadata"]["lake"]["filename"]) == (A, A)


def test_a_rename_by_a_driver_is_for_a_mount_to_follow(store: Lake, node: Node) -> None:
    collection(store, "files").update_one({}, {"$set": {"filename": "datasets/test/v1/b"}})
    assert faults(store) == [(Fault.RENAMED, A)]
    check(store, repair=True)
    assert faults(store) == [(Fault.RENAMED, A)]


@pytest.mark.parametrize(
    "change", [{"length": "many"}, {"length": -1}, {"chunkSize": 0}, {"chunkSize": None}]
)
def test_a_malformed_content(store: Lake, node: Node, change: dict[str, Any]) -> None:
    collection(store, "files").update_one({}, {"$set": change})
    assert faults(store, data=True) == [(Fault.MALFORMED_CONTENT, A)]


def test_every_content_is_looked_at_whatever_its_id(
    store: Lake, garden: Garden, version: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gridfsmount.store.audit.BATCH", 2)
    odd = [7, Int64(8), 7.5, "seven", {"a": 7}, True, datetime(2020, 1, 1, tzinfo=UTC), b"7"]
    for number in range(5):
        garden.file(version, f"{number}", DATA)
    collection(store, "files").insert_many(
        [
            {"_id": each, "length": 3, "chunkSize": 2, "filename": f"f{n}"}
            for n, each in enumerate(odd)
        ]
    )
    collection(store, "chunks").insert_many(
        [{"files_id": float(each) if each == 7 else each, "n": 0, "data": b"ab"} for each in odd]
    )
    found = check(store)
    assert {each.path for each in found} == {f"f{n}" for n in range(len(odd))}
    assert {each.detail for each in found} == {"chunk 1 of 2"}
    collection(store, "chunks").update_many({"data": b"ab"}, {"$set": {"data": b"a"}})
    short = [each for each in check(store, data=True) if each.fault is Fault.WRONG_LENGTH]
    assert len(short) == len(odd)


# --- nodes --------------------------------------------------------------------------------------


def test_a_wrong_size(store: Lake, node: Node) -> None:
    collection(store, "tree").update_one({"_id": node.inode}, {"$set": {"size": 1}})
    (found,) = check(store)
    assert (found.fault, found.path) == (Fault.WRONG_SIZE, A)
    assert found.detail == "1 bytes in the tree, 5,120 in the content"
    assert_mended(store)


def test_a_size_without_a_content(store: Lake, node: Node) -> None:
    collection(store, "tree").update_one({"_id": node.inode}, {"$unset": {"content": ""}})
    assert (Fault.WRONG_SIZE, A) in faults(store)
    assert_mended(store)  # and what it showed is in unsorted


def test_a_file_whose_folder_is_gone_comes_to_light_in_its_version(
    store: Lake, garden: Garden, version: Node
) -> None:
    folder = garden.folder(version, "folder")
    node = garden.file(folder, "a", DATA)
    collection(store, "tree").delete_one({"_id": folder.inode})
    (found,) = check(store)
    assert (found.fault, found.inode) == (Fault.UNREACHABLE_NODE, node.inode)
    assert_mended(store)
    assert store.tree.path(node.inode) == "datasets/test/v1/lost+found/a"


def test_a_whole_folder_comes_to_light_with_all_that_is_in_it(
    store: Lake, garden: Garden, version: Node
) -> None:
    gone = garden.folder(version, "gone")
    top = garden.folder(gone, "top")
    garden.file(garden.folder(top, "inner"), "a", DATA)
    collection(store, "tree").delete_one({"_id": gone.inode})
    (found,) = check(store)  # not one for everything below
    assert found.inode == top.inode
    assert_mended(store)
    names = {each["filename"] for each in collection(store, "files").find()}
    assert names == {"datasets/test/v1/lost+found/top/inner/a"}


def test_what_lost_its_version_comes_to_light_in_unsorted(
    store: Lake, garden: Garden, version: Node
) -> None:
    folder = garden.folder(version, "folder")
    node = garden.file(folder, "a", DATA)
    collection(store, "tree").delete_one({"_id": version.inode})
    assert_mended(store)
    assert store.tree.path(node.inode) == "unsorted/lost+found/folder/a"
    moved = store.tree.get(node.inode)
    assert moved is not None
    assert moved.version == UNSORTED
    assert garden.read(moved) == DATA


def test_a_version_without_its_dataset_comes_to_light_as_one(
    store: Lake, garden: Garden, version: Node, node: Node
) -> None:
    collection(store, "tree").delete_one({"_id": version.parent})
    assert_mended(store)
    assert store.tree.path(node.inode) == "datasets/lost-and-found/v1/a"
    assert {each["filename"] for each in collection(store, "files").find()} == {
        "datasets/lost-and-found/v1/a"
    }


def test_what_a_sealed_version_lost_comes_to_light_and_can_change_again(
    store: Lake, garden: Garden, version: Node
) -> None:
    folder = garden.folder(garden.folder(version, "gone"), "folder")
    file = garden.file(folder, "file", DATA)
    Sealer(store, Hasher(store)).seal(version, "", "ana@gpu1")
    collection(store, "tree").delete_one({"names.name": "gone"})

    assert_mended(store)

    found = store.tree.get(file.inode)
    assert found is not None
    assert store.tree.path(file.inode) == "unsorted/lost+found/folder/file"
    garden.write(found, b"other")


def test_a_sealed_version_without_its_dataset_comes_to_light_and_stays_sealed(
    store: Lake, garden: Garden, version: Node
) -> None:
    garden.file(version, "file", DATA)
    sealed = Sealer(store, Hasher(store)).seal(version, "", "ana@gpu1")
    collection(store, "tree").delete_one({"_id": version.parent})

    assert_mended(store)

    found = store.tree.get(version.inode)
    assert found is not None
    assert (found.state, found.frozen) == (State.SEALED, sealed.frozen)
    assert store.tree.path(version.inode) == "datasets/lost-and-found/v1"


def test_two_of_one_name_both_come_to_light(store: Lake, garden: Garden, version: Node) -> None:
    nodes = [bare(garden.number(), (NOWHERE + n, "a"), version=version.inode) for n in range(3)]
    store.tree.insert_many(nodes)
    assert_mended(store)
    folder = store.tree.find(version.inode, "lost+found")
    assert folder is not None
    names = [name for name, _ in store.tree.page(folder.inode, "", 10).entries]
    assert names[0] == "a"
    assert len(names) == 3


def test_what_hangs_on_a_file_is_unreachable(store: Lake, garden: Garden, node: Node) -> None:
    below = bare(garden.number(), (node.inode, "below"), version=node.version)
    store.tree.insert(below)
    (found,) = check(store)
    assert (found.fault, found.inode) == (Fault.UNREACHABLE_NODE, below.inode)
    assert_mended(store)


def test_folders_in_a_cycle(store: Lake, garden: Garden, version: Node) -> None:
    outer = garden.folder(version, "outer")
    inner = garden.folder(outer, "inner")
    node = garden.file(garden.folder(inner, "deep"), "a", DATA)
    store.tree.set_names(outer, [Name(inner.inode, "outer")], 1)
    (found,) = check(store)
    assert (found.fault, found.inode) == (Fault.CYCLE, outer.inode)
    assert_mended(store)
    assert store.tree.path(node.inode) == "datasets/test/v1/lost+found/outer/inner/deep/a"


def test_a_folder_in_itself(store: Lake, garden: Garden, version: Node) -> None:
    folder = garden.folder(version, "folder")
    store.tree.set_names(folder, [Name(folder.inode, "folder")], 1)
    assert [each.fault for each in check(store)] == [Fault.CYCLE]
    assert_mended(store)


def test_a_name_of_several_that_hangs_on_nothing(store: Lake, node: Node) -> None:
    store.tree.set_names(node, [*node.names, Name(Inode(NOWHERE), "b")], 1)
    (found,) = check(store)
    assert (found.fault, found.path) == (Fault.LOST_NAME, A)
    assert_mended(store)
    left = store.tree.get(node.inode)
    assert left is not None
    assert left.names == node.names


def test_an_interrupted_rename(store: Lake, node: Node) -> None:
    store.tree.park(node, node.names[0], node.names)
    assert [each.fault for each in check(store)] == [Fault.INTERRUPTED]
    assert_mended(store)
    assert store.tree.path(node.inode) == A


@pytest.mark.parametrize("change", [{"kind": "device"}, {"names": []}, {"mode": "rw"}])
def test_a_malformed_node(store: Lake, node: Node, change: dict[str, Any]) -> None:
    collection(store, "tree").update_one({"_id": node.inode}, {"$set": change})
    (found,) = check(store)
    assert (found.fault, found.inode) == (Fault.MALFORMED_NODE, node.inode)


def test_what_lies_below_a_malformed_folder_is_told_all_the_same(
    store: Lake, garden: Garden, version: Node
) -> None:
    folder = garden.folder(version, "folder")
    node = garden.file(folder, "a", DATA)
    for names in ([], "x", ["x"], [{"parent": "x"}], {"name": "x"}):
        collection(store, "tree").update_one({"_id": folder.inode}, {"$set": {"names": names}})
        collection(store, "chunks").delete_one({"n": 0})
        found = check(store, repair=True, data=True)
        assert [each.fault for each in found] == [Fault.MALFORMED_NODE, Fault.MISSING_CHUNK]
        assert store.tree.path(node.inode) is None


def test_a_number_that_is_not_whole(store: Lake, node: Node) -> None:
    for number in (7000.5, Decimal128("7001.5")):
        names = [{"parent": 1, "name": str(number)}]
        collection(store, "tree").insert_one({"_id": number, "names": names})
    assert [each.fault for each in check(store)] == [Fault.MALFORMED_NODE] * 2


def test_a_node_without_a_number(store: Lake, node: Node) -> None:
    collection(store, "tree").insert_one({"_id": "seven", "names": [{"parent": 1, "name": "x"}]})
    assert faults(store) == [(Fault.MALFORMED_NODE, "'seven'")]


def test_every_node_is_looked_at(
    store: Lake, garden: Garden, version: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gridfsmount.store.audit.BATCH", 3)
    garden.plant(20, version.inode)
    collection(store, "tree").update_many({"kind": "file"}, {"$set": {"size": 1}})
    assert len(check(store)) == 20


# --- the frame ----------------------------------------------------------------------------------


def test_missing_indexes_and_folders_are_made(store: Lake, node: Node) -> None:
    for name in ("files", "chunks", "tree", "uploads"):
        collection(store, name).drop_indexes()
    collection(store, "tree").delete_one({"_id": UNSORTED})
    found = check(store)
    assert [each.fault for each in found].count(Fault.MISSING_INDEX) == 8
    assert (Fault.MISSING_FOLDER, "unsorted") in [(each.fault, each.path) for each in found]
    assert_mended(store)


def test_an_audit_of_an_empty_lake(store: Lake) -> None:
    audit = Audit(store.connection)
    assert audit.bytes() == 0
    assert audit.sizes() == (5, 0)
    assert check(store, data=True) == []
