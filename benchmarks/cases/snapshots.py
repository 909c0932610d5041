"""A large file in a snapshot, cold, against the blob that it is."""

import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from benchmarks.cases.large import LargeBase
from benchmarks.comparison import Case
from benchmarks.material import Material
from benchmarks.reading import whole
from benchmarks.rig import Measurement, Rig
from gridfsmount.vaults.opening import make_vault
from tests.snapshots.conftest import MountedAlone
from tests.snapshots.planting import Planted

_SNAPSHOT = "2026-11-22T03-00-00Z"
_FILE = "datasets/large/v1/file.bin"


class FromSnapshot(LargeBase):
    """From its start to its end, from a vault in a directory."""

    name = "large file in a snapshot, cold"
    against = "blob, cold"
    target = 0.8

    @cached_property
    def _vault(self) -> Path:
        place = self._rig.folder / "vault"
        vault = make_vault(str(place), "benchmarks")
        tree = Planted(chunk_size=self.chunk_size)
        tree.file(_FILE, self._material.large.read_bytes())
        tree.publish(vault, _SNAPSHOT)
        vault.close()
        return place

    def prepare(self) -> None:
        """Make the vault if need be."""
        self._rig.check_disk()
        assert self._vault.is_dir()

    def reference(self) -> Measurement:
        """Read the blob itself."""
        with self._material.large.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._rig.cool()
        blob = self._vault / "blobs" / digest[:2] / digest
        return self._rig.read(None, whole(blob), self.expected())

    def mount(self) -> Measurement:
        """Read it from the snapshot."""
        folder = self._rig.folder / "alone"
        with MountedAlone(folder, "--vault", self._vault) as mount:
            self._rig.cool()
            path = mount.path / "snapshots" / _SNAPSHOT / _FILE
            return self._rig.read(mount, whole(path), self.expected())


def cases(rig: Rig, material: Material) -> Iterator[Case]:
    """All of this module."""
    yield FromSnapshot(rig, material)
