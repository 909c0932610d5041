"""What is to be restored where: the versions, folders and files of a snapshot, one by one."""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from gridfsmount.backup.snapshots import find, walk
from gridfsmount.core.model import Inode, Kind, Node
from gridfsmount.errors import Damaged, InvalidArgument, NotFound
from gridfsmount.places import VERSION_DEPTH, LakePath, check_new
from gridfsmount.vaults.manifest import Manifest

_PAGE: Final = 10_000

SHOWN: Final = 5
"""Paths that are named in a message."""


class What(enum.Enum):
    """Kinds of things that appear whole."""

    VERSION = "version"
    TAG = "tag"
    FOLDER = "folder"
    """In a version, or in `unsorted`."""
    FILE = "file"
    """Or another node without anything below it."""


@dataclass(frozen=True, slots=True)
class Goal:
    """Something that is restored, and appears whole."""

    what: What
    source: Node
    """In the snapshot."""
    origin: LakePath
    """Where it was."""
    target: LakePath


@dataclass(slots=True)
class Plan:
    """All that is wanted, in the order in which it is made."""

    whole: bool
    """The whole lake."""
    goals: list[Goal] = field(default_factory=list)
    homes: dict[str, Node] = field(default_factory=dict)
    """Datasets and models, by the paths that they get, as they were."""


def plan(manifest: Manifest, path: LakePath | None, target: LakePath | None) -> Plan:
    """What a restore of a path means; of None, that of the whole lake.

    Args:
        manifest: the snapshot.
        path: in it; a tag or `latest` stands for its version.
        target: where it goes, if not to where it was.

    Raises:
        NotFound: the snapshot has no such path.
        InvalidArgument, NotPermitted: it cannot go there.
        Damaged: something of it was not copied when the backup was made.
    """
    made = Plan(whole=path is None)
    if path is None:
        for area in ("datasets", "models", "unsorted"):
            top = find(manifest, (area,))
            if top is not None:
                _add(made, manifest, top, LakePath((area,)), LakePath((area,)))
    else:
        node, origin = _followed(manifest, path)
        target = origin if target is None else _checked(origin, target)
        _add(made, manifest, node, origin, target)
        shelf = origin.parts[: VERSION_DEPTH - 1]
        if len(origin.parts) >= VERSION_DEPTH and target.parts[: VERSION_DEPTH - 1] == shelf:
            dataset = find(manifest, shelf)
            if dataset is not None and origin.parts[0] != "unsorted":
                made.homes["/".join(shelf)] = dataset
    # A fork after what it came from, so that `latest` and lineage grow as they did.
    order = {What.VERSION: 0, What.FOLDER: 1, What.FILE: 1, What.TAG: 2}
    made.goals.sort(key=lambda each: (order[each.what], each.source.created_ns))
    _check_copied(manifest, made.goals)
    return made


def _followed(manifest: Manifest, path: LakePath) -> tuple[Node, LakePath]:
    node = find(manifest, path.parts)
    if node is None or not path.parts or path.parts[0] == "snapshots":
        raise NotFound(f"the snapshot {manifest.name} has no {path}")
    if len(path.parts) < VERSION_DEPTH or path.parts[0] == "unsorted":
        return node, path
    version = find(manifest, path.parts[:VERSION_DEPTH])
    assert version is not None
    parts = (*path.parts[: VERSION_DEPTH - 1], version.names[0].name, *path.parts[VERSION_DEPTH:])
    return node, replace(path, parts=parts)


def _checked(origin: LakePath, target: LakePath) -> LakePath:
    """A target, if something from there can be restored to it."""
    same_depth = len(origin.parts) == len(target.parts)
    in_version = min(len(origin.parts), len(target.parts)) > VERSION_DEPTH
    unsorted = origin.parts[0] == "unsorted"
    if unsorted or len(origin.parts) == 1 or not (same_depth or in_version):
        raise InvalidArgument(
            f"{origin} cannot be restored as {target}: --as takes a version for a version, a "
            "dataset for a dataset, and a path in a version for one in a version"
        )
    if len(origin.parts) < VERSION_DEPTH:
        check_new(target.below("v1"), Kind.DIRECTORY)
    else:
        check_new(target, Kind.DIRECTORY)
    return target


def _add(made: Plan, manifest: Manifest, node: Node, origin: LakePath, target: LakePath) -> None:
    depth = len(origin.parts)
    if (origin.parts[0] == "unsorted" and depth > 1) or depth > VERSION_DEPTH:
        what = What.FOLDER if node.kind is Kind.DIRECTORY else What.FILE
    elif node.state is not None:
        what = What.VERSION
    elif depth == VERSION_DEPTH:
        what = What.TAG
    else:
        if depth == VERSION_DEPTH - 1:
            made.homes[str(target)] = node
        for name, inner in _entries(manifest, node.inode):
            if depth == VERSION_DEPTH - 1 and inner.kind is Kind.SYMLINK:
                goal = Goal(What.TAG, inner, origin.below(name), target.below(name))
                made.goals.append(goal)
            else:
                _add(made, manifest, inner, origin.below(name), target.below(name))
        return
    made.goals.append(Goal(what, node, origin, target))


def _entries(manifest: Manifest, folder: Inode) -> Iterator[tuple[str, Node]]:
    last = ""
    while page := manifest.page(folder, last, _PAGE):
        yield from page
        last = page[-1][0]


def _check_copied(manifest: Manifest, goals: Sequence[Goal]) -> None:
    lost = [row[0] for row in manifest.query("SELECT id FROM content WHERE sha256 IS NULL")]
    if not lost:
        return
    rows = set(lost)
    paths: list[str] = []
    for goal in goals:
        if goal.source.kind is Kind.DIRECTORY:
            below = (each for each in walk(manifest, goal.source.inode) if each.content in rows)
            paths += [f"{goal.origin}/{each.path}" for each in below]
        elif goal.source.content is not None and not _was_copied(manifest, goal.source):
            paths.append(str(goal.origin))
    if paths:
        raise Damaged(
            f"{some(paths)} could not be read when the snapshot was made, and is not in the vault; "
            "restore what is beside it by its own path, or copy it out of /snapshots"
        )


def _was_copied(manifest: Manifest, node: Node) -> bool:
    rows = manifest.query(
        "SELECT c.sha256 FROM node AS n JOIN content AS c ON c.id = n.content WHERE n.inode = ?",
        (node.inode,),
    )
    return bool(rows) and rows[0][0] is not None


def some(paths: Sequence[str]) -> str:
    """A few paths, and how many more there are."""
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(paths[:SHOWN]) + more
