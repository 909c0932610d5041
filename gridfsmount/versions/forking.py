"""Forks of versions: where they go, and what is recorded of where they came from."""

from collections.abc import Callable

from gridfsmount.core.model import Inode, Kind
from gridfsmount.errors import AlreadyExists, InvalidArgument
from gridfsmount.places import (
    VERSION_DEPTH,
    LakePath,
    check_new,
    find,
    make_folder,
    version_at,
)
from gridfsmount.store.forks import Forked, Plan
from gridfsmount.store.lake import Founder, Lake
from gridfsmount.versions.lineage import origin_of


def fork(
    lake: Lake,
    source: LakePath,
    target: LakePath,
    *,
    by: str,
    owner: Founder,
    moved: Callable[[int], None],
) -> Forked:
    """Make a draft at `target` that shares the contents of the version at `source`.

    Args:
        lake: where both are.
        source: a version, a tag or `latest`.
        target: a version that is not there yet; its dataset or model is made if need be.
        by: who does, as in "ana@gpu1".
        owner: of a dataset or model that is made.
        moved: called with the number of nodes that were added.

    Raises:
        NotFound, InvalidArgument, NotPermitted, ReadOnly: there is no version at `source`, or
            none can be at `target`.
        AlreadyExists: there is something at `target`.
        Damaged: a content of the source is gone.
        Conflict: it was held up for so long that it was given up.
    """
    node, where = version_at(lake, source)
    check_new(target, Kind.DIRECTORY)
    if len(target.parts) != VERSION_DEPTH:
        raise InvalidArgument("versions are at datasets/NAME/VERSION")
    if find(lake, target) is not None:
        raise AlreadyExists("it is there already")

    def home() -> Inode:
        return make_folder(lake, target.parent, owner.uid, owner.gid).inode

    plan = Plan(
        source=node.inode,
        origin=origin_of(node, where),
        name=target.parts[-1],
        path=str(target),
        by=by,
        created_ns=lake.tree.clock_ns(),
        home=home,
    )
    try:
        return lake.forks.fork(plan, moved)
    except AlreadyExists as error:
        raise AlreadyExists("somebody else made it meanwhile") from error


def beside(source: LakePath, name: str) -> LakePath:
    """The version of this name in the same dataset or model as another."""
    return LakePath((*source.parts[: VERSION_DEPTH - 1], name))
