"""Nodes without a name that programs still hold: open directories and FIFOs, working directories.

POSIX lets them be used until they are closed. No document tells of them any more, so what they
were is kept here until the kernel forgets them. Open files are not among them: those know
themselves what they were.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from gridfsmount.core.model import Inode, Node

MOST: Final = 10_000
"""The kernel forgets nearly all at once. This is for those that it never knew: what another machine
had made, and a rename here replaced unseen."""


class RemovedNodes:
    """What removed nodes were."""

    def __init__(self) -> None:
        """Know none yet."""
        self._nodes: dict[Inode, Node] = {}

    def note(self, node: Node) -> None:
        """The last name of a node was removed here; call before the kernel is told."""
        if len(self._nodes) >= MOST:
            del self._nodes[next(iter(self._nodes))]
        self._nodes[node.inode] = replace(node, names=(), ctime_ns=time.time_ns())

    def get(self, inode: Inode) -> Node | None:
        """A removed node, without names, if the kernel may still ask for it."""
        return self._nodes.get(inode)

    def change(self, inode: Inode, fields: Mapping[str, Any]) -> Node:
        """Change attributes of a removed node, for those who still hold it."""
        node = replace(self._nodes[inode], **fields)
        self._nodes[inode] = node
        return node

    def forget(self, inodes: Iterable[int]) -> None:
        """Nobody holds these any more."""
        if self._nodes:
            for inode in inodes:
                self._nodes.pop(Inode(inode), None)
