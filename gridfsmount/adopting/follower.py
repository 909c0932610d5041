"""What other GridFS clients renamed and removed, followed in the tree.

Blocking code without state between calls; several mounts may run it at once.
"""

from collections.abc import Sequence

from gridfsmount.adopting.adopter import Adopter
from gridfsmount.adopting.revisions import Revisions
from gridfsmount.core.model import ContentId, Inode
from gridfsmount.store.lake import Lake


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
                self._adopter.follow_rename(upload)

    def follow_renames(self) -> int:
        """Look for what drivers renamed, and follow a batch of it; how much that was.

        Reads all files documents.
        """
        renamed = self._foreign.renamed()
        for upload in renamed:
            self._adopter.follow_rename(upload)
        return len(renamed)

    def follow_removals(self, after: Inode) -> tuple[int, Inode | None]:
        """Look for what drivers removed among a stretch of nodes after a number, and follow it.

        Returns how many nodes changed, and where to go on: None at the end.
        """
        missing = self._foreign.missing(after)
        there = {upload.id for upload in self._foreign.get_many(missing.contents)}
        gone = [content for content in missing.contents if content not in there]
        return sum(self._revisions.let_go(content) for content in gone), missing.last
