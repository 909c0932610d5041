"""Changes of several documents: whole or not at all, on both kinds of deployment."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from gridfs import GridFSBucket, NoFile

from gridfsmount.core.model import Content, ContentId, Inode, Name, Node
from gridfsmount.errors import (
    AlreadyExists,
    Conflict,
    Damaged,
    DirectoryNotEmpty,
    NotFound,
    StoreUnavailable,
)
from gridfsmount.store.lake import Lake
from gridfsmount.store.tree import Tree
from tests.store.lakes import CHUNK, Garden, at_once, bare, one_deployment, opened, orphans, raw

DATA = bytes(range(256)) * 11  # two full chunks and a piece
OTHER = b"other" * 500


@pytest.fixture
def version(garden: Garden) -> Node:
    return garden.version()


def content_of(node: Node) -> ContentId:
    assert node.content is not None
    return node.content


def files_documents(lake: Lake) -> dict[str, Any]:
    return {each["filename"]: each for each in lake.connection.collection("files").find()}


def in_trash(lake: Lake) -> set[str]:
    return {str(each["_id"]) for each in lake.connection.collection("trash").find()}


def chunk_count(lake: Lake, content: ContentId) -> int:
    return sum(
        str(e["files_id"]) == str(content) for e in lake.connection.collection("chunks").find()
    )


def current(lake: Lake, node: Node) -> Node:
    found = lake.tree.get(node.inode)
    assert found is not None
    return found


def assert_seen_by_drivers(uri: str, path: str, data: bytes) -> None:
    with raw(uri) as database:
        assert GridFSBucket(database).open_download_stream_by_name(path).read() == data


def assert_hidden_from_drivers(uri: str, path: str) -> None:
    with raw(uri) as database, pytest.raises(NoFile):
        GridFSBucket(database).open_download_stream_by_name(path)


def assert_settled(lake: Lake) -> None:
    """Nothing hangs in between, and every content that is shown can be read."""
    assert lake.tree.parked() == []
    assert orphans(lake) == []


# --- committing contents ------------------------------------------------------------------------


def test_a_committed_content_is_the_files_and_the_drivers(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    node = garden.file(version, "a")
    written = garden.write(node, DATA)
    assert written == current(store, node)
    assert written.size == len(DATA)
    assert garden.read(written) == DATA
    assert_seen_by_drivers(any_uri, "datasets/test/v1/a", DATA)


def test_the_content_before_goes_to_the_trash_and_stays_readable(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    old = garden.file(version, "a", DATA)
    before = store.contents.get(content_of(old))
    new = garden.write(old, OTHER)
    assert garden.read(new) == OTHER
    assert garden.read_content(before) == DATA  # by handles that are open
    assert in_trash(store) == {str(old.content)}
    assert_seen_by_drivers(any_uri, "datasets/test/v1/a", OTHER)
    assert len(files_documents(store)) == 1


def test_a_file_that_becomes_empty_has_no_content(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    old = garden.file(version, "a", DATA)
    new = store.commits.commit(old, "datasets/test/v1/a", None, (), 7, 0)
    assert new is not None
    assert (new.content, new.size, new.mtime_ns) == (None, 0, 7)
    assert current(store, old) == new
    assert_hidden_from_drivers(any_uri, "datasets/test/v1/a")


def test_the_last_of_two_commits_wins_and_nothing_is_left(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    old = garden.file(version, "a", DATA)
    first = garden.write(old, b"one")
    second = garden.write(old, b"two")  # by a mount that knows only `old`
    assert garden.read(current(store, old)) == b"two"
    assert in_trash(store) == {str(old.content), str(first.content)}
    assert len(files_documents(store)) == 1
    assert second.rev == first.rev + 1
    assert_seen_by_drivers(any_uri, "datasets/test/v1/a", b"two")


def test_two_commits_at_once_leave_one_content(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    node = garden.file(version, "a", DATA)
    for _ in range(10):
        bodies = [bytes([n]) * 2000 for n in range(4)]
        at_once(*[lambda body=body, node=node: garden.write(node, body) for body in bodies])
        node = current(store, node)
        shown = garden.read(node)
        assert shown in bodies
        assert len(files_documents(store)) == 1
        assert_seen_by_drivers(any_uri, "datasets/test/v1/a", shown)


def test_nothing_is_published_for_a_file_that_is_gone(
    store: Lake, garden: Garden, version: Node
) -> None:
    node = garden.file(version, "a")
    content = garden.upload(node, DATA)
    store.commits.unlink(node, node.names[0])
    assert store.commits.commit(node, "datasets/test/v1/a", content, (), 7, 0) is None
    assert files_documents(store) == {}
    assert chunk_count(store, content.id) == 3  # for the handles that are open


def test_a_content_whose_lease_was_swept_away_is_not_published(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    with opened(any_uri, lease_seconds=0) as brief:
        other = Garden(brief)
        node = garden.file(version, "a", DATA)
        content = other.upload(node, OTHER)
        time.sleep(0.01)
        store.connection.collection("uploads").delete_many({})  # as another mount's sweep does
        with pytest.raises(Damaged, match="idle"):
            brief.commits.commit(node, "datasets/test/v1/a", content, (), 7, 0)
    assert garden.read(current(store, node)) == DATA


def test_set_id_bits_go_with_a_commit(store: Lake, garden: Garden, version: Node) -> None:
    node = garden.file(version, "a")
    node = store.tree.update(node.inode, {"mode": 0o6755})
    content = garden.upload(node, DATA)
    written = store.commits.commit(node, "datasets/test/v1/a", content, (), 7, 0o6000)
    assert written is not None
    assert written.mode == current(store, node).mode == 0o755


def test_a_content_that_another_node_shows_stays(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    node = garden.file(version, "a", DATA)
    twin = bare(garden.number(), (version.inode, "twin"), version=version.inode)
    store.tree.insert(twin)
    store.tree.relink(twin, content_of(node), node.size, 5)  # as a fork does
    garden.write(node, OTHER)
    assert garden.read(current(store, twin)) == DATA
    assert in_trash(store) == set()
    store.trash.sweep(0)
    assert garden.read(current(store, twin)) == DATA


@one_deployment
def test_small_contents_are_committed_whole_in_a_transaction(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    node = garden.file(version, "a", DATA)
    content = Content(store.contents.new_id(), len(OTHER), CHUNK)
    pages = [(n, OTHER[n * CHUNK : (n + 1) * CHUNK]) for n in range(3)]
    written = store.commits.commit(node, "datasets/test/v1/a", content, pages, 7, 0)
    assert written is not None
    assert garden.read(written) == OTHER
    assert_seen_by_drivers(any_uri, "datasets/test/v1/a", OTHER)
    store.commits.unlink(written, written.names[0])
    content = Content(store.contents.new_id(), len(OTHER), CHUNK)
    assert store.commits.commit(written, "x", content, pages, 7, 0) is None
    assert files_documents(store) == {}
    assert chunk_count(store, content.id) == 0


def test_an_abandoned_content_leaves_nothing(store: Lake, garden: Garden, version: Node) -> None:
    node = garden.file(version, "a")
    content = garden.upload(node, DATA)
    store.commits.abandon(content.id)
    store.leases.release_finished()
    assert store.connection.collection("chunks").count_documents({}) == 0
    assert store.connection.collection("uploads").count_documents({}) == 0


def test_a_content_that_is_shown_after_all_is_not_abandoned(
    store: Lake, garden: Garden, version: Node
) -> None:
    # The answer to its commit was lost, and the writer took it for a failure.
    node = garden.file(version, "a", DATA)
    store.commits.abandon(content_of(node))
    assert garden.read(node) == DATA
    assert len(files_documents(store)) == 1


# --- removing -----------------------------------------------------------------------------------


def test_the_last_name_takes_the_content_to_the_trash(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    node = garden.file(version, "a", DATA)
    before = store.contents.get(content_of(node))
    assert store.commits.unlink(node, node.names[0]) is None
    assert store.tree.get(node.inode) is None
    assert in_trash(store) == {str(node.content)}
    assert_hidden_from_drivers(any_uri, "datasets/test/v1/a")
    assert garden.read_content(before) == DATA


def test_of_several_names_one_goes(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    node = garden.file(version, "a", DATA)
    linked = store.commits.add_link(node, Name(version.inode, "b"))
    left = store.commits.unlink(linked, linked.names[0])
    assert left is not None
    assert left.names == (Name(version.inode, "b"),)
    assert garden.read(left) == DATA
    assert in_trash(store) == set()
    assert_seen_by_drivers(any_uri, "datasets/test/v1/b", DATA)
    assert_hidden_from_drivers(any_uri, "datasets/test/v1/a")


def test_a_second_name_does_not_change_what_drivers_see(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    node = garden.file(version, "a", DATA)
    linked = store.commits.add_link(node, Name(version.inode, "b"))
    store.commits.unlink(linked, Name(version.inode, "b"))
    assert_seen_by_drivers(any_uri, "datasets/test/v1/a", DATA)


def test_removing_what_changed_meanwhile_is_a_conflict_and_removes_nothing(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    node = garden.file(version, "a", DATA)
    linked = store.commits.add_link(node, Name(version.inode, "b"))
    with pytest.raises(Conflict):
        store.commits.unlink(node, node.names[0])
    assert current(store, node) == linked
    assert_seen_by_drivers(any_uri, "datasets/test/v1/a", DATA)
    store.trash.sweep(0)  # what was announced is not erased
    assert garden.read(linked) == DATA


# --- renaming -----------------------------------------------------------------------------------


def test_a_renamed_file_has_its_new_name_everywhere(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    folder = garden.folder(version, "folder")
    node = garden.file(version, "a", DATA)
    renamed = store.commits.rename(node, node.names[0], Name(folder.inode, "b"), None, None)
    assert current(store, node) == renamed
    assert store.tree.find(version.inode, "a") is None
    assert_seen_by_drivers(any_uri, "datasets/test/v1/folder/b", DATA)
    assert_hidden_from_drivers(any_uri, "datasets/test/v1/a")


def test_the_contents_of_a_renamed_folder_follow(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    folder = garden.folder(version, "folder")
    garden.file(garden.folder(folder, "ü"), "deep", DATA)
    garden.file(version, "folder0", b"sibling")  # "0" is the character after "/"
    garden.file(version, "folder-x", b"sibling")
    store.commits.rename(folder, folder.names[0], Name(version.inode, "é"), None, None)
    assert set(files_documents(store)) == {
        *("datasets/test/v1/é/ü/deep", "datasets/test/v1/folder0", "datasets/test/v1/folder-x")
    }
    assert_seen_by_drivers(any_uri, "datasets/test/v1/é/ü/deep", DATA)


def test_a_rename_over_a_file_replaces_it(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    node = garden.file(version, "new", DATA)
    target = garden.file(version, "old", OTHER)
    old_content = store.contents.get(content_of(target))
    renamed = store.commits.rename(node, node.names[0], target.names[0], target, None)
    assert store.tree.find(version.inode, "old") == renamed
    assert store.tree.find(version.inode, "new") is None
    assert store.tree.get(target.inode) is None
    assert in_trash(store) == {str(target.content)}
    assert garden.read_content(old_content) == OTHER
    assert_seen_by_drivers(any_uri, "datasets/test/v1/old", DATA)
    assert len(files_documents(store)) == 1
    assert_settled(store)


def test_a_replaced_file_keeps_its_other_names(store: Lake, garden: Garden, version: Node) -> None:
    node = garden.file(version, "new", DATA)
    target = garden.file(version, "old", OTHER)
    target = store.commits.add_link(target, Name(version.inode, "kept"))
    store.commits.rename(node, node.names[0], target.names[0], target, None)
    kept = store.tree.find(version.inode, "kept")
    assert kept is not None
    assert kept.inode == target.inode
    assert kept.names == (Name(version.inode, "kept"),)
    assert garden.read(kept) == OTHER
    assert in_trash(store) == set()
    assert_settled(store)


def test_a_replaced_files_other_name_is_what_drivers_see(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    node = garden.file(version, "new", DATA)
    target = garden.file(version, "old", OTHER)
    target = store.commits.add_link(target, Name(version.inode, "kept"))
    store.commits.rename(node, node.names[0], target.names[0], target, None)
    assert_seen_by_drivers(any_uri, "datasets/test/v1/old", DATA)
    assert_seen_by_drivers(any_uri, "datasets/test/v1/kept", OTHER)


def test_one_hard_link_of_a_file_is_renamed(store: Lake, garden: Garden, version: Node) -> None:
    node = garden.file(version, "a", DATA)
    node = store.commits.add_link(node, Name(version.inode, "b"))
    store.commits.rename(node, Name(version.inode, "b"), Name(version.inode, "c"), None, None)
    assert [name.name for name in current(store, node).names] == ["a", "c"]


def test_a_rename_over_an_empty_directory_replaces_it(
    store: Lake, garden: Garden, version: Node
) -> None:
    folder, target = garden.folder(version, "a"), garden.folder(version, "b")
    child = garden.file(folder, "child")
    store.commits.rename(folder, folder.names[0], target.names[0], target, None)
    found = store.tree.find(version.inode, "b")
    assert found is not None
    assert found.inode == folder.inode
    assert store.tree.get(target.inode) is None
    assert store.tree.path(child.inode) == "datasets/test/v1/b/child"
    assert_settled(store)


def test_a_directory_with_entries_is_not_replaced(
    store: Lake, garden: Garden, version: Node
) -> None:
    folder, target = garden.folder(version, "a"), garden.folder(version, "b")
    garden.file(target, "child")
    with pytest.raises(DirectoryNotEmpty):
        store.commits.rename(folder, folder.names[0], target.names[0], target, None)
    assert current(store, folder) == folder
    assert current(store, target) == target
    assert_settled(store)


STALE: list[Callable[[Lake, Node, Node], object]] = [
    lambda lake, node, target: lake.tree.update(node.inode, {"mode": 0}),
    lambda lake, node, target: lake.tree.update(target.inode, {"mode": 0}),
    lambda lake, node, target: lake.tree.delete(node),
    lambda lake, node, target: lake.tree.delete(target),
]


@pytest.mark.parametrize("meanwhile", STALE)
def test_a_rename_that_meets_a_change_changes_nothing(
    store: Lake,
    garden: Garden,
    version: Node,
    any_uri: str,
    meanwhile: Callable[[Lake, Node, Node], object],
) -> None:
    node = garden.file(version, "new", DATA)
    target = garden.file(version, "old", OTHER)
    meanwhile(store, node, target)
    before = (store.tree.get(node.inode), store.tree.get(target.inode))
    with pytest.raises(Conflict):
        store.commits.rename(node, node.names[0], target.names[0], target, None)
    after = (store.tree.get(node.inode), store.tree.get(target.inode))
    assert [each and each.names for each in after] == [each and each.names for each in before]
    assert_settled(store)
    store.trash.sweep(0)
    if after[1] is not None:
        assert garden.read(after[1]) == OTHER
        assert_seen_by_drivers(any_uri, "datasets/test/v1/old", OTHER)


def test_a_rename_onto_a_name_that_was_just_taken_is_refused(
    store: Lake, garden: Garden, version: Node
) -> None:
    node, other = garden.file(version, "a"), garden.file(version, "b")
    with pytest.raises(AlreadyExists):
        store.commits.rename(node, node.names[0], other.names[0], None, None)
    assert current(store, node) == node
    assert current(store, other) == other


def test_a_rename_into_a_directory_that_is_gone_is_undone(
    store: Lake, garden: Garden, version: Node
) -> None:
    node = garden.file(version, "a", DATA)
    with pytest.raises(NotFound):
        store.commits.rename(node, node.names[0], Name(Inode(1 << 50), "b"), None, None)
    assert current(store, node).names == node.names
    assert orphans(store) == []


def test_a_link_in_a_directory_that_is_gone_is_undone(
    store: Lake, garden: Garden, version: Node
) -> None:
    node = garden.file(version, "a", DATA)
    with pytest.raises(NotFound):
        store.commits.add_link(node, Name(Inode(1 << 50), "b"))
    assert current(store, node).names == node.names


def test_a_node_in_a_directory_that_is_gone_is_undone(store: Lake, garden: Garden) -> None:
    node = bare(garden.number(), (1 << 50, "a"))
    with pytest.raises(NotFound):
        store.commits.create(node)
    assert store.tree.get(node.inode) is None


def test_a_file_moves_to_another_version(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    other = garden.version("models/bert/v2")
    node = garden.file(version, "a", DATA)
    store.commits.rename(node, node.names[0], Name(other.inode, "b"), None, other.inode)
    assert current(store, node).version == other.inode
    assert_seen_by_drivers(any_uri, "models/bert/v2/b", DATA)


# --- exchanging ---------------------------------------------------------------------------------


def test_two_files_change_places(store: Lake, garden: Garden, version: Node, any_uri: str) -> None:
    folder = garden.folder(version, "folder")
    one, two = garden.file(version, "one", DATA), garden.file(folder, "two", OTHER)
    store.commits.exchange(one, one.names[0], two, two.names[0])
    assert current(store, one).names == two.names
    assert current(store, two).names == one.names
    assert_seen_by_drivers(any_uri, "datasets/test/v1/one", OTHER)
    assert_seen_by_drivers(any_uri, "datasets/test/v1/folder/two", DATA)
    assert_settled(store)


def test_two_folders_change_places_with_all_that_is_in_them(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    one, two = garden.folder(version, "one"), garden.folder(version, "two")
    garden.file(one, "same", DATA)
    garden.file(two, "same", OTHER)
    garden.file(two, "only", b"two")
    store.commits.exchange(one, one.names[0], two, two.names[0])
    assert_seen_by_drivers(any_uri, "datasets/test/v1/one/same", OTHER)
    assert_seen_by_drivers(any_uri, "datasets/test/v1/one/only", b"two")
    assert_seen_by_drivers(any_uri, "datasets/test/v1/two/same", DATA)
    assert len(files_documents(store)) == 3
    assert_settled(store)


def test_a_hard_link_keeps_its_other_names_in_an_exchange(
    store: Lake, garden: Garden, version: Node
) -> None:
    one = store.commits.add_link(garden.file(version, "a"), Name(version.inode, "b"))
    two = store.commits.add_link(garden.file(version, "c"), Name(version.inode, "d"))
    store.commits.exchange(one, Name(version.inode, "b"), two, Name(version.inode, "c"))
    assert {name.name for name in current(store, one).names} == {"a", "c"}
    assert {name.name for name in current(store, two).names} == {"b", "d"}


@pytest.mark.parametrize("stale", [0, 1])
def test_an_exchange_that_meets_a_change_changes_nothing(
    store: Lake, garden: Garden, version: Node, stale: int
) -> None:
    pair = garden.file(version, "one", DATA), garden.file(version, "two", OTHER)
    store.tree.update(pair[stale].inode, {"mode": 0})
    with pytest.raises(Conflict):
        store.commits.exchange(pair[0], pair[0].names[0], pair[1], pair[1].names[0])
    for node in pair:
        assert current(store, node).names == node.names
    assert_settled(store)


# --- what a crash leaves, where there are no transactions ---------------------------------------

no_transactions = pytest.mark.parametrize("any_uri", ["standalone"], indirect=True)


@no_transactions
def test_a_file_that_was_set_aside_is_put_back(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    target = garden.file(version, "old", OTHER)
    store.tree.park(target, target.names[0], (target.names[0],))
    assert store.tree.find(version.inode, "old") is None
    with opened(any_uri) as after_the_crash:
        after_the_crash.commits.recover()
    found = store.tree.find(version.inode, "old")
    assert found is not None
    assert found.names == target.names
    assert garden.read(found) == OTHER
    assert_settled(store)


@no_transactions
def test_a_file_that_was_set_aside_while_the_server_went_away_is_put_back_by_its_own_mount(
    store: Lake, garden: Garden, version: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, target = garden.file(version, "new", DATA), garden.file(version, "old", OTHER)
    original = Tree.park

    def answerless(self: Tree, *args: Any) -> Node:
        original(self, *args)
        raise StoreUnavailable("the connection was lost")

    with monkeypatch.context() as patch:
        patch.setattr(Tree, "park", answerless)
        with pytest.raises(StoreUnavailable):
            store.commits.rename(node, node.names[0], target.names[0], target, None)
    assert store.tree.find(version.inode, "old") is None
    store.commits.finish_renames()
    found = store.tree.find(version.inode, "old")
    assert found is not None
    assert garden.read(found) == OTHER
    assert_settled(store)


@no_transactions
def test_what_another_mount_has_set_aside_is_left_to_it(
    store: Lake, garden: Garden, version: Node
) -> None:
    node, target = garden.file(version, "new", DATA), garden.file(version, "old", OTHER)
    store.tree.park(target, target.names[0], (target.names[0],))
    with pytest.raises(Conflict):
        store.commits.rename(node, node.names[0], target.names[0], target, None)
    assert not store.commits.unfinished
    assert store.tree.find(version.inode, "old") is None


def test_a_commit_that_the_server_does_after_it_was_given_up_shows_nothing(
    store: Lake, garden: Garden, version: Node
) -> None:
    node = garden.file(version, "file", DATA)
    content = garden.upload(node, OTHER)
    store.commits.abandon(content.id)
    with pytest.raises(Damaged, match="given up"):
        store.tree.show(node.inode, content, 1, 0)
    assert garden.read(node) == DATA


@no_transactions
def test_one_that_was_replaced_already_goes(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    node, target = garden.file(version, "new", DATA), garden.file(version, "old", OTHER)
    store.tree.park(target, target.names[0], (target.names[0],))
    store.tree.set_names(node, target.names, 5)
    store.commits.recover()
    found = store.tree.find(version.inode, "old")
    assert found is not None
    assert found.inode == node.inode
    assert store.tree.get(target.inode) is None
    assert str(target.content) in in_trash(store)
    assert_settled(store)


@no_transactions
@pytest.mark.parametrize("before", [OTHER, None], ids=["a file", "an empty file"])
def test_what_is_written_to_a_file_while_it_is_set_aside_goes_with_it(
    store: Lake,
    garden: Garden,
    version: Node,
    any_uri: str,
    before: bytes | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node, target = garden.file(version, "new", DATA), garden.file(version, "old", before)
    original = Tree.delete
    written: list[Node] = []

    def late(self: Tree, *args: Any) -> None:
        if not written:
            written.append(garden.write(target, b"by another machine"))
        original(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Tree, "delete", late)
        store.commits.rename(node, node.names[0], target.names[0], target, None)
    assert str(written[0].content) in in_trash(store)
    assert len(files_documents(store)) == 1
    assert_seen_by_drivers(any_uri, "datasets/test/v1/old", DATA)
    assert_settled(store)


@no_transactions
def test_one_with_other_names_keeps_those(store: Lake, garden: Garden, version: Node) -> None:
    node, target = garden.file(version, "new", DATA), garden.file(version, "old", OTHER)
    target = store.commits.add_link(target, Name(version.inode, "kept"))
    store.tree.park(target, target.names[0], (target.names[0],))
    store.tree.set_names(node, (Name(version.inode, "old"),), 5)
    store.commits.recover()
    kept = store.tree.find(version.inode, "kept")
    assert kept is not None
    assert kept.names == (Name(version.inode, "kept"),)
    assert garden.read(kept) == OTHER
    assert_settled(store)


@no_transactions
@pytest.mark.parametrize("first_done", [False, True])
def test_an_interrupted_exchange_is_undone_or_finished(
    store: Lake, garden: Garden, version: Node, first_done: bool
) -> None:
    one, two = garden.file(version, "one", DATA), garden.file(version, "two", OTHER)
    store.tree.park(two, two.names[0], (two.names[0], one.names[0]))
    if first_done:
        store.tree.set_names(one, two.names, 5)
    store.commits.recover()
    shown = {
        name: garden.read(node)
        for name in ("one", "two")
        if (node := store.tree.find(version.inode, name)) is not None
    }
    swapped = {"one": OTHER, "two": DATA}
    assert shown == (swapped if first_done else {"one": DATA, "two": OTHER})
    assert_settled(store)


@no_transactions
def test_recovering_finds_nothing_in_a_sound_lake(
    store: Lake, garden: Garden, version: Node
) -> None:
    node = garden.file(version, "a", DATA)
    store.commits.recover()
    assert current(store, node) == node


# --- races --------------------------------------------------------------------------------------


def test_two_that_replace_one_file_at_once_lose_nothing(
    store: Lake, garden: Garden, version: Node, any_uri: str
) -> None:
    """As two programs on two machines do: write a temporary file, rename it into place."""
    goal = Name(version.inode, "goal")
    garden.file(version, "goal", b"first")
    for turn in range(15):
        news = [garden.file(version, f"new-{turn}-{n}", f"{turn} {n}".encode()) for n in range(3)]

        def replace_goal(node: Node) -> Node:
            for _ in range(20):
                target = store.tree.find(goal.parent, goal.name)
                try:
                    return store.commits.rename(node, node.names[0], goal, target, None)
                except (Conflict, AlreadyExists):
                    found = store.tree.get(node.inode)
                    if found is None or found.names == (goal,):
                        return node  # renamed, and perhaps replaced already
                    node = found
            raise AssertionError("the rename never succeeds")

        outcomes = at_once(*[lambda node=node: replace_goal(node) for node in news])
        assert [each for each in outcomes if isinstance(each, Exception)] == []
        found = store.tree.find(goal.parent, goal.name)
        assert found is not None
        assert garden.read(found) in {f"{turn} {n}".encode() for n in range(3)}
        assert [each.inode for each in news if store.tree.get(each.inode)] == [found.inode]
        assert_settled(store)


def test_creating_in_a_directory_that_is_removed_leaves_no_orphan(
    store: Lake, garden: Garden, version: Node
) -> None:
    linked = garden.file(version, "linked")
    outcomes: set[str] = set()

    def link(name: Name) -> Node:
        return store.commits.add_link(current(store, linked), name)

    for number in range(60):
        folder = garden.folder(version, f"folder-{number}")
        moved = garden.file(version, f"moved-{number}")
        name = Name(folder.inode, "new")
        new = bare(garden.number(), (folder.inode, "new"), version=version.inode)
        contenders: list[Callable[[], object]] = [
            partial(store.commits.create, new),
            partial(store.commits.rename, moved, moved.names[0], name, None, None),
            partial(link, name),
        ]
        made, removed = at_once(
            contenders[number % 3], partial(store.tree.remove_directory, folder)
        )
        assert made is None or isinstance(made, Node | NotFound), made
        assert removed is None or isinstance(removed, DirectoryNotEmpty), removed
        assert orphans(store) == []
        in_folder = store.tree.find(folder.inode, "new")
        assert in_folder or store.tree.find(version.inode, f"moved-{number}")
        if not isinstance(made, NotFound):
            assert in_folder is not None
            assert store.tree.get(folder.inode) is not None
        outcomes.add(f"{type(made).__name__} {type(removed).__name__}")
    assert len(outcomes) > 1  # else the threads never met


def test_creating_in_a_directory_that_is_replaced_leaves_no_orphan(
    store: Lake, garden: Garden, version: Node
) -> None:
    for number in range(60):
        folder, target = garden.folder(version, f"a{number}"), garden.folder(version, f"b{number}")
        child = garden.file(folder, "child")
        new = bare(garden.number(), (target.inode, "new"), version=version.inode)
        contenders: list[Callable[[], object]] = [
            partial(store.commits.create, new),
            partial(store.commits.rename, folder, folder.names[0], target.names[0], target, None),
        ]
        made, replaced = at_once(*contenders)
        assert made is None or isinstance(made, NotFound), made
        assert isinstance(replaced, Node | DirectoryNotEmpty | Conflict), replaced
        assert_settled(store)
        assert current(store, child) == child
        found = store.tree.find(version.inode, f"b{number}")
        assert found is not None
        assert (found.inode == folder.inode) == isinstance(replaced, Node)
