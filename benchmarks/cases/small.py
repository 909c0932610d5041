"""Many small files of one folder, each read once."""

import random
from collections.abc import Iterator
from typing import Final

from benchmarks.comparison import Case, CaseBase
from benchmarks.material import LAKE, SMALL_BYTES, Material
from benchmarks.reading import folder
from benchmarks.rig import Measurement, Rig, Stopwatch

_SEED: Final = 4


class SmallFiles(CaseBase):
    """Listed, then read in the order of their names or shuffled, against one after the other."""

    unit = "files"

    def __init__(
        self,
        rig: Rig,
        material: Material,
        *,
        sealed: bool,
        shuffled: bool,
        target: float | None = None,
    ) -> None:
        """Of a sealed version or of a draft."""
        super().__init__(rig, material)
        self._sealed = sealed
        self._seed = _SEED if shuffled else None
        self.target = target

    @property
    def name(self) -> str:
        """For the table."""
        order = "in order" if self._seed is None else "shuffled"
        return f"small files {order} cold ({'sealed' if self._sealed else 'draft'})"

    @property
    def amount(self) -> float:
        """All of them."""
        return self._sizes.small

    @property
    def _folder(self) -> str:
        return self._material.sealed if self._sealed else self._material.draft

    def prepare(self) -> None:
        """Write them if need be, and have them in the server's memory."""
        self.reference()

    def reference(self) -> Measurement:
        """Download them; their names are known."""
        self._rig.cool()
        names = [f"{self._folder}/{name}" for name in self._material.small_names]
        if self._seed is not None:
            random.Random(self._seed).shuffle(names)
        with self._rig.driver(LAKE) as driver, Stopwatch() as watch:
            for name in names:
                driver.bucket.open_download_stream_by_name(name).read()
        return watch.result

    def mount(self) -> Measurement:
        """Read them from a new mount."""
        self._rig.cool()
        with self._rig.mount(LAKE) as mount:
            job = folder(mount.path / self._folder, seed=self._seed)
            return self._rig.read(mount, job, self._sizes.small * SMALL_BYTES)


def cases(rig: Rig, material: Material) -> Iterator[Case]:
    """The cases of this module."""
    yield SmallFiles(rig, material, sealed=True, shuffled=False, target=5.0)
    yield SmallFiles(rig, material, sealed=False, shuffled=False)
    yield SmallFiles(rig, material, sealed=True, shuffled=True, target=1.0)
    yield SmallFiles(rig, material, sealed=False, shuffled=True)
