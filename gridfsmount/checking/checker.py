"""Reads a lake through and tells what is wrong.

A lake may be in use meanwhile, and no two documents are read at the same moment. So what looks
wrong is looked at again after a while, and told only when it looks exactly the same: work in
progress moves on. Memory stays bounded, whatever the size of the lake and whatever is wrong.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from gridfsmount.checking.contents import ContentExamination
from gridfsmount.checking.findings import Fault, Finding
from gridfsmount.checking.nodes import NodeExamination
from gridfsmount.core.model import AREAS, NO_FOLDER, ROOT, ContentId, Inode
from gridfsmount.store.lake import Lake, missing_indexes

AGAIN_SECONDS: Final = 3.0
"""Until the second look: longer than any change of several documents takes, and than a mount
needs to follow what a driver did."""

LOOKS: Final = 4
"""At what is different each time; then it is work in progress."""

SUSPECTS: Final = 1000
"""Things that wait for their second look together."""

UPLOAD_SECONDS: Final = 3600.0
"""Chunks without an owner may be a driver's upload, which has a files document only at its end."""

NO_NUMBER: Final = "its inode number is no whole number"

Examine: TypeAlias = Callable[[Sequence[Inode], Sequence[ContentId]], list[Finding]]


@dataclass(slots=True)
class Progress:
    """How far it got."""

    nodes: int = 0
    contents: int = 0
    bytes: int = 0


class Checker:
    """One check of one lake."""

    def __init__(
        self,
        lake: Lake,
        *,
        data: bool,
        told: Callable[[Finding], None],
        moved: Callable[[Progress], None],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Check `lake`.

        Args:
            lake: to be read only, by this.
            data: read and verify every chunk as well.
            told: called with every finding.
            moved: called as it goes on.
            pause: waits for so many seconds.
        """
        self._lake = lake
        self._data = data
        self._told = told
        self._moved = moved
        self._pause = pause
        self._nodes = NodeExamination(lake)
        self._contents = ContentExamination(lake, self._verified)
        self.progress = Progress()

    def run(self) -> None:
        """Look at everything.

        Raises:
            FileSystemError: the server gives no answer.
        """
        self._check_frame()
        self.run_nodes()
        self._check_all(self._content_batches(), self._examine_contents)
        if self._data:
            self._check_all(self._content_batches(), self._verify)
        self._check_all(self._owner_batches(), self._examine_strays)

    def run_nodes(self) -> None:
        """Look at all nodes."""
        self.progress.nodes = 0
        self._nodes.afresh()
        self._check_all(self._inode_batches(), self._examine_nodes)

    def _check_frame(self) -> None:
        for index in missing_indexes(self._lake):
            self._told(Finding(Fault.MISSING_INDEX, index.partition(":")[0], index))
        there = self._lake.tree.existing([ROOT, *AREAS.values()])
        for name, inode in {"": ROOT, **AREAS}.items():
            if inode not in there:
                self._told(Finding(Fault.MISSING_FOLDER, name or "/", "a fixed folder", inode))
        for odd in self._lake.audit.odd_nodes():
            self._told(Finding(Fault.MALFORMED_NODE, odd, NO_NUMBER))
        nameless = self._lake.audit.nameless()
        if nameless:
            detail = f"{nameless:,} chunks without files_id"
            self._told(Finding(Fault.STRAY_CHUNKS, "(no content)", detail))

    # --- what there is -------------------------------------------------------------------------

    def _inode_batches(self) -> Iterator[tuple[list[Inode], list[ContentId]]]:
        after: Inode | None = NO_FOLDER
        while after is not None:
            inodes, odd, after = self._lake.audit.inodes(after)
            for each in odd:
                self._told(Finding(Fault.MALFORMED_NODE, each, NO_NUMBER))
            yield inodes, []
            self.progress.nodes += len(inodes)
            self._moved(self.progress)

    def _content_batches(self) -> Iterator[tuple[list[Inode], list[ContentId]]]:
        after: ContentId | None = None
        self.progress.contents = 0
        while True:
            contents, odd = self._lake.audit.contents(after)
            for each in odd:
                self._told(Finding(Fault.MALFORMED_CONTENT, "(no name)", each))
            if not contents:
                return
            yield [], contents
            after = contents[-1]
            self.progress.contents += len(contents)
            self._moved(self.progress)

    def _owner_batches(self) -> Iterator[tuple[list[Inode], list[ContentId]]]:
        after: ContentId | None = None
        while True:
            owners, after = self._lake.audit.owners(after)
            yield [], owners
            self._moved(self.progress)
            if after is None:
                return

    # --- looking, and looking again ------------------------------------------------------------

    def _check_all(
        self, batches: Iterator[tuple[list[Inode], list[ContentId]]], examine: Examine
    ) -> None:
        suspects: list[Finding] = []
        for inodes, contents in batches:
            suspects += examine(inodes, contents)
            if len(suspects) >= SUSPECTS:
                self._settle(suspects, examine)
                suspects = []
        self._settle(suspects, examine)

    def _settle(self, suspects: list[Finding], examine: Examine) -> None:
        for _ in range(LOOKS - 1):
            if not suspects:
                return
            self._pause(AGAIN_SECONDS)
            self._nodes.afresh()
            inodes = dict.fromkeys(each.inode for each in suspects if each.inode is not None)
            contents = dict.fromkeys(each.content for each in suspects if each.content is not None)
            now = examine(list(inodes), list(contents))
            before = set(suspects)
            for finding in now:
                if finding in before:
                    self._told(finding)
            suspects = [finding for finding in now if finding not in before]

    def _examine_nodes(self, inodes: Sequence[Inode], _: Sequence[ContentId]) -> list[Finding]:
        return self._nodes.examine(inodes)

    def _examine_contents(self, _: Sequence[Inode], contents: Sequence[ContentId]) -> list[Finding]:
        return self._contents.examine(contents)

    def _verify(self, _: Sequence[Inode], contents: Sequence[ContentId]) -> list[Finding]:
        return self._contents.verify(contents)

    def _examine_strays(self, _: Sequence[Inode], owners: Sequence[ContentId]) -> list[Finding]:
        return [
            Finding(
                Fault.STRAY_CHUNKS,
                "(no name)",
                f"{each.chunks:,} chunk{'s' if each.chunks > 1 else ''} of a content that is gone",
                content=each.id,
            )
            for each in self._lake.audit.strays(owners)
            if each.age > UPLOAD_SECONDS
        ]

    def _verified(self, count: int) -> None:
        self.progress.bytes += count
        self._moved(self.progress)
