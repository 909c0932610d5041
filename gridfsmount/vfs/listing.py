"""Open directories: their entries page by page, at positions that stay valid.

The kernel reads a directory in pieces, and may go back to any position it was given (seekdir,
NFS). A position is the index of an entry among those that were shown, and stays its own whatever is
removed or made meanwhile. For that the names that were shown are remembered, and nothing else but
one page: a million take some ten megabytes.

An NFS server opens a directory again for each piece, and goes on at a position that another handle
gave. So the positions of the live tree have the number of their listing in them, and `Listings`
keeps the last ones.
"""

import bisect
import itertools
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter
from typing import Final, Protocol

import trio

from gridfsmount.core.model import Attributes, Inode, Name, Node
from gridfsmount.store.naming import Page
from gridfsmount.vfs.recent import REMEMBER_SECONDS
from gridfsmount.workers import Workers

PAGE_ENTRIES: Final = 1000
"""Entries of one query: 10,000 take ten round trips, and one page a megabyte or two."""


KEPT: Final = 64
"""Listings that somebody may come back to through another handle."""

KEPT_NAMES: Final = 1_000_000
"""The most names that all kept listings together may have: some tens of megabytes."""

_WARM: Final = 4
"""Listings whose current page is kept when handles have left them: about a megabyte each."""

_INDEX_BITS: Final = 32
_NUMBERS: Final = 1 << 30  # with the index they fit into an off_t, which is signed


class Listed(Protocol):
    """What has directories."""

    def page(self, parent: Inode, after: str, limit: int) -> Page:
        """Up to about `limit` entries of a directory whose names come after `after`."""

    def find_many(self, parent: Inode, names: Sequence[str]) -> dict[Name, Node]:
        """The nodes that a directory lists under these names, as far as there are any."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a listing."""

    name: str
    attributes: Attributes
    position: int
    """Where to go on after this entry."""


@dataclass(slots=True)
class _Stretch:
    """A page as it was first read."""

    start: int
    """Index of its first entry."""
    after: str
    """Its names come after this one."""
    names: str | None = None
    """Joined by `/`, which no name has: a fraction of the memory of a list. None: not yet read."""
    count: int = 0


@dataclass(slots=True)
class Listing:
    """The names of one directory as they were shown."""

    inode: Inode
    number: int = 0
    """In the positions of its entries, if `Listings` made it."""
    _stretches: list[_Stretch] = field(default_factory=lambda: [_Stretch(0, "")])
    _at: int = -1
    """The stretch whose entries are kept."""
    _entries: list[tuple[int, str, Node]] = field(default_factory=list)
    _seen: float = 0.0
    """Since when they were read."""
    _reading: trio.Lock = field(default_factory=trio.Lock)
    """Several handles may go on in one listing."""

    @property
    def length(self) -> int:
        """Number of entries that were shown up to now, removed ones too."""
        return self._stretches[-1].start + self._stretches[-1].count

    def rewind(self) -> None:
        """Show what is there now: all positions are new."""
        self._stretches = [_Stretch(0, "")]
        self.outdate()

    def outdate(self) -> None:
        """Names came or went: what is shown from here on is read again, each where it was."""
        self._at, self._entries = -1, []

    async def from_index(
        self,
        tree: Listed,
        workers: Workers,
        index: int,
        note: Callable[[Page, float, bool], None],
    ) -> Sequence[tuple[int, str, Node]]:
        """Entries from `index` on, as many as come in one go; none at the end.

        `note` is told of every page when it is first read, since when, and whether it is the first.
        """
        async with self._reading:
            return await self._from_index(tree, workers, index, note)

    async def _from_index(
        self,
        tree: Listed,
        workers: Workers,
        index: int,
        note: Callable[[Page, float, bool], None],
    ) -> Sequence[tuple[int, str, Node]]:
        number = bisect.bisect_right(self._stretches, index, key=attrgetter("start")) - 1
        while True:
            now = time.monotonic()
            if self._at != number or now - self._seen > REMEMBER_SECONDS:
                stretch = self._stretches[number]
                if stretch.names is None:
                    self._entries = await self._first_read(tree, workers, number, note)
                else:
                    self._entries = await self._read_again(tree, workers, stretch, stretch.names)
                self._at, self._seen = number, now
            rest = self._entries[bisect.bisect_left(self._entries, index, key=itemgetter(0)) :]
            if rest or number + 1 == len(self._stretches):
                return rest
            number += 1

    async def _first_read(
        self,
        tree: Listed,
        workers: Workers,
        number: int,
        note: Callable[[Page, float, bool], None],
    ) -> list[tuple[int, str, Node]]:
        stretch = self._stretches[number]
        began = time.monotonic()
        page = await workers.foreground(tree.page, self.inode, stretch.after, PAGE_ENTRIES)
        note(page, began, number == 0)
        stretch.names = "/".join([name for name, _ in page.entries])
        stretch.count = len(page.entries)
        if page.last is not None:
            self._stretches.append(_Stretch(stretch.start + stretch.count, page.last))
        return [(stretch.start + i, name, node) for i, (name, node) in enumerate(page.entries)]

    async def _read_again(
        self, tree: Listed, workers: Workers, stretch: _Stretch, names: str
    ) -> list[tuple[int, str, Node]]:
        """What is left of a stretch, each where it was."""
        if not names:
            return []
        found = await workers.foreground(tree.find_many, self.inode, names.split("/"))
        return [
            (stretch.start + i, name, node)
            for i, name in enumerate(names.split("/"))
            if (node := found.get(Name(self.inode, name))) is not None
        ]


class Listings:
    """The last listings of a mount, for whoever comes back to a position of theirs.

    A position is 0, or the number of a listing and an index in it. It is good for as long as its
    listing is kept, which is always so while a handle is in it.
    """

    def __init__(self) -> None:
        """None yet."""
        self._kept: OrderedDict[int, Listing] = OrderedDict()
        self._left: deque[Listing] = deque()
        self._numbers = itertools.count()

    def begin(self, inode: Inode) -> Listing:
        """A listing of what is there now."""
        listing = Listing(inode, 1 + next(self._numbers) % _NUMBERS)
        self._kept[listing.number] = listing
        names = sum(each.length for each in self._kept.values())
        while len(self._kept) > 1 and (len(self._kept) > KEPT or names > KEPT_NAMES):
            names -= self._kept.popitem(last=False)[1].length
        return listing

    def resume(self, inode: Inode, position: int, current: Listing | None) -> Listing:
        """The listing that a position is of, which a handle in `current` goes on at.

        Of one that is kept no more (the mount was started again, or so many others were read since)
        the index in it is taken for one in a new listing: as right as it can be.
        """
        number = position >> _INDEX_BITS
        if current is not None and number == current.number:
            return current
        listing = self._kept.get(number)
        if listing is None or listing.inode != inode:
            return self.begin(inode)
        self._kept.move_to_end(number)
        return listing

    def left(self, listing: Listing) -> None:
        """A handle leaves a listing: only its names are kept, and for a moment its page."""
        self._left.append(listing)
        if len(self._left) > _WARM:
            self._left.popleft().outdate()

    def changed(self, folders: Container[Inode]) -> None:
        """Names in these directories came or went."""
        for listing in self._kept.values():
            if listing.inode in folders:
                listing.outdate()


def index_of(position: int) -> int:
    """The index in its listing that a position tells."""
    return position & ((1 << _INDEX_BITS) - 1)


def position_of(listing: Listing, index: int) -> int:
    """The position that tells an index in a listing."""
    return listing.number << _INDEX_BITS | index
