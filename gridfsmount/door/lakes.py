"""Which lake, and this process's way into it.

What a program holds, and sends to its workers, is an `Access`: a value, without a connection. The
connection is made when the first file needs it, and shared by all that have the same `Access` in
one process. A child process begins with none.
"""

import atexit
import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gridfsmount.addresses import find_uri, known_bucket, known_embedded, read_config
from gridfsmount.cache.disk import DiskCache
from gridfsmount.cache.memory import ChunkCache
from gridfsmount.core.chunks import DEFAULT_CHUNK_SIZE, MAX_CHUNK_SIZE, MIN_CHUNK_SIZE
from gridfsmount.core.defaults import (
    DEFAULT_CACHE,
    DEFAULT_DEADLINE,
    DEFAULT_DISK_CACHE,
    DEFAULT_LEASE,
)
from gridfsmount.door.changes import Changes
from gridfsmount.door.chunks import Chunks
from gridfsmount.door.paths import Paths
from gridfsmount.door.presence import Presence
from gridfsmount.door.publishing import Publisher
from gridfsmount.errors import ConfigError
from gridfsmount.reading.source import Source
from gridfsmount.store.embedded import running_uri
from gridfsmount.store.lake import Lake
from gridfsmount.store.reaching import reached
from gridfsmount.transfer.report import Report
from gridfsmount.transfer.uploading import Uploader


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A lake, and how it is read and written. `uri` may hold a password: it is never shown."""

    uri: str | None = field(default=None, repr=False)
    """None: from `uri_file`, else from the environment or a config file, as for the commands."""
    uri_file: str | None = None
    embedded: str | None = None
    """The folder of a private server, in place of an address."""
    bucket: str | None = None
    deadline: float = DEFAULT_DEADLINE
    """Seconds for one database operation."""
    chunk_size: int = DEFAULT_CHUNK_SIZE
    """Bytes of the chunks of new files."""
    cache_size: int = DEFAULT_CACHE
    """Bytes of chunks in memory."""
    disk_cache: str | None = None
    disk_cache_size: int = DEFAULT_DISK_CACHE

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if self.embedded is not None and (self.uri or self.uri_file):
            raise ConfigError("embedded= brings its own server: leave the URI out")
        if not MIN_CHUNK_SIZE <= self.chunk_size <= MAX_CHUNK_SIZE:
            raise ConfigError(f"chunk_size= goes from {MIN_CHUNK_SIZE} to {MAX_CHUNK_SIZE}")
        if self.deadline <= 0 or self.cache_size < 0 or self.disk_cache_size < 0:
            raise ConfigError("deadline= and sizes of caches cannot be negative")


@dataclass(frozen=True, slots=True)
class Door:
    """An open lake with what it takes to read and change it, without a mount."""

    lake: Lake
    paths: Paths
    chunks: Chunks
    uploader: Uploader
    publisher: Publisher
    changes: Changes
    presence: Presence
    chunk_size: int


class Doors:
    """The doors that one process has open."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._open: dict[Access, Door] = {}
        self._resources = ExitStack()

    def get(self, access: Access, *, writing: bool = False) -> Door:
        """The door to a lake, opened now if it is not yet; `writing` makes a lake that is missing.

        Raises:
            StartupError: there is no address, no server, or no lake; the text says which.
        """
        with self._lock:
            door = self._open.get(access)
            if door is None:
                door = self._open[access] = self._opened(access, existing=not writing)
            return door

    def close(self) -> None:
        """End all connections; what is asked for after that is opened anew."""
        with self._lock:
            self._open.clear()
            self._resources.close()

    def _opened(self, access: Access, *, existing: bool) -> Door:
        settings = read_config(None)
        bucket = known_bucket(settings) if access.bucket is None else access.bucket
        address = ""
        embedded = None if access.embedded is None else Path(access.embedded)
        if embedded is None and not (access.uri or access.uri_file):
            embedded = known_embedded(settings)
        if embedded is None:
            uri_file = None if access.uri_file is None else Path(access.uri_file)
            address = find_uri(
                access.uri or "", uri_file, settings, place="as uri=", file_place="as uri_file="
            )
        else:
            _check_embedded(embedded, existing=existing)
        with ExitStack() as resources:
            lake = resources.enter_context(
                reached(
                    address,
                    embedded,
                    bucket=bucket,
                    deadline=access.deadline,
                    lease=DEFAULT_LEASE,
                    writable=not existing,
                    existing=existing,
                )
            )
            disk = None
            if access.disk_cache is not None:
                disk = DiskCache(Path(access.disk_cache), access.disk_cache_size, lake=lake.id)
                resources.callback(disk.close)
            uploader = Uploader(lake, Report(), access.chunk_size)
            resources.callback(uploader.close)
            paths = Paths(lake)
            publisher = Publisher(lake, paths, access.chunk_size)
            door = Door(
                lake=lake,
                paths=paths,
                chunks=Chunks(Source(lake.contents, disk), ChunkCache(access.cache_size)),
                uploader=uploader,
                publisher=publisher,
                changes=Changes(lake, paths, publisher),
                presence=Presence(lake),
                chunk_size=access.chunk_size,
            )
            self._resources.push(resources.pop_all())
        return door


def _check_embedded(folder: Path, *, existing: bool) -> None:
    if existing and not folder.is_dir():
        raise ConfigError(f"embedded={str(folder)!r}: there is no such folder")
    if threading.current_thread() is not threading.main_thread() and running_uri(folder) is None:
        raise ConfigError(
            f"embedded={str(folder)!r}: no server runs there, and only a program's main thread can "
            "start one: open a file there first"
        )


_doors: Final = [Doors()]
"""Those of this process, last: one for all, so that who shares an `Access` shares a connection.
Before it those of the processes that it was forked from, kept as they are: their connections must
be neither used nor closed here."""

os.register_at_fork(after_in_child=lambda: _doors.append(Doors()))


def door_to(access: Access, *, writing: bool = False) -> Door:
    """This process's door to a lake: see `Doors.get`."""
    return _doors[-1].get(access, writing=writing)


@atexit.register
def close_doors() -> None:
    """End the connections of this process; they are made again when they are needed."""
    _doors[-1].close()
