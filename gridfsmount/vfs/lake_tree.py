"""The live lake as a file system: names, attributes and directories.

Every method is one request of the kernel. Rules are checked first, then the store changes, then
what the mount remembers. A change that met another machine's is tried again from the start.
"""

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, TypeVar

from gridfsmount.core.model import (
    LATEST_FLAG,
    ROOT,
    SNAPSHOTS,
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
    Conflict,
    CrossVersion,
    FileSystemError,
    InvalidArgument,
    IsADirectory,
    NeverFound,
    NoAttribute,
    NotADirectory,
    NotFound,
    NotPermitted,
    ReadOnly,
    Stale,
    TooManyLinks,
)
from gridfsmount.reading.folders import FolderAhead
from gridfsmount.store.commits import MAX_LINKS
from gridfsmount.store.lake import Lake
from gridfsmount.vfs.directories import Directories
from gridfsmount.vfs.files import Files
from gridfsmount.vfs.inodes import InodeNumbers
from gridfsmount.vfs.nodes import changed_fields, new_node, with_fields, without_set_id
from gridfsmount.vfs.open_files import Opened
from gridfsmount.vfs.presentation import Presentation
from gridfsmount.vfs.recent import RecentNodes
from gridfsmount.vfs.removed import RemovedNodes
from gridfsmount.vfs.rules import (
    Level,
    check_exchange,
    check_new,
    check_removal,
    check_rename,
    check_target,
    level_of,
)
from gridfsmount.vfs.version_attributes import can_be_set, person, set_on, told_of
from gridfsmount.vfs.xattrs import described, with_attribute
from gridfsmount.workers import Workers

log = logging.getLogger(__name__)

T = TypeVar("T")

_TRIES: Final = 10
"""A change that meets others' that often meets a fault, not a coincidence."""

_SPACE_SECONDS: Final = 2.0
"""How long the figures of statfs are good for: the server walks its catalogue for them."""


class LakeTree:
    """Operations on the tree of one lake."""

    def __init__(
        self,
        lake: Lake,
        workers: Workers,
        files: Files,
        folders: FolderAhead,
        recent: RecentNodes,
        presentation: Presentation,
    ) -> None:
        """Serve `lake` through `files`."""
        self.removed = RemovedNodes()
        self.directories = Directories(
            lake.tree, workers, recent, folders, self.removed, self._listed
        )
        self._lake = lake
        self._workers = workers
        self._files = files
        self._folders = folders
        self._recent = recent
        self._presentation = presentation
        self._inodes = InodeNumbers(lake.tree, workers)
        self._space: tuple[float, Space] | None = None

    # --- looking -------------------------------------------------------------------------------

    async def lookup(self, parent: Inode, name: str) -> Attributes:
        """Attributes of the name `name` in a directory; `.` and `..` work as well.

        Raises:
            NotFound: there is none.
            NeverFound: nor will there be.
        """
        if name == ".":
            return await self.attributes(parent)
        if name == "..":
            folder = await self._recent.directory(parent)
            return await self.attributes(folder.parent if parent != ROOT else ROOT)
        if name == LATEST:
            folder = await self._recent.directory(parent)
            if level_of(folder) is Level.FOLDER:
                return self._shown(await self.directories.latest(folder))
        began = time.monotonic()
        try:
            return self._shown(await self._look_up(Name(parent, name)))
        except NotFound as error:
            known = self._recent.settled(parent) or self._recent.peek(parent)
            if known is not None and self._recent.is_sealed(known.version, began):
                raise NeverFound(str(error)) from error
            raise

    async def attributes(self, inode: Inode) -> Attributes:
        """Attributes of an inode.

        Raises:
            NotFound: it is gone.
        """
        if inode & LATEST_FLAG:
            return self._shown(await self._node(inode))
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
            return self._shown(await self._recent.get(inode))
        except NotFound:
            file = self._files.find(inode)
            if file is None:
                raise
            self._files.unlinked(inode, elsewhere=True)
            return self._presentation.attributes(file.shown)

    async def read_link(self, inode: Inode) -> str:
        """Target of a symbolic link."""
        node = await self._node(inode)
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
        return self._shown(await self._make(parent, name, kind, mode, caller, target))

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
    ) -> tuple[Opened, Attributes]:
        """Make a file and open it; one that another machine made meanwhile is opened instead."""
        try:
            node = await self._make(parent, name, Kind.FILE, mode, caller)
        except AlreadyExists:
            if exclusive:
                raise
            node = await self._find(parent, name)
            opened = await self._files.open(
                node.inode, caller, writable=writable, append=append, truncate=truncate
            )
            return opened, await self.attributes(node.inode)
        opened = self._files.opened_new(node, caller, writable=writable, append=append)
        return opened, self._shown(node)

    async def link(self, inode: Inode, parent: Inode, name: str) -> Attributes:
        """Give a file one more name in the same version."""
        folder = await self._recent.directory(parent)
        added = Name(parent, name)

        async def attempt() -> Node:
            self._recent.forget(inode)  # what is compared with the lake must come from it
            node = await self._node(inode)
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

        node = await self._retry(attempt)
        self._note_change(node)
        await self._touch(folder)
        return self._shown(node)

    # --- removing and renaming -----------------------------------------------------------------

    async def unlink(self, parent: Inode, name: str) -> None:
        """Remove a name of anything but a directory."""
        folder = await self._recent.directory(parent)
        check_removal(folder)

        async def attempt() -> None:
            node = await self._removable(folder, name)
            if node.kind is Kind.DIRECTORY:
                raise IsADirectory(name)
            left = await self._workers.foreground(
                self._lake.commits.unlink, node, Name(parent, name)
            )
            if left is None:
                self._note_removal(node)
            else:
                self._note_change(left)

        await self._retry(attempt)
        await self._touch(folder)

    async def remove_directory(self, parent: Inode, name: str) -> None:
        """Remove an empty directory."""
        folder = await self._recent.directory(parent)
        check_removal(folder)

        async def attempt() -> None:
            node = await self._removable(folder, name)
            if node.kind is not Kind.DIRECTORY:
                raise NotADirectory(name)
            if level_of(node) is Level.FIXED:
                raise NotPermitted("the root of a lake is fixed")
            if level_of(node) is Level.VERSION:
                await self._recent.check_writable(node.inode)
            await self._workers.foreground(self._lake.tree.remove_directory, node)
            self._note_removal(self._recent.shown(node))
            await self._recent.settle(node.inode)

        await self._retry(attempt)
        await self._touch(folder)

    async def rename(
        self,
        parent: Inode,
        name: str,
        new_parent: Inode,
        new_name: str,
        *,
        replace_existing: bool = True,
        exchange: bool = False,
    ) -> None:
        """Rename atomically, as renameat2(2) does.

        Raises:
            AlreadyExists: the new name is taken, and must not be replaced.
            CrossVersion: only a copy can get there.
        """
        old_folder = await self._recent.directory(parent)
        new_folder = await self._recent.directory(new_parent)
        check_removal(old_folder)
        old, new = Name(parent, name), Name(new_parent, new_name)

        async def attempt() -> None:
            node = await self._removable(old_folder, name)
            target = await self._workers.foreground(self._lake.tree.find, new_parent, new_name)
            if exchange:
                if target is None:
                    raise NotFound(new_name)
                await self._exchange(node, old, target, new)
                return
            if target is not None and not replace_existing:
                raise AlreadyExists(new_name)
            if target is not None and target.inode == node.inode:
                return
            version = await self._check_move(node, new_folder, new_name, target)
            try:
                renamed = await self._workers.foreground(
                    self._lake.commits.rename, node, old, new, target, version
                )
            except AlreadyExists as error:
                if replace_existing:
                    raise Conflict(str(error)) from error  # made meanwhile: replace that
                raise
            self._note_rename(renamed, target, new)

        await self._retry(attempt)
        await self._touch(old_folder, new_folder)

    # --- changing attributes -------------------------------------------------------------------

    async def change(
        self, inode: Inode, change: Change, caller: Caller, handle: int | None
    ) -> Attributes:
        """Set mode, owner, times and size, as far as `change` asks."""
        node = await self._changeable(inode)
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
            self._note_change(changed)
            if change.mtime_ns is not None:
                self._files.set_mtime(inode, change.mtime_ns)
            node = changed
        file = self._files.find(inode)
        if file is not None and (file.dirty or file.unlinked):
            node = file.shown
        return self._shown(node)

    async def drop_set_id(self, inode: Inode, caller: Caller) -> bool:
        """Take set-ID bits from a file that `caller` truncates; whether there were any to take."""
        mode = self._presentation.mode(await self._node(inode))
        left = without_set_id(mode)
        if caller.uid == 0 or left == mode:
            return False
        await self.change(inode, Change(mode=left), caller, None)
        return True

    async def get_attribute(self, inode: Inode, name: str) -> bytes:
        """Value of an extended attribute.

        Raises:
            NoAttribute: it has none of that name.
        """
        node = await self._node(inode)
        value = node.xattrs.get(name)
        if value is None:
            value = told_of(node, name)
        if value is None and node.content is not None and name.startswith("user.lake."):
            content = await self._workers.foreground(self._lake.contents.get, node.content)
            value = described(content, name)
        if value is None:
            raise NoAttribute(name)
        return value

    async def attribute_names(self, inode: Inode) -> list[str]:
        """Names of the extended attributes that were set."""
        return sorted((await self._node(inode)).xattrs)

    async def set_attribute(self, inode: Inode, name: str, value: bytes, caller: Caller) -> None:
        """Set an extended attribute, or do what setting it means."""
        node = await self._node(inode)
        if can_be_set(node, name):
            # Sealing may take as long as its files' bytes take to be read.
            self._recent.forget(inode)
            self._note_change(
                await self._workers.wait(set_on, self._lake, node, name, value, caller)
            )
            return

        def changed(node: Node) -> dict[str, bytes]:
            if node.kind not in (Kind.FILE, Kind.DIRECTORY):
                raise NotPermitted("only files and directories have user.* attributes")
            return with_attribute(node.xattrs, name, value)

        await self._change_attributes(inode, changed)

    async def remove_attribute(self, inode: Inode, name: str) -> None:
        """Remove an extended attribute."""

        def changed(node: Node) -> dict[str, bytes]:
            if name not in node.xattrs:
                raise NoAttribute(name)
            return {key: value for key, value in node.xattrs.items() if key != name}

        await self._change_attributes(inode, changed)

    # --- inner parts ---------------------------------------------------------------------------

    def _shown(self, node: Node) -> Attributes:
        if self._recent.settled(node.inode) is node:
            return self._presentation.attributes(node, settled=True)
        file = self._files.find(node.inode)
        if file is not None and file.dirty:
            node = file.shown
        return self._presentation.attributes(self._recent.shown(node))

    def _listed(self, node: Node) -> Attributes:
        """A node of a page that was read a moment ago: it may have changed here since."""
        known = self._recent.peek(node.inode)
        return self._shown(known if known is not None and known.rev > node.rev else node)

    async def _look_up(self, name: Name) -> Node:
        """The node of a name, for the kernel, which believes it for a moment anyway.

        While a folder is read in order, the next names come with it.
        """
        known = self._recent.named(name)
        if known is not None:
            return known
        names = self._folders.following(name)
        if len(names) == 1:
            return await self._find(name.parent, name.name)
        began = time.monotonic()
        found = await self._workers.foreground(self._lake.tree.find_many, name.parent, names)
        self._recent.remember_named(found, began)
        if name not in found:
            raise NotFound(name.name)
        return found[name]

    async def _find(self, parent: Inode, name: str) -> Node:
        began = time.monotonic()
        node = await self._workers.foreground(self._lake.tree.find, parent, name)
        if node is None:
            raise NotFound(name)
        return self._recent.remember(node, began)

    async def _node(self, inode: Inode) -> Node:
        if inode & LATEST_FLAG:
            folder = await self._recent.directory(Inode(inode & ~LATEST_FLAG))
            return await self.directories.latest(folder)
        file = self._files.find(inode)
        if file is not None and file.unlinked:
            return file.node
        return self.removed.get(inode) or await self._recent.get(inode)

    async def _changeable(self, inode: Inode) -> Node:
        if inode & LATEST_FLAG:
            raise NotPermitted("'latest' is kept by the lake")
        if inode == SNAPSHOTS:
            raise ReadOnly("snapshots cannot be changed")
        node = await self._node(inode)
        if self.removed.get(inode) is None:  # else its version may be gone with it
            await self._recent.check_writable(node.version)
        return node

    async def _removable(self, folder: Node, name: str) -> Node:
        if name == LATEST and level_of(folder) is Level.FOLDER:
            await self.directories.latest(folder)  # gone with the last version, as rm -rf expects
            raise NotPermitted("'latest' is kept by the lake")
        node = await self._find(folder.inode, name)
        if level_of(node) is not Level.VERSION:
            await self._recent.check_writable(folder.version)
        return node

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
            version = await self._find(parent, target)
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
        await self._touch(folder)
        return self._recent.remember(node)

    async def _check_move(
        self, node: Node, folder: Node, name: str, target: Node | None
    ) -> Inode | None:
        version = check_rename(node, folder, name)
        await self._recent.check_writable(folder.version)
        if level_of(node) is Level.VERSION:
            await self._recent.check_writable(node.inode)
        if target is not None:
            if node.kind is Kind.DIRECTORY and target.kind is not Kind.DIRECTORY:
                raise NotADirectory(name)
            if node.kind is not Kind.DIRECTORY and target.kind is Kind.DIRECTORY:
                raise IsADirectory(name)
            if level_of(target) is Level.VERSION:
                await self._recent.check_writable(target.inode)
        if node.kind is Kind.DIRECTORY and node.parent != folder.inode:
            above = await self._workers.foreground(self._lake.tree.ancestors, folder.inode)
            if node.inode == folder.inode or node.inode in above:
                raise InvalidArgument("a directory cannot move into itself")
        # A version and a folder keep the version they have; a new home gives one only inside.
        return version if level_of(node) in (Level.INSIDE, Level.UNSORTED) else None

    async def _exchange(self, node: Node, old: Name, target: Node, new: Name) -> None:
        if node.inode == target.inode:
            return
        check_exchange(node, target)
        await self._recent.check_writable(node.version)
        for each, goal in ((node, new), (target, old)):
            if each.kind is Kind.DIRECTORY and each.parent != goal.parent:
                above = await self._workers.foreground(self._lake.tree.ancestors, goal.parent)
                if each.inode == goal.parent or each.inode in above:
                    raise InvalidArgument("a directory cannot move into itself")
        await self._workers.foreground(self._lake.commits.exchange, node, old, target, new)
        self._recent.forget(node.inode, target.inode)
        self._recent.moved()

    def _note_change(self, node: Node) -> None:
        self._recent.remember(node)
        self._files.changed(node)

    def _note_rename(self, renamed: Node, target: Node | None, new: Name) -> None:
        self._note_change(renamed)
        if renamed.kind is Kind.DIRECTORY:
            self._recent.moved()
        if target is None:
            return
        rest = tuple(each for each in target.names if each != new)
        if rest:
            self._recent.forget(target.inode)
            self._files.changed(replace(target, names=rest, ctime_ns=renamed.ctime_ns))
        else:
            self._note_removal(self._recent.shown(target))

    def _note_removal(self, node: Node) -> None:
        self._recent.forget(node.inode)
        self._files.unlinked(node.inode)
        self.removed.note(node)

    async def _touch(self, *folders: Node) -> None:
        """The folders' entries changed now."""
        now = time.time_ns()
        inodes = [folder.inode for folder in folders]
        self._recent.touch(*inodes)
        self.directories.changed(inodes)
        for folder in folders:
            # What is pending only brings times forward: one that was set ahead goes back at once.
            if folder.mtime_ns > now:
                with contextlib.suppress(FileSystemError):  # what was asked for is done
                    times = {"mtime_ns": now, "ctime_ns": now}
                    back = await self._workers.foreground(
                        self._lake.tree.update, folder.inode, times
                    )
                    self._recent.remember(back)

    async def _change_attributes(
        self, inode: Inode, changed: Callable[[Node], dict[str, bytes]]
    ) -> None:
        async def attempt() -> None:
            self._recent.forget(inode)  # all are written anew: another mount's must be among them
            node = await self._changeable(inode)
            xattrs = changed(node)
            file = self._files.find(inode)
            if file is not None and file.unlinked:
                file.node = replace(file.node, xattrs=xattrs)
                return
            if self.removed.get(inode) is not None:
                self.removed.change(inode, {"xattrs": xattrs, "ctime_ns": time.time_ns()})
                return
            self._note_change(
                await self._workers.foreground(self._lake.tree.set_xattrs, node, xattrs)
            )

        await self._retry(attempt)

    async def _retry(self, attempt: Callable[[], Awaitable[T]]) -> T:
        for _ in range(_TRIES - 1):
            try:
                return await attempt()
            except Conflict as error:
                log.debug("once more: %s", error)
        return await attempt()
