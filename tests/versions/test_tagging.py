"""Tags, made without a mount: the same links that `ln -s` makes, by the same rules."""

import pytest

from gridfsmount.core.model import Kind, Node
from gridfsmount.errors import AlreadyExists, InvalidArgument, NotFound
from gridfsmount.places import parse, version_at
from gridfsmount.store.lake import Founder, Lake
from gridfsmount.versions.tagging import delete_tag, set_tag, shelf_at, tags_of
from tests.store.lakes import Garden

OWNER = Founder(7, 8)


@pytest.fixture
def shelf(store: Lake, garden: Garden) -> Node:
    garden.version("datasets/test/v1")
    garden.version("datasets/test/v2")
    return shelf_at(store, parse("datasets/test"))


def test_a_tag_is_made_moved_and_removed(store: Lake, shelf: Node) -> None:
    assert set_tag(store, shelf, "production", "v1", OWNER) is None
    assert set_tag(store, shelf, "best", "v2", OWNER) is None
    assert tags_of(store, shelf.inode) == {"best": "v2", "production": "v1"}
    version, path = version_at(store, parse("datasets/test/production"))
    assert (version.names[0].name, str(path)) == ("v1", "datasets/test/v1")

    tag = store.tree.find(shelf.inode, "production")
    assert set_tag(store, shelf, "production", "v2", OWNER) == "v1"
    moved = store.tree.find(shelf.inode, "production")
    assert tag is not None
    assert moved is not None
    assert (moved.inode, moved.target, moved.rev > tag.rev) == (tag.inode, "v2", True)
    assert (moved.kind, moved.uid, moved.gid) == (Kind.SYMLINK, 7, 8)

    assert delete_tag(store, shelf, "best") == "v2"
    assert tags_of(store, shelf.inode) == {"production": "v2"}


@pytest.mark.parametrize(
    ("name", "version", "error"),
    [
        ("production", "v9", NotFound),
        ("production", "../other/v1", NotFound),
        ("production", "latest", InvalidArgument),
        ("production", "stable", InvalidArgument),
        ("v1", "v2", AlreadyExists),
        ("latest", "v1", InvalidArgument),
        ("-x", "v1", InvalidArgument),
        ("a/b", "v1", InvalidArgument),
    ],
)
def test_wrong_tags_are_refused(
    store: Lake, shelf: Node, name: str, version: str, error: type[Exception]
) -> None:
    set_tag(store, shelf, "stable", "v1", OWNER)
    with pytest.raises(error):
        set_tag(store, shelf, name, version, OWNER)
    assert tags_of(store, shelf.inode) == {"stable": "v1"}


@pytest.mark.parametrize(
    ("name", "error"), [("v1", InvalidArgument), ("latest", InvalidArgument), ("x", NotFound)]
)
def test_only_tags_are_removed(store: Lake, shelf: Node, name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        delete_tag(store, shelf, name)


def test_tags_are_in_datasets_and_models(store: Lake, shelf: Node) -> None:
    for path in ("datasets", "datasets/test/v1", "unsorted"):
        with pytest.raises(InvalidArgument):
            shelf_at(store, parse(path))
    with pytest.raises(NotFound):
        shelf_at(store, parse("models/none"))
