"""What a snapshot shows, and what it costs to make one more."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bson import Int64

from gridfsmount.backup import copying, creating
from gridfsmount.backup.creating import Options
from gridfsmount.core.model import SNAPSHOTS, Kind, Name, Node
from gridfsmount.core.vault import snapshot_time
from gridfsmount.errors import InUse, LakeError, NotPermitted
from gridfsmount.store import moments
from gridfsmount.store.encoding import decode_node, encode_node
from gridfsmount.store.lake import Lake
from gridfsmount.vaults.directory import DirectoryVault, make_directory_vault
from tests.backup.create.snapshots import (
    as_backed,
    assert_whole,
    back_up,
    bytes_of,
    manifest_of,
    nodes_of,
)
from tests.store.lakes import CHUNK, Garden, bare, one_deployment

DATA = bytes(range(256)) * 10


@contextmanager
def reading_forbidden(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail(*_: object) -> None:
        raise AssertionError("bytes of a content were read")

    with monkeypatch.context() as patch:
        patch.setattr(lake.contents, "examine", fail)
        patch.setattr(lake.contents, "examine_whole", fail)
        yield


def hash_lost(lake: Lake, node: Node) -> None:
    """As if a driver had uploaded the content of a node, and it was adopted."""
    assert node.content is not None
    lake.connection.collection("files").update_one(
        {"filename": lake.tree.path(node.inode)},
        {"$unset": {"metadata.lake.sha256": "", "metadata.lake.chunk_xxh3": ""}},
    )


def test_a_snapshot_has_every_node_as_it_is(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    version = garden.version()
    folder = garden.folder(version, "folder")
    first = garden.file(folder, "first", DATA)
    store.commits.add_link(first, Name(version.inode, "another name"))
    garden.file(version, "empty")
    for kind, target in ((Kind.SYMLINK, "folder/first"), (Kind.FIFO, ""), (Kind.SOCKET, "")):
        node = bare(garden.number(), (version.inode, kind.value), kind=kind, version=version.inode)
        store.commits.create(replace(node, target=target, xattrs={"user.a": b"\0b"}, atime_ns=7))
    done = back_up(store, vault)
    documents = store.connection.collection("tree").find({"_id": {"$ne": SNAPSHOTS}})
    wanted = {each.inode: as_backed(each) for each in map(decode_node, documents)}
    found = {each.inode: each for each in nodes_of(vault).values()}
    assert {number: names(each) for number, each in found.items()} == {
        number: names(each) for number, each in wanted.items()
    }
    summary = done.summary
    assert (summary.files, summary.bytes) == (3, 2 * len(DATA))
    assert (summary.blobs, summary.new_blobs, summary.new_bytes) == (1, 1, len(DATA))
    assert summary.skipped == ()
    assert bytes_of(vault, nodes_path(vault, first)) == DATA
    assert_whole(vault)


def names(node: Node) -> Node:
    """With its names in one order."""
    return replace(node, names=tuple(sorted(node.names, key=lambda each: each.name)))


def nodes_path(vault: DirectoryVault, node: Node) -> str:
    return next(path for path, each in nodes_of(vault).items() if each.inode == node.inode)


def test_the_summary_says_whether_it_shows_one_moment(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    garden.version()
    done = back_up(store, vault)
    snapshots = store.connection.deployment.transactions
    assert done.summary.consistent is snapshots
    assert any("standalone" in each for each in done.remarks) is not snapshots


@one_deployment
def test_a_snapshot_shows_one_moment_while_writers_go_on(
    store: Lake, garden: Garden, vault: DirectoryVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moments, "PAGE", 1)  # what changes in between would show
    version = garden.version()
    ahead = garden.file(version, "ahead", b"0")
    for number in range(20):
        garden.file(version, f"between {number}")
    behind = garden.file(version, "behind", b"0")
    over = threading.Event()

    def write() -> None:
        """At every moment `ahead` is ahead of `behind` by 1, or not at all."""
        nonlocal ahead, behind
        number = 0
        while not over.is_set():
            number += 1
            ahead = garden.write(ahead, b"%d" % number)
            behind = garden.write(behind, b"%d" % number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            back_up(store, vault)
    finally:
        over.set()
        writer.join()
    leads = set()
    for name in vault.snapshots():
        first, second = (
            int(bytes_of(vault, f"datasets/test/v1/{each}", name)) for each in ("ahead", "behind")
        )
        leads.add(first - second)
    assert leads <= {0, 1}


def test_what_was_acknowledged_before_is_in_it(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    version = garden.version()
    for number in range(5):
        garden.file(version, f"{number}", b"%d" % number)
        back_up(store, vault)
        assert f"datasets/test/v1/{number}" in nodes_of(vault)


def test_what_did_not_change_is_not_read_again(
    store: Lake, garden: Garden, vault: DirectoryVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = garden.version()
    for number in range(20):
        garden.file(version, f"{number}", b"%d" % number)
    back_up(store, vault)
    with reading_forbidden(store, monkeypatch):
        again = back_up(store, vault)
    assert (again.summary.new_blobs, again.summary.new_bytes) == (0, 0)
    garden.file(version, "new", DATA)
    third = back_up(store, vault)
    assert (third.summary.new_blobs, third.summary.new_bytes) == (1, len(DATA))
    assert len(vault.snapshots()) == 3
    assert_whole(vault)


def test_equal_contents_are_one_blob(store: Lake, garden: Garden, vault: DirectoryVault) -> None:
    version = garden.version()
    for number in range(5):
        garden.file(version, f"{number}", DATA)
    summary = back_up(store, vault).summary
    assert (summary.files, summary.blobs, summary.new_blobs) == (5, 1, 1)


@pytest.mark.parametrize("small", [10 * len(DATA), len(DATA) - 1])
def test_a_content_without_a_hash_gets_it_and_is_not_read_again(
    store: Lake,
    garden: Garden,
    vault: DirectoryVault,
    monkeypatch: pytest.MonkeyPatch,
    small: int,
) -> None:
    monkeypatch.setattr(copying, "SMALL_BYTES", small)
    node = garden.file(garden.version(), "a", DATA)
    hash_lost(store, node)
    back_up(store, vault)
    assert bytes_of(vault, "datasets/test/v1/a") == DATA
    assert node.content is not None
    assert store.contents.get(node.content).sha256 == hashlib.sha256(DATA).digest()
    with reading_forbidden(store, monkeypatch):
        back_up(store, vault)


@pytest.mark.parametrize("keeps_chunk_hashes", [False, True])
def test_what_may_not_be_noted_in_the_lake_is_known_from_the_last_snapshot(
    store: Lake,
    garden: Garden,
    vault: DirectoryVault,
    monkeypatch: pytest.MonkeyPatch,
    keeps_chunk_hashes: bool,
) -> None:
    node = garden.file(garden.version(), "a", DATA)
    lost = {"metadata.lake.sha256": ""}
    if not keeps_chunk_hashes:
        lost["metadata.lake.chunk_xxh3"] = ""
    store.connection.collection("files").update_many({}, {"$unset": lost})
    monkeypatch.setattr(
        store.connection, "deployment", replace(store.connection.deployment, writable=False)
    )
    back_up(store, vault)
    with reading_forbidden(store, monkeypatch):
        back_up(store, vault)
    # A driver uploads another under the same _id.
    assert node.content is not None
    store.connection.collection("chunks").update_many({"n": 0}, {"$set": {"data": b"x" * CHUNK}})
    store.connection.collection("files").update_many(
        {},
        {"$currentDate": {"uploadDate": True}, "$unset": {"metadata.lake.chunk_xxh3": ""}},
    )
    back_up(store, vault)
    assert bytes_of(vault, "datasets/test/v1/a") == b"x" * CHUNK + DATA[CHUNK:]


@pytest.mark.parametrize("small", [10 * len(DATA), len(DATA) - 1])
def test_a_damaged_content_is_skipped_and_named_and_the_rest_is_there(
    store: Lake,
    garden: Garden,
    vault: DirectoryVault,
    monkeypatch: pytest.MonkeyPatch,
    small: int,
) -> None:
    monkeypatch.setattr(copying, "SMALL_BYTES", small)
    version = garden.version()
    broken = {name: garden.file(version, name, DATA + name.encode()) for name in "abcd"}
    garden.file(version, "good", b"good" * 1000)
    chunks, files = (store.connection.collection(each) for each in ("chunks", "files"))
    keys = {
        name: files.find_one({"filename": f"datasets/test/v1/{name}"})["_id"]  # type: ignore[index]
        for name in broken
    }
    chunks.update_one({"files_id": keys["a"], "n": 1}, {"$set": {"data": b"x" * CHUNK}})
    chunks.delete_one({"files_id": keys["b"], "n": 1})
    files.delete_one({"_id": keys["c"]})
    files.update_one({"_id": keys["d"]}, {"$set": {"metadata.lake.sha256": "00" * 32}})
    done = back_up(store, vault)
    assert [each.split(": ")[0] for each in sorted(done.summary.skipped)] == [
        f"datasets/test/v1/{name}" for name in "abcd"
    ]
    why = dict(each.split(": ", 1) for each in done.summary.skipped)
    assert "altered" in why["datasets/test/v1/a"]
    assert "missing" in why["datasets/test/v1/b"]
    assert "missing" in why["datasets/test/v1/c"]
    assert bytes_of(vault, "datasets/test/v1/good") == b"good" * 1000
    manifest = manifest_of(vault)
    ((lost,),) = manifest.query("SELECT count(*) FROM content WHERE sha256 IS NULL")
    manifest.close()
    assert lost == 4
    assert done.summary.blobs == 1
    assert_whole(vault)


def test_what_a_vault_has_needs_not_be_whole_in_the_lake(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    version = garden.version()
    garden.file(version, "a", DATA)
    back_up(store, vault)
    store.connection.collection("files").delete_many({})
    store.connection.collection("chunks").delete_many({})
    done = back_up(store, vault)
    assert done.summary.skipped == ()
    assert done.lost
    assert any(each.startswith("datasets/test/v1/a: ") for each in done.remarks)
    assert bytes_of(vault, "datasets/test/v1/a") == DATA


@pytest.mark.parametrize("damaged", [0, 1])
def test_a_content_that_has_a_good_twin_is_in_the_vault_though_it_is_damaged(
    store: Lake, garden: Garden, vault: DirectoryVault, damaged: int
) -> None:
    version = garden.version()
    twins = [garden.file(version, name, DATA) for name in ("first", "second")]
    broken = twins[damaged].content
    assert broken is not None
    store.contents.trim_chunks(broken, 1)
    done = back_up(store, vault)
    assert done.summary.skipped == ()
    assert {bytes_of(vault, f"datasets/test/v1/{each}") for each in ("first", "second")} == {DATA}
    assert_whole(vault)


def test_what_is_removed_while_a_backup_runs_is_in_it_all_the_same(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    node = garden.file(garden.version(), "a", DATA)
    with creating.creating(store, vault, Options(by="x")) as creation:
        creation.read_tree()
        store.commits.unlink(node, node.names[0])
        assert store.trash.sweep(-1).contents == 0
        creation.copy()
        done = creation.publish()
    assert done.summary.skipped == ()
    assert bytes_of(vault, "datasets/test/v1/a") == DATA
    store.connection.collection("trash").update_many({}, {"$unset": {"claim": ""}})
    assert store.trash.sweep(-1).contents == 1


def test_what_hangs_in_no_folder_is_left_out(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    version = garden.version()
    gone = 2_000_000
    tree = store.connection.collection("tree")
    linked = bare(garden.number(), (version.inode, "linked"), (gone, "lost"))
    tree.insert_many(
        [
            encode_node(linked),
            encode_node(bare(garden.number(), (gone, "lost too"))),
            encode_node(bare(garden.number(), (0, "nowhere"), kind=Kind.DIRECTORY)),
            # Two folders that lead to each other.
            encode_node(bare(3_000_000, (3_000_001, "a"), kind=Kind.DIRECTORY)),
            encode_node(bare(3_000_001, (3_000_000, "b"), kind=Kind.DIRECTORY)),
            # A folder in itself as well.
            encode_node(
                bare(3_000_002, (version.inode, "loop"), (3_000_002, "again"), kind=Kind.DIRECTORY)
            ),
        ]
    )
    done = back_up(store, vault)
    assert done.summary.skipped == ()
    found = nodes_of(vault)
    assert set(found) == {
        "",
        "datasets",
        "models",
        "unsorted",
        "datasets/test",
        "datasets/test/v1",
        "datasets/test/v1/linked",
        "datasets/test/v1/loop",
    }
    assert found["datasets/test/v1/linked"].names == (Name(version.inode, "linked"),)


def test_malformed_nodes_are_skipped_with_a_sentence(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    garden.file(garden.version(), "a", DATA)
    store.connection.collection("tree").insert_one({"_id": Int64(5000), "kind": "file"})
    done = back_up(store, vault)
    (sentence,) = done.summary.skipped
    assert "5000" in sentence
    assert bytes_of(vault, "datasets/test/v1/a") == DATA


def test_versions_that_are_being_made_or_removed_are_left_out(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    version = garden.version()
    garden.file(version, "a", DATA)
    now = store.tree.get(version.inode)
    assert now is not None
    store.detached.detach(now, "datasets/test/v1", "ana")
    back_up(store, vault)
    assert set(nodes_of(vault)) == {"", "datasets", "models", "unsorted", "datasets/test"}


def test_names_of_snapshots_stay_in_order_when_the_clock_is_set_back(
    store: Lake, vault: DirectoryVault
) -> None:
    first = back_up(store, vault)
    future = "2999-12-31T23-59-58Z"
    place = Path(vault.address) / "snapshots"
    (place / first.snapshot).rename(place / future)
    assert snapshot_time(back_up(store, vault).snapshot) > snapshot_time(future)


def test_the_vault_of_another_lake_is_refused(store: Lake, tmp_path: Path) -> None:
    vault = make_directory_vault(tmp_path / "other", "another lake")
    with pytest.raises(NotPermitted, match="vault of another lake: of another lake"):
        back_up(store, vault)


def test_one_at_a_time_works_on_a_vault(store: Lake, vault: DirectoryVault) -> None:
    with (
        vault.claim("backup prune", "ana@gpu1"),
        pytest.raises(InUse, match=r"backup prune.*ana@gpu1"),
    ):
        back_up(store, vault)
    back_up(store, vault)


def test_a_lease_that_was_lost_ends_the_backup(
    store: Lake, garden: Garden, vault: DirectoryVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    garden.file(garden.version(), "a", DATA)
    with creating.creating(store, vault, Options(by="x")) as creation:
        creation.read_tree()

        def lost() -> None:
            raise InUse("this process was silent for too long")

        monkeypatch.setattr(creation._claim, "renew", lost)
        with pytest.raises(InUse, match="silent"):
            creation.copy()
    assert vault.snapshots() == []


def test_a_blob_that_is_damaged_in_the_vault_is_copied_anew(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    garden.file(garden.version(), "a", DATA)
    back_up(store, vault)
    vault.note_verified({hashlib.sha256(DATA).digest(): False})
    done = back_up(store, vault)
    assert done.summary.new_blobs == 1
    assert_whole(vault)


def test_the_moment_asks_for_a_longer_memory_of_the_server_when_it_is_too_short(
    store: Lake, vault: DirectoryVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymongo.errors import OperationFailure

    def too_old(*_: object, **__: object) -> Any:
        raise OperationFailure("snapshot is too old", 239)

    monkeypatch.setattr(store.moments._nodes, "find", too_old, raising=False)
    with pytest.raises(LakeError, match="minSnapshotHistoryWindowInSeconds"):
        back_up(store, vault)
    assert vault.snapshots() == []


def test_a_snapshot_of_a_previous_format_or_none_at_all_is_no_reason_to_fail(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    node = garden.file(garden.version(), "a", DATA)
    first = back_up(store, vault)
    path = Path(vault.address) / "snapshots" / first.snapshot / "manifest.sqlite"
    path.chmod(0o600)
    path.write_bytes(b"no manifest")
    hash_lost(store, node)
    back_up(store, vault)
    assert bytes_of(vault, "datasets/test/v1/a") == DATA
