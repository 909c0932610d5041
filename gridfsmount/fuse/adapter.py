"""pyfuse3's operations, each a translation to the part of the mount that answers, and back.

Decides nothing: names become text, attributes become `stat`, the lake's errors become errno. A
handler that fails in a way nobody foresaw answers EIO and leaves a traceback in the log; the main
loop goes on.
"""

import errno
import functools
import logging
import math
import os
import stat
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, cast

import pyfuse3
from pyfuse3 import (
    EntryAttributes,
    FileHandleT,
    FileInfo,
    FileNameT,
    FlagT,
    FUSEError,
    InodeT,
    ModeT,
    ReaddirToken,
    RequestContext,
    SetattrFields,
    StatvfsData,
    XAttrNameT,
)

from gridfsmount.core.errnos import FAULTS, errno_of
from gridfsmount.core.model import ROOT, Attributes, Caller, Change, Inode, Kind
from gridfsmount.core.names import decode_name, decode_target, encode_name
from gridfsmount.errors import FileSystemError, NeverFound
from gridfsmount.fuse.kernel import forget_attributes
from gridfsmount.fuse.requests import OPERATIONS
from gridfsmount.telemetry.counters import Telemetry
from gridfsmount.vfs.open_files import Opened
from gridfsmount.vfs.parts import SNAPSHOTS_FLAG, STATS, Part, is_of_snapshots
from gridfsmount.vfs.stats import NAME as STATS_NAME
from gridfsmount.vfs.xattrs import PID, decode_attribute

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
Handler = Callable[Concatenate["LakeOperations", P], Coroutine[Any, Any, T]]
Slow = Callable[[str, Sequence[object], float], None]
"""Told of an operation's name, its arguments as pyfuse3 gives them, and the seconds it took."""

ATTRIBUTE_SECONDS: Final = 0.6
"""How long the kernel believes names and attributes; the mount adds REMEMBER_SECONDS, so that
what other machines do shows within a second."""

SETTLED_SECONDS: Final = 600.0
"""The same inside a sealed version, where nothing changes. The version's own name is believed no
longer than others, so that its removal shows."""

BLOCK_SIZE: Final = 128 << 10
"""Bytes that `stat` recommends for I/O: one request of the kernel."""

_STAT_BLOCK: Final = 512  # POSIX: the unit of st_blocks
_FRAGMENT: Final = 4096
_MOST_NS: Final = (1 << 63) - 1  # int64: the year 2262, and 1677 on the other side

_TYPES: Final = {
    Kind.FILE: stat.S_IFREG,
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.FIFO: stat.S_IFIFO,
    Kind.SOCKET: stat.S_IFSOCK,
}
_KINDS: Final = {type_: kind for kind, type_ in _TYPES.items()}

_STATS_NAME: Final = STATS_NAME.encode()


def _answer(handler: Handler[P, T]) -> Handler[P, T]:
    """Turn whatever a handler raises into an errno."""
    operation = getattr(handler, "__name__", "?")

    @functools.wraps(handler)
    async def answered(self: "LakeOperations", /, *args: P.args, **kwargs: P.kwargs) -> T:
        telemetry, counts = self._telemetry, self._counts[operation]
        telemetry.pending += 1
        began = time.perf_counter()
        try:
            return await handler(self, *args, **kwargs)
        except FUSEError as error:
            counts.failed(error.errno)
            raise
        except FileSystemError as error:
            code = errno_of(error)
            counts.failed(code)
            level = logging.WARNING if code in FAULTS else logging.DEBUG
            log.log(level, "%s: %s: %s", operation, errno.errorcode[code], error)
            if code == errno.EPERM:
                log.info("refused: %s", error)
            raise FUSEError(code) from error
        except Exception as error:
            counts.failed(errno.EIO)
            log.exception("%s%r failed unexpectedly; please report this", operation, args[:1])
            raise FUSEError(errno.EIO) from error
        finally:
            seconds = time.perf_counter() - began
            telemetry.pending -= 1
            counts.note(seconds)
            if seconds >= self._slow_seconds:
                self._tell_slow(operation, args, seconds)

    return answered


class LakeOperations(pyfuse3.Operations):
    """What the kernel asks of a mount."""

    supports_dot_lookup = True
    enable_writeback_cache = False
    """Other machines see a commit at close: the kernel must not hold writes back after it."""

    def __init__(
        self,
        lake: Part,
        snapshots: Part,
        stats: Part,
        facts: Mapping[str, bytes],
        secrets: Mapping[str, bytes],
        telemetry: Telemetry,
        *,
        slow: Slow | None = None,
        slow_seconds: float = 1.0,
    ) -> None:
        """Answer from `lake` and `snapshots`, which may be the same, and from `stats`.

        `facts` are extended attributes of the root that tell about the mount; `secrets` as well,
        but only to root and to the user whose mount it is. Everything is counted in `telemetry`;
        `slow` is told of what took `slow_seconds` or longer.
        """
        super().__init__()
        self._telemetry = telemetry
        self._counts = {name: telemetry.operation(name) for name in OPERATIONS}
        self._slow_seconds = math.inf if slow is None else slow_seconds
        self._slow = slow
        self._stats = stats
        self._facts = {PID: str(os.getpid()).encode(), **facts}
        self._secrets = secrets
        self._lake = lake
        self._snapshots = snapshots

    def _at(self, *inodes: int) -> Part:
        """The part that answers for inodes."""
        if STATS in inodes:
            return self._stats
        return self._snapshots if any(map(is_of_snapshots, inodes)) else self._lake

    def _of(self, handle: int) -> Part:
        """The part that a handle is of."""
        if handle < STATS:
            return self._lake
        return self._snapshots if handle & SNAPSHOTS_FLAG else self._stats

    def _tell_slow(self, operation: str, args: Sequence[object], seconds: float) -> None:
        """Tell of a request that took long."""
        if self._slow is None:
            return
        try:
            self._slow(operation, args, seconds)
        except Exception:  # the request has its answer already
            log.exception("a slow %s was not told of; please report this", operation)

    # --- names and attributes ------------------------------------------------------------------

    @_answer
    async def lookup(
        self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        """See lookup in the FUSE documentation; the same holds for all below."""
        is_stats = parent_inode == ROOT and name == _STATS_NAME
        part = self._stats if is_stats else self._at(parent_inode)
        try:
            return _entry(await part.tree.lookup(Inode(parent_inode), decode_name(name)))
        except NeverFound:
            return _nothing()

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        """The kernel holds these no more; nothing is answered."""
        self._lake.forget(Inode(inode) for inode, _ in inode_list)

    @_answer
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        """Answers stat(2)."""
        return _entry(await self._at(inode).tree.attributes(Inode(inode)))

    @_answer
    async def setattr(
        self,
        inode: InodeT,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: FileHandleT | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        """Answers chmod(2), chown(2), utimensat(2), truncate(2)."""
        change = Change(
            mode=stat.S_IMODE(attr.st_mode) if fields.update_mode else None,
            uid=attr.st_uid if fields.update_uid else None,
            gid=attr.st_gid if fields.update_gid else None,
            atime_ns=_nearest_time(attr.st_atime_ns) if fields.update_atime else None,
            mtime_ns=_nearest_time(attr.st_mtime_ns) if fields.update_mtime else None,
            size=attr.st_size if fields.update_size else None,
        )
        return _entry(await self._at(inode).tree.change(Inode(inode), change, _caller(ctx), fh))

    @_answer
    async def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        """Answers readlink(2)."""
        return encode_name(await self._at(inode).tree.read_link(Inode(inode)))

    @_answer
    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        """Answers statvfs(3)."""
        space = await self._lake.tree.space()
        figures = StatvfsData()
        figures.f_bsize = BLOCK_SIZE
        figures.f_frsize = _FRAGMENT
        figures.f_blocks = space.total // _FRAGMENT
        figures.f_bfree = figures.f_bavail = space.free // _FRAGMENT
        figures.f_ffree = figures.f_favail = (1 << 32) - 1
        figures.f_files = space.nodes + figures.f_ffree
        figures.f_namemax = 255
        return figures

    # --- making, removing, renaming ------------------------------------------------------------

    @_answer
    async def mkdir(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: RequestContext
    ) -> EntryAttributes:
        """Answers mkdir(2)."""
        return await self._make(parent_inode, name, Kind.DIRECTORY, mode, ctx)

    @_answer
    async def mknod(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        """Answers mknod(2).; devices are refused."""
        kind = _KINDS.get(stat.S_IFMT(mode))
        if kind is None:
            raise FUSEError(errno.EPERM)
        return await self._make(parent_inode, name, kind, mode, ctx)

    @_answer
    async def symlink(
        self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        """Answers symlink(2)."""
        text = decode_target(target)
        return await self._make(parent_inode, name, Kind.SYMLINK, 0o777, ctx, text)

    @_answer
    async def link(
        self, inode: InodeT, new_parent_inode: InodeT, new_name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        """Answers link(2)."""
        name = decode_name(new_name)
        return _entry(
            await self._at(inode, new_parent_inode).tree.link(
                Inode(inode), Inode(new_parent_inode), name
            )
        )

    @_answer
    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        """Answers unlink(2)."""
        await self._at(parent_inode).tree.unlink(Inode(parent_inode), decode_name(name))

    @_answer
    async def rmdir(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        """Answers rmdir(2)."""
        await self._at(parent_inode).tree.remove_directory(Inode(parent_inode), decode_name(name))

    @_answer
    async def rename(
        self,
        parent_inode_old: InodeT,
        name_old: FileNameT,
        parent_inode_new: InodeT,
        name_new: FileNameT,
        flags: FlagT,
        ctx: RequestContext,
    ) -> None:
        """Answers renameat2(2)."""
        if flags & ~(pyfuse3.RENAME_EXCHANGE | pyfuse3.RENAME_NOREPLACE):
            raise FUSEError(errno.EINVAL)
        await self._at(parent_inode_old, parent_inode_new).renaming.rename(
            Inode(parent_inode_old),
            decode_name(name_old),
            Inode(parent_inode_new),
            decode_name(name_new),
            replace_existing=not flags & pyfuse3.RENAME_NOREPLACE,
            exchange=bool(flags & pyfuse3.RENAME_EXCHANGE),
        )

    # --- files ---------------------------------------------------------------------------------

    @_answer
    async def create(
        self,
        parent_inode: InodeT,
        name: FileNameT,
        mode: ModeT,
        flags: FlagT,
        ctx: RequestContext,
    ) -> tuple[FileInfo, EntryAttributes]:
        """Answers open(2). with O_CREAT."""
        opened, attributes = await self._at(parent_inode).tree.create(
            Inode(parent_inode),
            decode_name(name),
            mode,
            _caller(ctx),
            exclusive=bool(flags & os.O_EXCL),
            writable=_is_writable(flags),
            append=bool(flags & os.O_APPEND),
            truncate=bool(flags & os.O_TRUNC),
            mappable=_is_mappable(flags),
        )
        return _info(opened), _entry(attributes)

    @_answer
    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:
        """Answers open(2)."""
        part = self._at(inode)
        truncate = bool(flags & os.O_TRUNC)
        # The kernel leaves it to the server to take them away when open(2) truncates.
        cleared = truncate and await part.tree.drop_set_id(Inode(inode), _caller(ctx))
        opened = await part.files.open(
            Inode(inode),
            _caller(ctx),
            writable=_is_writable(flags),
            append=bool(flags & os.O_APPEND),
            truncate=truncate,
            direct=bool(flags & os.O_DIRECT),
            mappable=_is_mappable(flags),
        )
        if cleared or not opened.keep_cache:
            # Close-to-open: the size that the kernel remembers may be another machine's past.
            forget_attributes(Inode(inode))
        return _info(opened)

    @_answer
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        """Answers pread(2)."""
        part = self._of(fh)
        data = await part.files.read(fh, off, size)
        if part is not self._stats:  # who looks must not see himself
            self._counts["read"].bytes += len(data)
        # Any buffer will do, whatever pyfuse3's annotations say: a view spares a copy.
        return cast(bytes, data)

    @_answer
    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        """Answers pwrite(2)."""
        taken = await self._of(fh).files.write(fh, off, buf)
        self._counts["write"].bytes += taken
        return taken

    @_answer
    async def flush(self, fh: FileHandleT) -> None:
        """Answers close(2).: the content is durable and visible when it returns."""
        await self._of(fh).files.commit(fh, synced=False)

    @_answer
    async def fsync(self, fh: FileHandleT, datasync: bool) -> None:
        """Answers fsync(2)."""
        await self._of(fh).files.commit(fh, synced=True)

    @_answer
    async def release(self, fh: FileHandleT) -> None:
        """The last descriptor of a handle was closed."""
        await self._of(fh).files.release(fh)

    # --- directories ---------------------------------------------------------------------------

    @_answer
    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        """Answers opendir(3)."""
        return await self._at(inode).directories.open(Inode(inode))

    @_answer
    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        """Answers readdir(3)."""
        async with aclosing(self._of(fh).directories.read(fh, start_id)) as entries:
            async for entry in entries:
                if not pyfuse3.readdir_reply(
                    token, encode_name(entry.name), _entry(entry.attributes), entry.position
                ):
                    break

    @_answer
    async def releasedir(self, fh: FileHandleT) -> None:
        """Answers closedir(3)."""
        self._of(fh).directories.close(fh)

    @_answer
    async def fsyncdir(self, fh: FileHandleT, datasync: bool) -> None:
        """Nothing to do: names are durable when their call returns."""

    # --- extended attributes -------------------------------------------------------------------

    @_answer
    async def getxattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> bytes:
        """Answers getxattr(2)."""
        if not name.startswith(b"user."):
            # Asked before every write, and for every file of an `ls -l`: to ENODATA it would go
            # on asking, this tells it once for the whole file system (getxattr(2), ENOTSUP).
            raise FUSEError(errno.EOPNOTSUPP)
        text = decode_attribute(name)
        if inode == ROOT and text in self._facts:
            return self._facts[text]
        if inode == ROOT and text in self._secrets:
            if ctx.uid not in (0, os.geteuid()):
                raise FUSEError(errno.EACCES)
            return self._secrets[text]
        return await self._at(inode).annotations.get(Inode(inode), text)

    @_answer
    async def setxattr(
        self, inode: InodeT, name: XAttrNameT, value: bytes, ctx: RequestContext
    ) -> None:
        """Answers setxattr(2)."""
        text = decode_attribute(name)
        await self._at(inode).annotations.set(Inode(inode), text, value, _caller(ctx))

    @_answer
    async def listxattr(self, inode: InodeT, ctx: RequestContext) -> Sequence[XAttrNameT]:
        """Answers listxattr(2)."""
        return [name.encode() for name in await self._at(inode).annotations.names(Inode(inode))]

    @_answer
    async def removexattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> None:
        """Answers removexattr(2)."""
        await self._at(inode).annotations.remove(Inode(inode), decode_attribute(name))

    async def _make(
        self,
        parent: InodeT,
        name: FileNameT,
        kind: Kind,
        mode: ModeT,
        ctx: RequestContext,
        target: str = "",
    ) -> EntryAttributes:
        text = decode_name(name)
        made = await self._at(parent).tree.make(
            Inode(parent), text, kind, mode, _caller(ctx), target
        )
        return _entry(made)


def _caller(ctx: RequestContext) -> Caller:
    return Caller(ctx.uid, ctx.gid)


def _nearest_time(ns: int) -> int:
    """A time that the lake can hold: others become the nearest, as utimensat(2) says."""
    return max(-_MOST_NS, min(ns, _MOST_NS))


def _is_writable(flags: FlagT) -> bool:
    return flags & os.O_ACCMODE != os.O_RDONLY


def _is_mappable(flags: FlagT) -> bool:
    """Whether what is written through a mapping may reach the file: mmap(2), MAP_SHARED."""
    return flags & os.O_ACCMODE == os.O_RDWR


def _info(opened: Opened) -> FileInfo:
    return FileInfo(fh=opened.handle, keep_cache=opened.keep_cache, direct_io=opened.direct_io)


def _entry(attributes: Attributes) -> EntryAttributes:
    entry = EntryAttributes()
    entry.st_ino = attributes.inode
    entry.attr_timeout = SETTLED_SECONDS if attributes.settled else ATTRIBUTE_SECONDS
    entry.entry_timeout = 0 if attributes.fleeting else entry.attr_timeout
    entry.st_mode = _TYPES[attributes.kind] | attributes.mode
    entry.st_nlink = attributes.nlink
    entry.st_uid = attributes.uid
    entry.st_gid = attributes.gid
    entry.st_size = attributes.size
    entry.st_blksize = BLOCK_SIZE
    entry.st_blocks = -(-attributes.size // _STAT_BLOCK)
    entry.st_atime_ns = attributes.atime_ns
    entry.st_mtime_ns = attributes.mtime_ns
    entry.st_ctime_ns = attributes.ctime_ns
    return entry


def _nothing() -> EntryAttributes:
    """Tells the kernel that there is no such name, and to remember that."""
    entry = EntryAttributes()
    entry.st_ino = InodeT(0)
    entry.entry_timeout = SETTLED_SECONDS
    return entry
