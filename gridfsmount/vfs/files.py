"""Open files: what each handle reads and writes.

One `OpenFile` an inode, shared by its handles, so that processes of this machine see each other's
writes at once, as POSIX wants. When another machine replaces the content, new handles get a new
`OpenFile`; older handles keep the one they have, and with it the old content.

A lock per `OpenFile` keeps its writer's calls apart; reads of files that nobody writes take none.
"""

import itertools
import logging
import math
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import trio

from gridfsmount.core.chunks import Bytes
from gridfsmount.core.model import Caller, Content, ContentId, Inode, Kind, Node
from gridfsmount.errors import (
    Damaged,
    FileSystemError,
    InvalidArgument,
    NoSpace,
    NotFound,
    Stale,
    StoreFailed,
)
from gridfsmount.reading.folders import FolderAhead
from gridfsmount.reading.reader import Reader
from gridfsmount.store.lake import Lake
from gridfsmount.store.openings import Opening
from gridfsmount.store.trash import MOVING_POLL, MOVING_SECONDS
from gridfsmount.telemetry.counters import Gauge, Uploads
from gridfsmount.vfs.fleeting import LastSeen
from gridfsmount.vfs.open_files import Handle, Opened, OpenFile, may_be_page
from gridfsmount.vfs.pages import KernelPages
from gridfsmount.vfs.recent import RecentNodes
from gridfsmount.workers import Errands, Workers
from gridfsmount.writing.flights import DirtyBudget
from gridfsmount.writing.writer import ChunkedWriter

log = logging.getLogger(__name__)

HOLE_BYTES: Final = 1 << 30
"""Holes up to this size are not worth a question to the server."""

LOST_SECONDS: Final = 1.0
"""For longer the kernel does not believe in a name that another mount removed."""

_SET_ID: Final = 0o6000
_SET_GID_EXEC: Final = 0o2010


class Files:
    """All open files of a mount."""

    def __init__(
        self,
        lake: Lake,
        workers: Workers,
        reader: Reader,
        folders: FolderAhead,
        recent: RecentNodes,
        pages: KernelPages,
        *,
        chunk_size: int,
        errands: Errands,
        uploads: Uploads | None = None,
    ) -> None:
        """Serve `lake`; what nobody waits for is one of `errands`, what is sent is counted."""
        self._lake = lake
        self._workers = workers
        self._reader = reader
        self._folders = folders
        self._pages = pages
        self._recent = recent
        self._chunk_size = chunk_size
        self._errands = errands
        self._budget = DirtyBudget(uploads=uploads)
        self._numbers = itertools.count(1)
        self._handles: dict[int, Handle] = {}
        self._files: dict[Inode, OpenFile] = {}
        self._ghosts: dict[Inode, OpenFile] = {}
        """Files that were gone when they were opened: no other open may find them here."""

    def gauges(self) -> dict[str, Gauge]:
        """Figures of what is open now."""
        return {
            "open_files": lambda: len(self._files) + len(self._ghosts),
            "open_handles": lambda: len(self._handles),
            "dirty_files": lambda: sum(file.dirty for file in list(self._files.values())),
            "dirty_bytes": lambda: self._budget.used,
        }

    def find(self, inode: Inode) -> OpenFile | None:
        """The open file of an inode, if any handle is open."""
        return self._files.get(inode) or self._ghosts.get(inode)

    def open_inodes(self) -> Iterable[Inode]:
        """Of all open files."""
        return (*self._files, *self._ghosts)

    def written_in(self, version: Inode) -> list[Inode]:
        """The files of a version that are open for writing."""
        return [
            inode
            for inode, file in self._files.items()
            if file.node.version == version and not file.unlinked and (file.writers or file.dirty)
        ]

    async def open(
        self,
        inode: Inode,
        caller: Caller,
        *,
        writable: bool,
        append: bool,
        truncate: bool,
        direct: bool = False,
        mappable: bool = False,
    ) -> Opened:
        """Open a file for reading, and for writing if so asked; for both it is `mappable`.

        Raises:
            NotFound: it is gone.
            ReadOnly: it lies in a sealed version and is to be written.
            Damaged: its content cannot be found.
        """
        reads = not (writable or truncate)
        file = self._settled(inode) if reads else None
        if file is None:
            try:
                file = await self._current(inode, load=not truncate, whole=reads)
            except Stale:
                last = await self._recent.fleeting.gone(inode)
                file = None if last is None else await self._ghost(last)
                if file is None:
                    raise  # the kernel looks the name up again
        file.handles += 1  # before the next checkpoint: the file must not vanish meanwhile
        if reads:
            self._folders.opened(file.node)
        handle = Handle(file, writable, append, caller.uid, direct, mappable)
        try:
            if writable or truncate:
                await self._recent.check_writable(file.node.version)
            if truncate:
                async with file.lock:
                    await self._truncate(file, 0, caller.uid)
                handle.wrote = True
        except BaseException:
            self._drop(file)
            raise
        return self._enter(handle)

    def opened_new(
        self, node: Node, caller: Caller, *, writable: bool, append: bool, mappable: bool
    ) -> Opened:
        """A handle on a file that was created just now."""
        file = OpenFile(node, None, handles=1)
        self._files[node.inode] = file
        self._pages.note(node.inode, None)
        return self._enter(Handle(file, writable, append, caller.uid, mappable=mappable))

    async def read(self, number: int, offset: int, size: int) -> Bytes:
        """Bytes of an open file.

        Raises:
            Damaged, StoreUnavailable: they cannot be had.
        """
        handle = self._handle(number)
        file = handle.file
        if file.writer is not None:
            async with file.lock:
                if file.writer is not None:
                    return await file.writer.read(offset, size)
        if file.content is None:
            return b""
        return await self._reader.read(
            file.content, offset, size, settled=file.settled, keep=handle.direct
        )

    async def write(self, number: int, offset: int, data: bytes) -> int:
        """Write to an open file; returns the number of bytes taken, which is all of them."""
        handle = self._handle(number)
        if not handle.writable:
            raise InvalidArgument("the file was not opened for writing")
        file = handle.file
        async with file.lock:
            writer = self._writer(file)
            # Where the kernel appends may be the end as it was before another mount's commit.
            within = offset + len(data) <= writer.size
            if handle.append and not (within and may_be_page(file, offset, self._handles.values())):
                offset = writer.size
            handle.wrote = True
            await self._check_room(writer, offset)
            self._mark(file, handle.uid)
            try:
                await writer.write(offset, data)
            except FileSystemError as error:
                file.failure = error
                raise
            except BaseException:
                file.failure = StoreFailed("it was interrupted")
                raise
        return len(data)

    def about(self, number: int) -> tuple[Inode, ContentId | None] | None:
        """Inode and content of a handle, if it is open."""
        handle = self._handles.get(number)
        return None if handle is None else (handle.file.node.inode, handle.file.node.content)

    async def truncate(self, inode: Inode, number: int | None, size: int, uid: int) -> Node:
        """Set a file's size; without a handle the change is committed at once."""
        if number is not None:
            handle = self._handle(number)
            async with handle.file.lock:
                await self._truncate(handle.file, size, uid)
            handle.wrote = True
            return handle.file.shown
        file = await self._current(inode, load=size > 0)
        file.handles += 1
        try:
            async with file.lock:
                await self._truncate(file, size, uid)
                if not file.writers:
                    try:
                        await self._commit(file)
                    finally:
                        self._abandon(file)
            return file.shown
        finally:
            self._drop(file)

    async def commit(self, number: int, *, synced: bool) -> None:
        """Make what was written to a handle's file durable and visible.

        When `synced` (fsync), whoever wrote it. At a close, only through handles that can write:
        truncate(2) without a handle, and the kernel for mapped pages, may have used another one.

        Raises:
            StoreFailed: an earlier write to this file was lost.
            FileSystemError: why it cannot be; the old content stays.
        """
        handle = self._handle(number)
        if not (handle.wrote or (handle.file.dirty and (handle.writable or synced))):
            return
        async with handle.file.lock:
            try:
                await self._commit(handle.file)
            except BaseException:
                handle.refused = True
                raise
            handle.wrote = handle.refused = False

    async def release(self, number: int) -> None:
        """Close a handle; what was mapped and written after the last commit is committed."""
        handle = self._handles.pop(number)
        file = handle.file
        if not handle.writable and file.writer is None:
            self._drop(file)
            return
        try:
            async with file.lock:
                if handle.writable and file.writers == 1:
                    await self._end_writing(file, give_up=handle.refused)
                elif file.handles == 1:
                    self._abandon(file)
        finally:
            file.writers -= handle.writable
            self._drop(file)

    def close(self) -> None:
        """Give up everything that was not committed, for the end of the mount."""
        for handle in self._handles.values():
            self._abandon(handle.file)
        self._handles.clear()
        self._files.clear()
        self._ghosts.clear()

    def changed(self, node: Node) -> None:
        """A node changed: open handles show it, but for what they write themselves."""
        file = self._files.get(node.inode)
        if file is not None:
            file.node = replace(node, content=file.node.content, size=file.node.size)

    def outdated(self, inode: Inode) -> None:
        """Another mount changed a node: what its open file knows of it is of the past."""
        file = self._files.get(inode)
        if file is not None:
            file.seen = -math.inf

    def unlinked(self, inode: Inode, *, elsewhere: bool = False) -> None:
        """An inode's last name is gone; `elsewhere`: the kernel may believe in it for a while."""
        file = self._files.get(inode)
        if file is None:
            return
        if not elsewhere:
            file.lost = -math.inf  # even if the server told of it before it answered
        elif not file.unlinked:
            file.lost = time.monotonic()
        file.unlinked = True

    def set_mtime(self, inode: Inode, mtime_ns: int) -> None:
        """The time of modification was set on purpose: the next commit keeps it."""
        file = self._files.get(inode)
        if file is not None:
            file.mtime_ns = mtime_ns

    def _enter(self, handle: Handle) -> Opened:
        number = next(self._numbers)
        self._handles[number] = handle
        file = handle.file
        file.writers += handle.writable
        inode = file.node.inode
        content = None if file.content is None else file.content.id
        same = file.dirty or file.fresh or self._pages.are_of(inode, content)
        self._pages.note(inode, content)
        return Opened(number, keep_cache=same, direct_io=self._pages.bypassed(inode))

    def _handle(self, number: int) -> Handle:
        handle = self._handles.get(number)
        if handle is None:
            raise InvalidArgument(f"no open file has the handle {number}")
        return handle

    def _settled(self, inode: Inode) -> OpenFile | None:
        """The open file of an inode, where all is known and nothing can change: asks nobody."""
        node = self._recent.settled(inode)
        if node is None or node.kind is not Kind.FILE:
            return None
        file = self._files.get(inode)
        if file is not None:
            return file if file.settled else None
        content = None if node.content is None else self._folders.content(node.content)
        if (0 if content is None else content.length) != node.size:
            return None
        return self._opened(node, content, began=time.monotonic())

    async def _current(self, inode: Inode, *, load: bool, whole: bool = False) -> OpenFile:
        """The open file of an inode with its newest content, made if need be."""
        known = self._files.get(inode)
        if known is not None and (known.unlinked or known.dirty):
            if time.monotonic() - known.lost < LOST_SECONDS:
                raise Stale(f"inode {inode}")
            return known
        last = self._recent.peek(inode)
        known_content = None
        if load and last is not None and last.content is not None:
            whole = whole and not self._reader.holds(last.content)
            known_content = None if whole else self._folders.content(last.content)
        began = time.monotonic()
        try:
            opening = await self._workers.foreground(self._load, inode, load, whole, known_content)
        except Stale:
            self._recent.forget(inode)
            raise
        node, content = self._recent.remember(opening.node, began), opening.content
        if content is not None:
            self._folders.remember(content, settled=self._recent.is_settled(node, began))
            if opening.chunks is not None:
                self._reader.take(content, opening.chunks)
        # No checkpoint from here on: whoever comes meanwhile must find one file.
        known = self._files.get(inode)
        if known is not None:
            # Who asked later may have been answered before: then what is here is newer.
            if known.unlinked or known.dirty or known.node.rev > node.rev:
                return known
            if known.node.content == node.content:
                known.node, known.seen = node, time.monotonic()
                return known
        if node.content != opening.node.content:  # committed here while the answer was on its way
            return await self._current(inode, load=load, whole=whole)
        if known is not None and known.handles:
            self._pages.outdate(inode)
        return self._opened(node, content, began)

    async def _ghost(self, last: LastSeen) -> OpenFile | None:
        """A file that is gone, as it was; None if it is open here with another content."""
        inode, node, content = last.node.inode, last.node, last.content
        if node.content is not None and content is None:
            content = await self._content_of_gone(node.content)
        if (0 if content is None else content.length) != node.size:
            return None
        # No checkpoint from here on. There is one content only: the kernel asks for attributes by
        # the number, not by the handle.
        file = self._files.get(inode)
        if file is None:
            file = self._ghosts.setdefault(inode, OpenFile(node, content, unlinked=True))
        else:
            self.unlinked(inode, elsewhere=True)
        return file if file.dirty or file.node.content == node.content else None

    async def _content_of_gone(self, content: ContentId) -> Content | None:
        until = time.monotonic() + MOVING_SECONDS
        while True:
            found, moving = await self._workers.foreground(self._lake.trash.look_for, content)
            if found is not None or not moving or time.monotonic() > until:
                return found
            await trio.sleep(MOVING_POLL)

    def _opened(self, node: Node, content: Content | None, began: float) -> OpenFile:
        file = self._files[node.inode] = OpenFile(
            node,
            content,
            settled=self._recent.is_settled(node, began),
            fresh=self._recent.is_fresh(node, began),
        )
        return file

    def _load(self, inode: Inode, load: bool, whole: bool, known: Content | None) -> Opening:
        if known is not None and known.chunk_xxh3 is not None:
            # The node alone has to be asked for: what its hashes tell apart is never another.
            node = self._lake.tree.get(inode)
            if node is not None and (node.content, node.size) == (known.id, known.length):
                return Opening(node, known)
        while True:
            if load:
                opening = self._lake.openings.open(inode, whole=whole)
            else:
                found = self._lake.tree.get(inode)
                opening = None if found is None else Opening(found, None)
            if opening is None:
                raise Stale(f"inode {inode}")
            node, content = opening.node, opening.content
            if node.kind is not Kind.FILE:
                raise InvalidArgument(f"inode {inode} is no regular file")
            length = 0 if content is None else content.length
            if not load or length == node.size:
                return opening
            # Or replaced meanwhile: then the node tells of another content.
            again = self._lake.tree.get(inode)
            if again is not None and again.content == node.content:
                raise Damaged(
                    f"inode {inode} has {node.size} bytes, its content {node.content} "
                    + ("cannot be found" if content is None else f"has {length}")
                )

    def _writer(self, file: OpenFile) -> ChunkedWriter:
        if file.writer is None:
            file.writer = ChunkedWriter(
                contents=self._lake.contents,
                leases=self._lake.leases,
                read_base=self._reader.read,
                workers=self._workers,
                errands=self._errands,
                budget=self._budget,
                inode=file.node.inode,
                name=file.node.names[0].name if file.node.names else "",
                base=file.content,
                chunk_size=self._chunk_size,
                whole=self._lake.connection.deployment.transactions,
            )
        return file.writer

    def _mark(self, file: OpenFile, uid: int) -> None:
        file.dirty = True
        file.mtime_ns = time.time_ns()
        file.kill_set_id = file.kill_set_id or uid != 0

    async def _truncate(self, file: OpenFile, size: int, uid: int) -> None:
        writer = self._writer(file)
        await self._check_room(writer, size)
        await writer.truncate(size)
        self._mark(file, uid)
        if size == 0:
            file.failure = None  # what was lost is not wanted any more

    async def _check_room(self, writer: ChunkedWriter, size: int) -> None:
        """A hole is stored as zeros: refuse at once one that the server cannot hold."""
        if size - writer.size > HOLE_BYTES:
            space = await self._workers.foreground(self._lake.statistics.space)
            if size - writer.size > space.free:
                raise NoSpace(f"a hole of {size - writer.size} bytes does not fit on the server")

    async def _commit(self, file: OpenFile) -> None:
        writer = file.writer
        if writer is None or not file.dirty or file.unlinked:
            return
        if file.failure is not None:
            what = f"{self._name(file)}: an earlier write was lost; write it anew: {file.failure}"
            raise type(file.failure)(what) from file.failure
        path = await self._path(file)
        if path is None:
            file.unlinked = True
            return
        finished = await writer.finish()
        content = None if finished is None else finished.content
        node = await self._workers.foreground(
            self._lake.commits.commit,
            file.node,
            path,
            content,
            () if finished is None else finished.pages,
            file.mtime_ns,
            self._bits_to_clear(file),
        )
        if node is None:
            file.unlinked = True
            return
        pages = () if finished is None else finished.pages
        self._budget.uploads.arrived(len(pages), sum(len(page) for _, page in pages))
        self._budget.uploads.commits += 1
        emptied = writer.target if content is None else None
        writer.committed(content)
        if emptied is not None:  # what was uploaded was truncated away
            self._errands.start(self._workers.background, self._lake.commits.abandon, emptied)
        self._recent.remember(node)
        file.node, file.content, file.dirty, file.kill_set_id = node, content, False, False
        file.seen = time.monotonic()
        self._pages.note(node.inode, node.content)

    async def _path(self, file: OpenFile) -> str | None:
        """Where drivers will find the file; None when its folder is gone."""
        name = file.node.names[0]
        try:
            return f"{await self._recent.path(name.parent)}/{name.name}"
        except NotFound:
            inode = file.node.inode
            path = await self._workers.foreground(self._lake.tree.path, inode)
            if path is not None:
                return path
            node = await self._workers.foreground(self._lake.tree.get, inode)
            if node is not None:
                raise Damaged(f"{name.name}: the folder that lists it is gone") from None
            return None

    def _bits_to_clear(self, file: OpenFile) -> int:
        mode = file.node.mode
        if not file.kill_set_id or mode is None:
            return 0
        # Set-group-ID without group execution means mandatory locking, not privilege.
        return _SET_ID if mode & _SET_GID_EXEC == _SET_GID_EXEC else 0o4000

    async def _end_writing(self, file: OpenFile, *, give_up: bool) -> None:
        """The last handle that could write is closed."""
        if file.dirty and not file.unlinked and file.failure is None and not give_up:
            try:
                await self._commit(file)
            except FileSystemError as error:
                log.error(
                    "%s: what was written after the last close is lost: %s", self._name(file), error
                )
        self._abandon(file)

    def _abandon(self, file: OpenFile) -> None:
        writer = file.writer
        if writer is None:
            return
        if file.unlinked and file.handles > 1:
            return  # readers of the unlinked file still need it
        if file.dirty or file.failure is not None:
            self._pages.forget(file.node.inode)
        file.writer, file.dirty, file.failure = None, False, None
        writer.drop_pages()
        target = writer.target
        if target is not None:
            self._errands.start(self._erase, writer, target)

    async def _erase(self, writer: ChunkedWriter, target: ContentId) -> None:
        await writer.landed()  # or what is still on its way would stay behind
        await self._workers.background(self._lake.commits.abandon, target)

    def _drop(self, file: OpenFile) -> None:
        file.handles -= 1
        if file.handles > 0:
            return
        inode = file.node.inode
        for files in (self._files, self._ghosts):
            if files.get(inode) is file:
                del files[inode]
                return
        self._pages.release(inode)

    def _name(self, file: OpenFile) -> str:
        return file.node.names[0].name if file.node.names else f"inode {file.node.inode}"
