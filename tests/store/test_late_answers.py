"""Answers of the server that are late: what this mount commits meanwhile is not undone by them."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar, TypeVarTuple

import pytest
import trio

from gridfsmount.cache.memory import ChunkCache
from gridfsmount.core.model import Caller, Change, Node
from gridfsmount.reading.folders import FolderAhead
from gridfsmount.reading.reader import Reader
from gridfsmount.reading.source import Source
from gridfsmount.store.lake import Lake
from gridfsmount.vfs.files import Files
from gridfsmount.vfs.known_tree import KnownTree
from gridfsmount.vfs.lake_tree import LakeTree
from gridfsmount.vfs.pages import KernelPages
from gridfsmount.vfs.presentation import Presentation
from gridfsmount.vfs.recent import RecentNodes
from gridfsmount.workers import Errands, Workers
from tests.store.lakes import CHUNK, Garden

Ts = TypeVarTuple("Ts")
T = TypeVar("T")

OLD, NEW = b"old ", b"new "
ROOT_USER = Caller(0, 0)


class LateWorkers(Workers):
    """Keeps one answer back until told to give it out."""

    def __init__(self) -> None:
        super().__init__()
        self._late = ""
        self.answered = trio.Event()
        self.go_on = trio.Event()

    def keep_back(self, call: str) -> None:
        """Do so with the next answer to this call."""
        self._late = call

    async def foreground(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        answer = await super().foreground(call, *args)
        if getattr(call, "__name__", "") == self._late:
            self._late = ""
            self.answered.set()
            await self.go_on.wait()
        return answer


class Mount:
    """What serves a lake, without a kernel; a version with one file, `log`."""

    def __init__(self, lake: Lake, errands: Errands) -> None:
        garden = Garden(lake)
        self.lake = lake
        self.version = garden.version()
        self.log = garden.file(self.version, "log", OLD).inode
        self.workers = LateWorkers()
        self.recent = RecentNodes(lake.tree, self.workers)
        source, pages = Source(lake.contents, None), KernelPages()
        reader = Reader(source, self.workers, ChunkCache(1 << 20), errands)
        folders = FolderAhead(
            lake.tree,
            lake.contents,
            source,
            reader,
            self.workers,
            errands,
            budget=1 << 20,
            settled=self.recent.is_fresh,
            fill=lambda *_: False,
            filled=pages.note,
        )
        self.files = Files(
            lake,
            self.workers,
            reader,
            folders,
            self.recent,
            pages,
            chunk_size=CHUNK,
            errands=errands,
        )
        presentation = Presentation(0, 0, 0o022)
        known = KnownTree(lake, self.workers, self.files, folders, self.recent, presentation)
        self.tree = LakeTree(known, errands)

    async def open(self, *, mappable: bool = False) -> int:
        """A handle that appends to the log."""
        opened = await self.files.open(
            self.log, ROOT_USER, writable=True, append=True, truncate=False, mappable=mappable
        )
        return opened.handle

    async def append(self, handle: int, data: bytes, offset: int = 0) -> None:
        """Write, and close; at `offset` the kernel thinks that the log ends."""
        await self.files.write(handle, offset, data)
        await self.files.commit(handle, synced=False)
        await self.files.release(handle)

    async def ask(self, question: str) -> int:
        """What the kernel is told of the log's size."""
        if question == "lookup":
            return (await self.tree.lookup(self.version.inode, "log")).size
        if question == "getattr":
            return (await self.tree.attributes(self.log)).size
        if question == "setattr":
            change = Change(mode=0o600)
            return (await self.tree.change(self.log, change, ROOT_USER, None)).size
        if question == "link":
            return (await self.tree.link(self.log, self.version.inode, "other")).size
        listing = await self.tree.directories.open(self.version.inode)
        async with aclosing(self.tree.directories.read(listing, 0)) as entries:
            sizes = {each.name: each.attributes.size async for each in entries}
        return sizes["log"]

    def content(self) -> bytes:
        """What the lake has."""
        node: Node | None = self.lake.tree.get(self.log)
        assert node is not None
        return Garden(self.lake).read(node)


@pytest.fixture
async def mount(store: Lake, nursery: trio.Nursery) -> Mount:
    return Mount(store, Errands(nursery))


async def late(mount: Mount, call: str, ask: Awaitable[T], meanwhile: Awaitable[None]) -> T:
    """The answer to `ask`, of which `call` is answered late."""
    answers: list[T] = []

    async def wait() -> None:
        answers.append(await ask)

    mount.workers.keep_back(call)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await mount.workers.answered.wait()
        await meanwhile
        mount.workers.go_on.set()
    return answers[0]


@pytest.mark.parametrize("forgets", [False, True], ids=["remembered", "forgotten"])
@pytest.mark.parametrize(
    ("question", "call"),
    [
        ("lookup", "find"),
        ("getattr", "get"),
        ("setattr", "update"),
        ("link", "add_link"),
        ("readdir", "page"),
    ],
)
async def test_no_answer_tells_the_kernel_a_size_from_before_a_commit(
    mount: Mount, question: str, call: str, forgets: bool
) -> None:
    async def append() -> None:
        await mount.append(await mount.open(), NEW)
        if forgets:  # as a change of extended attributes does
            mount.recent.forget(mount.log)

    size = await late(mount, call, mount.ask(question), append())
    assert size == len(OLD + NEW)
    assert await mount.ask("getattr") == len(OLD + NEW)


@pytest.mark.parametrize("ends", [True, False], ids=["closed", "open"])
async def test_a_late_open_has_what_was_committed_meanwhile(mount: Mount, ends: bool) -> None:
    first = await mount.open()

    async def append() -> None:
        await mount.files.write(first, len(OLD), NEW)
        await mount.files.commit(first, synced=False)
        if ends:
            await mount.files.release(first)

    late_one = await late(mount, "_load", mount.open(), append())
    assert await mount.files.read(late_one, 0, 99) == OLD + NEW
    await mount.append(late_one, b"late ", len(OLD + NEW))
    assert mount.content() == OLD + NEW + b"late "
    if not ends:
        await mount.append(first, b"last", len(OLD + NEW) + 5)
        assert mount.content() == OLD + NEW + b"late last"


async def test_a_late_open_does_not_undo_what_a_later_one_found(mount: Mount) -> None:
    opened: list[int] = []

    async def write_elsewhere() -> None:
        node = mount.lake.tree.get(mount.log)
        assert node is not None
        Garden(mount.lake).write(node, NEW * 2)
        opened.append(await mount.open())

    first = await late(mount, "_load", mount.open(), write_elsewhere())
    assert await mount.files.read(first, 0, 99) == NEW * 2
    assert await mount.ask("getattr") == len(NEW * 2)
    for each in (first, *opened):
        await mount.files.release(each)


@pytest.mark.parametrize("believed", [0, 1, len(OLD), 99])
async def test_an_append_is_at_the_end_wherever_the_kernel_thinks_that_is(
    mount: Mount, believed: int
) -> None:
    await mount.append(await mount.open(), NEW, believed)
    assert mount.content() == OLD + NEW


async def test_a_mapped_page_is_written_where_it_was_even_by_who_appends(mount: Mount) -> None:
    mapping = await mount.open(mappable=True)
    appending = await mount.open()
    await mount.append(appending, b"page", 0)
    assert mount.content() == b"page"
    await mount.append(await mount.open(), b"1", 1)  # no page begins there
    assert mount.content() == b"page1"
    await mount.files.release(mapping)
    await mount.append(await mount.open(), b"2", 0)
    assert mount.content() == b"page12"
