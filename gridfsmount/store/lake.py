"""Opening a lake: its format, its indexes, its fixed folders, and all its collections together."""

import logging
import os
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pymongo
from bson import Int64
from pymongo.errors import DuplicateKeyError, OperationFailure

from gridfsmount.core.model import AREAS, FIRST_FREE_INODE, NO_FOLDER, ROOT, Inode, Kind, Name, Node
from gridfsmount.errors import (
    AccessDenied,
    ConnectError,
    FileSystemError,
    LakeFormatError,
    NoSpace,
    StoreUnavailable,
)
from gridfsmount.store.audit import Audit
from gridfsmount.store.backlog import Backlog
from gridfsmount.store.bulk import Bulk
from gridfsmount.store.changes import Changes
from gridfsmount.store.commits import Commits
from gridfsmount.store.connection import Connection
from gridfsmount.store.contents import Contents
from gridfsmount.store.detached import Detached
from gridfsmount.store.encoding import encode_node
from gridfsmount.store.filenames import Filenames
from gridfsmount.store.foreign import Foreign
from gridfsmount.store.forks import Forks
from gridfsmount.store.leases import Leases
from gridfsmount.store.mending import Mending
from gridfsmount.store.moments import Moments
from gridfsmount.store.openings import Openings
from gridfsmount.store.orphans import Orphans
from gridfsmount.store.overview import Overview
from gridfsmount.store.processes import Processes
from gridfsmount.store.removals import Removals
from gridfsmount.store.restores import Restores
from gridfsmount.store.runs import Runs
from gridfsmount.store.seam import reason_of, translate
from gridfsmount.store.statistics import Statistics
from gridfsmount.store.trash import Trash
from gridfsmount.store.tree import NAMES_INDEX, Tree
from gridfsmount.store.versions import SEALING_INDEX, VERSIONS_INDEX, Versions

log = logging.getLogger(__name__)

LAKE_FORMAT: Final = 1
"""Version of everything that `docs/format.md` specifies."""

_UNAUTHORIZED: Final = 13

_UP: Final = pymongo.ASCENDING
_INDEXES: Final[tuple[tuple[str, list[tuple[str, int]], dict[str, Any]], ...]] = (
    ("files", [("filename", _UP), ("uploadDate", _UP)], {}),
    ("files", [("metadata.lake.format", _UP)], {"name": "lake_format"}),
    ("chunks", [("files_id", _UP), ("n", _UP)], {"unique": True}),
    ("tree", [("names.parent", _UP), ("names.name", _UP)], {"unique": True, "name": NAMES_INDEX}),
    ("tree", [("content", _UP)], {"sparse": True, "name": "content"}),
    ("tree", [("created_ns", _UP)], {"sparse": True, "name": VERSIONS_INDEX}),
    ("tree", [("sealing.attempt", _UP)], {"sparse": True, "name": SEALING_INDEX}),
    ("uploads", [("mount", _UP)], {"name": "mount"}),
)


@dataclass(frozen=True, slots=True)
class Lake:
    """An open lake: its collections, and the one connection they share."""

    connection: Connection
    id: str
    """Of the lake itself, whatever address it is reached by."""
    mount: str
    """Identity of this process in leases and contents."""
    tree: Tree
    contents: Contents
    openings: Openings
    leases: Leases
    trash: Trash
    commits: Commits
    filenames: Filenames
    orphans: Orphans
    audit: Audit
    mending: Mending
    bulk: Bulk
    foreign: Foreign
    backlog: Backlog
    statistics: Statistics
    overview: Overview
    changes: Changes
    versions: Versions
    detached: Detached
    forks: Forks
    removals: Removals
    processes: Processes
    runs: Runs
    moments: Moments
    restores: Restores


@dataclass(frozen=True, slots=True)
class Founder:
    """Who owns the fixed folders of a lake that is made now."""

    uid: int
    gid: int


def open_lake(
    connection: Connection, *, lease_seconds: float, founder: Founder, read_only: bool = False
) -> Lake:
    """Check the format, make what is missing unless that is not allowed, combine the collections.

    Raises:
        LakeFormatError: newer format, documents of the wrong shape, or nothing there to read.
        ConnectError: the user may not even read.
        FileSystemError: the server fails meanwhile.
    """
    try:
        with connection.seam.operation("open the lake"):
            if connection.deployment.writable and not read_only:
                _prepare(connection, founder)
            lake_id = _check_format(connection)
    except FileSystemError as error:
        if isinstance(error.__cause__, OperationFailure) and error.__cause__.code == _UNAUTHORIZED:
            deployment = connection.deployment
            raise ConnectError(
                f"the user lacks rights on {deployment.database}.{deployment.bucket}.* at "
                f"{deployment.address}, or none was given: {reason_of(error.__cause__)}"
            ) from error
        raise
    return _combine(connection, lake_id, lease_seconds)


def _combine(connection: Connection, lake_id: str, lease_seconds: float) -> Lake:
    mount = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    tree = Tree(connection)
    contents = Contents(connection, mount)
    leases = Leases(connection, mount, lease_seconds)
    filenames = Filenames(connection, tree, contents)
    processes = Processes(connection, mount)
    trash = Trash(connection, contents, tree, filenames, processes)
    commits = Commits(connection, tree, contents, trash, leases, filenames)
    detached = Detached(connection)
    removals = Removals(connection, trash, detached)
    return Lake(
        connection=connection,
        id=lake_id,
        mount=mount,
        tree=tree,
        contents=contents,
        openings=Openings(connection, tree, contents),
        leases=leases,
        trash=trash,
        commits=commits,
        filenames=filenames,
        orphans=Orphans(connection, tree, commits),
        audit=Audit(connection),
        mending=Mending(connection),
        bulk=Bulk(connection, tree, contents, leases, commits),
        foreign=Foreign(connection),
        backlog=Backlog(connection, mount),
        statistics=Statistics(connection, tree),
        overview=Overview(connection),
        changes=Changes(connection),
        versions=Versions(connection, mount),
        detached=detached,
        forks=Forks(connection, tree, trash, detached, removals),
        removals=removals,
        processes=processes,
        runs=Runs(connection),
        moments=Moments(connection, tree),
        restores=Restores(connection, tree),
    )


def _check_format(connection: Connection) -> str:
    """Refuse what this version must not touch; return the lake's id."""
    deployment = connection.deployment
    document = connection.collection("lake").find_one({"_id": "lake"})
    if document is None:
        raise LakeFormatError(
            f"{deployment} holds no lake: mount it once without --read-only, as a user with the "
            "role readWrite, to make one"
        )
    found = document.get("format")
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise LakeFormatError(
            f"{deployment}: the format in {deployment.bucket}.lake is {found!r}, not a number; "
            "is this another program's collection? Choose another --bucket or database"
        )
    if found > LAKE_FORMAT:
        raise LakeFormatError(
            f"{deployment} has format {found}; this version knows up to {LAKE_FORMAT}: "
            "upgrade gridfsmount"
        )
    return str(document.get("id", ""))


def _prepare(connection: Connection, founder: Founder) -> None:
    lake = connection.collection("lake")
    existing = lake.find_one({"_id": "lake"})
    if existing is not None:
        _check_format(connection)  # before anything is written to a newer lake
    _create_indexes(connection)
    _put_if_missing(connection, "lake", {"_id": "inodes", "next": Int64(FIRST_FREE_INODE)})
    now = time.time_ns()
    for name, inode in {"": ROOT, **AREAS}.items():
        parent = ROOT if name else NO_FOLDER
        node = Node(
            inode=inode,
            kind=Kind.DIRECTORY,
            names=(Name(Inode(parent), name),),
            mode=0o555 if name == "snapshots" else 0o755,
            uid=founder.uid,
            gid=founder.gid,
            mtime_ns=now,
            ctime_ns=now,
            version=inode if name == "unsorted" else None,
        )
        _put_if_missing(connection, "tree", encode_node(node))
    # Last, so that a lake that says it is one is complete.
    _put_if_missing(
        connection,
        "lake",
        {"_id": "lake", "format": LAKE_FORMAT, "id": uuid.uuid4().hex, "created_ns": Int64(now)},
    )


def _put_if_missing(connection: Connection, name: str, document: dict[str, object]) -> None:
    collection = connection.collection(name)
    if collection.find_one({"_id": document["_id"]}, {"_id": 1}) is not None:
        return
    try:
        collection.insert_one(document)
    except DuplicateKeyError as error:
        if collection.find_one({"_id": document["_id"]}, {"_id": 1}) is None:
            # Not another mount that was faster: the name is taken by something strange.
            raise LakeFormatError(
                f"{collection.full_name} has documents of another program: {reason_of(error)}"
            ) from error


def complete(lake: Lake, founder: Founder) -> None:
    """Make what an open lake should have and does not: indexes, fixed folders.

    Raises:
        LakeFormatError: something in its place is in the way.
    """
    with lake.connection.seam.operation("complete the lake", factor=20):
        _prepare(lake.connection, founder)


def missing_indexes(lake: Lake) -> list[str]:
    """Indexes that a lake should have and does not, for people."""
    missing = []
    with lake.connection.seam.operation("look for indexes"):
        for name, keys, options in _INDEXES:
            collection = lake.connection.collection(name)
            if not any(_is_index(each, keys, options) for each in collection.list_indexes()):
                unique = " (unique)" if "unique" in options else ""
                missing.append(f"{collection.name}: {', '.join(key for key, _ in keys)}{unique}")
    return missing


def _create_indexes(connection: Connection) -> None:
    for name, keys, options in _INDEXES:
        collection = connection.collection(name)
        try:
            if not any(_is_index(each, keys, options) for each in collection.list_indexes()):
                collection.create_index(keys, **options)
        except OperationFailure as error:
            if isinstance(translate("", error), (AccessDenied, NoSpace, StoreUnavailable)):
                raise
            raise LakeFormatError(
                f"{collection.full_name} cannot have the index {[key for key, _ in keys]}: "
                f"{reason_of(error)}. What breaks the GridFS rules must be mended first, or "
                "choose another --bucket"
            ) from error


def _is_index(
    index: Mapping[str, Any], keys: list[tuple[str, int]], options: dict[str, Any]
) -> bool:
    """Whether a collection's index is the one that is wanted."""
    if list(index["key"].items()) != keys:  # a number of any type, as other drivers write it
        return False
    return "unique" not in options or all(index.get(key) == options[key] for key in options)
