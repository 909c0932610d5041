"""What the cases run on: a server, lakes on it, the driver, mounts, and clocks."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from gridfs import GridFSBucket
from pymongo import MongoClient, WriteConcern

from gridfsmount.store.embedded import EmbeddedServer
from tests.mounting import Mounted

DURABLE: Final = WriteConcern("majority", j=True)
"""What the mount's close promises: the driver is asked for no less."""

_DROP_CACHES: Final = Path("/proc/sys/vm/drop_caches")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


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


class Rig:
    """One server, and a folder for what the cases need beside it."""

    def __init__(self, server: EmbeddedServer, folder: Path) -> None:
        """Work on a running server."""
        self.folder = folder
        self._server = server

    @property
    def server_version(self) -> str:
        """The version of MongoDB."""
        with MongoClient[dict[str, Any]](self._server.uri) as client:
            return str(client.server_info()["version"])

    @contextmanager
    def driver(self, lake: str) -> Iterator[GridFSBucket]:
        """A new client of a lake, connected."""
        with MongoClient[dict[str, Any]](self._server.uri) as client:
            client.admin.command("ping")
            yield GridFSBucket(client.get_database(lake, write_concern=DURABLE))

    @contextmanager
    def mount(self, lake: str) -> Iterator[Mounted]:
        """A new mount of a lake, made by the command as a user makes it."""
        uri = self._server.uri.replace("/?", f"/{lake}?")
        with Mounted(uri, self.folder / "mount") as mount:
            yield mount

    def drop(self, lake: str) -> None:
        """Remove a lake."""
        with MongoClient[dict[str, Any]](self._server.uri) as client:
            client.drop_database(lake)

    def cool(self) -> bool:
        """Empty the kernel's page cache, the server's files included; False if only root may."""
        if not os.access(_DROP_CACHES, os.W_OK):
            return False
        subprocess.run(["sync"], check=True)
        _DROP_CACHES.write_text("3")
        return True
