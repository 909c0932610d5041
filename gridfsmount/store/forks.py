"""Forks: new versions that show the contents of another, without copying a byte.

The nodes are copied as they are in the database, a batch at a time, below a version that hangs in
no folder until it is complete. Where the deployment has snapshots, all of it is read as it was at
one moment, whatever is written meanwhile.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Final

from bson import Int64
from pymongo.client_session import ClientSession

from gridfsmount.core.model import Inode, Kind, Name, Node, Origin, State
from gridfsmount.errors import Conflict, Damaged, FileSystemError, NotFound
from gridfsmount.store.connection import Connection
from gridfsmount.store.detached import Detached
from gridfsmount.store.encoding import Document, content_id, encode_origin
from gridfsmount.store.removals import Removals
from gridfsmount.store.trash import Trash
from gridfsmount.store.tree import Tree
from gridfsmount.store.undecoded import usable_inode, usable_inodes

log = logging.getLogger(__name__)

BATCH: Final = 1000
"""Nodes of one insert."""

FOLDERS: Final = 1000
"""Folders whose entries are asked for together."""

INSERTS: Final = 2
"""At once: what the server does then overlaps with what is done here."""

BEAT_SECONDS: Final = 5.0
"""Between two signs of life."""

_KEPT: Final = (
    "kind",
    "mode",
    "uid",
    "gid",
    "mtime_ns",
    "atime_ns",
    "size",
    "content",
    "target",
    "xattrs",
)
"""Fields that a copy has as well."""


@dataclass(frozen=True, slots=True)
class Forked:
    """A fork that is complete."""

    node: Node
    nodes: int
    files: int
    """A hard link is one more, as in a manifest."""
    bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A fork that is wanted."""

    source: Inode
    origin: Origin
    """What to record of the source."""
    name: str
    """Of the new version."""
    path: str
    """Where it will be, for people."""
    by: str
    created_ns: int
    home: Callable[[], Inode]
    """Finds or makes the folder that it goes into, when it is complete."""


class Forks:
    """Makes forks."""

    def __init__(
        self,
        connection: Connection,
        tree: Tree,
        trash: Trash,
        detached: Detached,
        removals: Removals,
    ) -> None:
        """Work on the tree of `connection`."""
        self._connection = connection
        self._seam = connection.seam
        self._nodes = connection.collection("tree")
        self._tree = tree
        self._trash = trash
        self._detached = detached
        self._removals = removals

    def fork(self, plan: Plan, moved: Callable[[int], None]) -> Forked:
        """Make a draft that shows what a version does; it appears whole, at the end.

        Args:
            plan: what is wanted.
            moved: called with the number of nodes that were added.

        Raises:
            NotFound: the source, or the folder, is gone.
            AlreadyExists: the name is taken.
            Damaged: a content of the source is gone.
            Conflict: it was held up for so long that it was given up.
        """
        # Awaited by the majority, before the snapshot: that is of what the majority has, and so of
        # all that was acknowledged until now, attributes too.
        fork = _Fork(plan, Inode(self._tree.allocate(1)[0]))
        with self._snapshot(plan) as session:
            with self._seam.operation(f"read inode {plan.source}"):
                source = self._nodes.find_one({"_id": plan.source}, session=session)
            if source is None or "detached" in source:
                raise NotFound(f"{plan.origin.path} is gone")
            attempt = self._detached.make(_version(source, plan, fork.version), plan.path, plan.by)
            try:
                self._copy(fork, attempt, session, moved)
                if session is None:
                    self._check_source(plan)
                node = self._hang(fork, attempt)
            except BaseException:
                with suppress(FileSystemError):  # then it is left to the sweep
                    self._removals.give_up(fork.version, attempt, list(fork.folders.values()))
                raise
        return Forked(node, fork.nodes, fork.files, fork.bytes)

    def _snapshot(self, plan: Plan) -> Any:
        # What is sealed is the same at any moment; and a snapshot lasts for five minutes only.
        if plan.origin.digest or not self._connection.deployment.transactions:
            return nullcontext()
        return self._connection.client.start_session(snapshot=True)

    def _copy(
        self,
        fork: "_Fork",
        attempt: str,
        session: ClientSession | None,
        moved: Callable[[int], None],
    ) -> None:
        beat = time.monotonic()
        flights: set[Future[int]] = set()
        with ThreadPoolExecutor(INSERTS, thread_name_prefix="fork") as pool:
            try:
                for page in self._pages(fork, session):
                    if time.monotonic() - beat > BEAT_SECONDS:
                        beat = time.monotonic()
                        self._renew(fork, attempt)
                    if len(flights) > INSERTS:
                        done, flights = wait(flights, return_when=FIRST_COMPLETED)
                        moved(sum(each.result() for each in done))
                    copies = fork.copies(page, self._tree.allocate(len(page)))
                    if copies:
                        flights.add(pool.submit(self._write, copies))
                for each in flights:
                    moved(each.result())
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _renew(self, fork: "_Fork", attempt: str) -> None:
        if not self._detached.renew(fork.version, attempt):
            raise Conflict(f"{fork.plan.path} took too long without a sign of life: fork again")

    def _pages(self, fork: "_Fork", session: ClientSession | None) -> Iterator[list[Document]]:
        """All nodes below the source: the folders, level by level, then the rest."""
        level = [fork.plan.source]
        while level:
            inner: list[Inode] = []
            for page in self._children(level, {"kind": Kind.DIRECTORY.value}, session):
                new = [
                    each
                    for each in page
                    if usable_inode(each["_id"]) is not None and each["_id"] not in fork.folders
                ]
                inner += usable_inodes(new)
                yield new
            level = inner
        others = {"kind": {"$ne": Kind.DIRECTORY.value}}
        yield from self._children(list(fork.folders), others, session)

    def _children(
        self, folders: Sequence[Inode], query: Document, session: ClientSession | None
    ) -> Iterator[list[Document]]:
        for first in range(0, len(folders), FOLDERS):
            below = {"names.parent": {"$in": folders[first : first + FOLDERS]}, **query}
            with self._seam.operation("read what is forked", factor=20):
                found = self._nodes.find(below, session=session).batch_size(BATCH)
                page = found.to_list(BATCH)
            while page:
                yield page
                with self._seam.operation("read what is forked"):
                    page = found.to_list(BATCH)

    def _write(self, copies: Sequence[Document]) -> int:
        with self._seam.operation(f"add {len(copies)} nodes", factor=5):
            self._nodes.insert_many(copies, ordered=False)
        names = {
            content_id(each["content"]): each["names"][0]["name"]
            for each in copies
            if each.get("content") is not None
        }
        for content in self._trash.keep_many(list(names)):
            raise Damaged(
                f"{names[content]!r} in it has lost its content ({content}): "
                "see `gridfsmount check`, or fork again if it was being changed"
            )
        return len(copies)

    def _check_source(self, plan: Plan) -> None:
        """Without a snapshot: what is being removed was not read whole."""
        with self._seam.operation(f"read inode {plan.source}"):
            query = {"_id": plan.source, "detached": {"$exists": False}}
            found = self._nodes.find_one(query, {"_id": 1})
        if found is None:
            raise NotFound(f"{plan.origin.path} was removed meanwhile")

    def _hang(self, fork: "_Fork", attempt: str) -> Node:
        name = Name(fork.plan.home(), fork.plan.name)
        node = self._detached.hang(fork.version, attempt, name)
        # As with all that is created: who removes a folder looks for entries after that.
        if not self._tree.open_folders([name.parent]):
            self._detached.detach(node, fork.plan.path, fork.plan.by)
            raise NotFound(f"the folder of {fork.plan.path} was removed meanwhile")
        return node


class _Fork:
    """What a fork has so far."""

    def __init__(self, plan: Plan, version: Inode) -> None:
        self.plan = plan
        self.version = version
        self.folders = {plan.source: version}
        """The copies of folders, by what they are copies of."""
        self.nodes = self.files = self.bytes = 0
        self._linked: set[Inode] = set()
        """Nodes with several names that have their copy."""
        self._now = Int64(time.time_ns())

    def copies(self, documents: Sequence[Document], numbers: range) -> list[Document]:
        """Copies of some nodes, whose folders have theirs already."""
        made = []
        for document, number in zip(documents, numbers, strict=True):
            names = self._names(document.get("names"))
            if not names or usable_inode(document["_id"]) is None:
                continue  # nothing shows it in the source either
            if document["_id"] in self._linked:
                continue
            if len(names) > 1:
                self._linked.add(document["_id"])
            kind, size = document.get("kind"), document.get("size")
            if kind == Kind.DIRECTORY.value:
                self.folders[document["_id"]] = Inode(number)
            elif kind == Kind.FILE.value:
                self.files += len(names)
                self.bytes += len(names) * size if isinstance(size, int) else 0
            copy: Document = {
                "_id": Int64(number),
                "names": names,
                "ctime_ns": self._now,
                "version": Int64(self.version),
                "rev": Int64(0),
            }
            copy |= {field: document[field] for field in _KEPT if field in document}
            made.append(copy)
        self.nodes += len(made)
        return made

    def _names(self, names: object) -> list[Document]:
        return [
            {"parent": Int64(self.folders[each["parent"]]), "name": each["name"]}
            for each in (names if isinstance(names, list) else [])
            if isinstance(each, dict)
            and isinstance(each.get("parent"), int | float)
            and each["parent"] in self.folders
            and "name" in each
        ]


def _version(source: Document, plan: Plan, number: Inode) -> Document:
    return {
        "_id": Int64(number),
        **{field: source[field] for field in _KEPT if field in source},
        "ctime_ns": Int64(plan.created_ns),
        "version": Int64(number),
        "state": State.DRAFT.value,
        "created_ns": Int64(plan.created_ns),
        "by": plan.by,
        "parent": encode_origin(plan.origin),
        "rev": Int64(0),
    }
