"""Backups into a directory on the local disk; the start of Python included."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Final

from benchmarks.comparison import Case, CaseBase, Figure
from benchmarks.material import MIB, Material
from benchmarks.rig import Measurement, Rig, Stopwatch, run_measured

LAKES: Final = "bench_backup"
"""How the names of the lakes begin that are backed up, one for each case."""

VERSION: Final = "datasets/backup/v1"

BUDGET_SECONDS: Final = 10.0
BUDGET_BYTES: Final = 200 * MIB


class BackupBase(CaseBase):
    """Makes snapshots of a lake of its own."""

    most_rounds = 2

    @property
    def _source(self) -> Path:
        """What is in the lake."""
        raise NotImplementedError

    @cached_property
    def _lake(self) -> str:
        """The lake, made now."""
        lake = f"{LAKES}_{type(self).__name__.lower()}"
        self._rig.drop(lake)  # what an earlier attempt left
        uri = self._rig.uri(lake)
        run("put", "--quiet", f"{self._source}/", f"{VERSION}/", "--uri", uri)
        self._rig.settle()
        return lake

    @property
    def _vault(self) -> Path:
        return self._rig.folder / "vault"

    @property
    def _copies(self) -> Path:
        """Where the reference puts its copies."""
        return self._rig.folder / "copies"

    def _clear(self) -> None:
        for folder in (self._vault, self._copies):
            if folder.exists():
                shutil.rmtree(folder)

    def prepare(self) -> None:
        """Make the lake."""
        _ = self._lake

    def _init(self) -> None:
        self._clear()
        run("backup", "init", "--vault", self._vault, "--uri", self._rig.uri(self._lake))

    def _create(self) -> Measurement:
        return run_measured(
            *(sys.executable, "-m", "gridfsmount", "backup", "create"),
            *("--vault", str(self._vault), "--uri", self._rig.uri(self._lake)),
        )

    def mount(self) -> Measurement:
        """Make the first snapshot."""
        self._init()
        result = self._create()
        self._clear()
        return result


class BackupLarge(BackupBase):
    """The first backup of a few large files."""

    name = "first backup, large files"
    against = "cp or driver"
    unit = "MiB"
    target: float = 0.6

    @property
    def amount(self) -> float:
        """All of them."""
        return self._sizes.backed_large * len(self._files) / MIB

    @cached_property
    def _files(self) -> list[Path]:
        return self._material.backed_large

    @property
    def _source(self) -> Path:
        return self._files[0].parent

    def reference(self) -> Measurement:
        """Copy them, to be found after a power cut; or read them, if that takes longer."""
        self._clear()
        self._copies.mkdir()
        with Stopwatch() as copying:
            subprocess.run(["cp", *self._files, self._copies], check=True)
            subprocess.run(["sync", "-f", self._copies], check=True)
        self._clear()
        with self._rig.driver(self._lake) as client, Stopwatch() as reading:
            for path in self._files:
                found = client.bucket.open_download_stream_by_name(f"{VERSION}/{path.name}")
                while found.read(8 * MIB):
                    pass
        # The target is a part of cp's speed, but all of the driver's.
        driver = Measurement(reading.result.seconds * self.target)
        return max(copying.result, driver, key=lambda each: each.seconds)


class BackupSmall(BackupBase):
    """The first backup of many small files."""

    name = "first backup, small files"
    against = "driver"
    unit = "files"
    target = 3.0

    @property
    def amount(self) -> float:
        """All of them."""
        return self._sizes.backed_small

    @property
    def _source(self) -> Path:
        return self._material.backed_small

    def reference(self) -> Measurement:
        """Read them one by one, into a file each; their names are known."""
        names = sorted(each.name for each in self._source.iterdir())
        self._clear()
        self._copies.mkdir()
        with self._rig.driver(self._lake) as driver, Stopwatch() as watch:
            for name in names:
                with (self._copies / name).open("wb") as file:
                    driver.bucket.download_to_stream_by_name(f"{VERSION}/{name}", file)
            subprocess.run(["sync", "-f", self._copies], check=True)
        self._clear()
        return watch.result


class BackupAgain(BackupBase):
    """The second backup of many files of which none changed."""

    name = "unchanged backup"
    against = "budget"
    unit = "files"
    target = 1.0

    @property
    def amount(self) -> float:
        """All of them."""
        return self._sizes.backed_again

    @property
    def _source(self) -> Path:
        return self._material.backed_again

    def prepare(self) -> None:
        """Make the first snapshot."""
        self._init()
        self._create()

    def reference(self) -> Measurement:
        """What it may take."""
        return Measurement(BUDGET_SECONDS, peak=BUDGET_BYTES)

    def mount(self) -> Measurement:
        """Make one more."""
        return self._create()


class BackupAgainMemory(BackupAgain):
    """The memory that this takes."""

    name = "unchanged backup, memory"
    figure = Figure.MEMORY
    most_rounds = 1


def cases(rig: Rig, material: Material) -> Iterator[Case]:
    """The cases of this module."""
    for case in (BackupLarge, BackupSmall, BackupAgain, BackupAgainMemory):
        yield case(rig, material)


def run(*arguments: str | Path) -> None:
    """Run `gridfsmount ARGUMENTS` to its end, unmeasured."""
    command = [sys.executable, "-m", "gridfsmount", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
