"""A large file that is in a cache already, against the same bytes on a local disk."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from benchmarks.cases.large import LargeBase
from benchmarks.comparison import Case
from benchmarks.material import LAKE, Material
from benchmarks.reading import whole
from benchmarks.rig import Measurement, Rig
from tests.mounting import eventually

_FILL_SECONDS: Final = 60.0
"""How long the last chunks may take to the disk cache."""

_FULL: Final = 0.98
"""Part of the file that must be in the disk cache: a cache may round, or drop what is late."""


class Warm(LargeBase):
    """The second time, from the kernel's page cache."""

    name = "large file warm"
    against = "disk, warm"
    target = 0.9

    def prepare(self) -> None:
        """Write it if need be."""
        self._rig.check_disk()
        self._material.large_of(self.chunk_size)

    def reference(self) -> Measurement:
        """Read the copy on the local disk twice."""
        return self._rig.read(None, whole(self._material.large, warm=True), self.expected())

    def mount(self) -> Measurement:
        """Read it twice from one mount."""
        with self._rig.mount(LAKE) as mount:
            job = whole(mount.path / self.path, warm=True)
            return self._rig.read(mount, job, self.expected())


class SecondEpoch(LargeBase):
    """From the disk cache that an earlier mount filled, with nothing in memory."""

    name = "large file from the disk cache"
    against = "disk, cold"
    target = 0.8

    @property
    def _cache(self) -> Path:
        return self._rig.folder / "disk-cache"

    @property
    def _options(self) -> tuple[str | Path, ...]:
        return "--disk-cache", self._cache, "--disk-cache-size", "4GiB"

    def prepare(self) -> None:
        """Read it once, and wait until all of it is in the cache."""
        self._rig.check_disk()
        path = self.path
        self._cache.mkdir(exist_ok=True)
        with self._rig.mount(LAKE, *self._options) as mount:
            self._rig.read(mount, whole(mount.path / path), self.expected())
            eventually(
                lambda: _bytes_in(self._cache) >= _FULL * self.expected(),
                "the file is in the disk cache",
                _FILL_SECONDS,
            )

    def reference(self) -> Measurement:
        """Read the copy on the local disk."""
        self._rig.cool()
        return self._rig.read(None, whole(self._material.large), self.expected())

    def mount(self) -> Measurement:
        """Read it from a new mount with the old cache."""
        self._rig.cool()
        with self._rig.mount(LAKE, *self._options) as mount:
            return self._rig.read(mount, whole(mount.path / self.path), self.expected())


def cases(rig: Rig, material: Material) -> Iterator[Case]:
    """The cases of this module."""
    for case in (Warm, SecondEpoch):
        yield case(rig, material)


def _bytes_in(folder: Path) -> int:
    """Bytes on the disk: a file may be set up at its full size before anything is in it."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # moved to its place, or dropped, since it was listed
            total += path.lstat().st_blocks * 512
    return total
