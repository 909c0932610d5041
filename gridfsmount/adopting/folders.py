"""Folders of the tree that uploads go to, found or made for a whole batch, level by level."""

import time
from collections.abc import Iterable
from typing import Final

from gridfsmount.core.model import AREAS, Inode, Kind, Name, Node, State
from gridfsmount.store.tree import Tree

Parts = tuple[str, ...]
"""A path from the root, as its names."""

_VERSION_DEPTH: Final = 3  # datasets/<name>/<version>

_CLOSED: Final = None
"""Of a path where nothing can be put: a file, a tag, what is sealed or being sealed, or below."""


class Folders:
    """What is known of folders for the moment of one batch."""

    def __init__(self, tree: Tree) -> None:
        """Look into `tree`."""
        self._tree = tree
        self._known: dict[Parts, Node | None] = {}
        self._made: set[Inode] = set()

    def get(self, parts: Parts) -> Node | None:
        """The directory at `parts`, made if need be; None when nothing can be put there."""
        if parts not in self._known:
            self.prepare([parts])
        return self._known[parts]

    def prepare(self, paths: Iterable[Parts]) -> None:
        """Find or make all of these with a few questions for each level."""
        wanted = {path[:depth] for path in paths for depth in range(1, len(path) + 1)}
        wanted -= self._known.keys()
        for depth in sorted({len(each) for each in wanted}):
            self._prepare_level([each for each in wanted if len(each) == depth])

    def closed(self) -> set[Parts]:
        """Paths of folders that somebody removed or froze meanwhile, and of all below them.

        To be asked when everything is in its place: who did that may not have seen it.
        """
        folders = {path: node.inode for path, node in self._known.items() if node is not None}
        still_open = self._tree.open_folders(list(folders.values()))
        shut = {path for path, inode in folders.items() if inode not in still_open}
        if not shut:
            return shut
        return {path for path in folders if any(path[: len(each)] == each for each in shut)}

    def take_back(self, closed: Iterable[Parts]) -> None:
        """Remove those of some folders that were made here, and hold nothing."""
        for path in sorted(closed, key=len, reverse=True):
            node = self._known[path]
            if node is None or node.inode not in self._made:
                continue
            if not self._tree.has_children(node.inode):
                self._tree.discard(node.inode)

    def _prepare_level(self, level: list[Parts]) -> None:
        if len(level[0]) == 1:
            self._known.update({each: self._tree.get(AREAS[each[0]]) for each in level})
            return
        self._known.update(dict.fromkeys(level, _CLOSED))
        places: dict[Name, Parts] = {}
        for path in level:
            parent = self._known[path[:-1]]
            if parent is not None:
                places[Name(parent.inode, path[-1])] = path
        found = self._tree.find_places(places)
        missing = places.keys() - found.keys()
        if missing:
            found |= self._make({place: places[place] for place in missing})
        for place, path in places.items():
            node = found.get(place)
            self._known[path] = node if node is not None and _is_open(node) else _CLOSED

    def _make(self, places: dict[Name, Parts]) -> dict[Name, Node]:
        numbers = self._tree.allocate(len(places))
        nodes = [
            self._new(Inode(number), place, path)
            for number, (place, path) in zip(numbers, places.items(), strict=True)
        ]
        refused = self._tree.insert_many(nodes)
        made = {node.names[0]: node for node in nodes if node.inode not in refused}
        self._made |= {node.inode for node in made.values()}
        if refused:  # another mount was faster
            made |= self._tree.find_places(places.keys() - made.keys())
        return made

    def _new(self, inode: Inode, place: Name, path: Parts) -> Node:
        now = time.time_ns()
        parent = self._known[path[:-1]]
        is_version = path[0] != "unsorted" and len(path) == _VERSION_DEPTH
        return Node(
            inode=inode,
            kind=Kind.DIRECTORY,
            names=(place,),
            mode=None,
            uid=None,
            gid=None,
            mtime_ns=now,
            ctime_ns=now,
            version=inode if is_version or parent is None else parent.version,
            state=State.DRAFT if is_version else None,
            # The server's time: machines' clocks may differ, and the newest is the same everywhere.
            created_ns=self._tree.clock_ns() if is_version else 0,
        )


def _is_open(node: Node) -> bool:
    return node.kind is Kind.DIRECTORY and node.state is not State.SEALED and not node.frozen
