"""What a version was made from: the data that a model was trained on."""

from gridfsmount.core.model import Node, Origin, Source
from gridfsmount.errors import InvalidArgument, NotFound
from gridfsmount.places import LakePath, version_at
from gridfsmount.store.lake import Lake


def link(lake: Lake, version: Node, path: LakePath, *, note: str, by: str) -> Origin:
    """Record that a version was made from the one at `path`; returns how that is recorded.

    Raises:
        NotFound, InvalidArgument: there is no version at `path`, or it is the same one.
    """
    source, where = version_at(lake, path)
    if source.inode == version.inode:
        raise InvalidArgument(f"{where} cannot be made from itself")
    origin = origin_of(source, where)
    lake.versions.add_source(version.inode, Source(origin, note, by, 0))
    return origin


def unlink(lake: Lake, version: Node, path: LakePath) -> Origin:
    """Forget that a draft was made from the version that is at `path`, or was; returns which.

    Raises:
        NotFound: that is not recorded.
        ReadOnly: it is sealed.
    """
    try:
        source, path = version_at(lake, path)
        inode = source.inode
    except (NotFound, InvalidArgument):
        inode = None  # it is gone, but it was recorded where it was
    for each in () if version.record is None else version.record.sources:
        if each.origin.version == inode or (inode is None and each.origin.path == str(path)):
            lake.versions.drop_source(version.inode, each.origin.version)
            return each.origin
    raise NotFound(f"it is not recorded that it was made from {path}")


def origin_of(version: Node, path: LakePath) -> Origin:
    """How a version is recorded in what comes from it."""
    seal = None if version.record is None else version.record.seal
    return Origin(version.inode, str(path), "" if seal is None else seal.digest)
