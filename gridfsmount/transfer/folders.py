"""Local folders into the lake: made level by level, many with one command."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gridfsmount.core.model import Inode, Kind, Name, Node, Record, State
from gridfsmount.errors import LakeError
from gridfsmount.places import VERSION_DEPTH, LakePath, check_open, new_version_fields
from gridfsmount.store.lake import Lake
from gridfsmount.transfer.local import Attributes, Owners, applied, attributes_of, reason
from gridfsmount.transfer.report import FATAL, Report
from gridfsmount.who import who

AT_ONCE: Final = 1000
"""Folders in one command."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the lake that takes things in."""

    node: Node
    path: LakePath
    fresh: bool
    """It was made just now, so nothing is in it."""

    @property
    def version(self) -> Inode:
        """The version it lies in."""
        return self.node.version or self.node.inode


@dataclass(frozen=True, slots=True)
class Task:
    """Something local, and the folder that it goes into."""

    folder: Folder
    name: str
    local: bytes
    kind: Kind
    status: os.stat_result

    @property
    def link(self) -> tuple[int, int, Inode] | None:
        """What tells it from all files but its own other names, if it may have such here."""
        if self.kind is not Kind.FILE or self.status.st_nlink == 1:
            return None
        return self.status.st_dev, self.status.st_ino, self.folder.version

    @property
    def path(self) -> str:
        """Where it goes: the filename that drivers see."""
        return f"{self.folder.path}/{self.name}"

    @property
    def place(self) -> Name:
        """The name that it gets."""
        return Name(self.folder.node.inode, self.name)


class FolderMaker:
    """Makes folders, or gives those that are there the attributes of the local ones."""

    def __init__(self, lake: Lake, report: Report, owners: Owners) -> None:
        """Work on `lake`."""
        self._lake = lake
        self._report = report
        self._owners = owners

    def make(self, tasks: Sequence[Task]) -> list[tuple[Folder, bytes]]:
        """Folders in the lake for local ones, and where those are; failures are reported."""
        made: list[tuple[Folder, bytes]] = []
        for at in range(0, len(tasks), AT_ONCE):
            self._report.check()
            made += self._make(tasks[at : at + AT_ONCE])
        return made

    def _make(self, tasks: Sequence[Task]) -> list[tuple[Folder, bytes]]:
        wanted: list[tuple[Task, Attributes]] = []
        for task in tasks:
            try:
                wanted.append((task, attributes_of(task.local, task.status, self._owners)))
            except (OSError, LakeError) as error:
                self._report.fail(task.local, reason(error))
        try:
            there = self._look([task for task, _ in wanted if not task.folder.fresh])
            new = [each for each in wanted if each[0].place not in there]
            made, taken = self._insert(new)
            there |= self._look(taken)
        except LakeError as error:
            self._report.stop(str(error))
            self._report.check()
            raise
        for task, attributes in wanted:
            node = there.get(task.place)
            if node is not None and self._adjust(task, node, attributes):
                made.append((Folder(node, task.folder.path.below(task.name), False), task.local))
        return made

    def _look(self, tasks: Sequence[Task]) -> dict[Name, Node]:
        names: dict[Inode, list[str]] = {}
        for task in tasks:
            names.setdefault(task.folder.node.inode, []).append(task.name)
        found: dict[Name, Node] = {}
        for parent, group in names.items():
            found |= self._lake.tree.find_many(parent, group)
        return found

    def _insert(
        self, wanted: Sequence[tuple[Task, Attributes]]
    ) -> tuple[list[tuple[Folder, bytes]], list[Task]]:
        """Make folders; also returns those whose names somebody took meanwhile."""
        if not wanted:
            return [], []
        numbers = self._lake.tree.allocate(len(wanted))
        makes_versions = any(map(_is_version, (task for task, _ in wanted)))
        born_ns = self._lake.tree.clock_ns() if makes_versions else 0
        nodes = [
            _new_folder(task, attributes, Inode(number), born_ns)
            for (task, attributes), number in zip(wanted, numbers, strict=True)
        ]
        refused = self._lake.tree.insert_many(nodes)
        alive = self._lake.tree.open_folders(list({node.parent for node in nodes}))
        made: list[tuple[Folder, bytes]] = []
        taken: list[Task] = []
        for (task, _), node in zip(wanted, nodes, strict=True):
            if node.inode in refused:
                taken.append(task)
            elif node.parent not in alive and self._lake.tree.discard(node.inode):
                self._report.fail(task.local, "its folder in the lake was removed or sealed")
            else:
                made.append((Folder(node, task.folder.path.below(task.name), True), task.local))
        return made, taken

    def _adjust(self, task: Task, node: Node, attributes: Attributes) -> bool:
        """Give a folder that is there its attributes; whether things can go into it."""
        if node.kind is not Kind.DIRECTORY:
            self._report.fail(task.local, f"{task.path} is in its place, and no folder")
            return False
        try:
            version = node.version or node.inode
            if node.state is State.SEALED:
                check_open(self._lake, version, task.folder.path.below(task.name))
            if not attributes.fit(node):
                adjust(self._lake, node, attributes)
        except FATAL as error:
            self._report.stop(str(error))
            return False
        except LakeError as error:
            self._report.fail(task.local, error)
            return False
        return True


def adjust(lake: Lake, node: Node, attributes: Attributes) -> None:
    """Give a node other attributes than it has."""
    fields = {
        "mode": attributes.mode,
        "uid": attributes.uid,
        "gid": attributes.gid,
        "mtime_ns": attributes.mtime_ns,
        "ctime_ns": time.time_ns(),
    }
    changed = lake.tree.update(node.inode, fields)
    if node.xattrs != attributes.xattrs:
        lake.tree.set_xattrs(changed, attributes.xattrs)


def _is_version(task: Task) -> bool:
    return len(task.folder.path.parts) + 1 == VERSION_DEPTH


def _new_folder(task: Task, attributes: Attributes, inode: Inode, born_ns: int) -> Node:
    """A folder; a version is born when the server says."""
    depth = len(task.folder.path.parts) + 1
    state, created = new_version_fields(inode, depth, born_ns)
    node = Node(
        inode=inode,
        kind=Kind.DIRECTORY,
        names=(task.place,),
        mode=None,
        uid=None,
        gid=None,
        mtime_ns=0,
        ctime_ns=time.time_ns(),
        version=inode if _is_version(task) else task.folder.node.version,
        state=state,
        created_ns=created,
        record=None if state is None else Record(who()),
    )
    return applied(node, attributes)
