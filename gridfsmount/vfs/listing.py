"""Open directories: their entries page by page, at positions that stay valid.

The kernel reads a directory in pieces, and may go back to any position it was given (seekdir,
NFS). A position is the index of an entry in the order of names; the page that holds it is found
from the names at which pages began, so nothing but one page is kept in memory.
"""

import bisect
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from gridfsmount.core.model import Attributes, Inode, Node
from gridfsmount.store.tree import Page, Tree
from gridfsmount.workers import Workers

PAGE_ENTRIES: Final = 1000
"""Entries of one query: 10,000 take ten round trips, and one page a megabyte or two."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a listing."""

    name: str
    attributes: Attributes
    position: int
    """Where to go on after this entry."""


@dataclass(slots=True)
class Listing:
    """One open directory."""

    inode: Inode
    extra: list[tuple[str, Node]] = field(default_factory=list)
    """Entries that have no node in the tree, before all others."""
    starts: list[tuple[int, str]] = field(default_factory=lambda: [(0, "")])
    """Index of each page's first entry, and the name to list after."""
    page: Page | None = None
    page_number: int = -1

    @property
    def length(self) -> int:
        """Number of entries up to the end of the current page."""
        if self.page is None:
            return 0
        return self.starts[self.page_number][0] + len(self.page.entries)

    async def from_index(
        self,
        tree: Tree,
        workers: Workers,
        index: int,
        note: Callable[[Page, float, bool], None],
    ) -> Iterator[tuple[int, str, Node]]:
        """The rest of the page that holds entry `index`; empty at the end.

        `note` is told of every page that was read, since when, and whether it is the first.
        """
        if index == 0:  # a new start: show what is there now
            self.starts, self.page = [(0, "")], None
        number = bisect.bisect_right([start for start, _ in self.starts], index) - 1
        while True:
            start, after = self.starts[number]
            if self.page is None or self.page_number != number:
                began = time.monotonic()
                self.page = await workers.foreground(tree.page, self.inode, after, PAGE_ENTRIES)
                self.page_number = number
                note(self.page, began, number == 0)
            entries, last = self.page.entries, self.page.last
            if last is not None and number + 1 == len(self.starts):
                self.starts.append((start + len(entries), last))
            if index < start + len(entries) or last is None:
                break
            number += 1
        rest = entries[max(0, index - start) :]
        return iter([(max(index, start) + i, name, node) for i, (name, node) in enumerate(rest)])
