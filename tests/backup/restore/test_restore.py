"""What a snapshot shows, back in a lake: whole, the same, and without copying what is there."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gridfs
import pytest

from gridfsmount.adopting.adopter import Adopter
from gridfsmount.backup import building, planting
from gridfsmount.backup.restoring import Options, Result, restoring
from gridfsmount.checking.checker import Checker
from gridfsmount.checking.findings import Finding
from gridfsmount.core.model import ROOT, SNAPSHOTS, Kind, Name, Node, State
from gridfsmount.errors import (
    AlreadyExists,
    Damaged,
    FileSystemError,
    InvalidArgument,
    NotFound,
    ReadOnly,
)
from gridfsmount.places import find, parse
from gridfsmount.store.lake import Founder, Lake
from gridfsmount.vaults.directory import DirectoryVault
from gridfsmount.versions.deleting import look_at, remove, take_out
from gridfsmount.versions.forking import fork
from gridfsmount.versions.hashing import Hasher
from gridfsmount.versions.lineage import link
from gridfsmount.versions.sealing import Sealer
from gridfsmount.versions.tagging import set_tag, tags_of
from gridfsmount.versions.walk import walk
from tests.backup.restore.snapshots import back_up, blob_path, flip
from tests.mongod import Mongod
from tests.store.lakes import Garden, bare, one_deployment, opened, orphans, raw

BY = "ana@gpu1"
OWNER = Founder(0, 0)
DATA = b"data" * 1000
LARGE = os.urandom(100_000)
V1 = "datasets/test/v1"

SHOWN = ("kind", "mode", "uid", "gid", "mtime_ns", "atime_ns", "size", "target", "xattrs")
"""What is restored of a node, but for its content."""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is large here goes by itself, and in several inserts."""
    monkeypatch.setattr(planting, "SMALL_BYTES", 50_000)
    monkeypatch.setattr(planting, "INSERT_BYTES", 30_000)


@pytest.fixture
def store(any_uri: str) -> Iterator[Lake]:
    with opened(any_uri) as lake:
        yield lake


@pytest.fixture
def other(mongod: Mongod) -> Iterator[Lake]:
    """An empty lake in another database."""
    name = f"other_{os.urandom(8).hex()}"
    with opened(mongod.uri_for(name)) as lake:
        yield lake
    with mongod.client() as client:
        client.drop_database(name)


def restored(
    lake: Lake,
    vault: DirectoryVault,
    path: str | None = None,
    target: str | None = None,
    *,
    snapshot: str = "",
    overwrite: bool = False,
) -> Result:
    options = Options(BY, OWNER, overwrite)
    origin = None if path is None else parse(path)
    goal = None if target is None else parse(target)
    name = snapshot or vault.snapshots()[-1]
    with restoring(lake, vault, name, origin, goal, options) as work:
        return work.run(lambda files, size: None)


def seal(lake: Lake, version: Node) -> Node:
    return Sealer(lake, Hasher(lake)).seal(version, "said", BY)


def delete(lake: Lake, path: str) -> None:
    doomed = look_at(lake, parse(path))
    attempt = take_out(lake, doomed, by=BY, with_tags=True)
    remove(lake, doomed, attempt, lambda count: None)


def node_at(lake: Lake, path: str) -> Node:
    node = find(lake, parse(path))
    assert node is not None, path
    return node


def looks(lake: Lake, path: str = "/") -> list[tuple[object, ...]]:
    """All that is seen below a path, bytes too."""
    top = node_at(lake, path) if path != "/" else lake.tree.get(ROOT)
    assert top is not None
    links: dict[int, str] = {}
    garden = Garden(lake)
    return [
        (
            entry.path,
            links.setdefault(entry.node.inode, entry.path),
            len(entry.node.names),
            *(getattr(entry.node, field) for field in SHOWN),
            garden.read(entry.node) if entry.node.kind is Kind.FILE else None,
            entry.node.state,
            entry.node.created_ns,
            entry.node.record and entry.node.record.seal,
        )
        for entry in walk(lake, top)
        if entry.node.inode != SNAPSHOTS
    ]


def faults(lake: Lake) -> list[Finding]:
    found: list[Finding] = []
    Checker(
        lake, data=True, told=found.append, moved=lambda _: None, pause=lambda seconds: None
    ).run()
    return found


def chunks(lake: Lake) -> int:
    return lake.connection.collection("chunks").count_documents({})


def clear(lake: Lake) -> None:
    """As a database that is new; the lake keeps its id."""
    for name in ("files", "chunks", "trash", "uploads"):
        lake.connection.collection(name).delete_many({})
    lake.connection.collection("tree").delete_many({"_id": {"$gte": 1024}})


def plant(garden: Garden, path: str = V1) -> Node:
    """A version with a little of everything."""
    version = garden.version(path)
    twin = garden.file(version, "twin", DATA)
    folder = garden.folder(version, "folder")
    garden.lake.commits.add_link(twin, Name(folder.inode, "other"))
    garden.file(folder, "large", LARGE)
    garden.file(version, "folder.txt", b"text")
    garden.file(version, "empty")
    garden.file(garden.folder(folder, "deep"), "same", DATA)
    garden.folder(version, "nothing")
    special = replace(
        bare(garden.number(), (version.inode, "link"), kind=Kind.SYMLINK), target="twin"
    )
    garden.lake.commits.create(replace(special, version=version.inode))
    plain = garden.file(version, "odd \n name", b"odd")
    fields = {"mode": 0o4711, "uid": 12, "gid": 34, "mtime_ns": 5, "atime_ns": 7}
    plain = garden.lake.tree.update(plain.inode, fields)
    garden.lake.tree.set_xattrs(plain, {"user.a": b"\0\xff"})
    return version


def test_a_sealed_version_comes_back_sealed_with_the_same_digest_and_no_byte_is_copied(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    seal(store, plant(garden))
    before = looks(store, V1)
    back_up(store, vault)
    delete(store, V1)
    count = chunks(store)
    done = restored(store, vault, V1)
    node = node_at(store, V1)
    assert looks(store, V1) == before
    assert node.state is State.SEALED
    assert node.record is not None
    assert node.record.seal is not None
    assert done.restored[0].digest == node.record.seal.digest
    assert (chunks(store), done.restored[0].counts.uploaded_bytes) == (count, 0)
    assert all(entry.node.frozen for entry in walk(store, node))
    assert faults(store) == []
    assert store.trash.sweep(-1).contents == 0


def test_contents_that_are_gone_come_from_their_blobs(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    seal(store, plant(garden))
    before = looks(store, V1)
    back_up(store, vault)
    delete(store, V1)
    store.trash.sweep(-1)
    assert chunks(store) == 0
    done = restored(store, vault, V1)
    assert looks(store, V1) == before
    # `twin` and `same` had contents of their own, with the same bytes: one is enough.
    sizes = len(DATA) + len(LARGE) + len(b"text") + len(b"odd")
    assert done.restored[0].counts.uploaded_bytes == sizes
    assert faults(store) == []
    assert store.leases.expired() == 0
    assert not store.leases.active


@one_deployment
def test_a_version_is_restored_beside_the_one_that_is_there(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    version = plant(garden)
    before = looks(store, V1)
    back_up(store, vault)
    garden.write(node_at(store, f"{V1}/folder.txt"), b"changed")
    restored(store, vault, V1, "datasets/other/v7")
    assert looks(store, "datasets/other/v7") == before
    assert node_at(store, "datasets/other/v7").state is State.DRAFT
    assert garden.read(node_at(store, f"{V1}/folder.txt")) == b"changed"
    garden.write(node_at(store, "datasets/other/v7/folder.txt"), b"a draft can be written")
    assert faults(store) == []
    assert version.inode != node_at(store, "datasets/other/v7").inode


def test_nothing_is_replaced_unless_that_is_asked_for(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    plant(garden)
    before = looks(store, V1)
    back_up(store, vault)
    garden.write(node_at(store, f"{V1}/folder.txt"), b"changed")
    garden.file(node_at(store, V1), "new", b"new")
    with pytest.raises(AlreadyExists, match=r"--as.*--overwrite"):
        restored(store, vault, V1)
    with pytest.raises(AlreadyExists, match="--overwrite"):
        restored(store, vault, f"{V1}/folder.txt")
    restored(store, vault, V1, overwrite=True)
    assert looks(store, V1) == before
    assert [name for name, _ in entries(store, "datasets/test")] == ["v1"]
    assert faults(store) == []


@one_deployment
def test_what_is_sealed_is_never_replaced(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    version = plant(garden)
    back_up(store, vault)
    seal(store, version)
    before = looks(store)
    with pytest.raises(ReadOnly, match=r"sealed.*--as"):
        restored(store, vault, V1, overwrite=True)
    with pytest.raises(ReadOnly, match=r"sealed.*--as"):
        restored(store, vault, f"{V1}/folder", overwrite=True)
    assert looks(store) == before


@one_deployment
def test_folders_and_files_in_a_version_are_restored_into_a_draft(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    version = plant(garden)
    before = looks(store, V1)
    back_up(store, vault)
    for name in ("folder.txt", "twin"):
        node = node_at(store, f"{V1}/{name}")
        store.commits.unlink(node, Name(version.inode, name))
    with pytest.raises(AlreadyExists):
        restored(store, vault, f"{V1}/folder")
    restored(store, vault, f"{V1}/folder", overwrite=True)
    restored(store, vault, f"{V1}/folder.txt")
    restored(store, vault, f"{V1}/twin")
    # A hard link of which only one name was restored is a file of its own.
    assert [(row[0], *row[3:]) for row in looks(store, V1)] == [
        (row[0], *row[3:]) for row in before
    ]
    restored(store, vault, f"{V1}/folder/deep", "datasets/test/v9/a/b/c")
    assert garden.read(node_at(store, "datasets/test/v9/a/b/c/same")) == DATA
    assert faults(store) == []


@one_deployment
def test_a_dataset_comes_back_with_its_versions_tags_and_lineage(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    version = seal(store, plant(garden))
    forked = fork(store, parse(V1), parse("datasets/test/v2"), by=BY, owner=OWNER, moved=ignore)
    folder = node_at(store, "datasets/test")
    set_tag(store, folder, "production", "v1", OWNER)
    store.tree.update(folder.inode, {"mode": 0o750, "uid": 5})
    model = garden.version("models/digits/v1")
    garden.file(model, "weights", b"w")
    link(store, model, parse(V1), note="trained", by=BY)
    before = looks(store, "datasets/test")
    back_up(store, vault)
    delete(store, "datasets/test/v2")
    delete(store, V1)
    restored(store, vault, "datasets/test")
    assert looks(store, "datasets/test") == before
    assert tags_of(store, folder.inode) == {"production": "v1"}
    record = node_at(store, "datasets/test/v2").record
    assert record is not None
    assert record.parent is not None
    assert record.parent.version == node_at(store, V1).inode != version.inode
    assert forked.node.inode != node_at(store, "datasets/test/v2").inode
    with pytest.raises(ReadOnly):
        restored(store, vault, "datasets/test")
    restored(store, vault, "datasets/test/production", "datasets/test/v3")
    assert looks(store, "datasets/test/v3") == looks(store, V1)
    restored(store, vault, "datasets/test", "datasets/copy")
    assert looks(store, "datasets/copy") == before


def test_a_whole_lake_comes_back_in_an_empty_database(
    store: Lake, garden: Garden, vault: DirectoryVault, other: Lake, any_uri: str
) -> None:
    seal(store, plant(garden))
    fork(store, parse(V1), parse("datasets/test/v2"), by=BY, owner=OWNER, moved=ignore)
    set_tag(store, node_at(store, "datasets/test"), "production", "v1", OWNER)
    model = garden.version("models/digits/v1")
    link(store, model, parse(V1), note="trained", by=BY)
    garden.folder(3, "nothing-yet")
    store.tree.update(node_at(store, "models").inode, {"mode": 0o700, "gid": 9})
    names = ["plain", "a/b", "/odd//../name", "%41"]
    with raw(any_uri) as database:
        bucket = gridfs.GridFSBucket(database)
        for name in names:
            bucket.upload_from_stream(name, name.encode(), chunk_size_bytes=3)
        bucket.upload_from_stream("nothing", b"")
    adopt(store)
    before = looks(store)
    assert len([row for row in before if str(row[0]).startswith("unsorted/")]) == 6
    back_up(store, vault)
    done = restored(other, vault)
    assert looks(other) == before
    assert faults(other) == []
    assert filenames(other, "unsorted") == sorted([*names, "nothing"])
    sources = node_at(other, "models/digits/v1").record
    assert sources is not None
    assert sources.sources[0].origin.version == node_at(other, V1).inode
    assert identity(other) == store.id
    assert other.restores.under_way() is None
    assert done.there == 0
    with pytest.raises(AlreadyExists, match="something in the lake"):
        restored(other, vault)


@one_deployment
def test_the_restore_of_a_whole_lake_goes_on_where_it_was_interrupted(
    store: Lake,
    garden: Garden,
    vault: DirectoryVault,
    other: Lake,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(3):
        garden.file(garden.version(f"datasets/test/v{number}"), "file", b"%c" % number)
    before = looks(store)
    back_up(store, vault)
    hang, calls = other.detached.hang, [0]

    def interrupted(*args: Any) -> Node:
        calls[0] += 1
        if calls[0] == 2:
            raise KeyboardInterrupt
        return hang(*args)

    monkeypatch.setattr(type(other.detached), "hang", lambda self, *args: interrupted(*args))
    with pytest.raises(KeyboardInterrupt):
        restored(other, vault)
    assert [name for name, _ in entries(other, "datasets/test")] == ["v0"]
    assert restored(other, vault).there == 1
    assert looks(other) == before


def test_an_interrupted_restore_leaves_nothing(
    store: Lake, garden: Garden, vault: DirectoryVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(garden)
    back_up(store, vault)
    delete(store, V1)
    store.trash.sweep(-1)
    before = looks(store)

    def interrupted(self: planting.Planter, *args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(planting.Planter, "_upload_large", interrupted)
    with pytest.raises(KeyboardInterrupt):
        restored(store, vault, V1)
    assert looks(store) == before
    assert store.connection.collection("tree").count_documents({"detached": {"$exists": True}}) == 0
    assert store.connection.collection("files").count_documents({}) == 0
    assert orphans(store) == []


def test_a_damaged_blob_is_named_by_its_path_and_nothing_is_half_restored(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    plant(garden)
    back_up(store, vault)
    delete(store, V1)
    store.trash.sweep(-1)
    folder = Path(vault.address)
    flip(blob_path(folder, LARGE), 70_000)
    with pytest.raises(Damaged, match=f"{V1}/folder/large: .*damaged"):
        restored(store, vault, V1)
    blob_path(folder, b"text").unlink()
    with pytest.raises(Damaged, match=f"{V1}/folder.txt: .*missing"):
        restored(store, vault, f"{V1}/folder.txt")
    assert entries(store, "datasets/test") == []
    assert store.connection.collection("files").count_documents({}) == 0
    assert faults(store) == []


@one_deployment
def test_a_damaged_manifest_is_not_restored_from(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    plant(garden)
    name = back_up(store, vault)
    manifest = Path(vault.address) / "snapshots" / name / "manifest.sqlite"
    flip(manifest, manifest.read_bytes().rindex(b"lake"))
    with pytest.raises(Damaged, match="restore from another snapshot"):
        restored(store, vault, V1, "datasets/test/v2")


@one_deployment
def test_a_version_whose_digest_would_be_another_does_not_appear(
    store: Lake, garden: Garden, vault: DirectoryVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal(store, plant(garden))
    back_up(store, vault)
    monkeypatch.setattr(building, "lines_of", lambda *args: iter(()))
    with pytest.raises(Damaged, match="its digest would be"):
        restored(store, vault, V1, "datasets/test/v2")
    assert [name for name, _ in entries(store, "datasets/test")] == ["v1"]


@one_deployment
def test_a_content_with_the_same_id_and_other_bytes_is_not_shown_again(
    store: Lake, garden: Garden, vault: DirectoryVault
) -> None:
    garden.file(garden.version(), "file", b"one")
    back_up(store, vault)
    files = store.connection.collection("files")
    files.update_one({}, {"$set": {"metadata.lake.sha256": "0" * 64}})
    done = restored(store, vault, V1, "datasets/test/v2")
    assert garden.read(node_at(store, "datasets/test/v2/file")) == b"one"
    assert done.restored[0].counts.relinked == 0


@one_deployment
def test_a_content_that_is_erased_at_this_moment_is_uploaded_after_all(
    store: Lake, garden: Garden, vault: DirectoryVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(garden)
    before = looks(store, V1)
    back_up(store, vault)
    delete(store, V1)
    find_in_trash = type(store.trash).find

    def erased(*args: Any) -> Any:
        found = find_in_trash(*args)
        store.trash.sweep(-1)
        return found

    monkeypatch.setattr(type(store.trash), "find", erased)
    restored(store, vault, V1)
    assert looks(store, V1) == before
    assert faults(store) == []


@one_deployment
@pytest.mark.parametrize(
    ("path", "target", "error"),
    [
        ("datasets/test/v8", None, NotFound),
        ("datasets/none", None, NotFound),
        (V1, "datasets/test", InvalidArgument),
        (V1, "datasets/test/v2/folder", InvalidArgument),
        ("datasets/test", "models/a/v1", InvalidArgument),
        (V1, "datasets/te st/v2", InvalidArgument),
        ("unsorted/file", "datasets/test/v2/file", NotFound),
    ],
)
def test_places_that_make_no_sense_are_refused(
    store: Lake,
    garden: Garden,
    vault: DirectoryVault,
    path: str,
    target: str | None,
    error: type[FileSystemError],
) -> None:
    plant(garden)
    back_up(store, vault)
    with pytest.raises(error):
        restored(store, vault, path, target)


def entries(lake: Lake, path: str) -> list[tuple[str, Node]]:
    return list(lake.tree.page(node_at(lake, path).inode, "", 1000).entries)


def ignore(count: int) -> None:
    pass


def adopt(lake: Lake) -> None:
    while Adopter(lake).adopt_batch():
        pass


def filenames(lake: Lake, path: str) -> list[str]:
    nodes = [entry.node for entry in walk(lake, node_at(lake, path))]
    return sorted(
        str(lake.contents.filename(node.content)) for node in nodes if node.content is not None
    )


def identity(lake: Lake) -> str:
    return str((lake.connection.collection("lake").find_one({"_id": "lake"}) or {})["id"])
