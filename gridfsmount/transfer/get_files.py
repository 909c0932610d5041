"""One file of a lake onto the local disk, or a batch of them."""

import errno
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from gridfsmount.core.chunks import chunk_count
from gridfsmount.core.model import Content, ContentId, Kind, Node
from gridfsmount.errors import Damaged, IsADirectory, LakeError, NotFound
from gridfsmount.store.lake import Lake
from gridfsmount.transfer.local import Owners, digest_of, reason
from gridfsmount.transfer.local_writing import Local, sync
from gridfsmount.transfer.report import Halted, Report

SMALL_BYTES: Final = 1 << 20
"""Files up to here are fetched many with one query."""

RANGE_BYTES: Final = 8 << 20
"""Bytes of one query for a large file: measured as fast as larger ones."""

IN_FLIGHT: Final = 4
"""Such queries under way, of all files together."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_HOPELESS: Final = frozenset({errno.EROFS, errno.EIO})
"""What would meet every further file as well."""


@dataclass(frozen=True, slots=True)
class GetOptions:
    """How to get."""

    owners: Owners
    umask: int
    jobs: int = 4
    checksum: bool = False
    """Compare what is there by SHA-256 instead of by size and time."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A node, and the local path that it goes to."""

    node: Node
    path: bytes
    status: os.stat_result | None
    """What is there already."""


class FileGetter:
    """Gets files, in any thread."""

    def __init__(self, lake: Lake, report: Report, options: GetOptions, local: Local) -> None:
        """Get from `lake`."""
        self._lake = lake
        self._report = report
        self._options = options
        self._local = local
        self._pool = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="fetch")
        self._room = threading.BoundedSemaphore(IN_FLIGHT)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def is_same(self, wanted: Wanted) -> bool:
        """Whether what is there can stay: a file by its size and time, a link by its target."""
        status, node = wanted.status, wanted.node
        if status is None:
            return False
        if stat.S_ISREG(status.st_mode):
            found = (Kind.FILE, status.st_size, status.st_mtime_ns)
            if found != (node.kind, node.size, node.mtime_ns):
                return False
            # Attributes must not change under names that are none of the node's.
            shared = status.st_nlink > len(node.names)
            return not shared or self._local.is_dressed(wanted.path, status, node)
        if stat.S_ISLNK(status.st_mode):
            return (
                node.kind is Kind.SYMLINK
                and self._local.is_owned(status, node)
                and status.st_mtime_ns == node.mtime_ns
                and os.readlink(wanted.path) == node.target.encode()
            )
        return node.kind is Kind.FIFO and stat.S_ISFIFO(status.st_mode)

    def keep(self, wanted: Wanted) -> None:
        """Leave a file as it is, but for its attributes."""
        with self.reporting(wanted.path):
            assert wanted.status is not None
            if wanted.node.kind is not Kind.SYMLINK and not self._local.is_dressed(
                wanted.path, wanted.status, wanted.node
            ):
                self._local.dress(wanted.path, wanted.node)
            self._report.unchanged(wanted.node.size)

    def compare(self, tasks: Sequence[Wanted]) -> None:
        """Get those that differ from what is there."""
        with self.reporting(tasks[0].path):
            known = self._contents(tasks)
            differing = []
            for each in tasks:
                if self._report.halted:
                    return
                if self._is_equal(each, known):
                    self.keep(each)
                else:
                    differing.append(each)
            self.batch([each for each in differing if each.node.size <= SMALL_BYTES])
            for each in differing:
                if each.node.size > SMALL_BYTES:
                    self.stream(each)

    def batch(self, tasks: Sequence[Wanted]) -> None:
        """Get small files, and what is no file."""
        if not tasks:
            return
        with self.reporting(tasks[0].path):
            contents = self._contents(tasks)
            whole = self._lake.contents.read_whole(list(contents.values()))
            chunks = {content.id: parts for content, parts in whole}
            made: list[tuple[Wanted, bytes]] = []
            try:
                for each in tasks:
                    self._report.check()
                    with self.reporting(each.path):
                        made.append((each, self._write(each, contents, chunks)))
                if files := [name for each, name in made if each.node.kind is Kind.FILE]:
                    sync(files)
                while made:
                    self._place(*made.pop())
            finally:
                for _, temporary in made:
                    with suppress(OSError):
                        os.unlink(temporary)

    def stream(self, wanted: Wanted) -> None:
        """Get a large file."""
        node = wanted.node
        with self.reporting(wanted.path):
            if node.content is None:
                raise Damaged("the lake has no content for it")
            content = _fitting(self._lake.contents.get(node.content), node)
            temporary = self._local.beside(wanted.path)
            with self._local.new_file(temporary) as descriptor:
                os.ftruncate(descriptor, content.length)
                self._fetch(content, descriptor)
                with self.reporting(wanted.path, also=True):
                    self._local.dress(descriptor, node)
                os.fsync(descriptor)
                self._rename(temporary, wanted.path)
            self._report.done(1, 0)

    def link(self, first: bytes, paths: Sequence[bytes]) -> None:
        """Give a file its further names."""
        for path in paths:
            with self.reporting(path):
                self._report.check()
                try:
                    there = os.lstat(first)
                except FileNotFoundError:
                    raise NotFound("the file that it is a link of could not be had") from None
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.lstat(path), there):
                        self._report.unchanged(0)
                        continue
                temporary = self._local.beside(path)
                os.link(first, temporary, follow_symlinks=False)
                self._rename(temporary, path)
                self._report.done(1, 0)

    @contextmanager
    def reporting(self, path: bytes, *, also: bool = False) -> Iterator[None]:
        """Report what fails in the block; what would meet all other files ends the transfer.

        `also`: the file is there all the same.
        """
        try:
            yield
        except Halted:
            if also:
                raise
        except OSError as error:
            if error.errno in _FULL:
                self._report.stop(
                    f"{path.decode(errors='replace')}: the disk is full: make room, and run the "
                    "same command again"
                )
            elif error.errno in _HOPELESS:
                self._report.stop(f"{path.decode(errors='replace')}: {reason(error)}")
            else:
                self._report.fail(path, reason(error))
        except LakeError as error:
            self._report.fail_with(path, error)

    def _contents(self, tasks: Sequence[Wanted]) -> dict[ContentId, Content]:
        wanted = {each.node.content: None for each in tasks if each.node.content is not None}
        if not wanted:
            return {}
        return {content.id: content for content in self._lake.contents.get_many(list(wanted))}

    def _is_equal(self, wanted: Wanted, known: dict[ContentId, Content]) -> bool:
        node, status = wanted.node, wanted.status
        if status is None or not stat.S_ISREG(status.st_mode) or status.st_size != node.size:
            return False
        if node.content is None:
            return node.size == 0
        content = known.get(node.content)
        if content is None or content.sha256 is None:
            return False
        return digest_of(wanted.path, self._report) == content.sha256

    def _write(
        self,
        wanted: Wanted,
        contents: dict[ContentId, Content],
        chunks: dict[ContentId, list[bytes]],
    ) -> bytes:
        """Make a file beside its place; returns its name."""
        node = wanted.node
        temporary = self._local.beside(wanted.path)
        if node.kind is not Kind.FILE:
            self._local.make_special(temporary, node)
            return temporary
        data = self._bytes(node, contents, chunks)
        with self._local.new_file(temporary) as descriptor:
            for chunk in data:
                _write_all(descriptor, chunk, None)
            with self.reporting(wanted.path, also=True):
                self._local.dress(descriptor, node)
        return temporary

    def _bytes(
        self,
        node: Node,
        contents: dict[ContentId, Content],
        chunks: dict[ContentId, list[bytes]],
    ) -> list[bytes]:
        if node.content is None:
            if node.size:
                raise Damaged("the lake has no content for it")
            return []
        content = contents.get(node.content)
        # Asked again where the batch left it out: that tells what is wrong.
        content = _fitting(content or self._lake.contents.get(node.content), node)
        found = chunks.get(content.id)
        if found is not None:
            return found
        count = chunk_count(content.length, content.chunk_size)
        return self._lake.contents.read(content, 0, count)

    def _place(self, wanted: Wanted, temporary: bytes) -> None:
        with self.reporting(wanted.path):
            self._rename(temporary, wanted.path)
            self._report.done(1, wanted.node.size)

    def _rename(self, temporary: bytes, path: bytes) -> None:
        try:
            os.rename(temporary, path)
        except BaseException as error:
            with suppress(OSError):
                os.unlink(temporary)
            if isinstance(error, IsADirectoryError):
                raise IsADirectory("a folder is in its place") from error
            raise

    def _fetch(self, content: Content, descriptor: int) -> None:
        count = chunk_count(content.length, content.chunk_size)
        step = max(1, RANGE_BYTES // content.chunk_size)
        flights: deque[Future[None]] = deque()
        errors: list[BaseException] = []
        try:
            for first in range(0, count, step):
                self._report.check()
                past = min(count, first + step)
                flights.append(self._start(partial(self._range, content, first, past, descriptor)))
                while flights and flights[0].done():
                    flights.popleft().result()
        finally:
            # Whatever happened, none may write after the file was closed.
            errors = [error for each in flights if (error := each.exception()) is not None]
        if errors:
            raise errors[0]

    def _start(self, work: Callable[[], None]) -> Future[None]:
        self._room.acquire()
        return self._pool.submit(self._releasing, work)

    def _releasing(self, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            self._room.release()

    def _range(self, content: Content, first: int, past: int, descriptor: int) -> None:
        offset = first * content.chunk_size
        for chunk in self._lake.contents.read(content, first, past):
            _write_all(descriptor, chunk, offset)
            offset += len(chunk)
        self._report.moved(offset - first * content.chunk_size)


def _fitting(content: Content, node: Node) -> Content:
    if content.length != node.size:
        raise Damaged(f"its content has {content.length:,} bytes, not {node.size:,}")
    return content


def _write_all(descriptor: int, data: bytes, offset: int | None) -> None:
    view = memoryview(data)
    while view:
        if offset is None:
            written = os.write(descriptor, view)
        else:
            written = os.pwrite(descriptor, view, offset)
            offset += written
        view = view[written:]
