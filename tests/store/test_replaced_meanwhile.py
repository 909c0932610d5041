"""Files that lose their name between look-up and open, as the kernel asks for them."""

import pytest
import trio

from gridfsmount.cache.memory import ChunkCache
from gridfsmount.core.model import Attributes, Caller, Inode, Name, Node
from gridfsmount.errors import Stale
from gridfsmount.reading.folders import FolderAhead
from gridfsmount.reading.reader import Reader
from gridfsmount.reading.source import Source
from gridfsmount.store.lake import Lake
from gridfsmount.vfs import files
from gridfsmount.vfs.files import Files
from gridfsmount.vfs.known_tree import KnownTree
from gridfsmount.vfs.lake_tree import LakeTree
from gridfsmount.vfs.pages import KernelPages
from gridfsmount.vfs.presentation import Presentation
from gridfsmount.vfs.recent import RecentNodes
from gridfsmount.workers import Errands, Workers
from tests.store.lakes import CHUNK, Garden, one_deployment

pytestmark = one_deployment

ROOT_USER = Caller(0, 0)


class Mount:
    """What serves a lake, without a kernel; in its version another mount replaces `file`."""

    def __init__(self, lake: Lake, errands: Errands) -> None:
        self.lake, self.garden = lake, Garden(lake)
        self.version = self.garden.version()
        self.garden.file(self.version, "file", b"0")
        workers, pages, source = Workers(), KernelPages(), Source(lake.contents, None)
        recent = RecentNodes(lake.tree, workers)
        reader = Reader(source, workers, ChunkCache(1 << 20), errands)
        folders = FolderAhead(
            lake.tree,
            lake.contents,
            source,
            reader,
            workers,
            errands,
            budget=1 << 20,
            settled=recent.is_fresh,
            fill=lambda *_: False,
            filled=pages.note,
        )
        self.files = Files(
            lake, workers, reader, folders, recent, pages, chunk_size=CHUNK, errands=errands
        )
        presentation = Presentation(0, 0, 0o022)
        known = KnownTree(lake, workers, self.files, folders, recent, presentation)
        self.tree = LakeTree(known, errands)

    def replace(self, data: bytes) -> None:
        """Elsewhere: a new file is written beside, and renamed over the old one."""
        name = Name(self.version.inode, "file")
        node = self.garden.file(self.version, "next", data)
        self.lake.commits.rename(node, node.names[0], name, self.node(), None)

    def node(self) -> Node:
        """What the lake has under the name."""
        node = self.lake.tree.find(self.version.inode, "file")
        assert node is not None
        return node

    async def look_up(self) -> Attributes:
        """What the kernel is told."""
        return await self.tree.lookup(self.version.inode, "file")

    async def open(self, inode: Inode, *, writable: bool = False) -> int:
        """A handle."""
        opened = await self.files.open(
            inode, ROOT_USER, writable=writable, append=False, truncate=False
        )
        return opened.handle


@pytest.fixture
async def mount(store: Lake, nursery: trio.Nursery) -> Mount:
    return Mount(store, Errands(nursery))


async def fleeting(mount: Mount, data: bytes = b"1") -> Inode:
    """A file that the kernel found, but must not believe in."""
    believed = await mount.look_up()
    assert not believed.fleeting
    mount.replace(data)
    with pytest.raises(Stale):
        await mount.open(believed.inode)
    with pytest.raises(Stale):
        await mount.tree.attributes(believed.inode)
    found = await mount.look_up()
    assert found.fleeting
    return found.inode


async def test_what_is_replaced_after_it_was_looked_up_is_opened_as_it_was(mount: Mount) -> None:
    inode = await fleeting(mount, b"found")
    mount.replace(b"more than that")
    assert (await mount.tree.attributes(inode)).size == 5
    handles = [await mount.open(inode), await mount.open(inode)]
    for handle in handles:
        assert await mount.files.read(handle, 0, 100) == b"found"
        shown = await mount.tree.attributes(inode)
        assert (shown.size, shown.nlink) == (5, 0)
        await mount.files.commit(handle, synced=False)
        await mount.files.release(handle)
    assert mount.files.find(inode) is None


async def test_who_looks_the_name_up_afterwards_has_what_is_there_now(mount: Mount) -> None:
    inode = await fleeting(mount)
    mount.replace(b"2")
    handle = await mount.open(inode)
    newest = await mount.look_up()
    assert newest.inode == mount.node().inode != inode
    assert await mount.files.read(await mount.open(newest.inode), 0, 100) == b"2"
    assert await mount.files.read(handle, 0, 100) == b"1"


async def test_what_was_rewritten_since_is_not_opened_as_it_was_before(mount: Mount) -> None:
    inode = await fleeting(mount)
    handle = await mount.open(inode)
    mount.garden.write(mount.node(), b"rewritten")
    assert (await mount.look_up()).inode == inode
    mount.replace(b"2")
    # The handle has the number for itself; the name leads on.
    with pytest.raises(Stale):
        await mount.open(inode)
    assert await mount.files.read(handle, 0, 100) == b"1"
    await mount.files.release(handle)
    assert await mount.files.read(await mount.open(inode), 0, 100) == b"rewritten"


async def test_what_is_open_already_is_opened_once_more(mount: Mount) -> None:
    inode = await fleeting(mount)
    handle = await mount.open(inode)
    mount.replace(b"2")
    again = await mount.open(inode)
    await mount.files.release(handle)
    assert await mount.files.read(again, 0, 100) == b"1"


async def test_what_is_written_to_it_goes_with_it(mount: Mount) -> None:
    inode = await fleeting(mount)
    mount.replace(b"2")
    handle = await mount.open(inode, writable=True)
    await mount.files.write(handle, 1, b"+")
    assert await mount.files.read(handle, 0, 100) == b"1+"
    await mount.files.commit(handle, synced=False)
    await mount.files.release(handle)
    assert mount.garden.read(mount.node()) == b"2"


async def test_what_is_on_its_way_to_the_trash_is_waited_for(mount: Mount) -> None:
    await fleeting(mount)
    mount.replace(b"found")
    node, lake = mount.node(), mount.lake
    assert node.content is not None
    lake.trash.announce(node.content, "file")
    hidden = lake.contents.hide(node.content)  # as a mount that is slow from here on
    assert hidden is not None
    found = await mount.look_up()
    lake.tree.delete(node)
    handles: list[int] = []

    async def open_it() -> None:
        handles.append(await mount.open(found.inode))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_it)
        await trio.sleep(0.2)
        assert not handles
        lake.contents.restore(hidden)
        lake.trash.settle(node.content)
    assert await mount.files.read(handles[0], 0, 100) == b"found"


async def test_what_never_arrives_in_the_trash_is_gone(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MOVING_SECONDS", 0.1)
    await fleeting(mount)
    mount.replace(b"found")
    node, lake = mount.node(), mount.lake
    assert node.content is not None
    lake.trash.announce(node.content, "file")
    lake.contents.hide(node.content)
    found = await mount.look_up()
    lake.tree.delete(node)
    with pytest.raises(Stale):
        await mount.open(found.inode)


async def test_what_is_replaced_here_is_opened_as_it_was_by_who_found_it_before(
    mount: Mount,
) -> None:
    found = await mount.look_up()
    version = mount.version.inode
    mount.garden.file(mount.version, "next", b"1")
    handles: list[int] = []

    async def open_it() -> None:
        handles.append(await mount.open(found.inode))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(mount.tree.renaming.rename, version, "next", version, "file")
        while mount.node().inode == found.inode:
            await trio.lowlevel.checkpoint()
        nursery.start_soon(open_it)  # the rename is done, and has not returned
    assert await mount.files.read(handles[0], 0, 100) == b"0"
    assert await mount.files.read(await mount.open((await mount.look_up()).inode), 0, 9) == b"1"
