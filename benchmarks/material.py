"""The files that the cases read, each made when a case first asks for it.

What a case reads is written through a mount, so that both sides read the same chunks. All of it
lies in one lake; trees that are only listed have a lake each (`benchmarks.planting`).
"""

import os
import subprocess
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Final

from benchmarks.planting import Tree, plant, seal
from benchmarks.rig import Rig

MIB: Final = 1 << 20
KIB: Final = 1 << 10

LAKE: Final = "bench"

LARGE: Final = "datasets/large/v1"
PARTS: Final = "datasets/parts/v1"
SEALED: Final = "datasets/small/sealed"
DRAFT: Final = "datasets/small/draft"

SMALL_BYTES: Final = 4 * KIB
BACKED_BYTES: Final = 8 * KIB
TINY_BYTES: Final = 64
PART_COUNT: Final = 4


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much work the cases do."""

    large: int
    """Bytes of the large file."""
    part: int
    """Bytes of each of the files that are read at once."""
    small: int
    """Number of small files that are read."""
    written: int
    """Number of small files that are written."""
    put: int
    """Number of small files that are put, all at once."""
    pieces: int
    """Number of random reads, at most one a chunk."""
    listed: int
    """Number of files in the smaller folder that is listed; the larger has ten times as many."""
    walked: int
    """Number of nodes in the walk that must not fill the memory."""
    backed_large: int
    """Bytes of each of the large files that are backed up."""
    backed_small: int
    """Number of small files that are backed up."""
    backed_again: int
    """Number of tiny files that are backed up once more."""
    idle: float
    """Seconds to do nothing in."""


FULL: Final = Sizes(
    large=512 * MIB,
    part=128 * MIB,
    small=2000,
    written=2000,
    put=10_000,
    pieces=500,
    listed=10_000,
    walked=1_000_000,
    backed_large=1024 * MIB,
    backed_small=20_000,
    backed_again=100_000,
    idle=10.0,
)
QUICK: Final = Sizes(
    large=32 * MIB,
    part=8 * MIB,
    small=200,
    written=100,
    put=1000,
    pieces=500,
    listed=1000,
    walked=10_000,
    backed_large=16 * MIB,
    backed_small=500,
    backed_again=2000,
    idle=5.0,
)


class Material:
    """Files on a local disk, and the same in a lake."""

    def __init__(self, rig: Rig, sizes: Sizes) -> None:
        """Nothing is made before it is asked for."""
        self.sizes = sizes
        self._rig = rig

    @cached_property
    def large(self) -> Path:
        """The large file, on the local disk."""
        return self._file("large.bin", self.sizes.large)

    @cached_property
    def small(self) -> Path:
        """A folder of small files on the local disk, those that are written."""
        return self._folder("written", self.sizes.written)

    @cached_property
    def put(self) -> Path:
        """A folder of small files on the local disk, those that are put."""
        return self._folder("put", self.sizes.put)

    @cache  # noqa: B019 - there is one, and it lives as long as the program
    def large_of(self, chunk_size: int) -> str:
        """Path in the lake of a large file with this chunk size."""
        name = f"{chunk_size // KIB}KiB.bin"
        with self._rig.mount(LAKE, "--chunk-size", f"{chunk_size // KIB}KiB") as mount:
            subprocess.run(["cp", self.large, mount.version(LARGE) / name], check=True)
        self._rig.settle()
        return f"{LARGE}/{name}"

    @cached_property
    def parts(self) -> list[str]:
        """Paths in the lake of the files that are read at once."""
        with self._rig.mount(LAKE) as mount:
            subprocess.run(["cp", *self.part_files, mount.version(PARTS)], check=True)
        self._rig.settle()
        return [f"{PARTS}/{each.name}" for each in self.part_files]

    @cached_property
    def part_files(self) -> list[Path]:
        """The same files, on the local disk."""
        return [self._file(f"{number}.bin", self.sizes.part) for number in range(PART_COUNT)]

    @cached_property
    def backed_large(self) -> list[Path]:
        """The large files that are backed up, alone in a folder on the local disk."""
        (self._rig.folder / "backed").mkdir(exist_ok=True)
        names = [f"backed/{number}.bin" for number in range(PART_COUNT)]
        return [self._file(name, self.sizes.backed_large) for name in names]

    @cached_property
    def backed_small(self) -> Path:
        """A folder of small files on the local disk, those that are backed up."""
        return self._folder("backed-small", self.sizes.backed_small, BACKED_BYTES)

    @cached_property
    def backed_again(self) -> Path:
        """A folder of tiny files on the local disk, those that are backed up once more."""
        return self._folder("backed-again", self.sizes.backed_again, TINY_BYTES)

    @cached_property
    def sealed(self) -> str:
        """Path in the lake of a folder of small files, in a sealed version."""
        self._copy_small(SEALED)
        seal(self._rig, LAKE, SEALED)
        return f"{SEALED}/small"

    @cached_property
    def draft(self) -> str:
        """Path in the lake of a folder of small files, in a draft."""
        self._copy_small(DRAFT)
        return f"{DRAFT}/small"

    @cache  # noqa: B019
    def tree(self, folders: int, files: int) -> Tree:
        """A lake with so many folders of so many empty files each."""
        tree = plant(self._rig, folders, files)
        self._rig.settle()
        return tree

    @property
    def small_names(self) -> list[str]:
        """Names of the small files that are read, in order."""
        return [_small_name(number) for number in range(self.sizes.small)]

    def _copy_small(self, version: str) -> None:
        source = self._rig.folder / "small"
        if not source.exists():
            self._folder("small", self.sizes.small)
        with self._rig.mount(LAKE) as mount:
            subprocess.run(["cp", "-r", source, mount.version(version)], check=True)
        self._rig.settle()

    def _file(self, name: str, size: int) -> Path:
        """Make a file of random bytes, which no compression makes smaller."""
        path = self._rig.folder / name
        with path.open("wb") as file:
            for _ in range(0, size, MIB):
                file.write(os.urandom(MIB))
        return path

    def _folder(self, name: str, count: int, size: int = SMALL_BYTES) -> Path:
        path = self._rig.folder / name
        path.mkdir(exist_ok=True)
        for number in range(count):
            (path / _small_name(number)).write_bytes(os.urandom(size))
        return path


def _small_name(number: int) -> str:
    return f"{number:06}.bin"
