"""What is compared: each case does the same work with the driver and through a mount.

A large file is read back by both sides as the mount wrote it, so both read the same chunks. Each
run has a client or a mount of its own, and each write a lake of its own.
"""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from gridfs import GridFSBucket

from benchmarks.rig import Measurement, Rig, Stopwatch

MIB: Final = 1 << 20

VERSION: Final = "datasets/bench/v1"
LARGE: Final = f"{VERSION}/large.bin"
SMALL: Final = f"{VERSION}/small"
READ_LAKE: Final = "bench_read"
WRITE_LAKE: Final = "bench_write"

SMALL_BYTES: Final = 4 << 10


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much work the cases do."""

    large: int
    """Bytes of the large file."""
    files: int
    """Number of small files."""


FULL: Final = Sizes(large=512 * MIB, files=1000)
QUICK: Final = Sizes(large=32 * MIB, files=100)


class Case(Protocol):
    """One comparison."""

    @property
    def name(self) -> str:
        """For the table."""

    @property
    def amount(self) -> float:
        """How much work one run is, in `unit`."""

    @property
    def unit(self) -> str:
        """What `amount` counts."""

    def driver(self) -> Measurement:
        """Do the work with the driver."""

    def mount(self) -> Measurement:
        """Do the work through a mount."""


class Material:
    """The files that are written, and a lake that holds them already."""

    def __init__(self, rig: Rig, sizes: Sizes) -> None:
        """Make files of random bytes, which no compression makes smaller, and copy them in."""
        self.sizes = sizes
        self.large = rig.folder / "large.bin"
        self.small = rig.folder / "small"
        with self.large.open("wb") as file:
            for _ in range(0, sizes.large, MIB):
                file.write(os.urandom(MIB))
        self.small.mkdir()
        for number in range(sizes.files):
            (self.small / f"{number:05}.bin").write_bytes(os.urandom(SMALL_BYTES))
        with rig.mount(READ_LAKE) as mount:
            subprocess.run(["cp", self.large, mount.version(VERSION)], check=True)
            subprocess.run(["cp", "-r", self.small, mount.version(VERSION)], check=True)

    @property
    def small_files(self) -> list[Path]:
        """The small files, in order."""
        return sorted(self.small.iterdir())


class _Base:
    def __init__(self, rig: Rig, material: Material) -> None:
        self._rig = rig
        self._material = material


class _Large(_Base):
    unit = "MiB"

    @property
    def amount(self) -> float:
        return self._material.sizes.large / MIB


class _Small(_Base):
    unit = "files"

    @property
    def amount(self) -> float:
        return self._material.sizes.files


class ColdRead(_Large):
    """The large file, with nothing of it in any cache outside the server."""

    name = "read, cold"

    def driver(self) -> Measurement:
        """Download it."""
        self._rig.cool()
        with self._rig.driver(READ_LAKE) as bucket, Stopwatch() as watch:
            _download(bucket)
        return watch.result

    def mount(self) -> Measurement:
        """Read it from a new mount."""
        self._rig.cool()
        with self._rig.mount(READ_LAKE) as mount, Stopwatch(mount.pid) as watch:
            _read(mount.path / LARGE)
        return watch.result


class WarmRead(_Large):
    """The large file once more."""

    name = "read, warm"

    def driver(self) -> Measurement:
        """Download it twice."""
        with self._rig.driver(READ_LAKE) as bucket:
            _download(bucket)
            with Stopwatch() as watch:
                _download(bucket)
        return watch.result

    def mount(self) -> Measurement:
        """Read it twice from one mount."""
        with self._rig.mount(READ_LAKE) as mount:
            _read(mount.path / LARGE)
            with Stopwatch(mount.pid) as watch:
                _read(mount.path / LARGE)
        return watch.result


class Write(_Large):
    """The large file into a new lake, durable when it is done."""

    name = "write"

    def driver(self) -> Measurement:
        """Upload it, acknowledged by the majority and journaled."""
        source = self._material.large.open("rb")
        with self._rig.driver(WRITE_LAKE) as bucket, source, Stopwatch() as watch:
            bucket.upload_from_stream(LARGE, source)
        self._rig.drop(WRITE_LAKE)
        return watch.result

    def mount(self) -> Measurement:
        """Copy it with cp."""
        with self._rig.mount(WRITE_LAKE) as mount:
            target = mount.version(VERSION)
            with Stopwatch(mount.pid) as watch:
                subprocess.run(["cp", self._material.large, target], check=True)
        self._rig.drop(WRITE_LAKE)
        return watch.result


class SmallIn(_Small):
    """Many small files into a new lake."""

    name = "small files in"

    def driver(self) -> Measurement:
        """Upload them one by one."""
        with self._rig.driver(WRITE_LAKE) as bucket, Stopwatch() as watch:
            for path in self._material.small_files:
                bucket.upload_from_stream(f"{SMALL}/{path.name}", path.read_bytes())
        self._rig.drop(WRITE_LAKE)
        return watch.result

    def mount(self) -> Measurement:
        """Copy them with cp -r."""
        with self._rig.mount(WRITE_LAKE) as mount:
            target = mount.version(VERSION)
            with Stopwatch(mount.pid) as watch:
                subprocess.run(["cp", "-r", self._material.small, target], check=True)
        self._rig.drop(WRITE_LAKE)
        return watch.result


class SmallOut(_Small):
    """Many small files, all read once, in order."""

    name = "small files out"

    def driver(self) -> Measurement:
        """Download them one by one."""
        self._rig.cool()
        with self._rig.driver(READ_LAKE) as bucket, Stopwatch() as watch:
            for path in self._material.small_files:
                bucket.open_download_stream_by_name(f"{SMALL}/{path.name}").read()
        return watch.result

    def mount(self) -> Measurement:
        """Read them with cat, from a new mount."""
        self._rig.cool()
        with self._rig.mount(READ_LAKE) as mount, Stopwatch(mount.pid) as watch:
            files = sorted((mount.path / SMALL).iterdir())
            subprocess.run(["cat", *files], check=True, stdout=subprocess.DEVNULL)
        return watch.result


def all_cases(rig: Rig, material: Material) -> Iterator[Case]:
    """Every case, in the order of the table."""
    for case in (ColdRead, WarmRead, Write, SmallIn, SmallOut):
        yield case(rig, material)


def _download(bucket: GridFSBucket) -> None:
    with Path(os.devnull).open("wb") as sink:
        bucket.download_to_stream_by_name(LARGE, sink)


def _read(path: Path) -> None:
    buffer = bytearray(MIB)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
