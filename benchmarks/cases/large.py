"""A large file, cold: read whole, in pieces, mapped, and several files at once."""

import os
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Final

from benchmarks.comparison import Case, CaseBase
from benchmarks.material import KIB, LAKE, MIB, Material
from benchmarks.reading import Job, files, mapped, pieces, whole
from benchmarks.rig import Driver, Measurement, Rig, Stopwatch

CHUNK_SIZE: Final = MIB
"""Of the file that all cases read but those about chunk sizes."""

_SEED: Final = 20
_CONNECT_SECONDS: Final = 30.0


class LargeBase(CaseBase):
    """Reads the large file; counts in MiB."""

    unit = "MiB"
    chunk_size = CHUNK_SIZE

    @property
    def amount(self) -> float:
        """All of it."""
        return self._sizes.large / MIB

    @property
    def path(self) -> str:
        """The file, in the lake."""
        return self._material.large_of(self.chunk_size)

    def prepare(self) -> None:
        """Write it if need be, and have it in the server's memory."""
        with self._rig.driver(LAKE) as driver:
            download(driver, self.path)

    def reference(self) -> Measurement:
        """Download it."""
        self._rig.cool()
        with self._rig.driver(LAKE) as driver, Stopwatch() as watch:
            download(driver, self.path)
        return watch.result

    def mount(self) -> Measurement:
        """Read it from a new mount."""
        self._rig.cool()
        with self._rig.mount(LAKE) as mount:
            return self._rig.read(mount, self.job(mount.path / self.path), self.expected())

    def job(self, path: Path) -> Job:
        """How the mounted file is read."""
        return whole(path)

    def expected(self) -> int:
        """How many bytes that is."""
        return self._sizes.large


class Whole(LargeBase):
    """From its start to its end."""

    target = 1.0

    def __init__(self, rig: Rig, material: Material, chunk_size: int) -> None:
        """Read the file that has this chunk size."""
        super().__init__(rig, material)
        self.chunk_size = chunk_size

    @property
    def name(self) -> str:
        """For the table."""
        return f"large file cold ({_size(self.chunk_size)} chunks)"


class Mapped(LargeBase):
    """Mapped into memory and copied out of it."""

    def __init__(self, rig: Rig, material: Material, threads: int) -> None:
        """Each thread copies a part."""
        super().__init__(rig, material)
        self._threads = threads

    @property
    def name(self) -> str:
        """For the table."""
        return f"large file mapped cold ({self._threads} thread{'s' * (self._threads > 1)})"

    def job(self, path: Path) -> Job:
        """How the mounted file is read."""
        return mapped(path, self._threads)


class PiecesBase(LargeBase):
    """Pieces of the large file, against queries for the chunks they are in."""

    against = "query"
    unit = "reads"
    in_order = False
    size = 0

    @property
    def amount(self) -> float:
        """The number of pieces."""
        return len(self.offsets())

    def offsets(self) -> Sequence[int]:
        """Where they begin."""
        raise NotImplementedError

    def reference(self) -> Measurement:
        """Ask for the chunks."""
        self._rig.cool()
        with self._rig.driver(LAKE) as driver:
            content = driver.content_of(self.path)
            with Stopwatch() as watch:
                for offset in self.offsets():
                    driver.chunks.find_one({"files_id": content, "n": offset // self.chunk_size})
        return watch.result

    def job(self, path: Path) -> Job:
        """How the mounted file is read."""
        return pieces(path, self.offsets(), self.size, random=not self.in_order)

    def expected(self) -> int:
        """How many bytes that is."""
        return len(self.offsets()) * self.size


class Random(PiecesBase):
    """Pieces in random chunks, none of them twice: what was read before is of no use."""

    target = 0.8

    def __init__(self, rig: Rig, material: Material, size: int) -> None:
        """Read pieces of `size` bytes."""
        super().__init__(rig, material)
        self.size = size

    @property
    def name(self) -> str:
        """For the table."""
        return f"random {_size(self.size)} cold"

    def offsets(self) -> Sequence[int]:
        """Where they begin: at a multiple of their size."""
        chunks = self._sizes.large // self.chunk_size
        chosen = random.Random(_SEED)
        return [
            chunk * self.chunk_size + chosen.randrange(0, self.chunk_size, self.size)
            for chunk in chosen.sample(range(chunks), min(self._sizes.pieces, chunks))
        ]


class Strided(PiecesBase):
    """A piece of every third chunk, in order."""

    name = "strided 64 KiB of 3 MiB cold"
    in_order = True
    size = 64 * KIB

    def offsets(self) -> Sequence[int]:
        """Where they begin."""
        return range(0, self._sizes.large - self.size, 3 * MIB)


class AtOnce(CaseBase):
    """Several files, a thread for each."""

    unit = "MiB"

    def __init__(
        self, rig: Rig, material: Material, count: int, target: float | None = None
    ) -> None:
        """Read `count` files."""
        super().__init__(rig, material)
        self._count = count
        self.target = target

    @property
    def name(self) -> str:
        """For the table."""
        return f"{self._count} readers of {self._count} files cold"

    @property
    def amount(self) -> float:
        """All of them."""
        return self._count * self._sizes.part / MIB

    @property
    def paths(self) -> list[str]:
        """The files, in the lake."""
        return self._material.parts[: self._count]

    def prepare(self) -> None:
        """Write them if need be, and have them in the server's memory."""
        self.reference()

    def reference(self) -> Measurement:
        """Download them, over as many connections, which are there before."""
        self._rig.cool()
        connected = Barrier(self._count + 1, timeout=_CONNECT_SECONDS)
        with self._rig.driver(LAKE) as driver, ThreadPoolExecutor(self._count) as pool:

            def one(path: str) -> None:
                driver.connect()
                connected.wait()
                download(driver, path)

            running = [pool.submit(one, path) for path in self.paths]
            connected.wait()
            with Stopwatch() as watch:
                for each in running:
                    each.result()
        return watch.result

    def mount(self) -> Measurement:
        """Read them from a new mount."""
        self._rig.cool()
        with self._rig.mount(LAKE) as mount:
            job = files([mount.path / path for path in self.paths])
            return self._rig.read(mount, job, self._count * self._sizes.part)


def cases(rig: Rig, material: Material) -> Iterator[Case]:
    """The cases of this module."""
    for chunk_size in (MIB, 255 * KIB, 4 * MIB):
        yield Whole(rig, material, chunk_size)
    yield AtOnce(rig, material, 2)
    yield AtOnce(rig, material, 4, target=1.0)
    yield Random(rig, material, 4 * KIB)
    yield Random(rig, material, 256 * KIB)
    yield Strided(rig, material)
    yield Mapped(rig, material, 1)
    yield Mapped(rig, material, 4)


def download(driver: Driver, path: str) -> None:
    """Read a file with the driver, and throw it away."""
    with Path(os.devnull).open("wb", buffering=0) as sink:
        driver.bucket.download_to_stream_by_name(path, sink)


def _size(count: int) -> str:
    return f"{count // MIB} MiB" if count % MIB == 0 else f"{count // KIB} KiB"
