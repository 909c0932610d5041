"""The live lake as a file system: names, attributes and directories.

Every method is one request of the kernel. Rules are checked first, then the store changes, then
what the mount remembers. A change that met another machine's is tried again from the start.
"""

import contextlib
import logging
import time
from typing import Final

from gridfsmount.core.model import (
    LATEST_FLAG,
    ROOT,
    Attributes,
    Caller,
    Change,
    Inode,
    Kind,
    Name,
    Node,
    Space,
)
from gridfsmount.core.names import LATEST
from gridfsmount.errors import (
    AlreadyExists,
    CrossVersion,
    Damaged,
    InvalidArgument,
    IsADirectory,
    NeverFound,
    NotADirectory,
    NotFound,
    NotPermitted,
    Stale,
    TooManyLinks,
)
from gridfsmount.store.commits import MAX_LINKS
from gridfsmount.vfs.annotations import Annotations
from gridfsmount.vfs.inodes import InodeNumbers
from gridfsmount.vfs.known_tree import KnownTree
from gridfsmount.vfs.nodes import changed_fields, new_node, with_fields, without_set_id
from gridfsmount.vfs.open_files import Opened
from gridfsmount.vfs.renaming import Renaming
from gridfsmount.vfs.root import RootNode
from gridfsmount.vfs.rules import Level, check_new, check_removal, check_target, level_of
from gridfsmount.vfs.version_attributes import person
from gridfsmount.workers import Errands

log = logging.getLogger(__name__)

_SPACE_SECONDS: Final = 2.0
"""How long the figures of statfs are good for: the server walks its catalogue for them."""


class LakeTree:
    """Operations on the tree of one lake."""

    def __init__(self, known: KnownTree, errands: Errands) -> None:
        """Serve `known`; what nobody waits for is one of `errands`."""
        self.renaming = Renaming(known)
        self.annotations = Annotations(known)
        self.directories = known.directories
        self.removed = known.removed
        self._known = known
        self._lake = known.lake
        self._workers = known.workers
        self._files = known.files
        self._folders = known.folders
        self._recent = known.recent
        self._presentation = known.presentation
        self._inodes = InodeNumbers(known.lake.tree, known.workers)
        self._root = RootNode(known.recent, errands)
        self._space: tuple[float, Space] | None = None

    # --- looking -------------------------------------------------------------------------------

    async def lookup(self, parent: Inode, name: str) -> Attributes:
        """Attributes of the name `name` in a directory; `.` and `..` work as well.

        Raises:
            NotFound: there is none.
            NeverFound: nor will there be.
        """
        if name == ".":
            return await self._by_handle(parent)
        if name == "..":
            folder = await self._recent.directory(parent)
            return await self.attributes(folder.parent if parent != ROOT else ROOT)
        if name == LATEST:
            folder = await self._recent.directory(parent)
            if level_of(folder) is Level.FOLDER:
                return self._known.shown(await self.directories.latest(folder))
        began = time.monotonic()
        try:
            if self._recent.fleeting.is_fleeting(Name(parent, name), began):
                return await self._look_up_fleeting(Name(parent, name))
            return self._known.entry(await self._look_up(Name(parent, name)))
        except NotFound as error:
            known = self._recent.settled(parent) or self._recent.peek(parent)
            if known is not None and self._recent.is_sealed(known.version, began):
                raise NeverFound(str(error)) from error
            raise

    async def _by_handle(self, inode: Inode) -> Attributes:
        """Attributes for open_by_handle_at(2): the kernel knows neither a name nor the inode.

        So no name can be outdated, and nobody has just looked one up: what is gone is gone.
        """
        self._recent.take_renamed(inode)
        held = self._files.find(inode) is not None or self.removed.get(inode) is not None
        if not held and not inode & LATEST_FLAG:
            await self._recent.get(inode)
        return await self.attributes(inode)

    async def attributes(self, inode: Inode) -> Attributes:
        """Attributes of an inode.

        Raises:
            NotFound: it is gone.
        """
        if inode & LATEST_FLAG:
            return self._known.shown(await self._known.node(inode))
        if inode == ROOT:
            return self._known.shown(await self._root.get())
        file = self._files.find(inode)
        if file is not None and file.authoritative:
            return self._presentation.attributes(file.shown)
        removed = self.removed.get(inode)
        if removed is not None:
            return self._presentation.attributes(removed)
        is_open = file is not None or self.directories.has_open(inode)
        # Upon ESTALE the kernel looks all names of a path up again. Of something that is open it
        # may have asked for fstat(2), which has no path and must not fail.
        if not is_open and self._recent.take_renamed(inode):
            raise Stale(f"inode {inode} has another name")
        try:
            return self._known.shown(await self._recent.get(inode))
        except NotFound:
            file = self._files.find(inode)
            if file is not None:
                self._files.unlinked(inode, elsewhere=True)
                return self._presentation.attributes(file.shown)
            last = await self._recent.fleeting.gone(inode)
            if last is None:
                raise
            return self._presentation.attributes(last.node)

    async def read_link(self, inode: Inode) -> str:
        """Target of a symbolic link."""
        node = await self._known.node(inode)
        if node.kind is not Kind.SYMLINK:
            raise InvalidArgument(f"inode {inode} is no symbolic link")
        return node.target

    async def space(self) -> Space:
        """Figures of the server's disk."""
        now = time.monotonic()
        if self._space is None or now - self._space[0] > _SPACE_SECONDS:
            self._space = now, await self._workers.foreground(self._lake.statistics.space)
        return self._space[1]

    # --- making --------------------------------------------------------------------------------

    async def make(
        self, parent: Inode, name: str, kind: Kind, mode: int, caller: Caller, target: str = ""
    ) -> Attributes:
        """Make a directory, a symbolic link, a FIFO, a socket or an empty file."""
        return self._known.entry(await self._make(parent, name, kind, mode, caller, target))

    async def create(
        self,
        parent: Inode,
        name: str,
        mode: int,
        caller: Caller,
        *,
        exclusive: bool,
        writable: bool,
        append: bool,
        truncate: bool,
        mappable: bool,
    ) -> tuple[Opened, Attributes]:
        """Make a file and open it; one that another machine made meanwhile is opened instead."""
        try:
            node = await self._make(parent, name, Kind.FILE, mode, caller)
        except AlreadyExists:
            if exclusive:
                raise
            node = await self._known.find(parent, name)
            self._known.entry(node)
            opened = await self._files.open(
                node.inode,
                caller,
                writable=writable,
                append=append,
                truncate=truncate,
                mappable=mappable,
            )
            return opened, await self.attributes(node.inode)
        opened = self._files.opened_new(
            node, caller, writable=writable, append=append, mappable=mappable
        )
        return opened, self._known.entry(node)

    async def link(self, inode: Inode, parent: Inode, name: str) -> Attributes:
        """Give a file one more name in the same version."""
        folder = await self._recent.directory(parent)
        added = Name(parent, name)

        async def attempt() -> Node:
            self._recent.forget(inode)  # what is compared with the lake must come from it
            node = await self._known.node(inode)
            if node.kind is Kind.DIRECTORY or level_of(node) is not Level.INSIDE:
                raise NotPermitted("only files inside a version can have hard links")
            check_new(folder, name, node.kind)
            if folder.version != node.version:
                raise CrossVersion("hard links stay inside one version")
            await self._recent.check_writable(node.version)
            if len(node.names) >= MAX_LINKS:
                raise TooManyLinks(f"a file has at most {MAX_LINKS} names")
            if added in node.names:
                raise AlreadyExists(name)
            return await self._workers.foreground(self._lake.commits.add_link, node, added)

        node = self._known.note_change(await self._known.retry(attempt))
        await self._known.touch(folder)
        return self._known.entry(node)

    # --- removing and renaming -----------------------------------------------------------------

    async def unlink(self, parent: Inode, name: str) -> None:
        """Remove a name of anything but a directory."""
        folder = await self._recent.directory(parent)
        check_removal(folder)

        async def attempt() -> None:
            node = await self._known.removable(folder, name)
            if node.kind is Kind.DIRECTORY:
                raise IsADirectory(name)
            left = await self._workers.foreground(
                self._lake.commits.unlink, node, Name(parent, name)
            )
            if left is None:
                self._known.note_removal(node)
            else:
                self._known.note_change(left)

        await self._known.retry(attempt)
        await self._known.touch(folder)

    async def remove_directory(self, parent: Inode, name: str) -> None:
        """Remove an empty directory."""
        folder = await self._recent.directory(parent)
        check_removal(folder)

        async def attempt() -> None:
            node = await self._known.removable(folder, name)
            if node.kind is not Kind.DIRECTORY:
                raise NotADirectory(name)
            if level_of(node) is Level.FIXED:
                raise NotPermitted("the root of a lake is fixed")
            if level_of(node) is Level.VERSION:
                await self._recent.check_writable(node.inode)
            await self._workers.foreground(self._lake.tree.remove_directory, node)
            self._known.note_removal(self._recent.shown(node))
            await self._recent.settle(node.inode)

        await self._known.retry(attempt)
        await self._known.touch(folder)

    # --- changing attributes -------------------------------------------------------------------

    async def change(
        self, inode: Inode, change: Change, caller: Caller, handle: int | None
    ) -> Attributes:
        """Set mode, owner, times and size, as far as `change` asks."""
        node = await self._known.changeable(inode)
        if change.size is not None:
            if node.kind is not Kind.FILE:
                raise InvalidArgument("only files have a size to set")
            node = await self._files.truncate(inode, handle, change.size, caller.uid)
        fields = changed_fields(node, change, self._presentation.mode(node))
        file = self._files.find(inode)
        if fields and file is not None and file.unlinked:
            file.node = with_fields(file.node, fields, time.time_ns())
            if change.mtime_ns is not None:
                self._files.set_mtime(inode, change.mtime_ns)
        elif fields and self.removed.get(inode) is not None:
            node = self.removed.change(inode, {**fields, "ctime_ns": time.time_ns()})
        elif fields:
            fields["ctime_ns"] = time.time_ns()
            if change.mtime_ns is not None:
                await self._recent.settle(inode)
            changed = await self._workers.foreground(self._lake.tree.update, inode, fields)
            node = self._known.note_change(changed)
            if change.mtime_ns is not None:
                self._files.set_mtime(inode, change.mtime_ns)
        file = self._files.find(inode)
        if file is not None and (file.dirty or file.unlinked):
            node = file.shown
        return self._known.shown(node)

    async def drop_set_id(self, inode: Inode, caller: Caller) -> bool:
        """Take set-ID bits from a file that `caller` truncates; whether there were any to take."""
        if caller.uid == 0:
            return False
        try:
            mode = self._presentation.mode(await self._known.node(inode))
        except NotFound:
            return False  # its open will tell
        left = without_set_id(mode)
        if left == mode:
            return False
        await self.change(inode, Change(mode=left), caller, None)
        return True

    # --- inner parts ---------------------------------------------------------------------------

    async def _look_up(self, name: Name) -> Node:
        """The node of a name, for the kernel, which believes it for a moment anyway.

        While a folder is read in order, the next names come with it.
        """
        known = self._recent.named(name)
        if known is not None:
            return known
        names = self._folders.following(name)
        if len(names) == 1:
            return await self._known.find(name.parent, name.name)
        began = time.monotonic()
        found = await self._workers.foreground(self._lake.tree.find_many, name.parent, names)
        self._recent.remember_named(found, began)
        if name not in found:
            raise NotFound(name.name)
        return self._recent.newest(found[name], began)

    async def _look_up_fleeting(self, name: Name) -> Attributes:
        """A name that the kernel must not believe in: what it leads to right now.

        A replaced content is nowhere for a moment, on its way to the trash: so it is looked at now.
        """
        node = await self._known.find(name.parent, name.name)
        content = self._recent.fleeting.content(node)
        if content is None and node.content is not None:
            with contextlib.suppress(Damaged):  # replaced meanwhile: its open will tell
                content = await self._workers.foreground(self._lake.contents.get, node.content)
        return self._known.entry(node, content)

    async def _make(
        self,
        parent: Inode,
        name: str,
        kind: Kind,
        mode: int,
        caller: Caller,
        target: str = "",
    ) -> Node:
        folder = await self._recent.directory(parent)
        level = check_new(folder, name, kind)
        await self._recent.check_writable(folder.version)
        if level is Level.TAG:
            check_target(target)
            version = await self._known.find(parent, target)
            if level_of(version) is not Level.VERSION:
                raise InvalidArgument(f"{target!r} is no version")
        inode = await self._inodes.next()
        node = new_node(
            inode,
            Name(parent, name),
            kind,
            mode,
            caller,
            folder,
            level,
            target,
            time.time_ns(),
            person(caller),
        )
        try:
            await self._workers.foreground(self._lake.commits.create, node)
        except NotFound:
            self._recent.forget(parent)
            raise
        await self._known.touch(folder)
        return self._recent.remember(node)
