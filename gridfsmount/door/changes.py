"""Folders made, names removed, moved and copied; no bytes are.

The rules are those of a mount (`gridfsmount.vfs.rules`). A change that met another's is tried again
from the start.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from gridfsmount.core.model import SHELVES, Content, Inode, Kind, Name, Node
from gridfsmount.core.names import LATEST
from gridfsmount.door.paths import Paths, Place
from gridfsmount.door.publishing import FILE_MODE, TRIES, Publisher
from gridfsmount.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    IsADirectory,
    NotADirectory,
    NotFound,
    NotPermitted,
)
from gridfsmount.places import LakePath
from gridfsmount.store.lake import Lake
from gridfsmount.vfs.rules import Level, check_removal, check_rename, check_replaced, level_of

T = TypeVar("T")

_MOVES_VERSION: Final = (Level.INSIDE, Level.UNSORTED)


class Changes:
    """Changes the names of one lake; safe to share between threads."""

    def __init__(self, lake: Lake, paths: Paths, publisher: Publisher) -> None:
        """Change `lake`, as `publisher` does."""
        self._lake = lake
        self._paths = paths
        self._publisher = publisher

    def make_folder(self, path: LakePath, *, parents: bool, exist_ok: bool) -> None:
        """Make a folder, and if `parents` those above it.

        Raises:
            AlreadyExists: it is there, unless `exist_ok`.
            NotFound: what is above it is missing.
            NotADirectory: something else is in its place.
        """
        self._publisher.check_writable()
        place, node = self._paths.target(path)
        if node is not None:
            if node.kind is not Kind.DIRECTORY and exist_ok:
                raise NotADirectory(f"{path} is no folder")
            if exist_ok:
                return
            raise AlreadyExists(f"{path} is there already")
        assert place is not None
        if place.missing and not parents:
            raise NotFound(f"the folder that {path} would be in is not there")
        self._publisher.check_place(place, Kind.DIRECTORY)
        self._publisher.check_version(place.folder.version, path)
        self._publisher.make_folder(self._publisher.folder_of(place), place.name)

    def remove(self, path: LakePath, *, folder: bool | None = None) -> None:
        """Remove a name: that of a file or a link, or of an empty folder.

        `folder` says which it must be; None for either.

        Raises:
            IsADirectory, NotADirectory: it is the other.
            DirectoryNotEmpty: there is something in it.
            NotPermitted, ReadOnly: it cannot be removed.
        """
        self._publisher.check_writable()

        def attempt() -> Place:
            place, node = self._named(path)
            if folder is False and node.kind is Kind.DIRECTORY:
                raise IsADirectory(f"{path} is a folder")
            if folder is True and node.kind is not Kind.DIRECTORY:
                raise NotADirectory(f"{path} is no folder")
            if node.kind is Kind.DIRECTORY:
                self._lake.tree.remove_directory(node)
            else:
                self._lake.commits.unlink(node, Name(place.folder.inode, place.name))
            if node.kind is not Kind.FILE:  # a folder, or a link that leads to one
                self._paths.forget(place.path)
            return place

        place = self._retry(attempt)
        self._publisher.touch(place.folder)

    def rename(self, old: LakePath, new: LakePath) -> None:
        """Give something another name, atomically; what has that name is replaced.

        Raises:
            CrossVersion: only a copy can get there.
            IsADirectory, NotADirectory, DirectoryNotEmpty: what has that name cannot be replaced.
            NotPermitted, ReadOnly: not at all.
        """
        self._publisher.check_writable()

        def attempt() -> tuple[Node, Node]:
            place, node = self._named(old)
            goal = self._paths.place(new)
            folder = self._publisher.folder_of(goal)
            target = self._paths.child(folder, goal.name)
            if target is not None and target.inode == node.inode:
                return place.folder, folder
            version = self._check_move(node, folder, goal.name, target)
            names = Name(place.folder.inode, place.name), Name(folder.inode, goal.name)
            try:
                self._lake.commits.rename(node, *names, target, version)
            except AlreadyExists as error:
                raise Conflict(str(error)) from error  # made meanwhile: replace that
            if node.kind is not Kind.FILE:  # a folder, or a link that leads to one
                self._paths.forget(place.path)
                self._paths.forget(goal.path)
            return place.folder, folder

        self._publisher.touch(*self._retry(attempt))

    def copy(self, old: LakePath, new: LakePath) -> None:
        """Make a second file that shows the content of the first.

        Raises:
            IsADirectory: one of them is a folder.
            NotPermitted, ReadOnly, InvalidArgument: nothing can be there.
        """

        def attempt() -> None:
            opening = self._paths.open(old, whole=False)
            node, content = opening.node, opening.content
            if node.kind is not Kind.FILE:
                raise IsADirectory(f"{old} is no file")
            place, target = self._publisher.check_file(new, exclusive=False)
            if target is not None and target.inode == node.inode:
                raise InvalidArgument(f"{old} and {new} are the same file")
            if node.content is not None and content is None:
                content = self._lake.contents.get(node.content)  # which says what is wrong
            if content is None:
                self._publisher.publish(place.path, b"")
            elif target is None:
                self._share(node, content, place)
            else:
                self._lake.commits.share(target, content, time.time_ns())

        self._retry(attempt)

    def set_mtime(self, path: LakePath, mtime_ns: int) -> None:
        """Set the time of the last change of a file or folder."""
        self._publisher.check_writable()
        node = self._paths.look(path)
        self._publisher.check_version(node.version, path)
        times = {"mtime_ns": mtime_ns, "ctime_ns": time.time_ns()}
        self._lake.tree.update(node.inode, times)

    def _share(self, node: Node, content: Content, place: Place) -> None:
        folder = self._publisher.folder_of(place)
        mode = FILE_MODE if node.mode is None else node.mode & 0o777
        copy = self._publisher.new_file(folder, place.name, mode)
        try:
            self._lake.commits.create(replace(copy, content=content.id, size=content.length))
        except (AlreadyExists, NotFound) as error:
            raise Conflict(str(error)) from error
        self._publisher.touch(folder)

    def _named(self, path: LakePath) -> tuple[Place, Node]:
        """What a name leads to, links not followed, if it may lose that name."""
        place = self._paths.place(path)
        check_removal(place.folder)
        if place.name == LATEST and place.folder.parent in SHELVES:
            raise NotPermitted("'latest' is kept by the lake")
        node = None if place.missing else self._lake.tree.find(place.folder.inode, place.name)
        if node is None:
            raise NotFound(f"there is no {path} in the lake")
        if level_of(node) is Level.FIXED:
            raise NotPermitted("the root of a lake is fixed")
        version = node.inode if level_of(node) is Level.VERSION else place.folder.version
        self._publisher.check_version(version, path)
        return place, node

    def _check_move(self, node: Node, folder: Node, name: str, target: Node | None) -> Inode | None:
        """The version that something lies in from then on, if that changes."""
        version = check_rename(node, folder, name)
        self._publisher.check_version(folder.version, LakePath((name,)))
        if target is not None:
            check_replaced(node, target, name)
            if level_of(target) is Level.VERSION:
                self._publisher.check_version(target.inode, LakePath((name,)))
        if node.kind is Kind.DIRECTORY and node.parent != folder.inode:
            above = self._lake.tree.ancestors(folder.inode)
            if node.inode == folder.inode or node.inode in above:
                raise InvalidArgument("a folder cannot move into itself")
        # A version and a folder of versions keep the version they have.
        return version if level_of(node) in _MOVES_VERSION else None

    def _retry(self, attempt: Callable[[], T]) -> T:
        for _ in range(TRIES - 1):
            try:
                return attempt()
            except Conflict:
                self._paths.forget()
        return attempt()
