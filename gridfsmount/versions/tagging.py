"""Tags: symbolic links of a dataset or model to one of its versions, as `ln -s` makes them."""

import time

from gridfsmount.core.model import SHELVES, Inode, Kind, Name, Node
from gridfsmount.core.names import LATEST, check_shelf_name
from gridfsmount.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from gridfsmount.places import LakePath, find
from gridfsmount.store.lake import Founder, Lake

_MODE = 0o777
"""As of any symbolic link."""

_TRIES = 10
"""Who meets others' changes that often meets a fault, not a coincidence."""


def shelf_at(lake: Lake, path: LakePath) -> Node:
    """The dataset or model at a path.

    Raises:
        NotFound, InvalidArgument: there is nothing, or something else.
    """
    node = find(lake, path)
    if node is None:
        raise NotFound(f"{path}: there is no such dataset or model")
    if node.kind is not Kind.DIRECTORY or node.names[0].parent not in SHELVES:
        raise InvalidArgument(f"{path} is no dataset or model: those are at datasets/NAME")
    return node


def tags_of(lake: Lake, folder: Inode) -> dict[str, str]:
    """The versions that the tags of a dataset or model lead to, by the tags' names."""
    nodes = lake.tree.children_of_kind(folder, Kind.SYMLINK)
    return dict(sorted((node.names[0].name, node.target) for node in nodes))


def set_tag(lake: Lake, folder: Node, name: str, version: str, owner: Founder) -> str | None:
    """Let a tag lead to a version, in one step; returns the version that it led to, if any.

    Raises:
        InvalidArgument: it can have no such name, or `version` is none.
        AlreadyExists: the name is that of a version.
        NotFound: there is no such version.
    """
    check_shelf_name(name)
    _check_version(lake, folder, version)
    for _ in range(_TRIES):
        before = lake.tree.find(folder.inode, name)
        if before is not None and before.kind is not Kind.SYMLINK:
            raise AlreadyExists(f"{name} is the name of a version")
        try:
            if before is None:
                tag = _new_tag(lake, folder, name, version, owner)
                lake.commits.create(tag)
            else:
                tag = lake.tree.retarget(before, version)
        except (AlreadyExists, Conflict):
            continue
        try:
            # Who deletes a version looks for its tags after it is gone, and one of us notices.
            _check_version(lake, folder, version)
        except NotFound:
            lake.commits.remove(tag)
            raise
        return None if before is None else before.target
    raise Conflict(f"others change {name} all the time; try again")


def delete_tag(lake: Lake, folder: Node, name: str) -> str:
    """Remove a tag; returns the version that it led to.

    Raises:
        NotFound, InvalidArgument: there is none, or the name is that of something else.
    """
    for _ in range(_TRIES):
        tag = lake.tree.find(folder.inode, name)
        if name == LATEST:
            raise InvalidArgument(f"{LATEST} is kept by the lake")
        if tag is None:
            raise NotFound(f"there is no tag {name}")
        if tag.kind is not Kind.SYMLINK:
            raise InvalidArgument(f"{name} is a version, and no tag")
        try:
            lake.commits.remove(tag)
        except Conflict:
            continue
        return tag.target
    raise Conflict(f"others change {name} all the time; try again")


def _check_version(lake: Lake, folder: Node, version: str) -> None:
    if version == LATEST:
        raise InvalidArgument(f"a tag leads to a version, and not to {LATEST}, which moves on")
    found = None if "/" in version else lake.tree.find(folder.inode, version)
    if found is None:
        raise NotFound(f"{folder.names[0].name} has no version {version}")
    if found.version != found.inode:
        raise InvalidArgument(f"{version} is a tag: give the version that it leads to")


def _new_tag(lake: Lake, folder: Node, name: str, version: str, owner: Founder) -> Node:
    now = time.time_ns()
    return Node(
        inode=Inode(lake.tree.allocate(1)[0]),
        kind=Kind.SYMLINK,
        names=(Name(folder.inode, name),),
        mode=_MODE,
        uid=owner.uid,
        gid=owner.gid,
        mtime_ns=now,
        ctime_ns=now,
        target=version,
    )
