"""A lake as its database shows it, to look behind a mount's back and to break things there."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import gridfs
from pymongo import MongoClient
from pymongo.collection import Collection

from tests.mounting import Mounted, eventually

Document = dict[str, Any]

MIB = 1 << 20

# Seconds, as short as they can be without being too short for a busy machine.
DEADLINE = 1.5
LEASE = 2.0


class Lake:
    """The collections of a lake."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._client: MongoClient[Document] = MongoClient(uri)
        self.database = self._client.get_default_database()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()

    @property
    def files(self) -> Collection[Document]:
        return self.database["fs.files"]

    @property
    def chunks(self) -> Collection[Document]:
        return self.database["fs.chunks"]

    @property
    def tree(self) -> Collection[Document]:
        return self.database["fs.tree"]

    @property
    def uploads(self) -> Collection[Document]:
        return self.database["fs.uploads"]

    @property
    def bucket(self) -> gridfs.GridFSBucket:
        return gridfs.GridFSBucket(self.database)

    def node(self, name: str) -> Document:
        """The node of a name that is there once."""
        (node,) = self.tree.find({"names.name": name})
        return node

    def read(self, filename: str) -> bytes:
        """A file as any driver reads it."""
        return self.bucket.open_download_stream_by_name(filename).read()

    def filenames(self) -> list[str]:
        """What drivers see, trash aside."""
        return sorted(each["filename"] for each in self.files.find())

    def unpublished_chunks(self) -> int:
        """The number of chunks that belong to no content that a node or the trash still has."""
        known = {each["_id"] for each in self.files.find()}
        known |= {each["_id"] for each in self.database["fs.trash"].find()}
        return self.chunks.count_documents({"files_id": {"$nin": list(known)}})


class Copying:
    """A `cp` onto a path, which goes on only as far as it is fed."""

    def __init__(self, folder: Path, target: Path) -> None:
        source = folder / f"source-of-{target.name}"
        os.mkfifo(source)
        self._process = subprocess.Popen(
            ["cp", source, target], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self._source = source.open("wb", buffering=0)

    def feed(self, data: bytes) -> None:
        """Hand data over; returns when `cp` has taken nearly all of it, or has given up."""
        view = memoryview(data)
        with contextlib.suppress(BrokenPipeError):
            while view:
                view = view[self._source.write(view) :]

    def finish(self) -> tuple[int, str]:
        """Let it come to its end; returns its exit code and what it said."""
        self._source.close()
        _, said = self._process.communicate(timeout=120)
        return self._process.returncode, said

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._source.close()
        self._process.kill()
        self._process.communicate()


class InThread:
    """A call that may block, in a thread of its own."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as error:
            self._error = error

    def join(self) -> None:
        """Wait for it; raises what it raised."""
        self._thread.join(120)
        assert not self._thread.is_alive(), "it hangs"
        if self._error is not None:
            raise self._error


def errno_of(call: Callable[[], object]) -> int | None:
    """The errno that a call fails with; None when it does not fail."""
    try:
        call()
    except OSError as error:
        return error.errno
    return None


def recovered(path: Path, content: bytes) -> bool:
    """Whether a file can be read and has this content: to be polled after an outage."""
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def succeeds(call: Callable[..., object], *arguments: object) -> bool:
    """Whether a call does not fail with an errno."""
    return errno_of(lambda: call(*arguments)) is None


def waits_for_a_mount(process_id: int) -> bool:
    """Whether a process is asleep in the kernel until a FUSE file system answers."""
    return Path(f"/proc/{process_id}/wchan").read_text() == "request_wait_answer"


def assert_alive(mount: Mounted) -> None:
    """The mount's process lives, and nothing happened that nobody foresaw."""
    assert mount.process is not None
    assert mount.process.poll() is None, mount.log_text()[-3000:]
    assert "Traceback" not in mount.log_text(), mount.log_text()[-5000:]


def wait_for_chunks(lake: Lake, count: int) -> None:
    """Wait until this many chunks of an upload that is under way have arrived."""
    eventually(lambda: lake.unpublished_chunks() >= count, f"{count} chunks were uploaded")
