"""Removal of whole versions: gone at once, everywhere, and nothing that another shows with them."""

import threading
from collections.abc import Iterator, Sequence

import pytest

from gridfsmount.core.model import ContentId, Node
from gridfsmount.errors import InUse, InvalidArgument, NotFound
from gridfsmount.places import parse
from gridfsmount.store import removals
from gridfsmount.store.lake import Founder, Lake
from gridfsmount.store.versions import new_attempt
from gridfsmount.versions.deleting import check_tags, look_at, remove, take_out
from gridfsmount.versions.tagging import set_tag, shelf_at, tags_of
from gridfsmount.versions.walk import walk
from tests.store.lakes import Garden, at_once, one_deployment, opened, orphans
from tests.versions.test_forking import at, count, faults, filenames, forked, give_up, looks, seal

BY = "ana@gpu1"
DATA = b"data" * 1000
FILES = 10


@pytest.fixture
def store(any_uri: str) -> Iterator[Lake]:
    with opened(any_uri) as lake:
        yield lake


@pytest.fixture
def version(garden: Garden, monkeypatch: pytest.MonkeyPatch) -> Node:
    """A version with more in it than what is removed in one go."""
    monkeypatch.setattr(removals, "BATCH", 2)
    monkeypatch.setattr(removals, "PAGE", 4)
    version = garden.version()
    for name in ("one", "other"):
        folder = garden.folder(garden.folder(version, name), "below")
        for number in range(FILES // 2):
            garden.file(folder, f"{number}", DATA)
    garden.folder(version, "empty")
    garden.file(version, "empty file")
    return version


def delete(lake: Lake, path: str, *, with_tags: bool = False) -> None:
    doomed = look_at(lake, parse(path))
    attempt = take_out(lake, doomed, by=BY, with_tags=with_tags)
    remove(lake, doomed, attempt, lambda count: None)


def test_a_sealed_version_is_deleted_and_its_contents_stay_for_the_grace(
    store: Lake, version: Node
) -> None:
    seal(store, version)
    nodes = count(store, "tree")
    delete(store, "datasets/test/v1")
    assert store.tree.at("datasets/test/v1") is None
    assert count(store, "tree") == nodes - FILES - 7
    assert (count(store, "files"), count(store, "trash")) == (0, FILES)
    assert store.trash.sweep(3600).contents == 0
    assert count(store, "chunks") == 4 * FILES
    assert store.trash.sweep(-1).contents == FILES
    assert [count(store, name) for name in ("chunks", "trash")] == [0, 0]
    assert faults(store) == []
    assert orphans(store) == []


@pytest.mark.parametrize("gone", ["v1", "v2"])
def test_what_another_version_shows_stays_whole(
    store: Lake, garden: Garden, version: Node, gone: str
) -> None:
    seal(store, version)
    forked(store, "datasets/test/v1", "datasets/test/v2")
    left = at(store, f"datasets/test/{'v2' if gone == 'v1' else 'v1'}")
    before = looks(store, left)
    delete(store, f"datasets/test/{gone}")
    store.trash.sweep(-1)
    assert looks(store, left) == before
    assert all(garden.read(entry.node) == DATA for entry in walk(store, left) if entry.node.content)
    path = store.tree.path(left.inode)
    assert all(each.startswith(f"{path}/") for each in filenames(store))
    assert faults(store) == []
    assert count(store, "trash") == 0


def test_two_versions_that_share_all_are_deleted_at_once(
    store: Lake, version: Node, any_uri: str
) -> None:
    forked(store, "datasets/test/v1", "datasets/test/v2")
    with opened(any_uri) as other:
        outcomes = at_once(
            lambda: delete(store, "datasets/test/v1"), lambda: delete(other, "datasets/test/v2")
        )
    assert outcomes == [None, None]
    assert count(store, "files") == 0
    store.trash.sweep(-1)
    assert [count(store, name) for name in ("files", "chunks", "trash")] == [0, 0, 0]


def test_a_version_is_gone_before_anything_in_it_and_the_rest_is_removed_by_whoever_meets_it(
    store: Lake, version: Node
) -> None:
    doomed = look_at(store, parse("datasets/test/v1"))
    nodes = count(store, "tree")
    attempt = take_out(store, doomed, by=BY, with_tags=False)
    assert store.tree.at("datasets/test/v1") is None
    assert store.versions.all() == []
    assert count(store, "tree") == nodes
    assert store.removals.go_on(version.inode, attempt) > 0  # and then the machine crashed
    store.commits.recover()
    assert faults(store) == []
    assert store.orphans.look(version.inode, -1).orphans == ()
    assert list(store.removals.clear()) == []  # somebody may be at it

    give_up(store)
    assert sum(removed for _, removed in store.removals.clear()) > 0
    assert count(store, "tree") == nodes - FILES - 7
    assert (count(store, "files"), count(store, "trash")) == (0, FILES)
    assert orphans(store) == []


def test_the_same_path_can_be_made_again_at_once(
    store: Lake, garden: Garden, version: Node
) -> None:
    doomed = look_at(store, parse("datasets/test/v1"))
    attempt = take_out(store, doomed, by=BY, with_tags=False)
    garden.file(garden.folder(garden.version(), "one"), "0", b"new")
    remove(store, doomed, attempt, lambda count: None)
    assert garden.read(at(store, "datasets/test/v1/one/0")) == b"new"
    assert filenames(store) == {"datasets/test/v1/one/0"}
    assert faults(store) == []


@one_deployment
def test_what_is_made_and_written_in_it_meanwhile_goes_as_well(
    store: Lake, garden: Garden, version: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewritten = at(store, "datasets/test/v1/one/below/0")
    folder = at(store, "datasets/test/v1/other")
    doomed = look_at(store, parse("datasets/test/v1"))
    attempt = take_out(store, doomed, by=BY, with_tags=False)
    announce, done = store.trash.announce_many, threading.Event()

    def write_first(contents: Sequence[ContentId]) -> None:
        if rewritten.content in contents and not done.is_set():
            done.set()
            garden.write(rewritten, b"committed between the look and the removal")
            garden.file(garden.folder(folder, "made late"), "late", b"late")
        announce(contents)

    monkeypatch.setattr(type(store.trash), "announce_many", lambda _, names: write_first(names))
    remove(store, doomed, attempt, lambda count: None)
    assert done.is_set()
    assert orphans(store) == []
    store.commits.sweep_leases()
    store.trash.sweep(-1)
    assert [count(store, name) for name in ("files", "chunks", "trash")] == [0, 0, 0]
    assert faults(store) == []


@one_deployment
def test_a_version_that_a_tag_leads_to_is_deleted_only_when_told(
    store: Lake, version: Node
) -> None:
    shelf = shelf_at(store, parse("datasets/test"))
    set_tag(store, shelf, "production", "v1", Founder(0, 0))
    with pytest.raises(InvalidArgument, match="the tag production leads to it"):
        check_tags(look_at(store, parse("datasets/test/v1")))
    with pytest.raises(InvalidArgument, match="the tag production leads to it"):
        delete(store, "datasets/test/v1")
    assert store.tree.at("datasets/test/v1") is not None
    delete(store, "datasets/test/v1", with_tags=True)
    assert tags_of(store, shelf.inode) == {}
    assert store.tree.at("datasets/test/v1") is None


@one_deployment
def test_a_version_that_is_being_sealed_is_not_deleted(store: Lake, version: Node) -> None:
    attempt = new_attempt()
    store.versions.claim(version.inode, "ben@gpu2", attempt)
    with pytest.raises(InUse, match="ben@gpu2 is sealing it"):
        look_at(store, parse("datasets/test/v1"))
    store.versions.release(version.inode, attempt)
    delete(store, "datasets/test/v1")


@one_deployment
def test_what_changes_meanwhile_is_looked_at_again(store: Lake, version: Node) -> None:
    doomed = look_at(store, parse("datasets/test/v1"))
    store.tree.update(version.inode, {"mode": 0o700})
    attempt = take_out(store, doomed, by=BY, with_tags=False)
    remove(store, doomed, attempt, lambda count: None)
    assert store.tree.at("datasets/test/v1") is None


@one_deployment
@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("datasets/test/v9", NotFound),
        ("datasets/test", InvalidArgument),
        ("datasets/test/v1/one", InvalidArgument),
        ("datasets/test/latest", InvalidArgument),
        ("datasets/test/production", InvalidArgument),
        ("unsorted", InvalidArgument),
    ],
)
def test_only_versions_by_their_own_names_are_deleted(
    store: Lake, version: Node, path: str, error: type[Exception]
) -> None:
    set_tag(store, shelf_at(store, parse("datasets/test")), "production", "v1", Founder(0, 0))
    with pytest.raises(error):
        look_at(store, parse(path))
