"""The rules of the tree: what may be where. Pure.

The root and its areas are fixed; an area holds folders (datasets, models); a folder holds
versions and tags; everything inside a version is free-form POSIX.
"""

import enum

from gridfsmount.core.model import (
    AREAS,
    ROOT,
    SHELVES,
    SNAPSHOTS,
    UNSORTED,
    Inode,
    Kind,
    Node,
)
from gridfsmount.core.names import check_shelf_name
from gridfsmount.errors import (
    CrossVersion,
    InvalidArgument,
    IsADirectory,
    NotADirectory,
    NotPermitted,
    ReadOnly,
)


class Level(enum.Enum):
    """Where in the tree a node is."""

    FIXED = "fixed"
    """The root or an area."""
    FOLDER = "folder"
    """A dataset or a model."""
    TAG = "tag"
    VERSION = "version"
    INSIDE = "inside"
    """Anything below a version."""
    UNSORTED = "unsorted"
    """Anything below `unsorted/`."""


def level_of(node: Node) -> Level:
    """Where a node is."""
    if node.inode == ROOT or node.inode in AREAS.values():
        return Level.FIXED
    if node.version is None:
        return Level.FOLDER if node.kind is Kind.DIRECTORY else Level.TAG
    if node.version == UNSORTED:
        return Level.UNSORTED
    return Level.VERSION if node.version == node.inode else Level.INSIDE


def check_new(parent: Node, name: str, kind: Kind) -> Level:
    """Level of something new in `parent`.

    Raises:
        NotPermitted, ReadOnly: nothing of that kind can be made there.
        InvalidArgument: not with that name.
    """
    level = level_of(parent)
    if parent.inode == SNAPSHOTS:
        raise ReadOnly("snapshots cannot be changed")
    if parent.inode in SHELVES:
        if kind is not Kind.DIRECTORY:
            raise NotPermitted(
                f"{name!r} cannot be here: make a folder and a version, as in "
                "datasets/mnist/v1, and put files below it"
            )
        check_shelf_name(name)
        return Level.FOLDER
    if level is Level.FOLDER:
        if kind not in (Kind.DIRECTORY, Kind.SYMLINK):
            raise NotPermitted(
                f"{name!r} cannot be here: files go below a version; make one with "
                f"mkdir, as in {parent.names[0].name}/v1"
            )
        check_shelf_name(name)
        return Level.VERSION if kind is Kind.DIRECTORY else Level.TAG
    if level is Level.FIXED and parent.inode != UNSORTED:
        raise NotPermitted(f"{name!r} cannot be here: the root of a lake is fixed")
    if level in (Level.FIXED, Level.UNSORTED):
        raise NotPermitted(
            f"{name!r} cannot be here: unsorted/ shows what other GridFS clients uploaded; "
            "move things out of it, into a version"
        )
    return Level.INSIDE


def check_removal(parent: Node) -> None:
    """Refuse to remove what is fixed.

    Raises:
        NotPermitted, ReadOnly: names in `parent` cannot be removed.
    """
    if parent.inode == ROOT:
        raise NotPermitted("the root of a lake is fixed")
    if parent.inode == SNAPSHOTS:
        raise ReadOnly("snapshots cannot be changed")


def check_rename(node: Node, parent: Node, name: str) -> Inode | None:
    """Whether `node` may move to `name` in `parent`; returns the version it then lies in.

    Raises:
        CrossVersion: not by renaming; mv(1) then copies.
        NotPermitted, ReadOnly, InvalidArgument: not at all.
    """
    level = level_of(node)
    if level is Level.FIXED:
        raise NotPermitted("the root of a lake is fixed")
    if parent.inode == SNAPSHOTS:
        raise ReadOnly("snapshots cannot be changed")
    goal = level_of(parent)
    if parent.inode in SHELVES or goal is Level.FOLDER:
        return _check_shelving(node, level, parent, name)
    if goal not in (Level.VERSION, Level.INSIDE):
        check_new(parent, name, node.kind)
    if level not in (Level.INSIDE, Level.UNSORTED):
        raise CrossVersion("a whole version or folder cannot become part of a version")
    if node.version != parent.version and (node.kind is Kind.DIRECTORY or len(node.names) > 1):
        raise CrossVersion("directories and hard links cannot move to another version")
    return parent.version


def check_replaced(node: Node, target: Node, name: str) -> None:
    """Refuse to rename `node` over `target`, which has that name, if only one is a directory.

    Raises:
        NotADirectory, IsADirectory: rename(2).
    """
    if node.kind is Kind.DIRECTORY and target.kind is not Kind.DIRECTORY:
        raise NotADirectory(f"{name} is no folder")
    if node.kind is not Kind.DIRECTORY and target.kind is Kind.DIRECTORY:
        raise IsADirectory(f"{name} is a folder")


def check_exchange(one: Node, other: Node) -> None:
    """Refuse to swap what does not lie in one version, or in one area's folders.

    Raises:
        CrossVersion: the two lie apart.
    """
    same_place = level_of(one) is level_of(other) is Level.INSIDE and one.version == other.version
    if not same_place:
        raise CrossVersion("only names of one version can be exchanged")


def check_target(target: str) -> None:
    """Refuse a tag that points anywhere but to a version of the same folder.

    Raises:
        InvalidArgument: it is no plain name of a version.
    """
    if "/" in target:
        raise InvalidArgument("a tag points to a version of the same folder: ln -s v1 production")
    check_shelf_name(target)


def _check_shelving(node: Node, level: Level, parent: Node, name: str) -> Inode | None:
    goal = Level.FOLDER if parent.inode in SHELVES else Level.VERSION
    if level is Level.TAG and goal is Level.VERSION:
        if node.names[0].parent != parent.inode:
            raise CrossVersion("a tag cannot move to another folder")
        check_shelf_name(name)
        return None
    if level is not goal:
        if node.kind is Kind.DIRECTORY:
            raise CrossVersion(f"{name!r} cannot become a {goal.value} by renaming")
        check_new(parent, name, node.kind)
        raise NotPermitted(f"{name!r} cannot become a tag")
    check_shelf_name(name)
    return node.version
