"""One local file into a lake, or a batch of them: new, compared, replaced, linked."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from gridfsmount.core.chunks import DEFAULT_CHUNK_SIZE
from gridfsmount.core.model import Content, ContentId, Inode, Kind, Node
from gridfsmount.core.names import decode_target
from gridfsmount.errors import AlreadyExists, Conflict, LakeError, NotFound, Stale
from gridfsmount.places import check_open
from gridfsmount.store.bulk import NewFile
from gridfsmount.store.lake import Lake
from gridfsmount.transfer.folders import Task, adjust
from gridfsmount.transfer.local import (
    Attributes,
    Changed,
    Owners,
    Source,
    applied,
    attributes_of,
    digest_of,
    opened,
    reason,
)
from gridfsmount.transfer.report import Halted, Report
from gridfsmount.transfer.uploading import Uploader, whole_content

SMALL_BYTES: Final = 1 << 20
"""Files up to here go in batches: one of them fills a quarter of one."""

_TRIES: Final = 10
"""A change that meets others' that often meets a fault, not a coincidence."""


@dataclass(frozen=True, slots=True)
class PutOptions:
    """How to put."""

    owners: Owners
    chunk_size: int = DEFAULT_CHUNK_SIZE
    jobs: int = 4
    checksum: bool = False
    """Compare what is there by SHA-256 instead of by size and time."""
    verify: bool = False
    """Read back what was written."""


class FilePutter:
    """Puts files, in any thread."""

    def __init__(
        self,
        lake: Lake,
        report: Report,
        options: PutOptions,
        uploader: Uploader,
        linked: dict[tuple[int, int, Inode], Inode],
    ) -> None:
        """Put into `lake`; `linked` learns the inodes of files that have several names."""
        self._lake = lake
        self._report = report
        self._options = options
        self._uploader = uploader
        self._linked = linked

    def batch(self, tasks: Sequence[Task]) -> None:
        """Put small files, and what is no file, that are not there yet."""
        files: list[NewFile] = []
        read: dict[Inode, Task] = {}
        try:
            numbers = self._lake.tree.allocate(len(tasks))
            for task, number in zip(tasks, numbers, strict=True):
                if self._report.halted:
                    break  # what was read so far still goes
                try:
                    file = self._new(task, Inode(number))
                except (OSError, LakeError) as error:
                    self._report.fail(task.local, reason(error))
                else:
                    files.append(file)
                    read[file.node.inode] = task
            self._check_open(list(read.values()))
            refused = self._lake.bulk.publish(files)
            wrong = self._wrong([file for file in files if file.node.inode not in refused])
        except LakeError as error:
            for task in read.values() or tasks:
                self._report.fail_with(task.local, error)
            return
        count = size = 0
        for file in files:
            task = read[file.node.inode]
            if file.node.inode in refused:
                self._again(task)
                continue
            self._note(task, file.node)
            if file.node.content in wrong:
                self._report.fail(task.local, _DIFFERENT)
                continue
            count += 1
            size += file.node.size
        self._report.done(count, size)

    def stream(self, task: Task) -> None:
        """Put a large file that is not there yet."""
        with self._reporting(task):
            inode = Inode(self._lake.tree.allocate(1)[0])
            with opened(task.local) as source:
                content, attributes = self._upload(task, source, inode)
            node = applied(_bare(task, inode, content), attributes)
            with self._publishing(content):
                self._check_open([task])
                try:
                    self._lake.bulk.publish_uploaded(NewFile(node, task.path, content))
                except AlreadyExists:
                    other = self._lake.tree.find(task.folder.node.inode, task.name)
                    if other is None or other.kind is not Kind.FILE:
                        raise
                    node = self._commit(task, other, content, (), attributes)
            self._finish(task, node, content)

    def compare(self, known: Sequence[tuple[Task, Node]]) -> None:
        """Put again what is there and differs."""
        try:
            wanted = [node.content for _, node in known if node.content is not None]
            contents = {each.id: each for each in self._lake.contents.get_many(wanted)}
        except LakeError as error:
            for task, _ in known:
                self._report.fail_with(task.local, error)
            return
        for task, node in known:
            if self._report.halted:
                return
            with self._reporting(task):
                content = None if node.content is None else contents.get(node.content)
                self._settle(task, node, content)

    def link(self, key: tuple[int, int, Inode], tasks: Sequence[Task]) -> None:
        """Give a file that was put its further names."""
        for task in tasks:
            if self._report.halted:
                return
            with self._reporting(task):
                self._link(key, task)

    def _link(self, key: tuple[int, int, Inode], task: Task) -> None:
        inode = self._linked.get(key)
        node = None if inode is None else self._lake.tree.get(inode)
        if node is None:
            raise NotFound("the file that it is a link of could not be put")
        there = self._lake.tree.find(task.folder.node.inode, task.name)
        if there is not None and there.inode == node.inode:
            self._report.unchanged(0)
            return
        self._check_open([task])
        if there is not None:
            self._clear(task, there)
        self._lake.commits.add_link(node, task.place)
        self._report.done(1, 0)

    def _refresh(self, task: Task, node: Node, content: Content | None) -> None:
        attributes = attributes_of(task.local, task.status, self._options.owners)
        same = self._same(task, node, content)
        if same and attributes.fit(node):
            self._note(task, node)
            self._report.unchanged(node.size)
            return
        self._check_open([task])
        if node.kind is not task.kind or task.kind is Kind.SYMLINK or self._is_shared(task, node):
            self._clear(task, node)
            self._anew(task)
        elif same:
            adjust(self._lake, node, attributes)
            self._note(task, node)
            self._report.unchanged(node.size)
        else:
            self._replace(task, node)

    def _is_shared(self, task: Task, node: Node) -> bool:
        """Whether a change of the node would show under names that are none of the local file's."""
        return len(node.names) > 1 and (task.link is None or len(node.names) > task.status.st_nlink)

    def _same(self, task: Task, node: Node, content: Content | None) -> bool:
        """Whether a node is what the local thing is, but for its attributes."""
        if node.kind is not task.kind:
            return False
        if task.kind is Kind.SYMLINK:
            return decode_target(os.readlink(task.local)) == node.target
        if task.kind is not Kind.FILE:
            return True
        if node.size != task.status.st_size:
            return False
        if node.size and (content is None or content.length != node.size or content.sha256 is None):
            return False
        if self._options.checksum:
            return content is None or digest_of(task.local, self._report) == content.sha256
        return node.mtime_ns == task.status.st_mtime_ns

    def _replace(self, task: Task, node: Node) -> None:
        """Give a file that is there other bytes, all at once."""
        with opened(task.local) as source:
            small = source.status.st_size <= SMALL_BYTES
            if source.status.st_size == 0:
                attributes = attributes_of(source.descriptor, source.status, self._options.owners)
                self._finish(task, self._commit(task, node, None, (), attributes), None)
                return
            if small and self._lake.connection.deployment.transactions:
                attributes, data = self._read(source)
                content, chunks = whole_content(
                    self._lake.contents.new_id(), data, self._options.chunk_size
                )
                pages = list(enumerate(chunks))
                self._report.moved(len(data))
                self._finish(task, self._commit(task, node, content, pages, attributes), content)
                return
            content, attributes = self._upload(task, source, node.inode)
        with self._publishing(content):
            committed = self._commit(task, node, content, (), attributes)
        self._finish(task, committed, content)

    def _commit(
        self,
        task: Task,
        node: Node,
        content: Content | None,
        pages: Sequence[tuple[int, bytes]],
        attributes: Attributes,
    ) -> Node:
        path = task.path
        if node.names[0] != task.place:  # drivers see a file under its first name
            path = self._lake.tree.path(node.inode) or path
        committed = self._lake.commits.commit(node, path, content, pages, attributes.mtime_ns, 0)
        if committed is None:
            raise Stale("somebody removed it from the lake meanwhile; put it again")
        if not attributes.fit(committed):
            adjust(self._lake, committed, attributes)
        return committed

    def _again(self, task: Task) -> None:
        """What somebody else made meanwhile, or took the folder of."""
        with self._reporting(task):
            node = self._lake.tree.find(task.folder.node.inode, task.name)
            if node is None:
                raise Stale("its folder in the lake was removed meanwhile")
            self._settle(task, node, self._content(node))

    def _settle(self, task: Task, node: Node, content: Content | None) -> None:
        """Make a node that is there what the local file is, whatever becomes of it meanwhile."""
        for _ in range(_TRIES):
            try:
                self._refresh(task, node, content)
                return
            except Conflict:  # perhaps with our own change of another of its names
                now = self._lake.tree.find(task.folder.node.inode, task.name)
            if now is None:
                self._anew(task)
                return
            node, content = now, self._content(now)
        raise Conflict("it changes in the lake all the time")

    def _content(self, node: Node) -> Content | None:
        found = [] if node.content is None else self._lake.contents.get_many([node.content])
        return found[0] if found else None

    def _anew(self, task: Task) -> None:
        if task.kind is Kind.FILE and task.status.st_size > SMALL_BYTES:
            self.stream(task)
        else:
            self.batch([task])

    def _clear(self, task: Task, node: Node) -> None:
        """Take away what has the name, as cp(1) does for what it cannot write into."""
        if node.kind is Kind.DIRECTORY:
            raise AlreadyExists(f"{task.path} is in its place, and a folder")
        self._lake.commits.unlink(node, task.place)

    def _new(self, task: Task, inode: Inode) -> NewFile:
        if task.kind is not Kind.FILE:
            attributes = attributes_of(task.local, task.status, self._options.owners)
            target = ""
            if task.kind is Kind.SYMLINK:
                target = decode_target(os.readlink(task.local))
            return NewFile(applied(_bare(task, inode, None, target), attributes), task.path)
        with opened(task.local) as source:
            if source.status.st_size > SMALL_BYTES:
                raise Changed("it grew while it was copied; put it again")
            attributes, data = self._read(source)
        if not data:
            return NewFile(applied(_bare(task, inode, None), attributes), task.path)
        content, chunks = whole_content(
            self._lake.contents.new_id(), data, self._options.chunk_size
        )
        node = applied(_bare(task, inode, content), attributes)
        return NewFile(node, task.path, content, tuple(chunks))

    def _read(self, source: Source) -> tuple[Attributes, bytes]:
        attributes = attributes_of(source.descriptor, source.status, self._options.owners)
        data = source.read(source.status.st_size + 1)
        source.check(len(data))
        return attributes, data

    def _upload(self, task: Task, source: Source, inode: Inode) -> tuple[Content, Attributes]:
        attributes = attributes_of(source.descriptor, source.status, self._options.owners)
        with self._uploader.leased(inode, task.name) as target:
            return self._uploader.upload(source, target), attributes

    def _finish(self, task: Task, node: Node, content: Content | None) -> None:
        """Count a file whose bytes were counted on their way."""
        if content is not None and self._options.verify:
            self._uploader.verify(content)
        self._note(task, node)
        self._report.done(1, 0)

    def _wrong(self, files: Sequence[NewFile]) -> set[ContentId]:
        """Contents that the server does not return as they were sent, if that is to be known."""
        contents = [file.content for file in files if file.content is not None]
        if not self._options.verify or not contents:
            return set()
        right = {content.id for content, _ in self._lake.contents.read_whole(contents)}
        return {content.id for content in contents} - right

    def _check_open(self, tasks: Sequence[Task]) -> None:
        for version, task in {task.folder.version: task for task in tasks}.items():
            check_open(self._lake, version, task.folder.path)

    def _note(self, task: Task, node: Node) -> None:
        if task.link is not None:
            self._linked[task.link] = node.inode

    @contextmanager
    def _publishing(self, content: Content) -> Iterator[None]:
        """When it is not known what arrived, only the sweep may decide what goes."""
        try:
            yield
        except BaseException:
            self._lake.leases.forsake(content.id)
            raise

    @contextmanager
    def _reporting(self, task: Task) -> Iterator[None]:
        try:
            yield
        except Halted:
            pass
        except OSError as error:
            self._report.fail(task.local, reason(error))
        except LakeError as error:
            self._report.fail_with(task.local, error)


_DIFFERENT: Final = "what the server returns is not what was sent"


def _bare(task: Task, inode: Inode, content: Content | None, target: str = "") -> Node:
    """A node that lacks its attributes."""
    return Node(
        inode=inode,
        kind=task.kind,
        names=(task.place,),
        mode=None,
        uid=None,
        gid=None,
        mtime_ns=0,
        ctime_ns=time.time_ns(),
        size=0 if content is None else content.length,
        content=None if content is None else content.id,
        target=target,
        version=task.folder.version,
    )
