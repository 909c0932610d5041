"""What other GridFS clients renamed and removed, followed in the tree.

Blocking code without state between calls; several mounts may run it at once.
"""

import logging
import time
from collections.abc import Sequence
from functools import partial

from gridfsmount.adopting.adopter import Adopter, node_of, spare_name
from gridfsmount.adopting.folders import Folders
from gridfsmount.adopting.revisions import Revisions, again, filenames_of
from gridfsmount.core.model import ContentId, Inode, Node
from gridfsmount.errors import AlreadyExists, ReadOnly
from gridfsmount.store.foreign import Upload
from gridfsmount.store.lake import Lake

log = logging.getLogger(__name__)


class Follower:
    """Keeps the tree in step with what drivers do to contents that have nodes."""

    def __init__(self, lake: Lake) -> None:
        """Work on `lake`."""
        self._tree = lake.tree
        self._foreign = lake.foreign
        self._adopter = Adopter(lake)
        self._revisions = Revisions(lake)

    def follow(self, contents: Sequence[ContentId]) -> None:
        """Something happened to these contents: bring the tree in step."""
        there = {upload.id: upload for upload in self._foreign.get_many(contents)}
        for content in self._tree.shown([each for each in contents if each not in there]):
            self._revisions.let_go(content)
        for upload in there.values():
            if upload.renamed or not upload.marked:  # a driver's replacement has no marker
                self._follow_rename(upload)

    def follow_renames(self) -> int:
        """Look for what drivers renamed, and follow a batch of it; how much that was.

        Reads all files documents.
        """
        renamed = self._foreign.renamed()
        for upload in renamed:
            self._follow_rename(upload)
        return len(renamed)

    def follow_removals(self, after: Inode) -> tuple[int, Inode | None]:
        """Look for what drivers removed among a stretch of nodes after a number, and follow it.

        Returns how many nodes changed, and where to go on: None at the end.
        """
        missing = self._foreign.missing(after)
        there = {upload.id for upload in self._foreign.get_many(missing.contents)}
        gone = [content for content in missing.contents if content not in there]
        return sum(self._revisions.let_go(content) for content in gone), missing.last

    def _follow_rename(self, upload: Upload) -> None:
        nodes = self._tree.by_content(upload.id)
        if not nodes:
            # An older revision, which may be the newest of its new name; or a new content.
            self._adopter.adopt([upload])
            return
        if len(nodes) > 1:
            nodes = self._known_by_filename(nodes, upload)
        moved = sum(again(partial(self._move, node.inode, upload)) for node in nodes)
        self._foreign.mark([upload])
        if moved:
            older = self._foreign.newest(upload.marked_filename)
            if older is not None and not self._tree.shows(older.id):
                self._adopter.adopt([older])

    def _known_by_filename(self, nodes: Sequence[Node], upload: Upload) -> list[Node]:
        """The file that drivers knew under the old name; forks that show the content too stay."""
        paths = self._tree.paths([node.inode for node in nodes])
        return [
            node
            for node in nodes
            if upload.marked_filename in list(filenames_of(node, paths.get(node.inode)))
        ]

    def _move(self, inode: Inode, upload: Upload) -> bool:
        """Bring a node to the place of its upload; whether it left its old one."""
        node = self._tree.get(inode)
        if node is None or node.content != upload.id:
            return False
        if self._revisions.is_sealed(node):
            log.warning("%r was renamed by a driver, in a sealed version: ignored", node.names)
            return False
        folders = Folders(self._tree)
        parent, name = self._adopter.home(upload, folders)
        if name in node.names or spare_name(upload) in node.names:
            return False
        log.info("a driver renamed %s to %r", node.names[0].name, upload.filename)
        try:
            self._tree.set_names(
                node, (name, *node.names[1:]), time.time_ns(), version=parent.version
            )
        except ReadOnly:
            log.warning("%r was renamed by a driver, in a sealed version: ignored", node.names)
            return False
        except AlreadyExists:
            self._tree.delete(node)
            self._adopter.settle(node_of(node.inode, name, upload, parent.version), upload, folders)
        self._revisions.touch((*node.names, name))
        return True
