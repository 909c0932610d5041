"""Which of the contents under one filename a node shows: the newest that is there."""

import logging
import time
import urllib.parse
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from gridfsmount.core.model import ROOT, UNSORTED, ContentId, Inode, Kind, Name, Node, State
from gridfsmount.errors import Conflict, ReadOnly
from gridfsmount.store.foreign import Upload
from gridfsmount.store.lake import Lake

log = logging.getLogger(__name__)

TRIES: Final = 5
"""A change that another mount is faster with that often meets a fault, not a coincidence."""


class Revisions:
    """Lets nodes show newer contents, and older ones when those are gone."""

    def __init__(self, lake: Lake) -> None:
        """Work on `lake`."""
        self._tree = lake.tree
        self._foreign = lake.foreign
        self._trash = lake.trash

    def are_of_one_file(self, node: Node, shown: Upload | None, upload: Upload) -> bool:
        """Whether an upload is a revision of what a node shows; `shown` is None if that is gone."""
        if node.kind is not Kind.FILE or not isinstance(upload.filename, str):
            return False
        if node.content is None:
            return node.version != UNSORTED
        return shown is None or shown.filename == upload.filename

    def show(self, node: Node, upload: Upload) -> None:
        """Let a node show another content, if nobody changed it since, and for as long as it can.

        Raises:
            Conflict: somebody changed it.
            ReadOnly: its version is sealed, or is being sealed.
        """
        self._tree.relink(node, upload.id, size_of(upload), upload.uploaded_ns)
        # It may be in the trash, and be erased just now.
        if not self._trash.keeps(upload.id):
            self.let_go(upload.id)

    def let_go(self, content: ContentId) -> int:
        """Let the nodes of a content that is gone show the one before it, or go; how many did."""
        nodes = self._tree.by_content(content)
        return sum(again(partial(self._let_go, node.inode, content)) for node in nodes)

    def is_sealed(self, node: Node) -> bool:
        """Whether a node lies in a version that is sealed, or is being sealed."""
        if node.frozen:
            return True
        if node.version is None:
            return False
        version = self._tree.get(node.version)
        return version is not None and version.state is State.SEALED

    def touch(self, names: Iterable[Name]) -> None:
        """Bring the times of folders forward whose entries changed."""
        now = time.time_ns()
        self._tree.touch({name.parent: now for name in names if name.parent != ROOT})

    def _let_go(self, inode: Inode, content: ContentId) -> bool:
        node = self._tree.get(inode)
        if node is None or node.content != content:
            return False
        path = self._tree.path(inode)
        try:
            if self.is_sealed(node):
                raise ReadOnly("its version is sealed")
            self._show_older(node, path)
        except ReadOnly as error:
            log.error("%s: its content %s is gone, and that stays so: %s", path, content, error)
            return False
        log.info("a driver removed %s (content %s)", path, content)
        self.touch(node.names)
        return True

    def _show_older(self, node: Node, path: str | None) -> None:
        """Show the newest revision that is not being erased; without one the node goes."""
        gone = {node.content} if node.content is not None else set()
        while (older := self._older(node, path, gone)) is not None:
            self._tree.relink(node, older.id, size_of(older), older.uploaded_ns)
            if self._trash.keeps(older.id):
                return
            gone.add(older.id)
            relinked = self._tree.get(node.inode)
            if relinked is None or relinked.content != older.id:
                return  # somebody gave it another content
            node = relinked
        self._tree.delete(node)

    def _older(self, node: Node, path: str | None, gone: set[ContentId]) -> Upload | None:
        for filename in filenames_of(node, path):
            upload = self._foreign.newest(filename, but=gone)
            if upload is not None:
                return upload
        return None


def again(change: Callable[[], bool]) -> bool:
    """Do a change, once more when another mount changed the node meanwhile."""
    for _ in range(TRIES - 1):
        try:
            return change()
        except Conflict as error:
            log.debug("once more: %s", error)
    return change()


def is_newer(upload: Upload, other: Upload) -> bool:
    """Whether an upload comes after another, or is the same."""
    return (upload.uploaded_ns, str(upload.id)) >= (other.uploaded_ns, str(other.id))


def size_of(upload: Upload) -> int:
    """Bytes that its file shows."""
    return 0 if upload.content is None else upload.content.length


def filenames_of(node: Node, path: str | None) -> Iterable[str]:
    """Filenames that a node at `path` may have been adopted from."""
    if path is None:
        return
    if node.version != UNSORTED:
        yield path
        return
    below = path.removeprefix("unsorted/")
    yield below
    yield urllib.parse.unquote(below)
