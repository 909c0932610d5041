"""Reading ahead across files: in batches, each once, and only what seems to be wanted."""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import trio

from gridfsmount.cache.disk import DiskCache
from gridfsmount.cache.memory import ChunkCache
from gridfsmount.core.chunks import Bytes
from gridfsmount.core.model import Content, ContentId, Inode, Kind, Name, Node
from gridfsmount.errors import FileSystemError, StoreUnavailable
from gridfsmount.reading import folders as module
from gridfsmount.reading.folders import (
    BATCH_BYTES,
    BATCH_FILES,
    FILES_AHEAD,
    GROUP,
    LISTED,
    NAMES,
    SHUFFLED_OPENS,
    SHUFFLED_SHARE,
    SMALL_BYTES,
    UNLISTED_OPENS,
    UNLISTED_REST,
    FolderAhead,
)
from gridfsmount.reading.reader import Reader
from gridfsmount.reading.source import Source
from gridfsmount.store.contents import Contents
from gridfsmount.store.naming import Page
from gridfsmount.store.tree import Tree
from gridfsmount.workers import Errands, Workers

PATIENCE = 10.0
FOLDER = Inode(1500)
OTHER_FOLDER = Inode(1501)
VERSION = Inode(1400)
NOTHING = ContentId(b"", "")


class MemoryFolder:
    """Files of some folders in memory: a tree and its contents, counting what is asked for."""

    def __init__(self, sizes: Sequence[int], *, parent: Inode = FOLDER, first: int = 2000) -> None:
        self.sizes = sizes
        self.nodes = [
            Node(
                inode=Inode(first + index),
                kind=Kind.FILE,
                names=(Name(parent, f"file-{index:06}"),),
                mode=0o644,
                uid=0,
                gid=0,
                mtime_ns=1,
                ctime_ns=1,
                size=size,
                content=ContentId(b"%d" % (first + index), f"{first + index}"),
                version=VERSION,
            )
            for index, size in enumerate(sizes)
        ]
        self.failures: list[FileSystemError] = []
        """For the next queries, one each."""
        self.pages: list[tuple[Inode, str]] = []
        self.got: list[list[ContentId]] = []
        self.read: list[list[Content]] = []
        self.chunk_size = SMALL_BYTES
        self.lost: set[ContentId] = set()
        """Contents without a files document."""
        self.damaged: set[ContentId] = set()

    def page(self, parent: Inode, after: str, limit: int) -> Page:
        self._fail()
        self.pages.append((parent, after))
        found = [
            (name.name, node)
            for node in self.nodes
            for name in node.names
            if name.parent == parent and name.name > after
        ][:limit]
        return Page(tuple(found), found[-1][0] if len(found) == limit else None)

    def get_many(self, contents: Sequence[ContentId]) -> list[Content]:
        self._fail()
        self.got.append(list(contents))
        sizes = {node.content: node.size for node in self.nodes}
        return [
            Content(each, sizes[each], self.chunk_size, uploaded_ms=1)
            for each in reversed(list(dict.fromkeys(contents)))
            if each not in self.lost
        ]

    def read_whole(self, contents: Sequence[Content]) -> list[tuple[Content, list[bytes]]]:
        self._fail()
        self.read.append(list(contents))
        return [(each, self.chunks(each)) for each in contents if each.id not in self.damaged]

    def chunks(self, content: Content) -> list[bytes]:
        data = (content.id.bson * (content.length // len(content.id.bson) + 1))[: content.length]
        return [data[at : at + self.chunk_size] for at in range(0, len(data), self.chunk_size)]

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop()

    @property
    def times_got(self) -> Counter[ContentId]:
        return Counter(each for batch in self.got for each in batch)

    @property
    def times_read(self) -> Counter[ContentId]:
        return Counter(each.id for batch in self.read for each in batch)


class Bench:
    """What reads ahead, over files in memory."""

    def __init__(
        self,
        files: MemoryFolder,
        nursery: trio.Nursery,
        *,
        budget: int = 1 << 30,
        disk: DiskCache | None = None,
    ) -> None:
        self.files = files
        self.nursery = nursery
        self.settled = False
        self.wanted = True
        self.filled_with: dict[Inode, bytes] = {}
        self.filled: list[tuple[Inode, ContentId]] = []
        errands, workers = Errands(nursery), Workers()
        source = Source(cast(Contents, files), disk)
        self.reader = Reader(source, workers, ChunkCache(1 << 30), errands)
        self.ahead = FolderAhead(
            cast(Tree, files),
            cast(Contents, files),
            source,
            self.reader,
            workers,
            errands,
            budget=budget,
            settled=lambda node, began: self.settled and began == 1.0,
            fill=self._fill,
            filled=self._note_filled,
        )

    def _fill(self, inode: Inode, chunks: Sequence[Bytes]) -> bool:
        assert threading.current_thread() is not threading.main_thread()  # it may block
        self.filled_with[inode] = b"".join(chunks)
        return self.wanted

    def _note_filled(self, inode: Inode, content: ContentId) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.filled.append((inode, content))

    def list_all(self, nodes: Sequence[Node] | None = None, *, page: int = 500) -> None:
        """Tell of a listing as readdir does, page by page."""
        nodes = self.files.nodes if nodes is None else nodes
        for at in range(0, len(nodes), page):
            parent = nodes[at].names[0].parent
            entries = [(node.names[0].name, node) for node in nodes[at : at + page]]
            self.ahead.listed(parent, entries, 1.0, first=at == 0)

    async def open(self, index: int) -> None:
        self.ahead.opened(self.files.nodes[index])
        await self.quiet()

    async def quiet(self) -> None:
        """Wait until no errand is left."""
        await eventually(lambda: not self.nursery.child_tasks)

    def holds(self, index: int) -> bool:
        content = self.files.nodes[index].content
        assert content is not None
        return self.reader.holds(content)


@asynccontextmanager
async def reading_ahead(
    files: MemoryFolder, *, budget: int = 1 << 30, disk: DiskCache | None = None
) -> AsyncIterator[Bench]:
    async with trio.open_nursery() as nursery:
        yield Bench(files, nursery, budget=budget, disk=disk)


async def eventually(happened: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE):
        while not happened():  # noqa: ASYNC110 - some of it happens in threads
            await trio.sleep(0.0005)


def later() -> float:
    """A moment that is not the one before."""
    began = now = time.monotonic()
    while now <= began:
        now = time.monotonic()
    return now


def shuffled(count: int) -> list[int]:
    order = list(range(count))
    random.Random(1).shuffle(order)
    return order


# In order


@pytest.mark.parametrize("budget", [0, 1 << 30])
@pytest.mark.parametrize("size", [10, 100_000, SMALL_BYTES])
async def test_files_opened_in_order_come_in_batches_before_they_are_opened(
    size: int, budget: int
) -> None:
    files = MemoryFolder([size] * 600)
    async with reading_ahead(files, budget=budget) as bench:
        bench.list_all()
        for index in range(600):
            if index >= 3:
                assert bench.holds(index)
                assert bench.ahead.content(files.nodes[index].content or NOTHING) is not None
            await bench.open(index)
    assert set(files.times_got.values()) == set(files.times_read.values()) == {1}
    assert len(files.read) == len(files.got)
    assert len(files.got) <= 600 // GROUP + 600 * size // BATCH_BYTES + 20
    for batch in files.read:
        assert len(batch) <= BATCH_FILES
        assert sum(content.length for content in batch) < BATCH_BYTES + SMALL_BYTES


async def test_the_window_grows_no_further_than_the_files_that_may_lie_ahead() -> None:
    files = MemoryFolder([10] * 5000)
    async with reading_ahead(files) as bench:
        bench.list_all()
        for index in range(3000):
            await bench.open(index)
            assert len(files.times_got) <= index + 1 + FILES_AHEAD + GROUP
    assert len(files.times_got) >= 3000 + FILES_AHEAD // 2
    assert max(map(len, files.got)) == BATCH_FILES


async def test_what_is_on_its_way_is_not_sent_for_again() -> None:
    files = MemoryFolder([10] * 300)
    async with reading_ahead(files) as bench:
        bench.list_all()
        for index in range(300):
            bench.ahead.opened(files.nodes[index])  # faster than anything can come
        await bench.quiet()
    assert set(files.times_got.values()) == {1}


async def test_what_is_in_memory_is_not_sent_for() -> None:
    files = MemoryFolder([10] * 100)
    async with reading_ahead(files) as bench:
        bench.list_all()
        here = files.nodes[20].content or NOTHING
        bench.reader.put(Content(here, 10, 10), [b"x" * 10])
        for index in range(100):
            await bench.open(index)
    assert here not in files.times_got


async def test_the_bytes_are_each_files_own() -> None:
    files = MemoryFolder([10, 3000, 4096, 4097, 1, 9999] * 5)
    files.chunk_size = 4096
    async with reading_ahead(files) as bench:
        bench.list_all()
        for index in range(30):
            await bench.open(index)
        for node in files.nodes[3:]:
            content = bench.ahead.content(node.content or NOTHING)
            assert content is not None
            found = await bench.reader.read(content, 0, 10_000)
            assert bytes(found) == b"".join(files.chunks(content))


async def test_of_large_files_only_the_files_documents_are_brought() -> None:
    files = MemoryFolder([100, SMALL_BYTES + 1, 1 << 40] * 50)
    async with reading_ahead(files) as bench:
        bench.list_all()
        for index in range(150):
            await bench.open(index)
        for index in range(3, 150):
            assert bench.ahead.content(files.nodes[index].content or NOTHING) is not None
            assert bench.holds(index) == (files.nodes[index].size == 100)
    assert {content.length for batch in files.read for content in batch} == {100}


async def test_the_files_documents_of_large_files_are_brought_once() -> None:
    files = MemoryFolder([SMALL_BYTES + 1] * 150)
    async with reading_ahead(files) as bench:
        bench.list_all()
        for index in range(150):
            await bench.open(index)
    assert set(files.times_got.values()) == {1}


async def test_empty_files_folders_and_links_are_no_part_of_it() -> None:
    files = MemoryFolder([10] * 40)
    others = [
        Node(Inode(9000 + n), kind, (Name(FOLDER, f"file-{n:06}x"),), 0o755, 0, 0, 1, 1)
        for n, kind in enumerate(Kind)
    ]
    async with reading_ahead(files) as bench:
        bench.list_all([node for file in files.nodes for node in (file, *others)])
        for index in range(40):
            await bench.open(index)
        assert all(bench.holds(index) for index in range(3, 40))
    assert set(files.times_got.values()) == {1}


async def test_files_without_names_are_no_part_of_it() -> None:
    files = MemoryFolder([10])
    async with reading_ahead(files) as bench:
        bench.ahead.opened(Node(Inode(9000), Kind.FILE, (), 0o644, 0, 0, 1, 1))
    assert not files.pages


async def test_a_content_that_two_files_show_is_brought_once() -> None:
    files = MemoryFolder([10] * 40)
    twins = [
        replace(node, inode=Inode(5000 + index), names=(Name(FOLDER, f"{node.names[0].name}b"),))
        for index, node in enumerate(files.nodes)
    ]
    both = [node for pair in zip(files.nodes, twins, strict=True) for node in pair]
    async with reading_ahead(files) as bench:
        bench.settled = True
        bench.list_all(both)
        for node in both:
            bench.ahead.opened(node)
            await bench.quiet()
    # Two batches that set out together may each bring it.
    assert files.times_read.total() <= 40 + len(files.read)


async def test_what_is_lost_or_damaged_spoils_no_batch(caplog: pytest.LogCaptureFixture) -> None:
    files = MemoryFolder([10] * 60)
    files.lost = {files.nodes[30].content or NOTHING}
    files.damaged = {files.nodes[31].content or NOTHING}
    async with reading_ahead(files) as bench:
        bench.settled = True
        bench.list_all()
        for index in range(60):
            await bench.open(index)
        assert [index for index in range(3, 60) if not bench.holds(index)] == [30, 31]
        assert files.nodes[31].inode not in bench.filled_with
    assert not [each for each in caplog.records if each.levelno > logging.DEBUG]


async def test_the_names_that_follow_are_told_to_who_looks_them_up_in_order() -> None:
    files = MemoryFolder([10] * 300)
    names = [node.names[0].name for node in files.nodes]
    async with reading_ahead(files) as bench:
        assert bench.ahead.following(Name(FOLDER, names[0])) == names[:1]  # no listing
        bench.list_all()
        for index in range(100):
            following = bench.ahead.following(Name(FOLDER, names[index]))
            assert following == names[index : index + NAMES]
            await bench.open(index)
        assert bench.ahead.following(Name(FOLDER, names[250])) == names[250:251]
        assert bench.ahead.following(Name(FOLDER, "other")) == ["other"]
        assert bench.ahead.following(Name(OTHER_FOLDER, names[100])) == names[100:101]


# In no order


@pytest.mark.parametrize("count", [20, 50, 200, 1000, 3000])
async def test_a_small_folder_opened_in_no_order_is_brought_whole_and_once(count: int) -> None:
    files = MemoryFolder([10] * count)
    alone = 0
    async with reading_ahead(files) as bench:
        bench.list_all()
        for index in shuffled(count):
            alone += not bench.holds(index)
            await bench.open(index)
        enough = max(SHUFFLED_OPENS, count // SHUFFLED_SHARE)
        assert alone <= 2 * enough  # some are in order by chance
        before = len(files.got)
        for index in shuffled(count):
            await bench.open(index)
        assert len(files.got) == before
    assert set(files.times_read.values()) == {1}
    assert len(files.got) <= count // BATCH_FILES + 1 + enough


async def test_a_few_opens_in_no_order_bring_nothing() -> None:
    files = MemoryFolder([10] * 1000)
    async with reading_ahead(files) as bench:
        bench.list_all()
        for index in (500, 100, 900, 300, 777, 50, 650, 420):
            await bench.open(index)
    assert not files.got


async def test_a_folder_beyond_the_budget_opened_in_no_order_brings_next_to_nothing() -> None:
    files = MemoryFolder([1000] * 5000)
    async with reading_ahead(files, budget=4_999_999) as bench:
        bench.list_all()
        for index in shuffled(5000)[:300]:
            await bench.open(index)
    assert len(files.times_got) <= 100  # what lay near each other by chance


# Without a listing


async def test_names_in_ascending_order_have_one_page_listed_and_then_it_goes_on() -> None:
    files = MemoryFolder([10] * 400)
    async with reading_ahead(files) as bench:
        for index in range(400):
            await bench.open(index)
            if index == UNLISTED_OPENS - 2:
                assert not files.pages
        assert files.pages == [(FOLDER, f"file-{UNLISTED_OPENS - 1:06}")]
        assert all(bench.holds(index) for index in range(UNLISTED_OPENS + 3, 400))
    assert set(files.times_got.values()) == {1}


async def test_after_the_page_that_was_listed_the_next_one_is() -> None:
    files = MemoryFolder([10] * 3 * LISTED)
    async with reading_ahead(files) as bench:
        for index in range(3 * LISTED):
            await bench.open(index)
        alone = [index for index in range(3 * LISTED) if not bench.holds(index)]
    assert 2 <= len(files.pages) <= 3
    assert len(alone) <= 3 * (UNLISTED_REST + UNLISTED_OPENS + 3)


async def test_the_next_page_is_there_before_the_last_one_ends() -> None:
    files = MemoryFolder([10] * 3 * LISTED)
    async with reading_ahead(files) as bench:
        for index in range(3 * LISTED):
            await bench.open(index)
        assert all(bench.holds(index) for index in range(UNLISTED_OPENS + 3, 3 * LISTED))


async def test_names_in_no_order_have_nothing_listed_often() -> None:
    files = MemoryFolder([10] * 2000)
    async with reading_ahead(files) as bench:
        for index in reversed(range(2000)):
            await bench.open(index)
        assert not files.pages
        for index in shuffled(2000):
            await bench.open(index)
        assert len(files.pages) <= 2000 // UNLISTED_REST + 1


async def test_folders_without_a_listing_do_not_disturb_each_other() -> None:
    files = MemoryFolder([10] * 100)
    others = MemoryFolder([10] * 100, parent=OTHER_FOLDER, first=3000)
    files.nodes += others.nodes
    async with reading_ahead(files) as bench:
        for index in range(100):
            await bench.open(index)
            await bench.open(99 - index + 100)
        assert [parent for parent, _ in files.pages] == [FOLDER]


# What the kernel gets


async def test_settled_files_are_given_to_the_kernel_whole() -> None:
    files = MemoryFolder([10, 5000, 1 << 30] * 30)
    files.chunk_size = 4096
    async with reading_ahead(files) as bench:
        bench.settled = True
        bench.list_all()
        for index in range(90):
            await bench.open(index)
        small = {node.inode: node for node in files.nodes[3:] if node.size < SMALL_BYTES}
        assert set(bench.filled_with) >= set(small)
        for inode, node in small.items():
            content = bench.ahead.content(node.content or NOTHING)
            assert content is not None
            assert bench.filled_with[inode] == b"".join(files.chunks(content))
        assert set(bench.filled) == {
            (inode, node.content)
            for inode, node in ((each.inode, each) for each in files.nodes)
            if inode in bench.filled_with
        }
        assert len(bench.filled) == len(bench.filled_with)


async def test_what_the_kernel_does_not_want_is_not_noted_as_its() -> None:
    files = MemoryFolder([10] * 30)
    async with reading_ahead(files) as bench:
        bench.settled, bench.wanted = True, False
        bench.list_all()
        for index in range(30):
            await bench.open(index)
        assert bench.filled_with
        assert not bench.filled
        assert all(bench.holds(index) for index in range(3, 30))


async def test_unsettled_files_are_never_given_to_the_kernel() -> None:
    files = MemoryFolder([10] * 30)
    async with reading_ahead(files) as bench:
        bench.list_all()  # while the version was a draft
        bench.settled = True
        for index in range(30):
            await bench.open(index)
        assert all(bench.holds(index) for index in range(3, 30))
        assert not bench.filled_with


# Bounds


async def test_listings_that_were_used_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENTRIES", 150)
    files = MemoryFolder([10] * 100)
    others = MemoryFolder([10] * 100, parent=OTHER_FOLDER, first=3000)
    files.nodes += others.nodes
    async with reading_ahead(files) as bench:
        bench.list_all(files.nodes[:100])
        bench.list_all(files.nodes[100:])
        for index in range(103, 106):
            await bench.open(index)
        assert not files.pages  # known
        for index in range(3, 6):
            await bench.open(index)
        assert [parent for parent, _ in files.pages] == [FOLDER]  # forgotten


async def test_even_one_folder_is_remembered_up_to_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ENTRIES", 100)
    files = MemoryFolder([10] * 1000)
    async with reading_ahead(files) as bench:
        bench.list_all(page=50)
        for index in (10, 11, 12, 13, 900, 901, 902, 903):
            await bench.open(index)
        assert files.pages  # for one of the two stretches at least


async def test_listing_again_from_the_start_replaces_what_was_known() -> None:
    files = MemoryFolder([10] * 100)
    async with reading_ahead(files) as bench:
        for _ in range(3):
            bench.list_all(files.nodes[:50], page=20)
        bench.list_all(page=20)
        for index in range(100):
            await bench.open(index)
        assert all(bench.holds(index) for index in range(3, 100))
    assert set(files.times_got.values()) == {1}


async def test_contents_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONTENTS", 3)
    files = MemoryFolder([])
    contents = [Content(ContentId(b"%d" % n, str(n)), 1, 1) for n in range(6)]
    async with reading_ahead(files) as bench:
        for content in contents:
            bench.ahead.remember(content)
        assert [bench.ahead.content(each.id) for each in contents] == [None] * 3 + contents[3:]


async def test_contents_that_nobody_needed_for_long_are_let_go_of() -> None:
    old, used, new = (Content(ContentId(b"%d" % n, str(n)), 1, 1) for n in range(3))
    async with reading_ahead(MemoryFolder([])) as bench:
        bench.ahead.remember(old)
        bench.ahead.remember(used)
        since = later()
        bench.ahead.remember(used)
        bench.ahead.remember(new)
        bench.ahead.drop(since)
        assert [bench.ahead.content(each.id) for each in (old, used, new)] == [None, used, new]


async def test_contents_that_a_sealed_version_shows_stay_whoever_else_shows_them() -> None:
    content = Content(ContentId(b"1", "1"), 1, 1)
    files = MemoryFolder([10] * 40)
    async with reading_ahead(files) as bench:
        bench.ahead.remember(content, settled=True)
        bench.ahead.remember(content)
        bench.settled = True
        bench.list_all()
        await bench.open(0)
        bench.ahead.drop(later())
        assert bench.ahead.content(content.id) is content
        brought = files.nodes[1].content
        assert brought is not None
        assert bench.ahead.content(brought) is not None


@pytest.mark.parametrize("settled", [False, True])
async def test_listings_that_were_not_used_for_long_are_let_go_of_unless_sealed(
    settled: bool,
) -> None:
    files = MemoryFolder([10] * 200)
    others = MemoryFolder([10] * 200, parent=OTHER_FOLDER, first=3000)
    files.nodes += others.nodes
    async with reading_ahead(files) as bench:
        bench.settled = settled
        bench.list_all(files.nodes[:200])
        bench.list_all(files.nodes[200:])
        since = later()
        bench.ahead.opened(files.nodes[200])
        bench.ahead.drop(since)
        names = [each.names[0] for each in (files.nodes[0], files.nodes[201])]
        assert [len(bench.ahead.following(name)) > 1 for name in names] == [settled, True]
        bench.ahead.drop(later())
        assert [len(bench.ahead.following(name)) > 1 for name in names] == [settled, settled]
        await bench.quiet()


# Trouble, and the local disk


async def test_a_store_that_fails_costs_the_reading_ahead_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    files = MemoryFolder([10] * 200)
    async with reading_ahead(files) as bench:
        bench.list_all()
        files.failures = [StoreUnavailable("down") for _ in range(3)]
        for index in range(200):
            await bench.open(index)
        assert not files.failures
        assert all(bench.holds(index) for index in range(150, 200))
    assert not [each for each in caplog.records if each.levelno > logging.DEBUG]


async def test_what_failed_to_come_may_be_sent_for_again() -> None:
    files = MemoryFolder([10] * 100)
    async with reading_ahead(files) as bench:
        bench.list_all()
        files.failures = [StoreUnavailable("down") for _ in range(100)]
        for index in range(100):
            await bench.open(index)
        files.failures = []
        bench.list_all()
        for index in range(100):
            await bench.open(index)
        assert all(bench.holds(index) for index in range(3, 100))


async def test_a_listing_that_fails_costs_the_reading_ahead_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    files = MemoryFolder([10] * 400)
    async with reading_ahead(files) as bench:
        files.failures = [StoreUnavailable("down")]
        for index in range(400):
            await bench.open(index)
        assert not files.failures
        assert all(bench.holds(index) for index in range(100, 400))
    assert not [each for each in caplog.records if each.levelno > logging.WARNING]


async def test_batches_go_to_disk_and_come_from_there(tmp_path: Path) -> None:
    files = MemoryFolder([10, 5000] * 50)
    files.chunk_size = 4096
    for _ in range(2):
        files.read.clear()
        disk = DiskCache(tmp_path / "cache", 100 << 20, lake="lake", reserve=0)
        async with reading_ahead(files, disk=disk) as bench:
            bench.list_all()
            for index in range(100):
                await bench.open(index)
            assert all(bench.holds(index) for index in range(3, 100))
    assert not files.read
