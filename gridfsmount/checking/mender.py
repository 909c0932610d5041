"""Mends what can be mended, and deletes nothing.

What lost its place is put where it can be seen: in `lost+found` of its version, or of `unsorted`.
Each change asks for what was seen; where somebody else was faster, the next check looks again.
"""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from gridfsmount.checking.findings import Fault, Finding
from gridfsmount.checking.healing import Healer
from gridfsmount.core.filing import encode
from gridfsmount.core.model import (
    DATASETS,
    UNSORTED,
    Inode,
    Kind,
    Name,
    Node,
    State,
)
from gridfsmount.core.names import is_shelf_name
from gridfsmount.errors import AlreadyExists, FileSystemError, LakeError
from gridfsmount.store.lake import Founder, Lake, complete

log = logging.getLogger(__name__)

LOST: Final = "lost+found"
"""The folder, in a version or in `unsorted`, where things come to light again."""

LOST_DATASET: Final = "lost-and-found"
"""The dataset of versions that lost theirs."""


class Mender:
    """Repairs findings of one lake."""

    def __init__(self, lake: Lake, healer: Healer | None = None) -> None:
        """Work on `lake`; heal contents by `healer`, if there is one."""
        self._lake = lake
        self._healer = healer
        self.moved_folders = False
        """Whether a folder got a new place: what is below may need to be looked at again."""
        self._ways: dict[Fault, Callable[[Finding], bool]] = {
            Fault.WRONG_FILENAME: self._tell_filename,
            Fault.DANGLING: self._recall,
            Fault.WRONG_SIZE: self._set_size,
            Fault.UNREACHABLE_CONTENT: self._show,
            Fault.UNREACHABLE_NODE: self._attach,
            Fault.CYCLE: self._attach,
            Fault.LOST_NAME: self._drop_names,
            Fault.INTERRUPTED: self._recover,
            Fault.MISSING_INDEX: self._complete,
            Fault.MISSING_FOLDER: self._complete,
            Fault.MISSING_CHUNK: self._heal,
            Fault.WRONG_LENGTH: self._heal,
            Fault.WRONG_HASH: self._heal,
        }

    def mend(self, finding: Finding) -> bool:
        """Repair one finding, if that is possible; whether it was."""
        way = self._ways.get(finding.fault)
        if way is None:
            return False
        try:
            return way(finding)
        except LakeError as error:
            log.warning("not mended: %s: %s: %s", finding.fault.value, finding.path, error)
            return False

    def _tell_filename(self, finding: Finding) -> bool:
        node = self._node(finding)
        path = self._lake.tree.path(node.inode)
        if path is None or node.content is None:
            return False
        self._lake.contents.rename(node.content, path)
        return True

    def _recall(self, finding: Finding) -> bool:
        if finding.content is None:
            return False
        if self._lake.trash.recall(finding.content):
            return True
        healer = self._healer
        return healer is not None and healer.bring_back(finding.content, finding.path)

    def _heal(self, finding: Finding) -> bool:
        if self._healer is None or finding.content is None:
            return False
        return self._healer.heal(finding.content)

    def _set_size(self, finding: Finding) -> bool:
        node = self._node(finding)
        size = 0 if node.content is None else self._lake.contents.get(node.content).length
        self._lake.mending.set_size(node, size)
        return True

    def _drop_names(self, finding: Finding) -> bool:
        node = self._node(finding)
        there = self._lake.tree.existing([name.parent for name in node.names])
        kept = [name for name in node.names if name.parent in there]
        if not kept:
            return False
        self._lake.mending.place(node, kept, None)
        return True

    def _recover(self, finding: Finding) -> bool:
        node = self._node(finding)
        self._lake.commits.recover({node.inode})
        return True

    def _complete(self, _: Finding) -> bool:
        complete(self._lake, Founder(os.getuid(), os.getgid()))
        return True

    def _show(self, finding: Finding) -> bool:
        """Give a content that no name leads to a node in `unsorted`."""
        if finding.content is None:
            return False
        content = self._lake.contents.get(finding.content)
        folder = self._folder(UNSORTED, LOST, UNSORTED)
        now = time.time_ns()
        node = Node(
            inode=self._number(),
            kind=Kind.FILE,
            names=(Name(folder.inode, encode(finding.path)),),
            mode=None,
            uid=None,
            gid=None,
            mtime_ns=now,
            ctime_ns=now,
            size=content.length,
            content=content.id,
            version=UNSORTED,
        )
        try:
            self._lake.commits.create(node)
        except AlreadyExists:
            spare = Name(folder.inode, encode(finding.path, str(content.id)))
            self._lake.commits.create(replace(node, names=(spare,)))
        return True

    def _attach(self, finding: Finding) -> bool:
        """Give a node that hangs on nothing a place where it is seen."""
        node = self._node(finding)
        folder, version, plain = self._home(node)
        for name in _candidates(node, plain):
            try:
                moved = self._lake.mending.place(node, [Name(folder, name)], version)
            except AlreadyExists:
                continue
            break
        else:
            return False
        if node.kind is Kind.DIRECTORY:
            self.moved_folders = True
            if version is not None and version != node.version:
                self._lake.mending.set_version_below(node.inode, version)
        path = self._lake.tree.path(moved.inode)
        if moved.content is not None and moved.version != UNSORTED and path is not None:
            self._lake.contents.rename(moved.content, path)
        log.info("%s is now %s", finding.path, path)
        return True

    def _home(self, node: Node) -> tuple[Inode, Inode | None, bool]:
        """Folder and version for a node without a place, and whether names there are plain."""
        if node.kind is Kind.DIRECTORY and node.version == node.inode:
            return self._folder(DATASETS, LOST_DATASET, None).inode, None, True
        if node.kind is Kind.DIRECTORY and node.version is None:
            return DATASETS, None, True
        version = None if node.version is None else self._lake.tree.get(node.version)
        if (
            version is not None
            and version.state is State.DRAFT
            and self._lake.tree.path(version.inode) is not None
        ):
            return self._folder(version.inode, LOST, version.inode).inode, version.inode, False
        return self._folder(UNSORTED, LOST, UNSORTED).inode, UNSORTED, False

    def _folder(self, parent: Inode, name: str, version: Inode | None) -> Node:
        for _ in range(2):
            node = self._lake.tree.find(parent, name)
            if node is not None:
                return node
            now = time.time_ns()
            folder = Node(
                inode=self._number(),
                kind=Kind.DIRECTORY,
                names=(Name(parent, name),),
                mode=None,
                uid=None,
                gid=None,
                mtime_ns=now,
                ctime_ns=now,
                version=version,
            )
            try:
                self._lake.commits.create(folder)
            except AlreadyExists:
                continue
            return folder
        raise FileSystemError(f"the folder {name} can neither be made nor found")

    def _number(self) -> Inode:
        return Inode(self._lake.tree.allocate(1)[0])

    def _node(self, finding: Finding) -> Node:
        node = None if finding.inode is None else self._lake.tree.get(finding.inode)
        if node is None:
            raise FileSystemError("it is gone")
        return node


def _candidates(node: Node, plain: bool) -> tuple[str, ...]:
    name = node.names[0].name
    if plain:
        own = (name,) if is_shelf_name(name) else ()
        return (*own, f"lost-{node.inode}")
    return name, encode(name, str(node.inode)), f"lost-{node.inode}"
