"""What the kernel may have cached of files: whose pages they are.

The kernel has one set of pages for an inode. They are kept over an open when they are of the
content that is opened. Handles that still hold an older content fill them with theirs: until
these are closed, new handles bypass them.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from gridfsmount.core.model import ContentId, Inode

INODES: Final = 50_000
"""Inodes whose content is remembered: a number and a reference each."""


class KernelPages:
    """The content that the kernel may have pages of, for each inode."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._contents: OrderedDict[Inode, ContentId | None] = OrderedDict()
        self._outdated: dict[Inode, int] = {}
        """Files with an older content that still have handles."""

    def are_of(self, inode: Inode, content: ContentId | None) -> bool:
        """Whether all pages that the kernel may have are of this content."""
        return inode in self._contents and self._contents[inode] == content

    def note(self, inode: Inode, content: ContentId | None) -> None:
        """From now on they are."""
        if inode in self._outdated:
            self._contents.pop(inode, None)
            return
        self._contents[inode] = content
        self._contents.move_to_end(inode)
        if len(self._contents) > INODES:
            self._contents.popitem(last=False)

    def forget(self, inode: Inode) -> None:
        """They may be of nothing: what was written to them was not committed."""
        self._contents.pop(inode, None)

    def gone(self, inodes: Iterable[Inode]) -> None:
        """The kernel forgot these, and their pages with them."""
        for inode in inodes:
            self._contents.pop(inode, None)

    def bypassed(self, inode: Inode) -> bool:
        """Whether new handles must not use them."""
        return inode in self._outdated

    def outdate(self, inode: Inode) -> None:
        """A content was replaced of which handles are open."""
        self._outdated[inode] = self._outdated.get(inode, 0) + 1

    def release(self, inode: Inode) -> None:
        """The last handle of such a content was closed."""
        left = self._outdated.get(inode, 0) - 1
        if left > 0:
            self._outdated[inode] = left
        else:
            self._outdated.pop(inode, None)
