"""Open files: readers that keep the content they opened, writers that publish it whole.

A writer publishes when it is closed, and not before. One whose `with` block raises, or that is
dropped without having been closed, publishes nothing. Both belong to the process that opened them;
one that inherits them over a fork can neither publish nor give up what it did not write.
"""

import io
import os
import warnings
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Final

from gridfsmount.core.chunks import MAX_CHUNK_SIZE, MIN_CHUNK_SIZE
from gridfsmount.core.model import Content, ContentId, Node
from gridfsmount.door.chunks import FETCH_BYTES, Chunks
from gridfsmount.door.lakes import Access, Door, door_to
from gridfsmount.door.refusals import translated
from gridfsmount.errors import FileSystemError, LakeError
from gridfsmount.places import LakePath
from gridfsmount.transfer.uploading import INSERT_BYTES, Upload

BUFFER_BYTES: Final = 64 << 10
"""What small reads are cut from: copying as much out of a cached chunk takes some microseconds."""


class ContentStream(io.RawIOBase):
    """The bytes of one content, or of none if the file is empty."""

    def __init__(self, access: Access, content: Content | None, path: str) -> None:
        """Read from the lake of `access`, in whatever process; `path` is for messages."""
        self.name = path
        self.mode = "rb"
        self.size = 0 if content is None else content.length
        self._access = access
        self._content = content
        self._position = 0
        self._expected = 0
        self._window = 0
        """Bytes to read ahead: none at random, twice as many with each query in a sequence."""

    def readinto(self, target: Any) -> int:
        """Fill a buffer; returns how many bytes there were."""
        if self._content is None or self._position >= self.size:
            return 0
        chunks = door_to(self._access).chunks
        with translated(self.name):
            count = chunks.read_into(
                self._content,
                self._position,
                memoryview(target).cast("B"),
                self._ahead(chunks, self._content),
            )
        self._position += count
        self._expected = self._position
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go on somewhere else."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def _ahead(self, chunks: Chunks, content: Content) -> int:
        if self._position != self._expected:
            self._window = 0
        elif not chunks.holds(content, self._position // content.chunk_size):
            window = max(content.chunk_size, 2 * self._window) if self._position else 0
            self._window = min(FETCH_BYTES, window)
        return self._window


class LakeReader(io.BufferedReader):
    """A file that is open for reading, with the content that it had when it was opened."""

    def __init__(self, access: Access, content: Content | None, path: str) -> None:
        """Read from the lake of `access`, in whatever process; `path` is for messages."""
        super().__init__(ContentStream(access, content, path), BUFFER_BYTES)
        self.size = 0 if content is None else content.length
        """Bytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to `size` bytes; all that are left by default."""
        if size is None or size < 0:
            size = max(0, self.size - self.tell())  # in one buffer of that size, not in pieces
        return super().read(size)


class _Published(io.IOBase):
    """Something that is written, and appears whole when it is closed."""

    def abandon(self) -> None:
        """Close without publishing anything."""
        raise NotImplementedError

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Publish at the end of a block, unless that raises."""
        if kind is None:
            self.close()
        else:
            self.abandon()


class LakeWriter(_Published, io.BufferedIOBase):
    """A file that is being written from its start to its end, or behind what it had."""

    def __init__(
        self,
        door: Door,
        path: LakePath,
        *,
        exclusive: bool = False,
        defer: bool = False,
    ) -> None:
        """Write the file at `path`, as far as the rules of the tree allow.

        `defer`: `close` publishes nothing, `commit` does.
        """
        self._process = os.getpid()
        self._door = door
        self._lake = door.lake
        self._path = path
        self._chunk_size = door.chunk_size
        self._exclusive = exclusive
        self._defer = defer
        self._buffer = bytearray()
        self._upload: Upload | None = None
        self._target: ContentId | None = None
        self._node: Node | None = None
        self._body: bytes | Content | None = None
        self._present = False
        self.name = str(path)
        self.mode = "xb" if exclusive else "wb"
        try:
            with translated(self.name):
                place, self._node = door.publisher.check_file(path, exclusive=exclusive)
        except BaseException:
            super().close()
            raise
        self._path = place.path  # `latest` may lead elsewhere by the time that this is closed
        self._version = place.folder.version
        door.presence.begin(self._version)
        self._present = True

    def append(self) -> None:
        """Begin with what the file has: large contents are copied inside the server."""
        self.mode = "ab"
        if self._node is None or self._node.content is None:
            return
        try:
            with translated(self.name):
                self._keep(self._lake.contents.get(self._node.content))
        except BaseException:
            self.abandon()
            raise

    def writable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Bytes that are written."""
        return len(self._buffer) + (0 if self._upload is None else self._upload.size)

    def write(self, data: Any, /) -> int:
        """Add bytes at the end; what is too much for memory is on its way when this returns."""
        if self.closed:
            raise ValueError("write to a closed file")
        self._check_process()
        view = memoryview(data).cast("B")
        with translated(self.name):
            for at in range(0, len(view), INSERT_BYTES):
                self._take(view[at : at + INSERT_BYTES])
        return len(view)

    def close(self) -> None:
        """Publish the file, durably: from now on everybody sees it.

        Raises:
            OSError: it could not be published; then nothing was.
        """
        if self.closed:
            return
        self._check_process()
        try:
            with translated(self.name):
                self._body = self._finish()
            if not self._defer:
                self.commit()
        except BaseException:
            self.abandon()
            raise
        super().close()

    def commit(self) -> None:
        """Publish what `close` has finished."""
        self._check_process()
        body, self._body = self._body, None
        if body is None:
            return
        self._target = None  # if it is not known what arrived, only the sweep may give it up
        try:
            with translated(self.name):
                self._door.publisher.publish(self._path, body, exclusive=self._exclusive)
        finally:
            self._leave()

    def discard(self) -> None:
        """Publish nothing of what `close` has finished."""
        self._body = None
        self._give_up()

    def abandon(self) -> None:
        """Close without publishing anything."""
        if self.closed:
            return
        self._defer, self._body = True, None
        if self._process == os.getpid():
            self._give_up()
        super().close()

    def __del__(self) -> None:
        """Who forgot to close it may not have written all of it."""
        if not self.closed:
            if self._process == os.getpid():
                warnings.warn(
                    f"{self.name} was not closed, and is not published",
                    ResourceWarning,
                    stacklevel=2,
                )
            self.abandon()

    def _keep(self, content: Content) -> None:
        at = 0
        usual = MIN_CHUNK_SIZE <= content.chunk_size <= MAX_CHUNK_SIZE
        if content.length > INSERT_BYTES and usual:
            self._chunk_size = content.chunk_size
            count = content.length // content.chunk_size
            self._lake.contents.copy_chunks(content.id, self._begin(content), [(0, count)])
            at = count * content.chunk_size
        rest = memoryview(bytearray(min(content.length - at, INSERT_BYTES)))
        while at < content.length:
            read = self._door.chunks.read_into(content, at, rest)
            self._take(rest[:read])
            at += read

    def _take(self, data: memoryview) -> None:
        self._buffer += data
        if len(self._buffer) > INSERT_BYTES:
            self._send(len(self._buffer) // self._chunk_size)

    def _send(self, count: int) -> None:
        """Send the next `count` chunks: the last of them may be short."""
        if self._upload is None:
            self._begin(None)
        assert self._upload is not None
        size = self._chunk_size
        with memoryview(self._buffer) as view:
            chunks = [bytes(view[n * size : (n + 1) * size]) for n in range(count)]
        del self._buffer[: count * size]
        if chunks:
            self._upload.send(chunks)

    def _begin(self, kept: Content | None) -> ContentId:
        """Claim a new content, and renew that claim for as long as this is open."""
        target = self._lake.contents.new_id()
        inode = self._door.publisher.new_number() if self._node is None else self._node.inode
        self._lake.leases.take(target, inode, self._path.parts[-1])
        self._target = target
        self._upload = Upload(self._door.uploader, target, self._chunk_size, kept)
        return target

    def _finish(self) -> bytes | Content:
        if self._upload is None:
            return bytes(self._buffer)
        self._send(-(-len(self._buffer) // self._chunk_size))
        return self._upload.content()

    def _give_up(self) -> None:
        """Remove what was sent; what cannot be removed now is removed by the sweep."""
        target, self._target = self._target, None
        self._buffer.clear()
        if self._upload is not None:
            self._upload.wait()
        self._leave()
        if target is not None:
            with suppress(FileSystemError):
                self._lake.commits.abandon(target)
                self._lake.leases.release_finished()

    def _leave(self) -> None:
        if self._present:
            self._present = False
            self._door.presence.end(self._version)

    def _check_process(self) -> None:
        if self._process != os.getpid():
            raise ValueError(f"{self.name} is being written by another process")


class TextWriter(_Published, io.TextIOWrapper):
    """Text on its way into a file, with the same promises."""

    def __init__(self, file: Any, **options: Any) -> None:
        """Encode into `file`, a writer."""
        self._file = file
        super().__init__(file, **options)

    def abandon(self) -> None:
        """As of the file itself."""
        self._file.abandon()

    def __del__(self) -> None:
        """As of the file itself."""
        # Not that of the base class, which closes.


class Compressing(_Published, io.BufferedIOBase):
    """A compressor in front of a file that is being written, closed and given up together."""

    def __init__(self, file: Any, compressor: IO[bytes]) -> None:
        """Write through `compressor` into `file`, a writer."""
        self._file = file
        self._compressor = compressor
        self.name = file.name

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any, /) -> int:
        """Compress bytes."""
        return self._compressor.write(data)

    def close(self) -> None:
        """Publish the file."""
        if self.closed:
            return
        try:
            self._compressor.close()
            self._file.close()
        except BaseException:
            self.abandon()
            raise
        super().close()

    def abandon(self) -> None:
        """Close without publishing anything."""
        self._file.abandon()
        with suppress(ValueError, OSError, LakeError):
            self._compressor.close()
        super().close()

    def __del__(self) -> None:
        """As of the file itself."""
        # Not that of the base class, which closes.
