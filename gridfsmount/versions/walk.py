"""Everything below a folder of a lake, in the order of a manifest.

Blocking, and streaming: memory is bounded by the depth of the tree and the size of a page. What
is changed meanwhile shows as it was or as it is, in the same order.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from gridfsmount.core.manifest import in_order
from gridfsmount.core.model import Inode, Kind, Name, Node
from gridfsmount.errors import Damaged
from gridfsmount.store.lake import Lake
from gridfsmount.store.naming import Page

log = logging.getLogger(__name__)

PAGE: Final = 1000
"""Entries of one query."""

TOGETHER: Final = 100
"""Folders that are listed with one query, if they are small."""

AHEAD: Final = 4000
"""Entries of folders that were listed and not come to yet."""

MAX_DEPTH: Final = 2000
"""Folders in each other: a path of that many parts is as long as the kernel takes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something below the folder that is walked."""

    path: str
    """From there."""
    node: Node


def walk(lake: Lake, top: Node) -> Iterator[Entry]:
    """Everything below `top`, in byte order of full paths, that of a folder with a slash.

    So files come as `LC_ALL=C sort` has their paths, and a folder just before what is in it. A
    directory that has a second name is only there by its first, as anywhere: each is come to once
    at most, whatever the tree looks like.

    Raises:
        Damaged: the folders lie in each other too deep.
        FileSystemError: the server gives no answer.
    """
    ahead = _Ahead(lake)
    levels = [("", _Level(lake, ahead, top, {}))]
    while levels:
        above, level = levels[-1]
        found = next(level.entries, None)
        if found is None:
            levels.pop()
            continue
        name, node = found
        path = above + name
        yield Entry(path, node)
        if node.kind is Kind.DIRECTORY and node.inode != top.inode:
            if len(levels) >= MAX_DEPTH:
                raise Damaged(f"{path[:100]}...: more than {MAX_DEPTH:,} folders in each other")
            levels.append((f"{path}/", _Level(lake, ahead, node, level.coming)))


class _Level:
    """One folder on the way down."""

    def __init__(self, lake: Lake, ahead: "_Ahead", folder: Node, neighbours: Iterable[Inode]):
        self._lake = lake
        self._ahead = ahead
        self._folder = folder
        self._neighbours = neighbours
        self.coming: dict[Inode, None] = {}
        """Folders of the page at hand, those that were not come to yet."""
        self.entries = self._ordered()

    def _ordered(self) -> Iterator[tuple[str, Node]]:
        for name, node in in_order(self._plain(), lambda node: node.kind is Kind.DIRECTORY):
            self.coming.pop(node.inode, None)
            yield name, node

    def _plain(self) -> Iterator[tuple[str, Node]]:
        """Entries without the folders that are told of elsewhere."""
        for name, node in self._listed():
            if node.kind is Kind.DIRECTORY and node.names[0] != Name(self._folder.inode, name):
                log.warning("left out: inode %d, a folder with several names", node.inode)
            else:
                yield name, node

    def _listed(self) -> Iterator[tuple[str, Node]]:
        page = self._ahead.first_page(self._folder.inode, self._neighbours)
        while True:
            self.coming |= dict.fromkeys(_folders(self._folder.inode, page))
            yield from page.entries
            if page.last is None:
                return
            page = self._lake.tree.page(self._folder.inode, page.last, PAGE)


class _Ahead:
    """First pages of folders, many with one query: for trees of many small ones."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._pages: dict[Inode, Page] = {}
        self._held = 0

    def first_page(self, folder: Inode, neighbours: Iterable[Inode]) -> Page:
        """That of `folder`; those of `neighbours`, and of what is in them, will be wanted next."""
        if folder not in self._pages:
            self._look([folder, *islice(neighbours, TOGETHER - 1)])
        page = self._pages.pop(folder, None)
        if page is None:
            return self._lake.tree.page(folder, "", PAGE)
        self._held -= len(page.entries)
        return page

    def _look(self, folders: list[Inode]) -> None:
        while folders and self._held < AHEAD:
            pages = self._lake.tree.first_pages(folders, PAGE)
            self._pages |= pages
            self._held += sum(len(page.entries) for page in pages.values())
            below = (
                each
                for folder in folders
                if folder in pages
                for each in _folders(folder, pages[folder])
                if each not in self._pages
            )
            folders = list(islice(below, TOGETHER))


def _folders(parent: Inode, page: Page) -> Iterator[Inode]:
    """The subfolders in a page."""
    return (
        node.inode
        for name, node in page.entries
        if node.kind is Kind.DIRECTORY and node.names[0] == Name(parent, name)
    )
