"""Paths in a lake: found, made, and held to the rules of the tree."""

import time
from dataclasses import dataclass, replace
from typing import Final

from gridfsmount.core.model import AREAS, ROOT, SHELVES, Inode, Kind, Name, Node, Record, State
from gridfsmount.core.names import LATEST, check_shelf_name, decode_name
from gridfsmount.core.versions import newest
from gridfsmount.errors import (
    AlreadyExists,
    InvalidArgument,
    NotADirectory,
    NotFound,
    NotPermitted,
    ReadOnly,
)
from gridfsmount.store.lake import Lake
from gridfsmount.who import who

VERSION_DEPTH: Final = 3
"""Parts of a version's path: datasets/mnist/v1."""

_FOLDER_MODE: Final = 0o755


@dataclass(frozen=True, slots=True)
class LakePath:
    """A path below a lake's root."""

    parts: tuple[str, ...]
    folder: bool = False
    """It was given with a slash at its end."""

    def __str__(self) -> str:
        return "/".join(self.parts) or "/"

    @property
    def parent(self) -> "LakePath":
        """The folder that it is in."""
        return LakePath(self.parts[:-1], folder=True)

    def below(self, name: str) -> "LakePath":
        """Something in it."""
        return LakePath((*self.parts, name))


def parse(text: str) -> LakePath:
    """A path as it is typed, as in datasets/mnist/v1; a slash at its start changes nothing.

    Raises:
        InvalidArgument, NameTooLong, NotUtf8: a part of it can be no name.
    """
    parts = tuple(part for part in text.split("/") if part not in ("", "."))
    for part in parts:
        if part == ".." or "\0" in part:
            raise InvalidArgument(f"{text!r}: a path in a lake has no {part!r}")
        decode_name(part.encode("utf-8", "surrogateescape"))
    if parts and parts[0] not in AREAS:
        raise NotFound(
            f"{text!r} is no path in a lake: those begin with {', '.join(AREAS)}, "
            "as in datasets/mnist/v1"
        )
    return LakePath(parts, text.endswith(("/", "/.")) or not parts)


def resolve(lake: Lake, path: LakePath) -> LakePath:
    """The same path with a tag or `latest` replaced by the version that it leads to.

    Raises:
        NotFound: it leads to none.
    """
    if len(path.parts) < VERSION_DEPTH:
        return path
    dataset = find(lake, LakePath(path.parts[: VERSION_DEPTH - 1]))
    if dataset is None or dataset.parent not in SHELVES:
        return path
    name = path.parts[VERSION_DEPTH - 1]
    if name == LATEST:
        name = _latest(lake, dataset, path)
    else:
        node = lake.tree.find(dataset.inode, name)
        if node is not None and node.kind is Kind.SYMLINK:
            name = node.target
    return replace(
        path, parts=(*path.parts[: VERSION_DEPTH - 1], name, *path.parts[VERSION_DEPTH:])
    )


def find(lake: Lake, path: LakePath) -> Node | None:
    """What is there, if anything; links are not followed."""
    node = lake.tree.get(ROOT)
    for name in path.parts:
        if node is None:
            return None
        node = lake.tree.find(node.inode, name)
    return node


def version_at(lake: Lake, path: LakePath) -> tuple[Node, LakePath]:
    """The version that a path leads to, itself or by a tag or `latest`, and its own path.

    Raises:
        NotFound: there is nothing.
        InvalidArgument: there is something else.
    """
    path = resolve(lake, path)
    node = find(lake, path)
    if node is None:
        raise NotFound(f"{path}: there is no such version")
    if node.version != node.inode or node.state is None:
        raise InvalidArgument(f"{path} is no version: those are at datasets/NAME/VERSION")
    return node, path


def folder_at(lake: Lake, path: LakePath) -> tuple[Node, LakePath]:
    """The version or folder that a path leads to, by a tag or `latest` if so, and its own path.

    Raises:
        NotFound: there is nothing.
        NotADirectory: there is something else.
    """
    path = resolve(lake, path)
    node = find(lake, path)
    if node is None:
        raise NotFound(f"{path}: there is no such version or folder in the lake")
    if node.kind is not Kind.DIRECTORY:
        raise NotADirectory(f"{path} is no version and no folder")
    return node, path


def check_new(path: LakePath, kind: Kind) -> None:
    """Refuse what the rules of the tree have no place for.

    Raises:
        NotPermitted, ReadOnly: nothing of that kind can be there.
        InvalidArgument: not under that name.
    """
    area = path.parts[0] if path.parts else ""
    if area == "snapshots":
        raise ReadOnly(f"{path}: snapshots cannot be changed")
    if area not in ("datasets", "models"):
        raise NotPermitted(f"{path}: put things in a version, as in datasets/mnist/v1")
    if len(path.parts) < VERSION_DEPTH or (
        len(path.parts) == VERSION_DEPTH and kind is not Kind.DIRECTORY
    ):
        raise NotPermitted(
            f"{path}: it would be outside of a version; put it in one, as in {area}/mnist/v1"
        )
    for name in path.parts[1:VERSION_DEPTH]:
        check_shelf_name(name)


def make_folder(lake: Lake, path: LakePath, uid: int, gid: int) -> Node:
    """The folder at `path`, with all that are above it, made as far as they are missing.

    Raises:
        NotADirectory: something else is in its place.
    """
    node = lake.tree.get(ROOT)
    for depth, name in enumerate(path.parts, start=1):
        if node is None:
            raise NotFound(str(path))
        found = lake.tree.find(node.inode, name) or _make(lake, node, name, depth, uid, gid)
        if found.kind is not Kind.DIRECTORY:
            raise NotADirectory(f"{'/'.join(path.parts[:depth])} is there, and no folder")
        node = found
    if node is None:
        raise NotFound(str(path))
    return node


def new_version_fields(inode: Inode, depth: int, now: int) -> tuple[State | None, int]:
    """State and birth of a folder that is made at this depth."""
    return (State.DRAFT, now) if depth == VERSION_DEPTH else (None, 0)


def check_open(lake: Lake, version: Inode, path: LakePath) -> None:
    """Refuse to change what is sealed.

    Raises:
        ReadOnly: the version is.
        NotFound: it is gone.
    """
    node = lake.tree.get(version)
    if node is None:
        raise NotFound(f"{path}: its version was removed")
    if node.state is State.SEALED:
        raise ReadOnly(f"{path}: version {node.names[0].name} is sealed and cannot change")
    if node.record is not None and node.record.sealing is not None:
        raise ReadOnly(f"{path}: version {node.names[0].name} is being sealed")


def _make(lake: Lake, parent: Node, name: str, depth: int, uid: int, gid: int) -> Node:
    now = time.time_ns()
    inode = Inode(lake.tree.allocate(1)[0])
    state, created = new_version_fields(inode, depth, now)
    node = Node(
        inode=inode,
        kind=Kind.DIRECTORY,
        names=(Name(parent.inode, name),),
        mode=_FOLDER_MODE,
        uid=uid,
        gid=gid,
        mtime_ns=now,
        ctime_ns=now,
        version=inode if state is not None else parent.version,
        state=state,
        created_ns=created,
        record=None if state is None else Record(who()),
    )
    try:
        lake.commits.create(node)
    except AlreadyExists:
        found = lake.tree.find(parent.inode, name)
        if found is None:
            raise
        return found
    return node


def _latest(lake: Lake, dataset: Node, path: LakePath) -> str:
    version = newest(lake.tree.children_of_kind(dataset.inode, Kind.DIRECTORY))
    if version is None:
        raise NotFound(f"{path}: there is no version yet that {LATEST} could lead to")
    return version.names[0].name
