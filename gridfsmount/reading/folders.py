"""Reading ahead across the files of a folder.

A program that reads a folder's files one after the other asks for each by itself: two round trips
a file. Once it is seen to go along a listing, the next files come in batches, hundreds in two
queries. One that opens the files of a small folder in no order soon has opened them all: such a
folder is brought as a whole.
"""

import bisect
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, Protocol

from gridfsmount.core.chunks import Bytes
from gridfsmount.core.model import Content, ContentId, Inode, Kind, Name, Node
from gridfsmount.core.readahead import ReadAhead
from gridfsmount.errors import FileSystemError
from gridfsmount.reading.reader import Reader
from gridfsmount.reading.source import Source
from gridfsmount.store.naming import Page
from gridfsmount.workers import Errands, Workers

log = logging.getLogger(__name__)

SMALL_BYTES: Final = 1 << 20
"""Larger files are worth queries of their own."""

BATCH_FILES: Final = 256
"""Most files of one query: 500 took 9 ms."""

BATCH_BYTES: Final = 4 << 20

GROUP: Final = 32
"""Files that are brought at once when a folder begins to be read in order."""

NEAR: Final = 2
"""Places by which an open may miss the next one: folders hold more than files."""

NAMES: Final = 64
"""Names that are looked up at once while it is."""

FILES_AHEAD: Final = 1024
"""Most files that are brought before they are opened."""

ENTRIES: Final = 40_000
"""Files whose place in a listing is remembered, over all folders: about 300 bytes each."""

CONTENTS: Final = 20_000
"""Contents that are remembered: about a kilobyte each."""

FOR_GOOD: Final = math.inf
"""When something is used last that stays until there is too much of it."""

SHUFFLED_OPENS: Final = 8
"""Opens without order after which a small folder is taken to be wanted whole..."""

SHUFFLED_SHARE: Final = 64
"""... once they are at least this part of its files."""


UNLISTED_OPENS: Final = 3
"""Files opened in ascending order of their names before a listing is fetched for them."""

UNLISTED_REST: Final = 64
"""Opens until the next listing is: opens in no order are in order by chance, too."""

UNLISTED_FOLDERS: Final = 256

LISTED: Final = 500
"""Names of one such listing."""


class Pages(Protocol):
    """What lists folders."""

    def page(self, parent: Inode, after: str, limit: int) -> Page:
        """Up to about `limit` entries of a folder whose names come after `after`."""


class Described(Protocol):
    """What knows contents."""

    def get_many(self, contents: Sequence[ContentId]) -> list[Content]:
        """Those of `contents` that there are, in any order."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in a listing."""

    name: str
    inode: Inode
    content: ContentId
    size: int
    settled: bool


@dataclass(eq=False, slots=True)
class Folder:
    """What is known of one folder's listing, and how its files are opened."""

    entries: list[Entry] = field(default_factory=list)
    places: dict[Inode, int] = field(default_factory=dict)
    streams: ReadAhead = field(
        # Groups of files are to a folder what chunks are to a content.
        default_factory=lambda: ReadAhead(1 << 40, GROUP, budget=FILES_AHEAD)
    )
    last: int = -2
    """Place of the file that was opened last."""
    bytes: int = 0
    strays: int = 0
    """Opens that were in no order."""
    whole: bool = False
    """All of it was sent for."""
    wanted: int = 0
    """Places below it are to be brought as soon as they are known."""
    after: str | None = None
    """Where to go on listing, for a folder that nobody lists but this."""
    used: float = 0.0
    """When it was listed, or a file of it opened."""
    settled: int = 0
    """Entries that will never change."""

    def add(self, entries: Iterable[Entry]) -> None:
        """Entries that follow in the listing."""
        for entry in entries:
            if entry.inode not in self.places:
                self.places[entry.inode] = len(self.entries)
                self.entries.append(entry)
                self.bytes += entry.size
                self.settled += entry.settled

    @property
    def lasts(self) -> bool:
        """Whether it has files, and none of them will ever change."""
        return 0 < self.settled == len(self.entries)


class FolderAhead:
    """Brings the files that will be opened next."""

    def __init__(
        self,
        tree: Pages,
        contents: Described,
        source: Source,
        reader: Reader,
        workers: Workers,
        errands: Errands,
        *,
        budget: int,
        settled: Callable[[Node, float], bool],
        fill: Callable[[Inode, Sequence[Bytes]], bool],
        filled: Callable[[Inode, ContentId], None],
    ) -> None:
        """Bring chunks to `reader`.

        Args:
            tree: what lists them.
            contents: what knows their contents.
            source: of their chunks.
            reader: who gets them.
            workers: whose threads to use.
            errands: where to run.
            budget: most bytes of a folder that is brought whole.
            settled: whether a node that was read from a time on will never change.
            fill: gives the kernel all of a settled file; blocking; false if it does not want it.
            filled: told on the event loop when that has been done.
        """
        self._tree = tree
        self._contents = contents
        self._source = source
        self._reader = reader
        self._workers = workers
        self._errands = errands
        self._budget = budget
        self._settled = settled
        self._fill = fill
        self._filled = filled
        self._folders: OrderedDict[Inode, Folder] = OrderedDict()
        self._entries = 0
        self._known: OrderedDict[ContentId, tuple[float, Content]] = OrderedDict()
        """And when they were needed last; `FOR_GOOD` of sealed versions."""
        self._coming: set[Inode] = set()
        self._met: set[Inode] = set()
        """Those of them that were opened meanwhile."""
        self._unlisted: OrderedDict[Inode, tuple[str, int, int]] = OrderedDict()
        """The last name opened in a folder, opens in ascending order, opens until a listing."""

    def content(self, content: ContentId) -> Content | None:
        """What is known of a content; only to be believed for what a sealed version shows."""
        known = self._known.get(content)
        return None if known is None else known[1]

    def remember(self, content: Content, *, settled: bool = False) -> None:
        """Know a content for a while; `settled`: a sealed version shows it."""
        used = FOR_GOOD if settled else time.monotonic()
        known = self._known.get(content.id)
        self._known[content.id] = used if known is None else max(used, known[0]), content
        self._known.move_to_end(content.id)
        if len(self._known) > CONTENTS:
            self._known.popitem(last=False)

    def drop(self, before: float) -> None:
        """Let go of what was needed last `before`, but for what sealed versions show.

        Those are read again and again, in epochs that take as long as they take.
        """
        for content in [each for each, (used, _) in self._known.items() if used < before]:
            del self._known[content]
        unused = (
            parent
            for parent, folder in self._folders.items()
            if folder.used < before and not folder.lasts
        )
        for parent in list(unused):
            self._drop(parent)

    def listed(
        self, parent: Inode, entries: Sequence[tuple[str, Node]], began: float, *, first: bool
    ) -> None:
        """A stretch of a folder's listing was read from `began` on; the `first` starts anew."""
        files = [
            Entry(name, node.inode, node.content, node.size, self._settled(node, began))
            for name, node in entries
            if node.kind is Kind.FILE and node.content is not None
        ]
        folder = self._folders.get(parent)
        if first or folder is None:
            self._drop(parent)
            folder = self._folders[parent] = Folder()
        self._folders.move_to_end(parent)
        folder.used = time.monotonic()
        before = len(folder.entries)
        folder.add(files[: ENTRIES - before])  # the rest is listed again, if it comes to that
        self._entries += len(folder.entries) - before
        self._send_for(folder.entries[before : folder.wanted])
        while self._entries > ENTRIES and len(self._folders) > 1:
            self._drop(next(iter(self._folders)))

    def opened(self, node: Node) -> None:
        """A file is opened to be read."""
        if not node.names:
            return
        if node.inode in self._coming:
            self._met.add(node.inode)
        folder = self._folders.get(node.names[0].parent)
        place = None if folder is None else folder.places.get(node.inode)
        if folder is None or place is None:
            self._note_unlisted(node.names[0])
            return
        folder.used = time.monotonic()
        begins = place == 0 and folder.last < 0
        follows = 0 < place - folder.last <= NEAR
        folder.last = place
        if folder.whole:
            return
        ranges = folder.streams.note(place, 1)
        if ranges or begins:
            folder.strays = 0
            # The group that is being read has not been proposed, as it is being read.
            rest = min(place + GROUP, len(folder.entries))
            self._send_for(folder.entries[place + 1 : rest])
        elif not follows:
            folder.strays += 1
            enough = max(SHUFFLED_OPENS, len(folder.entries) // SHUFFLED_SHARE)
            if folder.strays > enough and folder.bytes <= self._budget:
                folder.whole = True
                ranges = [(0, -(-len(folder.entries) // GROUP))]
        for first, past in ranges:
            self._send_for(folder.entries[first * GROUP : past * GROUP])
            folder.wanted = past * GROUP
        if folder.after is not None and place + LISTED // 2 >= len(folder.entries):
            name, folder.after = Name(node.names[0].parent, folder.after), None
            self._errands.start(self._list, name, False)

    def following(self, name: Name) -> list[str]:
        """`name` and those that are likely to be looked up next."""
        folder = self._folders.get(name.parent)
        if folder is None:
            return [name.name]
        place = bisect.bisect_left(folder.entries, name.name, key=attrgetter("name"))
        if not 0 <= place - folder.last <= NEAR:
            return [name.name]
        names = [entry.name for entry in folder.entries[place : place + NAMES]]
        return names if names[:1] == [name.name] else [name.name]

    def _note_unlisted(self, name: Name) -> None:
        """Files may be opened in order by who knows their names: then the listing is fetched."""
        previous, ascending, rest = self._unlisted.pop(name.parent, ("", 0, 0))
        ascending = ascending + 1 if name.name > previous else 1
        if ascending >= UNLISTED_OPENS and rest <= 0:
            ascending, rest = 0, UNLISTED_REST
            self._errands.start(self._list, name, True)
        self._unlisted[name.parent] = (name.name, ascending, rest - 1)
        if len(self._unlisted) > UNLISTED_FOLDERS:
            self._unlisted.popitem(last=False)

    async def _list(self, name: Name, first: bool) -> None:
        began = time.monotonic()
        try:
            page = await self._workers.ahead(self._tree.page, name.parent, name.name, LISTED)
        except FileSystemError as error:
            log.debug("not listed: %s", error)
            return
        self.listed(name.parent, page.entries, began, first=first)
        folder = self._folders.get(name.parent)
        if folder is not None:
            folder.after = page.last

    def _send_for(self, entries: Sequence[Entry]) -> None:
        batch: list[Entry] = []
        size = 0
        for entry in entries:
            if entry.inode in self._coming or self._is_here(entry):
                continue
            self._coming.add(entry.inode)
            batch.append(entry)
            size += entry.size if entry.size <= SMALL_BYTES else 0
            if len(batch) >= BATCH_FILES or size >= BATCH_BYTES:
                self._errands.start(self._bring, batch)
                batch, size = [], 0
        if batch:
            self._errands.start(self._bring, batch)

    def _is_here(self, entry: Entry) -> bool:
        if entry.size > SMALL_BYTES:  # only what describes it is brought
            return entry.content in self._known
        return self._reader.holds(entry.content)

    async def _bring(self, entries: Sequence[Entry]) -> None:
        try:
            contents = await self._workers.ahead(
                self._contents.get_many, [each.content for each in entries]
            )
            lasting = {each.content for each in entries if each.settled}
            for content in contents:
                self.remember(content, settled=content.id in lasting)
            small = [each for each in contents if 0 < each.length <= SMALL_BYTES]
            whole, fresh = await self._workers.ahead(self._source.load_whole, small)
            new = {content.id for content, _ in fresh}
            for content, chunks in whole:
                is_new = content.id in new or not self._source.keeps
                self._reader.put(content, chunks, fresh=is_new, ahead=True)
            chunks_of = {content.id: chunks for content, chunks in whole}
            settled = [
                (each, chunks_of[each.content])
                for each in entries
                # Pages of an open file may be locked, and then giving it some waits for others.
                if each.settled and each.content in chunks_of and each.inode not in self._met
            ]
            if settled:
                for inode, content_id in await self._workers.ahead(self._fill_all, settled):
                    self._filled(inode, content_id)
                    self._reader.given(content_id, len(chunks_of[content_id]))
        except FileSystemError as error:
            log.debug("not read ahead: %s", error)
            return
        finally:
            self._coming.difference_update(each.inode for each in entries)
            self._met.intersection_update(self._coming)
        for content, numbered in fresh:
            await self._reader.keep(content, numbered)

    def _fill_all(
        self, files: Sequence[tuple[Entry, Sequence[Bytes]]]
    ) -> list[tuple[Inode, ContentId]]:
        return [
            (entry.inode, entry.content)
            for entry, chunks in files
            if self._fill(entry.inode, chunks)
        ]

    def _drop(self, parent: Inode) -> None:
        folder = self._folders.pop(parent, None)
        if folder is not None:
            self._entries -= len(folder.entries)
