"""Files into a new lake, durable when it is done."""

import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from bson import ObjectId

from benchmarks.comparison import Case, CaseBase, Figure
from benchmarks.material import MIB, Material
from benchmarks.rig import Document, Driver, Measurement, Rig, Stopwatch
from gridfsmount.writing.flights import DIRTY_BYTES

NEW_LAKE: Final = "bench_write"
VERSION: Final = "datasets/bench/v1"

_AT_ONCE: Final = 8
"""Programs that copy small files side by side."""

_MEMORY: Final = DIRTY_BYTES + 150 * MIB
"""What writers may hold, and what Python and the driver take beside it."""


class WriteBase(CaseBase):
    """Copies something in with a program, against uploads."""

    def prepare(self) -> None:
        """Remove what an earlier attempt left."""
        self._rig.drop(NEW_LAKE)

    def upload(self, driver: Driver) -> None:
        """Write it with the driver."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """What copies it; the target comes last."""
        raise NotImplementedError

    def copy(self, target: Path) -> None:
        """Write it to a folder of the mount."""
        subprocess.run([*self.command(), target], check=True)

    def reference(self) -> Measurement:
        """Upload it, acknowledged by the majority and journaled."""
        with self._rig.driver(NEW_LAKE) as driver:
            driver.bucket.upload_from_stream("first", b"")  # makes the indexes
            with Stopwatch() as watch:
                self.upload(driver)
        self._clear()
        return watch.result

    def mount(self) -> Measurement:
        """Copy it."""
        with self._rig.mount(NEW_LAKE) as mount:
            target = mount.version(VERSION)
            with Stopwatch(mount.pid) as watch:
                self.copy(target)
        self._clear()
        return watch.result

    def _clear(self) -> None:
        self._rig.drop(NEW_LAKE)
        self._rig.settle()


class WriteLarge(WriteBase):
    """The large file."""

    name = "large file in"
    target = 1.5
    unit = "MiB"

    @property
    def amount(self) -> float:
        """All of it."""
        return self._sizes.large / MIB

    def upload(self, driver: Driver) -> None:
        """Write it with the driver."""
        with self._material.large.open("rb") as source:
            driver.bucket.upload_from_stream(f"{VERSION}/large.bin", source)

    def command(self) -> list[str]:
        """What copies it."""
        return ["cp", str(self._material.large)]


class WriteParts(WriteBase):
    """Four files at once, each by a program or a thread of its own."""

    name = "4 files in at once"
    target = 1.2
    unit = "MiB"

    @property
    def amount(self) -> float:
        """All of them."""
        return sum(each.stat().st_size for each in self._material.part_files) / MIB

    def upload(self, driver: Driver) -> None:
        """Write them, a thread each."""

        def one(path: Path) -> None:
            with path.open("rb") as source:
                driver.bucket.upload_from_stream(f"{VERSION}/{path.name}", source)

        with ThreadPoolExecutor(len(self._material.part_files)) as threads:
            list(threads.map(one, self._material.part_files))

    def copy(self, target: Path) -> None:
        """Copy them, a process each."""
        _run_at_once([["cp", str(each), str(target)] for each in self._material.part_files])


class WriteSmall(WriteBase):
    """Many small files."""

    name = "small files in"
    target = 0.7
    unit = "files"

    @property
    def amount(self) -> float:
        """All of them."""
        return self._sizes.written

    def upload(self, driver: Driver) -> None:
        """Write them one by one."""
        for path in sorted(self._material.small.iterdir()):
            driver.bucket.upload_from_stream(f"{VERSION}/{path.name}", path.read_bytes())

    def command(self) -> list[str]:
        """What copies them."""
        return ["cp", "-r", str(self._material.small)]


class WriteSmallAtOnce(WriteSmall):
    """Several programs, each with a part of the small files, against one with all of them."""

    name = "small files in, 8 at once"
    against = "one"
    target = 1.5

    def reference(self) -> Measurement:
        """Copy them one after the other."""
        return WriteSmall.mount(WriteSmall(self._rig, self._material))

    def copy(self, target: Path) -> None:
        """Copy them side by side."""
        paths = sorted(map(str, self._material.small.iterdir()))
        _run_at_once(["cp", *paths[part::_AT_ONCE], str(target)] for part in range(_AT_ONCE))


class Append(CaseBase):
    """A mebibyte at the end of the large file: a new content, with the chunks that there were."""

    name = "1 MiB appended to a large file"
    against = "copy inside the server"
    target = 0.5
    unit = "MiB"

    @property
    def amount(self) -> float:
        """What is copied."""
        return self._sizes.large / MIB

    def prepare(self) -> None:
        """Write the file."""
        self._rig.drop(NEW_LAKE)
        with self._rig.mount(NEW_LAKE) as mount:
            subprocess.run(["cp", self._material.large, mount.version(VERSION)], check=True)
        self._rig.settle()

    def reference(self) -> Measurement:
        """Copy its chunks."""
        with self._rig.driver(NEW_LAKE) as driver:
            content = driver.content_of(f"{VERSION}/{self._material.large.name}")
            copy = ObjectId()
            pipeline: list[Document] = [
                {"$match": {"files_id": content}},
                {"$set": {"files_id": copy}},
                {"$unset": "_id"},
                {"$merge": {"into": driver.chunks.name, "on": ["files_id", "n"]}},
            ]
            with Stopwatch() as watch:
                driver.chunks.aggregate(pipeline)
            driver.chunks.delete_many({"files_id": copy})
        self._rig.settle()
        return watch.result

    def mount(self) -> Measurement:
        """Append, and close."""
        with self._rig.mount(NEW_LAKE) as mount:
            path = mount.path / VERSION / self._material.large.name
            with Stopwatch(mount.pid) as watch, path.open("ab") as file:
                file.write(bytes(MIB))
        self._rig.settle()
        return watch.result


class Memory(WriteBase):
    """The most memory that a mount takes while a file goes in that is larger by far."""

    name = "memory while files go in"
    against = "budget"
    target = 1.0
    figure = Figure.MEMORY
    most_rounds = 1
    unit = "MiB"

    @property
    def amount(self) -> float:
        """All of it."""
        return 4 * self._sizes.large / MIB

    def reference(self) -> Measurement:
        """What it may take."""
        return Measurement(0.0, peak=_MEMORY)

    def copy(self, target: Path) -> None:
        """Copy the large file to four names at once."""
        large = str(self._material.large)
        _run_at_once(["cp", large, str(target / str(number))] for number in range(4))


def _run_at_once(commands: Iterable[list[str]]) -> None:
    """Run programs side by side; all must succeed."""
    running = [subprocess.Popen(command) for command in commands]
    failed = [each.args for each in running if each.wait() != 0]
    if failed:
        raise OSError(f"failed: {failed}")


def cases(rig: Rig, material: Material) -> Iterator[Case]:
    """The cases of this module."""
    for case in (WriteLarge, WriteParts, WriteSmall, WriteSmallAtOnce, Append, Memory):
        yield case(rig, material)
