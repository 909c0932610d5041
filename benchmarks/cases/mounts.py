"""What a mount takes: memory, processor time when idle, and what one reader takes from another."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.cases.large import CHUNK_SIZE
from benchmarks.cases.trees import find_command, run_quietly
from benchmarks.comparison import Case, CaseBase, Figure
from benchmarks.material import LAKE, MIB, SMALL_BYTES, Material
from benchmarks.reading import Job, folder, reader, whole
from benchmarks.rig import TICK, Measurement, Rig, Stopwatch
from gridfsmount.core.defaults import DEFAULT_CACHE

_MEMORY: Final = DEFAULT_CACHE + 150 * MIB
"""The cache, and what Python, the driver and a bounded number of nodes may take beside it."""

_IDLE: Final = 0.005
"""Processor seconds a second that an idle mount may take: 0.05 in ten."""

_SETTLE_SECONDS: Final = 3.0
"""What a mount does at its start is no idleness."""


class Memory(CaseBase):
    """The most memory that a mount takes while a great many nodes are looked at."""

    against = "budget"
    target = 1.0
    figure = Figure.MEMORY
    most_rounds = 1
    unit = "nodes"

    @property
    def name(self) -> str:
        """For the table."""
        return f"memory of a walk over {self._sizes.walked:,} nodes"

    @property
    def amount(self) -> float:
        """All of them."""
        return self._sizes.walked

    def prepare(self) -> None:
        """Plant them."""
        self._material.tree(self._sizes.walked // 1000, 999)

    def reference(self) -> Measurement:
        """What it may take."""
        return Measurement(0.0, peak=_MEMORY)

    def mount(self) -> Measurement:
        """Walk over all of them."""
        tree = self._material.tree(self._sizes.walked // 1000, 999)
        with self._rig.mount(tree.lake) as mount, Stopwatch(mount.pid) as watch:
            run_quietly(find_command(mount.path / tree.path))
        return watch.result


class Idle(CaseBase):
    """The processor time of a mount that nobody uses."""

    against = "budget"
    target = 1.0
    figure = Figure.CPU
    most_rounds = 1
    unit = "s"

    @property
    def name(self) -> str:
        """For the table."""
        return f"processor time of {self._sizes.idle:.0f} idle seconds"

    @property
    def amount(self) -> float:
        """Seconds."""
        return self._sizes.idle

    def prepare(self) -> None:
        """Nothing is read."""

    def reference(self) -> Measurement:
        """What it may take."""
        return Measurement(self._sizes.idle, cpu_seconds=_IDLE * self._sizes.idle)

    def mount(self) -> Measurement:
        """Do nothing."""
        with self._rig.mount(LAKE) as mount:
            time.sleep(_SETTLE_SECONDS)
            with Stopwatch(mount.pid) as watch:
                time.sleep(self._sizes.idle)
        # The kernel counts in ticks: less than one is not known, and is not nothing.
        return replace(watch.result, cpu_seconds=max(watch.result.cpu_seconds, TICK))


class BesideBase(CaseBase):
    """One reader while another one reads on and on, against the first one alone."""

    against = "alone"

    def job(self, mountpoint: Path) -> Job:
        """What is measured."""
        raise NotImplementedError

    def load(self, mountpoint: Path) -> Job:
        """What is read beside it."""
        raise NotImplementedError

    def expected(self) -> int:
        """The bytes that are measured."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Write both if need be, and have them in the server's memory."""
        self.mount()

    def reference(self) -> Measurement:
        """Read alone, from a new mount."""
        self._make()
        self._rig.cool()
        with self._rig.mount(LAKE) as mount:
            return self._rig.read(mount, self.job(mount.path), self.expected())

    def mount(self) -> Measurement:
        """Read beside the other."""
        self._make()
        self._rig.cool()
        with self._rig.mount(LAKE) as mount, reader(self.load(mount.path)) as beside:
            beside.begin()
            measured = self._rig.read(mount, self.job(mount.path), self.expected())
            beside.result()
        return measured

    def _make(self) -> None:
        """Have both written before something else is mounted."""
        _ = self._material.large_of(CHUNK_SIZE), self._material.sealed

    def _large(self, mountpoint: Path) -> Path:
        return mountpoint / self._material.large_of(CHUNK_SIZE)

    def _small(self, mountpoint: Path) -> Path:
        return mountpoint / self._material.sealed


class LargeBesideSmall(BesideBase):
    """The large file, beside small ones."""

    name = "large file beside small ones"
    unit = "MiB"

    @property
    def amount(self) -> float:
        """All of it."""
        return self._sizes.large / MIB

    def job(self, mountpoint: Path) -> Job:
        """What is measured."""
        return whole(self._large(mountpoint))

    def load(self, mountpoint: Path) -> Job:
        """What is read beside it."""
        return folder(self._small(mountpoint), until_told=True)

    def expected(self) -> int:
        """The bytes that are measured."""
        return self._sizes.large


class SmallBesideLarge(BesideBase):
    """Small files, beside the large one."""

    name = "small files beside a large one"
    unit = "files"

    @property
    def amount(self) -> float:
        """All of them."""
        return self._sizes.small

    def job(self, mountpoint: Path) -> Job:
        """What is measured."""
        return folder(self._small(mountpoint))

    def load(self, mountpoint: Path) -> Job:
        """What is read beside it."""
        return whole(self._large(mountpoint), until_told=True)

    def expected(self) -> int:
        """The bytes that are measured."""
        return self._sizes.small * SMALL_BYTES


def cases(rig: Rig, material: Material) -> Iterator[Case]:
    """The cases of this module."""
    for case in (LargeBesideSmall, SmallBesideLarge, Memory, Idle):
        yield case(rig, material)
