"""Files that appear whole: new ones, and new bytes for those that are there.

What is small is sent with its names, in one transaction where there are any; what is large was
uploaded under a lease before. Others may make, replace or remove the same names meanwhile: then it
is looked at anew.
"""

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from gridfsmount.core.model import UNSORTED, Caller, Content, Inode, Kind, Name, Node
from gridfsmount.door.paths import Paths, Place
from gridfsmount.errors import (
    AccessDenied,
    AlreadyExists,
    Conflict,
    FileSystemError,
    InvalidArgument,
    IsADirectory,
    NotADirectory,
)
from gridfsmount.places import VERSION_DEPTH, LakePath, check_new, check_open
from gridfsmount.store.bulk import NewFile
from gridfsmount.store.lake import Lake
from gridfsmount.transfer.uploading import INSERT_BYTES, whole_content
from gridfsmount.vfs import rules
from gridfsmount.vfs.nodes import new_node
from gridfsmount.who import who

TRIES: Final = 10
"""A change that meets others' that often meets a fault, not a coincidence."""

BATCH_FILES: Final = 1000
"""Of one transaction, which has `INSERT_BYTES` at most."""

FILE_MODE: Final = 0o644

FOLDER_MODE: Final = 0o755

RESERVED: Final = 64
"""Inode numbers that are reserved together: waiting for the majority each time takes longer than
all else. What is left of them when the process ends is never used."""


class Publisher:
    """Makes files and folders in one lake; safe to share between threads."""

    def __init__(self, lake: Lake, paths: Paths, chunk_size: int) -> None:
        """Cut small files into chunks of `chunk_size` bytes."""
        self._lake = lake
        self._paths = paths
        self._chunk_size = chunk_size
        self._lock = threading.Lock()
        self._numbers: Iterator[int] = iter(())

    def check_writable(self) -> None:
        """Refuse what the database would refuse.

        Raises:
            AccessDenied: this user may not write.
        """
        if not self._lake.connection.deployment.writable:
            raise AccessDenied(
                f"{self._lake.connection.deployment}: this user may not write there; "
                "the role readWrite may"
            )

    def check_version(self, version: Inode | None, path: LakePath) -> None:
        """Refuse to change what is sealed.

        Raises:
            ReadOnly: it is.
        """
        if version is not None:
            check_open(self._lake, version, path)

    def check_file(self, path: LakePath, *, exclusive: bool) -> tuple[Place, Node | None]:
        """Where a file is about to be written, and what is there.

        Raises:
            NotPermitted, ReadOnly, InvalidArgument: nothing can be written there.
            AlreadyExists: there is a file, and `exclusive`.
            IsADirectory: there is a folder.
        """
        self.check_writable()
        place, node = self._paths.target(path)
        if place is None or (node is not None and node.kind is Kind.DIRECTORY):
            raise IsADirectory(f"{path} is a folder")
        if node is not None and exclusive:
            raise AlreadyExists(f"{path} is there already")
        if node is not None and node.kind is not Kind.FILE:
            raise InvalidArgument(f"{path} is no file")
        if node is None:
            self.check_place(place, Kind.FILE)
        self.check_version(place.folder.version, path)
        return place, node

    def check_place(self, place: Place, kind: Kind) -> None:
        """Refuse something new where the rules of the tree have no place for it.

        Raises:
            NotPermitted, ReadOnly, InvalidArgument: nothing of that kind can be there.
        """
        if place.missing and len(place.path.parts) >= VERSION_DEPTH:
            check_new(place.path, kind)
        else:
            rules.check_new(place.folder, place.name, kind)

    def folder_of(self, place: Place) -> Node:
        """The folder of a place, made with all above it as far as they are missing.

        Raises:
            NotADirectory: something else is in its place.
        """
        folder = place.folder
        for name in place.missing:
            folder = self.make_folder(folder, name)
        return folder

    def make_folder(self, parent: Node, name: str) -> Node:
        """A folder in another, made unless somebody else did meanwhile.

        Raises:
            NotADirectory: something else was made.
            NotPermitted, ReadOnly, InvalidArgument: there can be none.
        """
        level = rules.check_new(parent, name, Kind.DIRECTORY)
        made = self._node(parent, name, Kind.DIRECTORY, FOLDER_MODE, level)
        try:
            self._lake.commits.create(made)
        except AlreadyExists:
            found = self._lake.tree.find(parent.inode, name)
            if found is None:
                raise
            if found.kind is not Kind.DIRECTORY:
                raise NotADirectory(f"{name} is there, and no folder") from None
            return found
        self.touch(parent)
        return made

    def touch(self, *folders: Node) -> None:
        """Their entries changed now."""
        now = time.time_ns()
        with suppress(FileSystemError):  # what was asked for is done
            self._lake.tree.touch({folder.inode: now for folder in folders})

    def new_number(self) -> Inode:
        """A number for something new."""
        with self._lock:
            number = next(self._numbers, None)
            if number is None:
                self._numbers = iter(self._lake.tree.allocate(RESERVED))
                number = next(self._numbers)
            return Inode(number)

    def new_file(self, folder: Node, name: str, mode: int = FILE_MODE) -> Node:
        """An empty file that is about to be made."""
        return self._node(folder, name, Kind.FILE, mode, rules.Level.INSIDE)

    def _node(self, folder: Node, name: str, kind: Kind, mode: int, level: rules.Level) -> Node:
        owner = Caller(os.getuid(), os.getgid())
        place = Name(folder.inode, name)
        now = time.time_ns()
        return new_node(self.new_number(), place, kind, mode, owner, folder, level, "", now, who())

    def publish(self, path: LakePath, body: bytes | Content, *, exclusive: bool = False) -> None:
        """Give the file at `path` these bytes, or make it; an uploaded content keeps its lease.

        Raises:
            AlreadyExists: somebody made it meanwhile, and `exclusive`.
            Damaged: the lease expired.
            FileSystemError: as for `check_file`.
        """
        try:
            for _ in range(TRIES):
                place, node = self.check_file(path, exclusive=exclusive)
                with suppress(Conflict):
                    if node is not None and self._replace(place, node, body):
                        break
                    if node is None and self._create(place, body):
                        break
                self._paths.forget()
            else:
                raise Conflict(f"{path} changes in the lake all the time")
        except BaseException:
            if isinstance(body, Content):  # what arrived is for the sweep to find out
                self._lake.leases.forsake(body.id)
            raise
        finally:
            with suppress(FileSystemError):  # else it expires
                self._lake.leases.release_finished()

    def publish_many(self, files: Mapping[LakePath, bytes]) -> None:
        """The same for many small files: those that are new appear a batch at a time.

        Raises:
            FileSystemError: as for `publish`; what came before may have been published.
        """
        self.check_writable()
        for batch in _batches(files):
            for path in self._create_many(batch):
                self.publish(path, batch[path])

    def _create_many(self, files: Mapping[LakePath, bytes]) -> list[LakePath]:
        """Make those files that are not there, all at once; returns the others."""
        others: list[LakePath] = []
        folders: dict[LakePath, Node] = {}
        named: dict[Name, LakePath] = {}
        for path in files:
            if path.parent not in folders:
                place = self._paths.place(path)
                if not place.missing and place.folder.version in (None, UNSORTED):
                    others.append(path)
                    continue
                self.check_place(place, Kind.FILE)
                self.check_version(place.folder.version, path)
                folders[path.parent] = self.folder_of(place)
            named[Name(folders[path.parent].inode, path.parts[-1])] = path
        new: dict[Inode, tuple[NewFile, LakePath]] = {}
        # Two paths may lead to one folder, by a link.
        for parent, folder in {each.inode: (path, each) for path, each in folders.items()}.values():
            names = [name.name for name in named if name.parent == folder.inode]
            taken = self._lake.tree.find_many(folder.inode, names)
            _, real = self._paths.folder(parent)
            for name in names:
                path = named[Name(folder.inode, name)]
                if Name(folder.inode, name) in taken:
                    others.append(path)
                    continue
                file = self._new(folder, name, str(real.below(name)), files[path])
                new[file.node.inode] = (file, path)
        refused = self._lake.bulk.publish([file for file, _ in new.values()])
        self.touch(*folders.values())
        return [*others, *(new[inode][1] for inode in refused)]

    def _create(self, place: Place, body: bytes | Content) -> bool:
        """Make a file; whether nobody else did meanwhile."""
        folder = self.folder_of(place)
        path = str(place.path)
        if isinstance(body, Content):
            node = self.new_file(folder, place.name)
            node = replace(node, content=body.id, size=body.length)
            try:
                self._lake.bulk.publish_uploaded(NewFile(node, path, body))
            except AlreadyExists:
                return False
        elif self._lake.bulk.publish([self._new(folder, place.name, path, body)]):
            return False
        self.touch(folder)
        return True

    def _new(self, folder: Node, name: str, path: str, data: bytes) -> NewFile:
        node = self.new_file(folder, name)
        if not data:
            return NewFile(node, path)
        content, chunks = self._cut(data)
        node = replace(node, content=content.id, size=content.length)
        return NewFile(node, path, content, tuple(chunks))

    def _replace(self, place: Place, node: Node, body: bytes | Content) -> bool:
        """Give a file new bytes; whether it is still there."""
        path = str(place.path)
        if node.names[0] != Name(place.folder.inode, place.name):
            path = self._lake.tree.path(node.inode) or path  # drivers know it by its first name
        if not body:
            return self._commit(node, path, None, ())
        if isinstance(body, Content):
            return self._commit(node, path, body, ())
        content, chunks = self._cut(body)
        if self._lake.connection.deployment.transactions:
            return self._commit(node, path, content, list(enumerate(chunks)))
        self._lake.leases.take(content.id, node.inode, place.name)
        try:
            self._lake.contents.put_chunks(content.id, list(enumerate(chunks)))
            committed = self._commit(node, path, content, ())
        except BaseException:
            self._lake.leases.forsake(content.id)
            raise
        if not committed:
            self._lake.commits.abandon(content.id)
        return committed

    def _commit(
        self, node: Node, path: str, content: Content | None, pages: Sequence[tuple[int, bytes]]
    ) -> bool:
        """Whether the file was still there."""
        now = time.time_ns()
        return self._lake.commits.commit(node, path, content, pages, now, 0) is not None

    def _cut(self, data: bytes) -> tuple[Content, list[bytes]]:
        return whole_content(self._lake.contents.new_id(), data, self._chunk_size)


def _batches(files: Mapping[LakePath, bytes]) -> Iterator[dict[LakePath, bytes]]:
    batch: dict[LakePath, bytes] = {}
    size = 0
    for path, data in files.items():
        if batch and (len(batch) == BATCH_FILES or size + len(data) > INSERT_BYTES):
            yield batch
            batch, size = {}, 0
        batch[path] = data
        size += len(data)
    if batch:
        yield batch
