"""Restores of versions from a directory on the local disk; the start of Python included."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.cases.backups import VERSION, BackupBase, run
from benchmarks.comparison import Case
from benchmarks.material import Material
from benchmarks.rig import Measurement, Rig, run_measured

BUDGET_SECONDS: Final = 5.0
BUDGET_FILES: Final = 10_000

TARGET: Final = "datasets/backup/restored"


class RestoreRelinked(BackupBase):
    """A version whose contents the lake has still."""

    name = "restore of contents that are there"
    against = "budget"
    unit = "files"
    target = 1.0

    @property
    def amount(self) -> float:
        """All of them."""
        return self._sizes.backed_small

    @property
    def _source(self) -> Path:
        return self._material.backed_small

    def prepare(self) -> None:
        """Make a snapshot."""
        self._init()
        self._create()

    def reference(self) -> Measurement:
        """What it may take."""
        return Measurement(BUDGET_SECONDS * self.amount / BUDGET_FILES)

    def mount(self) -> Measurement:
        """Restore the version beside itself."""
        uri = self._rig.uri(self._lake)
        result = run_measured(
            *(sys.executable, "-m", "gridfsmount", "backup", "restore", "latest", VERSION),
            *("--as", TARGET, "--vault", str(self._vault), "--uri", uri),
        )
        run("delete", "--yes", TARGET, "--uri", uri)
        return result


def cases(rig: Rig, material: Material) -> Iterator[Case]:
    """The cases of this module."""
    yield RestoreRelinked(rig, material)
