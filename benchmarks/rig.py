"""What the cases run on: a server, lakes on it, the driver, mounts, and clocks."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

from gridfs import GridFSBucket
from pymongo import MongoClient, WriteConcern
from pymongo.collection import Collection
from pymongo.database import Database

from benchmarks.reading import Job, reader
from gridfsmount.store.embedded import EmbeddedServer
from tests.mounting import Mounted

Document: TypeAlias = dict[str, Any]

DURABLE: Final = WriteConcern("majority", j=True)
"""What the mount's close promises: the driver is asked for no less."""

_DROP_CACHES: Final = Path("/proc/sys/vm/drop_caches")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
TICK: Final = 1 / _TICKS
"""Seconds: how exactly the kernel counts processor time."""

_ATTEMPTS: Final = 5
"""How often a warm read is tried while somebody else empties the page cache."""

_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
"""File systems that are no disk."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of one side."""

    seconds: float
    peak: int = 0
    """Most bytes of memory that the mount's process held meanwhile (VmHWM)."""
    cpu_seconds: float = 0.0
    """Processor time that the mount's process took meanwhile."""


class Stopwatch:
    """Measures a block, and the mount's process while it runs."""

    def __init__(self, pid: int | None = None) -> None:
        """Watch the process `pid` too."""
        self._pid = pid
        self._began = self._cpu_began = 0.0
        self.result = Measurement(0.0)
        """The figures, after the block."""

    def __enter__(self) -> Self:
        """Start."""
        if self._pid is not None:
            Path(f"/proc/{self._pid}/clear_refs").write_text("5")  # proc(5): resets VmHWM
        self._cpu_began, self._began = self._cpu_seconds(), time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        seconds = time.monotonic() - self._began
        self.result = Measurement(seconds, self._peak(), self._cpu_seconds() - self._cpu_began)

    def _cpu_seconds(self) -> float:
        if self._pid is None:
            return 0.0
        # proc(5): utime and stime are the 14th and 15th field; the 2nd may hold anything.
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def _peak(self) -> int:
        if self._pid is None:
            return 0
        status = Path(f"/proc/{self._pid}/status").read_text()
        line = next(each for each in status.splitlines() if each.startswith("VmHWM:"))
        return int(line.split()[1]) << 10


def run_measured(*command: str) -> Measurement:
    """Run a program, and measure all of it.

    Raises:
        OSError: it failed.
    """
    began = time.monotonic()
    program = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    if program.returncode != 0:
        raise OSError(f"the program ended with {program.returncode}")
    seconds = time.monotonic() - began
    return Measurement(seconds, used.ru_maxrss << 10, used.ru_utime + used.ru_stime)


@dataclass(frozen=True, slots=True)
class Driver:
    """A client of one lake that has asked it something already."""

    database: Database[Document]
    bucket: GridFSBucket

    @property
    def tree(self) -> Collection[Document]:
        """The documents of the nodes."""
        return self.database["fs.tree"]

    @property
    def chunks(self) -> Collection[Document]:
        """The chunks of the contents."""
        return self.database["fs.chunks"]

    def content_of(self, filename: str) -> Any:
        """The `_id` of the content that has this filename."""
        document = self.database["fs.files"].find_one({"filename": filename}, {"_id": 1})
        if document is None:
            raise FileNotFoundError(filename)
        return document["_id"]

    def connect(self) -> None:
        """Ask a first question, so that this thread's next one finds a connection."""
        self.database.command("ping")
        self.database["fs.files"].find_one({"_id": None})


class Rig:
    """One server, and a folder for what the cases need beside it."""

    def __init__(self, server: EmbeddedServer, folder: Path) -> None:
        """Work on a running server."""
        self.folder = folder
        self._server = server

    @property
    def server_version(self) -> str:
        """The version of MongoDB."""
        with MongoClient[Document](self._server.uri) as client:
            return str(client.server_info()["version"])

    @property
    def empty(self) -> Path:
        """An empty folder on the local disk."""
        path = self.folder / "empty"
        path.mkdir(exist_ok=True)
        return path

    @property
    def file_system(self) -> str:
        """What the folder lies on, as in ext4."""
        shown = subprocess.run(
            ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", self.folder],
            check=True,
            capture_output=True,
            text=True,
        )
        return shown.stdout.split()[-1]

    def uri(self, lake: str) -> str:
        """Address of a lake."""
        return self._server.uri.replace("/?", f"/{lake}?")

    def check_disk(self) -> None:
        """Make sure that the folder is a place to compare with.

        Raises:
            OSError: it is in memory.
        """
        if self.file_system in _MEMORY:
            raise OSError(f"{self.folder} is in memory: choose a folder on a disk with TMPDIR")

    @contextmanager
    def driver(self, lake: str) -> Iterator[Driver]:
        """A new client of a lake, connected."""
        with MongoClient[Document](self._server.uri) as client:
            database = client.get_database(lake, write_concern=DURABLE)
            driver = Driver(database, GridFSBucket(database))
            driver.connect()
            yield driver

    @contextmanager
    def mount(self, lake: str, *options: str | Path) -> Iterator[Mounted]:
        """A new mount of a lake, made by the command as a user makes it."""
        mount = Mounted(self.uri(lake), self.folder / "mount", *options)
        mount.log.unlink(missing_ok=True)
        try:
            mount.start()
            yield mount
        finally:
            mount.stop()

    def read(self, mount: Mounted | None, job: Job, expected: int) -> Measurement:
        """Let a program read from a mount, or from a local disk (None).

        Raises:
            OSError: it did not see `expected` bytes; or it should find a warm page cache, and
                somebody else empties that again and again.
        """
        pid = None if mount is None else mount.pid
        for _ in range(_ATTEMPTS):
            drops = _page_cache_drops()
            with reader(job) as program, Stopwatch(pid) as watch:
                program.begin()
                reading = program.result()
            if reading.bytes != expected:
                paths = ", ".join(job.paths)
                raise OSError(f"{reading.bytes:,} bytes of {expected:,} were read: {paths}")
            if not job.warm or drops == _page_cache_drops():
                return replace(watch.result, seconds=reading.seconds)
        raise OSError("somebody else on this machine empties the page cache all the time")

    def drop(self, lake: str) -> None:
        """Remove a lake."""
        with MongoClient[Document](self._server.uri) as client:
            client.drop_database(lake)

    def settle(self) -> None:
        """Let the server write out what it was given, so that it does not do so meanwhile."""
        with MongoClient[Document](self._server.uri) as client:
            client.admin.command("fsync")

    def cool(self) -> bool:
        """Empty the kernel's page cache, the server's files included; False if only root may."""
        if not os.access(_DROP_CACHES, os.W_OK):
            return False
        subprocess.run(["sync"], check=True)
        _DROP_CACHES.write_text("3")
        return True


def _page_cache_drops() -> int:
    """How often somebody emptied the page cache since the machine started."""
    lines = Path("/proc/vmstat").read_text().splitlines()
    return sum(int(each.split()[1]) for each in lines if each.startswith("drop_pagecache "))
