"""Renaming and exchanging of names, as renameat2(2) does it, within the rules of the tree."""

from dataclasses import replace

from gridfsmount.core.model import Inode, Kind, Name, Node
from gridfsmount.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    NotFound,
)
from gridfsmount.vfs.known_tree import KnownTree
from gridfsmount.vfs.rules import (
    Level,
    check_exchange,
    check_removal,
    check_rename,
    check_replaced,
    level_of,
)


class Renaming:
    """Renames in the tree of one lake."""

    def __init__(self, known: KnownTree) -> None:
        """Work on `known`."""
        self._known = known
        self._lake = known.lake
        self._workers = known.workers
        self._files = known.files
        self._recent = known.recent

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
            node = await self._known.removable(old_folder, name)
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
            with self._recent.fleeting.removing(target):
                try:
                    renamed = await self._workers.foreground(
                        self._lake.commits.rename, node, old, new, target, version
                    )
                except AlreadyExists as error:
                    if replace_existing:
                        raise Conflict(str(error)) from error  # made meanwhile: replace that
                    raise
                self._note_rename(renamed, old, target, new)

        await self._known.retry(attempt)
        await self._known.touch(old_folder, new_folder)

    async def _check_move(
        self, node: Node, folder: Node, name: str, target: Node | None
    ) -> Inode | None:
        version = check_rename(node, folder, name)
        await self._recent.check_writable(folder.version)
        if level_of(node) is Level.VERSION:
            await self._recent.check_writable(node.inode)
        if target is not None:
            check_replaced(node, target, name)
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

    def _note_rename(self, renamed: Node, old: Name, target: Node | None, new: Name) -> None:
        self._known.note_change(renamed)
        self._recent.fleeting.renamed(renamed.inode, old, new)
        if renamed.kind is Kind.DIRECTORY:
            self._recent.moved()
        if target is None:
            return
        rest = tuple(each for each in target.names if each != new)
        if rest:
            self._recent.forget(target.inode)
            self._files.changed(replace(target, names=rest, ctime_ns=renamed.ctime_ns))
        else:
            self._known.note_removal(self._recent.shown(target))
