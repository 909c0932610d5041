"""Forks: the same files with no byte copied, apart from each other from then on."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from gridfsmount.adopting.follower import Follower
from gridfsmount.checking.checker import Checker
from gridfsmount.checking.findings import Finding
from gridfsmount.core.model import Kind, Name, Node, State
from gridfsmount.errors import (
    AlreadyExists,
    Damaged,
    FileSystemError,
    InvalidArgument,
    NotFound,
    NotPermitted,
    ReadOnly,
    StoreUnavailable,
)
from gridfsmount.places import parse
from gridfsmount.store import forks
from gridfsmount.store.detached import Detached
from gridfsmount.store.forks import Forked
from gridfsmount.store.lake import Founder, Lake
from gridfsmount.versions.forking import fork
from gridfsmount.versions.hashing import Hasher
from gridfsmount.versions.sealing import Sealer
from gridfsmount.versions.walk import walk
from tests.store.lakes import Garden, bare, one_deployment, opened, orphans

BY = "ana@gpu1"
DATA = b"data" * 1000

SHOWN = (
    "kind",
    "mode",
    "uid",
    "gid",
    "mtime_ns",
    "atime_ns",
    "size",
    "content",
    "target",
    "xattrs",
)
"""What a fork has like its original."""


@pytest.fixture
def store(any_uri: str) -> Iterator[Lake]:
    with opened(any_uri) as lake:
        yield lake


def forked(
    lake: Lake, source: str, target: str, moved: Callable[[int], None] = lambda count: None
) -> Forked:
    owner = Founder(os.getuid(), os.getgid())
    return fork(lake, parse(source), parse(target), by=BY, owner=owner, moved=moved)


def seal(lake: Lake, version: Node) -> Node:
    return Sealer(lake, Hasher(lake)).seal(version, "", BY)


def faults(lake: Lake) -> list[Finding]:
    found: list[Finding] = []
    Checker(
        lake, data=True, told=found.append, moved=lambda _: None, pause=lambda seconds: None
    ).run()
    return found


def looks(lake: Lake, version: Node) -> list[tuple[object, ...]]:
    """All that a version shows, without what makes its nodes others."""
    links: dict[int, str] = {}
    return [
        (
            entry.path,
            links.setdefault(entry.node.inode, entry.path),
            *(getattr(entry.node, field) for field in SHOWN),
        )
        for entry in walk(lake, version)
    ]


def count(lake: Lake, name: str) -> int:
    return lake.connection.collection(name).count_documents({})


def at(lake: Lake, path: str) -> Node:
    node = lake.tree.at(path)
    assert node is not None, path
    return node


def filenames(lake: Lake) -> set[str]:
    return set(lake.connection.collection("files").distinct("filename"))


@pytest.fixture
def version(garden: Garden) -> Node:
    """A version with something of everything in it."""
    lake = garden.lake
    version = garden.version()
    folder = garden.folder(version, "folder")
    below = garden.folder(folder, "below")
    garden.file(version, "a", DATA)
    garden.file(below, "b", DATA[::-1])
    garden.file(folder, "empty")
    linked = garden.file(folder, "linked", b"linked")
    lake.commits.add_link(linked, Name(below.inode, "twin"))
    link = replace(
        bare(garden.number(), (folder.inode, "link"), kind=Kind.SYMLINK, version=version.inode),
        target="../anywhere",
    )
    lake.commits.create(link)
    lake.commits.create(
        bare(garden.number(), (folder.inode, "fifo"), kind=Kind.FIFO, version=version.inode)
    )
    lake.tree.update(below.inode, {"mode": 0o2751, "uid": 7, "gid": 8, "mtime_ns": 123456789})
    lake.tree.set_xattrs(at(lake, "datasets/test/v1/a"), {"user.colour": b"red"})
    return version


def test_a_fork_shows_the_same_and_no_byte_is_copied(
    store: Lake, garden: Garden, version: Node
) -> None:
    sealed = seal(store, version)
    before = {name: count(store, name) for name in ("files", "chunks")}
    done = forked(store, "datasets/test/latest", "datasets/test/v2")

    assert looks(store, done.node) == looks(store, version)
    assert {name: count(store, name) for name in before} == before
    assert done.node.state is State.DRAFT
    assert sealed.record is not None
    record, seal_of = done.node.record, sealed.record.seal
    assert record is not None
    assert seal_of is not None
    assert record.by == BY
    assert record.seal is None
    assert record.parent is not None
    assert record.parent.version == version.inode
    assert record.parent.path == "datasets/test/v1"
    assert record.parent.digest == seal_of.digest
    assert (done.files, done.bytes) == (seal_of.files, seal_of.bytes)
    assert store.versions.measure(done.node.inode) == (seal_of.files, seal_of.bytes)
    assert all(not entry.node.frozen for entry in walk(store, done.node))
    assert faults(store) == []
    assert orphans(store) == []


def test_writing_in_a_fork_never_touches_the_original_nor_the_reverse(
    store: Lake, garden: Garden, version: Node
) -> None:
    before = looks(store, version)
    second = forked(store, "datasets/test/v1", "datasets/test/v2").node
    third = forked(store, "datasets/test/v2", "datasets/other/v1").node
    garden.write(at(store, "datasets/test/v2/a"), b"new in v2")
    twin = at(store, "datasets/test/v2/folder/below/b")
    store.commits.unlink(twin, twin.names[0])
    store.tree.update(at(store, "datasets/test/v2/folder").inode, {"mode": 0o700})
    store.trash.sweep(-1)
    assert looks(store, version) == before == looks(store, third)
    assert garden.read(at(store, "datasets/test/v2/a")) == b"new in v2"

    changed = looks(store, second)
    garden.write(at(store, "datasets/test/v1/a"), b"new in v1")
    store.trash.sweep(-1)
    assert looks(store, second) == changed
    assert garden.read(at(store, "datasets/other/v1/a")) == DATA
    assert faults(store) == []


def test_a_fork_is_not_seen_until_it_is_whole(
    store: Lake, garden: Garden, version: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forks, "BATCH", 2)
    seen: list[object] = []

    def look(_: int) -> None:
        seen.append(store.tree.at("datasets/test/v2"))
        store.commits.recover()  # as a mount does that starts now
        assert store.orphans.look(version.inode, -1).orphans == ()
        seen.extend(faults(store))
        seen.extend(store.removals.clear())

    done = forked(store, "datasets/test/v1", "datasets/test/v2", look)
    assert set(seen) == {None}
    assert looks(store, done.node) == looks(store, version)


@one_deployment
def test_a_fork_of_a_draft_that_is_being_written_is_of_one_moment(
    store: Lake, garden: Garden, version: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forks, "BATCH", 1)
    before = looks(store, version)
    written = False

    def write(_: int) -> None:
        nonlocal written
        if written:
            return
        written = True
        for path in ("a", "folder/below/b", "folder/linked"):
            node = at(store, f"datasets/test/v1/{path}")
            garden.write(node, b"later")
        garden.file(version, "z", b"later")
        store.trash.sweep(3600)  # what was replaced is in the trash, and comes back from there

    done = forked(store, "datasets/test/v1", "datasets/test/v2", write)
    assert looks(store, done.node) == before
    store.trash.sweep(-1)
    assert garden.read(at(store, "datasets/test/v2/folder/below/b")) == DATA[::-1]
    assert faults(store) == []


def test_a_fork_whose_source_loses_a_content_for_good_leaves_nothing(
    store: Lake, garden: Garden, version: Node
) -> None:
    node = at(store, "datasets/test/v1/a")
    assert node.content is not None
    store.contents.erase(node.content)
    nodes = count(store, "tree")
    with pytest.raises(Damaged, match="'a' in it has lost its content"):
        forked(store, "datasets/test/v1", "datasets/new/v2")
    assert count(store, "tree") == nodes


def test_a_fork_that_appeared_stays_whole_though_the_answer_was_lost(
    store: Lake, garden: Garden, version: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = Detached.hang

    def lose_the_answer(self: Detached, *arguments: Any) -> Node:
        hang(self, *arguments)
        raise StoreUnavailable("no answer")

    before = looks(store, version)
    monkeypatch.setattr(Detached, "hang", lose_the_answer)
    with pytest.raises(StoreUnavailable):
        forked(store, "datasets/test/v1", "datasets/test/v2")
    assert looks(store, at(store, "datasets/test/v2")) == before


def test_a_fork_that_is_interrupted_leaves_nothing(
    store: Lake, garden: Garden, version: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forks, "BATCH", 2)
    nodes = count(store, "tree")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        forked(store, "datasets/test/v1", "datasets/test/v2", interrupt)
    assert count(store, "tree") == nodes
    assert count(store, "trash") == 0
    assert faults(store) == []


def test_a_fork_that_slept_for_too_long_leaves_nothing(
    store: Lake, garden: Garden, version: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forks, "BATCH", 2)
    nodes = count(store, "tree")

    def sleep(_: int) -> None:
        give_up(store)
        list(store.removals.clear())

    with pytest.raises(FileSystemError, match="sign of life"):
        forked(store, "datasets/test/v1", "datasets/test/v2", sleep)
    assert count(store, "tree") == nodes
    assert orphans(store) == []
    assert faults(store) == []


def give_up(lake: Lake) -> None:
    """Let all that is detached look as if nobody was at it any more."""
    long_ago: list[dict[str, Any]] = [{"$set": {"detached.beat": {"$subtract": ["$$NOW", 10**6]}}}]
    lake.connection.collection("tree").update_many({"detached": {"$exists": True}}, long_ago)


@one_deployment
@pytest.mark.parametrize(
    ("source", "target", "error"),
    [
        ("datasets/test/v9", "datasets/test/v2", NotFound),
        ("datasets/test", "datasets/test/v2", InvalidArgument),
        ("datasets/test/v1/folder", "datasets/test/v2", InvalidArgument),
        ("unsorted", "datasets/test/v2", InvalidArgument),
        ("datasets/test/v1", "datasets/test/v1", AlreadyExists),
        ("datasets/test/v1", "datasets/test/production", AlreadyExists),
        ("datasets/test/v1", "datasets/test/latest", InvalidArgument),
        ("datasets/test/v1", "datasets/test/-x", InvalidArgument),
        ("datasets/test/v1", "datasets/test/v1/folder/v2", InvalidArgument),
        ("datasets/test/v1", "datasets/v2", NotPermitted),
        ("datasets/test/v1", "unsorted/a/v2", NotPermitted),
        ("datasets/test/v1", "snapshots/a/v2", ReadOnly),
    ],
)
def test_what_is_no_version_cannot_be_forked_nor_made(
    store: Lake, garden: Garden, source: str, target: str, error: type[Exception]
) -> None:
    version = garden.version()
    garden.folder(version, "folder")
    tag = bare(garden.number(), (version.parent, "production"), kind=Kind.SYMLINK)
    store.commits.create(replace(tag, target="v1"))
    nodes = count(store, "tree")
    with pytest.raises(error):
        forked(store, source, target)
    assert count(store, "tree") == nodes


@one_deployment
def test_a_version_forks_into_another_area_and_a_new_folder(
    store: Lake, garden: Garden, version: Node
) -> None:
    done = forked(store, "datasets/test/v1", "models/new/v2")
    assert looks(store, at(store, "models/new/v2")) == looks(store, version)
    assert done.node.created_ns <= time.time_ns()


# --- what drivers see ------------------------------------------------------------------------


@one_deployment
def test_drivers_know_a_shared_content_by_the_path_of_one_file_that_shows_it(
    store: Lake, garden: Garden, version: Node
) -> None:
    forked(store, "datasets/test/v1", "datasets/test/v2")
    names = filenames(store)

    node = at(store, "datasets/test/v2/a")  # not the one that drivers know
    store.commits.rename(node, node.names[0], Name(node.parent, "c"), None, None)
    assert filenames(store) == names
    assert faults(store) == []

    node = at(store, "datasets/test/v1/a")  # the one that they know
    store.commits.rename(node, node.names[0], Name(node.parent, "d"), None, None)
    assert filenames(store) == names - {"datasets/test/v1/a"} | {"datasets/test/v1/d"}

    node = at(store, "datasets/test/v1/d")
    store.commits.unlink(node, node.names[0])
    assert filenames(store) == names - {"datasets/test/v1/a"} | {"datasets/test/v2/c"}

    garden.write(at(store, "datasets/test/v1/folder/below/b"), b"new")
    assert "datasets/test/v2/folder/below/b" in filenames(store)
    assert "datasets/test/v1/folder/below/b" in filenames(store)
    assert faults(store) == []


@one_deployment
def test_hard_links_in_a_fork_leave_the_filename_that_drivers_know(
    store: Lake, garden: Garden, version: Node
) -> None:
    forked(store, "datasets/test/v1", "datasets/test/v2")
    names = filenames(store)
    linked = at(store, "datasets/test/v2/folder/linked")
    assert len(linked.names) == 2
    store.commits.unlink(linked, linked.names[0])
    assert filenames(store) == names
    assert faults(store) == []


@one_deployment
def test_what_a_driver_renames_moves_in_the_version_that_was_meant(
    store: Lake, garden: Garden, version: Node
) -> None:
    second = forked(store, "datasets/test/v1", "datasets/test/v2").node
    before = looks(store, second)
    node = at(store, "datasets/test/v1/a")
    assert node.content is not None
    store.connection.collection("files").update_one(
        {"filename": "datasets/test/v1/a"}, {"$set": {"filename": "datasets/test/v1/renamed"}}
    )
    Follower(store).follow([node.content])
    assert at(store, "datasets/test/v1/renamed").inode == node.inode
    assert looks(store, second) == before
    assert faults(store) == []
