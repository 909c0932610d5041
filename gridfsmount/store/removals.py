"""Removal of whole versions that are out of the tree already, sealed or not, a batch at a time.

From the leaves up, so that nothing is ever without its folder; and without a plan, so that whoever
goes on after a crash begins where it stopped, and two may do it at once. The nodes go by queries of
their own, which do not ask whether they are frozen: the decision that the version goes was made
when it was taken out of the tree.
"""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from gridfsmount.core.model import ContentId, Inode, Kind
from gridfsmount.errors import Damaged
from gridfsmount.store.connection import Connection
from gridfsmount.store.detached import Detached, Remains
from gridfsmount.store.encoding import Document, content_id, content_key, same
from gridfsmount.store.trash import Trash
from gridfsmount.store.undecoded import usable_inode

log = logging.getLogger(__name__)

BATCH: Final = 1000
"""Nodes that go together."""

AT_ONCE: Final = 2
"""Batches: what the server does for one overlaps with what is done here for the other."""

PAGE: Final = 2 * AT_ONCE * BATCH
"""Nodes that are read together."""


class Removals:
    """Removes versions that hang in no folder."""

    def __init__(self, connection: Connection, trash: Trash, detached: Detached) -> None:
        """Work on the tree of `connection`."""
        self._seam = connection.seam
        self._nodes = connection.collection("tree")
        self._trash = trash
        self._detached = detached

    def go_on(self, version: Inode, attempt: str) -> int:
        """Remove a batch of a detached version; returns the number of nodes, 0 at the end.

        The contents go to the trash, as of any file that is removed.
        """
        self._detached.renew(version, attempt)
        removed = self.remove_below([version])
        if removed:
            return removed
        with self._seam.operation(f"remove inode {version}"):
            removed = self._nodes.delete_one(
                {"_id": version, "detached": {"$exists": True}}
            ).deleted_count
        # Who makes a name looks after that whether its folder is there, but may have died.
        return removed + self.remove_below([version])

    def give_up(self, version: Inode, attempt: str, folders: Sequence[Inode]) -> None:
        """Remove a version that was being made, unless it appeared and the answer was lost.

        Args:
            version: what was being made, detached.
            attempt: by whom.
            folders: those that were made in it: somebody else may have removed them, and not what
                was added after that.
        """
        if not self._detached.renew(version, attempt) and self._detached.hangs(version):
            return
        while self.go_on(version, attempt):
            pass
        for first in range(0, len(folders), BATCH):
            while self.remove_below(folders[first : first + BATCH]):
                pass

    def clear(self) -> Iterator[tuple[Remains, int]]:
        """Remove what was left behind, a batch at a time; yields the number of nodes of each."""
        for remains in self._detached.remains():
            attempt = self._detached.take_over(remains.version)
            if attempt is None:
                continue
            log.info("removing %s, which %s left half made or removed", remains.path, remains.by)
            while removed := self.go_on(remains.version, attempt):
                yield remains, removed

    def remove_below(self, folders: Sequence[Inode]) -> int:
        """Remove a batch of what lies below some folders; returns its size, 0 for nothing."""
        level, seen = list(folders), set(folders)
        while True:
            with self._seam.operation("look for what is to be removed", factor=5):
                fields = {"kind": 1, "content": 1}
                query = {"names.parent": {"$in": level}}
                found = list(self._nodes.find(query, fields).limit(PAGE))
            # A folder whose number is none has nothing in it: nothing can say that it lies there.
            leaves = [
                each
                for each in found
                if each.get("kind") != Kind.DIRECTORY.value or usable_inode(each["_id"]) is None
            ]
            if leaves:
                groups = [leaves[first : first + BATCH] for first in range(0, len(leaves), BATCH)]
                with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="remove") as pool:
                    for _ in pool.map(self._remove_leaves, groups):
                        pass
                return len(leaves)
            inner = [each["_id"] for each in found if each["_id"] not in seen]
            if not inner:
                break
            seen.update(inner)
            level = inner
        if level == list(folders):
            return 0
        with self._seam.operation(f"remove {len(level)} folders", factor=5):
            self._nodes.delete_many({"_id": {"$in": level}})
        while self.remove_below(level):  # names that came in between
            pass
        return len(level)

    def _remove_leaves(self, leaves: Sequence[Document]) -> None:
        contents: set[ContentId] = set()
        odd: list[object] = []
        for each in leaves:
            try:
                if each.get("content") is not None:
                    contents.add(content_id(each["content"]))
            except Damaged as error:
                log.error("nothing goes to the trash: %s", error)
                odd.append(each["_id"])
        inodes = [each["_id"] for each in leaves]
        keys = [content_key(each) for each in contents]
        with self._seam.operation(f"find the nodes of {len(keys)} contents", factor=5):
            others = self._nodes.find({"content": {"$in": keys}}, {"content": 1})
            mine = set(map(same, inodes))
            # What equals what is for the server to say: an array may have the value.
            shared = {
                content
                for each in others
                if same(each["_id"]) not in mine
                for content in _contents_in(each["content"])
            }
        self._trash.announce_many(list(contents - shared))
        # What was committed meanwhile is not announced: it goes with the next batch.
        query: Document = {
            "_id": {"$in": inodes},
            "$or": [{"content": {"$in": [None, *keys]}}, {"_id": {"$in": odd}}],
        }
        with self._seam.operation(f"remove {len(leaves)} nodes", factor=5):
            self._nodes.delete_many(query, hint="_id_")
        self._trash.settle_many(list(contents))


def _contents_in(value: object) -> Iterator[ContentId]:
    """The contents that a query takes a value of `content` for."""
    for each in value if isinstance(value, list) else [value]:
        with suppress(Damaged):
            yield content_id(each)
