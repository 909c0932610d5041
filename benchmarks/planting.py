"""Trees too large to make file by file, put into the database as documents; and sealing.

Both are done while the lake is not mounted.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from bson import Int64

from benchmarks.rig import Document, Driver, Rig
from gridfsmount.core.model import DATASETS, Inode, Kind, Name, Node, State
from gridfsmount.store.encoding import encode_node

VERSION: Final = "datasets/planted/v1"

_BATCH: Final = 10_000
"""Documents in one call: a million of them at once would take 2 GB."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A lake of folders that all hold the same number of empty files."""

    lake: str
    folders: tuple[int, ...]
    """Inode numbers of the folders."""
    files: int
    """Files in each."""

    @property
    def path(self) -> str:
        """What all of them lie in."""
        return VERSION

    @property
    def first_folder(self) -> str:
        """Path of the first folder."""
        return f"{VERSION}/{_folder_name(0)}"

    @property
    def nodes(self) -> int:
        """How many nodes there are, the folders included."""
        return len(self.folders) * (self.files + 1)


def plant(rig: Rig, folders: int, files: int) -> Tree:
    """Make a lake with `folders` folders of `files` files each, in one draft."""
    lake = f"bench_{folders}x{files}"
    rig.drop(lake)  # what an earlier attempt left
    with rig.mount(lake) as mount:
        mount.version(VERSION)
    with rig.driver(lake) as driver:
        version = _inode(driver, VERSION)
        counter = driver.database["fs.lake"].find_one_and_update(
            {"_id": "inodes"}, {"$inc": {"next": folders * (files + 1)}}
        )
        if counter is None:
            raise LookupError(f"{lake} has no counter of inodes")
        first = int(counter["next"])
        numbers = range(first, first + folders)
        nodes = _nodes(version, numbers, files)
        while batch := [encode_node(node) for node in islice(nodes, _BATCH)]:
            driver.tree.insert_many(batch, ordered=False)
    return Tree(lake, tuple(numbers), files)


def seal(rig: Rig, lake: str, version: str) -> None:
    """Mark a version as sealed."""
    with rig.driver(lake) as driver:
        driver.tree.update_one(
            {"_id": _inode(driver, version)},
            {"$set": {"state": State.SEALED.value}, "$inc": {"rev": 1}},
        )


def _nodes(version: int, folders: range, files: int) -> Iterator[Node]:
    now = time.time_ns()

    def node(inode: int, kind: Kind, parent: int, name: str) -> Node:
        return Node(
            inode=Inode(inode),
            kind=kind,
            names=(Name(Inode(parent), name),),
            mode=0o755 if kind is Kind.DIRECTORY else 0o644,
            uid=0,
            gid=0,
            mtime_ns=now,
            ctime_ns=now,
            version=Inode(version),
            rev=1,
        )

    inode = folders.stop
    for position, folder in enumerate(folders):
        yield node(folder, Kind.DIRECTORY, version, _folder_name(position))
        for number in range(files):
            yield node(inode, Kind.FILE, folder, f"{number:06}.bin")
            inode += 1


def _folder_name(position: int) -> str:
    return f"{position:04}"


def _inode(driver: Driver, path: str) -> int:
    """Number of a directory below `datasets`."""
    inode: int = DATASETS
    for name in path.split("/")[1:]:
        document: Document | None = driver.tree.find_one(
            {"names": {"$elemMatch": {"parent": Int64(inode), "name": name}}}
        )
        if document is None:
            raise FileNotFoundError(path)
        inode = int(document["_id"])
    return inode
