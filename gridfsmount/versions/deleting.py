"""Removal of a whole version on purpose, draft or sealed."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from gridfsmount.core.model import Inode, Kind, Node
from gridfsmount.core.names import LATEST
from gridfsmount.errors import Conflict, InUse, InvalidArgument, NotFound
from gridfsmount.places import VERSION_DEPTH, LakePath, find
from gridfsmount.store.lake import Lake
from gridfsmount.versions.tagging import delete_tag, tags_of

_TRIES = 10
"""Who meets others' changes that often meets a fault, not a coincidence."""


@dataclass(frozen=True, slots=True)
class Doomed:
    """A version that is about to be removed."""

    node: Node
    path: LakePath
    tags: tuple[str, ...]
    """That lead to it."""


def look_at(lake: Lake, path: LakePath) -> Doomed:
    """The version at a path, to be removed.

    By its own name, and not by a tag's, lest one version is taken for another.

    Raises:
        NotFound, InvalidArgument: there is nothing, or no version.
        InUse: somebody is sealing it.
    """
    node = find(lake, path)
    is_link = len(path.parts) == VERSION_DEPTH and (
        path.parts[-1] == LATEST or (node is not None and node.kind is Kind.SYMLINK)
    )
    if is_link:
        raise InvalidArgument("it leads to a version: give that one's own name")
    if node is None:
        raise NotFound("there is no such version")
    if node.version != node.inode or node.state is None:
        raise InvalidArgument("it is no version: those are at datasets/NAME/VERSION")
    if node.record is not None and node.record.sealing is not None:
        lake.versions.end_given_up()
        node = lake.tree.get(node.inode) or node
        if node.record is not None and node.record.sealing is not None:
            raise InUse(f"{node.record.sealing.by} is sealing it")
    tags = tags_of(lake, node.parent)
    return Doomed(node, path, tuple(tag for tag, to in tags.items() if to == path.parts[-1]))


def check_tags(doomed: Doomed) -> None:
    """Refuse a version that a tag leads to.

    Raises:
        InvalidArgument: one does.
    """
    if doomed.tags:
        raise InvalidArgument(
            f"the tag {doomed.tags[0]} leads to it: move that, or give --with-tags"
        )


def take_out(lake: Lake, doomed: Doomed, *, by: str, with_tags: bool) -> str:
    """Take a version out of the tree, whole and at once; returns the name of the attempt.

    Args:
        lake: where it is.
        doomed: what goes, as it was seen.
        by: who does, as in "ana@gpu1".
        with_tags: its tags go as well.

    Raises:
        InvalidArgument: a tag leads to it, and is not to go.
        InUse: somebody is sealing it.
        NotFound: it is gone.
    """
    for _ in range(_TRIES):
        if not with_tags:
            check_tags(doomed)
        _drop_tags(lake, doomed.node.parent, doomed.tags)
        try:
            attempt = lake.detached.detach(doomed.node, str(doomed.path), by)
        except Conflict:
            inode = doomed.node.inode
            doomed = look_at(lake, doomed.path)
            if doomed.node.inode != inode:
                raise NotFound("it is another version now; look again") from None
            continue
        break
    else:
        raise Conflict("it is being changed all the time; try again")
    folder, name = doomed.node.parent, doomed.path.parts[-1]
    late = [tag for tag, to in tags_of(lake, folder).items() if to == name]
    if find(lake, doomed.path) is None:  # nobody made another version of that name
        _drop_tags(lake, folder, late)
    return attempt


def remove(lake: Lake, doomed: Doomed, attempt: str, moved: Callable[[int], None]) -> None:
    """Remove what was in a version that is out of the tree.

    Cut short, it is gone on with by any mount, by `gc`, or by the next `delete`. `moved` is called
    with the number of nodes that were removed.
    """
    while removed := lake.removals.go_on(doomed.node.inode, attempt):
        moved(removed)


def _drop_tags(lake: Lake, folder: Inode, tags: Sequence[str]) -> None:
    node = lake.tree.get(folder)
    for tag in tags:
        if node is not None:
            with suppress(NotFound):
                delete_tag(lake, node, tag)
