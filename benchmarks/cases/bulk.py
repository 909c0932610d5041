"""Whole trees in and out with `put` and `get`, without a mount; the start of Python included."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.cases.writes import NEW_LAKE, VERSION, WriteBase, WriteLarge
from benchmarks.comparison import Case, CaseBase
from benchmarks.material import LAKE, MIB, Material
from benchmarks.rig import Driver, Measurement, Rig, Stopwatch


def _run(*arguments: str | Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "gridfsmount", *map(str, arguments), "--quiet"], check=True
    )


class PutBase(WriteBase):
    """Puts something into a new lake, against uploads with the same durability."""

    def prepare(self) -> None:
        """Remove what an earlier attempt left, and make what is put."""
        super().prepare()
        _ = self.source

    @property
    def source(self) -> Path:
        """What is put."""
        raise NotImplementedError

    def mount(self) -> Measurement:
        """Put it."""
        with self._rig.mount(NEW_LAKE):
            pass  # makes the lake, as the driver's first upload does
        with Stopwatch() as watch:
            _run("put", self.source, f"{VERSION}/", "--uri", self._rig.uri(NEW_LAKE))
        self._clear()
        return watch.result


class PutSmall(PutBase):
    """Many small files, against one after the other."""

    name = "put small files"
    unit = "files"
    target = 10.0
    most_rounds = 2

    @property
    def amount(self) -> float:
        """All of them."""
        return self._sizes.put

    @property
    def source(self) -> Path:
        """The folder of them."""
        return self._material.put

    def upload(self, driver: Driver) -> None:
        """Write them one by one."""
        for path in sorted(self.source.iterdir()):
            with path.open("rb") as file:
                driver.bucket.upload_from_stream(f"{VERSION}/{path.name}", file)


class PutLarge(PutBase, WriteLarge):
    """The large file."""

    name = "put large file"

    @property
    def source(self) -> Path:
        """The file."""
        return self._material.large


class GetLarge(CaseBase):
    """The large file onto the local disk, to be found there after a power cut."""

    name = "get large file"
    unit = "MiB"

    @property
    def amount(self) -> float:
        """All of it."""
        return self._sizes.large / MIB

    @property
    def _path(self) -> str:
        return self._material.large_of(MIB)

    def prepare(self) -> None:
        """Write it if need be, and have it in the server's memory."""
        self.reference()

    def reference(self) -> Measurement:
        """Download it."""
        target = self._rig.folder / "got"
        with self._rig.driver(LAKE) as driver, Stopwatch() as watch, target.open("wb") as file:
            driver.bucket.download_to_stream_by_name(self._path, file)
            file.flush()
            os.fsync(file.fileno())
        target.unlink()
        return watch.result

    def mount(self) -> Measurement:
        """Get it."""
        target = self._rig.folder / "gotten"
        with Stopwatch() as watch:
            _run("get", self._path, target, "--uri", self._rig.uri(LAKE))
        if target.stat().st_size != self._sizes.large:
            raise OSError(f"{target} has {target.stat().st_size:,} bytes")
        target.unlink()
        return watch.result


class GetSmall(CaseBase):
    """Many small files onto the local disk, against one after the other."""

    name = "get small files"
    unit = "files"

    @property
    def amount(self) -> float:
        """All of them."""
        return self._sizes.small

    def prepare(self) -> None:
        """Write them if need be, and have them in the server's memory."""
        self.reference()

    def reference(self) -> Measurement:
        """Download them; their names are known."""
        folder, target = self._material.draft, self._rig.folder / "got"
        target.mkdir()
        with self._rig.driver(LAKE) as driver, Stopwatch() as watch:
            for name in self._material.small_names:
                with (target / name).open("wb") as file:
                    driver.bucket.download_to_stream_by_name(f"{folder}/{name}", file)
            os.sync()
        shutil.rmtree(target)
        return watch.result

    def mount(self) -> Measurement:
        """Get them."""
        target = self._rig.folder / "gotten"
        with Stopwatch() as watch:
            _run("get", f"{self._material.draft}/", target, "--uri", self._rig.uri(LAKE))
        if len(list(target.iterdir())) != self._sizes.small:
            raise OSError(f"files are missing in {target}")
        shutil.rmtree(target)
        return watch.result


def cases(rig: Rig, material: Material) -> Iterator[Case]:
    """The cases of this module."""
    for case in (PutSmall, PutLarge, GetSmall, GetLarge):
        yield case(rig, material)
