"""What the mount remembers of nodes for a moment, and the folder times that are to be written.

A tool that copies or removes many files asks for the same nodes again and again. And every create
and remove touches its directory: the times are written once a second, and shown from here until
then.
"""

import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from typing import Final, TypeVar

import trio

from gridfsmount.core.model import AREAS, ROOT, UNSORTED, Inode, Kind, Name, Node, State
from gridfsmount.errors import FileSystemError, NotADirectory, NotFound, ReadOnly, Stale
from gridfsmount.store.changes import NodeChange
from gridfsmount.store.tree import Tree
from gridfsmount.vfs.fleeting import FleetingFiles
from gridfsmount.workers import Workers

T = TypeVar("T")
K = TypeVar("K")

REMEMBER_SECONDS: Final = 0.4
"""With what the kernel believes on top, another machine's change shows within a second."""

PATH_SECONDS: Final = 1.0
"""Paths only tell drivers where a content is: the tree is the truth."""

RENAMED_SECONDS: Final = 1.0
"""For longer the kernel does not believe a name anyway."""

_GONE: Final = math.inf
"""More than any `rev`: whatever was read of the node before is of the past."""

_MOST: Final = 10_000

UNKNOWN: Final = "..."
"""Stands for the part of a path that is not remembered."""

_FIXED: Final = {inode: name for name, inode in AREAS.items()}

_DEEPEST: Final = 100
"""Folders above a node that are named in a path: a tree that loops has no end."""

SETTLED: Final = 20_000
"""Nodes of sealed versions that are remembered for good: about a kilobyte each."""


class RecentNodes:
    """Nodes as they were a moment ago, paths of directories, and times to be written."""

    def __init__(self, tree: Tree, workers: Workers) -> None:
        """Look nodes up in `tree`."""
        self.fleeting = FleetingFiles()
        self._tree = tree
        self._workers = workers
        self._known: dict[Inode, tuple[float, Node]] = {}
        self._paths: dict[Inode, tuple[float, str]] = {}
        self._named: dict[Name, tuple[float, Inode]] = {}
        self._settled: OrderedDict[Inode, Node] = OrderedDict()
        self._sealed: dict[Inode, float] = {}
        """Sealed versions, and since when that is known: what was read before may be outdated."""
        self._drafts: set[Inode] = set()
        """Versions that were seen unsealed."""
        self._told: dict[Inode, tuple[float, float]] = {}
        """When the server told of a node's change, and its `rev` since: an answer on its way
        then may be older. The latest last."""
        self._changed: dict[Inode, tuple[float, Node]] = {}
        """What this mount made of nodes, and when: an answer on its way then may be older. Not
        forgotten with `_known`; the latest last. The root's stays: it is shown as it was while the
        server does not answer, however long that is."""
        self._deaf_until = -math.inf
        """Before that, it may have failed to tell."""
        self._renamed: dict[Inode, float] = {}
        """Nodes that another mount renamed, until the kernel has looked them up again."""
        self._touched_ns: dict[Inode, int] = {}
        self._writing = trio.Lock()
        """Held while times are on their way to the lake."""

    async def get(self, inode: Inode) -> Node:
        """A node, as it was a moment ago at most.

        Raises:
            NotFound: there is none.
        """
        settled = self.settled(inode)
        if settled is not None:
            return settled
        began = time.monotonic()
        known = self._known.get(inode)
        if known is not None and began - known[0] < REMEMBER_SECONDS:
            return known[1]
        node = await self._workers.foreground(self._tree.get, inode)
        if node is None:
            self.forget(inode)
            raise Stale(f"inode {inode}")
        return self.remember(node, began)

    def named(self, name: Name) -> Node | None:
        """The node of a name that was looked up with others a moment ago."""
        found = self._named.get(name)
        known = None if found is None else self._known.get(found[1])
        if found is None or known is None:
            return None
        oldest = time.monotonic() - REMEMBER_SECONDS
        return known[1] if min(found[0], known[0]) > oldest and name in known[1].names else None

    def remember_named(self, names: Mapping[Name, Node], began: float) -> None:
        """Note which nodes some names lead to, as they were at `began`."""
        if len(self._named) >= _MOST:
            self._named.clear()
        for name, node in names.items():
            self._named[name] = (began, node.inode)
            self.remember(node, began)

    def peek(self, inode: Inode) -> Node | None:
        """A node as it was when last seen, if that is remembered."""
        known = self._known.get(inode)
        return None if known is None else known[1]

    def recall(self, inode: Inode) -> Node | None:
        """A node as it was when last seen or made, however long ago that was; asks nobody."""
        known, changed = self._known.get(inode), self._changed.get(inode)
        if known is not None:
            return known[1]
        return changed[1] if changed is not None else self._settled.get(inode)

    def known_path(self, inode: Inode) -> str:
        """Path below the root as far as it is remembered, maybe of a moment ago; asks nobody.

        What is missing at its beginning is `UNKNOWN`, for people.
        """
        names: list[str] = []
        while inode != ROOT and len(names) < _DEEPEST:
            known = self._paths.get(inode)
            fixed = _FIXED.get(inode) if known is None else known[1]
            if fixed is not None:
                names.append(fixed)
                break
            node = self.recall(inode)
            if node is None or not node.names:
                names.append(f"{UNKNOWN}/inode {inode}" if not names else UNKNOWN)
                break
            names.append(node.names[0].name)
            inode = node.names[0].parent
        return "/".join(reversed(names))

    def seen(self, inode: Inode) -> float:
        """When a node was last read, of the monotonic clock, if that is remembered."""
        known = self._known.get(inode)
        return -math.inf if known is None else known[0]

    def settled(self, inode: Inode) -> Node | None:
        """A node of a sealed version, if it is remembered: it is what it was for good."""
        node = self._settled.get(inode)
        if node is not None:
            self._settled.move_to_end(inode)
        return node

    def is_sealed(self, version: Inode | None, began: float) -> bool:
        """Whether what was read of a version from `began` on will never change."""
        if version is None:
            return False
        sealed = self._sealed.get(version)
        return sealed is not None and sealed < began

    def is_settled(self, node: Node, began: float) -> bool:
        """Whether a node that was read from `began` on will never change.

        A version's own node does: it can be removed.
        """
        return node.version != node.inode and self.is_sealed(node.version, began)

    def is_fresh(self, node: Node, began: float) -> bool:
        """Whether moreover the kernel remembers nothing from before its version was sealed."""
        return self.is_settled(node, began) and node.version not in self._drafts

    def listed(self, nodes: Iterable[Node], began: float) -> None:
        """Remember what will never change of nodes that were read from `began` on."""
        for node in nodes:
            if self.is_settled(node, began) and not self._is_past(node, began):
                self._settle(node)

    async def learn(self, version: Inode | None) -> None:
        """Find out whether a version is sealed."""
        if version is not None and version not in self._sealed and version != UNSORTED:
            with contextlib.suppress(NotFound):  # then it is no version
                await self.get(version)

    async def directory(self, inode: Inode) -> Node:
        """The same for a directory.

        Raises:
            NotFound, NotADirectory: it is none.
        """
        node = await self.get(inode)
        if node.kind is not Kind.DIRECTORY:
            raise NotADirectory(f"inode {inode}")
        return node

    async def path(self, inode: Inode) -> str:
        """Path of a directory below the root.

        Raises:
            NotFound: it hangs on nothing any more.
        """
        now = time.monotonic()
        known = self._paths.get(inode)
        if known is not None and now - known[0] < PATH_SECONDS:
            return known[1]
        path = await self._workers.foreground(self._tree.path, inode)
        if path is None:
            raise Stale(f"inode {inode}")
        if len(self._paths) >= _MOST:
            self._paths.clear()
        self._paths[inode] = (now, path)
        return path

    def remember(self, node: Node, seen: float | None = None) -> Node:
        """Note a node as this mount made it, or as it was at `seen` of the monotonic clock.

        Returns what is to be believed: the same, or what this mount has made of it since.
        """
        node = self.newest(node, -math.inf if seen is None else seen)
        if seen is None:
            _put_last(self._changed, node.inode, (time.monotonic(), node))
        if seen is not None and self._is_past(node, seen):
            return node
        if len(self._known) >= _MOST:
            self._known.clear()
        self._renamed.pop(node.inode, None)
        known = self._known.get(node.inode)
        if known is None or known[1].rev <= node.rev:
            self._known[node.inode] = (time.monotonic() if seen is None else seen, node)
        if node.state is State.DRAFT:
            self._drafts.add(node.inode)
        elif node.state is State.SEALED:
            self._sealed.setdefault(node.inode, time.monotonic())
        if seen is not None and self.is_settled(node, seen):
            self._settle(node)
        return node

    def newest(self, node: Node, seen: float = -math.inf) -> Node:
        """A node that was read from `seen` on, or what this mount has made of it since.

        What it has made never shows its past again: the kernel appends at the size it was told.
        """
        at, changed = self._changed.get(node.inode, (-math.inf, node))
        return changed if seen <= at and node.rev < changed.rev else node

    def _settle(self, node: Node) -> None:
        self._settled[node.inode] = node
        if len(self._settled) > SETTLED:
            self._settled.popitem(last=False)

    def moved(self) -> None:
        """A directory has another path now, and all below it."""
        self._paths.clear()

    async def check_writable(self, version: Inode | None) -> None:
        """Refuse changes in a sealed version.

        Raises:
            ReadOnly: it is sealed.
        """
        if version is None:
            return
        node = await self.get(version)
        if node.state is State.SEALED:
            raise ReadOnly("the version is sealed: fork it to change something")
        if node.record is not None and node.record.sealing is not None:
            raise ReadOnly(f"the version is being sealed by {node.record.sealing.by}")

    def forget(self, *inodes: Inode) -> None:
        """Look these up anew next time."""
        for inode in inodes:
            self._known.pop(inode, None)
            self._settled.pop(inode, None)

    def heard(self, change: NodeChange, now: float) -> bool:
        """Forget a node that changed; false if what is remembered has the change already."""
        inode = change.inode
        known = self.peek(inode)
        if known is not None and change.rev is not None and known.rev >= change.rev:
            return False
        _put_last(self._told, inode, (now, _GONE if change.gone else change.rev or 0))
        self.forget(inode)
        if change.gone:
            self._paths.pop(inode, None)
            self._sealed.pop(inode, None)
            self._drafts.discard(inode)
        elif change.sealed:
            self._sealed.setdefault(inode, now)
        if change.renamed:
            if known is None or known.kind is Kind.DIRECTORY:
                self.moved()
            if known is not None:
                self._note_renamed(inode, now)
        return True

    def forget_everything(self) -> list[Inode]:
        """Look everything up anew, since the server may have failed to tell of changes.

        Returns the inodes that the kernel may believe in for long.
        """
        settled = list(self._settled)
        self._known.clear()
        self._named.clear()
        self._paths.clear()
        self._settled.clear()
        self._renamed.clear()
        self._deaf_until = time.monotonic()
        return settled

    def drop(self, before: float, held: Iterable[Inode] = ()) -> None:
        """Let go of what was last seen or told `before`: no answer on its way then is one still.

        Nodes of sealed versions stay. So does what people are told of later: paths of directories,
        which are short, and what leads to `held`, as far as it is remembered.
        """
        kept = self._with_parents(held)
        _drop_old(self._known, before, kept)
        _drop_old(self._named, before)
        _drop_old(self._changed, before, kept)
        _drop_old(self._told, before)
        for inode in [inode for inode, at in self._renamed.items() if at < before]:
            del self._renamed[inode]

    def _with_parents(self, inodes: Iterable[Inode]) -> set[Inode]:
        """The root, these and all above them, as far as they are remembered."""
        found = {ROOT}
        left = list(inodes)
        while left:
            inode = left.pop()
            if inode not in found:
                found.add(inode)
                node = self.recall(inode)
                left += () if node is None else (each.parent for each in node.names)
        return found

    def take_renamed(self, inode: Inode) -> bool:
        """Whether the kernel may know a node by a name that it has lost elsewhere; says so once."""
        renamed = self._renamed.pop(inode, None)
        return renamed is not None and time.monotonic() - renamed < RENAMED_SECONDS

    def _note_renamed(self, inode: Inode, now: float) -> None:
        if len(self._renamed) >= _MOST:
            self._renamed.clear()
        self._renamed[inode] = now

    def _is_past(self, node: Node, began: float) -> bool:
        """Whether a node that was read from `began` on has changed since, as far as is known."""
        at, rev = self._told.get(node.inode, (-math.inf, 0))
        return began <= self._deaf_until or (began <= at and node.rev < rev)

    def touch(self, *inodes: Inode) -> None:
        """The directories' entries changed now."""
        self._named.clear()
        now = time.time_ns()
        for inode in inodes:
            self._touched_ns[inode] = now

    async def settle(self, inode: Inode) -> None:
        """The directory's times are about to be set: what is pending must not undo that."""
        async with self._writing:
            self._touched_ns.pop(inode, None)

    def shown(self, node: Node) -> Node:
        """A node with the times that are still to be written."""
        touched = self._touched_ns.get(node.inode)
        if touched is None or node.kind is not Kind.DIRECTORY:
            return node
        return replace(
            node, mtime_ns=max(node.mtime_ns, touched), ctime_ns=max(node.ctime_ns, touched)
        )

    async def write_times(self) -> None:
        """Write the times that are pending; they stay pending if that fails."""
        async with self._writing:
            pending = dict(self._touched_ns)
            if not pending:
                return
            try:
                await self._workers.background(self._tree.touch, pending)
            except FileSystemError:
                return  # the next round tries again; the seam's caller has logged the outage
            # No checkpoint from here on: what is no longer pending must not be shown from memory.
            self.forget(*pending)
            for inode, at in pending.items():
                if self._touched_ns.get(inode) == at:
                    del self._touched_ns[inode]


def _drop_old(
    times: dict[K, tuple[float, T]], before: float, kept: Container[object] = frozenset()
) -> None:
    for key in [key for key, (at, _) in times.items() if at < before and key not in kept]:
        del times[key]


def _put_last(latest: dict[Inode, T], inode: Inode, value: T) -> None:
    """Note what is the latest now; too many push the oldest out."""
    latest.pop(inode, None)
    if len(latest) >= _MOST:
        del latest[next(iter(latest))]
    latest[inode] = value
